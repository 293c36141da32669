//! Planning: a model, devices, assumptions and a workload make a plan, ours or a preset's.

use std::sync::{Arc, OnceLock};

use super::accelerate;
use super::assumptions::Assumptions;
use super::calibration::Calibration;
use super::cost::{self, CostTable};
use super::device::{Device, Links};
use super::layout::{Layout, Plan};
use super::mistralrs;
use super::presets;
use super::stages::{Chain, Share, Staging, Tail};
use super::unit::{Model, UnitKind};
use super::workload::Workload;
use crate::{Problem, Result};

/// Everything a plan is made from.
#[derive(Debug, Clone)]
pub struct Case {
    /// The model.
    pub model: Model,
    /// The devices.
    pub devices: Vec<Device>,
    /// What is taken for granted.
    pub assumptions: Assumptions,
    /// The questions.
    pub workload: Workload,
    /// What was measured before on such devices.
    pub calibration: Calibration,
    /// Host memory, for presets that put there what does not fit; in bytes.
    pub host_memory: u64,
    /// Ways between the devices, where known.
    pub links: Links,
    /// Costs of the units, derived from the above.
    pub costs: CostTable,
    /// The model as accelerate walks it; made when it is first asked for.
    accelerate: Arc<OnceLock<accelerate::Prepared>>,
}

/// Where nothing is known about the host, it is taken to hold everything.
pub const UNKNOWN_HOST_MEMORY: u64 = 1 << 52;

impl Case {
    /// A case with nothing calibrated and a host of unknown size.
    pub fn new(model: Model, devices: Vec<Device>, assumptions: Assumptions, workload: Workload) -> Self {
        let calibration = Calibration::default();
        let costs = CostTable::new(&model, &assumptions, &calibration);
        Self {
            model,
            devices,
            assumptions,
            workload,
            calibration,
            host_memory: UNKNOWN_HOST_MEMORY,
            links: Links::default(),
            costs,
            accelerate: Arc::default(),
        }
    }

    /// The same case under other assumptions. The dtype's change needs another model: see [`Case::with_dtype`].
    pub fn with_assumptions(&self, assumptions: Assumptions) -> Self {
        let mut case = Self { assumptions, ..self.clone() };
        case.costs = CostTable::new(&case.model, &case.assumptions, &case.calibration);
        case
    }

    /// The same case with the weights at another format, by shape.
    pub fn with_dtype(&self, dtype: super::Dtype) -> Self {
        let mut case = self.clone();
        case.assumptions.dtype = super::Sourced::chosen(dtype);
        case.model = Model::new(case.model.shape.clone(), dtype, None);
        case.accelerate = Arc::default();
        case.costs = CostTable::new(&case.model, &case.assumptions, &case.calibration);
        case
    }

    /// The same case on other devices, of whose links nothing is known.
    pub fn with_devices(&self, devices: Vec<Device>) -> Self {
        Self { devices, links: Links::default(), ..self.clone() }
    }

    /// The same case with other questions.
    pub fn with_workload(&self, workload: Workload) -> Self {
        Self {
            model: self.model.clone(),
            devices: self.devices.clone(),
            assumptions: self.assumptions.clone(),
            workload,
            calibration: self.calibration.clone(),
            host_memory: self.host_memory,
            links: self.links.clone(),
            costs: self.costs.clone(),
            accelerate: Arc::clone(&self.accelerate),
        }
    }

    /// The same case with only the questions that could be the worst, for answers that need no list of all.
    pub fn at_its_worst(&self) -> Self {
        self.with_workload(Workload { questions: Vec::new(), frontier: self.workload.frontier.clone() })
    }

    /// The same case with another limit on the answer.
    pub fn with_answer_limit(&self, max_new_tokens: u64) -> Self {
        let mut assumptions = self.assumptions.clone();
        assumptions.max_new_tokens = super::Sourced::chosen(max_new_tokens);
        self.with_assumptions(assumptions)
    }

    /// The same case, corrected by what was measured.
    pub fn with_calibration(&self, calibration: Calibration) -> Self {
        let costs = CostTable::new(&self.model, &self.assumptions, &calibration);
        Self { calibration, costs, ..self.clone() }
    }

