//! A whole InternVL model: every unit on its device, from pixels and tokens to the next token's logits.

use std::cell::RefCell;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::cache::{Cache, LayerCache};
use super::decoder::DecoderLayer;
use super::host::Matrix;
use super::linear::Linear;
use super::norm::Norm;
use super::place::Place;
use super::rotary::Rotary;
use super::vision::{Projector, VisionBlock, VisionEmbeddings};
use super::weights::{UnitWeights, WeightType};
use crate::checkpoint::{Checkpoint, Config, Unit, UnitKind};
use crate::devices::meter::{Charge, Part};
use crate::{Problem, Result};

/// Token embedding table: used in place on the CPU, a tensor elsewhere.
#[derive(Debug, Clone)]
enum Embedding {
    Host(Arc<Matrix>),
    Device(Tensor),
}

/// A unit where it lies.
#[derive(Debug)]
struct Placed<T> {
    place: Place,
    unit: T,
    /// What its place holds for it without a copy; read by nobody, given back with the unit.
    _charge: Option<Charge>,
}

/// A loaded model.
#[derive(Debug)]
pub struct Network {
    config: Config,
    vision_embeddings: Placed<VisionEmbeddings>,
    vision_blocks: Vec<Placed<VisionBlock>>,
    projector: Placed<Projector>,
    embedding: Placed<Embedding>,
    layers: Vec<Placed<DecoderLayer>>,
    norm: Placed<Norm>,
    head: Placed<Linear>,
}

/// What loading asks for and reports.
pub struct Loading<'a> {
    /// Where each unit goes; equal places must be clones of one.
    pub place: &'a dyn Fn(&Unit) -> Place,
    /// In which type weights are held.
    pub weight_type: WeightType,
    /// Called after each unit with the bytes loaded so far; `false` cancels.
    pub progress: &'a mut dyn FnMut(u64) -> bool,
}

/// Brings the units of a checkpoint to their places, one after the other.
struct Loader<'a, 'b> {
    checkpoint: &'a Checkpoint,
    units: std::slice::Iter<'a, Unit>,
    loading: &'a mut Loading<'b>,
    loaded: u64,
    /// Stored tensors (file, start) that a place holds already: a tied head beside the embedding costs nothing.
    held: Vec<(Place, usize, usize)>,
}

impl Loader<'_, '_> {
    /// The next unit, which must be of this kind; `make` may leave it out.
    fn next<T>(
        &mut self,
        kind: UnitKind,
        make: impl FnOnce(&UnitWeights<'_>) -> Result<T>,
    ) -> Result<Placed<T>> {
        let unit = self.units.next().filter(|unit| unit.kind == kind).ok_or_else(|| {
            Problem::new(format!("the inventory of units has no {kind:?} where one belongs"))
        })?;
        self.loaded += unit.bytes();
        if !(self.loading.progress)(self.loaded) {
            return Err(Problem::new("loading was cancelled"));
        }
        let place = (self.loading.place)(unit);
        let weights = UnitWeights {
            unit,
            files: &self.checkpoint.weights,
            device: place.device(),
            weight_type: self.loading.weight_type,
            in_place: RefCell::default(),
        };
        let made = place.load(|| make(&weights))?;
        let mut bytes = 0;
        for (file, range) in weights.in_place.take() {
            let known =
                |held: &(Place, usize, usize)| held.0.is(&place) && (held.1, held.2) == (file, range.start);
            if !self.held.iter().any(known) {
                self.held.push((place.clone(), file, range.start));
                bytes += range.len() as u64;
            }
        }
        Ok(Placed { unit: made, _charge: place.charge(bytes)?, place })
    }
}

impl Network {
    /// Loads every unit onto its place.
    ///
    /// # Errors
    /// No memory on a device, or the load was cancelled.
    pub fn load(checkpoint: &Checkpoint, loading: &mut Loading<'_>) -> Result<Self> {
        let config = checkpoint.config.clone();
        let (vision, decoder) = (&config.vision, &config.decoder);
        let units = checkpoint.units.iter();
        let mut loader = Loader { checkpoint, units, loading, loaded: 0, held: Vec::new() };

        let vision_embeddings =
            loader.next(UnitKind::VisionEmbeddings, |weights| VisionEmbeddings::new(vision, weights))?;
        let mut vision_blocks = Vec::with_capacity(vision.used_layers);
        for i in 0..vision.layers {
            if i < vision.used_layers {
                vision_blocks
                    .push(loader.next(UnitKind::VisionBlock, |weights| VisionBlock::new(vision, weights))?);
            } else {
                loader.next(UnitKind::VisionBlock, |_| Ok(()))?;
            }
        }
        let projector = loader.next(UnitKind::Projector, |weights| Projector::new(&config, weights))?;
        let embedding = loader.next(UnitKind::TokenEmbedding, |weights| {
            Ok(match weights.table("weight")? {
                Some(matrix) => Embedding::Host(matrix),
                None => Embedding::Device(weights.tensor("weight")?),
            })
        })?;
        let mut layers = Vec::with_capacity(decoder.layers);
        for i in 0..decoder.layers {
            layers
                .push(loader.next(UnitKind::DecoderLayer, |weights| DecoderLayer::new(decoder, i, weights))?);
        }
        let norm = loader.next(UnitKind::FinalNorm, |weights| Norm::rms(weights, "weight", decoder.eps))?;
        let head = loader.next(UnitKind::Head, |weights| weights.linear_named("weight", "bias"))?;
        Ok(Self { vision_embeddings, vision_blocks, projector, embedding, layers, norm, head, config })
    }

