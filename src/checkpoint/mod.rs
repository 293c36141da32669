//! What a model folder holds, read without loading it.

pub mod config;
pub mod fields;
pub mod folder;
pub mod identity;
pub mod inventory;
pub mod locate;
pub mod names;
pub mod rope;
pub mod template;
pub mod tokenizer;
pub mod weights;

pub use config::{Backbone, Config, DecoderConfig, Layout, NormKind, PixelShuffle, VisionConfig};
pub use folder::{Bytes, Folder};
pub use identity::Identity;
pub use inventory::Unit;
pub use names::UnitKind;
pub use weights::{StoredTensor, WeightFiles};

use crate::{Problem, Result};

/// A checkpoint, opened: configuration and inventory understood, no weight read yet.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Where its files are.
    pub folder: Folder,
    /// Its configuration.
    pub config: Config,
    /// Its weight files, mapped.
    pub weights: WeightFiles,
    /// Its units in execution order.
    pub units: Vec<Unit>,
}

impl Checkpoint {
    /// Opens what a person named: a folder, a Hugging Face cache entry, or `org/name` found in that cache.
    ///
    /// # Errors
    /// Everything that would make a run fail later: see [`Config::parse`], [`WeightFiles::open`] and
    /// [`inventory::units`].
    pub fn open(named: &str) -> Result<Self> {
        Self::from_folder(Folder::Disk(locate::checkpoint_folder(named)?))
    }

    /// Opens a checkpoint's files.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_folder(folder: Folder) -> Result<Self> {
        let place = folder.place("config.json");
        let value = folder.json("config.json")?.ok_or_else(|| {
            if folder.has("adapter_config.json") {
                return Problem::new("holds a LoRA adapter alone, not a checkpoint")
                    .at(folder.place(""))
                    .fix("merge the adapter into its base model (`merge_and_unload` of peft) and choose the merged checkpoint");
            }
            Problem::new("is missing").at(&place).fix("choose the folder of an InternVL checkpoint")
        })?;
        let config = Config::parse(&value, &place)?;
        let weights = WeightFiles::open(&folder)?;
        let units = inventory::units(&config, &weights, folder.place("").trim_end_matches('/'))?;
        Ok(Self { folder, config, weights, units })
    }

    /// Name for people: the folder's, or `org/name` of a cache entry.
    pub fn name(&self) -> String {
        let Folder::Disk(path) = &self.folder else { return "built-in demonstration".to_owned() };
        let path = path.canonicalize().unwrap_or_else(|_| path.clone());
        let cached = path.ancestors().find_map(|p| p.file_name()?.to_str()?.strip_prefix("models--"));
        match (cached, path.file_name()) {
            (Some(entry), _) => entry.replacen("--", "/", 1),
            (None, Some(name)) => name.to_string_lossy().into_owned(),
            (None, None) => path.display().to_string(),
        }
    }

    /// Bytes of all weights as stored.
    pub fn bytes(&self) -> u64 {
        self.units.iter().map(Unit::bytes).sum()
    }

    /// Number of parameters.
    pub fn parameters(&self) -> u64 {
        self.units.iter().map(Unit::parameters).sum()
    }
}