    pub(super) fn prepared_for_accelerate(&self) -> &accelerate::Prepared {
        self.accelerate.get_or_init(|| accelerate::Prepared::new(&self.model))
    }

    /// Usable bytes of each device under the assumptions.
    pub fn usable(&self, devices: &[Device]) -> Vec<u64> {
        devices.iter().map(|device| cost::usable(device, &self.assumptions)).collect()
    }
}

/// What to prefer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Goal {
    /// The smallest worst share of usable memory.
    #[default]
    Safest,
    /// As few GPUs as hold it, then the smallest worst share on those.
    FewestGpus,
}

/// Whether the vision tower may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VisionChoice {
    /// Wherever it is best, cut between blocks if that helps.
    #[default]
    Free,
    /// All of it on one device.
    Whole,
    /// On devices of its own.
    Alone,
}

/// Where the head may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeadChoice {
    /// Wherever it is best.
    #[default]
    Free,
    /// On this device.
    On(usize),
}

/// What the user wishes of our planner.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// What to prefer.
    pub goal: Goal,
    /// About the vision tower.
    pub vision: VisionChoice,
    /// About the head.
    pub head: HeadChoice,
    /// Units that must lie on a device.
    pub pins: Vec<(usize, usize)>,
    /// The devices in this order, unused ones skipped; none leaves the order to the planner.
    pub order: Option<Vec<usize>>,
    /// The plan so far: equal devices keep what they have.
    pub previous: Option<Vec<usize>>,
    /// Contiguous stages even where a preset that leaves the projector apart is a little better.
    pub contiguous: bool,
}

/// Makes the plan of a layout.
pub fn plan(case: &Case, layout: Layout) -> Result<Plan> {
    match layout {
        Layout::Auto | Layout::Custom => ours(case, &Wishes::default()),
        Layout::Rule(rule) => presets::by_rule(case, rule),
        Layout::Accelerate => accelerate::plan(case, accelerate::Mode::Balanced),
        Layout::AccelerateBalancedLow0 => accelerate::plan(case, accelerate::Mode::LowZero),
        Layout::AccelerateSequential => accelerate::plan(case, accelerate::Mode::Sequential),
        Layout::MistralRs => mistralrs::plan(case),
        Layout::Single => presets::single(case),
    }
}

/// Our plan: the smallest worst share of usable memory over all contiguous stagings and device orders; then the fewest
/// stages; then a head without an extra hop; then the least change. Uses GPUs only, unless there is none or a unit is
/// pinned elsewhere.
pub fn ours(case: &Case, wishes: &Wishes) -> Result<Plan> {
    let mut body = Body::new(case, wishes, false)?;
    let mut staging = body.solve(case, wishes);
    // The last norm runs with the last layer or with the head. It is so small that one question settles it: could the other
    // way be better at all?
    let other = Body::new(case, wishes, true)?;
    let worse = |a: &Staging, b: &Staging| a.worst.exceeds(b.worst);
    if staging.as_ref().is_none_or(|s| other.chain.can_beat(s.worst))
        && let Some(found) = other.solve(case, wishes)
        && staging.as_ref().is_none_or(|s| worse(s, &found))
    {
        (body, staging) = (other, Some(found));
    }
    let mut plan = Plan::new(Layout::Auto, case.devices.clone(), Vec::new());
    let islands = wishes.pins.len() > 1 || staging.is_none();
    let fits = |share: Share| !share.exceeds(Share { held: 1, usable: 1 });
    match staging {
        Some(staging) if fits(staging.worst) || !islands => {
            plan.assignment = body.assignment(&staging);
            plan.exact = staging.exact && wishes.order.is_none();
        }
        contiguous => {
            // Pins that no contiguous staging can keep, or only one that does not fit: pinned units stand on their own.
            let loose = body.without_pins(case, wishes);
            let other = loose.solve(case, wishes);
            let better = match (&contiguous, &other) {
                (Some(a), Some(b)) => a.worst.exceeds(b.worst),
                (None, Some(_)) => true,
                _ => false,
            };
            let staging = if better { other } else { contiguous };
            let staging = staging.ok_or_else(|| {
                Problem::new("no plan keeps these pins")
                    .fix("unpin a unit, or pin it to a device that has memory")
            })?;
            plan.assignment = if better { loose.assignment(&staging) } else { body.assignment(&staging) };
            if better {
                plan.notes
                    .push("the pinned units leave no plan in contiguous stages; they cost extra hops".into());
            }
        }
    }
    if let Some(better) = better_preset(case, wishes, &body, &plan) {
        plan = better;
    }
    if wishes.previous.is_none() && wishes.order.is_none() && !case.links.is_empty() {
        follow_links(case, wishes, &mut plan);
    }
    for &(unit, device) in &wishes.pins {
        if let Some(place) = plan.assignment.get_mut(unit) {
            *place = device;
        }
    }
    if !body.exact_devices {
        plan.notes.push(
            "more than one MIG slice is visible, but a process can use only one: the largest was taken"
                .into(),
        );
    }
    Ok(plan)
}

