//! What a question is tried with when a device has too little memory for it: a fixed ladder, each rung with less at
//! once, none of which changes an answer.

use super::asking::RunSettings;

/// How much of a question goes through at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// Tiles that go through the vision side together.
    pub micro_batch: usize,
    /// Positions of a prompt that go through the decoder together.
    pub prefill_chunk: usize,
    /// Whether nothing else is in flight, and nothing is kept for later questions.
    pub alone: bool,
}

impl Rung {
    /// In words, for the session's events.
    pub fn words(&self) -> String {
        let Self { micro_batch, prefill_chunk, alone } = self;
        let beside = if *alone { "alone, nothing kept for later" } else { "beside others" };
        format!("{beside}, {micro_batch} tiles and {prefill_chunk} positions at once")
    }
}

/// The rungs from the run's own settings down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder(Vec<Rung>);

/// Positions of a prompt below which smaller parts save next to nothing.
const FEW_POSITIONS: usize = 16;

impl Ladder {
    /// The ladder of a run: as it is set; then alone; then half the tiles and a quarter of the positions each time, down
    /// to one tile and a few positions.
    pub fn new(settings: &RunSettings) -> Self {
        let first = Rung {
            micro_batch: settings.micro_batch.max(1),
            prefill_chunk: settings.prefill_chunk.max(1),
            alone: false,
        };
        let mut last = Rung { alone: true, ..first };
        let mut rungs = vec![first, last];
        while last.micro_batch > 1 || last.prefill_chunk > FEW_POSITIONS {
            last.micro_batch = (last.micro_batch / 2).max(1);
            last.prefill_chunk = last.prefill_chunk.min((last.prefill_chunk / 4).max(FEW_POSITIONS));
            rungs.push(last);
        }
        Self(rungs)
    }

    /// All rungs, from the top.
    pub fn rungs(&self) -> &[Rung] {
        &self.0
    }

    /// A rung by its number; below the last there is the last.
    pub fn rung(&self, number: usize) -> Rung {
        // There are always two.
        self.0[number.min(self.0.len() - 1)]
    }

    /// The number of the rung below, unless there is none.
    pub fn below(&self, number: usize) -> Option<usize> {
        (number + 1 < self.0.len()).then_some(number + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rungs_of_the_usual_settings() {
        let ladder = Ladder::new(&RunSettings::default());
        let sizes: Vec<_> =
            ladder.rungs().iter().map(|r| (r.micro_batch, r.prefill_chunk, r.alone)).collect();
        assert_eq!(sizes, [(4, 1024, false), (4, 1024, true), (2, 256, true), (1, 64, true), (1, 16, true)]);
    }

    proptest! {
        #[test]
        fn every_rung_takes_less_and_the_last_takes_least(micro_batch in 0usize..300, prefill_chunk in 0usize..100_000) {
            let ladder = Ladder::new(&RunSettings { micro_batch, prefill_chunk, ..RunSettings::default() });
            let mut at = 0;
            while let Some(below) = ladder.below(at) {
                let (this, next) = (ladder.rung(at), ladder.rung(below));
                prop_assert!(next.micro_batch <= this.micro_batch && next.prefill_chunk <= this.prefill_chunk);
                prop_assert!(this != next && next.alone);
                at = below;
            }
            prop_assert!(at < 40 && ladder.rung(at).micro_batch == 1 && ladder.rung(at).prefill_chunk <= 16);
        }
    }
}
