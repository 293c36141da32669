//! Pictures on the screen: one at a time in the room there is, zoomed and moved, whole or as the tiles the model saw.

use egui::{
    Align2, Color32, CornerRadius, FontId, Rect, RichText, Sense, Stroke, Ui, Vec2, WidgetInfo, pos2, vec2,
};

use super::Picture;
use crate::Result;
use crate::app::language::{fill, tr};
use crate::app::parts::problem::problem;
use crate::app::theme::Tokens;

/// Between the tiles of a picture, in points.
const GAP: f32 = 3.0;

/// The largest zoom.
const MOST: f32 = 16.0;

/// How pictures are looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Which picture, from 0.
    pub chosen: usize,
    /// As the model saw it: stretched to its grid, cut, the thumbnail beside it.
    pub tiles: bool,
    /// 1 fits it into the room.
    pub zoom: f32,
    /// By how much it is moved from the middle, in points.
    pub moved: Vec2,
}

impl Default for Look {
    fn default() -> Self {
        Self { chosen: 0, tiles: false, zoom: 1.0, moved: Vec2::ZERO }
    }
}

impl Look {
    /// The same way of looking at another question.
    pub fn another(self) -> Self {
        Self { tiles: self.tiles, ..Self::default() }
    }
}

/// Draws the pictures of a question into the room of `size`, with their names and a word on what the model saw.
pub fn show(ui: &mut Ui, pictures: &[Result<Picture>], look: &mut Look, size: Vec2) {
    let tokens = Tokens::of(ui);
    if pictures.is_empty() {
        let (rect, _) = ui.allocate_exact_size(vec2(size.x, size.y.min(80.0)), Sense::hover());
        ui.painter().rect_filled(rect, 6.0, tokens.raised);
        let words = tr("This question has no picture");
        ui.painter().text(
            rect.center(),
            Align2::CENTER_CENTER,
            words,
            FontId::proportional(13.0),
            tokens.subdued,
        );
        return;
    }
    look.chosen = look.chosen.min(pictures.len() - 1);
    let bar = 30.0;
    ui.allocate_ui(vec2(size.x, size.y), |ui| {
        ui.set_width(size.x);
        ui.spacing_mut().item_spacing.y = 4.0;
        let room = vec2(size.x, (size.y - bar).max(60.0));
        match &pictures[look.chosen] {
            Ok(picture) => picture_ui(ui, picture, look, room),
            Err(why) => problem(ui, why),
        }
        ui.horizontal(|ui| bar_ui(ui, pictures, look));
    });
}

/// Below the picture: which one, its size, and the choice to see it as the model did.
fn bar_ui(ui: &mut Ui, pictures: &[Result<Picture>], look: &mut Look) {
    let tokens = Tokens::of(ui);
    if pictures.len() > 1 {
        for place in 0..pictures.len() {
            let name = fill("Picture {}", &[&(place + 1)]);
            let tab = ui.add(egui::Button::selectable(place == look.chosen, (place + 1).to_string()).small());
            tab.widget_info(|| WidgetInfo::selected(egui::Role::Button, true, place == look.chosen, &name));
            if tab.on_hover_text(name).clicked() {
                *look = Look { chosen: place, ..look.another() };
            }
        }
    }
    let Ok(picture) = &pictures[look.chosen] else { return };
    if let Some(([cols, rows], thumbnail)) = picture.grid {
        let tiles = cols * rows + u32::from(thumbnail);
        ui.toggle_value(&mut look.tiles, tr("What the model saw")).on_hover_text(fill(
            "Cut into {} x {} tiles{}: {} tiles in all. Each is stretched to a square, whatever its shape here.",
            &[&cols, &rows, &if thumbnail { tr(" and a thumbnail of the whole") } else { "" }, &tiles],
        ));
    }
    if look.zoom != 1.0 && ui.small_button(tr("Fit")).clicked() {
        (look.zoom, look.moved) = (1.0, Vec2::ZERO);
    }
    let mut about = format!("{} × {}", picture.width, picture.height);
    if let Some(([cols, rows], thumbnail)) = picture.grid {
        about = format!("{about} · {}", tiles_text(cols, rows, thumbnail));
    }
    ui.add(egui::Label::new(RichText::new(about).small().color(tokens.subdued)).truncate())
        .on_hover_text(&picture.name);
}

/// How a picture is cut, in words.
pub fn tiles_text(cols: u32, rows: u32, thumbnail: bool) -> String {
    match (cols * rows, thumbnail) {
        (1, false) => tr("1 tile").to_owned(),
        (_, true) => fill("{} × {} tiles + thumbnail", &[&cols, &rows]),
        _ => fill("{} × {} tiles", &[&cols, &rows]),
    }
}

