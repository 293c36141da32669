//! Where the units of a run lie: from a SPEC and a layout to a plan, and from a plan to places for the engine.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::named_map::{NAMES, NamedMap, short};
use crate::checkpoint::{Checkpoint, UnitKind};
use crate::devices::{Driver, find, host};
use crate::engine::Forecasting;
use crate::model::host::Blocks;
use crate::model::{Place, Placement, WeightType, weights};
use crate::plan::bytes::human;
use crate::plan::checks::Severity;
use crate::plan::spec::DeviceSpec;
use crate::plan::{
    Assumptions, Calibration, Case, DeviceKind, Dtype, Engine, Layout, Model, ModelShape, Plan, QuestionCost,
    Source, Sourced, Workload, exchange, planner,
};
use crate::problem::said;
use crate::session::manifest::{DeviceRecord, LayoutRecord};
use crate::{Problem, Result};

/// Shape and true unit sizes of a checkpoint, as the planner wants them.
///
/// # Errors
/// A configuration that is not InternVL's.
pub fn facts(checkpoint: &Checkpoint) -> Result<(ModelShape, BTreeMap<String, u64>)> {
    let config = checkpoint.folder.json("config.json")?.unwrap_or_default();
    let mut shape = ModelShape::from_config(&config)?;
    shape.name = checkpoint.name();
    let unit_bytes = checkpoint.units.iter().map(|unit| (unit.name.clone(), unit.bytes())).collect();
    Ok((shape, unit_bytes))
}

/// What a person chose that decides where units lie.
pub struct Wanted<'a> {
    /// The model.
    pub checkpoint: &'a Checkpoint,
    /// In which type its weights are held.
    pub weight_type: WeightType,
    /// Devices, as the SPEC of the command line.
    pub devices: &'a str,
    /// Layout, by name or file.
    pub layout: &'a str,
    /// How questions are asked, as far as it decides what is held; the number format is filled in here.
    pub assumptions: Assumptions,
    /// What was measured before on the device of a name (a card's, or `cpu`).
    pub calibration: &'a dyn Fn(&str) -> Result<Calibration>,
}

/// A plan that can be run.
pub struct Placing {
    /// The plan with what it was made from.
    pub forecasting: Forecasting,
    /// What there is to know about it before the run.
    pub notes: Vec<Problem>,
    layout: String,
    placement: Placement,
}

impl Placing {
    /// Makes a plan for each copy of the model, the devices dealt out among them from the largest down and back, so that
    /// unequal ones are shared evenly. `costs` reads what the questions ask for, which takes a while and is called only
    /// where a plan depends on it.
    ///
    /// # Errors
    /// Devices that are not there or are fewer than the copies, a layout that is none, does not cover the model or names
    /// other devices, or weights that do not fit where it puts them.
    pub fn new(
        wanted: Wanted<'_>,
        copies: usize,
        costs: &mut dyn FnMut() -> Vec<QuestionCost>,
    ) -> Result<Vec<Self>> {
        let spec = spec(wanted.devices)?;
        let mut devices = found(&spec)?;
        let case = case(&wanted, devices.clone(), &spec, costs)?;
        if copies <= 1 {
            return Ok(vec![Self::of(&wanted, case)?]);
        }
        if devices.len() < copies {
            return Err(Problem::new(format!(
                "{copies} copies need {copies} devices, but there are {}",
                devices.len()
            ))
            .at(format!("--replicas {copies}"))
            .fix("ask for fewer copies, or name more devices with --devices"));
        }
        devices.sort_by_key(|device| std::cmp::Reverse(device.usable()));
        let mut groups = vec![Vec::new(); copies];
        for (index, device) in devices.into_iter().enumerate() {
            let (round, at) = (index / copies, index % copies);
            groups[if round % 2 == 0 { at } else { copies - 1 - at }].push(device);
        }
        groups.into_iter().map(|group| Self::of(&wanted, case.with_devices(group))).collect()
    }

