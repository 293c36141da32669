//! A device as the planner sees it: a name, a capacity and what is already taken of it.

use super::bytes::GIB;

/// What sort of place a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// A CUDA device, by its ordinal after `CUDA_VISIBLE_DEVICES`.
    Cuda,
    /// A device that only keeps books: the run computes on the CPU and an allocation past the capacity is refused.
    Simulated,
    /// The processor and the host memory.
    Cpu,
    /// Weights left on disk, as accelerate does when host memory is short. Never chosen by our planner.
    Disk,
}

/// A device to plan for. All sizes are bytes.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Device {
    /// `cuda:0`, `sim:3`, `cpu`: unique within a plan.
    pub name: String,
    /// What sort of place it is.
    pub kind: DeviceKind,
    /// The card's own name, where known.
    pub card: Option<String>,
    /// The card's UUID, which stays true when ordinals change.
    pub uuid: Option<String>,
    /// All of its memory.
    pub capacity: u64,
    /// Held by other processes now.
    pub others: u64,
    /// Held by the driver and the libraries for a process of ours: context, workspaces, allocator slack.
    pub overhead: u64,
    /// Kept free on purpose.
    pub reserve: u64,
    /// Memory bandwidth in bytes a second, where known.
    pub bandwidth: Option<u64>,
    /// Dense half-precision operations a second, where known.
    pub flops: Option<u64>,
    /// A slice of a card (MIG). A process sees at most one of these.
    pub mig: bool,
    /// The machine that it is in, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
}

/// One of several machines.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Bytes a second over its network.
    pub network: u64,
}

impl Host {
    /// A network of 100 Gbit/s, where nothing is said of it.
    pub const NETWORK: u64 = 12_500_000_000;

    /// Seconds before the first byte from one machine arrives at another: a round of TCP in one room.
    const LATENCY: f64 = 50e-6;
}

/// Driver context, cuBLAS workspace and allocator slack of a CUDA process on one card: 0.6 GiB, a starting value
/// that a calibration replaces.
pub const CUDA_OVERHEAD: u64 = GIB * 6 / 10;

impl Device {
    /// Under which name what is measured on it is remembered: its card's, or `cpu`.
    pub fn learnt_as(&self) -> &str {
        match (&self.card, self.kind) {
            (Some(card), DeviceKind::Cuda) => card,
            _ => "cpu",
        }
    }

    /// A device of this kind with nothing taken.
    pub fn new(name: impl Into<String>, kind: DeviceKind, capacity: u64) -> Self {
        Self {
            name: name.into(),
            kind,
            card: None,
            uuid: None,
            capacity,
            others: 0,
            overhead: 0,
            reserve: 0,
            bandwidth: None,
            flops: None,
            mig: false,
            host: None,
        }
    }

    /// A simulated device: no driver overhead unless asked for.
    pub fn simulated(index: usize, capacity: u64) -> Self {
        Self::new(format!("sim:{index}"), DeviceKind::Simulated, capacity)
    }

    /// What a plan may put here: capacity less what others hold, the driver's overhead and the reserve.
    pub fn usable(&self) -> u64 {
        self.capacity.saturating_sub(self.others).saturating_sub(self.overhead).saturating_sub(self.reserve)
    }

    /// What a process would see as free after its context exists; this is what accelerate calls the device's memory.
    pub fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.others).saturating_sub(self.overhead)
    }

    /// Whether it is a GPU, real or simulated.
    pub fn is_gpu(&self) -> bool {
        matches!(self.kind, DeviceKind::Cuda | DeviceKind::Simulated)
    }
}

/// How fast the way between two devices is, for the order of stages and the predicted time. Bytes a second and seconds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Link {
    /// Bytes a second.
    pub bandwidth: f64,
    /// Seconds before the first byte arrives.
    pub latency: f64,
}

/// Ways between the devices of a plan; a pair that is not listed goes through host memory, or over the network between
/// two machines.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Links {
    pairs: Vec<(usize, usize, Link)>,
    /// The machine of each device, where there are several.
    hosts: Vec<Option<Host>>,
}

impl Links {
    /// From pairs of device indices.
    pub fn new(pairs: Vec<(usize, usize, Link)>) -> Self {
        Self { pairs, hosts: Vec::new() }
    }

    /// The same between devices of several machines.
    pub fn among(mut self, devices: &[Device]) -> Self {
        let several = devices.iter().any(|device| device.host != devices[0].host);
        self.hosts =
            if several { devices.iter().map(|device| device.host.clone()).collect() } else { Vec::new() };
        self
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.hosts.is_empty()
    }

    /// The way from one device to another.
    pub fn between(&self, a: usize, b: usize) -> Link {
        let same = |pair: &&(usize, usize, Link)| (pair.0, pair.1) == (a, b) || (pair.0, pair.1) == (b, a);
        let host = |device: usize| self.hosts.get(device).and_then(Option::as_ref);
        match (self.pairs.iter().find(same), host(a), host(b)) {
            (Some(pair), ..) => pair.2,
            (None, Some(one), Some(other)) if one.name != other.name => {
                // Out of one machine's memory, over the network, into the other's.
                let network = one.network.min(other.network).max(1) as f64;
                let bandwidth = 1.0 / (1.0 / Link::HOST.bandwidth + 1.0 / network);
                Link { bandwidth, latency: Link::HOST.latency + Host::LATENCY }
            }
            _ => Link::HOST,
        }
    }
}

impl Link {
    /// Through host memory over PCIe 4 x16, the slow case that always works (peers' measurements: 289 MiB in 25 to 30 ms).
    pub const HOST: Link = Link { bandwidth: 11e9, latency: 30e-6 };
    /// Directly over PCIe 4 x16 (289 MiB in about 12 ms).
    pub const PCIE: Link = Link { bandwidth: 24e9, latency: 20e-6 };
    /// Over NVLink.
    pub const NVLINK: Link = Link { bandwidth: 200e9, latency: 10e-6 };

    /// Seconds for a message of so many bytes.
    pub fn seconds(&self, bytes: u64) -> f64 {
        self.latency + bytes as f64 / self.bandwidth
    }
}
