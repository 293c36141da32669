//! What the board does when it is asked to: edits, layouts, maps, the layout of the next run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::assumed::Assume;
use super::desk::{Desk, Habits, Pull};
use super::ground::Start;
use super::{Board, assumed};
use crate::app::Workspace;
use crate::app::job::{Handle, Job, Loadable, Wake};
use crate::app::language::tr;
use crate::plan::checks::Finding;
use crate::plan::device_map::DeviceMap;
use crate::plan::edits::Draft;
use crate::plan::{Assumptions, Case, Layout, Plan, exchange, planner};
use crate::{Problem, Result};

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {
    /// A drag has ended, or a key did the same.
    Pull(Pull),
    /// Exchange what two devices hold.
    Exchange(usize, usize),
    /// Pin units where they lie.
    Pin(Vec<usize>),
    /// Take pins off.
    Unpin(Vec<usize>),
    /// Take the last step back.
    Undo,
    /// Make it again.
    Redo,
    /// Plan everything that is not pinned anew.
    Replan,
    /// A layout by name.
    Strategy(Layout),
    /// Units where a fix or a map puts them.
    Adopt(Vec<usize>),
    /// A plan as it was read from a map.
    AdoptPlan(Box<Plan>),
    /// Judge by these habits.
    JudgeBy(Habits),
    /// Other devices, as a SPEC.
    Devices(String),
    /// Look for the devices again.
    LookAgain,
    /// Change an assumption.
    Assume(Assume),
    /// Take a fix's assumptions.
    AdoptAssumptions(Box<Assumptions>),
    /// Read a map that was pasted.
    ReadMap(String),
    /// Read a map from a file.
    ReadFile(PathBuf),
    /// Read the questions no further; one picture is assumed.
    StopReading,
    /// Write a text to a file.
    Write(PathBuf, String),
    /// Make this the layout of the next run.
    Use,
}

/// A map that was read, and what it would lead to.
pub struct ReadMap {
    /// The plan that it makes.
    pub plan: Plan,
    /// What there is to say about it.
    pub findings: Vec<Finding>,
    /// How full the fullest device would be.
    pub worst_share: f64,
    /// Whether it fits.
    pub verdict: crate::plan::forecast::Verdict,
}

impl Board {
    /// Carries out a wish.
    pub fn apply(&mut self, wish: Wish, workspace: &mut Workspace, wake: &Wake) {
        match wish {
            Wish::Devices(spec) => {
                self.spec.clone_from(&spec);
                self.fields.spec = spec;
                self.found = Loadable::Empty;
                self.start = Some(self.strategy());
            }
            Wish::LookAgain => self.found = Loadable::Empty,
            Wish::StopReading => self.priced = Loadable::Empty,
            Wish::Assume(change) => {
                change.apply(&mut workspace.choices, &mut self.elsewhere);
                workspace.version += 1;
            }
            Wish::AdoptAssumptions(fix) => {
                assumed::adopt(&fix, &mut workspace.choices, &mut self.elsewhere);
                workspace.version += 1;
            }
            Wish::ReadMap(text) => self.read(move || Ok(text), wake),
            Wish::ReadFile(path) => self.read(move || text_of(&path), wake),
            Wish::Write(path, text) => {
                let write = move |_: &Handle| write(path, &text);
                self.writing = Loadable::Loading(Job::start("write a file", wake, write));
            }
            Wish::Use => self.use_plan(workspace, wake),
            Wish::Undo => {
                self.refused = None;
                self.turn(Desk::undo);
            }
            Wish::Redo => {
                self.refused = None;
                self.turn(Desk::redo);
            }
            wish => {
                self.refused = None;
                if let Err(problem) = self.edit(wish, wake) {
                    self.refused = Some(problem);
                }
            }
        }
    }

    /// The layout that the plan came from, for other devices.
    pub(super) fn strategy(&self) -> Start {
        let layout = self.desk.as_ref().map_or(Layout::Auto, |desk| desk.draft().plan.layout);
        Start::Layout(if layout == Layout::Custom { Layout::Auto } else { layout })
    }

