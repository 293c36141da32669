//! JSON lines: a question a line, in a shape of our own.
//!
//! ```json
//! {"index": "7", "question": "What is shown?", "options": ["cat", "dog"], "answer": "A", "images": ["cats/7.png"]}
//! {"index": "8", "question": "How many?", "answer": ["2", "two"], "image": "data:image/png;base64,iVBOR..."}
//! ```
//!
//! | key | value |
//! |---|---|
//! | `question` | text; the only key that must be there |
//! | `index` | text or number that names the question; the line's position from 0 if absent |
//! | `id` | a name besides the index |
//! | `options` | a list of texts (A, B, ... in order), or an object `{"A": "cat", "B": "dog"}` |
//! | `answer` | a letter, a text, a number, or a list of accepted texts |
//! | `type` | `option`, `yes-no`, `short` or `free`; told from options and answers if absent |
//! | `hint` | text before the question |
//! | `category`, `super_category`, `split` | groups for the report |
//! | `image`, `images` | one image or a list: file names relative to the file's folder, or `data:` addresses |
//!
//! The names of VLMEvalKit's columns (`A` ... `Z`, `question_type`, `l2-category`, `image_path`) mean the same here.
//! Lines are found on opening and read when asked for.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::dataset::folder::ImageFolders;
use crate::dataset::question::{ImageRef, Question, QuestionKind};
use crate::dataset::record::{self, Record};
use crate::dataset::registry::{Profile, Stated};
use crate::dataset::storage::{Prints, Storage};
use crate::dataset::{Names, Outline, Source, base64_bytes};
use crate::literal::Literal;
use crate::{Problem, Result};

/// The longest line that is read.
const LONGEST_LINE: u64 = 512 << 20;

/// Most lines: their offsets take 8 bytes each.
const MOST_LINES: usize = 50_000_000;

/// Lines looked at to tell what the dataset is.
const SAMPLE: usize = 64;

/// A file of JSON lines.
#[derive(Debug)]
pub(crate) struct JsonLines {
    storage: Storage,
    /// Where each line begins.
    starts: Vec<u64>,
    columns: Vec<String>,
    profile: Profile,
    folders: ImageFolders,
    otherwise: QuestionKind,
    rows_by_index: OnceLock<Result<HashMap<String, usize>>>,
}

/// A line's texts, and its images as they are written.
struct Line {
    record: Record,
    images: Vec<String>,
}

impl JsonLines {
    /// Opens a file of this name. `go_on` hears the bytes gone through.
    pub(crate) fn open(
        name: &str,
        file: Option<PathBuf>,
        storage: Storage,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Self> {
        let starts = line_starts(&storage, go_on)?;
        if starts.is_empty() {
            return Err(
                Problem::new("the file is empty").fix("write one JSON object a line, with a key 'question'")
            );
        }
        let mut lines = Self {
            folders: ImageFolders::of_dataset(name, file.as_deref()),
            profile: Profile::of(name, &[]),
            otherwise: QuestionKind::Short,
            columns: Vec::new(),
            rows_by_index: OnceLock::new(),
            storage,
            starts,
        };
        lines.look()?;
        Ok(lines)
    }

    /// Tells columns, type and kind from the first lines.
    fn look(&mut self) -> Result<()> {
        let (mut problem, mut lettered) = (None, false);
        let (mut answers, mut yes_or_no) = (0, 0);
        for row in 0..self.len().min(SAMPLE) {
            let object = match self.object(row) {
                Ok(object) => object,
                Err(found) => {
                    problem.get_or_insert(found);
                    continue;
                }
            };
            lettered |=
                object.contains_key("options") || (object.contains_key("A") && object.contains_key("B"));
            for key in object.keys() {
                if !self.columns.contains(key) {
                    self.columns.push(key.clone());
                }
            }
            if let Some(answer) = object.get("answer").and_then(Value::as_str) {
                answers += 1;
                yes_or_no += usize::from(record::is_yes_or_no(answer));
            }
        }
        if let Some(problem) = problem.filter(|_| self.columns.is_empty()) {
            return Err(problem);
        }
        if !self.columns.iter().any(|column| column == "question") {
            let columns: Vec<&str> = self.columns.iter().take(20).map(String::as_str).collect();
            return Err(Problem::new(format!(
                "no line has a key 'question'; the keys are: {}",
                columns.join(", ")
            )));
        }
        if lettered {
            self.profile = self.profile.clone().as_lettered();
        }
        if answers > 0 && answers == yes_or_no {
            self.otherwise = QuestionKind::YesNo;
        }
        Ok(())
    }

    fn object(&self, row: usize) -> Result<serde_json::Map<String, Value>> {
        let Some(&start) = self.starts.get(row) else {
            return Err(Problem::new(format!("there is no line {}: the file has {}", row + 1, self.len())));
        };
        let end = self.starts.get(row + 1).copied().unwrap_or_else(|| self.storage.len());
        if end - start > LONGEST_LINE {
            return Err(Problem::new(format!(
                "the line has {} bytes, which is too much to read",
                end - start
            ))
            .fix("keep large images in files and name them in 'images'"));
        }
        match serde_json::from_slice(&self.storage.read(start..end)?) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Problem::new("the line is not a JSON object")
                .fix("write one question a line: {\"question\": ...}")),
            Err(error) => Err(Problem::new(format!("the line is not JSON: {error}"))),
        }
    }

    fn line(&self, row: usize) -> Result<Line> {
        let mut line = Line { record: Record::default(), images: Vec::new() };
        for (key, value) in self.object(row)? {
            let place = |problem: Problem| problem.at(format!("key {key}"));
            match key.as_str() {
                "image" | "images" | "image_path" => line.images.extend(texts(value).map_err(place)?),
                "options" => match value {
                    Value::Object(options) => {
                        for (letter, option) in options {
                            line.record.put(&letter, text(option).map_err(place)?.unwrap_or_default());
                        }
                    }
                    other => line.record.put_options(texts(other).map_err(place)?),
                },
                "answer" => {
                    let answer = match value {
                        Value::Array(_) => {
                            let answers =
                                texts(value).map_err(place)?.into_iter().map(Literal::Text).collect();
                            Some(Literal::List(answers).into_text())
                        }
                        other => text(other).map_err(place)?,
                    };
                    line.record.put("answer", answer.unwrap_or_default());
                }
                "type" => line.record.put("question_type", text(value).map_err(place)?.unwrap_or_default()),
                // What is no text is no column of ours.
                _ => line.record.put(&key, text(value).ok().flatten().unwrap_or_default()),
            }
        }
        Ok(line)
    }

    fn images(&self, row: usize, images: &[String]) -> Result<Vec<ImageRef>> {
        let found = images.iter().enumerate().map(|(part, image)| {
            if image.starts_with("data:") {
                Ok(ImageRef::Stored { row, part })
            } else {
                self.folders.find(image).map(ImageRef::File)
            }
        });
        found.collect::<Result<_>>().map_err(|problem| problem.at("key images"))
    }

    fn each(&self, mut each: impl FnMut(usize, &Record)) {
        for row in 0..self.len() {
            let record = self.line(row).map(|line| line.record).unwrap_or_default();
            each(row, &record);
        }
    }
}

