//! A session that is only read: opened fast, whatever its size, and tolerant of what a crash or a stranger left.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::folder::{ANSWERS, EVENTS, MEMORY, parse};
use super::journal::{Answer, Event, Finish, MemorySample, Seconds, text_or_number};
use super::judgements::{by_question, decide, judgements};
use super::lines::{open_file, scan};
use super::manifest::Manifest;
use super::overrides::{Override, overrides};
use crate::scoring::judge::JudgeRecord;
use crate::scoring::{Accuracy, Rule, Verdict};
use crate::{Problem, Result};

/// Answers judged together.
const TOGETHER: usize = 512;

/// Damaged lines told one by one; the rest are only counted.
const PROBLEMS_TOLD: usize = 20;

/// A session folder as it stood when it was opened.
pub struct Record {
    dir: PathBuf,
    manifest: Manifest,
    outlines: Vec<Outline>,
    places: HashMap<Arc<str>, usize>,
    problems: Vec<Problem>,
    damaged: usize,
    judge: Option<Arc<Judge>>,
    /// What judges said after the run, by question.
    judgements: Arc<HashMap<String, JudgeRecord>>,
    /// The rule behind which their replies count, where they do.
    counted: Option<Rule>,
    overrides: HashMap<String, Override>,
}

/// Reads an answer under another rule than the recorded one.
type Judge = dyn Fn(&mut Answer) + Send + Sync;

/// What is known of each answer without reading it whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// The question's index.
    pub index: Arc<str>,
    /// Its category.
    pub category: Option<Arc<str>>,
    /// The judgement.
    pub verdict: Verdict,
    /// Credit from 0 to 1.
    pub score: f64,
    /// Why the answer ended.
    pub finish: Finish,
    /// What the rule read, on a line and cut where it is long.
    pub read: Box<str>,
    /// The gold answer, likewise.
    pub gold: Box<str>,
    /// Tiles of all pictures.
    pub tiles: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// The most bytes that the run held on any device; 0 where nothing was measured.
    pub peak: u64,
    bytes: Range<u64>,
}

/// The fields of a line that an outline needs.
#[derive(Deserialize)]
struct OutlineLine {
    #[serde(deserialize_with = "text_or_number")]
    index: String,
    #[serde(default)]
    category: Option<String>,
    verdict: Verdict,
    #[serde(default)]
    score: Option<f64>,
    #[serde(default)]
    finish: Finish,
    #[serde(default)]
    read: Value,
    #[serde(default)]
    answer: Value,
    #[serde(default)]
    tiles: u64,
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    #[serde(default)]
    seconds: Seconds,
    #[serde(default)]
    peak_bytes: BTreeMap<String, u64>,
}

/// Longest reading and gold answer of an outline, in characters.
const LONGEST_BRIEF: usize = 60;

/// A reading or a gold answer on one short line.
fn brief(value: &Value) -> Box<str> {
    let text: std::borrow::Cow<'_, str> = match value {
        Value::Null => return "".into(),
        Value::String(text) => text.into(),
        Value::Array(texts) => {
            let texts =
                texts.iter().map(|text| text.as_str().map_or_else(|| text.to_string(), str::to_owned));
            texts.collect::<Vec<_>>().join(" | ").into()
        }
        other => other.to_string().into(),
    };
    let mut line: String =
        text.chars().take(LONGEST_BRIEF).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST_BRIEF).is_some() {
        line.push('…');
    }
    line.into()
}

