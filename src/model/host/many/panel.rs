//! The right side of a product as the kernels take it: columns side by side in panels, word below word.

use std::ops::Range;

use super::kernel::Way;
use super::words::Words;
use crate::model::host::{Order, simd};

/// Lines of numbers in memory.
pub(crate) trait Lines: Sync {
    /// Writes the numbers `range` of a line as words, and 0 in words beyond them.
    fn write(&self, line: usize, range: Range<usize>, words: Words, out: &mut [u32]);
    /// Says that the numbers `range` of a line will soon be asked for.
    fn fetch(&self, _line: usize, _range: Range<usize>) {}
    /// The lines from their numbers `first` on, where they lie in memory as such words, as far apart as is good for the
    /// kernels ([`super::stride`]); and how far that is.
    fn lying(&self, _first: usize, _words: Words) -> Option<(*const u32, usize)> {
        None
    }
}

/// Lines of f32 in a slice.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    /// From the first number of the first line on.
    pub numbers: &'a [f32],
    /// From one line to the next.
    pub stride: usize,
}

impl Lines for Strided<'_> {
    fn write(&self, line: usize, range: Range<usize>, words: Words, out: &mut [u32]) {
        let from = line * self.stride;
        super::words::write(&self.numbers[from + range.start..from + range.end], words, out);
    }

    fn lying(&self, first: usize, words: Words) -> Option<(*const u32, usize)> {
        let as_they_are = words == Words::Exact && self.stride == super::stride(self.stride);
        as_they_are.then(|| (self.numbers[first..].as_ptr().cast(), self.stride))
    }
}

/// GELU of some lines, made as they are asked for.
pub(crate) struct Gelu<'a>(pub Strided<'a>);

impl Lines for Gelu<'_> {
    fn write(&self, line: usize, range: Range<usize>, words: Words, out: &mut [u32]) {
        let from = line * self.0.stride;
        let numbers = &self.0.numbers[from + range.start..from + range.end];
        if words == Words::Exact {
            self.0.write(line, range, words, out);
            return simd::gelu(bytemuck::cast_slice_mut(&mut out[..numbers.len()]));
        }
        /// Numbers at a time: pairs stay together.
        const CHUNK: usize = 512;
        let mut near = [0f32; CHUNK];
        for (numbers, out) in numbers.chunks(CHUNK).zip(out.chunks_mut(words.of(CHUNK))) {
            let near = &mut near[..numbers.len()];
            near.copy_from_slice(numbers);
            simd::gelu(near);
            super::words::write(near, words, out);
        }
    }
}

/// The right side of a product.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    /// Its lines.
    pub lines: &'a dyn Lines,
    /// Whether a line is a column ([`Order::OutputMajor`]) or a term of every column.
    pub order: Order,
}

/// Lines that are turned together, and words of each at a time: so much lies in the nearest cache.
const TOGETHER: usize = 8;
const DEEP: usize = 256;

/// Words that panels of so many columns take, each of so many words.
pub(super) fn size(columns: usize, words: usize, way: Way) -> usize {
    columns.next_multiple_of(way.columns()) * words
}

/// Fills panels, [`size`] words, with some terms of some columns.
pub(super) fn fill(
    right: Right<'_>,
    terms: Range<usize>,
    columns: Range<usize>,
    way: Way,
    words: Words,
    panels: &mut [u32],
) {
    let wide = way.columns();
    let depth = words.of(terms.len());
    let each = panels.chunks_exact_mut((wide * depth).max(1)).zip(columns.clone().step_by(wide));
    for (panel, first) in each {
        let columns = first..(first + wide).min(columns.end);
        match right.order {
            Order::OutputMajor => fill_by_columns(right.lines, &terms, columns, wide, words, panel),
            Order::InputMajor => fill_by_terms(right.lines, &terms, columns, wide, words, panel),
        }
    }
}

fn fill_by_columns(
    lines: &dyn Lines,
    terms: &Range<usize>,
    columns: Range<usize>,
    wide: usize,
    words: Words,
    panel: &mut [u32],
) {
    let depth = panel.len() / wide;
    let mut lying = vec![0; TOGETHER * depth.min(DEEP)];
    for first in (columns.start..columns.start + wide).step_by(TOGETHER) {
        for word in (0..depth).step_by(DEEP) {
            let lying = &mut lying[..TOGETHER * DEEP.min(depth - word)];
            let deep = lying.len() / TOGETHER;
            let part = terms.start + word * words.terms();
            let part = part..(part + deep * words.terms()).min(terms.end);
            for (i, line) in lying.chunks_exact_mut(deep).enumerate() {
                match first + i {
                    column if column < columns.end => lines.write(column, part.clone(), words, line),
                    _ => line.fill(0),
                }
            }
            turn(lying, &mut panel[word * wide + first - columns.start..], wide);
        }
    }
}

