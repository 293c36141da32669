//! Attention on the CPU: blocks of queries against the keys that they may see, so that scores never take more
//! than a few MB a thread, however long the prompt.

use std::borrow::Cow;

use rayon::prelude::*;

use super::few::{self, Target, Vectors};
use super::product::{Lying, Size, multiply};
use super::{SharedMut, simd};
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

    /// A head's channels of the positions from `position` on, as a matrix.
    fn lying(&self, batch: usize, head: usize, position: usize) -> Lying {
        let from = self.data.as_ptr().wrapping_add(self.offset(batch, head, position));
        Lying { from, row: self.strides[2], column: 1 }
    }

    /// Whether every element that the sizes reach is there.
    fn holds(&self, batch: usize, heads: usize, positions: usize, width: usize) -> bool {
        batch * heads * positions * width == 0
            || self.offset(batch - 1, heads - 1, positions - 1) + width <= self.data.len()
    }
}

/// Scores held by one block, in numbers.
const BLOCK_SCORES: usize = 1 << 19;
/// Keys whose values are added up in one part; a sum of so many terms is never parted further.
const KEYS_AT_ONCE: usize = 512;
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
        let block = (BLOCK_SCORES / keys.max(1)).clamp(32, 512).min(queries);
        let tasks = batch * heads * queries.div_ceil(block);
        let out = SharedMut(out.as_mut_ptr());
        let task = |scores: &mut Vec<f32>, index: usize| self.attend_block(index, block, scores, out);
        if tasks * block * keys * head_dim < PARALLEL_FROM * 8 {
            let mut scores = Vec::new();
            (0..tasks).for_each(|index| task(&mut scores, index));
        } else {
            let owner = Owner::present();
            let begin = || (Vec::new(), owner.enter());
            (0..tasks).into_par_iter().with_max_len(1).for_each_init(begin, |(scores, _), i| task(scores, i));
        }
    }

    fn sink(&self, head: usize) -> f32 {
        self.sinks.map_or(f32::NEG_INFINITY, |s| s[head])
    }

    /// One head's queries of one block; `index` counts blocks, then heads, then batches. Writes rows and a head of
    /// `out` that no other index writes.
    fn attend_block(&self, index: usize, block: usize, scores: &mut Vec<f32>, out: SharedMut) {
        let Sizes { heads, kv_heads, queries, keys, head_dim, .. } = self.sizes;
        let blocks = queries.div_ceil(block);
        let (sequence, first) = (index / blocks, index % blocks * block);
        let (b, head) = (sequence / heads, sequence % heads);
        let kv_head = head / (heads / kv_heads);
        let rows = block.min(queries - first);
        // Keys that any row of the block sees.
        let seen = self.mask.visible(first, queries, keys).start
            ..self.mask.visible(first + rows - 1, queries, keys).end;
        let width = seen.len();
        scores.clear();
        scores.resize(rows * width, 0.0);
        let (q, k, v) = (self.q, self.k, self.v);
        // SAFETY: `attend` made sure that the views hold what the sizes reach; `scores` was made for it.
        unsafe {
            multiply(
                Size { rows, columns: width, depth: head_dim },
                (scores.as_mut_ptr(), width),
                false,
                q.lying(b, head, first),
                k.lying(b, kv_head, seen.start).turned(),
                gemm::Parallelism::None,
            );
        }
        for (i, row) in scores.chunks_exact_mut(width.max(1)).enumerate() {
            let visible = self.mask.visible(first + i, queries, keys);
            let visible = visible.start - seen.start..visible.end - seen.start;
            row[..visible.start].fill(0.0);
            row[visible.end..].fill(0.0);
            simd::softmax(&mut row[visible], self.scale, self.sink(head));
        }
        // Values are added in parts that begin at fixed positions, so that a sum has one order wherever its block
        // begins and ends; what a row does not see has weight 0 and changes nothing.
        for part in seen.start / KEYS_AT_ONCE..seen.end.div_ceil(KEYS_AT_ONCE) {
            let from = (part * KEYS_AT_ONCE).max(seen.start);
            let to = ((part + 1) * KEYS_AT_ONCE).min(seen.end);
            // SAFETY: as above; `out` holds every row, and this block's part of it is written here alone.
            unsafe {
                multiply(
                    Size { rows, columns: head_dim, depth: to - from },
                    (out.get().add(((b * queries + first) * heads + head) * head_dim), heads * head_dim),
                    from > seen.start,
                    Lying { from: scores.as_ptr().add(from - seen.start), row: width, column: 1 },
                    v.lying(b, kv_head, from),
                    gemm::Parallelism::None,
                );
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
