//! The tensors of a shape's units, and what they need for a moment.

use std::sync::Arc;

use super::{DecoderShape, DecoderStyle, ProjectorShape, VisionShape};
use crate::plan::unit::{Tensor, Transient};

impl VisionShape {
    pub(super) fn embedding_tensors(&self) -> Arc<[Tensor]> {
        let mut tensors = Vec::new();
        if self.class_token {
            tensors.push(Tensor::vector("class_embedding", self.hidden));
        }
        if self.position_table > 0 {
            tensors.push(Tensor::matrix("position_embedding", self.position_table, self.hidden));
        }
        let pixels =
            self.patch_size.saturating_mul(self.patch_size).saturating_mul(3).saturating_mul(self.frames);
        tensors.push(Tensor::matrix("patch_embedding.weight", self.hidden, pixels));
        tensors.push(Tensor::vector("patch_embedding.bias", self.hidden));
        if self.extra > 0 {
            tensors.push(Tensor::vector("norms", self.extra));
        }
        tensors.into()
    }

    pub(super) fn block_tensors(&self) -> Arc<[Tensor]> {
        let (c, ff) = (self.hidden, self.ff);
        let mut tensors = vec![Tensor::matrix("attn.qkv.weight", c.saturating_mul(3), c)];
        if self.qkv_bias {
            tensors.push(Tensor::vector("attn.qkv.bias", c.saturating_mul(3)));
        }
        tensors.push(Tensor::matrix("attn.proj.weight", c, c));
        tensors.push(Tensor::vector("attn.proj.bias", c));
        if self.qk_norm {
            tensors.push(Tensor::vector("attn.q_norm.weight", c));
            tensors.push(Tensor::vector("attn.k_norm.weight", c));
        }
        let linears: &[(&str, u64, u64)] = if self.gated {
            &[("mlp.gate_proj", ff, c), ("mlp.up_proj", ff, c), ("mlp.down_proj", c, ff)]
        } else {
            &[("mlp.fc1", ff, c), ("mlp.fc2", c, ff)]
        };
        for &(name, rows, columns) in linears {
            tensors.push(Tensor::matrix(format!("{name}.weight"), rows, columns));
            tensors.push(Tensor::vector(format!("{name}.bias"), rows));
        }
        for norm in ["norm1", "norm2"] {
            tensors.push(Tensor::vector(format!("{norm}.weight"), c));
            if self.norm_bias {
                tensors.push(Tensor::vector(format!("{norm}.bias"), c));
            }
        }
        if self.layer_scale {
            tensors.push(Tensor::vector("ls1", c));
            tensors.push(Tensor::vector("ls2", c));
        }
        tensors.into()
    }

    /// Pixels (as 32-bit floats, hence twice two bytes) and the first hidden state.
    pub(super) fn embedding_transient(&self) -> Transient {
        let pixels =
            self.image_size.saturating_mul(self.image_size).saturating_mul(3).saturating_mul(self.frames);
        let hidden = self.positions.saturating_mul(self.hidden);
        Transient {
            per_tile_at_once: pixels.saturating_mul(2).saturating_add(hidden.saturating_mul(2)),
            ..Transient::default()
        }
    }

    /// Residual, normed input, queries, keys and values, and the feed-forward part's middle; plus scores where the
    /// attention kind keeps them.
    pub(super) fn block_transient(&self) -> Transient {
        let middle = if self.gated { self.ff.saturating_mul(2) } else { self.ff };
        Transient {
            per_tile_at_once: self
                .positions
                .saturating_mul(middle.saturating_add(self.hidden.saturating_mul(5))),
            vision_heads: self.heads,
            vision_positions: self.positions,
            ..Transient::default()
        }
    }
}

impl ProjectorShape {
    pub(super) fn tensors(&self, hidden: u64) -> Arc<[Tensor]> {
        let mut tensors = vec![
            Tensor::vector("0.weight", self.norm),
            Tensor::vector("0.bias", self.norm),
            Tensor::matrix("1.weight", self.middle, self.input),
            Tensor::vector("1.bias", self.middle),
            Tensor::matrix("3.weight", hidden, self.middle),
            Tensor::vector("3.bias", hidden),
        ];
        if self.extra > 0 {
            tensors.push(Tensor::vector("deeper", self.extra));
        }
        tensors.into()
    }
}

impl DecoderShape {
    /// Elements of keys and values a token and layer.
    pub fn kv_elements_per_token(&self) -> u64 {
        match self.latent {
            Some(latent) => latent.kv_rank.saturating_add(latent.rope),
            None => self.kv_heads.saturating_mul(self.head_dim).saturating_mul(2),
        }
    }

    fn attention_width(&self) -> u64 {
        match self.latent {
            Some(latent) => self.heads.saturating_mul(latent.nope.saturating_add(latent.rope)),
            None => self.heads.saturating_mul(self.head_dim),
        }
    }

    /// Four hidden states (input, normed, output and the one handed over), and the larger of attention (queries, output
    /// and the keys and values spread over all heads) and feed-forward (gate, up and their product).
    pub(super) fn layer_transient(&self, has_experts: bool) -> Transient {
        let middle = match self.experts {
            Some(e) if has_experts => e.active.saturating_mul(e.ff).saturating_add(e.shared_ff),
            _ => self.ff,
        };
        let widest = self.attention_width().saturating_mul(4).max(middle.saturating_mul(3));
        Transient {
            per_token_at_once: self.hidden.saturating_mul(4).saturating_add(widest),
            heads: self.heads,
            ..Transient::default()
        }
    }

