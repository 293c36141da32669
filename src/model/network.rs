//! A whole InternVL model: every unit on its device, from pixels and tokens to the next token's logits.

use std::cell::RefCell;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::cache::{Cache, LayerCache};
use super::decoder::DecoderLayer;
use super::host::Matrix;
use super::linear::Linear;
use super::norm::Norm;
use super::passes::{Route, RowPass, Span, TilePass, Wanted, segments};
use super::place::Place;
use super::vision::{Projector, VisionBlock, VisionEmbeddings};
use super::weights::{UnitWeights, WeightType};
use crate::checkpoint::{Checkpoint, Config, Unit, UnitKind};
use crate::devices::meter::{Charge, Meter, Part};
use crate::{Problem, Result};

/// Token embedding table: used in place on the CPU, a tensor elsewhere.
#[derive(Debug, Clone)]
pub(super) enum Embedding {
    Host(Arc<Matrix>),
    Device(Tensor),
}

/// A unit where it lies.
#[derive(Debug)]
pub(super) struct Placed<T> {
    pub(super) place: Place,
    pub(super) unit: T,
    /// What its place holds for it without a copy; read by nobody, given back with the unit.
    _charges: [Option<Charge>; 2],
}

/// A loaded model.
#[derive(Debug)]
pub struct Network {
    pub(super) config: Config,
    pub(super) vision_embeddings: Placed<VisionEmbeddings>,
    pub(super) vision_blocks: Vec<Placed<VisionBlock>>,
    pub(super) projector: Placed<Projector>,
    pub(super) embedding: Placed<Embedding>,
    pub(super) layers: Vec<Placed<DecoderLayer>>,
    pub(super) norm: Placed<Norm>,
    pub(super) head: Placed<Linear>,
    route: Route,
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
        let held = || place.meter().map_or(0, Meter::live);
        let before = held();
        let made = place.load(|| make(&weights))?;
        let loaded = held().saturating_sub(before);
        let (mut bytes, mut used) = (0, Vec::new());
        for (file, range) in weights.in_place.take() {
            let known =
                |held: &(Place, usize, usize)| held.0.is(&place) && (held.1, held.2) == (file, range.start);
            if !self.held.iter().any(known) {
                self.held.push((place.clone(), file, range.start));
                bytes += range.len() as u64;
                used.push((file, range));
            }
        }
        // Of a table only some rows are used.
        if kind != UnitKind::TokenEmbedding {
            used.into_par_iter()
                .for_each(|(file, range)| self.checkpoint.weights.files[file].1.map_in(range));
        }
        let ascribed = place.meter().and_then(|meter| meter.ascribe(Part::Weights, loaded));
        Ok(Placed { unit: made, _charges: [place.charge(bytes)?, ascribed], place })
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
        let vision =
            [&vision_embeddings.place].into_iter().chain(vision_blocks.iter().map(|block| &block.place));
        let vision = segments(vision.chain([&projector.place]));
        let all = [&embedding.place].into_iter().chain(layers.iter().map(|layer| &layer.place));
        let route = Route { vision, decoder: segments(all.chain([&norm.place, &head.place])) };
        Ok(Self { vision_embeddings, vision_blocks, projector, embedding, layers, norm, head, route, config })
    }

    /// The way that tiles and rows take over the places.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Where image features lie.
    pub fn projector_place(&self) -> &Place {
        &self.projector.place
    }

    /// Bytes that keys and values of one position take in all layers.
    pub fn cache_bytes_per_position(&self) -> u64 {
        let decoder = &self.config.decoder;
        let of_layer = |layer: &Placed<DecoderLayer>| {
            2 * decoder.kv_heads * decoder.head_dim * layer.unit.dtype().size_in_bytes()
        };
        self.layers.iter().map(|layer| of_layer(layer) as u64).sum()
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
            let mut pass = TilePass::new(&[pixels.narrow(0, first, micro_batch.min(tiles - first))?])?;
            while !pass.is_done(self) {
                if !pass.advance(self, go_on)? {
                    return Ok(None);
                }
            }
            features.extend(pass.features());
        }
        self.projector.place.work(Part::Activation, || Tensor::cat(&features, 0)).map(Some)
    }

    /// Refuses a prompt that the network cannot take: ids outside the vocabulary, or a count of image tokens that
    /// differs from the rows of image features.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check_prompt(&self, ids: &[u32], image_token: u32, feature_rows: usize) -> Result<()> {
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.config.decoder.vocab) {
            return Err(Problem::new(format!(
                "the prompt holds token {id}, but the embedding table has {} rows",
                self.config.decoder.vocab
            ))
            .fix("the tokenizer belongs to another model: use the files that were published together"));
        }
        let slots = ids.iter().filter(|id| **id == image_token).count();
        if slots != feature_rows {
            return Err(Problem::new(format!(
                "the prompt has room for {slots} image tokens, but the images give {feature_rows}"
            ))
            .fix("the question's text holds image markers of its own; remove them from the dataset"));
        }
        Ok(())
    }

    /// Embeds a prompt: `[1, tokens, hidden]`. Every `image_token` is overwritten, in order, by a row of `features`
    /// (`[tiles, tokens, hidden]`).
    ///
    /// # Errors
    /// As [`Network::check_prompt`], or no memory.
    pub fn embed(&self, ids: &[u32], image_token: u32, features: Option<&Tensor>) -> Result<Tensor> {
        let features = match features {
            Some(features) => {
                vec![(features.reshape(((), self.config.decoder.hidden))?, self.projector.place.clone())]
            }
            None => Vec::new(),
        };
        self.check_prompt(ids, image_token, features.iter().map(|(rows, _)| rows.dims()[0]).sum())?;
        let parts = self.embed_rows(ids, image_token, &features)?;
        Ok(self.embedding.place.work(Part::Activation, || Tensor::cat(&parts, 0)?.unsqueeze(0))?)
    }

    /// Embeddings of some tokens in parts `[n, hidden]`, on the embedding's place. Where there are `pictures`
    /// (`[n, hidden]`, and where they lie), their rows stand for the image tokens, in order.
    pub(super) fn embed_rows(
        &self,
        ids: &[u32],
        image_token: u32,
        pictures: &[(Tensor, Place)],
    ) -> candle_core::Result<Vec<Tensor>> {
        let place = &self.embedding.place;
        if pictures.is_empty() {
            return Ok(vec![place.work(Part::Activation, || self.embed_text(ids))?]);
        }
        let (mut parts, mut pictures) = (Vec::new(), pictures.iter());
        // What is left of the present picture's rows.
        let mut present: Option<(Tensor, Place)> = None;
        for run in ids.chunk_by(|a, b| (*a == image_token) == (*b == image_token)) {
            if run[0] != image_token {
                parts.push(place.work(Part::Activation, || self.embed_text(run))?);
                continue;
            }
            let mut wanted = run.len();
            while wanted > 0 {
                let (rows, lies) = match present.take().or_else(|| pictures.next().cloned()) {
                    Some(rows) => rows,
                    None => candle_core::bail!("the images give too few rows"),
                };
                let (here, count) = (rows.dim(0)?, wanted.min(rows.dim(0)?));
                if count < here {
                    present = Some((rows.narrow(0, count, here - count)?, lies.clone()));
                }
                parts.push(place.receive(&rows.narrow(0, 0, count)?, Some(&lies))?);
                wanted -= count;
            }
        }
        Ok(parts)
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

    /// Room for keys and values of one question, `capacity` positions in all, each layer's part on its place; memory is
    /// taken when the first rows arrive there.
    pub fn cache(&self, capacity: usize) -> Cache {
        let new = |layer: &Placed<DecoderLayer>| {
            LayerCache::new(&self.config.decoder, capacity, layer.unit.dtype(), &layer.place)
        };
        Cache { layers: self.layers.iter().map(new).collect(), length: 0, capacity }
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
            let wanted = if first + count == positions { Wanted::Last } else { Wanted::Nothing };
            let span = Span { length, wanted, ..Span::of(cache, count) };
            let part = embeddings.narrow(1, first, count)?;
            let Some(logits) = self.run(RowPass::embedded(span, part), go_on)? else { return Ok(None) };
            cache.length += count;
            last = logits.into_iter().next();
        }
        match last {
            Some(logits) => Ok(Some(logits)),
            None => candle_core::bail!("the prompt is empty"),
        }
    }

    /// Takes in one token and gives the logits after it (`[vocabulary]`, f32, on the CPU).
    ///
    /// # Errors
    /// A full cache, or no memory.
    pub fn step(&self, token: u32, cache: &mut Cache) -> candle_core::Result<Vec<f32>> {
        let span = Span { ids: vec![token], wanted: Wanted::Last, ..Span::of(cache, 1) };
        let logits = self.run(RowPass::tokens(vec![span]), &mut || true)?.ok_or_else(abandoned)?;
        cache.length += 1;
        logits.into_iter().next().ok_or_else(abandoned)
    }

    /// Takes in one token each of several questions, and gives the logits after each.
    ///
    /// # Errors
    /// As [`Network::step`].
    pub fn steps(&self, tokens: &[u32], caches: &mut [Cache]) -> candle_core::Result<Vec<Vec<f32>>> {
        let span = |(token, cache): (&u32, &Cache)| Span {
            ids: vec![*token],
            wanted: Wanted::Last,
            ..Span::of(cache, 1)
        };
        let spans = tokens.iter().zip(caches.iter()).map(span).collect();
        let logits = self.run(RowPass::tokens(spans), &mut || true)?.ok_or_else(abandoned)?;
        caches.iter_mut().for_each(|cache| cache.length += 1);
        Ok(logits)
    }

    /// Logits of every position (`[positions, vocabulary]`) without a cache of the caller's, for comparison with a
    /// reference; a run never makes these.
    ///
    /// # Errors
    /// No memory.
    pub fn all_logits(&self, embeddings: &Tensor) -> candle_core::Result<Tensor> {
        let positions = embeddings.dim(1)?;
        let span = Span { wanted: Wanted::Every, ..Span::of(&self.cache(positions), positions) };
        let pass = RowPass::embedded(span, embeddings.clone());
        let rows = self.run(pass, &mut || true)?.ok_or_else(abandoned)?;
        let width = rows.first().map_or(0, Vec::len);
        Tensor::from_vec(rows.concat(), (positions, width), &Device::Cpu)
    }

    /// Takes rows through the whole decoder on this thread.
    fn run(
        &self,
        mut pass: RowPass,
        go_on: &mut dyn FnMut() -> bool,
    ) -> candle_core::Result<Option<Vec<Vec<f32>>>> {
        while !pass.is_done(self) {
            if !pass.advance(self, go_on)? {
                return Ok(None);
            }
        }
        Ok(Some(pass.logits()))
    }
}

/// Said where a computation that nobody could abandon is gone all the same.
fn abandoned() -> candle_core::Error {
    candle_core::Error::msg("the computation was abandoned")
}
