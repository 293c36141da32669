//! What the board shows, as plain data: a column for each device, a chip for each unit or run of units.

use super::view::View;
use crate::app::language::{fill, tr};
use crate::plan::bytes::{GIB, KIB, MIB, human};
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
pub const PARTS: usize = 6;

/// The name of a part of a device's memory.
pub fn part_name(part: usize) -> &'static str {
    match part {
        0 => tr("weights"),
        1 => tr("cache"),
        2 => tr("temporary"),
        3 => tr("driver"),
        4 => tr("others"),
        _ => tr("reserve"),
    }
}

/// The same where room is short.
pub fn part_word(part: usize) -> &'static str {
    if part == 2 { tr("temp") } else { part_name(part) }
}

/// A size in the unit of a device's capacity, without its name.
pub fn bare(size: u64, capacity: u64) -> String {
    let unit = match capacity {
        GIB.. => GIB,
        MIB.. => MIB,
        _ => KIB,
    };
    let value = size as f64 / unit as f64;
    if size > 0 && value < 0.05 { "< 0.1".into() } else { format!("{value:.1}") }
}

/// What a part of a device's memory is, for its tooltip.
pub fn part_meaning(part: usize) -> &'static str {
    match part {
        0 => tr(
            "The weights of the units placed here, read from the checkpoint's own headers where it is here",
        ),
        1 => tr("Keys and values of the longest prompt and the longest answer, for the layers placed here"),
        2 => tr("The largest temporary memory: the vision tower, reading the prompt, or the head"),
        3 => tr("What the driver and its libraries hold for a process"),
        4 => tr("What other programs hold now"),
        _ => tr("Kept free on purpose"),
    }
}

/// What lies on a device at its own worst question.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// Weights, cache, temporary, driver, others, reserve, in bytes.
    pub parts: [u64; PARTS],
    /// All of the device, in bytes.
    pub capacity: u64,
}

impl Memory {
    /// The memory of a device under a forecast.
    pub fn of(case: &Case, device: &Device, forecast: &DeviceForecast) -> Self {
        let worst = &forecast.worst;
        let overhead = cost::overhead(device, &case.assumptions);
        let parts = [worst.weights, worst.kv, worst.activation, overhead, device.others, device.reserve];
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

/// A share as percent; a sign that there is none where nothing is usable.
pub fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "∞".into();
    }
    // Rounding never says that something fits which does not, nor the other way.
    let percent = match share * 100.0 {
        p if p > 100.0 => p.ceil(),
        p if p > 99.0 => p.floor(),
        p => p.round(),
    };
    if share > 0.0 && percent < 1.0 { "< 1 %".into() } else { format!("{percent:.0} %") }
}

/// A verdict in the window's language.
pub fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fits => tr("fits"),
        Verdict::Tight => tr("tight"),
        Verdict::DoesNotFit => tr("does not fit"),
    }
}

/// The same where room is short.
pub fn verdict_word(verdict: Verdict) -> &'static str {
    if verdict == Verdict::DoesNotFit { tr("over") } else { verdict_name(verdict) }
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many stages.
pub fn stages(count: usize) -> String {
    if count == 1 { tr("1 stage").into() } else { fill("{} stages", &[&count]) }
}

/// So many hops.
pub fn hops(count: usize) -> String {
    if count == 1 { tr("1 hop").into() } else { fill("{} hops", &[&count]) }
}

/// So many tiles.
pub fn tiles(count: u64) -> String {
    if count == 1 { tr("1 tile").into() } else { fill("{} tiles", &[&grouped(count)]) }
}

/// What stands on the chip of a run of units.
fn label(first: UnitKind, last: UnitKind) -> String {
    match (first, last) {
        (UnitKind::VisionBlock(a), UnitKind::VisionBlock(b)) if a != b => format!("V {a}–{b}"),
        (UnitKind::VisionEmbeddings, UnitKind::VisionBlock(b)) => format!("V …–{b}"),
        (UnitKind::Layer(a), UnitKind::Layer(b)) if a != b => format!("L {a}–{b}"),
        (UnitKind::VisionEmbeddings, _) => "Patch".into(),
        (UnitKind::VisionBlock(a), _) => format!("V {a}"),
        (UnitKind::Layer(a), _) => format!("L {a}"),
        (UnitKind::Projector, _) => "Proj".into(),
        (UnitKind::TokenEmbedding, _) => "Embed".into(),
        (UnitKind::FinalNorm, _) => "Norm".into(),
        (UnitKind::Head, _) => "Head".into(),
    }
}

