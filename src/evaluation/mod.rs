//! An evaluation as a person asks for it: from checkpoint, dataset and choices to a session and an order for the
//! engine. The window and the terminal both begin their runs here.

pub mod named;
mod questions;
mod resumption;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use serde_json::{Map, Value, json};

pub use questions::Questions;

use crate::checkpoint::{Checkpoint, Folder, Layout};
use crate::dataset::{Dataset, Stated};
use crate::engine::{Language, Order, RunSettings, model};
use crate::model::WeightType;
use crate::scoring::Rule;
use crate::scoring::judge::{AnyJudge, JudgeStep};
use crate::session::manifest::{
    CheckpointRecord, DatasetRecord, DeviceRecord, LayoutRecord, Manifest, Selection, Settings,
};
use crate::session::{Answer, Session};
use crate::{Problem, Result, demo};

/// Everything about a run that a person can choose, besides checkpoint and dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Choices {
    /// Which questions are asked.
    pub questions: Questions,
    /// How they are asked.
    pub settings: RunSettings,
    /// What was said about the dataset that its columns and name do not say.
    pub stated: Stated,
    /// Rule by which answers are read.
    pub rule: String,
    /// Number format of the weights: auto, f32, bf16, f16, q8_0, q4k.
    pub dtype: String,
    /// Devices, as the SPEC of the command line.
    pub devices: String,
    /// Layout, by name or file.
    pub layout: String,
    /// Questions in flight.
    pub batch: usize,
    /// Threads of the CPU; all where none is said.
    pub threads: Option<usize>,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            questions: Questions::default(),
            settings: RunSettings::default(),
            stated: Stated::default(),
            rule: "shardscope".into(),
            dtype: "auto".into(),
            devices: "auto".into(),
            layout: "auto".into(),
            batch: 1,
            threads: None,
        }
    }
}

/// A run that is ready to begin: everything is checked, nothing is written.
pub struct Evaluation {
    /// The model that will answer.
    pub checkpoint: Arc<Checkpoint>,
    /// Its tokenizer and template.
    pub language: Language,
    /// The questions.
    pub dataset: Arc<Dataset>,
    /// Rows of the dataset that are asked, in its order.
    pub rows: Vec<usize>,
    /// How answers are read.
    pub rule: Rule,
    /// What the session will be begun with.
    pub manifest: Manifest,
    choices: Choices,
    weight_type: WeightType,
    device: Device,
    judge: Option<JudgeStep<AnyJudge>>,
}

