//! Dialogs of the system for files and folders, off the window's thread: a broken portal can hang for minutes.

use std::path::PathBuf;
use std::sync::Arc;

use super::Wish;
use super::job::{Job, Wake};
use crate::{Problem, Result};

/// What a dialog asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A folder.
    Folder {
        /// Title of the dialog.
        title: String,
    },
    /// A file.
    File {
        /// Title of the dialog.
        title: String,
        /// Name of the sort of files, and their endings without dots; none for all files.
        endings: Option<(String, Vec<&'static str>)>,
    },
    /// Where to write a file.
    Save {
        /// Title of the dialog.
        title: String,
        /// Name that is proposed.
        name: String,
    },
}

/// How a person is asked for files; tests answer themselves.
pub trait Dialogs: Send + Sync {
    /// Waits until the person has chosen; `None` where nothing was chosen.
    ///
    /// # Errors
    /// No dialog can be opened on this machine.
    fn ask(&self, what: &What) -> Result<Option<PathBuf>>;
}

/// The dialogs of the system.
pub struct SystemDialogs;

impl Dialogs for SystemDialogs {
    fn ask(&self, what: &What) -> Result<Option<PathBuf>> {
        if !is_there() {
            return Err(Problem::new("this machine has no dialog for files")
                .fix("type the path, or drop the file onto the window; xdg-desktop-portal or zenity bring a dialog"));
        }
        let dialog = rfd::FileDialog::new();
        Ok(match what {
            What::Folder { title } => dialog.set_title(title).pick_folder(),
            What::File { title, endings } => {
                let dialog = dialog.set_title(title);
                match endings {
                    Some((name, endings)) => {
                        dialog.add_filter(name, endings).add_filter("*", &["*"]).pick_file()
                    }
                    None => dialog.pick_file(),
                }
            }
            What::Save { title, name } => dialog.set_title(title).set_file_name(name).save_file(),
        })
    }
}

/// Whether the system has a way to show a dialog: on Linux the desktop portal on the session's bus, or zenity.
fn is_there() -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let bus = set("DBUS_SESSION_BUS_ADDRESS").is_some()
        || set("XDG_RUNTIME_DIR").is_some_and(|folder| PathBuf::from(folder).join("bus").exists());
    let zenity = set("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("zenity").is_file()));
    bus || zenity
}

/// What becomes of the path that was chosen.
#[derive(Clone)]
pub struct Then(Arc<dyn Fn(PathBuf) -> Wish + Send + Sync>);

impl Then {
    /// A wish made from the path.
    pub fn new(wish: impl Fn(PathBuf) -> Wish + Send + Sync + 'static) -> Self {
        Self(Arc::new(wish))
    }
}

impl std::fmt::Debug for Then {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Then")
    }
}

/// Where a file of this name is written without asking: where downloads are kept, else where the program runs.
fn download(name: &str) -> PathBuf {
    let folder = dirs::download_dir().filter(|folder| folder.is_dir());
    folder.or_else(dirs::home_dir).unwrap_or_default().join(name)
}

/// A dialog that is open.
pub struct Open {
    job: Job<Option<PathBuf>>,
    what: What,
    then: Then,
}

impl Open {
    /// Opens a dialog.
    pub fn new(dialogs: &Arc<dyn Dialogs>, what: What, then: Then, wake: &Wake) -> Self {
        let dialogs = dialogs.clone();
        let asked = what.clone();
        Self { job: Job::start("ask for a file", wake, move |_| dialogs.ask(&asked)), what, then }
    }

    /// What came of it, once it is closed: a wish, nothing, or that no dialog can be opened. What is to be written is
    /// written among the downloads then.
    pub fn poll(&self) -> Option<Result<Option<Wish>>> {
        let chosen = match (self.job.poll()?, &self.what) {
            (Err(_), What::Save { name, .. }) => Ok(Some(download(name))),
            (chosen, _) => chosen,
        };
        Some(chosen.map(|path| path.map(|path| (self.then.0)(path))))
    }
}
