//! Memory of the devices while a run goes on: what was measured, beside what was forecast.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use egui::{RichText, Stroke, Ui};
use egui_plot::{HLine, Line, LineStyle, PlotPoints, Points, VLine};

use super::sampling::Measured;
use crate::app::language::{fill, tr};
use crate::app::parts::plot;
use crate::app::theme::Tokens;
use crate::session::Answer;
use crate::words::size;

/// Samples that are kept of each device; at four a second, ten minutes.
const SAMPLES_KEPT: usize = 2400;

/// Seconds between two samples while what is held changes.
const STEADY: f64 = 0.25;

/// Points of a line that are drawn; more could not be told apart.
const POINTS_DRAWN: usize = 600;

/// Question marks that are kept.
pub const MARKS_KEPT: usize = 600;

/// Question marks that are drawn as lines; of more, the latest.
const MARKS_DRAWN: usize = 40;

/// Memory of all devices over time.
pub struct Trace {
    /// The devices in the order of the layout.
    pub devices: Vec<DeviceTrace>,
    /// When questions were asked: seconds since the start, and their rows.
    pub marks: VecDeque<(f64, usize)>,
    start: Instant,
}

/// Memory of one device over time.
#[derive(Debug, Clone, Default)]
pub struct DeviceTrace {
    /// Its name in layouts.
    pub name: String,
    /// What it is.
    pub model: String,
    /// All of its memory, where known.
    pub capacity: Option<u64>,
    /// What the run was forecast to hold at its peak, where there is a forecast.
    pub forecast: Option<u64>,
    /// What was measured, the latest last.
    pub samples: VecDeque<Sample>,
    /// The most that the run held.
    pub peak: u64,
    /// The most that the run held while a question was answered, when it was.
    pub peaks: VecDeque<(f64, u64)>,
    /// What the bytes are, at the latest sample.
    pub parts: BTreeMap<String, u64>,
    /// Percent of the time in which it computed, where known.
    pub utilisation: Option<u32>,
    /// Degrees Celsius, where known.
    pub temperature: Option<u32>,
}

impl DeviceTrace {
    fn sample(&mut self, sample: Sample) {
        self.peak = self.peak.max(sample.own);
        self.samples.push_back(sample);
        if self.samples.len() > SAMPLES_KEPT {
            self.samples.pop_front();
        }
    }
}

/// Memory of a device at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Seconds since the start.
    pub at: f64,
    /// Bytes that the run holds.
    pub own: u64,
    /// Bytes that other processes hold, where known.
    pub others: u64,
}

impl Default for Trace {
    fn default() -> Self {
        Self { devices: Vec::new(), marks: VecDeque::new(), start: Instant::now() }
    }
}

impl Trace {
    /// Seconds since the start.
    pub fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// A question was asked.
    pub fn mark(&mut self, row: usize) {
        self.marks.push_back((self.now(), row));
        if self.marks.len() > MARKS_KEPT {
            self.marks.pop_front();
        }
    }

    /// A question was answered: its answer tells what each device held at its peak, and what was forecast.
    pub fn answered(&mut self, _row: usize, answer: &Answer) {
        let at = self.now();
        for (name, peak) in &answer.peak_bytes {
            let device = self.device(name);
            device.peak = device.peak.max(*peak);
            device.peaks.push_back((at, *peak));
            if device.peaks.len() > MARKS_KEPT {
                device.peaks.pop_front();
            }
        }
        for (name, forecast) in &answer.forecast_bytes {
            let device = self.device(name);
            device.forecast = Some(device.forecast.unwrap_or(0).max(*forecast));
        }
    }

    /// What a device holds now.
    pub fn measured(&mut self, it: Measured) {
        let at = it.at.saturating_duration_since(self.start).as_secs_f64();
        let device = self.device(&it.device);
        (device.parts, device.utilisation, device.temperature) = (it.parts, it.utilisation, it.temperature);
        // What does not change is not told again: until now it was as before.
        let before = device.samples.back().copied().filter(|before| at - before.at > 2.0 * STEADY);
        if let Some(before) = before {
            device.sample(Sample { at: at - STEADY, ..before });
        }
        device.sample(Sample { at, own: it.own, others: it.others });
    }

    /// A device by its name; made where it is new.
    pub fn device(&mut self, name: &str) -> &mut DeviceTrace {
        let place = self.devices.iter().position(|device| device.name == name).unwrap_or_else(|| {
            self.devices.push(DeviceTrace { name: name.to_owned(), ..DeviceTrace::default() });
            self.devices.len() - 1
        });
        &mut self.devices[place]
    }

    /// Whether anything was measured.
    pub fn is_measured(&self) -> bool {
        self.devices.iter().any(|device| !device.samples.is_empty())
    }
}

