//! A thread that reads the memory of every device at a steady pace: rings for the plots, a trace on disk, alarms.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::driver::Process;
use crate::{Problem, Result};

/// One device at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// The device: its UUID, or a simulated device's name.
    pub device: String,
    /// Bytes in use, by anyone.
    pub used: u64,
    /// All of its memory.
    pub total: u64,
    /// Bytes held by this program, where known.
    pub own: u64,
    /// Bytes held by other processes, where known.
    pub others: u64,
    /// Percent of the time in which it computed.
    pub utilisation: Option<u32>,
    /// Other processes on it.
    pub neighbours: Vec<Process>,
    /// What the bytes of this program are, where the reader knows: weights, keys and values, temporary.
    pub parts: Vec<(&'static str, u64)>,
    /// Whether it has fallen off the bus.
    pub lost: bool,
}

/// A point of a ring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Seconds since the sampler started.
    pub at: f64,
    /// Bytes in use, by anyone.
    pub used: u64,
    /// Bytes of other processes.
    pub others: u64,
    /// Percent of the time in which it computed.
    pub utilisation: Option<u32>,
}

/// Something the user should hear of.
#[derive(Debug, Clone, PartialEq)]
pub enum Alarm {
    /// A device has fallen off the bus.
    Lost {
        /// The device.
        device: String,
    },
    /// Other processes have grown past what was kept free for them.
    Neighbour {
        /// The device.
        device: String,
        /// Bytes they have grown since the start.
        grown: u64,
        /// The largest of them, by id and name.
        who: Option<Process>,
    },
    /// Other processes have gone back to half of that, or less.
    Relieved {
        /// The device.
        device: String,
    },
}

/// How to sample.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Between two readings.
    pub every: Duration,
    /// Points kept for each device.
    pub kept: usize,
    /// The trace, appended to as JSON lines; none keeps it in memory only.
    pub trace: Option<PathBuf>,
    /// Growth of other processes that is reported, in bytes.
    pub neighbour_limit: u64,
    /// Who hears of alarms at once.
    pub tell: Option<Sender<Alarm>>,
}

