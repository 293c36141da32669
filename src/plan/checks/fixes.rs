//! What would make a plan fit, each way planned anew.

use super::{Change, Fix, Outcome};
use crate::plan::assumptions::{Assumptions, Dtype, Logits, Sourced};
use crate::plan::bytes;
use crate::plan::forecast::{Forecaster, Verdict};
use crate::plan::layout::{Layout, Plan};
use crate::plan::planner::{self, Case};
use crate::plan::workload::Workload;

fn outcome(case: &Case, plan: &Plan) -> Outcome {
    let slim = case.at_its_worst();
    let forecast = Forecaster::new(&slim).forecast(plan);
    Outcome { worst_share: forecast.worst_share, verdict: forecast.verdict }
}

/// What a change leads to; nothing where it is made outside the plan.
pub(super) fn outcome_of(case: &Case, plan: &Plan, change: &Change) -> Option<Outcome> {
    match change {
        Change::Assignment(assignment) => {
            let moved = Plan { splits: Vec::new(), assignment: assignment.clone(), ..plan.clone() };
            Some(outcome(case, &moved))
        }
        Change::Assumptions(assumptions) if assumptions.dtype.value != case.model.dtype => {
            let other = case.with_dtype(assumptions.dtype.value);
            Some(outcome(&other.with_assumptions((**assumptions).clone()), plan))
        }
        Change::Assumptions(assumptions) => {
            Some(outcome(&case.with_assumptions((**assumptions).clone()), plan))
        }
        Change::Outside => None,
    }
}

/// The most tiles that keep the longest prompt within the positions the model was made for.
pub(super) fn within_positions(case: &Case, plan: &Plan) -> Option<Fix> {
    let shape = &case.model.shape;
    let longest = case.workload.frontier.iter().max_by_key(|q| q.prompt_tokens)?;
    let text = longest.prompt_tokens.saturating_sub(longest.tiles.saturating_mul(shape.tokens_per_tile));
    let tiles = shape.positions?.saturating_sub(text).checked_div(shape.tokens_per_tile)?;
    (shape.vision.is_some() && tiles > 0).then(|| {
        let tokens = text.saturating_add(tiles.saturating_mul(shape.tokens_per_tile));
        Fix {
            what: format!("allow at most {tiles} tiles a question"),
            change: Change::Outside,
            outcome: Some(outcome(&case.with_workload(Workload::assumed(tiles, tokens)), plan)),
            changes_results: true,
        }
    })
}

pub(super) fn our_plan(case: &Case, plan: &Plan) -> Option<Fix> {
    let ours = planner::plan(case, Layout::Auto).ok()?;
    (ours.assignment != plan.assignment).then(|| Fix {
        what: "use Shardscope's own plan".into(),
        outcome: Some(outcome(case, &ours)),
        change: Change::Assignment(ours.assignment),
        changes_results: false,
    })
}

