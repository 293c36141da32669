//! The top bar: where one is, what runs, how the window looks.

use egui::{Align, Layout, Margin, Rect, RichText, Role, Sense, Stroke, Ui, Vec2, WidgetInfo, pos2};

use super::habits::Theme;
use super::language::{Language, tr};
use super::parts::icon::{Icon, named};
use super::theme::{self, Tokens};
use super::{App, Screen, Wish, Wishes, shortcut};

/// Height of the bar's content.
const HEIGHT: f32 = 32.0;

/// Draws the bar.
pub fn bar_ui(app: &mut App, ui: &mut Ui, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let frame =
        egui::Frame::new().fill(tokens.bar).inner_margin(Margin { left: 16, right: 10, top: 6, bottom: 6 });
    egui::Panel::top("bar").frame(frame).show(ui, |ui| {
        ui.horizontal(|ui| {
            ui.set_height(HEIGHT);
            mark(ui);
            ui.add_space(14.0);
            ui.spacing_mut().item_spacing.x = 2.0;
            for (place, screen) in Screen::NAVIGATION.into_iter().enumerate() {
                if tab(ui, screen, app.screen == screen, place) {
                    wishes.push(Wish::Go(screen));
                }
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let keys = Icon::Keyboard.button(ui, tr("Keys"));
                if shortcut::tip(keys, "Keys", &shortcut::SHOW_KEYS).clicked() {
                    wishes.push(Wish::ShowKeys);
                }
                theme_ui(app, ui);
                language_ui(app, ui);
                ui.add_space(8.0);
                app.run.badge_ui(ui, wishes);
            });
        });
    });
}

/// The program's mark, three shards of a bar chart, and its name.
fn mark(ui: &mut Ui) {
    let tokens = Tokens::of(ui);
    let (rect, _) = ui.allocate_exact_size(Vec2::splat(18.0), Sense::hover());
    for (place, (height, color)) in theme::mark(ui.ctx()).into_iter().enumerate() {
        let left = rect.left() + 6.5 * place as f32;
        let top = rect.bottom() - rect.height() * height;
        let shard = Rect::from_min_max(pos2(left, top), pos2(left + 5.0, rect.bottom()));
        ui.painter().rect_filled(shard, 1.5, color);
    }
    ui.add_space(2.0);
    ui.label(RichText::new("Shardscope").family(theme::semibold()).size(15.0).color(tokens.strong));
}

fn tab(ui: &mut Ui, screen: Screen, here: bool, place: usize) -> bool {
    let tokens = Tokens::of(ui);
    let family = if here { theme::semibold() } else { egui::FontFamily::Proportional };
    let font = egui::FontId::new(13.5, family);
    let galley = ui.painter().layout_no_wrap(screen.name().to_owned(), font, tokens.strong);
    let (rect, response) = ui.allocate_exact_size(Vec2::new(galley.size().x + 22.0, HEIGHT), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Tab, true, here, screen.name()));
    let color = match (here, response.hovered() || response.has_focus()) {
        (true, _) => tokens.strong,
        (false, true) => tokens.text,
        (false, false) => tokens.subdued,
    };
    if response.hovered() || response.has_focus() {
        ui.painter().rect_filled(rect.shrink2(Vec2::new(2.0, 2.0)), 6.0, tokens.raised);
    }
    ui.painter().galley_with_override_text_color(rect.center() - galley.size() / 2.0, galley, color);
    if here {
        let y = rect.bottom() + 4.5;
        ui.painter().hline(rect.x_range().shrink(10.0), y, Stroke::new(2.0, tokens.accent));
    }
    let keys = shortcut::TABLE.get(place).map(|it| shortcut::keys(ui.ctx(), &it.keys)).unwrap_or_default();
    response.on_hover_text(keys).clicked()
}

fn language_ui(app: &mut App, ui: &mut Ui) {
    let button =
        egui::Button::new((Icon::Globe.atom(), app.habits.language.name())).frame_when_inactive(false);
    let response = ui.add(button);
    let name = tr("Language");
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, name));
    egui::Popup::menu(&response).accessible_name(name).show(|ui| {
        for language in Language::ALL {
            ui.radio_value(&mut app.habits.language, language, language.name());
        }
    });
}

fn theme_ui(app: &mut App, ui: &mut Ui) {
    let icon = match app.habits.theme {
        Theme::System => Icon::Screen,
        Theme::Dark => Icon::Moon,
        Theme::Light => Icon::Sun,
    };
    let button = egui::Button::new(icon.atom()).frame_when_inactive(false).min_size(Vec2::splat(28.0));
    let response = named(ui, button, tr("Theme"));
    egui::Popup::menu(&response).accessible_name(tr("Theme")).show(|ui| {
        for (theme, name) in
            [(Theme::System, tr("As the system")), (Theme::Dark, tr("Dark")), (Theme::Light, tr("Light"))]
        {
            ui.radio_value(&mut app.habits.theme, theme, name);
        }
    });
}
