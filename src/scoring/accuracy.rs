//! How many answers are right, and how sure that is.

use std::collections::HashMap;

use serde::Serialize;

use super::reading::Verdict;

/// The 97.5 % point of the normal distribution, for two-sided 95 % intervals.
const Z: f64 = 1.959_963_984_540_054;

/// Counts of verdicts and the sum of scores over some questions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Accuracy {
    /// Answers judged right.
    pub right: u64,
    /// Answers judged wrong.
    pub wrong: u64,
    /// Answers that nobody could read; they score 0.
    pub unparsed: u64,
    /// Questions that could not be answered; they score 0.
    pub failed: u64,
    /// Questions at which the device ran out of memory; they score 0.
    pub out_of_memory: u64,
    /// Questions without a gold answer; they count nowhere else.
    pub unscored: u64,
    /// Sum of the scores, from 0 to 1 each.
    pub score_sum: f64,
    /// Questions that count: all but the unscored ones.
    pub total: u64,
    #[serde(skip)]
    square_sum: f64,
}

impl Accuracy {
    /// Counts one more question. A score counts only where the answer is right or wrong; it is kept within 0 to 1.
    pub fn add(&mut self, verdict: Verdict, score: f64) {
        let counter = match verdict {
            Verdict::Right => &mut self.right,
            Verdict::Wrong => &mut self.wrong,
            Verdict::Unparsed => &mut self.unparsed,
            Verdict::Failed => &mut self.failed,
            Verdict::OutOfMemory => &mut self.out_of_memory,
            Verdict::Unscored => {
                self.unscored += 1;
                return;
            }
        };
        *counter += 1;
        self.total += 1;
        if matches!(verdict, Verdict::Right | Verdict::Wrong) && score.is_finite() {
            let score = score.clamp(0.0, 1.0);
            self.score_sum += score;
            self.square_sum += score * score;
        }
    }

    /// All questions, the unscored ones too.
    pub fn questions(&self) -> u64 {
        self.total + self.unscored
    }

    /// Mean score over all questions that count, from 0 to 1; nothing where there are none.
    pub fn accuracy(&self) -> Option<f64> {
        (self.total > 0).then(|| self.value())
    }

    /// Mean score over all questions that count, from 0 to 1; 0 where there are none.
    pub fn value(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.score_sum / self.total as f64 }
    }

    /// Whether every score so far is 0 or 1.
    pub fn is_all_or_nothing(&self) -> bool {
        (self.score_sum - self.square_sum).abs() < 1e-9 * (1.0 + self.score_sum)
    }

    /// The 95 % interval of [`value`](Self::value).
    ///
    /// Where every score is 0 or 1: the score interval of E. B. Wilson (Journal of the American Statistical
    /// Association 22, 1927). Where scores are fractional: the normal interval of the mean with the sample's own
    /// variance, within 0 to 1. (0, 1) where nothing counts.
    pub fn interval(&self) -> (f64, f64) {
        if self.total == 0 {
            return (0.0, 1.0);
        }
        let n = self.total as f64;
        let mean = self.value();
        let (centre, half) = if self.is_all_or_nothing() {
            let spread = 1.0 + Z * Z / n;
            let half = Z * (mean * (1.0 - mean) / n + Z * Z / (4.0 * n * n)).sqrt() / spread;
            ((mean + Z * Z / (2.0 * n)) / spread, half)
        } else {
            let variance =
                if self.total > 1 { (self.square_sum - n * mean * mean).max(0.0) / (n - 1.0) } else { 0.25 };
            (mean, Z * (variance / n).sqrt())
        };
        ((centre - half).clamp(0.0, mean), (centre + half).clamp(mean, 1.0))
    }
}

impl FromIterator<(Verdict, f64)> for Accuracy {
    fn from_iter<I: IntoIterator<Item = (Verdict, f64)>>(verdicts: I) -> Self {
        let mut accuracy = Self::default();
        verdicts.into_iter().for_each(|(verdict, score)| accuracy.add(verdict, score));
        accuracy
    }
}

/// Accuracies under names, in the order in which the names first appeared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Groups {
    entries: Vec<(String, Accuracy)>,
    places: HashMap<String, usize>,
}

impl Groups {
    /// Counts one more question under a name.
    pub fn add(&mut self, name: &str, verdict: Verdict, score: f64) {
        let place = match self.places.get(name) {
            Some(&place) => place,
            None => {
                self.entries.push((name.to_owned(), Accuracy::default()));
                self.places.insert(name.to_owned(), self.entries.len() - 1);
                self.entries.len() - 1
            }
        };
        if let Some((_, accuracy)) = self.entries.get_mut(place) {
            accuracy.add(verdict, score);
        }
    }

    /// The accuracy under a name.
    pub fn get(&self, name: &str) -> Option<&Accuracy> {
        self.places.get(name).and_then(|&place| self.entries.get(place)).map(|(_, accuracy)| accuracy)
    }

    /// Names and accuracies in order of first appearance.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Accuracy)> {
        self.entries.iter().map(|(name, accuracy)| (name.as_str(), accuracy))
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// One judged question as a report needs it.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// Its category.
    pub category: Option<&'a str>,
    /// Its coarser category.
    pub super_category: Option<&'a str>,
    /// Its split.
    pub split: Option<&'a str>,
    /// How it was judged.
    pub verdict: Verdict,
    /// Its score from 0 to 1.
    pub score: f64,
}

