//! The products for processors with AVX2 and AVX-512: one text for both, in registers of 8 or of 16 lanes, and the same
//! sums to the last bit.

use std::arch::x86_64::{
    __m128, __m256, __m512, __m512bh, _MM_HINT_T0, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps,
    _mm_movehl_ps, _mm_movelh_ps, _mm_prefetch, _mm_shuffle_ps, _mm_storeu_ps, _mm256_add_ps,
    _mm256_castpd_ps, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_setzero_ps, _mm512_castps_pd, _mm512_castps512_ps256, _mm512_dpbf16_ps, _mm512_extractf64x4_pd,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_permutexvar_ps, _mm512_setzero_ps,
};

use super::pairs::Pair;
use super::{Factor, LANES, STRIP, TOGETHER, Target, Weight};

/// Bytes that are asked of memory ahead of one row: twice what it sends in the time that it takes to answer.
const AHEAD: usize = 8192;

/// Consecutive lanes of a group.
///
/// # Safety
/// (of every function) The processor has the instructions, and pointers reach `WIDTH` numbers.
trait Register: Copy {
    /// How many lanes.
    const WIDTH: usize;
    unsafe fn zero() -> Self;
    unsafe fn load(from: *const f32) -> Self;
    /// `a * b + self`.
    unsafe fn plus(self, a: Self, b: Self) -> Self;
    /// The first and the last eight of all lanes of a group, in the order of [`Weight::lane`].
    unsafe fn halves<W: Factor>(group: [Self; 2]) -> [__m256; 2];
}

/// Lanes that meet such weights.
///
/// # Safety
/// As [`Register`].
trait Meets<W: Factor>: Register {
    /// The lanes from `lane` on of the group of weights at `from`.
    unsafe fn weights(from: *const W, lane: usize) -> Self;
}

impl<W: Weight> Meets<W> for __m256 {
    #[inline(always)]
    unsafe fn weights(from: *const W, lane: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { W::eight(from, lane > 0) }
    }
}

impl<W: Weight> Meets<W> for __m512 {
    #[inline(always)]
    unsafe fn weights(from: *const W, _: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { W::sixteen(from) }
    }
}

impl Register for __m256 {
    const WIDTH: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY (here and below): the caller's promise.
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn plus(self, a: Self, b: Self) -> Self {
        unsafe { _mm256_fmadd_ps(a, b, self) }
    }
    #[inline(always)]
    unsafe fn halves<W: Factor>(group: [Self; 2]) -> [__m256; 2] {
        group
    }
}

impl Register for __m512 {
    const WIDTH: usize = 16;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY (here and below): the caller's promise.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn plus(self, a: Self, b: Self) -> Self {
        unsafe { _mm512_fmadd_ps(a, b, self) }
    }
    #[inline(always)]
    unsafe fn halves<W: Factor>([all, _]: [Self; 2]) -> [__m256; 2] {
        let mut order = [0i32; LANES];
        (0..LANES).for_each(|i| order[W::lane(i)] = i as i32);
        unsafe {
            let all = _mm512_permutexvar_ps(_mm512_loadu_si512(order.as_ptr().cast()), all);
            let upper = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(all));
            [_mm512_castps512_ps256(all), _mm256_castpd_ps(upper)]
        }
    }
}

/// With AVX2 and FMA.
///
/// # Safety
/// As [`super::rows_times`], whose lengths hold.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2<W: Weight>(weights: &[W], cols: usize, x: &[f32], count: usize, target: Target) {
    // SAFETY: the caller's promise.
    unsafe { rows_times::<__m256, W, STRIP, 4>(weights, cols, x, count, target) }
}

/// With AVX-512.
///
/// # Safety
/// As [`super::rows_times`], whose lengths hold.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
pub(super) unsafe fn avx512<W: Weight>(weights: &[W], cols: usize, x: &[f32], count: usize, target: Target) {
    // SAFETY: the caller's promise.
    unsafe { rows_times::<__m512, W, STRIP, TOGETHER>(weights, cols, x, count, target) }
}

