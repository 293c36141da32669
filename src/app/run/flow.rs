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
    /// Earlier moments, the latest last.
    pub moments: Vec<Moment>,
    /// One of so many moments is kept.
    every: usize,
    skipped: usize,
}

impl Flow {
    /// Takes what the engine says.
    pub fn take(&mut self, traffic: Traffic) {
        let moment = Moment::from(&traffic);
        self.now = Some(traffic);
        let every = self.every.max(1);
        // The latest moment stands in for those that are left out until the next one is kept.
        if self.skipped > 0 {
            self.moments.pop();
        }
        self.moments.push(moment);
        self.skipped = (self.skipped + 1) % every;
        if self.moments.len() > KEPT {
            let mut place = 0;
            self.moments.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            (self.every, self.skipped) = (2 * every, 0);
        }
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
            let last = flow.moments.last().unwrap();
            assert!(last.at == f64::from(second) && flow.moments.len() <= KEPT);
        }
        let at: Vec<f64> = flow.moments.iter().map(|moment| moment.at).collect();
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
