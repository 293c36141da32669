//! From what is chosen, or from a session on disk, to an order for the engine: a job.

use std::path::{Path, PathBuf};

use super::live::About;
use super::memory::{DeviceTrace, Trace};
use crate::app::Workspace;
use crate::app::job::{Handle, Job, Wake};
use crate::app::language::tr;
use crate::app::pictures::Cutting;
use crate::engine::Order;
use crate::evaluation::Evaluation;
use crate::session::{Answer, default_folder};
use crate::{Problem, Result};

/// A run that can begin.
pub struct Prepared {
    /// What the engine is to do.
    pub order: Order,
    /// What was answered in earlier runs of the session.
    pub earlier: Vec<Answer>,
    /// What it is about.
    pub about: About,
    /// The devices.
    pub trace: Trace,
    /// How pictures are cut.
    pub cutting: Cutting,
}

/// Prepares a run of what is chosen.
///
/// # Errors
/// Something is not chosen, or cannot be run.
pub fn new(workspace: &Workspace, root: Option<PathBuf>, wake: &Wake) -> Result<Job<Prepared>> {
    let Some(subject) = workspace.subject.ready() else {
        return Err(Problem::new(tr("No checkpoint is open")).fix(tr("choose one on the setup screen")));
    };
    let Some(checkpoint) = subject.checkpoint.clone() else {
        return Err(Problem::new(tr("This model is known by its configuration alone: its weights are not here"))
            .at(subject.name.clone())
            .fix(tr("choose a folder that holds its weights")));
    };
    let Some(dataset) = workspace.dataset.ready().cloned() else {
        return Err(Problem::new(tr("No dataset is open")).fix(tr("choose one on the setup screen")));
    };
    let choices = workspace.choices.clone();
    Ok(Job::start("prepare a run", wake, move |handle| {
        let folder = folder(root.as_deref(), &checkpoint.name(), dataset.name());
        let total = dataset.path().and_then(|path| path.metadata().ok()).map_or(0, |about| about.len());
        let evaluation = Evaluation::prepare(checkpoint, dataset, choices, &mut |bytes| handle.at(bytes, total))?;
        begin(evaluation, folder, false)
    }))
}

/// Prepares to go on with a session on disk.
pub fn resumed(folder: PathBuf, wake: &Wake) -> Job<Prepared> {
    Job::start("resume a session", wake, move |handle| {
        let evaluation = of_session(&folder, handle)?;
        begin(evaluation, folder, true)
    })
}

fn of_session(_folder: &Path, _handle: &Handle) -> Result<Evaluation> {
    Err(Problem::new("not yet"))
}

/// A folder for a new session that does not exist yet.
fn folder(root: Option<&Path>, checkpoint: &str, dataset: &str) -> PathBuf {
    let usual = default_folder(checkpoint, dataset, &jiff::Zoned::now());
    match (root, usual.file_name()) {
        (Some(root), Some(name)) => root.join(name),
        _ => usual,
    }
}

fn begin(evaluation: Evaluation, folder: PathBuf, resume: bool) -> Result<Prepared> {
    let settings = &evaluation.manifest.settings;
    let about = About {
        folder: folder.clone(),
        checkpoint: evaluation.checkpoint.name(),
        dataset: evaluation.dataset.name().to_owned(),
        rule: settings.rule.clone(),
        total: evaluation.rows.len(),
    };
    let mut trace = Trace::default();
    trace.devices.extend(evaluation.manifest.devices.iter().map(|device| DeviceTrace {
        name: device.name.clone(),
        model: device.model.clone(),
        capacity: (device.total_bytes > 0).then_some(device.total_bytes),
        ..DeviceTrace::default()
    }));
    let (checkpoint, max_tiles) = (evaluation.checkpoint.clone(), settings.max_tiles);
    let (order, earlier) = evaluation.begin(&folder, resume)?;
    let cutting = Cutting { checkpoint, style: order.settings.style, max_tiles };
    Ok(Prepared { order, earlier, about, trace, cutting })
}
