//! What each device will hold at every question of the run, before the run.

use super::assumptions::Kept;
use super::bytes::GIB;
use super::calibration::Component;
use super::cost::{Activations, COMFORTABLE_SHARE, CostTable, Holding, Moment};
use super::layout::Plan;
use super::planner::Case;
use super::unit::UnitKind;
use super::workload::QuestionCost;

/// Whether something fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// With room to spare.
    Fits,
    /// With less than 5 % of the usable memory, or less than 1 GiB of a large card, to spare.
    Tight,
    /// Not.
    DoesNotFit,
}

impl Verdict {
    /// The verdict on a peak in a usable memory.
    pub fn of(peak: u64, usable: u64) -> Self {
        let Some(left) = usable.checked_sub(peak) else { return Verdict::DoesNotFit };
        let close = peak as f64 > usable as f64 * COMFORTABLE_SHARE || (usable >= 8 * GIB && left < GIB);
        if close { Verdict::Tight } else { Verdict::Fits }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Fits => "fits",
            Verdict::Tight => "tight",
            Verdict::DoesNotFit => "does not fit",
        }
    }
}

/// One device at its own worst question.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceForecast {
    /// Usable memory.
    pub usable: u64,
    /// Weights, cache and temporary memory at the worst question.
    pub worst: Moment,
    /// What is kept for questions to come beside that. It gives way where a question needs the room, so neither share nor
    /// verdict go by it.
    pub kept: u64,
    /// The temporary memory by component; the largest of them counts.
    pub parts: Vec<(Component, u64)>,
    /// What the worst question needs, over usable memory; infinite where nothing is usable and something is placed.
    pub share: f64,
    /// The verdict at the worst question.
    pub verdict: Verdict,
    /// The question that binds.
    pub binding: Option<String>,
    /// Tokens of answer after which this device would run out at the worst question; none where it never does.
    pub longest_answer: Option<u64>,
    /// Whether anything is placed here.
    pub used: bool,
}

impl DeviceForecast {
    /// The most that the device holds: its worst question's, and what is kept beside it.
    pub fn peak(&self) -> u64 {
        self.worst.peak().saturating_add(self.kept)
    }
}

/// One question under a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuestionForecast {
    /// Its place in the workload.
    pub index: usize,
    /// The device that is fullest.
    pub device: usize,
    /// That device's share.
    pub share: f64,
    /// The verdict.
    pub verdict: Verdict,
}

/// Predicted seconds of a question.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Seconds {
    /// The vision tower over all tiles.
    pub vision: f64,
    /// Reading the prompt.
    pub prefill: f64,
    /// Each token of the answer.
    pub per_token: f64,
}

/// The forecast of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// Each device of the plan.
    pub devices: Vec<DeviceForecast>,
    /// The worst share.
    pub worst_share: f64,
    /// The verdict of the run: its worst device's.
    pub verdict: Verdict,
    /// Tokens of answer before any device runs out at the worst question.
    pub longest_answer: Option<u64>,
    /// Each question of the dataset.
    pub questions: Vec<QuestionForecast>,
    /// Questions by verdict: fits, tight, does not fit.
    pub counts: [usize; 3],
    /// The ten heaviest, heaviest first, as places in the workload.
    pub heaviest: Vec<usize>,
    /// Questions by worst share: tenths of usable memory, the last for all above 1.
    pub histogram: [usize; 11],
}

/// A case made ready for many forecasts: what does not depend on the plan is computed once.
pub struct Forecaster<'a> {
    case: &'a Case,
    activations: Vec<Activations>,
    frontier: Vec<Activations>,
}

impl<'a> Forecaster<'a> {
    /// Prepares a case.
    pub fn new(case: &'a Case) -> Self {
        let at = |q: &QuestionCost| case.costs.at(q.tiles, q.prompt_tokens);
        Self {
            case,
            activations: case.workload.questions.iter().map(at).collect(),
            frontier: case.workload.frontier.iter().map(at).collect(),
        }
    }

