//! `shardscope sessions compare` and `sessions disagree`: two sessions, or two rules, against each other.

use std::path::Path;

use serde_json::{Value, json};

use super::summary::accuracy_json;
use super::{print_json, print_line, say};
use crate::cli::Failure;
use crate::scoring::{Accuracy, Reading, Rule};
use crate::session::{Comparison, Flip, Paired, Record, Side, compare as compared, disagreement};
use crate::words::excerpt;

/// Compares two sessions.
///
/// # Errors
/// A folder that is no session, an unknown rule, or an answer that cannot be read.
pub fn compare(first: &Path, second: &Path, rule: Option<&str>, as_json: bool) -> Result<(), Failure> {
    let rule = rule.map(Rule::by_name).transpose()?;
    let open = |dir: &Path| {
        let record = Record::open(dir)?;
        match rule {
            Some(rule) => record.under(rule),
            None => Ok(record),
        }
    };
    let comparison = compared(&open(first)?, &open(second)?)?;
    if as_json { print_json(&as_value(&comparison)) } else { print_line(&as_text(&comparison)) }
}

fn as_value(comparison: &Comparison) -> Value {
    let side = |side: &Side| {
        let mut value = accuracy_json(&side.tally);
        value["session"] = side.dir.clone().into();
        value["checkpoint"] = side.checkpoint.clone().into();
        value
    };
    let paired = |paired: &Paired| {
        json!({
            "questions": paired.total(),
            "both_right": paired.both,
            "first_alone": paired.first_alone,
            "second_alone": paired.second_alone,
            "neither": paired.neither,
            "difference": paired.difference(),
            "interval": paired.interval(),
            "p": paired.p(),
        })
    };
    let mut value = paired(&comparison.paired);
    value["first"] = side(&comparison.first);
    value["second"] = side(&comparison.second);
    value["flips"] = serde_json::to_value(&comparison.flips).unwrap_or_default();
    value["only_first"] = comparison.only_first.clone().into();
    value["only_second"] = comparison.only_second.clone().into();
    let categories = comparison.by_category.iter().map(|(name, group)| (name.clone(), paired(group)));
    value["by_category"] = Value::Object(categories.collect());
    value["settings"] = serde_json::to_value(&comparison.settings).unwrap_or_default();
    value["cautions"] = comparison.cautions.clone().into();
    value
}

fn as_text(comparison: &Comparison) -> String {
    let mut lines = Vec::new();
    for (name, side) in [("first ", &comparison.first), ("second", &comparison.second)] {
        lines.push(format!(
            "{name}  {}  {} ({})",
            accuracy_text(&side.tally),
            excerpt(&side.checkpoint, 48),
            side.dir
        ));
    }
    let paired = &comparison.paired;
    lines.push(String::new());
    match (paired.difference(), paired.interval()) {
        (Some(difference), Some([low, high])) => {
            lines.push(format!(
                "{} questions in both: {} right in both, {} in the first alone, {} in the second alone, {} in neither",
                paired.total(),
                paired.both,
                paired.first_alone,
                paired.second_alone,
                paired.neither
            ));
            lines.push(format!(
                "second less first: {} points, 95 % interval {} to {}, p = {} (exact McNemar test)",
                points(difference),
                points(low),
                points(high),
                probability(paired.p())
            ));
        }
        _ => lines.push("no question is judged in both sessions".into()),
    }
    if comparison.by_category.len() > 1 {
        lines.push(format!(
            "\n{:<32} {:>9} {:>8} {:>16} {:>14}",
            "by category", "questions", "points", "only the first", "only the second"
        ));
        for (name, group) in &comparison.by_category {
            lines.push(format!(
                "  {:<30} {:>9} {:>8} {:>16} {:>14}",
                excerpt(name, 30),
                group.total(),
                points(group.difference().unwrap_or_default()),
                group.first_alone,
                group.second_alone
            ));
        }
    }
    let (gained, lost): (Vec<&Flip>, Vec<&Flip>) = comparison.flips.iter().partition(|flip| flip.is_gain());
    lines.push(String::new());
    for (title, flips) in [("right in the second alone", gained), ("right in the first alone", lost)] {
        let list: Vec<String> = flips.iter().map(|flip| excerpt(&flip.index, 60)).collect();
        lines.push(format!(
            "{title} ({}): {}",
            list.len(),
            if list.is_empty() { "-".into() } else { list.join(", ") }
        ));
    }
    if !comparison.settings.is_empty() {
        lines.push("\nsettings that differ and can change answers".into());
        for it in &comparison.settings {
            lines.push(format!("  {}: {} | {}", it.setting, excerpt(&it.here, 60), excerpt(&it.there, 60)));
        }
    }
    lines.extend(comparison.cautions.iter().map(|caution| format!("caution: {caution}")));
    lines.join("\n")
}