/// Where the lines begin that hold something.
fn line_starts(storage: &Storage, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Vec<u64>> {
    let mark = storage.read(0..storage.len().min(3))?;
    let body = if mark[..] == [0xEF, 0xBB, 0xBF] { 3 } else { 0 };
    drop(mark);
    let mut starts = Vec::new();
    let (mut at, mut in_line) = (body, false);
    let finished = storage.walk(body, |piece| {
        let mut rest = piece;
        while !rest.is_empty() && starts.len() <= MOST_LINES {
            if in_line {
                let end = memchr::memchr(b'\n', rest);
                in_line = end.is_none();
                let taken = end.map_or(rest.len(), |end| end + 1);
                at += taken as u64;
                rest = &rest[taken..];
            } else {
                let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                at += blanks as u64;
                rest = &rest[blanks..];
                if !rest.is_empty() {
                    starts.push(at);
                    in_line = true;
                }
            }
        }
        go_on(at) && starts.len() <= MOST_LINES
    })?;
    match finished {
        true => Ok(starts),
        false if starts.len() > MOST_LINES => {
            Err(Problem::new(format!("the file has more than {MOST_LINES} lines")).fix("split it"))
        }
        false => Err(Problem::new("stopped before the file was gone through")),
    }
}

/// A single value as text; nothing for null.
fn text(value: Value) -> Result<Option<String>> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(truth) => Ok(Some(truth.to_string())),
        Value::Array(_) | Value::Object(_) => {
            Err(Problem::new("a text was expected and a list or object found"))
        }
    }
}

/// A list of texts, or one text as a list.
fn texts(value: Value) -> Result<Vec<String>> {
    match value {
        Value::Array(values) => {
            values.into_iter().map(|value| text(value).map(Option::unwrap_or_default)).collect()
        }
        other => Ok(text(other)?.into_iter().collect()),
    }
}

impl Source for JsonLines {
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
        self.starts.len()
    }

    fn question(&self, row: usize) -> Result<Question> {
        let line = self.line(row)?;
        let images = self.images(row, &line.images)?;
        record::question(row, &line.record, &self.profile, images, || self.otherwise)
    }

    fn image_bytes(&self, row: usize, part: usize) -> Result<Arc<[u8]>> {
        let image = self.line(row)?.images.into_iter().nth(part);
        let image = image.ok_or_else(|| Problem::new(format!("the line has no image {}", part + 1)))?;
        base64_bytes(image).map_err(|problem| problem.at("key images"))
    }

    fn find(&self, index: &str) -> Result<Option<usize>> {
        let rows = self.rows_by_index.get_or_init(|| {
            let mut rows = HashMap::new();
            self.each(|row, record| {
                rows.entry(record.index(row)).or_insert(row);
            });
            Ok(rows)
        });
        Ok(rows.as_ref().map_err(Clone::clone)?.get(index).copied())
    }

    fn outlines(&self) -> Result<Vec<Outline>> {
        let mut names = Names::default();
        let mut outlines = Vec::with_capacity(self.len());
        self.each(|row, record| {
            let kind = record::kind(record, &self.profile, || self.otherwise);
            outlines.push(Outline::new(record.index(row), names.groups(record), kind));
        });
        Ok(outlines)
    }

    fn fingerprint(&self, md5: bool, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<Prints>> {
        self.storage.prints(md5, go_on)
    }
}