/// Exchanges devices of equal usable memory so that consecutive stages lie on the fastest links. Memory comes first: what
/// each size of device holds stays the same.
fn follow_links(case: &Case, wishes: &Wishes, plan: &mut Plan) {
    let usable = case.usable(&plan.devices);
    let free = |device: usize| !wishes.pins.iter().any(|&(_, pinned)| pinned == device);
    let hidden = case.model.shape.decoder.hidden.saturating_mul(case.model.dtype.element_bytes());
    let message = hidden.saturating_mul(case.workload.longest_prompt());
    let mut path: Vec<usize> = plan.runs().iter().map(|run| run.device).collect();
    let seconds = |path: &[usize]| -> f64 {
        path.windows(2).map(|hop| case.links.between(hop[0], hop[1]).seconds(message)).sum()
    };
    let swapped = |path: &[usize], a: usize, b: usize| -> Vec<usize> {
        path.iter()
            .map(|&d| {
                if d == a {
                    b
                } else if d == b {
                    a
                } else {
                    d
                }
            })
            .collect()
    };
    let mut names: Vec<usize> = (0..plan.devices.len()).collect();
    let count = plan.devices.len().min(64);
    // Each round takes the best exchange; a few rounds settle any real machine.
    for _ in 0..count {
        let now = seconds(&path);
        let mut best: Option<(f64, usize, usize)> = None;
        for a in 0..count {
            for b in a + 1..count {
                if usable[a] != usable[b] || !free(a) || !free(b) {
                    continue;
                }
                let then = seconds(&swapped(&path, a, b));
                if then < now * (1.0 - 1e-9) && best.is_none_or(|(known, ..)| then < known) {
                    best = Some((then, a, b));
                }
            }
        }
        let Some((_, a, b)) = best else { break };
        path = swapped(&path, a, b);
        names = swapped(&names, a, b);
    }
    for device in &mut plan.assignment {
        *device = names[*device];
    }
}

/// The worst share of a plan at the questions that could be the worst.
pub fn worst_share(case: &Case, plan: &Plan) -> Share {
    let usable = case.usable(&plan.devices);
    let mut worst = Share { held: 0, usable: 1 };
    for (holding, usable) in plan.holdings(&case.costs).iter().zip(usable) {
        for question in &case.workload.frontier {
            let peak = case.costs.moment(holding, question.tiles, question.prompt_tokens).peak();
            let share = Share { held: peak, usable: usable.max(1) };
            if share.exceeds(worst) {
                worst = share;
            }
        }
    }
    worst
}