impl Record {
    /// Opens a session folder. The journal may be damaged, and may be growing: [`Record::problems`] says what could
    /// not be read.
    ///
    /// # Errors
    /// There is no manifest, it cannot be read, or a newer program wrote it; the journal cannot be opened.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_watched(dir, |_, _| true)
    }

    /// [`Record::open`], told how many bytes of how many are read; it says whether to go on.
    ///
    /// # Errors
    /// As [`Record::open`], or it was stopped.
    pub fn open_watched(dir: &Path, mut watch: impl FnMut(u64, u64) -> bool) -> Result<Self> {
        let mut record = Self {
            dir: dir.to_path_buf(),
            manifest: Manifest::read(dir)?,
            outlines: Vec::new(),
            places: HashMap::new(),
            problems: Vec::new(),
            damaged: 0,
            judge: None,
            judgements: Arc::new(by_question(judgements(dir)?)),
            counted: None,
            overrides: overrides(dir)?,
        };
        let path = dir.join(ANSWERS);
        if path.exists() {
            let total = path.metadata().map_or(0, |about| about.len());
            let mut categories: HashMap<String, Arc<str>> = HashMap::new();
            let outline =
                |line: &[u8]| serde_json::from_slice::<OutlineLine>(line).map_err(|why| why.to_string());
            scan(&path, outline, |line| {
                if line.number % TOGETHER == 0 && !watch(line.bytes.end, total) {
                    return Err(Problem::new("the session was not opened to its end").in_file(&path));
                }
                match line.content {
                    Ok(content) => {
                        let category = content.category.map(|name| {
                            Arc::clone(categories.entry(name).or_insert_with_key(|name| name.as_str().into()))
                        });
                        record.add(
                            line.number,
                            Outline {
                                index: content.index.into(),
                                category,
                                verdict: content.verdict,
                                score: content.score.unwrap_or(0.0),
                                finish: content.finish,
                                read: brief(&content.read),
                                gold: brief(&content.answer),
                                tiles: content.tiles,
                                prompt_tokens: content.prompt_tokens,
                                output_tokens: content.output_tokens,
                                seconds: content.seconds.total,
                                peak: content.peak_bytes.into_values().max().unwrap_or(0),
                                bytes: line.bytes,
                            },
                        );
                    }
                    Err(why) => record.note(line.number, format!("this line is damaged: {why}")),
                }
                Ok(())
            })?;
        }
        Ok(record)
    }

    /// The same session with every answer read under another rule: verdicts, tally, comparison and exports follow it,
    /// and the files stay as they are.
    ///
    /// # Errors
    /// An answer cannot be read.
    pub fn read_under(
        mut self,
        rule: &str,
        judge: impl Fn(&mut Answer) + Send + Sync + 'static,
    ) -> Result<Self> {
        self.manifest.settings.rule = rule.to_string();
        self.judge = Some(Arc::new(judge));
        let mut outlines = std::mem::take(&mut self.outlines);
        outlines.par_chunks_mut(TOGETHER).try_for_each(|outlines| {
            let mut reader = self.reader()?;
            for outline in outlines {
                let answer = reader.read(outline)?;
                (outline.verdict, outline.score) = (answer.verdict, answer.score);
                outline.read = brief(&answer.read);
            }
            Ok::<(), Problem>(())
        })?;
        self.outlines = outlines;
        Ok(self)
    }

    /// [`Record::read_under`] one of the rules by name, as far as the answers say how they are judged
    /// ([`Answer::judge_under`]).
    ///
    /// # Errors
    /// An answer cannot be read.
    pub fn under(self, rule: Rule) -> Result<Self> {
        let dataset = self.manifest.dataset.name.clone();
        self.read_under(&rule.name(), move |answer| {
            answer.judge_under(&rule, &dataset);
        })
    }

    /// [`Record::under`] a rule, with what judges replied counted where it cannot read an answer. Nothing is asked.
    ///
    /// # Errors
    /// An answer cannot be read.
    pub fn judged_under(mut self, rule: Rule) -> Result<Self> {
        self.counted = Some(rule);
        self.under(rule)
    }

    fn add(&mut self, number: usize, outline: Outline) {
        match self.places.get(&outline.index) {
            Some(&earlier) if self.outlines[earlier].may_be_replaced() => self.outlines[earlier] = outline,
            Some(_) => self.note(number, format!("question {} is answered a second time", outline.index)),
            None => {
                self.places.insert(Arc::clone(&outline.index), self.outlines.len());
                self.outlines.push(outline);
            }
        }
    }

    fn note(&mut self, number: usize, what: String) {
        self.damaged += 1;
        if self.problems.len() < PROBLEMS_TOLD {
            let place = format!("{}, line {number}", self.dir.join(ANSWERS).display());
            self.problems.push(Problem::new(what).at(place).fix("the other answers can be used as they are"));
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the session was begun with.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What is known of each answer, in the order in which they were given.
    pub fn outlines(&self) -> &[Outline] {
        &self.outlines
    }

    /// Number of answers.
    pub fn len(&self) -> usize {
        self.outlines.len()
    }

    /// Whether there is no answer.
    pub fn is_empty(&self) -> bool {
        self.outlines.is_empty()
    }

    /// Position of the answer to a question.
    pub fn position(&self, index: &str) -> Option<usize> {
        self.places.get(index).copied()
    }

    /// Positions of the answers in the dataset's order: by number where every index is one, else as answered.
    pub fn dataset_order(&self) -> Vec<usize> {
        let mut positions: Vec<usize> = (0..self.len()).collect();
        let numbers: Option<Vec<i64>> =
            self.outlines.iter().map(|outline| outline.index.parse().ok()).collect();
        if let Some(numbers) = numbers {
            positions.sort_by_key(|&position| numbers[position]);
        }
        positions
    }

    /// What could not be read; the first of it.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Number of lines that could not be read.
    pub fn damaged(&self) -> usize {
        self.damaged
    }

    /// Verdicts, counted.
    pub fn tally(&self) -> Accuracy {
        self.outlines.iter().map(|outline| (outline.verdict, outline.score)).collect()
    }

    /// Verdicts that a person has set against the machine's, by question; they change nothing else of the record.
    pub fn overrides(&self) -> &HashMap<String, Override> {
        &self.overrides
    }

    /// Verdicts, counted with those that a person has set in place of the machine's.
    pub fn overridden_tally(&self) -> Accuracy {
        let verdict = |outline: &Outline| match self.overrides.get(&*outline.index) {
            Some(said) => (said.verdict.unwrap_or(outline.verdict), said.score()),
            None => (outline.verdict, outline.score),
        };
        self.outlines.iter().map(verdict).collect()
    }

    /// Questions that the session is about.
    pub fn questions(&self) -> usize {
        match self.manifest.dataset.selection.count {
            0 => self.manifest.dataset.questions,
            count => count,
        }
    }

    /// Questions that need not be asked again.
    pub fn settled(&self) -> usize {
        self.outlines.iter().filter(|outline| outline.finish != Finish::Stopped).count()
    }

    /// One answer, read whole.
    ///
    /// # Errors
    /// There is no such position, the file cannot be read, or the line is no answer.
    pub fn answer(&self, position: usize) -> Result<Answer> {
        let outline = self
            .outlines
            .get(position)
            .ok_or_else(|| Problem::new(format!("there is no answer {position}")).in_file(&self.dir))?;
        self.reader()?.read(outline)
    }

    /// Every answer, read one by one, in the order in which they were given.
    pub fn answers(&self) -> impl Iterator<Item = Result<Answer>> + '_ {
        self.answers_at(0..self.len())
    }

    /// The answers at these positions, read one by one.
    pub fn answers_at<'a>(
        &'a self,
        positions: impl IntoIterator<Item = usize> + 'a,
    ) -> impl Iterator<Item = Result<Answer>> + 'a {
        let mut reader = self.reader();
        positions.into_iter().filter_map(|position| self.outlines.get(position)).map(move |outline| {
            match &mut reader {
                Ok(reader) => reader.read(outline),
                Err(problem) => Err(problem.clone()),
            }
        })
    }

    /// Memory samples; lines that cannot be read are left out.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn memory(&self) -> Result<Vec<MemorySample>> {
        self.side_file(MEMORY)
    }

    /// Events; lines that cannot be read are left out.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn events(&self) -> Result<Vec<Event>> {
        self.side_file(EVENTS)
    }

    fn side_file<T: DeserializeOwned + Send>(&self, name: &str) -> Result<Vec<T>> {
        let path = self.dir.join(name);
        let mut all = Vec::new();
        if path.exists() {
            let read = |line: &[u8]| serde_json::from_slice::<T>(line).map_err(|why| why.to_string());
            scan(&path, read, |line| {
                all.extend(line.content);
                Ok(())
            })?;
        }
        Ok(all)
    }

    fn reader(&self) -> Result<Reader> {
        let path = self.dir.join(ANSWERS);
        let file = open_file(&path).map_err(|error| Problem::io("read", &path, &error))?;
        Ok(Reader {
            file,
            path,
            line: Vec::new(),
            judge: self.judge.clone(),
            judgements: Arc::clone(&self.judgements),
            counted: self.counted.map(|rule| (rule, self.manifest.dataset.name.clone())),
        })
    }
}

