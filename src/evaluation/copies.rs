//! How many copies of a model the devices of a run could hold, each on a part of them.

use super::placing::{Wanted, case, found, spec};
use super::{Choices, Learnt};
use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::engine::model;
use crate::plan::replicas::{self, Choice};
use crate::plan::{Assumptions, QuestionCost, Sourced};

/// Every number of copies that shares the devices evenly, and whether each copy then fits. Reckoned for one picture at
/// its most tiles, its thumbnail and two hundred tokens of text, with the longest answer that is chosen.
///
/// # Errors
/// Devices that are not there, or a number format that is none.
pub fn copies(checkpoint: &Checkpoint, choices: &Choices, max_tiles: u32) -> Result<Vec<Choice>> {
    let spec = spec(&choices.devices)?;
    let wanted = Wanted {
        checkpoint,
        weight_type: model::weight_type(&choices.dtype)?,
        devices: &choices.devices,
        layout: &choices.layout,
        assumptions: Assumptions {
            max_new_tokens: Sourced::chosen(choices.settings.max_new_tokens as u64),
            tile_batch: Sourced::default(Some(choices.settings.micro_batch as u64)),
            prefill_chunk: Sourced::default(Some(choices.settings.prefill_chunk as u64)),
            ..Assumptions::default()
        },
        calibration: &|card| Learnt::of(&choices.learnt, card),
    };
    let tiles = u64::from(max_tiles) + u64::from(max_tiles > 1);
    let prompt_tokens = tiles.saturating_mul(checkpoint.config.tokens_per_tile() as u64).saturating_add(200);
    let question = QuestionCost { id: "one picture".into(), tiles, prompt_tokens, ..QuestionCost::default() };
    let case = case(&wanted, found(&spec)?, &spec, &mut || vec![question.clone()])?;
    replicas::choices(&case)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::forecast::Verdict;

    #[test]
    fn copies_share_the_devices_evenly_as_far_as_they_hold_the_model() {
        let checkpoint = crate::demo::checkpoint().unwrap();
        let of = |devices: &str| {
            let choices = Choices { devices: devices.into(), ..Choices::default() };
            let found = copies(&checkpoint, &choices, 6).unwrap();
            found.iter().map(|it| (it.copies, it.verdict != Verdict::DoesNotFit)).collect::<Vec<_>>()
        };
        assert_eq!(of("cpu"), [(1, true)]);
        assert_eq!(of("sim:4x64MiB"), [(1, true), (2, true), (4, true)]);
        // What holds a quarter of it is too small for all of it.
        let tight = of("sim:4x3MiB");
        assert_eq!((tight.len(), tight[2]), (3, (4, false)), "{tight:?}");
        assert!(
            copies(&checkpoint, &Choices { devices: "nonsense".into(), ..Choices::default() }, 6).is_err()
        );
    }
}
