//! Sessions: all runs on disk, with what can be done with them.

mod detail;
pub mod importing;
pub mod listing;
mod screen;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::job::{Job, Loadable, Wake};
use super::language::{fill, tr};
use super::{Wishes, Workspace};
use crate::Result;
use crate::evaluation::pictures::Pictures;
use crate::session::export::{Format, export};
use crate::session::{Record, keeping};
use importing::Importing;
use listing::{By, Listing};

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Read the folder again.
    Look,
    /// Mark this session, alone or besides those marked.
    Mark(PathBuf, bool),
    /// Sort by a column, downwards or upwards.
    Sort(By, bool),
    /// Begin to name a session.
    BeginNaming(PathBuf),
    /// Give a session a name; an empty one takes it away.
    Name(PathBuf, String),
    /// Leave the name as it is.
    EndNaming,
    /// Put sessions into the trash.
    Discard(Vec<PathBuf>),
    /// Take sessions out of the trash.
    Restore(Vec<PathBuf>),
    /// Ask whether to delete what is in the trash.
    AskToEmpty(bool),
    /// Delete what is in the trash.
    Empty,
    /// Write a session in a format to a file.
    Export(PathBuf, Format, PathBuf),
    /// Stop writing it.
    StopExport,
    /// Ask about predictions of another program that shall become a session.
    Import(PathBuf),
    /// Make the session.
    BeginImport,
    /// Leave it.
    EndImport,
}

/// What a job of this screen has done.
enum Done {
    Named,
    Discarded(Vec<PathBuf>),
    Restored,
    Emptied(usize),
}

/// The sessions on disk.
#[derive(Default)]
pub struct Sessions {
    root: PathBuf,
    listing: Loadable<Listing>,
    /// The job that reads the folder again while the last listing stands.
    again: Option<Job<Listing>>,
    search: String,
    by: By,
    upwards: bool,
    marked: BTreeSet<PathBuf>,
    naming: Option<(PathBuf, String)>,
    asks_to_empty: bool,
    doing: Vec<Job<Done>>,
    exporting: Option<Job<String>>,
    importing: Option<Importing>,
    was_running: bool,
}

impl Sessions {
    /// The folder as it was last read.
    pub fn listing(&self) -> Option<&Listing> {
        self.listing.ready()
    }

    /// The newest session that can be opened.
    pub fn newest(&self) -> Option<PathBuf> {
        let mut entries = self.listing()?.entries.iter();
        entries.find(|entry| entry.manifest().is_some()).map(|entry| entry.summary.dir.clone())
    }

    /// Reads the folder again; the last listing stands until that is done.
    pub fn look(&mut self, wake: &Wake) {
        let root = self.root.clone();
        let job = Job::start("list the sessions", wake, move |_| Listing::of(&root));
        match self.listing {
            Loadable::Ready(_) => self.again = Some(job),
            _ => self.listing = Loadable::Loading(job),
        }
    }

    /// Takes what jobs have brought. `is_running` tells whether a run is in progress: when it ends, the list changes.
    pub fn receive(&mut self, workspace: &Workspace, is_running: bool, wake: &Wake, wishes: &mut Wishes) {
        if self.root != workspace.sessions {
            self.root.clone_from(&workspace.sessions);
            self.listing = Loadable::Empty;
            self.look(wake);
        }
        if self.was_running != is_running {
            self.was_running = is_running;
            self.look(wake);
        }
        let had_none = self.listing().is_none_or(|listing| listing.entries.is_empty());
        self.listing.poll();
        if let Some(result) = self.again.as_ref().and_then(Job::poll) {
            self.again = None;
            self.listing = match result {
                Ok(listing) => Loadable::Ready(listing),
                Err(problem) => Loadable::Refused(problem),
            };
        }
        // The first session that there is shows what can be done with one.
        if let (true, Some(newest)) = (had_none, self.listing.ready().and_then(|it| it.entries.first())) {
            self.marked.insert(newest.summary.dir.clone());
        }
        if let Some(listing) = self.listing.ready() {
            self.marked.retain(|dir| listing.find(dir).is_some());
        }
        let mut done = Vec::new();
        self.doing.retain(|job| match job.poll() {
            None => true,
            Some(result) => {
                done.push(result);
                false
            }
        });
        if !done.is_empty() {
            self.look(wake);
        }
        wishes.extend(done.into_iter().filter_map(told));
        if let Some(imported) = self.importing.as_mut().and_then(|importing| importing.receive(workspace)) {
            self.importing = None;
            self.marked = [imported.dir].into();
            self.look(wake);
            wishes.push(super::Wish::Say(imported.text));
        }
        if let Some(result) = self.exporting.as_ref().and_then(Job::poll) {
            self.exporting = None;
            wishes.push(match result {
                Ok(text) => super::Wish::Say(text),
                Err(problem) => super::Wish::Warn(problem),
            });
        }
    }