/// Sums in f32 of products of pairs of bf16.
#[derive(Clone, Copy)]
struct PairSums(__m512);

impl Register for PairSums {
    const WIDTH: usize = 16;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY (here and below): the caller's promise.
        Self(unsafe { _mm512_setzero_ps() })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn plus(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller's promise; a vector of bf16 is so many bits of any kind.
        unsafe {
            let [a, b] = [a.0, b.0].map(|pairs| std::mem::transmute::<__m512, __m512bh>(pairs));
            Self(_mm512_dpbf16_ps(self.0, a, b))
        }
    }
    #[inline(always)]
    unsafe fn halves<W: Factor>(group: [Self; 2]) -> [__m256; 2] {
        unsafe { __m512::halves::<W>(group.map(|sums| sums.0)) }
    }
}

impl Meets<Pair> for PairSums {
    #[inline(always)]
    unsafe fn weights(from: *const Pair, _: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::load(from.cast()) }
    }
}

/// With AVX-512 and its products of pairs of bf16; `cols` and `x` count pairs.
///
/// # Safety
/// As [`super::rows_times`], whose lengths hold.
#[target_feature(enable = "avx512f,avx512vl,avx512bf16,avx2,fma")]
pub(super) unsafe fn pairs(weights: &[Pair], cols: usize, x: &[f32], count: usize, target: Target) {
    // SAFETY: the caller's promise.
    unsafe { rows_times::<PairSums, Pair, STRIP, TOGETHER>(weights, cols, x, count, target) }
}

/// `TALL` rows and `WIDE` vectors are as many sums as there are registers for.
#[inline(always)]
unsafe fn rows_times<R: Meets<W>, W: Factor, const TALL: usize, const WIDE: usize>(
    weights: &[W],
    cols: usize,
    x: &[f32],
    count: usize,
    target: Target,
) {
    let rows = weights.len() / cols;
    // Memory is fastest with one stream, so one vector takes row after row.
    let together = if count > 1 { rows / TALL * TALL } else { 0 };
    // SAFETY: every row and vector lies within its slice; the caller's promise for the target.
    unsafe {
        let at = |row: usize| (weights.as_ptr().add(row * cols), Target { to: target.to.add(row), ..target });
        for (w, to) in (0..together).step_by(TALL).map(at) {
            self::rows::<R, W, TALL, WIDE>(w, cols, x, count, to);
        }
        for (w, to) in (together..rows).map(at) {
            self::rows::<R, W, 1, WIDE>(w, cols, x, count, to);
        }
    }
}

/// `ROWS` rows against all vectors, up to `WIDE` of them at a time.
#[inline(always)]
unsafe fn rows<R: Meets<W>, W: Factor, const ROWS: usize, const WIDE: usize>(
    w: *const W,
    cols: usize,
    x: &[f32],
    count: usize,
    target: Target,
) {
    let mut vector = 0;
    while vector < count {
        // SAFETY: the caller's promise.
        unsafe {
            let x = x.as_ptr().add(vector * cols);
            let to = Target { to: target.to.add(vector * target.stride), ..target };
            vector += match count - vector {
                left if left >= WIDE => tile::<R, W, ROWS, WIDE>(w, cols, x, to),
                4.. => tile::<R, W, ROWS, 4>(w, cols, x, to),
                2.. => tile::<R, W, ROWS, 2>(w, cols, x, to),
                _ => tile::<R, W, ROWS, 1>(w, cols, x, to),
            };
        }
    }
}