/// Draws the plot and what stands beside it. When the run is over, nothing is held any more, and the peaks stay.
pub fn ui(ui: &mut Ui, trace: &Trace, is_active: bool) {
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        ui.label(RichText::new(tr("Memory")).heading().size(15.0).color(tokens.strong));
        let key = tr("line: what the run holds · triangle: peak of an answer · dashed: forecast of the peak · red: capacity");
        ui.add(egui::Label::new(RichText::new(key).small().color(tokens.subdued)).truncate());
    });
    if trace.devices.is_empty() {
        ui.label(
            RichText::new(tr("The devices of the run are listed here when it begins")).color(tokens.subdued),
        );
        return;
    }
    let room = ui.available_rect_before_wrap();
    let side = (room.width() * 0.36).clamp(250.0, 420.0);
    ui.horizontal_top(|ui| {
        let column = egui::Layout::top_down(egui::Align::Min);
        ui.allocate_ui_with_layout(egui::vec2(side, room.height()), column, |ui| {
            egui::ScrollArea::vertical().id_salt("devices").auto_shrink([false, false]).show(ui, |ui| {
                for (place, device) in trace.devices.iter().enumerate() {
                    device_ui(ui, place, device, is_active);
                }
            });
        });
        if trace.is_measured() {
            plot_ui(ui, trace);
        } else {
            ui.centered_and_justified(|ui| {
                let words =
                    tr("Nothing is measured here yet: these devices do not tell what the run holds on them");
                ui.label(RichText::new(words).color(tokens.subdued));
            });
        }
    });
}

/// One device: its colour, what it holds, its peak against the forecast, capacity.
fn device_ui(ui: &mut Ui, place: usize, device: &DeviceTrace, is_active: bool) {
    let tokens = Tokens::of(ui);
    let color = tokens.device(place);
    ui.horizontal(|ui| {
        let (dot, _) = ui.allocate_exact_size(egui::vec2(12.0, 16.0), egui::Sense::hover());
        ui.painter().rect_filled(
            egui::Rect::from_center_size(dot.center(), egui::vec2(10.0, 10.0)),
            2.0,
            color,
        );
        ui.label(RichText::new(&device.name).color(tokens.strong));
        if !device.model.is_empty() {
            ui.add(egui::Label::new(RichText::new(&device.model).small().color(tokens.subdued)).truncate());
        }
    });
    let mut facts: Vec<String> = Vec::new();
    match device.samples.back() {
        Some(_) if !is_active => {}
        Some(sample) => {
            facts.push(fill("{} now", &[&size(sample.own)]));
            if sample.others > 0 {
                facts.push(fill("others {}", &[&size(sample.others)]));
            }
        }
        None => facts.push(tr("not measured").into()),
    }
    if device.peak > 0 {
        facts.push(fill("peak {}", &[&size(device.peak)]));
    }
    if let Some(forecast) = device.forecast {
        facts.push(fill("forecast {}", &[&size(forecast)]));
    }
    if let Some(capacity) = device.capacity {
        facts.push(fill("of {}", &[&size(capacity)]));
    }
    if let Some(percent) = device.utilisation {
        facts.push(fill("{} % busy", &[&percent]));
    }
    if let Some(degrees) = device.temperature {
        facts.push(format!("{degrees} °C"));
    }
    if let Some(share) = device.capacity.filter(|it| *it > 0 && !device.samples.is_empty()) {
        bar_ui(ui, device, share, is_active, color);
    }
    let label = ui.label(RichText::new(facts.join(" · ")).small().color(tokens.subdued));
    if !device.parts.is_empty() {
        let parts: Vec<String> = device
            .parts
            .iter()
            .map(|(name, bytes)| format!("{} {}", part_name(name), size(*bytes)))
            .collect();
        label.on_hover_text(parts.join("\n"));
    }
    ui.add_space(4.0);
}

fn part_name(part: &str) -> &str {
    match part {
        "weights" => tr("weights"),
        "kv" => tr("cache"),
        "activation" => tr("activations"),
        "overhead" => tr("overhead"),
        "others" => tr("other processes"),
        other => other,
    }
}

/// What a device holds as a share of what it has, with a tick at the forecast.
fn bar_ui(ui: &mut Ui, device: &DeviceTrace, capacity: u64, is_active: bool, color: egui::Color32) {
    let tokens = Tokens::of(ui);
    let width = ui.available_width().min(320.0);
    let (rect, response) = ui.allocate_exact_size(egui::vec2(width, 8.0), egui::Sense::hover());
    let x = |bytes: u64| rect.left() + rect.width() * (bytes as f64 / capacity as f64).min(1.0) as f32;
    let part = |from: u64, to: u64| {
        egui::Rect::from_min_max(egui::pos2(x(from), rect.top()), egui::pos2(x(to), rect.bottom()))
    };
    let painter = ui.painter();
    painter.rect_filled(rect, 3.0, tokens.raised);
    let now = match device.samples.back() {
        Some(sample) if is_active => (sample.own, sample.others),
        _ => (device.peak, 0),
    };
    painter.rect_filled(part(0, now.0), 3.0, color);
    painter.rect_filled(part(now.0, now.0 + now.1), 0.0, tokens.memory[4]);
    if let Some(forecast) = device.forecast {
        let tick = [egui::pos2(x(forecast), rect.top() - 2.0), egui::pos2(x(forecast), rect.bottom() + 2.0)];
        painter.line_segment(tick, Stroke::new(2.0, tokens.strong));
    }
    let words = fill("{}: {} of {}", &[&device.name, &size(now.0), &size(capacity)]);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Meter, true, &words));
    response.on_hover_text(tr(
        "What the run holds, then other processes; the upright line is the forecast of the peak",
    ));
}