fn accuracy_text(accuracy: &Accuracy) -> String {
    match accuracy.accuracy() {
        None => "not scored".into(),
        Some(value) => {
            let (low, high) = accuracy.interval();
            let [value, low, high] = [value, low, high].map(|share| 100.0 * share);
            format!("{value:5.1} %  [{low:.1}, {high:.1}]")
        }
    }
}

/// A difference of shares in points of a hundred, with its sign.
fn points(difference: f64) -> String {
    // What rounds to nothing has no sign.
    let points = (1000.0 * difference).round() / 10.0;
    if points == 0.0 { "0.0".into() } else { format!("{points:+.1}") }
}

/// A probability in as many digits as say something.
fn probability(p: f64) -> String {
    match p {
        p if p >= 0.001 => format!("{p:.3}"),
        p if p > 0.0 => format!("{p:.1e}"),
        _ => "0 (too small to write)".into(),
    }
}

/// Lists the answers on which two rules disagree.
///
/// # Errors
/// A folder that is no session, an unknown rule, or an answer that cannot be read.
pub fn disagree(session: &Path, rules: (&str, &str), as_json: bool) -> Result<(), Failure> {
    let record = Record::open(session)?;
    let found = disagreement(&record, [Rule::by_name(rules.0)?, Rule::by_name(rules.1)?])?;
    if as_json {
        let side = |i: usize| {
            let mut value = accuracy_json(&found.accuracy[i]);
            value["rule"] = found.rules[i].clone().into();
            value
        };
        let mut value =
            json!({"compared": found.compared, "left_out": found.left_out, "rules": [side(0), side(1)]});
        value["answers"] = serde_json::to_value(&found.answers).unwrap_or_default();
        return print_json(&value);
    }
    for it in &found.answers {
        let read = |reading: &Reading| {
            let verdict = serde_json::to_value(reading.verdict).unwrap_or_default();
            let credit =
                if reading.score.fract() == 0.0 { String::new() } else { format!(" {:.2}", reading.score) };
            format!("{} {}{credit} by {}", value_text(&reading.read), value_text(&verdict), reading.by)
        };
        print_line(&format!(
            "{}  gold {}",
            excerpt(it.id.as_deref().unwrap_or(&it.index), 60),
            value_text(&it.answer)
        ))?;
        for (rule, reading) in found.rules.iter().zip(&it.readings) {
            print_line(&format!("    {rule:<18} {}", read(reading)))?;
        }
        print_line(&format!("    “{}”", excerpt(&it.response, 150)))?;
    }
    print_line(&format!("{} of {} answers are judged differently", found.answers.len(), found.compared))?;
    for (rule, accuracy) in found.rules.iter().zip(&found.accuracy) {
        print_line(&format!("  {rule:<18} {}", accuracy_text(accuracy)))?;
    }
    if found.left_out > 0 {
        say(format!(
            "{} answers are left out: failed, without a gold answer, or of unknown type",
            found.left_out
        ));
    }
    Ok(())
}

/// A reading or a gold answer on one line.
fn value_text(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::String(text) => excerpt(text, 60),
        other => excerpt(&other.to_string(), 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_have_a_sign_unless_they_are_nothing() {
        assert_eq!([0.017, -0.0004, -0.25].map(points), ["+1.7", "0.0", "-25.0"]);
        assert_eq!([1.0, 0.0312, 2.5e-9].map(probability), ["1.000", "0.031", "2.5e-9"]);
    }
}
