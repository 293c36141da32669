//! Memory over the answer's length, peaks of all questions, and the heaviest of them.

use egui::{Align2, Color32, RichText, Sense, Ui, vec2};
use egui_plot::{Bar, BarChart, HLine, Line, LineStyle, Plot, PlotPoints, Points, VLine};

use super::curves::curves;
use super::desk::Desk;
use super::paint;
use super::view::View;
use super::words::{grouped, percent, tiles, verdict_name};
use crate::app::language::{fill, tr};
use crate::app::parts::plot;
use crate::app::theme::Tokens;
use crate::plan::bytes::{GIB, KIB, MIB};
use crate::plan::forecast::Verdict;
use crate::plan::{Case, Forecast, QuestionCost};

/// The question that the curves are drawn for: the one chosen, else the worst.
fn question<'a>(case: &'a Case, forecast: &Forecast, view: &View) -> Option<&'a QuestionCost> {
    let questions = &case.workload.questions;
    let chosen = view.question.or_else(|| forecast.heaviest.first().copied());
    chosen.and_then(|index| questions.get(index)).or_else(|| case.workload.frontier.first())
}

/// The panel below the board.
pub fn ui(ui: &mut Ui, desk: &Desk, view: &mut View) {
    let has_questions = !desk.case().workload.questions.is_empty();
    let width = ui.available_width();
    let height = ui.available_height();
    let gap = 18.0;
    let (plot, bars, table) = match (has_questions, width) {
        (false, _) => (width, 0.0, 0.0),
        (true, w) if w < 620.0 => (w * 0.5, 0.0, w * 0.5 - gap),
        (true, w) => {
            let rest = w - 2.0 * gap;
            let table = (rest * 0.36).clamp(280.0, 460.0);
            ((rest - table) * 0.64, (rest - table) * 0.36, table)
        }
    };
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = gap;
        part(ui, plot, height, |ui| curves_ui(ui, desk, view));
        if bars > 0.0 {
            part(ui, bars, height, |ui| peaks_ui(ui, &desk.shown().1.forecast));
        }
        if table > 0.0 {
            part(ui, table, height, |ui| heaviest_ui(ui, desk, view));
        }
    });
}

fn part(ui: &mut Ui, width: f32, height: f32, content: impl FnOnce(&mut Ui)) {
    ui.allocate_ui_with_layout(vec2(width, height), egui::Layout::top_down(egui::Align::Min), |ui| {
        ui.spacing_mut().item_spacing = vec2(8.0, 4.0);
        ui.set_width(width);
        content(ui);
    });
}

/// A heading, what it is about, and on the right what is to be seen.
fn title(ui: &mut Ui, text: &str, about: &str, (seen, ink): (&str, Color32)) {
    let tokens = Tokens::of(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 18.0), Sense::hover());
    let painter = ui.painter();
    let name = paint::line(
        painter,
        rect.left_center(),
        Align2::LEFT_CENTER,
        rect.width(),
        text,
        paint::bold(13.0),
        tokens.strong,
    );
    let mut room = rect.max.x - name.max.x - 16.0;
    if !seen.is_empty() && room > 120.0 {
        let said =
            paint::line(painter, rect.right_center(), Align2::RIGHT_CENTER, room, seen, paint::small(), ink);
        room = said.min.x - name.max.x - 20.0;
    }
    if room > 60.0 {
        let at = egui::pos2(name.max.x + 8.0, rect.center().y + 0.5);
        paint::line(painter, at, Align2::LEFT_CENTER, room, about, paint::small(), tokens.subdued);
    }
}

/// Steps that people count in: 1, 2 or 5 times a power of ten, about a third of the whole.
fn step(whole: f64) -> f64 {
    let third = (whole / 3.0).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(third.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|n| n * power).find(|step| *step <= third).unwrap_or(power)
}

fn plain_plot<'a>(name: &'static str, tokens: &Tokens) -> Plot<'a> {
    plot::still(name, tokens).allow_double_click_reset(false).set_margin_fraction(vec2(0.01, 0.06))
}

