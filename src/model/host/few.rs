//! Products of a weight matrix with a few vectors, as decoding makes them: every weight is read from memory once.
//!
//! A sum of products has one order whatever the number of vectors: [`LANES`] partial sums, each over every `LANES`-th
//! term, then these by halves, then what is left over. So an answer does not depend on how many questions are decoded
//! together. (Weights of two bytes are taken apart into the even and the odd ones of sixteen, which needs no shuffle;
//! their vectors are put into the same order once, see [`arrange`].)

use half::bf16;

/// Partial sums of one element of the result; two AVX2 registers.
pub(crate) const LANES: usize = 16;
/// Rows that are taken together against several vectors.
pub(crate) const STRIP: usize = 6;

/// A weight that is widened to f32 in registers.
pub(crate) trait Weight: Copy + Send + Sync + 'static {
    /// The weights as numbers that need no widening, where they are such.
    fn as_wide(from: *const Self) -> Option<*const f32>;
    /// Where term `i` of a group of [`LANES`] is kept.
    fn lane(i: usize) -> usize;
    /// The number itself.
    fn wide(self) -> f32;
    /// Eight weights of the group at `from`: those of the first eight lanes, or of the others.
    ///
    /// # Safety
    /// There are [`LANES`] weights at `from`, and the processor has AVX2.
    #[cfg(target_arch = "x86_64")]
    unsafe fn eight(from: *const Self, second: bool) -> std::arch::x86_64::__m256;
}

impl Weight for f32 {
    fn as_wide(from: *const Self) -> Option<*const f32> {
        Some(from)
    }

    fn lane(i: usize) -> usize {
        i
    }

    fn wide(self) -> f32 {
        self
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn eight(from: *const Self, second: bool) -> std::arch::x86_64::__m256 {
        // SAFETY: the caller's promise.
        unsafe { std::arch::x86_64::_mm256_loadu_ps(from.add(if second { LANES / 2 } else { 0 })) }
    }
}

impl Weight for bf16 {
    fn as_wide(_: *const Self) -> Option<*const f32> {
        None
    }

    fn lane(i: usize) -> usize {
        i / 2 + i % 2 * (LANES / 2)
    }

    fn wide(self) -> f32 {
        self.to_f32()
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn eight(from: *const Self, second: bool) -> std::arch::x86_64::__m256 {
        use std::arch::x86_64::{
            _mm256_and_si256, _mm256_castsi256_ps, _mm256_loadu_si256, _mm256_set1_epi32, _mm256_slli_epi32,
        };
        // SAFETY: the caller's promise; the load needs no alignment.
        unsafe {
            let pairs = _mm256_loadu_si256(from.cast());
            _mm256_castsi256_ps(match second {
                false => _mm256_slli_epi32::<16>(pairs),
                true => _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32 as i32)),
            })
        }
    }
}

/// Puts the elements of vectors of length `cols` into the order of the weights' lanes; what is left over stays.
pub(crate) fn arrange<W: Weight>(x: &[f32], cols: usize) -> Vec<f32> {
    let mut arranged = x.to_vec();
    for (to, from) in arranged.chunks_exact_mut(cols.max(1)).zip(x.chunks_exact(cols.max(1))) {
        let groups = to.chunks_exact_mut(LANES).zip(from.chunks_exact(LANES));
        for (to, from) in groups {
            for (i, value) in from.iter().enumerate() {
                to[W::lane(i)] = *value;
            }
        }
    }
    arranged
}

/// Where a product is written: element `(row, vector)` at `vector * stride + row`.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The element of the first row and vector.
    pub to: *mut f32,
    /// From one vector to the next.
    pub stride: usize,
}

/// Products of some rows of a matrix (`[rows, cols]`, side by side) with `count` arranged vectors.
///
/// # Panics
/// Where the slices do not fit `cols` and `count`.
///
/// # Safety
/// `target` reaches every element, and nothing else writes there meanwhile.
pub(crate) unsafe fn rows_times<W: Weight>(
    weights: &[W],
    cols: usize,
    x: &[f32],
    count: usize,
    target: Target,
) {
    assert!(cols > 0 && weights.len().is_multiple_of(cols) && x.len() == count * cols);
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the caller's promise, the lengths above, and the processor has the features.
        return unsafe { avx2::rows_times(weights, cols, x, count, target) };
    }
    for (row, weights) in weights.chunks_exact(cols).enumerate() {
        for (vector, x) in x.chunks_exact(cols).enumerate() {
            // SAFETY: the caller's promise.
            unsafe { *target.to.add(vector * target.stride + row) = dot(weights, x) };
        }
    }
}

