//! Two runs against each other, and two rules on the same answers.

use serde_json::Value;

use super::reading::{Reading, Row, Verdict};
use super::rule::Rule;

/// Questions that two runs both answered, by who has them right.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// Questions both have right.
    pub both: u64,
    /// Questions neither has right.
    pub neither: u64,
    /// The flips in favour of the first run.
    pub only_first: Vec<String>,
    /// The flips in favour of the second run.
    pub only_second: Vec<String>,
    /// Questions that do not count in one of the runs: without gold answer, failed, or out of memory.
    pub left_out: u64,
}

impl Comparison {
    /// Counts one more question that both runs have. Questions that failed or ran out of memory in either run, or
    /// have no gold answer, are left out: they say nothing about who answers better.
    pub fn add(&mut self, id: &str, first: Verdict, second: Verdict) {
        let right = |verdict| match verdict {
            Verdict::Right => Some(true),
            Verdict::Wrong | Verdict::Unparsed => Some(false),
            Verdict::Failed | Verdict::OutOfMemory | Verdict::Unscored => None,
        };
        match (right(first), right(second)) {
            (Some(true), Some(true)) => self.both += 1,
            (Some(false), Some(false)) => self.neither += 1,
            (Some(true), Some(false)) => self.only_first.push(id.to_owned()),
            (Some(false), Some(true)) => self.only_second.push(id.to_owned()),
            _ => self.left_out += 1,
        }
    }

    /// How likely flips as uneven as these are if neither run is better: the exact test of McNemar.
    pub fn p_value(&self) -> f64 {
        mcnemar(self.only_first.len() as u64, self.only_second.len() as u64)
    }

    /// Accuracy of the second run less that of the first, over the questions that count in both.
    pub fn difference(&self) -> f64 {
        let (gained, lost) = (self.only_second.len() as f64, self.only_first.len() as f64);
        let total = self.both as f64 + self.neither as f64 + gained + lost;
        if total == 0.0 { 0.0 } else { (gained - lost) / total }
    }
}

/// Exact two-sided p value of McNemar's test: `b` questions only the first run has right, `c` only the second.
///
/// Under the hypothesis that neither run is better, `b` of the `b + c` flips are a fair coin's; the p value is the
/// probability of a split at least this uneven. 1 where there is no flip.
pub fn mcnemar(b: u64, c: u64) -> f64 {
    let (few, n) = (b.min(c), b.saturating_add(c));
    if b == c {
        return 1.0;
    }
    // ln of C(n, few) / 2^n, then the smaller terms of the tail by their ratios.
    let ln_largest = (0..few).map(|i| ((n - i) as f64 / (i + 1) as f64).ln()).sum::<f64>()
        - n as f64 * std::f64::consts::LN_2;
    let (mut term, mut tail) = (1.0_f64, 0.0_f64);
    for k in (0..=few).rev() {
        tail += term;
        term *= k as f64 / (n - k + 1) as f64;
        if term < tail * 1e-18 {
            break;
        }
    }
    (2.0 * (ln_largest + tail.ln()).exp()).min(1.0)
}

/// An answer that two rules judge or read differently.
#[derive(Debug, Clone, PartialEq)]
pub struct Disagreement {
    /// The row's id.
    pub id: Value,
    /// What the first rule made of it.
    pub first: Reading,
    /// What the second rule made of it.
    pub second: Reading,
}

/// The answers on which two rules disagree: another verdict, or for questions with options another letter read.
pub fn disagreements<'a>(
    first: &'a Rule,
    second: &'a Rule,
    rows: impl IntoIterator<Item = &'a Row> + 'a,
) -> impl Iterator<Item = Disagreement> + 'a {
    rows.into_iter().filter_map(move |row| {
        let (first, second) = (first.read(row), second.read(row));
        let letters_differ = !row.choices.is_empty() && first.read != second.read;
        (letters_differ || first.verdict != second.verdict).then(|| Disagreement {
            id: row.id.clone(),
            first,
            second,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::AnswerType;

    #[test]
    fn mcnemar_is_the_exact_binomial_tail() {
        // Exact rationals by integer arithmetic: 2 * sum C(n, k) / 2^n.
        for (b, c, p) in [
            (0, 0, 1.0),
            (5, 5, 1.0),
            (1, 0, 1.0),
            (0, 10, 0.001_953_125),
            (6, 1, 0.125),
            (121, 59, 4.434_449_263_755_176e-6),
            (500, 400, 9.564_441_369_189_461e-4),
        ] {
            let ours = mcnemar(b, c);
            assert!((ours - p).abs() <= 1e-9 * p, "{b} {c}: {ours} {p}");
            assert_eq!(ours, mcnemar(c, b));
        }
        // From statsmodels 0.15, `mcnemar(exact=True)`.
        for (b, c, p) in [
            (0, 6, 0.03125),
            (4, 10, 0.179_565_429_687_5),
            (37, 59, 0.031_548_120_253_733_51),
            (500, 700, 8.535_366_081_034_316e-9),
            (12_000, 12_500, 0.001_432_142_504_802_650_6),
        ] {
            let ours = mcnemar(b, c);
            assert!((ours - p).abs() <= 1e-9 * p, "{b} {c}: {ours} {p}");
        }
        assert_eq!(mcnemar(50_000, 50_000), 1.0);
        assert!(mcnemar(1, 100_000) < 1e-300);
        assert!(mcnemar(1_000_000, 1_010_000) > 0.0);
    }

    #[test]
    fn flips_are_listed_and_failures_left_out() {
        let mut comparison = Comparison::default();
        for (id, first, second) in [
            ("1", Verdict::Right, Verdict::Right),
            ("2", Verdict::Right, Verdict::Unparsed),
            ("3", Verdict::Wrong, Verdict::Right),
            ("4", Verdict::Unparsed, Verdict::Right),
            ("5", Verdict::Wrong, Verdict::Wrong),
            ("6", Verdict::OutOfMemory, Verdict::Right),
            ("7", Verdict::Unscored, Verdict::Unscored),
        ] {
            comparison.add(id, first, second);
        }
        assert_eq!((comparison.both, comparison.neither, comparison.left_out), (1, 1, 2));
        assert_eq!(
            (comparison.only_first.join(","), comparison.only_second.join(",")),
            ("2".into(), "3,4".into())
        );
        assert!((comparison.difference() - 0.2).abs() < 1e-12);
        assert_eq!(comparison.p_value(), 1.0);
    }

    #[test]
    fn rules_disagree_where_one_guesses() {
        let row = |id: i32, response: &str| Row {
            id: id.into(),
            answer_type: AnswerType::Option,
            choices: [("A", "cat"), ("B", "dog")]
                .map(|(k, v)| (k.to_owned(), v.into()))
                .into_iter()
                .collect(),
            response: response.to_owned(),
            answer: "B".into(),
            dataset: None,
        };
        let rows = [row(1, "B"), row(2, "**B**"), row(3, "The answer is because")];
        let ids: Vec<_> = disagreements(&Rule::Shardscope, &Rule::Mmmu, &rows).map(|d| d.id).collect();
        assert_eq!(ids, [Value::from(2)]);
    }
}
