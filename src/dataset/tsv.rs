//! VLMEvalKit's TSV, and a CSV beside its images: a question a row, read lazily.
//!
//! The columns are VLMEvalKit's: `question`, `answer`, `A` to `Z`, `hint`, `category`, `image`, `image_path` and so on.
//! In a TSV `image` is base64, the index of the row that has the image, or a list of either. In a CSV it is the name of
//! a file relative to the CSV's folder, several names with `;` between them, or a list.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::dataset::delimited::Delimited;
use crate::dataset::folder::ImageFolders;
use crate::dataset::question::{ImageRef, Question, QuestionKind};
use crate::dataset::record::{self, Record};
use crate::dataset::registry::{Profile, Stated};
use crate::dataset::storage::{Prints, Storage};
use crate::dataset::{Names, Outline, Source, base64_bytes};
use crate::literal;
use crate::{Problem, Result};

/// A cell of `image` up to this length is the index of the row that holds the image.
const LONGEST_REFERENCE: usize = 64;

/// Rows looked at to tell whether a dataset asks for yes or no.
const SAMPLE: usize = 64;

/// How cells are told apart, and what `image` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Tabs; base64.
    Tsv,
    /// Commas; names of files.
    Csv,
}

/// A VLMEvalKit TSV.
#[derive(Debug)]
pub(crate) struct Tsv {
    layout: Layout,
    table: Delimited,
    profile: Profile,
    folders: ImageFolders,
    image: Option<usize>,
    /// Which columns are read for a question's texts.
    texts: Vec<bool>,
    /// Hashes of the rows' indices with their rows, in order of hash; made when first needed.
    rows_by_index: OnceLock<Result<Vec<(u64, u32)>>>,
    all_yes_or_no: OnceLock<bool>,
}

/// What an image cell holds.
enum Held {
    Nothing,
    /// Base64 texts and references, in order.
    Parts(Vec<String>),
}

