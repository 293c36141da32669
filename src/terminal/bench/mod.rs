//! `shardscope bench`: how fast a checkpoint runs on this machine, without a dataset.

mod stages;

use std::sync::Arc;
use std::time::Instant;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use serde_json::{Value, json};

use super::{print_json, print_line};
use crate::checkpoint::{Checkpoint, Config, Unit, UnitKind};
use crate::cli::{BenchArgs, Ending, Failure, Outcome};
use crate::engine::model::weight_type;
use crate::evaluation::named;
use crate::model::host;
use crate::model::weights::held_bytes;
use crate::model::{Cache, Loading, Network, Place};
use crate::words::size;
use crate::{Problem, Result};

/// Tokens after the prompt are the same whatever the weights say, so that runs can be compared.
fn token(i: usize, vocabulary: usize) -> u32 {
    (i * 7919 % vocabulary) as u32
}

/// Seconds of one round.
struct Round {
    tiles: f64,
    prefill: f64,
    decode: f64,
    /// Bytes a second of a plain read of the weights' files by the same threads.
    read: f64,
    /// Decoding with several questions in flight, as many as asked for.
    together: Vec<f64>,
    stages: Option<stages::Round>,
}

impl Round {
    fn json(&self, args: &BenchArgs) -> Value {
        let mut round =
            json!({"tiles": self.tiles, "prefill": self.prefill, "decode": self.decode, "read": self.read});
        for (count, seconds) in args.in_flight.iter().zip(&self.together) {
            round["in_flight"][count.to_string()] = (*seconds).into();
        }
        if let Some(stages) = &self.stages {
            round["stages"] = json!({"at_once": stages.at_once, "one_after_the_other": stages.in_turn});
        }
        round
    }
}

