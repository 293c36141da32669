//! From what is chosen, or from a session on disk, to an order for an engine: a job.

use std::path::{Path, PathBuf};

use super::live::About;
use super::memory::{DeviceTrace, Trace};
use crate::app::Workspace;
use crate::app::job::{Handle, Job, Wake};
use crate::app::language::tr;
use crate::app::pictures::Cutting;
use crate::app::served::{self, Opening};
use crate::engine::{self, Run};
use crate::evaluation::served::{ServedEvaluation, is_served};
use crate::evaluation::{Choices, Evaluation};
use crate::session::list::unused_folder;
use crate::session::{Answer, Manifest};
use crate::{Problem, Result};

/// What an engine is to do.
pub enum Order {
    /// The one on this machine.
    Here(Box<engine::Order>),
    /// The one that asks a server.
    Served(Box<engine::served::Order>),
}

impl Order {
    /// Starts the engine.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self) -> Result<Run> {
        match self {
            Self::Here(order) => Run::start(*order),
            Self::Served(order) => engine::served::start(*order),
        }
    }
}

/// A run that can begin.
pub struct Prepared {
    /// What the engine is to do.
    pub order: Order,
    /// The questions.
    pub dataset: std::sync::Arc<crate::dataset::Dataset>,
    /// What was answered in earlier runs of the session.
    pub earlier: Vec<Answer>,
    /// What it is about.
    pub about: About,
    /// The devices; none where a server answers.
    pub trace: Trace,
    /// How pictures are cut, where that is known.
    pub cutting: Option<Cutting>,
    /// What there is to know before it begins.
    pub notes: Vec<Problem>,
}

/// Prepares a run of what is chosen.
///
/// # Errors
/// Something is not chosen, or cannot be run.
pub fn new(workspace: &Workspace, wake: &Wake) -> Result<Job<Prepared>> {
    if let Some(problem) = workspace.obstacle() {
        return Err(problem);
    }
    let (choices, root) = (workspace.choices.clone(), workspace.sessions.clone());
    let Some(dataset) = workspace.dataset.ready().cloned() else {
        return Err(Problem::new(tr("no dataset is chosen")).fix(tr("choose one on the setup screen")));
    };
    let total = dataset.path().and_then(|path| path.metadata().ok()).map_or(0, |about| about.len());
    if workspace.served.is_chosen {
        let door = workspace.served.door()?;
        let service = workspace.served.server.service()?;
        // What can be asked of weights that are here alone.
        let mut choices = Choices { batch: 1, replicas: 1, ..choices };
        (choices.settings.top_logprobs, choices.settings.max_tiles) = (0, None);
        return Ok(Job::start("prepare a run", wake, move |handle| {
            let (brief, patient) = door.open()?;
            let folder = unused_folder(&root, patient.model(), dataset.name(), &jiff::Zoned::now());
            let health = served::health(&brief)?;
            let mut watch = |bytes| handle.at(bytes, total);
            let evaluation =
                ServedEvaluation::prepare(patient, service, &health, dataset, choices, &mut watch)?;
            begin_served(evaluation, folder, false, false)
        }));
    }
    let checkpoint = workspace.subject.ready().and_then(|subject| subject.checkpoint.clone());
    let Some(checkpoint) = checkpoint else {
        return Err(Problem::new(tr("no checkpoint is chosen")).fix(tr("choose one on the setup screen")));
    };
    Ok(Job::start("prepare a run", wake, move |handle| {
        let folder = unused_folder(&root, &checkpoint.name(), dataset.name(), &jiff::Zoned::now());
        let evaluation =
            Evaluation::prepare(checkpoint, dataset, choices, &mut |bytes| handle.at(bytes, total))?;
        begin(evaluation, folder, false)
    }))
}

/// Prepares to go on with a session on disk; one of a served model is opened with what is known of its server.
pub fn resumed(folder: PathBuf, opening: Opening, wake: &Wake) -> Job<Prepared> {
    Job::start("resume a session", wake, move |handle| {
        let manifest = Manifest::read(&folder)?;
        if is_served(&manifest) {
            return resumed_served(folder, &manifest, &opening, handle);
        }
        let evaluation = Evaluation::of_session(&folder, &mut |file, bytes| handle.at(bytes, length(file)))?;
        begin(evaluation, folder, true)
    })
}

fn resumed_served(
    folder: PathBuf,
    manifest: &Manifest,
    opening: &Opening,
    handle: &Handle,
) -> Result<Prepared> {
    let (brief, patient) = opening.endpoints(manifest, &folder)?;
    let health = served::health(&brief)?;
    let mut watch = |file: &Path, bytes| handle.at(bytes, length(file));
    let evaluation = ServedEvaluation::going_on(&folder, patient, &health, &mut watch)?;
    begin_served(evaluation, folder, true, opening.failed_again)
}

/// Bytes of a file, 0 where unknown.
fn length(file: &Path) -> u64 {
    file.metadata().map_or(0, |about| about.len())
}

fn begin_served(
    evaluation: ServedEvaluation,
    folder: PathBuf,
    resume: bool,
    failed_again: bool,
) -> Result<Prepared> {
    let about = About {
        folder: folder.clone(),
        checkpoint: evaluation.endpoint.model().to_owned(),
        dataset: evaluation.dataset.name().to_owned(),
        rule: evaluation.manifest.settings.rule.clone(),
        total: evaluation.rows.len(),
        server: Some(evaluation.endpoint.address().host().to_owned()),
    };
    let (dataset, notes) = (evaluation.dataset.clone(), evaluation.notes.clone());
    let (order, earlier) = evaluation.begin(&folder, resume, failed_again)?;
    let order = Order::Served(Box::new(order));
    Ok(Prepared { order, dataset, earlier, about, trace: Trace::default(), cutting: None, notes })
}

fn begin(evaluation: Evaluation, folder: PathBuf, resume: bool) -> Result<Prepared> {
    let settings = &evaluation.manifest.settings;
    let about = About {
        folder: folder.clone(),
        checkpoint: evaluation.checkpoint.name(),
        dataset: evaluation.dataset.name().to_owned(),
        rule: settings.rule.clone(),
        total: evaluation.rows.len(),
        server: None,
    };
    let mut trace = Trace::default();
    trace.devices.extend(evaluation.manifest.devices.iter().map(|device| DeviceTrace {
        name: device.name.clone(),
        model: device.model.clone(),
        capacity: (device.total_bytes > 0).then_some(device.total_bytes),
        ..DeviceTrace::default()
    }));
    let (checkpoint, max_tiles) = (evaluation.checkpoint.clone(), settings.max_tiles);
    let notes = evaluation.notes();
    let dataset = evaluation.dataset.clone();
    let (order, earlier) = evaluation.begin(&folder, resume)?;
    let cutting = Some(Cutting { checkpoint, style: order.settings.style, max_tiles });
    Ok(Prepared { order: Order::Here(Box::new(order)), dataset, earlier, about, trace, cutting, notes })
}
