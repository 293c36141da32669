//! What the board says in words and figures: parts of memory, shares, verdicts, counts, units.

use crate::app::language::{fill, tr};
use crate::plan::bytes::{GIB, KIB, MIB};
use crate::plan::{UnitKind, forecast::Verdict};

/// The name of a part of a device's memory.
pub fn part_name(part: usize) -> &'static str {
    match part {
        0 => tr("weights"),
        1 => tr("cache"),
        2 => tr("temporary"),
        3 => tr("kept"),
        4 => tr("driver"),
        5 => tr("others"),
        _ => tr("reserve"),
    }
}

/// The same where room is short.
pub fn part_word(part: usize) -> &'static str {
    if part == 2 { tr("temp") } else { part_name(part) }
}

/// A size in the unit of a device's capacity, without its name.
pub fn bare(size: u64, capacity: u64) -> String {
    let unit = match capacity {
        GIB.. => GIB,
        MIB.. => MIB,
        _ => KIB,
    };
    let value = size as f64 / unit as f64;
    if size > 0 && value < 0.05 { "< 0.1".into() } else { format!("{value:.1}") }
}

/// What a part of a device's memory is, for its tooltip.
pub fn part_meaning(part: usize) -> &'static str {
    match part {
        0 => tr(
            "The weights of the units placed here, read from the checkpoint's own headers where it is here",
        ),
        1 => tr("Keys and values of the longest prompt and the longest answer, for the layers placed here"),
        2 => tr("The largest temporary memory: the vision tower, reading the prompt, or the head"),
        3 => tr(
            "Kept for questions to come: features of pictures and the beginnings of prompts that several questions share. Share and verdict leave it out, since it gives way where a question needs the room",
        ),
        4 => tr("What the driver and its libraries hold for a process"),
        5 => tr("What other programs hold now"),
        _ => tr("Kept free on purpose"),
    }
}

/// A share as percent; a sign that there is none where nothing is usable.
pub fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "∞".into();
    }
    // Rounding never says that something fits which does not, nor the other way.
    let percent = match share * 100.0 {
        p if p > 100.0 => p.ceil(),
        p if p > 99.0 => p.floor(),
        p => p.round(),
    };
    if share > 0.0 && percent < 1.0 { "< 1 %".into() } else { format!("{percent:.0} %") }
}

/// A verdict in the window's language.
pub fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fits => tr("fits"),
        Verdict::Tight => tr("tight"),
        Verdict::DoesNotFit => tr("does not fit"),
    }
}

/// The same where room is short.
pub fn verdict_word(verdict: Verdict) -> &'static str {
    if verdict == Verdict::DoesNotFit { tr("over") } else { verdict_name(verdict) }
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many stages.
pub fn stages(count: usize) -> String {
    if count == 1 { tr("1 stage").into() } else { fill("{} stages", &[&count]) }
}

/// So many hops.
pub fn hops(count: usize) -> String {
    if count == 1 { tr("1 hop").into() } else { fill("{} hops", &[&count]) }
}

/// So many tiles.
pub fn tiles(count: u64) -> String {
    if count == 1 { tr("1 tile").into() } else { fill("{} tiles", &[&grouped(count)]) }
}

/// What stands on the chip of a run of units.
pub(super) fn label(first: UnitKind, last: UnitKind) -> String {
    match (first, last) {
        (UnitKind::VisionBlock(a), UnitKind::VisionBlock(b)) if a != b => format!("V {a}–{b}"),
        (UnitKind::VisionEmbeddings, UnitKind::VisionBlock(b)) => format!("V …–{b}"),
        (UnitKind::Layer(a), UnitKind::Layer(b)) if a != b => format!("L {a}–{b}"),
        (UnitKind::VisionEmbeddings, _) => "Patch".into(),
        (UnitKind::VisionBlock(a), _) => format!("V {a}"),
        (UnitKind::Layer(a), _) => format!("L {a}"),
        (UnitKind::Projector, _) => "Proj".into(),
        (UnitKind::TokenEmbedding, _) => "Embed".into(),
        (UnitKind::FinalNorm, _) => "Norm".into(),
        (UnitKind::Head, _) => "Head".into(),
    }
}

/// A run of units in words.
pub fn unit_words(first: UnitKind, last: UnitKind) -> String {
    match (first, last) {
        (UnitKind::VisionEmbeddings, UnitKind::VisionBlock(b)) => {
            fill("vision embeddings and blocks 0 to {}", &[&b])
        }
        (UnitKind::VisionBlock(a), UnitKind::VisionBlock(b)) if a != b => {
            fill("vision blocks {} to {}", &[&a, &b])
        }
        (UnitKind::Layer(a), UnitKind::Layer(b)) if a != b => fill("layers {} to {}", &[&a, &b]),
        (UnitKind::VisionEmbeddings, _) => tr("vision embeddings").into(),
        (UnitKind::VisionBlock(a), _) => fill("vision block {}", &[&a]),
        (UnitKind::Layer(a), _) => fill("layer {}", &[&a]),
        (UnitKind::Projector, _) => tr("projector").into(),
        (UnitKind::TokenEmbedding, _) => tr("token embedding").into(),
        (UnitKind::FinalNorm, _) => tr("last norm").into(),
        (UnitKind::Head, _) => tr("head").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(
            (grouped(7), grouped(1234), grouped(1_048_576)),
            ("7".into(), "1,234".into(), "1,048,576".into())
        );
        assert_eq!(
            (percent(0.004), percent(0.0), percent(f64::INFINITY)),
            ("< 1 %".into(), "0 %".into(), "∞".into())
        );
        assert_eq!(
            (percent(1.0), percent(1.002), percent(0.998)),
            ("100 %".into(), "101 %".into(), "99 %".into())
        );
    }
}
