//! The numbers of a model that decide its size: vision tower, projector, decoder; and the units they make.
//!
//! Shapes and names follow OpenGVLab/InternVL (`modeling_intern_vit.py`, `modeling_internvl_chat.py`) and the decoders'
//! own files in transformers; the activation coefficients are counted from those forward passes.

mod tensors;

use std::sync::Arc;

use super::assumptions::Dtype;
use super::naming::Naming;
use super::unit::{Buffer, Tensor, Transient, Unit, UnitKind};
use crate::{Problem, Result};

/// A vision tower.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisionShape {
    /// Blocks.
    pub layers: u64,
    /// Width.
    pub hidden: u64,
    /// Attention heads.
    pub heads: u64,
    /// Width of the feed-forward part.
    pub ff: u64,
    /// Positions of a tile, class token included.
    pub positions: u64,
    /// Side of a tile in pixels.
    pub image_size: u64,
    /// Side of a patch in pixels.
    pub patch_size: u64,
    /// Frames folded into one patch (2 for Qwen-VL towers).
    #[serde(default = "one")]
    pub frames: u64,
    /// Bias in the query, key and value projections.
    #[serde(default)]
    pub qkv_bias: bool,
    /// Norm over the whole width of queries and keys.
    #[serde(default)]
    pub qk_norm: bool,
    /// Layer norm with a bias, else root-mean-square norm.
    #[serde(default)]
    pub norm_bias: bool,
    /// A gated feed-forward part of three matrices.
    #[serde(default)]
    pub gated: bool,
    /// Per-channel scales of both branches.
    #[serde(default)]
    pub layer_scale: bool,
    /// A learned class token.
    #[serde(default)]
    pub class_token: bool,
    /// Rows of a learned position table.
    #[serde(default)]
    pub position_table: u64,
    /// Elements besides (norms before and after the blocks), counted with the embeddings.
    #[serde(default)]
    pub extra: u64,
}

/// From vision features to token embeddings.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectorShape {
    /// Length of the norm before it (with bias).
    pub norm: u64,
    /// Input width.
    pub input: u64,
    /// Width between the two linear layers.
    pub middle: u64,
    /// Further elements (mergers for deeper features), held but not on the main path.
    #[serde(default)]
    pub extra: u64,
}

/// How a decoder's weights are named and fused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecoderStyle {
    /// Separate projections (Llama, Qwen).
    #[default]
    Llama,
    /// Fused `wqkv`, names of InternLM2.
    Internlm2,
    /// Fused `qkv_proj` and `gate_up_proj`.
    Phi3,
    /// Biases, sinks and input-major experts.
    GptOss,
}

/// Latent attention (DeepSeek): keys and values are kept compressed.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentAttention {
    /// Rank of the query compression; zero for none.
    pub q_rank: u64,
    /// Rank of the key and value compression; what the cache keeps, with the rotary part.
    pub kv_rank: u64,
    /// Width of a head without rotation.
    pub nope: u64,
    /// Width of the rotated part.
    pub rope: u64,
    /// Width of a head's values.
    pub value: u64,
}

/// A mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertsShape {
    /// Experts of a layer.
    pub count: u64,
    /// Experts a token visits.
    pub active: u64,
    /// Width of one expert.
    pub ff: u64,
    /// Width of the expert every token visits; zero for none.
    #[serde(default)]
    pub shared_ff: u64,
    /// Leading layers without experts.
    #[serde(default)]
    pub dense_layers: u64,
}

/// Sliding attention in some layers.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlidingShape {
    /// Tokens a sliding layer looks back.
    pub window: u64,
    /// Every so many layers one looks at everything; the others slide. 1: none slides.
    pub period: u64,
}

/// A language model.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderShape {
    /// Width.
    pub hidden: u64,
    /// Layers.
    pub layers: u64,
    /// Query heads.
    pub heads: u64,
    /// Key and value heads.
    pub kv_heads: u64,
    /// Width of a head.
    pub head_dim: u64,
    /// Width of the feed-forward part (of dense layers).
    pub ff: u64,
    /// Rows of the vocabulary.
    pub vocab: u64,
    /// Whether the head shares the token embedding.
    #[serde(default)]
    pub tied: bool,
    /// Bias in the query, key and value projections.
    #[serde(default)]
    pub qkv_bias: bool,
    /// Bias in the output projection.
    #[serde(default)]
    pub output_bias: bool,
    /// Norms of the width of a head on queries and keys.
    #[serde(default)]
    pub qk_norm: bool,
    /// Naming and fusing.
    #[serde(default)]
    pub style: DecoderStyle,
    /// Mixture of experts.
    #[serde(default)]
    pub experts: Option<ExpertsShape>,
    /// Latent attention.
    #[serde(default)]
    pub latent: Option<LatentAttention>,
    /// Sliding attention.
    #[serde(default)]
    pub sliding: Option<SlidingShape>,
}

