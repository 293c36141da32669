//! Products of a matrix in blocks with a few vectors, as decoding makes them: blocks are multiplied as they are.
//!
//! A vector is rounded once to whole numbers of 16 bits, every 32 of them with a scale of their own (an error below
//! 1/65,000 of the largest of the 32; the blocks' own is 1/254 and more). Then the terms of 32 products are added as
//! whole numbers, which is exact and has no order, and only these sums are scaled and added as floats, in an order that
//! is the same for any number of vectors and any instructions: terms two by two in eight lanes, the lanes of every other
//! part of 32 apart, then all sixteen by halves.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use super::blocks::{self, Blocks, PART, Q4_BYTES, Q4K_BYTES, Q8_BYTES};
use super::few::{LANES, Target, sum};
use super::processor::Instructions;

/// Numbers of half a part: those of the first two terms of its eight lanes, or of the last two.
const HALF: usize = PART / 2;
/// The lanes of a part.
const PART_LANES: usize = LANES / 2;

/// Two parts of a vector that follow each other, as whole numbers, in lines of the cache.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct Pair {
    /// The first halves of both parts, then the second halves. For `Q4_K` the even numbers of a part are its first half,
    /// as bytes hold weights.
    values: [[i16; HALF]; 4],
    /// What the numbers of a part are multiplied by, for each of its lanes.
    scales: [[f32; PART_LANES]; 2],
    /// What the terms of each lane begin with in the kernel for AVX-512, which counts the weights of `Q4_0` from 0.
    begins: [[i32; PART_LANES]; 2],
}

impl Pair {
    const ZERO: Self =
        Self { values: [[0; HALF]; 4], scales: [[0.0; PART_LANES]; 2], begins: [[0; PART_LANES]; 2] };
}

/// Vectors as whole numbers, as the kernels for one kind of blocks take them.
pub(crate) struct Rounded {
    /// Vector by vector; what fills up the last pair of one is zero.
    pairs: Vec<Pair>,
    /// The sum of every part, scaled.
    sums: Vec<f32>,
    length: usize,
    format: Blocks,
    with: Instructions,
}

impl Rounded {
    /// Rounds vectors of `length` numbers below each other, which divide into parts of 32.
    pub(crate) fn new(x: &[f32], length: usize, format: Blocks) -> Self {
        Self::at(most(), x, length, format)
    }

    fn at(with: Instructions, x: &[f32], length: usize, format: Blocks) -> Self {
        let (parts, count) = ((length / PART).max(1), x.len() / length.max(1));
        let mut rounded = Self {
            pairs: vec![Pair::ZERO; count * parts.div_ceil(2)],
            sums: vec![0.0; count * parts],
            length,
            format,
            with,
        };
        let all = rounded.pairs.chunks_exact_mut(parts.div_ceil(2)).zip(rounded.sums.chunks_exact_mut(parts));
        for (x, (pairs, sums)) in x.chunks_exact(length.max(1)).zip(all) {
            round(x, format, pairs, sums);
        }
        rounded
    }

    /// Parts of a vector.
    fn parts(&self) -> usize {
        self.length / PART
    }

    /// Pairs of a vector.
    fn pairs_each(&self) -> usize {
        self.parts().div_ceil(2)
    }

    /// How many there are.
    fn count(&self) -> usize {
        self.pairs.len() / self.pairs_each().max(1)
    }
}

/// The most that this processor has of what there are kernels for.
fn most() -> Instructions {
    all().last().unwrap_or(Instructions::Portable)
}

/// All that this processor has: AVX-512 counts where it also multiplies whole numbers.
fn all() -> impl Iterator<Item = Instructions> {
    Instructions::all().filter(|with| match with {
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => super::processor::has_whole_sums(),
        _ => true,
    })
}

