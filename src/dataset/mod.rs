//! Datasets: questions with their images, read lazily.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

mod delimited;
mod folder;
mod found;
pub mod jsonl;
mod mmmu;
mod parquet;
pub mod prompt;
pub mod question;
mod record;
pub mod registry;
mod several;
mod storage;
mod tsv;

pub use found::{Found, discover, in_hugging_face_cache, in_vlmevalkit_root};
pub use prompt::{Prompt, Style};
pub use question::{ImageRef, Question, QuestionKind};
pub use registry::{Profile, Stated};

use base64::Engine;
use base64::alphabet::STANDARD as LETTERS;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::{Problem, Result};
use storage::{Prints, Storage};

/// The largest image file that is read.
const LARGEST_IMAGE: u64 = 256 << 20;

/// What is known of a question without its text and images: enough to choose by group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The dataset's own index, as text.
    pub index: String,
    /// Group for the report.
    pub category: Option<Arc<str>>,
    /// Coarser group.
    pub super_category: Option<Arc<str>>,
    /// Split.
    pub split: Option<Arc<str>>,
    /// What sort of answer is asked for.
    pub kind: QuestionKind,
}

impl Outline {
    fn new(index: String, groups: [Option<Arc<str>>; 3], kind: QuestionKind) -> Self {
        let [category, super_category, split] = groups;
        Self { index, category, super_category, split, kind }
    }
}

/// Names of groups, each kept once.
#[derive(Default)]
struct Names(HashMap<String, Arc<str>>);

impl Names {
    fn groups(&mut self, record: &record::Record) -> [Option<Arc<str>>; 3] {
        record::groups(record).map(|group| {
            let group = group?;
            if let Some(known) = self.0.get(group) {
                return Some(known.clone());
            }
            let name: Arc<str> = Arc::from(group);
            self.0.insert(group.to_owned(), name.clone());
            Some(name)
        })
    }
}

/// A format in which questions are kept. Places in problems are columns; [`Dataset`] adds file and row.
trait Source: Send + Sync + std::fmt::Debug {
    fn profile(&self) -> &Profile;
    fn columns(&self) -> &[String];
    fn len(&self) -> usize;
    /// The file of a row and the row's place in it, where there are several files.
    fn place(&self, _row: usize) -> Option<(&Path, usize)> {
        None
    }
    fn question(&self, row: usize) -> Result<Question>;
    fn image_bytes(&self, row: usize, part: usize) -> Result<Arc<[u8]>>;
    fn find(&self, index: &str) -> Result<Option<usize>>;
    fn outlines(&self) -> Result<Vec<Outline>>;
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }
    fn state(&mut self, stated: Stated);
    fn fingerprint(&self, md5: bool, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<Prints>>;
}

/// Questions in a file, a folder or the program itself. Opening finds the rows; everything else is read when asked
/// for, and may be asked for from several threads.
#[derive(Debug)]
pub struct Dataset {
    name: String,
    path: Option<PathBuf>,
    source: Box<dyn Source>,
    outlines: OnceLock<Result<Vec<Outline>>>,
    fingerprint: OnceLock<Prints>,
}

