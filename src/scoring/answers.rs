//! `read-answers`: rows as JSON lines in, readings as JSON lines out.

use std::io::{BufRead, Write};

use rayon::prelude::*;
use serde_json::{Value, json};

use super::reading::{Reading, Row, Verdict};
use super::rule::Rule;
use crate::problem::{Problem, Result};

/// What came of reading a stream of rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadSummary {
    /// Rows that were read and judged.
    pub rows: u64,
    /// Of these, rows judged right.
    pub right: u64,
    /// Of these, rows that nobody could read.
    pub unparsed: u64,
    /// Sum of the scores.
    pub score_sum: f64,
    /// How many lines were no row.
    pub malformed: u64,
    /// What is wrong with them, line by line; the first hundred.
    pub problems: Vec<Problem>,
}

/// Lines that are read before they are judged on all cores and written in order.
const BATCH: usize = 4096;

/// A longer line is no row; it is skipped without being held in memory.
const LONGEST_LINE: usize = 64 << 20;

/// Bytes of lines that may wait for judgement; a batch ends earlier where its lines are long.
const BATCH_BYTES: usize = 16 << 20;

const PROBLEMS_KEPT: usize = 100;

/// Reads rows (JSON lines, as the contracts describe them) and writes their readings in the same order.
///
/// A line that is no row is answered by `{"id":…, "line":…, "problem":…}` and counted; it does not stop the rest.
/// Blank lines are skipped. For rows of type `ocrbench` a `category` in the line is joined to the dataset's name,
/// because handwritten formulas are judged differently.
///
/// # Errors
/// Only where the input cannot be read or the output cannot be written.
pub fn read_answers(rule: &Rule, mut input: impl BufRead, mut output: impl Write) -> Result<ReadSummary> {
    let mut summary = ReadSummary::default();
    let (mut number, mut done) = (0_u64, false);
    while !done {
        let (mut lines, mut bytes) = (Vec::with_capacity(BATCH), 0);
        while lines.len() < BATCH && bytes < BATCH_BYTES {
            let Some(line) = next_line(&mut input)? else {
                done = true;
                break;
            };
            number += 1;
            match line {
                Ok(line) if line.iter().all(u8::is_ascii_whitespace) => {}
                line => {
                    bytes += line.as_ref().map_or(0, Vec::len);
                    lines.push((number, line));
                }
            }
        }
        let readings: Vec<_> =
            lines.into_par_iter().map(|(number, line)| answer_line(rule, number, line)).collect();
        for reading in readings {
            let written = match reading {
                Ok(reading) => {
                    summary.rows += 1;
                    summary.right += u64::from(reading.verdict == Verdict::Right);
                    summary.unparsed += u64::from(reading.verdict == Verdict::Unparsed);
                    summary.score_sum += reading.score;
                    serde_json::to_writer(&mut output, &reading)
                }
                Err(line) => {
                    let (id, number, problem) = *line;
                    summary.malformed += 1;
                    let line = json!({"id": id, "line": number, "problem": problem.what});
                    if summary.problems.len() < PROBLEMS_KEPT {
                        summary.problems.push(problem);
                    }
                    serde_json::to_writer(&mut output, &line)
                }
            };
            written.map_err(std::io::Error::from).and_then(|()| output.write_all(b"\n")).map_err(
                |error| Problem::new(format!("cannot write a reading: {error}")).at("standard output"),
            )?;
        }
    }
    output
        .flush()
        .map_err(|error| Problem::new(format!("cannot write the readings: {error}")).at("standard output"))?;
    Ok(summary)
}

/// The next line without its end; an inner error where it is too long; `None` at the end of the input.
fn next_line(input: &mut impl BufRead) -> Result<Option<std::result::Result<Vec<u8>, String>>> {
    let (mut line, mut too_long, mut any) = (Vec::new(), false, false);
    loop {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Problem::new(format!("cannot read the rows: {error}")).at("standard input"));
            }
        };
        if buffer.is_empty() {
            break;
        }
        any = true;
        let (piece, used, ended) = match buffer.iter().position(|&byte| byte == b'\n') {
            Some(end) => (buffer.get(..end).unwrap_or(buffer), end + 1, true),
            None => (buffer, buffer.len(), false),
        };
        if line.len() + piece.len() > LONGEST_LINE {
            too_long = true;
            line = Vec::new();
        }
        if !too_long {
            line.extend_from_slice(piece);
        }
        input.consume(used);
        if ended {
            break;
        }
    }
    if !any {
        return Ok(None);
    }
    Ok(Some(if too_long {
        Err(format!("the line is longer than {} MiB", LONGEST_LINE >> 20))
    } else {
        Ok(line)
    }))
}