fn curves_ui(ui: &mut Ui, desk: &Desk, view: &View) {
    let tokens = Tokens::of(ui);
    let (draft, outlook) = desk.shown();
    let Some(question) = question(desk.case(), &outlook.forecast, view) else { return };
    let drawn = curves(desk.case(), &draft.plan, question);
    let about = fill(
        "at {}: {}, {} prompt tokens",
        &[&question.id, &tiles(question.tiles), &grouped(question.prompt_tokens)],
    );
    let ends =
        drawn.curves.iter().filter_map(|c| Some((c.ends_at?, &c.name))).min_by(|a, b| a.0.total_cmp(&b.0));
    let seen = match ends {
        Some((end, name)) => fill("{} ends at {} tokens", &[name, &grouped(end as u64)]),
        None => String::new(),
    };
    let ink = if ends.is_some_and(|(end, _)| end <= drawn.limit) { tokens.bad } else { tokens.subdued };
    title(ui, tr("Memory by answer length"), &about, (&seen, ink));
    let largest =
        drawn.curves.iter().flat_map(|c| &c.points).map(|p| p[1]).fold(drawn.usable.unwrap_or(1.0), f64::max);
    let (unit, word) = match drawn.usable {
        None => (0.01, "%"),
        Some(_) if largest >= GIB as f64 => (GIB as f64, "GiB"),
        Some(_) if largest >= MIB as f64 => (MIB as f64, "MiB"),
        Some(_) => (KIB as f64, "KiB"),
    };
    let top = drawn.usable.unwrap_or(1.0) / unit;
    let response = plain_plot("board curves", tokens)
        .include_x(0.0)
        .include_x(drawn.until)
        .include_y(top * 1.08)
        .y_grid_spacer(egui_plot::uniform_grid_spacer(move |_| {
            [step(top), step(top) * 5.0, step(top) * 10.0]
        }))
        .y_axis_formatter(move |mark, _| format!("{} {word}", mark.value))
        .x_axis_formatter(|mark, _| if mark.value < 0.0 { String::new() } else { grouped(mark.value as u64) })
        .label_formatter(move |hover| match hover {
            egui_plot::HoverPosition::NearDataPoint { plot_name, position, .. } => Some(format!(
                "{plot_name}\n{:.1} {word}, {} tokens",
                position.y,
                grouped(position.x.max(0.0) as u64)
            )),
            egui_plot::HoverPosition::Elsewhere { .. } => None,
        })
        .show(ui, |plot| {
            plot.hline(
                HLine::new(tr("usable memory"), top)
                    .color(tokens.bad)
                    .width(1.5)
                    .style(LineStyle::dashed_dense()),
            );
            let limit = VLine::new(tr("longest answer assumed"), drawn.limit).color(tokens.subdued);
            plot.vline(limit.width(1.0).style(LineStyle::dotted_dense()));
            for curve in &drawn.curves {
                let color = tokens.device(curve.device);
                let points: Vec<[f64; 2]> = curve.points.iter().map(|p| [p[0], p[1] / unit]).collect();
                let mut line =
                    Line::new(curve.name.clone(), PlotPoints::from(points)).color(color).width(1.8);
                // Colours repeat after eight devices; a dash tells the second eight apart.
                if curve.device >= tokens.devices.len() {
                    line = line.style(LineStyle::dashed_loose());
                }
                plot.line(line);
                if let Some(end) = curve.ends_at {
                    let name = fill("{} runs out after {} tokens", &[&curve.name, &grouped(end as u64)]);
                    plot.points(Points::new(name, vec![[end, top]]).color(color).radius(4.0));
                }
            }
        });
    let said =
        if seen.is_empty() { tr("memory lasts for every answer in this picture").to_owned() } else { seen };
    response.response.widget_info(|| {
        egui::WidgetInfo::labeled(
            egui::Role::Image,
            true,
            fill("memory over the answer's length: {}", &[&said]),
        )
    });
}

