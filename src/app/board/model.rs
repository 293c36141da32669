//! What the board shows, as plain data: a column for each device, a chip for each unit or run of units.

use super::view::View;
use super::words::{grouped, label, percent, unit_words};
use crate::app::language::{fill, tr};
use crate::plan::bytes::human;
use crate::plan::cost;
use crate::plan::edits::Draft;
use crate::plan::forecast::DeviceForecast;
use crate::plan::{Case, Device, Forecast, Plan, UnitKind, forecast::Verdict};

/// The kinds that chips are coloured by, in the order of the palette.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The vision tower.
    Vision,
    /// From vision to language.
    Projector,
    /// The token embedding.
    Embedding,
    /// A layer of the decoder.
    Layer,
    /// The last norm and the head.
    Head,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Vision, Self::Projector, Self::Embedding, Self::Layer, Self::Head];

    /// The kind of a unit.
    pub fn of(unit: UnitKind) -> Self {
        match unit {
            UnitKind::VisionEmbeddings | UnitKind::VisionBlock(_) => Self::Vision,
            UnitKind::Projector => Self::Projector,
            UnitKind::TokenEmbedding => Self::Embedding,
            UnitKind::Layer(_) => Self::Layer,
            UnitKind::FinalNorm | UnitKind::Head => Self::Head,
        }
    }

    /// Its name in the legend.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vision => tr("Vision"),
            Self::Projector => tr("Projector"),
            Self::Embedding => tr("Embedding"),
            Self::Layer => tr("Layers"),
            Self::Head => tr("Head"),
        }
    }
}

/// The parts of a device's memory, in the order of the palette.
pub const PARTS: usize = 7;

/// What lies on a device at its own worst question.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// Weights, cache, temporary, kept for later, driver, others, reserve, in bytes.
    pub parts: [u64; PARTS],
    /// All of the device, in bytes.
    pub capacity: u64,
}

impl Memory {
    /// The memory of a device under a forecast.
    pub fn of(case: &Case, device: &Device, forecast: &DeviceForecast) -> Self {
        let worst = &forecast.worst;
        let overhead = cost::overhead(device, &case.assumptions);
        let DeviceForecast { kept, .. } = *forecast;
        let parts =
            [worst.weights, worst.kv, worst.activation, kept, overhead, device.others, device.reserve];
        Self { parts, capacity: device.capacity }
    }

    /// All that is taken, in bytes.
    pub fn total(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(*part))
    }
}

/// Whether units are pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinned {
    /// None of them.
    No,
    /// Some of them.
    Some,
    /// All of them.
    All,
}

/// A unit, or a run of units folded into one.
#[derive(Debug, Clone, PartialEq)]
pub struct Chip {
    /// First unit.
    pub first: usize,
    /// Last unit.
    pub last: usize,
    /// What it is coloured by.
    pub kind: Kind,
    /// What stands on it.
    pub label: String,
    /// Its name for a screen reader, and the heading of its tooltip.
    pub name: String,
    /// Bytes of its weights.
    pub weights: u64,
    /// Bytes of keys and values a token.
    pub kv_per_token: u64,
    /// Whether it is pinned.
    pub pinned: Pinned,
    /// Whether it is selected.
    pub is_selected: bool,
    /// Whether the filter leaves it out.
    pub is_dimmed: bool,
    /// Whether it lies elsewhere in the plan that is compared with.
    pub has_moved: bool,
}

impl Chip {
    /// Units that it stands for.
    pub fn len(&self) -> usize {
        self.last + 1 - self.first
    }

    /// Whether it stands for several units.
    pub fn is_folded(&self) -> bool {
        self.last > self.first
    }

    /// Never: a chip stands for a unit.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// A device and what lies on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its place in the plan.
    pub device: usize,
    /// Its name.
    pub name: String,
    /// Its card, or its size where no card is known.
    pub card: String,
    /// What it holds at its worst.
    pub memory: Memory,
    /// Share of the usable memory; infinite where nothing is usable.
    pub share: f64,
    /// Whether it fits.
    pub verdict: Verdict,
    /// Whether anything lies here.
    pub is_used: bool,
    /// What does not fit into words.
    pub tooltip: String,
    /// Its chips, in execution order.
    pub chips: Vec<Chip>,
    /// Modules cut from their units that lie here.
    pub cut: Vec<String>,
}

impl Column {
    /// The units on this device, in execution order.
    pub fn units(&self) -> Vec<usize> {
        self.chips.iter().flat_map(|chip| chip.first..=chip.last).collect()
    }

    /// Peak and capacity in one unit: `23.7 of 40.0 GiB`.
    pub fn figures(&self) -> String {
        if self.memory.capacity > 1 << 50 {
            return human(self.memory.total());
        }
        let (total, capacity) = (human(self.memory.total()), human(self.memory.capacity));
        match (total.rsplit_once(' '), capacity.rsplit_once(' ')) {
            (Some((number, unit)), Some((_, same))) if unit == same => {
                fill("{} of {}", &[&number, &capacity])
            }
            _ => fill("{} of {}", &[&total, &capacity]),
        }
    }

