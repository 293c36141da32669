//! Scaled dot-product attention on any device.

use candle_core::{CpuStorage, CustomOp3, D, DType, Device, Layout, Result, Shape, Storage, Tensor};

use super::host::Factors;
use super::host::attention::{Attention, Sizes, View, attend_each};

pub use super::host::attention::Mask;

/// Query rows for which an accelerator makes scores at a time.
const QUERY_CHUNK: usize = 128;

/// Softmax(q k^T / sqrt(d) + mask) v.
///
/// `q` is `[batch, heads, queries, d]`, `k` and `v` are `[batch, kv_heads, keys, d]`; any strides as long as a head's
/// channels lie side by side. The queries are the last positions of the sequence. `sinks` `[heads]` are extra logits
/// that take their share and are dropped (GPT-OSS). `factors` are for the CPU, which holds everything in f32. Gives `[batch, queries, heads * d]`.
///
/// # Errors
/// Shapes or devices that do not fit together.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Mask,
    sinks: Option<&Tensor>,
    factors: Factors,
) -> Result<Tensor> {
    let scale = 1.0 / (q.dim(D::Minus1)? as f64).sqrt();
    if matches!(q.device(), Device::Cpu) && q.dtype() == DType::F32 {
        let sinks = sinks.map(|s| s.to_vec1::<f32>()).transpose()?;
        return q.apply_op3_no_bwd(k, v, &HostAttention { mask, scale: scale as f32, sinks, factors });
    }
    in_chunks(q, k, v, mask, scale, sinks)
}

/// One query each of several questions: `q` is `[1, questions, heads, d]`, every question has keys and values
/// `[1, kv_heads, keys, d]` of its own. Gives `[1, questions, heads * d]`.
///
/// # Errors
/// As [`attention`].
pub fn attention_of_each(
    q: &Tensor,
    sequences: &[(Tensor, Tensor)],
    mask: Mask,
    sinks: Option<&Tensor>,
) -> Result<Tensor> {
    let (_, count, heads, d) = q.dims4()?;
    if sequences.len() != count {
        candle_core::bail!("{count} queries for {} sequences", sequences.len());
    }
    let scale = 1.0 / (d as f64).sqrt();
    if !matches!(q.device(), Device::Cpu) || q.dtype() != DType::F32 {
        let each = sequences
            .iter()
            .enumerate()
            .map(|(i, (k, v))| in_chunks(&q.narrow(1, i, 1)?.transpose(1, 2)?, k, v, mask, scale, sinks));
        return Tensor::cat(&each.collect::<Result<Vec<_>>>()?, 1);
    }
    let sinks = sinks.map(|s| s.to_vec1::<f32>()).transpose()?;
    let q = q.contiguous()?;
    let (q, q_layout) = q.storage_and_layout();
    let held: Vec<_> =
        sequences.iter().map(|(k, v)| (k.storage_and_layout(), v.storage_and_layout())).collect();
    let mut all = Vec::with_capacity(count);
    for (i, ((k, k_layout), (v, v_layout))) in held.iter().enumerate() {
        let (Storage::Cpu(q), Storage::Cpu(k), Storage::Cpu(v)) = (&*q, &**k, &**v) else {
            candle_core::bail!("keys and values are not where the queries are");
        };
        let (_, kv_heads, keys, kv_dim) = k_layout.shape().dims4()?;
        if kv_dim != d || k_layout.shape() != v_layout.shape() || heads % kv_heads.max(1) != 0 {
            candle_core::bail!("attention over {:?} and {:?}", q_layout.shape(), k_layout.shape());
        }
        let data = &q.as_slice::<f32>()?[q_layout.start_offset() + i * heads * d..];
        all.push(Attention {
            q: View { data, strides: [0, d, 0] },
            k: view(k, k_layout)?,
            v: view(v, v_layout)?,
            sizes: Sizes { batch: 1, heads, kv_heads, queries: 1, keys, head_dim: d },
            mask,
            scale: scale as f32,
            factors: Factors::F32,
            sinks: sinks.as_deref(),
        });
    }
    let mut out = vec![0f32; count * heads * d];
    attend_each(&all, &mut out);
    Tensor::from_vec(out, (1, count, heads * d), &Device::Cpu)
}