/// A run of units in words.
pub fn unit_words(first: UnitKind, last: UnitKind) -> String {
    match (first, last) {
        (UnitKind::VisionEmbeddings, UnitKind::VisionBlock(b)) => {
            fill("vision embeddings and blocks 0 to {}", &[&b])
        }
        (UnitKind::VisionBlock(a), UnitKind::VisionBlock(b)) if a != b => {
            fill("vision blocks {} to {}", &[&a, &b])
        }
        (UnitKind::Layer(a), UnitKind::Layer(b)) if a != b => fill("layers {} to {}", &[&a, &b]),
        (UnitKind::VisionEmbeddings, _) => tr("vision embeddings").into(),
        (UnitKind::VisionBlock(a), _) => fill("vision block {}", &[&a]),
        (UnitKind::Layer(a), _) => fill("layer {}", &[&a]),
        (UnitKind::Projector, _) => tr("projector").into(),
        (UnitKind::TokenEmbedding, _) => tr("token embedding").into(),
        (UnitKind::FinalNorm, _) => tr("last norm").into(),
        (UnitKind::Head, _) => tr("head").into(),
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
mod tests {
    use super::*;
    use crate::app::board::desk::Outlook;
    use crate::app::board::view::Folding;
    use crate::plan::{Assumptions, Dtype, Layout, Model, Workload, catalogue, planner};

    fn case(name: &str, gpus: usize, gib: u64) -> Case {
        let model = Model::new(catalogue::find(name).unwrap(), Dtype::Bf16, None);
        let devices = (0..gpus).map(|i| Device::simulated(i, gib * GIB)).collect();
        Case::new(model, devices, Assumptions::default(), Workload::assumed(13, 3500))
    }

    fn shown(case: &Case, draft: &Draft, view: &View) -> Vec<Column> {
        let outlook = Outlook::glance(case, &draft.plan);
        columns(case, draft, &outlook.forecast, view, None)
    }

    #[test]
    fn every_unit_has_one_chip_in_order() {
        let case = case("InternVL2-Llama3-76B", 8, 40);
        let draft = Draft::new(planner::plan(&case, Layout::Auto).unwrap());
        for folding in Folding::ALL {
            let view = View { folding, ..View::default() };
            let columns = shown(&case, &draft, &view);
            let mut units: Vec<usize> = columns.iter().flat_map(Column::units).collect();
            for column in &columns {
                assert!(column.units().is_sorted());
                assert!(column.units().iter().all(|&u| draft.plan.assignment[u] == column.device));
            }
            units.sort_unstable();
            assert_eq!(units, (0..case.model.units.len()).collect::<Vec<_>>(), "{folding:?}");
        }
    }

    #[test]
    fn folded_runs_say_what_they_hold() {
        let case = case("InternVL3-8B", 1, 40);
        let draft = Draft::new(planner::plan(&case, Layout::Auto).unwrap()).pin(&[30]);
        let view = View { folding: Folding::All, ..View::default() };
        let columns = shown(&case, &draft, &view);
        let labels: Vec<&str> = columns[0].chips.iter().map(|c| c.label.as_str()).collect();
        assert_eq!(labels, ["Patch", "V 0–23", "Proj", "Embed", "L 0–27", "Norm", "Head"]);
        let layers = &columns[0].chips[4];
        assert_eq!((layers.len(), layers.pinned), (28, Pinned::Some));
        let each: u64 = (layers.first..=layers.last).map(|u| case.costs.weights(u)).sum();
        assert_eq!(layers.weights, each);
        assert!(layers.name.starts_with("layers 0 to 27, "), "{}", layers.name);
    }

    #[test]
    fn memory_adds_up_to_what_the_forecast_says() {
        let mut case = case("InternVL3-14B", 2, 40);
        case.devices[0].others = 3 * GIB;
        case.devices[1].reserve = GIB;
        let draft = Draft::new(planner::plan(&case, Layout::Auto).unwrap());
        let outlook = Outlook::glance(&case, &draft.plan);
        for (column, at) in shown(&case, &draft, &View::default()).iter().zip(&outlook.forecast.devices) {
            let device = &case.devices[column.device];
            assert_eq!(column.memory.parts[..3].iter().sum::<u64>(), at.worst.peak());
            assert_eq!(column.memory.total(), at.worst.peak() + device.others + device.reserve);
        }
    }

    #[test]
    fn what_moved_is_marked_and_stands_apart_when_folded() {
        let case = case("InternVL3-8B", 2, 40);
        let start = Draft::new(planner::plan(&case, Layout::Single).unwrap());
        let view = View { folding: Folding::All, ..View::default() };
        let other = 1 - start.plan.assignment[0];
        let next = start.move_units(&[35, 36], other).unwrap();
        let outlook = Outlook::glance(&case, &next.plan);
        let columns = columns(&case, &next, &outlook.forecast, &view, Some(&start.plan));
        let moved: Vec<&Chip> = columns.iter().flat_map(|c| &c.chips).filter(|c| c.has_moved).collect();
        assert_eq!(moved.iter().flat_map(|c| c.first..=c.last).collect::<Vec<_>>(), [35, 36]);
        assert!(moved.iter().all(|c| c.pinned == Pinned::All), "what was dragged stays");
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(
            (grouped(7), grouped(1234), grouped(1_048_576)),
            ("7".into(), "1,234".into(), "1,048,576".into())
        );
        assert_eq!(
            (percent(0.004), percent(0.0), percent(f64::INFINITY)),
            ("< 1 %".into(), "0 %".into(), "∞".into())
        );
        assert_eq!(
            (percent(1.0), percent(1.002), percent(0.998)),
            ("100 %".into(), "101 %".into(), "99 %".into())
        );
    }
}