/// What would make a plan fit, the least harmful first; each is planned anew. Fixes that change nothing are left out.
pub fn ways_to_fit(case: &Case, plan: &Plan) -> Vec<Fix> {
    let mut fixes = Vec::new();
    let now = outcome(case, plan);
    // Of the steps of one knob the first that makes the plan fit is named, else the one that helps most.
    let mut knob = |steps: Vec<(String, Assumptions)>| {
        let mut best: Option<Fix> = None;
        for (what, assumptions) in steps {
            let then = outcome(&case.with_assumptions(assumptions.clone()), plan);
            let before = best.as_ref().and_then(|fix| fix.outcome).map_or(now.worst_share, |o| o.worst_share);
            if then.worst_share < before * 0.999 {
                let change = Change::Assumptions(Box::new(assumptions));
                best = Some(Fix { what, change, outcome: Some(then), changes_results: false });
            }
            if best.as_ref().is_some_and(|fix| fix.outcome.is_some_and(|o| o.verdict != Verdict::DoesNotFit))
            {
                break;
            }
        }
        fixes.extend(best);
    };
    let base = &case.assumptions;
    let fewer = |value: Option<u64>, steps: &[u64]| -> Vec<u64> {
        steps.iter().copied().filter(|&step| value.is_none_or(|now| now > step)).collect()
    };
    let tiles = fewer(base.tile_batch.value, &[8, 4, 2, 1]).into_iter().map(|tiles| {
        let changed = Assumptions { tile_batch: Sourced::chosen(Some(tiles)), ..base.clone() };
        let many = if tiles == 1 { "tile" } else { "tiles" };
        (format!("run the vision tower {tiles} {many} at a time"), changed)
    });
    knob(tiles.collect());
    if base.logits.value == Logits::All {
        let changed = Assumptions { logits: Sourced::chosen(Logits::Last), ..base.clone() };
        knob(vec![("compute the head for the last position only".into(), changed)]);
    }
    let chunks = fewer(base.prefill_chunk.value, &[4096, 1024, 256]).into_iter().map(|chunk| {
        let changed = Assumptions { prefill_chunk: Sourced::chosen(Some(chunk)), ..base.clone() };
        (format!("read the prompt {chunk} tokens at a time"), changed)
    });
    knob(chunks.collect());
    if base.in_flight.value > 1 {
        let changed = Assumptions { in_flight: Sourced::chosen(1), ..base.clone() };
        knob(vec![("keep one question in flight".into(), changed)]);
    }
    fixes.extend(
        our_plan(case, plan)
            .filter(|fix| fix.outcome.is_some_and(|o| o.worst_share < now.worst_share * 0.999)),
    );
    for (index, device) in case.devices.iter().enumerate().filter(|(_, d)| d.others > 0) {
        let mut freed = case.devices.clone();
        freed[index].others = 0;
        let freed = case.with_devices(freed.clone());
        let then = outcome(&freed, &Plan { devices: freed.devices.clone(), ..plan.clone() });
        if then.worst_share < now.worst_share * 0.999 {
            fixes.push(Fix {
                what: format!("end what else runs on {} ({})", device.name, bytes::human(device.others)),
                change: Change::Outside,
                outcome: Some(then),
                changes_results: false,
            });
        }
    }
    if !case.model.dtype.is_quantised() {
        let eight_bit = case.with_dtype(Dtype::Q8_0);
        if let Ok(ours) = planner::plan(&eight_bit, Layout::Auto) {
            fixes.push(Fix {
                what: "hold the language model's weights in 8 bits (q8_0), planned by Shardscope".into(),
                change: Change::Assumptions(Box::new(eight_bit.assumptions.clone())),
                outcome: Some(outcome(&eight_bit, &ours)),
                changes_results: true,
            });
        }
    }
    let slim = case.at_its_worst();
    let longest = Forecaster::new(&slim).forecast(plan).longest_answer;
    if let Some(tokens) = longest.filter(|&t| t >= 16 && t < base.max_new_tokens.value) {
        let changed = Assumptions { max_new_tokens: Sourced::chosen(tokens), ..base.clone() };
        let then = outcome(&case.with_assumptions(changed.clone()), plan);
        fixes.push(Fix {
            what: format!("allow answers of at most {tokens} tokens"),
            change: Change::Assumptions(Box::new(changed)),
            outcome: Some(then),
            changes_results: true,
        });
    }
    fixes.extend(fewer_tiles(case, plan));
    fixes
}

/// The most tiles a question may have for the plan to fit, its text as long as the longest now.
fn fewer_tiles(case: &Case, plan: &Plan) -> Option<Fix> {
    let per_tile = case.model.shape.tokens_per_tile;
    let heaviest = case.workload.frontier.iter().max_by_key(|q| q.tiles)?;
    let text = heaviest.prompt_tokens.saturating_sub(heaviest.tiles.saturating_mul(per_tile));
    let at = |tiles: u64| {
        let tokens = text.saturating_add(tiles.saturating_mul(per_tile));
        outcome(&case.with_workload(Workload::assumed(tiles, tokens)), plan)
    };
    let (mut low, mut high) = (0, heaviest.tiles);
    if at(low).verdict == Verdict::DoesNotFit || at(high).verdict != Verdict::DoesNotFit {
        return None;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if at(middle).verdict == Verdict::DoesNotFit { high = middle } else { low = middle }
    }
    (low > 0).then(|| Fix {
        what: format!("allow at most {low} tiles a question"),
        change: Change::Outside,
        outcome: Some(at(low)),
        changes_results: true,
    })
}
