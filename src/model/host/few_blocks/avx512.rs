//! The products for processors with AVX-512 that multiply whole numbers (VNNI): two parts at a time, in a register of
//! which each has a half.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_castpd_ps,
    _mm256_castsi128_si256, _mm256_fmadd_ps, _mm256_inserti128_si256, _mm256_loadu_ps, _mm256_loadu_si256,
    _mm256_mask_set1_epi16, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_setzero_ps, _mm512_and_si512,
    _mm512_broadcast_i64x4, _mm512_castps_pd, _mm512_castps256_ps512, _mm512_castps512_ps256,
    _mm512_castsi256_si512, _mm512_cvtepi8_epi16, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi16, _mm512_cvtph_ps,
    _mm512_dpwssd_epi32, _mm512_extractf64x4_pd, _mm512_fmadd_ps, _mm512_inserti64x4, _mm512_load_ps,
    _mm512_load_si512, _mm512_mul_ps, _mm512_permutexvar_ps, _mm512_set1_epi16, _mm512_setzero_ps,
    _mm512_srli_epi16, _mm512_srlv_epi16,
};

use super::avx2::{AHEAD, eight_by_eight, total};
use super::{Blocks, HALF, PART, Pair, Q4_BYTES, Q4K_BYTES, Q8_BYTES, Rounded, Target};

/// Rows that several vectors meet at a time: these come from the nearest cache then.
const ROWS: usize = 4;
/// Vectors that meet so many rows at a time.
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,avx2,fma")]
pub(super) unsafe fn rows_times(rows: &[u8], x: &Rounded, target: Target) {
    // SAFETY: the caller's promise.
    unsafe {
        match x.format {
            Blocks::Q8_0 => of_format::<Q8_BYTES>(rows, x, target),
            Blocks::Q4_0 => of_format::<Q4_BYTES>(rows, x, target),
            Blocks::Q4k => of_format::<Q4K_BYTES>(rows, x, target),
        }
    }
}

/// The same for blocks of so many bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,avx2,fma")]
unsafe fn of_format<const BYTES: usize>(rows: &[u8], x: &Rounded, target: Target) {
    let line = x.format.line_bytes(x.length);
    // A vector alone waits for memory, which is read fastest in one piece; blocks of 4 bits still wait for instructions.
    let one_by_one = x.count() == 1 && BYTES == Q8_BYTES;
    let strips = if one_by_one { 0 } else { rows.len() / (ROWS * line) };
    let (strips, rest) = rows.split_at(strips * ROWS * line);
    // SAFETY: the caller's promise for rows and target.
    unsafe {
        for (strip, lines) in strips.chunks_exact(ROWS * line).enumerate() {
            strip_times::<BYTES, ROWS>(lines, x, Target { to: target.to.add(strip * ROWS), ..target });
        }
        let target = Target { to: target.to.add(strips.len() / line), ..target };
        for (row, line) in rest.chunks_exact(line).enumerate() {
            strip_times::<BYTES, 1>(line, x, Target { to: target.to.add(row), ..target });
        }
    }
}

/// `ROWS` rows with every vector, some of them at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,avx2,fma")]
unsafe fn strip_times<const BYTES: usize, const ROWS: usize>(lines: &[u8], x: &Rounded, target: Target) {
    let count = x.count();
    for vector in (0..count).step_by(VECTORS) {
        // SAFETY: the vectors lie within their slices; the caller's promise for the target.
        unsafe {
            let to = Target { to: target.to.add(vector * target.stride), ..target };
            let from = From {
                pairs: x.pairs.as_ptr().add(vector * x.pairs_each()),
                pairs_each: x.pairs_each(),
                sums: x.sums.as_ptr().add(vector * x.parts()),
                parts: x.parts(),
            };
            match count - vector {
                1 => rows_of::<BYTES, ROWS, 1>(lines, from, to),
                2 => rows_of::<BYTES, ROWS, 2>(lines, from, to),
                3 => rows_of::<BYTES, ROWS, 3>(lines, from, to),
                _ => rows_of::<BYTES, ROWS, VECTORS>(lines, from, to),
            }
        }
    }
}