/// Accuracy overall and by group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// All questions.
    pub overall: Accuracy,
    /// By category.
    pub by_category: Groups,
    /// By coarser category.
    pub by_super_category: Groups,
    /// By split.
    pub by_split: Groups,
}

impl Report {
    /// Counts one more question; a running report is never rebuilt.
    pub fn add(&mut self, question: Judged<'_>) {
        let Judged { category, super_category, split, verdict, score } = question;
        self.overall.add(verdict, score);
        for (groups, name) in [
            (&mut self.by_category, category),
            (&mut self.by_super_category, super_category),
            (&mut self.by_split, split),
        ] {
            if let Some(name) = name {
                groups.add(name, verdict, score);
            }
        }
    }
}

impl<'a> FromIterator<Judged<'a>> for Report {
    fn from_iter<T: IntoIterator<Item = Judged<'a>>>(questions: T) -> Self {
        let mut report = Self::default();
        questions.into_iter().for_each(|question| report.add(question));
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(right: u64, n: u64) -> Accuracy {
        let mut accuracy = Accuracy::default();
        for i in 0..n {
            if i < right { accuracy.add(Verdict::Right, 1.0) } else { accuracy.add(Verdict::Wrong, 0.0) }
        }
        accuracy
    }

    #[test]
    fn wilson_intervals_are_those_of_the_literature() {
        // R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        for (right, n, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let (from, to) = of(right, n).interval();
            assert!((from - low).abs() < 5e-5 && (to - high).abs() < 5e-5, "{right}/{n}: {from} {to}");
        }
    }

    /// Bounds from statsmodels 0.15 `proportion_confint(method="wilson")`.
    #[test]
    fn wilson_intervals_are_those_of_statsmodels() {
        for (right, n, low, high) in [
            (9, 10, 0.595_849_973, 0.982_123_787),
            (0, 5, 0.0, 0.434_482_465),
            (430, 900, 0.445_307_724, 0.510_436_727),
        ] {
            let (from, to) = of(right, n).interval();
            assert!((from - low).abs() < 1e-8 && (to - high).abs() < 1e-8, "{right}/{n}: {from} {to}");
        }
    }

    /// numpy: mean of (1, 0.5, 0.25, 0, 1, 0.3) and 1.959964 standard errors to either side.
    #[test]
    fn partial_credit_has_the_interval_of_its_mean() {
        let judged = |score| (if score >= 0.5 { Verdict::Right } else { Verdict::Wrong }, score);
        let accuracy: Accuracy = [1.0, 0.5, 0.25, 0.0, 1.0, 0.3].map(judged).into_iter().collect();
        let (from, to) = accuracy.interval();
        assert!((from - 0.178_018_179).abs() < 1e-8 && (to - 0.838_648_488).abs() < 1e-8, "{from} {to}");
    }

    #[test]
    fn fractional_scores_use_the_variance_of_the_sample() {
        let mut accuracy = Accuracy::default();
        for score in [0.2, 0.4, 0.6, 0.8] {
            accuracy.add(Verdict::Wrong, score);
        }
        // Mean 0.5, sample variance 1/15, standard error sqrt(1/60).
        let (from, to) = accuracy.interval();
        let half = 1.959_963_984_540_054 * (1.0_f64 / 60.0).sqrt();
        assert!((from - (0.5 - half)).abs() < 1e-12 && (to - (0.5 + half)).abs() < 1e-12);
    }

    #[test]
    fn verdicts_are_counted_apart() {
        let mut accuracy = of(1, 2);
        accuracy.add(Verdict::Unparsed, 1.0);
        accuracy.add(Verdict::Failed, 1.0);
        accuracy.add(Verdict::OutOfMemory, 0.0);
        accuracy.add(Verdict::Unscored, 1.0);
        assert_eq!((accuracy.total, accuracy.unscored, accuracy.unparsed), (5, 1, 1));
        assert!((accuracy.value() - 0.2).abs() < 1e-12);
        assert_eq!((accuracy.questions(), Accuracy::default().accuracy()), (6, None));
        let credited =
            [Verdict::Right, Verdict::Unparsed, Verdict::Failed, Verdict::OutOfMemory, Verdict::Unscored];
        let accuracy: Accuracy = credited.into_iter().map(|verdict| (verdict, 1.0)).collect();
        assert_eq!((accuracy.total, accuracy.questions(), accuracy.accuracy()), (4, 5, Some(0.25)));
        assert_eq!(Accuracy::default().interval(), (0.0, 1.0));
    }

    #[test]
    fn reports_group_by_name() {
        let question = |category, verdict, score| Judged {
            category: Some(category),
            super_category: None,
            split: Some("dev"),
            verdict,
            score,
        };
        let report: Report = [
            question("b", Verdict::Right, 1.0),
            question("a", Verdict::Wrong, 0.0),
            question("b", Verdict::Wrong, 0.0),
        ]
        .into_iter()
        .collect();
        assert_eq!(report.by_category.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(report.by_category.get("b").map(|a| (a.right, a.total)), Some((1, 2)));
        assert_eq!(report.by_split.get("dev"), Some(&report.overall));
        assert!(report.by_super_category.is_empty());
    }
}