fn fill_by_terms(
    lines: &dyn Lines,
    terms: &Range<usize>,
    columns: Range<usize>,
    wide: usize,
    words: Words,
    panel: &mut [u32],
) {
    if words != Words::Pairs {
        for (term, row) in terms.clone().zip(panel.chunks_exact_mut(wide)) {
            lines.write(term, columns.clone(), words, row);
        }
        return;
    }
    let mut second = vec![0; wide];
    for (term, row) in terms.clone().step_by(2).zip(panel.chunks_exact_mut(wide)) {
        lines.write(term, columns.clone(), Words::Rounded, row);
        row.iter_mut().for_each(|word| *word >>= 16);
        if term + 1 < terms.end {
            lines.write(term + 1, columns.clone(), Words::Rounded, &mut second);
            row.iter_mut().zip(&second).for_each(|(word, second)| *word |= second);
        }
    }
}

/// Writes [`TOGETHER`] lines, one behind the other, as columns: word `w` of line `l` to `w * wide + l`.
fn turn(lines: &[u32], to: &mut [u32], wide: usize) {
    let depth = lines.len() / TOGETHER;
    assert!(wide >= TOGETHER && (depth == 0 || (depth - 1) * wide + TOGETHER <= to.len()));
    #[cfg(target_arch = "x86_64")]
    if crate::model::host::processor::has_avx2() {
        // SAFETY: the processor has the feature, and the lengths are as asserted.
        unsafe { turn_avx2(lines, depth, to, wide) };
        return;
    }
    turn_from(0, lines, depth, to, wide);
}

fn turn_from(first: usize, lines: &[u32], depth: usize, to: &mut [u32], wide: usize) {
    for word in first..depth {
        for (line, to) in to[word * wide..][..TOGETHER].iter_mut().enumerate() {
            *to = lines[line * depth + word];
        }
    }
}

/// # Safety
/// The processor has AVX2; `lines` are [`TOGETHER`] of `depth` words, and `to` holds them `wide` apart.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn turn_avx2(lines: &[u32], depth: usize, to: &mut [u32], wide: usize) {
    use std::arch::x86_64::*;
    let whole = depth / TOGETHER * TOGETHER;
    for word in (0..whole).step_by(TOGETHER) {
        // SAFETY: eight words of eight lines, to eight rows of eight.
        unsafe {
            let line = |i: usize| _mm256_loadu_ps(lines.as_ptr().add(i * depth + word).cast());
            let l = [line(0), line(1), line(2), line(3), line(4), line(5), line(6), line(7)];
            // Pairs of lines, then fours of them, then halves.
            let two = |i: usize| [_mm256_unpacklo_ps(l[i], l[i + 1]), _mm256_unpackhi_ps(l[i], l[i + 1])];
            let [[a, b], [c, d], [e, f], [g, h]] = [two(0), two(2), two(4), two(6)];
            let low = |x, y| _mm256_shuffle_ps::<0b01_00_01_00>(x, y);
            let high = |x, y| _mm256_shuffle_ps::<0b11_10_11_10>(x, y);
            let first = [low(a, c), high(a, c), low(b, d), high(b, d)];
            let second = [low(e, g), high(e, g), low(f, h), high(f, h)];
            for i in 0..4 {
                let at = |row: usize| to.as_ptr().add((word + row) * wide).cast_mut().cast::<f32>();
                _mm256_storeu_ps(at(i), _mm256_permute2f128_ps::<0x20>(first[i], second[i]));
                _mm256_storeu_ps(at(i + 4), _mm256_permute2f128_ps::<0x31>(first[i], second[i]));
            }
        }
    }
    turn_from(whole, lines, depth, to, wide);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn panels_hold_every_column(
            depth in 1usize..70, columns in 1usize..70, by_terms: bool, pairs: bool, skip in 0usize..5,
        ) {
            let order = if by_terms { Order::InputMajor } else { Order::OutputMajor };
            let stride = if by_terms { columns } else { depth };
            // Whole numbers below 256 are the same in bf16.
            let numbers: Vec<f32> = (0..depth * columns).map(|i| (i * 31 % 251) as f32).collect();
            let value = |term: usize, column: usize| match by_terms {
                true => numbers[term * stride + column],
                false => numbers[column * stride + term],
            };
            let words = if pairs { Words::Pairs } else { Words::Exact };
            let lines = Strided { numbers: &numbers, stride };
            let (terms, columns) = (skip.min(depth - 1)..depth, skip.min(columns - 1)..columns);
            for way in Way::all() {
                let (wide, deep) = (way.columns(), words.of(terms.len()));
                let mut panels = vec![7; size(columns.len(), deep, way)];
                fill(Right { lines: &lines, order }, terms.clone(), columns.clone(), way, words, &mut panels);
                for (i, word) in panels.iter().enumerate() {
                    let (panel, row, column) = (i / (wide * deep), i / wide % deep, i % wide);
                    let column = columns.start + panel * wide + column;
                    let there = |term: usize| if column < columns.end && term < terms.end { value(term, column) } else { 0.0 };
                    let expected = match pairs {
                        false => there(terms.start + row).to_bits(),
                        true => there(terms.start + row * 2).to_bits() >> 16 | there(terms.start + row * 2 + 1).to_bits(),
                    };
                    prop_assert_eq!(*word, expected);
                }
            }
        }
    }
}
