//! Judging any plan, ours, dragged or imported: what would go wrong, what PyTorch would say, and what would mend it.

mod coverage;
mod finding;
mod fixes;
mod placement;

use super::device_map::{DeviceMap, Resolved, resolve};
use super::forecast::{Forecast, Forecaster, Verdict};
use super::layout::Plan;
use super::planner::Case;
use coverage::coverage;
use fixes::{our_plan, within_positions};
use placement::{lengths, memory, order, places};

pub use finding::{Change, Finding, Fix, Outcome, Severity};
pub use fixes::ways_to_fit;

/// Judges a plan and plans every fix anew: milliseconds where a plan does not fit. The forecast must be the plan's own.
pub fn check(case: &Case, plan: &Plan, forecast: &Forecast) -> Vec<Finding> {
    let mut findings = look(case, plan, forecast);
    if let Some(long) = findings.iter_mut().find(|f| f.code == "past-positions") {
        long.fixes.extend(within_positions(case, plan));
    }
    if let Some(first) = findings.iter_mut().find(|f| f.code == "over-capacity") {
        first.fixes = ways_to_fit(case, plan);
    }
    plan_anew(case, plan, &mut findings);
    findings
}

/// Plans every fix anew: those that were named get their outcome, and what another plan would mend gets ours.
fn plan_anew(case: &Case, plan: &Plan, findings: &mut [Finding]) {
    let ours = std::cell::OnceCell::new();
    for finding in findings {
        for fix in finding.fixes.iter_mut().filter(|fix| fix.outcome.is_none()) {
            fix.outcome = fixes::outcome_of(case, plan, &fix.change);
        }
        let is_ours = matches!(
            finding.code,
            "offloaded"
                | "offloaded-between"
                | "extra-hops"
                | "tight"
                | "mig"
                | "unit-cut"
                | "idle-device"
                | "covered-twice"
                | "uncovered-unit"
                | "absent-device"
        );
        if is_ours {
            let ours: &Option<Fix> = ours.get_or_init(|| our_plan(case, plan));
            finding.fixes.extend(ours.clone().filter(|ours| helps(finding.code, case, plan, ours)));
        }
    }
}

/// Whether our plan mends a finding.
fn helps(code: &str, case: &Case, plan: &Plan, ours: &Fix) -> bool {
    let Change::Assignment(assignment) = &ours.change else { return false };
    let after =
        Plan { splits: Vec::new(), notes: Vec::new(), assignment: assignment.clone(), ..plan.clone() };
    match code {
        "extra-hops" => after.hops() < plan.hops(),
        "tight" => ours.outcome.is_some_and(|then| then.verdict == Verdict::Fits),
        "idle-device" => {
            let used = |plan: &Plan| (0..case.devices.len()).filter(|d| plan.assignment.contains(d)).count();
            used(&after) > used(plan)
        }
        _ => true,
    }
}

/// Judges a plan without planning fixes: microseconds, for every frame of a drag.
pub fn look(case: &Case, plan: &Plan, forecast: &Forecast) -> Vec<Finding> {
    let mut findings = Vec::new();
    order(case, plan, &mut findings);
    places(case, plan, &mut findings);
    lengths(case, &mut findings);
    memory(plan, forecast, &mut findings);
    for note in &plan.notes {
        let code = if note.contains("name nothing") { "phantom-layer" } else { "planner" };
        findings.push(Finding::new(Severity::Note, code, note.clone()));
    }
    for (name, read, by_shape) in case.model.differing.iter().take(3) {
        findings.push(Finding::new(
            Severity::Note,
            "size-differs",
            format!("{name} holds {read} bytes in the files where its shape says {by_shape}; the files were believed"),
        ));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// Judges an imported map: what it says as a map, then the plan that it makes.
pub fn check_map(case: &Case, map: &DeviceMap) -> (Resolved, Forecast, Vec<Finding>) {
    let resolved = resolve(map, case);
    let forecast = Forecaster::new(case).forecast(&resolved.plan);
    let mut findings = coverage(case, &resolved);
    plan_anew(case, &resolved.plan, &mut findings);
    findings.extend(check(case, &resolved.plan, &forecast));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    (resolved, forecast, findings)
}

fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [a, b] => format!("{a} and {b}"),
        [a, b, c] => format!("{a}, {b} and {c}"),
        [a, b, .., last] => format!("{a}, {b} … {last} ({} in all)", names.len()),
    }
}

#[cfg(test)]
mod tests;
