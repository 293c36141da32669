//! `shardscope plan`: makes and explains a device map; loads no weights.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{plan_text, say};
use crate::evaluation::facts::CheckpointFacts;
use crate::evaluation::named_map::{NAMES, NamedMap, short};
use crate::evaluation::placing::no_layout;
use crate::plan::assumptions::{Assumptions, AttentionKind, Dtype, Engine, Logits, Sourced};
use crate::plan::checks::{self, Finding};
use crate::plan::device::Links;
use crate::plan::device_map::DeviceMap;
use crate::plan::exchange::{self, Form};
use crate::plan::launch::{Server, launch};
use crate::plan::planner::{Goal, HeadChoice, VisionChoice, Wishes};
use crate::plan::spec::DeviceSpec;
use crate::plan::{
    Calibration, Case, Device, Forecast, Forecaster, Layout, Model, ModelShape, Plan, QuestionCost, Workload,
    needs, planner, presets, replicas, report,
};
use crate::{Problem, Result};

/// Options of `plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// Checkpoint: a folder, or a model of the catalogue by name.
    #[arg(long, value_name = "P|NAME", required_unless_present = "list")]
    pub checkpoint: Option<String>,
    /// Name every model of the catalogue.
    #[arg(long)]
    pub list: bool,
    /// Devices: auto, cpu, cuda:0,2, sim:8x40GiB, sim:24GiB,80GiB, sim:4xH100;overhead=0.6GiB, sim:2x(8x80GiB)
    /// or sim:NAME(8xH100),NAME(…);network=12.5GB for several machines.
    #[arg(long, value_name = "SPEC", default_value = "auto")]
    pub devices: String,
    /// Layout: auto, internvl, accelerate, accelerate-sequential, accelerate-balanced-low-0, mistralrs, single, or a map:
    /// a file, - for standard input, or the map itself where it is short ("0:20;1:60", 3,5,5). A map is a device_map (JSON, a
    /// Python dict, a log line that prints one), a mistral.rs topology, layers of each GPU (ORD:N;ORD:N), or shares as of
    /// llama.cpp's --tensor-split (3,5,5) [default: auto; internvl where AUTO_SPLIT=1 is set, as VLMEvalKit reads it].
    #[arg(long, value_name = "NAME|MAP")]
    pub layout: Option<String>,
    /// Number format of the weights: auto, f32, bf16, f16, q8_0, q4_0, q4k.
    #[arg(long, value_name = "T", default_value = "auto")]
    pub dtype: String,
    /// Dataset to forecast from: every question's tiles and prompt tokens.
    #[arg(long, value_name = "P")]
    pub dataset: Option<String>,
    /// What the dataset's questions ask for, whatever columns and name say: option, yes-no, short, free.
    #[arg(long, value_name = "KIND", requires = "dataset", value_parser = crate::cli::question_kind)]
    pub kind: Option<crate::dataset::QuestionKind>,
    /// How the dataset's questions are put, as for `eval`; its words count among a prompt's tokens.
    #[arg(long, value_name = "NAME", requires = "dataset", default_value_t, value_parser = crate::cli::prompt_style)]
    pub prompt_style: crate::dataset::Style,
    /// Longest answer in tokens.
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<u64>,
    /// Most tiles an image, in place of the dataset's own limit.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub max_tiles: Option<u32>,
    /// Questions in flight.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub batch: Option<u64>,
    /// All layouts side by side.
    #[arg(long, conflicts_with_all = ["hf_device_map", "export", "launch", "check", "needs", "replicas"])]
    pub compare: bool,
    /// Write the plan as a Hugging Face device_map.
    #[arg(long, value_name = "FILE")]
    pub hf_device_map: Option<PathBuf>,
    /// Print the plan as other tools read it, and nothing else: device-map, device-layers (mistral.rs --num-device-layers),
    /// topology (mistral.rs) or tensor-split (llama.cpp).
    #[arg(long, value_name = "FORM", value_parser = form)]
    pub export: Option<Form>,
    /// Write what --export asks for to a file, and print the plan as usual.
    #[arg(long, value_name = "FILE", requires = "export")]
    pub out: Option<PathBuf>,
    /// Judge a map: a file, - for standard input, or the map itself, in any form that --layout reads.
    #[arg(long, value_name = "MAP")]
    pub check: Option<String>,
    /// The commands that start another engine as the plan says, and what they cannot say: vllm, sglang, lmdeploy or
    /// llama.cpp.
    #[arg(long, value_name = "ENGINE", value_parser = server, conflicts_with = "export")]
    pub launch: Option<Server>,
    /// Print one JSON object to standard output.
    #[arg(long)]
    pub json: bool,
    /// Which sets of common cards this checkpoint and dataset need.
    #[arg(long, conflicts_with_all = ["hf_device_map", "export", "launch", "check", "replicas"])]
    pub needs: bool,
    /// How many copies of the model the devices could run side by side.
    #[arg(long, conflicts_with_all = ["hf_device_map", "export", "launch", "check"])]
    pub replicas: bool,
    /// What to prefer: safest (the smallest worst share of memory) or fewest-gpus.
    #[arg(long, value_name = "GOAL", default_value = "safest", value_parser = ["safest", "fewest-gpus"])]
    pub goal: String,
    /// The vision tower: free (cut where it is best), whole, or alone on devices of its own.
    #[arg(long, value_name = "HOW", default_value = "free", value_parser = ["free", "whole", "alone"])]
    pub vision: String,
    /// Keep a unit on a device: UNIT=DEVICE. May be given several times.
    #[arg(long, value_name = "UNIT=DEVICE")]
    pub pin: Vec<String>,
    /// Tiles through the vision tower at once; 0 means all of a question.
    #[arg(long, value_name = "N")]
    pub tile_batch: Option<u64>,
    /// Prompt tokens through the decoder at once; 0 means the whole prompt.
    #[arg(long, value_name = "N")]
    pub prefill_chunk: Option<u64>,
    /// Attention scores: fused, eager, or so many rows at once.
    #[arg(long, value_name = "fused|eager|N")]
    pub attention: Option<String>,
    /// Positions the head is computed for: last or all.
    #[arg(long, value_name = "WHICH", value_parser = ["last", "all"])]
    pub logits: Option<String>,
    /// Whose temporary memory is counted: gpu, or cpu (this program's own there, on so many threads: cpu:8).
    #[arg(long, value_name = "gpu|cpu[:N]", value_parser = engine)]
    pub temporary: Option<Engine>,
    /// Memory that the driver takes on each GPU, in place of what the device says: 0.6GiB.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub overhead: Option<u64>,
    /// Whether simulated memory is all there (exact) or what a driver leaves of a card of that size (card).
    #[arg(long, value_name = "HOW", value_parser = ["exact", "card"])]
    pub simulated: Option<String>,
    /// A head that is tied to the token embedding: one copy for both, or a copy each where that spreads better.
    #[arg(long, value_name = "HOW", value_parser = ["shared", "copied"])]
    pub tied_head: Option<String>,
    /// Without a dataset: tiles of the question that is planned for [default: one picture at its most].
    #[arg(long, value_name = "N", conflicts_with = "dataset", value_parser = clap::value_parser!(u64).range(..=1 << 20))]
    pub tiles: Option<u64>,
    /// Without a dataset: its prompt, pictures included, in tokens [default: that of the tiles and 200 of text].
    #[arg(long, value_name = "N", conflicts_with = "dataset", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub prompt_tokens: Option<u64>,
    /// File of what runs have learnt about memory here, by which the forecast for such cards is corrected, or none
    /// [default: one in the platform's data folder].
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<String>,
    /// Whose habits a preset layout is judged by: shardscope, or released (the software it comes from) [default: the
    /// layout's own].
    #[arg(long, value_name = "WHOSE", value_parser = ["shardscope", "released"])]
    pub assume: Option<String>,
}

