//! Numbers as the kernels take them: 32 bits each, or two bf16 in 32 bits.

use half::bf16;

#[cfg(target_arch = "x86_64")]
use crate::model::host::processor;

/// How numbers become words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// A number of 32 bits each.
    Exact,
    /// A number each, rounded to bf16 and held in 32 bits.
    Rounded,
    /// Two neighbours each, rounded to bf16; the first in the lower half.
    Pairs,
}

impl Words {
    /// Numbers of a word.
    pub(super) fn terms(self) -> usize {
        if self == Self::Pairs { 2 } else { 1 }
    }

    /// Words of so many numbers.
    pub(crate) fn of(self, numbers: usize) -> usize {
        numbers.div_ceil(self.terms())
    }
}

/// A number of 32 or 16 bits.
pub(crate) trait Number: Copy + Send + Sync {
    /// Its bits in 32.
    fn exact(self) -> u32;
    /// These bits rounded to the nearest bf16, ties to the even one.
    fn rounded(self) -> u32;
}

impl Number for f32 {
    #[inline(always)]
    fn exact(self) -> u32 {
        self.to_bits()
    }

    #[inline(always)]
    fn rounded(self) -> u32 {
        let bits = self.to_bits();
        // What is no number keeps a bit that says so.
        let nearest =
            if self.is_nan() { bits | 0x40_0000 } else { bits.wrapping_add(0x7fff + (bits >> 16 & 1)) };
        nearest & 0xffff_0000
    }
}

impl Number for bf16 {
    #[inline(always)]
    fn exact(self) -> u32 {
        u32::from(self.to_bits()) << 16
    }

    #[inline(always)]
    fn rounded(self) -> u32 {
        self.exact()
    }
}

/// Words in whole cache lines, so that no register is filled from two of them.
#[derive(Default)]
pub(super) struct Aligned(Vec<CacheLine>);

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct CacheLine([u32; 16]);

impl Aligned {
    /// At least so many words.
    pub(super) fn new(words: usize) -> Self {
        let mut new = Self::default();
        new.grow(words);
        new
    }

    /// Makes room for so many words, where there is less.
    pub(super) fn grow(&mut self, words: usize) {
        let lines = words.div_ceil(16);
        if lines > self.0.len() {
            self.0.resize(lines, bytemuck::Zeroable::zeroed());
        }
    }
}

impl std::ops::Deref for Aligned {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        bytemuck::cast_slice(&self.0)
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Brings numbers near that will soon be asked for.
pub(crate) fn fetch<T: Copy>(numbers: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks((64 / size_of::<T>()).max(1)) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: every processor of this kind has it, and it changes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = numbers;
}

/// Writes numbers as words; words beyond them are 0.
pub(crate) fn write<T: Number>(numbers: &[T], words: Words, out: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2")]
        fn avx512<T: Number>(numbers: &[T], words: Words, out: &mut [u32]) {
            write_body(numbers, words, out);
        }
        #[target_feature(enable = "avx2")]
        fn avx2<T: Number>(numbers: &[T], words: Words, out: &mut [u32]) {
            write_body(numbers, words, out);
        }
        if processor::has_avx512() {
            // SAFETY: the processor has the features that the function is compiled for.
            return unsafe { avx512(numbers, words, out) };
        }
        if processor::has_avx2() {
            // SAFETY: as above.
            return unsafe { avx2(numbers, words, out) };
        }
    }
    write_body(numbers, words, out);
}

#[inline(always)]
fn write_body<T: Number>(numbers: &[T], words: Words, out: &mut [u32]) {
    let (used, beyond) = out.split_at_mut(words.of(numbers.len()).min(out.len()));
    match words {
        Words::Exact => used.iter_mut().zip(numbers).for_each(|(out, number)| *out = number.exact()),
        Words::Rounded => used.iter_mut().zip(numbers).for_each(|(out, number)| *out = number.rounded()),
        Words::Pairs => {
            let (pairs, last) = numbers.as_chunks::<2>();
            for (out, [first, second]) in used.iter_mut().zip(pairs) {
                *out = first.rounded() >> 16 | second.rounded();
            }
            if let ([last], Some(out)) = (last, used.get_mut(pairs.len())) {
                *out = last.rounded() >> 16;
            }
        }
    }
    beyond.fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_rounded_as_the_crate_half_does(bits: u32) {
            let number = f32::from_bits(bits);
            let (got, expected) = (f32::from_bits(number.rounded()), bf16::from_f32(number).to_f32());
            prop_assert!(got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan());
        }

        #[test]
        fn pairs_hold_neighbours(numbers in prop::collection::vec(-9f32..9.0, 0..40), beyond in 0usize..3) {
            let halves: Vec<bf16> = numbers.iter().copied().map(bf16::from_f32).collect();
            let mut words = vec![u32::MAX; numbers.len().div_ceil(2) + beyond];
            write(&numbers, Words::Pairs, &mut words);
            let mut same = words.clone();
            write(&halves, Words::Pairs, &mut same);
            prop_assert_eq!(&words, &same);
            let unpacked = words.iter().flat_map(|word| [*word as u16, (*word >> 16) as u16].map(bf16::from_bits));
            for (i, got) in unpacked.enumerate() {
                prop_assert_eq!(got, halves.get(i).copied().unwrap_or(bf16::ZERO));
            }
        }
    }
}