    /// The share in percent.
    pub fn percent(&self) -> String {
        percent(self.share)
    }
}

/// The columns of a draft. `from` is the plan whose differences are marked.
pub fn columns(
    case: &Case,
    draft: &Draft,
    forecast: &Forecast,
    view: &View,
    from: Option<&Plan>,
) -> Vec<Column> {
    let plan = &draft.plan;
    let mut columns: Vec<Column> = plan
        .devices
        .iter()
        .zip(&forecast.devices)
        .enumerate()
        .map(|(index, (device, at))| column(case, plan, index, device, at))
        .collect();
    for run in plan.runs() {
        if let Some(column) = columns.get_mut(run.device) {
            chips(case, draft, view, from, run.first, run.last, column);
        }
    }
    columns
}

fn column(case: &Case, plan: &Plan, index: usize, device: &Device, at: &DeviceForecast) -> Column {
    let memory = Memory::of(case, device, at);
    let mut tooltip: Vec<String> = Vec::new();
    tooltip.extend(device.card.clone());
    tooltip.extend(device.uuid.clone());
    if device.mig {
        tooltip.push(tr("a slice of a card (MIG)").into());
    }
    tooltip.push(fill("{} usable of {}", &[&human(at.usable), &human(device.capacity)]));
    if let Some(binding) = &at.binding {
        tooltip.push(fill("worst at {}", &[binding]));
    }
    if let Some(tokens) = at.longest_answer.filter(|_| at.used) {
        tooltip.push(match tokens {
            0 => tr("runs out before the first token of the answer").into(),
            tokens => fill("runs out after {} tokens of answer", &[&grouped(tokens)]),
        });
    }
    let cut = plan.splits.iter().filter(|split| split.device == index);
    Column {
        device: index,
        name: device.name.clone(),
        card: device.card.clone().unwrap_or_else(|| human(device.capacity)),
        memory,
        share: at.share,
        verdict: at.verdict,
        is_used: at.used,
        tooltip: tooltip.join("\n"),
        chips: Vec::new(),
        cut: cut.map(|s| format!("{} {}", case.model.units[s.unit].name, s.module)).collect(),
    }
}

/// Adds the chips of a run of units that lie on one device.
fn chips(
    case: &Case,
    draft: &Draft,
    view: &View,
    from: Option<&Plan>,
    first: usize,
    last: usize,
    column: &mut Column,
) {
    let units = &case.model.units;
    let has_moved = |unit: usize| from.is_some_and(|plan| lies(plan, unit) != lies(&draft.plan, unit));
    let mut start = first;
    while start <= last {
        let kind = Kind::of(units[start].kind);
        // The patch embeddings keep their own chip; blocks and layers may fold, those that moved apart from those that
        // did not.
        let same = |unit: usize| {
            Kind::of(units[unit].kind) == kind
                && units[unit].kind != UnitKind::VisionEmbeddings
                && has_moved(unit) == has_moved(start)
        };
        let mut end = start;
        while end < last && same(start) && same(end + 1) {
            end += 1;
        }
        if view.folds(column.device, kind, end + 1 - start) {
            column.chips.push(chip(case, draft, view, (start, end), has_moved(start), &column.name));
        } else {
            let each = start..=end;
            let single =
                each.map(|unit| chip(case, draft, view, (unit, unit), has_moved(unit), &column.name));
            column.chips.extend(single);
        }
        start = end + 1;
    }
}

fn lies(plan: &Plan, unit: usize) -> Option<&str> {
    let device = *plan.assignment.get(unit)?;
    plan.devices.get(device).map(|device| device.name.as_str())
}

/// The chip of one unit.
pub fn single(case: &Case, draft: &Draft, view: &View, unit: usize) -> Chip {
    chip(case, draft, view, (unit, unit), false, lies(&draft.plan, unit).unwrap_or_default())
}

fn chip(
    case: &Case,
    draft: &Draft,
    view: &View,
    (first, last): (usize, usize),
    has_moved: bool,
    device: &str,
) -> Chip {
    let units = &case.model.units;
    let (a, b) = (units[first].kind, units[last].kind);
    let kind = Kind::of(a);
    let all = first..=last;
    let weights = all.clone().fold(0u64, |sum, unit| sum.saturating_add(case.costs.weights(unit)));
    let kv = all.clone().fold(0u64, |sum, unit| sum.saturating_add(units[unit].kv_bytes_per_token));
    let pinned = draft.pins.range(all.clone()).count();
    Chip {
        first,
        last,
        kind,
        label: label(a, b),
        name: fill("{}, {}, on {}", &[&unit_words(a, b), &human(weights), &device]),
        weights,
        kv_per_token: kv,
        pinned: match pinned {
            0 => Pinned::No,
            n if n == last + 1 - first => Pinned::All,
            _ => Pinned::Some,
        },
        is_selected: view.selection.has(first, last),
        is_dimmed: !all.clone().any(|unit| view.filter.passes(kind, &units[unit].name)),
        has_moved,
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
