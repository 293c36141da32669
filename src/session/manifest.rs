//! The manifest of a session: what was asked of which checkpoint, and every setting that can change an answer.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::lines::open_file;
use crate::{Problem, Result};

/// Version of the session folder that this program writes, and the newest that it reads.
pub const SCHEMA: u32 = 1;

/// Name of the manifest in its folder.
pub const MANIFEST: &str = "manifest.json";

/// A manifest is a few kilobytes; anything past this is not one.
const LIMIT: u64 = 16 << 20;

/// Explicit question ids that a manifest spells out; beyond them only their count and hash are kept.
const IDS_SPELLED_OUT: usize = 100;

/// Settings that are recorded but cannot change what the model says: answers can be read again under any rule,
/// or by another judge; how many questions or threads are in flight, and which is first, changes no answer.
const NEUTRAL: [&str; 8] =
    ["rule", "answer_type", "judge", "batch", "replicas", "canary", "threads", "top_logprobs"];

/// What a session is about; written once, when it begins.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Manifest {
    /// Version of the session folder, see [`SCHEMA`].
    pub schema: u32,
    /// Program and version that began the session.
    pub program: String,
    /// When it began, RFC 3339.
    pub started: String,
    /// The model that answers.
    pub checkpoint: CheckpointRecord,
    /// The questions asked.
    pub dataset: DatasetRecord,
    /// How they are asked.
    pub settings: Settings,
    /// Which unit sits on which device.
    #[serde(default)]
    pub layout: LayoutRecord,
    /// The devices of the layout.
    #[serde(default)]
    pub devices: Vec<DeviceRecord>,
    /// Fields that this version does not know; kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The checkpoint as a session remembers it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct CheckpointRecord {
    /// Folder it was read from.
    #[serde(default)]
    pub path: String,
    /// Name for people.
    pub name: String,
    /// Layout of the folder (`internvl_chat`, `internvl`), or what answered instead (`import`, an endpoint).
    #[serde(default)]
    pub format: String,
    /// SHA-256 of `config.json`, hexadecimal; empty where unknown.
    #[serde(default)]
    pub config_hash: String,
    /// SHA-256 of the weight index or headers, hexadecimal; empty where unknown.
    #[serde(default)]
    pub index_hash: String,
    /// SHA-256 of tokenizer, its settings and chat template, hexadecimal; empty where unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub texts_hash: String,
    /// SHA-256 of samples of the weights, hexadecimal; empty where unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub weights_hash: String,
    /// Name of the prompt template.
    #[serde(default)]
    pub template: String,
    /// Fields that this version does not know; kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The dataset as a session remembers it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct DatasetRecord {
    /// File or folder it was read from.
    #[serde(default)]
    pub path: String,
    /// Name for people, and for rules that depend on it.
    pub name: String,
    /// Hash of the file; empty where unknown.
    #[serde(default)]
    pub hash: String,
    /// Questions in the whole dataset.
    #[serde(default)]
    pub questions: usize,
    /// Which of them are asked.
    #[serde(default)]
    pub selection: Selection,
    /// Fields that this version does not know; kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Which questions of a dataset a session asks: how they were chosen, how many they are, and a hash of their indices.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// At most so many, from the front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Indices asked for by name; the first hundred of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// A random sample of so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<usize>,
    /// Seed of the sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Questions of this category only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Questions of this split only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Questions selected.
    #[serde(default)]
    pub count: usize,
    /// SHA-256 of the selected indices, hexadecimal; the order in which they are asked does not matter.
    #[serde(default)]
    pub hash: String,
}

impl Selection {
    /// The selection of exactly these indices; the caller adds how they were chosen.
    pub fn of<'a>(indices: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sorted: Vec<&str> = indices.into_iter().collect();
        sorted.sort_unstable();
        let mut hash = Sha256::new();
        for index in &sorted {
            hash.update((index.len() as u64).to_le_bytes());
            hash.update(index.as_bytes());
        }
        let hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { count: sorted.len(), hash, ..Self::default() }
    }

    /// Notes that the questions were asked for by name; a long list is cut, since count and hash speak for it.
    pub fn by_ids(mut self, ids: impl IntoIterator<Item = String>) -> Self {
        self.ids = ids.into_iter().take(IDS_SPELLED_OUT).collect();
        self
    }
}

