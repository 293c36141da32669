//! A whole InternVL model: every unit on its device, from pixels and tokens to the next token's logits.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{DType, Device, DeviceLocation, Tensor};

use super::cache::{Cache, LayerCache};
use super::decoder::DecoderLayer;
use super::host::Matrix;
use super::linear::Linear;
use super::norm::Norm;
use super::rotary::Rotary;
use super::vision::{Projector, VisionBlock, VisionEmbeddings};
use super::weights::{UnitWeights, WeightType};
use crate::checkpoint::{Checkpoint, Config, Unit, UnitKind};
use crate::{Problem, Result};

/// Token embedding table: used in place on the CPU, a tensor elsewhere.
#[derive(Debug, Clone)]
enum Embedding {
    Host(Arc<Matrix>),
    Device(Tensor),
}

/// A loaded model.
#[derive(Debug)]
pub struct Network {
    config: Config,
    vision_embeddings: VisionEmbeddings,
    vision_blocks: Vec<VisionBlock>,
    projector: Projector,
    embedding: Embedding,
    layers: Vec<DecoderLayer>,
    norm: Norm,
    norm_device: Device,
    head: Linear,
    head_device: Device,
}

/// What loading asks for and reports.
pub struct Loading<'a> {
    /// Where each unit goes.
    pub place: &'a dyn Fn(&Unit) -> Device,
    /// In which type weights are held.
    pub weight_type: WeightType,
    /// Called after each unit with the bytes loaded so far; `false` cancels.
    pub progress: &'a mut dyn FnMut(u64) -> bool,
}

impl Network {
    /// Loads every unit onto its device.
    ///
    /// # Errors
    /// No memory on a device, or the load was cancelled.
    pub fn load(checkpoint: &Checkpoint, loading: &mut Loading<'_>) -> Result<Self> {
        let config = checkpoint.config.clone();
        let (vision, decoder) = (&config.vision, &config.decoder);
        let mut units = checkpoint.units.iter();
        let mut loaded = 0u64;
        let mut next = |kind: UnitKind| -> Result<(&Unit, Device)> {
            let unit = units.next().filter(|unit| unit.kind == kind).ok_or_else(|| {
                Problem::new(format!("the inventory of units has no {kind:?} where one belongs"))
            })?;
            loaded += unit.bytes();
            if !(loading.progress)(loaded) {
                return Err(Problem::new("loading was cancelled"));
            }
            Ok((unit, (loading.place)(unit)))
        };
        let weight_type = loading.weight_type;
        fn weights<'a>(
            checkpoint: &'a Checkpoint,
            (unit, device): &'a (&Unit, Device),
            weight_type: WeightType,
        ) -> UnitWeights<'a> {
            UnitWeights { unit, files: &checkpoint.weights, device, weight_type }
        }

        let unit = next(UnitKind::VisionEmbeddings)?;
        let vision_embeddings = VisionEmbeddings::new(vision, &weights(checkpoint, &unit, weight_type))?;
        let mut vision_blocks = Vec::with_capacity(vision.used_layers);
        for i in 0..vision.layers {
            let unit = next(UnitKind::VisionBlock)?;
            if i < vision.used_layers {
                vision_blocks.push(VisionBlock::new(vision, &weights(checkpoint, &unit, weight_type))?);
            }
        }
        let unit = next(UnitKind::Projector)?;
        let projector = Projector::new(&config, &weights(checkpoint, &unit, weight_type))?;
        let unit = next(UnitKind::TokenEmbedding)?;
        let table = weights(checkpoint, &unit, weight_type);
        let embedding = match table.table("weight")? {
            Some(matrix) => Embedding::Host(matrix),
            None => Embedding::Device(table.tensor("weight")?),
        };
        let mut layers = Vec::with_capacity(decoder.layers);
        for i in 0..decoder.layers {
            let unit = next(UnitKind::DecoderLayer)?;
            layers.push(DecoderLayer::new(decoder, i, &weights(checkpoint, &unit, weight_type))?);
        }
        let unit = next(UnitKind::FinalNorm)?;
        let norm = Norm::rms(&weights(checkpoint, &unit, weight_type), "weight", decoder.eps)?;
        let norm_device = unit.1;
        let unit = next(UnitKind::Head)?;
        let head = weights(checkpoint, &unit, weight_type).linear_named("weight", "bias")?;
        let head_device = unit.1;
        Ok(Self {
            vision_embeddings,
            vision_blocks,
            projector,
            embedding,
            layers,
            norm,
            norm_device,
            head,
            head_device,
            config,
        })
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
            let mut x = self.vision_embeddings.forward(&part)?;
            for block in &self.vision_blocks {
                if !go_on() {
                    return Ok(None);
                }
                x = block.forward(&x)?;
            }
            features.push(self.projector.forward(&x)?);
        }
        Tensor::cat(&features, 0).map(Some)
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
        let features = match features {
            Some(features) => Some(features.to_device(self.embedding_device())?.reshape(((), hidden))?),
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
        Ok(Tensor::cat(&parts, 0)?.unsqueeze(0)?)
    }

    fn embed_text(&self, ids: &[u32]) -> candle_core::Result<Tensor> {
        match &self.embedding {
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

    fn embedding_device(&self) -> &Device {
        match &self.embedding {
            Embedding::Host(_) => &Device::Cpu,
            Embedding::Device(table) => table.device(),
        }
    }

    /// Room for keys and values of one question, `capacity` positions in all, each layer's part on its device.
    ///
    /// # Errors
    /// No memory on a device.
    pub fn cache(&self, capacity: usize) -> candle_core::Result<Cache> {
        let new = |layer: &DecoderLayer| {
            LayerCache::new(&self.config.decoder, capacity, layer.dtype(), layer.device())
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
        let embedded = self.embed_text(&[token])?.unsqueeze(0)?;
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
        let mut rotary: HashMap<DeviceLocation, Rotary> = HashMap::new();
        let mut x = embeddings.clone();
        for (layer, cache) in self.layers.iter().zip(&cache.layers) {
            if !go_on() {
                return Ok(None);
            }
            let tables = match rotary.entry(layer.device().location()) {
                std::collections::hash_map::Entry::Occupied(tables) => tables.into_mut(),
                std::collections::hash_map::Entry::Vacant(slot) => {
                    let rope = &self.config.decoder.rope;
                    slot.insert(Rotary::new(
                        rope,
                        first..first + count,
                        length,
                        layer.dtype(),
                        layer.device(),
                    )?)
                }
            };
            x = layer.forward(&x, tables, cache, first)?;
        }
        cache.length += count;
        Ok(Some(x))
    }

    /// Logits of one position `[1, 1, hidden]`.
    fn logits(&self, hidden: &Tensor) -> candle_core::Result<Vec<f32>> {
        let normed = self.norm.forward(&hidden.to_device(&self.norm_device)?)?;
        let logits = self.head.forward(&normed.to_device(&self.head_device)?)?;
        logits.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
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
        let normed = self.norm.forward(&hidden.to_device(&self.norm_device)?)?;
        self.head.forward(&normed.to_device(&self.head_device)?)?.squeeze(0)?.to_dtype(DType::F32)
    }
}

/// Said where a computation that nobody could abandon is gone all the same.
fn abandoned() -> candle_core::Error {
    candle_core::Error::msg("the computation was abandoned")
}
