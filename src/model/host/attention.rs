//! Attention on the CPU: blocks of queries against the keys that they may see. Keys and values of a head are packed once
//! for all its blocks, and scores never take more than half a megabyte or a few lines a thread, however long the prompt.

use std::borrow::Cow;

use rayon::prelude::*;

use super::few::{self, Target, Vectors};
use super::many::{Factors, Packed, Right, Strided, stride};
use super::{Order, SharedMut, simd};
use crate::devices::meter::Owner;

/// Which keys a query sees. Queries are the last positions of the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask {
    /// Nothing after its own position.
    pub causal: bool,
    /// Only so many positions back, its own included (only with `causal`).
    pub window: Option<usize>,
}

impl Mask {
    /// Everything sees everything.
    pub const NONE: Self = Self { causal: false, window: None };

    /// Keys that query `i` of `queries` sees among `keys`.
    pub fn visible(&self, i: usize, queries: usize, keys: usize) -> std::ops::Range<usize> {
        if !self.causal {
            return 0..keys;
        }
        let end = (keys + i + 1).saturating_sub(queries).min(keys);
        self.window.map_or(0, |w| end.saturating_sub(w))..end
    }
}

/// Sizes of one attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Independent sequences.
    pub batch: usize,
    /// Query heads, a multiple of `kv_heads`.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Query positions.
    pub queries: usize,
    /// Key positions.
    pub keys: usize,
    /// Width of a head.
    pub head_dim: usize,
}

/// Numbers addressed by batch, head and position; a head's channels lie side by side.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// All of them.
    pub data: &'a [f32],
    /// Distance between batches, heads and positions.
    pub strides: [usize; 3],
}

impl<'a> View<'a> {
    fn offset(&self, batch: usize, head: usize, position: usize) -> usize {
        batch * self.strides[0] + head * self.strides[1] + position * self.strides[2]
    }

    /// Numbers of so many rows below each other, the first at `from`: as they lie where nothing is between them.
    fn rows(&self, from: usize, stride: usize, count: usize, width: usize) -> Cow<'a, [f32]> {
        if stride == width {
            return self.data[from..from + count * width].into();
        }
        (0..count).flat_map(|row| &self.data[from + row * stride..][..width]).copied().collect()
    }

    /// A head's channels of the positions from `position` on, a line each.
    fn lines(&self, batch: usize, head: usize, position: usize) -> Strided<'a> {
        Strided { numbers: &self.data[self.offset(batch, head, position)..], stride: self.strides[2] }
    }

    /// Whether every element that the sizes reach is there.
    fn holds(&self, batch: usize, heads: usize, positions: usize, width: usize) -> bool {
        batch * heads * positions * width == 0
            || self.offset(batch - 1, heads - 1, positions - 1) + width <= self.data.len()
    }
}

/// Scores held by one block, in numbers.
const BLOCK_SCORES: usize = 1 << 17;
/// The most queries of a block, and the fewest; blocks are multiples of these.
const BLOCK_QUERIES: [usize; 2] = [96, 12];
/// Values that are added to all queries' sums before the next, from the nearest cache.
const VALUES_AT_ONCE: usize = 64;
/// Work below this is not worth waking threads for.
const PARALLEL_FROM: usize = 1 << 16;

/// One attention: softmax(scale q k^T + mask) v.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// Queries.
    pub q: View<'a>,
    /// Keys.
    pub k: View<'a>,
    /// Values.
    pub v: View<'a>,
    /// Sizes of all of them.
    pub sizes: Sizes,
    /// Which keys a query sees.
    pub mask: Mask,
    /// What scores are multiplied by.
    pub scale: f32,
    /// What queries, keys, weights and values are when they meet.
    pub factors: Factors,
    /// A logit a head that takes its share of the softmax and is dropped.
    pub sinks: Option<&'a [f32]>,
}

