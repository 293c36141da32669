//! The window in tests: drawn on the CPU, driven by names, with dialogs that answer by themselves.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod board;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use egui::Vec2;
use egui_kittest::{Harness, TestRenderer};
use shardscope::app::dialog::{Dialogs, What};
use shardscope::app::{App, Habits};
use shardscope::soft_render::SoftRenderer;

/// egui's meshes to pixels on the CPU, for snapshots.
#[derive(Default)]
pub struct Pixels(SoftRenderer);

impl TestRenderer for Pixels {
    fn handle_delta(&mut self, delta: &mut egui::TexturesDelta) {
        self.0.update_textures(delta);
    }

    fn render(&mut self, ctx: &egui::Context, output: &egui::FullOutput) -> Result<image::RgbaImage, String> {
        let scale = output.pixels_per_point;
        let size = ctx.content_rect().size() * scale;
        let primitives = ctx.tessellate(output.shapes.clone(), scale);
        Ok(self.0.paint(&primitives, [size.x.round() as u32, size.y.round() as u32], scale))
    }
}

/// Dialogs that choose the same path each time they are asked.
pub struct Chosen(pub Option<PathBuf>);

impl Dialogs for Chosen {
    fn ask(&self, _what: &What) -> shardscope::Result<Option<PathBuf>> {
        Ok(self.0.clone())
    }
}

/// A window of the usual size at its first start, its sessions in a folder of their own.
pub fn window(sessions: &Path) -> Harness<'static, App> {
    window_with(sessions, Habits::default(), Vec2::new(1360.0, 860.0))
}

/// The same with habits and a size.
pub fn window_with(sessions: &Path, habits: Habits, size: Vec2) -> Harness<'static, App> {
    let sessions = sessions.to_owned();
    let mut harness = Harness::builder()
        .with_size(size)
        .with_max_steps(64)
        .with_theme(egui::Theme::Dark)
        .renderer(Pixels::default())
        .build_eframe(move |cc| App::in_folder(&cc.egui_ctx, habits, sessions));
    settle(&mut harness);
    harness
}

/// Answers dialogs with a path.
pub fn script(harness: &mut Harness<'_, App>, path: Option<&Path>) {
    harness.state_mut().dialogs = Arc::new(Chosen(path.map(Path::to_owned)));
}

/// Steps until no job is at work and nothing more follows from what they brought.
pub fn settle(harness: &mut Harness<'_, App>) {
    for _ in 0..3 {
        wait(harness, "jobs", |app| app.is_at_rest());
    }
    harness.run_steps(2);
}

/// Steps until something holds.
pub fn wait(harness: &mut Harness<'_, App>, what: &str, holds: impl Fn(&App) -> bool) {
    let start = Instant::now();
    loop {
        harness.step();
        if holds(harness.state()) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "still waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a window keeps over a restart, in memory.
#[derive(Default)]
pub struct Shelf(pub HashMap<String, String>);

impl eframe::Storage for Shelf {
    fn get_string(&self, key: &str) -> Option<String> {
        self.0.get(key).cloned()
    }

    fn set_string(&mut self, key: &str, value: String) {
        self.0.insert(key.to_owned(), value);
    }

    fn remove_string(&mut self, key: &str) {
        self.0.remove(key);
    }

    fn flush(&mut self) {}
}
