//! What the board works out in the background: devices, costs of questions, plans, fixes, comparisons.

use std::sync::Arc;

use super::desk::{Desk, Habits, Outlook};
use super::ground::{Asked, Files, Found, Ground, Laid, Start};
use super::view::Tab;
use super::{Board, Fixing, Read, alternatives, assumed};
use crate::app::job::{Handle, Job, Loadable, Wake};
use crate::app::language::fill;
use crate::app::workspace::Subject;
use crate::app::{self, Wishes, Workspace};
use crate::plan::{Case, DeviceKind, needs};

impl Board {
    /// Takes what jobs have brought, and plans anew where the workspace has changed.
    /// `is_running` tells whether a run is in progress: when it ends, more may be known about memory here.
    pub fn receive(&mut self, workspace: &Workspace, is_running: bool, wake: &Wake, wishes: &mut Wishes) {
        wishes.extend(self.sayings.drain(..).map(app::Wish::Say));
        if !self.is_seen {
            // Reading all questions is work that nobody has asked for yet.
            return;
        }
        self.follow(workspace);
        if self.was_running && !is_running {
            // The run may have learnt.
            self.laid_for = None;
        }
        self.was_running = is_running;
        self.take_devices();
        self.priced.poll();
        self.compared.poll();
        self.needed.poll();
        self.read_map.poll();
        if self.writing.poll()
            && let Loadable::Ready(path) = &self.writing
        {
            wishes.push(app::Wish::Say(fill("Written to {}", &[&path.display()])));
        }
        self.look_for_devices(wake);
        let Some(subject) = workspace.subject.ready() else { return };
        self.price(subject, workspace, wake);
        self.lay(subject, workspace, wake);
        self.take_plans();
        self.find_fixes(wake);
        self.compare(wake);
    }

    /// Takes devices and layout from the workspace where somebody else has changed them there.
    fn follow(&mut self, workspace: &Workspace) {
        let choices = (workspace.choices.devices.clone(), workspace.choices.layout.clone());
        if self.followed.as_ref() == Some(&choices) {
            return;
        }
        if self.followed.as_ref().is_none_or(|before| before.0 != choices.0) {
            self.spec = choices.0.clone();
            self.fields.spec = choices.0.clone();
        }
        if self.followed.as_ref().is_none_or(|before| before.1 != choices.1) {
            self.start = Some(Start::named(&choices.1));
        }
        self.followed = Some(choices);
    }

    /// Takes the devices that were looked for; where they are what they were, all that was done on them stays.
    fn take_devices(&mut self) {
        if self.found.poll()
            && let (Some(found), Some(desk)) = (self.found.ready(), &self.desk)
            && **found == *desk.ground().found
        {
            self.found = Loadable::Ready(Arc::clone(&desk.ground().found));
        }
    }

    fn look_for_devices(&mut self, wake: &Wake) {
        let is_for_spec = match &self.found {
            Loadable::Empty => false,
            Loadable::Ready(found) => found.spec == self.spec,
            Loadable::Loading(_) | Loadable::Refused(_) => true,
        };
        if !is_for_spec {
            let spec = self.spec.clone();
            let look = move |_: &Handle| Found::look(&spec).map(Arc::new);
            self.found = Loadable::Loading(Job::start("look for devices", wake, look));
        }
    }

    fn price(&mut self, subject: &Subject, workspace: &Workspace, wake: &Wake) {
        let Some(dataset) = workspace.dataset.ready() else {
            (self.asked, self.priced) = (None, Loadable::Empty);
            return;
        };
        if self.asked.as_ref().is_some_and(|asked| asked.is_of(subject, dataset, &workspace.choices)) {
            return;
        }
        let asked = Asked::new(subject, dataset, &workspace.choices);
        self.asked = Some(asked.clone());
        let work = move |handle: &Handle| asked.price(handle).map(Arc::new);
        self.priced = Loadable::Loading(Job::start("read the questions", wake, work));
    }

