//! What an imported map says as a map: what it leaves out, says twice, or names that is not there.

use super::{Change, Finding, Severity, listed};
use crate::plan::device_map::Resolved;
use crate::plan::planner::Case;

pub(super) fn coverage(case: &Case, resolved: &Resolved) -> Vec<Finding> {
    let mut findings = Vec::new();
    let units = &case.model.units;
    let names = |list: &[usize]| -> Vec<String> { list.iter().map(|&u| units[u].name.clone()).collect() };
    let anew = "write the map anew from this plan (--export device-map)";
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
        let finding = Finding::new(
            Severity::Warning,
            "covered-twice",
            format!(
                "two entries send {} to different devices; the later one counts",
                listed(&names(&resolved.contradicted))
            ),
        );
        findings.push(finding.fix("keep the later entry alone", repaired()));
    }
    if !resolved.phantom.is_empty() {
        let finding = Finding::new(
            Severity::Note,
            "phantom-layer",
            format!(
                "{} {} nothing in this model ({} decoder layers); PyTorch ignores such entries, but the counts behind them are off",
                listed(&resolved.phantom),
                if resolved.phantom.len() == 1 { "names" } else { "name" },
                case.model.shape.decoder.layers
            ),
        );
        findings.push(finding.fix(anew, repaired()));
    }
    if !resolved.unknown.is_empty() {
        let finding = Finding::new(
            Severity::Warning,
            "unknown-key",
            format!(
                "{} no module of any InternVL layout and {} ignored",
                one_or_more(&resolved.unknown, "matches", "match"),
                if resolved.unknown.len() == 1 { "is" } else { "are" }
            ),
        );
        findings.push(finding.fix(anew, repaired()));
    }
    if !resolved.foreign.is_empty() {
        let finding = Finding::new(
            Severity::Note,
            "other-layout",
            format!(
                "{} of another checkpoint layout; Shardscope understands such names, PyTorch would ignore them here",
                one_or_more(&resolved.foreign, "is a name", "are names")
            ),
        );
        findings.push(finding.fix(anew, repaired()));
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
                    "{} on GPU {}, but there {}; PyTorch fails with \"CUDA error: invalid device ordinal\"",
                    one_or_more(&keys, "lies", "lie"),
                    listed(&gpus),
                    match case.devices.iter().filter(|d| d.is_gpu()).count() {
                        0 => "is none".to_owned(),
                        1 => "is one GPU".to_owned(),
                        count => format!("are {count} GPUs"),
                    }
                ),
            )
            .fix("ordinals count what CUDA_VISIBLE_DEVICES leaves, from 0: renumber them, or make the GPUs visible", Change::Outside),
        );
    }
    findings
}

/// Names with the verb that goes with one of them or with several.
fn one_or_more(names: &[String], one: &str, more: &str) -> String {
    format!("{} {}", listed(names), if names.len() == 1 { one } else { more })
}