impl Tsv {
    /// Opens a TSV of this name. `file` is where it lies, if it does. `go_on` hears the bytes gone through.
    pub(crate) fn open(
        name: &str,
        file: Option<PathBuf>,
        storage: Storage,
        layout: Layout,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Self> {
        let delimiter = if layout == Layout::Tsv { b'\t' } else { b',' };
        let table = Delimited::open(storage, delimiter, go_on)?;
        if table.column("question").is_none() {
            let columns: Vec<&str> = table.columns().iter().take(20).map(String::as_str).collect();
            let fix = if table.columns().len() == 1 {
                "a TSV has tabs between its cells; save it with tabs"
            } else {
                "name the column with the questions 'question'"
            };
            return Err(Problem::new(format!(
                "there is no column 'question'; the columns are: {}",
                columns.join(", ")
            ))
            .fix(fix));
        }
        let image = table.column("image").filter(|_| layout == Layout::Tsv);
        let is_text = |name: &str| record::is_question_column(name) || (name == "image" && image.is_none());
        Ok(Self {
            layout,
            profile: Profile::of(name, table.columns()),
            folders: ImageFolders::of_dataset(name, file.as_deref()),
            texts: table.columns().iter().map(|name| is_text(name)).collect(),
            image,
            table,
            rows_by_index: OnceLock::new(),
            all_yes_or_no: OnceLock::new(),
        })
    }

    /// The texts of a row; images are left out.
    fn record(&self, row: usize) -> Result<Record> {
        let cells = self.table.row(row, &self.texts)?;
        self.named(cells)
    }

    /// Cells with their columns' names; a repeated name counts once.
    fn named(&self, cells: Vec<Vec<u8>>) -> Result<Record> {
        let mut record = Record::default();
        for (cell, name) in cells.into_iter().zip(self.table.columns()) {
            if cell.is_empty() || record.get(name).is_some() {
                continue;
            }
            let text = String::from_utf8(cell).map_err(|_| {
                Problem::new("the text is not UTF-8")
                    .at(format!("column {name}"))
                    .fix("save the file as UTF-8")
            })?;
            record.put(name, text);
        }
        Ok(record)
    }

    /// One cell of a row.
    fn cell(&self, row: usize, column: usize) -> Result<Vec<u8>> {
        let wanted: Vec<bool> = (0..self.table.columns().len()).map(|other| other == column).collect();
        Ok(self.table.row(row, &wanted)?.swap_remove(column))
    }

    /// What the image cell of a row holds.
    fn held(&self, row: usize) -> Result<Held> {
        let Some(column) = self.image else { return Ok(Held::Nothing) };
        let cell = self.cell(row, column)?;
        let text = String::from_utf8(cell)
            .map_err(|_| Problem::new("the image is not base64").at("column image"))?;
        let text = text.trim();
        if text.is_empty() {
            Ok(Held::Nothing)
        } else if text.starts_with('[') {
            literal::texts(text).map(Held::Parts).map_err(|problem| problem.at("column image"))
        } else {
            Ok(Held::Parts(vec![text.to_owned()]))
        }
    }

    /// The images of a row, in order, references resolved.
    fn images(&self, row: usize, record: &Record) -> Result<Vec<ImageRef>> {
        let parts = match self.held(row)? {
            Held::Parts(parts) => parts,
            Held::Nothing => return self.image_files(record),
        };
        let mut images = Vec::new();
        for (part, text) in parts.iter().enumerate() {
            if text.len() > LONGEST_REFERENCE {
                images.push(ImageRef::Stored { row, part });
            } else {
                images.extend(self.referred(text)?);
            }
        }
        Ok(images)
    }

    /// The images of the row that a reference names.
    fn referred(&self, reference: &str) -> Result<Vec<ImageRef>> {
        let wrong = |what: String| Problem::new(what).at("column image");
        let index = reference.trim();
        let Some(row) = self.find(index)? else {
            return Err(wrong(format!("the image is that of row '{index}', and there is no such index"))
                .fix(
                    "an image cell of up to 64 characters names another row's index; longer ones are base64",
                ));
        };
        match self.held(row)? {
            Held::Parts(parts) if parts.iter().all(|part| part.len() > LONGEST_REFERENCE) => {
                Ok((0..parts.len()).map(|part| ImageRef::Stored { row, part }).collect())
            }
            Held::Parts(_) => {
                Err(wrong(format!("the image is that of row '{index}', which itself names another row")))
            }
            Held::Nothing => {
                let images = self.image_files(&self.record(row)?)?;
                if images.is_empty() {
                    Err(wrong(format!("the image is that of row '{index}', which has none")))
                } else {
                    Ok(images)
                }
            }
        }
    }

    /// Images named in `image_path`.
    fn image_files(&self, record: &Record) -> Result<Vec<ImageRef>> {
        let column =
            if self.layout == Layout::Csv && record.get("image").is_some() { "image" } else { "image_path" };
        let Some(cell) = record.get(column) else { return Ok(Vec::new()) };
        let place = |problem: Problem| problem.at(format!("column {column}"));
        let names = match self.layout {
            _ if cell.trim_start().starts_with('[') => literal::texts(cell).map_err(place)?,
            Layout::Csv => cell.split(';').map(|name| name.trim().to_owned()).collect(),
            Layout::Tsv => vec![cell.to_owned()],
        };
        names.iter().map(|name| self.folders.find(name).map(ImageRef::File).map_err(place)).collect()
    }

    fn rows_by_index(&self) -> Result<&[(u64, u32)]> {
        let made = self.rows_by_index.get_or_init(|| {
            let column = self.table.column("index");
            let wanted: Vec<bool> =
                (0..self.table.columns().len()).map(|other| Some(other) == column).collect();
            let mut rows = Vec::with_capacity(self.table.len());
            self.table.each_row(&wanted, 4096, |row, cells| {
                let index =
                    column.and_then(|column| cells.get(column)).map_or(&b""[..], |cell| cell.trim_ascii());
                let index = if index.is_empty() { row.to_string().into_bytes() } else { index.to_vec() };
                rows.push((hash(&index), row as u32));
            })?;
            rows.sort_unstable();
            Ok(rows)
        });
        made.as_deref().map_err(Clone::clone)
    }

    /// Whether every one of the first answers is yes or no.
    fn all_yes_or_no(&self) -> bool {
        *self.all_yes_or_no.get_or_init(|| {
            let Some(column) = self.table.column("answer") else { return false };
            let mut found = false;
            let all = (0..self.table.len().min(SAMPLE)).all(|row| {
                let answer = self.cell(row, column).unwrap_or_default();
                let answer = String::from_utf8_lossy(&answer);
                found |= !answer.is_empty();
                answer.is_empty() || record::is_yes_or_no(&answer)
            });
            all && found
        })
    }

    fn otherwise(&self) -> QuestionKind {
        if self.all_yes_or_no() { QuestionKind::YesNo } else { QuestionKind::Short }
    }
}

fn hash(index: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    index.hash(&mut hasher);
    hasher.finish()
}

impl Source for Tsv {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn state(&mut self, stated: Stated) {
        self.profile.state(stated);
    }