    /// A wish that changes the plan.
    fn edit(&mut self, wish: Wish, wake: &Wake) -> Result<()> {
        let Some(desk) = &mut self.desk else { return Ok(()) };
        match wish {
            Wish::Pull(pull) => {
                let draft = pull.apply(desk.draft())?;
                desk.step(draft);
            }
            Wish::Exchange(a, b) => {
                let draft = desk.draft().swap_devices(a, b)?;
                desk.step(draft);
            }
            Wish::Pin(units) => {
                let draft = desk.draft().pin(&units);
                desk.step(draft);
            }
            Wish::Unpin(units) => {
                let draft = desk.draft().unpin(&units);
                desk.step(draft);
            }
            Wish::Adopt(assignment) => {
                let plan = desk.draft().plan.clone();
                if assignment.len() != plan.assignment.len() {
                    return Err(Problem::new("this was worked out for another model"));
                }
                let plan = Plan::new(Layout::Custom, plan.devices, assignment);
                desk.step(Draft { plan, pins: desk.draft().pins.clone() });
            }
            Wish::AdoptPlan(plan) => desk.step(Draft::new(*plan)),
            Wish::JudgeBy(habits) => desk.judge_by(habits),
            Wish::Replan => {
                let (edits, draft, case) = (desk.edits(), desk.draft().clone(), Arc::clone(desk.case()));
                let replan = move |_: &Handle| Ok((edits, draft.replan(&case)?));
                self.planning = Some(Job::start("plan the rest", wake, replan));
            }
            Wish::Strategy(layout) => {
                let edits = desk.edits();
                let habits = Habits::of(layout, Habits::Own);
                let case = Arc::clone(desk.case_of(habits));
                let plan = move |_: &Handle| Ok((edits, Draft::new(planner::plan(&case, layout)?)));
                self.planning = Some(Job::start("plan by a layout", wake, plan));
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads a map, whatever its form.
    fn read(&mut self, text: impl FnOnce() -> Result<String> + Send + 'static, wake: &Wake) {
        let Some(desk) = &self.desk else { return };
        let case = Arc::clone(desk.case());
        let job = Job::start("read a map", wake, move |_| read_map(&text()?, &case));
        self.read_map = Loadable::Loading(job);
    }

    /// Makes the plan the layout of the next run: by its name where it has one, else as a file.
    fn use_plan(&mut self, workspace: &mut Workspace, wake: &Wake) {
        let Some(desk) = &self.desk else { return };
        let draft = desk.draft();
        let has_name = draft.plan.layout != Layout::Custom && draft.pins.is_empty();
        let layout = if has_name {
            draft.plan.layout.name().to_owned()
        } else {
            let map = DeviceMap::of(&draft.plan, &desk.case().model).to_json();
            let text = serde_json::to_string_pretty(&map).unwrap_or_default();
            let Some(path) = kept(&desk.case().model.shape.name, &text) else {
                self.refused = Some(
                    Problem::new("the system names no folder for a program's data")
                        .fix("write the map to a file of your own, and give that with --layout"),
                );
                return;
            };
            let named = path.display().to_string();
            let write = move |_: &Handle| write(path, &text);
            self.writing = Loadable::Loading(Job::start("keep the layout", wake, write));
            named
        };
        workspace.choices.layout = layout;
        workspace.choices.devices.clone_from(&self.spec);
        workspace.version += 1;
        self.followed = Some((workspace.choices.devices.clone(), workspace.choices.layout.clone()));
        self.sayings.push(tr("The next run uses this layout").into());
    }
}

/// Where the platform keeps a layout; the same layout has the same place.
fn kept(model: &str, text: &str) -> Option<PathBuf> {
    use sha2::{Digest, Sha256};
    let plain: String = model
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' })
        .take(60)
        .collect();
    let digest = Sha256::digest(text.as_bytes());
    let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let folder = dirs::data_dir()?.join("shardscope").join("layouts");
    Some(folder.join(format!("{plain}-{short}.json")))
}

fn write(path: PathBuf, text: &str) -> Result<PathBuf> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| Problem::io("make the folder", folder, &e))?;
    }
    std::fs::write(&path, text).map_err(|e| Problem::io("write the file", &path, &e))?;
    Ok(path)
}

/// A text that is no larger than any map.
pub(super) fn text_of(path: &Path) -> Result<String> {
    let doing = "read the map";
    let size = std::fs::metadata(path).map_err(|e| Problem::io(doing, path, &e))?.len();
    if size > 16 << 20 {
        return Err(Problem::new("this file is larger than any device map").in_file(path));
    }
    std::fs::read_to_string(path).map_err(|e| Problem::io(doing, path, &e))
}

/// Reads a map in any form that is known, and judges it.
fn read_map(text: &str, case: &Case) -> Result<ReadMap> {
    let exchange::Read { plan, findings, forecast, .. } = exchange::read(text, case)?;
    Ok(ReadMap { plan, findings, worst_share: forecast.worst_share, verdict: forecast.verdict })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_layout_is_kept_in_the_same_place() {
        let (Some(one), Some(same), Some(other)) =
            (kept("a/../b c", "{}"), kept("a/../b c", "{}"), kept("a/../b c", "{\"x\": 0}"))
        else {
            return;
        };
        assert_eq!(one, same);
        assert_ne!(one, other);
        let name = one.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("a_.._b_c-") && name.ends_with(".json"), "{name}");
        assert_eq!(one.parent(), other.parent());
    }
}
