//! What the plan takes for granted, each with its source, and changed in place.

use egui::{DragValue, Grid, RichText, Ui};

use super::assumed::{self, ALL_AT_ONCE, Assume, Elsewhere};
use super::desk::Desk;
use super::toolbar::{list, name};
use super::{Wish, ask, paint};
use crate::app::dialog::{Then, What};
use crate::app::language::{fill, tr};
use crate::app::theme::Tokens;
use crate::app::{self, Wishes, Workspace};
use crate::evaluation::Learnt;
use crate::plan::Calibration;
use crate::plan::assumptions::{AttentionKind, Dtype, Engine, Logits, Source};
use crate::plan::bytes::{GIB, human};
use crate::plan::calibration::{Component, Factor};
use crate::plan::{device::CUDA_OVERHEAD, forecast};

/// Width of a value.
const WIDE: f32 = 134.0;

fn source_name(source: Source) -> &'static str {
    match source {
        Source::Default => tr("default"),
        Source::Preset => tr("as released"),
        Source::Chosen => tr("chosen"),
        Source::Checkpoint => tr("checkpoint"),
        Source::Measured => tr("measured"),
    }
}

/// The panel.
pub fn ui(ui: &mut Ui, desk: &Desk, workspace: &Workspace, elsewhere: &Elsewhere, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let taken = &desk.case().assumptions;
    let settings = &workspace.choices.settings;
    ui.label(
        RichText::new(tr("Every change plans anew at once. The first six belong to the run as well."))
            .small()
            .color(tokens.subdued),
    );
    ui.add_space(4.0);
    Grid::new("board assumptions").num_columns(3).spacing([8.0, 8.0]).show(ui, |ui| {
        let mut say = |change: Assume| ask(wishes, Wish::Assume(change));
        row(
            ui,
            tr("Number format"),
            tr("How the weights are held on the devices"),
            taken.dtype.source,
            |ui| {
                let now = taken.dtype.value;
                list(ui, tr("Number format"), now.name(), WIDE, |ui| {
                    if ui.selectable_label(false, tr("as the checkpoint")).clicked() {
                        say(Assume::Dtype(None));
                    }
                    for dtype in Dtype::ALL {
                        if ui.selectable_label(now == dtype, dtype.name()).clicked() {
                            say(Assume::Dtype(Some(dtype)));
                        }
                    }
                });
            },
        );
        row(
            ui,
            tr("Longest answer"),
            tr("Tokens; keys and values are kept for all of them"),
            taken.max_new_tokens.source,
            |ui| {
                if let Some(tokens) = number(ui, tr("Longest answer"), settings.max_new_tokens, 1..=1_048_576)
                {
                    say(Assume::MaxNewTokens(tokens));
                }
            },
        );
        row(
            ui,
            tr("Questions in flight"),
            tr("Each keeps its own keys and values"),
            taken.in_flight.source,
            |ui| {
                if let Some(count) =
                    number(ui, tr("Questions in flight"), workspace.choices.batch, 1..=65_536)
                {
                    say(Assume::InFlight(count));
                }
            },
        );
        row(
            ui,
            tr("Tiles at once"),
            tr("Tiles of a picture that go through the vision tower together"),
            taken.tile_batch.source,
            |ui| {
                if let Some(tiles) = at_once(ui, tr("Tiles at once"), settings.micro_batch, &[1, 2, 4, 8, 16])
                {
                    say(Assume::TileBatch(tiles));
                }
            },
        );
        row(
            ui,
            tr("Prompt tokens at once"),
            tr("Tokens of the prompt that go through the decoder together"),
            taken.prefill_chunk.source,
            |ui| {
                if let Some(tokens) =
                    at_once(ui, tr("Prompt tokens at once"), settings.prefill_chunk, &[256, 512, 1024, 4096])
                {
                    say(Assume::PrefillChunk(tokens));
                }
            },
        );
        let tiles_source = if settings.max_tiles.is_some() { Source::Chosen } else { Source::Default };
        row(
            ui,
            tr("Tiles a picture"),
            tr("Most tiles that a picture is cut into; changes what is measured"),
            tiles_source,
            |ui| {
                let text = settings
                    .max_tiles
                    .map_or_else(|| tr("as the dataset").to_owned(), |tiles| tiles.to_string());
                list(ui, tr("Tiles a picture"), &text, WIDE, |ui| {
                    if ui.selectable_label(settings.max_tiles.is_none(), tr("as the dataset")).clicked() {
                        say(Assume::MaxTiles(None));
                    }
                    for tiles in [1, 2, 4, 6, 12, 24, 40] {
                        if ui.selectable_label(settings.max_tiles == Some(tiles), tiles.to_string()).clicked()
                        {
                            say(Assume::MaxTiles(Some(tiles)));
                        }
                    }
                });
            },
        );
        row(ui, tr("Attention scores"), tr("Held as a matrix or not at all"), taken.attention.source, |ui| {
            let now = taken.attention.value;
            let text = |kind: AttentionKind| match kind {
                AttentionKind::Fused => tr("fused").to_owned(),
                AttentionKind::Chunked(rows) => rows.to_string(),
                AttentionKind::Eager => tr("whole matrix").to_owned(),
            };
            list(ui, tr("Attention scores"), &text(now), WIDE, |ui| {
                for kind in [AttentionKind::Fused, AttentionKind::Chunked(128), AttentionKind::Eager] {
                    if ui.selectable_label(now == kind, text(kind)).clicked() {
                        say(Assume::Attention((kind != AttentionKind::Fused).then_some(kind)));
                    }
                }
            });
        });
        row(
            ui,
            tr("Logits"),
            tr("Positions that the head is computed for while the prompt is read"),
            taken.logits.source,
            |ui| {
                let now = taken.logits.value;
                let text =
                    |logits| if logits == Logits::Last { tr("last position") } else { tr("all positions") };
                list(ui, tr("Logits"), text(now), WIDE, |ui| {
                    for logits in [Logits::Last, Logits::All] {
                        if ui.selectable_label(now == logits, text(logits)).clicked() {
                            say(Assume::Logits(Some(logits)));
                        }
                    }
                });
            },
        );
        row(
            ui,
            tr("Temporary memory"),
            tr("A simulated device stands for a GPU; a run on it computes on this CPU"),
            taken.engine.source,
            |ui| {
                let now = taken.engine.value;
                let text =
                    |engine| if engine == Engine::Gpu { tr("as on a GPU") } else { tr("as on this CPU") };
                list(ui, tr("Temporary memory"), text(now), WIDE, |ui| {
                    for engine in [Engine::Gpu, assumed::on_the_cpu(&workspace.choices)] {
                        if ui.selectable_label(now == engine, text(engine)).clicked() {
                            say(Assume::Engine(Some(engine)));
                        }
                    }
                });
            },
        );
        row(
            ui,
            tr("Driver overhead"),
            tr("Memory that driver and libraries hold on every GPU"),
            taken.overhead.source,
            |ui| {
                let text = taken.overhead.value.map_or_else(|| tr("per device").to_owned(), human);
                list(ui, tr("Driver overhead"), &text, WIDE, |ui| {
                    if ui.selectable_label(elsewhere.overhead.is_none(), tr("per device")).clicked() {
                        say(Assume::Overhead(None));
                    }
                    for bytes in [0, CUDA_OVERHEAD, GIB, 2 * GIB] {
                        if ui.selectable_label(elsewhere.overhead == Some(bytes), human(bytes)).clicked() {
                            say(Assume::Overhead(Some(bytes)));
                        }
                    }
                });
            },
        );
        let source =
            if desk.case().calibration.factors.is_empty() { Source::Default } else { Source::Measured };
        let about = tr("What runs on such devices have measured corrects the forecast; every run adds to it");
        row(ui, tr("Corrections"), about, source, |ui| corrections_ui(ui, workspace, wishes));
    });
    ui.add_space(6.0);
    if ui.button(tr("Back to the defaults")).clicked() {
        ask(wishes, Wish::Assume(Assume::Defaults));
    }
    ui.add_space(10.0);
    let host = forecast::host(desk.case(), &desk.shown().0.plan);
    ui.label(RichText::new(tr("Host memory")).font(paint::bold(13.5)).color(tokens.strong));
    for (text, bytes) in [(tr("while loading"), host.loading), (tr("while running"), host.running)] {
        ui.label(RichText::new(format!("{text} {}", human(bytes))).color(tokens.text));
    }
    if let Some(words) = corrections(&desk.case().calibration) {
        let words = fill("corrected by what was measured on such devices: {}", &[&words]);
        ui.label(RichText::new(words).small().color(tokens.subdued));
    }
}

