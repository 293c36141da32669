//! `shardscope render`: a screen of the window as a picture, with no display and no GPU.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::habits::{Habits, Theme};
use super::language::Language;
use super::offscreen::Offscreen;
use super::{App, Screen, Wish};
use crate::evaluation::Learnt;
use crate::{Problem, Result};

/// Longest time for what a screen shows to be read and computed.
const LONGEST: Duration = Duration::from_secs(120);

/// Options of `render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Which screen.
    #[arg(long, value_enum)]
    pub screen: ScreenName,
    /// The picture to write.
    #[arg(long, value_name = "FILE.png")]
    pub out: PathBuf,
    /// Its size in pixels.
    #[arg(long, value_name = "WxH", default_value = "1360x860", value_parser = size)]
    pub size: [u32; 2],
    /// Pixels a point, as for dense displays.
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    pub scale: f32,
    /// Colours.
    #[arg(long, value_enum, default_value_t = ThemeName::Dark)]
    pub theme: ThemeName,
    /// Language of the texts.
    #[arg(long, value_enum, default_value_t = LanguageName::En)]
    pub language: LanguageName,
    /// Session to show, for results and present.
    #[arg(long, value_name = "D")]
    pub session: Option<PathBuf>,
    /// Folder of sessions to list [default: the sessions folder].
    #[arg(long, value_name = "DIR")]
    pub sessions: Option<PathBuf>,
    /// Layout to show: a name, or a JSON file with a device_map.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<String>,
    /// Checkpoint, as for `eval`, or a model of the catalogue [default: built-in].
    #[arg(long, value_name = "P")]
    pub checkpoint: Option<String>,
    /// Dataset, as for `eval` [default: built-in].
    #[arg(long, value_name = "P")]
    pub dataset: Option<String>,
    /// Devices, as for `plan`.
    #[arg(long, value_name = "SPEC")]
    pub devices: Option<String>,
    /// For the run screen: begin a run and draw it after so many seconds; its session is not kept.
    #[arg(long, value_name = "S")]
    pub after: Option<f64>,
}

/// Screens by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "each is the screen of its name")]
pub enum ScreenName {
    Setup,
    Board,
    Run,
    Results,
    Sessions,
    Present,
    Ask,
}

impl From<ScreenName> for Screen {
    fn from(name: ScreenName) -> Self {
        match name {
            ScreenName::Setup => Self::Setup,
            ScreenName::Board => Self::Board,
            ScreenName::Run => Self::Run,
            ScreenName::Results => Self::Results,
            ScreenName::Sessions => Self::Sessions,
            ScreenName::Present => Self::Present,
            ScreenName::Ask => Self::Ask,
        }
    }
}

/// Colours by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "each is the theme of its name")]
pub enum ThemeName {
    Dark,
    Light,
}

/// Languages by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "each is the language of its code")]
pub enum LanguageName {
    En,
    Zh,
}

fn size(text: &str) -> Result<[u32; 2], String> {
    let wrong = || "give width and height in pixels, such as 1360x860".to_owned();
    let (width, height) = text.split_once(['x', 'X', '×']).ok_or_else(wrong)?;
    let side = |text: &str| text.trim().parse::<u32>().map_err(|_| wrong());
    Ok([side(width)?, side(height)?])
}

/// Draws the screen and writes the picture.
///
/// # Errors
/// A size that cannot be drawn, a session that cannot be opened, a picture that cannot be written.
pub fn run(args: &RenderArgs) -> Result<()> {
    let habits = Habits {
        theme: match args.theme {
            ThemeName::Dark => Theme::Dark,
            ThemeName::Light => Theme::Light,
        },
        language: match args.language {
            LanguageName::En => Language::English,
            LanguageName::Zh => Language::Chinese,
        },
        ..Habits::default()
    };
    let mut window = Offscreen::new(args.size, args.scale, habits)?;
    // A picture is the same on every machine, and teaches none.
    window.app.workspace.choices.learnt = Learnt::Ignored;
    let kept =
        tempfile::tempdir().map_err(|e| Problem::new(format!("cannot make a temporary folder: {e}")))?;
    if let Some(folder) = &args.sessions {
        window.app.workspace.sessions.clone_from(folder);
    }
    if args.screen == ScreenName::Run {
        window.app.workspace.sessions = kept.path().to_owned();
    }
    for (place, file) in [("--session", args.session.as_deref()), ("--sessions", args.sessions.as_deref())] {
        if let Some(folder) = file.filter(|folder| !folder.is_dir()) {
            return Err(Problem::new(format!("there is no folder {}", folder.display())).at(place));
        }
    }
    prepare(&mut window, args);
    rest(&mut window)?;
    show(&mut window, args)?;
    rest(&mut window)?;
    write(&window.draw(), &args.out)?;
    window.app.run.shut();
    Ok(())
}

/// Chooses what the options choose.
fn prepare(window: &mut Offscreen, args: &RenderArgs) {
    let app = &mut window.app;
    if let Some(devices) = &args.devices {
        app.workspace.choices.devices.clone_from(devices);
    }
    if let Some(layout) = &args.plan {
        app.workspace.choices.layout.clone_from(layout);
    }
    if let Some(named) = &args.checkpoint {
        app.apply(Wish::OpenCheckpoint(named.clone()));
    }
    if let Some(named) = &args.dataset {
        app.apply(Wish::OpenDataset(named.clone()));
    }
}

/// Goes to the screen.
fn show(window: &mut Offscreen, args: &RenderArgs) -> Result<()> {
    let screen = Screen::from(args.screen);
    match (args.screen, &args.session, args.after) {
        (ScreenName::Present, None, _) => {
            return Err(Problem::new("there is nothing to present").fix("name a session with --session"));
        }
        (ScreenName::Results | ScreenName::Present, Some(folder), _) => {
            window.app.apply(Wish::ShowSession(folder.clone()));
            if args.screen == ScreenName::Present {
                rest(window)?;
                window.app.apply(Wish::Present(0));
            }
        }
        (ScreenName::Run, _, Some(seconds)) => {
            window.app.apply(Wish::Start);
            let start = Instant::now();
            let seconds = seconds.clamp(0.0, LONGEST.as_secs_f64());
            window.wait(LONGEST, |app| !app.run.is_active() || start.elapsed().as_secs_f64() > seconds);
        }
        _ => window.app.apply(Wish::Go(screen)),
    }
    Ok(())
}

/// Steps until no job is at work; a run goes on.
fn rest(window: &mut Offscreen) -> Result<()> {
    // What a job brings may begin another one.
    for _ in 0..3 {
        if !window.wait(LONGEST, |app: &App| app.is_at_rest() || app.run.is_active()) {
            return Err(Problem::new("what the screen shows was not ready in time"));
        }
    }
    Ok(())
}

fn write(image: &image::RgbaImage, path: &Path) -> Result<()> {
    image
        .save_with_format(path, image::ImageFormat::Png)
        .map_err(|error| Problem::new(format!("the picture cannot be written: {error}")).in_file(path))
}
