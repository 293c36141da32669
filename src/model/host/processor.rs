//! What the processor can do, asked once.

use std::sync::LazyLock;

/// Variable of the environment that keeps kernels to older instructions: `avx2`, or `none` for those of any processor. For
/// measuring what they are worth, and for finding out whether a fault is theirs.
const MOST: &str = "SHARDSCOPE_INSTRUCTIONS";

#[derive(Debug, Clone, Copy)]
struct Processor {
    avx2: bool,
    avx512: bool,
    pairs: bool,
    whole_sums: bool,
}

static PROCESSOR: LazyLock<Processor> = LazyLock::new(|| Processor::new(std::env::var(MOST).ok().as_deref()));

impl Processor {
    fn new(most: Option<&str>) -> Self {
        let avx2 =
            most != Some("none") && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = avx2
            && most != Some("avx2")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        let whole_sums = avx512 && is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("f16c");
        Self { avx2, avx512, pairs: avx512 && is_x86_feature_detected!("avx512bf16"), whole_sums }
    }
}

/// AVX2 and FMA.
pub(crate) fn has_avx2() -> bool {
    PROCESSOR.avx2
}

/// AVX-512 (F, BW, DQ and VL) besides these.
pub(crate) fn has_avx512() -> bool {
    PROCESSOR.avx512
}

/// Products of pairs of bf16 (AVX512-BF16) besides these.
pub(crate) fn has_bf16_pairs() -> bool {
    PROCESSOR.pairs
}

/// Sums of products of whole numbers (AVX512-VNNI), and numbers of 16 bits widened (F16C), besides these.
pub(crate) fn has_whole_sums() -> bool {
    PROCESSOR.whole_sums
}
