//! Exports as tables: CSV for people and scripts, and the prediction files of VLMEvalKit.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, Write};

use rust_xlsxwriter::{Format, Workbook};
use serde_json::Value;

use super::super::journal::Answer;
use super::super::record::Record;
use super::{Out, Stop};
use crate::Problem;
use crate::scoring::Verdict;
use crate::scoring::judge::Reply;

/// Most UTF-16 units in a cell of a spreadsheet (Excel specifications and limits).
const LONGEST_CELL: usize = 32_767;
/// Most rows of a spreadsheet.
const MOST_ROWS: usize = 1_048_576;
/// Problems told one by one.
const TOLD: usize = 10;
/// What VLMEvalKit writes, and looks for, where there is no answer.
const NO_ANSWER: &str = "Failed to obtain answer via API.";
/// Texts that pandas, and so VLMEvalKit, reads as a missing value (its `STR_NA_VALUES`).
const MISSING_TO_PANDAS: [&str; 19] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
    "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// A table with one row for each question.
pub(super) fn csv(record: &Record, out: &mut Out) -> Result<(), Stop> {
    const HEADER: [&str; 34] = [
        "index",
        "id",
        "category",
        "l2-category",
        "split",
        "type",
        "question",
        "options",
        "images",
        "answer",
        "response",
        "thinking",
        "read",
        "verdict",
        "score",
        "by",
        "rule",
        "finish",
        "tiles",
        "prompt_tokens",
        "output_tokens",
        "seconds_prefill",
        "seconds_decode",
        "seconds_total",
        "peak_bytes",
        "error",
        "judge",
        "judge_outcome",
        "judge_reply",
        "judge_tokens",
        "judge_cost",
        "judge_problem",
        "override",
        "override_reason",
    ];
    row(out, ',', HEADER.into_iter())?;
    for answer in record.answers_at(record.dataset_order()) {
        let answer = answer?;
        let json = |value: Result<Value, _>| value.map(|value| plain(&value).into_owned());
        let judge = answer.judge.as_ref();
        let reply = judge.and_then(|judge| judge.reply.as_ref());
        let said = record.overrides().get(&answer.index);
        let tokens = |reply: &Reply| Some(reply.prompt_tokens? + reply.reply_tokens?);
        let cells = [
            answer.index.clone(),
            answer.id.clone().unwrap_or_default(),
            answer.category.clone().unwrap_or_default(),
            answer.super_category.clone().unwrap_or_default(),
            answer.split.clone().unwrap_or_default(),
            json(serde_json::to_value(answer.answer_type))?,
            answer.question.clone(),
            if answer.options.is_empty() { String::new() } else { serde_json::to_string(&answer.options)? },
            answer.images.iter().map(|image| image.name.as_str()).collect::<Vec<_>>().join("; "),
            plain(&answer.answer).into_owned(),
            answer.response.clone(),
            answer.thinking.clone().unwrap_or_default(),
            plain(&answer.read).into_owned(),
            json(serde_json::to_value(answer.verdict))?,
            answer.score.to_string(),
            answer.by.clone(),
            answer.rule.clone(),
            json(serde_json::to_value(answer.finish))?,
            answer.tiles.to_string(),
            answer.prompt_tokens.to_string(),
            answer.output_tokens.to_string(),
            answer.seconds.prefill.to_string(),
            answer.seconds.decode.to_string(),
            answer.seconds.total.to_string(),
            answer.peak_bytes.values().max().map(u64::to_string).unwrap_or_default(),
            answer.error.clone().unwrap_or_default(),
            judge.map(|judge| judge.judge.clone()).unwrap_or_default(),
            json(serde_json::to_value(judge.map(|judge| judge.outcome)))?,
            reply.map(|reply| reply.text.clone()).unwrap_or_default(),
            reply.and_then(tokens).map(|tokens| tokens.to_string()).unwrap_or_default(),
            reply.and_then(|reply| reply.cost).map(|cost| cost.to_string()).unwrap_or_default(),
            judge.and_then(|judge| judge.problem.clone()).unwrap_or_default(),
            json(serde_json::to_value(said.and_then(|said| said.verdict)))?,
            said.map(|said| said.reason.clone()).unwrap_or_default(),
        ];
        row(out, ',', cells.iter().map(String::as_str))?;
    }
    Ok(())
}

