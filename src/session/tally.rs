//! Verdicts counted: how many right, how many not, and between which bounds the true accuracy lies.

use crate::scoring::Verdict;

/// The 97.5 % point of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Verdicts of some questions, counted. Accuracy and interval are those of [`crate::scoring`], for partial credit too.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Tally {
    /// Judged right.
    pub right: usize,
    /// Judged wrong.
    pub wrong: usize,
    /// Nothing could be read; no credit.
    pub unparsed: usize,
    /// Could not be answered; no credit.
    pub failed: usize,
    /// The device ran out of memory; no credit.
    pub out_of_memory: usize,
    /// The dataset has no gold answer; does not count.
    pub unscored: usize,
    /// Credit of all questions together.
    pub credit: f64,
    #[serde(skip)]
    squares: f64,
}

impl Tally {
    /// Counts one more question.
    pub fn add(&mut self, verdict: Verdict, score: f64) {
        let count = match verdict {
            Verdict::Right => &mut self.right,
            Verdict::Wrong => &mut self.wrong,
            Verdict::Unparsed => &mut self.unparsed,
            Verdict::Failed => &mut self.failed,
            Verdict::OutOfMemory => &mut self.out_of_memory,
            Verdict::Unscored => &mut self.unscored,
        };
        *count += 1;
        if matches!(verdict, Verdict::Right | Verdict::Wrong) && score.is_finite() {
            let score = score.clamp(0.0, 1.0);
            self.credit += score;
            self.squares += score * score;
        }
    }

    /// Questions that count: all but the unscored ones.
    pub fn scored(&self) -> usize {
        self.total() - self.unscored
    }

    /// All questions.
    pub fn total(&self) -> usize {
        self.right + self.wrong + self.unparsed + self.failed + self.out_of_memory + self.unscored
    }

    /// Mean credit of the questions that count, from 0 to 1; nothing where none does.
    pub fn accuracy(&self) -> Option<f64> {
        (self.scored() > 0).then(|| self.credit / self.scored() as f64)
    }

    /// The 95 % interval of the accuracy: after Wilson (Journal of the American Statistical Association 22, 1927)
    /// where every credit is 0 or 1, else the normal interval of the mean with the sample's own variance.
    pub fn interval(&self) -> Option<[f64; 2]> {
        let mean = self.accuracy()?;
        let n = self.scored() as f64;
        let whole = (self.credit - self.squares).abs() < 1e-9 * (1.0 + self.credit);
        let (centre, reach) = if whole {
            let scale = 1.0 + Z * Z / n;
            let reach = Z * (mean * (1.0 - mean) / n + Z * Z / (4.0 * n * n)).sqrt();
            ((mean + Z * Z / (2.0 * n)) / scale, reach / scale)
        } else {
            let variance = if n > 1.0 { (self.squares - n * mean * mean).max(0.0) / (n - 1.0) } else { 0.25 };
            (mean, Z * (variance / n).sqrt())
        };
        Some([(centre - reach).clamp(0.0, mean), (centre + reach).clamp(mean, 1.0)])
    }
}

impl FromIterator<(Verdict, f64)> for Tally {
    fn from_iter<I: IntoIterator<Item = (Verdict, f64)>>(verdicts: I) -> Self {
        let mut tally = Self::default();
        for (verdict, score) in verdicts {
            tally.add(verdict, score);
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bounds from statsmodels 0.15 `proportion_confint(method="wilson")`.
    #[test]
    fn intervals_are_those_of_wilson() {
        for (right, of, low, high) in [
            (9, 10, 0.595_849_973, 0.982_123_787),
            (0, 5, 0.0, 0.434_482_465),
            (430, 900, 0.445_307_724, 0.510_436_727),
        ] {
            let tally: Tally = (0..of)
                .map(|i| if i < right { (Verdict::Right, 1.0) } else { (Verdict::Wrong, 0.0) })
                .collect();
            let [from, to] = tally.interval().unwrap();
            assert!((from - low).abs() < 1e-8 && (to - high).abs() < 1e-8, "{right}/{of}: {from} {to}");
        }
        assert_eq!(Tally::default().interval(), None);
    }

    /// numpy: mean of (1, 0.5, 0.25, 0, 1, 0.3) and 1.959964 standard errors to either side.
    #[test]
    fn partial_credit_has_the_interval_of_its_mean() {
        let scores = [1.0, 0.5, 0.25, 0.0, 1.0, 0.3];
        let tally: Tally = scores
            .map(|score| (if score >= 0.5 { Verdict::Right } else { Verdict::Wrong }, score))
            .into_iter()
            .collect();
        let [from, to] = tally.interval().unwrap();
        assert!((from - 0.178_018_179).abs() < 1e-8 && (to - 0.838_648_488).abs() < 1e-8, "{from} {to}");
    }

    #[test]
    fn what_is_not_answered_has_no_credit_and_what_has_no_gold_does_not_count() {
        let mut tally = Tally::default();
        for verdict in
            [Verdict::Right, Verdict::Unparsed, Verdict::Failed, Verdict::OutOfMemory, Verdict::Unscored]
        {
            tally.add(verdict, 1.0);
        }
        assert_eq!((tally.scored(), tally.total(), tally.accuracy()), (4, 5, Some(0.25)));
    }
}
