//! `shardscope eval`: a run in the terminal, from a checkpoint and a dataset to a session and a score.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::Sender;

use super::datasets::open_dataset;
use super::judging::{self, Tally};
use super::progress::{Progress, Reading};
use super::{print_json, print_line, say, summary};
use crate::cli::{Ending, EvalArgs, Failure, Outcome};
use crate::dataset::{Stated, Style};
use crate::engine::served::Traffic;
use crate::engine::{Command, Event, Run, RunSettings, Sampling};
use crate::evaluation::named_map::NamedMap;
use crate::evaluation::{Choices, Evaluation, Learnt, Questions, named};
use crate::scoring::Report;
use crate::session::{Answer, default_folder};
use crate::words::{count, duration, size};
use crate::{Problem, Result};

impl EvalArgs {
    /// `eval` without any option: the built-in pair.
    pub fn built_in() -> Self {
        Self {
            rule: "shardscope".into(),
            max_new_tokens: 1024,
            batch: 1,
            replicas: 1,
            dtype: "auto".into(),
            devices: "auto".into(),
            layout: "auto".into(),
            prompt_style: Style::default(),
            ..Self::default()
        }
    }
}

/// Runs the command.
///
/// # Errors
/// A refusal before the run starts, or what broke it.
pub fn run(args: &EvalArgs) -> Outcome {
    if let Some(url) = &args.served.endpoint {
        return super::served::run(args, url);
    }
    use_threads(args.threads)?;
    let checkpoint = Arc::new(named::open_checkpoint(args.checkpoint.as_deref())?);
    let mut choices = choices(args);
    if choices.layout == "-" {
        choices.layout = NamedMap::on_standard_input()?.text;
    }
    let dataset = open_dataset(args.dataset.as_deref(), choices.stated)?;
    let mut reading = dataset.path().map(Reading::of);
    let mut watch = |bytes| reading.as_mut().is_none_or(|reading| reading.at(bytes));
    let mut evaluation = Evaluation::prepare(checkpoint, dataset, choices, &mut watch)?;
    if let Some((step, record)) = judging::judge(&args.judge)? {
        evaluation = evaluation.with_judge(step, record);
    }
    let Evaluation { checkpoint, language, dataset, rows, rule, .. } = &evaluation;
    say(format!(
        "{} ({} parameters, {}, template {}) on {}: {} of {} questions, rule {}",
        checkpoint.name(),
        count(checkpoint.parameters()),
        size(checkpoint.bytes()),
        language.template.name(),
        dataset.name(),
        rows.len(),
        dataset.len(),
        rule.name()
    ));
    // Its MD5 was made together with the hash of the manifest.
    for problem in dataset.problems().into_iter().chain(dataset.check_published(&mut |_| true)?) {
        say(format!("note: {problem}"));
    }
    evaluation.notes().iter().for_each(|problem| say(format!("note: {problem}")));
    let folder = match &args.session {
        Some(folder) => folder.clone(),
        None => default_folder(&checkpoint.name(), dataset.name(), &jiff::Zoned::now()),
    };
    let (checkpoint, dataset, selected) = (checkpoint.clone(), dataset.clone(), rows.len());
    let (order, done) = evaluation.begin(&folder, args.resume)?;
    let (left, rule) = (order.rows.len(), order.rule.name());
    let told =
        Told { model: checkpoint.name(), dataset: dataset.name().to_owned(), rule, folder, selected, left };
    listen(args, told, &done, || Run::start(order))
}

/// What is told of a run besides what it says itself.
pub(super) struct Told {
    /// The model's name.
    pub model: String,
    /// The dataset's name.
    pub dataset: String,
    /// The rule's name.
    pub rule: String,
    /// The session's folder.
    pub folder: PathBuf,
    /// Questions chosen.
    pub selected: usize,
    /// Questions that have no answer yet.
    pub left: usize,
}

/// Starts a run, listens to it, and tells how it ended.
pub(super) fn listen(
    args: &EvalArgs,
    told: Told,
    done: &[Answer],
    start: impl FnOnce() -> Result<Run>,
) -> Outcome {
    let Told { model, dataset, rule, folder, selected, left } = told;
    say(format!("session {}", folder.display()));
    let mut report = Report::default();
    done.iter().for_each(|answer| report.add(answer.judged()));
    if !done.is_empty() {
        say(format!("{} questions are answered already", selected - left));
    }

    let began = Instant::now();
    let mut judged = Tally::default();
    let mut traffic = None;
    let complete = follow(start()?, &mut report, (&mut judged, &mut traffic), (selected - left, selected))?;
    let seconds = began.elapsed().as_secs_f64();
    if args.json {
        let mut result = summary::report_json(&report);
        result["complete"] = complete.into();
        result["session"] = folder.display().to_string().into();
        result["checkpoint"] = model.into();
        result["dataset"] = dataset.into();
        result["rule"] = rule.into();
        result["selected"] = selected.into();
        result["seconds"] = seconds.into();
        if args.judge.judge.is_some() {
            result["judge"] = judged.json();
        }
        if let Some(traffic) = &traffic {
            result["served"] = traffic.json();
        }
        print_json(&result)?;
    } else {
        print_line(&summary::report_text(&report))?;
    }
    if args.judge.judge.is_some() {
        judged.say();
    }
    if let Some(traffic) = &traffic {
        say(super::served::sums(traffic));
    }
    let failed = report.overall.failed + report.overall.out_of_memory;
    if complete && failed > 0 && failed == report.overall.total + report.overall.unscored {
        let what = format!("not one of {failed} questions could be answered");
        return Err(Failure::Broken(
            Problem::new(what)
                .in_file(&folder)
                .fix("mend what is said above about each of them, and begin a new session"),
        ));
    }
    if complete {
        say(format!("done in {}; the answers are in {}", duration(seconds), folder.display()));
        return Ok(Ending::Done);
    }
    say(format!("stopped; go on with --session {} --resume and the same options", folder.display()));
    Ok(Ending::Incomplete)
}