/// Everything that decides a model's size.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelShape {
    /// The model's name.
    pub name: String,
    /// Vision tower and projector; none for a plain language model.
    pub vision: Option<(VisionShape, ProjectorShape)>,
    /// Language model.
    pub decoder: DecoderShape,
    /// Image tokens a tile.
    pub tokens_per_tile: u64,
    /// Most tiles of an image without its thumbnail.
    pub max_tiles: u64,
    /// Positions the decoder was made for.
    pub positions: Option<u64>,
    /// Format of the weights in the files.
    pub stored: Dtype,
    /// Module names.
    pub naming: Naming,
    /// Whether Shardscope can run it, or only plan it by its shape.
    pub runnable: bool,
}

fn one() -> u64 {
    1
}

/// Most blocks or layers that a plan accepts; the largest published models have a few hundred.
pub const MAX_LAYERS: u64 = 20_000;

impl ModelShape {
    /// Refuses shapes that cannot be a model: no layers, no width, or more layers than could be listed.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: String| Err(Problem::new(what).at(format!("the configuration of {}", self.name)));
        let d = &self.decoder;
        for (value, what) in [
            (d.layers, "layers"),
            (d.hidden, "hidden size"),
            (d.heads, "attention heads"),
            (d.vocab, "vocabulary"),
        ] {
            if value == 0 {
                return refuse(format!("the language model has no {what}"));
            }
        }
        let blocks = self.vision.as_ref().map_or(0, |(vision, _)| vision.layers);
        if d.layers > MAX_LAYERS || blocks > MAX_LAYERS {
            return refuse(format!(
                "it states {} decoder layers and {blocks} vision blocks; more than {MAX_LAYERS} cannot be right",
                d.layers
            ));
        }
        Ok(())
    }

    /// Its units in execution order and the buffers that must be covered besides; weights are filled in by
    /// [`super::Model::new`].
    pub fn units(&self) -> (Vec<Unit>, Vec<Buffer>) {
        let mut units = Vec::new();
        let mut push = |kind: UnitKind, tensors: Arc<[Tensor]>, transient: Transient| {
            let name = self.naming.of(kind);
            units.push(Unit {
                name,
                kind,
                weight_bytes: 0,
                kv_bytes_per_token: 0,
                kv_window: None,
                transient,
                tied_with: None,
                tensors,
            });
            units.len() - 1
        };
        let decoder = &self.decoder;
        if let Some((vision, projector)) = &self.vision {
            push(UnitKind::VisionEmbeddings, vision.embedding_tensors(), vision.embedding_transient());
            let block = vision.block_tensors();
            for index in 0..vision.layers.min(MAX_LAYERS) as usize {
                push(UnitKind::VisionBlock(index), block.clone(), vision.block_transient());
            }
            push(
                UnitKind::Projector,
                projector.tensors(decoder.hidden),
                Transient {
                    per_tile_at_once: self.tokens_per_tile.saturating_mul(
                        projector.input.saturating_mul(2).saturating_add(projector.middle.saturating_mul(3)),
                    ),
                    per_tile: self.tokens_per_tile.saturating_mul(decoder.hidden),
                    ..Transient::default()
                },
            );
        }
        let embedding = push(
            UnitKind::TokenEmbedding,
            [Tensor::matrix("weight", decoder.vocab, decoder.hidden)].into(),
            Transient { per_token_at_once: decoder.hidden.saturating_mul(2), ..Transient::default() },
        );
        let (dense, sparse) = (decoder.layer_tensors(false), decoder.layer_tensors(true));
        let mut layers = Vec::new();
        for index in 0..decoder.layers.min(MAX_LAYERS) {
            let has_experts = decoder.experts.is_some_and(|e| index >= e.dense_layers);
            let tensors = if has_experts { sparse.clone() } else { dense.clone() };
            layers.push(push(UnitKind::Layer(index as usize), tensors, decoder.layer_transient(has_experts)));
        }
        push(
            UnitKind::FinalNorm,
            [Tensor::vector("weight", decoder.hidden)].into(),
            Transient { per_token_at_once: decoder.hidden, ..Transient::default() },
        );
        let head = push(
            UnitKind::Head,
            [Tensor::weight("weight", decoder.vocab, decoder.hidden)].into(),
            Transient {
                bytes: decoder.vocab.saturating_mul(4),
                // Half precision and 32-bit copies, and three hidden states that are held meanwhile: the tiles'
                // features, the body's input and its output.
                bytes_per_logit_row: decoder
                    .vocab
                    .saturating_mul(6)
                    .saturating_add(decoder.hidden.saturating_mul(6)),
                ..Transient::default()
            },
        );
        for (index, &unit) in layers.iter().enumerate() {
            units[unit].kv_bytes_per_token = decoder.kv_elements_per_token();
            units[unit].kv_window = decoder
                .sliding
                .filter(|s| s.period > 1 && !(index as u64 + 1).is_multiple_of(s.period))
                .map(|s| s.window);
        }
        if decoder.tied {
            units[head].tied_with = Some(embedding);
        }
        let rotary = self
            .naming
            .rotary
            .iter()
            .map(|name| Buffer { name: name.clone(), bytes: decoder.head_dim.div_ceil(2).saturating_mul(4) });
        (units, rotary.collect())
    }
}