    /// The forecast of a plan.
    pub fn forecast(&self, plan: &Plan) -> Forecast {
        let (case, costs) = (self.case, &self.case.costs);
        let holdings = plan.holdings(costs);
        let usable = case.usable(&plan.devices);
        let mut devices: Vec<DeviceForecast> =
            holdings.iter().zip(&usable).map(|(holding, &usable)| self.device(holding, usable)).collect();
        let kept = self.kept(&holdings, &devices);
        for (device, holding) in devices.iter_mut().zip(&holdings) {
            device.kept = costs.kept_on(holding, kept);
        }
        let active: Vec<(usize, Holding, f64, u64)> = holdings
            .iter()
            .enumerate()
            .filter(|(index, _)| devices[*index].used)
            .map(|(index, holding)| (index, *holding, 1.0 / usable[index] as f64, usable[index]))
            .collect();
        let mut forecast = Forecast {
            worst_share: devices.iter().map(|d| d.share).fold(0.0, f64::max),
            verdict: devices.iter().map(|d| d.verdict).max().unwrap_or(Verdict::Fits),
            longest_answer: devices.iter().filter_map(|d| d.longest_answer).min(),
            questions: Vec::with_capacity(case.workload.questions.len()),
            counts: [0; 3],
            heaviest: Vec::new(),
            histogram: [0; 11],
            devices,
        };
        let answer = costs.answer_limit();
        for (index, (question, activations)) in
            case.workload.questions.iter().zip(&self.activations).enumerate()
        {
            let mut worst = QuestionForecast { index, device: 0, share: 0.0, verdict: Verdict::Fits };
            for (device, holding, inverse, usable) in &active {
                let peak = costs.moment_at(holding, activations, question.prompt_tokens, answer).peak();
                let share = peak as f64 * inverse;
                if share > worst.share {
                    (worst.device, worst.share) = (*device, share);
                }
                worst.verdict = worst.verdict.max(Verdict::of(peak, *usable));
            }
            forecast.counts[worst.verdict as usize] += 1;
            forecast.histogram[((worst.share * 10.0) as usize).min(10)] += 1;
            forecast.questions.push(worst);
        }
        forecast.heaviest = heaviest(&forecast.questions, &case.workload.questions);
        forecast
    }

    /// What the questions keep for each other, as far as the worst of them leave room for it.
    fn kept(&self, holdings: &[Holding], devices: &[DeviceForecast]) -> Kept {
        let (costs, workload) = (&self.case.costs, &self.case.workload);
        let left: Vec<u64> = devices.iter().map(|d| d.usable.saturating_sub(d.worst.peak())).collect();
        let room = costs.kept_beside(holdings, &left);
        costs.shared(workload.shared, workload.most_tiles()).at_most(room)
    }