/// The same from tensor operations, a chunk of queries at a time.
fn in_chunks(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Mask,
    scale: f64,
    sinks: Option<&Tensor>,
) -> Result<Tensor> {
    let (batch, heads, queries, d) = q.dims4()?;
    let (_, kv_heads, keys, _) = k.dims4()?;
    let group = heads / kv_heads.max(1);
    let mut parts = Vec::with_capacity(queries.div_ceil(QUERY_CHUNK));
    for first in (0..queries).step_by(QUERY_CHUNK) {
        let rows = QUERY_CHUNK.min(queries - first);
        let seen =
            mask.visible(first, queries, keys).start..mask.visible(first + rows - 1, queries, keys).end;
        let k = k.narrow(2, seen.start, seen.len())?;
        let v = v.narrow(2, seen.start, seen.len())?;
        // Query heads that share a key head stand below each other, so that keys are not repeated.
        let q = q.narrow(2, first, rows)?.contiguous()?.reshape((batch, kv_heads, group * rows, d))?;
        let scores = (q.matmul(&k.t()?)? * scale)?.to_dtype(DType::F32)?;
        let scores = scores.reshape((batch, heads, rows, seen.len()))?;
        let scores = match bias(mask, first, rows, queries, keys, &seen, q.device())? {
            Some(bias) => scores.broadcast_add(&bias)?,
            None => scores,
        };
        let weights = match sinks {
            None => candle_nn::ops::softmax_last_dim(&scores)?,
            Some(sinks) => {
                let sinks = sinks.to_dtype(DType::F32)?.reshape((1, heads, 1, 1))?;
                let sinks = sinks.broadcast_as((batch, heads, rows, 1))?;
                let all = Tensor::cat(&[&scores, &sinks], D::Minus1)?.contiguous()?;
                let all = candle_nn::ops::softmax_last_dim(&all)?;
                all.narrow(D::Minus1, 0, seen.len())?
            }
        };
        let weights = weights.to_dtype(v.dtype())?.contiguous()?.reshape((
            batch,
            kv_heads,
            group * rows,
            seen.len(),
        ))?;
        let out = weights.matmul(&v)?.reshape((batch, heads, rows, d))?;
        parts.push(out.transpose(1, 2)?.reshape((batch, rows, heads * d))?);
    }
    Tensor::cat(&parts, 1)
}

/// 0 where a query of the chunk sees a key, negative infinity elsewhere; `None` where all see all.
fn bias(
    mask: Mask,
    first: usize,
    rows: usize,
    queries: usize,
    keys: usize,
    seen: &std::ops::Range<usize>,
    device: &Device,
) -> Result<Option<Tensor>> {
    if !mask.causal || (rows == 1 && mask.visible(first, queries, keys) == *seen) {
        return Ok(None);
    }
    let mut values = vec![f32::NEG_INFINITY; rows * seen.len()];
    for (i, row) in values.chunks_exact_mut(seen.len()).enumerate() {
        let visible = mask.visible(first + i, queries, keys);
        row[visible.start - seen.start..visible.end - seen.start].fill(0.0);
    }
    Tensor::from_vec(values, (rows, seen.len()), device).map(Some)
}

struct HostAttention {
    mask: Mask,
    scale: f32,
    sinks: Option<Vec<f32>>,
    factors: Factors,
}

impl CustomOp3 for HostAttention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, heads, queries, head_dim) = q_layout.shape().dims4()?;
        let (kv_batch, kv_heads, keys, kv_dim) = k_layout.shape().dims4()?;
        if (kv_batch, kv_dim) != (batch, head_dim)
            || k_layout.shape() != v_layout.shape()
            || heads % kv_heads != 0
        {
            candle_core::bail!("attention over {:?} and {:?}", q_layout.shape(), k_layout.shape());
        }
        let sizes = Sizes { batch, heads, kv_heads, queries, keys, head_dim };
        let mut out = vec![0f32; batch * queries * heads * head_dim];
        let (q, k, v) = (view(q, q_layout)?, view(k, k_layout)?, view(v, v_layout)?);
        let HostAttention { mask, scale, ref sinks, factors } = *self;
        let sinks = sinks.as_deref();
        Attention { q, k, v, sizes, mask, scale, factors, sinks }.attend(&mut out);
        Ok((CpuStorage::F32(out), (batch, queries, heads * head_dim).into()))
    }
}

