//! Loops over slices, compiled for AVX-512, for AVX2 with FMA and for any processor; with the first two to the same bits.

use std::mem::MaybeUninit;

/// Defines a function whose body is compiled for AVX-512, for AVX2 + FMA and portably, chosen at run time. The body is generic
/// over `FMA`, which says whether `madd` may fuse.
macro_rules! multiversion {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? { $body:ident }) => {
        $(#[$doc])*
        #[inline]
        pub fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                if $crate::model::host::processor::has_avx512() {
                    // SAFETY: the processor has the features that the function is compiled for.
                    return unsafe { avx512($($arg),*) };
                }
                if $crate::model::host::processor::has_avx2() {
                    // SAFETY: the processor has the features that the function is compiled for.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body::<false>($($arg),*)
        }
    };
}

#[inline(always)]
fn madd<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Values handled per step; four AVX2 registers.
const LANES: usize = 32;

#[inline(always)]
fn sum(lanes: [f32; LANES]) -> f32 {
    let mut eight = [0f32; 8];
    for (i, v) in lanes.iter().enumerate() {
        eight[i % 8] += v;
    }
    eight.iter().sum()
}

/// Channels whose sums are kept in registers.
const CHANNELS: usize = 64;

#[inline(always)]
fn add_rows_body<const FMA: bool>(factors: &[f32], rows: &[f32], y: &mut [f32]) {
    let width = y.len();
    if width == 0 {
        return;
    }
    let rows = || rows.chunks_exact(width).zip(factors);
    let (parts, rest) = y.as_chunks_mut::<CHANNELS>();
    let left = parts.len() * CHANNELS;
    for (i, part) in parts.iter_mut().enumerate() {
        let mut sums = *part;
        for (row, factor) in rows() {
            for (sum, x) in sums.iter_mut().zip(&row[i * CHANNELS..][..CHANNELS]) {
                *sum = madd::<FMA>(*factor, *x, *sum);
            }
        }
        *part = sums;
    }
    if !rest.is_empty() {
        for (row, factor) in rows() {
            for (y, x) in rest.iter_mut().zip(&row[left..]) {
                *y = madd::<FMA>(*factor, *x, *y);
            }
        }
    }
}

multiversion! {
    /// `y += factor * row` for rows of the length of `y` below each other, one after the other.
    pub fn add_rows(factors: &[f32], rows: &[f32], y: &mut [f32]) { add_rows_body }
}

#[inline(always)]
fn add_body<const FMA: bool>(y: &mut [f32], x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

multiversion! {
    /// `y += x`.
    pub fn add(y: &mut [f32], x: &[f32]) { add_body }
}

#[inline(always)]
fn add_scaled_body<const FMA: bool>(y: &mut [f32], scale: &[f32], x: &[f32]) {
    for ((y, s), x) in y.iter_mut().zip(scale).zip(x) {
        *y = madd::<FMA>(*y, *s, *x);
    }
}

multiversion! {
    /// `y = y * scale + x`.
    pub fn add_scaled(y: &mut [f32], scale: &[f32], x: &[f32]) { add_scaled_body }
}

#[inline(always)]
fn widen_body<const FMA: bool>(from: &[u16], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = f32::from_bits(u32::from(*from) << 16);
    }
}

multiversion! {
    /// bf16 bits to f32, exactly.
    pub fn widen(from: &[u16], to: &mut [f32]) { widen_body }
}

/// 1.5 * 2^23: adding it leaves the nearest whole number in the low bits.
const ROUND: f32 = 12_582_912.0;

/// e^x to 2 ulp by the usual reduction to [-ln 2 / 2, ln 2 / 2] and a polynomial (coefficients of Cephes `expf`).
/// Below -87 it is 0 to working precision, above 88 it saturates.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let shifted = madd::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = madd::<FMA>(n, -0.693_359_4, x);
    let r = madd::<FMA>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4f32;
    for c in [1.398_2e-3f32, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
        p = madd::<FMA>(p, r, c);
    }
    let p = madd::<FMA>(p * r, r, r) + 1.0;
    p * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// 2^x for `x` of at most 0; below -126 it is 0 to working precision. The polynomial was fitted to (2^r - 1) / r at
