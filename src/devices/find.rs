//! From what the driver and the environment say to the devices of a plan.

use super::driver::{Driver, Gpu, Pair};
use super::host;
use crate::plan::cards;
use crate::plan::device::{CUDA_OVERHEAD, Links};
use crate::plan::spec::DeviceSpec;
use crate::plan::visible::{Physical, Visible, visible};
use crate::plan::{Device, DeviceKind};
use crate::{Problem, Result};

/// What CUDA itself says of one of its devices, for joining it with the driver's GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaDevice {
    /// Its ordinal.
    pub ordinal: usize,
    /// Its UUID, as 32 hexadecimal digits or in the driver's spelling.
    pub uuid: Option<String>,
    /// Its place on the PCI bus, in any of the usual spellings.
    pub pci: Option<String>,
}

/// Hexadecimal digits of an address or a UUID, small, without separators and leading zeros.
fn digits(text: &str) -> String {
    let stripped = text.trim().trim_start_matches("GPU-").trim_start_matches("MIG-");
    let hex: String =
        stripped.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_ascii_lowercase();
    hex.trim_start_matches('0').to_string()
}

/// The driver's number of each CUDA ordinal: by UUID, else by PCI address. CUDA counts the fastest card first and the
/// driver counts along the bus, so equal numbers mean nothing.
pub fn match_ordinals(cuda: &[CudaDevice], gpus: &[Gpu]) -> Vec<Option<usize>> {
    let same = |a: &Option<String>, b: &Option<String>| match (a, b) {
        (Some(a), Some(b)) => digits(a) == digits(b) && !digits(a).is_empty(),
        _ => false,
    };
    cuda.iter()
        .map(|device| {
            gpus.iter()
                .position(|gpu| same(&device.uuid, &gpu.uuid))
                .or_else(|| gpus.iter().position(|gpu| same(&device.pci, &gpu.pci)))
        })
        .collect()
}

/// The devices that a CUDA process would see, by the driver's list and the environment alone (no CUDA call is made, so that
/// a child process can still be given other devices). Without `CUDA_DEVICE_ORDER=PCI_BUS_ID` CUDA puts the fastest card
/// first, which is done here too.
pub fn cuda_devices(gpus: &[Gpu], visible_devices: Option<&str>, pci_order: bool) -> Vec<Device> {
    let mut order: Vec<&Gpu> = gpus.iter().filter(|gpu| !gpu.lost).collect();
    if !pci_order {
        let speed = |gpu: &Gpu| cards::find(&gpu.name).map_or(0, |card| card.flops);
        if let Some(fastest) = (0..order.len()).max_by_key(|&i| (speed(order[i]), std::cmp::Reverse(i))) {
            let first = order.remove(fastest);
            order.insert(0, first);
        }
    }
    let physical: Vec<Physical> = order
        .iter()
        .map(|gpu| Physical {
            uuid: gpu.uuid.clone().unwrap_or_default(),
            slices: gpu.slices.iter().map(|(uuid, _)| uuid.clone()).collect(),
        })
        .collect();
    let seen = visible(visible_devices, &physical);
    seen.into_iter()
        .enumerate()
        .map(|(ordinal, which)| match which {
            Visible::Gpu(index) => of_gpu(ordinal, order[index]),
            Visible::Slice(index, slice) => {
                let gpu = order[index];
                let mut device = of_gpu(ordinal, gpu);
                if let Some((uuid, memory)) = gpu.slices.get(slice) {
                    device.uuid = Some(uuid.clone());
                    device.mig = true;
                    if let Some(memory) = memory {
                        device.capacity = memory.total;
                        device.others = memory.used;
                    }
                }
                device
            }
        })
        .collect()
}

/// Kept free on a GPU that drives a screen, whose programs come and go: 1 GiB.
const DISPLAY_RESERVE: u64 = 1 << 30;

fn of_gpu(ordinal: usize, gpu: &Gpu) -> Device {
    let card = cards::find(&gpu.name);
    let memory = gpu.memory;
    let own: u64 = gpu.processes.iter().filter(|p| p.own).filter_map(|p| p.bytes).sum();
    Device {
        card: Some(gpu.name.clone()),
        uuid: gpu.uuid.clone(),
        // What the driver keeps for itself can never be had.
        capacity: memory.map_or(0, |m| m.total.saturating_sub(m.reserved)),
        others: memory.map_or(0, |m| m.used.saturating_sub(own)),
        overhead: CUDA_OVERHEAD,
        reserve: if gpu.display { DISPLAY_RESERVE } else { 0 },
        bandwidth: card.map(|c| c.bandwidth),
        flops: card.map(|c| c.flops),
        ..Device::new(format!("cuda:{ordinal}"), DeviceKind::Cuda, 0)
    }
}

/// The ways between devices, as the driver sees them.
pub fn links(devices: &[Device], gpus: &[Gpu], pairs: &[Pair]) -> Links {
    let place = |number: u32| {
        let uuid = gpus.iter().find(|gpu| gpu.index == number)?.uuid.as_ref()?;
        devices.iter().position(|device| device.uuid.as_ref() == Some(uuid))
    };
    let joined = pairs.iter().filter_map(|pair| Some((place(pair.a)?, place(pair.b)?, pair.link())));
    Links::new(joined.collect())
}

