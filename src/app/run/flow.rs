//! How a server stands over the time of a run: what it was told, at a bounded number of moments.

use crate::engine::served::Traffic;

/// Moments that are kept; past them every second one goes, so that the whole run stays in view.
const KEPT: usize = 1200;

/// A moment of a run at a server.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moment {
    /// Seconds since the run began.
    pub at: f64,
    /// Answers a minute, over the last half minute.
    pub answers: Option<f64>,
    /// Answer tokens a minute, over the last half minute.
    pub tokens: Option<f64>,
    /// Seconds to the first words: the median of the last answers.
    pub first_words: Option<f64>,
    /// Questions that are with the server.
    pub in_flight: usize,
    /// How many may be.
    pub limit: usize,
    /// Tries that failed so far and were followed by another.
    pub retries: u64,
    /// Questions that failed for good so far.
    pub failed: u64,
    /// Cost so far.
    pub cost: Option<f64>,
}

impl From<&Traffic> for Moment {
    fn from(traffic: &Traffic) -> Self {
        Self {
            at: traffic.seconds,
            answers: traffic.answers_per_second.map(|pace| 60.0 * pace),
            tokens: traffic.tokens_per_second.map(|pace| 60.0 * pace),
            first_words: traffic.first_token,
            in_flight: traffic.in_flight,
            limit: traffic.window,
            retries: traffic.retries,
            failed: traffic.failed,
            cost: traffic.cost,
        }
    }
}

/// How a server has stood since the run began, and stands now.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// The latest that was said.
    pub now: Option<Traffic>,
    /// Every so many moments one, from the first.
    kept: Vec<Moment>,
    /// How far apart those are, as a power of two.
    apart: u32,
    /// Moments that there were.
    seen: u64,
}

impl Flow {
    /// Takes what the engine says.
    pub fn take(&mut self, traffic: Traffic) {
        if self.seen.is_multiple_of(1 << self.apart) {
            self.kept.push(Moment::from(&traffic));
        }
        self.seen += 1;
        self.now = Some(traffic);
        if self.kept.len() > KEPT {
            let mut place = 0;
            self.kept.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.apart += 1;
        }
    }

    /// The moments that are kept, and the latest.
    pub fn moments(&self) -> Vec<Moment> {
        let latest = self.now.as_ref().map(Moment::from);
        let is_new = |latest: &Moment| self.kept.last().is_none_or(|last| last.at < latest.at);
        self.kept.iter().copied().chain(latest.filter(is_new)).collect()
    }

    /// What the run will have cost when `left` more questions are answered: those so far tell what one costs. Nothing
    /// where no price is known or nothing was counted yet.
    pub fn expected_cost(&self, left: usize) -> Option<f64> {
        let now = self.now.as_ref()?;
        let counted = now.answered.saturating_sub(now.uncounted);
        let cost = now.cost.filter(|_| counted > 0)?;
        Some(cost + cost / counted as f64 * left as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_stays_in_view_from_its_beginning_to_its_end() {
        let mut flow = Flow::default();
        for second in 0..100_000u32 {
            flow.take(Traffic { seconds: f64::from(second), ..Traffic::default() });
            assert!(flow.kept.len() <= KEPT);
        }
        let at: Vec<f64> = flow.moments().iter().map(|moment| moment.at).collect();
        assert_eq!(at.last(), Some(&99_999.0));
        assert!(at[0] == 0.0 && at.is_sorted() && at.len() > KEPT / 3, "{}", at.len());
        let gaps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (least, most) =
            gaps[..gaps.len() - 1].iter().fold((f64::MAX, 0.0f64), |(a, b), it| (a.min(*it), b.max(*it)));
        assert_eq!(least, most, "moments are evenly spread");
    }

    #[test]
    fn the_cost_at_the_end_follows_from_what_was_counted() {
        let mut flow = Flow::default();
        assert_eq!(flow.expected_cost(10), None);
        flow.take(Traffic { answered: 5, uncounted: 1, cost: Some(2.0), ..Traffic::default() });
        assert_eq!(flow.expected_cost(6), Some(5.0));
        flow.take(Traffic { answered: 5, ..Traffic::default() });
        assert_eq!(flow.expected_cost(6), None);
    }
}
