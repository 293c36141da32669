//! Products with many lines, as pictures and prompts make them, and the attention of such.
//!
//! The right side is packed into panels that stay in the second cache, part by part ([`panel`]); lines of the left pass
//! by, each multiplied in registers with a panel ([`kernel`]). An element's sum has one order: parts of a fixed number of
//! terms, each in one chain. So a line comes out the same to the last bit whatever stands beside it, and however many
//! threads share the work. The packing follows K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix
//! Multiplication" (2008).

mod kernel;
mod packed;
mod panel;
mod words;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rayon::prelude::*;

use kernel::{Base, Slab, Way};
pub(crate) use packed::Packed;
pub(crate) use panel::{Gelu, Lines, Right, Strided};
use words::Aligned;
pub(crate) use words::{Words, fetch, write};

use super::processor::Instructions;
use super::{Order, SharedMut};
use crate::devices::meter::Owner;

/// What numbers are when they meet in a product; sums are f32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Factors {
    /// As they are, in 32 bits.
    #[default]
    F32,
    /// Rounded to bf16, as accelerators multiply, where they meet weights, and in the attention of prompts. Where the
    /// processor has instructions for it, twice as fast.
    Bf16,
}

/// Words of a part: so much of a line and of each column of a panel is in the caches at a time.
const PART: usize = 1024;
/// Lines of the left at a time.
const ROWS: usize = 2048;
/// Words that a thread packs at a time, at most: columns of a part, which stay in the second cache.
const SLAB: usize = 1 << 16;
/// The fewest lines for which it is worth packing once more.
const FEWEST_ROWS: usize = 48;
/// Products with fewer multiplications than this are not worth waking threads for.
const PARALLEL_FROM: usize = 1 << 19;

/// How a product is made on this processor.
#[derive(Debug, Clone, Copy)]
struct Means {
    way: Way,
    words: Words,
}

impl Means {
    fn of(factors: Factors) -> Self {
        Self::with(factors, Way::all().filter(|way| factors == Factors::Bf16 || !way.takes_pairs()).last())
    }

    fn with(factors: Factors, way: Option<Way>) -> Self {
        let way = way.unwrap_or(Way::Numbers(Instructions::Portable));
        let words = match factors {
            Factors::F32 => Words::Exact,
            Factors::Bf16 if way.takes_pairs() => Words::Pairs,
            Factors::Bf16 => Words::Rounded,
        };
        Self { way, words }
    }
}

/// From one line of the left to the next, in words: an odd number of cache lines, so that lines below each other do not
/// meet in the same places of a cache.
pub(crate) fn stride(words: usize) -> usize {
    (words.div_ceil(16) | 1) * 16
}

/// Sizes of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Lines of the left and of the result.
    pub rows: usize,
    /// Columns of the right and of the result.
    pub columns: usize,
    /// Terms of each element.
    pub depth: usize,
}

/// `out = left right + bias` (a number for every column, or nothing), the rows of `out` lying `out_stride` apart, on the
/// threads at hand.
///
/// # Panics
/// Where the bias has another length than there are columns.
///
/// # Safety
/// `out` reaches every element, and nothing else writes there meanwhile.
pub(crate) unsafe fn multiply(
    size: Size,
    left: &dyn Lines,
    right: Right<'_>,
    bias: Option<&[f32]>,
    factors: Factors,
    (out, out_stride): (SharedMut, usize),
) {
    // SAFETY: the caller's promise.
    unsafe { multiply_with(Means::of(factors), size, left, right, bias, (out, out_stride)) }
}

