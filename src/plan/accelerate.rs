//! Where accelerate would put a model: its budget and its fill, as they really work, defects included.
//!
//! Source: huggingface/accelerate `src/accelerate/utils/modeling.py` (1.15.0), `get_balanced_memory`,
//! `infer_auto_device_map` and what they call. It knows weights only; a device that it has closed is never opened again.

mod fill;
mod model;
mod tree;

use super::device::{Device, DeviceKind};
use super::layout::{Layout, Plan, Split};
use super::planner::Case;
use super::presets::{gpus, no_gpu};
use crate::Result;
use tree::within;

pub(in crate::plan) use model::Prepared;
pub use model::tree_of;
pub use tree::{Module, Place, Placement, Tree};

/// Which budget goes before the fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `auto` and `balanced`.
    Balanced,
    /// `balanced_low_0`.
    LowZero,
    /// `sequential`: none.
    Sequential,
}

/// Where accelerate would put the model of a case.
pub fn plan(case: &Case, mode: Mode) -> Result<Plan> {
    plans(case, &[mode]).and_then(|mut made| made.pop().unwrap_or_else(|| Err(no_gpu("accelerate"))))
}

/// The same in several modes, preparing the model once.
pub fn plans(case: &Case, modes: &[Mode]) -> Result<Vec<Result<Plan>>> {
    let gpus = gpus(&case.devices);
    if gpus.is_empty() {
        return Err(no_gpu("accelerate"));
    }
    let prepared = case.prepared_for_accelerate();
    let mut caps: Vec<(Place, u64)> =
        gpus.iter().enumerate().map(|(id, &g)| (Place::Gpu(id as u32), case.devices[g].free())).collect();
    caps.push((Place::Cpu, case.host_memory));
    let one = |mode: &Mode| -> Result<Plan> {
        let caps = match mode {
            Mode::Sequential => caps.clone(),
            _ => prepared.tree.budget(&caps, *mode == Mode::LowZero, false)?,
        };
        Ok(as_plan(case, *mode, &gpus, prepared, &prepared.tree.fill(&caps)))
    };
    Ok(modes.iter().map(one).collect())
}

fn as_plan(case: &Case, mode: Mode, gpus: &[usize], prepared: &Prepared, placement: &Placement) -> Plan {
    let model = &case.model;
    let layout = match mode {
        Mode::Balanced => Layout::Accelerate,
        Mode::LowZero => Layout::AccelerateBalancedLow0,
        Mode::Sequential => Layout::AccelerateSequential,
    };
    let mut devices = case.devices.clone();
    let mut host =
        |kind: DeviceKind, name: &str, capacity: u64| match devices.iter().position(|d| d.kind == kind) {
            Some(index) => index,
            None => {
                devices.push(Device::new(name, kind, capacity));
                devices.len() - 1
            }
        };
    let mut device_of = |place: Place| match place {
        Place::Gpu(id) => gpus[id as usize],
        Place::Cpu => host(DeviceKind::Cpu, "cpu", case.host_memory),
        Place::Disk => host(DeviceKind::Disk, "disk", u64::MAX),
    };
    let mut assignment = vec![gpus[0]; model.units.len()];
    let mut splits = Vec::new();
    for (unit, path) in prepared.paths.iter().enumerate() {
        // The module of the unit, or the nearest around it, that was placed whole.
        if let Some(place) = prepared.around[unit].iter().find_map(|&node| placement.modules[node]) {
            assignment[unit] = device_of(place);
            continue;
        }
        let inside: Vec<(&str, usize)> = placement
            .map
            .iter()
            .filter(|(entry, _)| within(entry, path))
            .map(|(entry, place)| (entry[path.len()..].trim_start_matches('.'), device_of(*place)))
            .collect();
        let Some(&(_, home)) = inside.first() else { continue };
        assignment[unit] = home;
        for (module, device) in inside.into_iter().filter(|&(_, device)| device != home) {
            let tensors = model.units[unit].tensors.iter().filter(|t| within(&t.name, module));
            let weight_bytes = tensors.map(|t| t.bytes(model.dtype)).sum();
            splits.push(Split { unit, module: module.to_string(), device, weight_bytes });
        }
    }
    let mut plan = Plan::new(layout, devices, assignment);
    plan.splits = splits;
    plan
}
