//! Formulas: set by RaTeX in white on nothing, kept as textures, drawn in the colour of the text around them.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use egui::{ColorImage, Context, Sense, TextureHandle, TextureOptions, Ui, Vec2, WidgetInfo, vec2};
use ratex_layout::{LayoutOptions, layout, to_display_list};
use ratex_render::{RenderOptions, render_to_png};
use ratex_types::color::Color;
use ratex_types::math_style::MathStyle;

/// Formulas that are kept.
const KEPT: usize = 512;

/// Formulas set anew in one frame; setting one takes about a millisecond. The others wait for the next frames.
const A_FRAME: usize = 6;

/// Transparent points around a formula, so that nothing is cut off at its edges.
const PADDING: f32 = 1.0;

/// The size of KaTeX's letters beside those of the text.
const SCALE: f32 = 1.15;

/// How a formula is asked for: its source, whether it stands in a line, size and scale in hundredths.
type Key = (String, bool, u32, u32);

/// Formulas that are ready to be drawn.
#[derive(Default)]
pub struct Formulas {
    set: HashMap<Key, Result<Formula, String>>,
    frame: u64,
    new: usize,
}

/// A formula as it was set; lengths in points.
struct Formula {
    texture: TextureHandle,
    size: Vec2,
    /// From its upper edge to its baseline.
    ascent: f32,
}

impl Formulas {
    /// Draws a formula where the next widget goes; one that cannot be set is shown as it was written, and why.
    pub fn show(&mut self, ui: &mut Ui, tex: &str, size: f32, inline: bool) {
        let scale = ui.ctx().pixels_per_point();
        let hundredths = |value: f32| (value * 100.0).round() as u32;
        let key = (tex.to_owned(), inline, hundredths(size), hundredths(scale));
        if !self.set.contains_key(&key) && !self.may_set(ui.ctx()) {
            ui.ctx().request_repaint();
            ui.code(tex);
            return;
        }
        let made = self.set.entry(key).or_insert_with(|| formula(ui.ctx(), tex, size * SCALE, scale, inline));
        match made {
            Ok(formula) if inline => in_line(ui, formula, tex, size),
            Ok(formula) => displayed(ui, formula, tex),
            Err(why) => {
                ui.code(tex).on_hover_text(why.as_str());
            }
        }
    }

    fn may_set(&mut self, ctx: &Context) -> bool {
        let frame = ctx.cumulative_frame_nr();
        if self.frame != frame {
            (self.frame, self.new) = (frame, 0);
        }
        self.new += 1;
        if self.set.len() >= KEPT {
            self.set.clear();
        }
        self.new <= A_FRAME
    }
}

fn formula(ctx: &Context, tex: &str, size: f32, scale: f32, inline: bool) -> Result<Formula, String> {
    // Whatever a dataset holds, a formula never takes the window with it.
    let set = catch_unwind(AssertUnwindSafe(|| {
        let parsed = ratex_parser::parse(tex).map_err(|error| error.to_string())?;
        let style = if inline { MathStyle::Text } else { MathStyle::Display };
        let options = LayoutOptions { style, color: Color::WHITE, ..LayoutOptions::default() };
        let list = to_display_list(&layout(&parsed, &options));
        let options = RenderOptions {
            font_size: size,
            padding: PADDING,
            background_color: Color::new(0.0, 0.0, 0.0, 0.0),
            device_pixel_ratio: scale,
            ..RenderOptions::default()
        };
        Ok::<_, String>((render_to_png(&list, &options)?, list.height as f32 * size + PADDING))
    }));
    let (png, ascent) = set.map_err(|_| "this formula cannot be set".to_owned())??;
    let image = image::load_from_memory(&png).map_err(|error| error.to_string())?.to_rgba8();
    let pixels = [image.width() as usize, image.height() as usize];
    let most = ctx.input(|input| input.max_texture_side);
    if pixels.iter().any(|side| *side > most) {
        return Err("this formula is too large to be drawn".into());
    }
    let color = ColorImage::from_rgba_unmultiplied(pixels, image.as_raw());
    let texture = ctx.load_texture("formula", color, TextureOptions::LINEAR);
    Ok(Formula { texture, size: vec2(pixels[0] as f32, pixels[1] as f32) / scale, ascent })
}

/// In a line of text, on its baseline. A formula of a line's height takes the room of a line, so that the others keep
/// their distance; a taller one makes its line taller.
fn in_line(ui: &mut Ui, formula: &Formula, tex: &str, size: f32) {
    let font = egui::FontId::proportional(size);
    let line = ui.fonts_mut(|fonts| fonts.layout_no_wrap("x".into(), font, egui::Color32::WHITE));
    let baseline = line.rows.first().and_then(|row| row.glyphs.first()).map_or(size, |glyph| glyph.pos.y);
    let height = line.size().y;
    let below = formula.size.y - formula.ascent;
    let slack = height * 0.3;
    let fits = formula.ascent <= baseline + slack && below <= height - baseline + slack;
    let taken = if fits { height } else { formula.size.y };
    let (rect, response) = ui.allocate_exact_size(vec2(formula.size.x, taken), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Math, true, tex));
    let top = if fits { rect.top() + baseline - formula.ascent } else { rect.top() };
    draw(ui, formula, egui::pos2(rect.left(), top));
}

/// On a line of its own, in the middle; scaled down where it is wider than the room there is.
fn displayed(ui: &mut Ui, formula: &Formula, tex: &str) {
    let room = ui.available_width().max(40.0);
    let shrink = (room / formula.size.x).min(1.0);
    let height = formula.size.y * shrink + 8.0;
    let (rect, response) = ui.allocate_exact_size(vec2(room, height), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Math, true, tex));
    let size = formula.size * shrink;
    let place = egui::Rect::from_center_size(rect.center(), size);
    egui::Image::new((formula.texture.id(), size)).tint(ui.visuals().text_color()).paint_at(ui, place);
}

fn draw(ui: &Ui, formula: &Formula, corner: egui::Pos2) {
    let scale = ui.ctx().pixels_per_point();
    // On whole pixels it is as sharp as the text.
    let corner = (corner.to_vec2() * scale).round() / scale;
    let place = egui::Rect::from_min_size(corner.to_pos2(), formula.size);
    egui::Image::new((formula.texture.id(), formula.size))
        .tint(ui.visuals().text_color())
        .paint_at(ui, place);
}
