//! How a sentencepiece model divides a text into pieces: BPE (`bpe_model.cc`) and unigram (`unigram_model.cc`).

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::prefixes::first_char;
use super::{Kind, Sentencepiece};

/// How much the score of an unknown character lies under the lowest score (`kUnkPenalty`).
const UNKNOWN_PENALTY: f32 = 10.0;

impl Sentencepiece {
    /// Merges the best-scored neighbours, leftmost first, until no two of them are a piece.
    pub(super) fn bpe<'a>(&self, text: &'a str) -> Vec<&'a str> {
        struct Symbol {
            start: usize,
            end: usize,
            previous: usize,
            next: usize,
            frozen: bool,
        }
        const NONE: usize = usize::MAX;
        let mut symbols: Vec<Symbol> = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let symbol = self.symbols.longest(&text[start..]);
            let end = start + symbol.unwrap_or_else(|| first_char(&text[start..])).len();
            let index = symbols.len();
            symbols.push(Symbol {
                start,
                end,
                previous: index.checked_sub(1).unwrap_or(NONE),
                next: if end < text.len() { index + 1 } else { NONE },
                frozen: symbol.is_some(),
            });
            start = end;
        }
        let mut agenda: BinaryHeap<Pair> = BinaryHeap::new();
        // How an unused piece came about, to take it apart again.
        let mut halves: HashMap<&str, usize> = HashMap::new();
        let mut consider = |agenda: &mut BinaryHeap<Pair>, symbols: &[Symbol], left: usize, right: usize| {
            if left == NONE || right == NONE || symbols[left].frozen || symbols[right].frozen {
                return;
            }
            let joined = &text[symbols[left].start..symbols[right].end];
            if let Some(&id) = self.words.get(joined) {
                let piece = &self.pieces[id as usize];
                agenda.push(Pair { left, right, score: piece.score, size: joined.len() });
                if piece.kind == Kind::Unused {
                    halves.insert(joined, symbols[left].end - symbols[left].start);
                }
            }
        };
        for right in 1..symbols.len() {
            consider(&mut agenda, &symbols, right - 1, right);
        }
        while let Some(Pair { left, right, size, .. }) = agenda.pop() {
            let length = |symbol: &Symbol| symbol.end - symbol.start;
            let (left_length, right_length) = (length(&symbols[left]), length(&symbols[right]));
            if left_length == 0 || right_length == 0 || left_length + right_length != size {
                continue;
            }
            symbols[left].end = symbols[right].end;
            let next = symbols[right].next;
            symbols[left].next = next;
            if next != NONE {
                symbols[next].previous = left;
            }
            symbols[right].end = symbols[right].start;
            let previous = symbols[left].previous;
            consider(&mut agenda, &symbols, previous, left);
            consider(&mut agenda, &symbols, left, next);
        }
        let mut parts = Vec::new();
        for symbol in symbols.iter().filter(|symbol| symbol.start < symbol.end) {
            let mut open = vec![&text[symbol.start..symbol.end]];
            while let Some(part) = open.pop() {
                let unused = self.words.get(part).is_some_and(|id| self.is_unused(*id));
                match halves.get(part) {
                    Some(&middle) if unused => {
                        open.push(&part[middle..]);
                        open.push(&part[..middle]);
                    }
                    _ => parts.push(part),
                }
            }
        }
        parts
    }

    /// The most probable division into pieces (Viterbi).
    pub(super) fn unigram<'a>(&self, text: &'a str) -> Vec<&'a str> {
        #[derive(Clone, Copy)]
        struct Node {
            score: f32,
            start: usize,
        }
        const NONE: usize = usize::MAX;
        let unknown_score = self.lowest - UNKNOWN_PENALTY;
        let mut best = vec![Node { score: 0.0, start: NONE }; text.len() + 1];
        let mut start = 0;
        while start < text.len() {
            let here = best[start].score;
            let rest = &text[start..];
            let single = first_char(rest).len();
            let mut has_single = false;
            let mut offer = |end: usize, score: f32| {
                let node = &mut best[end];
                if node.start == NONE || score > node.score {
                    *node = Node { score, start };
                }
            };
            for word in self.candidates.all(rest) {
                let Some(piece) = self.words.get(word).map(|id| &self.pieces[*id as usize]) else { continue };
                let score = match piece.kind {
                    Kind::UserDefined => (word.len() as f32) * self.highest + 1.0,
                    _ => piece.score,
                };
                offer(start + word.len(), here + score);
                has_single |= word.len() == single;
            }
            if !has_single {
                offer(start + single, here + unknown_score);
            }
            start += single;
        }
        let mut parts = Vec::new();
        let mut end = text.len();
        while end > 0 && best[end].start != NONE {
            parts.push(&text[best[end].start..end]);
            end = best[end].start;
        }
        parts.reverse();
        parts
    }
}

/// Two neighbours that can be merged, ordered by score and then from left to right.
struct Pair {
    left: usize,
    right: usize,
    score: f32,
    size: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}
