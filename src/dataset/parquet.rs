//! MMMU, MMMU-Pro and other parquet files of questions, read page by page.
//!
//! Columns: `question`; `options` (a list, or a text that is a list literal); `answer`; images as Hugging Face keeps
//! them, a struct of `bytes` and `path` in `image` or `image_1`, `image_2` ..., or a list of such structs in `images`.
//! MMMU's ids say split and subject. Besides, the columns of a VLMEvalKit TSV are understood.
//!
//! Opening reads the file's footer. A question reads the texts of its row group, without images; an image reads
//! pages of its own column up to its row.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

use ::parquet::basic::{Compression, Type};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{ByteArray, DataType};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};

use crate::dataset::folder::ImageFolders;
use crate::dataset::question::{ImageRef, Question, QuestionKind};
use crate::dataset::record::{self, Record};
use crate::dataset::registry::Profile;
use crate::dataset::storage::Storage;
use crate::dataset::{Names, Outline, Source, mmmu, pages};
use crate::literal::{self, Literal};
use crate::{Problem, Result};

/// Most bytes of texts of a row group that are read at once; of larger groups single rows are read.
const LARGEST_TEXTS: i64 = 64 << 20;

/// The largest footer that is read.
const LARGEST_FOOTER: u64 = 16 << 20;

/// Most rows of a file, and most columns.
const MOST_ROWS: usize = 50_000_000;
const MOST_COLUMNS: usize = 4096;

/// A parquet file of questions.
pub(crate) struct Parquet {
    file: SerializedFileReader<File>,
    storage: Storage,
    path: PathBuf,
    profile: Profile,
    columns: Vec<String>,
    /// The split that the file's name says.
    split: Option<String>,
    folders: ImageFolders,
    /// First row of each row group, and the number of all rows.
    starts: Vec<usize>,
    texts: Vec<TextColumn>,
    images: Vec<ImageColumn>,
    /// Columns (row group, leaf) whose page headers were looked at.
    checked: Mutex<HashSet<(usize, usize)>>,
    /// The row group read last.
    group: Mutex<Option<(usize, Arc<Vec<Row>>)>>,
    /// Where each image column was read last.
    cursors: Vec<Mutex<Option<Cursor>>>,
    rows_by_id: OnceLock<Result<HashMap<String, usize>>>,
}

impl std::fmt::Debug for Parquet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parquet").field("path", &self.path).field("rows", &self.starts.last()).finish()
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

/// The texts of a row, and how many images each image column has in it.
#[derive(Debug, Clone, Default)]
struct Row {
    record: Record,
    /// The cells that could not be read.
    problem: Option<Problem>,
    images: Vec<usize>,
}

/// A column that is being read forward.
struct Cursor {
    group: usize,
    next: usize,
    reader: ColumnReader,
}

/// Columns whose texts make a question, besides a TSV's.
fn is_question_column(name: &str) -> bool {
    record::is_question_column(name) || ["options", "choices", "subject"].contains(&name)
}

