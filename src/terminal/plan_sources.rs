//! Where `shardscope plan` gets its facts: checkpoints, datasets and devices as they are.

use std::io::Write;

use super::devices::DevicesArgs;
use super::plan::{PlanArgs, Sources, run_with_links as plan};
use super::{print_line, say};
use crate::Result;
use crate::cli::{Ending, Failure, Outcome};
use crate::dataset::Stated;
use crate::devices::{Driver, find, host};
use crate::engine::Language;
use crate::engine::costs::Pricing;
use crate::evaluation::Learnt;
use crate::evaluation::facts::{self, CheckpointFacts};
use crate::picture::tiles::Tiling;
use crate::plan::device::Links;
use crate::plan::{Device, QuestionCost};

/// Runs `shardscope plan` on what is on this machine.
///
/// # Errors
/// Anything named on the command line that cannot be read or makes no sense.
pub fn run(args: &PlanArgs) -> Outcome {
    let driver = Driver::open();
    let learnt = Learnt::named(args.calibration.as_deref());
    let sources = Sources {
        checkpoint: &facts::of,
        dataset: &costs,
        devices: &|spec| find::devices(spec, &driver),
        host_memory: host::memory().map(|(total, _)| total),
        calibration: &|card| learnt.of(card),
    };
    let links = |devices: &[Device]| match &driver {
        Ok(driver) => find::links(devices, &driver.gpus(), &driver.pairs()),
        Err(_) => Links::default(),
    };
    printed(|out| plan(args, &sources, &links, out))
}

/// Runs `shardscope devices`.
///
/// # Errors
/// A SPEC that makes no sense, or nothing to watch.
pub fn devices(args: &DevicesArgs) -> Outcome {
    if args.watch {
        let line = |text: &str| match print_line(text) {
            Ok(()) => Ok(()),
            Err(Failure::Refused(problem) | Failure::Broken(problem)) => Err(problem),
        };
        super::watch::watch(args, Driver::open()?, line)?;
        return Ok(Ending::Done);
    }
    printed(|out| super::devices::run(args, &Driver::open(), out))
}

/// Prints what a command writes, all at once.
fn printed(command: impl FnOnce(&mut dyn Write) -> Result<u8>) -> Outcome {
    let mut out = Vec::new();
    command(&mut out)?;
    print_line(String::from_utf8_lossy(&out).trim_end())?;
    Ok(Ending::Done)
}

/// Tiles and prompt tokens of every question; exact where the checkpoint's tokenizer is here.
fn costs(dataset: &str, facts: &CheckpointFacts, args: &PlanArgs) -> Result<Vec<QuestionCost>> {
    let dataset =
        super::datasets::open_dataset(Some(dataset), Stated { kind: args.kind, answer_type: None })?;
    let named = args.checkpoint.as_deref().unwrap_or_default();
    let language =
        facts::open(named).and_then(Result::ok).and_then(|checkpoint| Language::open(&checkpoint).ok());
    let shape = &facts.shape;
    let side = shape.vision.as_ref().map_or(448, |(vision, _)| vision.image_size) as u32;
    let pricing = Pricing {
        dataset: &dataset,
        style: args.prompt_style,
        system: None,
        max_tiles: args.max_tiles,
        tiling: &|max_tiles| Tiling { side, min_tiles: 1, max_tiles, thumbnail: true },
        tokens_per_tile: shape.tokens_per_tile as usize,
        language: language.as_ref(),
    };
    let rows: Vec<usize> = (0..dataset.len()).collect();
    let (costs, problems) = pricing.all(&rows);
    if let Some(first) = problems.first() {
        say(format!(
            "note: {} of {} questions cannot be read and are left out, such as {first}",
            problems.len(),
            rows.len()
        ));
    }
    Ok(costs)
}