/// By what a forecast is corrected, in words; nothing where nothing was measured.
pub fn corrections(calibration: &Calibration) -> Option<String> {
    let name = |component: &Component| match component {
        Component::Weights => tr("weights"),
        Component::Kv => tr("keys and values"),
        Component::Vision => tr("vision tower"),
        Component::Prefill => tr("prompt"),
        Component::Head => tr("head"),
    };
    let factor = |(component, it): (&Component, &Factor)| {
        fill("{} × {} ({} measured)", &[&name(component), &format!("{:.3}", it.factor), &it.count])
    };
    let words: Vec<String> = calibration.factors.iter().map(factor).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// The choice of what the forecast is corrected by.
fn corrections_ui(ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
    let now = &workspace.choices.learnt;
    let text = match now {
        Learnt::Ignored => tr("none").to_owned(),
        Learnt::Usual => tr("as measured here").to_owned(),
        Learnt::File(file) => file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    list(ui, tr("Corrections"), &text, WIDE, |ui| {
        for (learnt, name) in [(Learnt::Usual, tr("as measured here")), (Learnt::Ignored, tr("none"))] {
            if ui.selectable_label(*now == learnt, name).clicked() {
                ask(wishes, Wish::Assume(Assume::Corrections(learnt)));
            }
        }
        if ui.selectable_label(matches!(now, Learnt::File(_)), tr("from a file…")).clicked() {
            let what = What::File {
                title: tr("Choose a file of corrections").into(),
                endings: Some(("JSON".into(), vec!["json"])),
            };
            let then = |file| app::Wish::Board(Wish::Assume(Assume::Corrections(Learnt::File(file))));
            wishes.push(app::Wish::Pick(what, Then::new(then)));
        }
    });
}

fn row(ui: &mut Ui, title: &str, meaning: &str, source: Source, value: impl FnOnce(&mut Ui)) {
    let tokens = Tokens::of(ui);
    ui.label(RichText::new(title).color(tokens.text)).on_hover_text(meaning);
    value(ui);
    let color = if source == Source::Chosen { tokens.accent } else { tokens.subdued };
    ui.label(RichText::new(source_name(source)).small().color(color));
    ui.end_row();
}

/// A number that is taken when the person has finished with it.
fn number(ui: &mut Ui, title: &str, now: usize, range: std::ops::RangeInclusive<usize>) -> Option<usize> {
    let mut value = now;
    let field = DragValue::new(&mut value).range(range).speed(1.0);
    let response = ui.add_sized([WIDE, 26.0], field);
    name(&response, egui::Role::SpinButton, title);
    (response.changed() && value != now).then_some(value)
}

/// A count, or all of them.
fn at_once(ui: &mut Ui, title: &str, now: usize, choices: &[usize]) -> Option<usize> {
    let text = |count: usize| if count >= ALL_AT_ONCE { tr("all").to_owned() } else { count.to_string() };
    let mut chosen = None;
    list(ui, title, &text(now), WIDE, |ui| {
        for count in choices.iter().copied().chain([ALL_AT_ONCE]) {
            if ui.selectable_label(now == count, text(count)).clicked() {
                chosen = Some(count);
            }
        }
    });
    chosen
}
