//! Text as questions and answers hold it: Markdown, mathematics, any script, and the part of it that a rule read.
//!
//! Texts come from strangers: what is laid out in a frame is bounded, pictures and HTML in them stay text, and a
//! formula that cannot be set is shown as it was written.

pub mod answer;
pub mod formula;
pub mod marked;
pub mod prepare;
pub mod question;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use egui::{FontFamily, FontId, TextStyle, Ui};
use egui_commonmark::{CommonMarkCache, CommonMarkViewer};

use self::formula::Formulas;
pub use self::marked::marked;
use super::language::tr;

/// Bytes of a text that are set as Markdown at first; twice as many with every `Show more`.
const FIRST: usize = 6_000;

/// Most bytes that are set as Markdown, all of which is laid out in every frame.
const MOST: usize = 48_000;

/// Prepared texts that are kept.
const KEPT: usize = 64;

/// Sets Markdown with mathematics; keeps what it has prepared.
#[derive(Default)]
pub struct Prose {
    markdown: CommonMarkCache,
    formulas: Rc<RefCell<Formulas>>,
    prepared: HashMap<u64, Arc<str>>,
}

impl Prose {
    /// Sets a text at a size in points. `name` tells it from the other texts on the screen.
    pub fn show(&mut self, ui: &mut Ui, name: &str, text: &str, size: f32) {
        let id = ui.make_persistent_id(("prose", name));
        let hash = egui::epaint::util::hash(text);
        let known = ui.data(|data| data.get_temp::<(u64, usize)>(id)).filter(|(of, _)| *of == hash);
        let wanted = known.map_or(FIRST, |(_, wanted)| wanted);
        let end = marked::boundary(text, wanted);
        let shown = text.get(..end).unwrap_or(text);
        let prepared = self.prepared(hash ^ end as u64, shown);
        let formulas = Rc::clone(&self.formulas);
        let math = move |ui: &mut Ui, tex: &str, inline: bool| {
            formulas.borrow_mut().show(ui, tex, size, inline);
        };
        ui.push_id(id, |ui| {
            sized(ui, size);
            CommonMarkViewer::new().render_math_fn(Some(&math)).show(ui, &mut self.markdown, &prepared);
        });
        if end < text.len() {
            ui.horizontal(|ui| {
                marked::left_out(ui, text.len() - end);
                if wanted < MOST && ui.small_button(tr("Show more")).clicked() {
                    ui.data_mut(|data| data.insert_temp(id, (hash, 2 * wanted)));
                }
            });
        }
    }

    fn prepared(&mut self, hash: u64, text: &str) -> Arc<str> {
        if self.prepared.len() > KEPT && !self.prepared.contains_key(&hash) {
            self.prepared.clear();
        }
        Arc::clone(self.prepared.entry(hash).or_insert_with(|| prepare::markdown(text).into()))
    }
}

/// Sets the sizes of a piece of the window to those of a text of `size` points.
fn sized(ui: &mut Ui, size: f32) {
    let styles = &mut ui.style_mut().text_styles;
    styles.insert(TextStyle::Body, FontId::new(size, FontFamily::Proportional));
    styles.insert(TextStyle::Button, FontId::new(size, FontFamily::Proportional));
    styles.insert(TextStyle::Monospace, FontId::new(size * 0.92, FontFamily::Monospace));
    styles.insert(
        TextStyle::Heading,
        FontId::new(size * 1.25, FontFamily::Name(super::theme::SEMIBOLD.into())),
    );
    // A line is as high as its text, so that lines of a paragraph stand together.
    ui.spacing_mut().interact_size.y = size * 1.3;
}
