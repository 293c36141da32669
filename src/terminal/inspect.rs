//! `shardscope inspect`: what a checkpoint holds, from its headers alone.

use serde_json::json;

use super::{print_json, print_line};
use crate::checkpoint::{Checkpoint, Unit, UnitKind};
use crate::cli::{Ending, InspectArgs, Outcome};
use crate::engine::Language;
use crate::evaluation::named::open_checkpoint;
use crate::words::size;
use crate::{Problem, Result};

/// Runs the command. Problems of tokenizer or template are listed with the rest and refused at the end.
///
/// # Errors
/// A checkpoint that could not be run.
pub fn run(args: &InspectArgs) -> Outcome {
    let checkpoint = open_checkpoint(Some(&args.checkpoint))?;
    let language = Language::open(&checkpoint);
    if args.json {
        print_json(&as_json(&checkpoint, &language))?;
    } else {
        print_line(&as_text(&checkpoint, &language))?;
    }
    language?;
    Ok(Ending::Done)
}

fn as_json(checkpoint: &Checkpoint, language: &Result<Language>) -> serde_json::Value {
    let units: Vec<_> = checkpoint
        .units
        .iter()
        .map(|unit| {
            let tensors: serde_json::Map<_, _> = unit
                .tensors
                .iter()
                .map(|(name, t)| {
                    let stored =
                        json!({"dtype": format!("{:?}", t.dtype), "shape": t.shape, "bytes": t.bytes()});
                    (name.clone(), stored)
                })
                .collect();
            json!({
                "name": unit.name, "kind": unit.kind, "bytes": unit.bytes(), "parameters": unit.parameters(),
                "tied": unit.tied, "tensors": tensors,
            })
        })
        .collect();
    let problems: Vec<String> = language.as_ref().err().map(Problem::to_string).into_iter().collect();
    json!({
        "name": checkpoint.name(),
        "config": checkpoint.config,
        "parameters": checkpoint.parameters(),
        "bytes": checkpoint.bytes(),
        "files": checkpoint.weights.files.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "template": language.as_ref().ok().map(|l| l.template.name()),
        "tokenizer": language.as_ref().ok().map(|l| l.tokenizer.source().to_string()),
        "units": units,
        "problems": problems,
    })
}

fn as_text(checkpoint: &Checkpoint, language: &Result<Language>) -> String {
    let config = &checkpoint.config;
    let (vision, decoder) = (&config.vision, &config.decoder);
    let mut lines = vec![
        format!("{}, layout {}", checkpoint.name(), config.layout.name()),
        format!(
            "  {} parameters, {} in {} weight file{}",
            grouped(checkpoint.parameters()),
            size(checkpoint.bytes()),
            checkpoint.weights.files.len(),
            if checkpoint.weights.files.len() == 1 { "" } else { "s" }
        ),
        format!(
            "  vision    {} of {} blocks x {} channels, {} heads, tiles of {} pixels = {} tokens",
            vision.used_layers,
            vision.layers,
            vision.hidden,
            vision.heads,
            vision.image_side,
            config.tokens_per_tile()
        ),
        format!(
            "  decoder   {:?}, {} layers x {}, {} query and {} key heads of {}, {} positions, {} tokens in the vocabulary",
            decoder.backbone,
            decoder.layers,
            decoder.hidden,
            decoder.heads,
            decoder.kv_heads,
            decoder.head_dim,
            decoder.max_positions,
            decoder.vocab
        ),
    ];
    if let Some(moe) = &decoder.moe {
        lines.push(format!("  experts   {} of {} a token", moe.top_k, moe.experts));
    }
    match language {
        Ok(language) => {
            lines.push(format!("  tokenizer {}", language.tokenizer.source()));
            lines.push(format!(
                "  template  {} ({}), answers end at {}",
                language.template.name(),
                language.template.origin(),
                language.template.stop_token()
            ));
        }
        Err(problem) => lines.push(format!("  problem   {problem}")),
    }
    lines.push(String::new());
    lines
        .push(format!("  {:<44} {:>7} {:>16} {:>12}  {}", "unit", "tensors", "parameters", "bytes", "types"));
    lines.extend(runs(&checkpoint.units).into_iter().map(unit_line));
    lines.join("\n")
}

/// Neighbouring units of one kind and size, as one line.
fn runs(units: &[Unit]) -> Vec<&[Unit]> {
    let alike = |a: &Unit, b: &Unit| {
        a.kind == b.kind
            && matches!(a.kind, UnitKind::VisionBlock | UnitKind::DecoderLayer)
            && (a.bytes(), a.tensors.len()) == (b.bytes(), b.tensors.len())
    };
    units.chunk_by(alike).collect()
}

fn unit_line(run: &[Unit]) -> String {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return String::new() };
    let name = match run.len() {
        1 => first.name.clone(),
        _ => format!("{}..{}", first.name, last.index),
    };
    let mut types: Vec<String> = first.tensors.values().map(|t| format!("{:?}", t.dtype)).collect();
    types.sort();
    types.dedup();
    let tied = if first.tied { " (tied to the token embedding)" } else { "" };
    let times = if run.len() > 1 { format!("{} x ", run.len()) } else { String::new() };
    format!(
        "  {name:<44} {:>7} {:>16} {:>12}  {}{tied}",
        first.tensors.len(),
        format!("{times}{}", grouped(first.parameters())),
        size(run.iter().map(Unit::bytes).sum()),
        types.join(", ")
    )
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join(",")
}