impl Attention<'_> {
    /// Computes it into `out`, `[batch, queries, heads * head_dim]`.
    ///
    /// # Panics
    /// Where a view is smaller than the sizes say, which the caller's shapes rule out.
    pub fn attend(&self, out: &mut [f32]) {
        let Sizes { batch, heads, kv_heads, queries, keys, head_dim } = self.sizes;
        assert!(
            self.q.holds(batch, heads, queries, head_dim) && kv_heads > 0 && heads.is_multiple_of(kv_heads)
        );
        assert!(
            self.k.holds(batch, kv_heads, keys, head_dim) && self.v.holds(batch, kv_heads, keys, head_dim)
        );
        assert!(
            out.len() == batch * queries * heads * head_dim && self.sinks.is_none_or(|s| s.len() == heads)
        );
        if out.is_empty() {
            return;
        }
        let [most, fewest] = BLOCK_QUERIES;
        let block = (BLOCK_SCORES / keys.max(1)).clamp(fewest, most);
        let block = queries.div_ceil(queries.div_ceil(block)).next_multiple_of(fewest);
        // Blocks of all query heads that share a key head, shared out where there are fewer key heads than threads.
        let blocks = heads / kv_heads * queries.div_ceil(block);
        let sequences = batch * kv_heads;
        let threads = match batch * heads * queries * keys * head_dim < PARALLEL_FROM * 8 {
            true => 1,
            false => rayon::current_num_threads(),
        };
        let shares = (threads * 2).div_ceil(sequences).min(blocks);
        let share = blocks.div_ceil(shares);
        let out = SharedMut(out.as_mut_ptr());
        let task = |index: usize| {
            let first = index % shares * share;
            self.attend_blocks(index / shares, block, first..(first + share).min(blocks), out);
        };
        if threads == 1 {
            (0..sequences * shares).for_each(task);
        } else {
            let owner = Owner::present();
            (0..sequences * shares).into_par_iter().with_max_len(1).for_each(|index| {
                let _same = owner.enter();
                task(index);
            });
        }
    }

    fn sink(&self, head: usize) -> f32 {
        self.sinks.map_or(f32::NEG_INFINITY, |s| s[head])
    }

    /// Some blocks of queries of a key head; `sequence` counts key heads, then batches, and blocks are counted within a
    /// query head, then over the query heads. Writes rows and heads of `out` that no other block writes.
    fn attend_blocks(&self, sequence: usize, block: usize, blocks: std::ops::Range<usize>, out: SharedMut) {
        let Sizes { heads, kv_heads, queries, keys, head_dim, .. } = self.sizes;
        if blocks.is_empty() || keys == 0 {
            return;
        }
        let (batch, kv_head) = (sequence / kv_heads, sequence % kv_heads);
        let (k, v) = (self.k.lines(batch, kv_head, 0), self.v.lines(batch, kv_head, 0));
        let k = Packed::new(Right { lines: &k, order: Order::OutputMajor }, head_dim, keys, self.factors);
        let v = Packed::new(Right { lines: &v, order: Order::InputMajor }, keys, head_dim, self.factors);
        let (mut scores, mut words, mut factors) = (Vec::new(), Vec::new(), Vec::new());
        let a_head = queries.div_ceil(block);
        for index in blocks {
            let (head, first) = (kv_head * (heads / kv_heads) + index / a_head, index % a_head * block);
            let rows = block.min(queries - first);
            // Keys that any row of the block sees, from where a part of the values begins.
            let from = v.part_of(self.mask.visible(first, queries, keys).start);
            let end = self.mask.visible(first + rows - 1, queries, keys).end;
            if end == from {
                continue;
            }
            let width = (end - from).next_multiple_of(k.together());
            let apart = stride(width);
            scores.resize(rows * apart, 0.0);
            // SAFETY: `scores` was just made for it.
            unsafe {
                let q = self.q.lines(batch, head, first);
                let to = (scores.as_mut_ptr(), apart);
                k.multiply((&q, rows), 0..head_dim, from..from + width, to, &mut words);
            }
            for (i, row) in scores.chunks_exact_mut(apart).enumerate() {
                let visible = self.mask.visible(first + i, queries, keys);
                let visible = visible.start - from..visible.end - from;
                row[..visible.start].fill(0.0);
                row[visible.end..].fill(0.0);
                // What makes a softmax of them is for sums that are much shorter.
                factors.push(match visible.is_empty() {
                    true => 0.0,
                    false => simd::exponentials(&mut row[visible], self.scale, self.sink(head)),
                });
            }
            // SAFETY: `out` holds every row, and this block's part of it is written here alone.
            unsafe {
                let weights = Strided { numbers: &scores, stride: apart };
                let to = out.get().add(((batch * queries + first) * heads + head) * head_dim);
                v.multiply((&weights, rows), from..end, 0..head_dim, (to, heads * head_dim), &mut words);
                for (i, factor) in factors.drain(..).enumerate() {
                    let row = std::slice::from_raw_parts_mut(to.add(i * heads * head_dim), head_dim);
                    simd::multiply(row, factor);
                }
            }
        }
    }

    /// The one query of the one sequence, for the query heads that share a key head: every key and value is read once.
    fn attend_one(&self, kv_head: usize, out: &mut [f32]) {
        let Sizes { heads, kv_heads, keys, head_dim, .. } = self.sizes;
        let group = heads / kv_heads;
        let visible = self.mask.visible(0, 1, keys);
        let width = visible.len();
        if head_dim == 0 || width == 0 {
            return out.fill(0.0);
        }
        // Keys are the rows of a matrix and queries its vectors.
        let keys = self.k.rows(self.k.offset(0, kv_head, visible.start), self.k.strides[2], width, head_dim);
        let queries = self.q.rows(self.q.offset(0, kv_head * group, 0), self.q.strides[1], group, head_dim);
        let mut scores = vec![0f32; group * width];
        // SAFETY: `scores` has an element for every query and key.
        unsafe {
            let target = Target { to: scores.as_mut_ptr(), stride: width };
            few::rows_times(&keys, &Vectors::new::<f32>(&queries, head_dim), target);
        }
        for (g, row) in scores.chunks_exact_mut(width.max(1)).enumerate() {
            simd::softmax(row, self.scale, self.sink(kv_head * group + g));
        }
        out.fill(0.0);
        let values =
            self.v.rows(self.v.offset(0, kv_head, visible.start), self.v.strides[2], width, head_dim);
        for (part, values) in values.chunks(VALUES_AT_ONCE * head_dim).enumerate() {
            for (scores, out) in scores.chunks_exact(width).zip(out.chunks_exact_mut(head_dim)) {
                simd::add_rows(&scores[part * VALUES_AT_ONCE..], values, out);
            }
        }
    }
}

