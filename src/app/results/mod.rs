//! Results: every question of a session, filtered, charted, compared, exported.

mod charts;
mod comparison;
mod detail;
mod list;
mod rules;
mod screen;
pub mod session;
pub mod view;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use self::session::{Compared, Exported, Looked, Opened};
use self::view::{Column, Filter, Listed};
use super::Wishes;
use super::job::{Job, Loadable, Wake, let_go};
use super::language::fill;
use super::pictures::{Gallery, Look};
use super::text::Prose;
use crate::app;
use crate::dataset::Dataset;
use crate::scoring::benchmark::Figures;
use crate::scoring::{Rule, Verdict};
use crate::session::export::Format;
use crate::session::{Disagreement, Override};

pub use screen::format_name;

/// A way of looking at a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Page {
    /// All answers, and one of them beside.
    #[default]
    Answers,
    /// Charts by category.
    Charts,
    /// Two rules on the same answers.
    Rules,
    /// Two sessions on the same questions.
    Comparison,
}

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Open this session where none is open, without going there.
    Offer(PathBuf),
    /// Another way of looking.
    Turn(Page),
    /// Look at the answer at this position of the session.
    Choose(usize),
    /// Look at the answer to the question of this index.
    ChooseIndex(String),
    /// So many answers on or back in the list.
    Step(isize),
    /// List what this lets through.
    Filter(Box<Filter>),
    /// Sort by a column; twice turns the order round.
    Sort(Column),
    /// Compare the session's rule with this one.
    Against(Rule),
    /// Set a verdict against the machine's, or take it back, and why.
    Override(Option<Verdict>, String),
    /// Write the session in a format to a file.
    Export(Format, PathBuf),
    /// Read the session from the disk again.
    Reload,
    /// Stop what is at work.
    Cancel,
}

/// The open session.
#[derive(Default)]
pub struct Results {
    folder: Option<PathBuf>,
    session: Loadable<Arc<Opened>>,
    dataset: Loadable<Arc<Dataset>>,
    page: Page,
    filter: Filter,
    hits: Option<Arc<HashSet<usize>>>,
    searching: Option<Job<Arc<HashSet<usize>>>>,
    sort: (Column, bool),
    listed: Listed,
    arranging: Option<Job<Listed>>,
    chosen: Option<usize>,
    /// Whether the list is to bring the chosen answer into sight.
    reveal: bool,
    looking: Option<Job<Looked>>,
    looked: Option<Result<Looked, crate::Problem>>,
    second: Option<Rule>,
    rules: Loadable<Disagreement>,
    figures: Loadable<Option<Figures>>,
    comparing: Option<Job<(Arc<Opened>, Compared)>>,
    compared: Option<Compared>,
    exporting: Option<Job<Exported>>,
    reloading: Option<Job<Arc<Opened>>>,
    gallery: Gallery,
    prose: Prose,
    look: Look,
    formatted: bool,
    /// What is being typed.
    draft: list::Draft,
    reason: String,
}

impl Results {
    /// Opens a session in the background.
    pub fn open(&mut self, folder: PathBuf, wake: &Wake) {
        self.clear();
        self.folder = Some(folder.clone());
        self.session = Loadable::Loading(session::open(folder, wake));
    }

    /// Opens two sessions beside each other.
    pub fn compare(&mut self, one: PathBuf, other: PathBuf, wake: &Wake) {
        self.clear();
        self.folder = Some(one.clone());
        self.page = Page::Comparison;
        self.comparing = Some(session::compared(one, other, wake));
    }

    fn clear(&mut self) {
        self.seat(Loadable::Empty);
        let_go((self.compared.take(), std::mem::take(&mut self.rules)));
        *self = Self {
            prose: std::mem::take(&mut self.prose),
            look: self.look.another(),
            formatted: self.formatted,
            exporting: self.exporting.take(),
            ..Self::default()
        };
    }

    /// Puts another session in the place of the one that was open.
    fn seat(&mut self, session: Loadable<Arc<Opened>>) {
        let_go(std::mem::replace(&mut self.session, session));
    }

    /// The session, once it is open.
    pub fn opened(&self) -> Option<&Arc<Opened>> {
        self.session.ready()
    }

    /// The answer that is looked at: its position, where one is chosen.
    pub fn chosen(&self) -> Option<usize> {
        self.chosen
    }

    /// The answer that is looked at, once it is read.
    pub fn answer(&self) -> Option<&Looked> {
        self.looked.as_ref()?.as_ref().ok()
    }

    /// Positions of the answers that are listed, in order.
    pub fn listed(&self) -> &[usize] {
        self.listed.places()
    }

    /// The place of the chosen answer in the list.
    pub fn row(&self) -> Option<usize> {
        self.listed.row(self.chosen?)
    }

