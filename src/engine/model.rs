//! A model ready to answer: network, tokenizer and template of one checkpoint.

use std::sync::Arc;

use candle_core::DType;

use crate::checkpoint::template::Template;
use crate::checkpoint::tokenizer::Tokenizer;
use crate::checkpoint::{Checkpoint, Layout, Unit};
use crate::model::host::Blocks;
use crate::model::{Loading, Network, Place, WeightType};
use crate::picture::tiles::Tiling;
use crate::{Problem, Result};

/// Everything of a checkpoint that answering needs.
pub struct Model {
    /// The checkpoint it was loaded from.
    pub checkpoint: Arc<Checkpoint>,
    /// The network on its devices.
    pub network: Arc<Network>,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// How a question becomes a prompt.
    pub template: Template,
    /// The token at which an answer ends.
    pub stop: u32,
}

/// What a checkpoint says about text, read before any weight.
#[derive(Clone)]
pub struct Language {
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// How a question becomes a prompt.
    pub template: Template,
    /// The token at which an answer ends.
    pub stop: u32,
}

impl Language {
    /// Opens tokenizer and template of a checkpoint and checks that they belong to its network.
    ///
    /// # Errors
    /// Files that are missing, malformed, or of another model.
    pub fn open(checkpoint: &Checkpoint) -> Result<Self> {
        let config = &checkpoint.config;
        let tokenizer = Tokenizer::open(&checkpoint.folder, config.decoder.backbone.architecture())?;
        if config.layout == Layout::Github && config.template.is_none() {
            return Err(Problem::new("names no prompt template, and in this layout nothing else does")
                .at(checkpoint.folder.place("config.json"))
                .fix(format!("set \"template\" to the one it was trained with: {}", Template::known())));
        }
        let template = Template::from_folder(&checkpoint.folder, config.template.as_deref())?;
        let stop = tokenizer.token_id(template.stop_token()).ok_or_else(|| {
            Problem::new(format!(
                "the tokenizer has no token {}, with which answers under the template {} end",
                template.stop_token(),
                template.name()
            ))
            .at(checkpoint.folder.place(""))
            .fix("use the tokenizer files that were published with this checkpoint")
        })?;
        let image = tokenizer.image_context_id();
        if image as usize >= config.decoder.vocab {
            return Err(Problem::new(format!(
                "the tokenizer's <IMG_CONTEXT> is token {image}, but the embedding table has {} rows",
                config.decoder.vocab
            ))
            .at(checkpoint.folder.place(""))
            .fix("use the tokenizer files that were published with this checkpoint"));
        }
        if let Some(stated) = config.image_token.filter(|stated| *stated != image) {
            return Err(Problem::new(format!(
                "config.json says that the image token is {stated}, the tokenizer says {image}"
            ))
            .at(checkpoint.folder.place("config.json"))
            .fix("use the tokenizer files that were published with this checkpoint"));
        }
        Ok(Self { tokenizer, template, stop })
    }
}

/// In which number format the weights are held.
///
/// # Errors
/// A name that is not known or not available here.
pub fn weight_type(name: &str) -> Result<WeightType> {
    match name {
        "auto" => Ok(WeightType::Stored),
        "f32" => Ok(WeightType::Cast(DType::F32)),
        "bf16" => Ok(WeightType::Cast(DType::BF16)),
        "f16" => Ok(WeightType::Cast(DType::F16)),
        "q8_0" => Ok(WeightType::Blocks(Blocks::Q8_0)),
        "q4_0" => Ok(WeightType::Blocks(Blocks::Q4_0)),
        "q4k" => Ok(WeightType::Blocks(Blocks::Q4k)),
        other => Err(Problem::new("is no number format")
            .at(format!("--dtype {other}"))
            .fix("choose auto, f32, bf16, f16, q8_0, q4_0 or q4k")),
    }
}

impl Model {
    /// Loads a checkpoint. `progress` hears the bytes loaded so far and cancels by `false`.
    ///
    /// # Errors
    /// As [`Network::load`].
    pub fn load(
        checkpoint: Arc<Checkpoint>,
        language: Language,
        weight_type: WeightType,
        place: &dyn Fn(&Unit) -> Place,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Self> {
        let network = Network::load(&checkpoint, &mut Loading { place, weight_type, progress })?;
        Ok(Self::new(checkpoint, language, Arc::new(network)))
    }

    /// Puts a loaded network and its language together.
    pub fn new(checkpoint: Arc<Checkpoint>, language: Language, network: Arc<Network>) -> Self {
        let Language { tokenizer, template, stop } = language;
        Self { checkpoint, network, tokenizer, template, stop }
    }

    /// How images are cut when a question allows `max_tiles` an image.
    pub fn tiling(&self, max_tiles: u32) -> Tiling {
        tiling(&self.checkpoint.config, max_tiles)
    }
}

/// How images are cut for a model when a question allows `max_tiles` an image.
pub fn tiling(config: &crate::checkpoint::Config, max_tiles: u32) -> Tiling {
    Tiling {
        side: config.vision.image_side as u32,
        min_tiles: config.min_tiles as u32,
        max_tiles: if config.dynamic_tiles { max_tiles } else { 1 },
        thumbnail: config.thumbnail,
    }
}
