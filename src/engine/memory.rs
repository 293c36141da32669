//! Memory of a run: what was forecast, what was measured.

use std::collections::BTreeMap;

use crate::model::Placement;
use crate::plan::{Case, Forecaster, Plan, QuestionCost};

/// Lets the peaks of all metered places begin anew.
pub fn reset_peaks(placement: &Placement) {
    placement.places().iter().filter_map(|place| place.meter()).for_each(|meter| meter.reset_peak());
}

/// Bytes that each metered place has held at its peak since [`reset_peaks`]; places that hold nothing are left out.
pub fn peaks(placement: &Placement) -> BTreeMap<String, u64> {
    let meters = placement.places().iter().filter_map(|place| place.meter());
    meters.map(|meter| (meter.name().to_owned(), meter.peak())).filter(|(_, peak)| *peak > 0).collect()
}

/// What each device will hold at a question.
#[derive(Debug, Clone)]
pub struct Forecasting {
    /// What the plan was made from.
    pub case: Case,
    /// Where every unit lies.
    pub plan: Plan,
}

impl Forecasting {
    /// Bytes that each device that is used holds at its peak while a question of so many tiles and prompt tokens is
    /// answered by so many tokens.
    pub fn bytes(&self, tiles: u64, prompt_tokens: u64, answer: u64) -> BTreeMap<String, u64> {
        let case = self.case.at_its_worst();
        let cost = QuestionCost { id: String::new(), tiles, prompt_tokens };
        let moments = Forecaster::new(&case).at_answer(&self.plan, &cost, answer);
        let used = |device: usize| self.plan.assignment.contains(&device);
        let devices = self.plan.devices.iter().zip(moments).enumerate().filter(|(index, _)| used(*index));
        devices.map(|(_, (device, moment))| (device.name.clone(), moment.peak())).collect()
    }
}
