//! Other tools' ways to say where layers go: mistral.rs (`ORD:N;ORD:N` and topology YAML) and llama.cpp (`--tensor-split`).

use super::layout::{Layout, Plan};
use super::planner::Case;
use super::presets::{self, no_gpu};
use super::unit::UnitKind;
use super::{DeviceKind, bytes};
use crate::{Problem, Result};

/// Layers of a plan by GPU ordinal; layers on the host have none.
fn layer_places(plan: &Plan, case: &Case) -> Vec<Option<usize>> {
    let layers =
        case.model.units.iter().zip(&plan.assignment).filter(|(u, _)| matches!(u.kind, UnitKind::Layer(_)));
    layers.map(|(_, device)| presets::ordinal(&plan.devices, *device)).collect()
}

/// Runs of equal entries: value, first, one past the last.
fn runs(places: &[Option<usize>]) -> Vec<(Option<usize>, usize, usize)> {
    let mut found: Vec<(Option<usize>, usize, usize)> = Vec::new();
    for (index, &place) in places.iter().enumerate() {
        match found.last_mut() {
            Some((known, _, end)) if *known == place => *end = index + 1,
            _ => found.push((place, index, index + 1)),
        }
    }
    found
}

/// mistral.rs `--num-device-layers`: `0:4;1:11;…`. Refused where GPUs do not follow one another, which the string cannot say.
pub fn to_device_layers(plan: &Plan, case: &Case) -> Result<String> {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for (place, first, end) in runs(&layer_places(plan, case)) {
        let Some(ordinal) = place else {
            return Err(Problem::new("this string has no word for layers on the CPU")
                .fix("export a topology instead"));
        };
        if parts.iter().any(|&(known, _)| known == ordinal) {
            return Err(Problem::new("this string cannot say that a GPU holds two separate runs of layers")
                .fix("export a topology instead"));
        }
        parts.push((ordinal, end - first));
    }
    let parts: Vec<String> = parts.iter().map(|(ordinal, count)| format!("{ordinal}:{count}")).collect();
    Ok(parts.join(";"))
}

/// Reads `ORD:N;ORD:N`; a bare `N` gives N layers to GPU 0. Everything that is no layer goes to the first GPU, as there.
pub fn from_device_layers(text: &str, case: &Case) -> Result<Plan> {
    let refuse = |what: String| {
        Problem::new(what).at(format!("{text:?}")).fix("write ORD:N;ORD:N, for example 0:40;1:40")
    };
    let mut places = Vec::new();
    let total = case.model.shape.decoder.layers as usize;
    for part in text.split([';', ',']).map(str::trim).filter(|p| !p.is_empty()) {
        let (ordinal, count) = part.split_once(':').unwrap_or(("0", part));
        let ordinal: usize =
            ordinal.trim().parse().map_err(|_| refuse(format!("{ordinal:?} is not a GPU")))?;
        let count: usize =
            count.trim().parse().map_err(|_| refuse(format!("{count:?} is not a number of layers")))?;
        if count > total - places.len() {
            return Err(refuse(format!("that is more than the {total} layers of this model")));
        }
        places.extend(std::iter::repeat_n(ordinal, count));
    }
    if places.len() < total {
        return Err(refuse(format!("{} of {total} layers get no device", total - places.len())));
    }
    from_places(&places.into_iter().map(Some).collect::<Vec<_>>(), case)
}

fn from_places(places: &[Option<usize>], case: &Case) -> Result<Plan> {
    let gpus = presets::gpus(&case.devices);
    let first = *gpus.first().ok_or_else(|| no_gpu("this map"))?;
    let mut devices = case.devices.clone();
    let needs_cpu = places.iter().any(Option::is_none);
    let mut cpu = devices.iter().position(|d| d.kind == DeviceKind::Cpu);
    if needs_cpu && cpu.is_none() {
        devices.push(super::Device::new("cpu", DeviceKind::Cpu, case.host_memory));
        cpu = Some(devices.len() - 1);
    }
    let mut assignment = Vec::with_capacity(case.model.units.len());
    for unit in &case.model.units {
        let place = match unit.kind {
            UnitKind::Layer(index) => match places.get(index).copied().flatten() {
                Some(ordinal) => presets::by_ordinal(&devices, ordinal).ok_or_else(|| {
                    Problem::new(format!(
                        "layer {index} lies on GPU {ordinal}, but there are {} GPUs",
                        gpus.len()
                    ))
                })?,
                None => cpu.unwrap_or(first),
            },
            _ => first,
        };
        assignment.push(place);
    }
    Ok(Plan::new(Layout::Custom, devices, assignment))
}

