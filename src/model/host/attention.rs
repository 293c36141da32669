//! Attention on the CPU: blocks of queries against the keys that they may see, so that scores never take more
//! than a few MB a thread, however long the prompt.

use rayon::prelude::*;

use super::{SharedMut, simd};

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

    fn at(&self, batch: usize, head: usize, position: usize, width: usize) -> &'a [f32] {
        let start = self.offset(batch, head, position);
        &self.data[start..start + width]
    }

    /// Whether every element that the sizes reach is there.
    fn holds(&self, batch: usize, heads: usize, positions: usize, width: usize) -> bool {
        batch * heads * positions * width == 0
            || self.offset(batch - 1, heads - 1, positions - 1) + width <= self.data.len()
    }
}

/// Scores held by one block, in numbers.
const BLOCK_SCORES: usize = 1 << 19;
/// Work below this is not worth waking threads for.
const PARALLEL_FROM: usize = 1 << 16;

/// Softmax(scale q k^T + mask) v. `out` is `[batch, queries, heads * head_dim]`; `sinks` holds a logit a head that
/// takes its share of the softmax and is dropped.
///
/// # Panics
/// Where a view is smaller than the sizes say, which the caller's shapes rule out.
pub fn attend(
    q: View<'_>,
    k: View<'_>,
    v: View<'_>,
    sizes: Sizes,
    mask: Mask,
    scale: f32,
    sinks: Option<&[f32]>,
    out: &mut [f32],
) {
    let Sizes { batch, heads, kv_heads, queries, keys, head_dim } = sizes;
    assert!(q.holds(batch, heads, queries, head_dim) && kv_heads > 0 && heads.is_multiple_of(kv_heads));
    assert!(k.holds(batch, kv_heads, keys, head_dim) && v.holds(batch, kv_heads, keys, head_dim));
    assert!(out.len() == batch * queries * heads * head_dim && sinks.is_none_or(|s| s.len() == heads));
    if out.is_empty() {
        return;
    }
    if queries == 1 {
        return attend_one(q, k, v, sizes, mask, scale, sinks, out);
    }
    let block = (BLOCK_SCORES / keys.max(1)).clamp(32, 512).min(queries);
    let blocks = queries.div_ceil(block);
    let shared = SharedMut(out.as_mut_ptr());
    let task = |scores: &mut Vec<f32>, index: usize| {
        let (sequence, first) = (index / blocks, index % blocks * block);
        let (b, head) = (sequence / heads, sequence % heads);
        let group = head / (heads / kv_heads);
        let rows = block.min(queries - first);
        // Keys that any row of the block sees.
        let seen =
            mask.visible(first, queries, keys).start..mask.visible(first + rows - 1, queries, keys).end;
        let width = seen.len();
        scores.clear();
        scores.resize(rows * width, 0.0);
        let sink = sinks.map_or(f32::NEG_INFINITY, |s| s[head]);
        // SAFETY: offsets stay inside the views (asserted above) and inside `scores` and `out`; every task writes
        // rows and a head of its own.
        unsafe {
            gemm::gemm(
                rows,
                width,
                head_dim,
                scores.as_mut_ptr(),
                1,
                width as isize,
                false,
                q.data.as_ptr().add(q.offset(b, head, first)),
                1,
                q.strides[2] as isize,
                k.data.as_ptr().add(k.offset(b, group, seen.start)),
                k.strides[2] as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
        for (i, row) in scores.chunks_exact_mut(width.max(1)).enumerate() {
            let visible = mask.visible(first + i, queries, keys);
            let visible = visible.start - seen.start..visible.end - seen.start;
            row[..visible.start].fill(0.0);
            row[visible.end..].fill(0.0);
            simd::softmax(&mut row[visible], scale, sink);
        }
        // SAFETY: as above.
        unsafe {
            gemm::gemm(
                rows,
                head_dim,
                width,
                shared.get().add(((b * queries + first) * heads + head) * head_dim),
                1,
                (heads * head_dim) as isize,
                false,
                scores.as_ptr(),
                1,
                width as isize,
                v.data.as_ptr().add(v.offset(b, group, seen.start)),
                1,
                v.strides[2] as isize,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    };
    let tasks = batch * heads * blocks;
    if tasks * block * keys * head_dim < PARALLEL_FROM * 8 {
        let mut scores = Vec::new();
        (0..tasks).for_each(|index| task(&mut scores, index));
    } else {
        (0..tasks).into_par_iter().with_max_len(1).for_each_init(Vec::new, task);
    }
}

/// One query a sequence: every key and value is read once for all query heads that share it.
#[allow(clippy::too_many_arguments)]
fn attend_one(
    q: View<'_>,
    k: View<'_>,
    v: View<'_>,
    sizes: Sizes,
    mask: Mask,
    scale: f32,
    sinks: Option<&[f32]>,
    out: &mut [f32],
) {
    let Sizes { heads, kv_heads, keys, head_dim, .. } = sizes;
    let group = heads / kv_heads;
    let visible = mask.visible(0, 1, keys);
    let width = visible.len();
    let task = |(index, out): (usize, &mut [f32])| {
        let (b, kv_head) = (index / kv_heads, index % kv_heads);
        let mut scores = vec![0f32; group * width];
        for (t, position) in visible.clone().enumerate() {
            let key = k.at(b, kv_head, position, head_dim);
            for g in 0..group {
                scores[g * width + t] = simd::dot(key, q.at(b, kv_head * group + g, 0, head_dim));
            }
        }
        for (g, row) in scores.chunks_exact_mut(width.max(1)).enumerate() {
            simd::softmax(row, scale, sinks.map_or(f32::NEG_INFINITY, |s| s[kv_head * group + g]));
        }
        out.fill(0.0);
        for (t, position) in visible.clone().enumerate() {
            let value = v.at(b, kv_head, position, head_dim);
            for (g, out) in out.chunks_exact_mut(head_dim).enumerate() {
                simd::axpy(scores[g * width + t], value, out);
            }
        }
    };
    let chunks = out.par_chunks_mut(group * head_dim).enumerate();
    if heads * width * head_dim < PARALLEL_FROM {
        chunks.with_min_len(usize::MAX).for_each(task);
    } else {
        chunks.for_each(task);
    }
}
