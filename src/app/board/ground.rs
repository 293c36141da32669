//! What a plan stands on: the devices that a SPEC means, what the questions cost, and the case made from both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::app::job::Handle;
use crate::app::workspace::Subject;
use crate::dataset::{Dataset, Style};
use crate::devices::{Driver, find, host};
use crate::engine::Language;
use crate::engine::costs::Pricing;
use crate::engine::model::weight_type;
use crate::evaluation::named_map::NamedMap;
use crate::evaluation::{Choices, Learnt, Questions};
use crate::model::weights;
use crate::picture::tiles::Tiling;
use crate::plan::assumptions::Engine;
use crate::plan::device::Links;
use crate::plan::exchange;
use crate::plan::planner::{self, Wishes};
use crate::plan::spec::DeviceSpec;
use crate::plan::{Assumptions, Case, Device, Layout, Model, ModelShape, Plan, QuestionCost, Workload};
use crate::{Problem, Result};

/// The devices of a SPEC.
#[derive(Debug, PartialEq)]
pub struct Found {
    /// The SPEC.
    pub spec: String,
    /// The devices.
    pub devices: Vec<Device>,
    /// Ways between them, where known.
    pub links: Links,
    /// Host memory in bytes, where known.
    pub host_memory: Option<u64>,
}

impl Found {
    /// Looks for the devices of a SPEC. Asks the driver only where the SPEC means real GPUs.
    ///
    /// # Errors
    /// A SPEC that makes no sense, or GPUs that are not there.
    pub fn look(spec: &str) -> Result<Self> {
        let wanted = DeviceSpec::parse(spec)?;
        let host_memory = host::memory().map(|(total, _)| total);
        let spec = spec.to_owned();
        if matches!(wanted, DeviceSpec::Simulated(_) | DeviceSpec::Cpu) {
            let devices = find::devices(&wanted, &Err(Problem::new("not asked")))?;
            return Ok(Self { spec, devices, links: Links::default(), host_memory });
        }
        let driver = Driver::open();
        let devices = find::devices(&wanted, &driver)?;
        let links = match &driver {
            Ok(driver) => find::links(&devices, &driver.gpus(), &driver.pairs()),
            Err(_) => Links::default(),
        };
        Ok(Self { spec, devices, links, host_memory })
    }
}

/// Which questions are priced, and how they would be asked.
#[derive(Clone)]
pub struct Asked {
    shape: Arc<ModelShape>,
    language: Option<Language>,
    dataset: Arc<Dataset>,
    questions: Questions,
    style: Style,
    system: Option<String>,
    max_tiles: Option<u32>,
}

/// What the questions cost.
#[derive(Debug, Default)]
pub struct Priced {
    /// Those that can be read, in the dataset's order.
    pub costs: Vec<QuestionCost>,
    /// How many cannot be read.
    pub unread: usize,
    /// What is wrong with the first of those.
    pub first_problem: Option<Problem>,
}

/// Rows priced between two looks at whether the work is still wanted.
const ROWS_AT_ONCE: usize = 64;

impl Asked {
    /// What is asked of this model and dataset under these choices.
    pub fn new(subject: &Subject, dataset: &Arc<Dataset>, choices: &Choices) -> Self {
        let language = subject.language.as_ref().and_then(|language| language.as_ref().ok());
        Self {
            shape: Arc::clone(&subject.shape),
            language: language.cloned(),
            dataset: Arc::clone(dataset),
            questions: choices.questions.clone(),
            style: choices.settings.style,
            system: choices.settings.system.clone(),
            max_tiles: choices.settings.max_tiles,
        }
    }

    /// Whether the same is asked of the same model and dataset.
    pub fn is_of(&self, subject: &Subject, dataset: &Arc<Dataset>, choices: &Choices) -> bool {
        Arc::ptr_eq(&self.shape, &subject.shape)
            && Arc::ptr_eq(&self.dataset, dataset)
            && self.questions == choices.questions
            && self.style == choices.settings.style
            && self.system == choices.settings.system
            && self.max_tiles == choices.settings.max_tiles
    }

    /// Tiles and prompt tokens of every question chosen, from the headers of its pictures.
    ///
    /// # Errors
    /// A choice of questions that the dataset cannot satisfy, or the work was cancelled.
    pub fn price(&self, handle: &Handle) -> Result<Priced> {
        let rows = self.questions.rows(&self.dataset)?;
        let side = self.shape.vision.as_ref().map_or(448, |(vision, _)| vision.image_size) as u32;
        let pricing = Pricing {
            dataset: &self.dataset,
            style: self.style,
            system: self.system.as_deref(),
            max_tiles: self.max_tiles,
            tiling: &|max_tiles| Tiling { side, min_tiles: 1, max_tiles, thumbnail: true },
            tokens_per_tile: self.shape.tokens_per_tile as usize,
            language: self.language.as_ref(),
        };
        let mut priced = Priced::default();
        for (turn, some) in rows.chunks(ROWS_AT_ONCE).enumerate() {
            if !handle.at((turn * ROWS_AT_ONCE) as u64, rows.len() as u64) {
                return Err(Problem::new("reading the questions was cancelled"));
            }
            let (costs, problems) = pricing.all(some);
            priced.costs.extend(costs);
            priced.unread += problems.len();
            priced.first_problem = priced.first_problem.or(problems.into_iter().next());
        }
        Ok(priced)
    }
}

/// From where the first plan comes.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// A layout by name.
    Layout(Layout),
    /// A map in a file, or one that stands there itself.
    File(PathBuf),
}