#[inline(always)]
fn round_body<const FMA: bool>(x: &[f32], format: Blocks, pairs: &mut [Pair], sums: &mut [f32]) {
    const MOST: f32 = i16::MAX as f32;
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest whole number in the low bits
    for (part, (x, sum)) in x.as_chunks::<PART>().0.iter().zip(sums).enumerate() {
        // Bits of magnitudes are ordered as these are, and what is no number is above all.
        let largest = x.iter().fold(0, |most, x| (x.to_bits() & 0x7fff_ffff).max(most));
        let scale = f32::from_bits(largest) / MOST;
        let inverse = if largest == 0 { 0.0 } else { MOST / f32::from_bits(largest) };
        let mut rounded = [0i16; PART];
        let mut total = 0;
        for (rounded, x) in rounded.iter_mut().zip(x) {
            *rounded = (x * inverse + ROUND).to_bits() as i16;
            total += i32::from(*rounded);
        }
        *sum = scale * total as f32;
        let (mut first, mut second) = ([0; HALF], [0; HALF]);
        match format {
            Blocks::Q8_0 | Blocks::Q4_0 => {
                first.copy_from_slice(&rounded[..HALF]);
                second.copy_from_slice(&rounded[HALF..]);
            }
            Blocks::Q4k => {
                for i in 0..HALF {
                    (first[i], second[i]) = (rounded[2 * i], rounded[2 * i + 1]);
                }
            }
        }
        let (pair, part) = (&mut pairs[part / 2], part % 2);
        (pair.values[part], pair.values[2 + part]) = (first, second);
        pair.scales[part] = [scale; PART_LANES];
        if format == Blocks::Q4_0 {
            for (lane, begin) in pair.begins[part].iter_mut().enumerate() {
                let terms = |half: &[i16; HALF]| i32::from(half[2 * lane]) + i32::from(half[2 * lane + 1]);
                *begin = -blocks::Q4_ZERO * (terms(&first) + terms(&second));
            }
        }
    }
}

multiversion! {
    /// Rounds a vector part by part.
    pub fn round(x: &[f32], format: Blocks, pairs: &mut [Pair], sums: &mut [f32]) { round_body }
}

/// Products of some rows, each in whole blocks, side by side, with vectors that were rounded for such rows.
///
/// # Panics
/// Where the bytes are no whole rows.
///
/// # Safety
/// `target` reaches every element, and nothing else writes there meanwhile.
pub(crate) unsafe fn rows_times(rows: &[u8], x: &Rounded, target: Target) {
    let bytes = x.format.line_bytes(x.length);
    assert!(bytes > 0 && rows.len().is_multiple_of(bytes) && x.format.fitting(x.length) == Some(x.format));
    match x.with {
        // SAFETY: the caller's promise, whole rows, and the processor has what the vectors were made for.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { avx2::rows_times(rows, x, target) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => unsafe { avx512::rows_times(rows, x, target) },
        Instructions::Portable => {
            for (row, line) in rows.chunks_exact(bytes).enumerate() {
                for vector in 0..x.count() {
                    // SAFETY: the caller's promise.
                    unsafe { *target.to.add(vector * target.stride + row) = dot(line, x, vector) };
                }
            }
        }
    }
}

