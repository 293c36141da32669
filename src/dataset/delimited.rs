//! Tables of text with tabs or commas between the cells, read row by row without holding the table.
//!
//! Cells are told apart as pandas' C reader does (and so VLMEvalKit): a quote counts only as the first character of a
//! cell; inside quotes tabs and line ends belong to the cell and a doubled quote is one quote; what follows the
//! closing quote is part of the cell. `\n`, `\r\n` and `\r` end a row, and empty lines are no rows.

use crate::dataset::storage::Storage;
use crate::{Problem, Result};

/// The largest row that is read into memory.
const LARGEST_ROW: u64 = 512 << 20;

/// The largest first row; real ones are a few hundred bytes.
const LARGEST_HEADER: u64 = 1 << 20;

/// Most rows of a table: their offsets take 8 bytes each.
const MOST_ROWS: usize = 50_000_000;

/// How often a quote that never closes may be taken for the fault of its row alone; each time the rest of the file is
/// gone through again.
const MOST_OPEN_QUOTES: usize = 8;

/// What hears about the parts of a table.
trait Listener {
    /// A row begins at this byte.
    fn row(&mut self, at: u64);
    /// Some of the current cell's text.
    fn text(&mut self, text: &[u8]);
    /// The cell is complete.
    fn cell(&mut self);
    /// The row is complete; whether to go on.
    fn row_end(&mut self) -> bool;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Row,
    Cell,
    Plain,
    Quoted,
    QuoteInQuoted,
    Return,
}

/// Follows the structure of a table through pieces of it.
struct Scanner {
    delimiter: u8,
    state: State,
    /// Offset of the next piece.
    offset: u64,
    stopped: bool,
}

impl Scanner {
    fn new(delimiter: u8, offset: u64) -> Self {
        Self { delimiter, state: State::Row, offset, stopped: false }
    }

    /// Goes through one piece; `false` once the listener has heard enough.
    fn feed(&mut self, piece: &[u8], listener: &mut impl Listener) -> bool {
        let mut at = 0;
        while !self.stopped && at < piece.len() {
            let byte = piece[at];
            match self.state {
                State::Row | State::Return => {
                    let second_half = self.state == State::Return && byte == b'\n';
                    self.state = State::Row;
                    if second_half || byte == b'\n' || byte == b'\r' {
                        at += 1;
                    } else {
                        listener.row(self.offset + at as u64);
                        self.state = State::Cell;
                    }
                }
                State::Cell if byte == b'"' => {
                    self.state = State::Quoted;
                    at += 1;
                }
                State::Cell => self.state = State::Plain,
                State::Plain => {
                    let rest = &piece[at..];
                    let end = memchr::memchr3(self.delimiter, b'\n', b'\r', rest).unwrap_or(rest.len());
                    listener.text(&rest[..end]);
                    at += end;
                    if let Some(&byte) = piece.get(at) {
                        self.end_of_cell(byte, listener);
                        at += 1;
                    }
                }
                State::Quoted => {
                    let rest = &piece[at..];
                    let end = memchr::memchr(b'"', rest).unwrap_or(rest.len());
                    listener.text(&rest[..end]);
                    at += end;
                    if at < piece.len() {
                        self.state = State::QuoteInQuoted;
                        at += 1;
                    }
                }
                State::QuoteInQuoted => {
                    if byte == b'"' {
                        listener.text(b"\"");
                        self.state = State::Quoted;
                        at += 1;
                    } else {
                        self.state = State::Plain;
                    }
                }
            }
        }
        self.offset += at as u64;
        !self.stopped
    }

    /// A delimiter or a line end.
    fn end_of_cell(&mut self, byte: u8, listener: &mut impl Listener) {
        listener.cell();
        if byte == self.delimiter {
            self.state = State::Cell;
        } else {
            self.state = if byte == b'\r' { State::Return } else { State::Row };
            self.stopped = !listener.row_end();
        }
    }

    /// The end of the file; whether a quote was left open.
    fn finish(&mut self, listener: &mut impl Listener) -> bool {
        let open = self.state == State::Quoted;
        if !self.stopped && !matches!(self.state, State::Row | State::Return) {
            listener.cell();
            listener.row_end();
        }
        open
    }
}

