//! The products for processors with AVX2: a part at a time.

use std::arch::x86_64::{
    __m256, __m256i, _MM_HINT_T0, _mm_add_ps, _mm_add_ss, _mm_cvtsi64_si128, _mm_cvtss_f32, _mm_loadu_si128,
    _mm_movehdup_ps, _mm_movehl_ps, _mm_prefetch, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256,
    _mm256_castps256_ps128, _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16,
    _mm256_cvtepu8_epi32, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_load_ps, _mm256_load_si256,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_ps, _mm256_permutevar8x32_ps,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_srli_epi16,
    _mm256_sub_epi16,
};

use super::{Blocks, HALF, PART, Pair, Q4_BYTES, Q4K_BYTES, Q8_BYTES, Rounded, Target, blocks};

/// Bytes that are asked of memory ahead of a row.
pub(super) const AHEAD: usize = 8192;
/// Vectors that meet a row at a time.
const VECTORS: usize = 4;

/// Vectors from one on, as pointers, with their distances: pairs of parts, and the parts' sums.
#[derive(Clone, Copy)]
struct From {
    pairs: *const Pair,
    pairs_each: usize,
    sums: *const f32,
    parts: usize,
}

/// Every row with every vector.
///
/// # Safety
/// As [`super::rows_times`], and the vectors were rounded for these instructions.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn rows_times(rows: &[u8], x: &Rounded, target: Target) {
    let count = x.count();
    for (row, line) in rows.chunks_exact(x.format.line_bytes(x.length)).enumerate() {
        for vector in (0..count).step_by(VECTORS) {
            // SAFETY: row and vectors lie within their slices; the caller's promise for the target.
            unsafe {
                let to = Target { to: target.to.add(vector * target.stride + row), ..target };
                let from = From {
                    pairs: x.pairs.as_ptr().add(vector * x.pairs_each()),
                    pairs_each: x.pairs_each(),
                    sums: x.sums.as_ptr().add(vector * x.parts()),
                    parts: x.parts(),
                };
                match count - vector {
                    1 => line_times::<1>(x.format, line, from, to),
                    2 => line_times::<2>(x.format, line, from, to),
                    3 => line_times::<3>(x.format, line, from, to),
                    _ => line_times::<VECTORS>(x.format, line, from, to),
                }
            }
        }
    }
}

/// One row against `N` vectors.
#[target_feature(enable = "avx2,fma")]
unsafe fn line_times<const N: usize>(format: Blocks, line: &[u8], x: From, target: Target) {
    // SAFETY: the caller's promise.
    unsafe {
        match format {
            Blocks::Q8_0 => by_parts::<Q8_BYTES, N>(line, x, target),
            Blocks::Q4_0 => by_parts::<Q4_BYTES, N>(line, x, target),
            Blocks::Q4k => q4k::<N>(line, x, target),
        }
    }
}

/// The terms of a part of a pair, in eight lanes.
#[target_feature(enable = "avx2,fma")]
unsafe fn terms(first: __m256i, second: __m256i, x: &Pair, part: usize) -> __m256 {
    // SAFETY: the loads are of whole halves of lines of a pair.
    unsafe {
        let first = _mm256_madd_epi16(first, _mm256_load_si256(x.values[part].as_ptr().cast()));
        let second = _mm256_madd_epi16(second, _mm256_load_si256(x.values[2 + part].as_ptr().cast()));
        _mm256_cvtepi32_ps(_mm256_add_epi32(first, second))
    }
}

