//! What a plan takes for granted, each with where it came from; every one can be changed.

use super::bytes;
use crate::{Problem, Result};

/// Number format of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// 16-bit floats with the range of 32-bit ones.
    Bf16,
    /// 16-bit floats.
    F16,
    /// Blocks of 32 weights: 32 bytes and a 2-byte scale (ggml `Q8_0`).
    #[serde(rename = "q8_0")]
    Q8_0,
    /// Super-blocks of 256 weights in 144 bytes (ggml `Q4_K`).
    Q4k,
    /// Blocks of 32 weights: 16 bytes and a 2-byte scale; the head in `Q8_0` (ggml `Q4_0`).
    #[serde(rename = "q4_0")]
    Q4_0,
}

impl Dtype {
    /// All formats, widest first.
    pub const ALL: [Dtype; 6] = [Dtype::F32, Dtype::Bf16, Dtype::F16, Dtype::Q8_0, Dtype::Q4_0, Dtype::Q4k];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::Bf16 => "bf16",
            Dtype::F16 => "f16",
            Dtype::Q8_0 => "q8_0",
            Dtype::Q4k => "q4k",
            Dtype::Q4_0 => "q4_0",
        }
    }

    /// Reads a name; accepts the spellings of torch and ggml.
    pub fn parse(text: &str) -> Result<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "f32" | "float32" | "torch.float32" | "float" => Ok(Dtype::F32),
            "bf16" | "bfloat16" | "torch.bfloat16" => Ok(Dtype::Bf16),
            "f16" | "float16" | "torch.float16" | "half" => Ok(Dtype::F16),
            "q8_0" | "q8" => Ok(Dtype::Q8_0),
            "q4k" | "q4_k" => Ok(Dtype::Q4k),
            "q4_0" => Ok(Dtype::Q4_0),
            _ => Err(Problem::new(format!("{text:?} is not a number format"))
                .fix("use f32, bf16, f16, q8_0, q4_0 or q4k")),
        }
    }

    /// Bytes of one element of what is computed with and cached (activations, keys and values, and every tensor that
    /// quantising leaves alone).
    pub fn element_bytes(self) -> u64 {
        match self {
            Dtype::F32 => 4,
            _ => 2,
        }
    }

    /// Bytes of a weight matrix of `rows` rows of `columns` in this format. Rows that do not divide into blocks stay in
    /// the next wider format that holds them, as ggml does: Q4_K falls back to Q8_0, and Q8_0 and Q4_0 to
    /// 16 bits.
    pub fn matrix_bytes(self, rows: u64, columns: u64) -> u64 {
        let elements = rows.saturating_mul(columns);
        match self {
            Dtype::Q4k if columns.is_multiple_of(256) => (elements / 256).saturating_mul(144),
            Dtype::Q4_0 if columns.is_multiple_of(32) => (elements / 32).saturating_mul(18),
            Dtype::Q8_0 | Dtype::Q4k if columns.is_multiple_of(32) => (elements / 32).saturating_mul(34),
            other => elements.saturating_mul(other.element_bytes()),
        }
    }

    /// The format of the head: `Q4_0` is too coarse for it, so that it is kept in `Q8_0` then.
    pub fn of_head(self) -> Self {
        if self == Dtype::Q4_0 { Dtype::Q8_0 } else { self }
    }

    /// Whether weights are kept in blocks.
    pub fn is_quantised(self) -> bool {
        matches!(self, Dtype::Q8_0 | Dtype::Q4_0 | Dtype::Q4k)
    }
}

/// How attention scores are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttentionKind {
    /// Scores never stand in memory as a matrix (flash, or rows streamed through a small buffer).
    Fused,
    /// Scores of so many query rows at once.
    Chunked(u64),
    /// The whole square of scores, as eager implementations keep it.
    Eager,
}

/// Which positions the head is computed for while the prompt is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Logits {
    /// Only the last one: a few hundred kilobytes.
    Last,
    /// All of them in half precision and again as 32-bit floats: 6 bytes a vocabulary entry and position.
    All,
}

