//! A plan as the command that starts another engine the same way: vLLM, SGLang, LMDeploy, llama.cpp; and in plain words
//! what of the plan such a command cannot say.
//!
//! How each engine cuts layers into stages, after their sources: vLLM reads `VLLM_PP_LAYER_PARTITION` and SGLang
//! `SGLANG_PP_LAYER_PARTITION`, one number of layers for each rank (`get_pp_indices` of both); LMDeploy has no stages;
//! llama.cpp gives layer `i` of `n` to the first device whose cumulated share exceeds `i / (n + 1)`, the output being the
//! last of the `n + 1`, so that numbers of layers are shares that say exactly what is meant.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::assumptions::Dtype;
use super::bytes;
use super::layout::Plan;
use super::planner::Case;
use super::presets;
use super::unit::UnitKind;
use crate::{Problem, Result};

/// An engine that serves models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Server {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// LMDeploy.
    Lmdeploy,
    /// llama.cpp's `llama-server`.
    LlamaCpp,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Vllm, Self::Sglang, Self::Lmdeploy, Self::LlamaCpp];

    /// The name by which it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Lmdeploy => "lmdeploy",
            Self::LlamaCpp => "llama.cpp",
        }
    }

    /// The port at which it listens.
    fn port(self) -> u16 {
        match self {
            Self::Vllm => 8000,
            Self::Sglang => 30000,
            Self::Lmdeploy => 23333,
            Self::LlamaCpp => 8080,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Server {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self> {
        let wanted = text.trim().to_ascii_lowercase();
        let known = Self::ALL.into_iter().find(|server| server.name() == wanted);
        known.or_else(|| (wanted == "llamacpp").then_some(Self::LlamaCpp)).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Problem::new(format!("there are no launch commands for {text:?}")).fix(format!("use {names}"))
        })
    }
}

/// What is typed on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The machine; nothing where there is one.
    pub host: Option<String>,
    /// Its commands, in order.
    pub lines: Vec<String>,
}

/// The commands of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The engine.
    pub server: Server,
    /// What is typed where.
    pub scripts: Vec<Script>,
    /// How the model is then evaluated.
    pub evaluate: String,
    /// What of the plan the commands cannot say, a sentence each.
    pub cannot: Vec<String>,
    /// What else is good to know, a sentence each.
    pub notes: Vec<String>,
}

/// Consecutive decoder layers on one GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stage {
    device: usize,
    layers: u64,
}

/// What all engines need to know of a plan.
struct Facts<'a> {
    case: &'a Case,
    plan: &'a Plan,
    checkpoint: &'a str,
    /// In the order of execution, one for each GPU that has layers.
    stages: Vec<Stage>,
    /// The machines in the order in which stages come to them, each with its stages.
    hosts: Vec<(Option<String>, Vec<Stage>)>,
    cannot: Vec<String>,
}

/// The commands that start an engine as a plan says. `checkpoint` is what the engine is to load.
///
/// # Errors
/// No decoder layer of the plan lies on a GPU.
pub fn launch(server: Server, case: &Case, plan: &Plan, checkpoint: &str) -> Result<Launch> {
    let facts = Facts::new(case, plan, checkpoint)?;
    Ok(match server {
        Server::Vllm => vllm(facts),
        Server::Sglang => sglang(facts),
        Server::Lmdeploy => lmdeploy(facts),
        Server::LlamaCpp => llama_cpp(facts),
    })
}

