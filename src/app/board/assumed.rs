//! What a plan takes for granted, as the window's choices and the board's own say it, and how each is changed.

use crate::engine::RunSettings;
use crate::evaluation::{Choices, Learnt};
use crate::plan::assumptions::{Assumptions, AttentionKind, Dtype, Engine, Kept, Logits, Source, Sourced};

/// Tiles or tokens at once that stand for all of them.
pub const ALL_AT_ONCE: usize = u32::MAX as usize;

/// What only a plan knows: how another engine would compute.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Elsewhere {
    /// How attention scores are held.
    pub attention: Option<AttentionKind>,
    /// Which positions the head is computed for.
    pub logits: Option<Logits>,
    /// Driver overhead of a GPU in bytes.
    pub overhead: Option<u64>,
    /// Whose temporary memory is counted.
    pub engine: Option<Engine>,
}

/// A change of one assumption; `None` goes back to the default.
#[derive(Debug, Clone, PartialEq)]
pub enum Assume {
    /// Number format of the weights; `None` is the checkpoint's own.
    Dtype(Option<Dtype>),
    /// Questions in flight.
    InFlight(usize),
    /// Longest answer in tokens.
    MaxNewTokens(usize),
    /// Tiles through the vision tower at once.
    TileBatch(usize),
    /// Prompt tokens through the decoder at once.
    PrefillChunk(usize),
    /// Most tiles a picture.
    MaxTiles(Option<u32>),
    /// How attention scores are held.
    Attention(Option<AttentionKind>),
    /// Which positions the head is computed for.
    Logits(Option<Logits>),
    /// Driver overhead of a GPU.
    Overhead(Option<u64>),
    /// Whose temporary memory is counted.
    Engine(Option<Engine>),
    /// Where what runs have learnt about memory is kept, if forecasts are to be corrected by it.
    Corrections(Learnt),
    /// Everything as it is by default.
    Defaults,
}

impl Assume {
    /// Carries the change out.
    pub fn apply(self, choices: &mut Choices, elsewhere: &mut Elsewhere) {
        let usual = RunSettings::default();
        let settings = &mut choices.settings;
        match self {
            Self::Dtype(dtype) => choices.dtype = dtype.map_or("auto", Dtype::name).to_owned(),
            Self::InFlight(count) => choices.batch = count.max(1),
            Self::MaxNewTokens(tokens) => settings.max_new_tokens = tokens.max(1),
            Self::TileBatch(tiles) => settings.micro_batch = tiles.max(1),
            Self::PrefillChunk(tokens) => settings.prefill_chunk = tokens.max(1),
            Self::MaxTiles(tiles) => settings.max_tiles = tiles,
            Self::Attention(attention) => elsewhere.attention = attention,
            Self::Logits(logits) => elsewhere.logits = logits,
            Self::Overhead(bytes) => elsewhere.overhead = bytes,
            Self::Engine(engine) => elsewhere.engine = engine,
            Self::Corrections(learnt) => choices.learnt = learnt,
            Self::Defaults => {
                choices.dtype = "auto".into();
                choices.batch = 1;
                settings.max_new_tokens = usual.max_new_tokens;
                settings.micro_batch = usual.micro_batch;
                settings.prefill_chunk = usual.prefill_chunk;
                settings.max_tiles = usual.max_tiles;
                *elsewhere = Elsewhere::default();
            }
        }
    }
}

/// A value, chosen where it differs from what is usual.
fn sourced<T: PartialEq>(value: T, usual: T) -> Sourced<T> {
    if value == usual { Sourced::default(value) } else { Sourced::chosen(value) }
}

fn at_once(count: usize) -> Option<u64> {
    (count < ALL_AT_ONCE).then_some(count as u64)
}

/// How this engine computes on the CPU.
pub fn on_the_cpu(choices: &Choices) -> Engine {
    let threads = choices.threads.unwrap_or_else(rayon::current_num_threads).max(1);
    crate::evaluation::placing::on_the_cpu(threads)
}

