//! The plan being worked on: where it stands, what it leads to, and what it would lead to if a drag ended now.

use std::sync::Arc;

use super::ground::{Ground, Laid};
use crate::Result;
use crate::plan::checks::{self, Finding};
use crate::plan::edits::{Draft, History};
use crate::plan::{Case, Forecast, Forecaster, Layout, Plan};

/// Whose way of running a plan is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habits {
    /// As Shardscope runs it.
    Own,
    /// As the PyTorch code of the releases runs it.
    Released,
}

impl Habits {
    /// Those of the software that a layout comes from; a plan made by hand keeps what it was judged by.
    pub fn of(layout: Layout, before: Self) -> Self {
        match layout {
            Layout::Custom => before,
            layout if layout.is_from_pytorch() => Self::Released,
            _ => Self::Own,
        }
    }
}

/// What a plan leads to.
#[derive(Debug, Clone)]
pub struct Outlook {
    /// Memory at every question.
    pub forecast: Forecast,
    /// What there is to say about it.
    pub findings: Vec<Finding>,
    /// Whether the findings have been given their fixes.
    pub has_fixes: bool,
}

/// Past so many questions only those that could be the worst are looked at on the window's thread.
const QUESTIONS_AT_A_GLANCE: usize = 20_000;

impl Outlook {
    /// Microseconds: what each device will hold, and what there is to say but for the fixes. The list of questions is
    /// left out where it is very long.
    pub fn glance(case: &Case, plan: &Plan) -> Self {
        let at = |case: &Case| {
            let forecast = Forecaster::new(case).forecast(plan);
            let findings = checks::look(case, plan, &forecast);
            Self { forecast, findings, has_fixes: false }
        };
        match case.workload.questions.len() {
            0..=QUESTIONS_AT_A_GLANCE => at(case),
            _ => at(&case.at_its_worst()),
        }
    }

    /// Milliseconds: every question, and fixes planned anew.
    pub fn whole(case: &Case, plan: &Plan) -> Self {
        let forecast = Forecaster::new(case).forecast(plan);
        let findings = checks::check(case, plan, &forecast);
        Self { forecast, findings, has_fixes: true }
    }
}

/// What a drag would do if it ended now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pull {
    /// Units onto a device.
    Move {
        /// The units.
        units: Vec<usize>,
        /// The device.
        device: usize,
    },
    /// The boundary behind a run of units.
    Boundary {
        /// The run, as [`Plan::runs`] counts.
        run: usize,
        /// Units that change sides: forward where positive.
        by: i64,
    },
}

impl Pull {
    /// The draft after it.
    ///
    /// # Errors
    /// Units, devices or runs that are not there.
    pub fn apply(&self, draft: &Draft) -> Result<Draft> {
        match self {
            Self::Move { units, device } => draft.move_units(units, *device),
            Self::Boundary { run, by } => draft.move_boundary(*run, *by),
        }
    }
}

/// A plan that a drag would make.
#[derive(Debug)]
pub struct Hypothesis {
    /// The drag.
    pub pull: Pull,
    /// The draft after it.
    pub draft: Draft,
    /// What that leads to.
    pub outlook: Outlook,
}

/// What a draft stands on: devices, questions and what is taken for granted, as a case under both habits.
struct Footing {
    ground: Ground,
    own: Arc<Case>,
    released: Arc<Case>,
}

impl Footing {
    /// The footing of a plan that was laid, and the plan.
    fn of(laid: Laid) -> (Arc<Self>, Plan) {
        let Laid { ground, own, released, plan } = laid;
        (Arc::new(Self { ground, own, released }), plan)
    }
}

/// A draft and what it stands on.
#[derive(Clone)]
struct Standing {
    draft: Draft,
    footing: Arc<Footing>,
}

impl PartialEq for Standing {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.footing, &other.footing) && self.draft == other.draft
    }
}

/// Where a step back or forth has led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// There was none.
    Nowhere,
    /// To another plan over the same devices.
    Plan,
    /// To other devices.
    Devices,
}

