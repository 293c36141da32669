//! `shardscope read-answers` and `shardscope score`.

use std::io::{BufReader, BufWriter, Write};

use super::{print_json, print_line, say, summary};
use crate::Problem;
use crate::cli::{Ending, Failure, Outcome, ReadAnswersArgs, ScoreArgs};
use crate::scoring::{Report, Rule, Verdict, read_answers as read};
use crate::session::Record;

/// Reads rows from standard input and writes readings to standard output.
///
/// # Errors
/// An unknown rule, or a stream that breaks off.
pub fn read_answers(args: &ReadAnswersArgs) -> Outcome {
    let rule = Rule::by_name(&args.rule)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let summary = read(&rule, BufReader::new(std::io::stdin().lock()), &mut out).map_err(Failure::Broken)?;
    out.flush()
        .map_err(|e| Failure::Broken(Problem::new(format!("cannot write to standard output: {e}"))))?;
    for problem in &summary.problems {
        say(problem);
    }
    if summary.malformed > 0 {
        let what = format!("{} of {} lines are no rows", summary.malformed, summary.rows + summary.malformed);
        return Err(Failure::Broken(Problem::new(what).at("standard input")));
    }
    Ok(Ending::Done)
}

/// Reads the answers of a session again.
///
/// # Errors
/// A folder that is no session, or an unknown rule.
pub fn score(args: &ScoreArgs) -> Outcome {
    let record = Record::open(&args.session)?;
    let manifest = record.manifest();
    let rule = Rule::by_name(args.rule.as_deref().unwrap_or(&manifest.settings.rule))?;
    let mut report = Report::default();
    let mut changed = 0u64;
    for answer in record.answers() {
        let mut answer = answer?;
        let before = answer.verdict;
        let judged = matches!(before, Verdict::Right | Verdict::Wrong | Verdict::Unparsed);
        if let Some(row) = answer.row(&manifest.dataset.name).filter(|_| judged && !answer.answer.is_null()) {
            answer.judge(rule.read(&row), &rule.name());
        }
        changed += u64::from(answer.verdict != before);
        summary::count(&mut report, &answer);
    }
    if args.json {
        let mut result = summary::report_json(&report);
        result["rule"] = rule.name().into();
        result["changed"] = changed.into();
        print_json(&result)?;
    } else {
        print_line(&summary::report_text(&report))?;
        say(format!("rule {}; {changed} verdicts differ from the session's own", rule.name()));
    }
    Ok(Ending::Done)
}
