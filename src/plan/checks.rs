//! Judging any plan, ours, dragged or imported: what would go wrong, what PyTorch would say, and what would mend it.

use super::assumptions::{Assumptions, Dtype, Logits, Sourced};
use super::bytes;
use super::calibration::Component;
use super::device::DeviceKind;
use super::device_map::{DeviceMap, Resolved, resolve};
use super::forecast::{Forecast, Forecaster, Verdict};
use super::layout::Plan;
use super::planner::{self, Case};
use super::unit::UnitKind;
use super::workload::Workload;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// It may go wrong, or is slower than it need be.
    Warning,
    /// It goes wrong.
    Error,
}

/// What a fix would lead to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Worst share of usable memory afterwards.
    pub worst_share: f64,
    /// The verdict afterwards.
    pub verdict: Verdict,
}

/// What a fix changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The assumptions.
    Assumptions(Box<Assumptions>),
    /// Where units lie.
    Assignment(Vec<usize>),
    /// Something outside the plan that the user does.
    Outside,
}

/// A way to mend a finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Fix {
    /// What to do, as a sentence.
    pub what: String,
    /// What it changes.
    pub change: Change,
    /// What it leads to, planned anew.
    pub outcome: Option<Outcome>,
    /// Whether it changes what is measured (answers or images), not only how.
    pub changes_results: bool,
}

/// Something to know about a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// A stable word for it.
    pub code: &'static str,
    /// What it is and what it would lead to.
    pub message: String,
    /// What would mend it, the least harmful first.
    pub fixes: Vec<Fix>,
}

impl Finding {
    fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Self {
        Self { severity, code, message: message.into(), fixes: Vec::new() }
    }

    fn fix(mut self, what: impl Into<String>, change: Change) -> Self {
        self.fixes.push(Fix { what: what.into(), change, outcome: None, changes_results: false });
        self
    }
}

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

fn coverage(case: &Case, resolved: &Resolved) -> Vec<Finding> {
    let mut findings = Vec::new();
    let units = &case.model.units;
    let names = |list: &[usize]| -> Vec<String> { list.iter().map(|&u| units[u].name.clone()).collect() };
    let repaired = || Change::Assignment(resolved.plan.assignment.clone());
    if !resolved.uncovered.is_empty() {
        findings.push(
            Finding::new(
                Severity::Error,
                "uncovered-unit",
                format!(
                    "no entry covers {}; accelerate refuses such a map: \"The device_map provided does not give any device for \
                     the following parameters\"",
                    listed(&names(&resolved.uncovered))
                ),
            )
            .fix("place them with the unit before them", repaired()),
        );
    }
    if !resolved.uncovered_buffers.is_empty() {
        findings.push(
            Finding::new(
                Severity::Error,
                "uncovered-buffer",
                format!(
                    "no entry covers {}. accelerate does not notice, since no checkpoint stores it, and leaves it on the CPU; \
                     the first question then fails with \"Expected all tensors to be on the same device, but found at least two \
                     devices, cpu and cuda:0\" (wrapper_CUDA_bmm)",
                    listed(&resolved.uncovered_buffers)
                ),
            )
            .fix("write it beside the first decoder layer, as every map that Shardscope writes does", repaired()),
        );
    }
    if !resolved.contradicted.is_empty() {
        findings.push(Finding::new(
            Severity::Warning,
            "covered-twice",
            format!(
                "two entries send {} to different devices; the later one counts",
                listed(&names(&resolved.contradicted))
            ),
        ));
    }
    if !resolved.phantom.is_empty() {
        findings.push(Finding::new(
            Severity::Note,
            "phantom-layer",
            format!(
                "{} {} nothing in this model ({} decoder layers); PyTorch ignores such entries, but the counts behind them are off",
                listed(&resolved.phantom),
                if resolved.phantom.len() == 1 { "names" } else { "name" },
                case.model.shape.decoder.layers
            ),
        ));
    }
    if !resolved.unknown.is_empty() {
        findings.push(Finding::new(
            Severity::Warning,
            "unknown-key",
            format!("{} match no module of any InternVL layout and are ignored", listed(&resolved.unknown)),
        ));
    }
    if !resolved.foreign.is_empty() {
        findings.push(Finding::new(
            Severity::Note,
            "other-layout",
            format!(
                "{} are the names of another checkpoint layout; Shardscope understands them, PyTorch would ignore them here",
                listed(&resolved.foreign)
            ),
        ));
    }
    if !resolved.absent.is_empty() {
        let mut gpus: Vec<String> = resolved.absent.iter().map(|(_, id)| id.to_string()).collect();
        gpus.dedup();
        let keys: Vec<String> = resolved.absent.iter().map(|(key, _)| key.clone()).collect();
        findings.push(
            Finding::new(
                Severity::Error,
                "absent-device",
                format!(
                    "{} lie on GPU {}, but there are {} GPUs; PyTorch fails with \"CUDA error: invalid device ordinal\"",
                    listed(&keys),
                    listed(&gpus),
                    case.devices.iter().filter(|d| d.is_gpu()).count()
                ),
            )
            .fix("ordinals count what CUDA_VISIBLE_DEVICES leaves, from 0: renumber them, or make the GPUs visible", Change::Outside),
        );
    }
    findings
}

