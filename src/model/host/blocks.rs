//! Weights in blocks of 8 or 4 bits, in the layouts of ggml (`Q8_0`, `Q4_0` and `Q4_K` in `ggml-common.h` of llama.cpp), so
//! that a quantised matrix here holds what a GGUF file of it would.
//!
//! Candle quantises; reading is ours: a line is widened into a buffer that stays in the cache.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

/// A format of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocks {
    /// 32 weights in 34 bytes: a scale, and a signed byte each.
    Q8_0,
    /// 32 weights in 18 bytes: a scale, and 4 bits each, from -8 to 7. A byte holds one of the first half of the block
    /// in its lower and one of the second in its upper four bits.
    Q4_0,
    /// 256 weights in 144 bytes: eight parts with scale and least value of 6 bits, and 4 bits a weight.
    Q4k,
}

/// Weights of a part: a block of `Q8_0` or `Q4_0`, or an eighth of one of `Q4_K`.
pub(super) const PART: usize = 32;
/// Bytes of a `Q8_0` block.
pub(super) const Q8_BYTES: usize = 34;
/// Bytes of a `Q4_0` block.
pub(super) const Q4_BYTES: usize = 18;
/// What stands for 0 in a `Q4_0` block.
pub(super) const Q4_ZERO: i32 = 8;
/// Bytes of a `Q4_K` block.
pub(super) const Q4K_BYTES: usize = 144;
/// Lines that one thread quantises at a time.
const LINES: usize = 16;

impl Blocks {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Q8_0, Self::Q4_0, Self::Q4k];

    /// Weights and bytes of a block.
    pub(super) fn size(self) -> (usize, usize) {
        match self {
            Self::Q8_0 => (32, Q8_BYTES),
            Self::Q4_0 => (32, Q4_BYTES),
            Self::Q4k => (256, Q4K_BYTES),
        }
    }

    /// This format where lines of so many weights divide into its blocks, else the next wider one in which they do, as
    /// ggml falls back; `None` where they do in none.
    pub fn fitting(self, line: usize) -> Option<Self> {
        let formats: &[Self] = match self {
            Self::Q8_0 => &[Self::Q8_0],
            Self::Q4_0 => &[Self::Q4_0],
            Self::Q4k => &[Self::Q4k, Self::Q8_0],
        };
        formats.iter().copied().find(|format| line > 0 && line.is_multiple_of(format.size().0))
    }

    /// The format of the head, whose errors go straight into the choice of a token: `Q4_0` is too coarse for it (llama.cpp
    /// takes `Q6_K`).
    pub fn of_head(self) -> Self {
        if self == Self::Q4_0 { Self::Q8_0 } else { self }
    }

    /// Bytes of a line of so many weights, which divides into blocks.
    pub fn line_bytes(self, line: usize) -> usize {
        let (weights, bytes) = self.size();
        line / weights * bytes
    }

    /// What candle calls it.
    pub fn ggml(self) -> GgmlDType {
        match self {
            Self::Q8_0 => GgmlDType::Q8_0,
            Self::Q4_0 => GgmlDType::Q4_0,
            Self::Q4k => GgmlDType::Q4K,
        }
    }

    /// Quantises lines of `line` weights, which divide into blocks; `widen` writes a line as floats.
    ///
    /// # Errors
    /// None that the sizes allow; candle's, passed on.
    pub(super) fn quantise(
        self,
        lines: usize,
        line: usize,
        widen: &(dyn Fn(usize, &mut [f32]) + Sync),
    ) -> Result<Vec<u8>> {
        let bytes = self.line_bytes(line);
        let mut quantised = vec![0u8; lines * bytes];
        let parts = quantised.par_chunks_mut(LINES * bytes).enumerate();
        parts.try_for_each(|(part, out)| -> Result<()> {
            let count = out.len() / bytes;
            let mut wide = vec![0f32; count * line];
            for (i, wide) in wide.chunks_exact_mut(line).enumerate() {
                widen(part * LINES + i, wide);
            }
            let wide = Tensor::from_vec(wide, (count, line), &Device::Cpu)?;
            out.copy_from_slice(&QTensor::quantize(&wide, self.ggml())?.data()?);
            Ok(())
        })?;
        Ok(quantised)
    }

    /// Writes a line of blocks as floats.
    pub(super) fn widen(self, line: &[u8], out: &mut [f32]) {
        match self {
            Self::Q8_0 => widen_q8(line, out),
            Self::Q4_0 => widen_q4(line, out),
            Self::Q4k => widen_q4k(line, out),
        }
    }
}

/// A finite half-precision number at the start of these bytes: its exponent is moved by a product, which is exact for
/// subnormal ones too. (`half` asks the processor for its features at every number, which takes longer than a block.)
#[inline(always)]
pub(super) fn half(bytes: &[u8]) -> f32 {
    const MOVE: f32 = f32::from_bits((127 + 112) << 23);
    let bits = i32::from(i16::from_le_bytes([bytes[0], bytes[1]])) << 13;
    // The sign has spread over the three bits behind it.
    f32::from_bits(bits.cast_unsigned() & 0x8fff_ffff) * MOVE
}

#[inline(always)]
fn widen_q8_body<const FMA: bool>(line: &[u8], out: &mut [f32]) {
    let blocks = line.as_chunks::<Q8_BYTES>().0.iter();
    for (block, out) in blocks.zip(out.as_chunks_mut::<32>().0) {
        let scale = half(block);
        for (out, weight) in out.iter_mut().zip(&block[2..]) {
            *out = scale * f32::from(*weight as i8);
        }
    }
}

