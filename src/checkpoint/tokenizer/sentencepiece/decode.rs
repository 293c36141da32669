//! The text of sentencepiece pieces (`sentencepiece_processor.cc`).

use super::super::stream::{Broken, complete};
use super::{Kind, SPACE, Sentencepiece};

/// Decoding of pieces one after another.
#[derive(Debug, Clone)]
pub(in super::super) struct Decoding {
    /// Bytes of a character that is not complete yet.
    pending: Vec<u8>,
    /// Whether no text has come yet.
    empty: bool,
    /// Whether a space at the beginning is still to be dropped.
    expects_space: bool,
    dropped_space: bool,
}

impl Default for Decoding {
    fn default() -> Self {
        Self { pending: Vec::new(), empty: true, expects_space: true, dropped_space: false }
    }
}

impl Decoding {
    /// The text that a further piece completes.
    pub fn push(&mut self, model: &Sentencepiece, piece: &str) -> String {
        let id = model.id(piece).unwrap_or(model.unknown);
        let kind = model.pieces[id as usize].kind;
        if let Kind::Byte(byte) = kind {
            self.pending.push(byte);
            let text = complete(&mut self.pending, Broken::EachByte, false);
            self.empty &= text.is_empty();
            return text;
        }
        let mut text = self.finish();
        if self.dropped_space || !self.empty {
            self.expects_space = false;
        }
        self.dropped_space = false;
        match kind {
            Kind::Control => {}
            Kind::Unknown if model.pieces[id as usize].text == piece => text.push_str(&model.unknown_surface),
            Kind::Unknown => text.push_str(piece),
            _ => {
                let mut rest = piece;
                if self.expects_space
                    && (model.add_dummy_prefix || model.remove_extra_spaces)
                    && let Some(stripped) = piece.strip_prefix(SPACE)
                {
                    rest = stripped;
                    self.dropped_space = !model.remove_extra_spaces;
                }
                text.push_str(&rest.replace(SPACE, " "));
            }
        }
        self.empty &= text.is_empty();
        text
    }

    /// The bytes that never became a character, as U+FFFD.
    pub fn finish(&mut self) -> String {
        let text = complete(&mut self.pending, Broken::EachByte, true);
        self.empty &= text.is_empty();
        text
    }
}
