//! Run: the question being answered, the score so far, and the memory of every device.

mod before;
pub mod flow;
mod flow_ui;
mod head;
mod key;
pub mod link;
pub mod live;
pub mod memory;
mod prepare;
mod question;
pub mod sampling;
mod screen;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::link::{Link, Silence};
use self::live::{Live, Stage};
use self::prepare::Prepared;
use self::sampling::{Sampling, Sources};
use super::job::{Job, Wake};
use super::language::fill;
use super::parts::figure;
use super::pictures::{Gallery, Look};
use super::served::{Hidden, Opening, wants_key};
use super::text::Prose;
use super::{Wishes, Workspace};
use crate::Problem;
use crate::app;
use crate::engine::Command;

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Wait after the present token.
    Pause,
    /// Go on.
    Resume,
    /// End; what is answered is kept.
    Stop,
    /// Leave the question of this row out for now.
    Skip(usize),
    /// Show the question of this row from now on; none follows the latest.
    Follow(Option<usize>),
    /// Show another of the questions that were shown: so many on or back.
    Step(isize),
    /// Stop preparing.
    Cancel,
    /// Forget why the last run did not begin.
    Forget,
    /// The note has been read.
    Dismiss(usize),
}

/// How long a question that is followed stays, and stays again once it is answered: a fast model can be watched too.
const STAY: Duration = Duration::from_millis(900);

/// The question on which the screen rests while it follows the run.
struct Resting {
    row: usize,
    answered: bool,
    since: Instant,
}

/// The run in progress, or the last one.
#[derive(Default)]
pub struct Runs {
    preparing: Option<Job<Prepared>>,
    refused: Option<Problem>,
    live: Option<Live>,
    link: Option<Link>,
    sampling: Option<Sampling>,
    /// The session that goes on, or was to.
    resuming: Option<PathBuf>,
    /// A key that is typed for it.
    key: Hidden,
    follow: Option<usize>,
    resting: Option<Resting>,
    gallery: Gallery,
    prose: Prose,
    look: Look,
    formatted: bool,
    /// Whether the last frame showed this screen.
    seen: bool,
}

impl Runs {
    /// Begins a run of what is chosen.
    pub fn start(&mut self, workspace: &Workspace, wake: &Wake) {
        if self.is_active() {
            return;
        }
        (self.refused, self.resuming) = (None, None);
        match prepare::new(workspace, wake) {
            Ok(job) => self.preparing = Some(job),
            Err(problem) => self.refused = Some(problem),
        }
    }

    /// Goes on with a session on disk; one of a served model is opened with what is known of its server.
    pub fn resume(&mut self, folder: PathBuf, opening: Opening, wake: &Wake) {
        if self.is_active() {
            return;
        }
        (self.refused, self.resuming) = (None, Some(folder.clone()));
        self.preparing = Some(prepare::resumed(folder, opening, wake));
    }

    /// Takes what the engine has said.
    pub fn receive(&mut self, wake: &Wake, wishes: &mut Wishes) {
        let seen = std::mem::take(&mut self.seen);
        if let Some(result) = self.preparing.as_ref().and_then(Job::poll) {
            self.preparing = None;
            match result {
                Ok(prepared) => self.begin(prepared, wake),
                Err(problem) => self.refused = Some(problem),
            }
        }
        if let (Some(live), Some(link)) = (&mut self.live, &self.link) {
            loop {
                match link.next() {
                    Ok(event) => live.take(event),
                    Err(Silence::Over) => break live.lost(),
                    Err(Silence::Yet) => break,
                }
            }
            for measured in self.sampling.iter().flat_map(Sampling::samples) {
                live.trace.measured(measured);
            }
            if !live.is_active()
                && let Some(link) = self.link.take()
            {
                link.join();
                self.sampling = None;
                // Who looks at the run needs no word that it is over.
                if !seen {
                    wishes.push(app::Wish::Say(over(live)));
                }
                if live.done > 0 {
                    wishes.push(app::Wish::Results(super::results::Wish::Offer(live.about.folder.clone())));
                }
            }
        }
        self.rest();
        self.gallery.receive();
        if let Some(row) = self.shown() {
            self.gallery.want(row, None, wake);
        }
    }

    fn begin(&mut self, prepared: Prepared, wake: &Wake) {
        let Prepared { order, dataset, earlier, about, trace, cutting, notes } = prepared;
        self.gallery.of(Some(dataset), cutting);
        let mut live = Live::new(about, &earlier, trace);
        live.notes = notes;
        let sources = Sources::of(&order);
        match Link::start(order, wake) {
            Ok(link) => {
                self.link = Some(link);
                self.sampling = Sampling::start(sources, wake);
            }
            Err(problem) => live.stage = Stage::Broken(problem),
        }
        self.live = Some(live);
        (self.follow, self.resting) = (None, None);
        self.look = self.look.another();
    }

    /// Whether a run is being prepared or is under way: closing the window now would interrupt it.
    pub fn is_active(&self) -> bool {
        self.preparing.is_some() || self.live.as_ref().is_some_and(Live::is_active)
    }

    /// Ends the run and waits until the worker has let go of its session; the window is being closed.
    pub fn shut(&mut self) {
        self.preparing = None;
        self.sampling = None;
        if let Some(link) = self.link.take() {
            link.tell(Command::Stop);
            link.join();
        }
    }

