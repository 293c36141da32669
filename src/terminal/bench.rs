//! `shardscope bench`: how fast a checkpoint runs on this machine, without a dataset.

use std::sync::Arc;
use std::time::Instant;

use candle_core::{Device, Tensor};
use serde_json::json;

use super::{eval::use_threads, print_json, print_line, size};
use crate::cli::{BenchArgs, Ending, Failure, Outcome};
use crate::engine::model::weight_type;
use crate::evaluation::named;
use crate::model::{Loading, Network, Place};
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
}

/// Runs the command: loads the weights once, then takes tiles, prompt and tokens through the network, round by round.
///
/// # Errors
/// A checkpoint that cannot be run.
pub fn run(args: &BenchArgs) -> Outcome {
    use_threads(args.threads)?;
    let checkpoint = Arc::new(named::open_checkpoint(args.checkpoint.as_deref())?);
    let weight_type = weight_type(&args.dtype)?;
    let start = Instant::now();
    let place = Place::cpu();
    let mut loading = Loading { place: &|_| place.clone(), weight_type, progress: &mut |_| true };
    let network = Network::load(&checkpoint, &mut loading)?;
    let load = start.elapsed().as_secs_f64();
    let rounds = (0..args.rounds).map(|_| round(&network, args)).collect::<Result<Vec<_>>>();
    let rounds = rounds.map_err(Failure::Broken)?;
    let median = |of: fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let (tiles, prefill, decode) = (median(|r| r.tiles), median(|r| r.prefill), median(|r| r.decode));
    let peak = peak_memory();
    if args.json {
        print_json(&json!({
            "checkpoint": checkpoint.name(), "dtype": args.dtype, "threads": rayon::current_num_threads(),
            "load_seconds": load,
            "tiles_per_second": args.tiles as f64 / tiles,
            "prefill_tokens_per_second": args.prompt_tokens as f64 / prefill,
            "decode_tokens_per_second": args.new_tokens as f64 / decode,
            "peak_bytes": peak,
            "rounds": rounds.iter().map(|r| json!({"tiles": r.tiles, "prefill": r.prefill, "decode": r.decode})).collect::<Vec<_>>(),
        }))?;
    } else {
        print_line(&format!(
            "{}, {} weights, {} threads, median of {} rounds\n\
             load     {load:9.3} s\n\
             vision   {:9.3} tiles/s\n\
             prefill  {:9.1} tokens/s ({} tokens)\n\
             decode   {:9.2} tokens/s ({} tokens)\n\
             memory   {} at its peak",
            checkpoint.name(),
            args.dtype,
            rayon::current_num_threads(),
            rounds.len(),
            args.tiles as f64 / tiles,
            args.prompt_tokens as f64 / prefill,
            args.prompt_tokens,
            args.new_tokens as f64 / decode,
            args.new_tokens,
            peak.map_or_else(|| "unknown".into(), size),
        ))?;
    }
    Ok(Ending::Done)
}

fn round(network: &Network, args: &BenchArgs) -> Result<Round> {
    let config = network.config();
    let (side, vocabulary) = (config.vision.image_side, config.decoder.vocab);
    let pixels = Tensor::rand(-1f32, 1.0, (args.tiles, 3, side, side), &Device::Cpu)?;
    let start = Instant::now();
    network.image_features(&pixels, 4)?;
    let tiles = start.elapsed().as_secs_f64();

    let ids: Vec<u32> = (0..args.prompt_tokens).map(|i| token(i, vocabulary)).collect();
    // No id is an image token here: every one is looked up in the table.
    let embedded = network.embed(&ids, u32::MAX, None)?;
    let mut cache = network.cache(args.prompt_tokens + args.new_tokens);
    let start = Instant::now();
    network.prefill(&embedded, &mut cache, 1024)?;
    let prefill = start.elapsed().as_secs_f64();

    let start = Instant::now();
    for i in 0..args.new_tokens {
        let logits = network.step(token(i, vocabulary), &mut cache)?;
        if logits.iter().any(|l| l.is_nan()) {
            return Err(Problem::new("the model's output is not a number (NaN)"));
        }
    }
    Ok(Round { tiles, prefill, decode: start.elapsed().as_secs_f64() })
}

/// The process's largest resident size so far, where the system tells (Linux).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
