//! `shardscope read-answers` and `shardscope score`.

use std::collections::HashMap;
use std::io::{self, BufReader, BufWriter, Write};
use std::time::Duration;

use serde_json::{Map, Value};

use super::judging::{self, Tally};
use super::progress::Ticker;
use super::{print_json, print_line, say, summary};
use crate::Problem;
use crate::cli::{Ending, Failure, Outcome, ReadAnswersArgs, ScoreArgs};
use crate::scoring::judge::{AnyJudge, JudgeRecord, JudgeStep};
use crate::scoring::{AnswerType, Reading, Report, Rule, Verdict, read_answers as read};
use crate::session::{Judgements, Record, figures, judgements};

/// Reads rows from standard input and writes readings to standard output.
///
/// # Errors
/// An unknown rule, or a stream that breaks off.
pub fn read_answers(args: &ReadAnswersArgs) -> Outcome {
    let rule = Rule::by_name(&args.rule)?;
    let mut out = Output { to: BufWriter::new(std::io::stdout().lock()), closed: false };
    let summary = match read(&rule, BufReader::new(std::io::stdin().lock()), &mut out) {
        // A reader that has seen enough (`| head`) is no error.
        Err(_) if out.closed => return Ok(Ending::Done),
        summary => summary.map_err(Failure::Broken)?,
    };
    for problem in &summary.problems {
        say(problem);
    }
    if summary.malformed > 0 {
        let what = format!("{} of {} lines are no rows", summary.malformed, summary.rows + summary.malformed);
        return Err(Failure::Broken(Problem::new(what).at("standard input")));
    }
    Ok(Ending::Done)
}

/// Standard output, which remembers whether its reader has gone.
struct Output<W> {
    to: W,
    closed: bool,
}

impl<W: Write> Output<W> {
    fn note<T>(&mut self, written: io::Result<T>) -> io::Result<T> {
        self.closed |= written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        written
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.to.flush();
        self.note(written)
    }
}

/// Reads the answers of a session again, and adds up the figures that its benchmark reports under that rule.
///
/// # Errors
/// A folder that is no session, or an unknown rule.
pub fn score(args: &ScoreArgs) -> Outcome {
    let judge = judging::judge(&args.judge)?;
    let record = Record::open(&args.session)?;
    let recorded = record.manifest().settings.rule.clone();
    let rule = match &args.rule {
        Some(name) => Some(Rule::by_name(name)?),
        None => Rule::by_name(&recorded).ok(),
    };
    let before: Vec<Verdict> = record.outlines().iter().map(|outline| outline.verdict).collect();
    let (record, name) = match rule {
        Some(rule) if args.judged => (record.judged_under(rule)?, rule.name()),
        Some(rule) => (under(record, rule, args.answer_type)?, rule.name()),
        // Predictions that were scored elsewhere, or by another version.
        None if judge.is_some() || args.judged || args.answer_type.is_some() => {
            return Err(Problem::new(format!(
                "an answer's type and a judge are for a rule, and {recorded:?} is none of ours"
            ))
            .fix("name a rule with --rule")
            .into());
        }
        None => (record, recorded),
    };
    let mut judged = None;
    let record = match (judge, rule) {
        (Some((step, _)), Some(rule)) => {
            let (record, decisions) = consult(record, step, rule, args.answer_type)?;
            judged = Some(decisions);
            record
        }
        _ => record,
    };
    let changed =
        record.outlines().iter().zip(&before).filter(|(after, before)| after.verdict != **before).count();
    let mut report = Report::default();
    let (mut kept, mut known) = (0u64, Tally::default());
    for answer in record.answers() {
        let answer = answer?;
        if let Some(record) = &answer.judge {
            known.add(record);
        }
        let judged = matches!(answer.verdict, Verdict::Right | Verdict::Wrong | Verdict::Unparsed);
        kept += u64::from(judged && answer.rule != name);
        report.add(answer.judged());
    }
    let figures = match rule {
        Some(rule) => figures(&record, &rule)?,
        None => None,
    };
    if args.json {
        let mut result = summary::report_json(&report);
        result["rule"] = name.into();
        result["changed"] = changed.into();
        result["kept"] = kept.into();
        result["figures"] = figures.as_ref().map(summary::figures_json).unwrap_or_default();
        if args.judged {
            result["judge"] = known.json();
        }
        if let Some((tally, records)) = judged {
            result["judge"] = tally.json();
            result["judge"]["records"] = records.into();
        }
        print_json(&result)?;
        return Ok(Ending::Done);
    }
    if let Some(figures) = &figures {
        print_line(&summary::figures_text(figures))?;
    }
    print_line(&summary::report_text(&report))?;
    match rule {
        Some(_) => say(format!("rule {name}; {changed} verdicts differ from the session's own")),
        None => say(format!("verdicts as recorded ({name}); read the answers again with --rule")),
    }
    if kept > 0 && rule.is_some() {
        say(format!(
            "{kept} answers keep their recorded verdict: the session does not say how they are judged"
        ));
    }
    match judged {
        Some((tally, _)) => tally.say(),
        None if !known.is_empty() => {
            known.say();
            if !args.judged {
                say(
                    "its replies are counted with --judged, or by asking it again, where nothing is asked twice",
                );
            }
        }
        None => {}
    }
    Ok(Ending::Done)
}

