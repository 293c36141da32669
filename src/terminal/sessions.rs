//! `shardscope sessions`: what is on disk.

use std::path::Path;

use serde_json::{Value, json};

use super::judging::Tally;
use super::{comparison, exchange, print_json, print_line, summary};
use crate::Problem;
use crate::cli::{Ending, Failure, Outcome, SessionsCommand};
use crate::scoring::judge;
use crate::scoring::{Report, Verdict};
use crate::session::{Manifest, Record, State, Summary, list, sessions_root};
use crate::words::excerpt;

/// Runs the command.
///
/// # Errors
/// A folder that is no session, or what the commands themselves refuse.
pub fn run(command: &SessionsCommand) -> Outcome {
    match command {
        SessionsCommand::List { root, json } => {
            if let Some(root) = root.as_ref().filter(|root| !root.is_dir()) {
                let problem = Problem::new("is no folder").in_file(root);
                return Err(problem.fix("give the folder that holds session folders").into());
            }
            list_all(&root.clone().unwrap_or_else(sessions_root), *json)?;
        }
        SessionsCommand::Show { session, judged, json } => show(session, *judged, *json)?,
        SessionsCommand::Compare { first, second, rule, json } => {
            comparison::compare(first, second, rule.as_deref(), *json)?;
        }
        SessionsCommand::Disagree { session, rules: (one, two), json } => {
            comparison::disagree(session, (one, two), *json)?;
        }
        SessionsCommand::Export { session, format, out, rule, judged, force } => {
            exchange::export(session, *format, out.as_deref(), rule.as_deref(), *judged, *force)?;
        }
        SessionsCommand::Import { file, session, dataset, rule, answer_type, model } => {
            let (dataset, rule, model) = (dataset.as_deref(), rule.as_deref(), model.as_deref());
            exchange::import(file, session, dataset, rule, *answer_type, model)?;
        }
    }
    Ok(Ending::Done)
}

/// A name that a manifest gives.
type Of = fn(&Manifest) -> &str;

fn list_all(root: &Path, as_json: bool) -> Result<(), Failure> {
    let sessions = list(root);
    if as_json {
        let rows: Vec<Value> = sessions.iter().map(summary_json).collect();
        return print_json(&json!({ "root": root.display().to_string(), "sessions": rows }));
    }
    if sessions.is_empty() {
        return print_line(&format!("no sessions in {}", root.display()));
    }
    let model: Of = |manifest| &manifest.checkpoint.name;
    let dataset: Of = |manifest| &manifest.dataset.name;
    let name = |session: &Summary, of: Of| {
        session.manifest.as_ref().map_or_else(|| "-".to_owned(), |manifest| excerpt(of(manifest), 32))
    };
    let width = |of: Of| sessions.iter().map(|session| name(session, of).chars().count()).max().unwrap_or(1);
    let (models, datasets) = (width(model), width(dataset));
    for session in &sessions {
        let state = match &session.state {
            State::Complete => "complete".to_owned(),
            State::Partial { done, of } => format!("{done} of {of}"),
            State::Damaged(_) => "damaged".to_owned(),
        };
        let state = if session.running { format!("{state}, running") } else { state };
        let score = match session.tally.accuracy() {
            Some(accuracy) => format!("{:.1} %", 100.0 * accuracy),
            None => "not scored".to_owned(),
        };
        let date = session.manifest.as_ref().map_or_else(String::new, |manifest| date(&manifest.started));
        print_line(&format!(
            "{date}  {score:>12}  {state:<18} {:models$}  {:datasets$}  {}",
            name(session, model),
            name(session, dataset),
            session.dir.display()
        ))?;
        if let State::Damaged(why) = &session.state {
            print_line(&format!("    {}", excerpt(why, 200)))?;
        }
    }
    Ok(())
}

/// A time as people read it, without its seconds.
fn date(started: &str) -> String {
    let time = started.parse::<jiff::Timestamp>().ok();
    let local =
        time.map(|time| time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string());
    local.unwrap_or_else(|| excerpt(started, 16))
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
        "answered": session.tally.questions(),
        "accuracy": session.tally.accuracy(),
    })
}

fn show(session: &Path, judged: bool, as_json: bool) -> Result<(), Failure> {
    let mut record = Record::open(session)?;
    if judged {
        record = exchange::judged(record, None)?;
    }
    let (mut report, mut tally) = (Report::default(), Tally::default());
    // Whether a reply is there for an answer that is still unparsed.
    let mut undecided = false;
    for answer in record.answers() {
        let answer = answer?;
        report.add(answer.judged());
        if let Some(record) = &answer.judge {
            tally.add(record);
            undecided |=
                !judged && answer.verdict == Verdict::Unparsed && record.outcome == judge::Outcome::Read;
        }
    }
    let manifest = record.manifest();
    if as_json {
        let mut result = summary::report_json(&report);
        if !tally.is_empty() {
            result["judge"] = tally.json();
        }
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
    if !tally.is_empty() {
        print_line(&tally.text())?;
        if undecided {
            print_line("its replies are counted with --judged")?;
        }
    }
    print_line(&summary::report_text(&report))
}