fn order(case: &Case, plan: &Plan, findings: &mut Vec<Finding>) {
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

fn places(case: &Case, plan: &Plan, findings: &mut Vec<Finding>) {
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
        findings.push(
            Finding::new(
                Severity::Warning,
                "dtype",
                format!("{card} has no bf16 arithmetic; it is emulated, several times slower"),
            )
            .fix("use f16 there", Change::Outside),
        );
    }
    let gpus: Vec<usize> = (0..plan.devices.len()).filter(|&d| plan.devices[d].is_gpu()).collect();
    let idle: Vec<String> = gpus.iter().filter(|&&d| !used(d)).map(|&d| name(d).to_string()).collect();
    if !idle.is_empty() && idle.len() < gpus.len() {
        findings.push(Finding::new(
            Severity::Note,
            "idle-device",
            format!("{} of {} GPUs hold nothing: {}", idle.len(), gpus.len(), listed(&idle)),
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

fn lengths(case: &Case, findings: &mut Vec<Finding>) {
    let Some(positions) = case.model.shape.positions else { return };
    let questions = &case.workload.questions;
    let too_long = questions.iter().filter(|q| q.prompt_tokens > positions).count();
    let longest = case.workload.frontier.iter().max_by_key(|q| q.prompt_tokens);
    let Some(longest) = longest.filter(|q| q.prompt_tokens > positions) else { return };
    let mut finding = Finding::new(
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
    );
    if case.model.shape.vision.is_some() && case.model.shape.tokens_per_tile > 0 {
        let text = longest
            .prompt_tokens
            .saturating_sub(longest.tiles.saturating_mul(case.model.shape.tokens_per_tile));
        let tiles = positions.saturating_sub(text) / case.model.shape.tokens_per_tile;
        finding.fixes.push(Fix {
            what: format!("allow at most {tiles} tiles a question"),
            change: Change::Outside,
            outcome: None,
            changes_results: true,
        });
    }
    findings.push(finding);
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

fn memory(plan: &Plan, forecast: &Forecast, findings: &mut Vec<Finding>) {
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
            message.push_str(&format!(
                "; {failing} of {} questions end in \"CUDA out of memory\"",
                forecast.questions.len()
            ));
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

fn outcome(case: &Case, plan: &Plan) -> Outcome {
    let slim = case.at_its_worst();
    let forecast = Forecaster::new(&slim).forecast(plan);
    Outcome { worst_share: forecast.worst_share, verdict: forecast.verdict }
}

fn our_plan(case: &Case, plan: &Plan) -> Option<Fix> {
    let ours = planner::plan(case, super::Layout::Auto).ok()?;
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
    let mut knob = |what: String, assumptions: Assumptions, changes_results: bool| {
        let changed = case.with_assumptions(assumptions.clone());
        let then = outcome(&changed, plan);
        let helps = then.worst_share < now.worst_share * 0.999;
        if helps {
            let change = Change::Assumptions(Box::new(assumptions));
            fixes.push(Fix { what, change, outcome: Some(then), changes_results });
        }
        helps && then.verdict != Verdict::DoesNotFit
    };
    let base = &case.assumptions;
    for tiles in [8, 4, 2, 1] {
        if base.tile_batch.value.is_none_or(|now| now > tiles) {
            let changed = Assumptions { tile_batch: Sourced::chosen(Some(tiles)), ..base.clone() };
            if knob(format!("run the vision tower {tiles} tiles at a time"), changed, false) || tiles == 1 {
                break;
            }
        }
    }
    if base.logits.value == Logits::All {
        let changed = Assumptions { logits: Sourced::chosen(Logits::Last), ..base.clone() };
        knob("compute the head for the last position only".into(), changed, false);
    }
    for chunk in [4096, 1024, 256] {
        if base.prefill_chunk.value.is_none_or(|now| now > chunk) {
            let changed = Assumptions { prefill_chunk: Sourced::chosen(Some(chunk)), ..base.clone() };
            if knob(format!("read the prompt {chunk} tokens at a time"), changed, false) {
                break;
            }
        }
    }
    if base.in_flight.value > 1 {
        let changed = Assumptions { in_flight: Sourced::chosen(1), ..base.clone() };
        knob("keep one question in flight".into(), changed, false);
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
        if let Ok(ours) = planner::plan(&eight_bit, super::Layout::Auto) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::bytes::GIB;
    use crate::plan::presets::Rule;
    use crate::plan::{Device, Layout, Model, QuestionCost, catalogue};

    fn case(name: &str, gpus: usize, gib: u64) -> Case {
        let model = Model::new(catalogue::find(name).unwrap(), Dtype::Bf16, None);
        let devices = (0..gpus).map(|i| Device::simulated(i, gib * GIB)).collect();
        let questions = [("light", 13), ("heavy", 70)].map(|(id, tiles)| QuestionCost {
            id: id.into(),
            tiles,
            prompt_tokens: tiles * 256 + 150,
        });
        Case::new(model, devices, Assumptions::default(), Workload::new(questions.to_vec()))
    }

    fn judge(case: &Case, plan: &Plan) -> Vec<Finding> {
        check(case, plan, &Forecaster::new(case).forecast(plan))
    }

    fn codes(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|f| f.code).collect()
    }

    #[test]
    fn our_plan_has_nothing_to_hide() {
        let case = case("InternVL3-78B", 8, 40);
        let plan = planner::plan(&case, Layout::Auto).unwrap();
        assert_eq!(codes(&judge(&case, &plan)), Vec::<&str>::new());
    }

    #[test]
    fn the_released_rule_is_explained_and_mended() {
        let case = case("InternVL2-Llama3-76B", 8, 40);
        let released = case.with_assumptions(case.assumptions.clone().as_released());
        let plan = planner::plan(&released, Layout::Rule(Rule::InternVl)).unwrap();
        let findings = judge(&released, &plan);
        let over = findings.iter().find(|f| f.code == "over-capacity").unwrap();
        assert!(
            over.message.contains("sim:0")
                && over.message.contains("heavy")
                && over.message.contains("logits"),
            "{}",
            over.message
        );
        assert!(over.message.contains("1 of 2 questions"));
        let what: Vec<&str> = over.fixes.iter().map(|f| f.what.as_str()).collect();
        assert!(what.iter().any(|w| w.contains("last position")), "{what:?}");
        assert!(
            over.fixes.iter().filter(|f| f.outcome.is_some_and(|o| o.verdict != Verdict::DoesNotFit)).count()
                >= 3
        );
        // What changes the results stands after everything that does not.
        let first_harmful = over.fixes.iter().position(|f| f.changes_results).unwrap();
        assert!(over.fixes[first_harmful..].iter().all(|f| f.changes_results));
        let all = codes(&findings);
        assert!(
            all.contains(&"phantom-layer") && all.contains(&"extra-hops") && all.contains(&"past-positions"),
            "{all:?}"
        );
    }

    #[test]
    fn a_missing_rotary_table_is_the_known_crash() {
        let case = case("InternVL3-8B", 2, 24);
        let plan = planner::plan(&case, Layout::Auto).unwrap();
        let mut map = DeviceMap::of(&plan, &case.model);
        map.entries.retain(|(name, _)| !name.ends_with("rotary_emb"));
        let (_, _, findings) = check_map(&case, &map);
        let finding = findings.iter().find(|f| f.code == "uncovered-buffer").unwrap();
        assert_eq!(finding.severity, Severity::Error);
        assert!(finding.message.contains("Expected all tensors to be on the same device"));
        assert!(finding.message.contains("language_model.model.rotary_emb"));
    }

    #[test]
    fn cut_blocks_host_layers_and_tied_heads_are_found() {
        let case = case("InternVL3-8B", 2, 24);
        let plan = planner::plan(&case, Layout::Auto).unwrap();
        let text = serde_json::to_string(&DeviceMap::of(&plan, &case.model).to_json()).unwrap();
        let cut = text.replacen("\"language_model.model.layers.3\":", "\"language_model.model.layers.3.mlp\":1,\"language_model.model.layers.3.self_attn\":0,\"language_model.model.layers.3\":", 1);
        let (_, _, findings) = check_map(&case, &DeviceMap::parse(&cut).unwrap());
        assert!(codes(&findings).contains(&"unit-cut"), "{findings:?}");
        let offloaded = text.replacen(
            "\"language_model.model.layers.9\":0",
            "\"language_model.model.layers.9\":\"cpu\"",
            1,
        );
        let (_, _, findings) = check_map(&case, &DeviceMap::parse(&offloaded).unwrap());
        let all = codes(&findings);
        assert!(all.contains(&"offloaded-between") && all.contains(&"extra-hops"), "{all:?}");

        let mut shape = catalogue::find("InternVL3-2B").unwrap();
        shape.decoder.tied = true;
        let model = Model::new(shape, Dtype::Bf16, None);
        let case = Case::new(model, case.devices, case.assumptions, case.workload);
        let mut plan = planner::plan(&case, Layout::Single).unwrap();
        *plan.assignment.last_mut().unwrap() = 1;
        assert!(codes(&judge(&case, &plan)).contains(&"tied-apart"));
    }

    #[test]
    fn mig_slices_do_not_add_up() {
        let mut case = case("InternVL3-8B", 2, 40);
        case.devices[0].mig = true;
        case.devices[1].mig = true;
        let mut plan = planner::plan(&case, Layout::Auto).unwrap();
        assert_eq!(plan.runs().len(), 1, "ours uses one slice");
        assert!(!codes(&judge(&case, &plan)).contains(&"mig"));
        let half = plan.assignment.len() / 2;
        plan.assignment[half..].fill(1);
        assert!(codes(&judge(&case, &plan)).contains(&"mig"));
    }

    #[test]
    fn a_neighbour_is_worth_mentioning() {
        let mut case = case("InternVL3-14B", 1, 40);
        case.devices[0].others = 12 * GIB;
        let plan = planner::plan(&case, Layout::Auto).unwrap();
        let findings = judge(&case, &plan);
        let over = findings.iter().find(|f| f.code == "over-capacity").unwrap();
        assert!(
            over.fixes.iter().any(|f| f.what.contains("end what else runs on sim:0 (12.0 GiB)")),
            "{:?}",
            over.fixes
        );
    }
}
