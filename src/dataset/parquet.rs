//! MMMU, MMMU-Pro and other parquet files of questions, read page by page.
//!
//! Columns: `question`; `options` (a list, or a text that is a list literal); `answer`; images as Hugging Face keeps
//! them, a struct of `bytes` and `path` in `image` or `image_1`, `image_2` ..., or a list of such structs in `images`.
//! MMMU's ids say split and subject. Besides, the columns of a VLMEvalKit TSV are understood.
//!
//! Opening reads the file's footer. A question reads the texts of its row group, without images; an image reads
//! pages of its own column up to its row.

mod leaves;
mod pages;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ::parquet::basic::Type;

use crate::dataset::folder::ImageFolders;
use crate::dataset::question::{ImageRef, Question, QuestionKind};
use crate::dataset::record::{self, Record};
use crate::dataset::registry::{Profile, Stated};
use crate::dataset::storage::Prints;
use crate::dataset::{Names, Outline, Source, mmmu, read_image};
use crate::literal::{self, Literal};
use crate::{Problem, Result};
use leaves::{Leaf, Leaves, Values};

/// Most bytes of texts of a row group that are kept; of larger groups single rows are read.
const LARGEST_TEXTS: u64 = 64 << 20;

/// Rows that are read at a time when all are gone through, and most bytes kept of a text then.
const BATCH: usize = 1024;
const LONGEST_NAME: usize = 256;

/// A parquet file of questions.
pub(crate) struct Parquet {
    leaves: Leaves,
    profile: Profile,
    columns: Vec<String>,
    /// The split that the file's name says.
    split: Option<String>,
    folders: ImageFolders,
    /// First row of each row group, and the number of all rows.
    starts: Vec<usize>,
    texts: Vec<TextColumn>,
    images: Vec<ImageColumn>,
    /// The row group read last.
    group: Mutex<Option<(usize, Arc<Vec<Row>>)>>,
    /// Where each image column was read last.
    cursors: Vec<Mutex<Option<Cursor>>>,
    rows_by_index: OnceLock<Result<HashMap<String, usize>>>,
}

impl std::fmt::Debug for Parquet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parquet").field("columns", &self.columns).field("rows", &self.starts.last()).finish()
    }
}

/// A column of texts.
struct TextColumn {
    name: String,
    leaf: usize,
    list: bool,
}

/// A column of images.
struct ImageColumn {
    name: String,
    /// The leaf of the pictures' bytes.
    bytes: Option<usize>,
    /// The leaf of their file names.
    path: Option<usize>,
}

/// The texts of a row, and which images each image column has in it.
#[derive(Debug, Clone, Default)]
struct Row {
    record: Record,
    /// A cell that could not be read.
    problem: Option<Problem>,
    /// For each image column the places in its list that hold an image.
    images: Vec<Vec<usize>>,
}

/// An image column that is being read forward.
struct Cursor {
    group: usize,
    next: usize,
    leaf: Leaf,
}

/// Columns whose texts make a question, besides a TSV's.
fn is_question_column(name: &str) -> bool {
    record::is_question_column(name) || ["options", "choices", "subject"].contains(&name)
}

