//! What the devices of a run hold, read while it goes on: by a thread of its own, at a steady pace.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use super::prepare::Order;
use crate::app::job::Wake;
use crate::devices::Driver;
use crate::devices::driver::Gpu;
use crate::devices::meter::Meter;

/// Between two looks at the books of a device; what lasts shorter may be missed between two answers, whose own peaks
/// miss nothing.
const LOOK: Duration = Duration::from_millis(25);

/// Looks that make one sample, which holds the most of them.
const LOOKS: usize = 10;

/// What a device holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// When it was read.
    pub at: Instant,
    /// Its name in layouts.
    pub device: String,
    /// Bytes that the run holds.
    pub own: u64,
    /// Bytes that other processes hold.
    pub others: u64,
    /// What the run's bytes are, where known.
    pub parts: BTreeMap<String, u64>,
    /// Percent of the time in which it computed.
    pub utilisation: Option<u32>,
    /// Degrees Celsius.
    pub temperature: Option<u32>,
}

impl Measured {
    /// Whether both say the same.
    fn is_as(&self, other: &Self) -> bool {
        *self == Self { at: self.at, ..other.clone() }
    }
}

/// What is read, and where.
pub struct Sources {
    /// The books of metered devices.
    meters: Vec<Meter>,
    /// Names of GPUs, and their identities with the driver.
    gpus: Vec<(String, String)>,
}

impl Sources {
    /// Of the devices of an order; none where a server answers.
    pub fn of(order: &Order) -> Self {
        let Order::Here(order) = order else { return Self { meters: Vec::new(), gpus: Vec::new() } };
        let places = order.replicas.iter().flat_map(|replica| replica.places());
        let meters = places.filter_map(|place| place.meter()).cloned().collect();
        let devices = order.session.manifest().devices.iter();
        let gpus = devices.filter_map(|device| Some((device.name.clone(), device.uuid.clone()?))).collect();
        Self { meters, gpus }
    }

    fn meters(&self) -> impl Iterator<Item = Measured> + '_ {
        self.meters.iter().map(|meter| {
            let parts = meter.parts().named().into_iter().filter(|(_, bytes)| *bytes > 0);
            Measured {
                at: Instant::now(),
                device: meter.name().to_owned(),
                own: meter.live(),
                others: 0,
                parts: parts.map(|(name, bytes)| (name.to_owned(), bytes)).collect(),
                utilisation: None,
                temperature: None,
            }
        })
    }

    fn gpus(&self, driver: &Driver, gpus: &[Gpu]) -> Vec<Measured> {
        let readings = driver.readings();
        let one = |(name, uuid): &(String, String)| {
            let reading = readings.iter().find(|reading| reading.device == *uuid)?;
            let gpu = gpus.iter().find(|gpu| gpu.uuid.as_deref() == Some(uuid));
            let parts = reading.parts.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect();
            Some(Measured {
                at: Instant::now(),
                device: name.clone(),
                own: reading.own,
                others: reading.others,
                parts,
                utilisation: reading.utilisation,
                temperature: gpu.and_then(|gpu| gpu.temperature),
            })
        };
        self.gpus.iter().filter_map(one).collect()
    }
}

/// The thread that reads; it ends when this is dropped.
pub struct Sampling {
    samples: Receiver<Measured>,
    _stop: Sender<()>,
}

impl Sampling {
    /// Starts to read, where there is something to read. Without a thread nothing is measured, which the screen says.
    pub fn start(sources: Sources, wake: &Wake) -> Option<Self> {
        if sources.meters.is_empty() && sources.gpus.is_empty() {
            return None;
        }
        let (to, samples) = unbounded();
        let (stop, stopped) = bounded::<()>(0);
        let wake = wake.clone();
        let body = move || {
            let driver = if sources.gpus.is_empty() { None } else { Driver::open().ok() };
            let mut most: BTreeMap<String, Measured> = BTreeMap::new();
            let mut gpus = Vec::new();
            let mut sent: BTreeMap<String, Measured> = BTreeMap::new();
            for look in 1.. {
                for now in sources.meters() {
                    match most.get_mut(&now.device) {
                        Some(known) if known.own >= now.own => {}
                        _ => drop(most.insert(now.device.clone(), now)),
                    }
                }
                // A run may be over before its first quarter of a second is: what it holds at first is told at once.
                let is_first = sent.is_empty() && most.values().any(|it| it.own > 0);
                if is_first || look % LOOKS == 0 {
                    // Temperatures are slow to ask for, and slow to change.
                    if let Some(driver) = driver.as_ref().filter(|_| look % (20 * LOOKS) == LOOKS) {
                        gpus = driver.gpus();
                    }
                    let measured =
                        driver.as_ref().map(|driver| sources.gpus(driver, &gpus)).unwrap_or_default();
                    for mut now in measured {
                        // A GPU's own books tell what its bytes are, the driver how many they are with all around them.
                        if let Some(known) = most.remove(&now.device).filter(|_| now.parts.is_empty()) {
                            now.parts = known.parts;
                        }
                        most.insert(now.device.clone(), now);
                    }
                    let is_new = |it: &Measured| sent.get(&it.device).is_none_or(|known| !known.is_as(it));
                    let new: Vec<Measured> = std::mem::take(&mut most).into_values().filter(is_new).collect();
                    // What has not changed needs no frame.
                    if !new.is_empty() {
                        for measured in new {
                            sent.insert(measured.device.clone(), measured.clone());
                            if to.send(measured).is_err() {
                                return;
                            }
                        }
                        wake();
                    }
                }
                if stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        // Without it nothing is measured, and the screen says so.
        let _ = std::thread::Builder::new().name("run's memory".into()).spawn(body);
        Some(Self { samples, _stop: stop })
    }

    /// What was read since.
    pub fn samples(&self) -> impl Iterator<Item = Measured> + '_ {
        self.samples.try_iter()
    }
}