impl<'a> Facts<'a> {
    fn new(case: &'a Case, plan: &'a Plan, checkpoint: &'a str) -> Result<Self> {
        let units = case.model.units.iter().zip(&plan.assignment);
        let mut cannot = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        let (mut torn, mut on_host) = (false, 0);
        let mut last = None;
        for (_, &device) in units.filter(|(unit, _)| matches!(unit.kind, UnitKind::Layer(_))) {
            if !plan.devices.get(device).is_some_and(super::Device::is_gpu) {
                on_host += 1;
                continue;
            }
            match stages.iter_mut().find(|stage| stage.device == device) {
                Some(stage) => {
                    torn |= last != Some(device);
                    stage.layers += 1;
                }
                None => stages.push(Stage { device, layers: 1 }),
            }
            last = Some(device);
        }
        if stages.is_empty() {
            return Err(presets::no_gpu("a launch command"));
        }
        if torn {
            cannot.push(
                "A GPU of the plan holds layers that do not follow one another; here each GPU gets one run of layers, \
                 as many as in the plan."
                    .into(),
            );
        }
        if on_host > 0 {
            cannot.push(format!("{on_host} layers of the plan lie on the CPU."));
        }
        if !plan.splits.is_empty() {
            cannot.push("Modules that the plan cuts from their layer stay with it.".into());
        }
        let mut hosts: Vec<(Option<String>, Vec<Stage>)> = Vec::new();
        for &stage in &stages {
            let name = plan.devices[stage.device].host.as_ref().map(|host| host.name.clone());
            match hosts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, own)) => own.push(stage),
                None => hosts.push((name, vec![stage])),
            }
        }
        let by_host: Vec<usize> = hosts.iter().flat_map(|(_, own)| own.iter().map(|s| s.device)).collect();
        if stages.iter().map(|stage| stage.device).ne(by_host.iter().copied()) {
            cannot.push(
                "The plan's stages go from one machine to another and back; engines number their GPUs machine by machine."
                    .into(),
            );
            stages = hosts.iter().flat_map(|(_, own)| own.iter().copied()).collect();
        }
        Ok(Self { case, plan, checkpoint, stages, hosts, cannot })
    }

    /// The device of a unit.
    fn device_of(&self, kind: UnitKind) -> Option<usize> {
        self.plan.assignment.get(self.case.model.position(kind)?).copied()
    }

    /// Weights of the units of a sort, in bytes.
    fn bytes_of(&self, wanted: impl Fn(UnitKind) -> bool) -> u64 {
        let units = self.case.model.units.iter().filter(|unit| wanted(unit.kind));
        units.fold(0, |sum, unit| sum.saturating_add(unit.weight_bytes))
    }

    /// Layers of each stage.
    fn partition(&self) -> String {
        self.stages.iter().map(|stage| stage.layers.to_string()).collect::<Vec<_>>().join(",")
    }

    /// The numbers by which a machine knows the GPUs of its stages, in their order.
    fn visible(&self, stages: &[Stage]) -> String {
        let number = |stage: &Stage| {
            let device = &self.plan.devices[stage.device];
            let own: Vec<usize> = presets::gpus(&self.plan.devices)
                .into_iter()
                .filter(|&gpu| self.plan.devices[gpu].host == device.host)
                .collect();
            match device.host {
                Some(_) => own.iter().position(|&gpu| gpu == stage.device).unwrap_or(0),
                None => presets::ordinal(&self.plan.devices, stage.device).unwrap_or(0),
            }
        };
        stages.iter().map(|stage| number(stage).to_string()).collect::<Vec<_>>().join(",")
    }

    /// Tokens of the longest prompt and answer together.
    fn context(&self) -> u64 {
        self.case
            .workload
            .longest_prompt()
            .saturating_add(self.case.assumptions.max_new_tokens.value)
            .next_multiple_of(256)
    }

    fn in_flight(&self) -> u64 {
        self.case.assumptions.in_flight.value
    }

    fn dtype(&self) -> Option<&'static str> {
        match self.case.model.dtype {
            Dtype::Bf16 => Some("bfloat16"),
            Dtype::F16 => Some("float16"),
            Dtype::F32 => Some("float32"),
            _ => None,
        }
    }

    fn is_spread(&self) -> bool {
        self.hosts.len() > 1
    }

    /// How many GPUs could share every layer evenly.
    fn tensor_size(&self, gpus: u64) -> u64 {
        let decoder = &self.case.model.shape.decoder;
        let fits = |&size: &u64| {
            size <= gpus && decoder.heads.is_multiple_of(size) && decoder.kv_heads.is_multiple_of(size)
        };
        (0..8).map(|power| 1 << power).filter(fits).max().unwrap_or(1)
    }

    /// A note on engines that can also share each layer among the GPUs of a machine.
    fn tensor_note(&self, tensor: &str, pipeline: &str) -> Option<String> {
        let each = self.hosts[0].1.len() as u64;
        let capacity = self.plan.devices[self.stages[0].device].capacity;
        let alike = self.hosts.iter().all(|(_, own)| own.len() as u64 == each)
            && self.stages.iter().all(|stage| self.plan.devices[stage.device].capacity == capacity);
        (each > 1 && alike && self.tensor_size(each) == each).then(|| {
            format!(
                "The GPUs of a machine are alike and {each} of them can share each layer: {tensor} {each} {pipeline} {} is \
                 often faster than stages, where they are well linked.",
                self.hosts.len()
            )
        })
    }

    /// What engines with ranks do with all that is no layer.
    fn say_ends(&mut self, engine: &str, vision_on_all: bool) {
        let (Some(first), Some(last)) = (self.stages.first().copied(), self.stages.last().copied()) else {
            return;
        };
        let vision = self.bytes_of(UnitKind::is_vision);
        let holders: Vec<usize> = {
            let units = self.case.model.units.iter().zip(&self.plan.assignment);
            let mut holders: Vec<usize> =
                units.filter(|(unit, _)| unit.kind.is_vision()).map(|(_, &device)| device).collect();
            holders.dedup();
            holders
        };
        if vision > 0 && holders != [first.device] {
            let cut =
                if holders.len() > 1 { "cuts the vision tower" } else { "has the vision tower elsewhere" };
            self.cannot.push(format!(
                "The plan {cut}; {engine} runs it whole on the first rank ({}).",
                bytes::human(vision)
            ));
        }
        if vision > 0 && vision_on_all && self.stages.len() > 1 {
            self.cannot.push(format!(
                "{engine} loads the vision tower on every rank: {} more on each of the others than the plan counts.",
                bytes::human(vision)
            ));
        }
        let idle = presets::gpus(&self.plan.devices)
            .into_iter()
            .filter(|gpu| self.plan.assignment.contains(gpu) && !self.stages.iter().any(|s| s.device == *gpu))
            .count();
        if idle > 0 {
            self.cannot.push(format!(
                "{idle} GPUs of the plan hold no decoder layer; {engine} has no stage without one, so they are not used."
            ));
        }
        if self.device_of(UnitKind::TokenEmbedding).is_some_and(|device| device != first.device) {
            self.cannot.push(format!(
                "{engine} keeps the token embedding on the first rank; the plan has it elsewhere."
            ));
        }
        if self.device_of(UnitKind::Head).is_some_and(|device| device != last.device) {
            self.cannot.push(format!("{engine} keeps the head on the last rank; the plan has it elsewhere."));
        }
        self.say_weights(vision, vision_on_all);
    }

    /// Ranks whose weights alone would be too much.
    fn say_weights(&mut self, vision: u64, vision_on_all: bool) {
        let mut layers = self.case.model.units.iter().filter(|unit| matches!(unit.kind, UnitKind::Layer(_)));
        let projector = self.bytes_of(|kind| kind == UnitKind::Projector);
        let mut over = Vec::new();
        for (rank, stage) in self.stages.iter().enumerate() {
            let own = layers.by_ref().take(stage.layers as usize);
            let mut held = own.fold(0u64, |sum, unit| sum.saturating_add(unit.weight_bytes));
            if rank == 0 || vision_on_all {
                held = held.saturating_add(vision).saturating_add(projector);
            }
            if rank == 0 {
                held = held.saturating_add(self.bytes_of(|kind| kind == UnitKind::TokenEmbedding));
            }
            if rank + 1 == self.stages.len() {
                held = held.saturating_add(self.bytes_of(UnitKind::is_tail));
            }
            let usable = self.plan.devices[stage.device].usable();
            if held > usable {
                over.push(format!("rank {rank} {} of {}", bytes::human(held), bytes::human(usable)));
            }
        }
        if !over.is_empty() {
            self.cannot.push(format!("It would not fit: weights alone take of {}.", over.join(", of ")));
        }
    }

    fn finish(self, server: Server, scripts: Vec<Script>, mut notes: Vec<String>) -> Launch {
        let host = self.hosts[0].0.as_deref().unwrap_or("localhost");
        let open = if host == "localhost" { "" } else { " --allow-http" };
        if server != Server::LlamaCpp && !self.checkpoint.contains(['/', '\\']) {
            notes.push(format!("{} stands for its folder, or its name as org/name.", self.checkpoint));
        }
        let evaluate = format!(
            "shardscope eval --endpoint http://{host}:{}{open}{} --concurrency {}",
            server.port(),
            match server {
                // It offers one, under the name of its file.
                Server::LlamaCpp => String::new(),
                _ => format!(" --model {}", quoted(self.checkpoint)),
            },
            self.in_flight()
        );
        Launch { server, scripts, evaluate, cannot: self.cannot, notes }
    }
}