impl Evaluation {
    /// Checks the choices against checkpoint and dataset. Hashing a large dataset takes a while: `watch` hears the
    /// bytes so far, and its `false` stops.
    ///
    /// # Errors
    /// A choice that does not fit, a checkpoint without tokenizer or template, a dataset that cannot be read.
    pub fn prepare(
        checkpoint: Arc<Checkpoint>,
        dataset: Arc<Dataset>,
        choices: Choices,
        watch: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Self> {
        let rule = Rule::by_name(&choices.rule)?;
        let weight_type = model::weight_type(&choices.dtype)?;
        let (device, device_name) = device(&choices.devices)?;
        refuse_layout(&choices.layout)?;
        let language = Language::open(&checkpoint)?;
        let rows = choices.questions.rows(&dataset)?;
        let manifest =
            manifest(&choices, &checkpoint, &language, &dataset, (&rows, &rule, &device_name), watch)?;
        Ok(Self {
            checkpoint,
            language,
            dataset,
            rows,
            rule,
            manifest,
            choices,
            weight_type,
            device,
            judge: None,
        })
    }

    /// Asks a judge about answers that the rule cannot read; `record` is how the manifest names it.
    pub fn with_judge(mut self, judge: JudgeStep<AnyJudge>, record: Value) -> Self {
        self.manifest.settings.other.insert("judge".into(), record);
        self.judge = Some(judge);
        self
    }

    /// Begins a session in a folder, or goes on with the one that is there, and gives the engine's order and what is
    /// answered already.
    ///
    /// # Errors
    /// As [`Session::create`] and [`Session::resume`].
    pub fn begin(self, folder: &Path, resume: bool) -> Result<(Order, Vec<Answer>)> {
        let (session, done) = match resume {
            true => Session::resume(folder, &self.manifest)?,
            false => (Session::create(folder, &self.manifest)?, Vec::new()),
        };
        let rows = remaining(&self.dataset, &self.rows, &done)?;
        let order = Order {
            checkpoint: self.checkpoint,
            language: self.language,
            weight_type: self.weight_type,
            device: self.device,
            dataset: self.dataset,
            rows,
            settings: self.choices.settings,
            rule: self.rule,
            judge: self.judge,
            session,
        };
        Ok((order, done))
    }
}

/// The device that a SPEC means, and its name.
fn device(spec: &str) -> Result<(Device, String)> {
    let refuse = |what: &str| Problem::new(what).at(format!("--devices {spec}"));
    let cuda = |ordinal: usize| {
        let device = Device::new_cuda_with_stream(ordinal).map_err(|e| {
            refuse(&format!("this device cannot be used: {e}")).fix("choose another device, or --devices cpu")
        })?;
        Ok((device, format!("cuda:{ordinal}")))
    };
    match spec {
        "cpu" => Ok((Device::Cpu, "cpu".into())),
        "auto" if cfg!(feature = "cuda") => cuda(0).or(Ok((Device::Cpu, "cpu".into()))),
        "auto" => Ok((Device::Cpu, "cpu".into())),
        _ => match (spec.strip_prefix("cuda:"), spec.strip_prefix("sim:")) {
            (Some(_), _) if !cfg!(feature = "cuda") => {
                Err(refuse("this build has no CUDA")
                    .fix("build with `--features cuda`, or choose --devices cpu"))
            }
            (Some(ordinals), _) => match ordinals.parse() {
                Ok(ordinal) => cuda(ordinal),
                Err(_) => {
                    Err(refuse("this version runs on one device").fix("name one device, such as cuda:0"))
                }
            },
            (_, Some(_)) => {
                Err(refuse("this version does not run on simulated devices yet").fix("choose --devices cpu"))
            }
            _ => Err(refuse("is no device").fix("choose auto, cpu or cuda:0")),
        },
    }
}

fn refuse_layout(layout: &str) -> Result<()> {
    match layout {
        "auto" | "single" => Ok(()),
        _ => Err(Problem::new("this version runs on one device, so there is nothing to lay out")
            .at(format!("--layout {layout}"))
            .fix("leave --layout away")),
    }
}

/// The path that a manifest keeps: as the system resolves it, or that of the built-in pair.
fn kept_path(path: Option<&Path>) -> String {
    path.map_or_else(
        || demo::BUILT_IN.to_owned(),
        |p| p.canonicalize().unwrap_or_else(|_| p.to_owned()).display().to_string(),
    )
}

fn manifest(
    choices: &Choices,
    checkpoint: &Checkpoint,
    language: &Language,
    dataset: &Dataset,
    (rows, rule, device): (&[usize], &Rule, &str),
    watch: &mut dyn FnMut(u64) -> bool,
) -> Result<Manifest> {
    let (config_hash, index_hash) = checkpoint.hashes()?;
    let outlines = dataset.outlines()?;
    let indices = rows.iter().filter_map(|row| outlines.get(*row)).map(|o| o.index.as_str());
    let chosen = &choices.questions;
    let selection = Selection {
        limit: chosen.limit,
        sample: chosen.sample,
        seed: chosen.sample.map(|_| chosen.seed.unwrap_or(0)),
        category: chosen.category.clone(),
        split: chosen.split.clone(),
        ..Selection::of(indices)
    };
    let checkpoint_path = match &checkpoint.folder {
        Folder::Disk(dir) => kept_path(Some(dir)),
        Folder::Embedded(_) => kept_path(None),
    };
    let mut stated = Map::new();
    if let Some(kind) = choices.stated.kind {
        stated.insert("kind".into(), kind.name().into());
    }
    if let Some(answer_type) = choices.stated.answer_type {
        stated.insert("answer_type".into(), answer_type.name().into());
    }
    let Some(hash) = dataset.fingerprint_watched(watch)? else {
        return Err(Problem::new("reading the dataset was stopped").at(dataset.name()));
    };
    let settings = &choices.settings;
    let mut manifest = Manifest::new(
        CheckpointRecord {
            path: checkpoint_path,
            name: checkpoint.name(),
            format: match checkpoint.config.layout {
                Layout::Github => "internvl_chat".into(),
                Layout::HuggingFace => "internvl".into(),
            },
            config_hash,
            index_hash,
            template: language.template.name().to_owned(),
            ..CheckpointRecord::default()
        },
        DatasetRecord {
            path: kept_path(dataset.path()),
            name: dataset.name().to_owned(),
            hash,
            questions: dataset.len(),
            selection: selection.by_ids(chosen.ids.iter().cloned()),
            ..DatasetRecord::default()
        },
        Settings {
            prompt_style: settings.style.name().to_owned(),
            system_prompt: settings.system.clone(),
            rule: rule.name(),
            max_new_tokens: settings.max_new_tokens,
            max_tiles: settings.max_tiles,
            dtype: choices.dtype.clone(),
            sampling: settings.sampling,
            top_logprobs: settings.top_logprobs,
            batch: choices.batch,
            threads: choices.threads,
            other: stated,
        },
    );
    let assignment = checkpoint.units.iter().map(|unit| (unit.name.clone(), json!(device))).collect();
    manifest.layout = LayoutRecord { name: choices.layout.clone(), assignment };
    manifest.devices = vec![DeviceRecord { name: device.to_owned(), ..DeviceRecord::default() }];
    Ok(manifest)
}

/// The rows that have no answer yet.
fn remaining(dataset: &Dataset, rows: &[usize], done: &[Answer]) -> Result<Vec<usize>> {
    let done: HashSet<&str> = done.iter().map(|a| a.index.as_str()).collect();
    let outlines = dataset.outlines()?;
    let is_open = |row: &usize| outlines.get(*row).is_none_or(|o| !done.contains(o.index.as_str()));
    Ok(rows.iter().copied().filter(is_open).collect())
}
