//! Products of a matrix in blocks with a few vectors, as decoding makes them: blocks are multiplied as they are.
//!
//! A vector is rounded once to whole numbers of 16 bits, every 32 of them with a scale of their own (an error below
//! 1/65,000 of the largest of the 32; the blocks' own is 1/254 and more). Then the terms of 32 products are added as
//! whole numbers, which is exact and has no order, and only these sums are scaled and added as floats, in an order that
//! is the same for any number of vectors: terms two by two in eight lanes, the lanes of every other part of 32 apart,
//! then all sixteen by halves.

use super::blocks::{self, Blocks, PART, Q4K_BYTES, Q8_BYTES};
use super::few::{LANES, Target, sum};

/// Vectors as whole numbers.
pub(crate) struct Rounded {
    /// The numbers; for blocks of 4 bits the even ones of a part stand before the odd ones, as bytes hold weights.
    values: Vec<i16>,
    /// What the numbers of a part are multiplied by.
    scales: Vec<f32>,
    /// The sum of a part, scaled.
    sums: Vec<f32>,
}

impl Rounded {
    /// Rounds vectors that divide into parts of 32.
    pub(crate) fn new(x: &[f32], format: Blocks) -> Self {
        let parts = x.len() / PART;
        let mut rounded =
            Self { values: vec![0; parts * PART], scales: vec![0.0; parts], sums: vec![0.0; parts] };
        round(x, format, &mut rounded.values, &mut rounded.scales, &mut rounded.sums);
        rounded
    }
}

#[inline(always)]
fn round_body<const FMA: bool>(
    x: &[f32],
    format: Blocks,
    values: &mut [i16],
    scales: &mut [f32],
    sums: &mut [f32],
) {
    const MOST: f32 = i16::MAX as f32;
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest whole number in the low bits
    let out = values.as_chunks_mut::<PART>().0.iter_mut().zip(scales.iter_mut().zip(sums));
    for (x, (values, (scale, sum))) in x.as_chunks::<PART>().0.iter().zip(out) {
        // Bits of magnitudes are ordered as these are, and what is no number is above all.
        let largest = x.iter().fold(0, |most, x| (x.to_bits() & 0x7fff_ffff).max(most));
        *scale = f32::from_bits(largest) / MOST;
        let inverse = if largest == 0 { 0.0 } else { MOST / f32::from_bits(largest) };
        let mut rounded = [0i16; PART];
        let mut total = 0;
        for (rounded, x) in rounded.iter_mut().zip(x) {
            *rounded = (x * inverse + ROUND).to_bits() as i16;
            total += i32::from(*rounded);
        }
        *sum = *scale * total as f32;
        match format {
            Blocks::Q8_0 => *values = rounded,
            Blocks::Q4k => {
                for i in 0..PART / 2 {
                    (values[i], values[PART / 2 + i]) = (rounded[2 * i], rounded[2 * i + 1]);
                }
            }
        }
    }
}

multiversion! {
    /// Rounds vectors part by part.
    pub fn round(x: &[f32], format: Blocks, values: &mut [i16], scales: &mut [f32], sums: &mut [f32]) { round_body }
}

/// Products of some rows (each in whole blocks, side by side, `cols` weights long) with `count` vectors.
///
/// # Panics
/// Where the slices do not fit `cols` and `count`.
///
/// # Safety
/// `target` reaches every element, and nothing else writes there meanwhile.
pub(crate) unsafe fn rows_times(
    format: Blocks,
    rows: &[u8],
    cols: usize,
    x: &Rounded,
    count: usize,
    target: Target,
) {
    let bytes = format.line_bytes(cols);
    assert!(bytes > 0 && rows.len().is_multiple_of(bytes) && format.fitting(cols) == Some(format));
    let parts = count * cols / PART;
    assert!(x.values.len() == parts * PART && x.scales.len() == parts && x.sums.len() == parts);
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the caller's promise, the lengths above, and the processor has the features.
        return unsafe { avx2::rows_times(format, rows, cols, x, count, target) };
    }
    for (row, line) in rows.chunks_exact(bytes).enumerate() {
        for vector in 0..count {
            // SAFETY: the caller's promise.
            unsafe { *target.to.add(vector * target.stride + row) = dot(format, line, cols, x, vector) };
        }
    }
}