fn picture_ui(ui: &mut Ui, picture: &Picture, look: &mut Look, room: Vec2) {
    let tokens = Tokens::of(ui);
    let (rect, response) = ui.allocate_exact_size(room, Sense::click_and_drag());
    let label = fill("Picture {}, {} by {} pixels", &[&picture.name, &picture.width, &picture.height]);
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Image, true, &label));
    zoom(ui, &response, rect, look);
    let painter = ui.painter_at(rect);
    painter.rect_filled(rect, 6.0, tokens.raised.gamma_multiply(0.5));
    let texture = picture.texture(ui.ctx()).id();
    let paint = |place: Rect, uv: Rect| {
        painter.add(
            egui::epaint::RectShape::filled(place, CornerRadius::ZERO, Color32::WHITE)
                .with_texture(texture, uv),
        );
        // Where a pale picture ends can be seen on a pale ground.
        painter.rect_stroke(place, 0.0, Stroke::new(1.0, tokens.line), egui::StrokeKind::Outside);
    };
    let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
    let placed = |size: Vec2| {
        let fit = (rect.width() / size.x).min(rect.height() / size.y) * 0.98;
        // A small picture is not blown up to a blur.
        let fit = fit.min(4.0);
        Rect::from_center_size(rect.center() + look.moved, size * fit * look.zoom)
    };
    match picture.grid.filter(|_| look.tiles) {
        None => paint(placed(vec2(picture.width as f32, picture.height as f32)), whole),
        Some(([cols, rows], thumbnail)) => {
            let side = 448.0;
            let extra = if thumbnail { 1.0 } else { 0.0 };
            let gap = 24.0;
            let (across, down) = (cols as f32, rows as f32);
            let more = extra * (side + gap);
            let (wide, tall) =
                (vec2(across * side + more, down * side), vec2(across * side, down * side + more));
            // The thumbnail stands where it leaves the tiles larger.
            let fit = |size: Vec2| (rect.width() / size.x).min(rect.height() / size.y);
            let beside = fit(wide) >= fit(tall);
            let all = if beside { wide } else { tall };
            let place = placed(all);
            let unit = place.width() / all.x;
            let tile = vec2(side, side) * unit;
            for row in 0..rows {
                for col in 0..cols {
                    let corner = place.min + vec2(col as f32 * tile.x, row as f32 * tile.y);
                    let uv = Rect::from_min_size(
                        pos2(col as f32 / across, row as f32 / down),
                        vec2(1.0 / across, 1.0 / down),
                    );
                    let cell = Rect::from_min_size(corner, tile).shrink(GAP / 2.0);
                    paint(cell, uv);
                    number(&painter, tokens, cell, &(row * cols + col + 1).to_string());
                }
            }
            if thumbnail {
                let step = if beside { vec2(across * side + gap, 0.0) } else { vec2(0.0, down * side + gap) };
                let cell = Rect::from_min_size(place.min + step * unit, tile).shrink(GAP / 2.0);
                paint(cell, whole);
                painter.rect_stroke(cell, 0.0, Stroke::new(1.5, tokens.accent), egui::StrokeKind::Outside);
                number(&painter, tokens, cell, tr("thumbnail"));
            }
        }
    }
    if response.has_focus() {
        painter.rect_stroke(rect, 6.0, Stroke::new(1.5, tokens.accent), egui::StrokeKind::Inside);
    }
}

/// A number in the corner of a tile, readable on any picture.
fn number(painter: &egui::Painter, tokens: &Tokens, cell: Rect, text: &str) {
    if cell.width() < 22.0 {
        return;
    }
    let at = cell.min + vec2(5.0, 4.0);
    let galley = painter.layout_no_wrap(text.to_owned(), FontId::proportional(11.0), tokens.strong);
    let ground = Rect::from_min_size(at, galley.size()).expand2(vec2(4.0, 1.0));
    if ground.width() > cell.width() {
        return;
    }
    painter.rect_filled(ground, 3.0, tokens.canvas.gamma_multiply(0.8));
    painter.galley(at, galley, tokens.strong);
}

/// Ctrl and the wheel, a pinch, or a double click zoom; dragging moves.
fn zoom(ui: &Ui, response: &egui::Response, rect: Rect, look: &mut Look) {
    if response.double_clicked() {
        *look = Look { zoom: if look.zoom > 1.0 { 1.0 } else { 2.5 }, moved: Vec2::ZERO, ..*look };
    }
    if response.hovered() {
        let by = ui.input(egui::InputState::zoom_delta);
        if by != 1.0 {
            let before = look.zoom;
            look.zoom = (look.zoom * by).clamp(1.0, MOST);
            let at = ui.input(|input| input.pointer.hover_pos()).unwrap_or(rect.center()) - rect.center();
            look.moved = at - (at - look.moved) * (look.zoom / before);
        }
    }
    if response.has_focus() {
        let pressed = |key| ui.input(|input| input.key_pressed(key));
        if pressed(egui::Key::Plus) || pressed(egui::Key::Equals) {
            look.zoom = (look.zoom * 1.25).min(MOST);
        }
        if pressed(egui::Key::Minus) {
            look.zoom = (look.zoom / 1.25).max(1.0);
        }
    }
    if response.dragged() && look.zoom > 1.0 {
        look.moved += response.drag_delta();
    }
    let most = rect.size() * (look.zoom - 1.0) / 2.0;
    look.moved = look.moved.clamp(-most, most);
}