/// Runs the command: loads the weights once, then takes tiles, prompt and tokens through the network, round by round.
///
/// # Errors
/// A checkpoint that cannot be run.
pub fn run(args: &BenchArgs) -> Outcome {
    // As on the thread of a place, which does its share.
    let threads = args.threads.unwrap_or_else(num_cpus::get_physical);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global();
    pool.map_err(|e| Problem::new(format!("cannot start {threads} threads: {e}")).at("--threads"))?;
    let weight_type = weight_type(&args.dtype)?;
    let begun = Instant::now();
    let checkpoint = Arc::new(named::open_checkpoint(args.checkpoint.as_deref())?);
    let start = Instant::now();
    let place = Place::cpu();
    let mut loading = Loading { place: &|_| place.clone(), weight_type, progress: &mut |_| true };
    let network = Network::load(&checkpoint, &mut loading)?;
    let load = start.elapsed().as_secs_f64();
    prompt(&network, args).map_err(Failure::Broken)?;
    let first_token = begun.elapsed().as_secs_f64();
    let staged = match args.stages {
        Some(count) => Some(Arc::new(stages::network(&checkpoint, count, weight_type)?)),
        None => None,
    };
    let rounds = (0..args.rounds).map(|_| {
        let read = plain_read(&checkpoint);
        round(&network, staged.as_ref(), args).map(|round| Round { read, ..round })
    });
    let rounds = rounds.collect::<Result<Vec<_>>>();
    let rounds = rounds.map_err(Failure::Broken)?;
    let median = |of: &dyn Fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let (tiles, prefill, decode) = (median(&|r| r.tiles), median(&|r| r.prefill), median(&|r| r.decode));
    let peak = peak_memory();
    let weights = checkpoint.units.iter().map(|unit| held_bytes(unit, weight_type)).sum::<u64>();
    let of_weights = peak.map(|peak| peak as f64 / weights.max(1) as f64);
    // A step reads every layer and the head once; behind a short prompt hardly anything else.
    let step: u64 = checkpoint
        .units
        .iter()
        .map(|unit| match unit.kind {
            UnitKind::DecoderLayer | UnitKind::FinalNorm => held_bytes(unit, weight_type),
            // A head that shares the embedding's table reads that.
            UnitKind::Head => held_bytes(&Unit { tied: false, ..unit.clone() }, weight_type),
            _ => 0,
        })
        .sum();
    let of_read = median(&|r| step as f64 * args.new_tokens as f64 / r.decode / r.read);
    let (new_tokens, prompt_tokens) = (args.new_tokens as f64, args.prompt_tokens as f64);
    let factors = weight_type.factors();
    let (tile, roof) = (tile_operations(network.config()), threads as f64 * host::peak(factors));
    let of_roof = tile * args.tiles as f64 / tiles / roof;
    let together: Vec<(usize, f64)> = args
        .in_flight
        .iter()
        .enumerate()
        .map(|(i, count)| (*count, *count as f64 * new_tokens / median(&|r| r.together[i])))
        .collect();
    let of_stages = |round: &Round| round.stages.as_ref().map_or(f64::NAN, |s| s.in_turn / s.at_once);
    if args.json {
        let mut result = json!({
            "checkpoint": checkpoint.name(), "dtype": args.dtype, "threads": threads,
            "load_seconds": load,
            "first_token_seconds": first_token,
            "first_token_of_prefill": first_token / prefill,
            "tiles_per_second": args.tiles as f64 / tiles,
            "tile_operations": tile,
            "peak_operations_per_second": roof,
            "tiles_of_peak": of_roof,
            "prefill_tokens_per_second": prompt_tokens / prefill,
            "decode_tokens_per_second": new_tokens / decode,
            "step_bytes": step,
            "read_bytes_per_second": median(&|r| r.read),
            "decode_of_read": of_read,
            "peak_bytes": peak,
            "weight_bytes": weights,
            "peak_of_weights": of_weights,
            "rounds": rounds.iter().map(|r| r.json(args)).collect::<Vec<_>>(),
        });
        for (count, speed) in &together {
            result["decode_in_flight"][count.to_string()] = (*speed).into();
        }
        if args.stages.is_some() {
            result["stages_speedup"] = median(&of_stages).into();
        }
        print_json(&result)?;
        return Ok(Ending::Done);
    }
    let mut lines = vec![
        format!(
            "{}, {} weights, {threads} threads, median of {} rounds",
            checkpoint.name(),
            args.dtype,
            rounds.len()
        ),
        format!("load     {load:9.3} s"),
        format!(
            "first    {first_token:9.3} s from the files to the first token, {:.2} times a prefill",
            first_token / prefill
        ),
        format!(
            "vision   {:9.3} tiles/s, {:.0} GFLOPS, {:.0} % of what the kernels reach in the nearest cache ({:.0})",
            args.tiles as f64 / tiles,
            tile * args.tiles as f64 / tiles / 1e9,
            of_roof * 100.0,
            roof / 1e9
        ),
        format!("prefill  {:9.1} tokens/s ({} tokens)", prompt_tokens / prefill, args.prompt_tokens),
        format!(
            "decode   {:9.2} tokens/s ({} tokens), {:.2} times a plain read of as many bytes ({}/s)",
            new_tokens / decode,
            args.new_tokens,
            of_read,
            size(median(&|r| r.read) as u64)
        ),
    ];
    lines.extend(together.iter().map(|(count, speed)| {
        let times = speed / (new_tokens / decode);
        format!("decode   {speed:9.2} tokens/s with {count} in flight, {times:.2} times one")
    }));
    if let Some(count) = args.stages {
        let times = median(&of_stages);
        lines.push(format!(
            "stages   {times:9.2} times as fast on {count} simulated devices at once as one after the other"
        ));
    }
    lines.push(match (peak, of_weights) {
        (Some(peak), Some(of_weights)) => format!(
            "memory   {} at its peak, {of_weights:.2} times the weights ({})",
            size(peak),
            size(weights)
        ),
        _ => "memory   unknown".to_owned(),
    });
    print_line(&lines.join("\n"))?;
    Ok(Ending::Done)
}