/// Whose temporary memory is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// A GPU's: tensors in the format of the weights, half of them released as soon as they are used.
    #[default]
    Gpu,
    /// That of this engine on the CPU and on simulated devices, step by step (see `cpu_run`); so many threads.
    Cpu {
        /// Threads that share the work of a place.
        threads: u64,
    },
}

/// Bytes kept for questions to come: features of pictures, where the projector lies, and keys and values of prompts'
/// beginnings, where the layers lie. Both give way where a question needs the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Kept {
    /// Features of pictures.
    pub pictures: u64,
    /// Keys and values of prompts' beginnings, in all layers together.
    pub prompts: u64,
}

impl Kept {
    /// What Shardscope keeps at most.
    pub const USUAL: Self = Self { pictures: 64 << 20, prompts: 64 << 20 };

    /// An equal part of it for each of so many copies of a model.
    pub fn shared_among(self, copies: usize) -> Self {
        let copies = copies.max(1) as u64;
        Self { pictures: self.pictures / copies, prompts: self.prompts / copies }
    }

    /// Of both no more than in the other.
    pub fn at_most(self, other: Self) -> Self {
        Self { pictures: self.pictures.min(other.pictures), prompts: self.prompts.min(other.prompts) }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Shardscope's own default.
    Default,
    /// The habit of the software a preset layout comes from.
    Preset,
    /// Chosen by the user.
    Chosen,
    /// Read from the checkpoint.
    Checkpoint,
    /// Measured on this machine.
    Measured,
}

/// A value and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub source: Source,
}

impl<T> Sourced<T> {
    /// A default.
    pub fn default(value: T) -> Self {
        Self { value, source: Source::Default }
    }
    /// The habit of a preset's software.
    pub fn preset(value: T) -> Self {
        Self { value, source: Source::Preset }
    }
    /// The user's choice.
    pub fn chosen(value: T) -> Self {
        Self { value, source: Source::Chosen }
    }
}

/// Everything a plan takes for granted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Assumptions {
    /// Number format of the weights.
    pub dtype: Sourced<Dtype>,
    /// Questions in flight at once: each keeps its own keys and values.
    pub in_flight: Sourced<u64>,
    /// The longest answer allowed, in tokens.
    pub max_new_tokens: Sourced<u64>,
    /// Tiles that go through the vision tower together; none means all tiles of a question.
    pub tile_batch: Sourced<Option<u64>>,
    /// Prompt tokens that go through the decoder together; none means the whole prompt.
    pub prefill_chunk: Sourced<Option<u64>>,
    /// How attention scores are held.
    pub attention: Sourced<AttentionKind>,
    /// Which positions the head is computed for.
    pub logits: Sourced<Logits>,
    /// Driver overhead per GPU that replaces what the device says, in bytes.
    pub overhead: Sourced<Option<u64>>,
    /// Whether a simulated device stands for a card of that nominal size, of which a driver leaves about 1.5 percent less
    /// (39.4 GiB of a 40 GB A100).
    pub nominal_cards: Sourced<bool>,
    /// Whether the token embedding is kept twice when the head is tied to it and the two may part.
    pub duplicate_tied_head: Sourced<bool>,
    /// Whose temporary memory is counted.
    pub engine: Sourced<Engine>,
    /// What is kept for questions to come, at most.
    pub kept: Sourced<Kept>,
}

impl Default for Assumptions {
    /// How Shardscope runs: bf16, one question at a time, 4,096 tokens of answer (VLMEvalKit's limit for InternVL), the
    /// vision tower in batches of 8 tiles, the prompt at once, fused attention, logits of the last position.
    fn default() -> Self {
        Self {
            dtype: Sourced::default(Dtype::Bf16),
            in_flight: Sourced::default(1),
            max_new_tokens: Sourced::default(4096),
            tile_batch: Sourced::default(Some(8)),
            prefill_chunk: Sourced::default(None),
            attention: Sourced::default(AttentionKind::Fused),
            logits: Sourced::default(Logits::Last),
            overhead: Sourced::default(None),
            nominal_cards: Sourced::default(false),
            duplicate_tied_head: Sourced::default(false),
            engine: Sourced::default(Engine::Gpu),
            kept: Sourced::default(Kept::USUAL),
        }
    }
}

