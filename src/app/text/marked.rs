//! Plain text with a marked part, of which no more is laid out than a frame can bear.

use std::ops::Range;

use egui::text::{LayoutJob, TextFormat};
use egui::{Color32, FontId, RichText, Ui};

use crate::app::language::{fill, tr};
use crate::app::theme::Tokens;
use crate::words::visible;

/// Bytes of a text that are shown at first, and that every `Show more` adds.
const STEP: usize = 8_000;

/// Bytes shown on either side of a mark that lies further on.
const AROUND: usize = 600;

/// Shows a text as it is, with `mark` on a coloured ground: the bytes that a rule read. A mark that lies outside the
/// text is left out. Of a long text the beginning and what surrounds the mark is shown; more on demand.
pub fn marked(ui: &mut Ui, name: &str, text: &str, font: FontId, mark: Option<(Range<usize>, Color32)>) {
    let tokens = Tokens::of(ui);
    let id = ui.make_persistent_id(("marked", name));
    let hash = egui::epaint::util::hash(text);
    let (of, steps) = ui.data(|data| data.get_temp::<(u64, usize)>(id)).unwrap_or((hash, 1));
    let steps = if of == hash { steps } else { 1 };
    let mark = mark.filter(|(span, _)| text.get(span.clone()).is_some());
    let pieces = pieces(text, steps * STEP, mark.as_ref().map(|(span, _)| span.clone()));

    let mut job = LayoutJob::default();
    job.wrap.max_width = ui.available_width();
    let plain = TextFormat { font_id: font.clone(), color: tokens.text, ..TextFormat::default() };
    let mut left = 0;
    let mut from = 0;
    for piece in &pieces {
        if piece.start > from {
            left += piece.start - from;
            let gap = TextFormat { color: tokens.subdued, ..plain.clone() };
            job.append(&format!("\n[{}]\n", fill("{} left out", &[&amount(piece.start - from)])), 0.0, gap);
        }
        from = piece.end;
        match &mark {
            Some((span, ground)) if span.start >= piece.start && span.end <= piece.end => {
                let format = TextFormat { background: *ground, color: tokens.strong, ..plain.clone() };
                job.append(&visible(&text[piece.start..span.start]), 0.0, plain.clone());
                job.append(&visible(&text[span.clone()]), 0.0, format);
                job.append(&visible(&text[span.end..piece.end]), 0.0, plain.clone());
            }
            _ => job.append(&visible(&text[piece.clone()]), 0.0, plain.clone()),
        }
    }
    ui.add(egui::Label::new(job).wrap());
    left += text.len() - from;
    if left > 0 {
        ui.horizontal(|ui| {
            left_out(ui, left);
            if ui.small_button(tr("Show more")).clicked() {
                ui.data_mut(|data| data.insert_temp(id, (hash, steps * 2)));
            }
        });
    }
}

/// Says how much of a text is not shown.
pub fn left_out(ui: &mut Ui, bytes: usize) {
    let tokens = Tokens::of(ui);
    ui.label(RichText::new(fill("{} more", &[&amount(bytes)])).small().color(tokens.subdued));
}

fn amount(bytes: usize) -> String {
    if bytes < 1000 { format!("{bytes} B") } else { format!("{:.0} kB", bytes as f64 / 1e3) }
}

/// The parts of a text that are laid out: the first `limit` bytes, and what surrounds the mark.
fn pieces(text: &str, limit: usize, mark: Option<Range<usize>>) -> Vec<Range<usize>> {
    let first = boundary(text, limit);
    let mut pieces = Vec::with_capacity(2);
    let Some(mark) = mark.filter(|mark| mark.end > first) else {
        pieces.push(0..first);
        return pieces;
    };
    // A mark may itself be longer than what is shown.
    let is_long = mark.end - mark.start > STEP;
    let start = boundary(text, mark.start.saturating_sub(AROUND));
    let end = if is_long { boundary(text, mark.start + STEP) } else { boundary(text, mark.end + AROUND) };
    if start <= first {
        pieces.push(0..end.max(first));
    } else {
        pieces.extend([0..first, start..end]);
    }
    pieces
}

/// The last place at or before `at` where a text can be cut.
pub(super) fn boundary(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_laid_out_is_bounded_and_holds_the_mark() {
        let text = "é".repeat(100_000);
        for mark in [None, Some(10..20), Some(150_000..150_010), Some(199_990..200_000), Some(0..200_000)] {
            let pieces = pieces(&text, STEP, mark.clone());
            let total: usize = pieces.iter().map(|piece| piece.len()).sum();
            assert!(total <= 3 * STEP, "{mark:?}: {total}");
            assert!(pieces.iter().all(|piece| text.get(piece.clone()).is_some()));
            if let Some(mark) = mark.filter(|mark| mark.len() < STEP) {
                assert!(pieces.iter().any(|piece| piece.start <= mark.start && mark.end <= piece.end));
            }
        }
        assert_eq!(pieces("short", STEP, Some(0..5)).first(), Some(&(0..5)));
    }
}
