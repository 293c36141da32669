//! The run screen as it is drawn.

use egui::{Align, Frame, Layout, Margin, Panel, Rect, RichText, Sense, Ui, WidgetInfo, pos2, vec2};

use super::live::{Live, Stage};
use super::question::question_ui;
use super::{Runs, Wish, memory};
use crate::app::language::{fill, tr};
use crate::app::parts::button::{button, primary};
use crate::app::parts::card::{card, fact, heading};
use crate::app::parts::problem::problem;
use crate::app::parts::{Icon, figure, verdict};
use crate::app::pictures;
use crate::app::theme::{SEMIBOLD, Tokens};
use crate::app::{self, Screen, Wishes, Workspace};
use crate::words::{duration, size};

/// Draws the screen.
pub fn ui(runs: &mut Runs, ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
    if runs.preparing.is_some() {
        return preparing_ui(runs, ui, wishes);
    }
    if runs.live.is_none() || runs.refused.is_some() {
        return empty_ui(runs, ui, workspace, wishes);
    }
    let tokens = Tokens::of(ui);
    keys(ui, wishes);
    let bar = Frame::new().fill(tokens.panel).inner_margin(Margin::symmetric(16, 10));
    Panel::top("run head").frame(bar).show(ui, |ui| head_ui(runs, ui, wishes));
    let height = ui.available_height();
    Panel::bottom("run memory")
        .resizable(true)
        .default_size((height * 0.30).clamp(110.0, 240.0))
        .size_range(70.0..=(height * 0.6).max(80.0))
        .frame(Frame::new().fill(tokens.panel).inner_margin(Margin::symmetric(16, 8)))
        .show(ui, |ui| {
            if let Some(live) = &runs.live {
                memory::ui(ui, &live.trace, live.is_active());
            }
        });
    let width = ui.available_width();
    Panel::left("run pictures")
        .resizable(true)
        .default_size(width * 0.44)
        .size_range(220.0..=(width * 0.7).max(230.0))
        .frame(Frame::new().fill(tokens.canvas).inner_margin(Margin::same(12)))
        .show(ui, |ui| pictures_ui(runs, ui));
    egui::CentralPanel::default()
        .frame(Frame::new().fill(tokens.canvas).inner_margin(Margin {
            left: 4,
            right: 12,
            top: 12,
            bottom: 8,
        }))
        .show(ui, |ui| question_ui(runs, ui, wishes));
}

/// A word on the run in progress, for the top bar.
pub fn badge_ui(runs: &Runs, ui: &mut Ui, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let Some(live) = runs.live.as_ref().filter(|live| live.is_active()) else { return };
    let text = match &live.stage {
        Stage::Loading(..) => tr("Loading the model").to_owned(),
        Stage::Paused => fill("Paused at {} of {}", &[&live.done, &live.about.total]),
        _ => fill("Running {} of {}", &[&live.done, &live.about.total]),
    };
    let color = if live.stage == Stage::Paused { tokens.warning } else { tokens.accent };
    let button = ui.add(egui::Button::new(RichText::new(text).small().color(color)).small());
    if button.on_hover_text(tr("Go to the run")).clicked() {
        wishes.push(app::Wish::Go(Screen::Run));
    }
}

fn keys(ui: &Ui, wishes: &mut Wishes) {
    if ui.ctx().text_edit_focused() || ui.memory(|memory| memory.focused().is_some()) {
        return;
    }
    let pressed = |key| ui.input(|input| input.key_pressed(key));
    let steps = [(egui::Key::ArrowLeft, -1), (egui::Key::ArrowRight, 1)];
    wishes
        .extend(steps.iter().filter(|(key, _)| pressed(*key)).map(|(_, by)| app::Wish::Run(Wish::Step(*by))));
    if pressed(egui::Key::End) {
        wishes.push(app::Wish::Run(Wish::Follow(None)));
    }
}

/// A run is being prepared: what takes its time, and a way out.
fn preparing_ui(runs: &Runs, ui: &mut Ui, wishes: &mut Wishes) {
    centered(ui, 460.0, |ui| {
        card(ui, |ui| {
            heading(ui, tr("Preparing the run"));
            ui.label(tr("Checking the choices and reading the dataset through once for its fingerprint"));
            ui.add_space(6.0);
            let share = runs.preparing.as_ref().and_then(crate::app::job::Job::share);
            ui.add(egui::ProgressBar::new(share.unwrap_or(0.0)).desired_height(8.0));
            ui.add_space(6.0);
            if ui.button(tr("Cancel")).clicked() {
                wishes.push(app::Wish::Run(Wish::Cancel));
            }
        });
    });
}