/// Adds the sixteen lanes of one element by halves.
#[target_feature(enable = "avx2,fma")]
pub(super) fn total(lanes: [__m256; 2]) -> f32 {
    let eight = _mm256_add_ps(lanes[0], lanes[1]);
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// The weights of a block of `BYTES` bytes, its first and its second half.
#[target_feature(enable = "avx2,fma")]
unsafe fn halves<const BYTES: usize>(block: *const u8) -> (__m256i, __m256i) {
    // SAFETY: the caller's promise: a whole block.
    unsafe {
        if BYTES == Q8_BYTES {
            let at = |i: usize| _mm256_cvtepi8_epi16(_mm_loadu_si128(block.add(2 + i).cast()));
            return (at(0), at(HALF));
        }
        let bytes = _mm256_cvtepu8_epi16(_mm_loadu_si128(block.add(2).cast()));
        let zero = _mm256_set1_epi16(blocks::Q4_ZERO as i16);
        let first = _mm256_and_si256(bytes, _mm256_set1_epi16(0x0f));
        (_mm256_sub_epi16(first, zero), _mm256_sub_epi16(_mm256_srli_epi16::<4>(bytes), zero))
    }
}

/// One row of blocks of a part each (`Q8_0` or `Q4_0`, by their bytes) against `N` vectors.
#[target_feature(enable = "avx2,fma")]
unsafe fn by_parts<const BYTES: usize, const N: usize>(line: &[u8], x: From, target: Target) {
    let mut held = [[_mm256_setzero_ps(); 2]; N];
    // SAFETY: the caller's promise: a line of blocks, and vectors of as many parts; a prefetch never faults.
    unsafe {
        let mut step = |part: usize, lanes: usize| {
            let block = line.as_ptr().add(part * BYTES);
            _mm_prefetch::<_MM_HINT_T0>(block.wrapping_add(AHEAD).cast());
            let scale = _mm256_set1_ps(blocks::half(&*block.cast::<[u8; 2]>()));
            let (low, high) = halves::<BYTES>(block);
            for (v, held) in held.iter_mut().enumerate() {
                let x = &*x.pairs.add(v * x.pairs_each + part / 2);
                let factors = _mm256_mul_ps(scale, _mm256_load_ps(x.scales[lanes].as_ptr()));
                held[lanes] = _mm256_fmadd_ps(terms(low, high, x, lanes), factors, held[lanes]);
            }
        };
        for part in (0..x.parts / 2).map(|pair| 2 * pair) {
            step(part, 0);
            step(part + 1, 1);
        }
        if x.parts % 2 == 1 {
            step(x.parts - 1, 0);
        }
        for (v, held) in held.into_iter().enumerate() {
            *target.to.add(v * target.stride) = total(held);
        }
    }
}

/// One row of blocks of `Q4_K` against `N` vectors.
#[target_feature(enable = "avx2,fma")]
unsafe fn q4k<const N: usize>(line: &[u8], x: From, target: Target) {
    let mut held = [[_mm256_setzero_ps(); 2]; N];
    let mut least = [_mm256_setzero_ps(); N];
    let low = _mm256_set1_epi16(0x0f);
    // SAFETY: the caller's promise: a line of blocks, and vectors of as many parts; a prefetch never faults.
    unsafe {
        for (index, block) in line.as_chunks::<Q4K_BYTES>().0.iter().enumerate() {
            for ahead in [0, 64, 128] {
                _mm_prefetch::<_MM_HINT_T0>(block.as_ptr().wrapping_add(AHEAD + ahead).cast());
            }
            let [scales, lowest] = eight_by_eight(block);
            for (v, least) in least.iter_mut().enumerate() {
                let sums = _mm256_loadu_ps(x.sums.add(v * x.parts + 8 * index));
                *least = _mm256_fmadd_ps(lowest, sums, *least);
            }
            for pair in 0..4 {
                // Both parts of a pair have their weights in the same bytes: one in the lower, one in the upper four bits.
                let bytes = _mm256_loadu_si256(block.as_ptr().add(16 + pair * PART).cast());
                let upper = _mm256_srli_epi16::<4>(bytes);
                for (part, bytes) in [bytes, upper].into_iter().enumerate() {
                    let even = _mm256_and_si256(bytes, low);
                    let odd = _mm256_and_si256(_mm256_srli_epi16::<8>(bytes), low);
                    let which = _mm256_set1_epi32((2 * pair + part) as i32);
                    let scale = _mm256_permutevar8x32_ps(scales, which);
                    for (v, held) in held.iter_mut().enumerate() {
                        let x = &*x.pairs.add(v * x.pairs_each + 4 * index + pair);
                        let factors = _mm256_mul_ps(scale, _mm256_load_ps(x.scales[part].as_ptr()));
                        held[part] = _mm256_fmadd_ps(terms(even, odd, x, part), factors, held[part]);
                    }
                }
            }
        }
        for v in 0..N {
            let least = total([least[v], _mm256_setzero_ps()]);
            *target.to.add(v * target.stride) = total(held[v]) - least;
        }
    }
}

/// The scales and least values of a `Q4_K` block's eight parts, as floats.
#[target_feature(enable = "avx2,fma")]
pub(super) fn eight_by_eight(block: &[u8; Q4K_BYTES]) -> [__m256; 2] {
    let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let (a, b, both) = (word(4), word(8), word(12));
    // As `blocks::six_bits`, four bytes at a time.
    let (six, four, two) = (0x3f3f_3f3f, 0x0f0f_0f0f, 0x0303_0303);
    let scales = u64::from(a & six) | u64::from(both & four | (a >> 6 & two) << 4) << 32;
    let least = u64::from(b & six) | u64::from(both >> 4 & four | (b >> 6 & two) << 4) << 32;
    let [scales, least] = [scales, least]
        .map(|bytes| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes.cast_signed()))));
    [
        _mm256_mul_ps(scales, _mm256_set1_ps(blocks::half(block))),
        _mm256_mul_ps(least, _mm256_set1_ps(blocks::half(&block[2..]))),
    ]
}