/// One element on any processor.
fn dot<W: Weight>(weights: &[W], x: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (groups, rest) = weights.as_chunks::<LANES>();
    let (x_groups, x_rest) = x.as_chunks::<LANES>();
    for (group, x) in groups.iter().zip(x_groups) {
        for (i, weight) in group.iter().enumerate() {
            let lane = W::lane(i);
            lanes[lane] += weight.wide() * x[lane];
        }
    }
    rest.iter().zip(x_rest).fold(sum(lanes), |sum, (w, x)| sum + w.wide() * x)
}

/// Adds the lanes by halves.
#[inline(always)]
pub(crate) fn sum(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps,
        _mm256_storeu_ps,
    };

    use super::{LANES, STRIP, Target, Weight, sum};

    /// Bytes that are asked of memory ahead of one row.
    const AHEAD: usize = 8192;
    /// Vectors up to which a row is read on its own.
    const FEWEST: usize = 3;
    /// Groups of lanes of one block; a strip's block of weights and a tile's of vectors stay in the first cache.
    const BLOCK: usize = 32;
    /// Half of the lanes: one register.
    const HALF: usize = LANES / 2;

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn rows_times<W: Weight>(
        weights: &[W],
        cols: usize,
        x: &[f32],
        count: usize,
        target: Target,
    ) {
        let rows = weights.len() / cols;
        // Memory is fastest with one stream, so a few vectors take row after row.
        let strips = if count > FEWEST { rows / STRIP } else { 0 };
        let (mut sums, mut wide) = (Vec::new(), Vec::new());
        if strips > 0 {
            sums.resize(STRIP * count * LANES, 0.0);
            wide.resize(STRIP * BLOCK * LANES, 0.0);
        }
        // SAFETY: every row and vector lies within its slice; the caller's promise for the target.
        unsafe {
            for strip in 0..strips {
                let w = weights.as_ptr().add(strip * STRIP * cols);
                let to = Target { to: target.to.add(strip * STRIP), ..target };
                self::strip::<W>(w, cols, x.as_ptr(), count, &mut sums, &mut wide, to);
            }
            for row in strips * STRIP..rows {
                let w = weights.as_ptr().add(row * cols);
                let to = Target { to: target.to.add(row), ..target };
                for vector in (0..count).step_by(FEWEST) {
                    let x = x.as_ptr().add(vector * cols);
                    let to = Target { to: to.to.add(vector * to.stride), ..to };
                    match count - vector {
                        1 => one::<W, 1>(w, cols, x, to),
                        2 => one::<W, 2>(w, cols, x, to),
                        _ => one::<W, FEWEST>(w, cols, x, to),
                    }
                }
            }
        }
    }

    /// One row against `VECTORS` vectors.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn one<W: Weight, const VECTORS: usize>(w: *const W, cols: usize, x: *const f32, target: Target) {
        let mut low = [_mm256_setzero_ps(); VECTORS];
        let mut high = [_mm256_setzero_ps(); VECTORS];
        let groups = cols / LANES;
        // SAFETY: the caller's promise: a row and vectors of `cols` elements; a prefetch never faults.
        unsafe {
            for at in (0..groups).map(|group| group * LANES) {
                _mm_prefetch::<_MM_HINT_T0>(w.add(at).cast::<i8>().wrapping_add(AHEAD));
                let (first, second) = (W::eight(w.add(at), false), W::eight(w.add(at), true));
                for v in 0..VECTORS {
                    let x = x.add(v * cols + at);
                    low[v] = _mm256_fmadd_ps(first, _mm256_loadu_ps(x), low[v]);
                    high[v] = _mm256_fmadd_ps(second, _mm256_loadu_ps(x.add(HALF)), high[v]);
                }
            }
            for v in 0..VECTORS {
                let mut lanes = [0f32; LANES];
                _mm256_storeu_ps(lanes.as_mut_ptr(), low[v]);
                _mm256_storeu_ps(lanes.as_mut_ptr().add(HALF), high[v]);
                let total = rest(w, x.add(v * cols), groups * LANES..cols, sum(lanes));
                *target.to.add(v * target.stride) = total;
            }
        }
    }

    /// Adds what is left over behind the last group.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn rest<W: Weight>(w: *const W, x: *const f32, left: std::ops::Range<usize>, sum: f32) -> f32 {
        // SAFETY: the caller's promise.
        left.fold(sum, |sum, i| unsafe { (*w.add(i)).wide().mul_add(*x.add(i), sum) })
    }

    /// A strip of rows against all vectors, block after block: its weights are widened once a block, and what comes
    /// after them is asked of memory meanwhile.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn strip<W: Weight>(
        w: *const W,
        cols: usize,
        x: *const f32,
        count: usize,
        sums: &mut [f32],
        wide: &mut [f32],
        target: Target,
    ) {
        let groups = cols / LANES;
        // Blocks of equal length.
        let block = groups.div_ceil(groups.div_ceil(BLOCK).max(1)).max(1);
        sums.fill(0.0);
        // SAFETY: the caller's promise: `STRIP` rows and `count` vectors of `cols` elements; `sums` and `wide` were made
        // for them.
        unsafe {
            for first in (0..groups).step_by(block) {
                let here = block.min(groups - first);
                let from = w.add(first * LANES);
                let (wide, row) = match W::as_wide(from) {
                    Some(wide) => (wide, cols),
                    None => {
                        widen(from, cols, here, wide.as_mut_ptr());
                        (wide.as_ptr(), here * LANES)
                    }
                };
                let mut vector = 0;
                while vector < count {
                    let x = x.add(vector * cols + first * LANES);
                    let to = sums.as_mut_ptr().add(vector * LANES);
                    let below = (wide.add(3 * row), to.add(3 * count * LANES));
                    let size = (here, row, cols, count);
                    let next = from.wrapping_add(STRIP * cols);
                    match (vector, count - vector) {
                        // More than `FEWEST` vectors: the first tiles are full ones.
                        (0, _) => {
                            tile::<W, 3, 4, true>(wide, x, to, size, next);
                            tile::<W, 3, 4, true>(below.0, x, below.1, size, next.wrapping_add(3 * cols));
                        }
                        (_, 1) => tile::<W, STRIP, 1, false>(wide, x, to, size, next),
                        (_, 2) => tile::<W, STRIP, 2, false>(wide, x, to, size, next),
                        (_, 3) => {
                            tile::<W, 3, 3, false>(wide, x, to, size, next);
                            tile::<W, 3, 3, false>(below.0, x, below.1, size, next);
                        }
                        _ => {
                            tile::<W, 3, 4, false>(wide, x, to, size, next);
                            tile::<W, 3, 4, false>(below.0, x, below.1, size, next);
                        }
                    }
                    vector += 4;
                }
            }
            for r in 0..STRIP {
                for v in 0..count {
                    let mut lanes = [0f32; LANES];
                    lanes.copy_from_slice(&sums[(r * count + v) * LANES..][..LANES]);
                    let (w, x) = (w.add(r * cols), x.add(v * cols));
                    *target.to.add(v * target.stride + r) = rest(w, x, groups * LANES..cols, sum(lanes));
                }
            }
        }
    }

    /// Widens some groups of a strip's rows.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn widen<W: Weight>(from: *const W, cols: usize, groups: usize, to: *mut f32) {
        // SAFETY: the caller's promise: `STRIP` rows of `groups` groups on either side.
        unsafe {
            for r in 0..STRIP {
                let (from, to) = (from.add(r * cols), to.add(r * groups * LANES));
                for at in (0..groups).map(|group| group * LANES) {
                    _mm256_storeu_ps(to.add(at), W::eight(from.add(at), false));
                    _mm256_storeu_ps(to.add(at + HALF), W::eight(from.add(at), true));
                }
            }
        }
    }

    /// Some groups of `ROWS` rows of wide weights, `row` apart, against `VECTORS` vectors, `cols` apart, each sum in a
    /// register: first the lower half of the lanes, then the upper. Where it `ASKS`, memory is asked meanwhile for the same
    /// groups of the rows at `next`.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile<W: Weight, const ROWS: usize, const VECTORS: usize, const ASKS: bool>(
        w: *const f32,
        x: *const f32,
        sums: *mut f32,
        (groups, row, cols, count): (usize, usize, usize, usize),
        next: *const W,
    ) {
        for half in [0, HALF] {
            let mut held = [[_mm256_setzero_ps(); VECTORS]; ROWS];
            // SAFETY: the caller's promise.
            unsafe {
                for (r, held) in held.iter_mut().enumerate() {
                    for (v, held) in held.iter_mut().enumerate() {
                        *held = _mm256_loadu_ps(sums.add((r * count + v) * LANES + half));
                    }
                }
                for at in (0..groups).map(|group| group * LANES + half) {
                    if ASKS && half == 0 {
                        for r in 0..ROWS {
                            _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(r * cols + at).cast::<i8>());
                        }
                    }
                    let mut weights = [_mm256_setzero_ps(); ROWS];
                    for (r, weights) in weights.iter_mut().enumerate() {
                        *weights = _mm256_loadu_ps(w.add(r * row + at));
                    }
                    for v in 0..VECTORS {
                        let x = _mm256_loadu_ps(x.add(v * cols + at));
                        for (held, weights) in held.iter_mut().zip(weights) {
                            held[v] = _mm256_fmadd_ps(weights, x, held[v]);
                        }
                    }
                }
                for (r, held) in held.iter().enumerate() {
                    for (v, held) in held.iter().enumerate() {
                        _mm256_storeu_ps(sums.add((r * count + v) * LANES + half), *held);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times<W: Weight>(weights: &[W], cols: usize, x: &[f32], count: usize) -> Vec<f32> {
        let rows = weights.len() / cols;
        let mut y = vec![0f32; rows * count];
        // SAFETY: `y` has an element for every row and vector.
        unsafe {
            rows_times(
                weights,
                cols,
                &arrange::<W>(x, cols),
                count,
                Target { to: y.as_mut_ptr(), stride: rows },
            )
        };
        y
    }

    fn check<W: Weight>(
        weights: &[W],
        cols: usize,
        x: &[f32],
        count: usize,
    ) -> std::result::Result<(), TestCaseError> {
        let rows = weights.len() / cols;
        let together = times(weights, cols, x, count);
        for (v, x) in x.chunks_exact(cols).enumerate() {
            // One vector alone gives the very same bits, and so does any part of the rows.
            prop_assert_eq!(&times(weights, cols, x, 1)[..], &together[v * rows..(v + 1) * rows]);
            let from = rows / 2;
            prop_assert_eq!(
                &times(&weights[from * cols..], cols, x, 1)[..],
                &together[v * rows + from..(v + 1) * rows]
            );
            for (row, w) in weights.chunks_exact(cols).enumerate() {
                let exact: f64 = w.iter().zip(x).map(|(w, x)| f64::from(w.wide()) * f64::from(*x)).sum();
                prop_assert!((f64::from(together[v * rows + row]) - exact).abs() < 1e-4);
                let scalar = dot(w, &arrange::<W>(x, cols));
                prop_assert!((together[v * rows + row] - scalar).abs() < 1e-4);
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_number_of_vectors_gives_the_same_sums(rows in 1usize..20, cols in 1usize..120, count in 1usize..18, seed in 0u32..1000) {
            let value = |i: usize| (((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 12) as f32 / 1_048_576.0 - 0.5) * 2.0;
            let x: Vec<f32> = (0..count * cols).map(|i| value(i + 7)).collect();
            let wide: Vec<f32> = (0..rows * cols).map(value).collect();
            check(&wide, cols, &x, count)?;
            let half: Vec<bf16> = wide.iter().map(|w| bf16::from_f32(*w)).collect();
            check(&half, cols, &x, count)?;
        }
    }
}