/// mistral.rs topology YAML: ranges of layers (end exclusive) and their device.
pub fn to_topology(plan: &Plan, case: &Case) -> String {
    let mut text = String::new();
    for (place, first, end) in runs(&layer_places(plan, case)) {
        let device = place.map_or("cpu".to_string(), |ordinal| format!("cuda[{ordinal}]"));
        text.push_str(&format!("{first}-{end}:\n  device: {device}\n"));
    }
    text
}

/// Reads a topology of layer ranges (`0-10:` or `5:`, each with `device: cuda[N]` or `cpu`); where ranges overlap the one
/// that ends later counts, as there. `isq` lines are passed over; selectors by regular expression are refused.
pub fn from_topology(text: &str, case: &Case) -> Result<Plan> {
    let total = case.model.shape.decoder.layers as usize;
    let mut ranges: Vec<(usize, usize, Option<usize>)> = Vec::new();
    let mut current: Option<(usize, usize)> = None;
    for (number, line) in text.lines().enumerate().take(100_000) {
        let refuse = |what: String| Problem::new(what).at(format!("topology, line {}", number + 1));
        let line = line.split('#').next().unwrap_or_default();
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed == "---" {
            continue;
        }
        let indented = line.starts_with([' ', '\t']);
        let Some((key, value)) = trimmed.split_once(':') else {
            return Err(refuse(format!("{trimmed:?} is not an entry")));
        };
        if !indented {
            let key = key.trim().trim_matches(['"', '\'']);
            if key.starts_with('/') {
                return Err(refuse("selectors by regular expression are not read".into())
                    .fix("give ranges of layers"));
            }
            let (first, end) = match key.split_once('-') {
                Some((first, end)) => (first.trim().parse().ok(), end.trim().parse().ok()),
                None => (key.parse().ok(), key.parse::<usize>().ok().map(|n| n.saturating_add(1))),
            };
            match (first, end) {
                (Some(first), Some(end)) if first < end && end <= total => current = Some((first, end)),
                (Some(_), Some(_)) => {
                    return Err(refuse(format!("{key:?} is no range of this model's {total} layers")));
                }
                _ => return Err(refuse(format!("{key:?} is no range of layers"))),
            }
            continue;
        }
        let (Some((first, end)), "device") = (current, key.trim()) else { continue };
        let value = value.trim().trim_matches(['"', '\'']);
        let device = match value.strip_prefix("cuda[").and_then(|v| v.strip_suffix(']')) {
            Some(ordinal) => Some(ordinal.parse().map_err(|_| refuse(format!("{value:?} is no device")))?),
            None if value == "cpu" => None,
            None => return Err(refuse(format!("{value:?} is no device"))),
        };
        ranges.push((first, end, device));
    }
    if ranges.is_empty() {
        return Err(Problem::new("the topology places no layers"));
    }
    ranges.sort_by_key(|&(_, end, _)| end);
    // Layers that no range names stay on the first GPU.
    let mut places = vec![Some(0); total];
    for (first, end, device) in ranges {
        places[first..end].fill(device);
    }
    from_places(&places, case)
}

