//! The automatic device map of mistral.rs (`auto_device_map.rs`, `get_device_layers`), applied to InternVL by its rule:
//! front to back, as many layers as fit, everything that is no layer on the first device.

use super::assumptions::AttentionKind;
use super::bytes::MIB;
use super::device::{Device, DeviceKind};
use super::layout::{Layout, Plan};
use super::planner::Case;
use super::presets::{gpus, no_gpu};
use super::unit::UnitKind;
use crate::{Problem, Result};

/// What the rule looks at, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// One layer.
    pub layer: u64,
    /// Number of layers.
    pub layers: u64,
    /// Everything that is not a layer.
    pub non_mapped: u64,
    /// Temporary memory of a layer.
    pub mapped_activation: u64,
    /// Temporary memory of the rest (vision).
    pub non_mapped_activation: u64,
    /// Keys and values of a layer at the rule's own length.
    pub kv_per_layer: u64,
}

/// Layers a device gets; the first may get none and is then passed over with a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// Index into the capacities; one past them is the CPU.
    pub device: usize,
    /// Number of layers.
    pub layers: u64,
}

/// Runs the rule over devices with these net capacities, the CPU (where allowed) last. Returns the layers of each device
/// in turn, or the sentence of its refusal.
pub fn layers(caps: &[u64], cpu: Option<u64>, s: Sizes) -> Result<Vec<Given>> {
    let all: Vec<u64> = caps.iter().copied().chain(cpu).collect();
    let mut given = Vec::new();
    let mut left = s.layers;
    let mut rest = s.layer.saturating_mul(s.layers).saturating_add(s.non_mapped);
    for (device, &cap) in all.iter().enumerate() {
        if left == 0 && rest == 0 {
            break;
        }
        let first = device == 0;
        let fixed =
            if first { s.non_mapped_activation.max(s.mapped_activation) } else { s.mapped_activation };
        if first && fixed.saturating_add(s.non_mapped) > cap {
            return Err(Problem::new(format!(
                "mistral.rs refuses: the first device cannot hold what is no layer ({} of {cap} bytes)",
                fixed.saturating_add(s.non_mapped)
            )));
        }
        if rest.saturating_add(fixed).saturating_add(s.kv_per_layer.saturating_mul(left)) <= cap {
            given.push(Given { device, layers: left });
            return Ok(given);
        }
        let mut used = if first { fixed.saturating_add(s.non_mapped) } else { fixed };
        let mut count = 0;
        let each = s.layer.saturating_add(s.kv_per_layer);
        while count < left && used.saturating_add(each) <= cap {
            used = used.saturating_add(each);
            count += 1;
        }
        given.push(Given { device, layers: count });
        if count == 0 {
            // The original leaves what is no layer uncharged when the first device takes no layer.
            continue;
        }
        left -= count;
        rest = rest.saturating_sub(s.layer.saturating_mul(count));
        if first {
            rest = rest.saturating_sub(s.non_mapped);
        }
    }
    if left == 0 && rest == 0 {
        return Ok(given);
    }
    Err(Problem::new(format!("mistral.rs refuses: the model is over the devices by {rest} bytes")))
}

/// What mistral.rs leaves of free memory: 2 percent, at least 512 MiB, are kept.
pub fn net(available: u64) -> u64 {
    available - available.min((available / 50).max(512 * MIB))
}

/// Tokens it reserves keys and values for.
const SEQUENCE: u64 = 4096;

