//! Two sessions over the same questions: what flipped, how far they are apart, and whether that can be chance.

use std::collections::BTreeMap;

use serde::Serialize;

use super::manifest::Difference;
use super::record::{Outline, Record};
use crate::Result;
use crate::scoring::{Accuracy, Verdict, mcnemar};

/// Two sessions, compared question by question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The first session.
    pub first: Side,
    /// The second session.
    pub second: Side,
    /// The questions that both have judged.
    pub paired: Paired,
    /// Questions that one got right and the other did not, in the order of the first session.
    pub flips: Vec<Flip>,
    /// Questions judged in the first session alone.
    pub only_first: Vec<String>,
    /// Questions judged in the second session alone.
    pub only_second: Vec<String>,
    /// The paired questions by category, in alphabetical order.
    pub by_category: BTreeMap<String, Paired>,
    /// Settings that differ and can change answers; the same as what is compared, or a reason not to compare.
    pub settings: Vec<Difference>,
    /// What makes the comparison unfair, in sentences.
    pub cautions: Vec<String>,
}

/// One of two compared sessions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// Its folder.
    pub dir: String,
    /// Its checkpoint.
    pub checkpoint: String,
    /// All its answers, counted, and not the paired ones alone.
    pub tally: Accuracy,
}

/// The table of two sessions over the same questions.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Paired {
    /// Right in both.
    pub both: usize,
    /// Right in the first alone.
    pub first_alone: usize,
    /// Right in the second alone.
    pub second_alone: usize,
    /// Right in neither.
    pub neither: usize,
    /// Credit of the first session over these questions.
    pub first_credit: f64,
    /// Credit of the second session over these questions.
    pub second_credit: f64,
    /// Squares of the differences in credit, added up.
    pub squares: f64,
}

/// A question that one session got right and the other did not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flip {
    /// Its index.
    pub index: String,
    /// Its category.
    pub category: Option<String>,
    /// Verdict in the first session.
    pub first: Verdict,
    /// Verdict in the second session.
    pub second: Verdict,
}

impl Flip {
    /// Whether the second session is the one that got it right.
    pub fn is_gain(&self) -> bool {
        self.second == Verdict::Right
    }
}

impl Paired {
    fn add(&mut self, first: &Outline, second: &Outline) {
        let cell = match (first.verdict == Verdict::Right, second.verdict == Verdict::Right) {
            (true, true) => &mut self.both,
            (true, false) => &mut self.first_alone,
            (false, true) => &mut self.second_alone,
            (false, false) => &mut self.neither,
        };
        *cell += 1;
        let (one, two) = (first.score.clamp(0.0, 1.0), second.score.clamp(0.0, 1.0));
        self.first_credit += one;
        self.second_credit += two;
        self.squares += (two - one).powi(2);
    }

    /// Questions in the table.
    pub fn total(&self) -> usize {
        self.both + self.first_alone + self.second_alone + self.neither
    }

    /// Accuracy of the second session less that of the first, from -1 to 1; nothing where no question is paired.
    pub fn difference(&self) -> Option<f64> {
        (self.total() > 0).then(|| (self.second_credit - self.first_credit) / self.total() as f64)
    }

    /// The 95 % interval of that difference, after Agresti and Min (Statistics in Medicine 24, 2005): half a
    /// question is added to each cell of the table, so that it stays honest where few questions differ.
    /// Partial credit enters through the variance of the differences.
    pub fn interval(&self) -> Option<[f64; 2]> {
        const Z: f64 = 1.959_963_984_540_054;
        self.difference()?;
        let n = self.total() as f64 + 2.0;
        let mean = (self.second_credit - self.first_credit) / n;
        let variance = ((self.squares + 1.0) / n - mean * mean).max(0.0);
        let reach = Z * (variance / n).sqrt();
        Some([(mean - reach).max(-1.0), (mean + reach).min(1.0)])
    }

    /// Probability of flips at least as one-sided as these if both sessions were equally good: the exact McNemar test.
    pub fn p(&self) -> f64 {
        mcnemar(self.first_alone as u64, self.second_alone as u64)
    }
}

/// Whether a question counts in a comparison: it was answered and judged. That one session failed at it says nothing
/// about which model is the better one.
fn counts(outline: &Outline) -> bool {
    matches!(outline.verdict, Verdict::Right | Verdict::Wrong | Verdict::Unparsed)
}