/// The CPU as a device: available host memory, of which an eighth is left to everything else.
pub fn cpu() -> Device {
    let (total, available) = host::memory().unwrap_or((0, 0));
    Device {
        card: host::processor(),
        others: total.saturating_sub(available),
        reserve: available / 8,
        ..Device::new("cpu", DeviceKind::Cpu, total)
    }
}

/// The devices of a SPEC, given the driver (or why there is none).
///
/// # Errors
/// CUDA devices are named that are not there.
pub fn devices(spec: &DeviceSpec, driver: &Result<Driver>) -> Result<Vec<Device>> {
    let cuda = || match driver {
        Ok(driver) => {
            let set = std::env::var("CUDA_VISIBLE_DEVICES").ok();
            let pci = std::env::var("CUDA_DEVICE_ORDER").is_ok_and(|order| order == "PCI_BUS_ID");
            cuda_devices(&driver.gpus(), set.as_deref(), pci)
        }
        Err(_) => Vec::new(),
    };
    match spec {
        DeviceSpec::Simulated(devices) => Ok(devices.clone()),
        DeviceSpec::Cpu => Ok(vec![cpu()]),
        DeviceSpec::Auto => {
            let found = cuda();
            Ok(if found.is_empty() { vec![cpu()] } else { found })
        }
        DeviceSpec::Cuda(ordinals) => {
            let found = cuda();
            if found.is_empty() {
                let why = match driver {
                    Err(problem) => problem.what.clone(),
                    Ok(_) => "the driver shows no GPU to this process (CUDA_VISIBLE_DEVICES)".into(),
                };
                return Err(Problem::new(format!("there are no CUDA devices: {why}"))
                    .fix("use --devices cpu, or plan for GPUs you do not have with --devices sim:8x40GiB"));
            }
            if ordinals.is_empty() {
                return Ok(found);
            }
            let pick = |&ordinal: &usize| {
                found.get(ordinal).cloned().ok_or_else(|| {
                    Problem::new(format!(
                        "there is no cuda:{ordinal}; {} CUDA devices are visible",
                        found.len()
                    ))
                    .fix("shardscope devices lists them")
                })
            };
            ordinals.iter().map(pick).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(index: u32, name: &str) -> Gpu {
        Gpu {
            index,
            name: name.into(),
            uuid: Some(format!("GPU-0a0b{index}-77")),
            pci: Some(format!("00000000:{:02X}:00.0", index + 1)),
            memory: Some(super::super::driver::Memory {
                total: 40 << 30,
                used: 1 << 30,
                free: 39 << 30,
                reserved: 0,
            }),
            utilisation: None,
            power: None,
            temperature: None,
            capability: None,
            pcie: None,
            nvlinks: 0,
            display: index == 2,
            processes: Vec::new(),
            slices: Vec::new(),
            lost: false,
        }
    }

    #[test]
    fn ordinals_are_joined_by_identity_not_by_number() {
        let gpus = [gpu(0, "NVIDIA T4"), gpu(1, "NVIDIA H100"), gpu(2, "NVIDIA T4")];
        let cuda = [
            CudaDevice { ordinal: 0, uuid: Some("0A0B1-77".into()), pci: None },
            CudaDevice { ordinal: 1, uuid: None, pci: Some("0000:01:00.0".into()) },
            CudaDevice { ordinal: 2, uuid: Some("unknown".into()), pci: Some("0:9:0".into()) },
        ];
        assert_eq!(match_ordinals(&cuda, &gpus), [Some(1), Some(0), None]);
    }

    #[test]
    fn the_fastest_card_is_first_unless_asked_otherwise() {
        let gpus = [gpu(0, "NVIDIA T4"), gpu(1, "NVIDIA H100 80GB HBM3"), gpu(2, "NVIDIA T4")];
        let names =
            |devices: &[Device]| -> Vec<String> { devices.iter().filter_map(|d| d.card.clone()).collect() };
        assert_eq!(names(&cuda_devices(&gpus, None, false))[0], "NVIDIA H100 80GB HBM3");
        assert_eq!(names(&cuda_devices(&gpus, None, true))[0], "NVIDIA T4");
        let chosen = cuda_devices(&gpus, Some("2,0"), true);
        assert_eq!(chosen[0].uuid.as_deref(), Some("GPU-0a0b2-77"));
        assert_eq!((chosen[0].name.as_str(), chosen[0].others), ("cuda:0", 1 << 30));
        assert!(chosen[0].reserve > 0 && chosen[1].reserve == 0, "a screen's GPU keeps room for it");
        assert!(cuda_devices(&gpus, Some(""), true).is_empty());
    }

    #[test]
    fn a_lost_gpu_is_not_planned_for() {
        let mut gpus = [gpu(0, "A100"), gpu(1, "A100")];
        gpus[0].lost = true;
        let devices = cuda_devices(&gpus, None, true);
        assert_eq!(devices.len(), 1);
        assert_eq!(devices[0].uuid.as_deref(), Some("GPU-0a0b1-77"));
    }

    #[test]
    fn a_machine_without_a_driver_has_a_cpu() {
        let none = Err(Problem::new("no NVIDIA driver was found on this machine"));
        assert_eq!(devices(&DeviceSpec::Auto, &none).unwrap()[0].name, "cpu");
        let refused = devices(&DeviceSpec::Cuda(vec![0]), &none).unwrap_err();
        assert!(refused.what.contains("no NVIDIA driver"));
    }
}
