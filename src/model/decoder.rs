//! One decoder layer for Llama, Qwen2, Qwen3, InternLM2, Phi3, Qwen3-MoE and GPT-OSS.
//!
//! Pre-norm attention and feed-forward with residuals; the families differ in how q, k and v are stored, in biases
//! and norms, and in the feed-forward part.

use candle_core::{D, DType, Device, Tensor};

use super::activation::{add, silu_mul};
use super::attention::{Mask, attention, attention_of_each};
use super::cache::LayerCache;
use super::experts::Experts;
use super::host::{Factors, Kernel};
use super::linear::Linear;
use super::norm::Norm;
use super::rotary::Rotary;
use super::weights::UnitWeights;
use crate::Result;
use crate::checkpoint::{Backbone, DecoderConfig};

/// How q, k and v are stored.
#[derive(Debug, Clone)]
enum Projections {
    /// Three matrices.
    Apart([Linear; 3]),
    /// One matrix: all of q, then k, then v (Phi3).
    Fused(Linear),
    /// One matrix, a group a key head: its query heads, its key, its value (InternLM2).
    Grouped(Linear),
}

/// Self-attention of a layer.
#[derive(Debug, Clone)]
struct Attention {
    projections: Projections,
    qk_norm: Option<(Norm, Norm)>,
    sinks: Option<Tensor>,
    out: Linear,
    window: Option<usize>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    factors: Factors,
}

impl Attention {
    fn new(config: &DecoderConfig, layer: usize, weights: &UnitWeights<'_>) -> Result<Self> {
        let part = |name: &str| weights.linear(&format!("self_attn.{name}_proj"));
        let projections = match config.backbone {
            Backbone::InternLm2 => Projections::Grouped(weights.linear("attention.wqkv")?),
            Backbone::Phi3 => Projections::Fused(part("qkv")?),
            _ => Projections::Apart([part("q")?, part("k")?, part("v")?]),
        };
        let norm = |name: &str| Norm::rms(weights, &format!("self_attn.{name}_norm.weight"), config.eps);
        Ok(Self {
            projections,
            qk_norm: if config.qk_norm { Some((norm("q")?, norm("k")?)) } else { None },
            sinks: if config.sinks { Some(weights.tensor("self_attn.sinks")?) } else { None },
            out: part("o")?,
            window: config.windows.get(layer).copied().flatten(),
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            factors: weights.factors(),
        })
    }

    fn forward(&self, x: &Tensor, rows: &Rows<'_>) -> candle_core::Result<Tensor> {
        let [mut q, mut k, v] = self.project(x, rows.kernel)?;
        if let Some((q_norm, k_norm)) = &self.qk_norm {
            (q, k) = (q_norm.forward(&q)?, k_norm.forward(&k)?);
        }
        let (q, k) = (rows.rotary.apply(&q)?, rows.rotary.apply(&k)?);
        let mask = Mask { causal: true, window: self.window };
        let mut from = 0;
        let mut sequences = Vec::with_capacity(rows.spans.len());
        for span in &rows.spans {
            let part = |all: &Tensor| all.narrow(1, from, span.count);
            sequences.push(span.cache.extend(span.first, &part(&k)?, &part(&v)?)?);
            from += span.count;
        }
        let attended = match rows.kernel {
            Kernel::Few => attention_of_each(&q, &sequences, mask, self.sinks.as_ref())?,
            Kernel::Many => {
                let mut from = 0;
                let mut parts = Vec::with_capacity(rows.spans.len());
                for (span, (keys, values)) in rows.spans.iter().zip(&sequences) {
                    let q = q.narrow(1, from, span.count)?.transpose(1, 2)?;
                    parts.push(attention(&q, keys, values, mask, self.sinks.as_ref(), self.factors)?);
                    from += span.count;
                }
                match parts.len() {
                    1 => parts.swap_remove(0),
                    _ => Tensor::cat(&parts, 1)?,
                }
            }
        };
        self.out.forward(&attended, rows.kernel)
    }

