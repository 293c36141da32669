//! Mixture of experts: Qwen3-MoE and GPT-OSS.

use candle_core::{D, DType, Tensor};

use super::activation::silu_mul;
use super::host::Kernel;
use super::linear::Linear;
use super::weights::UnitWeights;
use crate::Result;
use crate::checkpoint::Backbone;
use crate::checkpoint::config::MoeConfig;

/// One expert.
#[derive(Debug, Clone)]
enum Expert {
    /// `down(silu(gate) * up)` (Qwen3-MoE).
    Gated { gate: Linear, up: Linear, down: Linear },
    /// Gate and up in alternating columns, both clamped, with a shifted up (GPT-OSS).
    Clamped { gate_up: Linear, down: Linear },
}

/// A router and its experts.
#[derive(Debug, Clone)]
pub struct Experts {
    router: Linear,
    experts: Vec<Expert>,
    config: MoeConfig,
}

impl Experts {
    /// Loads the experts of a layer.
    ///
    /// # Errors
    /// As [`UnitWeights::tensor`].
    pub fn new(config: &MoeConfig, backbone: Backbone, weights: &UnitWeights<'_>) -> Result<Self> {
        let expert = |e: usize| -> Result<Expert> {
            if backbone == Backbone::GptOss {
                let part = |name: &str| {
                    weights.expert(&format!("mlp.experts.{name}"), &format!("mlp.experts.{name}_bias"), e)
                };
                return Ok(Expert::Clamped { gate_up: part("gate_up_proj")?, down: part("down_proj")? });
            }
            let part = |name: &str| weights.linear(&format!("mlp.experts.{e}.{name}_proj"));
            Ok(Expert::Gated { gate: part("gate")?, up: part("up")?, down: part("down")? })
        };
        let router = if backbone == Backbone::GptOss { "mlp.router" } else { "mlp.gate" };
        Ok(Self {
            router: weights.linear(router)?,
            experts: (0..config.experts).map(expert).collect::<Result<_>>()?,
            config: config.clone(),
        })
    }

    /// `[1, positions, hidden]` to the same: every position through its `top_k` experts.
    ///
    /// # Errors
    /// Shapes or devices that do not fit together.
    pub fn forward(&self, x: &Tensor, kernel: Kernel) -> candle_core::Result<Tensor> {
        let (batch, positions, hidden) = x.dims3()?;
        let x = x.reshape((batch * positions, hidden))?;
        let logits = self.router.forward(&x, kernel)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        // Which positions each expert sees, and with what weight.
        let mut seen: Vec<(Vec<u32>, Vec<f32>)> = vec![Default::default(); self.experts.len()];
        for (position, row) in logits.iter().enumerate() {
            for (expert, weight) in self.choose(row) {
                seen[expert].0.push(position as u32);
                seen[expert].1.push(weight);
            }
        }
        let mut sum = x.zeros_like()?;
        for (expert, (positions, weights)) in self.experts.iter().zip(seen) {
            if positions.is_empty() {
                continue;
            }
            let count = positions.len();
            let rows = Tensor::from_vec(positions, count, x.device())?;
            let weights = Tensor::from_vec(weights, (count, 1), x.device())?.to_dtype(x.dtype())?;
            let out = self.apply(expert, &x.index_select(&rows, 0)?, kernel)?.broadcast_mul(&weights)?;
            sum = sum.index_add(&rows, &out, 0)?;
        }
        sum.reshape((batch, positions, hidden))
    }

    /// The `top_k` largest logits with their weights.
    fn choose(&self, logits: &[f32]) -> Vec<(usize, f32)> {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        let top = &order[..self.config.top_k.min(order.len())];
        let max = top.first().map_or(0.0, |e| logits[*e]);
        let share = |e: &usize| (logits[*e] - max).exp();
        let clamped = matches!(self.experts.first(), Some(Expert::Clamped { .. }));
        // A softmax over the chosen alone equals one over all, renormalised.
        let total: f32 = if clamped || self.config.renormalise {
            top.iter().map(share).sum()
        } else {
            (0..logits.len()).map(|e| share(&e)).sum()
        };
        top.iter().map(|e| (*e, share(e) / total)).collect()
    }

    fn apply(&self, expert: &Expert, x: &Tensor, kernel: Kernel) -> candle_core::Result<Tensor> {
        match expert {
            Expert::Gated { gate, up, down } => {
                let [gate, up] = Linear::forward_all([gate, up], x, kernel)?;
                let hidden = silu_mul(gate, &up)?;
                // Its memory is needed again.
                drop(up);
                down.forward(&hidden, kernel)
            }
            Expert::Clamped { gate_up, down } => {
                let both = gate_up.forward(x, kernel)?;
                let (rows, width) = both.dims2()?;
                let both = both.reshape((rows, width / 2, 2))?;
                let limit = self.config.swiglu_limit as f32;
                let gate = both.narrow(D::Minus1, 0, 1)?.squeeze(2)?.minimum(limit)?;
                let up = both.narrow(D::Minus1, 1, 1)?.squeeze(2)?.clamp(-limit, limit)?;
                let swish = (&gate * candle_nn::ops::sigmoid(&(&gate * self.config.swiglu_alpha)?)?)?;
                down.forward(&((up + 1.0)? * swish)?, kernel)
            }
        }
    }
}
