//! Verdicts counted: how many right, how many not, and between which bounds the true accuracy lies.

use crate::scoring::Verdict;

/// Verdicts of some questions, counted.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Tally {
    /// Judged right.
    pub right: usize,
    /// Judged wrong.
    pub wrong: usize,
    /// Nothing could be read; counts as wrong.
    pub unparsed: usize,
    /// Could not be answered; does not count.
    pub failed: usize,
    /// The device ran out of memory; does not count.
    pub out_of_memory: usize,
    /// The dataset has no gold answer; does not count.
    pub unscored: usize,
    /// Credit of the judged questions together.
    pub credit: f64,
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
        if matches!(verdict, Verdict::Right | Verdict::Wrong | Verdict::Unparsed) {
            self.credit += score.clamp(0.0, 1.0);
        }
    }

    /// Questions that count: right, wrong and unparsed.
    pub fn judged(&self) -> usize {
        self.right + self.wrong + self.unparsed
    }

    /// All questions.
    pub fn total(&self) -> usize {
        self.judged() + self.failed + self.out_of_memory + self.unscored
    }

    /// Mean credit of the questions that count, from 0 to 1; nothing where none does.
    pub fn accuracy(&self) -> Option<f64> {
        (self.judged() > 0).then(|| self.credit / self.judged() as f64)
    }

    /// The 95 % interval of the accuracy, after Wilson (Journal of the American Statistical Association 22, 1927).
    ///
    /// For partial credit the same formula is a safe bound: among scores from 0 to 1 with a given mean, right or
    /// wrong answers vary most.
    pub fn interval(&self) -> Option<[f64; 2]> {
        const Z: f64 = 1.959_963_984_540_054;
        let p = self.accuracy()?;
        let n = self.judged() as f64;
        let centre = p + Z * Z / (2.0 * n);
        let reach = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        Some([((centre - reach) / scale).clamp(0.0, 1.0), ((centre + reach) / scale).clamp(0.0, 1.0)])
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

    #[test]
    fn failures_do_not_count() {
        let mut tally = Tally::default();
        tally.add(Verdict::Right, 1.0);
        tally.add(Verdict::Unparsed, 0.0);
        for verdict in [Verdict::Failed, Verdict::OutOfMemory, Verdict::Unscored] {
            tally.add(verdict, 1.0);
        }
        assert_eq!((tally.judged(), tally.total(), tally.accuracy()), (2, 5, Some(0.5)));
    }
}
