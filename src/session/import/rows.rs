//! Tables of others, row by row: tab-separated text as pandas writes it, and spreadsheets.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use calamine::{DataRef, Reader as _, Xlsx};
use csv_core::{ReadRecordResult, ReaderBuilder};
use serde_json::{Map, Value};

use super::super::lines::open_file;
use crate::{Problem, Result};

/// Longest row, in bytes.
const LONGEST_ROW: usize = 256 << 20;
/// Most columns.
const MOST_COLUMNS: usize = 4096;
/// Most bytes of an unpacked spreadsheet.
const UNPACKED: u64 = 512 << 20;

/// Takes a row by its number, the header being row 1: column name to cell, empty cells left out.
type Each<'a> = dyn FnMut(usize, Map<String, Value>) + 'a;

/// Reads tab-separated text; cells in quotes may hold tabs and line feeds.
pub(super) fn tabs(file: &Path, each: &mut Each) -> Result<()> {
    let failed = |error: io::Error| Problem::io("read", file, &error);
    let mut input = BufReader::with_capacity(1 << 18, open_file(file).map_err(failed)?);
    let mut reader = ReaderBuilder::new().delimiter(b'\t').build();
    let (mut text, mut ends) = (vec![0; 1 << 16], vec![0; 256]);
    let (mut length, mut cells) = (0, 0);
    let mut header: Option<Vec<String>> = None;
    let mut number = 0;
    loop {
        let bytes = input.fill_buf().map_err(failed)?;
        let (result, read, written, ended) =
            reader.read_record(bytes, &mut text[length..], &mut ends[cells..]);
        input.consume(read);
        length += written;
        cells += ended;
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::OutputFull if text.len() < LONGEST_ROW => text.resize(text.len() * 2, 0),
            ReadRecordResult::OutputEndsFull if ends.len() < MOST_COLUMNS => ends.resize(ends.len() * 2, 0),
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                return Err(Problem::new("this row is longer than any row of predictions")
                    .at(format!("{}, row {}", file.display(), number + 1))
                    .fix("check that it is a tab-separated file, and that every quote is closed"));
            }
            ReadRecordResult::Record => {
                number += 1;
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let row = starts.zip(&ends[..cells]).map(|(from, &to)| {
                    String::from_utf8_lossy(text.get(from..to).unwrap_or_default()).into_owned()
                });
                match &header {
                    None => {
                        let names: Vec<String> =
                            row.map(|name| name.trim_start_matches('\u{feff}').into()).collect();
                        check_header(&names, file)?;
                        header = Some(names);
                    }
                    Some(names) => {
                        let named = names.iter().cloned().zip(row.map(Value::from));
                        each(number, named.filter(|(_, cell)| cell.as_str() != Some("")).collect());
                    }
                }
                (length, cells) = (0, 0);
            }
            ReadRecordResult::End => return Ok(()),
        }
    }
}

/// Reads the first sheet of a spreadsheet.
pub(super) fn sheet(file: &Path, each: &mut Each) -> Result<()> {
    check_size(file)?;
    let wrong = |error: calamine::XlsxError| {
        Problem::new(format!("not a spreadsheet that can be read: {error}")).in_file(file)
    };
    let input = open_file(file).map_err(|error| Problem::io("open", file, &error))?;
    let mut book = Xlsx::new(BufReader::new(input)).map_err(wrong)?;
    let name = book.sheet_names().first().cloned();
    let name = name.ok_or_else(|| Problem::new("a spreadsheet without a sheet").in_file(file))?;
    // Cell by cell: a table of all cells could be made as large as one likes by a single cell far away.
    let mut cells = book.worksheet_cells_reader(&name).map_err(wrong)?;
    let mut header: Option<Vec<String>> = None;
    let mut row: Vec<(usize, Value)> = Vec::new();
    let mut at = 0;
    let mut finish = |at: u32, row: Vec<(usize, Value)>| -> Result<()> {
        match &header {
            _ if row.is_empty() => {}
            None => {
                let mut names =
                    vec![String::new(); row.iter().map(|(column, _)| column + 1).max().unwrap_or(0)];
                for (column, name) in row {
                    names[column] = name.as_str().map_or_else(|| name.to_string(), str::to_string);
                }
                check_header(&names, file)?;
                header = Some(names);
            }
            Some(names) => {
                let named =
                    row.into_iter().filter_map(|(column, cell)| Some((names.get(column)?.clone(), cell)));
                each(at as usize + 1, named.collect());
            }
        }
        Ok(())
    };
    while let Some(cell) = cells.next_cell().map_err(wrong)? {
        let (line, column) = cell.get_position();
        if line != at {
            finish(at, std::mem::take(&mut row))?;
            at = line;
        }
        let value = value(cell.get_value());
        if !value.is_null() && (column as usize) < MOST_COLUMNS {
            row.push((column as usize, value));
        }
    }
    finish(at, row)
}

/// A cell as JSON: whole numbers without a point, as pandas shows them.
fn value(cell: &DataRef) -> Value {
    match cell {
        DataRef::Int(number) => (*number).into(),
        DataRef::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => (*number as i64).into(),
        DataRef::Float(number) => (*number).into(),
        DataRef::Bool(truth) => (*truth).into(),
        DataRef::String(text) => text.as_str().into(),
        DataRef::SharedString(text) => (*text).into(),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.as_str().into(),
        DataRef::DateTime(time) => time.as_f64().into(),
        DataRef::Error(_) | DataRef::Empty => Value::Null,
    }
}

fn check_header(names: &[String], file: &Path) -> Result<()> {
    if names.iter().any(|name| name == "prediction") {
        return Ok(());
    }
    let found = names.iter().take(12).map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(Problem::new(format!("no column is named prediction; there are: {found}"))
        .in_file(file)
        .fix("import the prediction file that VLMEvalKit writes, <model>_<dataset>.xlsx or .tsv"))
}

/// A spreadsheet is a ZIP archive, which may unpack to more than fits into memory: it is unpacked once into nothing.
fn check_size(file: &Path) -> Result<()> {
    let wrong = |error: &dyn std::fmt::Display| {
        Problem::new(format!("not a spreadsheet that can be read: {error}")).in_file(file)
    };
    let input = open_file(file).map_err(|error| Problem::io("open", file, &error))?;
    let mut archive = zip::ZipArchive::new(BufReader::new(input)).map_err(|error| wrong(&error))?;
    let mut left = UNPACKED;
    for number in 0..archive.len() {
        let part = archive.by_index(number).map_err(|error| wrong(&error))?;
        left -= io::copy(&mut part.take(left), &mut io::sink()).map_err(|error| wrong(&error))?;
        if left == 0 {
            return Err(Problem::new(format!(
                "this spreadsheet unpacks to more than {} MiB",
                UNPACKED >> 20
            ))
            .in_file(file)
            .fix("let VLMEvalKit write its predictions as tsv (PRED_FORMAT=tsv)"));
        }
    }
    Ok(())
}
