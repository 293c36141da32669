//! The same products with both sides in bf16, where the processor multiplies pairs of them.

use half::bf16;

use super::{Factor, Target, kernel};
use crate::model::host::many::{Words, write};
use crate::model::host::processor;

/// Two neighbours of a row.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub(crate) struct Pair([bf16; 2]);

impl Factor for Pair {
    fn lane(i: usize) -> usize {
        i
    }

    /// `x` is the bits of a pair.
    #[inline(always)]
    fn fused(self, x: f32, sum: f32) -> f32 {
        let [first, second] = [x.to_bits() << 16, x.to_bits() & 0xffff_0000].map(f32::from_bits);
        let sum = self.0[1].to_f32().mul_add(second, sum);
        self.0[0].to_f32().mul_add(first, sum)
    }
}

/// Vectors of one length below each other, rounded to bf16.
pub(crate) struct PairVectors {
    /// Bits of pairs.
    pairs: Vec<f32>,
    /// Pairs of a vector.
    length: usize,
}

/// Whether rows of so many bf16 can be multiplied in pairs here.
pub(crate) fn fits(cols: usize) -> bool {
    cols > 0 && cols.is_multiple_of(2) && processor::has_bf16_pairs()
}

impl PairVectors {
    /// Rounds vectors of `cols` numbers, which [`fits`].
    pub(crate) fn new(x: &[f32], cols: usize) -> Self {
        let mut pairs = vec![0f32; x.len() / 2];
        write(x, Words::Pairs, bytemuck::cast_slice_mut(&mut pairs));
        Self { pairs, length: cols / 2 }
    }
}

/// Products of some rows of a matrix, side by side, with vectors of their length. An element has one order, as in
/// [`super::rows_times`].
///
/// # Panics
/// Where the weights are no whole rows, or the processor has no such products.
///
/// # Safety
/// `target` reaches every element, and nothing else writes there meanwhile.
pub(crate) unsafe fn rows_times(weights: &[bf16], x: &PairVectors, target: Target) {
    let (length, count) = (x.length, x.pairs.len() / x.length.max(1));
    let weights: &[Pair] = bytemuck::cast_slice(weights);
    assert!(
        processor::has_bf16_pairs()
            && length > 0
            && weights.len().is_multiple_of(length)
            && x.pairs.len() == count * length
    );
    // SAFETY: the caller's promise, the lengths above, and the processor has the instructions.
    unsafe { kernel::pairs(weights, length, &x.pairs, count, target) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pairs_give_the_sums_of_rounded_numbers(
            rows in 1usize..20, half in prop_oneof![1usize..60, 500usize..1050], count in 1usize..18, seed in 0u32..1000,
        ) {
            let cols = half * 2;
            if !fits(cols) {
                return Ok(());
            }
            let value = |i: usize| (((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 12) as f32 / 1_048_576.0 - 0.5) * 2.0;
            let x: Vec<f32> = (0..count * cols).map(|i| value(i + 7)).collect();
            let weights: Vec<bf16> = (0..rows * cols).map(|i| bf16::from_f32(value(i))).collect();
            let times = |weights: &[bf16], x: &[f32]| {
                let rows = weights.len() / cols;
                let mut y = vec![0f32; rows * x.len() / cols];
                let target = Target { to: y.as_mut_ptr(), stride: rows };
                // SAFETY: `y` has an element for every row and vector.
                unsafe { rows_times(weights, &PairVectors::new(x, cols), target) };
                y
            };
            let together = times(&weights, &x);
            for (v, x) in x.chunks_exact(cols).enumerate() {
                // One vector alone gives the very same bits, and so does any part of the rows.
                prop_assert_eq!(&times(&weights, x)[..], &together[v * rows..(v + 1) * rows]);
                let from = rows / 2;
                prop_assert_eq!(&times(&weights[from * cols..], x)[..], &together[v * rows + from..(v + 1) * rows]);
                for (row, weights) in weights.chunks_exact(cols).enumerate() {
                    let terms = || weights.iter().zip(x).map(|(w, x)| f64::from(w.to_f32()) * f64::from(bf16::from_f32(*x).to_f32()));
                    let size = terms().map(f64::abs).sum::<f64>();
                    prop_assert!((f64::from(together[v * rows + row]) - terms().sum::<f64>()).abs() < 1e-6 * (1.0 + size));
                }
            }
        }
    }
}
