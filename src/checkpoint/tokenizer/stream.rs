//! Decoding an answer token by token.

use super::pieces::PieceDecoding;
use super::{Engine, Tokenizer};

/// Ids that may wait for those after them where a decoder needs neighbours.
const WINDOW: usize = 16;

/// Decodes an answer while it is made, at a cost per token that does not grow with the answer.
///
/// What [`TextStream::push`] gives never ends within a UTF-8 character. Everything pushed and the
/// [`TextStream::finish`] together are the text of [`Tokenizer::decode`], except where that one needs the whole
/// text: it may drop spaces before punctuation, put spaces around added tokens, and give up a run of byte tokens
/// as a whole for one broken character in it. The stream is for showing, `decode` for keeping.
pub struct TextStream {
    tokenizer: Tokenizer,
    skip_special: bool,
    state: State,
}

enum State {
    /// Each token stands for bytes: those of a character not yet complete.
    Bytes(Vec<u8>),
    /// Each token stands for a piece.
    Pieces(PieceDecoding),
    /// Neighbours matter: recent ids, and how many of them have been shown.
    Window { ids: Vec<u32>, shown: usize },
}

impl TextStream {
    pub(super) fn new(tokenizer: Tokenizer, skip_special: bool) -> Self {
        let state = match &tokenizer.inner.engine {
            Engine::Json(json) if json.is_byte_level() => State::Bytes(Vec::new()),
            Engine::Json(_) => State::Window { ids: Vec::new(), shown: 0 },
            Engine::Pieces(_) => State::Pieces(PieceDecoding::default()),
        };
        Self { tokenizer, skip_special, state }
    }

    /// Takes the next token; gives the text that is complete now, if any.
    pub fn push(&mut self, id: u32) -> Option<String> {
        let inner = &self.tokenizer.inner;
        let text = match (&mut self.state, &inner.engine) {
            (State::Bytes(pending), Engine::Json(json)) => {
                pending.extend(json.token_bytes(id, self.skip_special)?);
                complete(pending, Broken::EachPart, false)
            }
            (State::Pieces(decoding), Engine::Pieces(pieces)) => decoding.push(pieces, id, self.skip_special),
            (State::Window { ids, shown }, Engine::Json(json)) => {
                ids.push(id);
                let fresh = json.fresh(ids, *shown, self.skip_special);
                // Bytes that are no character may become one with those that follow.
                let waits = fresh.is_empty() || fresh.ends_with('\u{FFFD}');
                if waits && ids.len() - *shown < WINDOW {
                    return None;
                }
                // What has been shown stays as the left neighbour of what comes.
                ids.drain(..*shown);
                *shown = ids.len();
                fresh
            }
            _ => String::new(),
        };
        (!text.is_empty()).then_some(text)
    }

    /// What is left when the answer ends: a character that was never completed, as U+FFFD.
    pub fn finish(&mut self) -> Option<String> {
        let text = match &mut self.state {
            State::Bytes(pending) => complete(pending, Broken::EachPart, true),
            State::Pieces(decoding) => decoding.finish(),
            State::Window { ids, shown } => {
                let fresh = match &self.tokenizer.inner.engine {
                    Engine::Json(json) => json.fresh(ids, *shown, self.skip_special),
                    Engine::Pieces(_) => String::new(),
                };
                *shown = ids.len();
                fresh
            }
        };
        (!text.is_empty()).then_some(text)
    }
}

/// What becomes of bytes that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// One U+FFFD for each part of a character, as Rust, Python and the `tokenizers` crate do.
    EachPart,
    /// One U+FFFD for each byte, as sentencepiece does.
    EachByte,
}

/// Takes the complete characters from the front of `pending`; at the end of a run of bytes, all of it.
pub(super) fn complete(pending: &mut Vec<u8>, broken: Broken, at_end: bool) -> String {
    let mut text = String::new();
    let mut rest = pending.as_slice();
    while !rest.is_empty() {
        let Err(error) = std::str::from_utf8(rest) else {
            text.push_str(&String::from_utf8_lossy(rest));
            rest = &[];
            break;
        };
        let (valid, invalid) = rest.split_at(error.valid_up_to());
        text.push_str(&String::from_utf8_lossy(valid));
        rest = invalid;
        if error.error_len().is_none() && !at_end {
            break;
        }
        let length = match broken {
            Broken::EachByte => 1,
            Broken::EachPart => error.error_len().unwrap_or(rest.len()),
        };
        rest = &rest[length..];
        text.push('\u{FFFD}');
    }
    *pending = rest.to_vec();
    text
}