/// Collects where rows begin.
struct Starts {
    starts: Vec<u64>,
    full: bool,
}

impl Listener for Starts {
    fn row(&mut self, at: u64) {
        if self.starts.len() <= MOST_ROWS {
            self.starts.push(at);
        } else {
            self.full = true;
        }
    }
    fn text(&mut self, _: &[u8]) {}
    fn cell(&mut self) {}
    fn row_end(&mut self) -> bool {
        !self.full
    }
}

/// Collects the wanted cells of each row and hands them on.
struct Cells<'a, F> {
    wanted: &'a [bool],
    /// Most bytes kept of a cell.
    limit: usize,
    cells: Vec<Vec<u8>>,
    current: Vec<u8>,
    each: F,
}

impl<F: FnMut(&mut Vec<Vec<u8>>) -> bool> Listener for Cells<'_, F> {
    fn row(&mut self, _: u64) {
        self.cells.clear();
        self.current.clear();
    }
    fn text(&mut self, text: &[u8]) {
        // A cell beyond the header's is counted and its emptiness known, no more.
        let wanted = self.wanted.get(self.cells.len()).copied();
        let limit = if wanted == Some(false) { 0 } else { self.limit };
        let room = limit.saturating_sub(self.current.len()).min(text.len());
        self.current.extend_from_slice(&text[..room]);
    }
    fn cell(&mut self) {
        // Rows of endless cells stay bounded: the surplus is folded into one.
        if self.cells.len() <= self.wanted.len() {
            self.cells.push(std::mem::take(&mut self.current));
        } else if let Some(last) = self.cells.last_mut()
            && last.is_empty()
        {
            std::mem::swap(last, &mut self.current);
        }
        self.current.clear();
    }
    fn row_end(&mut self) -> bool {
        (self.each)(&mut self.cells)
    }
}

/// A table's columns and where its rows begin.
#[derive(Debug)]
pub(crate) struct Delimited {
    storage: Storage,
    delimiter: u8,
    columns: Vec<String>,
    /// Where each row begins.
    starts: Vec<u64>,
    /// Rows in which a quote is opened and never closed, in order.
    open: Vec<usize>,
}

impl Delimited {
    /// Finds the columns and rows. `go_on` hears how many bytes are done, and stops the work by `false`.
    pub(crate) fn open(storage: Storage, delimiter: u8, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Self> {
        let mark = storage.read(0..storage.len().min(3))?;
        let body = match &mark[..] {
            [0xEF, 0xBB, 0xBF] => 3,
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
                return Err(Problem::new("the file is in UTF-16").fix("save it as UTF-8"));
            }
            _ => 0,
        };
        drop(mark);
        let mut open = Vec::new();
        let mut starts = Starts { starts: Vec::new(), full: false };
        let mut scanner = Scanner::new(delimiter, body);
        loop {
            let finished = storage.walk(scanner.offset, |piece| {
                let more = scanner.feed(piece, &mut starts);
                more && go_on(scanner.offset)
            })?;
            if starts.full {
                return Err(Problem::new(format!("the file has more than {MOST_ROWS} rows")).fix("split it"));
            }
            if !finished {
                return Err(Problem::new("stopped before the file was gone through"));
            }
            if !scanner.finish(&mut starts) {
                break;
            }
            // A quote was left open and took the rest of the file with it. The row that opened it is at fault; the
            // next line may be sound.
            let Some(&start) = starts.starts.last() else { break };
            open.push(starts.starts.len() - 1);
            let Some(next) = line_end(&storage, start)?.filter(|_| open.len() < MOST_OPEN_QUOTES) else {
                break;
            };
            scanner = Scanner::new(delimiter, next);
        }
        let mut starts = starts.starts;
        starts.shrink_to_fit();
        let mut table = Self { storage, delimiter, columns: Vec::new(), starts, open };
        table.columns = table.header()?;
        table.starts.remove(0);
        table.open.retain(|&row| row > 0);
        table.open.iter_mut().for_each(|row| *row -= 1);
        Ok(table)
    }