    fn of(wanted: &Wanted<'_>, case: Case) -> Result<Self> {
        let mut notes = Vec::new();
        let (plan, layout) = laid_out(&case, wanted.layout, &mut notes)?;
        let units = &wanted.checkpoint.units;
        if plan.assignment.len() != units.len() {
            return Err(Problem::new(format!(
                "the plan places {} units, but the checkpoint has {}",
                plan.assignment.len(),
                units.len()
            ))
            .at(format!("--layout {}", short(wanted.layout))));
        }
        refuse_what_cannot_run(&case, &plan, wanted.layout)?;
        if case.workload.questions.len() > 1 || plan.devices.len() > 1 {
            notes.extend(what_may_not_fit(&case, &plan));
        }
        let case = with_threads_of_a_place(case, &plan);
        let places = places(&case, &plan)?;
        let of = units.iter().map(|unit| unit.name.clone()).zip(plan.assignment.iter().copied()).collect();
        let placement = Placement::new(places, of)?;
        Ok(Self { forecasting: Forecasting { case, plan }, notes, layout, placement })
    }

    /// The places of the units.
    pub fn placement(&self) -> Placement {
        self.placement.clone()
    }

    /// What the manifest keeps: the layout with every unit's device, and the devices.
    pub fn record(&self, checkpoint: &Checkpoint) -> (LayoutRecord, Vec<DeviceRecord>) {
        let Forecasting { case, plan } = &self.forecasting;
        let name = |device: &usize| plan.devices.get(*device).map(|d| d.name.as_str()).unwrap_or_default();
        let units = checkpoint.units.iter().zip(&plan.assignment);
        let assignment: Map<String, Value> =
            units.map(|(unit, device)| (unit.name.clone(), json!(name(device)))).collect();
        let usable = case.usable(&plan.devices);
        let devices = plan.devices.iter().zip(usable).map(|(device, usable)| DeviceRecord {
            name: device.name.clone(),
            model: match (&device.card, device.kind) {
                (Some(card), _) => card.clone(),
                (None, DeviceKind::Simulated) => "simulated".into(),
                (None, _) => String::new(),
            },
            uuid: device.uuid.clone(),
            total_bytes: device.capacity,
            other: Map::from_iter([("usable_bytes".to_owned(), json!(usable))]),
        });
        (LayoutRecord { name: self.layout.clone(), assignment }, devices.collect())
    }

    /// The devices, in a word for the person who waits: `cpu`, `sim:0 to sim:3`.
    pub fn devices(&self) -> String {
        let names: Vec<&str> = self.forecasting.plan.devices.iter().map(|d| d.name.as_str()).collect();
        match names.as_slice() {
            [] => String::new(),
            [one] => (*one).to_owned(),
            [first, .., last] => format!("{first} to {last}"),
        }
    }
}

/// Reads a SPEC, as far as this build can follow it.
pub(super) fn spec(text: &str) -> Result<DeviceSpec> {
    let spec = DeviceSpec::parse(text)?;
    match spec {
        DeviceSpec::Cuda(_) if !cfg!(feature = "cuda") => Err(Problem::new("this build has no CUDA")
            .at(format!("--devices {text}"))
            .fix("build with `--features cuda`, or choose --devices cpu")),
        DeviceSpec::Auto if !cfg!(feature = "cuda") => Ok(DeviceSpec::Cpu),
        spec => Ok(spec),
    }
}

/// The devices that a SPEC means.
pub(super) fn found(spec: &DeviceSpec) -> Result<Vec<crate::plan::Device>> {
    match spec {
        DeviceSpec::Simulated(devices) => Ok(devices.clone()),
        DeviceSpec::Cpu => Ok(vec![find::cpu()]),
        spec => find::devices(spec, &Driver::open()),
    }
}