/// # Safety
/// As [`multiply`].
unsafe fn multiply_with(
    Means { way, words }: Means,
    Size { rows, columns, depth }: Size,
    left: &dyn Lines,
    right: Right<'_>,
    bias: Option<&[f32]>,
    (out, out_stride): (SharedMut, usize),
) {
    assert!(bias.is_none_or(|bias| bias.len() == columns));
    if rows == 0 || columns == 0 {
        return;
    }
    let threads = if rows * columns * depth < PARALLEL_FROM { 1 } else { rayon::current_num_threads() };
    let stride = stride(words.of(depth).min(PART));
    let mut lines = Aligned::new(rows.min(ROWS) * stride);
    // Every thread has something to do: first columns are dealt out, then lines too.
    let wide = way.columns();
    let most = (SLAB / words.of(depth).clamp(1, PART) / wide).max(1) * wide;
    let slabs = parts(columns, most.min(columns.div_ceil(threads).next_multiple_of(wide)));
    // Panels go from task to task.
    let spare: Mutex<Vec<Aligned>> = Mutex::default();
    let spare = || spare.lock().unwrap_or_else(PoisonError::into_inner);
    for block in parts(rows, ROWS) {
        let shares = threads.div_ceil(slabs.len()).min(block.len() / FEWEST_ROWS).max(1);
        let shares = parts(block.len(), block.len().div_ceil(shares));
        for terms in parts(depth.max(1), PART * words.terms()) {
            let terms = terms.start..terms.end.min(depth);
            let used = words.of(terms.len());
            let convert = |(row, line): (usize, &mut [u32])| {
                left.write(block.start + row, terms.clone(), words, &mut line[..used]);
            };
            let lines = &mut lines[..block.len() * stride];
            match threads {
                1 => lines.chunks_exact_mut(stride).enumerate().for_each(convert),
                _ => lines.par_chunks_exact_mut(stride).with_min_len(16).enumerate().for_each(convert),
            }
            let lines = &*lines;
            let task = |index: usize| {
                let (columns, rows) = (slabs[index / shares.len()].clone(), &shares[index % shares.len()]);
                let mut panels = spare().pop().unwrap_or_default();
                let size = panel::size(columns.len(), used, way);
                panels.grow(size);
                panel::fill(right, terms.clone(), columns.clone(), way, words, &mut panels[..size]);
                let slab = Slab {
                    left: lines[rows.start * stride..].as_ptr(),
                    left_stride: stride,
                    rows: rows.len(),
                    panels: panels.as_ptr(),
                    panel_stride: way.columns() * used,
                    columns: columns.len(),
                    words: used,
                    out: out.get().wrapping_add((block.start + rows.start) * out_stride + columns.start),
                    out_stride,
                    to: match bias {
                        _ if terms.start > 0 => Base::Result,
                        Some(bias) => Base::Line(bias[columns.clone()].as_ptr()),
                        None => Base::Zero,
                    },
                };
                // A thread takes tasks in order: the columns of the next one are brought near meanwhile.
                let next = slabs.get((index + 1) / shares.len()).filter(|next| **next != columns);
                let fetch = |lines: Range<usize>| {
                    if let (Some(next), Order::OutputMajor) = (next, right.order) {
                        lines.for_each(|line| right.lines.fetch(next.start + line, terms.clone()));
                    }
                };
                // SAFETY: these lines and panels were just written; these elements belong to this task alone.
                unsafe { way.multiply_beside(slab, next.map_or(0, Range::len), fetch) };
                spare().push(panels);
            };
            let tasks = slabs.len() * shares.len();
            match threads {
                1 => (0..tasks).for_each(task),
                _ => {
                    let owner = Owner::present();
                    (0..tasks).into_par_iter().with_max_len(1).for_each(|index| {
                        let _same = owner.enter();
                        task(index);
                    });
                }
            }
        }
    }
}

