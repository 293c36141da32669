//! What all engines need to know of a plan: its stages in order, the machines they are on, and what no engine can be told.

use super::{Launch, Script, Server, quoted};
use crate::Result;
use crate::plan::assumptions::Dtype;
use crate::plan::layout::Plan;
use crate::plan::planner::Case;
use crate::plan::unit::UnitKind;
use crate::plan::{Device, bytes, presets};

/// Consecutive decoder layers on one GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stage {
    pub(super) device: usize,
    pub(super) layers: u64,
}

/// What all engines need to know of a plan.
pub(super) struct Facts<'a> {
    pub(super) case: &'a Case,
    pub(super) plan: &'a Plan,
    pub(super) checkpoint: &'a str,
    /// In the order of execution, one for each GPU that has layers.
    pub(super) stages: Vec<Stage>,
    /// The machines in the order in which stages come to them, each with its stages.
    pub(super) hosts: Vec<(Option<String>, Vec<Stage>)>,
    pub(super) cannot: Vec<String>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(case: &'a Case, plan: &'a Plan, checkpoint: &'a str) -> Result<Self> {
        let units = case.model.units.iter().zip(&plan.assignment);
        let mut cannot = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        let (mut torn, mut on_host) = (false, 0);
        let mut last = None;
        for (_, &device) in units.filter(|(unit, _)| matches!(unit.kind, UnitKind::Layer(_))) {
            if !plan.devices.get(device).is_some_and(Device::is_gpu) {
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
    pub(super) fn device_of(&self, kind: UnitKind) -> Option<usize> {
        self.plan.assignment.get(self.case.model.position(kind)?).copied()
    }

    /// Weights of the units of a sort, in bytes.
    pub(super) fn bytes_of(&self, wanted: impl Fn(UnitKind) -> bool) -> u64 {
        let units = self.case.model.units.iter().filter(|unit| wanted(unit.kind));
        units.fold(0, |sum, unit| sum.saturating_add(unit.weight_bytes))
    }

    /// Layers of each stage.
    pub(super) fn partition(&self) -> String {
        self.stages.iter().map(|stage| stage.layers.to_string()).collect::<Vec<_>>().join(",")
    }

    /// The numbers by which a machine knows the GPUs of its stages, in their order.
    pub(super) fn visible(&self, stages: &[Stage]) -> String {
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
    pub(super) fn context(&self) -> u64 {
        self.case
            .workload
            .longest_prompt()
            .saturating_add(self.case.assumptions.max_new_tokens.value)
            .next_multiple_of(256)
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.case.assumptions.in_flight.value
    }

    pub(super) fn dtype(&self) -> Option<&'static str> {
        match self.case.model.dtype {
            Dtype::Bf16 => Some("bfloat16"),
            Dtype::F16 => Some("float16"),
            Dtype::F32 => Some("float32"),
            _ => None,
        }
    }

    pub(super) fn is_spread(&self) -> bool {
        self.hosts.len() > 1
    }

    /// How many GPUs could share every layer evenly.
    pub(super) fn tensor_size(&self, gpus: u64) -> u64 {
        let decoder = &self.case.model.shape.decoder;
        let fits = |&size: &u64| {
            size <= gpus && decoder.heads.is_multiple_of(size) && decoder.kv_heads.is_multiple_of(size)
        };
        (0..8).map(|power| 1 << power).filter(fits).max().unwrap_or(1)
    }

    /// A note on engines that can also share each layer among the GPUs of a machine.
    pub(super) fn tensor_note(&self, tensor: &str, pipeline: &str) -> Option<String> {
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
    pub(super) fn say_ends(&mut self, engine: &str, vision_on_all: bool) {
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
    pub(super) fn say_weights(&mut self, vision: u64, vision_on_all: bool) {
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

    pub(super) fn finish(self, server: Server, scripts: Vec<Script>, mut notes: Vec<String>) -> Launch {
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
