//! What a device map does to the units of a model, and what is wrong with it as a map.

use super::{DeviceMap, Target, memory_name};
use crate::plan::device::{Device, DeviceKind};
use crate::plan::layout::{Layout, Plan, Split};
use crate::plan::naming::{self, Meaning};
use crate::plan::planner::Case;
use crate::plan::presets;
use crate::plan::unit::{Model, UnitKind};

/// What a map does to the units of a model, and what is wrong with it as a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The plan; a unit the map forgets is put with the unit before it.
    pub plan: Plan,
    /// Units without a device.
    pub uncovered: Vec<usize>,
    /// Buffers without a device, by name.
    pub uncovered_buffers: Vec<String>,
    /// Units that two equally exact keys send to different devices.
    pub contradicted: Vec<usize>,
    /// Keys of layers or blocks that the model does not have.
    pub phantom: Vec<String>,
    /// Keys that mean nothing here.
    pub unknown: Vec<String>,
    /// Keys that spell a module as another layout does: we understand them, PyTorch would not.
    pub foreign: Vec<String>,
    /// Keys and GPU ordinals that are not there.
    pub absent: Vec<(String, u32)>,
}

/// Reads a map for the model and the devices of a case.
pub fn resolve(map: &DeviceMap, case: &Case) -> Resolved {
    let model = &case.model;
    let mut devices = case.devices.clone();
    let mut resolved = Resolved {
        plan: Plan::new(Layout::Custom, Vec::new(), Vec::new()),
        uncovered: Vec::new(),
        uncovered_buffers: Vec::new(),
        contradicted: Vec::new(),
        phantom: Vec::new(),
        unknown: Vec::new(),
        foreign: Vec::new(),
        absent: Vec::new(),
    };
    // For every unit the most exact key so far: how exact, and its device.
    let mut chosen: Vec<Option<(usize, usize)>> = vec![None; model.units.len()];
    let mut rotary = model.buffers.is_empty();
    let mut parts: Vec<(usize, String, usize)> = Vec::new();
    let by_kind: std::collections::HashMap<UnitKind, usize> =
        model.units.iter().enumerate().map(|(index, unit)| (unit.kind, index)).collect();
    let has_vision = model.shape.vision.is_some();
    for (key, target) in &map.entries {
        let device = match target {
            Target::Gpu(id) => match presets::by_ordinal(&case.devices, *id as usize) {
                Some(device) => Some(device),
                None => {
                    resolved.absent.push((key.clone(), *id));
                    None
                }
            },
            Target::Cpu => Some(host(&mut devices, DeviceKind::Cpu, "cpu", case.host_memory)),
            Target::Disk => Some(host(&mut devices, DeviceKind::Disk, "disk", u64::MAX)),
        };
        let Some((meaning, inner)) = naming::read(key) else {
            resolved.unknown.push(key.clone());
            continue;
        };
        let layers = |unit: &usize| matches!(model.units[*unit].kind, UnitKind::Layer(_));
        let body = |unit: &usize| {
            layers(unit) || matches!(model.units[*unit].kind, UnitKind::TokenEmbedding | UnitKind::FinalNorm)
        };
        let vision = |unit: &usize| model.units[*unit].kind.is_vision();
        let blocks = |unit: &usize| matches!(model.units[*unit].kind, UnitKind::VisionBlock(_));
        let all = 0..model.units.len();
        let (units, covers_rotary): (Vec<usize>, bool) = match meaning {
            Meaning::Everything => (all.collect(), true),
            Meaning::Language => {
                (all.filter(|u| body(u) || model.units[*u].kind == UnitKind::Head).collect(), true)
            }
            Meaning::LanguageBody => (all.filter(body).collect(), true),
            Meaning::Layers => (all.filter(layers).collect(), false),
            Meaning::Vision if has_vision => (all.filter(vision).collect(), false),
            Meaning::VisionBlocks if has_vision => (all.filter(blocks).collect(), false),
            Meaning::Vision | Meaning::VisionBlocks => {
                resolved.unknown.push(key.clone());
                continue;
            }
            Meaning::Rotary => (Vec::new(), true),
            Meaning::Unit(kind) => match by_kind.get(&kind) {
                None => {
                    resolved.phantom.push(key.clone());
                    continue;
                }
                Some(&unit) => {
                    let own = memory_name(model, &model.units[unit].name);
                    let spelled_ours = key.starts_with(&own) || key.starts_with(&model.units[unit].name);
                    if !spelled_ours {
                        resolved.foreign.push(key.clone());
                    }
                    if !inner.is_empty() {
                        if let Some(device) = device {
                            parts.push((unit, inner.to_string(), device));
                        }
                        continue;
                    }
                    // A name of another layout never overrules the model's own spelling.
                    let exactness = if spelled_ours { usize::MAX } else { usize::MAX - 1 };
                    choose(&mut chosen, &mut resolved.contradicted, unit, exactness, device);
                    continue;
                }
            },
        };
        rotary |= covers_rotary;
        for unit in units {
            choose(&mut chosen, &mut resolved.contradicted, unit, key.len(), device);
        }
    }
    let assignment = place(&mut chosen, &parts, model, &mut resolved);
    if !rotary {
        resolved.uncovered_buffers = model.buffers.iter().map(|b| memory_name(model, &b.name)).collect();
    }
    let splits = std::mem::take(&mut resolved.plan.splits);
    resolved.plan = Plan { splits, ..Plan::new(Layout::Custom, devices, assignment) };
    resolved
}