/// No run yet: what would be run, and the button.
fn empty_ui(runs: &Runs, ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
    centered(ui, 520.0, |ui| {
        if let Some(refused) = &runs.refused {
            problem(ui, refused);
            ui.add_space(8.0);
        }
        card(ui, |ui| {
            heading(ui, if runs.refused.is_some() { tr("The run did not begin") } else { tr("No run yet") });
            ui.add_space(4.0);
            let waiting = tr("being opened").to_owned();
            let none = tr("not chosen").to_owned();
            let subject = match &workspace.subject {
                it if it.is_loading() => waiting.clone(),
                it => it.ready().map_or_else(|| none.clone(), |subject| subject.name.clone()),
            };
            let dataset = match &workspace.dataset {
                it if it.is_loading() => waiting,
                it => it.ready().map_or(none, |it| fill("{}, {} questions", &[&it.name(), &it.len()])),
            };
            fact(ui, tr("Checkpoint"), subject);
            fact(ui, tr("Dataset"), dataset);
            fact(ui, tr("Devices"), workspace.choices.devices.clone());
            fact(ui, tr("Rule"), workspace.choices.rule.clone());
            ui.add_space(8.0);
            ui.horizontal(|ui| {
                let ready = workspace.obstacle().is_none();
                ui.add_enabled_ui(ready, |ui| {
                    if primary(ui, Some(Icon::Play), tr("Start")).clicked() {
                        wishes.push(app::Wish::Start);
                    }
                });
                if ui.button(tr("Change…")).clicked() {
                    wishes.push(app::Wish::Go(Screen::Setup));
                }
            });
        });
    });
}

fn centered(ui: &mut Ui, width: f32, content: impl FnOnce(&mut Ui)) {
    let room = ui.available_rect_before_wrap();
    let width = width.min(room.width() - 32.0);
    let place = Rect::from_min_size(
        pos2(room.center().x - width / 2.0, room.top() + (room.height() * 0.18).min(140.0)),
        vec2(width, room.height() * 0.8),
    );
    ui.scope_builder(egui::UiBuilder::new().max_rect(place), content);
}

/// Progress, score and controls.
fn head_ui(runs: &Runs, ui: &mut Ui, wishes: &mut Wishes) {
    let Some(live) = &runs.live else { return };
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        // The main button is taller than the others; the head keeps its height whether it is there or not.
        ui.set_min_height(36.0);
        let done = format!("{} / {}", live.done, live.about.total);
        ui.label(RichText::new(done).size(20.0).family(semibold()).color(tokens.strong));
        stage_ui(ui, live);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            controls_ui(live, runs.shown(), ui, wishes)
        });
    });
    ui.add_space(2.0);
    progress_ui(ui, live);
    ui.add_space(4.0);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 14.0;
        score_ui(ui, live);
        for (of, count) in counts(live) {
            if count > 0 {
                verdict::count(ui, of, count);
            }
        }
        if let Some(speed) = live.tokens_per_second {
            let text = fill("{} tokens/s", &[&format!("{speed:.1}")]);
            ui.label(RichText::new(text).color(tokens.subdued)).on_hover_text(tr(
                "Tokens of all answers so far over the time of their decoding, prompts not counted",
            ));
        }
        let what = fill("{} on {}", &[&live.about.checkpoint, &live.about.dataset]);
        ui.add(egui::Label::new(RichText::new(what).color(tokens.subdued)).truncate())
            .on_hover_text(live.about.folder.display().to_string());
    });
    for (place, note) in live.notes.iter().enumerate().rev().take(2) {
        ui.horizontal(|ui| {
            ui.label(RichText::new("!").color(tokens.warning));
            let text = note.to_string();
            ui.add(egui::Label::new(RichText::new(&text).small().color(tokens.text)).truncate())
                .on_hover_text(text);
            if ui.small_button(tr("Dismiss")).clicked() {
                wishes.push(app::Wish::Run(Wish::Dismiss(place)));
            }
        });
    }
    if let Stage::Broken(broken) = &live.stage {
        ui.add_space(4.0);
        problem(ui, broken);
    }
}

fn semibold() -> egui::FontFamily {
    egui::FontFamily::Name(SEMIBOLD.into())
}

/// What goes on, in a few words.
fn stage_ui(ui: &mut Ui, live: &Live) {
    let tokens = Tokens::of(ui);
    let (text, color) = match &live.stage {
        Stage::Loading(_, 0) => (tr("loading the model").to_owned(), tokens.accent),
        Stage::Loading(bytes, total) => {
            (fill("loading the model, {} of {}", &[&size(*bytes), &size(*total)]), tokens.accent)
        }
        Stage::Running => match live.seconds_left().filter(|_| live.done < live.about.total) {
            Some(left) => (fill("{} left", &[&duration(left)]), tokens.subdued),
            None => (tr("running").to_owned(), tokens.subdued),
        },
        Stage::Pausing => (tr("pausing after the present token").to_owned(), tokens.warning),
        Stage::Paused => (tr("paused").to_owned(), tokens.warning),
        Stage::Stopping => (tr("stopping after the present token").to_owned(), tokens.warning),
        Stage::Over(true) => (fill("done in {}", &[&duration(live.seconds())]), tokens.good),
        Stage::Over(false) => (tr("stopped; every answer is kept").to_owned(), tokens.warning),
        Stage::Broken(_) => (tr("could not go on; every answer is kept").to_owned(), tokens.bad),
    };
    let label = ui.label(RichText::new(text).color(color));
    if live.stage == Stage::Running {
        label.on_hover_text(tr(
            "Estimated from the tiles and tokens of the questions that remain, and the speed so far",
        ));
    }
}