/// One element on any processor.
fn dot(format: Blocks, line: &[u8], cols: usize, x: &Rounded, vector: usize) -> f32 {
    let parts = cols / PART;
    let values = x.values[vector * cols..].as_chunks::<PART>().0;
    let (scales, sums) = (&x.scales[vector * parts..], &x.sums[vector * parts..]);
    let (mut lanes, mut least) = ([0f32; LANES], [0f32; LANES]);
    let mut add = |part: usize, weights: &[i32; PART], factor: f32| {
        for lane in 0..LANES / 2 {
            let term = |i: usize| weights[i] * i32::from(values[part][i]);
            let (first, second) = (2 * lane, PART / 2 + 2 * lane);
            let terms = term(first) + term(first + 1) + term(second) + term(second + 1);
            lanes[part % 2 * (LANES / 2) + lane] += terms as f32 * (factor * scales[part]);
        }
    };
    match format {
        Blocks::Q8_0 => {
            for (part, block) in line.as_chunks::<Q8_BYTES>().0.iter().enumerate() {
                add(part, &std::array::from_fn(|i| i32::from(block[2 + i] as i8)), blocks::half(block));
            }
        }
        Blocks::Q4k => {
            for (index, block) in line.as_chunks::<Q4K_BYTES>().0.iter().enumerate() {
                let (scale, lowest) = (blocks::half(block), blocks::half(&block[2..]));
                for i in 0..8 {
                    let part = 8 * index + i;
                    let (a, b) = blocks::six_bits(&block[4..16], i);
                    let bytes = &block[16 + i / 2 * PART..];
                    let weight = |j: usize| i32::from(bytes[j] >> (i % 2 * 4) & 15);
                    let weights = std::array::from_fn(|j| weight(j % (PART / 2) * 2 + j / (PART / 2)));
                    add(part, &weights, scale * f32::from(a));
                    least[i] += lowest * f32::from(b) * sums[part];
                }
            }
        }
    }
    sum(lanes) - sum(least)
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256, __m256i, _MM_HINT_T0, _mm_cvtsi64_si128, _mm_loadu_si128, _mm_prefetch, _mm256_add_epi32,
        _mm256_and_si256, _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_fmadd_ps,
        _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_ps, _mm256_set1_epi16,
        _mm256_set1_ps, _mm256_setzero_ps, _mm256_srli_epi16, _mm256_storeu_ps,
    };

    use super::{Blocks, LANES, PART, Q4K_BYTES, Q8_BYTES, Rounded, Target, blocks, sum};

    /// Bytes that are asked of memory ahead of a row.
    const AHEAD: usize = 8192;
    /// Vectors that meet a row at a time.
    const VECTORS: usize = 4;
    /// Half of the lanes: one register.
    const HALF: usize = LANES / 2;

    /// Vectors from one on, as pointers: numbers, scales and sums of their parts.
    #[derive(Clone, Copy)]
    struct From {
        values: *const i16,
        scales: *const f32,
        sums: *const f32,
        cols: usize,
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn rows_times(
        format: Blocks,
        rows: &[u8],
        cols: usize,
        x: &Rounded,
        count: usize,
        target: Target,
    ) {
        let bytes = format.line_bytes(cols);
        for (row, line) in rows.chunks_exact(bytes).enumerate() {
            for vector in (0..count).step_by(VECTORS) {
                // SAFETY: row and vectors lie within their slices; the caller's promise for the target.
                unsafe {
                    let part = vector * cols / PART;
                    let x = From {
                        values: x.values.as_ptr().add(vector * cols),
                        scales: x.scales.as_ptr().add(part),
                        sums: x.sums.as_ptr().add(part),
                        cols,
                    };
                    let to = Target { to: target.to.add(vector * target.stride + row), ..target };
                    match (format, count - vector) {
                        (Blocks::Q8_0, 1) => q8::<1>(line, x, to),
                        (Blocks::Q8_0, 2) => q8::<2>(line, x, to),
                        (Blocks::Q8_0, 3) => q8::<3>(line, x, to),
                        (Blocks::Q8_0, _) => q8::<VECTORS>(line, x, to),
                        (Blocks::Q4k, 1) => q4k::<1>(line, x, to),
                        (Blocks::Q4k, 2) => q4k::<2>(line, x, to),
                        (Blocks::Q4k, 3) => q4k::<3>(line, x, to),
                        (Blocks::Q4k, _) => q4k::<VECTORS>(line, x, to),
                    }
                }
            }
        }
    }

    /// The terms of a part, in eight lanes.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn terms(low: __m256i, high: __m256i, x: *const i16) -> __m256 {
        // SAFETY: the caller's promise: a part of numbers at `x`.
        unsafe {
            let low = _mm256_madd_epi16(low, _mm256_loadu_si256(x.cast()));
            let high = _mm256_madd_epi16(high, _mm256_loadu_si256(x.add(PART / 2).cast()));
            _mm256_cvtepi32_ps(_mm256_add_epi32(low, high))
        }
    }

    /// Adds up the lanes of one element.
    #[target_feature(enable = "avx2,fma")]
    fn total(lanes: [__m256; 2]) -> f32 {
        let mut all = [0f32; LANES];
        // SAFETY: there is room for two registers.
        unsafe {
            _mm256_storeu_ps(all.as_mut_ptr(), lanes[0]);
            _mm256_storeu_ps(all.as_mut_ptr().add(HALF), lanes[1]);
        }
        sum(all)
    }

    /// One row of blocks of 8 bits against `N` vectors.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn q8<const N: usize>(line: &[u8], x: From, target: Target) {
        let mut held = [[_mm256_setzero_ps(); 2]; N];
        let parts = x.cols / PART;
        // SAFETY: the caller's promise: a line of blocks, and vectors of as many parts; a prefetch never faults.
        unsafe {
            let mut step = |part: usize, lanes: usize| {
                let block = line.as_ptr().add(part * Q8_BYTES);
                _mm_prefetch::<_MM_HINT_T0>(block.wrapping_add(AHEAD).cast());
                let scale = blocks::half(&*block.cast::<[u8; 2]>());
                let low = _mm256_cvtepi8_epi16(_mm_loadu_si128(block.add(2).cast()));
                let high = _mm256_cvtepi8_epi16(_mm_loadu_si128(block.add(2 + PART / 2).cast()));
                for (v, held) in held.iter_mut().enumerate() {
                    let terms = terms(low, high, x.values.add(v * x.cols + part * PART));
                    let factor = _mm256_set1_ps(scale * *x.scales.add(v * parts + part));
                    held[lanes] = _mm256_fmadd_ps(terms, factor, held[lanes]);
                }
            };
            for part in (0..parts / 2).map(|pair| 2 * pair) {
                step(part, 0);
                step(part + 1, 1);
            }
            if parts % 2 == 1 {
                step(parts - 1, 0);
            }
            for (v, held) in held.into_iter().enumerate() {
                *target.to.add(v * target.stride) = total(held);
            }
        }
    }

    /// One row of blocks of 4 bits against `N` vectors.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn q4k<const N: usize>(line: &[u8], x: From, target: Target) {
        let mut held = [[_mm256_setzero_ps(); 2]; N];
        let mut least = [_mm256_setzero_ps(); N];
        let mut factors = [[0f32; 8]; N];
        let parts = x.cols / PART;
        let (low, high) = (_mm256_set1_epi16(0x0f), _mm256_set1_epi16(0xf0));
        // SAFETY: the caller's promise: a line of blocks, and vectors of as many parts; a prefetch never faults.
        unsafe {
            for (index, block) in line.as_chunks::<Q4K_BYTES>().0.iter().enumerate() {
                for ahead in [0, 64, 128] {
                    _mm_prefetch::<_MM_HINT_T0>(block.as_ptr().wrapping_add(AHEAD + ahead).cast());
                }
                let [scales, lowest] = eight_by_eight(block);
                let scales = _mm256_mul_ps(scales, _mm256_set1_ps(blocks::half(block)));
                let lowest = _mm256_mul_ps(lowest, _mm256_set1_ps(blocks::half(&block[2..])));
                for v in 0..N {
                    let part = v * parts + 8 * index;
                    let scaled = _mm256_mul_ps(scales, _mm256_loadu_ps(x.scales.add(part)));
                    _mm256_storeu_ps(factors[v].as_mut_ptr(), scaled);
                    least[v] = _mm256_fmadd_ps(lowest, _mm256_loadu_ps(x.sums.add(part)), least[v]);
                }
                for pair in 0..4 {
                    let bytes = _mm256_loadu_si256(block.as_ptr().add(16 + pair * PART).cast());
                    let odd = _mm256_srli_epi16::<8>(bytes);
                    let first = (_mm256_and_si256(bytes, low), _mm256_and_si256(odd, low));
                    let second = (_mm256_and_si256(bytes, high), _mm256_and_si256(odd, high));
                    for v in 0..N {
                        let x = x.values.add(v * x.cols + (8 * index + 2 * pair) * PART);
                        let factor = _mm256_set1_ps(factors[v][2 * pair]);
                        held[v][0] = _mm256_fmadd_ps(terms(first.0, first.1, x), factor, held[v][0]);
                        // The upper four bits of a byte are sixteen times what they count.
                        let factor = _mm256_set1_ps(factors[v][2 * pair + 1] / 16.0);
                        let terms = terms(second.0, second.1, x.add(PART));
                        held[v][1] = _mm256_fmadd_ps(terms, factor, held[v][1]);
                    }
                }
            }
            for v in 0..N {
                let least = total([least[v], _mm256_setzero_ps()]);
                *target.to.add(v * target.stride) = total(held[v]) - least;
            }
        }
    }

    /// The scales and least values of a block's eight parts (see [`blocks::six_bits`]), as floats.
    #[target_feature(enable = "avx2,fma")]
    fn eight_by_eight(block: &[u8; Q4K_BYTES]) -> [__m256; 2] {
        let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        let (a, b, both) = (word(4), word(8), word(12));
        let (six, four, two) = (0x3f3f_3f3f, 0x0f0f_0f0f, 0x0303_0303);
        let scales = u64::from(a & six) | u64::from(both & four | (a >> 6 & two) << 4) << 32;
        let least = u64::from(b & six) | u64::from(both >> 4 & four | (b >> 6 & two) << 4) << 32;
        [scales, least]
            .map(|bytes| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes.cast_signed()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times(format: Blocks, rows: &[u8], cols: usize, x: &[f32]) -> Vec<f32> {
        let (height, count) = (rows.len() / format.line_bytes(cols), x.len() / cols);
        let mut y = vec![0f32; height * count];
        let target = Target { to: y.as_mut_ptr(), stride: height };
        // SAFETY: `y` has an element for every row and vector.
        unsafe { rows_times(format, rows, cols, &Rounded::new(x, format), count, target) };
        y
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn blocks_times_vectors_as_widened_blocks(
            rows in 1usize..9, blocks in 1usize..6, count in 1usize..12, q4: bool, seed in 0u32..1000, size in 1e-3f32..1e3,
        ) {
            let (format, cols) = if q4 { (Blocks::Q4k, 256 * blocks) } else { (Blocks::Q8_0, 32 * blocks) };
            let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed * 77) >> 9) as f32 / 8_388_608.0 - 0.4;
            let wide: Vec<f32> = (0..rows * cols).map(|i| size * value(i)).collect();
            let lines = format.quantise(rows, cols, &|i, out| out.copy_from_slice(&wide[i * cols..][..cols])).unwrap();
            let x: Vec<f32> = (0..count * cols).map(|i| value(i + 7) * (1.0 + (i / 50 % 9) as f32)).collect();
            let together = times(format, &lines, cols, &x);
            let rounded = Rounded::new(&x, format);
            let mut line = vec![0f32; cols];
            for (r, bytes) in lines.chunks_exact(format.line_bytes(cols)).enumerate() {
                format.widen(bytes, &mut line);
                for (v, x) in x.chunks_exact(cols).enumerate() {
                    let got = together[v * rows + r];
                    // Alone it is the very same.
                    prop_assert_eq!(got.to_bits(), times(format, bytes, cols, x)[0].to_bits());
                    let exact: f64 = line.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                    let length = |all: &[f32]| all.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>().sqrt();
                    let most = length(&line) * length(x) + f64::from(size);
                    prop_assert!((f64::from(got) - exact).abs() < 4e-5 * most, "{got} {exact} {most}");
                    let scalar = f64::from(dot(format, bytes, cols, &rounded, v));
                    prop_assert!((f64::from(got) - scalar).abs() < 2e-6 * most, "{got} {scalar} {most}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        let mut x = [0f32; 96];
        (x[0], x[1], x[2], x[3]) = (-2.0, 1.0, 1e-5, 1e-4);
        x[40] = f32::NAN;
        let rounded = Rounded::new(&x, Blocks::Q8_0);
        assert_eq!(rounded.values[..4], [-32767, 16384, 0, 2]);
        assert_eq!((rounded.scales[0], rounded.scales[2], rounded.sums[2]), (2.0 / 32767.0, 0.0, 0.0));
        assert!(rounded.scales[1].is_nan());
    }

    #[test]
    fn what_is_no_number_stays_none() {
        let lines = Blocks::Q8_0.quantise(1, 64, &|_, out| out.fill(0.5)).unwrap();
        for bad in [f32::NAN, f32::INFINITY] {
            let mut x = [1f32; 64];
            x[33] = bad;
            assert!(!times(Blocks::Q8_0, &lines, 64, &x)[0].is_finite());
        }
    }
}
