//! Keys and values of one question, allocated once for its own length.

use candle_core::{DType, Result, Tensor};

use super::place::Place;
use crate::checkpoint::DecoderConfig;
use crate::devices::Part;
use crate::problem::OutOfMemory;

/// Keys and values of one decoder layer, on the layer's device.
#[derive(Debug)]
pub struct LayerCache {
    /// `[1, kv_heads, capacity, d]`.
    keys: Tensor,
    values: Tensor,
}

impl LayerCache {
    /// Room for `capacity` positions.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn new(config: &DecoderConfig, capacity: usize, dtype: DType, place: &Place) -> Result<Self> {
        let shape = (1, config.kv_heads, capacity, config.head_dim);
        let device = place.device();
        let bytes = [config.kv_heads, config.head_dim, dtype.size_in_bytes()]
            .iter()
            .try_fold(capacity, |bytes, factor| bytes.checked_mul(*factor));
        let both = bytes.and_then(|bytes| u64::try_from(bytes).ok()?.checked_mul(2)).unwrap_or(u64::MAX);
        place.room_for(both)?;
        if device.is_cpu() {
            // A failed allocation inside a tensor would end the program.
            let mut probe = Vec::<u8>::new();
            if bytes.is_none_or(|bytes| probe.try_reserve_exact(bytes).is_err()) {
                let capacity = crate::devices::host::memory().map(|(total, _)| total);
                return Err(OutOfMemory { device: place.name().to_owned(), needed: both, capacity }.into());
            }
        }
        place.work(Part::Kv, || {
            Ok(Self {
                keys: Tensor::zeros(shape, dtype, device)?,
                values: Tensor::zeros(shape, dtype, device)?,
            })
        })
    }

    /// Stores keys and values (`[1, positions, kv_heads, d]`) from position `first` on, and gives all so far
    /// (`[1, kv_heads, first + positions, d]`) as views.
    ///
    /// # Errors
    /// More positions than there is room for.
    pub fn extend(&self, first: usize, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        let end = first + keys.dim(1)?;
        let part = |all: &Tensor, new: &Tensor| {
            all.slice_set(&new.transpose(1, 2)?.contiguous()?, 2, first)?;
            all.narrow(2, 0, end)
        };
        Ok((part(&self.keys, keys)?, part(&self.values, values)?))
    }
}

/// Keys and values of one question in all layers.
#[derive(Debug)]
pub struct Cache {
    /// One a layer.
    pub layers: Vec<LayerCache>,
    /// Positions filled.
    pub length: usize,
    /// Positions there is room for.
    pub capacity: usize,
}