fn vllm(mut facts: Facts<'_>) -> Launch {
    facts.say_ends("vLLM", true);
    let ranks = facts.stages.len();
    let mut serve = vec!["vllm serve".to_owned(), quoted(facts.checkpoint)];
    serve.push(format!("--pipeline-parallel-size {ranks} --tensor-parallel-size 1"));
    serve.push(format!("--max-model-len {} --max-num-seqs {}", facts.context(), facts.in_flight()));
    serve.extend(facts.dtype().map(|dtype| format!("--dtype {dtype}")));
    serve.push("--trust-remote-code --port 8000".into());
    let partition = match ranks {
        1 => String::new(),
        _ => format!("VLLM_PP_LAYER_PARTITION={} ", facts.partition()),
    };
    let visible = |stages: &[Stage]| format!("CUDA_VISIBLE_DEVICES={} ", facts.visible(stages));
    let mut notes = Vec::new();
    let scripts = if facts.is_spread() {
        serve.push("--distributed-executor-backend ray".into());
        let head = facts.hosts[0].0.clone().unwrap_or_default();
        notes.push(
            "Ray numbers the machines itself: the one on which vLLM starts first, the others by address."
                .into(),
        );
        let start = |(place, (host, own)): (usize, &(Option<String>, Vec<Stage>))| {
            let ray = match place {
                0 => "ray start --head --port=6379".to_owned(),
                _ => format!("ray start --address={head}:6379"),
            };
            let mut lines = vec![format!("{}{ray}", visible(own))];
            if place == 0 {
                lines.push("# when the other machines have joined (ray status):".into());
                lines.push(format!("{partition}{}", serve.join(" ")));
            }
            Script { host: host.clone(), lines }
        };
        facts.hosts.iter().enumerate().map(start).collect()
    } else {
        let line = format!("{}{partition}{}", visible(&facts.stages), serve.join(" "));
        vec![Script { host: facts.hosts[0].0.clone(), lines: vec![line] }]
    };
    notes.push(
        "--gpu-memory-utilization is one share for all GPUs, of their whole memory; what others hold there counts in it."
            .into(),
    );
    notes.push(
        "Checkpoints of the GitHub layout get the prompt of a local run with `eval --image-marks`.".into(),
    );
    notes.extend(facts.tensor_note("--tensor-parallel-size", "--pipeline-parallel-size"));
    facts.finish(Server::Vllm, scripts, notes)
}

