//! `shardscope eval`: a run in the terminal, from a checkpoint and a dataset to a session and a score.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use candle_core::Device;
use crossbeam_channel::Sender;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::datasets::open_stated;
use super::judging::{self, Tally};
use super::progress::{Progress, Reading};
use super::{count, duration, print_json, print_line, say, size, summary};
use crate::checkpoint::{Checkpoint, Folder};
use crate::cli::{Ending, EvalArgs, Failure, Outcome};
use crate::dataset::{Dataset, Stated, Style};
use crate::demo;
use crate::engine::{Command, Event, Language, Order, Run, RunSettings, Sampling, model};
use crate::scoring::{Report, Rule};
use crate::session::manifest::{
    CheckpointRecord, DatasetRecord, DeviceRecord, LayoutRecord, Manifest, Selection, Settings,
};
use crate::session::{Session, default_folder};
use crate::{Problem, Result};

impl EvalArgs {
    /// `eval` without any option: the built-in pair.
    pub fn built_in() -> Self {
        Self {
            rule: "shardscope".into(),
            max_new_tokens: 1024,
            batch: 1,
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
    use_threads(args.threads)?;
    let rule = Rule::by_name(&args.rule)?;
    let weight_type = model::weight_type(&args.dtype)?;
    let (device, device_name) = device(&args.devices)?;
    refuse_layout(&args.layout)?;
    let checkpoint = Arc::new(open_checkpoint(args.checkpoint.as_deref())?);
    let language = Language::open(&checkpoint)?;
    let stated = Stated { kind: args.kind, answer_type: args.answer_type };
    let dataset = open_stated(args.dataset.as_deref(), stated)?;
    let rows = select(&dataset, args)?;
    let settings = run_settings(args);
    let mut manifest = manifest(args, &checkpoint, &language, &dataset, &rows, &device_name)?;
    let judge = judging::judge(&args.judge)?.map(|(step, record)| {
        manifest.settings.other.insert("judge".into(), record);
        step
    });

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
    if args.batch > 1 {
        say("note: this version asks one question at a time, whatever --batch says");
    }
    let folder = match &args.session {
        Some(folder) => folder.clone(),
        None => default_folder(&checkpoint.name(), dataset.name(), &jiff::Zoned::now()),
    };
    let (session, done) = open_session(&folder, &manifest, args.resume)?;
    say(format!("session {}", folder.display()));
    let mut report = Report::default();
    done.iter().for_each(|answer| summary::count(&mut report, answer));
    let left = remaining_rows(&dataset, &rows, &done)?;
    if !done.is_empty() {
        say(format!("{} questions are answered already", rows.len() - left.len()));
    }

    let order = Order {
        checkpoint: checkpoint.clone(),
        language,
        weight_type,
        device,
        dataset: dataset.clone(),
        rows: left,
        settings,
        rule,
        judge,
        session,
    };
    let start = Instant::now();
    let mut judged = Tally::default();
    let complete = follow(order, &mut report, &mut judged, rows.len())?;
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        let mut result = summary::report_json(&report);
        result["complete"] = complete.into();
        result["session"] = folder.display().to_string().into();
        result["checkpoint"] = checkpoint.name().into();
        result["dataset"] = dataset.name().into();
        result["rule"] = rule.name().into();
        result["selected"] = rows.len().into();
        result["seconds"] = seconds.into();
        if args.judge.judge.is_some() {
            result["judge"] = judged.json();
        }
        print_json(&result)?;
    } else {
        print_line(&summary::report_text(&report))?;
    }
    if args.judge.judge.is_some() {
        judged.say();
    }
    if complete {
        say(format!("done in {}; the answers are in {}", duration(seconds), folder.display()));
        return Ok(Ending::Done);
    }
    say(format!("stopped; go on with --session {} --resume and the same options", folder.display()));
    Ok(Ending::Incomplete)
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

/// Opens a checkpoint by what a person named; the built-in one by default.
///
/// # Errors
/// As [`Checkpoint::open`].
pub fn open_checkpoint(named: Option<&str>) -> Result<Checkpoint> {
    match named {
        None => demo::checkpoint(),
        Some(named) if named == demo::BUILT_IN && !Path::new(named).exists() => demo::checkpoint(),
        Some(named) => Checkpoint::open(named),
    }
}

/// The device that a SPEC means, and its name.
fn device(spec: &str) -> Result<(Device, String)> {
    let refuse = |what: &str| Problem::new(what).at(format!("--devices {spec}"));
    let cuda = |ordinal: usize| {
        let device = Device::new_cuda_with_stream(ordinal).map_err(|e| {
            refuse(&format!("this device cannot be used: {e}")).fix("choose another device, or --devices cpu")
        })?;
        Ok((device, format!("cuda:{ordinal}")))
    };
    match spec {
        "cpu" => Ok((Device::Cpu, "cpu".into())),
        "auto" if cfg!(feature = "cuda") => cuda(0).or(Ok((Device::Cpu, "cpu".into()))),
        "auto" => Ok((Device::Cpu, "cpu".into())),
        _ => match (spec.strip_prefix("cuda:"), spec.strip_prefix("sim:")) {
            (Some(_), _) if !cfg!(feature = "cuda") => {
                Err(refuse("this build has no CUDA")
                    .fix("build with `--features cuda`, or choose --devices cpu"))
            }
            (Some(ordinals), _) => match ordinals.parse() {
                Ok(ordinal) => cuda(ordinal),
                Err(_) => {
                    Err(refuse("this version runs on one device").fix("name one device, such as cuda:0"))
                }
            },
            (_, Some(_)) => {
                Err(refuse("this version does not run on simulated devices yet").fix("choose --devices cpu"))
            }
            _ => Err(refuse("is no device").fix("choose auto, cpu or cuda:0")),
        },
    }
}

fn refuse_layout(layout: &str) -> Result<()> {
    match layout {
        "auto" | "single" => Ok(()),
        _ => Err(Problem::new("this version runs on one device, so there is nothing to lay out")
            .at(format!("--layout {layout}"))
            .fix("leave --layout away")),
    }
}

fn run_settings(args: &EvalArgs) -> RunSettings {
    let sampling = match args.temperature {
        None => Sampling::Greedy,
        Some(temperature) => {
            Sampling::Sample { temperature, top_p: args.top_p, top_k: args.top_k, seed: args.sampling_seed }
        }
    };
    RunSettings {
        style: args.prompt_style,
        system: args.system.clone(),
        max_new_tokens: args.max_new_tokens,
        max_tiles: args.max_tiles,
        sampling,
        top_logprobs: args.top_logprobs,
        ..RunSettings::default()
    }
}

/// Rows that the options select, in the dataset's order.
fn select(dataset: &Dataset, args: &EvalArgs) -> Result<Vec<usize>> {
    if dataset.is_empty() {
        return Err(Problem::new("holds no question").at(dataset.name()).fix("choose another file"));
    }
    let mut rows: Vec<usize> = if args.ids.is_empty() {
        (0..dataset.len()).collect()
    } else {
        let find = |id: &String| {
            dataset.find(id.trim()).ok_or_else(|| {
                Problem::new(format!("has no question with the index {id}"))
                    .at(dataset.name())
                    .fix("give values of its `index` column with --ids")
            })
        };
        let mut rows = args.ids.iter().map(find).collect::<Result<Vec<_>>>()?;
        rows.sort_unstable();
        rows.dedup();
        rows
    };
    if let Some(wanted) = &args.category {
        let outlines = dataset.outlines()?;
        let groups = |row: usize| {
            outlines
                .get(row)
                .into_iter()
                .flat_map(|o| [o.category.as_deref(), o.super_category.as_deref()])
                .flatten()
        };
        let known: std::collections::BTreeSet<&str> = rows.iter().flat_map(|row| groups(*row)).collect();
        if !known.contains(wanted.as_str()) {
            let list = known.into_iter().take(40).collect::<Vec<_>>().join(", ");
            let list = if list.is_empty() { "none".to_owned() } else { list };
            return Err(Problem::new(format!("has no category {wanted:?}"))
                .at(dataset.name())
                .fix(format!("choose one of its categories: {list}")));
        }
        rows.retain(|row| groups(*row).any(|name| name == wanted));
    }
    if let Some(wanted) = &args.split {
        let outlines = dataset.outlines()?;
        let split = |row: usize| outlines.get(row).and_then(|o| o.split.as_deref());
        let known: std::collections::BTreeSet<&str> = rows.iter().filter_map(|row| split(*row)).collect();
        if !known.contains(wanted.as_str()) {
            let list = known.into_iter().take(40).collect::<Vec<_>>().join(", ");
            return Err(Problem::new(format!("has no split {wanted:?} among the selected questions"))
                .at(dataset.name())
                .fix(match list.as_str() {
                    "" => "leave --split away: none of them names its split".to_owned(),
                    _ => format!("choose one of its splits: {list}"),
                }));
        }
        rows.retain(|row| split(*row) == Some(wanted));
    }
    if let Some(count) = args.sample {
        let seed = args.seed.unwrap_or(0);
        // A question's draw depends on seed and index alone, so that a dataset in another order gives the same sample.
        let outlines = dataset.outlines()?;
        let draw = |row: usize| {
            let index = outlines.get(row).map_or("", |o| o.index.as_str());
            Sha256::digest(format!("{seed}:{index}")).to_vec()
        };
        rows.sort_by_cached_key(|row| draw(*row));
        rows.truncate(count);
        rows.sort_unstable();
    }
    rows.truncate(args.limit.unwrap_or(usize::MAX));
    if rows.is_empty() {
        return Err(Problem::new("no question is selected")
            .at(dataset.name())
            .fix("ask for more with --limit, --sample, --ids, --category or --split"));
    }
    refuse_doubles(dataset, &rows)?;
    Ok(rows)
}

/// Answers are kept by the index of their question, so no two questions may share one.
fn refuse_doubles(dataset: &Dataset, rows: &[usize]) -> Result<()> {
    let outlines = dataset.outlines()?;
    let mut seen = HashMap::with_capacity(rows.len());
    for (row, outline) in rows.iter().filter_map(|row| Some((*row, outlines.get(*row)?))) {
        if let Some(earlier) = seen.insert(outline.index.as_str(), row) {
            return Err(Problem::new(format!(
                "rows {} and {} have the same index, {}",
                earlier + 1,
                row + 1,
                outline.index
            ))
            .at(dataset.name())
            .fix("give every question an index of its own, or choose questions with --limit or --ids"));
        }
    }
    Ok(())
}

fn manifest(
    args: &EvalArgs,
    checkpoint: &Checkpoint,
    language: &Language,
    dataset: &Dataset,
    rows: &[usize],
    device: &str,
) -> Result<Manifest> {
    let (config_hash, index_hash) = checkpoint.hashes()?;
    let outlines = dataset.outlines()?;
    let indices = rows.iter().filter_map(|row| outlines.get(*row)).map(|o| o.index.as_str());
    let selection = Selection {
        limit: args.limit,
        sample: args.sample,
        seed: args.sample.map(|_| args.seed.unwrap_or(0)),
        category: args.category.clone(),
        split: args.split.clone(),
        ..Selection::of(indices)
    };
    let path = |path: Option<&Path>| {
        path.map_or_else(
            || demo::BUILT_IN.to_owned(),
            |p| p.canonicalize().unwrap_or_else(|_| p.to_owned()).display().to_string(),
        )
    };
    let checkpoint_path = match &checkpoint.folder {
        Folder::Disk(dir) => path(Some(dir)),
        Folder::Embedded(_) => path(None),
    };
    let settings = run_settings(args);
    let mut stated = serde_json::Map::new();
    if let Some(kind) = args.kind {
        stated.insert("kind".into(), kind.name().into());
    }
    if let Some(answer_type) = args.answer_type {
        stated.insert("answer_type".into(), answer_type.name().into());
    }
    let mut manifest = Manifest::new(
        CheckpointRecord {
            path: checkpoint_path,
            name: checkpoint.name(),
            format: match checkpoint.config.layout {
                crate::checkpoint::Layout::Github => "internvl_chat".into(),
                crate::checkpoint::Layout::HuggingFace => "internvl".into(),
            },
            config_hash,
            index_hash,
            template: language.template.name().to_owned(),
            ..CheckpointRecord::default()
        },
        DatasetRecord {
            path: path(dataset.path()),
            name: dataset.name().to_owned(),
            hash: fingerprint(dataset)?,
            questions: dataset.len(),
            selection: selection.by_ids(args.ids.iter().cloned()),
            ..DatasetRecord::default()
        },
        Settings {
            prompt_style: settings.style.name().to_owned(),
            system_prompt: settings.system.clone(),
            rule: Rule::by_name(&args.rule)?.name(),
            max_new_tokens: settings.max_new_tokens,
            max_tiles: settings.max_tiles,
            dtype: args.dtype.clone(),
            sampling: settings.sampling,
            top_logprobs: settings.top_logprobs,
            batch: args.batch,
            threads: args.threads,
            other: stated,
        },
    );
    let assignment = checkpoint.units.iter().map(|unit| (unit.name.clone(), json!(device))).collect();
    manifest.layout = LayoutRecord { name: args.layout.clone(), assignment };
    manifest.devices = vec![DeviceRecord { name: device.to_owned(), ..DeviceRecord::default() }];
    Ok(manifest)
}

/// The hash by which a session knows its dataset again; a large file takes a while, which is told.
fn fingerprint(dataset: &Dataset) -> Result<String> {
    let mut reading = dataset.path().map(Reading::of);
    let mut go_on = |bytes| reading.as_mut().is_none_or(|reading| reading.at(bytes));
    Ok(dataset.fingerprint_watched(&mut go_on)?.unwrap_or_default())
}

fn open_session(
    folder: &Path,
    manifest: &Manifest,
    resume: bool,
) -> Result<(Session, Vec<crate::session::journal::Answer>)> {
    if resume {
        return Session::resume(folder, manifest);
    }
    Ok((Session::create(folder, manifest)?, Vec::new()))
}

fn remaining_rows(
    dataset: &Dataset,
    rows: &[usize],
    done: &[crate::session::journal::Answer],
) -> Result<Vec<usize>> {
    let done: std::collections::HashSet<&str> = done.iter().map(|a| a.index.as_str()).collect();
    let outlines = dataset.outlines()?;
    Ok(rows
        .iter()
        .copied()
        .filter(|row| outlines.get(*row).is_none_or(|o| !done.contains(o.index.as_str())))
        .collect())
}

/// Listens to the worker until it is over; whether every question was asked.
fn follow(
    order: Order,
    report: &mut Report,
    judged: &mut Tally,
    total: usize,
) -> std::result::Result<bool, Failure> {
    let mut done = (total - order.rows.len()) as u64;
    let run = Run::start(order)?;
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
            Event::Asking { .. } | Event::Text { .. } | Event::Paused | Event::Resumed => {}
            Event::Answered { answer, remaining, tokens_per_second, .. } => {
                done += 1;
                summary::count(report, &answer);
                if let Some(record) = &answer.judge {
                    judged.add(record);
                }
                if let Some(error) = &answer.error {
                    progress.say(&format!("question {} failed: {error}", answer.index));
                }
                progress.done(done, &report.overall, remaining, tokens_per_second);
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