#[inline(always)]
fn widen_q4_body<const FMA: bool>(line: &[u8], out: &mut [f32]) {
    let blocks = line.as_chunks::<Q4_BYTES>().0.iter();
    for (block, out) in blocks.zip(out.as_chunks_mut::<32>().0) {
        let scale = half(block);
        let (first, second) = out.split_at_mut(16);
        for ((first, second), pair) in first.iter_mut().zip(second).zip(&block[2..]) {
            *first = scale * (i32::from(pair & 15) - Q4_ZERO) as f32;
            *second = scale * (i32::from(pair >> 4) - Q4_ZERO) as f32;
        }
    }
}

#[inline(always)]
fn widen_q4k_body<const FMA: bool>(line: &[u8], out: &mut [f32]) {
    let blocks = line.as_chunks::<Q4K_BYTES>().0.iter();
    for (block, out) in blocks.zip(out.as_chunks_mut::<256>().0) {
        let (scale, least) = (half(block), half(&block[2..]));
        let six: &[u8] = &block[4..16];
        let (parts, nibbles) = (out.as_chunks_mut::<64>().0, block[16..].as_chunks::<32>().0);
        for (i, (out, nibbles)) in parts.iter_mut().zip(nibbles).enumerate() {
            // Two parts of 32 share their bytes: the first has the lower four bits.
            for (part, shift) in [(2 * i, 0), (2 * i + 1, 4)] {
                let (a, b) = six_bits(six, part);
                let (scale, least) = (scale * f32::from(a), least * f32::from(b));
                for (out, pair) in out[part % 2 * 32..][..32].iter_mut().zip(nibbles) {
                    *out = scale * f32::from(pair >> shift & 15) - least;
                }
            }
        }
    }
}

/// Scale and least value of one of eight parts, of 6 bits each, packed into twelve bytes: those of the first four have a
/// byte each, whose two upper bits belong to those of the last four.
#[inline(always)]
pub(super) fn six_bits(packed: &[u8], part: usize) -> (u8, u8) {
    if part < 4 {
        return (packed[part] & 63, packed[part + 4] & 63);
    }
    let both = packed[part + 4];
    (both & 15 | packed[part - 4] >> 6 << 4, both >> 4 | packed[part] >> 6 << 4)
}

multiversion! {
    /// A line of `Q8_0` blocks as floats.
    pub fn widen_q8(line: &[u8], out: &mut [f32]) { widen_q8_body }
}

multiversion! {
    /// A line of `Q4_0` blocks as floats.
    pub fn widen_q4(line: &[u8], out: &mut [f32]) { widen_q4_body }
}

multiversion! {
    /// A line of `Q4_K` blocks as floats.
    pub fn widen_q4k(line: &[u8], out: &mut [f32]) { widen_q4k_body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn blocks_are_read_as_candle_reads_them(lines in 1usize..40, blocks in 1usize..4, format in prop::sample::select(Blocks::ALL.to_vec()), seed in 0u32..1000, scale in 0.01f32..8.0) {
            let line = blocks * format.size().0;
            let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed * 77) >> 9) as f32 / 8_388_608.0 - 0.4;
            let wide: Vec<f32> = (0..lines * line).map(|i| scale * value(i)).collect();
            let quantised = format.quantise(lines, line, &|i, out| out.copy_from_slice(&wide[i * line..][..line])).unwrap();
            prop_assert_eq!(quantised.len(), lines * format.line_bytes(line));
            let theirs = Tensor::from_vec(wide.clone(), (lines, line), &Device::Cpu).unwrap();
            let theirs = QTensor::quantize(&theirs, format.ggml()).unwrap();
            let bytes = theirs.data().unwrap();
            prop_assert_eq!(&bytes[..], &quantised[..]);
            let theirs: Vec<f32> = theirs.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let mut ours = vec![0f32; line];
            for (bytes, theirs) in quantised.chunks_exact(format.line_bytes(line)).zip(theirs.chunks_exact(line)) {
                format.widen(bytes, &mut ours);
                prop_assert_eq!(&ours[..], theirs);
            }
        }
    }

    #[test]
    fn every_finite_half_is_read_exactly() {
        for bits in 0..=u16::MAX {
            let exact = half::f16::from_bits(bits).to_f32();
            if exact.is_finite() {
                assert_eq!(half(&bits.to_le_bytes()).to_bits(), exact.to_bits());
            }
        }
    }

    #[test]
    fn lines_that_do_not_divide_fall_back() {
        assert_eq!(Blocks::Q4k.fitting(512), Some(Blocks::Q4k));
        assert_eq!(Blocks::Q4k.fitting(896), Some(Blocks::Q8_0));
        assert_eq!(Blocks::Q8_0.fitting(33), None);
        assert_eq!((Blocks::Q4_0.fitting(96), Blocks::Q4_0.fitting(33)), (Some(Blocks::Q4_0), None));
        assert_eq!(Blocks::Q8_0.fitting(0), None);
        let bytes = (Blocks::Q8_0.line_bytes(64), Blocks::Q4_0.line_bytes(64), Blocks::Q4k.line_bytes(512));
        assert_eq!(bytes, (68, 36, 288));
    }
}