fn sglang(mut facts: Facts<'_>) -> Launch {
    if facts.stages.len() > 1 {
        facts.cannot.push(
            "Of the models that see, SGLang runs some in stages, and InternVL was not among them when this was written \
             (sgl-project/sglang, issue 12958): where it refuses, share each layer (--tp-size) instead."
                .into(),
        );
    }
    facts.say_ends("SGLang", true);
    let ranks = facts.stages.len();
    let nodes = facts.hosts.len();
    if facts.hosts.iter().any(|(_, own)| own.len() != facts.hosts[0].1.len()) {
        facts.cannot.push(
            "SGLang wants equally many GPUs of each machine; the plan uses more of some than of others."
                .into(),
        );
    }
    let partition = match ranks {
        1 => String::new(),
        _ => format!("SGLANG_PP_LAYER_PARTITION={} ", facts.partition()),
    };
    let head = facts.hosts[0].0.clone().unwrap_or_default();
    let script = |(place, (host, own)): (usize, &(Option<String>, Vec<Stage>))| {
        let mut line = format!(
            "CUDA_VISIBLE_DEVICES={} {partition}python -m sglang.launch_server --model-path {} --tp-size 1 --pp-size \
             {ranks} --context-length {} --max-running-requests {} --trust-remote-code --port 30000",
            facts.visible(own),
            quoted(facts.checkpoint),
            facts.context(),
            facts.in_flight()
        );
        if let Some(dtype) = facts.dtype() {
            line.push_str(&format!(" --dtype {dtype}"));
        }
        if nodes > 1 {
            line.push_str(&format!(" --nnodes {nodes} --node-rank {place} --dist-init-addr {head}:20000"));
            line.push_str(if place == 0 { " --host 0.0.0.0" } else { "" });
        }
        Script { host: host.clone(), lines: vec![line] }
    };
    let scripts = facts.hosts.iter().enumerate().map(script).collect();
    let mut notes = Vec::new();
    notes.extend(facts.tensor_note("--tp-size", "--pp-size"));
    facts.finish(Server::Sglang, scripts, notes)
}