/// `ROWS` rows below each other against `N` vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,avx2,fma")]
unsafe fn rows_of<const BYTES: usize, const ROWS: usize, const N: usize>(
    lines: &[u8],
    x: From,
    target: Target,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match BYTES {
            Q4K_BYTES => lines.chunks_exact(lines.len() / ROWS).enumerate().for_each(|(row, line)| {
                q4k::<N>(line, x, Target { to: target.to.add(row), ..target });
            }),
            _ => by_pairs::<BYTES, ROWS, N>(lines, x, target),
        }
    }
}

/// The terms of a pair of parts, in eight lanes each.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,avx2,fma")]
unsafe fn terms(first: __m512i, second: __m512i, x: &Pair) -> __m512 {
    // SAFETY: the loads are of whole lines of a pair.
    unsafe {
        let terms = _mm512_load_si512(x.begins.as_ptr().cast());
        let terms = _mm512_dpwssd_epi32(terms, first, _mm512_load_si512(x.values.as_ptr().cast()));
        let terms = _mm512_dpwssd_epi32(terms, second, _mm512_load_si512(x.values[2..].as_ptr().cast()));
        _mm512_cvtepi32_ps(terms)
    }
}

/// Adds the lanes of one element by halves.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,avx2,fma")]
fn total_of(lanes: __m512) -> f32 {
    let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(lanes)));
    total([_mm512_castps512_ps256(lanes), upper])
}

/// Sixteen bytes each of two blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,avx2,fma")]
unsafe fn both(first: *const u8, second: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let first = _mm256_castsi128_si256(_mm_loadu_si128(first.cast()));
        _mm256_inserti128_si256::<1>(first, _mm_loadu_si128(second.cast()))
    }
}

/// The weights of two blocks of `BYTES` bytes: their first halves and their second halves. Those of `Q4_0` are counted
/// from 0, which the vectors' beginnings make up for.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,avx2,fma")]
unsafe fn halves<const BYTES: usize>(blocks: *const u8) -> (__m512i, __m512i) {
    // SAFETY: the caller's promise: two whole blocks.
    unsafe {
        let at = |i: usize| both(blocks.add(2 + i), blocks.add(BYTES + 2 + i));
        if BYTES == Q8_BYTES {
            return (_mm512_cvtepi8_epi16(at(0)), _mm512_cvtepi8_epi16(at(HALF)));
        }
        let bytes = _mm512_cvtepu8_epi16(at(0));
        (_mm512_and_si512(bytes, _mm512_set1_epi16(0x0f)), _mm512_srli_epi16::<4>(bytes))
    }
}

/// The scales of two blocks of `BYTES` bytes, in eight lanes each.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,avx2,fma")]
unsafe fn scales<const BYTES: usize>(blocks: *const u8) -> __m512 {
    // SAFETY: the caller's promise: two whole blocks.
    let [first, second] = [0, BYTES].map(|at| unsafe { blocks.add(at).cast::<i16>().read_unaligned() });
    _mm512_cvtph_ps(_mm256_mask_set1_epi16(_mm256_set1_epi16(first), 0xff00, second))
}

/// The first lane in the lower eight, the second in the upper.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,avx2,fma")]
fn spread(first: i32) -> __m512i {
    let (lower, upper) = (_mm256_set1_epi32(first), _mm256_set1_epi32(first + 1));
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(lower), upper)
}

