//! How questions are asked and answers read: every setting with its value and where that comes from.

use egui::{DragValue, RichText, TextEdit, Ui, Vec2};

use super::{Setup, Wish, copies, served};
use crate::app::language::{fill, tr};
use crate::app::parts::Icon;
use crate::app::parts::button::{choice, list};
use crate::app::parts::card::{card, note, section};
use crate::app::parts::icon::named;
use crate::app::parts::problem::problem;
use crate::app::theme::Tokens;
use crate::app::{Screen, Wishes, Workspace};
use crate::dataset::{QuestionKind, Style};
use crate::engine::Sampling;
use crate::evaluation::Choices;
use crate::plan::spec::DeviceSpec;
use crate::scoring::Rule;

/// Longest answer that can be chosen, as on the command line.
const LONGEST_ANSWER: usize = 1 << 20;

/// Width of the word that says where a value comes from.
const SOURCE: f32 = 72.0;

/// Width of a list of choices.
pub(super) const LIST: f32 = 140.0;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// Of the program.
    Default,
    /// Of the dataset.
    Dataset,
    /// Of the checkpoint.
    Checkpoint,
    /// Of the preset that is chosen.
    Preset,
    /// Of a file that was chosen.
    File,
    /// A person's own.
    Chosen,
    /// It belongs to the setting above.
    Above,
}

/// Draws the card.
pub fn settings_ui(setup: &Setup, ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
    let before = &workspace.choices;
    let usual = Choices::default();
    let mut now = before.clone();
    let served = &workspace.served;
    let mut server = served.server.clone();
    card(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::new(8.0, 10.0);
        section(ui, tr("How questions are asked"));
        preset_ui(ui, &mut now);
        asking_ui(ui, &mut now, &usual, workspace);
        ui.separator();
        section(ui, if served.is_chosen { tr("How the server is asked") } else { tr("Where it runs") });
        match served.is_chosen {
            true => served::asked_ui(ui, served, &mut server),
            false => running_ui(setup, ui, &mut now, &usual, wishes),
        }
        ui.separator();
        egui::CollapsingHeader::new(tr("More settings")).show(ui, |ui| {
            ui.spacing_mut().item_spacing.y = 8.0;
            match served.is_chosen {
                true => served::more_ui(ui, &mut server),
                false => weights_ui(ui, &mut now, &usual),
            }
            more_ui(ui, &mut now, served.is_chosen);
        });
    });
    if server != served.server {
        wishes.push(crate::app::Wish::Setup(Wish::Serve(Box::new(server))));
    }
    if now != *before {
        wishes.push(crate::app::Wish::Setup(Wish::Choose(Box::new(now))));
    }
}

/// Draws one setting: its name, its control, where the value comes from; whether it is to go back to the default.
pub(super) fn row(ui: &mut Ui, name: &str, why: &str, from: From, control: impl FnOnce(&mut Ui)) -> bool {
    let tokens = Tokens::of(ui);
    let mut back = false;
    ui.horizontal(|ui| {
        ui.set_min_height(28.0);
        let (rect, label) = ui.allocate_exact_size(Vec2::new(108.0, 28.0), egui::Sense::hover());
        let mut inside = ui.new_child(
            egui::UiBuilder::new().max_rect(rect).layout(egui::Layout::left_to_right(egui::Align::Center)),
        );
        inside.add(egui::Label::new(RichText::new(name).color(tokens.text)).truncate().selectable(false));
        label.on_hover_text(why);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            back = source_ui(ui, from);
            ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                ui.name_inputs(name, control);
            });
        });
    });
    back
}