/// Reads what is known of a checkpoint, by folder or name.
pub type ReadCheckpoint<'a> = &'a dyn Fn(&str) -> Result<CheckpointFacts>;
/// Reads what a dataset asks: its path, the model's shape, and the options (most tiles).
pub type ReadDataset<'a> = &'a dyn Fn(&str, &CheckpointFacts, &PlanArgs) -> Result<Vec<QuestionCost>>;
/// Finds the devices of a SPEC.
pub type FindDevices<'a> = &'a dyn Fn(&DeviceSpec) -> Result<Vec<Device>>;

/// Finds the ways between devices.
pub type FindLinks<'a> = &'a dyn Fn(&[Device]) -> Links;

/// Where the command gets what it plans from.
pub struct Sources<'a> {
    /// The checkpoint.
    pub checkpoint: ReadCheckpoint<'a>,
    /// The dataset.
    pub dataset: ReadDataset<'a>,
    /// The devices.
    pub devices: FindDevices<'a>,
    /// Host memory in bytes, where known.
    pub host_memory: Option<u64>,
    /// What was measured before on a card.
    pub calibration: &'a dyn Fn(&str) -> Result<Calibration>,
}

/// A plan with what is known about it.
pub struct Planned {
    /// What it was made from.
    pub case: Case,
    /// The plan.
    pub plan: Plan,
    /// Its forecast.
    pub forecast: Forecast,
    /// What there is to say about it.
    pub findings: Vec<Finding>,
    /// The layout's name as it was asked for.
    pub layout: String,
}

