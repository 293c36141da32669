//! NVIDIA GPUs through NVML (`libnvidia-ml.so.1`, `nvml.dll`): what they are, what they hold, who uses them.

use std::path::Path;

use nvml_wrapper::enum_wrappers::device::{
    P2pCapabilitiesIndex, P2pStatus, TemperatureSensor, TopologyLevel,
};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::host;
use crate::{Problem, Result};

/// The driver's management library.
pub struct Driver {
    nvml: Nvml,
}

/// A process on a GPU.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Its name, where it may be read.
    pub name: Option<String>,
    /// Bytes it holds, where the driver says (not under WDDM, nor on a sliced card).
    pub bytes: Option<u64>,
    /// Whether it is this program.
    pub own: bool,
}

/// Memory of a GPU, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// Held by processes.
    pub used: u64,
    /// Free.
    pub free: u64,
    /// Held by the driver itself.
    pub reserved: u64,
}

/// What is known of a GPU; what the driver does not tell is none.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Gpu {
    /// The driver's number, in the order of the PCI bus; not the CUDA ordinal.
    pub index: u32,
    /// The card's name.
    pub name: String,
    /// Its UUID.
    pub uuid: Option<String>,
    /// Its place on the PCI bus.
    pub pci: Option<String>,
    /// Its memory; none where the GPU is lost.
    pub memory: Option<Memory>,
    /// Percent of the time in which it computed.
    pub utilisation: Option<u32>,
    /// Watts.
    pub power: Option<f64>,
    /// Degrees Celsius.
    pub temperature: Option<u32>,
    /// Compute capability.
    pub capability: Option<(i32, i32)>,
    /// PCIe generation and lanes, now and at most.
    pub pcie: Option<[u32; 4]>,
    /// Active NVLinks.
    pub nvlinks: u32,
    /// Whether it drives a screen.
    pub display: bool,
    /// Processes that compute on it.
    pub processes: Vec<Process>,
    /// UUIDs of its MIG slices, with their memory.
    pub slices: Vec<(String, Option<Memory>)>,
    /// Whether it has fallen off the bus.
    pub lost: bool,
}

/// The way between two GPUs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pair {
    /// One GPU's number.
    pub a: u32,
    /// The other's.
    pub b: u32,
    /// NVLinks between them.
    pub nvlinks: u32,
    /// Where their ways meet: `same board`, `one PCIe switch`, `PCIe switches`, `host bridge`, `one NUMA node`, `across NUMA nodes`.
    pub meet: Option<&'static str>,
    /// Whether each may read the other's memory.
    pub peer: bool,
}

impl Pair {
    /// How fast, for the order of stages and predicted times.
    pub fn link(&self) -> crate::plan::device::Link {
        use crate::plan::device::Link;
        match (self.nvlinks, self.peer) {
            (1.., _) => {
                Link { bandwidth: Link::NVLINK.bandwidth / 4.0 * f64::from(self.nvlinks), ..Link::NVLINK }
            }
            (0, true) => Link::PCIE,
            _ => Link::HOST,
        }
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}

impl Driver {
    /// Opens the driver's library where the system has it.
    ///
    /// # Errors
    /// There is no driver, or it does not answer; this says why in a sentence, and the machine simply has no GPUs.
    pub fn open() -> Result<Self> {
        Nvml::init().map(|nvml| Self { nvml }).map_err(|error| absence(&error))
    }

    /// Opens a library by its path.
    ///
    /// # Errors
    /// As [`Driver::open`].
    pub fn open_library(path: &Path) -> Result<Self> {
        let built = Nvml::builder().lib_path(path.as_os_str()).init();
        built.map(|nvml| Self { nvml }).map_err(|error| absence(&error))
    }

    /// The driver's version, and the newest CUDA version it can run.
    pub fn versions(&self) -> (Option<String>, Option<String>) {
        let cuda = self.nvml.sys_cuda_driver_version().ok();
        (self.nvml.sys_driver_version().ok(), cuda.map(|v| format!("{}.{}", v / 1000, v % 1000 / 10)))
    }

    /// Every GPU. One that is lost or does not answer is listed as such and never hides the others.
    pub fn gpus(&self) -> Vec<Gpu> {
        let count = self.nvml.device_count().unwrap_or(0).min(1024);
        (0..count).map(|index| self.gpu(index)).collect()
    }

    fn gpu(&self, index: u32) -> Gpu {
        let mut gpu = Gpu {
            index,
            name: String::from("unknown GPU"),
            uuid: None,
            pci: None,
            memory: None,
            utilisation: None,
            power: None,
            temperature: None,
            capability: None,
            pcie: None,
            nvlinks: 0,
            display: false,
            processes: Vec::new(),
            slices: Vec::new(),
            lost: false,
        };
        let device = match self.nvml.device_by_index(index) {
            Ok(device) => device,
            Err(error) => {
                gpu.lost = is_lost(&error);
                return gpu;
            }
        };
        gpu.name = device.name().unwrap_or(gpu.name);
        gpu.uuid = device.uuid().ok();
        gpu.pci = device.pci_info().ok().map(|pci| pci.bus_id);
        match memory(&device) {
            Ok(memory) => gpu.memory = Some(memory),
            Err(error) => gpu.lost = is_lost(&error),
        }
        if gpu.lost {
            return gpu;
        }
        gpu.utilisation = device.utilization_rates().ok().map(|rates| rates.gpu);
        gpu.power = device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1000.0);
        gpu.temperature = device.temperature(TemperatureSensor::Gpu).ok();
        gpu.capability = device.cuda_compute_capability().ok().map(|c| (c.major, c.minor));
        gpu.pcie = pcie(&device);
        gpu.nvlinks = active_links(&device).count() as u32;
        gpu.display = device.is_display_active().unwrap_or(false);
        gpu.processes = processes(&device);
        if device.mig_mode().is_ok_and(|mode| mode.current == 1) {
            let slices = (0..device.mig_device_count().unwrap_or(0).min(64))
                .filter_map(|i| device.mig_device_by_index(i).ok());
            gpu.slices = slices.filter_map(|slice| Some((slice.uuid().ok()?, memory(&slice).ok()))).collect();
        }
        gpu
    }

