//! Judging any plan, ours, dragged or imported: what would go wrong, what PyTorch would say, and what would mend it.

mod coverage;
mod finding;
mod fixes;
mod placement;

use super::device_map::{DeviceMap, Resolved, resolve};
use super::forecast::{Forecast, Forecaster};
use super::layout::Plan;
use super::planner::Case;
use coverage::coverage;
use fixes::our_plan;
use placement::{lengths, memory, order, places};

pub use finding::{Change, Finding, Fix, Outcome, Severity};
pub use fixes::ways_to_fit;

/// Judges a plan and plans every fix anew: milliseconds where a plan does not fit. The forecast must be the plan's own.
pub fn check(case: &Case, plan: &Plan, forecast: &Forecast) -> Vec<Finding> {
    let mut findings = look(case, plan, forecast);
    for finding in &mut findings {
        match finding.code {
            "offloaded" | "offloaded-between" => finding.fixes.extend(our_plan(case, plan)),
            _ => {}
        }
    }
    if let Some(first) = findings.iter_mut().find(|f| f.code == "over-capacity") {
        first.fixes = ways_to_fit(case, plan);
    }
    findings
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
