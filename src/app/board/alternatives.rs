//! The same model, devices and questions under other layouts: what each would lead to, here and where it comes from.

use crate::plan::checks;
use crate::plan::edits::{self, Moved};
use crate::plan::planner;
use crate::plan::{Case, Forecast, Forecaster, Layout, Plan, forecast::Verdict};
use crate::{Problem, Result};

/// A plan judged under one software's habits.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The plan.
    pub plan: Plan,
    /// Its forecast, without the list of all questions.
    pub forecast: Forecast,
    /// The first question that fails, in the dataset's order, and the device on which it does.
    pub first_failure: Option<(String, String)>,
    /// Why it does not fit, as the checks say it.
    pub why: Option<String>,
}

impl Judged {
    fn new(case: &Case, layout: Layout) -> Result<Self> {
        let plan = planner::plan(case, layout)?;
        let mut forecast = Forecaster::new(case).forecast(&plan);
        let first = forecast.questions.iter().find(|q| q.verdict == Verdict::DoesNotFit);
        let first_failure = first.and_then(|q| {
            Some((case.workload.questions.get(q.index)?.id.clone(), plan.devices.get(q.device)?.name.clone()))
        });
        let findings = checks::look(case, &plan, &forecast);
        let why = findings.into_iter().find(|f| f.code == "over-capacity").map(|f| f.message);
        forecast.questions = Vec::new();
        Ok(Self { plan, forecast, first_failure, why })
    }

    /// GPUs that hold nothing.
    pub fn idle(&self) -> usize {
        let devices = self.forecast.devices.iter().zip(&self.plan.devices);
        devices.filter(|(forecast, device)| !forecast.used && device.is_gpu()).count()
    }
}

/// A layout and what it would lead to.
#[derive(Debug, Clone)]
pub struct Alternative {
    /// The layout.
    pub layout: Layout,
    /// Run by Shardscope; why there is no such plan where there is none.
    pub here: Result<Judged, Problem>,
    /// Run by the software it comes from, where that is another.
    pub released: Option<Judged>,
}

impl Alternative {
    /// Judged by the software it comes from.
    pub fn at_home(&self) -> Option<&Judged> {
        self.released.as_ref().or(self.here.as_ref().ok())
    }
}

/// Every layout that can be asked for by name.
pub fn all(own: &Case, released: &Case) -> Vec<Alternative> {
    let judge = |layout: Layout| Alternative {
        layout,
        here: Judged::new(own, layout),
        released: layout.is_from_pytorch().then(|| Judged::new(released, layout).ok()).flatten(),
    };
    Layout::NAMED.into_iter().map(judge).collect()
}

/// What lies elsewhere in an alternative, as runs of units.
pub fn moved(from: &Plan, to: &Plan) -> Vec<Moved> {
    edits::compare(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::bytes::GIB;
    use crate::plan::presets::Rule;
    use crate::plan::{Assumptions, Device, Dtype, Model, QuestionCost, Workload, catalogue};

    #[test]
    fn ours_fits_where_the_released_maps_do_not() {
        let model = Model::new(catalogue::find("InternVL2-Llama3-76B").unwrap(), Dtype::Bf16, None);
        let devices = (0..8).map(|i| Device::simulated(i, 40 * GIB)).collect();
        let question = |i: u64| {
            let tiles = [13, 26, 70][i as usize % 3];
            QuestionCost {
                id: format!("q{i}"),
                tiles,
                prompt_tokens: tiles * 256 + 120,
                ..QuestionCost::default()
            }
        };
        let workload = Workload::new((0..60).map(question).collect());
        let own = Case::new(model, devices, Assumptions::default(), workload);
        let released = own.with_assumptions(own.assumptions.clone().as_released());
        let all = all(&own, &released);
        assert_eq!(all.len(), Layout::NAMED.len());
        assert_eq!(all[0].at_home().unwrap().forecast.verdict, Verdict::Fits);
        let rule = all.iter().find(|a| a.layout == Layout::Rule(Rule::InternVl)).unwrap();
        let judged = rule.at_home().unwrap();
        assert_eq!(judged.forecast.verdict, Verdict::DoesNotFit);
        assert_eq!(judged.first_failure, Some(("q2".into(), "sim:0".into())), "the first with 70 tiles");
        assert!(judged.why.as_ref().unwrap().contains("logits"));
    }
}