impl Parquet {
    /// Opens a file. `name` is the dataset's.
    pub(crate) fn open(name: &str, path: &Path) -> Result<Self> {
        let leaves = Leaves::open(path)?;
        let starts = leaves.group_starts()?;
        let schema = leaves.schema();
        let mut texts = Vec::new();
        let mut images: Vec<ImageColumn> = Vec::new();
        let mut columns: Vec<String> = Vec::new();
        for leaf in 0..schema.num_columns() {
            let column = schema.column(leaf);
            let parts = column.path().parts();
            let (Some(first), Some(last)) = (parts.first(), parts.last()) else { continue };
            if !columns.contains(first) {
                columns.push(first.clone());
            }
            if column.max_rep_level() > 1 {
                continue;
            }
            let list = column.max_rep_level() > 0;
            let binary = column.physical_type() == Type::BYTE_ARRAY;
            let alone = parts.len() == 1;
            let numbered = first
                .strip_prefix("image_")
                .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
            let image = first == "image" || first == "images" || numbered || (alone && first == "image_path");
            if image && binary && (alone || last == "bytes" || last == "path") {
                let at = images.iter().position(|image| image.name == *first).unwrap_or_else(|| {
                    images.push(ImageColumn { name: first.clone(), bytes: None, path: None });
                    images.len() - 1
                });
                let named = if alone { first == "image_path" } else { last == "path" };
                if named { images[at].path = Some(leaf) } else { images[at].bytes = Some(leaf) }
            } else if (alone || list) && is_question_column(first) {
                texts.push(TextColumn { name: first.clone(), leaf, list });
            }
        }
        // `image_path` beside images only names them.
        if images.len() > 1 {
            images.retain(|image| image.bytes.is_some() || image.name != "image_path");
        }
        let has = |name: &str| texts.iter().any(|column| column.name == name);
        let asked_in_image = !has("question") && has("options") && !images.is_empty();
        if !has("question") && !asked_in_image {
            let columns = columns.iter().take(20).map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(Problem::new(format!("there is no column 'question'; the columns are: {columns}")));
        }
        let mut profile = Profile::of(name, &columns);
        if has("options") || has("choices") {
            profile = profile.as_lettered();
        }
        let mmmu = has("options") && images.iter().any(|image| image.name == "image_1");
        if mmmu || asked_in_image {
            profile = profile.as_mmmu(has("subject") || asked_in_image);
            profile.question_in_image = asked_in_image;
        }
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self {
            cursors: images.iter().map(|_| Mutex::new(None)).collect(),
            folders: ImageFolders::of_dataset(name, Some(path)),
            split: split_of(&stem).map(str::to_owned),
            leaves,
            profile,
            columns,
            starts,
            texts,
            images,
            group: Mutex::new(None),
            rows_by_index: OnceLock::new(),
        })
    }

    /// The row group of a row, and the row's place in it.
    fn place(&self, row: usize) -> Result<(usize, usize)> {
        if row >= self.len() {
            return Err(Problem::new(format!("there is no row {}: the file has {}", row + 1, self.len())));
        }
        let group = self.starts.partition_point(|&start| start <= row) - 1;
        Ok((group, row - self.starts[group]))
    }

    fn rows_in(&self, group: usize) -> usize {
        self.starts[group + 1] - self.starts[group]
    }

    /// The texts of one row. The whole row group is read and kept, unless it is too large.
    fn row(&self, row: usize) -> Result<Row> {
        let (group, at) = self.place(row)?;
        let mut last = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rows)) = last.as_ref().filter(|(known, _)| *known == group) {
            return rows.get(at).cloned().ok_or_else(|| leaves::damaged("the row is missing"));
        }
        let claimed = self.texts.iter().map(|text| self.leaves.unpacked(group, text.leaf));
        if claimed.fold(0, u64::saturating_add) <= LARGEST_TEXTS
            && let Some(rows) = self.rows(group, 0, self.rows_in(group))?
        {
            let rows = Arc::new(rows);
            let found = rows.get(at).cloned();
            *last = Some((group, rows));
            return found.ok_or_else(|| leaves::damaged("the row is missing"));
        }
        drop(last);
        let rows = self.rows(group, at, 1)?.and_then(|mut rows| rows.pop());
        rows.ok_or_else(|| Problem::new("the row is too large to read"))
    }

    /// Some rows of a group, without the images themselves; nothing when their texts are too large.
    fn rows(&self, group: usize, from: usize, count: usize) -> Result<Option<Vec<Row>>> {
        let mut rows = vec![Row::default(); count];
        let mut bytes = 0u64;
        for column in &self.texts {
            let place = || format!("column {}", column.name);
            let cells =
                self.leaves.rows(group, column.leaf, from, count).map_err(|problem| problem.at(place()))?;
            for (row, cells) in rows.iter_mut().zip(cells) {
                bytes += cells.iter().flatten().map(|cell| cell.len() as u64).sum::<u64>();
                if bytes > LARGEST_TEXTS {
                    return Ok(None);
                }
                let texts = cells.iter().flatten().map(|cell| String::from_utf8(cell.data().to_vec()));
                let put = texts
                    .collect::<Result<Vec<String>, _>>()
                    .map_err(|_| Problem::new("the text is not UTF-8"))
                    .and_then(|texts| put(&mut row.record, column, texts));
                if let Err(problem) = put {
                    row.problem.get_or_insert(problem.at(place()));
                }
            }
        }
        for image in &self.images {
            let present = self.present(group, image, from, count);
            let present = present.map_err(|problem| problem.at(format!("column {}", image.name)))?;
            for (row, present) in rows.iter_mut().zip(present) {
                row.images.push(present);
            }
        }
        for row in &mut rows {
            self.tell_groups(&mut row.record);
        }
        Ok(Some(rows))
    }

    /// For each of some rows the places in an image column that hold an image. Pictures are not read where the footer
    /// says that there is none, or that as many are named as there are.
    fn present(
        &self,
        group: usize,
        image: &ImageColumn,
        from: usize,
        count: usize,
    ) -> Result<Vec<Vec<usize>>> {
        let absent = |leaf: usize| self.leaves.absent(group, leaf);
        let none = |leaf: &usize| absent(*leaf).is_some_and(|(absent, all)| absent == all);
        let path = image.path.filter(|leaf| !none(leaf));
        let mut bytes = image.bytes.filter(|leaf| !none(leaf));
        if let (Some(pictures), Some(names)) = (bytes, path)
            && absent(pictures).is_some()
            && absent(pictures) == absent(names)
        {
            bytes = None;
        }
        let mut present: Vec<Vec<usize>> = vec![Vec::new(); count];
        for leaf in [path, bytes].into_iter().flatten() {
            let mut leaf = self.leaves.leaf(group, leaf, from)?;
            let mut rows = present.iter_mut();
            while rows.len() > 0 {
                let values = leaf.read(rows.len().min(8))?;
                if values.is_empty() {
                    return Err(leaves::damaged("a column has fewer rows than its row group"));
                }
                for (values, places) in values.iter().zip(&mut rows) {
                    places.extend((0..values.len()).filter(|&place| values[place].is_some()));
                }
            }
        }
        for places in &mut present {
            places.sort_unstable();
            places.dedup();
        }
        Ok(present)
    }

    /// Adds what id, subject and file name say of a row's groups, and its index.
    fn tell_groups(&self, record: &mut Record) {
        let id = record.get("id").map(str::to_owned);
        let told = id.as_deref().and_then(mmmu::split_and_subject);
        let subject = record.get("subject").or(told.map(|(_, subject)| subject)).map(str::to_owned);
        if let Some(subject) = subject.filter(|_| record.get("category").is_none()) {
            if let Some(discipline) = mmmu::discipline(&subject) {
                record.put("l2-category", discipline.to_owned());
            }
            record.put("category", subject);
        }
        if record.get("split").is_none()
            && let Some(split) = self.split.as_deref().or(told.map(|(split, _)| split))
        {
            record.put("split", split.to_owned());
        }
        if record.get("index").is_none()
            && let Some(id) = id
        {
            record.put("index", id);
        }
    }

    /// One picture of a column in a row, if the file holds it.
    fn picture(&self, column: usize, row: usize, place: usize) -> Result<Option<Arc<[u8]>>> {
        let (group, at) = self.place(row)?;
        let Some(leaf) = self.images[column].bytes else { return Ok(None) };
        let mut cursor = self.cursors[column].lock().unwrap_or_else(PoisonError::into_inner);
        let mut current = match cursor.take().filter(|cursor| cursor.group == group && cursor.next <= at) {
            Some(mut cursor) => {
                cursor.leaf.skip(at - cursor.next)?;
                cursor
            }
            None => Cursor { group, next: at, leaf: self.leaves.leaf(group, leaf, at)? },
        };
        let values = current.leaf.read(1)?.into_iter().next().unwrap_or_default();
        current.next = at + 1;
        *cursor = Some(current);
        Ok(values.into_iter().nth(place).flatten().map(|bytes| Arc::from(bytes.data())))
    }

    /// The file that an image names instead of holding it.
    fn picture_file(&self, column: usize, row: usize, place: usize) -> Result<PathBuf> {
        let (group, at) = self.place(row)?;
        let missing = || Problem::new("the image is missing");
        let leaf = self.images[column].path.ok_or_else(missing)?;
        let names: Values = self.leaves.rows(group, leaf, at, 1)?.into_iter().next().unwrap_or_default();
        let name = names.into_iter().nth(place).flatten().ok_or_else(missing)?;
        self.folders.find(&String::from_utf8_lossy(name.data()))
    }

    /// Goes through what tells index, groups and kind of every row, some rows at a time.
    fn each(&self, mut each: impl FnMut(usize, &Record)) -> Result<()> {
        let telling =
            |name: &str| record::is_outline_column(name) || ["id", "subject", "options"].contains(&name);
        let texts: Vec<&TextColumn> = self.texts.iter().filter(|column| telling(&column.name)).collect();
        for group in 0..self.starts.len() - 1 {
            // What cannot be read is told when the question is asked for.
            let mut open: Vec<Option<Leaf>> =
                texts.iter().map(|column| self.leaves.leaf(group, column.leaf, 0).ok()).collect();
            for from in (0..self.rows_in(group)).step_by(BATCH) {
                let mut records = vec![Record::default(); BATCH.min(self.rows_in(group) - from)];
                for (column, leaf) in texts.iter().zip(&mut open) {
                    let cells = leaf.as_mut().and_then(|leaf| leaf.read(records.len()).ok());
                    for (record, cells) in records.iter_mut().zip(cells.unwrap_or_default()) {
                        let short = |cell: &[u8]| {
                            let keep =
                                if column.name == "options" { cell.len().min(1 << 16) } else { LONGEST_NAME };
                            String::from_utf8_lossy(&cell[..cell.len().min(keep)]).into_owned()
                        };
                        let texts = cells.iter().flatten().map(|cell| short(cell.data())).collect();
                        let _ = put(record, column, texts);
                    }
                }
                for (at, record) in records.iter_mut().enumerate() {
                    self.tell_groups(record);
                    each(self.starts[group] + from + at, record);
                }
            }
        }
        Ok(())
    }
}