/// A preset that beats every contiguous plan by more than a thousandth; below that a tidy plan is worth more. It happens
/// because some presets leave the projector apart from its neighbours, at the price of two hops, and is looked for only
/// where a projector without weight would change anything.
fn better_preset(case: &Case, wishes: &Wishes, body: &Body, plan: &Plan) -> Option<Plan> {
    let free = wishes.pins.is_empty()
        && !wishes.contiguous
        && wishes.order.is_none()
        && wishes.goal == Goal::Safest
        && wishes.vision == VisionChoice::Free
        && wishes.head == HeadChoice::Free;
    let projector = body.items.iter().position(|&(a, _)| case.model.units[a].kind == UnitKind::Projector);
    if !free || !body.exact_devices {
        return None;
    }
    let exact = worst_share(case, plan);
    let worst = Share { held: exact.held - exact.held / 1000, ..exact };
    let mut relaxed = body.chain.clone();
    for point in 0..relaxed.stays.len() {
        relaxed.stays[point][projector?] = 0;
        relaxed.peaks[point][projector?] = 0;
    }
    if !relaxed.can_beat(worst) {
        return None;
    }
    let taking_part = |p: &Plan| p.splits.is_empty() && p.assignment.iter().all(|d| body.devices.contains(d));
    let modes = [accelerate::Mode::Balanced, accelerate::Mode::LowZero, accelerate::Mode::Sequential];
    let walked = accelerate::plans(case, &modes).ok()?.into_iter().flatten();
    let counted = Layout::NAMED.iter().filter_map(|layout| match layout {
        Layout::Rule(rule) => presets::by_rule(case, *rule).ok(),
        Layout::MistralRs => mistralrs::plan(case).ok(),
        _ => None,
    });
    let plans = walked.chain(counted).filter(taking_part);
    let (share, best) =
        plans.map(|p| (worst_share(case, &p), p)).reduce(|a, b| if a.0.exceeds(b.0) { b } else { a })?;
    if !worst.exceeds(share) {
        return None;
    }
    let mut better = Plan::new(Layout::Auto, case.devices.clone(), best.assignment);
    better.notes.push(format!(
        "no contiguous plan has a smaller worst share than {}, which leaves the projector apart",
        best.layout.name()
    ));
    Some(better)
}

/// The units before the tail as items of a chain, and the devices that take part.
struct Body {
    /// First unit and one past the last unit of each item.
    items: Vec<(usize, usize)>,
    /// Units of the tail.
    tail: Vec<usize>,
    /// Devices that take part, as indices into the case's.
    devices: Vec<usize>,
    /// False where MIG slices were left out.
    exact_devices: bool,
    chain: Chain,
}

impl Body {
    fn new(case: &Case, wishes: &Wishes, norm_with_layers: bool) -> Result<Self> {
        let units = &case.model.units;
        for &(unit, device) in &wishes.pins {
            if unit >= units.len() || device >= case.devices.len() {
                return Err(Problem::new(format!(
                    "cannot pin unit {unit} to device {device}: there is no such thing"
                )));
            }
        }
        let (devices, exact_devices) = taking_part(case, wishes)?;
        let in_tail = |kind: UnitKind| if norm_with_layers { kind == UnitKind::Head } else { kind.is_tail() };
        let tail: Vec<usize> = (0..units.len()).filter(|&u| in_tail(units[u].kind)).collect();
        let body_end = tail.first().copied().unwrap_or(units.len());
        let vision_end = units.iter().take_while(|u| u.kind.is_vision()).count().min(body_end);
        let mut items: Vec<(usize, usize)> = Vec::with_capacity(body_end);
        if wishes.vision == VisionChoice::Whole && vision_end > 0 {
            items.push((0, vision_end));
            items.extend((vision_end..body_end).map(|u| (u, u + 1)));
        } else {
            items.extend((0..body_end).map(|u| (u, u + 1)));
        }
        let (stays, peaks) = case.costs.at_frontier(&case.workload);
        let points = stays.len();
        let gather = |of: &[Vec<u64>], combine: fn(u64, u64) -> u64| -> Vec<Vec<u64>> {
            let sum = |point: &Vec<u64>| {
                items.iter().map(|&(a, b)| point[a..b].iter().copied().fold(0, combine)).collect()
            };
            of.iter().map(sum).collect()
        };
        let mut at_tail = vec![(0u64, 0u64); points];
        for (point, slot) in at_tail.iter_mut().enumerate() {
            for &unit in &tail {
                *slot = (slot.0.saturating_add(stays[point][unit]), slot.1.max(peaks[point][unit]));
            }
        }
        let local = |device: usize| devices.iter().position(|&d| d == device);
        let mut pins = vec![None; items.len()];
        let mut tail_place = match wishes.head {
            HeadChoice::On(device) => local(device).map_or(Tail::Any, Tail::On),
            HeadChoice::Free => Tail::Any,
        };
        let embedding = items.iter().position(|&(a, _)| units[a].kind == UnitKind::TokenEmbedding);
        let tied = units.iter().any(|u| u.tied_with.is_some());
        if tied
            && !case.assumptions.duplicate_tied_head.value
            && let Some(embedding) = embedding
        {
            tail_place = Tail::With(embedding);
        }
        for &(unit, device) in &wishes.pins {
            let Some(device) = local(device) else { continue };
            match items.iter().position(|&(a, b)| (a..b).contains(&unit)) {
                Some(item) => pins[item] = Some(device),
                None if units[unit].kind == UnitKind::Head => tail_place = Tail::On(device),
                None => {}
            }
        }
        let usable = case.usable(&case.devices);
        let chain = Chain {
            stays: gather(&stays, u64::saturating_add),
            peaks: gather(&peaks, u64::max),
            tail: at_tail,
            tail_place,
            usable: devices.iter().map(|&d| usable[d]).collect(),
            pins,
            cut_before: (wishes.vision == VisionChoice::Alone && vision_end > 0).then_some(vision_end),
            max_stages: usize::MAX,
        };
        Ok(Self { items, tail, devices, exact_devices, chain })
    }