    /// What is listed.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// What two rules make of the answers.
    pub fn rules(&self) -> Option<&Disagreement> {
        self.rules.ready()
    }

    /// What two sessions make of the questions.
    pub fn compared(&self) -> Option<&Compared> {
        self.compared.as_ref()
    }

    /// Shows pictures as the model saw them, or as they are.
    pub fn look_as(&mut self, model: bool) {
        self.look.tiles = model;
    }

    /// Whether anything is at work.
    pub fn is_at_work(&self) -> bool {
        self.session.is_loading()
            || self.dataset.is_loading()
            || self.rules.is_loading()
            || self.figures.is_loading()
            || self.comparing.is_some()
            || self.searching.is_some()
            || self.arranging.is_some()
            || self.looking.is_some()
            || self.exporting.is_some()
            || self.reloading.is_some()
    }

    /// The pictures of the question that is looked at.
    pub fn pictures(&self) -> Option<&Loadable<super::pictures::Shown>> {
        self.gallery.get(self.answer()?.row?)
    }

    /// Takes what jobs have brought.
    pub fn receive(&mut self, wake: &Wake, wishes: &mut Wishes) {
        if self.session.poll()
            && let Some(opened) = self.session.ready().cloned()
        {
            self.begin(&opened, wake);
        }
        if let Some(result) = self.comparing.as_ref().and_then(Job::poll) {
            self.comparing = None;
            match result {
                Ok((opened, compared)) => {
                    self.compared = Some(compared);
                    self.seat(Loadable::Ready(opened.clone()));
                    self.begin(&opened, wake);
                }
                Err(problem) => self.seat(Loadable::Refused(problem)),
            }
        }
        if let Some(result) = self.reloading.as_ref().and_then(Job::poll) {
            self.reloading = None;
            match result {
                Ok(opened) => {
                    self.seat(Loadable::Ready(opened.clone()));
                    self.begin(&opened, wake);
                }
                Err(problem) => wishes.push(app::Wish::Warn(problem)),
            }
        }
        if self.dataset.poll() {
            self.gallery.of(self.dataset.ready().cloned(), None);
            self.read(wake);
        }
        if let Some(result) = self.searching.as_ref().and_then(Job::poll) {
            self.searching = None;
            match result {
                Ok(hits) => self.hits = Some(hits),
                Err(problem) => wishes.push(app::Wish::Warn(problem)),
            }
            self.arrange(wake);
        }
        if let Some(result) = self.arranging.as_ref().and_then(Job::poll) {
            self.arranging = None;
            match result {
                Ok(listed) => self.list(listed, wake),
                Err(problem) => wishes.push(app::Wish::Warn(problem)),
            }
        }
        if let Some(result) = self.looking.as_ref().and_then(Job::poll) {
            self.looking = None;
            if let Ok(Looked { row: Some(row), answer, .. }) = &result {
                self.gallery.want(*row, Some(answer), wake);
            }
            self.looked = Some(result);
        }
        if let Some(result) = self.exporting.as_ref().and_then(Job::poll) {
            self.exporting = None;
            match result {
                Ok(it) => {
                    wishes.push(app::Wish::Say(fill(
                        "{} answers written to {}",
                        &[&it.answers, &it.to.display()],
                    )));
                    wishes.extend(it.warnings.into_iter().take(3).map(app::Wish::Warn));
                }
                Err(problem) => wishes.push(app::Wish::Warn(problem)),
            }
        }
        self.rules.poll();
        self.figures.poll();
        self.gallery.receive();
    }

    /// A session has come.
    fn begin(&mut self, opened: &Arc<Opened>, wake: &Wake) {
        if matches!(self.dataset, Loadable::Empty) {
            self.dataset = Loadable::Loading(session::dataset(opened.clone(), wake));
        }
        if self.page == Page::Charts {
            self.want_figures(wake);
        }
        self.arrange(wake);
    }

    /// Lists the answers anew, in a job; the list stands as it was until that is done.
    fn arrange(&mut self, wake: &Wake) {
        let Some(opened) = self.session.ready().cloned() else { return };
        let answers = opened.record.len();
        let is_plain = !self.filter.is_set() && self.sort == (Column::Order, false);
        if is_plain || self.listed.answers() != answers {
            // Another session than the one that the list was made of, or nothing to work out.
            self.arranging = None;
            self.list(Listed::whole(answers), wake);
        }
        if !is_plain {
            let hits = self.hits.clone().filter(|_| !self.filter.text.trim().is_empty());
            self.arranging = Some(session::arranged(opened, self.filter.clone(), hits, self.sort, wake));
        }
    }

