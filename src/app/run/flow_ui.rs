//! How a server stands, drawn: figures of the moment, and beside them how they came about.

use egui::{Align, Color32, Layout, RichText, Ui, Vec2, vec2};
use egui_plot::{Line, LineStyle, PlotPoints};

use super::flow::{Flow, Moment};
use super::live::Live;
use super::memory::clock;
use crate::app::language::{fill, tr};
use crate::app::parts::{figure, plot};
use crate::app::theme::Tokens;
use crate::words::count;

/// Narrowest plot.
const NARROWEST: f32 = 160.0;

/// Width of the figures.
const FIGURES: f32 = 220.0;

/// Points that are drawn of a line.
const POINTS: usize = 400;

/// Draws figures and plots.
pub fn flow_ui(ui: &mut Ui, live: &Live) {
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        ui.label(RichText::new(tr("The server")).heading().size(15.0).color(tokens.strong));
        if let Some(server) = &live.about.server {
            ui.label(RichText::new(server).small().color(tokens.subdued));
        }
        let trouble = live.flow.now.as_ref().and_then(|now| now.trouble.as_ref());
        if let Some(trouble) = trouble {
            ui.add_space(8.0);
            let text = fill("latest fault: {}", &[trouble]);
            let label = RichText::new(&text).small().color(tokens.warning);
            ui.add(egui::Label::new(label).truncate()).on_hover_text(text);
        }
    });
    if live.flow.now.is_none() {
        let text = tr("Throughput, latency and cost stand here when the first questions are with the server");
        ui.label(RichText::new(text).color(tokens.subdued));
        return;
    }
    let room = ui.available_rect_before_wrap();
    ui.horizontal_top(|ui| {
        let column = Layout::top_down(Align::Min);
        ui.allocate_ui_with_layout(vec2(FIGURES, room.height()), column, |ui| {
            egui::ScrollArea::vertical().id_salt("server's figures").auto_shrink([false, false]).show(
                ui,
                |ui| {
                    figures_ui(ui, live);
                },
            );
        });
        // Rows of plots stand one below the other.
        ui.vertical(|ui| plots_ui(ui, &live.flow));
    });
}

/// The figures of the moment; each says under the pointer what it means.
fn figures_ui(ui: &mut Ui, live: &Live) {
    let Some(now) = &live.flow.now else { return };
    ui.spacing_mut().item_spacing = vec2(8.0, 3.0);
    ui.spacing_mut().interact_size.y = 15.0;
    let rate = |pace: Option<f64>| pace.map_or("–".to_owned(), |pace| figure::rate(60.0 * pace));
    let mut row = |name: &str, value: String, why: &str| figure_ui(ui, name, &value, why);
    row(tr("Answers a minute"), rate(now.answers_per_second), tr("Over the last half minute"));
    row(
        tr("Tokens a minute"),
        rate(now.tokens_per_second),
        tr("Tokens of answers over the last half minute, as the server counts them"),
    );
    row(
        tr("In flight"),
        fill("{} of {}", &[&now.in_flight, &now.window]),
        tr("Questions that are with the server, and how many may be: fewer where it is strained"),
    );
    if now.resting > 0 {
        row(tr("Waiting"), now.resting.to_string(), tr("Questions that wait before they are tried again"));
    }
    if let Some(quiet) = now.quiet {
        row(tr("Server asks to wait"), figure::seconds(quiet), tr("All questions wait for so long"));
    }
    row(
        tr("First words after"),
        now.first_token.map_or("–".to_owned(), figure::seconds),
        tr("Median of the last answers, from the request to the first words"),
    );
    row(
        tr("Tries repeated"),
        now.retries.to_string(),
        tr("Tries that failed because the server was busy, silent or gone, and were followed by another"),
    );
    row(
        tr("Failed"),
        now.failed.to_string(),
        tr("Questions of this run that the server refused, or that failed at every try"),
    );
    row(
        tr("Tokens"),
        fill("{} in, {} out", &[&count(now.prompt_tokens), &count(now.output_tokens)]),
        tr("Tokens of prompts and of answers in this run, as the server counts them"),
    );
    if now.uncounted > 0 {
        row(
            tr("Not counted"),
            now.uncounted.to_string(),
            tr("Answers whose tokens the server did not tell; they are in no sum"),
        );
    }
    if let Some(cost) = now.cost {
        row(tr("Cost"), money(cost), tr("What the counted tokens of this run cost so far"));
        let left = live.about.total.saturating_sub(live.done);
        if let Some(expected) = live.flow.expected_cost(left).filter(|_| left > 0 && live.is_active()) {
            row(
                tr("Cost at the end"),
                fill("about {}", &[&money(expected)]),
                tr("If the questions that are left cost as much each as those so far"),
            );
        }
    }
}

fn figure_ui(ui: &mut Ui, name: &str, value: &str, why: &str) {
    let tokens = Tokens::of(ui);
    let row = ui.horizontal(|ui| {
        ui.set_width(ui.available_width());
        ui.label(RichText::new(name).small().color(tokens.subdued));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add_space(6.0);
            ui.label(RichText::new(value).small().color(tokens.strong));
        });
    });
    row.response.on_hover_text(why);
}

