//! The decoder beside that of candle-transformers on the very same weights, in the type that the checkpoint stores, in
//! rounds that take turns: a prompt of 300 tokens, 64 tokens decoded behind it and 64 behind nothing. Ratios above 1:
//! Shardscope is faster.
//!
//! `python tools/bench/turns.py FOLDER f32 && cargo bench --bench candle -- FOLDER [ROUNDS]`

// A bench that cannot go on ends.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::qwen2;
use shardscope::checkpoint::{Checkpoint, Folder};
use shardscope::model::{Loading, Network, Place, WeightType};

const PROMPT: usize = 300;
const NEW: usize = 64;

/// Seconds of one round, and the logits after the prompt.
struct Round {
    prefill: f64,
    decode: f64,
    first: f64,
    logits: Vec<f32>,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let Some(named) = args.first() else {
        println!("name a checkpoint: python tools/bench/turns.py FOLDER f32");
        return;
    };
    let rounds: usize = args.get(1).map_or(5, |n| n.parse().unwrap());
    // As on the thread of a place, which does its share; candle's products use the same threads.
    let threads = num_cpus::get_physical();
    rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global().unwrap();

    let checkpoint = Checkpoint::open(named).unwrap();
    let place = Place::cpu();
    let mut loading =
        Loading { place: &|_| place.clone(), weight_type: WeightType::Stored, progress: &mut |_| true };
    let network = Network::load(&checkpoint, &mut loading).unwrap();
    let vocabulary = checkpoint.config.decoder.vocab;
    let (mut peer, dtype) = peer(&checkpoint);

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let pair = (our_round(&network), their_round(&mut peer, vocabulary));
        // The first one warms up.
        if round > 0 {
            ours.push(pair.0);
            theirs.push(pair.1);
        }
    }
    println!("{}, {threads} threads, median of {rounds} interleaved rounds", dtype.as_str());
    println!("{:8} {:>12} {:>12} {:>7}  (ratio by round)", "", "shardscope", "candle", "ratio");
    line("prefill", PROMPT, &ours, &theirs, |round| round.prefill);
    line("decode", NEW, &ours, &theirs, |round| round.decode);
    line("first", NEW, &ours, &theirs, |round| round.first);
    let (our, their) = (&ours[0].logits, &theirs[0].logits);
    let size = their.iter().fold(0f32, |most, logit| most.max(logit.abs()));
    let apart = our.iter().zip(their).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    println!("logits after the prompt are at most {:.1e} of the largest apart", apart / size);
}

fn token(i: usize, vocabulary: usize) -> u32 {
    (i * 7919 % vocabulary) as u32
}

fn our_round(network: &Network) -> Round {
    let vocabulary = network.config().decoder.vocab;
    let ids: Vec<u32> = (0..PROMPT).map(|i| token(i, vocabulary)).collect();
    let mut cache = network.cache(PROMPT + NEW);
    let start = Instant::now();
    let embedded = network.embed(&ids, u32::MAX, None).unwrap();
    let logits = network.prefill(&embedded, &mut cache, 1024).unwrap();
    let prefill = start.elapsed().as_secs_f64();
    let decode = |mut cache| {
        let start = Instant::now();
        for i in 0..NEW {
            assert!(network.step(token(i, vocabulary), &mut cache).unwrap()[0].is_finite());
        }
        start.elapsed().as_secs_f64()
    };
    Round { prefill, decode: decode(cache), first: decode(network.cache(NEW)), logits }
}

fn their_round(peer: &mut qwen2::ModelForCausalLM, vocabulary: usize) -> Round {
    let prompt: Vec<u32> = (0..PROMPT).map(|i| token(i, vocabulary)).collect();
    peer.clear_kv_cache();
    let start = Instant::now();
    let logits = forward(peer, &prompt, 0);
    let prefill = start.elapsed().as_secs_f64();
    let decode = |peer: &mut qwen2::ModelForCausalLM, behind| {
        let start = Instant::now();
        for i in 0..NEW {
            assert!(forward(peer, &[token(i, vocabulary)], behind + i)[0].is_finite());
        }
        start.elapsed().as_secs_f64()
    };
    let behind = decode(peer, PROMPT);
    peer.clear_kv_cache();
    Round { prefill, decode: behind, first: decode(peer, 0), logits }
}

/// The peer's logits after some tokens.
fn forward(peer: &mut qwen2::ModelForCausalLM, ids: &[u32], position: usize) -> Vec<f32> {
    let ids = Tensor::new(ids, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    let logits = peer.forward(&ids, position).unwrap();
    logits.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The peer's decoder out of the checkpoint's file, and the type it is stored in.
fn peer(checkpoint: &Checkpoint) -> (qwen2::ModelForCausalLM, DType) {
    let Folder::Disk(folder) = &checkpoint.folder else { panic!("a checkpoint out of a folder") };
    let config = &checkpoint.config.decoder;
    let config = qwen2::Config {
        vocab_size: config.vocab,
        hidden_size: config.hidden,
        intermediate_size: config.intermediate,
        num_hidden_layers: config.layers,
        num_attention_heads: config.heads,
        num_key_value_heads: config.kv_heads,
        max_position_embeddings: config.max_positions,
        sliding_window: config.max_positions,
        max_window_layers: config.layers,
        tie_word_embeddings: config.tied,
        rope_theta: config.rope.theta,
        rms_norm_eps: config.eps,
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    };
    let dtype = match checkpoint.weights.tensors["language_model.lm_head.weight"].dtype {
        safetensors::Dtype::BF16 => DType::BF16,
        _ => DType::F32,
    };
    let file = folder.join("model.safetensors");
    // SAFETY: nothing writes to the file meanwhile.
    let stored = unsafe { VarBuilder::from_mmaped_safetensors(&[file], dtype, &Device::Cpu) }.unwrap();
    let named = stored.rename_f(|name| format!("language_model.{name}"));
    (qwen2::ModelForCausalLM::new(&config, named).unwrap(), dtype)
}

/// A line of the table.
fn line(what: &str, count: usize, ours: &[Round], theirs: &[Round], seconds: fn(&Round) -> f64) {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let ratios: Vec<f64> =
        ours.iter().zip(theirs).map(|(our, their)| seconds(their) / seconds(our)).collect();
    let speed = |rounds: &[Round]| count as f64 / median(rounds.iter().map(seconds).collect());
    let (our, their) = (speed(ours), speed(theirs));
    let by_round: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    println!("{what:8} {our:10.2}/s {their:10.2}/s {:7.2}  ({})", our / their, by_round.join(" "));
}
