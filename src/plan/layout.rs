//! A plan: which device every unit lies on, and where that came from.

use super::cost::{CostTable, Holding};
use super::device::Device;
use super::presets::Rule;
use crate::{Problem, Result};

/// How units are spread over devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Our planner.
    Auto,
    /// A fixed rule of an evaluation toolkit, by counting layers.
    Rule(Rule),
    /// accelerate's `auto`, which is its `balanced`.
    Accelerate,
    /// accelerate's `sequential`.
    AccelerateSequential,
    /// accelerate's `balanced_low_0`.
    AccelerateBalancedLow0,
    /// mistral.rs's automatic map.
    MistralRs,
    /// Everything on one device.
    Single,
    /// Made by hand or read from a file.
    Custom,
}

impl Layout {
    /// Every layout that can be asked for by name, ours first.
    pub const NAMED: [Layout; 12] = [
        Layout::Auto,
        Layout::Rule(Rule::InternVl),
        Layout::Rule(Rule::InternVl08),
        Layout::Rule(Rule::InternVl02),
        Layout::Rule(Rule::Qwen2Vl),
        Layout::Rule(Rule::LlavaOneVision),
        Layout::Rule(Rule::Llama32Vision),
        Layout::Accelerate,
        Layout::AccelerateBalancedLow0,
        Layout::AccelerateSequential,
        Layout::MistralRs,
        Layout::Single,
    ];

    /// The layouts that a comparison shows: those with which InternVL has been run.
    pub const COMPARED: [Layout; 7] = [
        Layout::Auto,
        Layout::Rule(Rule::InternVl),
        Layout::Accelerate,
        Layout::AccelerateBalancedLow0,
        Layout::AccelerateSequential,
        Layout::MistralRs,
        Layout::Single,
    ];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Auto => "auto",
            Layout::Rule(rule) => rule.name(),
            Layout::Accelerate => "accelerate",
            Layout::AccelerateSequential => "accelerate-sequential",
            Layout::AccelerateBalancedLow0 => "accelerate-balanced-low-0",
            Layout::MistralRs => "mistralrs",
            Layout::Single => "single",
            Layout::Custom => "custom",
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self> {
        let wanted = text.trim().to_ascii_lowercase();
        let named = |layout: &&Layout| layout.name() == wanted;
        Layout::NAMED.iter().find(named).copied().ok_or_else(|| {
            let names: Vec<&str> = Layout::NAMED.iter().map(|l| l.name()).collect();
            Problem::new(format!("there is no layout {text:?}"))
                .fix(format!("use one of {}", names.join(", ")))
        })
    }

    /// Whether it comes from software that runs InternVL in PyTorch, whose habits then apply by default.
    pub fn is_from_pytorch(self) -> bool {
        matches!(
            self,
            Layout::Rule(_)
                | Layout::Accelerate
                | Layout::AccelerateSequential
                | Layout::AccelerateBalancedLow0
        )
    }
}

/// A module inside a unit that lies on another device than the rest of it, as accelerate may cut what it is not told to
/// keep whole. Our engine does not run such a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The unit.
    pub unit: usize,
    /// The module's path below the unit.
    pub module: String,
    /// Where it lies.
    pub device: usize,
    /// Its weights in bytes.
    pub weight_bytes: u64,
}

/// Where every unit goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Where it came from.
    pub layout: Layout,
    /// The devices; a preset may have added the host's memory at the end.
    pub devices: Vec<Device>,
    /// The device of each unit, as an index into `devices`.
    pub assignment: Vec<usize>,
    /// Modules that were cut from their unit.
    pub splits: Vec<Split>,
    /// Whether no contiguous plan has a smaller worst share (only ever true for ours).
    pub exact: bool,
    /// What the planner has to say about it.
    pub notes: Vec<String>,
}

/// A run of consecutive units on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The device.
    pub device: usize,
    /// First unit.
    pub first: usize,
    /// Last unit.
    pub last: usize,
}

impl Plan {
    /// A plan from an assignment.
    pub fn new(layout: Layout, devices: Vec<Device>, assignment: Vec<usize>) -> Self {
        Self { layout, devices, assignment, splits: Vec::new(), exact: false, notes: Vec::new() }
    }

    /// Runs of consecutive units on the same device, in execution order.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (unit, &device) in self.assignment.iter().enumerate() {
            match runs.last_mut() {
                Some(run) if run.device == device => run.last = unit,
                _ => runs.push(Run { device, first: unit, last: unit }),
            }
        }
        runs
    }

    /// Times the hidden state changes devices on its way through the units.
    pub fn hops(&self) -> usize {
        self.runs().len().saturating_sub(1)
    }

    /// What each device holds, cut modules where they lie.
    pub fn holdings(&self, costs: &CostTable) -> Vec<Holding> {
        let mut holdings = costs.holdings(&self.assignment, self.devices.len());
        for split in &self.splits {
            let home = self.assignment.get(split.unit).copied();
            if let Some(home) = home.and_then(|device| holdings.get_mut(device)) {
                home.weights = home.weights.saturating_sub(split.weight_bytes);
            }
            if let Some(away) = holdings.get_mut(split.device) {
                away.weights = away.weights.saturating_add(split.weight_bytes);
            }
        }
        holdings
    }
}