/// Bytes a second at which the threads at hand add up the weights' files, which lie in memory by now.
fn plain_read(checkpoint: &Checkpoint) -> f64 {
    const AT_ONCE: usize = 1 << 18;
    let files: Vec<&[u8]> = checkpoint.weights.files.iter().map(|(_, bytes)| &**bytes).collect();
    let start = Instant::now();
    let sum = files.par_iter().flat_map(|bytes| bytes.par_chunks(AT_ONCE)).map(|bytes| {
        let (words, _) = bytes.as_chunks::<8>();
        words.iter().fold(0, |sum: u64, word| sum.wrapping_add(u64::from_le_bytes(*word)))
    });
    std::hint::black_box(sum.reduce(|| 0, u64::wrapping_add));
    files.iter().map(|bytes| bytes.len()).sum::<usize>() as f64 / start.elapsed().as_secs_f64()
}

fn round(network: &Network, staged: Option<&Arc<Network>>, args: &BenchArgs) -> Result<Round> {
    let config = network.config();
    let (side, vocabulary) = (config.vision.image_side, config.decoder.vocab);
    let pixels = Tensor::rand(-1f32, 1.0, (args.tiles, 3, side, side), &Device::Cpu)?;
    let start = Instant::now();
    network.image_features(&pixels, 4)?;
    let tiles = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let mut cache = prompt(network, args)?;
    let prefill = start.elapsed().as_secs_f64();
    let capacity = args.prompt_tokens + args.new_tokens;

    let kept = cache.kept();
    let start = Instant::now();
    for i in 0..args.new_tokens {
        real(&network.step(token(i, vocabulary), &mut cache)?)?;
    }
    let decode = start.elapsed().as_secs_f64();

    let mut together = Vec::with_capacity(args.in_flight.len());
    for count in &args.in_flight {
        let begun = |_| {
            let mut cache = network.cache(capacity);
            cache.begin_with(&kept, args.prompt_tokens);
            cache
        };
        let mut caches: Vec<Cache> = (0..*count).map(begun).collect();
        let start = Instant::now();
        for i in 0..args.new_tokens {
            let tokens: Vec<u32> = (0..*count).map(|question| token(i + question, vocabulary)).collect();
            network.steps(&tokens, &mut caches)?.iter().try_for_each(|logits| real(logits))?;
        }
        together.push(start.elapsed().as_secs_f64());
    }
    let stages = staged.map(|network| stages::round(network, args)).transpose()?;
    Ok(Round { tiles, prefill, decode, read: f64::NAN, together, stages })
}

/// Multiplications and additions of matrix products, attention's included, that a tile takes from pixels to tokens.
fn tile_operations(config: &Config) -> f64 {
    let (vision, language) = (&config.vision, config.decoder.hidden as f64);
    let (positions, hidden) = (vision.positions() as f64, vision.hidden as f64);
    let patches = positions - 1.0;
    let embedded = patches * hidden * 3.0 * (vision.patch_side * vision.patch_side) as f64;
    let linear = positions * hidden * (4.0 * hidden + 2.0 * vision.intermediate as f64);
    let attention = 2.0 * positions * positions * hidden;
    // Four patches are a token.
    let projected = patches / 4.0 * language * (4.0 * hidden + language);
    2.0 * (embedded + vision.used_layers as f64 * (linear + attention) + projected)
}

/// Takes the prompt in, up to the logits of its first token; with room for the tokens to come.
fn prompt(network: &Network, args: &BenchArgs) -> Result<Cache> {
    let vocabulary = network.config().decoder.vocab;
    let ids: Vec<u32> = (0..args.prompt_tokens).map(|i| token(i, vocabulary)).collect();
    // No id is an image token here: every one is looked up in the table.
    let embedded = network.embed(&ids, u32::MAX, None)?;
    let mut cache = network.cache(args.prompt_tokens + args.new_tokens);
    real(&network.prefill(&embedded, &mut cache, 1024)?)?;
    Ok(cache)
}

fn real(logits: &[f32]) -> Result<()> {
    match logits.iter().any(|l| l.is_nan()) {
        true => Err(Problem::new("the model's output is not a number (NaN)")),
        false => Ok(()),
    }
}

/// The process's largest resident size so far, where the system tells (Linux).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