/// Chebyshev's points of [-1/2, 1/2]; its own relative error is below 6e-9.
#[inline(always)]
fn exp2<const FMA: bool>(x: f32) -> f32 {
    // What is no number stays none.
    let x = if x < -126.0 { -126.0 } else { x };
    let shifted = x + ROUND;
    let r = x - (shifted - ROUND);
    let mut p = 1.546_144_7e-4f32;
    for c in [1.339_086_8e-3f32, 9.618_057e-3, 5.550_357e-2, 2.402_265e-1, 6.931_472e-1, 1.0] {
        p = madd::<FMA>(p, r, c);
    }
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[inline(always)]
fn exponentials_body<const FMA: bool>(row: &mut [f32], scale: f32, extra: f32) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (steps, rest) = row.as_chunks::<LANES>();
    for step in steps {
        for j in 0..LANES {
            lanes[j] = if step[j] > lanes[j] { step[j] } else { lanes[j] };
        }
    }
    // Powers of two from here on.
    let (scale, extra) = (scale * std::f32::consts::LOG2_E, extra * std::f32::consts::LOG2_E);
    let max = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, b| a.max(*b)) * scale;
    let max = max.max(extra);
    let mut total = [0f32; LANES];
    let (steps, rest) = row.as_chunks_mut::<LANES>();
    for step in steps {
        for j in 0..LANES {
            step[j] = exp2::<FMA>(madd::<FMA>(step[j], scale, -max));
            total[j] += step[j];
        }
    }
    let mut sum = sum(total) + if extra > f32::NEG_INFINITY { exp2::<FMA>(extra - max) } else { 0.0 };
    for v in rest {
        *v = exp2::<FMA>(madd::<FMA>(*v, scale, -max));
        sum += *v;
    }
    1.0 / sum
}

multiversion! {
    /// The exponentials of `scale * row` in place (`scale` above 0), all divided by the same number that keeps them finite.
    /// Gives what makes a softmax of them as a factor. `extra` is a logit that takes its share and is dropped (an attention
    /// sink); negative infinity for none.
    pub fn exponentials(row: &mut [f32], scale: f32, extra: f32) -> f32 { exponentials_body }
}

#[inline(always)]
fn multiply_body<const FMA: bool>(row: &mut [f32], factor: f32) {
    for v in row {
        *v *= factor;
    }
}

multiversion! {
    /// `row *= factor`.
    pub fn multiply(row: &mut [f32], factor: f32) { multiply_body }
}

/// Softmax of `scale * row` in place, as [`exponentials`].
pub fn softmax(row: &mut [f32], scale: f32, extra: f32) {
    let factor = exponentials(row, scale, extra);
    multiply(row, factor);
}

/// Sum of the numbers that `of` makes of some, in lanes of a fixed number.
#[inline(always)]
fn sum_of(x: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (steps, rest) = x.as_chunks::<LANES>();
    for step in steps {
        for j in 0..LANES {
            lanes[j] += of(step[j]);
        }
    }
    sum(lanes) + rest.iter().map(|x| of(*x)).sum::<f32>()
}

#[inline(always)]
fn rms_norm_body<const FMA: bool>(x: &[f32], weight: &[f32], eps: f32, y: &mut [MaybeUninit<f32>]) {
    let inverse = 1.0 / (sum_of(x, |x| x * x) / x.len() as f32 + eps).sqrt();
    for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
        y.write(x * inverse * weight);
    }
}

multiversion! {
    /// `y = x / sqrt(mean(x^2) + eps) * weight`, all of one length.
    pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [MaybeUninit<f32>]) { rms_norm_body }
}

#[inline(always)]
fn layer_norm_body<const FMA: bool>(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    y: &mut [MaybeUninit<f32>],
) {
    let mean = sum_of(x, |x| x) / x.len() as f32;
    let variance = sum_of(x, |x| (x - mean) * (x - mean)) / x.len() as f32;
    let inverse = 1.0 / (variance + eps).sqrt();
    for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
        y.write(madd::<FMA>((x - mean) * inverse, *weight, *bias));
    }
}

multiversion! {
    /// `y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias`, all of one length.
    pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, y: &mut [MaybeUninit<f32>]) { layer_norm_body }
}

#[inline(always)]
fn gelu_body<const FMA: bool>(values: &mut [f32]) {
    for v in values {
        // erf by Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7
        let x = *v * std::f32::consts::FRAC_1_SQRT_2;
        let a = x.abs();
        let t = 1.0 / madd::<FMA>(a, 0.327_591_1, 1.0);
        let mut p = 1.061_405_4f32;
        for c in [-1.453_152f32, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
            p = madd::<FMA>(p, t, c);
        }
        let erf = 1.0 - p * t * exp::<FMA>(-a * a);
        *v = 0.5 * *v * (1.0 + erf.copysign(x));
    }
}

multiversion! {
    /// GELU with the error function (not the tanh approximation), in place.
    pub fn gelu(values: &mut [f32]) { gelu_body }
}

#[inline(always)]
fn silu_mul_body<const FMA: bool>(gate: &mut [f32], up: &[f32]) {
    for (g, u) in gate.iter_mut().zip(up) {
        *g = *g / (1.0 + exp::<FMA>(-*g)) * u;
    }
}