/// Every setting of a run.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Settings {
    /// Named way of building prompts.
    #[serde(default)]
    pub prompt_style: String,
    /// System prompt, where it is not the template's own.
    #[serde(default)]
    pub system_prompt: Option<String>,
    /// Rule by which answers are read while the session runs.
    #[serde(default)]
    pub rule: String,
    /// Longest answer, in tokens.
    #[serde(default)]
    pub max_new_tokens: usize,
    /// Most tiles an image is cut into, where it is not the dataset's or the checkpoint's own limit.
    #[serde(default)]
    pub max_tiles: Option<u32>,
    /// Number format of the weights (`f32`, `bf16`, `q8_0`, ...).
    #[serde(default)]
    pub dtype: String,
    /// How the next token is chosen.
    #[serde(default)]
    pub sampling: Sampling,
    /// Log-probabilities kept for so many alternatives of each token.
    #[serde(default)]
    pub top_logprobs: usize,
    /// Questions in flight.
    #[serde(default)]
    pub batch: usize,
    /// Threads of the CPU, where limited.
    #[serde(default)]
    pub threads: Option<usize>,
    /// Further settings; each of them counts as one that can change an answer.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prompt_style: String::new(),
            system_prompt: None,
            rule: String::new(),
            max_new_tokens: 0,
            max_tiles: None,
            dtype: String::new(),
            sampling: Sampling::Greedy,
            top_logprobs: 0,
            batch: 1,
            threads: None,
            other: Map::new(),
        }
    }
}

/// How the next token is chosen.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug, Default)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Sampling {
    /// Always the likeliest.
    #[default]
    Greedy,
    /// Drawn at random.
    Sample {
        /// Divides the logits.
        temperature: f64,
        /// Smallest set of tokens with at least this probability together.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        top_p: Option<f64>,
        /// The likeliest so many tokens.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        top_k: Option<usize>,
        /// Seed of the draw.
        seed: u64,
    },
}

impl std::fmt::Display for Sampling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::Sample { temperature, top_p, top_k, seed } = self else { return f.write_str("greedy") };
        write!(f, "temperature {temperature}")?;
        if let Some(top_p) = top_p {
            write!(f, ", top p {top_p}")?;
        }
        if let Some(top_k) = top_k {
            write!(f, ", top k {top_k}")?;
        }
        write!(f, ", seed {seed}")
    }
}

/// Which unit sits on which device.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct LayoutRecord {
    /// Name of the layout (`auto`, `internvl`, a file).
    #[serde(default)]
    pub name: String,
    /// Unit to device, in the order of execution.
    #[serde(default)]
    pub assignment: Map<String, Value>,
}

/// A device as a session remembers it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct DeviceRecord {
    /// Name in layouts (`cuda:0`, `cpu`).
    pub name: String,
    /// What it is (`NVIDIA H100 80GB HBM3`, `simulated`).
    #[serde(default)]
    pub model: String,
    /// The device's own identity, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Memory in bytes.
    #[serde(default)]
    pub total_bytes: u64,
    /// Fields that this version does not know; kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A setting on which two manifests disagree.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Difference {
    /// Name of the setting.
    pub setting: String,
    /// Its value in this manifest.
    pub here: String,
    /// Its value in the other one.
    pub there: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} here, {} there", self.setting, self.here, self.there)
    }
}

impl Manifest {
    /// A manifest that begins now.
    pub fn new(checkpoint: CheckpointRecord, dataset: DatasetRecord, settings: Settings) -> Self {
        Self {
            schema: SCHEMA,
            program: concat!("shardscope ", env!("CARGO_PKG_VERSION")).into(),
            started: jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string(),
            checkpoint,
            dataset,
            settings,
            layout: LayoutRecord::default(),
            devices: Vec::new(),
            other: Map::new(),
        }
    }

    /// Settings on which the two disagree and that can change what a model says.
    ///
    /// These count: the checkpoint (by its hashes; by its path where a hash is missing, so a moved folder is the
    /// same checkpoint), its tokenizer, chat template and samples of its weights, the dataset (likewise) and the selected questions, prompt style, system
    /// prompt, longest answer, tiles, dtype, sampling, and every setting under a name that this version does not know.
    /// These do not: rule, type of answers, judge, log-probabilities, questions in flight, threads, layout and devices (where a unit sits
    /// changes the last bits of a sum at most), program version and time.
    pub fn differences(&self, other: &Manifest) -> Vec<Difference> {
        let (mine, theirs) = (self.decisive(other), other.decisive(self));
        let mut names: Vec<&String> = mine.keys().collect();
        names.extend(theirs.keys().filter(|name| !mine.contains_key(*name)));
        let shown = |value: &Value| match value {
            Value::Null => "not set".to_string(),
            Value::String(text) if text.chars().nth(80).is_some() => {
                text.chars().take(80).chain(['…']).collect()
            }
            Value::String(text) if !text.is_empty() => text.clone(),
            value => value.to_string(),
        };
        names
            .into_iter()
            .filter_map(|name| {
                let (here, there) = (&mine.get(name).cloned(), &theirs.get(name).cloned());
                let (here, there) =
                    (here.as_ref().unwrap_or(&Value::Null), there.as_ref().unwrap_or(&Value::Null));
                (here != there).then(|| Difference {
                    setting: name.clone(),
                    here: shown(here),
                    there: shown(there),
                })
            })
            .collect()
    }

