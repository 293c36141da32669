//! What the processor can do, asked once.

/// What the kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instructions {
    /// Any processor.
    Portable,
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 (F and VL) besides these.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Instructions {
    /// The most that this processor has.
    pub(crate) fn most() -> Self {
        Self::all().last().unwrap_or(Self::Portable)
    }

    /// All that this processor has.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let all = [
            (Self::Portable, true),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx2, has_avx2()),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, has_avx512()),
        ];
        all.into_iter().filter_map(|(instructions, there)| there.then_some(instructions))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{has_avx2, has_avx512, has_bf16_pairs, has_whole_sums};

#[cfg(target_arch = "x86_64")]
mod x86 {
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

    static PROCESSOR: LazyLock<Processor> =
        LazyLock::new(|| Processor::new(std::env::var(MOST).ok().as_deref()));

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
            let whole_sums =
                avx512 && is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("f16c");
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
}