    fn device(&self, holding: &Holding, usable: u64) -> DeviceForecast {
        let (case, costs) = (self.case, &self.case.costs);
        let answer = costs.answer_limit();
        let used = *holding != Holding::default();
        let mut worst = Moment { weights: holding.weights, ..Moment::default() };
        let mut binding = None;
        let mut parts = Vec::new();
        let mut longest: Option<u64> = None;
        for (question, activations) in case.workload.frontier.iter().zip(&self.frontier) {
            let moment = costs.moment_at(holding, activations, question.prompt_tokens, answer);
            if binding.is_none() || moment.peak() > worst.peak() {
                worst = moment;
                binding = used.then(|| question.id.clone());
                parts = costs.activation_parts(holding, activations);
            }
            let room = usable.saturating_sub(moment.weights).saturating_sub(moment.activation);
            let limit = answer_that_fits(costs, holding, question.prompt_tokens, room);
            longest = match (longest, limit) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        let peak = worst.peak();
        let share = match (peak, usable) {
            (0, _) => 0.0,
            (_, 0) => f64::INFINITY,
            _ => peak as f64 / usable as f64,
        };
        DeviceForecast {
            usable,
            worst,
            kept: 0,
            parts,
            share,
            verdict: if used { Verdict::of(peak, usable) } else { Verdict::Fits },
            binding,
            longest_answer: longest,
            used,
        }
    }

    /// What every device of a plan holds when a question has been answered so far: the curve over the answer's length.
    pub fn at_answer(&self, plan: &Plan, question: &QuestionCost, answer: u64) -> Vec<Moment> {
        let costs = &self.case.costs;
        let activations = costs.at(question.tiles, question.prompt_tokens);
        let at = |holding: &Holding| costs.moment_at(holding, &activations, question.prompt_tokens, answer);
        plan.holdings(costs).iter().map(at).collect()
    }

    /// What every device of a plan holds at a question: its peak, the answer at the limit.
    pub fn moments(&self, plan: &Plan, question: &QuestionCost) -> Vec<Moment> {
        let holdings = plan.holdings(&self.case.costs);
        holdings.iter().map(|h| self.case.costs.moment(h, question.tiles, question.prompt_tokens)).collect()
    }
}

/// Tokens of answer for which the cache still fits in `room`; none where the device keeps no cache.
fn answer_that_fits(costs: &CostTable, holding: &Holding, prompt: u64, room: u64) -> Option<u64> {
    if holding.kv_per_token == 0 && holding.kv_windowed == 0 {
        return None;
    }
    let fits = |answer: u64| costs.kv_bytes(holding, prompt, answer) <= room;
    let ceiling = 1u64 << 40;
    if fits(ceiling) {
        return None;
    }
    if !fits(0) {
        return Some(0);
    }
    let (mut low, mut high) = (0, ceiling);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle }
    }
    Some(low)
}

fn heaviest(forecasts: &[QuestionForecast], questions: &[QuestionCost]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..forecasts.len()).collect();
    let weight = |&i: &usize| (forecasts[i].share, questions[i].prompt_tokens);
    let heavier = |a: &usize, b: &usize| {
        let ((share_a, prompt_a), (share_b, prompt_b)) = (weight(a), weight(b));
        share_b.total_cmp(&share_a).then(prompt_b.cmp(&prompt_a)).then(a.cmp(b))
    };
    if order.len() > 10 {
        order.select_nth_unstable_by(9, heavier);
        order.truncate(10);
    }
    order.sort_by(heavier);
    order
}

/// Of the peak speed that data sheets state, what a well-made engine reaches: arithmetic.
const REACHED_FLOPS: f64 = 0.5;
/// The same for memory bandwidth.
const REACHED_BANDWIDTH: f64 = 0.7;

/// Predicted time of a question: arithmetic bounds the vision tower and the prompt, memory bandwidth bounds every token
/// of the answer, and each hop adds its transfer (through host memory). Nothing where a used device's speed is unknown.
pub fn seconds(case: &Case, plan: &Plan, question: &QuestionCost) -> Option<Seconds> {
    let mut total = Seconds { vision: 0.0, prefill: 0.0, per_token: 0.0 };
    let shape = &case.model.shape;
    let positions = shape.vision.as_ref().map_or(0, |(v, _)| v.positions) as f64;
    let prompt = question.prompt_tokens as f64;
    let element = case.model.dtype.element_bytes() as f64;
    for (unit, &device) in case.model.units.iter().zip(&plan.assignment) {
        let place = plan.devices.get(device)?;
        let flops = place.flops? as f64 * REACHED_FLOPS;
        let bandwidth = place.bandwidth? as f64 * REACHED_BANDWIDTH;
        let active_share = |repeat: u64| match shape.decoder.experts {
            Some(e) if repeat > 1 => e.active as f64 / e.count.max(1) as f64,
            _ => 1.0,
        };
        let active: f64 = unit.tensors.iter().map(|t| t.elements() as f64 * active_share(t.repeat)).sum();
        let elements: f64 = unit.tensors.iter().map(|t| t.elements() as f64).sum();
        let bytes = unit.weight_bytes as f64 * if elements > 0.0 { active / elements } else { 1.0 };
        match unit.kind {
            UnitKind::VisionEmbeddings | UnitKind::VisionBlock(_) => {
                let rows = positions * question.tiles as f64;
                let scores =
                    4.0 * rows * positions * shape.vision.as_ref().map_or(0.0, |(v, _)| v.hidden as f64);
                total.vision += (2.0 * active * rows + scores) / flops;
            }
            UnitKind::Projector => {
                total.vision +=
                    2.0 * active * (question.tiles.saturating_mul(shape.tokens_per_tile)) as f64 / flops;
            }
            UnitKind::Layer(_) => {
                let width = shape.decoder.heads.saturating_mul(shape.decoder.head_dim) as f64;
                total.prefill += (2.0 * active * prompt + 2.0 * prompt * prompt * width) / flops;
                total.per_token += (bytes + unit.kv_bytes_per_token as f64 * prompt) / bandwidth;
            }
            UnitKind::Head => total.per_token += bytes / bandwidth,
            UnitKind::TokenEmbedding | UnitKind::FinalNorm => {}
        }
    }
    let hidden = shape.decoder.hidden as f64 * element;
    for pair in plan.runs().windows(2) {
        let (before, run) = (pair[0], pair[1]);
        let link = case.links.between(before.device, run.device);
        if case.model.units[run.first].kind.is_vision() {
            total.vision += link.seconds((positions * question.tiles as f64 * hidden) as u64);
        } else {
            total.prefill += link.seconds((prompt * hidden) as u64);
            total.per_token += link.seconds(hidden as u64);
        }
    }
    Some(total)
}