    /// The model's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Pixels `[tiles, 3, side, side]` to image features `[tiles, tokens, hidden]`, `micro_batch` tiles at a time;
    /// tiles do not see each other, so its size changes memory only.
    ///
    /// # Errors
    /// Shapes that do not fit together, or no memory.
    pub fn image_features(&self, pixels: &Tensor, micro_batch: usize) -> candle_core::Result<Tensor> {
        self.image_features_while(pixels, micro_batch, &mut || true)?.ok_or_else(abandoned)
    }

    /// [`Network::image_features`], asking before every block whether to go on; `None` where not.
    ///
    /// # Errors
    /// As [`Network::image_features`].
    pub fn image_features_while(
        &self,
        pixels: &Tensor,
        micro_batch: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> candle_core::Result<Option<Tensor>> {
        let tiles = pixels.dim(0)?;
        let micro_batch = micro_batch.max(1);
        let mut features = Vec::with_capacity(tiles.div_ceil(micro_batch));
        for first in (0..tiles).step_by(micro_batch) {
            let part = pixels.narrow(0, first, micro_batch.min(tiles - first))?;
            let unit = &self.vision_embeddings;
            let mut at = &unit.place;
            let pixels = at.receive(&part, None)?;
            let mut x = at.work(Part::Activation, || unit.unit.forward(&pixels))?;
            drop(pixels);
            for block in &self.vision_blocks {
                if !go_on() {
                    return Ok(None);
                }
                (x, at) = block.apply(x, at, VisionBlock::forward)?;
            }
            features.push(self.projector.apply(x, at, Projector::forward)?.0);
        }
        self.projector.place.work(Part::Activation, || Tensor::cat(&features, 0)).map(Some)
    }

    /// Embeds a prompt: `[1, tokens, hidden]`. Every `image_token` is overwritten, in order, by a row of `features`
    /// (`[tiles, tokens, hidden]`).
    ///
    /// # Errors
    /// A count of image tokens that differs from the rows of `features`, ids outside the vocabulary, no memory.
    pub fn embed(&self, ids: &[u32], image_token: u32, features: Option<&Tensor>) -> Result<Tensor> {
        let hidden = self.config.decoder.hidden;
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.config.decoder.vocab) {
            return Err(Problem::new(format!(
                "the prompt holds token {id}, but the embedding table has {} rows",
                self.config.decoder.vocab
            ))
            .fix("the tokenizer belongs to another model: use the files that were published together"));
        }
        let place = &self.embedding.place;
        let features = match features {
            Some(features) => {
                let here = place.receive(features, Some(&self.projector.place))?;
                Some(here.reshape(((), hidden))?)
            }
            None => None,
        };
        let slots = ids.iter().filter(|id| **id == image_token).count();
        let rows = features.as_ref().map_or(Ok(0), |f| f.dim(0))?;
        if slots != rows {
            return Err(Problem::new(format!(
                "the prompt has room for {slots} image tokens, but the images give {rows}"
            ))
            .fix("the question's text holds image markers of its own; remove them from the dataset"));
        }
        let embedded = place.work(Part::Activation, || {
            let mut parts = Vec::new();
            let mut used = 0;
            for run in ids.chunk_by(|a, b| (*a == image_token) == (*b == image_token)) {
                match &features {
                    Some(features) if run[0] == image_token => {
                        parts.push(features.narrow(0, used, run.len())?);
                        used += run.len();
                    }
                    _ => parts.push(self.embed_text(run)?),
                }
            }
            Tensor::cat(&parts, 0)?.unsqueeze(0)
        })?;
        Ok(embedded)
    }