impl Planned {
    /// As JSON.
    pub fn to_json(&self) -> serde_json::Value {
        report::to_json(&self.case, &self.plan, &self.forecast, &self.findings, &self.layout)
    }
}

/// Runs the command, writing to `out`. Returns the exit code: 0, whether or not the plan fits.
///
/// # Errors
/// Anything named on the command line cannot be read or makes no sense.
pub fn run(args: &PlanArgs, sources: &Sources<'_>, out: &mut dyn Write) -> Result<u8> {
    run_with_links(args, sources, &|_| Links::default(), out)
}

/// The same where the ways between devices are known.
///
/// # Errors
/// As [`run`].
pub fn run_with_links(
    args: &PlanArgs,
    sources: &Sources<'_>,
    links: FindLinks<'_>,
    out: &mut dyn Write,
) -> Result<u8> {
    let text = if args.list {
        plan_text::catalogue(args.json)
    } else {
        let case = case(args, sources, links)?;
        if args.needs {
            let needs = needs::needs(&case);
            if args.json {
                pretty(&serde_json::json!({"model": case.model.shape.name, "needs": needs}))
            } else {
                plan_text::needs(&case, &needs)
            }
        } else if args.replicas {
            let choices = replicas::choices(&case)?;
            if args.json {
                pretty(&serde_json::json!({"model": case.model.shape.name, "replicas": choices}))
            } else {
                plan_text::replicas(&case, &choices)
            }
        } else if args.compare {
            compare(args, &case)?
        } else {
            let planned = make(args, case)?;
            if let Some(file) = &args.hf_device_map {
                let map = DeviceMap::of(&planned.plan, &planned.case.model).to_json();
                std::fs::write(file, pretty(&map))
                    .map_err(|e| Problem::io("write the device map", file, &e))?;
            }
            let export = args.export.map(|form| Export::of(form, &planned)).transpose()?;
            if let (Some(export), Some(file)) = (&export, &args.out) {
                std::fs::write(file, format!("{}\n", export.text.trim_end()))
                    .map_err(|e| Problem::io("write the map", file, &e))?;
            }
            let name = args.checkpoint.as_deref().unwrap_or_default();
            let launch = args.launch.map(|server| launch(server, &planned.case, &planned.plan, name));
            let launch = launch.transpose()?;
            if args.json {
                let mut json = planned.to_json();
                if let Some(launch) = launch {
                    json["launch"] = launch.to_json();
                }
                if let Some(export) = export {
                    json["export"] = export.to_json();
                }
                pretty(&json)
            } else if let Some(launch) = launch {
                launch.text()
            } else {
                if let Some(unsaid) = export.as_ref().and_then(|export| export.unsaid.as_ref()) {
                    say(format!("note: {unsaid}"));
                }
                match export {
                    Some(export) if args.out.is_none() => export.text,
                    _ => plan_text::plan(&planned),
                }
            }
        }
    };
    writeln!(out, "{}", text.trim_end())
        .map_err(|e| Problem::new(format!("cannot write to standard output: {e}")))?;
    Ok(0)
}

/// A plan as another tool reads it.
struct Export {
    form: Form,
    text: String,
    /// What the form has no words for.
    unsaid: Option<String>,
}

impl Export {
    fn of(form: Form, planned: &Planned) -> Result<Self> {
        let (plan, case) = (&planned.plan, &planned.case);
        let text = form.write(plan, case).map_err(|problem| problem.at(format!("--export {form}")))?;
        let unsaid = form.unsaid(&text, plan, case);
        Ok(Self { form, text, unsaid })
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "form": self.form.name(), "text": self.text, "unsaid": self.unsaid })
    }
}

fn engine(text: &str) -> std::result::Result<Engine, String> {
    let threads = match text.split_once(':') {
        None if text == "gpu" => return Ok(Engine::Gpu),
        None if text == "cpu" => rayon::current_num_threads(),
        Some(("cpu", threads)) => crate::cli::at_most(1024, threads)?,
        _ => return Err("write gpu, cpu or cpu:THREADS".into()),
    };
    Ok(crate::evaluation::placing::on_the_cpu(threads))
}