/// The plan being worked on.
pub struct Desk {
    habits: Habits,
    history: History<Standing>,
    outlook: Outlook,
    edits: u64,
    hypothesis: Option<Hypothesis>,
}

impl Desk {
    /// A desk with a plan that was laid.
    pub fn new(laid: Laid) -> Self {
        let habits = Habits::of(laid.plan.layout, Habits::Own);
        let case = if habits == Habits::Own { &laid.own } else { &laid.released };
        let outlook = Outlook::glance(case, &laid.plan);
        let (footing, plan) = Footing::of(laid);
        let history = History::new(Standing { draft: Draft::new(plan), footing });
        Self { habits, history, outlook, edits: 0, hypothesis: None }
    }

    /// Takes another ground for the same model. Over the same devices what was made by hand stays where it lies, unless the
    /// plan was asked for, and the rest is as laid; other devices are a step with a plan of their own. Another model begins
    /// anew. `returned`: the person has just come back to these devices, and this is no step of its own.
    pub fn relay(&mut self, laid: Laid, pins: &[(usize, usize)], is_asked: bool, returned: bool) {
        let before = self.ground();
        let same_model = Arc::ptr_eq(&before.shape, &laid.ground.shape);
        let same_devices = Arc::ptr_eq(&before.found, &laid.ground.found);
        if !same_model {
            let edits = self.edits;
            *self = Self::new(laid);
            self.edits = edits + 1;
            return;
        }
        let is_by_hand = same_devices && !is_asked && self.draft().plan.layout == Layout::Custom;
        let (footing, plan) = Footing::of(laid);
        let draft = match (is_by_hand, same_devices) {
            (true, _) => self.draft().clone(),
            (false, true) => Draft { plan, pins: pins.iter().copied().collect() },
            (false, false) => Draft::new(plan),
        };
        // What is taken for granted is no step: it holds for every plan over these devices.
        self.history.for_each(|standing| {
            if Arc::ptr_eq(&standing.footing.ground.found, &footing.ground.found) {
                standing.footing = Arc::clone(&footing);
            }
        });
        let standing = Standing { draft, footing };
        match self.history.can() {
            (false, false) if same_devices => self.history.amend(standing),
            _ if returned => self.history.amend(standing),
            _ => self.history.step(standing),
        }
        self.habits = Habits::of(self.draft().plan.layout, self.habits);
        self.changed();
    }

    /// The draft as it stands.
    pub fn draft(&self) -> &Draft {
        &self.history.now().draft
    }

    /// What its case was made from.
    pub fn ground(&self) -> &Ground {
        &self.history.now().footing.ground
    }

    /// What the draft leads to.
    pub fn outlook(&self) -> &Outlook {
        &self.outlook
    }

    /// Whose way of running it is judged by.
    pub fn habits(&self) -> Habits {
        self.habits
    }

    /// The case that it is judged under.
    pub fn case(&self) -> &Arc<Case> {
        self.case_of(self.habits)
    }

    /// The case under these habits.
    pub fn case_of(&self, habits: Habits) -> &Arc<Case> {
        let footing = &self.history.now().footing;
        match habits {
            Habits::Own => &footing.own,
            Habits::Released => &footing.released,
        }
    }

    /// Counts the changes, so that what follows from the draft knows when to be made anew.
    pub fn edits(&self) -> u64 {
        self.edits
    }

    /// Whether there is a step to take back, and one to make again.
    pub fn can(&self) -> (bool, bool) {
        self.history.can()
    }

    /// Makes a step.
    pub fn step(&mut self, draft: Draft) {
        let footing = Arc::clone(&self.history.now().footing);
        self.history.step(Standing { draft, footing });
        self.habits = Habits::of(self.draft().plan.layout, self.habits);
        self.changed();
    }

    /// Takes the last step back.
    pub fn undo(&mut self) -> Turn {
        self.turn(History::undo)
    }

