//! Products of a weight matrix with a few vectors, as decoding makes them: every weight is read from memory once.
//!
//! A sum of products has one order whatever the number of vectors: [`LANES`] partial sums, each over every `LANES`-th
//! term, then these by halves, then what is left over. So an answer does not depend on how many questions are decoded
//! together. (Weights of two bytes are taken apart into the even and the odd ones of sixteen, which needs no shuffle;
//! their vectors are put into the same order once, see [`arrange`].)

use half::bf16;

/// Partial sums of one element of the result; two AVX2 registers.
pub(crate) const LANES: usize = 16;
/// Rows of the matrix in one tile of registers.
const TILE_ROWS: usize = 3;

/// A weight that is widened to f32 in registers.
pub(crate) trait Weight: Copy + Send + Sync + 'static {
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
fn sum(mut lanes: [f32; LANES]) -> f32 {
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
        __m256, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps,
        _mm256_storeu_ps,
    };

    use super::{LANES, TILE_ROWS, Target, Weight, sum};

    /// Bytes that are asked of memory ahead of one row.
    const AHEAD: usize = 2048;

    /// Three rows at a time against two vectors at a time; one vector alone takes row after row, since memory is
    /// fastest with one stream.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn rows_times<W: Weight>(
        weights: &[W],
        cols: usize,
        x: &[f32],
        count: usize,
        target: Target,
    ) {
        let rows = weights.len() / cols;
        // SAFETY: every row and vector lies within its slice; the caller's promise for the target.
        unsafe {
            let mut row = 0;
            while row < rows {
                let w = weights.as_ptr().add(row * cols);
                let to = Target { to: target.to.add(row), ..target };
                if count > 1 && rows - row >= TILE_ROWS {
                    strip::<W, TILE_ROWS>(w, cols, x.as_ptr(), count, to);
                    row += TILE_ROWS;
                } else {
                    strip::<W, 1>(w, cols, x.as_ptr(), count, to);
                    row += 1;
                }
            }
        }
    }

    /// `ROWS` rows against all vectors.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn strip<W: Weight, const ROWS: usize>(
        w: *const W,
        cols: usize,
        x: *const f32,
        count: usize,
        target: Target,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut vector = 0;
            while vector < count {
                let x = x.add(vector * cols);
                let to = Target { to: target.to.add(vector * target.stride), ..target };
                match (vector == 0, count - vector) {
                    (true, 1) => tile::<W, ROWS, 1, true>(w, cols, x, to),
                    (true, _) => tile::<W, ROWS, 2, true>(w, cols, x, to),
                    (false, 1) => tile::<W, ROWS, 1, false>(w, cols, x, to),
                    (false, _) => tile::<W, ROWS, 2, false>(w, cols, x, to),
                }
                vector += 2;
            }
        }
    }

    /// `ROWS` rows against `VECTORS` vectors, all sums in registers. The first tile of a strip asks memory for what
    /// comes after it.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile<W: Weight, const ROWS: usize, const VECTORS: usize, const FIRST: bool>(
        w: *const W,
        cols: usize,
        x: *const f32,
        target: Target,
    ) {
        let mut low = [[_mm256_setzero_ps(); VECTORS]; ROWS];
        let mut high = [[_mm256_setzero_ps(); VECTORS]; ROWS];
        let groups = cols / LANES;
        // SAFETY: the caller's promise: `ROWS` rows and `VECTORS` vectors of `cols` elements; a prefetch never faults.
        unsafe {
            for group in 0..groups {
                let at = group * LANES;
                if FIRST {
                    for r in 0..ROWS {
                        let w = w.add(r * cols + at).cast::<i8>();
                        if ROWS == 1 {
                            _mm_prefetch::<_MM_HINT_T0>(w.wrapping_add(AHEAD));
                        } else {
                            _mm_prefetch::<_MM_HINT_T1>(w.wrapping_add(ROWS * cols * size_of::<W>()));
                        }
                    }
                }
                half::<W, ROWS, VECTORS>(w.add(at), cols, x.add(at), false, &mut low);
                half::<W, ROWS, VECTORS>(w.add(at), cols, x.add(at), true, &mut high);
            }
            for r in 0..ROWS {
                for v in 0..VECTORS {
                    let mut lanes = [0f32; LANES];
                    _mm256_storeu_ps(lanes.as_mut_ptr(), low[r][v]);
                    _mm256_storeu_ps(lanes.as_mut_ptr().add(LANES / 2), high[r][v]);
                    let mut total = sum(lanes);
                    for i in groups * LANES..cols {
                        total = (*w.add(r * cols + i)).wide().mul_add(*x.add(v * cols + i), total);
                    }
                    *target.to.add(v * target.stride + r) = total;
                }
            }
        }
    }

    /// Eight of the sixteen lanes.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn half<W: Weight, const ROWS: usize, const VECTORS: usize>(
        w: *const W,
        cols: usize,
        x: *const f32,
        second: bool,
        sums: &mut [[__m256; VECTORS]; ROWS],
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut wide = [_mm256_setzero_ps(); VECTORS];
            for (v, wide) in wide.iter_mut().enumerate() {
                *wide = _mm256_loadu_ps(x.add(v * cols + if second { LANES / 2 } else { 0 }));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let weights = W::eight(w.add(r * cols), second);
                for (sum, x) in sums.iter_mut().zip(wide) {
                    *sum = _mm256_fmadd_ps(weights, x, *sum);
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