/// What a plan takes for granted under these choices; `stored` is the checkpoint's own number format. Temporary memory
/// is counted as on a GPU, unless everything lies on the CPU or the person says otherwise.
pub fn assumptions(choices: &Choices, elsewhere: &Elsewhere, stored: Dtype, is_on_cpu: bool) -> Assumptions {
    let usual = RunSettings::default();
    let settings = &choices.settings;
    let given = Assumptions::default();
    Assumptions {
        dtype: match Dtype::parse(&choices.dtype) {
            Ok(dtype) => Sourced::chosen(dtype),
            Err(_) => Sourced { value: stored, source: Source::Checkpoint },
        },
        in_flight: sourced(choices.batch.max(1) as u64, 1),
        max_new_tokens: sourced(settings.max_new_tokens as u64, usual.max_new_tokens as u64),
        tile_batch: sourced(at_once(settings.micro_batch), at_once(usual.micro_batch)),
        prefill_chunk: sourced(at_once(settings.prefill_chunk), at_once(usual.prefill_chunk)),
        attention: elsewhere.attention.map_or(given.attention, Sourced::chosen),
        logits: elsewhere.logits.map_or(given.logits, Sourced::chosen),
        overhead: elsewhere.overhead.map_or(given.overhead, |bytes| Sourced::chosen(Some(bytes))),
        nominal_cards: given.nominal_cards,
        duplicate_tied_head: given.duplicate_tied_head,
        engine: match elsewhere.engine {
            Some(engine) => Sourced::chosen(engine),
            None if is_on_cpu => Sourced::default(on_the_cpu(choices)),
            None => given.engine,
        },
        kept: Sourced::default(Kept { pictures: settings.picture_cache, prompts: settings.prompt_cache }),
    }
}

/// Makes a fix's assumptions the person's own: only what the fix chose, not the habits it was judged under.
pub fn adopt(fix: &Assumptions, choices: &mut Choices, elsewhere: &mut Elsewhere) {
    fn chosen<T: Copy>(sourced: &Sourced<T>) -> Option<T> {
        (sourced.source == Source::Chosen).then_some(sourced.value)
    }
    let count = |value: Option<u64>| {
        value.map_or(ALL_AT_ONCE, |v| usize::try_from(v).unwrap_or(ALL_AT_ONCE)).clamp(1, ALL_AT_ONCE)
    };
    let settings = &mut choices.settings;
    if let Some(dtype) = chosen(&fix.dtype) {
        choices.dtype = dtype.name().to_owned();
    }
    if let Some(questions) = chosen(&fix.in_flight) {
        choices.batch = count(Some(questions));
    }
    if let Some(tokens) = chosen(&fix.max_new_tokens) {
        settings.max_new_tokens = count(Some(tokens));
    }
    if let Some(tiles) = chosen(&fix.tile_batch) {
        settings.micro_batch = count(tiles);
    }
    if let Some(tokens) = chosen(&fix.prefill_chunk) {
        settings.prefill_chunk = count(tokens);
    }
    elsewhere.attention = chosen(&fix.attention).or(elsewhere.attention);
    elsewhere.logits = chosen(&fix.logits).or(elsewhere.logits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_become_assumptions_and_back() {
        let (mut choices, mut elsewhere) = (Choices::default(), Elsewhere::default());
        let before = assumptions(&choices, &elsewhere, Dtype::Bf16, false);
        assert_eq!(before.dtype, Sourced { value: Dtype::Bf16, source: Source::Checkpoint });
        assert_eq!(before.tile_batch, Sourced::default(Some(RunSettings::default().micro_batch as u64)));
        for change in [
            Assume::Dtype(Some(Dtype::F16)),
            Assume::InFlight(4),
            Assume::TileBatch(ALL_AT_ONCE),
            Assume::Logits(Some(Logits::All)),
        ] {
            change.apply(&mut choices, &mut elsewhere);
        }
        let after = assumptions(&choices, &elsewhere, Dtype::Bf16, false);
        assert_eq!(after.dtype, Sourced::chosen(Dtype::F16));
        assert_eq!((after.in_flight.value, after.tile_batch), (4, Sourced::chosen(None)));
        assert_eq!(after.logits, Sourced::chosen(Logits::All));
        Assume::Defaults.apply(&mut choices, &mut elsewhere);
        assert_eq!(assumptions(&choices, &elsewhere, Dtype::Bf16, false), before);
    }

    #[test]
    fn a_fix_brings_only_what_it_chose() {
        let (mut choices, mut elsewhere) = (Choices::default(), Elsewhere::default());
        let mut fix = assumptions(&choices, &elsewhere, Dtype::Bf16, false).as_released();
        fix.tile_batch = Sourced::chosen(Some(2));
        adopt(&fix, &mut choices, &mut elsewhere);
        assert_eq!(choices.settings.micro_batch, 2);
        assert_eq!(elsewhere, Elsewhere::default(), "habits of other software are not the person's choice");
        assert_eq!(choices.settings.prefill_chunk, RunSettings::default().prefill_chunk);
    }
}
