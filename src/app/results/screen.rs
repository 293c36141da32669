//! The results screen as it is drawn.

use egui::{Align, CentralPanel, Frame, Layout, Margin, Panel, RichText, Ui};

use super::{Page, Results, Wish, charts, comparison, detail, list, rules};
use crate::app::dialog::{Then, What};
use crate::app::job::{Job, Loadable};
use crate::app::language::{fill, told, tr};
use crate::app::parts::button::{choice, primary};
use crate::app::parts::empty::empty;
use crate::app::parts::problem::problem;
use crate::app::parts::progress::progress;
use crate::app::parts::{Icon, card, figure};
use crate::app::theme::{Tokens, semibold};
use crate::app::{self, Screen, Wishes};
use crate::session::export::Format;
use crate::words::excerpt;

/// Draws the screen.
pub fn ui(results: &mut Results, ui: &mut Ui, wishes: &mut Wishes) {
    match &results.session {
        Loadable::Refused(why) => {
            Frame::new().inner_margin(Margin::same(24)).show(ui, |ui| {
                problem(ui, why);
                ui.add_space(8.0);
                to_sessions(ui, wishes);
            });
            return;
        }
        Loadable::Loading(job) => return waiting(ui, job.share(), wishes),
        Loadable::Empty if results.comparing.is_some() => return waiting(ui, None, wishes),
        Loadable::Empty => {
            let what = tr("No session is open");
            let why = tr(
                "Open one to go through its answers: what was asked, what the model said, and what the rule read of it",
            );
            empty(ui, Icon::File, what, why, |ui| to_sessions(ui, wishes));
            return;
        }
        Loadable::Ready(_) => {}
    }
    let tokens = Tokens::of(ui);
    keys(results, ui, wishes);
    let bar = Frame::new().fill(tokens.panel).inner_margin(Margin::symmetric(16, 10));
    Panel::top("results head").frame(bar).show(ui, |ui| head_ui(results, ui, wishes));
    match results.page {
        Page::Answers => answers_ui(results, ui, wishes),
        Page::Charts => padded(ui, |ui| charts::ui(results, ui, wishes)),
        Page::Rules => beside(results, ui, wishes, rules::ui),
        Page::Comparison => beside(results, ui, wishes, comparison::ui),
    }
}

fn waiting(ui: &mut Ui, share: Option<f32>, wishes: &mut Wishes) {
    ui.add_space(ui.available_height() * 0.4);
    ui.vertical_centered(|ui| {
        ui.set_max_width(260.0);
        if progress(ui, tr("Opening the session"), share, true) {
            wishes.push(app::Wish::Results(Wish::Cancel));
        }
    });
}

fn to_sessions(ui: &mut Ui, wishes: &mut Wishes) {
    if primary(ui, None, tr("Sessions")).clicked() {
        wishes.push(app::Wish::Go(Screen::Sessions));
    }
}

/// Arrows go through the list; `P` presents.
fn keys(results: &Results, ui: &Ui, wishes: &mut Wishes) {
    if ui.ctx().text_edit_focused() || egui::Popup::is_any_open(ui.ctx()) {
        return;
    }
    let pressed = |key| ui.input(|input| input.modifiers.is_none() && input.key_pressed(key));
    for (key, by) in [
        (egui::Key::ArrowDown, 1),
        (egui::Key::ArrowUp, -1),
        (egui::Key::ArrowRight, 1),
        (egui::Key::ArrowLeft, -1),
        (egui::Key::PageDown, 20),
        (egui::Key::PageUp, -20),
        (egui::Key::Home, isize::MIN),
        (egui::Key::End, isize::MAX),
    ] {
        if pressed(key) {
            wishes.push(app::Wish::Results(Wish::Step(by)));
        }
    }
    if pressed(egui::Key::P)
        && let Some(place) = results.chosen
    {
        wishes.push(app::Wish::Present(place));
    }
}