fn peaks_ui(ui: &mut Ui, forecast: &Forecast) {
    let tokens = Tokens::of(ui);
    title(ui, tr("Peaks of all questions"), tr("by share of the fullest device"), ("", tokens.subdued));
    let color = |tenth: usize| -> Color32 {
        match tenth {
            10 => tokens.bad,
            9 => tokens.warning,
            _ => tokens.accent,
        }
    };
    let bars: Vec<Bar> = forecast
        .histogram
        .iter()
        .enumerate()
        .map(|(tenth, &count)| {
            Bar::new(tenth as f64 * 10.0 + 5.0, count as f64).width(8.6).fill(color(tenth))
        })
        .collect();
    let most = forecast.histogram.iter().max().map_or(1.0, |most| (*most).max(3) as f64);
    let said = fill(
        "peaks of all questions: {} fit, {} tight, {} too large",
        &[&forecast.counts[0], &forecast.counts[1], &forecast.counts[2]],
    );
    let response = plain_plot("board peaks", tokens)
        .include_x(0.0)
        .include_x(110.0)
        .x_axis_formatter(|mark, _| match mark.value {
            v if v > 100.5 => tr("over").into(),
            v if v < 0.0 => String::new(),
            v => format!("{v:.0} %"),
        })
        .y_grid_spacer(egui_plot::uniform_grid_spacer(move |_| {
            [step(most), step(most) * 5.0, step(most) * 10.0]
        }))
        .x_grid_spacer(egui_plot::uniform_grid_spacer(|_| [50.0, 100.0, 500.0]))
        .y_axis_formatter(|mark, _| {
            if mark.value.fract() == 0.0 { grouped(mark.value.max(0.0) as u64) } else { String::new() }
        })
        .label_formatter(|_| None)
        .show(ui, |plot| {
            plot.bar_chart(BarChart::new("", bars).allow_hover(false));
            plot.vline(VLine::new("", 100.0).color(tokens.bad).width(1.5).style(LineStyle::dashed_dense()));
        });
    response.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, said.clone()));
    response.response.on_hover_text(said);
}

fn heaviest_ui(ui: &mut Ui, desk: &Desk, view: &mut View) {
    let tokens = Tokens::of(ui);
    let (draft, outlook) = desk.shown();
    let case = desk.case();
    title(ui, tr("Heaviest questions"), tr("and the device that each fills most"), ("", tokens.subdued));
    if outlook.forecast.heaviest.is_empty() {
        return;
    }
    egui::ScrollArea::vertical().id_salt("heaviest").auto_shrink(false).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 0.0;
        for &index in &outlook.forecast.heaviest {
            let (Some(question), Some(at)) =
                (case.workload.questions.get(index), outlook.forecast.questions.get(index))
            else {
                continue;
            };
            let device = draft.plan.devices.get(at.device).map_or("", |d| d.name.as_str());
            let is_chosen = view.question == Some(index);
            let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 20.0), Sense::click());
            if is_chosen || response.hovered() || response.has_focus() {
                ui.painter().rect_filled(rect, 4, tokens.raised);
            }
            let y = rect.center().y;
            let at_x = |x: f32| egui::pos2(rect.min.x + x, y);
            let painter = ui.painter();
            let color = paint::verdict_color(tokens, at.verdict);
            paint::verdict_mark(painter, at_x(9.0), 9.0, at.verdict, color);
            let right = rect.width() - 6.0;
            let share = paint::line(
                painter,
                at_x(right),
                Align2::RIGHT_CENTER,
                60.0,
                &percent(at.share),
                paint::small(),
                color,
            );
            let on = paint::line(
                painter,
                egui::pos2(rect.min.x + right - 46.0, y),
                Align2::RIGHT_CENTER,
                60.0,
                device,
                paint::small(),
                tokens.text,
            );
            let figures = fill("{} · {} tokens", &[&tiles(question.tiles), &grouped(question.prompt_tokens)]);
            let edge = on.min.x.min(share.min.x) - 10.0;
            let mut room = edge - rect.min.x - 20.0;
            if room > 190.0 {
                let figures = paint::line(
                    painter,
                    egui::pos2(edge, y),
                    Align2::RIGHT_CENTER,
                    150.0,
                    &figures,
                    paint::small(),
                    tokens.subdued,
                );
                room = figures.min.x - rect.min.x - 30.0;
            }
            paint::line(
                painter,
                at_x(20.0),
                Align2::LEFT_CENTER,
                room,
                &question.id,
                paint::small(),
                tokens.strong,
            );
            let said = fill(
                "{}: {}, {} prompt tokens, {} of {}, {}",
                &[
                    &question.id,
                    &tiles(question.tiles),
                    &grouped(question.prompt_tokens),
                    &percent(at.share),
                    &device,
                    &verdict_name(at.verdict),
                ],
            );
            response.widget_info(|| {
                egui::WidgetInfo::selected(egui::Role::ListBoxOption, true, is_chosen, &said)
            });
            if response.on_hover_text(&said).clicked() {
                view.question = (!is_chosen).then_some(index);
            }
        }
        let lost = outlook.forecast.counts[2];
        if lost > outlook.forecast.heaviest.len() && outlook.forecast.verdict == Verdict::DoesNotFit {
            ui.label(
                RichText::new(fill(
                    "and {} more that are too large",
                    &[&(lost - outlook.forecast.heaviest.len())],
                ))
                .small()
                .color(tokens.subdued),
            );
        }
    });
}