    /// The names in the first row.
    fn header(&self) -> Result<Vec<String>> {
        let Some(&start) = self.starts.first() else {
            return Err(Problem::new("the file is empty").fix("its first row must name the columns"));
        };
        let end = self.end(0);
        if self.open.first() == Some(&0) || end - start > LARGEST_HEADER {
            return Err(not_a_table());
        }
        // A row of n bytes has at most n cells and one more.
        let names = self.cells(start..end, &vec![true; (end - start) as usize + 1])?;
        let names: Result<Vec<String>, _> = names.into_iter().map(String::from_utf8).collect();
        let names = names.map_err(|_| not_a_table())?;
        if names.iter().any(|name| name.contains('\0')) {
            return Err(not_a_table());
        }
        Ok(names.into_iter().map(|name| name.trim().to_owned()).collect())
    }

    /// Names of the columns.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Where a column stands.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// Rows, the header not counted.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The file's bytes.
    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Rows that open a quote and never close it.
    pub(crate) fn open_quotes(&self) -> &[usize] {
        &self.open
    }

    /// Where a row ends, its line end included.
    fn end(&self, row: usize) -> u64 {
        self.starts.get(row + 1).copied().unwrap_or_else(|| self.storage.len())
    }

    /// The cells of one row; those not wanted, and those that the row lacks, are empty.
    pub(crate) fn row(&self, row: usize, wanted: &[bool]) -> Result<Vec<Vec<u8>>> {
        let Some(&start) = self.starts.get(row) else {
            return Err(Problem::new(format!("there is no row {}: the table has {}", row + 1, self.len())));
        };
        if self.open.binary_search(&row).is_ok() {
            return Err(Problem::new("a quote is opened in this row and never closed")
                .fix("close it, or write a quote at a cell's beginning as three"));
        }
        let mut cells = self.cells(start..self.end(row), wanted)?;
        let surplus = cells.split_off(cells.len().min(self.columns.len()));
        if surplus.iter().any(|cell| !cell.is_empty()) {
            return Err(Problem::new(format!(
                "the row has more cells than the {} columns",
                self.columns.len()
            ))
            .fix("quote cells that contain tabs"));
        }
        cells.resize(self.columns.len(), Vec::new());
        Ok(cells)
    }

    fn cells(&self, range: std::ops::Range<u64>, wanted: &[bool]) -> Result<Vec<Vec<u8>>> {
        if range.end - range.start > LARGEST_ROW {
            return Err(Problem::new(format!(
                "the row takes {} bytes, which is too much to read",
                range.end - range.start
            ))
            .fix("keep large images in files and name them in the column image_path"));
        }
        let bytes = self.storage.read(range)?;
        let mut found = Vec::new();
        let mut listener = Cells {
            wanted,
            limit: usize::MAX,
            cells: Vec::new(),
            current: Vec::new(),
            each: |cells: &mut Vec<Vec<u8>>| {
                found = std::mem::take(cells);
                false
            },
        };
        let mut scanner = Scanner::new(self.delimiter, 0);
        scanner.feed(&bytes, &mut listener);
        scanner.finish(&mut listener);
        Ok(found)
    }

    /// Goes through all rows at once, in order, with at most `limit` bytes of each wanted cell. Rows with an open
    /// quote come as no cells.
    pub(crate) fn each_row(
        &self,
        wanted: &[bool],
        limit: usize,
        mut each: impl FnMut(usize, &[Vec<u8>]),
    ) -> Result<()> {
        let mut row = 0;
        let mut at = self.starts.first().copied().unwrap_or(0);
        // Between rows with open quotes the file is sound, and each sound part is walked through once.
        for &broken in self.open.iter().chain(std::iter::once(&self.len())) {
            let end = self.starts.get(broken).copied();
            let mut listener = Cells {
                wanted,
                limit,
                cells: Vec::new(),
                current: Vec::new(),
                each: |cells: &mut Vec<Vec<u8>>| {
                    if row < broken {
                        each(row, cells);
                        row += 1;
                    }
                    row < broken
                },
            };
            if end.is_none_or(|end| at < end) {
                let mut scanner = Scanner::new(self.delimiter, at);
                self.storage.walk(at, |piece| scanner.feed(piece, &mut listener))?;
                scanner.finish(&mut listener);
            }
            if broken < self.len() {
                each(broken, &[]);
                row = broken + 1;
                at = self.end(broken);
            }
        }
        Ok(())
    }
}

