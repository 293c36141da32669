//! The head of the run screen: how far the run is, its score so far, and what can be done with it.

use egui::{Align, Layout, Rect, RichText, Sense, Ui, WidgetInfo, pos2, vec2};

use super::live::{Live, Stage};
use super::{Runs, Wish};
use crate::app::language::{fill, tr};
use crate::app::parts::button::{button, primary};
use crate::app::parts::problem::problem;
use crate::app::parts::{Icon, figure, verdict};
use crate::app::theme::{SEMIBOLD, Tokens};
use crate::app::{self, Wishes};
use crate::words::{duration, size};

/// Draws progress, score and controls.
pub fn head_ui(runs: &Runs, ui: &mut Ui, wishes: &mut Wishes) {
    let Some(live) = &runs.live else { return };
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        // The main button is taller than the others; the head keeps its height whether it is there or not.
        ui.set_min_height(36.0);
        let done = format!("{} / {}", live.done, live.about.total);
        ui.label(RichText::new(done).size(20.0).family(semibold()).color(tokens.strong)).on_hover_text(tr(
            "Questions answered, those of earlier runs of the session counted, of those that were selected",
        ));
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
            let why = match live.about.server {
                Some(_) => tr("Tokens of answers over the last half minute, as the server counts them"),
                None => {
                    tr("Tokens of all answers so far over the time of their decoding, prompts not counted")
                }
            };
            ui.label(RichText::new(text).color(tokens.subdued)).on_hover_text(why);
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
        Stage::Pausing if live.about.server.is_some() => {
            (tr("pausing; what is with the server is still answered").to_owned(), tokens.warning)
        }
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
            let failed = live.report.overall.failed;
            if live.about.server.is_some() && failed > 0 {
                let why =
                    tr("Goes on with the session, and asks again what the server refused or did not answer");
                if ui.button(fill("Ask the {} failed again", &[&failed])).on_hover_text(why).clicked() {
                    wishes.push(app::Wish::AskFailedAgain(live.about.folder.clone()));
                }
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
                .on_hover_text(match live.about.server {
                    Some(_) => tr("Send no further questions; what is with the server is still answered"),
                    None => tr("Wait after the present token"),
                })
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