    /// q, k and v as `[1, positions, heads, d]`.
    fn project(&self, x: &Tensor, kernel: Kernel) -> candle_core::Result<[Tensor; 3]> {
        let (batch, positions, _) = x.dims3()?;
        let (heads, kv_heads, d) = (self.heads, self.kv_heads, self.head_dim);
        match &self.projections {
            Projections::Apart([q, k, v]) => {
                let [q, k, v] = Linear::forward_all([q, k, v], x, kernel)?;
                Ok([
                    q.reshape((batch, positions, heads, d))?,
                    k.reshape((batch, positions, kv_heads, d))?,
                    v.reshape((batch, positions, kv_heads, d))?,
                ])
            }
            Projections::Fused(qkv) => {
                let all = qkv.forward(x, kernel)?.reshape((batch, positions, heads + 2 * kv_heads, d))?;
                Ok([
                    all.narrow(2, 0, heads)?,
                    all.narrow(2, heads, kv_heads)?,
                    all.narrow(2, heads + kv_heads, kv_heads)?,
                ])
            }
            Projections::Grouped(qkv) => {
                let group = heads / kv_heads;
                let all = qkv.forward(x, kernel)?.reshape(&[batch, positions, kv_heads, group + 2, d])?;
                Ok([
                    all.narrow(3, 0, group)?.reshape((batch, positions, heads, d))?,
                    all.narrow(3, group, 1)?.squeeze(3)?,
                    all.narrow(3, group + 1, 1)?.squeeze(3)?,
                ])
            }
        }
    }
}

/// What follows attention in a layer.
#[derive(Debug, Clone)]
enum FeedForward {
    /// `down(silu(gate) * up)`.
    Gated { gate: Linear, up: Linear, down: Linear },
    /// The same with gate and up in one matrix, gate first (Phi3).
    FusedGated { gate_up: Linear, down: Linear },
    /// A few of many experts a token.
    Experts(Box<Experts>),
}

impl FeedForward {
    fn new(config: &DecoderConfig, weights: &UnitWeights<'_>) -> Result<Self> {
        let part = |name: &str| weights.linear(&format!("mlp.{name}_proj"));
        Ok(match (&config.moe, config.backbone) {
            (Some(moe), backbone) => Self::Experts(Box::new(Experts::new(moe, backbone, weights)?)),
            (None, Backbone::Phi3) => Self::FusedGated { gate_up: part("gate_up")?, down: part("down")? },
            (None, _) => Self::Gated { gate: part("gate")?, up: part("up")?, down: part("down")? },
        })
    }

    fn forward(&self, x: &Tensor, kernel: Kernel) -> candle_core::Result<Tensor> {
        match self {
            Self::Gated { gate, up, down } => {
                let [gate, up] = Linear::forward_all([gate, up], x, kernel)?;
                let hidden = silu_mul(gate, &up)?;
                // Its memory is needed again.
                drop(up);
                down.forward(&hidden, kernel)
            }
            Self::FusedGated { gate_up, down } => {
                let both = gate_up.forward(x, kernel)?.chunk(2, D::Minus1)?;
                down.forward(&silu_mul(both[0].force_contiguous()?, &both[1].contiguous()?)?, kernel)
            }
            Self::Experts(experts) => experts.forward(x, kernel),
        }
    }
}

/// What a decoder layer knows of the rows that it is given.
pub struct Rows<'a> {
    /// Whether they are parts of prompts or tokens of answers.
    pub kernel: Kernel,
    /// Cosines and sines, row by row.
    pub rotary: &'a Rotary,
    /// Whose rows they are, in order; a single row each where they are tokens of answers.
    pub spans: Vec<LayerSpan<'a>>,
}

/// Consecutive rows of one question.
pub struct LayerSpan<'a> {
    /// The question's keys and values in this layer.
    pub cache: &'a LayerCache,
    /// Position of the first row.
    pub first: usize,
    /// How many rows.
    pub count: usize,
}

/// A decoder layer on the device of its weights.
#[derive(Debug, Clone)]
pub struct DecoderLayer {
    input_norm: Norm,
    attention: Attention,
    post_norm: Norm,
    feed_forward: FeedForward,
    device: Device,
    dtype: DType,
}

impl DecoderLayer {
    /// Loads layer `index`.
    ///
    /// # Errors
    /// As [`UnitWeights::tensor`].
    pub fn new(config: &DecoderConfig, index: usize, weights: &UnitWeights<'_>) -> Result<Self> {
        Ok(Self {
            input_norm: Norm::rms(weights, "input_layernorm.weight", config.eps)?,
            attention: Attention::new(config, index, weights)?,
            post_norm: Norm::rms(weights, "post_attention_layernorm.weight", config.eps)?,
            feed_forward: FeedForward::new(config, weights)?,
            device: weights.device.clone(),
            dtype: weights.compute_dtype(),
        })
    }

    /// `[1, rows, hidden]` to the same.
    ///
    /// # Errors
    /// Shapes or devices that do not fit together, or no memory.
    pub fn forward(&self, x: &Tensor, rows: &Rows<'_>) -> candle_core::Result<Tensor> {
        let x = x.to_device(&self.device)?;
        let x = add(self.attention.forward(&self.input_norm.forward(&x)?, rows)?, &x)?;
        add(self.feed_forward.forward(&self.post_norm.forward(&x)?, rows.kernel)?, &x)
    }

    /// Where its weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Type it computes in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }
}
