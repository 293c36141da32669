//! The Hugging Face `device_map`: JSON, or a Python dict literal as VLMEvalKit and accelerate print it, in and out.
//!
//! A key covers everything below it and the longest key wins, as in accelerate. Devices are ordinals after
//! `CUDA_VISIBLE_DEVICES`, so that `0` is the first GPU of the case whatever it is called there.

mod resolve;
mod text;

use super::device::DeviceKind;
use super::layout::{Plan, Split};
use super::presets;
use super::unit::{Model, UnitKind};
use crate::{Problem, Result};
use text::{entries, tokens};

pub use resolve::{Resolved, resolve};

/// Where an entry points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A GPU by ordinal.
    Gpu(u32),
    /// Host memory.
    Cpu,
    /// Disk.
    Disk,
}

/// A device map: module paths and where they go, in the order they are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceMap {
    /// The entries, duplicates included.
    pub entries: Vec<(String, Target)>,
}

/// Longest text that is read.
const MOST_TEXT: usize = 16 << 20;
impl DeviceMap {
    /// Reads a map: JSON, a Python dict (`{'mlp1': 0, 'lm_head': 'cuda:1', 'x': device(type='cuda', index=2)}`), an
    /// `OrderedDict([('mlp1', 0), …])`, or any of these inside a line of a log.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |what: String| {
            Problem::new(what)
                .at("device map")
                .fix("give a JSON object or a Python dict of module names to devices")
        };
        if text.len() > MOST_TEXT {
            return Err(refuse("the text is longer than any device map".into()));
        }
        // In a log, the dict starts at the first brace (or list of pairs) that is followed by a quoted name.
        let starts = text.char_indices().filter(|&(at, c)| {
            let next = text[at + c.len_utf8()..].trim_start();
            match c {
                '{' => next.starts_with(['"', '\'', '}']),
                '[' => next.strip_prefix('(').is_some_and(|rest| rest.trim_start().starts_with(['"', '\''])),
                _ => false,
            }
        });
        let mut last_error = refuse("there is no map in this text".into());
        for (at, _) in starts.take(8) {
            match tokens(&text[at..]).and_then(|tokens| entries(&tokens)) {
                Ok(entries) => return Ok(Self { entries }),
                Err(what) => last_error = refuse(what),
            }
        }
        Err(last_error)
    }

    /// The map of a plan in the model's own module names: the tower as one entry where it is whole, `rotary_emb` always
    /// beside the first decoder layer, cut modules as entries of their own.
    pub fn of(plan: &Plan, model: &Model) -> Self {
        let target = |device: usize| match plan.devices.get(device).map(|d| d.kind) {
            Some(DeviceKind::Cpu) | None => Target::Cpu,
            Some(DeviceKind::Disk) => Target::Disk,
            Some(_) => Target::Gpu(presets::ordinal(&plan.devices, device).unwrap_or(0) as u32),
        };
        let in_memory = |name: &str| memory_name(model, name);
        let mut entries: Vec<(String, Target)> = Vec::new();
        let vision: Vec<usize> =
            (0..model.units.len()).filter(|&u| model.units[u].kind.is_vision()).collect();
        let whole =
            |units: &[usize]| units.windows(2).all(|w| plan.assignment[w[0]] == plan.assignment[w[1]]);
        let tower = in_memory(&model.shape.naming.vision_embeddings);
        let tower = tower.rsplit_once('.').map(|(parent, _)| parent.to_string());
        let as_one =
            whole(&vision) && !vision.is_empty() && plan.splits.iter().all(|s| !vision.contains(&s.unit));
        if let (true, Some(tower)) = (as_one, tower) {
            entries.push((tower, target(plan.assignment[vision[0]])));
        }
        let mut rotary_written = false;
        for (unit, u) in model.units.iter().enumerate() {
            if as_one && u.kind.is_vision() {
                continue;
            }
            let device = plan.assignment.get(unit).copied().unwrap_or(0);
            if !rotary_written && matches!(u.kind, UnitKind::Layer(_)) {
                rotary_written = true;
                entries.extend(model.buffers.iter().map(|b| (in_memory(&b.name), target(device))));
            }
            let cut: Vec<&Split> = plan.splits.iter().filter(|s| s.unit == unit).collect();
            let name = in_memory(&u.name);
            if cut.is_empty() {
                entries.push((name, target(device)));
                continue;
            }
            let mut written: Vec<String> = Vec::new();
            for tensor in u.tensors.iter() {
                let module = tensor.name.split_once('.').map_or(tensor.name.as_str(), |(module, _)| module);
                if !written.iter().any(|w| w == module) {
                    let away = cut.iter().find(|s| s.module == module).map_or(device, |s| s.device);
                    entries.push((format!("{name}.{module}"), target(away)));
                    written.push(module.to_string());
                }
            }
        }
        Self { entries }
    }

    /// As a JSON object: GPU ordinals as numbers, `"cpu"`, `"disk"`.
    pub fn to_json(&self) -> serde_json::Value {
        let value = |target: Target| match target {
            Target::Gpu(id) => serde_json::Value::from(id),
            Target::Cpu => "cpu".into(),
            Target::Disk => "disk".into(),
        };
        serde_json::Value::Object(self.entries.iter().map(|(name, t)| (name.clone(), value(*t))).collect())
    }
}

/// The spelling a module has in PyTorch's memory, which a `device_map` must use; transformers' own InternVL spells its
/// files differently.
fn memory_name(model: &Model, name: &str) -> String {
    if model.shape.naming.projector != "multi_modal_projector" {
        return name.to_string();
    }
    if let Some(rest) = name.strip_prefix("language_model.model.") {
        return format!("model.language_model.{rest}");
    }
    match name {
        "language_model.lm_head" => "lm_head".to_string(),
        other => format!("model.{other}"),
    }
}

#[cfg(test)]
mod tests;