fn size(text: &str) -> std::result::Result<u64, String> {
    crate::plan::bytes::parse(text).map_err(|problem| problem.to_string())
}

fn form(text: &str) -> std::result::Result<Form, String> {
    text.parse().map_err(|problem: Problem| problem.to_string())
}

fn server(text: &str) -> std::result::Result<Server, String> {
    text.parse().map_err(|problem: Problem| problem.to_string())
}

fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn case(args: &PlanArgs, sources: &Sources<'_>, links: FindLinks<'_>) -> Result<Case> {
    let name = args.checkpoint.as_deref().unwrap_or_default();
    let facts = (sources.checkpoint)(name)?;
    let mut assumptions = assumptions(args)?;
    if args.dtype == "auto" {
        let stored = facts.shape.stored;
        assumptions.dtype = Sourced { value: stored, source: crate::plan::Source::Checkpoint };
    }
    let devices = (sources.devices)(&DeviceSpec::parse(&args.devices)?)?;
    let workload = match &args.dataset {
        Some(dataset) => Workload::new((sources.dataset)(dataset, &facts, args)?),
        None => one_image(&facts.shape, args),
    };
    let model = Model::new(facts.shape, assumptions.dtype.value, facts.unit_bytes.as_ref());
    let links = links(&devices).among(&devices);
    let mut case = Case::new(model, devices, assumptions, workload);
    case.links = links;
    if let Some(bytes) = sources.host_memory {
        case.host_memory = bytes;
    }
    let card = case.devices.iter().find_map(|device| device.card.clone().filter(|_| device.is_gpu()));
    if let Some(card) = card {
        case = case.with_calibration((sources.calibration)(&card)?);
    }
    Ok(case)
}

/// Without a dataset: one image at its most tiles, its thumbnail, and two hundred tokens of text, unless the options say
/// otherwise.
fn one_image(shape: &ModelShape, args: &PlanArgs) -> Workload {
    let limit = args.max_tiles.map_or(shape.max_tiles, u64::from);
    let most = if shape.vision.is_none() { 0 } else { limit + u64::from(limit > 1) };
    let tiles = args.tiles.unwrap_or(most);
    let tokens = tiles.saturating_mul(shape.tokens_per_tile).saturating_add(200);
    Workload::assumed(tiles, args.prompt_tokens.unwrap_or(tokens))
}

fn assumptions(args: &PlanArgs) -> Result<Assumptions> {
    let mut assumptions = Assumptions::default();
    let some = |n: u64| (n > 0).then_some(n);
    if args.dtype != "auto" {
        assumptions.dtype = Sourced::chosen(Dtype::parse(&args.dtype)?);
    }
    if let Some(tokens) = args.max_new_tokens {
        assumptions.max_new_tokens = Sourced::chosen(tokens);
    }
    if let Some(batch) = args.batch {
        assumptions.in_flight = Sourced::chosen(batch);
    }
    if let Some(tiles) = args.tile_batch {
        assumptions.tile_batch = Sourced::chosen(some(tiles));
    }
    if let Some(tokens) = args.prefill_chunk {
        assumptions.prefill_chunk = Sourced::chosen(some(tokens));
    }
    if let Some(attention) = &args.attention {
        assumptions.attention = Sourced::chosen(match attention.as_str() {
            "fused" => AttentionKind::Fused,
            "eager" => AttentionKind::Eager,
            rows => AttentionKind::Chunked(rows.parse().ok().filter(|&rows| rows > 0).ok_or_else(|| {
                Problem::new(format!("{rows:?} is no way to hold attention scores"))
                    .fix("use fused, eager or a number of rows")
            })?),
        });
    }
    if let Some(logits) = &args.logits {
        assumptions.logits = Sourced::chosen(if logits == "all" { Logits::All } else { Logits::Last });
    }
    if let Some(engine) = args.temporary {
        assumptions.engine = Sourced::chosen(engine);
    }
    if let Some(overhead) = args.overhead {
        assumptions.overhead = Sourced::chosen(Some(overhead));
    }
    if let Some(simulated) = &args.simulated {
        assumptions.nominal_cards = Sourced::chosen(simulated == "card");
    }
    if let Some(tied) = &args.tied_head {
        assumptions.duplicate_tied_head = Sourced::chosen(tied == "copied");
    }
    Ok(assumptions)
}

