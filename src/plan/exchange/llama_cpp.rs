//! llama.cpp's `--tensor-split`: a share for each GPU.

use super::{layer_places, no_gpu};
use crate::plan::layout::{Layout, Plan};
use crate::plan::planner::Case;
use crate::plan::presets;
use crate::plan::unit::UnitKind;
use crate::{Problem, Result};

/// llama.cpp `--tensor-split`: as many shares as GPUs, in their order. The number of layers of each, where the output counts
/// as one more layer of the last GPU that has any, says exactly what is meant ([`from_tensor_split`]).
///
/// # Errors
/// Layers on the host, or on GPUs that do not follow one another in their order, which shares cannot say.
pub fn to_tensor_split(plan: &Plan, case: &Case) -> Result<String> {
    let gpus = presets::gpus(&plan.devices);
    let mut shares = vec![0u64; gpus.len()];
    let mut now = 0;
    for place in layer_places(plan, case)? {
        let no_words = |what: &str| Problem::new(format!("a tensor split cannot say that {what}"));
        let ordinal = place.ok_or_else(|| {
            no_words("layers lie on the CPU").fix("export a device map or a topology instead")
        })?;
        let device = presets::by_ordinal(&plan.devices, ordinal);
        let at = device.and_then(|device| gpus.iter().position(|&gpu| gpu == device)).unwrap_or(now);
        if at < now {
            return Err(no_words("layers go back to a GPU that comes before another").fix(
                "export a device map or a topology instead, or --launch llama.cpp, which can put the GPUs in another order",
            ));
        }
        now = at;
        shares[at] += 1;
    }
    if let Some(last) = shares.get_mut(now) {
        *last += 1;
    }
    Ok(shares.iter().map(u64::to_string).collect::<Vec<_>>().join(","))
}

/// Reads a llama.cpp `--tensor-split`: shares of the GPUs, separated by commas or slashes. As there, layer `i` of `n` goes
/// to the first GPU whose cumulated share exceeds `i / (n + 1)`, and the head takes the last place; what is not a layer
/// and comes before the head stays on the first GPU (`load_tensors` in llama.cpp's `llama-model.cpp`).
///
/// # Errors
/// A share that is no number, more shares than GPUs, or shares of nothing.
pub fn from_tensor_split(text: &str, case: &Case) -> Result<Plan> {
    let refuse = |what: String| {
        Problem::new(what).at(format!("{text:?}")).fix("write a share for each GPU, for example 3,1")
    };
    let gpus = presets::gpus(&case.devices);
    let first = *gpus.first().ok_or_else(no_gpu)?;
    // Sums and quotients in single precision, as there, so that a share at the edge of a layer falls to the same side.
    let mut until: Vec<f32> = Vec::new();
    for part in text.split([',', '/']).map(str::trim).filter(|part| !part.is_empty()) {
        let share: f32 = part.parse().map_err(|_| refuse(format!("{part:?} is not a share")))?;
        if !share.is_finite() || share < 0.0 {
            return Err(refuse(format!("{part:?} is not a share")));
        }
        until.push(until.last().copied().unwrap_or(0.0) + share);
        if until.len() > gpus.len() {
            return Err(refuse(format!("there are more shares than the {} GPUs", gpus.len())));
        }
    }
    let total = until.last().copied().unwrap_or(0.0);
    if !total.is_finite() {
        return Err(refuse("the shares are too large to be added up".into()));
    }
    if total <= 0.0 {
        return Err(refuse("the shares add up to nothing".into()));
    }
    let places = case.model.shape.decoder.layers.saturating_add(1) as f32;
    let on = |place: f32| {
        let gpu = until.iter().position(|end| end / total > place / places).unwrap_or(until.len() - 1);
        gpus.get(gpu).copied().unwrap_or(first)
    };
    let assignment = case.model.units.iter().map(|unit| match unit.kind {
        UnitKind::Layer(index) => on(index as f32),
        kind if kind.is_tail() => on(places - 1.0),
        _ => first,
    });
    Ok(Plan::new(Layout::Custom, case.devices.clone(), assignment.collect()))
}
