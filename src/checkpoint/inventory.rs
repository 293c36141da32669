//! The one list of units: every unit of the model with the tensors that the files really hold.

use std::collections::{BTreeMap, HashSet};

use safetensors::tensor::Dtype;

use super::config::Config;
use super::names::{self, Expected, UnitKind, UnitSpec};
use super::weights::{StoredTensor, WeightFiles};
use crate::{Problem, Result};

/// A unit: the smallest thing that is placed on a device.
#[derive(Debug, Clone)]
pub struct Unit {
    /// What it is.
    pub kind: UnitKind,
    /// Index among units of its kind.
    pub index: usize,
    /// Its module path as the files spell it, also its key in a Hugging Face `device_map`.
    pub name: String,
    /// Its tensors by our local name, with where the files hold them.
    pub tensors: BTreeMap<String, StoredTensor>,
    /// Whether it has no weights of its own but shares the token embedding's (a tied head).
    pub tied: bool,
}

impl Unit {
    /// Bytes of its weights as stored; 0 for a tied head.
    pub fn bytes(&self) -> u64 {
        if self.tied { 0 } else { self.tensors.values().map(StoredTensor::bytes).sum() }
    }

    /// Number of parameters; 0 for a tied head.
    pub fn parameters(&self) -> u64 {
        if self.tied {
            return 0;
        }
        self.tensors.values().map(|t| t.shape.iter().map(|n| *n as u64).product::<u64>()).sum()
    }
}

/// Most names listed in one message.
const NAMES_SHOWN: usize = 4;

/// Matches the files' tensors to the model's units.
///
/// # Errors
/// Tensors that are missing, of another shape or an unreadable type, unexpected ones, LoRA adapters and Flash
/// (ViR) weights.
pub fn units(config: &Config, files: &WeightFiles, place: &str) -> Result<Vec<Unit>> {
    refuse_known_extras(files, place)?;
    let mut taken = HashSet::new();
    let mut missing = Vec::new();
    let mut found = Vec::new();
    for spec in names::units(config) {
        match locate(&spec, files) {
            Ok((name, located)) => {
                let mut tensors = BTreeMap::new();
                for (expected, full_name) in located {
                    let Some(stored) = files.tensors.get(&full_name) else { continue };
                    check(&expected, &full_name, stored, files, place)?;
                    taken.insert(full_name);
                    tensors.insert(expected.name, stored.clone());
                }
                found.push(Unit { kind: spec.kind, index: spec.index, name, tensors, tied: false });
            }
            Err(_) if spec.kind == UnitKind::Head && config.decoder.tied => {
                found.push(tied_head(&spec, &found));
            }
            Err(absent) => missing.extend(absent),
        }
    }
    if !missing.is_empty() {
        return Err(Problem::new(format!("lacks {}", listed(&missing)))
            .at(place)
            .fix("the weights are incomplete or belong to another model: download the checkpoint again, or check config.json"));
    }
    let unexpected: Vec<String> =
        files.tensors.keys().filter(|name| !taken.contains(*name) && !is_recomputed(name)).cloned().collect();
    if !unexpected.is_empty() {
        return Err(Problem::new(format!("holds what this model has no place for: {}", listed(&unexpected)))
            .at(place)
            .fix("the weights belong to another model or version: check config.json, or download the checkpoint again"));
    }
    Ok(found)
}

/// Buffers that old exporters wrote and every implementation computes itself.
fn is_recomputed(name: &str) -> bool {
    name.ends_with("rotary_emb.inv_freq") || name.ends_with("embeddings.position_ids")
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 if names.len() == 1 => format!("the tensor {shown}"),
        0 => format!("{} tensors: {shown}", names.len()),
        more => format!("{} tensors: {shown} and {more} more", names.len()),
    }
}

type Located = (String, Vec<(Expected, String)>);

/// Finds a unit under one of its module paths; otherwise says what is missing under the likeliest one.
fn locate(spec: &UnitSpec, files: &WeightFiles) -> std::result::Result<Located, Vec<String>> {
    let mut fewest: Option<Vec<String>> = None;
    for module in &spec.modules {
        for grouping in &spec.groupings {
            let mut located = Vec::with_capacity(grouping.len());
            let mut absent = Vec::new();
            for tensor in grouping {
                let spellings = std::iter::once(&tensor.name).chain(&tensor.aliases);
                match spellings.map(|s| format!("{module}.{s}")).find(|s| files.tensors.contains_key(s)) {
                    Some(name) => located.push((tensor.clone(), name)),
                    None => absent.push(format!("{module}.{}", tensor.name)),
                }
            }
            if absent.is_empty() {
                return Ok((module.clone(), located));
            }
            if fewest.as_ref().is_none_or(|known| absent.len() < known.len()) {
                fewest = Some(absent);
            }
        }
    }
    Err(fewest.unwrap_or_default())
}

fn check(
    expected: &Expected,
    name: &str,
    stored: &StoredTensor,
    files: &WeightFiles,
    place: &str,
) -> Result<()> {
    let file = files.files.get(stored.file).map_or(place, |(name, _)| name);
    let place = format!("{place}, {file}, {name}");
    if stored.shape != expected.shape {
        return Err(Problem::new(format!(
            "has shape {:?}, but config.json asks for {:?}",
            stored.shape, expected.shape
        ))
        .at(place)
        .fix("config.json and weights belong to different models: download both again"));
    }
    if !matches!(stored.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
        return Err(Problem::new(format!(
            "is stored as {:?}; Shardscope reads F32, F16 and BF16",
            stored.dtype
        ))
        .at(place)
        .fix("choose the unquantised checkpoint"));
    }
    Ok(())
}

fn tied_head(spec: &UnitSpec, found: &[Unit]) -> Unit {
    let embedding = found.iter().find(|unit| unit.kind == UnitKind::TokenEmbedding);
    Unit {
        kind: UnitKind::Head,
        index: 0,
        name: spec.modules.last().cloned().unwrap_or_default(),
        tensors: embedding.map(|unit| unit.tensors.clone()).unwrap_or_default(),
        tied: true,
    }
}

fn refuse_known_extras(files: &WeightFiles, place: &str) -> Result<()> {
    if let Some(lora) = files.tensors.keys().find(|n| n.contains("lora_") || n.contains(".base_layer.")) {
        return Err(Problem::new(format!("holds unmerged LoRA weights ({lora})"))
            .at(place)
            .fix("merge the adapters into the weights first (`merge_and_unload` of peft, or tools/merge_lora.py of OpenGVLab/InternVL)"));
    }
    let flash = ["mlp2.", "pooling_before_gating.", "gating."];
    if let Some(name) = files.tensors.keys().find(|n| flash.iter().any(|prefix| n.starts_with(prefix))) {
        return Err(Problem::new(format!(
            "is a Flash variant ({name}), whose tiles have 64 or 256 tokens; Shardscope does not run these"
        ))
        .at(place)
        .fix("choose the checkpoint of the same size without \"Flash\" in its name"));
    }
    if let Some(name) = files.tensors.keys().find(|n| n.ends_with(".qweight") || n.ends_with(".weight_scale"))
    {
        return Err(Problem::new(format!("holds quantised weights ({name})"))
            .at(place)
            .fix("choose the unquantised checkpoint"));
    }
    Ok(())
}