fn controls_ui(live: &Live, shown: Option<usize>, ui: &mut Ui, wishes: &mut Wishes) {
    let mut wish = |wish| wishes.push(app::Wish::Run(wish));
    match &live.stage {
        Stage::Over(_) | Stage::Broken(_) => {
            if live.done > 0 && primary(ui, None, tr("See the results")).clicked() {
                wishes.push(app::Wish::ShowSession(live.about.folder.clone()));
            }
            if live.done < live.about.total && ui.button(tr("Resume")).clicked() {
                wishes.push(app::Wish::Resume(live.about.folder.clone()));
            }
            if ui.button(tr("Run again")).on_hover_text(tr("A new session of what is chosen now")).clicked() {
                wishes.push(app::Wish::Start);
            }
            return;
        }
        Stage::Stopping => {
            ui.add_enabled(false, egui::Button::new(tr("Stop")));
        }
        _ => {
            let stop = button(ui, Icon::Stop, tr("Stop"));
            if stop
                .on_hover_text(tr("End now; the question at hand is asked again when the session is resumed"))
                .clicked()
            {
                wish(Wish::Stop);
            }
        }
    }
    let flying = shown.filter(|row| live.flight(*row).is_some()).or(live.flights.last().map(|it| it.row));
    let skip = ui.add_enabled(flying.is_some(), egui::Button::new(tr("Skip")));
    let about = tr("Leave the question at hand out for now; it is asked again when the session is resumed");
    if let (true, Some(row)) = (skip.on_hover_text(about).clicked(), flying) {
        wish(Wish::Skip(row));
    }
    match &live.stage {
        Stage::Paused => {
            if primary(ui, Some(Icon::Play), tr("Go on")).clicked() {
                wish(Wish::Resume);
            }
        }
        Stage::Running | Stage::Loading(..) => {
            if button(ui, Icon::Pause, tr("Pause"))
                .on_hover_text(tr("Wait after the present token"))
                .clicked()
            {
                wish(Wish::Pause);
            }
        }
        _ => {
            ui.add_enabled(false, egui::Button::new(tr("Pause")));
        }
    }
}

fn counts(live: &Live) -> [(crate::scoring::Verdict, u64); 6] {
    use crate::scoring::Verdict::{Failed, OutOfMemory, Right, Unparsed, Unscored, Wrong};
    let overall = &live.report.overall;
    [
        (Right, overall.right),
        (Wrong, overall.wrong),
        (Unparsed, overall.unparsed),
        (Failed, overall.failed),
        (OutOfMemory, overall.out_of_memory),
        (Unscored, overall.unscored),
    ]
}

/// The bar: answered questions parted by verdict, on the length of all of them.
fn progress_ui(ui: &mut Ui, live: &Live) {
    let tokens = Tokens::of(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 8.0), Sense::hover());
    let painter = ui.painter();
    painter.rect_filled(rect, 4.0, tokens.raised);
    if let Stage::Loading(bytes, total) = live.stage {
        let share = if total > 0 { bytes as f32 / total as f32 } else { 0.0 };
        let part = Rect::from_min_size(rect.min, vec2(rect.width() * share, rect.height()));
        painter.rect_filled(part, 4.0, tokens.accent);
    } else {
        let mut x = rect.left();
        for (of, count) in counts(live) {
            let width = rect.width() * count as f32 / live.about.total.max(1) as f32;
            let part =
                Rect::from_min_max(pos2(x, rect.top()), pos2((x + width).min(rect.right()), rect.bottom()));
            painter.rect_filled(part, 0.0, tokens.verdict(of));
            x += width;
        }
    }
    let share = 100 * live.done / live.about.total.max(1);
    let text = fill("Progress: {} of {} questions, {} %", &[&live.done, &live.about.total, &share]);
    response.widget_info(|| WidgetInfo::labeled(egui::Role::ProgressIndicator, true, &text));
    response.on_hover_text(text);
}

fn score_ui(ui: &mut Ui, live: &Live) {
    let tokens = Tokens::of(ui);
    let overall = &live.report.overall;
    let text = figure::accuracy(overall);
    ui.label(RichText::new(text).family(semibold()).color(tokens.strong))
        .on_hover_text(figure::interval_meaning());
    if overall.total > 0 {
        figure::interval_bar(ui, overall, 130.0);
    }
}

fn pictures_ui(runs: &mut Runs, ui: &mut Ui) {
    let tokens = Tokens::of(ui);
    let room = ui.available_size();
    let Some(row) = runs.shown() else {
        ui.centered_and_justified(|ui| {
            ui.label(RichText::new(tr("The pictures of the question come here")).color(tokens.subdued))
        });
        return;
    };
    match runs.gallery.get(row) {
        Some(crate::app::job::Loadable::Ready(shown)) => {
            pictures::show(ui, &shown.pictures, &mut runs.look, room)
        }
        Some(crate::app::job::Loadable::Refused(why)) => problem(ui, why),
        // Decoding takes a moment; a word that comes and goes would only flicker.
        _ => {
            ui.allocate_space(room);
        }
    }
}
