//! Fixed rules by which evaluation toolkits spread models: they count layers and look at no memory.
//!
//! Formulas: OpenGVLab/InternVL `internvl_chat/internvl/model/__init__.py` (`vit_alpha`) and the history of
//! open-compass/VLMEvalKit (`split_model`, July 2024 to April 2025), defects included.

use super::device::Device;
use super::layout::{Layout, Plan};
use super::planner::Case;
use super::unit::UnitKind;
use crate::{Problem, Result};

/// A rule that spreads layers by counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// InternVL: the first GPU counts as half a GPU; vision, embeddings, norm, head and the last layer lie there too.
    InternVl,
    /// The first flavour of that rule: the first GPU counts as 0.8.
    InternVl08,
    /// The flavour of the MMAlaya2 clone: 0.2.
    InternVl02,
    /// Qwen2-VL-72B and Qwen2.5-VL-72B: eight virtual layers for what is not one; norm and head last.
    Qwen2Vl,
    /// LLaVA-OneVision-72B: the same counts; only the head last.
    LlavaOneVision,
    /// Llama-3.2-90B-Vision: twelve virtual layers; norm, head and projector last.
    Llama32Vision,
}

impl Rule {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Rule::InternVl => "internvl",
            Rule::InternVl08 => "internvl-0.8",
            Rule::InternVl02 => "internvl-0.2",
            Rule::Qwen2Vl => "qwen2-vl",
            Rule::LlavaOneVision => "llava-onevision",
            Rule::Llama32Vision => "llama-3.2-vision",
        }
    }

    /// How many layers it counts out to each of `gpus` GPUs; may be more in all than there are, and is never fewer.
    pub fn counts(self, layers: u64, gpus: u64) -> Vec<u64> {
        let gpus = gpus.clamp(1, 4096);
        let last = gpus as usize - 1;
        let vision_first = |share: f64, missing: f64| {
            let each = (layers as f64 / (gpus as f64 - missing)).ceil();
            let mut counts = vec![each as u64; gpus as usize];
            counts[0] = (each * share).ceil() as u64;
            counts
        };
        match self {
            Rule::InternVl => vision_first(0.5, 0.5),
            Rule::InternVl08 => vision_first(0.8, 0.2),
            Rule::InternVl02 => vision_first(0.2, 0.8),
            Rule::Qwen2Vl | Rule::LlavaOneVision => {
                let mut counts = vec![layers.saturating_add(8).div_ceil(gpus); gpus as usize];
                counts[0] = counts[0].saturating_sub(6);
                counts[last] = counts[last].saturating_sub(2);
                counts
            }
            Rule::Llama32Vision => {
                let total = layers.saturating_add(12);
                let mut counts = vec![total / gpus; gpus as usize];
                counts[last] += total % gpus;
                counts[0] = counts[0].saturating_sub(5);
                counts[last] = counts[last].saturating_sub(7);
                counts
            }
        }
    }

    /// The GPU of each layer, after the counts are clipped to the layers there are and the last layer is put where the
    /// rule wants it.
    pub fn layers(self, layers: u64, gpus: u64) -> Vec<usize> {
        let mut places = Vec::new();
        for (gpu, count) in self.counts(layers, gpus).into_iter().enumerate() {
            let left = layers - places.len() as u64;
            places.extend(std::iter::repeat_n(gpu, count.min(left) as usize));
        }
        // A rule that counts too few leaves the rest to the last GPU.
        places.resize(layers as usize, gpus.max(1) as usize - 1);
        if self.pins_last_layer()
            && let Some(last) = places.last_mut()
        {
            *last = 0;
        }
        places
    }

    fn pins_last_layer(self) -> bool {
        matches!(self, Rule::InternVl | Rule::InternVl08 | Rule::InternVl02)
    }

    /// Whether a unit that is no layer lies on the last GPU instead of the first.
    fn is_last(self, kind: UnitKind) -> bool {
        match self {
            Rule::InternVl | Rule::InternVl08 | Rule::InternVl02 => false,
            Rule::Qwen2Vl => kind.is_tail(),
            Rule::LlavaOneVision => kind == UnitKind::Head,
            Rule::Llama32Vision => kind.is_tail() || kind == UnitKind::Projector,
        }
    }
}

/// The plan of a rule over all GPUs of the case, in the order they are listed.
pub fn by_rule(case: &Case, rule: Rule) -> Result<Plan> {
    let gpus = gpus(&case.devices);
    if gpus.is_empty() {
        return Err(no_gpu(rule.name()));
    }
    let layers = case.model.shape.decoder.layers;
    let places = rule.layers(layers, gpus.len() as u64);
    let assignment = case.model.units.iter().map(|unit| {
        gpus[match unit.kind {
            UnitKind::Layer(index) => places.get(index).copied().unwrap_or(0),
            kind if rule.is_last(kind) => gpus.len() - 1,
            _ => 0,
        }]
    });
    let mut plan = Plan::new(Layout::Rule(rule), case.devices.clone(), assignment.collect());
    let counted: u64 = rule.counts(layers, gpus.len() as u64).iter().sum();
    if counted > layers {
        plan.notes.push(format!(
            "the rule counts out {counted} layers but there are {layers}: entries for layers {layers} to {} name nothing",
            counted - 1
        ));
    }
    Ok(plan)
}