/// The plan of the rule for a case. The rule's own defaults apply: batch 1, 4,096 tokens, one image.
pub fn plan(case: &Case) -> Result<Plan> {
    let gpus = gpus(&case.devices);
    if gpus.is_empty() {
        return Err(no_gpu(Layout::MistralRs.name()));
    }
    let model = &case.model;
    let decoder = &model.shape.decoder;
    let layer_units = || model.units.iter().filter(|u| matches!(u.kind, UnitKind::Layer(_)));
    let mapped: u64 = layer_units().fold(0, |sum, u| sum.saturating_add(u.weight_bytes));
    let layer = mapped.checked_div(decoder.layers).unwrap_or(0);
    let element = model.dtype.element_bytes();
    let score_rows = model.shape.tokens_per_tile.saturating_add(SEQUENCE.min(1024));
    let vision_scores = model.shape.vision.as_ref().map_or(0, |(v, _)| {
        v.heads.saturating_mul(v.positions).saturating_mul(v.positions).saturating_mul(element)
    });
    let scores = decoder.heads.saturating_mul(score_rows).saturating_mul(score_rows).saturating_mul(element);
    let sizes = Sizes {
        layer,
        layers: decoder.layers,
        non_mapped: model.weight_bytes().saturating_sub(mapped),
        mapped_activation: scores,
        non_mapped_activation: vision_scores,
        kv_per_layer: decoder.kv_elements_per_token().saturating_mul(element).saturating_mul(SEQUENCE),
    };
    let caps: Vec<u64> = gpus.iter().map(|&g| net(case.devices[g].free())).collect();
    let mut devices = case.devices.clone();
    let cpu = match devices.iter().position(|d| d.kind == DeviceKind::Cpu) {
        Some(cpu) => cpu,
        None => {
            devices.push(Device::new("cpu", DeviceKind::Cpu, case.host_memory));
            devices.len() - 1
        }
    };
    let given = layers(&caps, Some(devices[cpu].free()), sizes)?;
    let mut places = Vec::new();
    for step in &given {
        let device = gpus.get(step.device).copied().unwrap_or(cpu);
        places.extend(std::iter::repeat_n(device, step.layers as usize));
    }
    let assignment = model.units.iter().map(|unit| match unit.kind {
        UnitKind::Layer(index) => places.get(index).copied().unwrap_or(cpu),
        _ => gpus[0],
    });
    let assignment: Vec<usize> = assignment.collect();
    if !assignment.contains(&cpu) && devices.len() > case.devices.len() {
        devices.pop();
    }
    let mut plan = Plan::new(Layout::MistralRs, devices, assignment);
    plan.notes.push("mistral.rs itself does not run InternVL; this is where its rule would put it".into());
    if case.assumptions.attention.value != AttentionKind::Eager {
        plan.notes.push("its rule keeps room for one whole matrix of attention scores".into());
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOY: Sizes = Sizes {
        layer: 40,
        layers: 8,
        non_mapped: 106,
        mapped_activation: 10,
        non_mapped_activation: 50,
        kv_per_layer: 5,
    };

    fn counts(caps: &[u64], cpu: Option<u64>) -> Vec<(usize, u64)> {
        layers(caps, cpu, TOY).unwrap().iter().map(|g| (g.device, g.layers)).collect()
    }

    #[test]
    fn greedy_front_to_back() {
        assert_eq!(counts(&[1000, 1000], Some(9999)), [(0, 8)]);
        assert_eq!(counts(&[300, 300], Some(9999)), [(0, 3), (1, 5)]);
        assert_eq!(counts(&[250, 150], Some(9999)), [(0, 2), (1, 3), (2, 3)]);
        assert_eq!(counts(&[160, 1000], Some(9999)), [(0, 0), (1, 8)]);
    }

    #[test]
    fn its_defects_are_kept() {
        // What is no layer is never charged when the first device takes none: all layers lie, yet the CPU is opened.
        assert_eq!(counts(&[200, 200, 200], Some(9999)), [(0, 0), (1, 4), (2, 4), (3, 0)]);
        let short = layers(&[200, 200], None, TOY).unwrap_err();
        assert!(short.what.contains("over the devices by 266 bytes"), "{short}");
        let refused = layers(&[150, 1000], Some(9999), TOY).unwrap_err();
        assert!(refused.what.contains("156 of 150"), "{refused}");
    }
}
