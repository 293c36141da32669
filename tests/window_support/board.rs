//! The board in tests: a window on it, and what a hand does there.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::time::{Duration, Instant};

use egui::{Key, Modifiers, Pos2, Rect, Vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use shardscope::app::board::{self, desk::Desk};
use shardscope::app::shell::{Habits, Theme};
use shardscope::app::{App, Screen, Wish};

use super::Pixels;

/// A window in a test.
pub type Window = Harness<'static, App>;

/// The window on the board, with this model and these devices, when everything is worked out.
pub fn window(model: &str, devices: &str, size: [f32; 2], theme: Theme) -> Window {
    let (model, devices) = (model.to_owned(), devices.to_owned());
    let sessions = std::env::temp_dir().join("shardscope-no-sessions");
    let mut window = Harness::builder()
        .with_size(Vec2::from(size))
        .with_theme(if theme == Theme::Light { egui::Theme::Light } else { egui::Theme::Dark })
        .with_max_steps(64)
        .renderer(Pixels::default())
        .build_eframe(move |cc| {
            let mut app = App::in_folder(&cc.egui_ctx, Habits { theme, ..Habits::default() }, sessions);
            app.workspace.choices.devices = devices;
            app.apply(Wish::OpenCheckpoint(model));
            app.screen = Screen::Board;
            app
        });
    settle(&mut window);
    window
}

pub fn board_of(model: &str, devices: &str) -> Window {
    window(model, devices, [1360.0, 860.0], Theme::Dark)
}

/// Steps until no job is at work.
pub fn settle(window: &mut Window) {
    let start = Instant::now();
    loop {
        window.step();
        let app = window.state();
        let is_ready = app.board.desk().is_some() && !app.workspace.subject.is_loading();
        if is_ready && !app.workspace.dataset.is_loading() && !app.board.is_working() {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "the board is never ready");
        std::thread::sleep(Duration::from_millis(2));
    }
    window.run();
}

pub fn desk(window: &Window) -> &Desk {
    window.state().board.desk().unwrap()
}

pub fn wish(window: &mut Window, wish: board::Wish) {
    window.state_mut().apply(Wish::Board(wish));
    settle(window);
}

/// The unit of a name, as the model spells it.
pub fn unit(window: &Window, name: &str) -> usize {
    desk(window).case().model.by_name(name).unwrap()
}

pub fn layer(window: &Window, number: usize) -> usize {
    unit(window, &format!("language_model.model.layers.{number}"))
}

pub fn device_of(window: &Window, unit: usize) -> usize {
    desk(window).draft().plan.assignment[unit]
}

/// Where something of this name stands: names end in the device that it lies on.
pub fn place(window: &Window, name: &str) -> Rect {
    window.get_by_label_contains(name).rect()
}

/// Presses on one place and moves to another, step by step as a hand does.
pub fn carry(window: &mut Window, from: Pos2, to: Pos2) {
    window.drag_at(from);
    window.step();
    for step in 1..=4 {
        window.hover_at(from.lerp(to, step as f32 / 4.0));
        window.step();
    }
    window.step();
}

pub fn drag(window: &mut Window, from: Pos2, to: Pos2) {
    carry(window, from, to);
    window.drop_at(to);
    settle(window);
}

/// Below the figures of a device, where units are dropped.
pub fn bottom(window: &Window, device: &str) -> Pos2 {
    place(window, &format!("{device}, device,")).center_bottom() - egui::vec2(0.0, 12.0)
}

/// Whether any text on the screen contains these words.
pub fn says(window: &Window, words: &str) -> bool {
    window.query_all_by_label_contains(words).next().is_some()
}

pub fn press(window: &mut Window, modifiers: Modifiers, key: Key) {
    window.key_press_modifiers(modifiers, key);
    settle(window);
}