/// Operations a second that one thread reaches here where everything lies in its nearest cache: what no product can
/// surpass. A multiplication and an addition are two.
pub fn peak(factors: Factors) -> f64 {
    const WORDS: usize = 128;
    const ROWS: usize = 12;
    let Means { way, words } = Means::of(factors);
    let (left, panel) = (Aligned::new(ROWS * stride(WORDS)), Aligned::new(way.columns() * WORDS));
    let mut out = vec![0f32; ROWS * way.columns()];
    let round = |times: usize, out: &mut [f32]| {
        let start = Instant::now();
        for _ in 0..times {
            // SAFETY: lines, panel and result are of these sizes.
            unsafe {
                way.multiply(Slab {
                    left: left.as_ptr(),
                    left_stride: stride(WORDS),
                    rows: ROWS,
                    panels: panel.as_ptr(),
                    panel_stride: panel.len(),
                    columns: way.columns(),
                    words: WORDS,
                    out: out.as_mut_ptr(),
                    out_stride: way.columns(),
                    to: Base::Result,
                });
            }
        }
        start.elapsed().as_secs_f64()
    };
    const TIMES: usize = 2000;
    let best = (0..10).map(|_| round(TIMES, &mut out)).fold(f64::INFINITY, f64::min);
    (TIMES * 2 * ROWS * way.columns() * WORDS * words.terms()) as f64 / best
}

/// Parts of a size, of `most` each but for the last.
fn parts(size: usize, most: usize) -> Vec<Range<usize>> {
    (0..size.div_ceil(most)).map(|i| i * most..((i + 1) * most).min(size)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;
    use proptest::prelude::*;

    fn values(count: usize, seed: u32) -> Vec<f32> {
        let mixed = |i: usize| (i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503));
        (0..count).map(|i| (mixed(i) >> 9) as f32 / 8_388_608.0 - 0.5).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn a_row_is_the_same_whatever_stands_beside_it(
            rows in 1usize..90, columns in prop_oneof![1usize..20, 50usize..80, 200usize..330],
            depth in prop_oneof![1usize..5, 5usize..90, 500usize..1300], by_terms: bool, rounded: bool, seed in 0u32..1000,
        ) {
            let (a, b) = (values(rows * depth, seed), values(depth * columns, seed + 1));
            let bias = values(columns, seed + 2);
            let factors = if rounded { Factors::Bf16 } else { Factors::F32 };
            let (order, stride, row, column) = match by_terms {
                true => (Order::InputMajor, columns, columns, 1),
                false => (Order::OutputMajor, depth, 1, depth),
            };
            let product = |way: Way, first: usize, rows: usize| {
                let mut out = vec![f32::NAN; rows * columns];
                let left = Strided { numbers: &a[first * depth..], stride: depth };
                let right = Strided { numbers: &b, stride };
                let to = (SharedMut(out.as_mut_ptr()), columns);
                // SAFETY: `out` has these sizes.
                unsafe {
                    multiply_with(Means::with(factors, Some(way)), Size { rows, columns, depth }, &left, Right { lines: &right, order }, Some(&bias), to);
                }
                out
            };
            let number = |x: f32| f64::from(if rounded { bf16::from_f32(x).to_f32() } else { x });
            let mut fused: Option<Vec<f32>> = None;
            for way in Way::all().filter(|way| rounded || !way.takes_pairs()) {
                let whole = product(way, 0, rows);
                for (first, count) in [(0, 1), (rows - 1, 1), (0, rows.div_ceil(2)), (rows / 3, rows - rows / 3), (rows / 2, (rows - rows / 2).min(7))] {
                    let part = product(way, first, count);
                    prop_assert_eq!(&part[..], &whole[first * columns..(first + count) * columns], "rows {}..{}", first, first + count);
                }
                for (i, got) in whole.iter().enumerate() {
                    let (r, c) = (i / columns, i % columns);
                    let terms = || (0..depth).map(|k| number(a[r * depth + k]) * number(b[k * row + c * column]));
                    let exact = terms().sum::<f64>() + f64::from(bias[c]);
                    let size = terms().map(f64::abs).sum::<f64>();
                    prop_assert!((f64::from(*got) - exact).abs() <= 1e-5 * (1.0 + size));
                }
                // Every processor that multiplies and adds at once gives the same bits.
                if way != Way::Numbers(Instructions::Portable) && !way.takes_pairs() {
                    prop_assert_eq!(fused.get_or_insert_with(|| whole.clone()), &whole);
                }
            }
        }
    }
}