fn view<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<View<'a>> {
    let data = &storage.as_slice::<f32>()?[layout.start_offset()..];
    match layout.stride() {
        [batch, head, position, 1] => Ok(View { data, strides: [*batch, *head, *position] }),
        // A width of one may have any stride.
        [batch, head, position, _] if layout.dims()[3] == 1 => {
            Ok(View { data, strides: [*batch, *head, *position] })
        }
        other => candle_core::bail!("attention needs a head's channels side by side, got strides {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn random(shape: (usize, usize, usize, usize)) -> Tensor {
        Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn kernel_agrees_with_tensor_operations(
            batch in 1usize..3, kv_heads in 1usize..3, group in 1usize..4, queries in 1usize..150, earlier in 0usize..40,
            d in prop::sample::select(vec![2usize, 8, 12]), causal: bool, window in prop::option::of(1usize..30), sinks: bool,
        ) {
            let heads = kv_heads * group;
            let keys = queries + earlier;
            // Strided views, as the cache and fused projections give.
            let q = random((batch, queries, heads, d)).transpose(1, 2).unwrap();
            let k = random((batch, kv_heads, keys + 3, d)).narrow(2, 0, keys).unwrap();
            let v = random((batch, kv_heads, keys + 3, d)).narrow(2, 2, keys).unwrap();
            let mask = Mask { causal, window: window.filter(|_| causal) };
            let sinks = sinks.then(|| Tensor::randn(0f32, 1.0, heads, &Device::Cpu).unwrap());
            let got = attention(&q, &k, &v, mask, sinks.as_ref(), Factors::F32).unwrap();
            let expected = in_chunks(&q, &k, &v, mask, 1.0 / (d as f64).sqrt(), sinks.as_ref()).unwrap();
            let difference = (got - expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            prop_assert!(difference.to_scalar::<f32>().unwrap() < 1e-5);
        }

        #[test]
        fn a_query_is_answered_the_same_whatever_stands_beside_it(
            queries in 2usize..1100, group in 1usize..3, d in prop::sample::select(vec![2usize, 8, 64]), window in prop::option::of(1usize..700),
            rounded: bool,
        ) {
            let factors = if rounded { Factors::Bf16 } else { Factors::F32 };
            let q = random((1, group, queries, d));
            let (k, v) = (random((1, 1, queries, d)), random((1, 1, queries, d)));
            let mask = Mask { causal: true, window };
            let whole = attention(&q, &k, &v, mask, None, factors).unwrap().to_vec3::<f32>().unwrap();
            for (first, count) in [(0, 1), (queries - 1, 1), (queries / 2, queries - queries / 2), (queries / 3, 2.min(queries - queries / 3))] {
                let end = first + count;
                let part = |t: &Tensor| t.narrow(2, 0, end).unwrap();
                let got = attention(&q.narrow(2, first, count).unwrap(), &part(&k), &part(&v), mask, None, factors).unwrap();
                prop_assert_eq!(&got.to_vec3::<f32>().unwrap()[0][..], &whole[0][first..end]);
            }
        }

        #[test]
        fn queries_of_several_questions_are_answered_as_alone(
            lengths in prop::collection::vec(1usize..200, 1..6), kv_heads in 1usize..3, group in 1usize..4,
            d in prop::sample::select(vec![2usize, 8, 12]), window in prop::option::of(1usize..30),
        ) {
            let heads = kv_heads * group;
            let q = random((1, lengths.len(), heads, d));
            let sequences: Vec<_> = lengths.iter()
                .map(|keys| [0, 1].map(|_| random((1, kv_heads, keys + 2, d)).narrow(2, 0, *keys).unwrap()))
                .map(|[k, v]| (k, v)).collect();
            let mask = Mask { causal: true, window };
            let together = attention_of_each(&q, &sequences, mask, None).unwrap();
            for (i, (k, v)) in sequences.iter().enumerate() {
                let one = q.narrow(1, i, 1).unwrap();
                let alone = attention_of_each(&one, &sequences[i..=i], mask, None).unwrap();
                let beside = together.narrow(1, i, 1).unwrap();
                prop_assert_eq!(alone.to_vec3::<f32>().unwrap(), beside.to_vec3::<f32>().unwrap());
                let plain = in_chunks(&one.transpose(1, 2).unwrap(), k, v, mask, 1.0 / (d as f64).sqrt(), None).unwrap();
                let difference = (plain - alone).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
                prop_assert!(difference.to_scalar::<f32>().unwrap() < 1e-5);
            }
        }
    }
}