/// A session read under a rule, all its answers of a type that a person states.
fn under(record: Record, rule: Rule, stated: Option<AnswerType>) -> Result<Record, Problem> {
    let Some(stated) = stated else { return record.under(rule) };
    let dataset = record.manifest().dataset.name.clone();
    record.read_under(&rule.name(), move |answer| {
        answer.answer_type = Some(stated);
        answer.judge_under(&rule, &dataset);
    })
}

/// The records of a judge, by question.
type Records = Map<String, Value>;

/// Asks a judge about the answers that the rule could not read, one after another, each once; gives the session with
/// what the judge decided. What it said is kept in the session's folder beside the answers, which stay as they are, and
/// is not asked for again.
fn consult(
    record: Record,
    mut step: JudgeStep<AnyJudge>,
    rule: Rule,
    stated: Option<AnswerType>,
) -> Result<(Record, (Tally, Records)), Failure> {
    let dataset = record.manifest().dataset.name.clone();
    let name = rule.name();
    let unclear: Vec<usize> = (0..record.len())
        .filter(|&position| record.outlines()[position].verdict == Verdict::Unparsed)
        .collect();
    let (mut tally, mut records) = (Tally::default(), Records::new());
    let mut kept = Judgements::open(record.dir())?;
    step.remember(judgements(record.dir())?.into_iter().map(|judgement| judgement.record));
    let ticker = Ticker::new(Duration::from_secs(5), "answers put to the judge");
    let mut decided: HashMap<String, (Reading, JudgeRecord)> = HashMap::new();
    for answer in record.answers_at(unclear) {
        let answer = answer?;
        // Verdicts made elsewhere are not the rule's, so the judge is not asked behind it.
        let Some(row) = answer.row(&dataset).filter(|_| answer.rule == name) else { continue };
        // What the run itself asked counts too.
        step.remember(answer.judge.clone());
        let was_dead = step.stopped().is_some();
        let (reading, record) = step.consider(&answer.question, &row, &rule, rule.read(&row));
        if let Some(problem) = step.stopped().filter(|_| !was_dead) {
            say(format!("note: {problem}"));
        }
        if let Some(record) = record {
            ticker.tick();
            if !record.reused {
                kept.add(&answer.index, &name, &record).map_err(Failure::Broken)?;
            }
            tally.add(&record);
            records.insert(answer.index.clone(), serde_json::to_value(&record).unwrap_or_default());
            decided.insert(answer.index, (reading, record));
        }
    }
    let record = record.read_under(&rule.name(), move |answer| {
        answer.answer_type = stated.or(answer.answer_type);
        if answer.judge_under(&rule, &dataset)
            && let Some((reading, record)) = decided.get(&answer.index)
        {
            answer.judge(reading.clone(), &name);
            answer.judge = Some(record.clone());
        }
    })?;
    Ok((record, (tally, records)))
}
