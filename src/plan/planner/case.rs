//! What a plan is made from.

use std::sync::{Arc, OnceLock};

use crate::plan::accelerate;
use crate::plan::assumptions::{Assumptions, Dtype, Sourced};
use crate::plan::calibration::Calibration;
use crate::plan::cost::{self, CostTable};
use crate::plan::device::{Device, Links};
use crate::plan::unit::Model;
use crate::plan::workload::Workload;

/// Everything a plan is made from.
#[derive(Debug, Clone)]
pub struct Case {
    /// The model.
    pub model: Model,
    /// The devices.
    pub devices: Vec<Device>,
    /// What is taken for granted.
    pub assumptions: Assumptions,
    /// The questions.
    pub workload: Workload,
    /// What was measured before on such devices.
    pub calibration: Calibration,
    /// Host memory, for presets that put there what does not fit; in bytes.
    pub host_memory: u64,
    /// Ways between the devices, where known.
    pub links: Links,
    /// Costs of the units, derived from the above.
    pub costs: CostTable,
    /// The model as accelerate walks it; made when it is first asked for.
    accelerate: Arc<OnceLock<accelerate::Prepared>>,
}

/// Where nothing is known about the host, it is taken to hold everything.
pub const UNKNOWN_HOST_MEMORY: u64 = 1 << 52;

impl Case {
    /// A case with nothing calibrated and a host of unknown size.
    pub fn new(model: Model, devices: Vec<Device>, assumptions: Assumptions, workload: Workload) -> Self {
        let calibration = Calibration::default();
        let costs = CostTable::new(&model, &assumptions, &calibration);
        Self {
            model,
            assumptions,
            workload,
            calibration,
            host_memory: UNKNOWN_HOST_MEMORY,
            links: Links::default().among(&devices),
            devices,
            costs,
            accelerate: Arc::default(),
        }
    }

    /// The same case under other assumptions. The dtype's change needs another model: see [`Case::with_dtype`].
    pub fn with_assumptions(&self, assumptions: Assumptions) -> Self {
        let mut case = Self { assumptions, ..self.clone() };
        case.costs = CostTable::new(&case.model, &case.assumptions, &case.calibration);
        case
    }

    /// The same case with the weights at another format, by shape.
    pub fn with_dtype(&self, dtype: Dtype) -> Self {
        let mut case = self.clone();
        case.assumptions.dtype = Sourced::chosen(dtype);
        case.model = Model::new(case.model.shape.clone(), dtype, None);
        case.accelerate = Arc::default();
        case.costs = CostTable::new(&case.model, &case.assumptions, &case.calibration);
        case
    }

    /// The same case on other devices, of whose links nothing is known but which of them are in one machine.
    pub fn with_devices(&self, devices: Vec<Device>) -> Self {
        Self { links: Links::default().among(&devices), devices, ..self.clone() }
    }

    /// The same case with other questions.
    pub fn with_workload(&self, workload: Workload) -> Self {
        Self {
            model: self.model.clone(),
            devices: self.devices.clone(),
            assumptions: self.assumptions.clone(),
            workload,
            calibration: self.calibration.clone(),
            host_memory: self.host_memory,
            links: self.links.clone(),
            costs: self.costs.clone(),
            accelerate: Arc::clone(&self.accelerate),
        }
    }

    /// The same case with only the questions that could be the worst, for answers that need no list of all.
    pub fn at_its_worst(&self) -> Self {
        let Workload { frontier, shared, .. } = &self.workload;
        self.with_workload(Workload { questions: Vec::new(), frontier: frontier.clone(), shared: *shared })
    }

    /// The same case with another limit on the answer.
    pub fn with_answer_limit(&self, max_new_tokens: u64) -> Self {
        let mut assumptions = self.assumptions.clone();
        assumptions.max_new_tokens = Sourced::chosen(max_new_tokens);
        self.with_assumptions(assumptions)
    }

    /// What is taken for granted, line by line: name, value, source; corrections by what was measured last.
    pub fn assumption_lines(&self) -> Vec<(&'static str, String, crate::plan::Source)> {
        let mut lines = self.assumptions.lines();
        if self.model.shape.decoder.tied {
            let tied = self.assumptions.duplicate_tied_head;
            let how =
                if tied.value { "a copy each where that is better" } else { "shared with the embedding" };
            lines.push(("tied head", how.into(), tied.source));
        }
        if let Some(words) = self.calibration.words() {
            lines.push(("corrections", words, crate::plan::Source::Measured));
        }
        lines
    }

    /// The same case, corrected by what was measured.
    pub fn with_calibration(&self, calibration: Calibration) -> Self {
        let costs = CostTable::new(&self.model, &self.assumptions, &calibration);
        Self { calibration, costs, ..self.clone() }
    }

    pub(in crate::plan) fn prepared_for_accelerate(&self) -> &accelerate::Prepared {
        self.accelerate.get_or_init(|| accelerate::Prepared::new(&self.model))
    }

    /// Usable bytes of each device under the assumptions.
    pub fn usable(&self, devices: &[Device]) -> Vec<u64> {
        devices.iter().map(|device| cost::usable(device, &self.assumptions)).collect()
    }
}