impl Start {
    /// As `--layout` is read: a name, or else a file.
    pub fn named(text: &str) -> Self {
        Layout::parse(text).map_or_else(|_| Self::File(text.into()), Self::Layout)
    }
}

/// Everything that a plan is made from, ready to be made in the background.
#[derive(Clone)]
pub struct Ground {
    /// The model.
    pub shape: Arc<ModelShape>,
    /// What its files say, where there are files.
    pub files: Option<Arc<Files>>,
    /// The devices.
    pub found: Arc<Found>,
    /// The questions; without them one picture at its most tiles is assumed.
    pub priced: Option<Arc<Priced>>,
    /// What is taken for granted.
    pub assumptions: Assumptions,
    /// Most tiles an image, in place of the model's own limit.
    pub max_tiles: Option<u32>,
    /// Where what runs have learnt about memory here is kept.
    pub learnt: Learnt,
}

impl PartialEq for Ground {
    fn eq(&self, other: &Self) -> bool {
        let same_costs = match (&self.priced, &other.priced) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => self.max_tiles == other.max_tiles,
            _ => false,
        };
        Arc::ptr_eq(&self.shape, &other.shape)
            && Arc::ptr_eq(&self.found, &other.found)
            && same_costs
            && self.assumptions == other.assumptions
            && self.learnt == other.learnt
    }
}

/// A case under both habits, and a plan.
pub struct Laid {
    /// What it was made from.
    pub ground: Ground,
    /// The case as Shardscope runs.
    pub own: Arc<Case>,
    /// The case as the software of the releases runs.
    pub released: Arc<Case>,
    /// The plan.
    pub plan: Plan,
}

impl Ground {
    /// The case of this ground.
    pub fn case(&self) -> Case {
        let workload = match &self.priced {
            Some(priced) if !priced.costs.is_empty() => Workload::new(priced.costs.clone()),
            _ => one_picture(&self.shape, self.max_tiles),
        };
        let shape = ModelShape::clone(&self.shape);
        let in_files = self.files.as_ref().map(|files| &files.units);
        let mut model = Model::new(shape, self.assumptions.dtype.value, in_files);
        if matches!(self.assumptions.engine.value, Engine::Cpu { .. }) {
            let held = self.files.as_ref().map_or(&[][..], |files| &files.held);
            model = model.held_on_the_cpu(held);
        }
        let mut case = Case::new(model, self.found.devices.clone(), self.assumptions.clone(), workload);
        case.links = self.found.links.clone();
        if let Some(bytes) = self.found.host_memory {
            case.host_memory = bytes;
        }
        case
    }

    /// Under which name a run on these devices would learn: the card's, or `cpu` where it computes there.
    fn card(&self) -> Option<&str> {
        match self.assumptions.engine.value {
            Engine::Cpu { .. } => Some("cpu"),
            Engine::Gpu => {
                self.found.devices.iter().filter(|device| device.is_gpu()).find_map(|gpu| gpu.card.as_deref())
            }
        }
    }

    /// Makes the case and its plan: a layout by name, or a map in a file; pins hold where the plan is ours.
    ///
    /// # Errors
    /// The layout needs what is not there, the file is no device map, or what was learnt cannot be read from a file of the
    /// person's choice.
    pub fn lay(self, start: &Start, pins: Vec<(usize, usize)>) -> Result<Laid> {
        let own = self.case();
        // What was measured was measured of this engine, and corrects no other's.
        let released = own.with_assumptions(own.assumptions.clone().as_released());
        let own = match self.card() {
            Some(card) => own.with_calibration(self.learnt.of(card)?),
            None => own,
        };
        let plan = match start {
            Start::Layout(Layout::Auto | Layout::Custom) => {
                planner::ours(&own, &Wishes { pins, ..Wishes::default() })?
            }
            Start::Layout(layout) if layout.is_from_pytorch() => planner::plan(&released, *layout)?,
            Start::Layout(layout) => planner::plan(&own, *layout)?,
            Start::File(path) => {
                let name = path.to_string_lossy();
                let map = NamedMap::find(&name)?
                    .ok_or_else(|| Problem::new("this layout is no longer there").in_file(path))?;
                exchange::read(&map.text, &own).map_err(|problem| map.about(problem))?.plan
            }
        };
        Ok(Laid { ground: self, own: Arc::new(own), released: Arc::new(released), plan })
    }
}

/// Without a dataset: one picture at its most tiles, its thumbnail, and two hundred tokens of text.
fn one_picture(shape: &ModelShape, max_tiles: Option<u32>) -> Workload {
    let limit = max_tiles.map_or(shape.max_tiles, u64::from);
    let tiles = if shape.vision.is_none() { 0 } else { limit + u64::from(limit > 1) };
    Workload::assumed(tiles, tiles.saturating_mul(shape.tokens_per_tile).saturating_add(200))
}

/// What the files of a checkpoint say about its units.
#[derive(Debug)]
pub struct Files {
    /// Bytes of each unit in the files.
    pub units: BTreeMap<String, u64>,
    /// Bytes that each unit takes once this engine holds it on the CPU, in their order.
    pub held: Vec<u64>,
}

impl Files {
    /// Reads them from the headers, where the checkpoint is here; `dtype` is the number format that is asked for.
    pub fn of(subject: &Subject, dtype: &str) -> Option<Self> {
        let checkpoint = subject.checkpoint.as_ref()?;
        let units = checkpoint.units.iter().map(|unit| (unit.name.clone(), unit.bytes())).collect();
        let held = weight_type(dtype).map_or_else(
            |_| Vec::new(),
            |held| checkpoint.units.iter().map(|unit| weights::held_bytes(unit, held)).collect(),
        );
        Some(Self { units, held })
    }
}
