//! A parquet file's leaf columns, read some rows at a time, with nothing taken on trust.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, Once, PoisonError};

use ::parquet::basic::Compression;
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{ByteArray, DataType};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use ::parquet::schema::types::SchemaDescPtr;

use super::pages;
use crate::dataset::storage::Storage;
use crate::{Problem, Result};

/// The largest footer that is read, and most columns.
const LARGEST_FOOTER: u64 = 16 << 20;
const MOST_COLUMNS: usize = 4096;

/// The values of a row in a leaf: one, or those of a list.
pub(super) type Values = Vec<Option<ByteArray>>;

/// An open file and its leaves.
pub(super) struct Leaves {
    file: SerializedFileReader<Positional>,
    storage: Arc<Storage>,
    /// Columns (row group, leaf) whose page headers were looked at.
    checked: Mutex<HashSet<(usize, usize)>>,
}

/// Reads a file by position, so that several threads can read it at once: clones of a `File` share one cursor.
struct Positional {
    storage: Arc<Storage>,
    at: u64,
}

impl Length for Positional {
    fn len(&self) -> u64 {
        self.storage.len()
    }
}

impl ChunkReader for Positional {
    type T = Self;

    fn get_read(&self, start: u64) -> Result<Self, ParquetError> {
        Ok(Self { storage: self.storage.clone(), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes, ParquetError> {
        let end = start.saturating_add(length as u64);
        let read = self.storage.read(start..end).map_err(|problem| ParquetError::EOF(problem.what))?;
        Ok(read.into_owned().into())
    }
}

impl Read for Positional {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let end = self.at.saturating_add(into.len() as u64).min(self.storage.len());
        let read =
            self.storage.read(self.at.min(end)..end).map_err(|problem| io::Error::other(problem.what))?;
        into[..read.len()].copy_from_slice(&read);
        self.at += read.len() as u64;
        Ok(read.len())
    }
}

/// A leaf that is being read forward.
pub(super) struct Leaf {
    reader: ColumnReader,
    max_def: i16,
}

impl Leaves {
    /// Opens a file and checks what its footer claims.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let storage = Arc::new(Storage::open(path)?);
        check_ends(&storage)?;
        let file = guarded(|| SerializedFileReader::new(Positional { storage: storage.clone(), at: 0 }))?;
        let leaves = Self { file, storage, checked: Mutex::new(HashSet::new()) };
        leaves.check_columns()?;
        Ok(leaves)
    }

    fn check_columns(&self) -> Result<()> {
        let columns = self.schema().num_columns();
        if columns > MOST_COLUMNS {
            return Err(Problem::new(format!("the file has {columns} columns, which is too many")));
        }
        for group in self.file.metadata().row_groups() {
            if group.columns().len() != columns {
                return Err(damaged("a row group lacks columns"));
            }
            for column in group.columns() {
                let inside = |offset: i64, bytes: i64| {
                    let end = offset.checked_add(bytes).and_then(|end| u64::try_from(end).ok());
                    offset >= 0 && bytes >= 0 && end.is_some_and(|end| end <= self.storage.len())
                };
                let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
                if !inside(start, column.compressed_size()) || !inside(column.data_page_offset(), 0) {
                    return Err(damaged("a column lies outside the file"));
                }
                // Other codecs unpack to any size, whatever the page's header says.
                if !matches!(
                    column.compression(),
                    Compression::UNCOMPRESSED
                        | Compression::SNAPPY
                        | Compression::ZSTD(_)
                        | Compression::LZ4_RAW
                ) {
                    let codec = column.compression();
                    return Err(Problem::new(format!(
                        "the file is compressed by {codec}, which is not read"
                    ))
                    .fix("write it again with snappy or zstd, as Hugging Face does"));
                }
            }
        }
        Ok(())
    }

    /// First row of each row group, and the number of all rows.
    pub(super) fn group_starts(&self) -> Result<Vec<usize>> {
        let mut starts = vec![0usize];
        for group in self.file.metadata().row_groups() {
            let rows = usize::try_from(group.num_rows()).ok();
            let end = rows.and_then(|rows| rows.checked_add(starts[starts.len() - 1]));
            // A question takes at least a byte.
            let end = end.filter(|&end| end as u64 <= self.storage.len());
            starts.push(end.ok_or_else(|| damaged("its row counts make no sense"))?);
        }
        Ok(starts)
    }

    /// The leaves' names and types.
    pub(super) fn schema(&self) -> SchemaDescPtr {
        self.file.metadata().file_metadata().schema_descr_ptr()
    }

    /// The file's bytes.
    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Bytes of a leaf in a row group once unpacked, as the footer claims.
    pub(super) fn unpacked(&self, group: usize, leaf: usize) -> u64 {
        self.file.metadata().row_group(group).column(leaf).uncompressed_size().try_into().unwrap_or(u64::MAX)
    }

    /// How many values of a leaf are absent in a row group, and how many there are in all, if the footer says.
    pub(super) fn absent(&self, group: usize, leaf: usize) -> Option<(u64, u64)> {
        let column = self.file.metadata().row_group(group).column(leaf);
        Some((column.statistics()?.null_count_opt()?, u64::try_from(column.num_values()).ok()?))
    }

    /// A leaf of a row group, at one of its rows.
    pub(super) fn leaf(&self, group: usize, leaf: usize, row: usize) -> Result<Leaf> {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if !checked.contains(&(group, leaf)) {
            let (start, length) = self.file.metadata().row_group(group).column(leaf).byte_range();
            pages::check(&self.storage, start..start.saturating_add(length))?;
            checked.insert((group, leaf));
        }
        drop(checked);
        let max_def = self.schema().column(leaf).max_def_level();
        let reader = guarded(|| self.file.get_row_group(group)?.get_column_reader(leaf))?;
        let mut leaf = Leaf { reader, max_def };
        leaf.skip(row)?;
        Ok(leaf)
    }

    /// Some rows of a leaf.
    ///
    /// # Errors
    /// Also when there are fewer.
    pub(super) fn rows(&self, group: usize, leaf: usize, from: usize, count: usize) -> Result<Vec<Values>> {
        let rows = self.leaf(group, leaf, from)?.read(count)?;
        if rows.len() < count {
            return Err(damaged("a column has fewer rows than its row group"));
        }
        Ok(rows)
    }
}

impl Leaf {
    /// Skips rows.
    pub(super) fn skip(&mut self, rows: usize) -> Result<()> {
        if rows == 0 {
            return Ok(());
        }
        guarded(|| match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::Int32ColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::Int64ColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::Int96ColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::FloatColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::DoubleColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::ByteArrayColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => reader.skip_records(rows),
        })
        .map(|_| ())
    }