    fn solve(&self, case: &Case, wishes: &Wishes) -> Option<Staging> {
        if let Some(order) = &wishes.order {
            let order: Vec<usize> =
                order.iter().filter_map(|d| self.devices.iter().position(|own| own == d)).collect();
            return self.chain.solve_in_order(&order);
        }
        let previous: Option<Vec<usize>> = wishes.previous.as_ref().map(|assignment| {
            let local = |unit: usize| {
                let device = assignment.get(unit).copied();
                device.and_then(|d| self.devices.iter().position(|&own| own == d)).unwrap_or(usize::MAX)
            };
            self.items.iter().map(|&(a, _)| local(a)).collect()
        });
        let mut best = self.chain.solve(previous.as_deref())?;
        if wishes.goal == Goal::FewestGpus {
            // The worst share that still leaves the comfort the verdict asks for.
            let comfortable = |s: &Staging| s.worst.value() <= crate::plan::cost::COMFORTABLE_SHARE;
            for stages in 1..best.stages.len() {
                let fewer = Chain { max_stages: stages, ..self.chain.clone() };
                if let Some(staging) = fewer.solve(previous.as_deref()).filter(comfortable) {
                    best = staging;
                    break;
                }
            }
        }
        let tied = case.model.units.iter().any(|u| u.tied_with.is_some());
        if tied && case.assumptions.duplicate_tied_head.value {
            // The head's own copy is already counted as staying with the tail; keeping it with the embedding may be cheaper.
            let embedding =
                self.items.iter().position(|&(a, _)| case.model.units[a].kind == UnitKind::TokenEmbedding);
            if let Some(embedding) = embedding {
                let mut shared = self.chain.clone();
                shared.tail_place = Tail::With(embedding);
                if let Some(staging) = shared.solve(previous.as_deref())
                    && !staging.worst.exceeds(best.worst)
                {
                    best = staging;
                }
            }
        }
        Some(best)
    }

