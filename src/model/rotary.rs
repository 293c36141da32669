//! Rotary tables, made on the device that uses them for just the positions of one step.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};

use crate::checkpoint::rope::Rope;

/// Cosines and sines for consecutive positions.
#[derive(Debug, Clone)]
pub struct Rotary {
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// Tables for `positions` of a text of `length` tokens, which some kinds of scaling go by: a prompt that is taken
    /// in a chunk at a time has the length of the whole prompt all along.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn new(
        rope: &Rope,
        positions: Range<usize>,
        length: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let (frequencies, attention) = rope.frequencies(length);
        let count = positions.len();
        let angles = positions.flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
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