    /// Draws the screen.
    pub fn ui(&mut self, ui: &mut egui::Ui, wishes: &mut Wishes) {
        screen::ui(self, ui, wishes);
    }

    /// Carries out a wish.
    pub fn apply(&mut self, wish: Wish, wake: &Wake) {
        match wish {
            Wish::Look => self.look(wake),
            Wish::Mark(dir, besides) => {
                let was_marked = self.marked.contains(&dir);
                if !besides {
                    self.marked.clear();
                }
                if !(besides && was_marked) {
                    self.marked.insert(dir);
                } else {
                    self.marked.remove(&dir);
                }
                self.naming = None;
            }
            Wish::Sort(by, upwards) => (self.by, self.upwards) = (by, upwards),
            Wish::BeginNaming(dir) => {
                let entry = self.listing.ready().and_then(|listing| listing.find(&dir));
                let name = entry.and_then(|entry| entry.label.clone()).unwrap_or_default();
                self.naming = Some((dir, name));
            }
            Wish::EndNaming => self.naming = None,
            Wish::Name(dir, name) => {
                self.naming = None;
                self.begin("name a session", wake, move || {
                    keeping::set_label(&dir, &name).map(|()| Done::Named)
                });
            }
            Wish::Discard(dirs) => {
                let discard = move || {
                    let moved = dirs.iter().map(|dir| keeping::discard(dir)).collect::<Result<Vec<_>>>();
                    moved.map(Done::Discarded)
                };
                self.begin("discard a session", wake, discard);
            }
            Wish::Restore(dirs) => {
                let restore = move || {
                    dirs.iter().try_for_each(|dir| keeping::restore(dir).map(drop)).map(|()| Done::Restored)
                };
                self.begin("restore a session", wake, restore);
            }
            Wish::AskToEmpty(asks) => self.asks_to_empty = asks,
            Wish::Empty => {
                self.asks_to_empty = false;
                let root = self.root.clone();
                self.begin("empty the trash", wake, move || keeping::empty_trash(&root).map(Done::Emptied));
            }
            Wish::Export(dir, format, to) => {
                let work = move |_: &_| exported(&dir, format, &to);
                self.exporting = Some(Job::start("export a session", wake, work));
            }
            Wish::StopExport => self.exporting = None,
            Wish::Import(file) => self.importing = Some(Importing::of(file)),
            Wish::BeginImport => {
                let root = self.root.clone();
                if let Some(importing) = &mut self.importing {
                    importing.begin(&root, wake);
                }
            }
            Wish::EndImport => self.importing = None,
        }
    }

    fn begin(
        &mut self,
        name: &'static str,
        wake: &Wake,
        work: impl FnOnce() -> Result<Done> + Send + 'static,
    ) {
        self.doing.push(Job::start(name, wake, move |_| work()));
    }
}

/// What to say of what was done.
fn told(done: Result<Done>) -> Option<super::Wish> {
    match done {
        Err(problem) => Some(super::Wish::Warn(problem)),
        Ok(Done::Named | Done::Restored) => None,
        Ok(Done::Emptied(1)) => Some(super::Wish::Say(tr("One session deleted").to_owned())),
        Ok(Done::Emptied(count)) => Some(super::Wish::Say(fill("{} sessions deleted", &[&count]))),
        Ok(Done::Discarded(dirs)) => {
            let text = match dirs.as_slice() {
                [one] => {
                    fill("{} is in the trash", &[&one.file_name().unwrap_or_default().to_string_lossy()])
                }
                many => fill("{} sessions are in the trash", &[&many.len()]),
            };
            let back = super::Wish::Sessions(Wish::Restore(dirs));
            Some(super::Wish::Offer(text, tr("Undo").to_owned(), Box::new(back)))
        }
    }
}

/// Writes a session to a file; what to say of it.
fn exported(dir: &Path, format: Format, to: &Path) -> Result<String> {
    let record = Record::open(dir)?;
    let mut warnings = Vec::new();
    if format == Format::Html {
        let pictures = Pictures::of(&record);
        warnings = export(&record, format, to, &|answer, nth| pictures.picture(answer, nth))?;
        warnings.extend(pictures.warnings());
    } else {
        warnings.extend(export(&record, format, to, &|_, _| None)?);
    }
    let mut text = fill("{} answers are in {}", &[&record.len(), &to.display()]);
    for warning in warnings.iter().take(2) {
        text.push('\n');
        text.push_str(&warning.to_string());
    }
    Ok(text)
}
