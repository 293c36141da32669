//! A table of any length: only the rows in sight are laid out.

use egui::{
    Align, Align2, Layout, Rect, Response, RichText, Role, ScrollArea, Sense, Ui, UiBuilder, Vec2,
    WidgetInfo, pos2,
};

use super::icon::Icon;
use crate::app::theme::Tokens;

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// Least width in points.
    pub width: f32,
    /// Its share of the width that is left over; 0 keeps it at its least.
    pub grows: f32,
    /// Whether it holds numbers, which stand at the right.
    pub is_number: bool,
}

/// What a person did to a table in this frame.
#[derive(Debug, Default)]
pub struct Touched {
    /// The heading that was clicked.
    pub heading: Option<usize>,
    /// The row that was clicked.
    pub clicked: Option<usize>,
    /// The row that was clicked twice.
    pub opened: Option<usize>,
    /// The row whose menu is asked for.
    pub menu: Option<(usize, Response)>,
}

/// A table.
pub struct Table<'a> {
    /// Tells it from other tables.
    pub id: &'static str,
    /// Its columns.
    pub columns: &'a [Column],
    /// How many rows it has.
    pub rows: usize,
    /// Height of a row.
    pub row_height: f32,
    /// The column that it is sorted by, and whether downwards.
    pub sorted: Option<(usize, bool)>,
    /// A row to bring into sight.
    pub scroll_to: Option<usize>,
}

/// Room left and right of a cell's content.
const MARGIN: f32 = 8.0;

impl Table<'_> {
    /// Draws the table: `chosen` says which rows are marked, `name` what a row is called, `cell` draws one cell.
    pub fn show(
        &self,
        ui: &mut Ui,
        chosen: impl Fn(usize) -> bool,
        name: impl Fn(usize) -> String,
        mut cell: impl FnMut(&mut Ui, usize, usize),
    ) -> Touched {
        let tokens = Tokens::of(ui);
        let mut touched = Touched::default();
        let least: f32 = self.columns.iter().map(|column| column.width).sum();
        let grows: f32 = self.columns.iter().map(|column| column.grows).sum::<f32>().max(1e-6);
        let over = (ui.available_width() - least - 8.0).max(0.0);
        let widths: Vec<f32> = self.columns.iter().map(|c| c.width + over * c.grows / grows).collect();
        let whole: f32 = widths.iter().sum();
        ScrollArea::horizontal().id_salt((self.id, "across")).auto_shrink([false, false]).show(ui, |ui| {
            ui.spacing_mut().item_spacing = Vec2::ZERO;
            let (head, _) = ui.allocate_exact_size(Vec2::new(whole, 28.0), Sense::hover());
            let mut left = head.left();
            for (place, (column, width)) in self.columns.iter().zip(&widths).enumerate() {
                let rect = Rect::from_min_size(pos2(left, head.top()), Vec2::new(*width, 28.0));
                left += width;
                if self.heading(ui, rect, place, column) {
                    touched.heading = Some(place);
                }
            }
            ui.painter().hline(head.x_range(), head.bottom(), egui::Stroke::new(1.0, tokens.line));
            let mut area = ScrollArea::vertical().id_salt(self.id).auto_shrink([false, false]);
            if let Some(row) = self.scroll_to {
                let at = row as f32 * self.row_height - ui.available_height() / 2.0;
                area = area.vertical_scroll_offset(at.max(0.0));
            }
            area.show_rows(ui, self.row_height, self.rows, |ui, rows| {
                for row in rows {
                    let size = Vec2::new(whole, self.row_height);
                    let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
                    let response = ui.interact(rect, ui.scope_id().with((self.id, row)), Sense::click());
                    let marked = chosen(row);
                    response.widget_info(|| WidgetInfo::selected(Role::Button, true, marked, name(row)));
                    if marked {
                        ui.painter().rect_filled(rect, 4.0, tokens.accent.gamma_multiply(0.16));
                    } else if response.hovered() {
                        ui.painter().rect_filled(rect, 4.0, tokens.raised);
                    }
                    if response.has_focus() {
                        let ring = egui::Stroke::new(1.5, tokens.accent);
                        ui.painter().rect_stroke(rect.shrink(1.0), 4.0, ring, egui::StrokeKind::Inside);
                    }
                    let mut left = rect.left();
                    for (place, (column, width)) in self.columns.iter().zip(&widths).enumerate() {
                        let inside =
                            Rect::from_min_size(pos2(left, rect.top()), Vec2::new(*width, self.row_height))
                                .shrink2(Vec2::new(MARGIN, 0.0));
                        left += width;
                        let layout = match column.is_number {
                            true => Layout::right_to_left(Align::Center),
                            false => Layout::left_to_right(Align::Center),
                        };
                        let mut inner = ui.new_child(UiBuilder::new().max_rect(inside).layout(layout));
                        inner.set_clip_rect(inside.intersect(ui.clip_rect()));
                        inner.spacing_mut().item_spacing.x = 6.0;
                        cell(&mut inner, row, place);
                    }
                    if response.double_clicked() {
                        touched.opened = Some(row);
                    } else if response.clicked() {
                        touched.clicked = Some(row);
                    }
                    if response.secondary_clicked() {
                        touched.clicked = Some(row);
                    }
                    if response.context_menu_opened() || response.secondary_clicked() {
                        touched.menu = Some((row, response));
                    }
                }
            });
        });
        touched
    }

    fn heading(&self, ui: &mut Ui, rect: Rect, place: usize, column: &Column) -> bool {
        let tokens = Tokens::of(ui);
        if column.name.is_empty() {
            return false;
        }
        let response = ui.interact(rect, ui.scope_id().with((self.id, "heading", place)), Sense::click());
        let sorted = self.sorted.filter(|(by, _)| *by == place);
        let color = if sorted.is_some() || response.hovered() { tokens.strong } else { tokens.subdued };
        let inside = rect.shrink2(Vec2::new(MARGIN, 0.0));
        let font = egui::TextStyle::Small.resolve(ui.style());
        let (anchor, at) = match column.is_number {
            true => (Align2::RIGHT_CENTER, inside.right_center()),
            false => (Align2::LEFT_CENTER, inside.left_center()),
        };
        let text = ui.painter().text(at, anchor, column.name, font, color);
        if let Some((_, down)) = sorted {
            let middle = match column.is_number {
                true => pos2(text.left() - 9.0, text.center().y),
                false => pos2(text.right() + 9.0, text.center().y),
            };
            let icon = Rect::from_center_size(middle, Vec2::splat(9.0));
            // Upwards is the same sign upside down.
            let icon = if down { icon } else { Rect::from_two_pos(icon.left_bottom(), icon.right_top()) };
            Icon::Down.paint(ui.painter(), icon, color);
        }
        let name = column.name;
        // The heading of a column, not one of its cells.
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, name));
        response.clicked()
    }
}

/// Text in a cell, cut where it is too long and told whole under the pointer.
pub fn text(ui: &mut Ui, text: impl Into<String>, color: egui::Color32) -> Response {
    ui.add(egui::Label::new(RichText::new(text.into()).color(color)).truncate().selectable(false))
}