/// Host memory while loading and while running, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostForecast {
    /// While loading: the largest unit as it is read, and as it is converted where its format changes.
    pub loading: u64,
    /// While running: pixels of the largest question, and two buffers for hops through host memory.
    pub running: u64,
    /// Weights, cache and temporary memory of units placed on the CPU, included in neither.
    pub placed: u64,
}

/// Host memory that a plan needs. Files are mapped, so the page cache comes on top and can always be given up.
pub fn host(case: &Case, plan: &Plan) -> HostForecast {
    let stored = case.model.shape.stored;
    let converts = stored != case.model.dtype;
    let unit_bytes = |unit: &super::unit::Unit| {
        let read = unit.bytes_at(stored);
        if converts { read.saturating_add(unit.weight_bytes) } else { read }
    };
    let loading = case.model.units.iter().map(unit_bytes).max().unwrap_or(0);
    let tiles = case.workload.most_tiles();
    let side = case.model.shape.vision.as_ref().map_or(0, |(v, _)| v.image_size);
    let pixels = tiles.saturating_mul(3).saturating_mul(side).saturating_mul(side).saturating_mul(4);
    let hidden = case.model.shape.decoder.hidden.saturating_mul(case.model.dtype.element_bytes());
    let hop = if plan.hops() > 0 {
        hidden.saturating_mul(case.workload.longest_prompt()).saturating_mul(2)
    } else {
        0
    };
    let holdings = plan.holdings(&case.costs);
    let on_cpu = holdings.iter().zip(&plan.devices).filter(|(_, d)| d.kind == super::DeviceKind::Cpu);
    let placed = on_cpu.map(|(h, _)| {
        let peaks =
            case.workload.frontier.iter().map(|q| case.costs.moment(h, q.tiles, q.prompt_tokens).peak());
        peaks.max().unwrap_or(h.weights)
    });
    HostForecast { loading, running: pixels.saturating_add(hop), placed: placed.sum() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Assumptions, Device, Dtype, Layout, Model, Workload, catalogue, planner};

    /// 8 x 40 GiB and questions like MMMU's, with 1 to 7 images.
    fn case() -> Case {
        let model = Model::new(catalogue::find("InternVL2-Llama3-76B").unwrap(), Dtype::Bf16, None);
        let devices = (0..8).map(|i| Device::simulated(i, 40 * GIB)).collect();
        let question = |i: usize| {
            let tiles = [13, 26, 39, 52, 65, 66, 70, 9, 5, 1][i % 10];
            QuestionCost {
                id: format!("q{i}"),
                tiles,
                prompt_tokens: tiles * 256 + 100 + (i as u64 % 50),
                ..QuestionCost::default()
            }
        };
        Case::new(model, devices, Assumptions::default(), Workload::new((0..900).map(question).collect()))
    }

    #[test]
    fn the_76b_on_eight_cards_of_40() {
        let case = case();
        let plan = planner::plan(&case, Layout::Auto).unwrap();
        let forecast = Forecaster::new(&case).forecast(&plan);
        assert_eq!(forecast.counts, [900, 0, 0]);
        let worst = forecast.devices.iter().map(|d| d.worst.peak()).max().unwrap() as f64 / GIB as f64;
        assert!((22.5..24.2).contains(&worst), "{worst}");
        let heaviest = &case.workload.questions[forecast.heaviest[0]];
        assert_eq!(heaviest.tiles, 70);
        assert_eq!(forecast.heaviest.len(), 10);
        assert!(forecast.heaviest.iter().all(|&i| case.workload.questions[i].tiles == 70));
    }

    #[test]
    fn the_internvl_rule_overflows_as_it_was_released() {
        let case = case();
        let released = case.with_assumptions(case.assumptions.clone().as_released());
        let plan = planner::plan(&released, Layout::Rule(crate::plan::presets::Rule::InternVl)).unwrap();
        let forecast = Forecaster::new(&released).forecast(&plan);
        assert_eq!(forecast.verdict, Verdict::DoesNotFit);
        assert!(forecast.counts[2] > 0 && forecast.counts[0] > 400, "{:?}", forecast.counts);
        let first = &forecast.devices[0];
        assert!(first.share > 1.0 && first.binding.as_deref().is_some_and(|id| id.starts_with('q')));
        assert!(
            forecast.devices[1..].iter().all(|d| d.verdict == Verdict::Fits),
            "only the first GPU is overloaded"
        );
        assert!(first.parts.iter().any(|&(c, b)| c == Component::Head && b > 13 * GIB));
    }

    #[test]
    fn the_answer_length_is_where_memory_ends() {
        let case = case();
        let plan = planner::plan(&case, Layout::Auto).unwrap();
        let forecaster = Forecaster::new(&case);
        let forecast = forecaster.forecast(&plan);
        let limit = forecast.longest_answer.unwrap();
        assert!(limit > 4096);
        let peak_at = |answer: u64| {
            let longer = case.with_answer_limit(answer);
            Forecaster::new(&longer).forecast(&plan).worst_share
        };
        let question = &case.workload.frontier[0];
        let fullest = |answer: u64| {
            let moments = forecaster.at_answer(&plan, question, answer);
            moments.iter().map(Moment::peak).max().unwrap()
        };
        assert!(fullest(limit) <= 40 * GIB && fullest(limit + 1) > 40 * GIB);
        assert!(peak_at(limit) <= 1.0);
        assert!(peak_at(limit + 1) > 1.0);
    }

    #[test]
    fn verdicts() {
        assert_eq!(Verdict::of(94, 100), Verdict::Fits);
        assert_eq!(Verdict::of(96, 100), Verdict::Tight);
        assert_eq!(Verdict::of(101, 100), Verdict::DoesNotFit);
        assert_eq!(Verdict::of(40 * GIB - GIB / 2, 40 * GIB), Verdict::Tight);
        assert_eq!(Verdict::of(1, 0), Verdict::DoesNotFit);
    }

    #[test]
    fn decoding_is_bound_by_bandwidth() {
        let mut case = case();
        for device in &mut case.devices {
            device.bandwidth = Some((2e12 / REACHED_BANDWIDTH) as u64);
            device.flops = Some(312_000_000_000_000);
        }
        let plan = planner::plan(&case, Layout::Auto).unwrap();
        let question = QuestionCost { id: "x".into(), tiles: 0, prompt_tokens: 0, ..QuestionCost::default() };
        let seconds = seconds(&case, &plan, &question).unwrap();
        // Decoder and head, 141 GB, at 2 TB/s, and seven hops.
        assert!((seconds.per_token - (139.0e9 / 2e12 + 7.0 * 30e-6)).abs() < 2e-3, "{seconds:?}");
    }
}
