//! An evaluation as a person asks for it: from checkpoint, dataset and choices to a session and an order for the
//! engine. The window and the terminal both begin their runs here.

mod canary;
pub mod copies;
pub mod facts;
pub mod free;
pub mod imported;
pub mod learnt;
pub mod named;
pub mod named_map;
pub mod pictures;
pub mod placing;
mod questions;
mod resumption;
pub mod served;

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

pub use learnt::Learnt;
use placing::{Placing, Wanted};
pub use questions::Questions;

use crate::checkpoint::{Checkpoint, Folder, Identity, Layout};
use crate::dataset::{Dataset, Stated};
use crate::devices::{Driver, Reading, sampler};
use crate::engine::costs::Pricing;
use crate::engine::{Admission, Language, Neighbours, Order, RunSettings, Schedule, model};
use crate::model::WeightType;
use crate::plan::{Assumptions, Kept, Sourced};
use crate::scoring::Rule;
use crate::scoring::judge::{AnyJudge, JudgeStep};
use crate::session::manifest::{
    CheckpointRecord, DatasetRecord, DeviceRecord, Manifest, Selection, Settings,
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
    /// Number format of the weights: auto, f32, bf16, f16, q8_0, q4_0, q4k.
    pub dtype: String,
    /// Devices, as the SPEC of the command line.
    pub devices: String,
    /// Layout, by name or file.
    pub layout: String,
    /// Questions in flight.
    pub batch: usize,
    /// Whether the question that is forecast to take the most memory is asked first.
    pub canary: bool,
    /// Copies of the model, each on devices of its own.
    pub replicas: usize,
    /// Threads of the CPU; all where none is said.
    pub threads: Option<usize>,
    /// Where corrections of memory forecasts come from and go to.
    pub learnt: Learnt,
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
            canary: false,
            replicas: 1,
            threads: None,
            learnt: Learnt::default(),
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
    /// One for each copy of the model.
    placings: Vec<Placing>,
    /// The row that is asked before all others.
    canary: Option<usize>,
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
        let language = Language::open(&checkpoint)?;
        let rows = choices.questions.rows(&dataset)?;
        let (placings, canary) = place(&choices, &checkpoint, &language, weight_type, (&dataset, &rows))?;
        let mut manifest = manifest(&choices, &checkpoint, &language, &dataset, (&rows, &rule), watch)?;
        for placing in placings.iter().rev() {
            let (layout, devices) = placing.record(&checkpoint);
            manifest.layout = layout;
            manifest.devices.splice(0..0, devices);
        }
        if placings.len() > 1 {
            manifest.settings.other.insert("replicas".into(), placings.len().into());
        }
        if choices.canary {
            manifest.settings.other.insert("canary".into(), true.into());
        }
        Ok(Self {
            checkpoint,
            language,
            dataset,
            rows,
            rule,
            manifest,
            choices,
            weight_type,
            placings,
            canary,
            judge: None,
        })
    }

    /// Asks a judge about answers that the rule cannot read; `record` is how the manifest names it.
    pub fn with_judge(mut self, judge: JudgeStep<AnyJudge>, record: Value) -> Self {
        self.manifest.settings.other.insert("judge".into(), record);
        self.judge = Some(judge);
        self
    }

    /// What there is to know about the plan before the run.
    pub fn notes(&self) -> Vec<Problem> {
        self.placings.iter().flat_map(|placing| placing.notes.clone()).collect()
    }

    /// Begins a session in a folder, or goes on with the one that is there, and gives the engine's order and what is
    /// answered already.
    ///
    /// # Errors
    /// As [`Session::create`] and [`Session::resume`].
    pub fn begin(self, folder: &Path, resume: bool) -> Result<(Order, Vec<Answer>)> {
        let (mut session, done) = match resume {
            true => Session::resume(folder, &self.manifest)?,
            false => (Session::create(folder, &self.manifest)?, Vec::new()),
        };
        let mut rows = remaining(&self.dataset, &self.rows, &done)?;
        let canary = self.canary.filter(|row| canary::put_first(&mut rows, *row));
        let mut notes = Vec::new();
        if resume {
            let (begun, now) = (session.manifest(), &self.manifest);
            let known = |devices: &[DeviceRecord]| -> Vec<(String, u64)> {
                devices.iter().map(|device| (device.name.clone(), device.total_bytes)).collect()
            };
            let moved = begun.layout != now.layout || known(&begun.devices) != known(&now.devices);
            let details = json!({ "answered": done.len(), "devices": now.devices, "layout": now.layout });
            session.event("resume", if moved { details } else { json!({ "answered": done.len() }) })?;
            if moved {
                let what = "this session was begun on other devices or under another layout; that changes no answer, and \
                            is noted in its events";
                notes.push(Problem::new(what).at(folder.display().to_string()));
            }
        }
        if let Some(outline) = canary.and_then(|row| self.dataset.outlines().ok()?.get(row)) {
            session.event("canary", json!({ "index": outline.index }))?;
        }
        let learnt = self.choices.learnt.clone();
        let forecasts: Vec<_> = self.placings.iter().map(|placing| placing.forecasting.clone()).collect();
        let forecasting = forecasts.clone();
        let admission: Admission = Box::new(move |others, need| {
            let beside: Vec<_> =
                others.iter().copied().filter(|other| other.replica == need.replica).collect();
            beside.is_empty() || forecasts.get(need.replica).is_none_or(|of| of.admits(&beside, need))
        });
        let neighbours = neighbours(&self.manifest.devices);
        let order = Order {
            checkpoint: self.checkpoint,
            language: self.language,
            weight_type: self.weight_type,
            replicas: self.placings.iter().map(Placing::placement).collect(),
            schedule: Schedule { batch: self.choices.batch, admission },
            forecasting,
            dataset: self.dataset,
            rows,
            settings: self.choices.settings,
            rule: self.rule,
            judge: self.judge,
            session,
            learn: Some(Box::new(move |lessons| learnt.learn(lessons))),
            neighbours,
            notes,
        };
        Ok((order, done))
    }
}

