//! Keys and values of one question, allocated once for its own length.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::{DType, Result, Tensor};

use super::place::Place;
use crate::checkpoint::DecoderConfig;
use crate::devices::Part;
use crate::devices::meter::Charge;
use crate::problem::OutOfMemory;

/// Keys and values of one decoder layer, on the layer's place. Memory is taken when the first rows arrive there.
#[derive(Debug)]
pub struct LayerCache {
    place: Place,
    dtype: DType,
    /// `[1, kv_heads, capacity, d]`.
    shape: (usize, usize, usize, usize),
    /// What it begins with, until memory is taken.
    beginning: Mutex<Option<Beginning>>,
    held: OnceLock<Held>,
}

/// Keys and values of some positions, `[1, kv_heads, positions, d]`, on their layer's place.
#[derive(Debug)]
struct Held {
    keys: Tensor,
    values: Tensor,
    _charge: Option<Charge>,
}

impl Held {
    fn new(keys: Tensor, values: Tensor, place: &Place) -> Self {
        let bytes = 2 * keys.elem_count() * keys.dtype().size_in_bytes();
        let _charge = place.meter().and_then(|meter| meter.ascribe(Part::Kv, bytes as u64));
        Self { keys, values, _charge }
    }
}

/// The first positions of another question's keys and values in one layer.
#[derive(Debug)]
struct Beginning {
    kept: Arc<Kept>,
    layer: usize,
    positions: usize,
}

/// Keys and values of the first positions of a prompt in every layer, for other prompts that begin alike.
#[derive(Debug)]
pub struct Kept {
    /// Each is there once the prompt has been through the layer.
    layers: Vec<OnceLock<Held>>,
    positions: usize,
}

impl Kept {
    /// Room for the first positions of a prompt.
    pub fn new(layers: usize, positions: usize) -> Arc<Self> {
        Arc::new(Self { layers: (0..layers).map(|_| OnceLock::new()).collect(), positions })
    }

    /// Whether every layer has filled its part.
    pub fn is_whole(&self) -> bool {
        self.layers.iter().all(|layer| layer.get().is_some())
    }

    /// Positions of the prompt.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Copies the first positions that a layer's cache holds. Where there is no memory for that, nothing is kept.
    pub fn fill(&self, layer: usize, cache: &LayerCache) {
        let (Some(slot), Some(held)) = (self.layers.get(layer), cache.held.get()) else { return };
        let copy = |all: &Tensor| all.narrow(2, 0, self.positions)?.force_contiguous();
        if let Ok((keys, values)) =
            cache.place.work(Part::Kv, || Ok((copy(&held.keys)?, copy(&held.values)?)))
        {
            // A slot that is full already holds the same.
            let _ = slot.set(Held::new(keys, values, &cache.place));
        }
    }
}

impl LayerCache {
    /// Room for `capacity` positions.
    pub fn new(config: &DecoderConfig, capacity: usize, dtype: DType, place: &Place) -> Self {
        Self {
            place: place.clone(),
            dtype,
            shape: (1, config.kv_heads, capacity, config.head_dim),
            beginning: Mutex::new(None),
            held: OnceLock::new(),
        }
    }

    /// Stores keys and values (`[1, positions, kv_heads, d]`) from position `first` on, and gives all so far
    /// (`[1, kv_heads, first + positions, d]`) as views. Storing the same positions again replaces them.
    ///
    /// # Errors
    /// More positions than there is room for, or no memory on the place.
    pub fn extend(&self, first: usize, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        let end = first + keys.dim(1)?;
        let part = |all: &Tensor, new: &Tensor| {
            all.slice_set(&new.transpose(1, 2)?.contiguous()?, 2, first)?;
            all.narrow(2, 0, end)
        };
        let held = self.held()?;
        Ok((part(&held.keys, keys)?, part(&held.values, values)?))
    }

    fn held(&self) -> Result<&Held> {
        if let Some(held) = self.held.get() {
            return Ok(held);
        }
        let taken = self.take()?;
        Ok(self.held.get_or_init(|| taken))
    }

    fn take(&self) -> Result<Held> {
        let (_, heads, capacity, width) = self.shape;
        let device = self.place.device();
        let bytes = [heads, width, self.dtype.size_in_bytes()]
            .iter()
            .try_fold(capacity, |bytes, factor| bytes.checked_mul(*factor));
        let both = bytes.and_then(|bytes| u64::try_from(bytes).ok()?.checked_mul(2)).unwrap_or(u64::MAX);
        self.place.room_for(both)?;
        if device.is_cpu() {
            // A failed allocation inside a tensor would end the program.
            let mut probe = Vec::<u8>::new();
            if bytes.is_none_or(|bytes| probe.try_reserve_exact(bytes).is_err()) {
                let capacity = crate::devices::host::memory().map(|(total, _)| total);
                let device = self.place.name().to_owned();
                return Err(OutOfMemory { device, needed: both, capacity }.into());
            }
        }
        self.place.work(Part::Kv, || {
            let all = [
                Tensor::zeros(self.shape, self.dtype, device)?,
                Tensor::zeros(self.shape, self.dtype, device)?,
            ];
            let mut beginning = self.beginning.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Beginning { kept, layer, positions }) = beginning.as_ref() {
                let Some(Held { keys, values, .. }) = kept.layers.get(*layer).and_then(OnceLock::get) else {
                    candle_core::bail!("a prompt's beginning was not kept in layer {layer}");
                };
                for (to, from) in all.iter().zip([keys, values]) {
                    to.slice_set(&from.narrow(2, 0, *positions)?.contiguous()?, 2, 0)?;
                }
            }
            *beginning = None;
            let [keys, values] = all;
            Ok(Held::new(keys, values, &self.place))
        })
    }
}

/// Keys and values of one question in all layers.
#[derive(Debug)]
pub struct Cache {
    /// One a layer.
    pub layers: Arc<[LayerCache]>,
    /// Positions filled.
    pub length: usize,
    /// Positions there is room for.
    pub capacity: usize,
}

impl Cache {
    /// A copy of all that it holds, for others to begin with.
    pub fn kept(&self) -> Arc<Kept> {
        let kept = Kept::new(self.layers.len(), self.length);
        self.layers.iter().enumerate().for_each(|(layer, cache)| kept.fill(layer, cache));
        kept
    }

    /// Begins with the first positions of another prompt. To be said before anything is stored.
    pub fn begin_with(&mut self, kept: &Arc<Kept>, positions: usize) {
        for (layer, cache) in self.layers.iter().enumerate() {
            let beginning = Beginning { kept: kept.clone(), layer, positions };
            *cache.beginning.lock().unwrap_or_else(PoisonError::into_inner) = Some(beginning);
        }
        self.length = positions;
    }
}
