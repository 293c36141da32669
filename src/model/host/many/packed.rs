//! A right side that is packed whole, for left sides that come one after the other.

use std::ops::Range;

use super::kernel::{Base, Slab};
use super::panel::{self, Lines, Right};
use super::words::Aligned;
use super::{Factors, Means, PART, parts, stride};

/// Panels of all columns, part behind part.
pub(crate) struct Packed {
    means: Means,
    columns: usize,
    /// Where panels begin, and for which terms.
    parts: Vec<(usize, Range<usize>)>,
    panels: Aligned,
}

impl Packed {
    /// Packs `columns` columns of `depth` terms.
    pub(crate) fn new(right: Right<'_>, depth: usize, columns: usize, factors: Factors) -> Self {
        let means = Means::of(factors);
        let Means { way, words } = means;
        let mut packed = Self { means, columns, parts: Vec::new(), panels: Aligned::default() };
        let size = |terms: &Range<usize>| panel::size(columns, words.of(terms.len()), way);
        let all = parts(depth, PART * words.terms());
        packed.panels.grow(all.iter().map(size).sum());
        let mut from = 0;
        for terms in all {
            let to = from + size(&terms);
            panel::fill(right, terms.clone(), 0..columns, way, words, &mut packed.panels[from..to]);
            packed.parts.push((from, terms));
            from = to;
        }
        packed
    }

    /// Columns that are multiplied together: it is best to begin and to end at a multiple.
    pub(crate) fn together(&self) -> usize {
        self.means.way.columns()
    }

    /// The last term up to `term` at which a part begins.
    pub(crate) fn part_of(&self, term: usize) -> usize {
        let part = PART * self.means.words.terms();
        term / part * part
    }

    /// `out = left right` for some lines of the left, some terms (from where a part begins) and some columns (from a
    /// multiple of [`Packed::together`], up to one or to the end). Lines of the left begin with the first of these
    /// terms; `out` with the first of these columns.
    ///
    /// # Safety
    /// `out` reaches every element, its rows `out_stride` apart, and nothing else writes there meanwhile.
    pub(crate) unsafe fn multiply(
        &self,
        (left, rows): (&dyn Lines, usize),
        terms: Range<usize>,
        columns: Range<usize>,
        (out, out_stride): (*mut f32, usize),
        lines: &mut Vec<u32>,
    ) {
        let Means { way, words } = self.means;
        let wide = way.columns();
        assert!(columns.start.is_multiple_of(wide) && columns.end <= self.columns.next_multiple_of(wide));
        assert!(terms.start == self.part_of(terms.start));
        let stride = stride(words.of(terms.len()).min(PART));
        for (from, part) in &self.parts {
            let used = part.start.max(terms.start)..part.end.min(terms.end);
            if used.is_empty() {
                continue;
            }
            let depth = words.of(used.len());
            let range = used.start - terms.start..used.end - terms.start;
            let (left, left_stride) = left.lying(range.start, words).unwrap_or_else(|| {
                lines.resize(rows * stride, 0);
                for (row, line) in lines.chunks_exact_mut(stride).enumerate() {
                    left.write(row, range.clone(), words, &mut line[..depth]);
                }
                (lines.as_ptr(), stride)
            });
            let panel_stride = wide * words.of(part.len());
            // SAFETY: the lines are there, the panels are there for these columns and terms, and the caller's
            // promise for the result.
            unsafe {
                way.multiply(Slab {
                    left,
                    left_stride,
                    rows,
                    panels: self.panels[from + columns.start / wide * panel_stride..].as_ptr(),
                    panel_stride,
                    columns: columns.len(),
                    words: depth,
                    out,
                    out_stride,
                    to: if used.start > terms.start { Base::Result } else { Base::Zero },
                });
            }
        }
    }
}