    /// The run in progress, or the last one.
    pub fn live(&self) -> Option<&Live> {
        self.live.as_ref()
    }

    /// Why the run that was asked for did not begin.
    pub fn refused(&self) -> Option<&Problem> {
        self.refused.as_ref()
    }

    /// The session whose server wants a key, or another one, before it can go on.
    pub fn locked(&self) -> Option<&Path> {
        match (&self.refused, &self.live) {
            (Some(refused), _) => self.resuming.as_deref().filter(|_| wants_key(refused)),
            (None, Some(Live { stage: Stage::Broken(broken), about, .. })) => {
                (about.server.is_some() && wants_key(broken)).then_some(about.folder.as_path())
            }
            _ => None,
        }
    }

    /// Row of the question that is shown.
    pub fn shown(&self) -> Option<usize> {
        let live = self.live.as_ref()?;
        let resting = self.resting.as_ref().map(|resting| resting.row);
        let is_there = |row: &usize| live.flight(*row).is_some() || live.answer(*row).is_some();
        self.follow.filter(is_there).or(resting.filter(is_there)).or_else(|| live.latest())
    }

    /// Goes on to the latest question, where the one that is shown has stayed long enough.
    fn rest(&mut self) {
        let Some(live) = &self.live else { return };
        let Some(latest) = live.latest() else { return self.resting = None };
        if let Some(resting) = &mut self.resting {
            if !resting.answered && live.answer(resting.row).is_some() {
                (resting.answered, resting.since) = (true, Instant::now());
            }
            let is_there = live.flight(resting.row).is_some() || resting.answered;
            if resting.row == latest
                || (live.stage == Stage::Running && is_there && resting.since.elapsed() < STAY)
            {
                return;
            }
        }
        self.resting = Some(Resting { row: latest, answered: false, since: Instant::now() });
    }

    /// How long the screen waits before it goes on to another question.
    fn stays(&self) -> Option<Duration> {
        let (live, resting) = (self.live.as_ref()?, self.resting.as_ref()?);
        (live.stage == Stage::Running && live.latest() != Some(resting.row))
            .then(|| STAY.saturating_sub(resting.since.elapsed()))
    }

    /// A word on the run in progress, for the top bar.
    pub fn badge_ui(&mut self, ui: &mut egui::Ui, wishes: &mut Wishes) {
        screen::badge_ui(self, ui, wishes);
    }

    /// Draws the screen.
    pub fn ui(&mut self, ui: &mut egui::Ui, workspace: &Workspace, wishes: &mut Wishes) {
        screen::ui(self, ui, workspace, wishes);
        if let Some(stays) = self.stays() {
            ui.ctx().request_repaint_after(stays);
        }
        self.seen = true;
    }

    /// Carries out a wish.
    pub fn apply(&mut self, wish: Wish, wake: &Wake) {
        match wish {
            Wish::Pause => self.tell(Command::Pause, Stage::Pausing),
            Wish::Resume => self.tell(Command::Resume, Stage::Running),
            Wish::Stop => self.tell(Command::Stop, Stage::Stopping),
            Wish::Skip(row) => {
                if let Some(link) = &self.link {
                    link.tell(Command::Skip(row));
                }
            }
            Wish::Follow(row) => {
                self.follow = row;
                self.look = self.look.another();
            }
            Wish::Step(by) => self.step(by),
            Wish::Cancel => self.preparing = None,
            Wish::Forget => (self.refused, self.resuming) = (None, None),
            Wish::Dismiss(place) => {
                if let Some(live) = self.live.as_mut().filter(|live| place < live.notes.len()) {
                    live.notes.remove(place);
                }
            }
        }
        if let Some(row) = self.shown() {
            self.gallery.want(row, None, wake);
        }
    }

    fn tell(&mut self, command: Command, stage: Stage) {
        if let (Some(live), Some(link)) = (&mut self.live, &self.link)
            && live.is_active()
        {
            link.tell(command);
            // The worker says itself that it waits; until then the screen says that it was asked to. While weights
            // are loaded, the bar goes on to show them.
            if !matches!((&live.stage, &stage), (Stage::Loading(..), Stage::Running)) {
                live.stage = stage;
            }
        }
    }

    /// Goes through the questions that can be shown: the answered ones, then those in flight.
    fn step(&mut self, by: isize) {
        let Some(live) = &self.live else { return };
        let rows: Vec<usize> =
            live.answers.iter().map(|done| done.row).chain(live.flights.iter().map(|it| it.row)).collect();
        let at = self.shown().and_then(|shown| rows.iter().position(|row| *row == shown));
        let Some(next) = at.and_then(|at| at.checked_add_signed(by)) else { return };
        // Past the last one the screen follows the run again.
        self.follow = rows.get(next).copied();
        self.look = self.look.another();
    }
}

/// How a run ended, in a sentence.
fn over(live: &Live) -> String {
    let score = figure::accuracy(&live.report.overall);
    match &live.stage {
        Stage::Over(true) => fill("The run is complete: {}", &[&score]),
        Stage::Over(false) => {
            fill("The run was stopped at {} of {}; it can be resumed", &[&live.done, &live.about.total])
        }
        _ => fill("The run could not go on at {} of {}", &[&live.done, &live.about.total]),
    }
}
