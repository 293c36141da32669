//! mistral.rs's ways to say where layers go: `--num-device-layers` (`ORD:N;ORD:N`) and topology YAML.

use super::{from_places, layer_places};
use crate::plan::layout::Plan;
use crate::plan::planner::Case;
use crate::{Problem, Result};

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

/// mistral.rs `--num-device-layers`: `0:4;1:11;…`.
///
/// # Errors
/// Layers on the host, or a GPU with two separate runs of layers, which the string cannot say.
pub fn to_device_layers(plan: &Plan, case: &Case) -> Result<String> {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for (place, first, end) in runs(&layer_places(plan, case)?) {
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
///
/// # Errors
/// What is no such list, gives other than all layers a device, or names GPUs that are not there.
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

/// mistral.rs topology YAML: ranges of layers (end exclusive) and their device.
///
/// # Errors
/// A layer on the disk.
pub fn to_topology(plan: &Plan, case: &Case) -> Result<String> {
    let mut text = String::new();
    for (place, first, end) in runs(&layer_places(plan, case)?) {
        let device = place.map_or("cpu".to_string(), |ordinal| format!("cuda[{ordinal}]"));
        text.push_str(&format!("{first}-{end}:\n  device: {device}\n"));
    }
    Ok(text)
}

/// Whether a line selects layers in a topology: a number, a range or a regular expression as a key without a value.
pub(super) fn is_selector(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default().trim_end();
    let Some(key) = line.strip_suffix(':') else { return false };
    let key = key.trim_end().trim_matches(['"', '\'']);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_range = || match key.split_once('-') {
        Some((first, end)) => is_number(first.trim_end()) && is_number(end.trim_start()),
        None => is_number(key),
    };
    is_range() || (key.len() > 2 && key.starts_with('/') && key.ends_with('/'))
}

/// Reads a topology of layer ranges (`0-10:` or `5:`, each with `device: cuda[N]` or `cpu`); where ranges overlap the one
/// that ends later counts, as there. `isq` lines are passed over; selectors by regular expression are refused.
///
/// # Errors
/// Lines that are no such topology, layers that the model does not have, or GPUs that are not there.
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
            if !value.trim().is_empty() {
                return Err(refuse(format!("{trimmed:?} is not read"))
                    .fix("write `device: …` on a line of its own, indented"));
            }
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
                    return Err(refuse(format!("{key:?} is no range of this model's {total} layers"))
                        .fix("ranges begin at 0, and their end is not in them"));
                }
                _ => return Err(refuse(format!("{key:?} is no range of layers")).fix("write 0-10: or 5:")),
            }
            continue;
        }
        let (Some((first, end)), "device") = (current, key.trim()) else { continue };
        let value = value.trim().trim_matches(['"', '\'']);
        let no_device = || refuse(format!("{value:?} is no device")).fix("write cuda[0] or cpu");
        let device = match value.strip_prefix("cuda[").and_then(|v| v.strip_suffix(']')) {
            Some(ordinal) => Some(ordinal.parse().map_err(|_| no_device())?),
            None if value == "cpu" => None,
            None => return Err(no_device()),
        };
        ranges.push((first, end, device));
    }
    if ranges.is_empty() {
        return Err(
            Problem::new("the topology places no layers").fix("give each range a line `device: cuda[N]`")
        );
    }
    ranges.sort_by_key(|&(_, end, _)| end);
    // Layers that no range names stay on the first GPU.
    let mut places = vec![Some(0); total];
    for (first, end, device) in ranges {
        places[first..end].fill(device);
    }
    from_places(&places, case)
}
