//! How a plan is drawn in a terminal: a table, a memory bar for each device, findings and their fixes.

use std::fmt::Write;

use super::plan::Planned;
use crate::Problem;
use crate::plan::bytes::{GIB, KIB, MIB, gib, human};
use crate::plan::checks::{Finding, Severity};
use crate::plan::cost;
use crate::plan::forecast::{self, DeviceForecast, Verdict};
use crate::plan::needs::Needs;
use crate::plan::replicas::Choice;
use crate::plan::{Case, Device, Layout, Model, Plan, UnitKind, catalogue as known};

/// Cells of a memory bar.
const BAR: usize = 40;
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
    let share = forecast.worst_share * 100.0;
    let stages = plan.runs().len();
    _ = write!(text, "\nThe plan {}: ", forecast.verdict.words());
    if share.is_finite() {
        _ = write!(text, "{share:.0} % of usable memory on the fullest device, ");
    }
    _ = write!(text, "{stages} {}, {} hops", if stages == 1 { "stage" } else { "stages" }, plan.hops());
    if plan.exact {
        text.push_str("; no contiguous plan does better");
    }
    text.push_str(".\n");
    match forecast.longest_answer {
        Some(tokens) if tokens < u64::from(u32::MAX) => {
            _ = writeln!(text, "Memory lasts for answers of {tokens} tokens at the worst question.");
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
        .assumptions
        .lines()
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

/// The unit in which the largest of these sizes reads well.
fn unit_for(largest: u64) -> (f64, &'static str) {
    match largest {
        GIB.. => (GIB as f64, "GiB"),
        MIB.. => (MIB as f64, "MiB"),
        _ => (KIB as f64, "KiB"),
    }
}

fn table(case: &Case, plan: &Plan, devices: &[DeviceForecast]) -> String {
    let (unit, name) = unit_for(devices.iter().map(|f| f.worst.peak()).max().unwrap_or(0));
    let sized = |bytes: u64| format!("{:.1}", bytes as f64 / unit);
    let header =
        ["device", "weights", "cache", "temp", "peak", "usable", "share", "holds"].map(str::to_string);
    let mut rows = vec![header.to_vec()];
    for (index, (device, f)) in plan.devices.iter().zip(devices).enumerate() {
        let share = if f.share.is_finite() { format!("{:.0} %", f.share * 100.0) } else { "–".into() };
        rows.push(vec![
            device.name.clone(),
            sized(f.worst.weights),
            sized(f.worst.kv),
            sized(f.worst.activation),
            sized(f.worst.peak()),
            if f.usable > 1 << 50 { "–".into() } else { sized(f.usable) },
            share,
            contents(&case.model, plan, index),
        ]);
    }
    let mut text = columns(&rows);
    _ = writeln!(text, "({name}, at each device's own worst question)");
    text
}

/// Columns as wide as their widest cell; the first and last stand left, numbers right.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let space = widths[column];
            if column == 0 {
                _ = write!(line, "{cell:<space$}");
            } else if column + 1 == count {
                let room = WIDTH.saturating_sub(line.chars().count() + 2);
                let short: String = cell.chars().take(room.max(12)).collect();
                _ = write!(line, "  {}{}", short, if short.len() < cell.len() { "…" } else { "" });
            } else {
                _ = write!(line, "  {cell:>space$}");
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// One bar for each device: its whole memory, what lies in it, and what is free.
fn bars(case: &Case, plan: &Plan, devices: &[DeviceForecast]) -> String {
    let name_width = plan.devices.iter().map(|d| d.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (device, f) in plan.devices.iter().zip(devices).filter(|(d, _)| d.capacity < 1 << 50) {
        _ = writeln!(text, "{:<name_width$} {}", device.name, bar(case, device, f));
    }
    text.push_str("█ weights  ▓ keys and values  ▒ temporary  ░ driver, others, reserve  ! over\n");
    text
}

fn bar(case: &Case, device: &Device, f: &DeviceForecast) -> String {
    let capacity = device.capacity.max(1);
    let overhead = cost::overhead(device, &case.assumptions);
    let taken = device.others.saturating_add(device.reserve).saturating_add(overhead);
    let parts = [(f.worst.weights, '█'), (f.worst.kv, '▓'), (f.worst.activation, '▒'), (taken, '░')];
    let mut cells = String::new();
    let (mut sum, mut drawn) = (0u64, 0usize);
    for (bytes, sign) in parts {
        sum = sum.saturating_add(bytes);
        let exact = (sum as f64 / capacity as f64) * BAR as f64;
        // What is over shows at least one sign.
        let until = if sum > capacity { exact.ceil() as usize } else { exact.round() as usize };
        for cell in drawn..until.min(BAR + 6) {
            cells.push(if cell < BAR { sign } else { '!' });
        }
        drawn = drawn.max(until);
    }
    let inside: String = cells.chars().take(BAR).collect();
    let over: String = cells.chars().skip(BAR).collect();
    format!(
        "[{inside:<BAR$}]{over:<6} {:>9} of {:>9}  {}",
        human(sum),
        human(device.capacity),
        if f.used { f.verdict.words() } else { "empty" }
    )
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
    for &index in forecast.heaviest.iter().take(5) {
        let (question, at) = (&case.workload.questions[index], &forecast.questions[index]);
        rows.push(vec![
            question.id.chars().take(48).collect(),
            question.tiles.to_string(),
            question.prompt_tokens.to_string(),
            if at.share.is_finite() { format!("{:.0} %", at.share * 100.0) } else { "–".into() },
            planned.plan.devices.get(at.device).map_or_else(String::new, |d| d.name.clone()),
        ]);
    }
    text.push_str(&columns(&rows));
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
                    format!(", {:.0} %", o.worst_share * 100.0)
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

/// All layouts side by side: run by Shardscope, and run by the software they come from.
pub fn comparison(case: &Case, rows: &[(Layout, Result<Planned, Problem>, Option<Planned>)]) -> String {
    let mut text = String::new();
    _ = writeln!(
        text,
        "{}: {} in {}",
        case.model.shape.name,
        human(case.model.weight_bytes()),
        case.model.dtype.name()
    );
    _ = writeln!(text, "{}\n", wrap(&workload(case), ""));
    let header = ["layout", "fullest", "share", "hops", "idle", "lost", "as released", "weights (GiB)"];
    let mut lines = vec![header.map(str::to_string).to_vec()];
    let verdict = |p: &Planned| {
        let share = p.forecast.worst_share * 100.0;
        let lost = p.forecast.counts[2];
        let mut cell = if share.is_finite() {
            format!("{share:.0} % {}", p.forecast.verdict.words())
        } else {
            "does not fit".into()
        };
        if lost > 0 {
            _ = write!(cell, ", loses {lost}");
        }
        cell
    };
    for (layout, here, there) in rows {
        let Ok(here) = here else {
            if let Err(problem) = here {
                let mut row = vec![layout.name().to_string()];
                row.extend(std::iter::repeat_n("–".to_string(), 6));
                row.push(problem.what.clone());
                lines.push(row);
            }
            continue;
        };
        let f = &here.forecast;
        let fullest = (0..f.devices.len()).max_by(|&a, &b| f.devices[a].share.total_cmp(&f.devices[b].share));
        let idle = f.devices.iter().zip(&here.plan.devices).filter(|(f, d)| !f.used && d.is_gpu()).count();
        let mut weights: Vec<(String, usize)> = Vec::new();
        for size in f.devices.iter().map(|d| gib(d.worst.weights)) {
            match weights.last_mut() {
                Some((last, count)) if *last == size => *count += 1,
                _ => weights.push((size, 1)),
            }
        }
        let weights: Vec<String> =
            weights.into_iter().map(|(size, n)| if n > 1 { format!("{size}×{n}") } else { size }).collect();
        lines.push(vec![
            layout.name().into(),
            fullest.and_then(|d| here.plan.devices.get(d)).map_or_else(String::new, |d| d.name.clone()),
            if f.worst_share.is_finite() { format!("{:.0} %", f.worst_share * 100.0) } else { "–".into() },
            here.plan.hops().to_string(),
            idle.to_string(),
            if f.questions.is_empty() { f.verdict.words().into() } else { f.counts[2].to_string() },
            there.as_ref().map_or_else(|| "–".into(), verdict),
            weights.join(" "),
        ]);
    }
    text.push_str(&columns(&lines));
    text.push_str(
        "lost: questions that do not fit; as released: the same map run by the software it comes from\n",
    );
    for (layout, _, there) in rows {
        let why = there.as_ref().and_then(|p| p.findings.iter().find(|f| f.code == "over-capacity"));
        if let Some(why) = why {
            _ = writeln!(
                text,
                "\n{}",
                wrap(&format!("{} as released: {}.", layout.name(), why.message), "  ")
            );
        }
    }
    text
}

/// Which sets of cards a case needs.
pub fn needs(case: &Case, needs: &Needs) -> String {
    let mut text = String::new();
    _ = writeln!(
        text,
        "{} in {} ({}), answers of up to {} tokens, {} in flight.\n{}\n",
        case.model.shape.name,
        case.model.dtype.name(),
        human(case.model.weight_bytes()),
        case.assumptions.max_new_tokens.value,
        case.assumptions.in_flight.value,
        workload(case)
    );
    let cards = |set: crate::plan::needs::CardSet| format!("{} x {} GB", set.count, set.gigabytes);
    let mut rows = vec![["cards", "fullest", "headroom", "verdict"].map(str::to_string).to_vec()];
    for need in &needs.sets {
        rows.push(vec![
            cards(need.cards),
            format!("{:.0} %", need.worst_share * 100.0),
            human(need.headroom),
            need.verdict.words().into(),
        ]);
    }
    text.push_str(&columns(&rows));
    if needs.sets.is_empty() {
        text.push_str("No set of up to 16 equal cards holds it.\n");
    }
    if !needs.cheaper.is_empty() {
        text.push_str("\nSmaller sets, and what they would cost:\n");
        let mut rows = vec![["cards", "fullest", "with"].map(str::to_string).to_vec()];
        for c in &needs.cheaper {
            let harm = if c.changes_results { " (changes what is measured)" } else { "" };
            rows.push(vec![
                cards(c.cards),
                format!("{:.0} %", c.worst_share * 100.0),
                format!("{}{harm}", c.what),
            ]);
        }
        text.push_str(&columns(&rows));
    }
    text
}

/// How many copies the devices could run.
pub fn replicas(case: &Case, choices: &[Choice]) -> String {
    let mut text = String::new();
    _ = writeln!(text, "{} on {} devices\n", case.model.shape.name, case.devices.len());
    let mut rows =
        vec![["copies", "devices each", "fullest", "throughput", "verdict"].map(str::to_string).to_vec()];
    for choice in choices {
        rows.push(vec![
            choice.copies.to_string(),
            choice.devices_each.to_string(),
            if choice.worst_share.is_finite() {
                format!("{:.0} %", choice.worst_share * 100.0)
            } else {
                "–".into()
            },
            format!("{:.1} x", choice.relative_throughput),
            choice.verdict.words().into(),
        ]);
    }
    text.push_str(&columns(&rows));
    if choices.iter().all(|c| c.verdict == Verdict::DoesNotFit) {
        text.push_str("None of these fits.\n");
    }
    text
}

/// Every model of the catalogue.
pub fn catalogue(json: bool) -> String {
    let size = |k: &known::Known| Model::new(k.shape.clone(), k.shape.stored, None);
    if json {
        let entry = |k: &known::Known| {
            let model = size(k);
            serde_json::json!({
                "name": k.name, "family": k.family, "aliases": k.aliases, "note": k.note, "runnable": k.shape.runnable,
                "parameters": model.parameters(), "weight_bytes": model.weight_bytes(), "dtype": model.dtype.name(),
                "kv_bytes_per_token": model.kv_bytes_per_token(), "positions": k.shape.positions,
            })
        };
        let list: Vec<serde_json::Value> = known::all().iter().map(entry).collect();
        return serde_json::to_string_pretty(&serde_json::json!({"models": list})).unwrap_or_default();
    }
    let mut rows =
        vec![["model", "parameters", "weights", "KiB a token", "notes"].map(str::to_string).to_vec()];
    for k in known::all() {
        let model = size(k);
        let mut notes: Vec<String> = k.aliases.iter().map(|a| format!("also {a}")).collect();
        if !k.shape.runnable {
            notes.push("planned by its shape only".into());
        }
        notes.extend(k.note.clone());
        rows.push(vec![
            k.name.clone(),
            format!("{:.1} B", model.parameters() as f64 / 1e9),
            human(model.weight_bytes()),
            (model.kv_bytes_per_token() / 1024).to_string(),
            notes.join("; "),
        ]);
    }
    columns(&rows)
}
