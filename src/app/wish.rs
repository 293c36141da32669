//! What a person asks for in the window; applied in one place, after the frame is laid out.

use std::path::PathBuf;

use crate::Problem;

use super::dialog::{Then, What};
use super::served::Hidden;
use super::{Screen, ask, board, present, results, run, sessions, setup};

/// A wish, by the screen that carries it out.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Show a screen.
    Go(Screen),
    /// Open a checkpoint: a path, a name, or a model of the catalogue.
    OpenCheckpoint(String),
    /// Open a dataset: a path or a name.
    OpenDataset(String),
    /// Open what was dropped onto the window, whatever it is.
    OpenDropped(PathBuf),
    /// Ask for a file or a folder; what is chosen becomes a wish.
    Pick(What, Then),
    /// Begin a run of what is chosen; on the run screen from then on.
    Start,
    /// Go on with a session on disk.
    Resume(PathBuf),
    /// The same with a session of a served model, asking again what failed.
    AskFailedAgain(PathBuf),
    /// The same with a session of a served model, whose key was typed.
    ResumeWith(PathBuf, Hidden),
    /// Look at a session's results.
    ShowSession(PathBuf),
    /// Look at two sessions beside each other.
    CompareSessions(PathBuf, PathBuf),
    /// Show one question of the open session full screen: its place among the answers.
    Present(usize),
    /// Something to tell for a moment.
    Say(String),
    /// A problem that belongs to no card on the screen, told for a moment.
    Warn(Problem),
    /// Something that was done, told for a moment with the name of a wish beside it: the way back.
    Offer(String, String, Box<Wish>),
    /// From light to dark and back.
    TurnTheme,
    /// Show the keys, or hide them.
    ShowKeys,
    /// Close the window; where a run is in progress, the person is asked first.
    Close,
    /// Close the window, though a run is in progress.
    CloseAnyway,
    /// Stay: the window is not closed.
    Stay,
    /// For the setup screen.
    Setup(setup::Wish),
    /// For the board.
    Board(board::Wish),
    /// For the run screen.
    Run(run::Wish),
    /// For the results.
    Results(results::Wish),
    /// For the sessions.
    Sessions(sessions::Wish),
    /// For the presentation.
    Presentation(present::Wish),
    /// For free questions.
    Ask(ask::Wish),
}

/// The wishes of one frame.
pub type Wishes = Vec<Wish>;