/// One query each of several sequences (`batch` and `queries` are 1, all other sizes but `keys` equal), into `out`,
/// `[sequences, heads * head_dim]`.
///
/// # Panics
/// Where a view is smaller than its sizes say, or `out` than all of them, which the caller's shapes rule out.
pub fn attend_each(all: &[Attention<'_>], out: &mut [f32]) {
    let Some(Sizes { heads, kv_heads, head_dim, .. }) = all.first().map(|one| one.sizes) else { return };
    let expected = |one: &Attention<'_>| {
        let Sizes { keys, .. } = one.sizes;
        one.sizes == Sizes { batch: 1, heads, kv_heads, queries: 1, keys, head_dim }
            && one.q.holds(1, heads, 1, head_dim)
            && one.k.holds(1, kv_heads, keys, head_dim)
            && one.v.holds(1, kv_heads, keys, head_dim)
    };
    assert!(kv_heads > 0 && heads.is_multiple_of(kv_heads) && all.iter().all(expected));
    assert!(out.len() == all.len() * heads * head_dim);
    let work: usize = all.iter().map(|one| heads * one.sizes.keys * head_dim).sum();
    let owner = Owner::present();
    let task = |(index, out): (usize, &mut [f32])| {
        let _same = owner.enter();
        all[index / kv_heads].attend_one(index % kv_heads, out);
    };
    let width = heads / kv_heads * head_dim;
    if work < PARALLEL_FROM || width == 0 {
        out.chunks_mut(width.max(1)).enumerate().for_each(task);
    } else {
        out.par_chunks_mut(width).enumerate().for_each(task);
    }
}
