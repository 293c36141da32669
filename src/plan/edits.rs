//! Changing a plan by hand: moves, boundaries, swaps, pins, and planning the rest anew; with undo and redo. Pure functions
//! on plain data, cheap enough for every frame of a drag.

use std::collections::BTreeMap;

use super::layout::{Layout, Plan};
use super::planner::{self, Case, Wishes};
use crate::{Problem, Result};

/// A plan being edited: where units lie and which of them the user has pinned.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The plan.
    pub plan: Plan,
    /// Pinned units and their devices.
    pub pins: BTreeMap<usize, usize>,
}

impl Draft {
    /// A draft of a plan, nothing pinned.
    pub fn new(plan: Plan) -> Self {
        Self { plan, pins: BTreeMap::new() }
    }

    fn changed(&self) -> Self {
        let mut next = self.clone();
        next.plan.layout = Layout::Custom;
        next.plan.exact = false;
        next.plan.notes.clear();
        next
    }

    fn need_device(&self, device: usize) -> Result<()> {
        match self.plan.devices.get(device) {
            Some(_) => Ok(()),
            None => Err(Problem::new(format!("there is no device {device} in this plan"))),
        }
    }

    /// Moves units to a device and pins them there: what was dragged stays.
    pub fn move_units(&self, units: &[usize], device: usize) -> Result<Self> {
        self.need_device(device)?;
        if let Some(unit) = units.iter().find(|&&unit| unit >= self.plan.assignment.len()) {
            return Err(Problem::new(format!("there is no unit {unit} in this plan")));
        }
        let mut next = self.changed();
        for &unit in units {
            next.plan.assignment[unit] = device;
            next.pins.insert(unit, device);
        }
        next.plan.splits.retain(|split| !units.contains(&split.unit));
        Ok(next)
    }

    /// Moves the boundary behind a run of units (as [`Plan::runs`] counts them) by so many units: forward gives units of
    /// the next run to this one, backward the other way. Neither run is emptied past the other; pinned units stop it.
    pub fn move_boundary(&self, run: usize, by: i64) -> Result<Self> {
        let runs = self.plan.runs();
        let (Some(left), Some(right)) = (runs.get(run), runs.get(run.saturating_add(1))) else {
            return Err(Problem::new(format!("there is no boundary behind stage {run}")));
        };
        let mut next = self.changed();
        let room = if by >= 0 { right.last - right.first + 1 } else { left.last - left.first + 1 };
        let steps = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX).min(room);
        for step in 0..steps {
            let (unit, device) =
                if by >= 0 { (right.first + step, left.device) } else { (left.last - step, right.device) };
            if self.pins.get(&unit).is_some_and(|&pinned| pinned != device) {
                break;
            }
            next.plan.assignment[unit] = device;
        }
        Ok(next)
    }

    /// Exchanges what two devices hold, pins included.
    pub fn swap_devices(&self, a: usize, b: usize) -> Result<Self> {
        self.need_device(a)?;
        self.need_device(b)?;
        let mut next = self.changed();
        let other = |device: &mut usize| {
            if *device == a {
                *device = b;
            } else if *device == b {
                *device = a;
            }
        };
        next.plan.assignment.iter_mut().for_each(other);
        next.pins.values_mut().for_each(other);
        next.plan.splits.iter_mut().for_each(|split| other(&mut split.device));
        Ok(next)
    }

    /// Pins units where they lie.
    pub fn pin(&self, units: &[usize]) -> Self {
        let mut next = self.clone();
        for &unit in units {
            if let Some(&device) = self.plan.assignment.get(unit) {
                next.pins.insert(unit, device);
            }
        }
        next
    }

    /// Takes pins off.
    pub fn unpin(&self, units: &[usize]) -> Self {
        let mut next = self.clone();
        next.pins.retain(|unit, _| !units.contains(unit));
        next
    }

    /// Plans everything that is not pinned anew; equal devices keep what they have. The plan's devices must be the case's.
    pub fn replan(&self, case: &Case) -> Result<Self> {
        let wishes = Wishes {
            pins: self.pins.iter().map(|(&unit, &device)| (unit, device)).collect(),
            previous: Some(self.plan.assignment.clone()),
            ..Wishes::default()
        };
        Ok(Self { plan: planner::ours(case, &wishes)?, pins: self.pins.clone() })
    }
}

/// Drafts, or what one works on in their place, in the order they were made, with a way back and forth.
#[derive(Debug, Clone)]
pub struct History<T = Draft> {
    past: Vec<T>,
    present: T,
    future: Vec<T>,
}

/// Steps that can be taken back.
const REMEMBERED: usize = 500;

impl<T: PartialEq> History<T> {
    /// Starts with a draft.
    pub fn new(draft: T) -> Self {
        Self { past: Vec::new(), present: draft, future: Vec::new() }
    }

    /// The draft now.
    pub fn now(&self) -> &T {
        &self.present
    }

    /// Makes a step; a step that changes nothing is not remembered.
    pub fn step(&mut self, next: T) {
        if next == self.present {
            return;
        }
        self.future.clear();
        if self.past.len() == REMEMBERED {
            self.past.remove(0);
        }
        self.past.push(std::mem::replace(&mut self.present, next));
    }

    /// Puts another draft in the place of the present one, which is no step.
    pub fn amend(&mut self, draft: T) {
        self.present = draft;
    }

    /// Changes all that is remembered.
    pub fn for_each(&mut self, change: impl FnMut(&mut T)) {
        let now = std::iter::once(&mut self.present);
        self.past.iter_mut().chain(now).chain(&mut self.future).for_each(change);
    }