fn lmdeploy(mut facts: Facts<'_>) -> Launch {
    let first = facts.hosts[0].1.clone();
    let size = facts.tensor_size(first.len() as u64);
    facts.cannot.push(format!(
        "LMDeploy has no stages: each layer is shared by {size} GPUs (--tp), whatever the plan puts where."
    ));
    if (size as usize) < facts.stages.len() {
        facts.cannot.push(format!(
            "{} of the plan's {} GPUs are not used: the heads of the attention can be shared by {size}, on one machine.",
            facts.stages.len() - size as usize,
            facts.stages.len()
        ));
    }
    let weights = facts.case.model.weight_bytes() / size.max(1);
    let smallest =
        first.iter().take(size as usize).map(|stage| facts.plan.devices[stage.device].usable()).min();
    if smallest.is_some_and(|usable| weights > usable) {
        facts.cannot.push(format!(
            "It would not fit: weights alone take {} of each GPU, of which the smallest has {}.",
            bytes::human(weights),
            bytes::human(smallest.unwrap_or(0))
        ));
    }
    let line = format!(
        "CUDA_VISIBLE_DEVICES={} lmdeploy serve api_server {} --tp {size} --session-len {} --max-batch-size {} --server-port \
         23333",
        facts.visible(&first[..size as usize]),
        quoted(facts.checkpoint),
        facts.context(),
        facts.in_flight()
    );
    let scripts = vec![Script { host: facts.hosts[0].0.clone(), lines: vec![line] }];
    facts.hosts.truncate(1);
    facts.finish(Server::Lmdeploy, scripts, Vec::new())
}

fn llama_cpp(mut facts: Facts<'_>) -> Launch {
    let vision = facts.bytes_of(UnitKind::is_vision);
    let seat = facts.device_of(UnitKind::Projector).or_else(|| facts.stages.first().map(|s| s.device));
    let seat =
        seat.and_then(|device| facts.stages.iter().position(|stage| stage.device == device)).unwrap_or(0);
    let units = facts.case.model.units.iter().zip(&facts.plan.assignment);
    let mut holders: Vec<usize> = units.filter(|(u, _)| u.kind.is_vision()).map(|(_, &d)| d).collect();
    holders.dedup();
    if holders.len() > 1 || holders.first().is_some_and(|&device| device != facts.stages[seat].device) {
        facts.cannot.push(format!(
            "llama.cpp keeps the vision tower whole, here on GPU {seat} of the list ({}).",
            bytes::human(vision)
        ));
    }
    facts.cannot.push("llama.cpp keeps the token embedding in host memory.".into());
    let last = facts.stages.last().map(|stage| stage.device);
    if facts.device_of(UnitKind::Head) != last {
        facts.cannot.push("llama.cpp keeps the head on the last GPU; the plan has it elsewhere.".into());
    }
    // The output counts as one more layer of the last GPU.
    let mut shares: Vec<u64> = facts.stages.iter().map(|stage| stage.layers).collect();
    if let Some(last) = shares.last_mut() {
        *last += 1;
    }
    let on_gpus: u64 = shares.iter().sum();
    let shares: Vec<String> = shares.iter().map(u64::to_string).collect();
    let mut scripts = Vec::new();
    let mut rpc = String::new();
    let mut devices: Vec<String> = Vec::new();
    for (place, (host, own)) in facts.hosts.iter().enumerate() {
        if place == 0 {
            devices.extend((0..own.len()).map(|gpu| format!("CUDA{gpu}")));
            continue;
        }
        let name = host.clone().unwrap_or_default();
        let mut lines = Vec::new();
        for (gpu, stage) in own.iter().enumerate() {
            let port = 50052 + gpu;
            let visible = facts.visible(&[*stage]);
            lines.push(format!("CUDA_VISIBLE_DEVICES={visible} rpc-server --host 0.0.0.0 --port {port} &"));
            rpc.push_str(if rpc.is_empty() { " --rpc " } else { "," });
            rpc.push_str(&format!("{name}:{port}"));
            devices.push(format!("RPC[{name}:{port}]"));
        }
        scripts.push(Script { host: host.clone(), lines });
    }
    if facts.is_spread() {
        facts
            .cannot
            .push("rpc-server has no password and no encryption: only for a network of your own.".into());
    }
    let named = if facts.is_spread() { format!(" --device {}", devices.join(",")) } else { String::new() };
    let line = format!(
        "CUDA_VISIBLE_DEVICES={} MTMD_BACKEND_DEVICE=CUDA{} llama-server -m MODEL.gguf --mmproj MMPROJ.gguf{rpc}{named} \
         --split-mode layer --tensor-split {} --n-gpu-layers {on_gpus} --ctx-size {} --parallel {} --port 8080{}",
        facts.visible(&facts.hosts[0].1),
        seat.min(facts.hosts[0].1.len() - 1),
        shares.join(","),
        facts.context().saturating_mul(facts.in_flight()),
        facts.in_flight(),
        if facts.is_spread() { " --host 0.0.0.0" } else { "" },
    );
    scripts.insert(0, Script { host: facts.hosts[0].0.clone(), lines: vec![line] });
    // The machines that are asked have to be there first.
    scripts.rotate_left(1);
    let mut notes = vec![
        "MODEL.gguf and MMPROJ.gguf are made of the checkpoint by llama.cpp's convert_hf_to_gguf.py, the second with \
         --mmproj."
            .to_owned(),
    ];
    if facts.is_spread() {
        notes.push(
            "llama-server --list-devices tells whether the devices have these names in your version.".into(),
        );
    }
    facts.finish(Server::LlamaCpp, scripts, notes)
}