const GIB: f64 = (1u64 << 30) as f64;

fn plot_ui(ui: &mut Ui, trace: &Trace) {
    let tokens = Tokens::of(ui);
    let largest =
        trace.devices.iter().map(|device| device.peak.max(device.forecast.unwrap_or(0))).max().unwrap_or(0);
    // Small models are drawn in MiB.
    let (unit, unit_name) =
        if largest as f64 >= 0.5 * GIB { (GIB, "GiB") } else { ((1u64 << 20) as f64, "MiB") };
    let now = trace.now();
    let top = 1.12 * largest.max(1) as f64 / unit;
    plot::still("memory", tokens)
        .height(ui.available_height().max(60.0))
        .include_x(0.0)
        .include_y(top)
        .custom_x_axes(vec![plot::across(ui).formatter(|mark, range| match range.end() - range.start() {
            short if short < 10.0 => format!("{:.1} s", mark.value),
            _ => clock(mark.value),
        })])
        .custom_y_axes(vec![
            plot::upwards(ui).formatter(move |mark, _| format!("{} {unit_name}", plot::tick(mark))),
        ])
        .y_grid_spacer(move |_| plot::ticks(top))
        .show(ui, |drawing| {
            let first =
                trace.devices.iter().filter_map(|it| it.samples.front()).map(|it| it.at).fold(now, f64::min);
            for (at, _) in trace.marks.iter().rev().take(MARKS_DRAWN).filter(|(at, _)| *at >= first) {
                drawing.vline(VLine::new("", *at).stroke(Stroke::new(0.5, tokens.line)));
            }
            for (place, device) in trace.devices.iter().enumerate() {
                let color = tokens.device(place);
                let every = device.samples.len().div_ceil(POINTS_DRAWN).max(1);
                let points = |bytes: &dyn Fn(&Sample) -> u64| -> Vec<[f64; 2]> {
                    decimated(&device.samples, every, bytes).map(|(at, it)| [at, it as f64 / unit]).collect()
                };
                let own = points(&|sample| sample.own);
                let peaks: Vec<[f64; 2]> = device
                    .peaks
                    .iter()
                    .filter(|(at, _)| *at >= first)
                    .map(|(at, it)| [*at, *it as f64 / unit])
                    .collect();
                if !peaks.is_empty() {
                    let points = Points::new(fill("{}, peak of an answer", &[&device.name]), peaks);
                    drawing.points(points.color(color).radius(2.5).shape(egui_plot::MarkerShape::Up));
                }
                drawing.line(Line::new(device.name.clone(), PlotPoints::from(own)).color(color).width(1.8));
                if device.samples.iter().any(|sample| sample.others > 0) {
                    let name = fill("{}, with others", &[&device.name]);
                    let line =
                        Line::new(name, PlotPoints::from(points(&|sample| sample.own + sample.others)));
                    drawing.line(
                        line.color(color.gamma_multiply(0.5)).width(1.0).style(LineStyle::dotted_dense()),
                    );
                }
                if let Some(forecast) = device.forecast {
                    let line = HLine::new(fill("{}, forecast", &[&device.name]), forecast as f64 / unit);
                    drawing.hline(line.color(color).width(1.0).style(LineStyle::dashed_dense()));
                }
                // A capacity far above everything would press the lines onto the axis.
                let capacity = device.capacity.filter(|it| *it as f64 <= 3.0 * largest as f64);
                if let Some(capacity) = capacity {
                    let line = HLine::new(fill("{}, capacity", &[&device.name]), capacity as f64 / unit);
                    drawing.hline(line.color(tokens.bad).width(1.0));
                }
            }
        });
}

/// Seconds as minutes and seconds.
pub fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    format!("{}:{:02}", whole / 60, whole % 60)
}

/// Every so many samples as one point: the largest of them, since peaks are what matters.
fn decimated<'a>(
    samples: &'a VecDeque<Sample>,
    every: usize,
    bytes: &'a dyn Fn(&Sample) -> u64,
) -> impl Iterator<Item = (f64, u64)> + 'a {
    (0..samples.len()).step_by(every).filter_map(move |from| {
        let to = (from + every).min(samples.len());
        samples.range(from..to).map(|sample| (sample.at, bytes(sample))).max_by_key(|(_, bytes)| *bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_many_samples_keep_their_peaks() {
        let mut trace = Trace::default();
        for i in 0..10_000u64 {
            let own = if i == 9_001 { 500 } else { i % 7 };
            trace.device("cuda:0").sample(Sample { at: i as f64, own, others: 0 });
        }
        let device = &trace.devices[0];
        assert_eq!((device.samples.len(), device.peak), (SAMPLES_KEPT, 500));
        let points: Vec<u64> = decimated(&device.samples, 4, &|it| it.own).map(|(_, it)| it).collect();
        assert_eq!((points.len(), points.iter().max()), (600, Some(&500)));
    }
}
