//! Normalisation layers.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::host::simd;
use super::linear::{contiguous_f32, filled};
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
        let on_host = matches!(x.device(), Device::Cpu) && x.dtype() == DType::F32;
        match (&self.bias, on_host) {
            (Some(bias), true) => x.apply_op3_no_bwd(&self.weight, bias, &OnHost { eps: self.eps }),
            (None, true) => x.apply_op2_no_bwd(&self.weight, &OnHost { eps: self.eps }),
            (Some(bias), false) => candle_nn::ops::layer_norm(&x, &self.weight, bias, self.eps),
            (None, false) => candle_nn::ops::rms_norm(&x, &self.weight, self.eps),
        }
    }
}

/// Norms of the rows of a contiguous tensor on the CPU: a LayerNorm with weight and bias, an RMSNorm with a weight.
struct OnHost {
    eps: f32,
}

/// Numbers that one thread handles at a time.
const CHUNK: usize = 1 << 14;

impl OnHost {
    fn rows(
        x: (&CpuStorage, &Layout),
        width: usize,
        norm: impl Fn(&[f32], &mut [MaybeUninit<f32>]) + Sync,
    ) -> Result<(CpuStorage, Shape)> {
        let (values, shape) = (contiguous_f32(x.0, x.1)?, x.1.shape().clone());
        if width == 0 || x.1.dims().last() != Some(&width) {
            candle_core::bail!("a norm of width {width} over {shape:?}");
        }
        let chunk = CHUNK.div_ceil(width) * width;
        let each = |(y, x): (&mut [MaybeUninit<f32>], &[f32])| {
            y.chunks_exact_mut(width).zip(x.chunks_exact(width)).for_each(|(y, x)| norm(x, y));
        };
        // SAFETY: the rows cover all numbers, and a norm writes its whole row.
        let normed = unsafe {
            filled(values.len(), |y| match values.len() <= chunk {
                true => each((y, values)),
                false => y.par_chunks_mut(chunk).zip(values.par_chunks(chunk)).for_each(each),
            })
        };
        Ok((CpuStorage::F32(normed), shape))
    }
}

impl CustomOp2 for OnHost {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let weight = contiguous_f32(weight, weight_layout)?;
        Self::rows((x, x_layout), weight.len(), |x, y| simd::rms_norm(x, weight, self.eps, y))
    }
}

impl CustomOp3 for OnHost {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (weight, bias) = (contiguous_f32(weight, weight_layout)?, contiguous_f32(bias, bias_layout)?);
        if weight.len() != bias.len() {
            candle_core::bail!("a norm with {weight_layout:?} and {bias_layout:?}");
        }
        Self::rows((x, x_layout), weight.len(), |x, y| simd::layer_norm(x, weight, bias, self.eps, y))
    }
}