/// Draws where a value comes from; whether a chosen one is to go back to the default.
fn source_ui(ui: &mut Ui, from: From) -> bool {
    let tokens = Tokens::of(ui);
    let (text, why) = match from {
        From::Dataset => (tr("dataset"), tr("What the dataset says")),
        From::Checkpoint => (tr("checkpoint"), tr("What the checkpoint says")),
        From::Default => (tr("default"), tr("What the program does unless it is told otherwise")),
        From::Preset => (tr("preset"), tr("What belongs to the preset that is chosen above")),
        From::File => (tr("file"), tr("What a file says; a click goes back to the default")),
        From::Chosen => (tr("chosen"), tr("What you chose; a click goes back to the default")),
        From::Above => return false,
    };
    let (rect, _) = ui.allocate_exact_size(Vec2::new(SOURCE, 24.0), egui::Sense::hover());
    let mut inside = ui.new_child(
        egui::UiBuilder::new().max_rect(rect).layout(egui::Layout::right_to_left(egui::Align::Center)),
    );
    let ui = &mut inside;
    if !matches!(from, From::Chosen | From::File) {
        let label = egui::Label::new(RichText::new(text).small().color(tokens.subdued)).selectable(false);
        ui.add(label).on_hover_text(why);
        return false;
    }
    ui.spacing_mut().button_padding = Vec2::new(4.0, 2.0);
    ui.spacing_mut().interact_size.y = 20.0;
    ui.spacing_mut().item_spacing.x = 2.0;
    let word = RichText::new(text).small().color(tokens.accent);
    let button = egui::Button::new((word, Icon::Refresh.atom())).frame_when_inactive(false);
    let button = ui.add(button);
    button.widget_info(|| {
        egui::WidgetInfo::labeled(egui::Role::Button, true, format!("{text}: {}", tr("Back to the default")))
    });
    button.on_hover_text(why).clicked()
}

/// Where a value comes from: it is chosen where it is not the usual one.
pub(super) fn from<T: PartialEq>(now: &T, usual: &T, otherwise: From) -> From {
    if now == usual { otherwise } else { From::Chosen }
}

/// Ways of asking and reading that belong together: name, rule, style of prompts.
const PRESETS: [(&str, &str, Style); 3] = [
    ("Shardscope", "shardscope", Style::Vlmevalkit),
    ("VLMEvalKit", "vlmevalkit", Style::Vlmevalkit),
    ("MMMU", "mmmu", Style::Mmmu),
];

/// The preset that these choices are, by its place.
fn preset(now: &Choices) -> Option<usize> {
    let is_it =
        |(_, rule, style): &(&str, &str, Style)| same_rule(&now.rule, rule) && now.settings.style == *style;
    PRESETS.iter().position(is_it)
}

fn preset_ui(ui: &mut Ui, now: &mut Choices) {
    let mut chosen = preset(now).unwrap_or(usize::MAX);
    let names: Vec<(usize, &str)> = PRESETS.iter().enumerate().map(|(i, (name, ..))| (i, *name)).collect();
    if choice(ui, &mut chosen, &names)
        && let Some((_, rule, style)) = PRESETS.get(chosen)
    {
        now.rule = (*rule).to_owned();
        now.settings.style = *style;
    }
}

fn same_rule(one: &str, other: &str) -> bool {
    matches!((Rule::by_name(one), Rule::by_name(other)), (Ok(one), Ok(other)) if one == other)
}

fn asking_ui(ui: &mut Ui, now: &mut Choices, usual: &Choices, workspace: &Workspace) {
    let is_preset = preset(now).is_some();
    // What differs from the default, and belongs to the preset, is the preset's.
    let preset = |own: From| if own == From::Chosen && is_preset { From::Preset } else { own };
    let prompt = preset(from(&now.settings.style, &usual.settings.style, From::Default));
    let why = tr("The words around a question, as the named evaluation puts them");
    if row(ui, tr("Prompts"), why, prompt, |ui| {
        let shown = now.settings.style.name();
        list("style", shown, LIST).show_ui(ui, |ui| {
            for style in Style::ALL {
                ui.selectable_value(&mut now.settings.style, style, style.name());
            }
        });
    }) {
        now.settings.style = usual.settings.style;
    }
    let rule = preset(if same_rule(&now.rule, &usual.rule) { From::Default } else { From::Chosen });
    let why = tr("How the answer is found in what the model says, and judged; it can be changed afterwards");
    if row(ui, tr("Rule"), why, rule, |ui| {
        list("rule", &now.rule, LIST).show_ui(ui, |ui| {
            for rule in Rule::all() {
                let name = rule.name();
                if ui.selectable_label(same_rule(&now.rule, &name), &name).clicked() {
                    now.rule = name;
                }
            }
        });
    }) {
        now.rule.clone_from(&usual.rule);
    }
    let longest = from(&now.settings.max_new_tokens, &usual.settings.max_new_tokens, From::Default);
    let why = tr("Longest answer in tokens; a longer one is cut off");
    if row(ui, tr("Longest answer"), why, longest, |ui| {
        let value = DragValue::new(&mut now.settings.max_new_tokens).range(1..=LONGEST_ANSWER).speed(4.0);
        ui.add(value.suffix(format!(" {}", tr("tokens"))));
    }) {
        now.settings.max_new_tokens = usual.settings.max_new_tokens;
    }
    if !workspace.served.is_chosen {
        tiles_ui(ui, now, workspace);
    }
    let sampling = from(&now.settings.sampling, &usual.settings.sampling, From::Default);
    let why = tr("Always the likeliest token, or a draw");
    if row(ui, tr("Tokens are"), why, sampling, |ui| {
        let mut drawn = now.settings.sampling != Sampling::Greedy;
        if choice(ui, &mut drawn, &[(false, tr("likeliest")), (true, tr("drawn"))]) {
            now.settings.sampling = match drawn {
                false => Sampling::Greedy,
                true => Sampling::Sample { temperature: 0.7, top_p: None, top_k: None, seed: 0 },
            };
        }
    }) {
        now.settings.sampling = usual.settings.sampling;
    }
    sampling_ui(ui, &mut now.settings.sampling);
}

