//! How many questions are in flight at once: more while the server answers briskly, fewer where it is strained.
//!
//! Additive increase, multiplicative decrease, as TCP's congestion avoidance (RFC 5681) and, for latency, TCP Vegas do
//! it: one more per answer until the first sign of strain, then one more per round; half of it after a fault, a tenth
//! less where answers begin several times later than they did when the server was calm.

use std::collections::VecDeque;

/// First words of so many answers are compared.
const COMPARED: usize = 16;

/// Answers that begin later than this many times the calm time, and so many seconds more, hold the growth; twice of both,
/// and there are too many.
const HOLD: (f64, f64) = (3.0, 0.5);

/// At the start.
const FIRST: f64 = 4.0;

/// The calm time is forgotten by this share with every answer, since questions differ along a dataset.
const FORGET: f64 = 1.001;

/// The number of questions in flight. Time is counted in questions sent: a fault of one that was sent before the last
/// decrease says nothing about the number since then.
#[derive(Debug, Clone)]
pub struct Window {
    size: f64,
    most: f64,
    /// Whether it was never strained.
    fresh: bool,
    /// Number of the question from which on faults count again.
    counts_from: u64,
    firsts: VecDeque<f64>,
    calm: Option<f64>,
}

impl Window {
    /// A window of at most so many.
    pub fn new(most: usize) -> Self {
        let most = most.max(1) as f64;
        Self {
            size: FIRST.min(most),
            most,
            fresh: true,
            counts_from: 0,
            firsts: VecDeque::with_capacity(COMPARED),
            calm: None,
        }
    }

    /// How many may be in flight.
    pub fn size(&self) -> usize {
        self.size.max(1.0) as usize
    }

    /// Question `number` was answered, beginning after so many seconds; `next` is the number of the next to be sent.
    pub fn answered(&mut self, number: u64, first_token: f64, next: u64) {
        let grow = if self.fresh { 1.0 } else { 1.0 / self.size };
        if self.firsts.len() == COMPARED {
            self.firsts.pop_front();
        }
        self.firsts.push_back(first_token);
        let Some(typical) = self.typical_first_token().filter(|_| self.firsts.len() >= COMPARED / 2) else {
            self.size = (self.size + grow).min(self.most);
            return;
        };
        let calm = self.calm.map_or(typical, |calm| (calm * FORGET).min(typical));
        self.calm = Some(calm);
        let (times, more) = HOLD;
        if typical > 2.0 * (times * calm + more) {
            self.shrink(number, next, 0.9);
        } else if typical > times * calm + more {
            self.fresh = false;
        } else {
            self.size = (self.size + grow).min(self.most);
        }
    }

    /// Question `number` met a server that is strained.
    pub fn strained(&mut self, number: u64, next: u64) {
        self.shrink(number, next, 0.5);
    }

    /// Median of the last times to the first words.
    pub fn typical_first_token(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.firsts.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }

    fn shrink(&mut self, number: u64, next: u64, share: f64) {
        self.fresh = false;
        if number >= self.counts_from {
            self.size = (self.size * share).max(1.0);
            self.counts_from = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brisk_server_is_given_all_it_may_have() {
        let mut window = Window::new(64);
        assert_eq!(window.size(), 4);
        (0..60).for_each(|number| window.answered(number, 0.2, number + 64));
        assert_eq!(window.size(), 64);
        (60..99).for_each(|number| window.answered(number, 0.2, number + 64));
        assert_eq!(window.size(), 64);
    }

    #[test]
    fn a_fault_halves_once_a_round_and_growth_is_slow_after_it() {
        let mut window = Window::new(64);
        (0..60).for_each(|number| window.answered(number, 0.2, 124));
        // All that were in flight meet the same busy server.
        (60..124).for_each(|number| window.strained(number, 124));
        assert_eq!(window.size(), 32);
        (124..156).for_each(|number| window.answered(number, 0.2, 200));
        assert_eq!(window.size(), 32);
        (0..20).for_each(|round| window.strained(1000 * (round + 1), 1000 * (round + 1) + 1));
        assert_eq!(window.size(), 1);
    }

    #[test]
    fn a_queue_at_the_server_ends_the_growth() {
        // One question at a time takes a second: first words come after as many seconds as there are in flight.
        let mut window = Window::new(64);
        (0..500).for_each(|number| {
            let waits = window.size() as f64;
            window.answered(number, waits, number + window.size() as u64);
        });
        assert!((4..=40).contains(&window.size()), "{}", window.size());
    }

    #[test]
    fn one_at_a_time_stays_one() {
        let mut window = Window::new(1);
        (0..99).for_each(|number| window.answered(number, 0.0, number + 1));
        assert_eq!(window.size(), 1);
        assert_eq!(Window::new(0).size(), 1);
    }
}
