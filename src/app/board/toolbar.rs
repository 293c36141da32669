//! Above the board: the strategy, steps back and forth, what is shown; and what the plan comes to.

use egui::{Align, Color32, Id, Layout as Lines, RichText, Sense, TextEdit, TextStyle, Ui, Vec2, vec2};

use super::alternatives::Alternative;
use super::desk::{Desk, Habits};
use super::model::Kind;
use super::paint;
use super::view::{Folding, View, ZOOM};
use super::words::{grouped, hops, percent, stages, verdict_name};
use super::{Priced, Wish, ask};
use crate::app::Wishes;
use crate::app::job::Loadable;
use crate::app::language::{fill, tr};
use crate::app::parts::button::{self, choice};
use crate::app::theme::{Tokens, semibold};
use crate::plan::bytes::human;
use crate::plan::{Forecast, Layout};
use std::sync::Arc;

/// A layout by its name, and in words what it is.
pub fn layout_words(layout: Layout) -> &'static str {
    use crate::plan::presets::Rule;
    match layout {
        Layout::Auto => tr("Shardscope's own: the smallest worst share of memory"),
        Layout::Rule(Rule::InternVl) => tr("InternVL's rule: layers counted, the first GPU half"),
        Layout::Rule(_) => tr("A rule of VLMEvalKit that counts layers"),
        Layout::Accelerate => tr("accelerate's auto (balanced)"),
        Layout::AccelerateSequential => tr("accelerate's sequential"),
        Layout::AccelerateBalancedLow0 => tr("accelerate's balanced_low_0"),
        Layout::MistralRs => tr("mistral.rs's automatic map"),
        Layout::Single => tr("everything on one device"),
        Layout::Custom => tr("made by hand"),
    }
}

/// The tools that change the plan, and the panels that are open.
pub fn ui(
    ui: &mut Ui,
    desk: &Desk,
    view: &mut View,
    compared: Option<&[Alternative]>,
    (is_planning, mut is_lower_open): (bool, bool),
    wishes: &mut Wishes,
) {
    let left = |ui: &mut Ui, (view, wishes): &mut (&mut View, &mut Wishes)| {
        strategy_ui(ui, desk, compared, wishes);
        let pins = desk.draft().pins.len();
        let replan = ui.add_enabled(!is_planning, egui::Button::new(tr("Re-plan the rest")));
        if replan.on_hover_text(fill("Plans every unit anew that is not pinned ({} are)", &[&pins])).clicked()
        {
            ask(wishes, Wish::Replan);
        }
        let (back, forth) = desk.can();
        if ui.add_enabled(back, egui::Button::new(tr("Undo"))).on_hover_text("Ctrl+Z").clicked() {
            ask(wishes, Wish::Undo);
        }
        if ui.add_enabled(forth, egui::Button::new(tr("Redo"))).on_hover_text("Ctrl+Shift+Z").clicked() {
            ask(wishes, Wish::Redo);
        }
        pin_ui(ui, desk, view, wishes);
    };
    let right = |ui: &mut Ui, (view, wishes): &mut (&mut View, &mut Wishes)| {
        let tokens = Tokens::of(ui);
        let use_it = RichText::new(tr("Use for the run")).family(semibold()).color(tokens.on_accent);
        let said = tr("The next run loads the model this way, on these devices");
        if ui.add(egui::Button::new(use_it).fill(tokens.accent)).on_hover_text(said).clicked() {
            ask(wishes, Wish::Use);
        }
        ui.add_space(6.0);
        panel_ui(ui, &mut view.is_side_open, tr("Details"));
        if panel_ui(ui, &mut is_lower_open, tr("Forecast")) {
            view.is_lower_open = Some(is_lower_open);
        }
    };
    let line = ui.spacing().interact_size.y;
    two_sides(ui, Id::unique("board tools"), line, &mut (view, wishes), left, right);
}

/// What stands on the left wraps before it meets what stands on the right.
fn two_sides<S>(
    ui: &mut Ui,
    id: Id,
    line: f32,
    state: &mut S,
    left: impl FnOnce(&mut Ui, &mut S),
    right: impl FnOnce(&mut Ui, &mut S),
) {
    let height = ui.spacing().interact_size.y;
    let taken: f32 = ui.data(|data| data.get_temp(id)).unwrap_or(240.0);
    let room = (ui.available_width() - taken - 16.0).max(200.0);
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing = vec2(6.0, 5.0);
        let wrapped = Lines::left_to_right(Align::Center).with_main_wrap(true);
        ui.allocate_ui_with_layout(vec2(room, line), wrapped, |ui| {
            ui.set_width(room);
            ui.spacing_mut().interact_size.y = line;
            left(ui, state);
        });
        let rest = vec2(ui.available_width(), height);
        ui.allocate_ui_with_layout(rest, Lines::right_to_left(Align::Center), |ui| {
            right(ui, state);
            let width = ui.min_rect().width();
            ui.data_mut(|data| data.insert_temp(id, width));
        });
    });
}