    /// The same chain with pinned units taken out of it and charged to their devices.
    fn without_pins(&self, case: &Case, wishes: &Wishes) -> Self {
        let mut chain = self.chain.clone();
        for (item, pin) in self.chain.pins.iter().enumerate() {
            let Some(device) = *pin else { continue };
            let charge = (0..chain.stays.len()).map(|p| chain.stays[p][item]).max().unwrap_or(0);
            let peak = (0..chain.peaks.len()).map(|p| chain.peaks[p][item]).max().unwrap_or(0);
            chain.usable[device] = chain.usable[device].saturating_sub(charge);
            for point in 0..chain.stays.len() {
                chain.stays[point][item] = 0;
                chain.peaks[point][item] = 0;
            }
            // The transient is shared with whatever else runs there, so only one of them has to be kept free.
            let others = chain.peaks.iter().flatten().copied().max().unwrap_or(0);
            chain.usable[device] = chain.usable[device].saturating_sub(peak.saturating_sub(others));
        }
        chain.pins = vec![None; self.items.len()];
        let _ = (case, wishes);
        Self {
            items: self.items.clone(),
            tail: self.tail.clone(),
            devices: self.devices.clone(),
            exact_devices: self.exact_devices,
            chain,
        }
    }

    fn assignment(&self, staging: &Staging) -> Vec<usize> {
        let units = self.items.last().map_or(0, |&(_, end)| end) + self.tail.len();
        let mut assignment = vec![0; units];
        for stage in &staging.stages {
            let device = self.devices[stage.device];
            for &(first, end) in &self.items[stage.first..stage.end] {
                assignment[first..end].fill(device);
            }
            if stage.hosts_tail {
                for &unit in &self.tail {
                    assignment[unit] = device;
                }
            }
        }
        assignment
    }
}