    /// Takes a list; keeps the chosen answer where it is still listed.
    fn list(&mut self, listed: Listed, wake: &Wake) {
        self.listed = listed;
        if self.row().is_none() {
            self.chosen = self.listed.places().first().copied();
        }
        self.reveal = true;
        self.read(wake);
    }

    /// Reads the chosen answer.
    fn read(&mut self, wake: &Wake) {
        let (Some(opened), Some(place)) = (self.session.ready().cloned(), self.chosen) else {
            self.looked = None;
            return;
        };
        let other = self.compared.as_ref().map(|compared| compared.other.clone());
        let dataset = self.dataset.ready().cloned();
        self.looking = Some(session::look(opened, other, dataset, place, wake));
    }

    fn want_figures(&mut self, wake: &Wake) {
        if let (Some(opened), Loadable::Empty) = (self.session.ready(), &self.figures) {
            self.figures = Loadable::Loading(session::benchmark(opened.clone(), wake));
        }
    }

    fn choose(&mut self, place: usize, wake: &Wake) {
        if self.chosen != Some(place) {
            self.chosen = Some(place);
            self.look = self.look.another();
            self.reason.clear();
            self.read(wake);
        }
    }

    /// Draws the screen.
    pub fn ui(&mut self, ui: &mut egui::Ui, wishes: &mut Wishes) {
        screen::ui(self, ui, wishes);
        self.reveal = false;
    }

    /// Carries out a wish.
    pub fn apply(&mut self, wish: Wish, wake: &Wake) {
        match wish {
            Wish::Offer(folder) => {
                if self.folder.is_none() {
                    self.open(folder, wake);
                }
            }
            Wish::Turn(page) => {
                self.page = page;
                match page {
                    Page::Charts => self.want_figures(wake),
                    Page::Rules if self.second.is_none() => self.against(None, wake),
                    _ => {}
                }
            }
            Wish::Choose(place) => self.choose(place, wake),
            Wish::ChooseIndex(index) => {
                let place = self.session.ready().and_then(|opened| opened.record.position(&index));
                if let Some(place) = place {
                    self.choose(place, wake);
                }
            }
            Wish::Step(by) => {
                let last = self.listed.len().saturating_sub(1);
                let next = self.row().map_or(0, |at| at.saturating_add_signed(by).min(last));
                if let Some(place) = self.listed.places().get(next).copied() {
                    self.reveal = true;
                    self.choose(place, wake);
                }
            }
            Wish::Filter(filter) => {
                let text_changed = filter.text.trim() != self.filter.text.trim();
                self.filter = *filter;
                if text_changed {
                    self.search(wake);
                }
                self.arrange(wake);
            }
            Wish::Sort(by) => {
                self.sort = if self.sort.0 == by { (by, !self.sort.1) } else { (by, false) };
                self.arrange(wake);
            }
            Wish::Against(rule) => self.against(Some(rule), wake),
            Wish::Override(verdict, reason) => {
                let (Some(folder), Some(looked)) = (self.folder.clone(), self.answer()) else { return };
                let said = Override::new(looked.answer.index.clone(), verdict, reason.trim());
                self.reloading = Some(session::set(folder, said, wake));
                self.reason.clear();
            }
            Wish::Export(format, to) => {
                let Some(folder) = self.folder.clone() else { return };
                let dataset = self.dataset.ready().cloned();
                self.exporting = Some(session::exported(folder, format, to, dataset, wake));
            }
            Wish::Reload => {
                if let Some(folder) = self.folder.clone() {
                    self.reloading = Some(session::open(folder, wake));
                    (self.figures, self.rules, self.second) = (Loadable::Empty, Loadable::Empty, None);
                }
            }
            Wish::Cancel => {
                (self.searching, self.exporting) = (None, None);
                if self.session.is_loading() || self.comparing.is_some() {
                    self.clear();
                }
            }
        }
    }

    fn search(&mut self, wake: &Wake) {
        self.searching = None;
        let Some(opened) = self.session.ready().cloned() else { return };
        if self.filter.text.trim().is_empty() {
            self.hits = None;
        } else {
            // Until the search is done, the list shows what it showed.
            self.searching = Some(session::search(opened, &self.filter.text, wake));
        }
    }

    /// Compares the session's rule with another one; with one that it is not, where none is named.
    fn against(&mut self, second: Option<Rule>, wake: &Wake) {
        let Some(opened) = self.session.ready().cloned() else { return };
        let own = Rule::by_name(&opened.record.manifest().settings.rule).unwrap_or_default();
        let other = Rule::all().into_iter().find(|rule| *rule != own);
        let Some(second) = second.or(other) else { return };
        self.second = Some(second);
        let reading = Loadable::Loading(session::disagree(opened, [own, second], wake));
        let_go(std::mem::replace(&mut self.rules, reading));
    }
}
