//! How a plan is drawn in a terminal: a table, a memory bar for each device, findings and their fixes.

mod memory;
mod views;

use std::fmt::Write;

use super::plan::Planned;
use crate::plan::bytes::human;
use crate::plan::checks::{Finding, Severity};
use crate::plan::forecast::{self, Verdict};
use crate::plan::{Case, Model, Plan, UnitKind};
use memory::{bars, columns, table};

pub use views::{catalogue, comparison, needs, replicas};

/// Widest line.
const WIDTH: usize = 118;

/// A plan: what it is made from, where units lie, the memory of each device, the questions, and what there is to say.
pub fn plan(planned: &Planned) -> String {
    let (case, plan, forecast) = (&planned.case, &planned.plan, &planned.forecast);
    let model = &case.model;
    let mut text = String::new();
    let (count, scale) = match model.parameters() {
        n @ 1_000_000_000.. => (n as f64 / 1e9, "B"),
        n => (n as f64 / 1e6, "M"),
    };
    _ = writeln!(
        text,
        "{}: {count:.1} {scale} parameters, {} in {}; layout {}",
        model.shape.name,
        human(model.weight_bytes()),
        model.dtype.name(),
        planned.layout
    );
    _ = writeln!(text, "{}\n", wrap(&workload(case), ""));
    text.push_str(&table(case, plan, &forecast.devices));
    text.push('\n');
    text.push_str(&bars(case, plan, &forecast.devices));
    let share = forecast.worst_share;
    let stages = plan.runs().len();
    let verdict = if forecast.verdict == Verdict::Tight { "is tight" } else { forecast.verdict.words() };
    _ = write!(text, "\nThe plan {verdict}: ");
    if share.is_finite() {
        _ = write!(text, "{} of usable memory on the fullest device, ", percent(share));
    }
    _ = write!(
        text,
        "{stages} {}, {} {}",
        if stages == 1 { "stage" } else { "stages" },
        plan.hops(),
        if plan.hops() == 1 { "hop" } else { "hops" }
    );
    if plan.exact {
        text.push_str("; no contiguous plan does better");
    }
    text.push_str(".\n");
    match forecast.longest_answer {
        Some(0) => text.push_str("At the worst question not even the first token of an answer has room.\n"),
        Some(tokens) if tokens < u64::from(u32::MAX) => {
            let names = plan.devices.iter().zip(&forecast.devices);
            let first: Vec<&str> = names
                .filter(|(_, device)| device.longest_answer == Some(tokens))
                .map(|(device, _)| device.name.as_str())
                .collect();
            let first = match first.as_slice() {
                [] => String::new(),
                [one] => format!("; {one} runs out first"),
                [one, .., last] => format!("; {} devices from {one} to {last} run out first", first.len()),
            };
            _ = writeln!(text, "Memory lasts for answers of {tokens} tokens at the worst question{first}.");
        }
        _ => {}
    }
    let heaviest =
        forecast.heaviest.first().map(|&i| &case.workload.questions[i]).or(case.workload.frontier.first());
    if let Some(seconds) = heaviest.and_then(|q| forecast::seconds(case, plan, q)) {
        _ = writeln!(
            text,
            "Predicted at the heaviest question: {:.1} s of pictures, {:.1} s to read the prompt, {:.0} ms a token.",
            seconds.vision,
            seconds.prefill,
            seconds.per_token * 1e3
        );
    }
    let host = forecast::host(case, plan);
    _ = writeln!(
        text,
        "Host memory: {} while loading, {} while running.",
        human(host.loading),
        human(host.running)
    );
    questions(planned, &mut text);
    findings(&planned.findings, &mut text);
    let taken: Vec<String> = case
        .assumption_lines()
        .into_iter()
        .map(|(name, value, source)| {
            let source = serde_json::to_value(source)
                .ok()
                .and_then(|v| v.as_str().map(str::to_string))
                .unwrap_or_default();
            format!("{name} {value} ({source})")
        })
        .collect();
    _ = writeln!(text, "\n{}", wrap(&format!("Assumed: {}.", taken.join(", ")), "  "));
    text
}

fn workload(case: &Case) -> String {
    let work = &case.workload;
    if work.questions.is_empty() {
        let assumed = work.frontier.first().map_or_else(String::new, |q| q.id.clone());
        return format!("Planned for {assumed}; give --dataset to plan for real questions.");
    }
    format!(
        "Planned for {} questions: up to {} tiles and {} prompt tokens.",
        work.questions.len(),
        work.most_tiles(),
        work.longest_prompt()
    )
}

/// A share of memory in percent; one that says no more than that nothing fits is cut short.
fn percent(share: f64) -> String {
    match share * 100.0 {
        share if share.is_nan() => "–".into(),
        share if share > 9999.0 => "> 9999 %".into(),
        share => format!("{share:.0} %"),
    }
}

