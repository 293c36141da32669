//! A session in the formats of others: tables, VLMEvalKit, lmms-eval, and a report for people.

mod samples;
mod table;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::str::FromStr;

use super::journal::Answer;
use super::manifest::{Manifest, create_new};
use super::record::Record;
use super::report;
use crate::{Problem, Result};

/// What a session can be exported to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A table for people and scripts, one row a question.
    Csv,
    /// The answers as the session keeps them, without those that were replaced.
    JsonLines,
    /// VLMEvalKit's prediction file, tab-separated.
    VlmevalkitTsv,
    /// VLMEvalKit's prediction file, as a spreadsheet.
    VlmevalkitXlsx,
    /// The samples file of lmms-eval.
    LmmsEval,
    /// A page that opens without a network.
    Html,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] =
        [Self::Csv, Self::JsonLines, Self::VlmevalkitTsv, Self::VlmevalkitXlsx, Self::LmmsEval, Self::Html];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
            Self::VlmevalkitTsv => "vlmevalkit-tsv",
            Self::VlmevalkitXlsx => "vlmevalkit-xlsx",
            Self::LmmsEval => "lmms-eval",
            Self::Html => "html",
        }
    }

    /// The name under which others look for such a file of this session.
    pub fn file_name(self, record: &Record) -> String {
        self.file_name_of(record.manifest())
    }

    /// The same by the manifest alone.
    pub fn file_name_of(self, manifest: &Manifest) -> String {
        let plain = |text: &str| text.replace(['/', '\\'], "__").replace(char::is_control, "_");
        let (model, dataset) = (plain(&manifest.checkpoint.name), plain(&manifest.dataset.name));
        match self {
            Self::Csv => format!("{model}_{dataset}.csv"),
            Self::JsonLines => format!("{model}_{dataset}.jsonl"),
            Self::VlmevalkitTsv => format!("{model}_{dataset}.tsv"),
            Self::VlmevalkitXlsx => format!("{model}_{dataset}.xlsx"),
            Self::LmmsEval => {
                let date: String = manifest.started.chars().filter(char::is_ascii_digit).take(14).collect();
                let (day, time) = date.split_at_checked(8).unwrap_or((&date, ""));
                format!("{day}_{time}_samples_{dataset}.jsonl")
            }
            Self::Html => format!("{model}_{dataset}.html"),
        }
    }
}

impl FromStr for Format {
    type Err = Problem;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
            Problem::new(format!("{name:?} is not a format that a session can be exported to"))
                .fix(format!("choose one of {}", Self::ALL.map(Self::name).join(", ")))
        })
    }
}

/// Gives the encoded bytes of a question's picture, counted from 0; nothing where it cannot be had.
pub type Pictures<'a> = dyn Fn(&Answer, usize) -> Option<Vec<u8>> + Sync + 'a;

/// Exports a session to a file, which appears whole or not at all, and tells what the format could not hold.
/// Only the report asks for pictures.
///
/// # Errors
/// An answer cannot be read, or the file cannot be written.
pub fn export(record: &Record, format: Format, to: &Path, pictures: &Pictures) -> Result<Vec<Problem>> {
    let mut warnings = Vec::new();
    if record.damaged() > 0 {
        warnings.push(
            Problem::new(format!("{} damaged lines of the session are left out", record.damaged()))
                .in_file(record.dir()),
        );
    }
    match format {
        Format::Csv => write_whole(to, |file| table::csv(record, file))?,
        Format::JsonLines => write_whole(to, |file| samples::journal(record, file))?,
        Format::VlmevalkitTsv => {
            warnings.extend(write_whole(to, |file| table::vlmevalkit_tsv(record, file))?)
        }
        Format::VlmevalkitXlsx => {
            warnings.extend(write_whole(to, |file| table::vlmevalkit_xlsx(record, file))?)
        }
        Format::LmmsEval => write_whole(to, |file| samples::lmms_eval(record, file))?,
        Format::Html => {
            warnings.extend(write_whole(to, |file| {
                report::write(record, file, pictures, &report::Limits::default())
            })?);
        }
    }
    Ok(warnings)
}

/// The file that an export is written to.
pub(super) type Out = BufWriter<File>;

/// Why an export stopped: a problem of the session, or of the file that is written.
pub(super) enum Stop {
    /// The session.
    Session(Problem),
    /// The file.
    File(io::Error),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Session(problem)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Self {
        Self::File(error.into())
    }
}

/// Writes a file under another name and gives it its own when it is whole.
fn write_whole<T>(to: &Path, write: impl FnOnce(&mut Out) -> Result<T, Stop>) -> Result<T> {
    let name = to.file_name().ok_or_else(|| Problem::new("not the name of a file").in_file(to))?;
    let mut part = name.to_os_string();
    part.push(".part");
    let part = to.with_file_name(part);
    let written = create_new(&part).map_err(Stop::File).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 18, file);
        let result = write(&mut out)?;
        out.flush()?;
        fs::rename(&part, to)?;
        Ok(result)
    });
    written.map_err(|stop| {
        let _ = fs::remove_file(&part);
        match stop {
            Stop::Session(problem) => problem,
            Stop::File(error) => {
                Problem::io("write", to, &error).fix("choose a folder that can be written and has room")
            }
        }
    })
}