/// What the session is, its score, the pages and what can be done with it.
fn head_ui(results: &mut Results, ui: &mut Ui, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let Some(opened) = results.session.ready().cloned() else { return };
    let manifest = opened.record.manifest();
    ui.horizontal(|ui| {
        ui.set_min_height(36.0);
        let pages = [
            (Page::Answers, tr("Answers")),
            (Page::Charts, tr("Charts")),
            (Page::Rules, tr("Rules")),
            (Page::Comparison, tr("Comparison")),
        ];
        let pages = if results.compared.is_some() { &pages[..] } else { &pages[..3] };
        let mut page = results.page;
        if choice(ui, &mut page, pages) {
            wishes.push(app::Wish::Results(Wish::Turn(page)));
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            export_ui(results, ui, wishes);
            if Icon::Refresh.button(ui, tr("Read the session again: it may have grown")).clicked() {
                wishes.push(app::Wish::Results(Wish::Reload));
            }
            let name = fill("{} on {}", &[&manifest.checkpoint.name, &manifest.dataset.name]);
            let label = RichText::new(name).family(semibold()).color(tokens.strong);
            let about = [
                opened.record.dir().display().to_string(),
                fill("begun {}", &[&manifest.started]),
                fill("rule {}", &[&manifest.settings.rule]),
            ];
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.add(egui::Label::new(label).truncate()).on_hover_text(about.join("\n"));
            });
        });
    });
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 12.0;
        let score = RichText::new(figure::accuracy(&opened.tally)).family(semibold()).color(tokens.strong);
        ui.label(score).on_hover_text(figure::interval_meaning());
        if opened.tally.total > 0 {
            figure::interval_bar(ui, &opened.tally, 130.0);
        }
        let of = opened.record.questions();
        let answers = match opened.record.len() {
            all if all >= of => fill("{} answers", &[&all]),
            some => fill("{} of {} answers", &[&some, &of]),
        };
        ui.label(RichText::new(answers).color(tokens.subdued));
        let said = opened.record.overrides().len();
        if said > 0 {
            let text = fill("{} with {} set by a person", &[&figure::accuracy(&opened.overridden), &said]);
            ui.label(RichText::new(text).color(tokens.warning)).on_hover_text(tr(
                "The machine's verdicts stay as they are; this line counts those of a person in their place",
            ));
        }
        if let Some(first) = opened.record.problems().first() {
            let text = fill("{} lines cannot be read", &[&opened.record.damaged()]);
            ui.label(RichText::new(text).color(tokens.bad)).on_hover_text(told(&first.to_string()));
        }
        if let Loadable::Refused(why) = &results.dataset {
            let label = ui.label(RichText::new(tr("pictures are missing")).color(tokens.warning));
            label.on_hover_text(fill("The dataset cannot be opened: {}", &[why]));
        }
    });
    if let Some(share) = results.exporting.as_ref().map(Job::share)
        && progress(ui, tr("Exporting"), share, true)
    {
        wishes.push(app::Wish::Results(Wish::Cancel));
    }
}

/// The menu of formats; each asks where to write.
fn export_ui(results: &Results, ui: &mut Ui, wishes: &mut Wishes) {
    let Some(opened) = results.session.ready() else { return };
    ui.add_enabled_ui(results.exporting.is_none(), |ui| {
        ui.menu_button((Icon::Export.atom(), tr("Export")), |ui| {
            for format in Format::ALL {
                let entry = ui.button(format_name(format));
                if entry.on_hover_text(format_meaning(format)).clicked() {
                    let what = What::Save {
                        title: tr("Export the session").into(),
                        name: format.file_name(&opened.record),
                    };
                    let then = Then::new(move |to| app::Wish::Results(Wish::Export(format, to)));
                    wishes.push(app::Wish::Pick(what, then));
                }
            }
        });
    });
}

/// A format's name for people.
pub fn format_name(format: Format) -> &'static str {
    match format {
        Format::Html => tr("Report (HTML)"),
        Format::Csv => tr("Table (CSV)"),
        Format::JsonLines => tr("Answers (JSON lines)"),
        Format::VlmevalkitTsv => tr("VLMEvalKit (TSV)"),
        Format::VlmevalkitXlsx => tr("VLMEvalKit (XLSX)"),
        Format::LmmsEval => tr("lmms-eval (samples)"),
    }
}

fn format_meaning(format: Format) -> &'static str {
    match format {
        Format::Html => {
            tr("A page with figures, pictures and answers that opens anywhere, without a network")
        }
        Format::Csv => tr("One row a question, for spreadsheets and scripts"),
        Format::JsonLines => tr("Every answer whole, one a line, as the session keeps them"),
        Format::VlmevalkitTsv | Format::VlmevalkitXlsx => tr("A prediction file that VLMEvalKit scores"),
        Format::LmmsEval => tr("The samples file of lmms-eval"),
    }
}

/// The list, and the chosen answer beside it.
fn answers_ui(results: &mut Results, ui: &mut Ui, wishes: &mut Wishes) {
    beside(results, ui, wishes, list::ui);
}

/// A list of any sort on the left, the chosen answer on the right.
fn beside(
    results: &mut Results,
    ui: &mut Ui,
    wishes: &mut Wishes,
    list: fn(&mut Results, &mut Ui, &mut Wishes),
) {
    let tokens = Tokens::of(ui);
    let width = ui.available_width();
    Panel::right("results detail")
        .resizable(true)
        .default_size((width * 0.46).clamp(340.0, 760.0))
        .size_range(300.0..=(width * 0.75).max(310.0))
        .frame(Frame::new().fill(tokens.canvas).inner_margin(Margin {
            left: 12,
            right: 8,
            top: 8,
            bottom: 8,
        }))
        .show(ui, |ui| detail::ui(results, ui, wishes));
    let frame =
        Frame::new().fill(tokens.canvas).inner_margin(Margin { left: 12, right: 4, top: 8, bottom: 4 });
    CentralPanel::default().frame(frame).show(ui, |ui| list(results, ui, wishes));
}

fn padded(ui: &mut Ui, content: impl FnOnce(&mut Ui)) {
    let tokens = Tokens::of(ui);
    let frame =
        Frame::new().fill(tokens.canvas).inner_margin(Margin { left: 16, right: 8, top: 12, bottom: 8 });
    CentralPanel::default().frame(frame).show(ui, content);
}

/// A line of small text that is cut where it is long.
pub(super) fn line(ui: &mut Ui, text: &str) {
    card::note(ui, excerpt(text, 160));
}