/// One element on any processor.
fn dot(line: &[u8], x: &Rounded, vector: usize) -> f32 {
    let pairs = &x.pairs[vector * x.pairs_each()..];
    let sums = &x.sums[vector * x.parts()..];
    let (mut lanes, mut least) = ([0f32; LANES], [0f32; LANES]);
    let mut add = |part: usize, weights: &[i32; PART], factor: f32| {
        let (pair, part) = (&pairs[part / 2], part % 2);
        for lane in 0..PART_LANES {
            let two = |half: usize| {
                let at = half * HALF + 2 * lane;
                let values = &pair.values[2 * half + part][2 * lane..];
                weights[at] * i32::from(values[0]) + weights[at + 1] * i32::from(values[1])
            };
            let terms = two(0) + two(1);
            lanes[part * PART_LANES + lane] += terms as f32 * (factor * pair.scales[part][lane]);
        }
    };
    match x.format {
        Blocks::Q8_0 => {
            for (part, block) in line.as_chunks::<Q8_BYTES>().0.iter().enumerate() {
                add(part, &std::array::from_fn(|i| i32::from(block[2 + i] as i8)), blocks::half(block));
            }
        }
        Blocks::Q4_0 => {
            for (part, block) in line.as_chunks::<Q4_BYTES>().0.iter().enumerate() {
                let weight = |i: usize| i32::from(block[2 + i % HALF] >> (i / HALF * 4) & 15);
                add(part, &std::array::from_fn(|i| weight(i) - blocks::Q4_ZERO), blocks::half(block));
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
                    let weights = std::array::from_fn(|j| weight(j % HALF * 2 + j / HALF));
                    add(part, &weights, scale * f32::from(a));
                    least[i] += lowest * f32::from(b) * sums[part];
                }
            }
        }
    }
    sum(lanes) - sum(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times(with: Instructions, format: Blocks, rows: &[u8], cols: usize, x: &[f32]) -> Vec<f32> {
        let (height, count) = (rows.len() / format.line_bytes(cols), x.len() / cols);
        let mut y = vec![0f32; height * count];
        let target = Target { to: y.as_mut_ptr(), stride: height };
        // SAFETY: `y` has an element for every row and vector.
        unsafe { rows_times(rows, &Rounded::at(with, x, cols, format), target) };
        y
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn blocks_times_vectors_as_widened_blocks(
            rows in 1usize..9, blocks in 1usize..6, count in 1usize..12, format in prop::sample::select(Blocks::ALL.to_vec()),
            seed in 0u32..1000, size in 1e-3f32..1e3,
        ) {
            let cols = blocks * if format == Blocks::Q4k { 256 } else { 32 };
            let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed * 77) >> 9) as f32 / 8_388_608.0 - 0.4;
            let wide: Vec<f32> = (0..rows * cols).map(|i| size * value(i)).collect();
            let lines = format.quantise(rows, cols, &|i, out| out.copy_from_slice(&wide[i * cols..][..cols])).unwrap();
            let x: Vec<f32> = (0..count * cols).map(|i| value(i + 7) * (1.0 + (i / 50 % 9) as f32)).collect();
            let scalar = times(Instructions::Portable, format, &lines, cols, &x);
            let mut line = vec![0f32; cols];
            let mut fused: Option<Vec<f32>> = None;
            for with in all() {
                let together = times(with, format, &lines, cols, &x);
                for (r, bytes) in lines.chunks_exact(format.line_bytes(cols)).enumerate() {
                    format.widen(bytes, &mut line);
                    for (v, x) in x.chunks_exact(cols).enumerate() {
                        let got = together[v * rows + r];
                        // Alone it is the very same.
                        prop_assert_eq!(got.to_bits(), times(with, format, bytes, cols, x)[0].to_bits());
                        let exact: f64 = line.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                        let length = |all: &[f32]| all.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>().sqrt();
                        let most = length(&line) * length(x) + f64::from(size);
                        prop_assert!((f64::from(got) - exact).abs() < 4e-5 * most, "{with:?} {got} {exact} {most}");
                        let scalar = scalar[v * rows + r];
                        prop_assert!(f64::from((got - scalar).abs()) < 2e-6 * most, "{with:?} {got} {scalar} {most}");
                    }
                }
                // Every processor that multiplies and adds at once gives the very same.
                if with != Instructions::Portable {
                    prop_assert_eq!(fused.get_or_insert_with(|| together.clone()), &together);
                }
            }
        }
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        let mut x = [0f32; 96];
        (x[0], x[1], x[2], x[3]) = (-2.0, 1.0, 1e-5, 1e-4);
        x[40] = f32::NAN;
        let Rounded { pairs, sums, .. } = Rounded::new(&x, 96, Blocks::Q8_0);
        assert_eq!(pairs[0].values[0][..4], [-32767, 16384, 0, 2]);
        assert_eq!((pairs[0].scales[0], sums[2]), ([2.0 / 32767.0; 8], 0.0));
        assert!(pairs[0].scales[1].iter().all(|scale| scale.is_nan()));
        assert_eq!((pairs.len(), pairs[1].scales), (2, [[0.0; 8]; 2]));
    }

    #[test]
    fn numbers_of_a_pair_stand_half_by_half() {
        let x: Vec<f32> = (0..96).map(|i| if i % 32 == 0 { 32767.0 } else { i as f32 }).collect();
        let number = |i: usize| x[i] as i16;
        let pairs = Rounded::new(&x, 96, Blocks::Q4_0).pairs;
        for (half, from) in [0, 32, 16, 48].into_iter().enumerate() {
            assert_eq!(pairs[0].values[half], std::array::from_fn(|i| number(from + i)));
        }
        assert_eq!(pairs[1].values[0], std::array::from_fn(|i| number(64 + i)));
        assert_eq!((pairs[1].values[1], pairs[1].begins[1]), ([0; 16], [0; 8]));
        assert_eq!(pairs[0].begins[1][2], -8 * (36 + 37 + 52 + 53));
        let pairs = Rounded::new(&x, 96, Blocks::Q4k).pairs;
        assert_eq!((pairs[0].values[1][1], pairs[0].values[3][1]), (34, 35));
        assert_eq!(pairs[0].begins, [[0; 8]; 2]);
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for format in [Blocks::Q8_0, Blocks::Q4_0] {
            let lines = format.quantise(1, 96, &|_, out| out.fill(0.5)).unwrap();
            for (with, bad) in all().flat_map(|with| [(with, f32::NAN), (with, f32::INFINITY)]) {
                let mut x = [1f32; 96];
                x[33] = bad;
                assert!(!times(with, format, &lines, 96, &x)[0].is_finite());
            }
        }
    }
}
