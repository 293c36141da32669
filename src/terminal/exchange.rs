//! `shardscope sessions export` and `sessions import`: a session as the files of others, and back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::datasets::open_dataset;
use super::progress::Ticker;
use super::{print_line, say};
use crate::cli::Failure;
use crate::dataset::Stated;
use crate::evaluation::imported::{self, Said};
use crate::evaluation::pictures::Pictures;
use crate::scoring::{AnswerType, Rule};
use crate::session::export::{Format, export as write};
use crate::session::folder::{ANSWERS, EVENTS, MEMORY};
use crate::session::manifest::MANIFEST;
use crate::session::{Answer, JUDGEMENTS, Record};
use crate::{Problem, Result};

/// Writes a session in another format.
///
/// # Errors
/// A folder that is no session, an unknown rule, a file that is there already; or writing breaks off.
pub fn export(
    session: &Path,
    format: Format,
    out: Option<&Path>,
    rule: Option<&str>,
    judged_too: bool,
    force: bool,
) -> Result<(), Failure> {
    let rule = rule.map(Rule::by_name).transpose()?;
    let mut record = Record::open(session)?;
    let to = destination(&record, format, out, force)?;
    record = match rule {
        _ if judged_too => judged(record, rule)?,
        Some(rule) => record.under(rule)?,
        None => record,
    };
    let warnings = if format == Format::Html {
        let pictures = Pictures::of(&record);
        let ticker = Ticker::new(Duration::from_secs(2), "pictures read");
        let picture = |answer: &Answer, nth| pictures.picture(answer, nth).inspect(|_| ticker.tick());
        let mut warnings = write(&record, format, &to, &picture).map_err(Failure::Broken)?;
        warnings.extend(pictures.warnings());
        warnings
    } else {
        write(&record, format, &to, &|_, _| None).map_err(Failure::Broken)?
    };
    for warning in &warnings {
        say(format!("warning: {warning}"));
    }
    say(format!("{} answers in {}", record.len(), to.display()));
    Ok(())
}

/// A session under a rule, or its own, with the recorded replies of judges counted.
///
/// # Errors
/// The session's rule is none of ours, or an answer cannot be read.
pub fn judged(record: Record, rule: Option<Rule>) -> Result<Record> {
    let recorded = &record.manifest().settings.rule;
    let rule = rule.or(Rule::by_name(recorded).ok()).ok_or_else(|| {
        Problem::new(format!("a judge stands behind a rule, and {recorded:?} is none of ours"))
            .fix("name a rule with --rule")
    })?;
    record.judged_under(rule)
}

/// The file that is written: refused where it is there already, or where a session keeps its own files.
fn destination(record: &Record, format: Format, out: Option<&Path>, force: bool) -> Result<PathBuf> {
    let name = format.file_name(record);
    let to = match out {
        None => PathBuf::from(name),
        Some(folder) if folder.is_dir() => folder.join(name),
        Some(file) => file.to_owned(),
    };
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Problem::new("there is no such folder")
            .in_file(folder)
            .fix("make it, or choose another with --out"));
    }
    let own = |file: &std::ffi::OsStr| {
        [MANIFEST, ANSWERS, EVENTS, MEMORY, JUDGEMENTS].iter().any(|name| file == *name)
    };
    if folder.join(MANIFEST).exists() && to.file_name().is_some_and(own) {
        return Err(Problem::new("this file is part of a session")
            .in_file(&to)
            .fix("choose another with --out"));
    }
    if to.symlink_metadata().is_ok() && !force {
        return Err(Problem::new("this file is there already")
            .in_file(&to)
            .fix("choose another with --out, or replace it with --force"));
    }
    Ok(to)
}

/// Makes a session of a file of predictions.
///
/// # Errors
/// A file that holds no predictions, an unknown rule or dataset, a folder that holds a session already.
pub fn import(
    file: &Path,
    session: &Path,
    dataset: Option<&str>,
    rule: Option<&str>,
    answer_type: Option<AnswerType>,
    model: Option<&str>,
) -> Result<(), Failure> {
    let said = Said {
        dataset: dataset.map(|named| open_dataset(Some(named), Stated::default())).transpose()?,
        rule: rule.map(Rule::by_name).transpose()?,
        answer_type,
        model: model.map(str::to_owned),
    };
    let (count, warnings) = imported::import(file, session, &said)?;
    for warning in &warnings {
        say(format!("warning: {warning}"));
    }
    print_line(&format!("{count} answers in {}", session.display()))
}