/// The plan that the options ask for: a layout by name, a file, or a map to judge.
fn make(args: &PlanArgs, case: Case) -> Result<Planned> {
    let asked = presets::auto_split(std::env::var("AUTO_SPLIT").ok().as_deref());
    let wanted = args.layout.as_deref().unwrap_or_else(|| asked.unwrap_or(Layout::Auto).name());
    let map = match &args.check {
        Some(check) => Some(map(check)?.ok_or_else(|| {
            Problem::new("there is no such file, and it is no map itself")
                .at(format!("--check {}", short(check)))
                .fix(NAMES)
        })?),
        None if Layout::parse(wanted).is_ok() => None,
        None => Some(map(wanted)?.ok_or_else(|| no_layout(wanted))?),
    };
    if let Some(map) = map {
        let case = match args.assume.as_deref() {
            Some("released") => case.with_assumptions(case.assumptions.clone().as_released()),
            _ => case,
        };
        let read = exchange::read(&map.text, &case).map_err(|problem| map.about(problem))?;
        let exchange::Read { plan, forecast, findings, .. } = read;
        return Ok(Planned { case, plan, forecast, findings, layout: "custom".into() });
    }
    let layout = Layout::parse(wanted)?;
    by_layout(args, &case, layout)
}

/// What a person names as a map.
fn map(name: &str) -> Result<Option<NamedMap>> {
    match name {
        "-" => NamedMap::on_standard_input().map(Some),
        name => NamedMap::find(name),
    }
}

/// A layout judged by the habits of the software it comes from, unless the options say otherwise.
fn by_layout(args: &PlanArgs, case: &Case, layout: Layout) -> Result<Planned> {
    let released = match args.assume.as_deref() {
        Some("released") => true,
        Some(_) => false,
        None => layout.is_from_pytorch(),
    };
    let case =
        if released { case.with_assumptions(case.assumptions.clone().as_released()) } else { case.clone() };
    let plan = if layout == Layout::Auto {
        planner::ours(&case, &wishes(args, &case)?)?
    } else {
        planner::plan(&case, layout)?
    };
    let forecast = Forecaster::new(&case).forecast(&plan);
    let findings = checks::check(&case, &plan, &forecast);
    Ok(Planned { case, plan, forecast, findings, layout: layout.name().into() })
}

fn wishes(args: &PlanArgs, case: &Case) -> Result<Wishes> {
    let mut pins = Vec::new();
    for pin in &args.pin {
        let refuse = |what: String| {
            Problem::new(what).at(format!("--pin {pin}")).fix("write UNIT=DEVICE, for example mlp1=sim:0")
        };
        let (unit, device) = pin.split_once('=').ok_or_else(|| refuse("that is no pin".into()))?;
        let unit =
            case.model.by_name(unit.trim()).ok_or_else(|| refuse(format!("there is no unit {unit:?}")))?;
        let place = case.devices.iter().position(|d| d.name == device.trim());
        pins.push((unit, place.ok_or_else(|| refuse(format!("there is no device {device:?}")))?));
    }
    Ok(Wishes {
        goal: if args.goal == "fewest-gpus" { Goal::FewestGpus } else { Goal::Safest },
        vision: match args.vision.as_str() {
            "whole" => VisionChoice::Whole,
            "alone" => VisionChoice::Alone,
            _ => VisionChoice::Free,
        },
        head: HeadChoice::Free,
        pins,
        ..Wishes::default()
    })
}

fn compare(args: &PlanArgs, case: &Case) -> Result<String> {
    let mut rows = Vec::new();
    for layout in Layout::COMPARED {
        // Every layout run by Shardscope, and by the software it comes from.
        let here = by_layout(&PlanArgs { assume: Some("shardscope".into()), ..args.clone() }, case, layout);
        let there = layout
            .is_from_pytorch()
            .then(|| {
                by_layout(&PlanArgs { assume: Some("released".into()), ..args.clone() }, case, layout).ok()
            })
            .flatten();
        rows.push((layout, here, there));
    }
    if args.json {
        let entry = |planned: &Planned| planned.to_json();
        let list: Vec<serde_json::Value> = rows
            .iter()
            .map(|(layout, here, there)| match here {
                Ok(here) => serde_json::json!({
                    "layout": layout.name(), "plan": entry(here), "as_released": there.as_ref().map(entry),
                }),
                Err(problem) => serde_json::json!({"layout": layout.name(), "refused": problem.to_string()}),
            })
            .collect();
        return Ok(pretty(&serde_json::json!({"model": case.model.shape.name, "layouts": list})));
    }
    Ok(plan_text::comparison(case, &rows))
}

#[cfg(test)]
mod tests;