/// Into how many tiles an image is cut; a server does as it likes.
fn tiles_ui(ui: &mut Ui, now: &mut Choices, workspace: &Workspace) {
    let own = workspace.dataset.ready().map_or(12, |dataset| dataset.profile().max_tiles);
    let tiles = from(&now.settings.max_tiles, &None, From::Dataset);
    let why = tr("Most tiles that an image is cut into; more tiles see more and take more memory");
    if row(ui, tr("Tiles an image"), why, tiles, |ui| {
        let mut most = now.settings.max_tiles.unwrap_or(own);
        if ui.add(DragValue::new(&mut most).range(1..=1024).speed(0.1)).changed() {
            now.settings.max_tiles = Some(most);
        }
    }) {
        now.settings.max_tiles = None;
    }
}

/// The numbers of a draw.
fn sampling_ui(ui: &mut Ui, sampling: &mut Sampling) {
    let Sampling::Sample { temperature, top_p, top_k, seed } = sampling else { return };
    row(ui, tr("Temperature"), tr("Divides the logits: higher is more varied"), From::Above, |ui| {
        ui.add(DragValue::new(temperature).range(0.01..=10.0).speed(0.01));
    });
    row(
        ui,
        tr("Top p"),
        tr("Draw from the smallest set of tokens with this probability; 1 is all"),
        From::Above,
        |ui| {
            let mut share = top_p.unwrap_or(1.0);
            if ui.add(DragValue::new(&mut share).range(0.01..=1.0).speed(0.01)).changed() {
                *top_p = (share < 1.0).then_some(share);
            }
        },
    );
    row(ui, tr("Top k"), tr("Draw from so many of the likeliest tokens; 0 is all"), From::Above, |ui| {
        let mut count = top_k.unwrap_or(0);
        if ui.add(DragValue::new(&mut count).range(0..=100_000)).changed() {
            *top_k = (count > 0).then_some(count);
        }
    });
    row(ui, tr("Seed"), tr("The same seed draws the same tokens"), From::Above, |ui| {
        ui.add(DragValue::new(seed));
    });
}

