//! The chosen model: its numbers, what its bytes are made of, and what is wrong with it.

use egui::{RichText, Ui, Vec2};

use super::model_facts::ModelFacts;
use super::{Setup, served};
use crate::app::job::Loadable;
use crate::app::language::{fill, tr};
use crate::app::parts::card::{Explained, card, explained, heading, legend, note, pill, section};
use crate::app::parts::problem::{problem, remark};
use crate::app::parts::progress::{bar, progress};
use crate::app::theme::Tokens;
use crate::app::workspace::Subject;
use crate::app::{Wish, Wishes, Workspace};
use crate::demo::BUILT_IN;
use crate::words::{count, size};

/// Draws the card.
pub fn model_ui(setup: &Setup, ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
    card(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::new(12.0, 8.0);
        if workspace.served.is_chosen {
            return served::served_ui(ui, &workspace.served, wishes);
        }
        section(ui, tr("Checkpoint"));
        match (&workspace.subject, &setup.model) {
            (Loadable::Ready(subject), Some((_, facts))) => subject_ui(ui, subject, facts),
            (Loadable::Refused(refusal), _) => {
                heading(ui, tr("This checkpoint cannot be used"));
                problem(ui, refusal);
                if ui.button(tr("Back to the built-in checkpoint")).clicked() {
                    wishes.push(Wish::OpenCheckpoint(BUILT_IN.into()));
                }
            }
            (Loadable::Loading(job), _) => {
                progress(ui, tr("Reading the headers of its files"), job.share(), false);
            }
            (Loadable::Ready(_) | Loadable::Empty, _) => {
                note(ui, tr("None is chosen yet"));
            }
        }
    });
}

fn subject_ui(ui: &mut Ui, subject: &Subject, known: &ModelFacts) {
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        let pills = 110.0;
        ui.scope(|ui| {
            ui.set_max_width(ui.available_width() - pills);
            let name = if subject.source == BUILT_IN { tr("Built-in demonstration") } else { &subject.name };
            let name = RichText::new(name).heading().color(tokens.strong);
            ui.add(egui::Label::new(name).truncate());
        });
        if subject.source == BUILT_IN {
            pill(ui, tr("built in"), tokens.accent);
        } else if subject.checkpoint.is_none() {
            pill(ui, tr("planning only"), tokens.warning);
        }
    });
    explained(ui, 128.0, &pairs(known));
    ui.add_space(2.0);
    ui.scope(|ui| parts_ui(ui, known));
    match (subject.obstacle(), &subject.checkpoint) {
        (Some(obstacle), Some(_)) => problem(ui, &obstacle),
        // Not a fault: it is for planning.
        (Some(obstacle), None) => remark(ui, &obstacle),
        (None, _) => {}
    }
}

/// Name, value and meaning of each fact, as far as known.
fn pairs(known: &ModelFacts) -> Vec<Explained<'static>> {
    let decoder = match &known.backbone {
        Some(backbone) => format!("{backbone} · {} × {}", known.decoder.0, known.decoder.1),
        None => format!("{} × {}", known.decoder.0, known.decoder.1),
    };
    let weights = format!("{} · {}", size(known.bytes), known.formats);
    let mut pairs = vec![
        (tr("Parameters"), count(known.parameters), tr("Numbers in its weights, shared ones counted once")),
        (tr("Weights"), weights, tr("Bytes of its weights, and in which number format they are stored")),
        (tr("Decoder layers"), decoder, tr("Family of the language model, its layers and their width")),
    ];
    if let Some((active, all)) = known.experts {
        let why = tr("Experts that answer a token, of all that there are in a layer");
        pairs.push((tr("Experts a token"), fill("{} of {}", &[&active, &all]), why));
    }
    if let Some((blocks, width)) = known.vision {
        let why = tr("Blocks of the vision tower, and their width");
        pairs.push((tr("Vision blocks"), format!("{blocks} × {width}"), why));
    }
    if let Some((side, tile_tokens)) = known.tile {
        let why = tr("Side of a tile that pictures are cut into, and the tokens that it becomes");
        pairs.push((tr("A tile"), fill("{} px, {} tokens", &[&side, &tile_tokens]), why));
    }
    if let Some(positions) = known.positions {
        let why = tr("Tokens of prompt and answer together that it was made for");
        pairs.push((tr("Context"), fill("{} tokens", &[&positions]), why));
    }
    if let Some((template, origin)) = &known.template {
        let why = tr("How a conversation is written for it, and where that is said");
        pairs.push((tr("Template"), format!("{template} ({origin})"), why));
    }
    if let Some(tokenizer) = &known.tokenizer {
        pairs.push((tr("Tokenizer"), tokenizer.clone(), tr("The files by which text is cut into tokens")));
    }
    if let Some(files) = known.files {
        pairs.push((tr("Weight files"), files.to_string(), tr("Files over which its weights are spread")));
    }
    pairs
}

/// What the bytes are made of.
fn parts_ui(ui: &mut Ui, known: &ModelFacts) {
    let tokens = Tokens::of(ui);
    let names = [tr("Vision"), tr("Projector"), tr("Embedding"), tr("Decoder"), tr("Head")];
    let whole = known.parts.iter().sum::<u64>().max(1) as f32;
    let shares: Vec<_> =
        known.parts.iter().zip(tokens.kinds).map(|(part, color)| (*part as f32 / whole, color)).collect();
    bar(ui, 8.0, &shares, tr("What its weights are made of"));
    // Lines as low as their text.
    ui.spacing_mut().interact_size.y = 14.0;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = Vec2::new(14.0, 4.0);
        for ((part, name), color) in known.parts.iter().zip(names).zip(tokens.kinds) {
            if *part > 0 {
                legend(ui, name, &size(*part), color);
            }
        }
    });
}
