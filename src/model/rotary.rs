//! Rotary tables, made on the device that uses them for just the positions of one step.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};

use crate::checkpoint::rope::Rope;

/// Cosines and sines of the rows of a pass, row by row: rows of several questions may stand below each other.
#[derive(Debug, Clone)]
pub struct Rotary {
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// Tables for spans of positions, each of a text of so many tokens, which some kinds of scaling go by: a prompt that
    /// is taken in a chunk at a time has the length of the whole prompt all along.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn new(
        rope: &Rope,
        spans: impl Iterator<Item = (Range<usize>, usize)>,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        let (mut rows, mut width) = (0, 0);
        for (positions, length) in spans {
            let (frequencies, attention) = rope.frequencies(length);
            (rows, width) = (rows + positions.len(), frequencies.len());
            for angle in positions.flat_map(|p| frequencies.iter().map(move |f| p as f32 * f)) {
                cos.push(angle.cos() * attention);
                sin.push(angle.sin() * attention);
            }
        }
        let table = |values| Tensor::from_vec(values, (rows, width), device)?.to_dtype(dtype);
        Ok(Self { cos: table(cos)?, sin: table(sin)? })
    }

    /// Rotates `[1, rows, heads, d]`, pairing channel `i` with `i + d / 2`.
    ///
    /// # Errors
    /// Shapes or devices that do not fit together.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::rotary_emb::rope_thd(&x.contiguous()?, &self.cos, &self.sin)
    }
}