    /// The way between every two GPUs.
    pub fn pairs(&self) -> Vec<Pair> {
        let count = self.nvml.device_count().unwrap_or(0).min(64);
        let mut pairs = Vec::new();
        for a in 0..count {
            for b in a + 1..count {
                let (Ok(first), Ok(second)) = (self.nvml.device_by_index(a), self.nvml.device_by_index(b))
                else {
                    continue;
                };
                let address = second.pci_info().ok().map(|pci| pci.bus_id);
                let between = active_links(&first).filter(|link| {
                    let remote = first.link_wrapper_for(*link).remote_pci_info().ok().map(|pci| pci.bus_id);
                    remote.is_some() && remote == address
                });
                let nvlinks = between.count() as u32;
                let peer = |from: &Device<'_>, to: &Device<'_>| {
                    matches!(from.p2p_status(to, P2pCapabilitiesIndex::Read), Ok(P2pStatus::Ok))
                };
                let mutual = peer(&first, &second) && peer(&second, &first);
                let meet = first.topology_common_ancestor(second).ok().map(|level| match level {
                    TopologyLevel::Internal => "same board",
                    TopologyLevel::Single => "one PCIe switch",
                    TopologyLevel::Multiple => "PCIe switches",
                    TopologyLevel::HostBridge => "host bridge",
                    TopologyLevel::Node => "one NUMA node",
                    TopologyLevel::System => "across NUMA nodes",
                });
                pairs.push(Pair { a, b, nvlinks, meet, peer: mutual });
            }
        }
        pairs
    }

    /// Memory, utilisation and processes of every GPU, and nothing slower: for sampling.
    pub fn readings(&self) -> Vec<super::Reading> {
        let count = self.nvml.device_count().unwrap_or(0).min(1024);
        let one = |index: u32| {
            let mut reading = super::Reading { device: index.to_string(), ..super::Reading::default() };
            match self.nvml.device_by_index(index) {
                Err(error) => reading.lost = is_lost(&error),
                Ok(device) => {
                    if let Ok(uuid) = device.uuid() {
                        reading.device = uuid;
                    }
                    match memory(&device) {
                        Ok(memory) => (reading.used, reading.total) = (memory.used, memory.total),
                        Err(error) => reading.lost = is_lost(&error),
                    }
                    reading.utilisation = device.utilization_rates().ok().map(|rates| rates.gpu);
                    let processes = processes(&device);
                    let bytes =
                        |own: bool| processes.iter().filter(|p| p.own == own).filter_map(|p| p.bytes).sum();
                    (reading.own, reading.others) = (bytes(true), bytes(false));
                    reading.neighbours = processes.into_iter().filter(|p| !p.own).collect();
                }
            }
            reading
        };
        (0..count).map(one).collect()
    }
}

fn active_links<'d>(device: &'d Device<'_>) -> impl Iterator<Item = u32> + 'd {
    (0..18).filter(|&link| device.link_wrapper_for(link).is_active().unwrap_or(false))
}

fn pcie(device: &Device<'_>) -> Option<[u32; 4]> {
    Some([
        device.current_pcie_link_gen().ok()?,
        device.current_pcie_link_width().ok()?,
        device.max_pcie_link_gen().ok()?,
        device.max_pcie_link_width().ok()?,
    ])
}

fn memory(device: &Device<'_>) -> Result<Memory, NvmlError> {
    let info = device.memory_info()?;
    Ok(Memory { total: info.total, used: info.used, free: info.free, reserved: info.reserved })
}

fn processes(device: &Device<'_>) -> Vec<Process> {
    let own = std::process::id();
    let listed = device.running_compute_processes().unwrap_or_default();
    let named = listed.into_iter().map(|process| Process {
        pid: process.pid,
        name: host::process_name(process.pid),
        bytes: match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        },
        own: process.pid == own,
    });
    named.collect()
}

fn is_lost(error: &NvmlError) -> bool {
    matches!(error, NvmlError::GpuLost | NvmlError::ResetRequired)
}

/// Why there is no driver, for a person.
fn absence(error: &NvmlError) -> Problem {
    match error {
        NvmlError::LibloadingError(_) => Problem::new("no NVIDIA driver was found on this machine"),
        NvmlError::FailedToLoadSymbol(symbol) => {
            Problem::new(format!("the driver's management library is not one we know ({symbol})"))
                .fix("update the NVIDIA driver")
        }
        NvmlError::DriverNotLoaded => Problem::new("the NVIDIA driver is installed but not loaded")
            .fix("load it (modprobe nvidia), or restart the machine after an update"),
        NvmlError::LibRmVersionMismatch => {
            Problem::new("the NVIDIA driver and its library have different versions")
                .fix("restart the machine")
        }
        NvmlError::NoPermission => Problem::new("the NVIDIA driver refuses this user")
            .fix("join the group that owns /dev/nvidia*, or give the container its devices"),
        other => Problem::new(format!("the NVIDIA driver does not answer: {other}")),
    }
}
