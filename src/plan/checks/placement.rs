//! What a plan's places lead to: hops, host memory between GPUs, units cut or apart, lengths, memory.

use super::{Change, Finding, Severity, listed};
use crate::plan::assumptions::{Assumptions, Dtype, Sourced};
use crate::plan::bytes;
use crate::plan::calibration::Component;
use crate::plan::device::DeviceKind;
use crate::plan::forecast::{Forecast, Verdict};
use crate::plan::layout::Plan;
use crate::plan::planner::Case;
use crate::plan::unit::UnitKind;

pub(super) fn order(case: &Case, plan: &Plan, findings: &mut Vec<Finding>) {
    let name = |device: usize| plan.devices.get(device).map_or("?", |d| d.name.as_str());
    let runs = plan.runs();
    let mut seen: Vec<usize> = Vec::new();
    let mut again = Vec::new();
    for run in &runs {
        if seen.contains(&run.device) {
            again.push(format!("{} at {}", name(run.device), case.model.units[run.first].name));
        } else {
            seen.push(run.device);
        }
    }
    // The tail returning to a device is a choice the planner makes itself.
    let tail_only =
        again.len() == 1 && runs.last().is_some_and(|run| case.model.units[run.first].kind.is_tail());
    if !again.is_empty() {
        let extra = again.len();
        let severity = if tail_only { Severity::Note } else { Severity::Warning };
        findings.push(Finding::new(
            severity,
            "extra-hops",
            format!(
                "the units return to a device they had left ({}): {} hops where {} would do; each costs a copy of the hidden state \
                 for every prompt and every token",
                listed(&again),
                plan.hops(),
                plan.hops() - extra
            ),
        ));
    }
    let on_host =
        |d: usize| matches!(plan.devices.get(d).map(|d| d.kind), Some(DeviceKind::Cpu | DeviceKind::Disk));
    let on_gpu = |d: usize| plan.devices.get(d).is_some_and(|d| d.is_gpu());
    let any_gpu = plan.assignment.iter().any(|&d| on_gpu(d));
    let host: Vec<usize> = (0..plan.assignment.len()).filter(|&u| on_host(plan.assignment[u])).collect();
    if any_gpu && let (Some(&first), Some(&last)) = (host.first(), host.last()) {
        let between = plan.assignment[last..].iter().any(|&d| on_gpu(d));
        let weights = host.iter().fold(0u64, |sum, &u| sum.saturating_add(case.costs.weights(u)));
        let disk = host.iter().any(|&u| plan.devices[plan.assignment[u]].kind == DeviceKind::Disk);
        findings.push(Finding::new(
            Severity::Warning,
            if between { "offloaded-between" } else { "offloaded" },
            format!(
                "{} units from {} on lie on the {}{}; accelerate copies their {} to a GPU again for every single token",
                host.len(),
                case.model.units[first].name,
                if disk { "disk" } else { "CPU" },
                if between { " between GPU units" } else { "" },
                bytes::human(weights)
            ),
        ));
    }
}

pub(super) fn places(case: &Case, plan: &Plan, findings: &mut Vec<Finding>) {
    let units = &case.model.units;
    let name = |device: usize| plan.devices.get(device).map_or("?", |d| d.name.as_str());
    for split in &plan.splits {
        let unit = &units[split.unit];
        let block = matches!(unit.kind, UnitKind::Layer(_) | UnitKind::VisionBlock(_));
        let what = if block {
            "a block is cut in two: its residual sum meets tensors of two devices, and PyTorch fails with \"Expected all tensors to \
             be on the same device\" unless accelerate's hooks move them"
        } else {
            "accelerate was not told to keep it whole"
        };
        findings.push(
            Finding::new(
                if block { Severity::Error } else { Severity::Warning },
                "unit-cut",
                format!(
                    "{}.{} lies on {} and the rest of the unit on {}; {what}",
                    unit.name,
                    split.module,
                    name(split.device),
                    name(plan.assignment[split.unit])
                ),
            )
            .fix("keep the unit whole on its first device", Change::Assignment(plan.assignment.clone())),
        );
    }
    for (head, partner) in units.iter().enumerate().filter_map(|(u, unit)| Some((u, unit.tied_with?))) {
        let (away, home) = (plan.assignment[head], plan.assignment[partner]);
        if away != home {
            let mut together = plan.assignment.clone();
            together[head] = home;
            findings.push(
                Finding::new(
                    Severity::Warning,
                    "tied-apart",
                    format!(
                        "{} shares its weights with {}, but lies on {} instead of {}: PyTorch keeps a second copy of {}, or fails \
                         with tensors on two devices",
                        units[head].name,
                        units[partner].name,
                        name(away),
                        name(home),
                        bytes::human(case.costs.weights(partner))
                    ),
                )
                .fix(format!("move it to {}", name(home)), Change::Assignment(together)),
            );
        }
    }
    let used =
        |device: usize| plan.assignment.contains(&device) || plan.splits.iter().any(|s| s.device == device);
    let slices = (0..plan.devices.len()).filter(|&d| plan.devices[d].mig && used(d)).count();
    let others = (0..plan.devices.len())
        .filter(|&d| plan.devices[d].is_gpu() && !plan.devices[d].mig && used(d))
        .count();
    if slices > 1 || (slices == 1 && others > 0) {
        findings.push(
            Finding::new(
                Severity::Error,
                "mig",
                "the plan spans a MIG slice and another device, but a CUDA process can use one MIG slice and nothing else",
            )
            .fix("use one slice, or switch MIG off (nvidia-smi -mig 0)", Change::Outside),
        );
    }
    let old = ["V100", "T4"];
    let cards =
        plan.devices.iter().enumerate().filter(|&(d, _)| used(d)).filter_map(|(_, d)| d.card.as_deref());
    let without_bf16: Vec<String> =
        cards.filter(|card| old.iter().any(|o| card.contains(o))).map(str::to_string).collect();
    if case.model.dtype == Dtype::Bf16
        && let Some(card) = without_bf16.first()
    {
        let f16 = Assumptions { dtype: Sourced::chosen(Dtype::F16), ..case.assumptions.clone() };
        findings.push(
            Finding::new(
                Severity::Warning,
                "dtype",
                format!("{card} has no bf16 arithmetic; it is emulated, several times slower"),
            )
            .fix("hold the weights in f16", Change::Assumptions(Box::new(f16))),
        );
    }
    let gpus: Vec<usize> = (0..plan.devices.len()).filter(|&d| plan.devices[d].is_gpu()).collect();
    let idle: Vec<String> = gpus.iter().filter(|&&d| !used(d)).map(|&d| name(d).to_string()).collect();
    if !idle.is_empty() && idle.len() < gpus.len() {
        findings.push(Finding::new(
            Severity::Note,
            "idle-device",
            format!(
                "{} of {} GPUs {} nothing: {}",
                idle.len(),
                gpus.len(),
                if idle.len() == 1 { "holds" } else { "hold" },
                listed(&idle)
            ),
        ));
    }
    if !case.model.shape.runnable {
        findings.push(Finding::new(
            Severity::Note,
            "planned-by-shape",
            format!(
                "{} is planned by its published shape; Shardscope does not run it",
                case.model.shape.name
            ),
        ));
    }
}