/// A value as the text of a cell.
fn plain(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        // A list of texts reads the same in JSON and in Python, where VLMEvalKit reads it.
        other => Cow::Owned(other.to_string()),
    }
}

/// One row, every cell in quotes, as VLMEvalKit writes its own.
fn row<'a>(out: &mut Out, separator: char, cells: impl Iterator<Item = &'a str>) -> io::Result<()> {
    for (place, cell) in cells.enumerate() {
        if place > 0 {
            write!(out, "{separator}")?;
        }
        write!(out, "\"{}\"", cell.replace('"', "\"\""))?;
    }
    out.write_all(b"\n")
}

/// The columns of a prediction file: those of the dataset that a session knows, then what the model said.
struct Columns {
    letters: BTreeSet<String>,
    others: Vec<String>,
    numbered: bool,
    id: bool,
    answer: bool,
    category: bool,
    super_category: bool,
    split: bool,
    thinking: bool,
}

impl Columns {
    fn of(record: &Record) -> Result<Self, Stop> {
        let mut columns = Self {
            letters: BTreeSet::new(),
            others: Vec::new(),
            numbered: true,
            id: false,
            answer: false,
            category: false,
            super_category: false,
            split: false,
            thinking: false,
        };
        for answer in record.answers() {
            let answer = answer?;
            columns.letters.extend(answer.options.keys().cloned());
            columns.numbered &= number(&answer.index).is_some();
            columns.id |= answer.id.is_some();
            columns.answer |= !answer.answer.is_null();
            columns.category |= answer.category.is_some();
            columns.super_category |= answer.super_category.is_some();
            columns.split |= answer.split.is_some();
            columns.thinking |= answer.thinking.is_some();
            for (name, value) in &answer.other {
                if !value.is_object() && !columns.others.contains(name) {
                    columns.others.push(name.clone());
                }
            }
        }
        let fixed: Vec<String> = columns.header().map(str::to_string).collect();
        columns.others.retain(|name| fixed.iter().filter(|other| *other == name).count() < 2);
        Ok(columns)
    }

    fn header(&self) -> impl Iterator<Item = &str> {
        let named = |name, there: bool| there.then_some(name);
        std::iter::once("index")
            .chain(named("id", self.id))
            .chain(Some("question"))
            .chain(self.letters.iter().map(String::as_str))
            .chain(named("answer", self.answer))
            .chain(named("category", self.category))
            .chain(named("l2-category", self.super_category))
            .chain(named("split", self.split))
            .chain(self.others.iter().map(String::as_str))
            .chain(Some("prediction"))
            .chain(named("thinking", self.thinking))
    }

    fn cells<'a>(&'a self, answer: &'a Answer) -> Vec<Cow<'a, str>> {
        let text = |text: &'a Option<String>| Cow::Borrowed(text.as_deref().unwrap_or_default());
        let value = |value: Option<&'a Value>| value.map_or(Cow::Borrowed(""), plain);
        let named = |cell: Cow<'a, str>, there: bool| there.then_some(cell);
        let failed =
            matches!(answer.verdict, Verdict::Failed | Verdict::OutOfMemory) && answer.response.is_empty();
        std::iter::once(Cow::Borrowed(answer.index.as_str()))
            .chain(named(text(&answer.id), self.id))
            .chain(Some(Cow::Borrowed(answer.question.as_str())))
            .chain(self.letters.iter().map(|letter| value(answer.options.get(letter))))
            .chain(named(value(Some(&answer.answer)), self.answer))
            .chain(named(text(&answer.category), self.category))
            .chain(named(text(&answer.super_category), self.super_category))
            .chain(named(text(&answer.split), self.split))
            .chain(self.others.iter().map(|name| value(answer.other.get(name))))
            .chain(Some(Cow::Borrowed(if failed { NO_ANSWER } else { &answer.response })))
            .chain(named(text(&answer.thinking), self.thinking))
            .collect()
    }
}

/// An index that a spreadsheet can hold as a number without changing it.
fn number(index: &str) -> Option<u32> {
    index.parse().ok().filter(|number: &u32| number.to_string() == index)
}

/// What a prediction file could not hold.
#[derive(Default)]
struct Losses {
    missing: usize,
    failed: usize,
    cut: Vec<(String, String, usize)>,
}