/// GPUs (one, where MIG slices are among them), or every device where there is no GPU, and whatever is pinned to.
fn taking_part(case: &Case, wishes: &Wishes) -> Result<(Vec<usize>, bool)> {
    let mut devices = presets::gpus(&case.devices);
    if devices.is_empty() {
        devices = (0..case.devices.len()).collect();
    }
    if devices.is_empty() {
        return Err(presets::no_device());
    }
    let mut whole = true;
    if devices.len() > 1 && devices.iter().any(|&d| case.devices[d].mig) {
        let largest =
            devices.iter().copied().max_by_key(|&d| (case.devices[d].usable(), std::cmp::Reverse(d)));
        devices = largest.into_iter().collect();
        whole = false;
    }
    for &(_, device) in &wishes.pins {
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    if let HeadChoice::On(device) = wishes.head
        && device < case.devices.len()
        && !devices.contains(&device)
    {
        devices.push(device);
    }
    Ok((devices, whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::bytes::GIB;
    use crate::plan::device::CUDA_OVERHEAD;
    use crate::plan::{Dtype, Sourced, catalogue};

    fn cards(count: usize, gib: u64) -> Vec<Device> {
        (0..count).map(|i| Device::simulated(i, gib * GIB)).collect()
    }

    fn case(name: &str, devices: Vec<Device>) -> Case {
        let model = Model::new(catalogue::find(name).unwrap(), Dtype::Bf16, None);
        Case::new(model, devices, Assumptions::default(), Workload::assumed(70, 18_520))
    }

    fn weights_gib(case: &Case, plan: &Plan) -> Vec<f64> {
        let holdings = plan.holdings(&case.costs);
        holdings.iter().map(|h| (h.weights as f64 / GIB as f64 * 10.0).round() / 10.0).collect()
    }

    /// Run with accelerate 1.15.0 on the 76B's modules, and by the formula of the InternVL rule.
    #[test]
    fn presets_place_the_76b_as_the_originals_do() {
        let table: &[(usize, u64, Layout, &[f64])] = &[
            (4, 79, Layout::Accelerate, &[45.7, 47.8, 48.4, 0.1]),
            (8, 39, Layout::Accelerate, &[28.2, 30.3, 30.3, 30.3, 23.0, 0.0, 0.0, 0.0]),
            (8, 79, Layout::Accelerate, &[28.2, 30.3, 30.3, 30.3, 23.0, 0.0, 0.0, 0.0]),
            (6, 39, Layout::Accelerate, &[34.6, 35.1, 35.1, 35.1, 2.3, 0.0]),
            (2, 79, Layout::Accelerate, &[76.0, 66.0]),
            (4, 79, Layout::Rule(presets::Rule::InternVl), &[35.3, 36.7, 36.7, 33.5]),
            (8, 39, Layout::Rule(presets::Rule::InternVl), &[25.7, 17.5, 17.5, 17.5, 17.5, 17.5, 17.5, 11.2]),
            (6, 39, Layout::Rule(presets::Rule::InternVl), &[28.9, 23.9, 23.9, 23.9, 23.9, 17.5]),
            (2, 79, Layout::Rule(presets::Rule::InternVl), &[59.2, 82.9]),
            (4, 79, Layout::AccelerateSequential, &[76.0, 66.0, 0.0, 0.0]),
            (8, 39, Layout::AccelerateSequential, &[36.2, 38.3, 38.3, 29.4, 0.0, 0.0, 0.0, 0.0]),
            (8, 79, Layout::AccelerateSequential, &[76.0, 66.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            (6, 39, Layout::AccelerateSequential, &[36.2, 38.3, 38.3, 29.4, 0.0, 0.0]),
        ];
        for &(count, gib, layout, expected) in table {
            let case = case("InternVL2-Llama3-76B", cards(count, gib));
            let plan = plan(&case, layout).unwrap();
            assert_eq!(weights_gib(&case, &plan), expected, "{} on {count} x {gib}", layout.name());
        }
    }

    #[test]
    fn accelerate_cuts_the_projector_in_two() {
        let case = case("InternVL2-Llama3-76B", cards(4, 79));
        let plan = plan(&case, Layout::Accelerate).unwrap();
        let projector = case.model.position(UnitKind::Projector).unwrap();
        assert!(
            plan.splits.iter().any(|s| s.unit == projector && s.module == "3" && s.device == 3),
            "{:?}",
            plan.splits
        );
        assert_eq!(plan.assignment[projector], 2);
    }

    /// The worked figure of the planning notes: 8 cards of 39 GiB with 0.6 GiB of overhead, vision whole.
    #[test]
    fn ours_on_eight_cards_of_39() {
        let mut devices = cards(8, 39);
        for device in &mut devices {
            device.overhead = CUDA_OVERHEAD;
        }
        let case = case("InternVL2-Llama3-76B", devices);
        let wishes = Wishes { vision: VisionChoice::Whole, ..Wishes::default() };
        let plan = ours(&case, &wishes).unwrap();
        let mut layers = vec![0; 8];
        for (unit, &device) in plan.assignment.iter().enumerate() {
            layers[device] += usize::from(matches!(case.model.units[unit].kind, UnitKind::Layer(_)));
        }
        assert_eq!(layers, [4, 11, 11, 11, 11, 11, 11, 10]);
        let held = plan.holdings(&case.costs)[0];
        let peak = case.costs.moment(&held, 70, 18_520).peak() + CUDA_OVERHEAD;
        assert!((peak as f64 / GIB as f64 - 24.0).abs() < 0.05, "{}", peak as f64 / GIB as f64);
        // The freedom to cut the tower between blocks never costs anything.
        let free = ours(&case, &Wishes::default()).unwrap();
        assert!(free.exact && worst(&case, &free) <= worst(&case, &plan));
    }

    fn worst(case: &Case, plan: &Plan) -> f64 {
        let usable = case.usable(&plan.devices);
        let holdings = plan.holdings(&case.costs);
        let at = |device: usize| {
            let peaks = case
                .workload
                .frontier
                .iter()
                .map(|q| case.costs.moment(&holdings[device], q.tiles, q.prompt_tokens).peak());
            let peak = peaks.max().unwrap_or(0);
            if holdings[device] == Default::default() {
                0.0
            } else {
                peak as f64 / usable[device].max(1) as f64
            }
        };
        (0..plan.devices.len()).map(at).fold(0.0, f64::max)
    }

    #[test]
    fn never_worse_than_any_preset() {
        let sets = [
            cards(2, 80),
            cards(8, 40),
            cards(3, 24),
            vec![
                Device::simulated(0, 24 * GIB),
                Device::simulated(1, 80 * GIB),
                Device::simulated(2, 48 * GIB),
            ],
        ];
        for name in ["InternVL2-Llama3-76B", "InternVL3-8B", "InternVL3_5-30B-A3B", "InternVL3-1B-hf"] {
            for devices in &sets {
                let case = case(name, devices.clone());
                let best = worst(&case, &plan(&case, Layout::Auto).unwrap());
                for layout in Layout::NAMED {
                    let Ok(other) = plan(&case, layout) else { continue };
                    if other.devices.len() == devices.len() {
                        assert!(
                            best <= worst(&case, &other) * 1.001,
                            "{name}: {} is better, {} than {best}: {:?} {:?}",
                            layout.name(),
                            worst(&case, &other),
                            weights_gib(&case, &other),
                            other.splits
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn pins_are_kept_and_the_rest_is_planned_around_them() {
        let case = case("InternVL2-Llama3-76B", cards(8, 40));
        let layer = case.model.position(UnitKind::Layer(40)).unwrap();
        let plan = ours(&case, &Wishes { pins: vec![(layer, 6)], ..Wishes::default() }).unwrap();
        assert_eq!(plan.assignment[layer], 6);
        assert!(plan.exact && plan.hops() == 7);
        // Pins that interleave devices still get a plan, with islands.
        let at = |i: usize| case.model.position(UnitKind::Layer(i)).unwrap();
        let pins = vec![(at(3), 0), (at(4), 1), (at(5), 0)];
        let plan = ours(&case, &Wishes { pins: pins.clone(), ..Wishes::default() }).unwrap();
        for (unit, device) in pins {
            assert_eq!(plan.assignment[unit], device);
        }
        assert!(!plan.notes.is_empty());
    }

    #[test]
    fn consecutive_stages_lie_on_fast_links() {
        let mut case = case("InternVL3-78B", cards(4, 80));
        let plain = plan(&case, Layout::Auto).unwrap();
        // NVLink joins 0 with 2 and 1 with 3 only.
        let fast = crate::plan::device::Link::NVLINK;
        case.links = Links::new(vec![(0, 2, fast), (1, 3, fast)]);
        let linked = plan(&case, Layout::Auto).unwrap();
        let path: Vec<usize> = linked.runs().iter().map(|run| run.device).collect();
        let joined = path.windows(2).filter(|hop| hop[0].abs_diff(hop[1]) == 2).count();
        assert_eq!(joined, 2, "{path:?}");
        assert_eq!(worst(&case, &linked), worst(&case, &plain));
    }

    #[test]
    fn fewest_gpus_when_asked() {
        let case = case("InternVL3-8B", cards(8, 80));
        let safest = ours(&case, &Wishes::default()).unwrap();
        let fewest = ours(&case, &Wishes { goal: Goal::FewestGpus, ..Wishes::default() }).unwrap();
        assert_eq!(fewest.runs().len(), 1);
        assert!(safest.runs().len() > 1);
    }

    #[test]
    fn a_tied_head_stays_with_its_embedding_unless_copied() {
        let mut shape = catalogue::find("InternVL3-2B").unwrap();
        shape.decoder.tied = true;
        let model = Model::new(shape, Dtype::Bf16, None);
        let mut case = Case::new(model, cards(4, 8), Assumptions::default(), Workload::assumed(13, 4_000));
        let (embedding, head) = (
            case.model.position(UnitKind::TokenEmbedding).unwrap(),
            case.model.position(UnitKind::Head).unwrap(),
        );
        let plan = ours(&case, &Wishes::default()).unwrap();
        assert_eq!(plan.assignment[embedding], plan.assignment[head]);
        assert_eq!(case.model.units[head].weight_bytes, 0);
        let shared = worst(&case, &plan);
        let mut copied = case.assumptions.clone();
        copied.duplicate_tied_head = Sourced::chosen(true);
        case = case.with_assumptions(copied);
        let plan = ours(&case, &Wishes::default()).unwrap();
        assert!(worst(&case, &plan) <= shared);
    }

    #[test]
    fn without_devices_there_is_a_sentence() {
        let none = case("InternVL3-1B", Vec::new());
        for layout in Layout::NAMED {
            assert!(plan(&none, layout).is_err());
        }
    }
}