    /// What decides about the answers, name by name, for a comparison with `other`.
    fn decisive(&self, other: &Manifest) -> Map<String, Value> {
        let hashed = |a: &str, b: &str| !a.is_empty() && !b.is_empty();
        let mut all = Map::new();
        let (mine, theirs) = (&self.checkpoint, &other.checkpoint);
        if hashed(&mine.config_hash, &theirs.config_hash) && hashed(&mine.index_hash, &theirs.index_hash) {
            all.insert("checkpoint configuration (hash)".into(), mine.config_hash.clone().into());
            all.insert("checkpoint weights (hash of their index)".into(), mine.index_hash.clone().into());
        } else {
            all.insert("checkpoint".into(), mine.path.clone().into());
        }
        for (name, mine, theirs) in [
            ("tokenizer and chat template (hash)", &mine.texts_hash, &theirs.texts_hash),
            ("weights (hash of samples)", &mine.weights_hash, &theirs.weights_hash),
        ] {
            if hashed(mine, theirs) {
                all.insert(name.into(), mine.clone().into());
            }
        }
        all.insert("template".into(), mine.template.clone().into());
        if hashed(&self.dataset.hash, &other.dataset.hash) {
            all.insert("dataset (hash)".into(), self.dataset.hash.clone().into());
        } else {
            all.insert("dataset".into(), self.dataset.path.clone().into());
        }
        let selection = &self.dataset.selection;
        all.insert(
            "selected questions".into(),
            format!("{} (hash {})", selection.count, selection.hash.get(..12).unwrap_or(&selection.hash))
                .into(),
        );
        if let Ok(Value::Object(settings)) = serde_json::to_value(&self.settings) {
            all.extend(settings.into_iter().filter(|(name, _)| !NEUTRAL.contains(&name.as_str())));
        }
        all.insert("sampling".into(), self.settings.sampling.to_string().into());
        all
    }

    /// Reads the manifest of a session folder.
    ///
    /// # Errors
    /// The folder holds none, it is not a manifest, or a newer program wrote it.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        let file = open_file(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Problem::new(format!("not a session: it has no {MANIFEST}"))
                .in_file(dir)
                .fix("choose a folder that an evaluation has written"),
            _ => Problem::io("open the manifest", &path, &error),
        })?;
        let mut bytes = Vec::new();
        file.take(LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Problem::io("read the manifest", &path, &error))?;
        if bytes.len() as u64 > LIMIT {
            return Err(Problem::new("larger than a manifest can be").in_file(&path));
        }
        Self::parse(&bytes).map_err(|problem| problem.in_file(&path))
    }

    /// Reads a manifest from its bytes.
    ///
    /// # Errors
    /// It is not a manifest, or a newer program wrote it.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        /// Every version of a manifest has this much.
        #[derive(Deserialize)]
        struct Version {
            schema: u64,
        }
        let wrong = |error: serde_json::Error| {
            Problem::new(format!("not a manifest that can be read: {error}"))
                .fix("a manifest is written once and never changed; take it from a copy of the session, if there is one")
        };
        let version: Version = serde_json::from_slice(bytes).map_err(wrong)?;
        if version.schema == 0 || version.schema > u64::from(SCHEMA) {
            return Err(Problem::new(format!(
                "this session has schema {}, and this program ({}) reads up to {SCHEMA}",
                version.schema,
                concat!("shardscope ", env!("CARGO_PKG_VERSION")),
            ))
            .fix("open it with the version of Shardscope that wrote it, or a newer one"));
        }
        serde_json::from_slice(bytes).map_err(wrong)
    }

    /// Writes the manifest: whole or not at all, and on the disk when this returns. The caller holds the folder's lock.
    pub(super) fn write_once(&self, dir: &Path) -> Result<()> {
        let (path, draft) = (dir.join(MANIFEST), dir.join("manifest.json.tmp"));
        let failed = |error: std::io::Error| Problem::io("write the manifest", &path, &error);
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Problem::new(format!("cannot write the manifest: {error}")).in_file(&path))?;
        bytes.push(b'\n');
        let write = || {
            let mut file = create_new(&draft)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            sync_folder(dir)
        };
        write().map_err(failed)
    }
}

/// Makes a file that is not there yet; one that an interrupted run has left is removed, and no link is followed.
pub(super) fn create_new(path: &Path) -> std::io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => File::create_new(path),
    }
}

/// Makes the names in a folder durable; Windows does so by itself.
fn sync_folder(dir: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { fs::metadata(dir).map(drop) }
}
