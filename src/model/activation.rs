//! Activation functions and sums, in place on the CPU.

use candle_core::{CpuStorage, DType, Device, InplaceOp2, InplaceOp3, Layout, Result, Tensor};
use rayon::prelude::*;

use super::host::simd;
use super::linear::contiguous_f32;

/// Numbers that one thread handles at a time.
const CHUNK: usize = 1 << 14;

/// `silu(gate) * up`. Consumes `gate`, which no one else may hold.
///
/// # Errors
/// Shapes that differ.
pub fn silu_mul(gate: Tensor, up: &Tensor) -> Result<Tensor> {
    if !on_host(&gate) || !up.is_contiguous() {
        return gate.silu()? * up;
    }
    gate.inplace_op2(up, &SiluMul)?;
    Ok(gate)
}

/// `y + x`. Consumes `y`, which no one else may hold.
///
/// # Errors
/// Shapes that differ.
pub fn add(y: Tensor, x: &Tensor) -> Result<Tensor> {
    if !on_host(&y) || !on_host(x) {
        return y + x;
    }
    y.inplace_op2(x, &Add)?;
    Ok(y)
}

/// `y * scale + x`, the scale (`[channels]`) along the last dimension. Consumes `y`, which no one else may hold.
///
/// # Errors
/// Shapes that do not fit together.
pub fn add_scaled(y: Tensor, scale: &Tensor, x: &Tensor) -> Result<Tensor> {
    if !on_host(&y) || !on_host(x) || !on_host(scale) {
        return y.broadcast_mul(scale)? + x;
    }
    y.inplace_op3(scale, x, &AddScaled)?;
    Ok(y)
}

fn on_host(x: &Tensor) -> bool {
    matches!(x.device(), Device::Cpu) && x.dtype() == DType::F32 && x.is_contiguous()
}

fn values_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((from, to))) => Ok(&mut values[from..to]),
        _ => candle_core::bail!("tensor is not contiguous f32: {layout:?}"),
    }
}

struct SiluMul;

impl InplaceOp2 for SiluMul {
    fn name(&self) -> &'static str {
        "silu-mul"
    }

    fn cpu_fwd(
        &self,
        gate: &mut CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<()> {
        let up = contiguous_f32(up, up_layout)?;
        let gate = values_mut(gate, gate_layout)?;
        if gate.len() != up.len() {
            candle_core::bail!("silu-mul over {gate_layout:?} and {up_layout:?}");
        }
        gate.par_chunks_mut(CHUNK).zip(up.par_chunks(CHUNK)).for_each(|(gate, up)| simd::silu_mul(gate, up));
        Ok(())
    }
}

struct Add;

impl InplaceOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(
        &self,
        y: &mut CpuStorage,
        y_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<()> {
        let x = contiguous_f32(x, x_layout)?;
        let y = values_mut(y, y_layout)?;
        if y.len() != x.len() {
            candle_core::bail!("a sum over {y_layout:?} and {x_layout:?}");
        }
        y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| simd::add(y, x));
        Ok(())
    }
}

struct AddScaled;

impl InplaceOp3 for AddScaled {
    fn name(&self) -> &'static str {
        "add-scaled"
    }

    fn cpu_fwd(
        &self,
        y: &mut CpuStorage,
        y_layout: &Layout,
        scale: &CpuStorage,
        scale_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<()> {
        let (scale, x) = (contiguous_f32(scale, scale_layout)?, contiguous_f32(x, x_layout)?);
        let y = values_mut(y, y_layout)?;
        let width = scale.len();
        if y.len() != x.len() || width == 0 || y_layout.dims().last() != Some(&width) {
            candle_core::bail!("a scaled sum over {y_layout:?}, {scale_layout:?} and {x_layout:?}");
        }
        let chunk = CHUNK.div_ceil(width) * width;
        let each = |(y, x): (&mut [f32], &[f32])| {
            for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                simd::add_scaled(y, scale, x);
            }
        };
        y.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).for_each(each);
        Ok(())
    }
}
