//! Normalisation layers.

use candle_core::{Result, Tensor};

use super::weights::UnitWeights;
use crate::checkpoint::NormKind;

/// Normalises the last dimension.
#[derive(Debug, Clone)]
pub struct Norm {
    weight: Tensor,
    bias: Option<Tensor>,
    eps: f32,
}

impl Norm {
    /// RMSNorm: `x / sqrt(mean(x^2) + eps) * weight`.
    ///
    /// # Errors
    /// As [`UnitWeights::tensor`].
    pub fn rms(weights: &UnitWeights<'_>, name: &str, eps: f64) -> crate::Result<Self> {
        Ok(Self { weight: weights.tensor(name)?, bias: None, eps: eps as f32 })
    }

    /// LayerNorm with weight and bias, or RMSNorm, as the vision tower asks.
    ///
    /// # Errors
    /// As [`UnitWeights::tensor`].
    pub fn new(weights: &UnitWeights<'_>, name: &str, kind: NormKind, eps: f64) -> crate::Result<Self> {
        let bias = match kind {
            NormKind::LayerNorm => Some(weights.tensor(&format!("{name}.bias"))?),
            NormKind::RmsNorm => None,
        };
        Ok(Self { weight: weights.tensor(&format!("{name}.weight"))?, bias, eps: eps as f32 })
    }

    /// Applies the norm.
    ///
    /// # Errors
    /// Shapes or devices that do not fit together.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.contiguous()?;
        match &self.bias {
            Some(bias) => candle_nn::ops::layer_norm(&x, &self.weight, bias, self.eps),
            None => candle_nn::ops::rms_norm(&x, &self.weight, self.eps),
        }
    }
}