    fn embed_text(&self, ids: &[u32]) -> candle_core::Result<Tensor> {
        match &self.embedding.unit {
            Embedding::Host(table) => {
                let mut rows = vec![0f32; ids.len() * table.cols()];
                for (row, id) in rows.chunks_exact_mut(table.cols()).zip(ids) {
                    table.widen(*id as usize, row);
                }
                Tensor::from_vec(rows, (ids.len(), table.cols()), &Device::Cpu)
            }
            Embedding::Device(table) => table.index_select(&Tensor::new(ids, table.device())?, 0),
        }
    }

    /// Room for keys and values of one question, `capacity` positions in all, each layer's part on its device.
    ///
    /// # Errors
    /// No memory on a device.
    pub fn cache(&self, capacity: usize) -> candle_core::Result<Cache> {
        let new = |layer: &Placed<DecoderLayer>| {
            LayerCache::new(&self.config.decoder, capacity, layer.unit.dtype(), &layer.place)
        };
        Ok(Cache { layers: self.layers.iter().map(new).collect::<Result<_, _>>()?, length: 0, capacity })
    }

    /// Takes in a whole prompt, `chunk` positions at a time, and gives the logits after its last position
    /// (`[vocabulary]`, f32, on the CPU).
    ///
    /// # Errors
    /// An empty prompt, a cache that is too small, or no memory.
    pub fn prefill(
        &self,
        embeddings: &Tensor,
        cache: &mut Cache,
        chunk: usize,
    ) -> candle_core::Result<Vec<f32>> {
        self.prefill_while(embeddings, cache, chunk, &mut || true)?.ok_or_else(abandoned)
    }