/// `ROWS` rows against `VECTORS` vectors, each sum in a register, as many lanes at a time as a register has; what comes
/// after the rows is asked of memory meanwhile. Gives the number of vectors.
#[inline(always)]
unsafe fn tile<R: Meets<W>, W: Factor, const ROWS: usize, const VECTORS: usize>(
    w: *const W,
    cols: usize,
    x: *const f32,
    target: Target,
) -> usize {
    let groups = cols / LANES;
    // SAFETY: the caller's promise: rows and vectors of `cols` elements.
    unsafe {
        let first = held::<R, W, ROWS, VECTORS>(w, cols, x, 0);
        // With 16 lanes the second is not used.
        let second = if R::WIDTH < LANES { held::<R, W, ROWS, VECTORS>(w, cols, x, R::WIDTH) } else { first };
        for r in 0..ROWS {
            let halves = |v: usize| R::halves::<W>([first[r][v], second[r][v]]);
            let put = |v: usize, sum: f32| {
                let sum = rest(w.add(r * cols), x.add(v * cols), groups * LANES..cols, sum);
                *target.to.add(v * target.stride + r) = sum;
            };
            let fours = VECTORS / 4 * 4;
            for v in (0..fours).step_by(4) {
                let totals = totals([halves(v), halves(v + 1), halves(v + 2), halves(v + 3)]);
                totals.into_iter().enumerate().for_each(|(i, total)| put(v + i, total));
            }
            (fours..VECTORS).for_each(|v| put(v, total(halves(v))));
        }
    }
    VECTORS
}

/// The sums of a tile from lane `lane` on.
#[inline(always)]
unsafe fn held<R: Meets<W>, W: Factor, const ROWS: usize, const VECTORS: usize>(
    w: *const W,
    cols: usize,
    x: *const f32,
    lane: usize,
) -> [[R; VECTORS]; ROWS] {
    // SAFETY: the caller's promise; a prefetch never faults.
    unsafe {
        let mut held = [[R::zero(); VECTORS]; ROWS];
        for at in (0..cols / LANES).map(|group| group * LANES) {
            let mut weights = [R::zero(); ROWS];
            for (r, weights) in weights.iter_mut().enumerate() {
                let w = w.add(r * cols + at);
                if lane == 0 {
                    _mm_prefetch::<_MM_HINT_T0>(w.cast::<i8>().wrapping_add(AHEAD));
                }
                *weights = R::weights(w, lane);
            }
            for v in 0..VECTORS {
                let x = R::load(x.add(v * cols + at + lane));
                for (held, weights) in held.iter_mut().zip(weights) {
                    held[v] = held[v].plus(weights, x);
                }
            }
        }
        held
    }
}

/// Adds what is left over behind the last group.
#[inline(always)]
unsafe fn rest<W: Factor>(w: *const W, x: *const f32, left: std::ops::Range<usize>, sum: f32) -> f32 {
    // SAFETY: the caller's promise.
    left.fold(sum, |sum, i| unsafe { (*w.add(i)).fused(*x.add(i), sum) })
}

/// Adds eight lanes to the other eight, and four of these to the other four.
#[inline(always)]
unsafe fn four_lanes([first, last]: [__m256; 2]) -> __m128 {
    // SAFETY: the caller's promise: the processor has AVX2.
    unsafe {
        let eight = _mm256_add_ps(first, last);
        _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight))
    }
}

/// Adds up the lanes of a sum by halves, as [`super::sum`] does.
#[inline(always)]
unsafe fn total(halves: [__m256; 2]) -> f32 {
    // SAFETY: the caller's promise: the processor has AVX2.
    unsafe {
        let four = four_lanes(halves);
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

/// The same of four sums at once.
#[inline(always)]
unsafe fn totals(halves: [[__m256; 2]; 4]) -> [f32; 4] {
    let mut totals = [0f32; 4];
    // SAFETY: the caller's promise: the processor has AVX2.
    unsafe {
        let [a, b, c, d] =
            [four_lanes(halves[0]), four_lanes(halves[1]), four_lanes(halves[2]), four_lanes(halves[3])];
        // Two lanes of each of two sums.
        let ab = _mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a));
        let cd = _mm_add_ps(_mm_movelh_ps(c, d), _mm_movehl_ps(d, c));
        let even = _mm_shuffle_ps::<0b10_00_10_00>(ab, cd);
        let odd = _mm_shuffle_ps::<0b11_01_11_01>(ab, cd);
        _mm_storeu_ps(totals.as_mut_ptr(), _mm_add_ps(even, odd));
    }
    totals
}