/// What the options choose.
pub(super) fn choices(args: &EvalArgs) -> Choices {
    let sampling = match args.temperature {
        None => Sampling::Greedy,
        Some(temperature) => {
            Sampling::Sample { temperature, top_p: args.top_p, top_k: args.top_k, seed: args.sampling_seed }
        }
    };
    Choices {
        questions: Questions {
            ids: args.ids.clone(),
            category: args.category.clone(),
            split: args.split.clone(),
            sample: args.sample,
            seed: args.seed,
            limit: args.limit,
        },
        settings: RunSettings {
            style: args.prompt_style,
            system: args.system.clone(),
            max_new_tokens: args.max_new_tokens,
            max_tiles: args.max_tiles,
            sampling,
            top_logprobs: args.top_logprobs,
            ..RunSettings::default()
        },
        stated: Stated { kind: args.kind, answer_type: args.answer_type },
        rule: args.rule.clone(),
        dtype: args.dtype.clone(),
        devices: args.devices.clone(),
        layout: args.layout.clone(),
        batch: args.batch,
        canary: args.canary,
        replicas: args.replicas,
        threads: args.threads,
        learnt: Learnt::named(args.calibration.as_deref()),
    }
}

/// Limits the CPU's threads.
///
/// # Errors
/// The system gives no threads.
pub fn use_threads(threads: Option<usize>) -> Result<()> {
    let Some(threads) = threads else { return Ok(()) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    pool.map_err(|e| Problem::new(format!("cannot start {threads} threads: {e}")).at("--threads"))
}

/// Listens to the worker until it is over; whether every question was asked.
fn follow(
    run: Run,
    report: &mut Report,
    (judged, last): (&mut Tally, &mut Option<Traffic>),
    (done, total): (usize, usize),
) -> std::result::Result<bool, Failure> {
    let mut done = done as u64;
    stop_on_interrupt(run.commands.clone());
    let mut progress = Progress::new(total);
    progress.done(done, &report.overall, None, None);
    let mut ended = Err(Failure::Broken(Problem::new("the worker ended without a word")));
    for event in &run.events {
        match event {
            Event::Loading { bytes, total } => progress.loading(bytes, total),
            Event::Loaded { seconds } => progress.now(format!("loaded in {}", duration(seconds))),
            Event::Asking { tiles, prompt_tokens, .. } if tiles > 4 => {
                progress.now(format!("{tiles} tiles, {prompt_tokens} tokens"));
            }
            Event::Asking { .. }
            | Event::Skipped { .. }
            | Event::Text { .. }
            | Event::Paused
            | Event::Resumed => {}
            Event::Answered { answer, remaining, tokens_per_second, .. } => {
                done += 1;
                report.add(answer.judged());
                if let Some(record) = &answer.judge {
                    judged.add(record);
                }
                if let Some(error) = &answer.error {
                    progress.say(&format!("question {} failed: {error}", answer.index));
                }
                progress.done(done, &report.overall, remaining, tokens_per_second);
            }
            Event::Traffic(traffic) => {
                if let Some(trouble) = super::served::trouble(last.as_ref(), &traffic) {
                    progress.say(&trouble);
                }
                progress.beside(super::served::state(&traffic));
                *last = Some(*traffic);
            }
            Event::Note(problem) => progress.say(&format!("note: {problem}")),
            Event::Finished { complete } => ended = Ok(complete),
            Event::Failed(problem) => ended = Err(Failure::Broken(problem)),
        }
    }
    progress.finish();
    run.join();
    ended
}

/// The first interrupt stops cleanly, the second at once (the session survives that too).
fn stop_on_interrupt(commands: Sender<Command>) {
    let interrupts = AtomicUsize::new(0);
    let stop = move || {
        if interrupts.fetch_add(1, Ordering::Relaxed) == 0 {
            say("\nstopping after the present token (again to stop at once)");
            // The worker may be over already.
            let _ = commands.send(Command::Stop);
        } else {
            std::process::exit(4);
        }
    };
    if let Err(error) = ctrlc::set_handler(stop) {
        say(format!("note: an interrupt will end the program at once ({error})"));
    }
}
