//! Products of a weight matrix with a few vectors, as decoding makes them: every weight is read from memory once.
//!
//! A sum of products has one order whatever the number of vectors and the processor: [`LANES`] partial sums, each over
//! every `LANES`-th term, then these by halves, then what is left over. So an answer does not depend on how many
//! questions are decoded together. (Which lane holds which term follows from AVX2: weights of two bytes are taken apart
//! there into the even and the odd ones of sixteen, and their vectors put into the same order once, see [`Vectors`].)

#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(target_arch = "x86_64")]
pub(crate) mod pairs;

use std::borrow::Cow;

use half::bf16;

use super::processor::Instructions;

/// Partial sums of one element of the result; two AVX2 registers.
pub(crate) const LANES: usize = 16;
/// Rows that are taken together against several vectors.
pub(crate) const STRIP: usize = 3;
/// Vectors that are taken together at most.
const TOGETHER: usize = 8;
/// Numbers of the vectors that the nearest cache holds beside some rows.
const NEAREST: usize = 10 << 10;

/// What meets an element of a vector.
trait Factor: Copy {
    /// Where term `i` of a group of [`LANES`] is kept.
    fn lane(i: usize) -> usize;
    /// `sum` and the product with an element, added at once.
    fn fused(self, x: f32, sum: f32) -> f32;
}

impl<W: Weight> Factor for W {
    fn lane(i: usize) -> usize {
        W::lane(i)
    }

    #[inline(always)]
    fn fused(self, x: f32, sum: f32) -> f32 {
        self.wide().mul_add(x, sum)
    }
}

/// A weight that is widened to f32 in registers.
pub(crate) trait Weight: Copy + Send + Sync + 'static {
    /// As [`Factor::lane`].
    fn lane(i: usize) -> usize;
    /// The number itself.
    fn wide(self) -> f32;
    /// Eight weights of the group at `from`: those of the first eight lanes, or of the others.
    ///
    /// # Safety
    /// There are [`LANES`] weights at `from`, and the processor has AVX2.
    #[cfg(target_arch = "x86_64")]
    unsafe fn eight(from: *const Self, second: bool) -> std::arch::x86_64::__m256;
    /// All weights of the group at `from`, in their order in memory.
    ///
    /// # Safety
    /// There are [`LANES`] weights at `from`, and the processor has AVX-512.
    #[cfg(target_arch = "x86_64")]
    unsafe fn sixteen(from: *const Self) -> std::arch::x86_64::__m512;
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

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn sixteen(from: *const Self) -> std::arch::x86_64::__m512 {
        // SAFETY: the caller's promise.
        unsafe { std::arch::x86_64::_mm512_loadu_ps(from) }
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

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn sixteen(from: *const Self) -> std::arch::x86_64::__m512 {
        use std::arch::x86_64::{
            _mm256_loadu_si256, _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_slli_epi32,
        };
        // SAFETY: the caller's promise; the load needs no alignment.
        unsafe {
            let weights = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(weights))
        }
    }
}

/// Vectors of one length below each other, in the order in which a kernel takes their elements.
pub(crate) struct Vectors<'a> {
    values: Cow<'a, [f32]>,
    length: usize,
    with: Instructions,
}

impl<'a> Vectors<'a> {
    /// Vectors for weights of type `W`.
    pub(crate) fn new<W: Weight>(x: &'a [f32], length: usize) -> Self {
        Self::at::<W>(Instructions::most(), x, length)
    }

    fn at<W: Weight>(with: Instructions, x: &'a [f32], length: usize) -> Self {
        let values = match with {
            // Sixteen lanes are put into order at the end.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => x.into(),
            _ if W::lane(1) == 1 => x.into(),
            _ => {
                let mut arranged = x.to_vec();
                for vector in arranged.chunks_exact_mut(length.max(1)) {
                    for group in vector.as_chunks_mut::<LANES>().0 {
                        let from = *group;
                        (0..LANES).for_each(|i| group[W::lane(i)] = from[i]);
                    }
                }
                arranged.into()
            }
        };
        Self { values, length, with }
    }

    /// The same, borrowed from nobody.
    pub(crate) fn into_owned(self) -> Vectors<'static> {
        Vectors { values: self.values.into_owned().into(), length: self.length, with: self.with }
    }

    /// How many there are.
    fn count(&self) -> usize {
        self.values.len() / self.length.max(1)
    }
}