/// Whether a panel is open; whether that changed.
fn panel_ui(ui: &mut Ui, is_open: &mut bool, text: &str) -> bool {
    let tokens = Tokens::of(ui);
    let color = if *is_open { tokens.strong } else { tokens.subdued };
    let mut button = egui::Button::selectable(*is_open, RichText::new(text).color(color));
    if *is_open {
        button = button.fill(tokens.raised);
    }
    let clicked = ui.add(button).clicked();
    *is_open ^= clicked;
    clicked
}

/// Every layout with its verdict, where that is worked out.
fn strategy_ui(ui: &mut Ui, desk: &Desk, compared: Option<&[Alternative]>, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let now = desk.draft().plan.layout;
    let title = fill("Layout: {}", &[&if now == Layout::Custom { tr("by hand") } else { now.name() }]);
    ui.menu_button(title, |ui| {
        ui.set_width(360.0);
        ui.spacing_mut().item_spacing.y = 1.0;
        for layout in Layout::NAMED {
            let judged = compared.and_then(|all| all.iter().find(|a| a.layout == layout)?.at_home());
            let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 26.0), Sense::click());
            let is_here = now == layout;
            if is_here || response.hovered() || response.has_focus() {
                ui.painter().rect_filled(
                    rect,
                    5,
                    if is_here { tokens.accent.gamma_multiply(0.25) } else { tokens.raised },
                );
            }
            let middle = rect.center().y;
            let mut said = layout.name().to_owned();
            if let Some(judged) = judged {
                let verdict = judged.forecast.verdict;
                let color = paint::verdict_color(tokens, verdict);
                let text = format!("{} · {}", verdict_name(verdict), percent(judged.forecast.worst_share));
                said = format!("{said}, {text}");
                let at = egui::pos2(rect.max.x - 8.0, middle);
                let font = egui::FontId::proportional(12.5);
                let drawn =
                    paint::line(ui.painter(), at, egui::Align2::RIGHT_CENTER, 160.0, &text, font, color);
                paint::verdict_mark(
                    ui.painter(),
                    egui::pos2(drawn.min.x - 10.0, middle),
                    10.0,
                    verdict,
                    color,
                );
            }
            let font = egui::FontId::proportional(13.5);
            let ink = if is_here { tokens.strong } else { tokens.text };
            let at = egui::pos2(rect.min.x + 8.0, middle);
            paint::line(ui.painter(), at, egui::Align2::LEFT_CENTER, 210.0, layout.name(), font, ink);
            response
                .widget_info(|| egui::WidgetInfo::selected(egui::Role::MenuItemRadio, true, is_here, &said));
            if response.on_hover_text(layout_words(layout)).clicked() {
                ask(wishes, Wish::Strategy(layout));
                ui.close();
            }
        }
    });
}

fn pin_ui(ui: &mut Ui, desk: &Desk, view: &View, wishes: &mut Wishes) {
    let units = view.selection.units();
    let pins = &desk.draft().pins;
    let all = !units.is_empty() && units.iter().all(|unit| pins.contains_key(unit));
    let text = if all { tr("Unpin") } else { tr("Pin") };
    let button = ui.add_enabled(!units.is_empty(), egui::Button::new(text));
    if button.on_hover_text(tr("Pinned units stay when the rest is planned anew (P)")).clicked() {
        ask(wishes, if all { Wish::Unpin(units) } else { Wish::Pin(units) });
    }
}

/// What is shown of the board: legend and filter by kind, filter by name, folding and zoom.
pub fn shown_ui(ui: &mut Ui, view: &mut View) {
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(6.0, 5.0);
        kinds_ui(ui, view);
        narrow_ui(ui, view);
    });
}