fn running_ui(setup: &Setup, ui: &mut Ui, now: &mut Choices, usual: &Choices, wishes: &mut Wishes) {
    let otherwise = if now.dtype == "auto" { From::Checkpoint } else { From::Default };
    let format = from(&now.dtype, &usual.dtype, otherwise);
    let why = tr(
        "In which number format weights are held; on the CPU everything else is f32, and with bf16 products are made in bf16",
    );
    if row(ui, tr("Number format"), why, format, |ui| {
        let stored = setup.model.as_ref().map_or("", |(_, model)| model.formats.as_str());
        let as_stored = match stored {
            "" => tr("as stored").to_owned(),
            stored => fill("stored: {}", &[&stored]),
        };
        let shown = if now.dtype == "auto" { as_stored.clone() } else { now.dtype.clone() };
        list("dtype", shown, LIST).show_ui(ui, |ui| {
            for name in ["auto", "f32", "bf16", "f16", "q8_0", "q4_0", "q4k"] {
                let label = if name == "auto" { &as_stored } else { name };
                if ui.selectable_label(now.dtype == name, label).clicked() {
                    now.dtype = name.to_owned();
                }
            }
        });
    }) {
        now.dtype.clone_from(&usual.dtype);
    }
    let devices = from(&now.devices, &usual.devices, From::Default);
    let why = tr("auto, cpu, cuda:0,2 or simulated ones such as sim:8x40GiB");
    if row(ui, tr("Devices"), why, devices, |ui| {
        let field = TextEdit::singleline(&mut now.devices).margin(egui::Margin::symmetric(8, 5));
        ui.add(field.desired_width(LIST - 42.0));
        let more = egui::Button::new(Icon::Down.atom()).min_size(Vec2::new(26.0, 28.0));
        let more = named(ui, more, tr("Common devices"));
        egui::Popup::menu(&more).accessible_name(tr("Common devices")).show(|ui| {
            for spec in ["auto", "cpu", "sim:2x24GiB", "sim:4xH100", "sim:8x40GiB", "sim:8x80GiB"] {
                if ui.button(spec).clicked() {
                    now.devices = spec.to_owned();
                }
            }
        });
    }) {
        now.devices.clone_from(&usual.devices);
    }
    if let Err(refusal) = DeviceSpec::parse(&now.devices) {
        problem(ui, &refusal);
    }
    let is_named = crate::plan::Layout::parse(&now.layout).is_ok();
    let layout = from(&now.layout, &usual.layout, From::Default);
    let layout = if is_named { layout } else { From::File };
    let why = tr("Which unit sits on which device; drawn and edited on the layout screen");
    if row(ui, tr("Layout"), why, layout, |ui| {
        if ui.add(egui::Button::new(&now.layout).truncate()).on_hover_text(why).clicked() {
            wishes.push(crate::app::Wish::Go(Screen::Board));
        }
    }) {
        now.layout.clone_from(&usual.layout);
    }
    copies::copies_ui(&setup.copies, ui, now);
}

fn more_ui(ui: &mut Ui, now: &mut Choices, is_served: bool) {
    let kind = from(&now.stated.kind, &None, From::Dataset);
    let why = tr("What the questions ask for, whatever the dataset's columns and name say");
    if row(ui, tr("Questions are"), why, kind, |ui| {
        let shown = now.stated.kind.map_or(tr("as the dataset says"), QuestionKind::name);
        list("kind", shown, LIST).show_ui(ui, |ui| {
            ui.selectable_value(&mut now.stated.kind, None, tr("as the dataset says"));
            for kind in QuestionKind::ALL {
                ui.selectable_value(&mut now.stated.kind, Some(kind), kind.name());
            }
        });
    }) {
        now.stated.kind = None;
    }
    let system = from(&now.settings.system, &None, if is_served { From::Default } else { From::Checkpoint });
    let why = tr("Replaces the system prompt of the checkpoint's template");
    if row(ui, tr("System prompt"), why, system, |_| {}) {
        now.settings.system = None;
    }
    let mut text = now.settings.system.clone().unwrap_or_default();
    let field = TextEdit::multiline(&mut text).desired_rows(2).desired_width(f32::INFINITY);
    if ui.add(field.hint_text(tr("the template's own"))).changed() {
        now.settings.system = (!text.is_empty()).then_some(text);
    }
    note(
        ui,
        tr("Each of these is written into the session, and a session goes on only under the same ones."),
    );
}

/// What can be asked of weights that are here.
fn weights_ui(ui: &mut Ui, now: &mut Choices, usual: &Choices) {
    let kept = from(&now.settings.top_logprobs, &usual.settings.top_logprobs, From::Default);
    let why = tr("Keep the log-probabilities of so many of the likeliest tokens at each step");
    if row(ui, tr("Log-probabilities"), why, kept, |ui| {
        ui.add(DragValue::new(&mut now.settings.top_logprobs).range(0..=100).speed(0.1));
    }) {
        now.settings.top_logprobs = usual.settings.top_logprobs;
    }
    let batch = from(&now.batch, &usual.batch, From::Default);
    if row(ui, tr("In flight"), tr("Questions that are answered at the same time"), batch, |ui| {
        ui.add(DragValue::new(&mut now.batch).range(1..=1024).speed(0.1));
    }) {
        now.batch = usual.batch;
    }
}