/// The id of the line where it has one, its number, what is wrong with it.
type LineProblem = Box<(Value, u64, Problem)>;

fn answer_line(
    rule: &Rule,
    number: u64,
    line: std::result::Result<Vec<u8>, String>,
) -> std::result::Result<Reading, LineProblem> {
    let problem = |id: Value, what: String| {
        let problem = Problem::new(what)
            .at(format!("line {number}"))
            .fix("write one JSON object a line: {\"id\", \"type\", \"choices\", \"response\", \"answer\"}");
        Box::new((id, number, problem))
    };
    let line = line.map_err(|what| problem(Value::Null, what))?;
    // A mark of byte order before the first row is no part of it.
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
    match serde_json::from_slice::<Row>(line) {
        Ok(row) => Ok(rule.read(&with_category(row, line))),
        Err(error) => {
            let id = serde_json::from_slice::<Value>(line)
                .ok()
                .and_then(|value| value.get("id").cloned())
                .unwrap_or(Value::Null);
            Err(problem(id, format!("this is no row: {error}")))
        }
    }
}

/// Joins a line's `category` to the dataset's name where the judgement depends on it.
fn with_category(mut row: Row, line: &[u8]) -> Row {
    #[derive(serde::Deserialize)]
    struct Category {
        category: Option<String>,
    }
    if row.answer_type == super::reading::AnswerType::Ocrbench
        && let Ok(Category { category: Some(category) }) = serde_json::from_slice(line)
    {
        let dataset = row.dataset.take().unwrap_or_else(|| "OCRBench".to_owned());
        row.dataset = Some(format!("{dataset}/{category}"));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_said_and_does_not_stop_the_rest() {
        let input = "{\"id\":1,\"type\":\"option\",\"choices\":{\"A\":\"x\",\"B\":\"y\"},\"response\":\"B\",\"answer\":\"B\"}\n\
            \n{\"id\":\"two\",\"type\":\"option\"}\nnot json\r\n\
            {\"id\":3,\"type\":\"yes-no\",\"response\":\"no\",\"answer\":\"Yes\"}";
        let mut output = Vec::new();
        let summary = read_answers(&Rule::Shardscope, input.as_bytes(), &mut output).unwrap();
        let lines: Vec<Value> = output
            .split(|&b| b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            (&lines[0]["id"], &lines[0]["verdict"], &lines[0]["score"]),
            (&json!(1), &json!("right"), &json!(1.0))
        );
        assert_eq!((&lines[1]["id"], &lines[1]["line"]), (&json!("two"), &json!(3)));
        assert_eq!(lines[2]["line"], json!(4));
        assert_eq!(lines[3]["verdict"], json!("wrong"));
        assert_eq!((summary.rows, summary.malformed, summary.right), (2, 2, 1));
        assert!(summary.problems[0].to_string().starts_with("line 3: "));
    }

    #[test]
    fn rows_are_taken_as_other_tools_write_them() {
        let input = "{\"type\":\"option\",\"choices\":[\"x\",\"y\"],\"response\":\"b\",\"answer\":\"B\"}\n\
            {\"type\":\"exact\",\"choices\":null,\"response\":42,\"answer\":\"42\",\"dataset\":null}\n\
            {\"type\":\"exact\",\"response\":null,\"answer\":\"42\"}\n\
            {\"type\":\"exact\",\"response\":[1],\"answer\":\"42\"}\n\u{feff}";
        let summary = read_answers(&Rule::Shardscope, input.as_bytes(), Vec::new()).unwrap();
        assert_eq!((summary.rows, summary.right, summary.unparsed, summary.malformed), (3, 2, 1, 2));
    }

    #[test]
    fn readings_come_in_the_order_of_the_rows() {
        let mut input = String::new();
        for i in 0..10_000 {
            input += &format!("{{\"id\":{i},\"type\":\"exact\",\"response\":\"{i}\",\"answer\":\"{i}\"}}\n");
        }
        let mut output = Vec::new();
        let summary = read_answers(&Rule::Shardscope, input.as_bytes(), &mut output).unwrap();
        assert_eq!((summary.rows, summary.right), (10_000, 10_000));
        for (i, line) in output.split(|&b| b == b'\n').filter(|l| !l.is_empty()).enumerate() {
            assert_eq!(serde_json::from_slice::<Value>(line).unwrap()["id"], json!(i));
        }
    }
}