/// Compares two sessions over the questions that both have judged.
///
/// # Errors
/// An answer cannot be read.
pub fn compare(first: &Record, second: &Record) -> Result<Comparison> {
    let mut comparison = Comparison {
        first: Side::of(first),
        second: Side::of(second),
        paired: Paired::default(),
        flips: Vec::new(),
        only_first: Vec::new(),
        only_second: Vec::new(),
        by_category: BTreeMap::new(),
        settings: first.manifest().differences(second.manifest()),
        cautions: Vec::new(),
    };
    for one in first.outlines().iter().filter(|one| counts(one)) {
        let partner = second.position(&one.index).map(|position| &second.outlines()[position]);
        let Some(two) = partner.filter(|two| counts(two)) else {
            comparison.only_first.push(one.index.to_string());
            continue;
        };
        comparison.paired.add(one, two);
        if let Some(category) = &one.category {
            comparison.by_category.entry(category.to_string()).or_default().add(one, two);
        }
        if (one.verdict == Verdict::Right) != (two.verdict == Verdict::Right) {
            comparison.flips.push(Flip {
                index: one.index.to_string(),
                category: one.category.as_ref().map(ToString::to_string),
                first: one.verdict,
                second: two.verdict,
            });
        }
    }
    let unpaired = |two: &&Outline| {
        counts(two) && !first.position(&two.index).is_some_and(|at| counts(&first.outlines()[at]))
    };
    comparison.only_second =
        second.outlines().iter().filter(unpaired).map(|two| two.index.to_string()).collect();
    comparison.cautions = cautions(first, second, &comparison)?;
    Ok(comparison)
}

impl Side {
    fn of(record: &Record) -> Self {
        Self {
            dir: record.dir().display().to_string(),
            checkpoint: record.manifest().checkpoint.name.clone(),
            tally: record.tally(),
        }
    }
}

fn cautions(first: &Record, second: &Record, comparison: &Comparison) -> Result<Vec<String>> {
    let mut cautions = Vec::new();
    let (one, two) = (&first.manifest().dataset, &second.manifest().dataset);
    if one.name != two.name {
        cautions.push(format!("The datasets have different names: {} and {}.", one.name, two.name));
    }
    if one.hash.is_empty() || one.hash != two.hash {
        let (mut questions, mut rules) = (0, 0);
        for answer in first.answers() {
            let answer = answer?;
            if let Some(position) = second.position(&answer.index) {
                let other = second.answer(position)?;
                questions += usize::from(other.question.trim() != answer.question.trim());
                rules += usize::from(other.rule != answer.rule);
            }
        }
        if questions > 0 {
            cautions.push(format!("{questions} questions have the same index but not the same text."));
        }
        if rules > 0 {
            cautions.push(format!("{rules} answers were read under different rules."));
        }
    } else if first.manifest().settings.rule != second.manifest().settings.rule {
        cautions.push(format!(
            "The answers were read under different rules: {} and {}.",
            first.manifest().settings.rule,
            second.manifest().settings.rule
        ));
    }
    let unpaired = comparison.only_first.len() + comparison.only_second.len();
    if unpaired > 0 {
        cautions.push(format!("{unpaired} questions are judged in one session only and are left out."));
    }
    for record in [first, second] {
        if record.damaged() > 0 {
            cautions.push(format!(
                "{} lines of {} cannot be read.",
                record.damaged(),
                record.dir().display()
            ));
        }
    }
    Ok(cautions)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed in Python from the formula of the paper: counts with half a question added to each cell.
    #[test]
    fn intervals_are_those_of_agresti_and_min() {
        for (b, c, n, [low, high]) in [
            (4, 10, 100, [-0.014_716_387_037, 0.132_363_445_861]),
            (0, 0, 20, [-0.089_089_272_025, 0.089_089_272_025]),
        ] {
            let table = Paired {
                both: n - b - c,
                first_alone: b,
                second_alone: c,
                first_credit: (n - c) as f64,
                second_credit: (n - b) as f64,
                squares: (b + c) as f64,
                ..Default::default()
            };
            let [from, to] = table.interval().unwrap();
            assert!((from - low).abs() < 1e-9 && (to - high).abs() < 1e-9, "{from} {to}");
        }
        assert_eq!(Paired::default().interval(), None);
    }
}