    fn columns(&self) -> &[String] {
        self.table.columns()
    }

    fn len(&self) -> usize {
        self.table.len()
    }

    fn question(&self, row: usize) -> Result<Question> {
        let record = self.record(row)?;
        let images = self.images(row, &record)?;
        record::question(row, &record, &self.profile, images, || self.otherwise())
    }

    fn image_bytes(&self, row: usize, part: usize) -> Result<Arc<[u8]>> {
        let place = |problem: Problem| problem.at("column image");
        let Held::Parts(mut parts) = self.held(row)? else {
            return Err(place(Problem::new("the row has no image")));
        };
        if part >= parts.len() {
            return Err(place(Problem::new(format!("the row has no image {}", part + 1))));
        }
        base64_bytes(parts.swap_remove(part)).map_err(place)
    }

    fn find(&self, index: &str) -> Result<Option<usize>> {
        let rows = self.rows_by_index()?;
        let wanted = hash(index.as_bytes());
        let first = rows.partition_point(|(hash, _)| *hash < wanted);
        let column = self.table.column("index");
        for &(found, row) in &rows[first..] {
            if found != wanted {
                break;
            }
            let cell = match column {
                Some(column) => self.cell(row as usize, column).unwrap_or_default(),
                None => Vec::new(),
            };
            let cell = cell.trim_ascii();
            if cell == index.as_bytes() || (cell.is_empty() && row.to_string() == index) {
                return Ok(Some(row as usize));
            }
        }
        Ok(None)
    }

    fn outlines(&self) -> Result<Vec<Outline>> {
        let wanted: Vec<bool> =
            self.table.columns().iter().map(|name| record::is_outline_column(name)).collect();
        let mut names = Names::default();
        let mut outlines = Vec::with_capacity(self.table.len());
        self.table.each_row(&wanted, 4096, |row, cells| {
            let mut cells = cells.to_vec();
            cells.truncate(wanted.len());
            let record = self.named(cells).unwrap_or_default();
            outlines.push(Outline::new(
                record.index(row),
                names.groups(&record),
                record::kind(&record, &self.profile, || self.otherwise()),
            ));
        })?;
        Ok(outlines)
    }

    fn problems(&self) -> Vec<Problem> {
        let rows = self.rows_by_index.get().and_then(|rows| rows.as_deref().ok()).unwrap_or_default();
        let doubled = rows.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1);
        let doubled = doubled.take(100).map(|row| {
            Problem::new("an earlier row has the same index; a reference to it means the first")
                .at(format!("row {}, column index", row + 1))
        });
        let open = self.table.open_quotes().iter();
        let open =
            open.map(|row| Problem::new("a quote is opened and never closed").at(format!("row {}", row + 1)));
        open.chain(doubled).collect()
    }

    fn fingerprint(&self, md5: bool, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<Prints>> {
        self.table.storage().prints(md5, go_on)
    }
}
