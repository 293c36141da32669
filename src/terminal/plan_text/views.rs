//! What else `plan` shows: layouts side by side, cards that would do, replicas, the catalogue.

use std::fmt::Write;

use super::memory::columns;
use super::{percent, workload, wrap};
use crate::Problem;
use crate::plan::bytes::{gib, human};
use crate::plan::forecast::Verdict;
use crate::plan::needs::Needs;
use crate::plan::replicas::Choice;
use crate::plan::{Case, Layout, Model, catalogue as known};
use crate::terminal::plan::Planned;

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
    let counted = !case.workload.questions.is_empty();
    let lost = if counted { "lost" } else { "verdict" };
    let header = ["layout", "fullest", "share", "hops", "idle", lost, "as released", "weights (GiB)"];
    let mut lines = vec![header.map(str::to_string).to_vec()];
    let verdict = |p: &Planned| {
        let share = p.forecast.worst_share;
        let lost = p.forecast.counts[2];
        let mut cell = if share.is_finite() {
            format!("{} {}", percent(share), p.forecast.verdict.words())
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
            if f.worst_share.is_finite() { percent(f.worst_share) } else { "–".into() },
            here.plan.hops().to_string(),
            idle.to_string(),
            if f.questions.is_empty() { f.verdict.words().into() } else { f.counts[2].to_string() },
            there.as_ref().map_or_else(|| "–".into(), verdict),
            weights.join(" "),
        ]);
    }
    text.push_str(&columns(&lines));
    if counted {
        text.push_str("lost: questions that do not fit; ");
    }
    text.push_str("as released: the same map run by the software it comes from\n");
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
            percent(need.worst_share),
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
            rows.push(vec![cards(c.cards), percent(c.worst_share), format!("{}{harm}", c.what)]);
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
            if choice.worst_share.is_finite() { percent(choice.worst_share) } else { "–".into() },
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