/// Everything on the GPU with the most usable memory (the first of equals), or on the CPU where there is no GPU.
pub fn single(case: &Case) -> Result<Plan> {
    let candidates = case
        .devices
        .iter()
        .enumerate()
        .filter(|(_, d)| d.is_gpu() || case.devices.iter().all(|d| !d.is_gpu()));
    let largest = candidates.max_by_key(|&(index, device)| (device.usable(), std::cmp::Reverse(index)));
    let (index, _) = largest.ok_or_else(no_device)?;
    Ok(Plan::new(Layout::Single, case.devices.clone(), vec![index; case.model.units.len()]))
}

/// Indices of the GPUs among devices.
pub(super) fn gpus(devices: &[Device]) -> Vec<usize> {
    (0..devices.len()).filter(|&index| devices[index].is_gpu()).collect()
}

/// The number other programs know a GPU by: its CUDA ordinal, or its place among simulated GPUs.
pub(super) fn ordinal(devices: &[Device], device: usize) -> Option<usize> {
    let at = devices.get(device).filter(|d| d.is_gpu())?;
    let named = at.name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
    named.or_else(|| gpus(devices).iter().position(|&gpu| gpu == device))
}

/// The GPU of an ordinal.
pub(super) fn by_ordinal(devices: &[Device], wanted: usize) -> Option<usize> {
    gpus(devices).into_iter().find(|&device| ordinal(devices, device) == Some(wanted))
}

/// What VLMEvalKit's `AUTO_SPLIT` asks for where no layout was chosen: `1` asks for the InternVL rule.
pub fn auto_split(value: Option<&str>) -> Option<Layout> {
    (value?.trim() == "1").then_some(Layout::Rule(Rule::InternVl))
}

pub(super) fn no_gpu(layout: &str) -> Problem {
    Problem::new(format!("the layout {layout} needs at least one GPU, and there is none"))
        .fix("use --layout auto, or simulated devices: --devices sim:8x40GiB")
}