/// Breaks a sentence at spaces.
fn wrap(sentence: &str, indent: &str) -> String {
    let text = sentence.trim_start();
    let lead = &sentence[..sentence.len() - text.len()];
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let room = lines[last].chars().count() + word.chars().count() < WIDTH;
        if lines[last].is_empty() {
            lines[last].push_str(lead);
            lines[last].push_str(word);
        } else if room {
            lines[last].push(' ');
            lines[last].push_str(word);
        } else {
            lines.push(format!("{indent}{word}"));
        }
    }
    lines.join("\n")
}

/// The units on a device in words: `vision 0–44, projector, layers 0–3`.
pub fn contents(model: &Model, plan: &Plan, device: usize) -> String {
    let mut parts: Vec<String> = Vec::new();
    let on = |unit: &usize| plan.assignment.get(*unit) == Some(&device);
    let mut run: Option<(bool, usize, usize)> = None;
    let close = |run: &mut Option<(bool, usize, usize)>, parts: &mut Vec<String>| {
        if let Some((vision, first, last)) = run.take() {
            let name = if vision {
                "vision"
            } else if first == last {
                "layer"
            } else {
                "layers"
            };
            parts.push(if first == last {
                format!("{name} {first}")
            } else {
                format!("{name} {first}–{last}")
            });
        }
    };
    for unit in (0..model.units.len()).filter(on) {
        let (vision, index) = match model.units[unit].kind {
            UnitKind::VisionBlock(index) => (true, index),
            UnitKind::Layer(index) => (false, index),
            other => {
                close(&mut run, &mut parts);
                match other {
                    UnitKind::Projector => parts.push("projector".into()),
                    UnitKind::TokenEmbedding => parts.push("embedding".into()),
                    UnitKind::Head => parts.push("head".into()),
                    _ => {}
                }
                continue;
            }
        };
        match &mut run {
            Some((kind, _, last)) if *kind == vision && *last + 1 == index => *last = index,
            _ => {
                close(&mut run, &mut parts);
                run = Some((vision, index, index));
            }
        }
    }
    close(&mut run, &mut parts);
    for split in plan.splits.iter().filter(|s| s.device == device) {
        parts.push(format!("part of {}", model.units[split.unit].name));
    }
    if parts.is_empty() { "nothing".into() } else { parts.join(", ") }
}

fn questions(planned: &Planned, text: &mut String) {
    let (case, forecast) = (&planned.case, &planned.forecast);
    if forecast.questions.is_empty() {
        return;
    }
    let [fits, tight, fails] = forecast.counts;
    _ = writeln!(
        text,
        "\n{} questions: {fits} fit, {tight} tight, {fails} do not fit. The heaviest:",
        forecast.questions.len()
    );
    let mut rows =
        vec![["question", "tiles", "prompt", "share", "fullest device"].map(str::to_string).to_vec()];
    for &index in &forecast.heaviest {
        let (question, at) = (&case.workload.questions[index], &forecast.questions[index]);
        rows.push(vec![
            question.id.chars().take(48).collect(),
            question.tiles.to_string(),
            question.prompt_tokens.to_string(),
            if at.share.is_finite() { percent(at.share) } else { "–".into() },
            planned.plan.devices.get(at.device).map_or_else(String::new, |d| d.name.clone()),
        ]);
    }
    text.push_str(&columns(&rows));
    let last = forecast.histogram.len() - 1;
    let tenths = forecast.histogram.iter().enumerate().filter(|(_, count)| **count > 0);
    let counts: Vec<String> = tenths
        .map(|(tenth, count)| match tenth {
            tenth if tenth == last => format!("{count} at 100 % or more"),
            tenth => format!("{count} at {} to {} %", tenth * 10, (tenth + 1) * 10),
        })
        .collect();
    let line = format!("Questions by the share of the fullest device: {}.", counts.join(", "));
    _ = writeln!(text, "{}", wrap(&line, "  "));
}

fn findings(findings: &[Finding], text: &mut String) {
    for finding in findings {
        let word = match finding.severity {
            Severity::Error => "Error",
            Severity::Warning => "Warning",
            Severity::Note => "Note",
        };
        _ = writeln!(text, "\n{}", wrap(&format!("{word} ({}): {}.", finding.code, finding.message), "  "));
        for fix in finding.fixes.iter().take(8) {
            let outcome = fix.outcome.map_or_else(String::new, |o| {
                let share = if o.worst_share.is_finite() {
                    format!(", {}", percent(o.worst_share))
                } else {
                    String::new()
                };
                format!(" → {}{share}", o.verdict.words())
            });
            let harm = if fix.changes_results { " (changes what is measured)" } else { "" };
            _ = writeln!(text, "{}", wrap(&format!("  - {}{outcome}{harm}", fix.what), "    "));
        }
    }
}
