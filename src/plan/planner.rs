//! Planning: a model, devices, assumptions and a workload make a plan, ours or a preset's.

mod body;
mod case;

use super::accelerate;
use super::layout::{Layout, Plan};
use super::mistralrs;
use super::presets;
use super::stages::{Share, Staging};
use super::unit::UnitKind;
use crate::{Problem, Result};
use body::Body;

pub use case::{Case, UNKNOWN_HOST_MEMORY};

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

#[cfg(test)]
mod tests;