/// The place after the line end that follows a place; `None` at the end of the file.
fn line_end(storage: &Storage, from: u64) -> Result<Option<u64>> {
    let mut at = from;
    let mut found = None;
    storage.walk(from, |piece| {
        match memchr::memchr(b'\n', piece) {
            Some(end) => found = Some(at + end as u64 + 1),
            None => at += piece.len() as u64,
        }
        found.is_none()
    })?;
    Ok(found)
}

fn not_a_table() -> Problem {
    Problem::new("this is not a table of text: its first row names no columns")
        .fix("use a VLMEvalKit TSV: UTF-8, tabs between cells, the first row names index, question, answer, image ...")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &'static [u8]) -> Delimited {
        Delimited::open(Storage::Embedded(text), b'\t', &mut |_| true).unwrap()
    }

    fn rows(table: &Delimited) -> Vec<Vec<String>> {
        let wanted = vec![true; table.columns().len()];
        let one_by_one: Vec<Vec<Vec<u8>>> =
            (0..table.len()).map(|row| table.row(row, &wanted).unwrap_or_default()).collect();
        let mut together = Vec::new();
        table
            .each_row(&wanted, usize::MAX, |row, cells| {
                assert_eq!(row, together.len());
                let mut cells = cells.to_vec();
                if !cells.is_empty() {
                    cells.resize(table.columns().len(), Vec::new());
                }
                together.push(cells);
            })
            .unwrap();
        assert_eq!(one_by_one, together);
        together
            .into_iter()
            .map(|cells| cells.into_iter().map(|cell| String::from_utf8(cell).unwrap()).collect())
            .collect()
    }

    #[test]
    fn quoting_and_line_ends_are_read_as_pandas_reads_them() {
        let table = table(
            b"\xEF\xBB\xBFa\t\"b\"\tc\r\n1\t\"x\ty\n\"\"z\"\"\"\tpl\"ain\r\n\n\r\n2\t\"\"\r3\t\"q\"uo\"te\"\t\n4\t\xC3\xA9",
        );
        assert_eq!(table.columns(), ["a", "b", "c"]);
        assert_eq!(
            rows(&table),
            [["1", "x\ty\n\"z\"", "pl\"ain"], ["2", "", ""], ["3", "quo\"te\"", ""], ["4", "é", ""]]
        );
    }

    #[test]
    fn an_open_quote_costs_its_own_row_only() {
        let table = table(b"a\tb\n1\t\"fine\"\n2\t\"open\n\n3\tfine\n4\tfine too");
        assert_eq!(table.len(), 4);
        assert_eq!(table.open_quotes(), [1]);
        assert_eq!(rows(&table), [vec!["1", "fine"], vec![], vec!["3", "fine"], vec!["4", "fine too"]]);
        assert!(table.row(1, &[true, true]).unwrap_err().what.contains("quote"));
    }

    #[test]
    fn a_row_of_too_many_cells_is_refused_and_the_next_one_read() {
        let table = table(b"a\tb\n1\t2\t\t\n1\t2\t\t3\n1\t2\n");
        assert_eq!(table.row(0, &[true, true]).unwrap(), [b"1", b"2"]);
        assert!(table.row(1, &[true, true]).unwrap_err().what.contains("more cells"));
        assert_eq!(table.row(2, &[false, true]).unwrap(), [&b""[..], b"2"]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_split_alike_row_by_row_and_together(
            text in proptest::collection::vec(proptest::sample::select(b"ab\"\t\n\r\xC3\0".to_vec()), 0..60)
        ) {
            let bytes: &'static [u8] = Box::leak(text.into_boxed_slice());
            if let Ok(table) = Delimited::open(Storage::Embedded(bytes), b'\t', &mut |_| true) {
                let wanted = vec![true; table.columns().len()];
                let mut count = 0;
                table.each_row(&wanted, usize::MAX, |row, together| {
                    count += 1;
                    if let Ok(alone) = table.row(row, &wanted) {
                        let mut together = together.to_vec();
                        together.truncate(wanted.len());
                        together.resize(wanted.len(), Vec::new());
                        assert_eq!(alone, together);
                    }
                }).unwrap();
                proptest::prop_assert_eq!(count, table.len());
            }
        }
    }
}
