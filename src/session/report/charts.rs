//! The charts of a report, as SVG inside the page.

use std::collections::BTreeMap;
use std::io::Write;

use super::super::export::{Out, Stop};
use super::{escape, percent};
use crate::scoring::Accuracy;

/// Categories that are drawn; the largest ones where there are more.
const MOST_BARS: usize = 80;

/// A bar for each category: its accuracy, with the 95 % interval. Nothing where there is nothing to compare.
pub(super) fn write(title: &str, categories: &BTreeMap<String, Accuracy>, out: &mut Out) -> Result<(), Stop> {
    let mut bars: Vec<(&String, &Accuracy)> =
        categories.iter().filter(|(_, tally)| tally.total > 0).collect();
    if bars.len() < 2 {
        return Ok(());
    }
    bars.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.total));
    let hidden = bars.len().saturating_sub(MOST_BARS);
    bars.truncate(MOST_BARS);
    bars.sort_by_key(|(name, _)| *name);
    write!(out, "<section>\n<h2>{title}</h2>\n<div class=\"bars\">\n")?;
    for (name, tally) in bars {
        let (accuracy, (low, high)) = (tally.value(), tally.interval());
        let [at, from, to] = [accuracy, low, high].map(|share| share * 100.0);
        let value = percent(accuracy);
        writeln!(
            out,
            "<div class=\"bar\"><span class=\"name\" dir=\"auto\" title=\"{name}\">{name}</span>\
             <svg viewBox=\"0 0 100 16\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{value} %, 95 % interval {} to {} %\">\
             <rect class=\"track\" width=\"100\" height=\"16\"/><rect class=\"right\" width=\"{at:.2}\" height=\"16\"/>\
             <path class=\"whisker\" d=\"M{from:.2} 8H{to:.2}M{from:.2} 4V12M{to:.2} 4V12\"/></svg>\
             <span class=\"value\">{value} %</span><span class=\"of\">{}</span></div>",
            percent(low),
            percent(high),
            tally.total,
            name = escape(name),
        )?;
    }
    let more = if hidden > 0 { format!(" {hidden} smaller ones are not drawn.") } else { String::new() };
    write!(
        out,
        "</div>\n<p class=\"facts\">Accuracy with its 95&nbsp;% interval (Wilson), and questions scored.{more}</p>\n</section>\n"
    )?;
    Ok(())
}

/// How the verdicts share the questions, as one bar with its legend.
pub(super) fn write_verdicts(tally: &Accuracy, out: &mut Out) -> Result<(), Stop> {
    let parts = [
        ("right", "right", tally.right),
        ("wrong", "wrong", tally.wrong),
        ("unparsed", "unparsed", tally.unparsed),
        ("failed", "failed", tally.failed),
        ("out_of_memory", "out of memory", tally.out_of_memory),
        ("unscored", "unscored", tally.unscored),
    ];
    let total = tally.questions().max(1) as f64;
    out.write_all(
        b"<svg class=\"shares\" viewBox=\"0 0 100 16\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
    )?;
    let mut at = 0.0;
    for (class, _, count) in parts {
        let width = count as f64 * 100.0 / total;
        write!(out, "<rect class=\"{class}\" x=\"{at:.3}\" width=\"{width:.3}\" height=\"16\"/>")?;
        at += width;
    }
    out.write_all(b"</svg>\n<ul class=\"legend\">\n")?;
    for (class, name, count) in parts.into_iter().filter(|part| part.2 > 0) {
        writeln!(
            out,
            "<li><svg viewBox=\"0 0 10 10\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"10\" height=\"10\" rx=\"2\"/></svg><b>{count}</b> {name}</li>"
        )?;
    }
    out.write_all(b"</ul>\n")?;
    Ok(())
}