multiversion! {
    /// `gate = silu(gate) * up`.
    pub fn silu_mul(gate: &mut [f32], up: &[f32]) { silu_mul_body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(n: usize) -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-30.0f32..30.0, n)
    }

    proptest! {
        #[test]
        fn rows_are_added_as_in_f64(
            (factors, rows, y) in (0usize..20, 0usize..200).prop_flat_map(|(n, m)| (values(n), values(n * m), values(m))),
        ) {
            let mut got = y.clone();
            add_rows(&factors, &rows, &mut got);
            for (c, (got, y)) in got.iter().zip(&y).enumerate() {
                let terms = || factors.iter().enumerate().map(|(r, f)| f64::from(*f) * f64::from(rows[r * (rows.len() / factors.len()) + c]));
                let (exact, size) = (f64::from(*y) + terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                prop_assert!((f64::from(*got) - exact).abs() <= 1e-5 * size + 1e-5);
            }
        }

        #[test]
        fn softmax_agrees_with_f64(mut row in (1usize..150).prop_flat_map(values), scale in 0.01f32..2.0, sink in -5.0f32..5.0) {
            let exact: Vec<f64> = row.iter().map(|v| (f64::from(*v) * f64::from(scale)).exp()).collect();
            let total: f64 = exact.iter().sum::<f64>() + f64::from(sink).exp();
            softmax(&mut row, scale, sink);
            for (got, want) in row.iter().zip(exact) {
                prop_assert!((f64::from(*got) - want / total).abs() < 2e-6);
            }
        }

        #[test]
        fn what_is_no_number_is_not_hidden_by_a_softmax(mut row in (1usize..150).prop_flat_map(values), at: prop::sample::Index) {
            let at = at.index(row.len());
            row[at] = f32::NAN;
            softmax(&mut row, 1.0, f32::NEG_INFINITY);
            prop_assert!(row.iter().all(|v| v.is_nan()));
        }

        #[test]
        fn norms_agree_with_f64(all in (1usize..200).prop_flat_map(|n| [values(n), values(n), values(n)])) {
            let [x, weight, bias] = all;
            let of = |f: &dyn Fn(f64) -> f64| x.iter().map(|x| f(f64::from(*x))).sum::<f64>() / x.len() as f64;
            let (mean, square) = (of(&|x| x), of(&|x| x * x));
            let variance = of(&|x| (x - mean) * (x - mean));
            let mut y = vec![std::mem::MaybeUninit::new(f32::NAN); x.len()];
            // SAFETY: made of numbers.
            let numbers = |y: &[std::mem::MaybeUninit<f32>]| -> Vec<f32> { y.iter().map(|y| unsafe { y.assume_init() }).collect() };
            rms_norm(&x, &weight, 1e-6, &mut y);
            let rms = numbers(&y);
            layer_norm(&x, &weight, &bias, 1e-6, &mut y);
            for (i, (rms, layer)) in rms.iter().zip(numbers(&y)).enumerate() {
                let [x, weight, bias] = [&x, &weight, &bias].map(|all| f64::from(all[i]));
                let want = x / (square + 1e-6).sqrt() * weight;
                prop_assert!((f64::from(*rms) - want).abs() <= 1e-5 * want.abs() + 1e-6);
                let part = (x - mean) / (variance + 1e-6).sqrt() * weight;
                // A difference of numbers that are nearly alike keeps fewer digits.
                let tolerance = 1e-5 * (part.abs() + bias.abs() + 1.0) + 1e-5 * mean.abs() / (variance + 1e-6).sqrt() * weight.abs();
                prop_assert!((f64::from(layer) - part - bias).abs() <= tolerance, "{layer} {}", part + bias);
            }
        }

        #[test]
        fn silu_agrees_with_f64(pair in (0usize..100).prop_flat_map(|n| (values(n), values(n)))) {
            let (mut gate, up) = pair;
            let exact: Vec<f64> = gate.iter().zip(&up)
                .map(|(g, u)| { let g = f64::from(*g); g / (1.0 + (-g).exp()) * f64::from(*u) }).collect();
            silu_mul(&mut gate, &up);
            for (got, want) in gate.iter().zip(exact) {
                prop_assert!((f64::from(*got) - want).abs() <= 1e-6 * want.abs() + 1e-6);
            }
        }
    }

    #[test]
    fn gelu_agrees_with_candle() {
        let mut x: Vec<f32> = (-4000..4000).map(|i| i as f32 / 500.0).collect();
        let tensor = candle_core::Tensor::new(x.as_slice(), &candle_core::Device::Cpu).unwrap();
        let expected = tensor.gelu_erf().unwrap().to_vec1::<f32>().unwrap();
        gelu(&mut x);
        for (got, want) in x.iter().zip(expected) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }
}
