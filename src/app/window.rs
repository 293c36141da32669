//! The window on the screen: opening it, what it remembers, and that it does not close over a run.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::App;
use super::habits::Habits;
use super::theme;
use crate::{Problem, Result};

/// Name under which the platform keeps the window's state.
const APP_ID: &str = "shardscope";

/// Key of the habits in that state.
const HABITS: &str = "habits";

impl eframe::App for App {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        if ctx.input(|input| input.viewport().close_requested()) && !self.may_close() {
            ctx.send_viewport_cmd(egui::ViewportCommand::CancelClose);
        }
        if self.is_to_close() {
            ctx.send_viewport_cmd(egui::ViewportCommand::Close);
        }
        self.receive();
    }

    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.frame(ui);
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        eframe::set_value(storage, HABITS, &self.habits);
    }

    fn on_exit(&mut self, _gl: Option<&eframe::glow::Context>) {
        self.run.shut();
    }
}

/// What the last window left behind; as at the first start where that cannot be read.
pub fn remembered(storage: Option<&dyn eframe::Storage>) -> Habits {
    storage.and_then(|storage| eframe::get_value(storage, HABITS)).unwrap_or_default()
}

/// Whether the surroundings name a display at all. Windows and macOS need not say so.
fn has_display() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(target_os = "linux") || ["WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DISPLAY"].into_iter().any(is_set)
}

/// Opens the window and stays until it is closed.
///
/// # Errors
/// No window can be opened here, and why.
pub fn open() -> Result<()> {
    if !has_display() {
        return Err(Problem::new("there is no display here"));
    }
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("Shardscope")
            .with_app_id(APP_ID)
            .with_icon(theme::window_icon())
            .with_inner_size([1360.0, 860.0])
            .with_min_inner_size([880.0, 560.0]),
        ..Default::default()
    };
    let opened = Arc::new(AtomicBool::new(false));
    let created = opened.clone();
    let create: eframe::AppCreator<'_> = Box::new(move |cc| {
        created.store(true, Ordering::Relaxed);
        Ok(Box::new(App::new(&cc.egui_ctx, remembered(cc.storage))))
    });
    // Missing libraries can end in a panic instead of an error; nobody needs to read that one.
    let usual = Arc::new(take_hook());
    let (quiet, before) = (opened.clone(), usual.clone());
    set_hook(Box::new(move |panic| {
        if quiet.load(Ordering::Relaxed) {
            before(panic);
        }
    }));
    let ran = catch_unwind(AssertUnwindSafe(|| eframe::run_native(APP_ID, options, create)));
    set_hook(Box::new(move |panic| usual(panic)));
    match ran {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Problem::new(reason(&error.to_string()))),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("an error of its own");
            match opened.load(Ordering::Relaxed) {
                // The window stood: this is a fault of ours, which another run in the terminal would not mend.
                true => std::panic::resume_unwind(panic),
                false => Err(Problem::new(reason(text))),
            }
        }
    }
}

/// What of an error of the window system helps a person: no source files of libraries, no debug output.
fn reason(error: &str) -> String {
    let after_place = error.rsplit_once(".rs:").and_then(|(_, rest)| rest.split_once(": "));
    let text = after_place.map_or(error, |(_, rest)| rest).trim().trim_end_matches('.');
    if text.contains("glutin") || text.contains("initialization failed") {
        return "OpenGL cannot be used here (on Debian: apt install libegl1 libgl1-mesa-dri)".into();
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_window_system_are_told_without_its_source() {
        let error = "winit EventLoopError: os error at /x/winit-0.30.13/src/platform_impl/linux/mod.rs:788: Failed to open connection to X server";
        assert_eq!(reason(error), "Failed to open connection to X server");
        assert_eq!(
            reason("Library libxkbcommon-x11.so could not be loaded."),
            "Library libxkbcommon-x11.so could not be loaded"
        );
        assert!(
            reason("Found no glutin configs matching the template: ConfigTemplate {}. Error: not found")
                .starts_with("OpenGL")
        );
    }
}