pub(super) fn no_device() -> Problem {
    Problem::new("there is no device to plan for")
        .fix("name some: --devices auto, cpu, cuda:0,1 or sim:8x40GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effective(rule: Rule, layers: u64, gpus: u64) -> Vec<(usize, usize, bool)> {
        // First and last contiguous layer of each GPU, and whether it also holds the very last layer.
        let places = rule.layers(layers, gpus);
        let body = &places[..places.len() - 1];
        let span = |gpu: usize| {
            let first = body.iter().position(|&g| g == gpu);
            first.map_or((1, 0, false), |first| {
                let last = body.iter().rposition(|&g| g == gpu).unwrap_or(first);
                (first, last, places[places.len() - 1] == gpu)
            })
        };
        (0..gpus as usize).map(span).collect()
    }

    /// Counts of the InternVL rule as run from the original formula, for every depth the releases have.
    #[test]
    fn internvl_counts() {
        let table: &[(u64, u64, &[u64])] = &[
            (80, 8, &[6, 11, 11, 11, 11, 11, 11, 11]),
            (80, 6, &[8, 15, 15, 15, 15, 15]),
            (80, 5, &[9, 18, 18, 18, 18]),
            (80, 4, &[12, 23, 23, 23]),
            (80, 3, &[16, 32, 32]),
            (80, 2, &[27, 54]),
            (80, 1, &[80]),
            (64, 8, &[5, 9, 9, 9, 9, 9, 9, 9]),
            (64, 4, &[10, 19, 19, 19]),
            (64, 2, &[22, 43]),
            (60, 8, &[4, 8, 8, 8, 8, 8, 8, 8]),
            (60, 4, &[9, 18, 18, 18]),
            (60, 2, &[20, 40]),
            (48, 8, &[4, 7, 7, 7, 7, 7, 7, 7]),
            (48, 4, &[7, 14, 14, 14]),
            (48, 2, &[16, 32]),
            (36, 8, &[3, 5, 5, 5, 5, 5, 5, 5]),
            (36, 4, &[6, 11, 11, 11]),
            (36, 2, &[12, 24]),
            (32, 8, &[3, 5, 5, 5, 5, 5, 5, 5]),
            (32, 4, &[5, 10, 10, 10]),
            (32, 2, &[11, 22]),
            (28, 8, &[2, 4, 4, 4, 4, 4, 4, 4]),
            (28, 4, &[4, 8, 8, 8]),
            (28, 2, &[10, 19]),
            (24, 8, &[2, 4, 4, 4, 4, 4, 4, 4]),
            (24, 4, &[4, 7, 7, 7]),
            (24, 2, &[8, 16]),
        ];
        for &(layers, gpus, counts) in table {
            assert_eq!(Rule::InternVl.counts(layers, gpus), counts, "{layers} layers, {gpus} GPUs");
        }
    }

    #[test]
    fn internvl_effective_maps() {
        let spans = effective(Rule::InternVl, 80, 8);
        assert_eq!(spans[0], (0, 5, true));
        assert_eq!(spans[1], (6, 16, false));
        assert_eq!(spans[7], (72, 78, false));
        assert_eq!(effective(Rule::InternVl, 80, 2), [(0, 26, true), (27, 78, false)]);
        // 32 and 24 layers leave the eighth GPU with nothing.
        assert_eq!(effective(Rule::InternVl, 32, 8)[6..], [(28, 30, false), (1, 0, false)]);
        assert_eq!(effective(Rule::InternVl, 24, 8)[6..], [(22, 22, false), (1, 0, false)]);
        assert_eq!(effective(Rule::InternVl, 48, 8)[7], (46, 46, false));
        assert_eq!(effective(Rule::InternVl, 80, 1), [(0, 78, true)]);
    }

    #[test]
    fn other_flavours() {
        assert_eq!(Rule::InternVl08.counts(80, 8), [9, 11, 11, 11, 11, 11, 11, 11]);
        assert_eq!(Rule::InternVl08.counts(80, 4), [18, 22, 22, 22]);
        assert_eq!(Rule::InternVl08.counts(80, 2), [36, 45]);
        assert_eq!(Rule::InternVl08.counts(60, 4), [13, 16, 16, 16]);
        assert_eq!(Rule::InternVl08.counts(60, 2), [28, 34]);
        assert_eq!(Rule::InternVl08.counts(48, 8), [6, 7, 7, 7, 7, 7, 7, 7]);
        assert_eq!(Rule::InternVl08.counts(48, 2), [22, 27]);
        assert_eq!(effective(Rule::InternVl08, 80, 8)[7], (75, 78, false));
        assert_eq!(effective(Rule::InternVl08, 48, 8)[7], (1, 0, false));
        assert_eq!(Rule::InternVl02.counts(80, 8), [3, 12, 12, 12, 12, 12, 12, 12]);
        assert_eq!(Rule::InternVl02.counts(80, 4), [5, 25, 25, 25]);
        assert_eq!(Rule::InternVl02.counts(80, 2), [14, 67]);
        assert_eq!(Rule::InternVl02.counts(48, 8), [2, 7, 7, 7, 7, 7, 7, 7]);
        assert_eq!(Rule::InternVl02.counts(48, 4), [3, 15, 15, 15]);
        assert_eq!(Rule::InternVl02.counts(48, 2), [8, 40]);
    }

    #[test]
    fn other_large_models() {
        assert_eq!(Rule::Qwen2Vl.counts(80, 8), [5, 11, 11, 11, 11, 11, 11, 9]);
        assert_eq!(Rule::Qwen2Vl.counts(80, 6), [9, 15, 15, 15, 15, 13]);
        assert_eq!(Rule::Qwen2Vl.counts(80, 5), [12, 18, 18, 18, 16]);
        assert_eq!(Rule::Qwen2Vl.counts(80, 4), [16, 22, 22, 20]);
        assert_eq!(Rule::Qwen2Vl.counts(80, 3), [24, 30, 28]);
        assert_eq!(Rule::Qwen2Vl.counts(80, 2), [38, 42]);
        assert_eq!(Rule::Qwen2Vl.counts(80, 1), [80]);
        assert_eq!(Rule::Qwen2Vl.layers(80, 6).iter().position(|&g| g == 5), Some(69));
        assert_eq!(Rule::Llama32Vision.counts(100, 8), [9, 14, 14, 14, 14, 14, 14, 7]);
        assert_eq!(Rule::Llama32Vision.counts(100, 4), [23, 28, 28, 21]);
        assert_eq!(Rule::Llama32Vision.counts(100, 3), [32, 37, 31]);
        assert_eq!(Rule::Llama32Vision.counts(100, 2), [51, 49]);
    }

    #[test]
    fn auto_split_asks_for_the_rule() {
        assert_eq!(auto_split(Some("1")), Some(Layout::Rule(Rule::InternVl)));
        assert_eq!((auto_split(Some("0")), auto_split(Some("")), auto_split(None)), (None, None, None));
    }

    #[test]
    fn no_layer_is_ever_left_out() {
        for rule in [Rule::InternVl, Rule::InternVl08, Rule::InternVl02, Rule::Qwen2Vl, Rule::Llama32Vision] {
            for layers in 1..120 {
                for gpus in 1..20 {
                    assert_eq!(rule.layers(layers, gpus).len(), layers as usize);
                }
            }
        }
    }
}