    /// The next rows, fewer at the end; numbers as text.
    pub(super) fn read(&mut self, rows: usize) -> Result<Vec<Values>> {
        fn text(value: impl ToString) -> ByteArray {
            ByteArray::from(value.to_string().into_bytes())
        }
        let max_def = self.max_def;
        guarded(|| match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => read(reader, rows, max_def, text),
            ColumnReader::Int32ColumnReader(reader) => read(reader, rows, max_def, text),
            ColumnReader::Int64ColumnReader(reader) => read(reader, rows, max_def, text),
            ColumnReader::FloatColumnReader(reader) => read(reader, rows, max_def, text),
            ColumnReader::DoubleColumnReader(reader) => read(reader, rows, max_def, text),
            ColumnReader::ByteArrayColumnReader(reader) => read(reader, rows, max_def, |value| value),
            ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
                Err(ParquetError::General("a column is of a type that is not read".into()))
            }
        })
    }
}

fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    max_def: i16,
    convert: impl Fn(T::T) -> ByteArray,
) -> Result<Vec<Values>, ParquetError> {
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
    // A column without absent values has no levels of its own.
    let levels = if max_def == 0 { values.len() } else { present.len() };
    let mut values = values.into_iter();
    let mut out: Vec<Values> = Vec::new();
    for level in 0..levels {
        let is_present = present.get(level).is_none_or(|&level| level == max_def);
        let value = if is_present { values.next().map(&convert) } else { None };
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

/// A file that is not as parquet files are.
pub(super) fn damaged(how: &str) -> Problem {
    Problem::new(format!("the parquet file is damaged: {how}")).fix("download or write it again")
}

/// Looks at a file's two ends before the reader trusts them.
fn check_ends(storage: &Storage) -> Result<()> {
    let length = storage.len();
    if length < 12 || storage.read(0..4)?[..] != *b"PAR1" {
        return Err(Problem::new("this is not a parquet file"));
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