fn kinds_ui(ui: &mut Ui, view: &mut View) {
    let tokens = Tokens::of(ui);
    for kind in Kind::ALL {
        let is_on = view.filter.kinds[kind as usize];
        let (rect, response) = kind_size(ui, kind);
        let color = tokens.kinds[kind as usize];
        let ink = if is_on { tokens.text } else { tokens.subdued };
        if response.hovered() || response.has_focus() {
            ui.painter().rect_filled(rect, 5, tokens.raised);
        }
        let square =
            egui::Rect::from_center_size(egui::pos2(rect.min.x + 11.0, rect.center().y), Vec2::splat(9.0));
        if is_on {
            ui.painter().rect_filled(square, 2, color);
        } else {
            ui.painter().rect_stroke(square, 2, egui::Stroke::new(1.5, color), egui::StrokeKind::Inside);
        }
        let at = egui::pos2(rect.min.x + 20.0, rect.center().y);
        paint::line(
            ui.painter(),
            at,
            egui::Align2::LEFT_CENTER,
            200.0,
            kind.name(),
            egui::FontId::proportional(12.5),
            ink,
        );
        response.widget_info(|| {
            egui::WidgetInfo::selected(egui::Role::CheckBox, true, is_on, fill("show {}", &[&kind.name()]))
        });
        if response.on_hover_text(tr("Click to dim or show this kind")).clicked() {
            view.filter.kinds[kind as usize] = !is_on;
        }
    }
}

fn narrow_ui(ui: &mut Ui, view: &mut View) {
    let field = TextEdit::singleline(&mut view.filter.text)
        .hint_text(tr("Filter: name or number"))
        .desired_width(150.0)
        .background_color(Tokens::of(ui).raised);
    let field = ui.add(field);
    name(&field, egui::Role::TextInput, tr("filter units"));
    let now = fill("Fold: {}", &[&view.folding.name()]);
    let folding = list(ui, tr("Folded runs"), &now, 124.0, |ui| {
        for folding in Folding::ALL {
            if ui.selectable_value(&mut view.folding, folding, folding.name()).clicked() {
                view.turned.clear();
            }
        }
    });
    folding.on_hover_text(tr(
        "Runs of one kind on a device become one chip; double click a chip to fold or unfold its run",
    ));
    ui.spacing_mut().slider_width = 72.0;
    let zoom = ui.add(egui::Slider::new(&mut view.zoom, ZOOM).show_value(false));
    name(&zoom, egui::Role::Slider, tr("size of chips"));
    zoom.on_hover_text(tr("size of chips"));
}

fn kind_size(ui: &mut Ui, kind: Kind) -> (egui::Rect, egui::Response) {
    let galley =
        ui.painter().layout_no_wrap(kind.name().into(), egui::FontId::proportional(12.5), Color32::WHITE);
    ui.allocate_exact_size(vec2(galley.size().x + 26.0, 24.0), Sense::click())
}

/// A list to choose from, with its name for those who do not see it.
pub fn list(
    ui: &mut Ui,
    title: &str,
    now: &str,
    width: f32,
    content: impl FnOnce(&mut Ui),
) -> egui::Response {
    let response = button::list(title, now, width).show_ui(ui, content).response;
    name(&response, egui::Role::ComboBox, &format!("{title}: {now}"));
    response
}

/// Gives a widget its name for those who do not see it.
pub fn name(response: &egui::Response, role: egui::Role, text: &str) {
    response.widget_info(|| egui::WidgetInfo::labeled(role, true, text));
}