    fn lay(&mut self, subject: &Subject, workspace: &Workspace, wake: &Wake) {
        let Some(found) = self.found.ready() else { return };
        let dtype = &workspace.choices.dtype;
        let is_known = |read: &&Read| Arc::ptr_eq(&read.shape, &subject.shape) && read.dtype == *dtype;
        let files = match self.read.as_ref().filter(is_known) {
            Some(read) => read.files.clone(),
            None => {
                let files = Files::of(subject, dtype).map(Arc::new);
                let shape = Arc::clone(&subject.shape);
                self.read = Some(Read { shape, dtype: dtype.clone(), files: files.clone() });
                files
            }
        };
        let is_on_cpu = found.devices.iter().all(|device| device.kind == DeviceKind::Cpu);
        let stored = subject.shape.stored;
        let ground = Ground {
            shape: Arc::clone(&subject.shape),
            files,
            found: Arc::clone(found),
            priced: self.priced.ready().cloned(),
            assumptions: assumed::assumptions(&workspace.choices, &self.elsewhere, stored, is_on_cpu),
            max_tiles: workspace.choices.settings.max_tiles,
            learnt: workspace.choices.learnt.clone(),
        };
        let is_asked = |laid: &(Ground, Start)| self.start.as_ref().is_none_or(|start| *start == laid.1);
        if self.laid_for.as_ref().is_some_and(|laid| laid.0 == ground && is_asked(laid)) {
            self.returned &= self.laying.is_loading();
            return;
        }
        let start = self.start.clone().unwrap_or_else(|| self.strategy());
        let pins = self.pins(&ground);
        self.laid_for = Some((ground.clone(), start.clone()));
        self.laying = Loadable::Loading(Job::start("make a plan", wake, move |_| ground.lay(&start, pins)));
    }

    /// Pins that still mean something on another ground.
    fn pins(&self, ground: &Ground) -> Vec<(usize, usize)> {
        let same = |desk: &&Desk| {
            let before = desk.ground();
            Arc::ptr_eq(&before.shape, &ground.shape) && Arc::ptr_eq(&before.found, &ground.found)
        };
        let desk = self.desk.as_ref().filter(same);
        desk.map_or_else(Vec::new, |desk| desk.draft().pins.iter().map(|(u, d)| (*u, *d)).collect())
    }

    fn take_plans(&mut self) {
        if self.laying.poll() {
            match std::mem::take(&mut self.laying) {
                Loadable::Ready(laid) => self.take_laid(laid),
                Loadable::Refused(problem) => self.refused = Some(problem),
                _ => {}
            }
        }
        if let Some(result) = self.planning.as_ref().and_then(Job::poll) {
            self.planning = None;
            match (result, &mut self.desk) {
                (Ok((edits, draft)), Some(desk)) if edits == desk.edits() => desk.step(draft),
                (Err(problem), _) => self.refused = Some(problem),
                _ => {}
            }
        }
    }

    fn take_laid(&mut self, laid: Laid) {
        self.refused = None;
        let is_asked = self.start.take().is_some();
        let returned = std::mem::take(&mut self.returned) && !is_asked;
        let pins = self.pins(&laid.ground);
        let keeps = self.desk.as_ref().is_some_and(|desk| {
            let before = desk.ground();
            Arc::ptr_eq(&before.shape, &laid.ground.shape) && Arc::ptr_eq(&before.found, &laid.ground.found)
        });
        if !keeps {
            self.view.begin_anew();
        }
        match &mut self.desk {
            Some(desk) => desk.relay(laid, &pins, is_asked, returned),
            None => self.desk = Some(Desk::new(laid)),
        }
    }

    /// Looks at every question and plans the fixes of the findings, which takes milliseconds.
    fn find_fixes(&mut self, wake: &Wake) {
        let done = self.fixing.as_ref().and_then(|fixing| Some((fixing.edits, fixing.job.poll()?)));
        let Some(desk) = &mut self.desk else { return };
        if let Some((edits, result)) = done {
            self.fixing = None;
            if let Ok(outlook) = result {
                desk.learn(edits, outlook);
            }
        }
        let edits = desk.edits();
        if desk.outlook().has_fixes || self.fixing.as_ref().is_some_and(|fixing| fixing.edits == edits) {
            return;
        }
        let (case, plan) = (Arc::clone(desk.case()), desk.draft().plan.clone());
        let look = move |_: &Handle| Ok(Outlook::whole(&case, &plan));
        self.fixing = Some(Fixing { edits, job: Job::start("find what would help", wake, look) });
    }

    /// Works out the other layouts, and the cards that would do where somebody looks at them.
    fn compare(&mut self, wake: &Wake) {
        let Some(desk) = &self.desk else { return };
        let own = Arc::clone(desk.case_of(Habits::Own));
        let is_new = |done: &Option<Arc<Case>>| !done.as_ref().is_some_and(|done| Arc::ptr_eq(done, &own));
        if is_new(&self.compared_for) {
            self.compared_for = Some(Arc::clone(&own));
            let (own, released) = (Arc::clone(&own), Arc::clone(desk.case_of(Habits::Released)));
            let job = Job::start("compare layouts", wake, move |_| Ok(alternatives::all(&own, &released)));
            self.compared = Loadable::Loading(job);
        }
        if self.view.tab == Tab::Needs && self.view.is_side_open && is_new(&self.needed_for) {
            self.needed_for = Some(Arc::clone(&own));
            self.needed = Loadable::Loading(Job::start("find cards", wake, move |_| Ok(needs::needs(&own))));
        }
    }
}