impl Parquet {
    /// Opens a file. `name` is the dataset's.
    pub(crate) fn open(name: &str, path: &Path) -> Result<Self> {
        let storage = Storage::open(path)?;
        check_footer(&storage)?;
        let opened = File::open(path).map_err(|error| Problem::io("open the file", path, &error))?;
        let length = storage.len();
        let file = guarded(|| SerializedFileReader::new(opened))?;
        let about = file.metadata();
        let schema = about.file_metadata().schema_descr_ptr();
        if schema.num_columns() > MOST_COLUMNS {
            return Err(Problem::new(format!(
                "the file has {} columns, which is too many",
                schema.num_columns()
            )));
        }
        let mut starts = vec![0usize];
        for group in about.row_groups() {
            let rows = usize::try_from(group.num_rows()).ok();
            let start = rows.and_then(|rows| rows.checked_add(starts[starts.len() - 1]));
            starts.push(
                start
                    .filter(|&start| start <= MOST_ROWS)
                    .ok_or_else(|| damaged("its row counts make no sense"))?,
            );
            for column in group.columns() {
                let inside = |offset: i64, bytes: i64| {
                    let end = offset.checked_add(bytes).and_then(|end| u64::try_from(end).ok());
                    offset >= 0 && bytes >= 0 && end.is_some_and(|end| end <= length)
                };
                let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
                if !inside(start, column.compressed_size()) || !inside(column.data_page_offset(), 0) {
                    return Err(damaged("a column lies outside the file"));
                }
                if group.columns().len() != schema.num_columns() {
                    return Err(damaged("a row group lacks columns"));
                }
                match column.compression() {
                    Compression::UNCOMPRESSED
                    | Compression::SNAPPY
                    | Compression::ZSTD(_)
                    | Compression::LZ4_RAW => {}
                    other => {
                        return Err(Problem::new(format!(
                            "the file is compressed by {other}, which is not read"
                        ))
                        .fix("write it again with snappy or zstd, as Hugging Face does"));
                    }
                }
            }
        }
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
            let list = column.max_rep_level() > 0;
            let binary = column.physical_type() == Type::BYTE_ARRAY;
            if column.max_rep_level() > 1 {
                continue;
            }
            let image = first == "image" || first == "images" || first.starts_with("image_");
            if image && binary && (parts.len() == 1 || last == "bytes" || last == "path") {
                let at = images.iter().position(|image| image.name == *first).unwrap_or_else(|| {
                    images.push(ImageColumn { name: first.clone(), bytes: None, path: None });
                    images.len() - 1
                });
                let text = parts.len() == 1 && first.ends_with("path");
                if last == "path" || text {
                    images[at].path = Some(leaf)
                } else {
                    images[at].bytes = Some(leaf)
                }
            } else if (parts.len() == 1 || list) && is_question_column(first) {
                texts.push(TextColumn { name: first.clone(), leaf, list });
            }
        }
        // `image_path` beside images only names them.
        if images.len() > 1 {
            images.retain(|image| image.bytes.is_some() || image.name != "image_path");
        }
        let has = |name: &str| texts.iter().any(|column| column.name == name);
        let asked_in_image = has("options") && !images.is_empty();
        if !has("question") && !asked_in_image {
            return Err(Problem::new(format!(
                "there is no column 'question'; the columns are: {}",
                columns.join(", ")
            )));
        }
        let mut profile = Profile::of(name, &columns);
        if has("options") || has("choices") {
            profile = profile.as_lettered();
        }
        if has("options")
            && ["image_1", "image_2"].iter().all(|name| columns.iter().any(|column| column == name))
        {
            profile = profile.as_mmmu(has("subject"));
        } else if !has("question") {
            profile = profile.as_mmmu(true);
            profile.question_in_image = true;
        }
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self {
            cursors: images.iter().map(|_| Mutex::new(None)).collect(),
            folders: ImageFolders::of_dataset(name, Some(path)),
            split: split_of(&stem).map(str::to_owned),
            path: path.to_owned(),
            storage,
            checked: Mutex::new(HashSet::new()),
            file,
            profile,
            columns,
            starts,
            texts,
            images,
            group: Mutex::new(None),
            rows_by_id: OnceLock::new(),
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

    /// A reader of a leaf, at its first row.
    fn reader(&self, group: usize, leaf: usize) -> Result<ColumnReader> {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if !checked.contains(&(group, leaf)) {
            let (start, length) = self.file.metadata().row_group(group).column(leaf).byte_range();
            pages::check(&self.storage, start..start.saturating_add(length))?;
            checked.insert((group, leaf));
        }
        drop(checked);
        guarded(|| self.file.get_row_group(group)?.get_column_reader(leaf))
    }

    /// Some rows of a leaf: for each row its values.
    fn leaf(
        &self,
        group: usize,
        leaf: usize,
        from: usize,
        count: usize,
    ) -> Result<Vec<Vec<Option<ByteArray>>>> {
        let mut reader = self.reader(group, leaf)?;
        guarded(|| {
            skip(&mut reader, from)?;
            let max_def = self.file.metadata().file_metadata().schema_descr().column(leaf).max_def_level();
            read(&mut reader, count, max_def)
        })
    }

    /// How many images of a column each of some rows has.
    fn image_counts(
        &self,
        group: usize,
        image: &ImageColumn,
        from: usize,
        count: usize,
    ) -> Result<Vec<usize>> {
        let nulls = |leaf: usize| {
            let column = self.file.metadata().row_group(group).column(leaf);
            column
                .statistics()
                .and_then(|statistics| statistics.null_count_opt())
                .zip(u64::try_from(column.num_values()).ok())
        };
        let bytes = image.bytes.and_then(nulls);
        if image.bytes.is_some()
            && bytes.is_some_and(|(nulls, values)| nulls == values)
            && image.path.is_none_or(|path| nulls(path).is_some_and(|(nulls, values)| nulls == values))
        {
            return Ok(vec![0; count]);
        }
        // The names of images are short; where every image has one they say which rows have an image.
        let by_name = match (image.bytes, image.path) {
            (None, path) => path,
            (Some(bytes), Some(path)) if nulls(bytes).is_some() && nulls(bytes) == nulls(path) => Some(path),
            _ => None,
        };
        let Some(leaf) = by_name.or(image.bytes) else { return Ok(vec![0; count]) };
        if by_name.is_some() {
            let rows = self.leaf(group, leaf, from, count)?;
            return Ok(rows.iter().map(|row| row.iter().flatten().count()).collect());
        }
        let max_def = self.file.metadata().file_metadata().schema_descr().column(leaf).max_def_level();
        let mut reader = self.reader(group, leaf)?;
        guarded(|| {
            skip(&mut reader, from)?;
            let mut counts = Vec::new();
            while counts.len() < count {
                let rows = read(&mut reader, (count - counts.len()).min(8), max_def)?;
                if rows.is_empty() {
                    break;
                }
                counts.extend(rows.iter().map(|row| row.iter().flatten().count()));
            }
            Ok(counts)
        })
    }

    /// Some rows of a group, without the images themselves.
    fn rows(&self, group: usize, from: usize, count: usize) -> Result<Vec<Row>> {
        let mut rows = vec![Row::default(); count];
        for column in &self.texts {
            let cells = self.leaf(group, column.leaf, from, count)?;
            if cells.len() < count {
                return Err(damaged("a column has fewer rows than its row group")
                    .at(format!("column {}", column.name)));
            }
            for (row, cells) in rows.iter_mut().zip(cells) {
                let texts: Result<Vec<String>, _> =
                    cells.iter().flatten().map(|cell| String::from_utf8(cell.data().to_vec())).collect();
                let texts = match texts {
                    Ok(texts) => texts,
                    Err(_) => {
                        row.problem =
                            Some(Problem::new("the text is not UTF-8").at(format!("column {}", column.name)));
                        continue;
                    }
                };
                put(row, column, texts);
            }
        }
        for image in &self.images {
            let counts = self.image_counts(group, image, from, count)?;
            if counts.len() < count {
                return Err(damaged("a column has fewer rows than its row group")
                    .at(format!("column {}", image.name)));
            }
            for (row, count) in rows.iter_mut().zip(counts) {
                row.images.push(count);
            }
        }
        for row in &mut rows {
            self.tell_groups(&mut row.record);
        }
        Ok(rows)
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

    /// The texts of one row.
    fn row(&self, row: usize) -> Result<Row> {
        let (group, at) = self.place(row)?;
        let about = self.file.metadata().row_group(group);
        let texts: i64 = self
            .texts
            .iter()
            .map(|text| about.column(text.leaf).uncompressed_size().max(0))
            .fold(0, i64::saturating_add);
        if texts > LARGEST_TEXTS {
            return self.rows(group, at, 1).map(|mut rows| rows.swap_remove(0));
        }
        let mut last = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = match &*last {
            Some((known, rows)) if *known == group => rows.clone(),
            _ => {
                let rows = Arc::new(self.rows(group, 0, self.rows_in(group))?);
                *last = Some((group, rows.clone()));
                rows
            }
        };
        drop(last);
        rows.get(at).cloned().ok_or_else(|| damaged("the row is missing"))
    }

    /// One image of a column in a row: its bytes, or the name of its file.
    fn image(&self, column: usize, row: usize, nth: usize) -> Result<Option<ByteArray>> {
        let (group, at) = self.place(row)?;
        let Some(leaf) = self.images[column].bytes else { return Ok(None) };
        let max_def = self.file.metadata().file_metadata().schema_descr().column(leaf).max_def_level();
        let mut cursor = self.cursors[column].lock().unwrap_or_else(PoisonError::into_inner);
        let taken = cursor.take().filter(|cursor| cursor.group == group && cursor.next <= at);
        let mut current = match taken {
            Some(cursor) => cursor,
            None => {
                let reader = self.reader(group, leaf)?;
                Cursor { group, next: 0, reader }
            }
        };
        let rows = guarded(|| {
            skip(&mut current.reader, at - current.next)?;
            read(&mut current.reader, 1, max_def)
        })?;
        current.next = at + 1;
        *cursor = Some(current);
        Ok(rows.into_iter().next().and_then(|values| values.into_iter().nth(nth)).flatten())
    }

    /// The file that an image names instead of holding it.
    fn image_file(&self, column: usize, row: usize, nth: usize) -> Result<PathBuf> {
        let (group, at) = self.place(row)?;
        let missing = || Problem::new("the image is missing");
        let leaf = self.images[column].path.ok_or_else(missing)?;
        let names = self.leaf(group, leaf, at, 1)?.into_iter().next().unwrap_or_default();
        let name = names.into_iter().nth(nth).flatten().ok_or_else(missing)?;
        self.folders.find(&String::from_utf8_lossy(name.data()))
    }

    /// Column and place in it of a row's image.
    fn image_column(&self, counts: &[usize], part: usize) -> Option<(usize, usize)> {
        let mut before = 0;
        for (column, &count) in counts.iter().enumerate() {
            if part < before + count {
                return Some((column, part - before));
            }
            before += count;
        }
        None
    }

    fn rows_by_id(&self) -> Result<&HashMap<String, usize>> {
        let made = self.rows_by_id.get_or_init(|| {
            let mut rows = HashMap::new();
            self.each(|row, record| {
                let index =
                    record.get("index").map_or_else(|| row.to_string(), |index| index.trim().to_owned());
                rows.entry(index).or_insert(row);
            })?;
            Ok(rows)
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// Goes through the columns that tell groups and kinds.
    fn each(&self, mut each: impl FnMut(usize, &Record)) -> Result<()> {
        for group in 0..self.file.num_row_groups() {
            let mut rows = vec![Row::default(); self.rows_in(group)];
            for column in &self.texts {
                if !record::is_outline_column(&column.name)
                    && !["id", "subject", "options"].contains(&column.name.as_str())
                {
                    continue;
                }
                // What cannot be read is told when the question is asked for.
                let Ok(cells) = self.leaf(group, column.leaf, 0, rows.len()) else { continue };
                for (row, cells) in rows.iter_mut().zip(cells) {
                    let texts = cells
                        .iter()
                        .flatten()
                        .map(|cell| String::from_utf8_lossy(cell.data()).into_owned())
                        .collect();
                    put(row, column, texts);
                }
            }
            for (at, row) in rows.iter_mut().enumerate() {
                self.tell_groups(&mut row.record);
                each(self.starts[group] + at, &row.record);
            }
        }
        Ok(())
    }
}

/// Puts a cell's texts into a row's record; a list becomes a list literal, and options become letters.
fn put(row: &mut Row, column: &TextColumn, texts: Vec<String>) {
    let place = || format!("column {}", column.name);
    if matches!(column.name.as_str(), "options" | "choices") {
        let options = match (column.list, texts.first()) {
            (true, _) => Ok(texts),
            (false, Some(text)) if !text.trim().is_empty() => literal::texts(text),
            (false, _) => Ok(Vec::new()),
        };
        match options {
            Ok(options) => row.record.put_options(options),
            Err(problem) => row.problem = Some(problem.at(place())),
        }
    } else if column.list {
        let list = Literal::List(texts.into_iter().map(Literal::Text).collect());
        row.record.put(&column.name, list.into_text());
    } else if let Some(text) = texts.into_iter().next() {
        row.record.put(&column.name, text);
    }
}

/// Skips rows of a column.
fn skip(reader: &mut ColumnReader, rows: usize) -> Result<(), ParquetError> {
    if rows == 0 {
        return Ok(());
    }
    match reader {
        ColumnReader::BoolColumnReader(reader) => reader.skip_records(rows),
        ColumnReader::Int32ColumnReader(reader) => reader.skip_records(rows),
        ColumnReader::Int64ColumnReader(reader) => reader.skip_records(rows),
        ColumnReader::Int96ColumnReader(reader) => reader.skip_records(rows),
        ColumnReader::FloatColumnReader(reader) => reader.skip_records(rows),
        ColumnReader::DoubleColumnReader(reader) => reader.skip_records(rows),
        ColumnReader::ByteArrayColumnReader(reader) => reader.skip_records(rows),
        ColumnReader::FixedLenByteArrayColumnReader(reader) => reader.skip_records(rows),
    }
    .map(|_| ())
}

/// Reads rows of a column: for each row its values, numbers as text.
fn read(
    reader: &mut ColumnReader,
    rows: usize,
    max_def: i16,
) -> Result<Vec<Vec<Option<ByteArray>>>, ParquetError> {
    fn text(value: impl ToString) -> ByteArray {
        ByteArray::from(value.to_string().into_bytes())
    }
    match reader {
        ColumnReader::BoolColumnReader(reader) => read_typed(reader, rows, max_def, text),
        ColumnReader::Int32ColumnReader(reader) => read_typed(reader, rows, max_def, text),
        ColumnReader::Int64ColumnReader(reader) => read_typed(reader, rows, max_def, text),
        ColumnReader::FloatColumnReader(reader) => read_typed(reader, rows, max_def, text),
        ColumnReader::DoubleColumnReader(reader) => read_typed(reader, rows, max_def, text),
        ColumnReader::ByteArrayColumnReader(reader) => read_typed(reader, rows, max_def, |value| value),
        ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
            Err(ParquetError::General("a column is of a type that is not read".into()))
        }
    }
}

fn read_typed<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    max_def: i16,
    convert: impl Fn(T::T) -> ByteArray,
) -> Result<Vec<Vec<Option<ByteArray>>>, ParquetError> {
    let (mut values, mut present, mut repeats) = (Vec::new(), Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let (records, _, levels) =
            reader.read_records(rows - read, Some(&mut present), Some(&mut repeats), &mut values)?;
        if records == 0 && levels == 0 {
            break;
        }
        read += records;
    }
    let mut values = values.into_iter();
    // A column without absent values has no levels of its own.
    let levels = if max_def == 0 { values.len() } else { present.len() };
    let mut out: Vec<Vec<Option<ByteArray>>> = Vec::new();
    for level in 0..levels {
        let value = if present.get(level).is_none_or(|&level| level == max_def) {
            values.next().map(&convert)
        } else {
            None
        };
        match out.last_mut() {
            Some(row) if repeats.get(level).is_some_and(|&repeat| repeat > 0) => row.push(value),
            _ => out.push(vec![value]),
        }
    }
    Ok(out)
}

thread_local! {
    /// Whether this thread is in [`guarded`], where a panic is an answer and no message.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs the parquet reader. Its errors become problems, and so do its panics: on some damaged files it asserts what
/// the file should have held.
fn guarded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T> {
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                usual(panic);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    match result {
        Ok(result) => result.map_err(|error| damaged(&error.to_string())),
        Err(_) => Err(damaged("its pages make no sense")),
    }
}

fn damaged(how: &str) -> Problem {
    Problem::new(format!("the parquet file is damaged: {how}")).fix("download or write it again")
}

/// Looks at a file's two ends before the reader trusts them.
fn check_footer(storage: &Storage) -> Result<()> {
    let length = storage.len();
    let not_parquet = || Problem::new("this is not a parquet file");
    if length < 12 || storage.read(0..4)?[..] != *b"PAR1" {
        return Err(not_parquet());
    }
    let end = storage.read(length - 8..length)?;
    let (size, mark) = end.split_at(4);
    if mark != b"PAR1" {
        return Err(damaged("it is cut off"));
    }
    let size = size.iter().rev().fold(0u64, |size, &byte| size << 8 | u64::from(byte));
    if size > length - 8 || size > LARGEST_FOOTER {
        return Err(damaged("its footer's length makes no sense"));
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
        let count: usize = found.images.iter().sum();
        let images = (0..count).map(|part| ImageRef::Stored { row, part }).collect();
        record::question(row, &found.record, &self.profile, images, || QuestionKind::Short)
    }

    fn image_bytes(&self, row: usize, part: usize) -> Result<Arc<[u8]>> {
        let counts = self.row(row)?.images;
        let Some((column, nth)) = self.image_column(&counts, part) else {
            return Err(Problem::new(format!("the row has no image {}", part + 1)));
        };
        let place = |problem: Problem| match problem.place {
            None => problem.at(format!("column {}", self.images[column].name)),
            Some(_) => problem,
        };
        if let Some(bytes) = self.image(column, row, nth).map_err(place)? {
            return Ok(Arc::from(bytes.data()));
        }
        let path = self.image_file(column, row, nth).map_err(place)?;
        crate::dataset::read_image(&path)
    }

    fn find(&self, index: &str) -> Result<Option<usize>> {
        Ok(self.rows_by_id()?.get(index).copied())
    }

    fn outlines(&self) -> Result<Vec<Outline>> {
        let mut names = Names::default();
        let mut outlines = Vec::with_capacity(self.len());
        self.each(|row, record| {
            let index = record.index(row);
            let kind = record::kind(record, &self.profile, || QuestionKind::Short);
            outlines.push(Outline::new(index, names.groups(record), kind));
        })?;
        Ok(outlines)
    }

    fn fingerprint(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<String>> {
        self.storage.sha256(go_on)
    }
}