impl Launch {
    /// In words, to be read and copied.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for script in &self.scripts {
            if let Some(host) = &script.host {
                text.push_str(&format!("# on {host}\n"));
            }
            script.lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
            text.push('\n');
        }
        text.push_str(&format!("# then\n{}\n", self.evaluate));
        for (title, lines) in
            [("What these commands cannot say", &self.cannot), ("Good to know", &self.notes)]
        {
            if !lines.is_empty() {
                text.push_str(&format!("\n# {title}:\n"));
                lines.iter().for_each(|line| text.push_str(&format!("# - {line}\n")));
            }
        }
        text
    }

    /// For scripts.
    pub fn to_json(&self) -> Value {
        let scripts: Vec<Value> =
            self.scripts.iter().map(|it| json!({ "host": it.host, "lines": it.lines })).collect();
        json!({
            "server": self.server.name(),
            "scripts": scripts,
            "evaluate": self.evaluate,
            "cannot": self.cannot,
            "notes": self.notes,
        })
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@+=,~".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::spec::DeviceSpec;
    use crate::plan::{Assumptions, Layout, Model, Workload, catalogue, exchange, planner};

    fn case(model: &str, spec: &str) -> Case {
        let DeviceSpec::Simulated(devices) = DeviceSpec::parse(spec).unwrap() else { panic!() };
        let shape = catalogue::find(model).unwrap();
        let dtype = shape.stored;
        Case::new(
            Model::new(shape, dtype, None),
            devices,
            Assumptions::default(),
            Workload::assumed(13, 3600),
        )
    }

    fn made(server: Server, case: &Case) -> (Plan, Launch) {
        let plan = planner::plan(case, Layout::Auto).unwrap();
        let launch = launch(server, case, &plan, "org/a model").unwrap();
        (plan, launch)
    }

    /// The GPU of each layer.
    fn layers(case: &Case, plan: &Plan) -> Vec<usize> {
        let units = case.model.units.iter().zip(&plan.assignment);
        units.filter(|(unit, _)| matches!(unit.kind, UnitKind::Layer(_))).map(|(_, &d)| d).collect()
    }

    /// The words behind an option or an equals sign.
    fn value<'a>(line: &'a str, name: &str) -> &'a str {
        let at = line.find(name).unwrap_or_else(|| panic!("{name} in {line}")) + name.len();
        line[at..].trim_start().split(' ').next().unwrap()
    }

    #[test]
    fn stages_are_those_of_the_plan() {
        let case = case("InternVL2-Llama3-76B", "sim:8x40GiB");
        for (server, variable) in
            [(Server::Vllm, "VLLM_PP_LAYER_PARTITION="), (Server::Sglang, "SGLANG_PP_LAYER_PARTITION=")]
        {
            let (plan, launch) = made(server, &case);
            let line = &launch.scripts[0].lines[0];
            let counts: Vec<usize> =
                value(line, variable).split(',').map(|count| count.parse().unwrap()).collect();
            let gpus: Vec<usize> =
                value(line, "CUDA_VISIBLE_DEVICES=").split(',').map(|gpu| gpu.parse().unwrap()).collect();
            let said: Vec<usize> =
                gpus.iter().zip(&counts).flat_map(|(&gpu, &count)| vec![gpu; count]).collect();
            assert_eq!(said, layers(&case, &plan), "{line}");
            assert!(line.contains("'org/a model'") && launch.evaluate.contains("'org/a model'"), "{line}");
        }
    }

    #[test]
    fn llama_cpp_reads_the_shares_as_they_are_meant() {
        for (model, spec) in
            [("InternVL2-Llama3-76B", "sim:8x40GiB"), ("InternVL3-8B", "sim:12GiB,24GiB,16GiB")]
        {
            let case = case(model, spec);
            let (plan, launch) = made(Server::LlamaCpp, &case);
            let line = &launch.scripts[0].lines[0];
            let read = exchange::from_tensor_split(value(line, "--tensor-split"), &case).unwrap();
            let gpus: Vec<usize> =
                value(line, "CUDA_VISIBLE_DEVICES=").split(',').map(|gpu| gpu.parse().unwrap()).collect();
            let read: Vec<usize> = layers(&case, &read).into_iter().map(|place| gpus[place]).collect();
            assert_eq!(read, layers(&case, &plan), "{line}");
        }
    }

    #[test]
    fn machines_get_their_own_lines() {
        let case = case("InternVL2-Llama3-76B", "sim:alpha(4x40GiB),beta(4x40GiB)");
        let (plan, launch) = made(Server::Vllm, &case);
        // The network is crossed once.
        let hosts: Vec<&str> = layers(&case, &plan)
            .iter()
            .map(|&device| plan.devices[device].host.as_ref().unwrap().name.as_str())
            .collect();
        assert_eq!(hosts.windows(2).filter(|pair| pair[0] != pair[1]).count(), 1, "{hosts:?}");
        let [head, other] = launch.scripts.as_slice() else { panic!("{launch:?}") };
        assert!(head.lines[0].contains("ray start --head") && other.lines.len() == 1, "{launch:?}");
        assert!(other.lines[0].contains(&format!("--address={}:6379", head.host.as_deref().unwrap())));
        assert!(head.lines[2].contains("--distributed-executor-backend ray"), "{launch:?}");
        assert!(launch.notes.iter().any(|note| note.contains("--tensor-parallel-size 4")), "{launch:?}");
        let (_, launch) = made(Server::Sglang, &case);
        assert!(launch.scripts[1].lines[0].contains("--nnodes 2 --node-rank 1"), "{launch:?}");
        let (_, launch) = made(Server::LlamaCpp, &case);
        assert!(launch.scripts[0].lines.iter().all(|line| line.contains("rpc-server")), "{launch:?}");
        let (_, launch) = made(Server::Lmdeploy, &case);
        assert!(launch.scripts.len() == 1 && launch.cannot.iter().any(|it| it.contains("no stages")));
    }

    #[test]
    fn what_cannot_be_said_is_said_in_words() {
        let case = case("InternVL2-Llama3-76B", "sim:8x40GiB");
        let plan = planner::plan(&case, Layout::Auto).unwrap();
        let mut torn = plan.clone();
        let first = case.model.position(UnitKind::Layer(0)).unwrap();
        torn.assignment[first + 1] = 7;
        let head = case.model.position(UnitKind::Head).unwrap();
        torn.assignment[head] = 0;
        let said = launch(Server::Vllm, &case, &torn, "m").unwrap().text();
        for words in ["do not follow one another", "head on the last rank", "on every rank"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        let small = super::tests::case("InternVL2-Llama3-76B", "sim:2x40GiB");
        let (_, tight) = made(Server::Vllm, &small);
        assert!(tight.cannot.iter().any(|it| it.contains("would not fit")), "{tight:?}");
        let mut nowhere = plan;
        nowhere.devices.push(crate::plan::Device::new("cpu", crate::plan::DeviceKind::Cpu, 1 << 50));
        nowhere.assignment.fill(8);
        assert!(launch(Server::Vllm, &case, &nowhere, "m").is_err());
    }

    #[test]
    fn names_and_words() {
        for server in Server::ALL {
            assert_eq!(server.name().parse::<Server>().unwrap(), server);
        }
        assert!("ollama".parse::<Server>().is_err());
        assert_eq!((quoted("a/b-1.gguf"), quoted("it's")), ("a/b-1.gguf".into(), "'it'\\''s'".into()));
    }
}