/// What a plan for these devices is made from.
pub(super) fn case(
    wanted: &Wanted<'_>,
    devices: Vec<crate::plan::Device>,
    spec: &DeviceSpec,
    costs: &mut dyn FnMut() -> Vec<QuestionCost>,
) -> Result<Case> {
    let (shape, unit_bytes) = facts(wanted.checkpoint)?;
    let mut assumptions = wanted.assumptions.clone();
    assumptions.dtype = match wanted.weight_type {
        WeightType::Stored => Sourced { value: shape.stored, source: Source::Checkpoint },
        WeightType::Cast(dtype) => Sourced::chosen(Dtype::parse(dtype.as_str())?),
        WeightType::Blocks(Blocks::Q8_0) => Sourced::chosen(Dtype::Q8_0),
        WeightType::Blocks(Blocks::Q4_0) => Sourced::chosen(Dtype::Q4_0),
        WeightType::Blocks(Blocks::Q4k) => Sourced::chosen(Dtype::Q4k),
    };
    let on_cpu = devices.iter().all(|device| matches!(device.kind, DeviceKind::Cpu | DeviceKind::Simulated));
    let mut model = Model::new(shape, assumptions.dtype.value, Some(&unit_bytes));
    if on_cpu {
        let used = wanted.checkpoint.config.vision.used_layers;
        // Vision blocks behind the one whose output is used are not loaded.
        let held = wanted.checkpoint.units.iter().map(|unit| match unit.kind {
            UnitKind::VisionBlock if unit.index >= used => 0,
            _ => weights::held_bytes(unit, wanted.weight_type),
        });
        model = model.held_on_the_cpu(&held.collect::<Vec<_>>());
        assumptions.engine = Sourced::default(on_the_cpu(rayon::current_num_threads()));
    }
    let workload = match spec {
        // One place holds everything whatever the questions are.
        DeviceSpec::Cpu => Workload::new(Vec::new()),
        _ => Workload::new(costs()),
    };
    let card = devices.first().map_or("cpu", |device| device.learnt_as());
    let calibration = (wanted.calibration)(card)?;
    let mut case = Case::new(model, devices, assumptions, workload).with_calibration(calibration);
    if let Some((total, _)) = host::memory() {
        case.host_memory = total;
    }
    Ok(case)
}

/// How this engine computes on the CPU, and so on simulated devices, with so many threads.
pub fn on_the_cpu(threads: usize) -> Engine {
    Engine::Cpu { threads: threads.max(1) as u64 }
}

/// The same case where the CPU's threads are shared out among the devices of a plan, as the engine does.
fn with_threads_of_a_place(case: Case, plan: &Plan) -> Case {
    let Engine::Cpu { threads } = case.assumptions.engine.value else { return case };
    let used = (0..plan.devices.len()).filter(|device| plan.assignment.contains(device)).count() as u64;
    let each = Engine::Cpu { threads: (threads / used.max(1)).max(1) };
    case.with_assumptions(Assumptions { engine: Sourced::default(each), ..case.assumptions.clone() })
}

/// The plan of a layout by name or file, and what it is called.
fn laid_out(case: &Case, layout: &str, notes: &mut Vec<Problem>) -> Result<(Plan, String)> {
    let place = format!("--layout {}", short(layout));
    let named = match Layout::parse(layout) {
        Ok(named) => named,
        Err(_) => {
            let map = NamedMap::find(layout)?.ok_or_else(|| no_layout(layout))?;
            let read = exchange::read(&map.text, case).map_err(|problem| map.about(problem))?;
            let stops = |code: &str| matches!(code, "uncovered-unit" | "absent-device");
            for finding in read.findings {
                let problem = Problem::new(finding.message).at(&place);
                match finding.severity {
                    Severity::Error if stops(finding.code) => {
                        return Err(
                            problem.fix("name a device for every module, of those that --devices gives")
                        );
                    }
                    // What does not fit, or cannot be run, is said once and for any layout.
                    Severity::Error => {}
                    _ if matches!(finding.code, "unknown-key" | "covered-twice" | "phantom-layer") => {
                        notes.push(problem);
                    }
                    _ => {}
                }
            }
            return Ok((read.plan, recorded(layout)));
        }
    };
    let plan = planner::plan(case, named).map_err(|problem| problem.at(&place))?;
    Ok((plan, named.name().to_owned()))
}