pub(super) fn lengths(case: &Case, findings: &mut Vec<Finding>) {
    let Some(positions) = case.model.shape.positions else { return };
    let questions = &case.workload.questions;
    let too_long = questions.iter().filter(|q| q.prompt_tokens > positions).count();
    let longest = case.workload.frontier.iter().max_by_key(|q| q.prompt_tokens);
    let Some(longest) = longest.filter(|q| q.prompt_tokens > positions) else { return };
    findings.push(Finding::new(
        Severity::Warning,
        "past-positions",
        format!(
            "{} the prompt is longer than the {positions} positions this model was made for (longest: {}, {} tokens); it still runs, \
             but what it answers beyond them is not what was trained",
            if questions.is_empty() {
                "at the assumed question".to_string()
            } else {
                format!("at {too_long} of {} questions", questions.len())
            },
            longest.id,
            longest.prompt_tokens
        ),
    ));
}

fn word(component: Component) -> &'static str {
    match component {
        Component::Weights => "weights",
        Component::Kv => "keys and values",
        Component::Vision => "vision tower",
        Component::Prefill => "reading the prompt",
        Component::Head => "logits",
    }
}

pub(super) fn memory(plan: &Plan, forecast: &Forecast, findings: &mut Vec<Finding>) {
    let over: Vec<usize> =
        (0..forecast.devices.len()).filter(|&d| forecast.devices[d].verdict == Verdict::DoesNotFit).collect();
    for &device in &over {
        let at = &forecast.devices[device];
        let largest = at.parts.iter().max_by_key(|(_, bytes)| *bytes);
        let mut message = format!(
            "{} would need {} of {} usable at {}: weights {}, keys and values {}, temporary {}{}",
            plan.devices[device].name,
            bytes::human(at.worst.peak()),
            bytes::human(at.usable),
            at.binding.as_deref().unwrap_or("any question"),
            bytes::human(at.worst.weights),
            bytes::human(at.worst.kv),
            bytes::human(at.worst.activation),
            largest.map(|(c, _)| format!(" ({})", word(*c))).unwrap_or_default(),
        );
        let failing = forecast.counts[2];
        if failing > 0 {
            let end = if plan.devices[device].is_gpu() {
                "end in \"CUDA out of memory\""
            } else {
                "find too little memory"
            };
            message.push_str(&format!("; {failing} of {} questions {end}", forecast.questions.len()));
        }
        findings.push(Finding::new(Severity::Error, "over-capacity", message));
    }
    let tight: Vec<String> = forecast
        .devices
        .iter()
        .zip(&plan.devices)
        .filter(|(f, _)| f.verdict == Verdict::Tight)
        .map(|(f, d)| format!("{} ({:.0} %)", d.name, f.share * 100.0))
        .collect();
    if !tight.is_empty() {
        findings.push(Finding::new(
            Severity::Warning,
            "tight",
            format!(
                "little memory is left at the worst question on {}; fragmentation may use it up",
                listed(&tight)
            ),
        ));
    }
}