/// Plans where the units lie; with the row to be asked first, where one is wished for.
fn place(
    choices: &Choices,
    checkpoint: &Checkpoint,
    language: &Language,
    weight_type: WeightType,
    (dataset, rows): (&Dataset, &[usize]),
) -> Result<(Vec<Placing>, Option<usize>)> {
    let settings = &choices.settings;
    let assumptions = Assumptions {
        in_flight: Sourced::chosen(choices.batch.div_ceil(choices.replicas.max(1)) as u64),
        max_new_tokens: Sourced::chosen(settings.max_new_tokens as u64),
        tile_batch: Sourced::default(Some(settings.micro_batch as u64)),
        prefill_chunk: Sourced::default(Some(settings.prefill_chunk as u64)),
        kept: Sourced::default(
            Kept { pictures: settings.picture_cache, prompts: settings.prompt_cache }
                .shared_among(choices.replicas),
        ),
        ..Assumptions::default()
    };
    let config = &checkpoint.config;
    let pricing = Pricing {
        dataset,
        style: settings.style,
        system: settings.system.as_deref(),
        max_tiles: settings.max_tiles,
        tiling: &|max_tiles| model::tiling(config, max_tiles),
        tokens_per_tile: config.tokens_per_tile(),
        language: Some(language),
    };
    let wanted = Wanted {
        checkpoint,
        weight_type,
        devices: &choices.devices,
        layout: &choices.layout,
        assumptions,
        calibration: &|card| choices.learnt.of(card),
    };
    let priced = OnceCell::new();
    let costs = || priced.get_or_init(|| pricing.all(rows).0);
    let placings = Placing::new(wanted, choices.replicas, &mut || costs().clone())?;
    let canary = choices.canary.then(|| canary::heaviest(&placings, costs(), dataset)).flatten();
    Ok((placings, canary))
}

/// How other processes on GPUs are watched; where there are none, or no driver tells, nothing is.
fn neighbours(devices: &[DeviceRecord]) -> Option<Neighbours> {
    let named = |device: &DeviceRecord| Some((device.uuid.clone()?, device.name.clone()));
    let names: HashMap<String, String> = devices.iter().filter_map(named).collect();
    if names.is_empty() {
        return None;
    }
    let driver = Driver::open().ok()?;
    let read = move || {
        let ours = |reading: Reading| {
            let device = names.get(&reading.device)?.clone();
            Some(Reading { device, ..reading })
        };
        driver.readings().into_iter().filter_map(ours).collect()
    };
    Some(Neighbours { read: Box::new(read), settings: sampler::Settings::default() })
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
    (rows, rule): (&[usize], &Rule),
    watch: &mut dyn FnMut(u64) -> bool,
) -> Result<Manifest> {
    let identity = Identity::of(checkpoint)?;
    let checkpoint_path = match &checkpoint.folder {
        Folder::Disk(dir) => kept_path(Some(dir)),
        Folder::Embedded(_) => kept_path(None),
    };
    Ok(Manifest::new(
        CheckpointRecord {
            path: checkpoint_path,
            name: checkpoint.name(),
            format: match checkpoint.config.layout {
                Layout::Github => "internvl_chat".into(),
                Layout::HuggingFace => "internvl".into(),
            },
            config_hash: identity.config,
            index_hash: identity.index,
            texts_hash: identity.texts,
            weights_hash: identity.weights,
            template: language.template.name().to_owned(),
            ..CheckpointRecord::default()
        },
        dataset_record(choices, dataset, rows, watch)?,
        settings_record(choices, rule),
    ))
}

/// The dataset and the questions chosen, as a manifest keeps them.
fn dataset_record(
    choices: &Choices,
    dataset: &Dataset,
    rows: &[usize],
    watch: &mut dyn FnMut(u64) -> bool,
) -> Result<DatasetRecord> {
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
    let Some(hash) = dataset.fingerprint_watched(watch)? else {
        return Err(Problem::new("reading the dataset was stopped").at(dataset.name()));
    };
    Ok(DatasetRecord {
        path: kept_path(dataset.path()),
        name: dataset.name().to_owned(),
        hash,
        questions: dataset.len(),
        selection: selection.by_ids(chosen.ids.iter().cloned()),
        ..DatasetRecord::default()
    })
}

/// The settings as a manifest keeps them.
fn settings_record(choices: &Choices, rule: &Rule) -> Settings {
    let mut stated = Map::new();
    if let Some(kind) = choices.stated.kind {
        stated.insert("kind".into(), kind.name().into());
    }
    if let Some(answer_type) = choices.stated.answer_type {
        stated.insert("answer_type".into(), answer_type.name().into());
    }
    let settings = &choices.settings;
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
    }
}

/// The rows that have no answer yet.
fn remaining(dataset: &Dataset, rows: &[usize], done: &[Answer]) -> Result<Vec<usize>> {
    let done: HashSet<&str> = done.iter().map(|a| a.index.as_str()).collect();
    let outlines = dataset.outlines()?;
    let is_open = |row: &usize| outlines.get(*row).is_none_or(|o| !done.contains(o.index.as_str()));
    Ok(rows.iter().copied().filter(is_open).collect())
}