/// A sum of money: small ones with more digits.
fn money(cost: f64) -> String {
    match cost {
        0.0 => "0".into(),
        c if c < 0.1 => format!("{c:.4}"),
        c if c < 100.0 => format!("{c:.2}"),
        c => count(c.round() as u64),
    }
}

/// One line of a plot.
struct Course {
    name: &'static str,
    color: Color32,
    dashed: bool,
    of: fn(&Moment) -> Option<f64>,
}

/// The plots, side by side as many as there is room for, in rows.
fn plots_ui(ui: &mut Ui, flow: &Flow) {
    let tokens = Tokens::of(ui);
    let course = |name, color, of| Course { name, color, dashed: false, of };
    let dashed = |name, color, of| Course { name, color, dashed: true, of };
    let mut plots: Vec<(&str, Vec<Course>)> = vec![
        (tr("Answers a minute"), vec![course(tr("Answers a minute"), tokens.devices[0], |it| it.answers)]),
        (tr("Tokens a minute"), vec![course(tr("Tokens a minute"), tokens.devices[2], |it| it.tokens)]),
        (
            tr("In flight, and limit"),
            vec![
                course(tr("In flight"), tokens.devices[0], |it| Some(it.in_flight as f64)),
                dashed(tr("Limit"), tokens.subdued, |it| Some(it.limit as f64)),
            ],
        ),
        (
            tr("Seconds to the first words"),
            vec![course(tr("Seconds to the first words"), tokens.devices[3], |it| it.first_words)],
        ),
        (
            tr("Tries repeated, and failed"),
            vec![
                course(tr("Tries repeated"), tokens.warning, |it| Some(it.retries as f64)),
                course(tr("Failed"), tokens.bad, |it| Some(it.failed as f64)),
            ],
        ),
    ];
    if flow.now.as_ref().is_some_and(|now| now.cost.is_some()) {
        plots.push((tr("Cost so far"), vec![course(tr("Cost so far"), tokens.devices[1], |it| it.cost)]));
    }
    let moments = flow.moments();
    let gap = 10.0;
    let room = ui.available_size();
    let columns = (((room.x + gap) / (NARROWEST + gap)) as usize).clamp(1, plots.len());
    // Rows as full as each other.
    let rows = plots.len().div_ceil(columns);
    let columns = plots.len().div_ceil(rows);
    let width = (room.x - gap * (columns - 1) as f32) / columns as f32;
    let height = ((room.y - gap * (rows - 1) as f32) / rows as f32).max(72.0);
    egui::ScrollArea::vertical().id_salt("server's plots").auto_shrink([false, false]).show(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::splat(gap);
        for row in plots.chunks(columns) {
            ui.horizontal_top(|ui| {
                for (name, courses) in row {
                    let column = Layout::top_down(Align::Min);
                    ui.allocate_ui_with_layout(vec2(width, height), column, |ui| {
                        ui.set_width(width);
                        ui.spacing_mut().item_spacing.y = 2.0;
                        plot_ui(ui, name, courses, &moments, height);
                    });
                }
            });
        }
    });
}

fn plot_ui(ui: &mut Ui, name: &str, courses: &[Course], moments: &[Moment], height: f32) {
    let tokens = Tokens::of(ui);
    ui.label(RichText::new(name).small().color(tokens.subdued));
    let every = moments.len().div_ceil(POINTS).max(1);
    let last = moments.len().saturating_sub(1);
    let drawn = |of: fn(&Moment) -> Option<f64>| -> Vec<[f64; 2]> {
        let kept = moments.iter().enumerate().filter(|(place, _)| place % every == 0 || *place == last);
        kept.filter_map(|(_, moment)| Some([moment.at, of(moment)?])).collect()
    };
    let lines: Vec<Vec<[f64; 2]>> = courses.iter().map(|course| drawn(course.of)).collect();
    let most = lines.iter().flatten().map(|[_, y]| *y).fold(0.0, f64::max);
    let top = if most > 0.0 { 1.15 * most } else { 1.0 };
    let whole = moments.last().map_or(1.0, |moment| moment.at.max(1.0));
    plot::still(name, tokens)
        .height((height - 18.0).max(50.0))
        .include_x(0.0)
        .include_x(whole)
        .include_y(top)
        .custom_x_axes(vec![plot::across(ui).formatter(|mark, _| clock(mark.value))])
        .custom_y_axes(vec![plot::upwards(ui).min_thickness(32.0).formatter(|mark, _| plot::tick(mark))])
        .x_grid_spacer(move |_| plot::times(whole))
        .y_grid_spacer(move |_| plot::ticks(top))
        .show(ui, |drawing| {
            for (course, points) in courses.iter().zip(lines) {
                let style = if course.dashed { LineStyle::dashed_dense() } else { LineStyle::Solid };
                let line = Line::new(course.name, PlotPoints::from(points)).color(course.color);
                drawing.line(line.width(if course.dashed { 1.0 } else { 1.8 }).style(style));
            }
        });
}
