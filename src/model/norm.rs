//! Normalisation layers.

use std::mem::MaybeUninit;
use std::ops::Deref;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Storage, Tensor};
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
        match &self.bias {
            _ if on_host => x.apply_op1_no_bwd(&OnHost(self)),
            Some(bias) => candle_nn::ops::layer_norm(&x, &self.weight, bias, self.eps),
            None => candle_nn::ops::rms_norm(&x, &self.weight, self.eps),
        }
    }
}

/// The norm of the rows of a contiguous tensor on the CPU.
struct OnHost<'a>(&'a Norm);

/// Numbers that one thread handles at a time.
const CHUNK: usize = 1 << 14;

impl CustomOp1 for OnHost<'_> {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Norm { weight, bias, eps } = self.0;
        let held = weight.storage_and_layout();
        let weight = numbers(&held)?;
        let held = bias.as_ref().map(Tensor::storage_and_layout);
        let bias = held.as_ref().map(numbers).transpose()?;
        let (values, width) = (contiguous_f32(x, layout)?, weight.len());
        if width == 0 || layout.dims().last() != Some(&width) || bias.is_some_and(|bias| bias.len() != width)
        {
            candle_core::bail!("a norm of width {width} over {layout:?}");
        }
        let chunk = CHUNK.div_ceil(width) * width;
        let each = |(y, x): (&mut [MaybeUninit<f32>], &[f32])| {
            for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                match bias {
                    Some(bias) => simd::layer_norm(x, weight, bias, *eps, y),
                    None => simd::rms_norm(x, weight, *eps, y),
                }
            }
        };
        // SAFETY: the rows cover all numbers, and a norm writes its whole row.
        let normed = unsafe {
            filled(values.len(), |y| match values.len() <= chunk {
                true => each((y, values)),
                false => y.par_chunks_mut(chunk).zip(values.par_chunks(chunk)).for_each(each),
            })
        };
        Ok((CpuStorage::F32(normed), layout.shape().clone()))
    }
}

/// The numbers of a contiguous tensor on the CPU.
fn numbers<'a>((storage, layout): &'a (impl Deref<Target = Storage>, &Layout)) -> Result<&'a [f32]> {
    match &**storage {
        Storage::Cpu(storage) => contiguous_f32(storage, layout),
        _ => candle_core::bail!("a norm's weights are not where its vectors are"),
    }
}