impl Default for Settings {
    /// Four readings a second, ten minutes kept, a neighbour reported from 256 MiB.
    fn default() -> Self {
        Self {
            every: Duration::from_millis(250),
            kept: 2400,
            trace: None,
            neighbour_limit: 256 << 20,
            tell: None,
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    rings: BTreeMap<String, VecDeque<Sample>>,
    peaks: BTreeMap<String, u64>,
    alarms: Vec<Alarm>,
    count: u64,
    trouble: Option<Problem>,
}

/// The running thread. It stops when this is dropped.
#[derive(Debug)]
pub struct Sampler {
    shared: Arc<Mutex<Shared>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Starts to read. `read` is called on the sampler's own thread; it gives one reading a device.
    ///
    /// # Errors
    /// The trace cannot be written, or no thread can be started.
    pub fn start(
        settings: Settings,
        mut read: impl FnMut() -> Vec<Reading> + Send + 'static,
    ) -> Result<Self> {
        let mut trace = match &settings.trace {
            None => None,
            Some(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                Some(BufWriter::new(file.map_err(|e| Problem::io("write the memory trace", path, &e))?))
            }
        };
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (stop, stopped) = bounded::<()>(1);
        let own = Arc::clone(&shared);
        let work = move || {
            let start = Instant::now();
            let mut watch = Watch { limit: settings.neighbour_limit, ..Watch::default() };
            let mut next = start;
            loop {
                let readings = read();
                let at = start.elapsed().as_secs_f64();
                let written = trace.as_mut().map(|file| write_trace(file, &readings, start));
                let alarms = watch.look(&readings);
                if let Some(tell) = &settings.tell {
                    // Nobody may be listening any more.
                    alarms.iter().for_each(|alarm| _ = tell.send(alarm.clone()));
                }
                {
                    let mut shared = lock(&own);
                    for reading in &readings {
                        shared.take(reading, at, settings.kept);
                    }
                    shared.alarms.extend(alarms);
                    shared.count += 1;
                    if let Some(Err(error)) = written {
                        // A full disk ends the trace, not the sampling.
                        trace = None;
                        shared.trouble = Some(Problem::new(format!("the memory trace ended: {error}")));
                    }
                }
                // A steady pace; a reading that took longer than a beat skips beats instead of hurrying.
                let now = Instant::now();
                while next <= now {
                    next += settings.every.max(Duration::from_millis(1));
                }
                match stopped.recv_timeout(next - now) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("memory sampler".into()).spawn(work);
        let thread =
            thread.map_err(|error| Problem::new(format!("cannot start the memory sampler: {error}")))?;
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Devices seen so far.
    pub fn devices(&self) -> Vec<String> {
        lock(&self.shared).rings.keys().cloned().collect()
    }

    /// The points kept for a device, oldest first.
    pub fn samples(&self, device: &str) -> Vec<Sample> {
        lock(&self.shared).rings.get(device).map(|ring| ring.iter().copied().collect()).unwrap_or_default()
    }

    /// The most that was in use on a device since the start (or the last [`Sampler::reset_peaks`]).
    pub fn peak(&self, device: &str) -> Option<u64> {
        lock(&self.shared).peaks.get(device).copied()
    }

    /// Forgets the peaks, as before a question.
    pub fn reset_peaks(&self) {
        lock(&self.shared).peaks.clear();
    }

    /// Alarms since the last call.
    pub fn alarms(&self) -> Vec<Alarm> {
        std::mem::take(&mut lock(&self.shared).alarms)
    }

    /// Readings made so far.
    pub fn count(&self) -> u64 {
        lock(&self.shared).count
    }

    /// What went wrong with the trace, if anything.
    pub fn trouble(&self) -> Option<Problem> {
        lock(&self.shared).trouble.clone()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A reader that panicked has nothing left to say.
            _ = thread.join();
        }
    }
}

/// The lock is only ever held for plain copies, so that what a panicking thread left is whole.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Shared {
    fn take(&mut self, reading: &Reading, at: f64, kept: usize) {
        if reading.lost {
            return;
        }
        let ring = self.rings.entry(reading.device.clone()).or_default();
        while ring.len() >= kept.max(1) {
            ring.pop_front();
        }
        ring.push_back(Sample {
            at,
            used: reading.used,
            others: reading.others,
            utilisation: reading.utilisation,
        });
        let peak = self.peaks.entry(reading.device.clone()).or_default();
        *peak = (*peak).max(reading.used);
    }
}

/// Watches for what should be reported, once each.
#[derive(Debug, Default)]
struct Watch {
    limit: u64,
    first_others: BTreeMap<String, u64>,
    told: Vec<String>,
    lost: Vec<String>,
}

impl Watch {
    fn look(&mut self, readings: &[Reading]) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        for reading in readings {
            let device = &reading.device;
            if reading.lost {
                if !self.lost.contains(device) {
                    self.lost.push(device.clone());
                    alarms.push(Alarm::Lost { device: device.clone() });
                }
                continue;
            }
            let first = *self.first_others.entry(device.clone()).or_insert(reading.others);
            let grown = reading.others.saturating_sub(first);
            if grown > self.limit && !self.told.contains(device) {
                self.told.push(device.clone());
                let who = reading.neighbours.iter().max_by_key(|p| p.bytes).cloned();
                alarms.push(Alarm::Neighbour { device: device.clone(), grown, who });
            } else if grown <= self.limit / 2
                && let Some(known) = self.told.iter().position(|known| known == device)
            {
                // The next growth is news again.
                self.told.remove(known);
                alarms.push(Alarm::Relieved { device: device.clone() });
            }
        }
        alarms
    }
}

fn write_trace(file: &mut BufWriter<File>, readings: &[Reading], start: Instant) -> std::io::Result<()> {
    let at = (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    for reading in readings {
        let mut line = serde_json::json!({"time": at, "device": reading.device, "bytes": reading.used});
        if let Some(fields) = line.as_object_mut() {
            if reading.own > 0 || reading.others > 0 {
                fields.insert("own".into(), reading.own.into());
                fields.insert("others".into(), reading.others.into());
            }
            if !reading.parts.is_empty() {
                let parts = reading.parts.iter().map(|(name, bytes)| ((*name).to_string(), (*bytes).into()));
                fields.insert("parts".into(), serde_json::Value::Object(parts.collect()));
            }
            if reading.lost {
                fields.insert("lost".into(), true.into());
            }
        }
        writeln!(file, "{line}")?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(device: &str, used: u64, others: u64) -> Reading {
        let neighbours =
            vec![Process { pid: 7, name: Some("trainer".into()), bytes: Some(others), own: false }];
        Reading { device: device.into(), used, total: 100 << 30, others, neighbours, ..Reading::default() }
    }

    #[test]
    fn rings_keep_the_last_points_and_the_peak() {
        let mut shared = Shared::default();
        for (at, used) in [1u64, 9, 3, 4].into_iter().enumerate() {
            shared.take(&reading("a", used, 0), at as f64, 3);
        }
        assert_eq!(shared.rings["a"].iter().map(|s| s.used).collect::<Vec<_>>(), [9, 3, 4]);
        assert_eq!(shared.peaks["a"], 9);
    }

    #[test]
    fn alarms_once_and_again_after_it_went_back() {
        let mut watch = Watch { limit: 100, ..Watch::default() };
        let mut tell = |others: u64| watch.look(&[reading("a", 500, others)]);
        assert!(tell(50).is_empty() && tell(150).is_empty());
        let alarms = tell(151);
        assert!(
            matches!(&alarms[..], [Alarm::Neighbour { grown: 101, who: Some(who), .. }] if who.name.as_deref() == Some("trainer"))
        );
        assert!(tell(200).is_empty() && tell(101).is_empty());
        assert_eq!(tell(100), [Alarm::Relieved { device: "a".into() }]);
        assert!(tell(60).is_empty());
        assert_eq!(tell(300).len(), 1);
        let lost = Reading { device: "a".into(), lost: true, ..Reading::default() };
        assert_eq!(watch.look(std::slice::from_ref(&lost)).len(), 1);
        assert!(watch.look(&[lost]).is_empty());
    }

    #[test]
    fn a_thread_reads_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("memory.jsonl");
        let settings =
            Settings { every: Duration::from_millis(1), trace: Some(trace.clone()), ..Settings::default() };
        let mut used = 0;
        let sampler = Sampler::start(settings, move || {
            used += 10;
            vec![Reading { parts: vec![("weights", 5)], ..reading("sim:0", used, 0) }]
        })
        .unwrap();
        while sampler.count() < 5 {
            std::thread::yield_now();
        }
        let samples = sampler.samples("sim:0");
        assert!(
            samples.len() >= 5
                && samples.windows(2).all(|w| w[1].used == w[0].used + 10 && w[1].at >= w[0].at)
        );
        assert!(sampler.peak("sim:0").is_some_and(|peak| peak >= 50));
        sampler.reset_peaks();
        assert_eq!(sampler.devices(), ["sim:0"]);
        drop(sampler);
        let text = std::fs::read_to_string(trace).unwrap();
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((first["device"].as_str(), first["bytes"].as_u64()), (Some("sim:0"), Some(10)));
        assert_eq!(first["parts"]["weights"], 5);
    }

    #[test]
    fn a_trace_that_cannot_be_written_is_refused() {
        let settings = Settings { trace: Some("/nowhere/at/all.jsonl".into()), ..Settings::default() };
        assert!(Sampler::start(settings, Vec::new).is_err());
    }
}