impl Losses {
    fn note(&mut self, columns: &Columns, answer: &Answer, cells: &[Cow<str>]) {
        let empty_on_purpose = |name: &str, cell: &str| cell.is_empty() && name != "prediction";
        self.missing += columns
            .header()
            .zip(cells)
            .filter(|(name, cell)| {
                MISSING_TO_PANDAS.contains(&cell.as_ref()) && !empty_on_purpose(name, cell)
            })
            .count();
        self.failed += usize::from(matches!(answer.verdict, Verdict::Failed | Verdict::OutOfMemory));
    }

    fn warnings(self) -> Vec<Problem> {
        let mut warnings = Vec::new();
        if self.missing > 0 {
            warnings.push(
                Problem::new(format!(
                    "{} cells hold a text such as None or NA, or an empty answer, which VLMEvalKit reads as missing",
                    self.missing
                ))
                .fix("score the session here: the texts stay what they are"),
            );
        }
        if self.failed > 0 {
            warnings.push(Problem::new(format!(
                "{} questions have no answer; VLMEvalKit will count them as failed and ask them again",
                self.failed
            )));
        }
        let more = self.cut.len().saturating_sub(TOLD);
        for (index, column, length) in self.cut.into_iter().take(TOLD) {
            warnings.push(
                Problem::new(format!(
                    "cut at {LONGEST_CELL} characters, the most that a cell of a spreadsheet holds; it has {length}"
                ))
                .at(format!("question {index}, column {column}"))
                .fix("export as vlmevalkit-tsv, which has no such limit"),
            );
        }
        if more > 0 {
            warnings.push(Problem::new(format!("{more} more cells are cut in the same way")));
        }
        warnings
    }
}

/// VLMEvalKit's prediction file, tab-separated: `PRED_FORMAT=tsv`.
pub(super) fn vlmevalkit_tsv(record: &Record, out: &mut Out) -> Result<Vec<Problem>, Stop> {
    let columns = Columns::of(record)?;
    let mut losses = Losses::default();
    row(out, '\t', columns.header())?;
    for answer in record.answers_at(record.dataset_order()) {
        let answer = answer?;
        let cells = columns.cells(&answer);
        losses.note(&columns, &answer, &cells);
        row(out, '\t', cells.iter().map(AsRef::as_ref))?;
    }
    Ok(losses.warnings())
}

/// VLMEvalKit's prediction file, as a spreadsheet. Every text stays a text: no formula, no link, no number.
pub(super) fn vlmevalkit_xlsx(record: &Record, out: &mut Out) -> Result<Vec<Problem>, Stop> {
    if record.len() >= MOST_ROWS {
        return Err(Problem::new(format!("a spreadsheet has room for {} answers at most", MOST_ROWS - 1))
            .fix("export as vlmevalkit-tsv")
            .into());
    }
    let failed = |error| Stop::File(io::Error::other(error));
    let columns = Columns::of(record)?;
    let mut losses = Losses::default();
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    let bold = Format::new().set_bold();
    for (column, name) in (0u16..).zip(columns.header()) {
        sheet.write_string_with_format(0, column, name, &bold).map_err(failed)?;
        let width = if ["question", "prediction", "thinking"].contains(&name) { 60 } else { 14 };
        sheet.set_column_width(column, width).map_err(failed)?;
    }
    sheet.set_freeze_panes(1, 0).map_err(failed)?;
    for (line, answer) in (1u32..).zip(record.answers_at(record.dataset_order())) {
        let answer = answer?;
        let cells = columns.cells(&answer);
        losses.note(&columns, &answer, &cells);
        for ((column, name), cell) in (0u16..).zip(columns.header()).zip(&cells) {
            match number(cell) {
                Some(number) if name == "index" && columns.numbered => {
                    sheet.write_number(line, column, number).map_err(failed)?;
                }
                _ if cell.is_empty() => {}
                _ => {
                    let kept = shortened(cell);
                    if kept.len() < cell.len() {
                        losses.cut.push((
                            answer.index.clone(),
                            name.to_string(),
                            cell.encode_utf16().count(),
                        ));
                    }
                    sheet.write_string(line, column, kept).map_err(failed)?;
                }
            }
        }
    }
    out.write_all(&book.save_to_buffer().map_err(failed)?)?;
    Ok(losses.warnings())
}

/// As much of a text as a cell of a spreadsheet holds.
fn shortened(text: &str) -> &str {
    let mut units = 0;
    for (at, c) in text.char_indices() {
        units += c.len_utf16();
        if units > LONGEST_CELL {
            return &text[..at];
        }
    }
    text
}