/// What the plan comes to, in one line.
pub fn summary_ui(ui: &mut Ui, desk: &Desk, priced: &Loadable<Arc<Priced>>, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let (draft, outlook) = desk.shown();
    let (case, forecast) = (desk.case(), &outlook.forecast);
    let left = |ui: &mut Ui, wishes: &mut &mut Wishes| {
        ui.spacing_mut().item_spacing = vec2(8.0, 2.0);
        let color = paint::verdict_color(tokens, forecast.verdict);
        let model = RichText::new(&case.model.shape.name).font(paint::bold(14.0)).color(tokens.strong);
        ui.add(egui::Label::new(model).truncate()).on_hover_text(&case.model.shape.name);
        paint::verdict_icon(ui, forecast.verdict);
        let said = fill(
            "{}, {} of the fullest device",
            &[&verdict_name(forecast.verdict), &percent(forecast.worst_share)],
        );
        ui.label(RichText::new(said).font(paint::bold(14.0)).color(color));
        let runs = draft.plan.runs().len();
        let course = fill("{}, {}", &[&stages(runs), &hops(draft.plan.hops())]);
        let best = tr("No contiguous plan does better: every cut and every order of devices was considered");
        let hop = tr("Stages are runs of units on one device; a hop copies the hidden state");
        let weights = fill("{} in {}", &[&human(case.model.weight_bytes()), &case.model.dtype.name()]);
        let facts = [
            (questions(desk, forecast, priced), tr("Every question at its longest answer")),
            (
                lasting(forecast),
                tr("Tokens of answer before the first device runs out, at the worst question"),
            ),
            (course, if draft.plan.exact { best } else { hop }),
            (weights, tr("Weights of the whole model")),
        ];
        let corrected = super::assumptions_ui::corrections(&case.calibration);
        let corrected = corrected.as_deref().map(|words| (tr("corrected by measurements").to_owned(), words));
        for (fact, meaning) in facts.into_iter().chain(corrected).filter(|(fact, _)| !fact.is_empty()) {
            let fact = RichText::new(fact).color(tokens.text);
            let fact = egui::WidgetText::from(fact);
            let fact = fact.into_galley(ui, Some(egui::TextWrapMode::Extend), f32::INFINITY, TextStyle::Body);
            if ui.available_size_before_wrap().x > fact.size().x + DOT + 2.0 * ui.spacing().item_spacing.x {
                dot(ui);
            } else {
                // The line ends here: nothing is to be parted from what stands on the next one.
                ui.end_row();
            }
            ui.label(fact).on_hover_text(meaning);
        }
        if priced.is_loading() && ui.button(tr("Stop reading")).clicked() {
            ask(wishes, Wish::StopReading);
        }
    };
    let right = |ui: &mut Ui, wishes: &mut &mut Wishes| habits_ui(ui, desk, wishes);
    two_sides(ui, Id::unique("board summary sides"), 20.0, &mut { wishes }, left, right);
}

/// For how long an answer the memory lasts, where it ends at all.
fn lasting(forecast: &Forecast) -> String {
    match forecast.longest_answer {
        Some(0) => tr("memory ends before the first token").into(),
        Some(tokens) if tokens < 10_000_000 => {
            fill("memory lasts for {} tokens of answer", &[&grouped(tokens)])
        }
        _ => String::new(),
    }
}

/// Width of a dot.
const DOT: f32 = 3.0;

/// A dot between two facts on a line.
fn dot(ui: &mut Ui) {
    let (rect, _) = ui.allocate_exact_size(vec2(DOT, 14.0), Sense::hover());
    ui.painter().circle_filled(rect.center(), 1.5, Tokens::of(ui).subdued);
}

fn questions(desk: &Desk, forecast: &Forecast, priced: &Loadable<Arc<Priced>>) -> String {
    let count = desk.case().workload.questions.len();
    if let Loadable::Loading(job) = priced {
        let done = job.share().unwrap_or(0.0) * 100.0;
        return fill("reading the questions, {} %", &[&format!("{done:.0}")]);
    }
    if count == 0 {
        return tr("planned for one picture at its most tiles").into();
    }
    // While a very large dataset is looked at, the counts of before; none at first.
    let known =
        [forecast, &desk.outlook().forecast].into_iter().find(|forecast| !forecast.questions.is_empty());
    let Some(counts) = known.map(|forecast| forecast.counts) else {
        return fill("looking at {} questions", &[&grouped(count as u64)]);
    };
    let unread = priced.ready().map_or(0, |priced| priced.unread);
    let mut text = match counts {
        [_, 0, 0] => fill("all {} questions fit", &[&grouped(count as u64)]),
        [fits, tight, 0] => fill("{} questions: {} fit, {} tight", &[&grouped(count as u64), &fits, &tight]),
        [fits, tight, over] => fill(
            "{} questions: {} fit, {} tight, {} too large",
            &[&grouped(count as u64), &fits, &tight, &over],
        ),
    };
    if unread > 0 {
        text.push_str(&fill(", {} cannot be read", &[&unread]));
    }
    text
}

/// Whose way of running the plan is judged by.
fn habits_ui(ui: &mut Ui, desk: &Desk, wishes: &mut Wishes) {
    let mut habits = desk.habits();
    let choices = [(Habits::Released, tr("PyTorch")), (Habits::Own, tr("Shardscope"))];
    let shown = ui.scope(|ui| choice(ui, &mut habits, &choices));
    let meaning = tr(
        "PyTorch as released: all tiles at once, logits of every position, a CUDA context on every card. Shardscope: tiles in batches, logits of the last position alone.",
    );
    shown.response.on_hover_text(meaning);
    if shown.inner {
        ask(wishes, Wish::JudgeBy(habits));
    }
    ui.label(RichText::new(tr("judged as run by")).color(Tokens::of(ui).subdued));
}
