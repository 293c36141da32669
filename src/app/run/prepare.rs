//! From what is chosen, or from a session on disk, to an order for the engine: a job.

use std::path::{Path, PathBuf};

use super::live::About;
use super::memory::{DeviceTrace, Trace};
use crate::app::Workspace;
use crate::app::job::{Job, Wake};
use crate::app::language::tr;
use crate::app::pictures::Cutting;
use crate::engine::Order;
use crate::evaluation::Evaluation;
use crate::session::Answer;
use crate::session::list::unused_folder;
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
    let checkpoint = workspace.subject.ready().and_then(|subject| subject.checkpoint.clone());
    let (Some(checkpoint), Some(dataset)) = (checkpoint, workspace.dataset.ready().cloned()) else {
        return Err(Problem::new(tr("no checkpoint is chosen")).fix(tr("choose one on the setup screen")));
    };
    let (choices, root) = (workspace.choices.clone(), workspace.sessions.clone());
    Ok(Job::start("prepare a run", wake, move |handle| {
        let folder = unused_folder(&root, &checkpoint.name(), dataset.name(), &jiff::Zoned::now());
        let total = dataset.path().and_then(|path| path.metadata().ok()).map_or(0, |about| about.len());
        let evaluation =
            Evaluation::prepare(checkpoint, dataset, choices, &mut |bytes| handle.at(bytes, total))?;
        begin(evaluation, folder, false)
    }))
}

/// Prepares to go on with a session on disk.
pub fn resumed(folder: PathBuf, wake: &Wake) -> Job<Prepared> {
    Job::start("resume a session", wake, move |handle| {
        let mut watch = |file: &Path, bytes| handle.at(bytes, file.metadata().map_or(0, |about| about.len()));
        let evaluation = Evaluation::of_session(&folder, &mut watch)?;
        begin(evaluation, folder, true)
    })
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
    let notes = evaluation.notes();
    let (order, earlier) = evaluation.begin(&folder, resume)?;
    let cutting = Cutting { checkpoint, style: order.settings.style, max_tiles };
    Ok(Prepared { order, earlier, about, trace, cutting, notes })
}
