//! `shardscope sessions`: what is on disk.

use std::path::Path;

use serde_json::{Value, json};

use super::{print_json, print_line, summary};
use crate::Problem;
use crate::cli::{Ending, Failure, Outcome, SessionsCommand};
use crate::scoring::Report;
use crate::session::{Record, State, Summary, list, sessions_root};

/// Runs the command.
///
/// # Errors
/// A folder that is no session.
pub fn run(command: &SessionsCommand) -> Outcome {
    match command {
        SessionsCommand::List { root, json } => {
            if let Some(root) = root.as_ref().filter(|root| !root.is_dir()) {
                let problem = Problem::new("is no folder").in_file(root);
                return Err(problem.fix("give the folder that holds session folders").into());
            }
            list_all(&root.clone().unwrap_or_else(sessions_root), *json)?;
        }
        SessionsCommand::Show { session, json } => show(session, *json)?,
    }
    Ok(Ending::Done)
}

fn list_all(root: &Path, as_json: bool) -> Result<(), Failure> {
    let sessions = list(root);
    if as_json {
        let rows: Vec<Value> = sessions.iter().map(summary_json).collect();
        return print_json(&json!({ "root": root.display().to_string(), "sessions": rows }));
    }
    if sessions.is_empty() {
        return print_line(&format!("no sessions in {}", root.display()));
    }
    for session in &sessions {
        let state = match &session.state {
            State::Complete => "complete".to_owned(),
            State::Partial { done, of } => format!("{done} of {of}"),
            State::Damaged(why) => format!("damaged: {why}"),
        };
        let score = match session.tally.accuracy() {
            Some(accuracy) => format!("{:5.1} %", 100.0 * accuracy),
            None => "  not scored".to_owned(),
        };
        print_line(&format!("{score}  {:<16} {}", state, session.dir.display()))?;
    }
    Ok(())
}

fn summary_json(session: &Summary) -> Value {
    let manifest = session.manifest.as_ref();
    let (state, why) = match &session.state {
        State::Complete => ("complete", None),
        State::Partial { .. } => ("partial", None),
        State::Damaged(why) => ("damaged", Some(why)),
    };
    json!({
        "session": session.dir.display().to_string(),
        "state": state,
        "problem": why,
        "running": session.running,
        "checkpoint": manifest.map(|m| &m.checkpoint.name),
        "dataset": manifest.map(|m| &m.dataset.name),
        "started": manifest.map(|m| &m.started),
        "layout": manifest.map(|m| &m.layout.name),
        "answered": session.tally.total(),
        "accuracy": session.tally.accuracy(),
    })
}

fn show(session: &Path, as_json: bool) -> Result<(), Failure> {
    let record = Record::open(session)?;
    let mut report = Report::default();
    for answer in record.answers() {
        summary::count(&mut report, &answer?);
    }
    let manifest = record.manifest();
    if as_json {
        let mut result = summary::report_json(&report);
        result["manifest"] = serde_json::to_value(manifest).unwrap_or_default();
        result["problems"] = record.problems().iter().map(ToString::to_string).collect::<Vec<_>>().into();
        return print_json(&result);
    }
    print_line(&format!(
        "{} on {}, begun {} by {}",
        manifest.checkpoint.name, manifest.dataset.name, manifest.started, manifest.program
    ))?;
    print_line(&format!("{} of {} questions answered", record.settled(), record.questions()))?;
    for problem in record.problems() {
        print_line(&format!("problem: {problem}"))?;
    }
    print_line(&summary::report_text(&report))
}