    /// [`Network::prefill`], asking before every layer whether to go on; `None` where not.
    ///
    /// # Errors
    /// As [`Network::prefill`].
    pub fn prefill_while(
        &self,
        embeddings: &Tensor,
        cache: &mut Cache,
        chunk: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> candle_core::Result<Option<Vec<f32>>> {
        let (chunk, positions) = (chunk.max(1), embeddings.dim(1)?);
        let length = cache.length + positions;
        let mut last = None;
        for first in (0..positions).step_by(chunk) {
            let count = chunk.min(positions - first);
            let part = embeddings.narrow(1, first, count)?;
            let Some(hidden) = self.hidden(&part, cache, length, go_on)? else { return Ok(None) };
            last = Some(hidden.narrow(1, count - 1, 1)?);
        }
        match last {
            Some(hidden) => self.logits(&hidden).map(Some),
            None => candle_core::bail!("the prompt is empty"),
        }
    }

    /// Takes in one token and gives the logits after it (`[vocabulary]`, f32, on the CPU).
    ///
    /// # Errors
    /// A full cache, or no memory.
    pub fn step(&self, token: u32, cache: &mut Cache) -> candle_core::Result<Vec<f32>> {
        let place = &self.embedding.place;
        let embedded = place.work(Part::Activation, || self.embed_text(&[token])?.unsqueeze(0))?;
        let length = cache.length + 1;
        let hidden = self.hidden(&embedded, cache, length, &mut || true)?.ok_or_else(abandoned)?;
        self.logits(&hidden)
    }

    /// Final hidden states `[1, positions, hidden]` before the last norm; `length` is that of the text that these
    /// positions belong to, as far as it is known. `None` where `go_on`, asked before every layer, says no; the cache
    /// is then of no further use.
    fn hidden(
        &self,
        embeddings: &Tensor,
        cache: &mut Cache,
        length: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> candle_core::Result<Option<Tensor>> {
        let (first, count) = (cache.length, embeddings.dim(1)?);
        if first + count > cache.capacity {
            candle_core::bail!("the cache has room for {} positions, not {}", cache.capacity, first + count);
        }
        let mut rotary: Vec<(&Place, Rotary)> = Vec::new();
        let (mut x, mut at) = (embeddings.clone(), &self.embedding.place);
        for (layer, cache) in self.layers.iter().zip(&cache.layers) {
            if !go_on() {
                return Ok(None);
            }
            let known = rotary.iter().position(|(place, _)| place.is(&layer.place));
            let known = match known {
                Some(known) => known,
                None => {
                    let rope = &self.config.decoder.rope;
                    let (dtype, device) = (layer.unit.dtype(), layer.place.device());
                    let made = layer.place.work(Part::Activation, || {
                        Rotary::new(rope, first..first + count, length, dtype, device)
                    })?;
                    rotary.push((&layer.place, made));
                    rotary.len() - 1
                }
            };
            let tables = &rotary[known].1;
            (x, at) = layer.apply(x, at, |layer, x| layer.forward(x, tables, cache, first))?;
        }
        cache.length += count;
        Ok(Some(x))
    }

    /// Where hidden states lie that have been through every layer.
    fn last_place(&self) -> &Place {
        self.layers.last().map_or(&self.embedding.place, |layer| &layer.place)
    }

    /// The last norm and the head over hidden states `[1, positions, hidden]`.
    fn head(&self, hidden: &Tensor) -> candle_core::Result<Tensor> {
        let (normed, at) = self.norm.apply(hidden.clone(), self.last_place(), Norm::forward)?;
        Ok(self.head.apply(normed, at, Linear::forward)?.0)
    }

    /// Logits of one position `[1, 1, hidden]`.
    fn logits(&self, hidden: &Tensor) -> candle_core::Result<Vec<f32>> {
        self.head(hidden)?.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
    }

    /// Logits of every position (`[positions, vocabulary]`) without a cache of the caller's, for comparison with a
    /// reference; a run never makes these.
    ///
    /// # Errors
    /// No memory.
    pub fn all_logits(&self, embeddings: &Tensor) -> candle_core::Result<Tensor> {
        let positions = embeddings.dim(1)?;
        let hidden = self.hidden(embeddings, &mut self.cache(positions)?, positions, &mut || true)?;
        let hidden = hidden.ok_or_else(abandoned)?;
        self.head(&hidden)?.squeeze(0)?.to_dtype(DType::F32)
    }
}

impl<T> Placed<T> {
    /// Brings `x` here from where it lies and applies the unit; the result, and where that lies.
    fn apply(
        &self,
        x: Tensor,
        from: &Place,
        forward: impl FnOnce(&T, &Tensor) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<(Tensor, &Place)> {
        let here = self.place.receive(&x, Some(from))?;
        drop(x);
        Ok((self.place.work(Part::Activation, || forward(&self.unit, &here))?, &self.place))
    }
}

/// Said where a computation that nobody could abandon is gone all the same.
fn abandoned() -> candle_core::Error {
    candle_core::Error::msg("the computation was abandoned")
}