/// Where a product is written: element `(row, vector)` at `vector * stride + row`.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The element of the first row and vector.
    pub to: *mut f32,
    /// From one vector to the next.
    pub stride: usize,
}

/// Products of some rows of a matrix, side by side, with vectors of their length.
///
/// # Panics
/// Where the weights are no whole rows.
///
/// # Safety
/// `target` reaches every element, and nothing else writes there meanwhile.
pub(crate) unsafe fn rows_times<W: Weight>(weights: &[W], x: &Vectors<'_>, target: Target) {
    assert!(
        x.length > 0 && weights.len().is_multiple_of(x.length) && x.values.len().is_multiple_of(x.length)
    );
    // Vectors that do not fit into the nearest cache together take the rows, which are in the second by then, in turns.
    let together = if x.values.len() > NEAREST { TOGETHER } else { x.count() };
    let groups = x.values.chunks(together.max(1) * x.length).enumerate();
    for (group, values) in groups {
        let target = Target { to: target.to.wrapping_add(group * together * target.stride), ..target };
        let count = values.len() / x.length;
        match x.with {
            // SAFETY: the caller's promise, the lengths above, and the processor has what the vectors were made for.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { kernel::avx2(weights, x.length, values, count, target) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe { kernel::avx512(weights, x.length, values, count, target) },
            Instructions::Portable => {
                for (row, weights) in weights.chunks_exact(x.length).enumerate() {
                    for (vector, x) in values.chunks_exact(x.length).enumerate() {
                        // SAFETY: the caller's promise.
                        unsafe { *target.to.add(vector * target.stride + row) = dot(weights, x) };
                    }
                }
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times<W: Weight>(with: Instructions, weights: &[W], cols: usize, x: &[f32]) -> Vec<f32> {
        let rows = weights.len() / cols;
        let mut y = vec![0f32; rows * x.len() / cols];
        let target = Target { to: y.as_mut_ptr(), stride: rows };
        // SAFETY: `y` has an element for every row and vector.
        unsafe { rows_times(weights, &Vectors::at::<W>(with, x, cols), target) };
        y
    }

    fn check<W: Weight>(weights: &[W], cols: usize, x: &[f32]) -> std::result::Result<(), TestCaseError> {
        let rows = weights.len() / cols;
        let scalar = times(Instructions::Portable, weights, cols, x);
        let mut most = Vec::with_capacity(scalar.len());
        for (i, got) in scalar.iter().enumerate() {
            let (w, x) = (&weights[i % rows * cols..][..cols], &x[i / rows * cols..][..cols]);
            let terms = || w.iter().zip(x).map(|(w, x)| f64::from(w.wide()) * f64::from(*x));
            most.push(1e-6 * (1.0 + terms().map(f64::abs).sum::<f64>()));
            prop_assert!((f64::from(*got) - terms().sum::<f64>()).abs() < most[i]);
        }
        let mut fused: Option<Vec<f32>> = None;
        for with in Instructions::all() {
            let together = times(with, weights, cols, x);
            for ((got, scalar), most) in together.iter().zip(&scalar).zip(&most) {
                prop_assert!(f64::from((got - scalar).abs()) < *most);
            }
            for (v, x) in x.chunks_exact(cols).enumerate() {
                // One vector alone gives the very same bits, and so does any part of the rows.
                prop_assert_eq!(&times(with, weights, cols, x)[..], &together[v * rows..(v + 1) * rows]);
                let from = rows / 2;
                prop_assert_eq!(
                    &times(with, &weights[from * cols..], cols, x)[..],
                    &together[v * rows + from..(v + 1) * rows]
                );
            }
            // So does every processor that multiplies and adds at once.
            if with != Instructions::Portable {
                prop_assert_eq!(fused.get_or_insert_with(|| together.clone()), &together);
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_number_of_vectors_gives_the_same_sums(rows in 1usize..20, cols in prop_oneof![1usize..120, 1000usize..2100], count in 1usize..18, seed in 0u32..1000) {
            let value = |i: usize| (((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 12) as f32 / 1_048_576.0 - 0.5) * 2.0;
            let x: Vec<f32> = (0..count * cols).map(|i| value(i + 7)).collect();
            let wide: Vec<f32> = (0..rows * cols).map(value).collect();
            check(&wide, cols, &x)?;
            let half: Vec<bf16> = wide.iter().map(|w| bf16::from_f32(*w)).collect();
            check(&half, cols, &x)?;
        }
    }
}