    /// Makes the step again that was taken back.
    pub fn redo(&mut self) -> Turn {
        self.turn(History::redo)
    }

    fn turn(&mut self, to: impl FnOnce(&mut History<Standing>) -> bool) -> Turn {
        let before = Arc::clone(&self.ground().found);
        if !to(&mut self.history) {
            return Turn::Nowhere;
        }
        self.habits = Habits::of(self.draft().plan.layout, self.habits);
        self.changed();
        if Arc::ptr_eq(&before, &self.ground().found) { Turn::Plan } else { Turn::Devices }
    }

    /// Judges by these habits from now on.
    pub fn judge_by(&mut self, habits: Habits) {
        self.habits = habits;
        self.changed();
    }

    /// Takes the whole outlook, where the draft is still the same.
    pub fn learn(&mut self, edits: u64, outlook: Outlook) {
        if edits == self.edits {
            self.outlook = outlook;
        }
    }

    fn changed(&mut self) {
        self.edits += 1;
        self.hypothesis = None;
        self.outlook = Outlook::glance(self.case(), &self.draft().plan);
    }

    /// What a drag would do, worked out when it changes and not before. `true` where it changed.
    pub fn imagine(&mut self, pull: Option<Pull>) -> bool {
        if self.hypothesis.as_ref().map(|h| &h.pull) == pull.as_ref() {
            return false;
        }
        let was = self.hypothesis.take().is_some();
        let imagined = pull.and_then(|pull| {
            let draft = pull.apply(self.draft()).ok()?;
            let outlook = Outlook::glance(self.case(), &draft.plan);
            Some(Hypothesis { pull, draft, outlook })
        });
        self.hypothesis = imagined;
        was || self.hypothesis.is_some()
    }

    /// What a drag would do.
    pub fn hypothesis(&self) -> Option<&Hypothesis> {
        self.hypothesis.as_ref()
    }

    /// The plan to show: what a drag would make, else the draft.
    pub fn shown(&self) -> (&Draft, &Outlook) {
        match &self.hypothesis {
            Some(hypothesis) => (&hypothesis.draft, &hypothesis.outlook),
            None => (self.draft(), &self.outlook),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::bytes::GIB;
    use crate::plan::{Assumptions, Device, Dtype, Model, QuestionCost, Workload, catalogue, planner};

    #[test]
    fn a_glance_at_very_many_questions_says_the_same_of_every_device() {
        let model = Model::new(catalogue::find("InternVL3-8B").unwrap(), Dtype::Bf16, None);
        let devices = (0..2).map(|i| Device::simulated(i, 12 * GIB)).collect();
        let question = |i: usize| {
            let tiles = i as u64 % 13 + 1;
            QuestionCost {
                id: i.to_string(),
                tiles,
                prompt_tokens: tiles * 256 + i as u64 % 40,
                ..QuestionCost::default()
            }
        };
        let questions = (0..QUESTIONS_AT_A_GLANCE + 1).map(question).collect();
        let case = Case::new(model, devices, Assumptions::default(), Workload::new(questions));
        let plan = planner::plan(&case, Layout::Auto).unwrap();
        let (glance, whole) = (Outlook::glance(&case, &plan), Outlook::whole(&case, &plan));
        assert_eq!(glance.forecast.devices, whole.forecast.devices);
        assert_eq!(glance.forecast.verdict, whole.forecast.verdict);
        assert!(glance.forecast.questions.is_empty());
        assert_eq!(whole.forecast.counts.iter().sum::<usize>(), QUESTIONS_AT_A_GLANCE + 1);
    }

    #[test]
    fn habits_follow_the_layout_and_stay_with_what_is_changed_by_hand() {
        assert_eq!(Habits::of(Layout::Accelerate, Habits::Own), Habits::Released);
        assert_eq!(Habits::of(Layout::Custom, Habits::Released), Habits::Released);
        assert_eq!(Habits::of(Layout::MistralRs, Habits::Released), Habits::Own);
    }
}