/// Puts a cell's texts into a record; a list becomes a list literal, and options become letters.
fn put(record: &mut Record, column: &TextColumn, texts: Vec<String>) -> Result<()> {
    if matches!(column.name.as_str(), "options" | "choices") {
        let options = match texts.first() {
            Some(text) if !column.list && !text.trim().is_empty() => literal::texts(text)?,
            _ if column.list => texts,
            _ => Vec::new(),
        };
        record.put_options(options);
    } else if column.list {
        record.put(&column.name, Literal::List(texts.into_iter().map(Literal::Text).collect()).into_text());
    } else if let Some(text) = texts.into_iter().next() {
        record.put(&column.name, text);
    }
    Ok(())
}

/// The split that a file's name says: `validation-00000-of-00001`, `test`.
pub(crate) fn split_of(stem: &str) -> Option<&str> {
    let first = stem.split(['-', '.']).next()?;
    ["train", "dev", "val", "validation", "test", "testmini"].contains(&first).then_some(first)
}

impl Source for Parquet {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn state(&mut self, stated: Stated) {
        self.profile.state(stated);
    }

    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn len(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    fn question(&self, row: usize) -> Result<Question> {
        let found = self.row(row)?;
        if let Some(problem) = found.problem {
            return Err(problem);
        }
        let count = found.images.iter().map(Vec::len).sum();
        let images = (0..count).map(|part| ImageRef::Stored { row, part }).collect();
        record::question(row, &found.record, &self.profile, images, || QuestionKind::Short)
    }

    fn image_bytes(&self, row: usize, part: usize) -> Result<Arc<[u8]>> {
        let images = self.row(row)?.images;
        let places = images
            .iter()
            .enumerate()
            .flat_map(|(column, places)| places.iter().map(move |&place| (column, place)));
        let Some((column, place)) = places.into_iter().nth(part) else {
            return Err(Problem::new(format!("the row has no image {}", part + 1)));
        };
        let named = |problem: Problem| problem.at(format!("column {}", self.images[column].name));
        if let Some(bytes) = self.picture(column, row, place).map_err(named)? {
            return Ok(bytes);
        }
        read_image(&self.picture_file(column, row, place).map_err(named)?)
    }

    fn find(&self, index: &str) -> Result<Option<usize>> {
        let rows = self.rows_by_index.get_or_init(|| {
            let mut rows = HashMap::new();
            self.each(|row, record| {
                rows.entry(record.index(row)).or_insert(row);
            })?;
            Ok(rows)
        });
        Ok(rows.as_ref().map_err(Clone::clone)?.get(index).copied())
    }

    fn outlines(&self) -> Result<Vec<Outline>> {
        let mut names = Names::default();
        let mut outlines = Vec::with_capacity(self.len());
        self.each(|row, record| {
            let kind = record::kind(record, &self.profile, || QuestionKind::Short);
            outlines.push(Outline::new(record.index(row), names.groups(record), kind));
        })?;
        Ok(outlines)
    }

    fn fingerprint(&self, md5: bool, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<Prints>> {
        self.leaves.storage().prints(md5, go_on)
    }
}