    pub(super) fn layer_tensors(&self, sparse: bool) -> Arc<[Tensor]> {
        let mut tensors = Vec::new();
        self.attention_tensors(&mut tensors);
        self.feed_forward_tensors(sparse, &mut tensors);
        let norms = match self.style {
            DecoderStyle::Internlm2 => ["attention_norm.weight", "ffn_norm.weight"],
            _ => ["input_layernorm.weight", "post_attention_layernorm.weight"],
        };
        tensors.extend(norms.map(|name| Tensor::vector(name, self.hidden)));
        tensors.into()
    }

    pub(super) fn attention_tensors(&self, tensors: &mut Vec<Tensor>) {
        let h = self.hidden;
        let (q, kv) = (self.heads.saturating_mul(self.head_dim), self.kv_heads.saturating_mul(self.head_dim));
        if let Some(l) = self.latent {
            let width = self.heads.saturating_mul(l.nope.saturating_add(l.rope));
            if l.q_rank > 0 {
                tensors.push(Tensor::weight("self_attn.q_a_proj.weight", l.q_rank, h));
                tensors.push(Tensor::vector("self_attn.q_a_layernorm.weight", l.q_rank));
                tensors.push(Tensor::weight("self_attn.q_b_proj.weight", width, l.q_rank));
            } else {
                tensors.push(Tensor::weight("self_attn.q_proj.weight", width, h));
            }
            tensors.push(Tensor::weight(
                "self_attn.kv_a_proj_with_mqa.weight",
                l.kv_rank.saturating_add(l.rope),
                h,
            ));
            tensors.push(Tensor::vector("self_attn.kv_a_layernorm.weight", l.kv_rank));
            let spread = self.heads.saturating_mul(l.nope.saturating_add(l.value));
            tensors.push(Tensor::weight("self_attn.kv_b_proj.weight", spread, l.kv_rank));
            tensors.push(Tensor::weight("self_attn.o_proj.weight", h, self.heads.saturating_mul(l.value)));
            return;
        }
        match self.style {
            DecoderStyle::Internlm2 => {
                tensors.push(Tensor::weight(
                    "attention.wqkv.weight",
                    q.saturating_add(kv.saturating_mul(2)),
                    h,
                ));
                tensors.push(Tensor::weight("attention.wo.weight", h, q));
                return;
            }
            DecoderStyle::Phi3 => {
                let rows = q.saturating_add(kv.saturating_mul(2));
                tensors.push(Tensor::weight("self_attn.qkv_proj.weight", rows, h));
                tensors.push(Tensor::weight("self_attn.o_proj.weight", h, q));
                return;
            }
            DecoderStyle::GptOss => tensors.push(Tensor::vector("self_attn.sinks", self.heads)),
            DecoderStyle::Llama => {}
        }
        for (name, rows) in [("q_proj", q), ("k_proj", kv), ("v_proj", kv)] {
            tensors.push(Tensor::weight(format!("self_attn.{name}.weight"), rows, h));
            if self.qkv_bias {
                tensors.push(Tensor::vector(format!("self_attn.{name}.bias"), rows));
            }
        }
        tensors.push(Tensor::weight("self_attn.o_proj.weight", h, q));
        if self.output_bias {
            tensors.push(Tensor::vector("self_attn.o_proj.bias", h));
        }
        if self.qk_norm {
            tensors.push(Tensor::vector("self_attn.q_norm.weight", self.head_dim));
            tensors.push(Tensor::vector("self_attn.k_norm.weight", self.head_dim));
        }
    }

    pub(super) fn feed_forward_tensors(&self, sparse: bool, tensors: &mut Vec<Tensor>) {
        let h = self.hidden;
        let gated = |path: &str, ff: u64, repeat: u64| {
            [("gate_proj", ff, h), ("up_proj", ff, h), ("down_proj", h, ff)].map(|(name, rows, columns)| {
                Tensor { repeat, ..Tensor::weight(format!("{path}.{name}.weight"), rows, columns) }
            })
        };
        let Some(experts) = self.experts.filter(|_| sparse) else {
            match self.style {
                DecoderStyle::Internlm2 => {
                    for (name, rows, columns) in [("w1", self.ff, h), ("w3", self.ff, h), ("w2", h, self.ff)]
                    {
                        tensors.push(Tensor::weight(format!("feed_forward.{name}.weight"), rows, columns));
                    }
                }
                DecoderStyle::Phi3 => {
                    tensors.push(Tensor::weight("mlp.gate_up_proj.weight", self.ff.saturating_mul(2), h));
                    tensors.push(Tensor::weight("mlp.down_proj.weight", h, self.ff));
                }
                _ => tensors.extend(gated("mlp", self.ff, 1)),
            }
            return;
        };
        if self.style == DecoderStyle::GptOss {
            let (e, ff) = (experts.count, experts.ff);
            tensors.push(Tensor::matrix("mlp.router.weight", e, h));
            tensors.push(Tensor::vector("mlp.router.bias", e));
            tensors.push(Tensor::weight(
                "mlp.experts.gate_up_proj",
                e.saturating_mul(h),
                ff.saturating_mul(2),
            ));
            tensors.push(Tensor::matrix("mlp.experts.gate_up_proj_bias", e, ff.saturating_mul(2)));
            tensors.push(Tensor::weight("mlp.experts.down_proj", e.saturating_mul(ff), h));
            tensors.push(Tensor::matrix("mlp.experts.down_proj_bias", e, h));
            return;
        }
        tensors.push(Tensor::matrix("mlp.gate.weight", experts.count, h));
        tensors.extend(gated("mlp.experts.{}", experts.ff, experts.count));
        if experts.shared_ff > 0 {
            tensors.extend(gated("mlp.shared_experts", experts.shared_ff, 1));
        }
    }
}