impl Dataset {
    /// Opens a dataset: a VLMEvalKit TSV, a parquet file (MMMU, MMMU-Pro), JSON lines ([`jsonl`]), a CSV beside its
    /// images, a folder of any of these, or the name `org/name` of a dataset in Hugging Face's cache.
    ///
    /// # Errors
    /// What is wrong with the file as a whole; a bad row is found when its question is asked for.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_watched(path, &mut |_| true)
    }

    /// [`Dataset::open`], watched: `go_on` hears how many bytes have been gone through, and stops by `false`.
    pub fn open_watched(path: &Path, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Self> {
        let cached = if path.exists() { None } else { path.to_str().and_then(found::cached) };
        let path = cached.as_deref().unwrap_or(path);
        if !path.exists() {
            return Err(Problem::new("there is no such file or folder").in_file(path).fix(
                "give a TSV, parquet or JSON lines file, a folder of them, or the name org/name of a dataset in the Hugging Face cache",
            ));
        }
        let name = found::name_of(path);
        let source: Box<dyn Source> = if path.is_dir() {
            let mut parts = Vec::new();
            for file in found::files_of(path)? {
                parts.push((file.clone(), open_file(&name, &file, go_on)?));
            }
            match parts.pop() {
                Some((_, only)) if parts.is_empty() => only,
                last => {
                    parts.extend(last);
                    Box::new(several::Several::new(path, parts)?)
                }
            }
        } else {
            open_file(&name, path, go_on)?
        };
        refuse_videos(source.columns()).map_err(|problem| problem.in_file(path))?;
        Ok(Self::of(name, Some(path.to_owned()), source))
    }

    /// A TSV that is part of the program.
    pub fn from_bytes(name: &str, tsv: &'static [u8]) -> Result<Self> {
        let source = tsv::Tsv::open(name, None, Storage::Embedded(tsv), tsv::Layout::Tsv, &mut |_| true)
            .map_err(|problem| placed(problem, name))?;
        Ok(Self::of(name.to_owned(), None, Box::new(source)))
    }

    fn of(name: String, path: Option<PathBuf>, source: Box<dyn Source>) -> Self {
        Self { name, path, source, outlines: OnceLock::new(), fingerprint: OnceLock::new() }
    }

    /// The dataset's name: its file's name without the ending.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it lies; `None` if it is part of the program.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What the dataset is: its type, tile limit and judgement.
    pub fn profile(&self) -> &Profile {
        self.source.profile()
    }

    /// Questions in it, bad rows included.
    pub fn len(&self) -> usize {
        self.source.len()
    }

    /// Whether it has no question.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the columns.
    pub fn columns(&self) -> &[String] {
        self.source.columns()
    }

    /// What was found wrong on opening, besides what refused it, and what it asks for that is not done here.
    pub fn problems(&self) -> Vec<Problem> {
        let problems = self.source.problems().into_iter().chain(registry::beyond(&self.name));
        problems.map(|problem| placed(problem, &self.place())).collect()
    }

    /// The question of a row, from 0.
    ///
    /// # Errors
    /// What is wrong with this row, with file, row (from 1, a header not counted) and column; other rows do not
    /// suffer.
    pub fn question(&self, row: usize) -> Result<Question> {
        self.source.question(row).map_err(|problem| placed(problem, &self.row_place(row)))
    }

    /// The bytes of an image as stored: png, jpeg and so on.
    pub fn image_bytes(&self, image: &ImageRef) -> Result<Arc<[u8]>> {
        match image {
            ImageRef::Bytes(bytes) => Ok(bytes.clone()),
            ImageRef::Stored { row, part } => {
                self.source.image_bytes(*row, *part).map_err(|problem| placed(problem, &self.row_place(*row)))
            }
            ImageRef::File(path) => {
                let about =
                    std::fs::metadata(path).map_err(|error| Problem::io("read the image", path, &error))?;
                if !about.is_file() || about.len() > LARGEST_IMAGE {
                    return Err(Problem::new("the image is no file or too large to read").in_file(path));
                }
                let bytes =
                    std::fs::read(path).map_err(|error| Problem::io("read the image", path, &error))?;
                Ok(bytes.into())
            }
        }
    }

    /// Where an image stands, for messages.
    pub fn image_place(&self, image: &ImageRef) -> String {
        match image {
            ImageRef::Bytes(_) => self.place(),
            ImageRef::Stored { row, part } => format!("{}, image {}", self.row_place(*row), part + 1),
            ImageRef::File(path) => path.display().to_string(),
        }
    }

    /// The row of an index.
    pub fn find(&self, index: &str) -> Option<usize> {
        self.source.find(index).ok().flatten()
    }

    /// Index, groups and kind of every row, in one pass that decodes no image; made once. A row that cannot be read
    /// has its position as index and no groups.
    pub fn outlines(&self) -> Result<&[Outline]> {
        let made = self.outlines.get_or_init(|| self.source.outlines());
        made.as_deref().map_err(|problem| placed(problem.clone(), &self.place()))
    }

    /// SHA-256 of the content, in hexadecimal; read through once.
    pub fn fingerprint(&self) -> Result<String> {
        Ok(self.fingerprint_watched(&mut |_| true)?.unwrap_or_default())
    }

    /// [`Dataset::fingerprint`], watched: `go_on` hears how many bytes have been gone through; `None` when it stopped.
    pub fn fingerprint_watched(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<String>> {
        Ok(self.prints(go_on)?.map(|prints| prints.sha256.clone()))
    }

    fn prints(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<&Prints>> {
        if let Some(known) = self.fingerprint.get() {
            return Ok(Some(known));
        }
        let with_md5 = self.published_md5().is_some();
        let made =
            self.source.fingerprint(with_md5, go_on).map_err(|problem| placed(problem, &self.place()))?;
        Ok(made.map(|made| self.fingerprint.get_or_init(|| made)))
    }

    /// The MD5 that is published of a TSV of this name. One whose images were put into files is another file.
    fn published_md5(&self) -> Option<&'static str> {
        let is_tsv = |path: &Path| path.is_file() && path.extension().is_some_and(|ending| ending == "tsv");
        let entry = self.profile().entry.filter(|entry| entry.name == self.name)?;
        entry.md5.filter(|_| self.path().is_some_and(is_tsv))
    }

    /// Takes what a person says of all questions before what columns, name and answers say.
    pub fn state(&mut self, stated: Stated) {
        self.source.state(stated);
        self.outlines = OnceLock::new();
    }

    /// Compares a dataset of a known name with what is published of it: rows, then MD5. `None` when it agrees or
    /// nothing is published; `go_on` hears how many bytes have been gone through. The MD5 is made in the same pass as the
    /// fingerprint, so whoever has that need not wait.
    pub fn check_published(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<Problem>> {
        let (Some(entry), Some(path)) = (self.profile().entry, self.path().filter(|path| path.is_file()))
        else {
            return Ok(None);
        };
        let differs = |what: String| {
            let fix = "scores may not compare with published ones; download the file again if that matters";
            Ok(Some(Problem::new(what).in_file(path).fix(fix)))
        };
        if let Some(rows) = entry.rows.filter(|&rows| rows != self.len()) {
            return differs(format!(
                "{} is published with {rows} rows, and this file has {}",
                entry.name,
                self.len()
            ));
        }
        let Some(published) = self.published_md5() else { return Ok(None) };
        match self.prints(go_on)?.and_then(|prints| prints.md5.as_deref()) {
            Some(found) if found != published => differs(format!(
                "this is not the published file of {}: its MD5 is {found}, not {published}",
                entry.name
            )),
            _ => Ok(None),
        }
    }

    fn place(&self) -> String {
        self.path.as_ref().map_or_else(|| self.name.clone(), |path| path.display().to_string())
    }

    fn row_place(&self, row: usize) -> String {
        match self.source.place(row) {
            Some((file, row)) => format!("{}, row {}", file.display(), row + 1),
            None => format!("{}, row {}", self.place(), row + 1),
        }
    }
}

impl AsRef<Profile> for Dataset {
    fn as_ref(&self) -> &Profile {
        self.profile()
    }
}

/// Refuses a table of questions about videos: without their frames, no answer would mean anything.
fn refuse_videos(columns: &[String]) -> Result<()> {
    let has = |names: &[&str]| columns.iter().any(|column| names.contains(&column.as_str()));
    if has(&["video", "video_path"]) && !has(&["image", "image_path", "images"]) {
        return Err(Problem::new("its questions are about videos, and only pictures are read")
            .fix("choose a dataset of pictures, or put frames as pictures into JSON lines"));
    }
    Ok(())
}

/// Opens one file by its ending, or by its first bytes where the ending says nothing.
fn open_file(name: &str, path: &Path, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Box<dyn Source>> {
    let storage = Storage::open(path)?;
    let start = storage.read(0..storage.len().min(64))?.into_owned();
    let ending =
        path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let file = Some(path.to_owned());
    let opened = match ending.as_str() {
        "parquet" => parquet::Parquet::open(name, path).map(|source| Box::new(source) as Box<dyn Source>),
        _ if start.starts_with(b"PAR1") => {
            parquet::Parquet::open(name, path).map(|source| Box::new(source) as _)
        }
        "jsonl" | "ndjson" => {
            jsonl::JsonLines::open(name, file, storage, go_on).map(|source| Box::new(source) as _)
        }
        "csv" => {
            tsv::Tsv::open(name, file, storage, tsv::Layout::Csv, go_on).map(|source| Box::new(source) as _)
        }
        "tsv" => {
            tsv::Tsv::open(name, file, storage, tsv::Layout::Tsv, go_on).map(|source| Box::new(source) as _)
        }
        _ if start.trim_ascii_start().starts_with(b"{") => {
            jsonl::JsonLines::open(name, file, storage, go_on).map(|source| Box::new(source) as _)
        }
        _ => tsv::Tsv::open(name, file, storage, tsv::Layout::Tsv, go_on).map(|source| Box::new(source) as _),
    };
    opened.map_err(|problem| placed(problem, &path.display().to_string()))
}

/// Base64 as datasets have it: padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &LETTERS,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The bytes that a base64 text stands for; `data:image/png;base64,` may stand before it, as browsers write it.
fn base64_bytes(mut text: String) -> Result<Arc<[u8]>> {
    if text.starts_with("data:")
        && let Some(comma) = text.find(',')
    {
        text.drain(..=comma);
    }
    let mut bytes = text.into_bytes();
    if bytes.iter().any(u8::is_ascii_whitespace) {
        bytes.retain(|byte| !byte.is_ascii_whitespace());
    }
    let image =
        BASE64.decode(&bytes).map_err(|error| Problem::new(format!("the image is not base64: {error}")))?;
    Ok(image.into())
}

/// The bytes of an image file.
fn read_image(path: &Path) -> Result<Arc<[u8]>> {
    let about = std::fs::metadata(path).map_err(|error| Problem::io("read the image", path, &error))?;
    if !about.is_file() || about.len() > LARGEST_IMAGE {
        return Err(Problem::new("the image is no file, or too large to read").in_file(path));
    }
    let bytes = std::fs::read(path).map_err(|error| Problem::io("read the image", path, &error))?;
    Ok(bytes.into())
}

/// A problem with what stands around its place.
fn placed(mut problem: Problem, around: &str) -> Problem {
    problem.place = Some(match problem.place {
        Some(place) if place.starts_with(around) => place,
        Some(place) if around.starts_with(&place) => around.to_owned(),
        Some(place) => format!("{around}, {place}"),
        None => around.to_owned(),
    });
    problem
}
