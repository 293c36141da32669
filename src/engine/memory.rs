//! Memory of a run: what was forecast, what was measured.

use std::collections::BTreeMap;

use crate::model::Placement;
use crate::plan::{Case, Forecaster, Plan, QuestionCost};
use crate::session::journal::Answer;

/// The books of a run: what its places hold, and what was forecast.
pub struct Books {
    replicas: Vec<Placement>,
    forecasting: Option<Forecasting>,
}

/// The most that each metered place has held, by name.
pub type Peaks = BTreeMap<String, u64>;

impl Books {
    /// Books of the places of these replicas.
    pub fn new(replicas: Vec<Placement>, forecasting: Option<Forecasting>) -> Self {
        Self { replicas, forecasting }
    }

    /// Bytes that each metered place has held at its peak since this was last asked; places that hold nothing are left
    /// out.
    pub fn take_peaks(&self) -> Peaks {
        let places = self.replicas.iter().flat_map(Placement::places);
        let meters = places.filter_map(|place| place.meter());
        let peaks = meters.map(|meter| {
            let peak = meter.peak();
            meter.reset_peak();
            (meter.name().to_owned(), peak)
        });
        peaks.filter(|(_, peak)| *peak > 0).collect()
    }

    /// What was forecast for a question that is answered.
    pub fn forecast(&self, answer: &Answer) -> Peaks {
        let Answer { tiles, prompt_tokens, output_tokens, .. } = *answer;
        let forecasting = self.forecasting.as_ref();
        forecasting
            .map(|forecasting| forecasting.bytes(tiles, prompt_tokens, output_tokens))
            .unwrap_or_default()
    }
}

/// Raises peaks to others where these are higher.
pub fn raise(peaks: &mut Peaks, others: &Peaks) {
    for (name, peak) in others {
        let known = peaks.entry(name.clone()).or_default();
        *known = (*known).max(*peak);
    }
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