/// llama.cpp `--tensor-split`: the weights of each GPU in GiB, in the order of the GPUs. It says shares only; llama.cpp
/// keeps layers in order and the vision tower on the main GPU.
pub fn to_tensor_split(plan: &Plan, case: &Case) -> String {
    let holdings = plan.holdings(&case.costs);
    let gpus = presets::gpus(&plan.devices);
    let shares: Vec<String> =
        gpus.iter().map(|&g| format!("{:.2}", holdings[g].weights as f64 / bytes::GIB as f64)).collect();
    shares.join(",")
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
    let first = *gpus.first().ok_or_else(|| no_gpu("a tensor split"))?;
    let mut until: Vec<f64> = Vec::new();
    for part in text.split([',', '/']).map(str::trim).filter(|part| !part.is_empty()) {
        let share: f64 = part.parse().map_err(|_| refuse(format!("{part:?} is not a share")))?;
        if !share.is_finite() || share < 0.0 {
            return Err(refuse(format!("{part:?} is not a share")));
        }
        until.push(until.last().copied().unwrap_or(0.0) + share);
        if until.len() > gpus.len() {
            return Err(refuse(format!("there are more shares than the {} GPUs", gpus.len())));
        }
    }
    let total = until.last().copied().unwrap_or(0.0);
    if total <= 0.0 {
        return Err(refuse("the shares add up to nothing".into()));
    }
    let places = case.model.shape.decoder.layers.saturating_add(1) as f64;
    let on = |place: f64| {
        let gpu = until.iter().position(|end| end / total > place / places).unwrap_or(until.len() - 1);
        gpus.get(gpu).copied().unwrap_or(first)
    };
    let assignment = case.model.units.iter().map(|unit| match unit.kind {
        UnitKind::Layer(index) => on(index as f64),
        kind if kind.is_tail() => on(places - 1.0),
        _ => first,
    });
    Ok(Plan::new(Layout::Custom, case.devices.clone(), assignment.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Assumptions, Device, Dtype, Model, Workload, catalogue, planner};
    use proptest::prelude::*;

    fn case() -> Case {
        let model = Model::new(catalogue::find("InternVL2-Llama3-76B").unwrap(), Dtype::Bf16, None);
        let devices = (0..8).map(|i| Device::simulated(i, 40 * bytes::GIB)).collect();
        Case::new(model, devices, Assumptions::default(), Workload::assumed(13, 3500))
    }

    #[test]
    fn strings_and_topologies_come_back_as_they_went() {
        let case = case();
        let plan = planner::plan(&case, Layout::MistralRs).unwrap();
        let text = to_device_layers(&plan, &case).unwrap();
        assert_eq!(from_device_layers(&text, &case).unwrap().assignment, plan.assignment);
        let ours = planner::plan(&case, Layout::Auto).unwrap();
        let topology = to_topology(&ours, &case);
        assert!(topology.starts_with("0-"));
        let back = from_topology(&topology, &case).unwrap();
        assert_eq!(layer_places(&back, &case), layer_places(&ours, &case));
    }

    #[test]
    fn a_tensor_split_places_layers_as_llama_cpp_does() {
        let case = case();
        // 81 places, the head the last: a quarter of them is 20.25, so that layers 0 to 20 lie on the first GPU.
        let plan = from_tensor_split("1,3", &case).unwrap();
        let places = layer_places(&plan, &case);
        assert_eq!(places.iter().filter(|p| **p == Some(0)).count(), 21);
        assert_eq!(places[21..].iter().filter(|p| **p == Some(1)).count(), 59);
        assert_eq!(*plan.assignment.last().unwrap(), 1, "the head lies on the last");
        assert_eq!(plan.assignment[0], 0, "the tower on the first");
        assert_eq!(from_tensor_split("2/0/2", &case).unwrap().runs().last().unwrap().device, 2);
        for bad in ["", "0,0", "x", "-1,2", "1,1,1,1,1,1,1,1,1", "nan", "1e999"] {
            assert!(from_tensor_split(bad, &case).is_err(), "{bad}");
        }
    }

    #[test]
    fn later_ends_win_and_nonsense_is_refused() {
        let case = case();
        let text = "# mine\n0-80:\n  device: cuda[1]\n  isq: Q4K\n10-20:\n  device: cpu\n\"79\":\n  device: cuda[0]\n";
        let plan = from_topology(text, &case).unwrap();
        let places = layer_places(&plan, &case);
        assert_eq!(
            (places[15], places[79], places[0]),
            (Some(1), Some(0), Some(1)),
            "what ends last counts, then what is written last"
        );
        for bad in [
            "",
            "0-90:\n  device: cuda[0]",
            "a-b:\n  device: cpu",
            "0-10:\n  device: tpu",
            "/x/:\n  device: cpu",
            "5-5:\n  device: cpu",
        ] {
            assert!(from_topology(bad, &case).is_err(), "{bad}");
        }
        for bad in ["0:90", "0:40", "x:80", "9:80", "0:40;1:41"] {
            assert!(from_device_layers(bad, &case).is_err(), "{bad}");
        }
    }

    #[test]
    fn refuses_what_a_string_cannot_say() {
        let case = case();
        let rule = planner::plan(&case, Layout::Rule(presets::Rule::InternVl)).unwrap();
        assert!(to_device_layers(&rule, &case).is_err(), "the last layer returns to GPU 0");
        assert_eq!(to_tensor_split(&rule, &case), "25.70,17.53,17.53,17.53,17.53,17.53,17.53,11.16");
    }

    proptest! {
        #[test]
        fn any_text_ends(text in "[0-9a-z:;\\-\\[\\]\n #/]{0,60}") {
            let case = case();
            let _ = from_topology(&text, &case);
            let _ = from_device_layers(&text, &case);
        }
    }
}