/// `ROWS` rows of blocks of a part each (`Q8_0` or `Q4_0`, by their bytes) against `N` vectors.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,avx2,fma")]
unsafe fn by_pairs<const BYTES: usize, const ROWS: usize, const N: usize>(
    lines: &[u8],
    x: From,
    target: Target,
) {
    let mut held = [[_mm512_setzero_ps(); N]; ROWS];
    let line = lines.len() / ROWS;
    // SAFETY: the caller's promise: lines of blocks, and vectors of as many parts, filled up to whole pairs; a prefetch
    // never faults.
    unsafe {
        let mut step = |pair: usize, row: usize, blocks: *const u8| {
            let (first, second) = halves::<BYTES>(blocks);
            let scales = scales::<BYTES>(blocks);
            for (v, held) in held[row].iter_mut().enumerate() {
                let x = &*x.pairs.add(v * x.pairs_each + pair);
                let factors = _mm512_mul_ps(scales, _mm512_load_ps(x.scales.as_ptr().cast()));
                *held = _mm512_fmadd_ps(terms(first, second, x), factors, *held);
            }
        };
        let pairs = line / (2 * BYTES);
        // Every row is asked for its share ahead, and from its end on the row that takes its place.
        let (mut ahead, mut from) = (AHEAD / ROWS % line, AHEAD / ROWS / line * lines.len());
        for pair in 0..pairs {
            for row in 0..ROWS {
                let asked = lines.as_ptr().wrapping_add(from + row * line + ahead);
                _mm_prefetch::<_MM_HINT_T0>(asked.cast());
                if BYTES == Q8_BYTES {
                    _mm_prefetch::<_MM_HINT_T0>(asked.wrapping_add(BYTES).cast());
                }
                step(pair, row, lines.as_ptr().add(row * line + pair * 2 * BYTES));
            }
            ahead += 2 * BYTES;
            if ahead >= line {
                (ahead, from) = (ahead - line, from + lines.len());
            }
        }
        if line > pairs * 2 * BYTES {
            // A block without another is paired with one of zeros.
            for (row, line) in lines.chunks_exact(line).enumerate() {
                let mut filled = [[0u8; BYTES]; 2];
                filled[0].copy_from_slice(&line[pairs * 2 * BYTES..]);
                step(pairs, row, filled.as_ptr().cast());
            }
        }
        for (row, held) in held.into_iter().enumerate() {
            for (v, held) in held.into_iter().enumerate() {
                *target.to.add(v * target.stride + row) = total_of(held);
            }
        }
    }
}

/// One row of blocks of `Q4_K` against `N` vectors.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,avx2,fma")]
unsafe fn q4k<const N: usize>(line: &[u8], x: From, target: Target) {
    let mut held = [_mm512_setzero_ps(); N];
    let mut least = [_mm256_setzero_ps(); N];
    let four = _mm512_set1_epi16(0x0f);
    let shifts = |lower: i16, upper: i16| {
        let lower = _mm512_castsi256_si512(_mm256_set1_epi16(lower));
        _mm512_inserti64x4::<1>(lower, _mm256_set1_epi16(upper))
    };
    // Both parts of a pair have their weights in the same bytes, one in the lower and one in the upper four bits.
    let (even, odd) = (shifts(0, 4), shifts(8, 12));
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
                let bytes = _mm256_loadu_si256(block.as_ptr().add(16 + pair * PART).cast());
                let bytes = _mm512_broadcast_i64x4(bytes);
                let even = _mm512_and_si512(_mm512_srlv_epi16(bytes, even), four);
                let odd = _mm512_and_si512(_mm512_srlv_epi16(bytes, odd), four);
                let scales = _mm512_permutexvar_ps(spread(2 * pair as i32), _mm512_castps256_ps512(scales));
                for (v, held) in held.iter_mut().enumerate() {
                    let x = &*x.pairs.add(v * x.pairs_each + 4 * index + pair);
                    let factors = _mm512_mul_ps(scales, _mm512_load_ps(x.scales.as_ptr().cast()));
                    *held = _mm512_fmadd_ps(terms(even, odd, x), factors, *held);
                }
            }
        }
        for v in 0..N {
            let least = total([least[v], _mm256_setzero_ps()]);
            *target.to.add(v * target.stride) = total_of(held[v]) - least;
        }
    }
}