/// A layout that is neither a name nor a file nor a map itself.
pub(crate) fn no_layout(layout: &str) -> Problem {
    let names: Vec<&str> = Layout::NAMED.iter().map(|layout| layout.name()).collect();
    Problem::new("there is no such layout")
        .at(format!("--layout {}", short(layout)))
        .fix(format!("use {}; or {NAMES}", names.join(", ")))
}

/// What the manifest calls a layout that has no name: as it was written, where that is short enough to be read.
fn recorded(layout: &str) -> String {
    let is_short = layout.len() <= 200 && !layout.contains('\n');
    if is_short { layout.to_owned() } else { Layout::Custom.name().to_owned() }
}

/// Refuses plans that no question could be answered under.
fn refuse_what_cannot_run(case: &Case, plan: &Plan, layout: &str) -> Result<()> {
    let place = format!("--layout {}", short(layout));
    if let Some(split) = plan.splits.first() {
        let unit = case.model.units.get(split.unit).map(|unit| unit.name.as_str()).unwrap_or_default();
        return Err(Problem::new(format!(
            "it cuts {unit} in two ({} lies on another device), which this engine does not run",
            split.module
        ))
        .at(place)
        .fix("choose another layout, or give the device map with whole blocks as a file"));
    }
    let disk = |device: &usize| plan.devices.get(*device).is_some_and(|d| d.kind == DeviceKind::Disk);
    if let Some(unit) = plan.assignment.iter().position(disk) {
        let unit = case.model.units.get(unit).map(|unit| unit.name.as_str()).unwrap_or_default();
        return Err(Problem::new(format!("it leaves {unit} on the disk, which this engine does not run"))
            .at(place)
            .fix("choose larger devices or another layout"));
    }
    let usable = case.usable(&plan.devices);
    for ((holding, device), usable) in plan.holdings(&case.costs).iter().zip(&plan.devices).zip(usable) {
        if device.is_gpu() && holding.weights > usable {
            return Err(Problem::new(format!(
                "the weights that it puts on {} take {}, but {} can hold {}",
                device.name,
                human(holding.weights),
                device.name,
                human(usable)
            ))
            .at(place)
            .fix("choose larger devices or more of them, another layout, or a smaller --dtype"));
        }
    }
    Ok(())
}

/// Questions that the forecast gives no hope, as a note: they are asked all the same.
fn what_may_not_fit(case: &Case, plan: &Plan) -> Option<Problem> {
    let forecast = crate::plan::Forecaster::new(case).forecast(plan);
    let [_, _, over] = forecast.counts;
    (over > 0).then(|| {
        Problem::new(format!(
            "{over} of {} questions may not fit if their answers grow to {} tokens; they are asked all the same, in \
             smaller steps, and counted apart if memory does not last",
            case.workload.questions.len(),
            case.costs.answer_limit()
        ))
        .fix("choose larger devices or more of them, or allow shorter answers with --max-new-tokens")
    })
}

/// The places of a plan's devices.
fn places(case: &Case, plan: &Plan) -> Result<Vec<Place>> {
    let usable = case.usable(&plan.devices);
    let place = |(device, usable): (&crate::plan::Device, u64)| match device.kind {
        DeviceKind::Simulated => Place::simulated(device.name.clone(), usable),
        DeviceKind::Cpu | DeviceKind::Disk => Place::metered_cpu(),
        DeviceKind::Cuda => {
            let ordinal = device.name.rsplit(':').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            Place::cuda(device.name.clone(), ordinal).map_err(|e| {
                Problem::new(format!("this device cannot be used: {}", said(&e)))
                    .at(&device.name)
                    .fix("choose another device, or --devices cpu")
            })
        }
    };
    plan.devices.iter().zip(usable).map(place).collect()
}