impl Outline {
    /// As [`Answer::may_be_replaced`].
    fn may_be_replaced(&self) -> bool {
        self.finish == Finish::Stopped || matches!(self.verdict, Verdict::Failed | Verdict::OutOfMemory)
    }
}

/// Reads lines whose places are known.
struct Reader {
    file: File,
    path: PathBuf,
    line: Vec<u8>,
    judge: Option<Arc<Judge>>,
    judgements: Arc<HashMap<String, JudgeRecord>>,
    counted: Option<(Rule, String)>,
}

impl Reader {
    fn read(&mut self, outline: &Outline) -> Result<Answer> {
        let length = outline.bytes.end - outline.bytes.start;
        self.line.clear();
        self.file
            .seek(SeekFrom::Start(outline.bytes.start))
            .and_then(|_| (&mut self.file).take(length).read_to_end(&mut self.line))
            .map_err(|error| Problem::io("read", &self.path, &error))?;
        let mut answer = parse(&self.line).map_err(|why| {
            Problem::new(format!("the answer to question {} cannot be read: {why}", outline.index))
                .in_file(&self.path)
        })?;
        // What a judge replied holds under any rule; it is shown where the rule cannot read the answer. A reply of later
        // counts before a failure in the run.
        let own = answer.judge.clone();
        let replied = own.clone().filter(|record| record.reply.is_some());
        let recorded = replied.or_else(|| self.judgements.get(&answer.index).cloned()).or(own);
        if let Some(judge) = &self.judge {
            judge(&mut answer);
        }
        let undecided = answer.judge.as_ref().is_none_or(|record| record.reply.is_none());
        if undecided && answer.verdict == Verdict::Unparsed {
            answer.judge = recorded;
            if let Some((rule, dataset)) = &self.counted {
                decide(&mut answer, rule, dataset);
            }
        }
        Ok(answer)
    }
}
