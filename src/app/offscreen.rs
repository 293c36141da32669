//! The window drawn to an image, with no display and no GPU.

use std::time::{Duration, Instant};

use egui::{FullOutput, RawInput, Rect, Vec2, pos2};
use image::RgbaImage;

use super::App;
use super::shell::Habits;
use crate::soft_render::SoftRenderer;
use crate::{Problem, Result};

/// Largest side of an image, in pixels.
pub const MAX_SIDE: u32 = 8192;

/// The window's state with a context of its own, stepped by hand.
pub struct Offscreen {
    /// The window.
    pub app: App,
    ctx: egui::Context,
    renderer: SoftRenderer,
    size: [u32; 2],
    scale: f32,
    start: Instant,
}

impl Offscreen {
    /// A window of `size` pixels at `scale` pixels a point.
    ///
    /// # Errors
    /// A size of nothing, or past [`MAX_SIDE`].
    pub fn new(size: [u32; 2], scale: f32, habits: Habits) -> Result<Self> {
        if size.iter().any(|side| !(16..=MAX_SIDE).contains(side)) || !(0.25..=8.0).contains(&scale) {
            return Err(Problem::new(format!(
                "an image of {}x{} pixels at scale {scale} cannot be drawn",
                size[0], size[1]
            ))
            .fix(format!("choose sides from 16 to {MAX_SIDE} and a scale from 0.25 to 8")));
        }
        let ctx = egui::Context::default();
        ctx.set_pixels_per_point(scale);
        let app = App::new(&ctx, habits);
        Ok(Self { app, ctx, renderer: SoftRenderer::default(), size, scale, start: Instant::now() })
    }

    /// Runs one frame with these events.
    pub fn step(&mut self, events: Vec<egui::Event>) -> FullOutput {
        let size = Vec2::new(self.size[0] as f32, self.size[1] as f32) / self.scale;
        let input = RawInput {
            screen_rect: Some(Rect::from_min_size(pos2(0.0, 0.0), size)),
            time: Some(self.start.elapsed().as_secs_f64()),
            events,
            focused: true,
            ..RawInput::default()
        };
        let Self { app, ctx, .. } = self;
        app.receive();
        let mut output = ctx.run_ui(input, |ui| app.frame(ui));
        self.renderer.update_textures(&mut output.textures_delta);
        output
    }

    /// Runs frames until `is_done` holds, or time is up; whether it holds.
    pub fn wait(&mut self, longest: Duration, is_done: impl Fn(&App) -> bool) -> bool {
        let start = Instant::now();
        loop {
            self.step(Vec::new());
            if is_done(&self.app) {
                return true;
            }
            if start.elapsed() > longest {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A frame made into triangles, as far as a frame goes before they are filled.
    pub fn tessellate(&self, frame: FullOutput) -> Vec<egui::ClippedPrimitive> {
        self.ctx.tessellate(frame.shapes, self.scale)
    }

    /// Draws the window as it stands. Two frames settle what is laid out by what the first one measured.
    pub fn draw(&mut self) -> RgbaImage {
        self.step(Vec::new());
        let output = self.step(Vec::new());
        let primitives = self.tessellate(output);
        self.renderer.paint(&primitives, self.size, self.scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_drawn_without_a_display() {
        let mut window = Offscreen::new([880, 560], 1.0, Habits::default()).unwrap();
        let image = window.draw();
        let colors: std::collections::HashSet<_> = image.pixels().map(|p| p.0).collect();
        assert!(colors.len() > 20, "only {} colours", colors.len());
        assert!(image.pixels().all(|p| p.0[3] == 255));
        assert!(Offscreen::new([0, 5], 1.0, Habits::default()).is_err());
    }
}