fn choose(
    chosen: &mut [Option<(usize, usize)>],
    contradicted: &mut Vec<usize>,
    unit: usize,
    exactness: usize,
    device: Option<usize>,
) {
    let Some(device) = device else { return };
    match &mut chosen[unit] {
        Some((known, at)) if *known == exactness && *at != device => {
            if !contradicted.contains(&unit) {
                contradicted.push(unit);
            }
            *at = device;
        }
        Some((known, _)) if *known >= exactness => {}
        slot => *slot = Some((exactness, device)),
    }
}

/// Settles every unit: by its key, by the keys of its parts, or (forgotten) beside the unit before it.
fn place(
    chosen: &mut [Option<(usize, usize)>],
    parts: &[(usize, String, usize)],
    model: &Model,
    resolved: &mut Resolved,
) -> Vec<usize> {
    let mut assignment: Vec<usize> = Vec::with_capacity(chosen.len());
    for (unit, slot) in chosen.iter().enumerate() {
        let own: Vec<&(usize, String, usize)> = parts.iter().filter(|(u, ..)| *u == unit).collect();
        let before = assignment.last().copied().unwrap_or(0);
        let covers = |module: &str, tensor: &str| {
            tensor.strip_prefix(module).is_some_and(|r| r.is_empty() || r.starts_with('.'))
        };
        let home = match (slot, own.first()) {
            (Some((_, device)), _) => *device,
            (None, Some((_, _, device))) => {
                let tensors = model.units[unit].tensors.iter();
                let forgotten = tensors.filter(|t| !own.iter().any(|(_, module, _)| covers(module, &t.name)));
                if forgotten.count() > 0 {
                    resolved.uncovered.push(unit);
                }
                *device
            }
            (None, None) => {
                resolved.uncovered.push(unit);
                before
            }
        };
        for (_, module, device) in own.into_iter().filter(|(.., device)| *device != home) {
            let tensors = model.units[unit].tensors.iter().filter(|t| covers(module, &t.name));
            let weight_bytes = tensors.fold(0u64, |sum, t| sum.saturating_add(t.bytes(model.dtype)));
            resolved.plan.splits.push(Split { unit, module: module.clone(), device: *device, weight_bytes });
        }
        assignment.push(home);
    }
    assignment
}

fn host(devices: &mut Vec<Device>, kind: DeviceKind, name: &str, capacity: u64) -> usize {
    match devices.iter().position(|d| d.kind == kind) {
        Some(index) => index,
        None => {
            devices.push(Device::new(name, kind, capacity));
            devices.len() - 1
        }
    }
}
