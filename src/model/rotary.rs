//! Rotary tables, made on the device that uses them for just the positions of one step.

use candle_core::{DType, Device, Result, Tensor};

use crate::checkpoint::rope::Rope;

/// Cosines and sines for consecutive positions.
#[derive(Debug, Clone)]
pub struct Rotary {
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// Tables for positions `first..first + count`, where the text so far ends with the last of them.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn new(rope: &Rope, first: usize, count: usize, dtype: DType, device: &Device) -> Result<Self> {
        let (frequencies, attention) = rope.frequencies(first + count);
        let angles = (first..first + count).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
        let (cos, sin): (Vec<f32>, Vec<f32>) =
            angles.map(|a| (a.cos() * attention, a.sin() * attention)).unzip();
        let shape = (count, frequencies.len());
        let table = |values| Tensor::from_vec(values, shape, device)?.to_dtype(dtype);
        Ok(Self { cos: table(cos)?, sin: table(sin)? })
    }

    /// Rotates `[batch, positions, heads, d]`, pairing channel `i` with `i + d / 2`.
    ///
    /// # Errors
    /// Shapes or devices that do not fit together.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::rotary_emb::rope_thd(&x.contiguous()?, &self.cos, &self.sin)
    }
}