impl Assumptions {
    /// How the PyTorch code of the InternVL releases runs, given fused attention: all tiles of a question at once,
    /// logits of every position with their 32-bit copy (transformers up to 4.45, InternLM2 and Phi3 remote code to this
    /// day), nothing kept for questions to come, and a CUDA context on every card; a simulated device stands for a real
    /// card. Choices of the user stay.
    pub fn as_released(mut self) -> Self {
        fn set<T>(slot: &mut Sourced<T>, value: T) {
            if slot.source != Source::Chosen {
                *slot = Sourced::preset(value);
            }
        }
        set(&mut self.tile_batch, None);
        set(&mut self.prefill_chunk, None);
        set(&mut self.attention, AttentionKind::Fused);
        set(&mut self.logits, Logits::All);
        set(&mut self.overhead, Some(super::device::CUDA_OVERHEAD));
        set(&mut self.nominal_cards, true);
        set(&mut self.kept, Kept::default());
        self
    }

    /// One line each: name, value, source.
    pub fn lines(&self) -> Vec<(&'static str, String, Source)> {
        let every = |n: Option<u64>, all: &str| n.map_or_else(|| all.to_string(), |n| n.to_string());
        vec![
            ("dtype", self.dtype.value.name().to_string(), self.dtype.source),
            ("questions in flight", self.in_flight.value.to_string(), self.in_flight.source),
            ("longest answer", format!("{} tokens", self.max_new_tokens.value), self.max_new_tokens.source),
            ("tiles at once", every(self.tile_batch.value, "all"), self.tile_batch.source),
            ("prompt tokens at once", every(self.prefill_chunk.value, "all"), self.prefill_chunk.source),
            (
                "attention scores",
                match self.attention.value {
                    AttentionKind::Fused => "fused".to_string(),
                    AttentionKind::Chunked(rows) => format!("{rows} rows at once"),
                    AttentionKind::Eager => "whole matrix".to_string(),
                },
                self.attention.source,
            ),
            (
                "logits",
                match self.logits.value {
                    Logits::Last => "last position".to_string(),
                    Logits::All => "all positions".to_string(),
                },
                self.logits.source,
            ),
            (
                "kept for later",
                match self.kept.value {
                    Kept { pictures: 0, prompts: 0 } => "nothing".to_string(),
                    Kept { pictures, prompts } => {
                        format!("pictures {}, prompts {}", bytes::human(pictures), bytes::human(prompts))
                    }
                },
                self.kept.source,
            ),
            (
                "driver overhead",
                self.overhead.value.map_or_else(|| "per device".to_string(), bytes::human),
                self.overhead.source,
            ),
            (
                "temporary memory",
                match self.engine.value {
                    Engine::Gpu => "as on a GPU".to_string(),
                    Engine::Cpu { threads } => format!("as on the CPU with {threads} threads"),
                },
                self.engine.source,
            ),
            (
                "simulated memory",
                if self.nominal_cards.value { "as a card of that size leaves" } else { "exact" }.to_string(),
                self.nominal_cards.source,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_formats_count_their_overhead_and_fall_back() {
        assert_eq!(Dtype::Q8_0.matrix_bytes(2, 64), 2 * 2 * 34);
        assert_eq!(
            (Dtype::Q4_0.matrix_bytes(2, 96), Dtype::Q4_0.matrix_bytes(2, 33)),
            (2 * 3 * 18, 2 * 33 * 2)
        );
        assert_eq!(Dtype::Q4k.matrix_bytes(3, 512), 3 * 2 * 144);
        assert_eq!(Dtype::Q4k.matrix_bytes(3, 96), 3 * 3 * 34);
        assert_eq!(Dtype::Q4k.matrix_bytes(3, 33), 3 * 33 * 2);
        assert_eq!(Dtype::F32.matrix_bytes(3, 33), 3 * 33 * 4);
    }

    #[test]
    fn released_habits_never_replace_a_choice() {
        let mut chosen = Assumptions::default();
        chosen.tile_batch = Sourced::chosen(Some(4));
        let released = chosen.as_released();
        assert_eq!(released.tile_batch, Sourced::chosen(Some(4)));
        assert_eq!(released.logits, Sourced::preset(Logits::All));
    }
}
