//! The result of a session in words and as JSON.

use serde_json::{Value, json};

use crate::scoring::benchmark::Figures;
use crate::scoring::{Accuracy, Groups, Report};
use crate::words::excerpt;

/// Accuracy as JSON.
pub fn accuracy_json(accuracy: &Accuracy) -> Value {
    let scored = accuracy.total > 0;
    let (low, high) = accuracy.interval();
    json!({
        "accuracy": scored.then(|| accuracy.value()),
        "interval": scored.then_some([low, high]),
        "questions": accuracy.total + accuracy.unscored,
        "right": accuracy.right,
        "wrong": accuracy.wrong,
        "unparsed": accuracy.unparsed,
        "failed": accuracy.failed,
        "out_of_memory": accuracy.out_of_memory,
        "unscored": accuracy.unscored,
    })
}

/// A report as JSON.
pub fn report_json(report: &Report) -> Value {
    let groups = |groups: &Groups| -> Value {
        groups
            .iter()
            .map(|(name, accuracy)| (name.to_owned(), accuracy_json(accuracy)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let mut value = accuracy_json(&report.overall);
    value["by_category"] = groups(&report.by_category);
    value["by_l2_category"] = groups(&report.by_super_category);
    value["by_split"] = groups(&report.by_split);
    value
}

/// The figures of a benchmark as JSON.
pub fn figures_json(figures: &Figures) -> Value {
    let rows: Vec<Value> = figures
        .table
        .rows
        .iter()
        .map(|(name, row)| {
            let row: serde_json::Map<_, _> =
                row.iter().map(|(name, figure)| (name.clone(), json!(figure))).collect();
            json!({ "name": name, "figures": row })
        })
        .collect();
    json!({ "title": figures.title, "rows": rows })
}

/// The figures of a benchmark in words.
pub fn figures_text(figures: &Figures) -> String {
    // What counts questions is whole.
    let shown = |name: &str, figure: f64| match name {
        "num" => format!("{figure:.0}"),
        _ => format!("{figure:.3}"),
    };
    let mut lines = vec![figures.title.clone()];
    for (name, row) in &figures.table.rows {
        if row.len() > 4 || name.is_empty() {
            lines.extend((!name.is_empty()).then(|| format!("  {}", excerpt(name, 40))));
            lines.extend(
                row.iter().map(|(name, figure)| {
                    format!("    {:<38} {:>10}", excerpt(name, 38), shown(name, *figure))
                }),
            );
        } else {
            let cells: Vec<String> = row
                .iter()
                .map(|(name, figure)| format!("{} {}", excerpt(name, 20), shown(name, *figure)))
                .collect();
            lines.push(format!("  {:<40} {}", excerpt(name, 40), cells.join("  ")));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// A report in words.
pub fn report_text(report: &Report) -> String {
    let mut text = String::new();
    let sections = [
        ("category", &report.by_category),
        ("l2-category", &report.by_super_category),
        ("split", &report.by_split),
    ];
    for (title, groups) in sections {
        // One group says nothing that the overall line does not.
        if groups.len() < 2 {
            continue;
        }
        let width = groups.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).clamp(12, 40);
        text.push_str(&format!("By {title}\n"));
        for (name, accuracy) in groups.iter() {
            text.push_str(&format!("  {:width$}  {}\n", excerpt(name, width), accuracy_text(accuracy)));
        }
    }
    text.push_str(&format!("Overall  {}", accuracy_text(&report.overall)));
    let overall = &report.overall;
    let apart: Vec<String> = [
        (overall.unparsed, "unparsed"),
        (overall.failed, "failed"),
        (overall.out_of_memory, "out of memory"),
        (overall.unscored, "without a gold answer"),
    ]
    .iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    if !apart.is_empty() {
        text.push_str(&format!("\nOf these {}", apart.join(", ")));
    }
    text
}

fn accuracy_text(accuracy: &Accuracy) -> String {
    if accuracy.total == 0 {
        return format!("not scored ({} questions)", accuracy.unscored);
    }
    let (low, high) = accuracy.interval();
    let percent = |v: f64| 100.0 * v;
    let right = match accuracy.is_all_or_nothing() {
        true => format!("{}/{}", accuracy.right, accuracy.total),
        false => format!("{:.1}/{}", accuracy.score_sum, accuracy.total),
    };
    format!("{:5.1} %  [{:.1}, {:.1}]  {right}", percent(accuracy.value()), percent(low), percent(high))
}