    /// Takes the last step back. False where there is none.
    pub fn undo(&mut self) -> bool {
        let Some(before) = self.past.pop() else { return false };
        self.future.push(std::mem::replace(&mut self.present, before));
        true
    }

    /// Makes the step again that was taken back. False where there is none.
    pub fn redo(&mut self) -> bool {
        let Some(after) = self.future.pop() else { return false };
        self.past.push(std::mem::replace(&mut self.present, after));
        true
    }

    /// Whether there is a step to take back, and one to make again.
    pub fn can(&self) -> (bool, bool) {
        (!self.past.is_empty(), !self.future.is_empty())
    }
}

/// A unit that lies elsewhere in another plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// First and last unit of a run that moved the same way.
    pub units: (usize, usize),
    /// Device name in the first plan.
    pub from: String,
    /// Device name in the second.
    pub to: String,
}

/// What differs between two plans of the same model, as runs of units that moved the same way. Devices are compared by name.
pub fn compare(a: &Plan, b: &Plan) -> Vec<Moved> {
    let name = |plan: &Plan, unit: usize| {
        let device = plan.assignment.get(unit).and_then(|&d| plan.devices.get(d));
        device.map_or_else(String::new, |d| d.name.clone())
    };
    let mut moved: Vec<Moved> = Vec::new();
    for unit in 0..a.assignment.len().min(b.assignment.len()) {
        let (from, to) = (name(a, unit), name(b, unit));
        if from == to {
            continue;
        }
        match moved.last_mut() {
            Some(last) if last.units.1 + 1 == unit && last.from == from && last.to == to => {
                last.units.1 = unit
            }
            _ => moved.push(Moved { units: (unit, unit), from, to }),
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::bytes::GIB;
    use crate::plan::{Assumptions, Device, Dtype, Model, Workload, catalogue};
    use proptest::prelude::*;

    fn case() -> Case {
        let model = Model::new(catalogue::find("InternVL3-8B").unwrap(), Dtype::Bf16, None);
        let devices = (0..4).map(|i| Device::simulated(i, 24 * GIB)).collect();
        Case::new(model, devices, Assumptions::default(), Workload::assumed(13, 3500))
    }

    fn draft() -> Draft {
        Draft::new(planner::plan(&case(), Layout::Auto).unwrap())
    }

    #[test]
    fn what_is_dragged_stays_when_the_rest_is_planned() {
        let case = case();
        let dragged = draft().move_units(&[30, 31], 3).unwrap();
        let planned = dragged.replan(&case).unwrap();
        assert_eq!((planned.plan.assignment[30], planned.plan.assignment[31]), (3, 3));
        let free = planned.unpin(&[30, 31]).replan(&case).unwrap();
        assert!(
            planner::worst_share(&case, &free.plan).value()
                <= planner::worst_share(&case, &planned.plan).value()
        );
    }

    #[test]
    fn boundaries_move_and_stop_at_pins() {
        let start = draft();
        let runs = start.plan.runs();
        let later = start.move_boundary(0, 2).unwrap();
        assert_eq!(later.plan.runs()[0].last, runs[0].last + 2);
        let back = later.move_boundary(0, -2).unwrap();
        assert_eq!(back.plan.assignment, start.plan.assignment);
        let pinned = start.pin(&[runs[1].first]);
        assert_eq!(pinned.move_boundary(0, 2).unwrap().plan.assignment, start.plan.assignment);
        let all = start.move_boundary(0, i64::MAX).unwrap();
        assert_eq!(all.plan.runs().len(), runs.len() - 1);
        assert!(start.move_boundary(99, 1).is_err());
    }

    #[test]
    fn undo_and_redo() {
        let mut history = History::new(draft());
        let first = history.now().clone();
        let second = first.swap_devices(0, 1).unwrap();
        history.step(second.clone());
        history.step(second.clone());
        assert_eq!(history.can(), (true, false));
        assert!(history.undo() && history.now() == &first && !history.undo());
        assert!(history.redo() && history.now() == &second && !history.redo());
        history.undo();
        history.step(first.move_units(&[0], 2).unwrap());
        assert_eq!(history.can(), (true, false));
    }

    #[test]
    fn differences_are_runs() {
        let a = draft();
        let b = a.move_units(&[3, 4, 5, 9], 3).unwrap();
        let moved = compare(&a.plan, &b.plan);
        assert_eq!(moved.iter().map(|m| m.units).collect::<Vec<_>>(), [(3, 5), (9, 9)]);
        assert_eq!((moved[0].from.as_str(), moved[0].to.as_str()), ("sim:0", "sim:3"));
        assert!(compare(&a.plan, &a.plan).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_series_of_edits_can_be_taken_back(steps in proptest::collection::vec((0u8..5, 0usize..70, 0usize..6, -9i64..9), 1..20)) {
            let case = case();
            let mut history = History::new(draft());
            let start = history.now().clone();
            let mut made = 0;
            for (what, unit, device, by) in steps {
                let now = history.now();
                let next = match what {
                    0 => now.move_units(&[unit], device),
                    1 => now.move_boundary(device, by),
                    2 => now.swap_devices(device, unit % 5),
                    3 => Ok(now.pin(&[unit])),
                    _ => now.replan(&case),
                };
                if let Ok(next) = next && next != *now {
                    prop_assert_eq!(next.plan.assignment.len(), start.plan.assignment.len());
                    prop_assert!(next.plan.assignment.iter().all(|&d| d < next.plan.devices.len()));
                    history.step(next);
                    made += 1;
                }
            }
            for _ in 0..made {
                prop_assert!(history.undo());
            }
            prop_assert_eq!(history.now(), &start);
        }
    }
}
