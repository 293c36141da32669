//! Activation functions, in place on the CPU.

use candle_core::{CpuStorage, DType, Device, InplaceOp1, InplaceOp2, Layout, Result, Tensor};
use rayon::prelude::*;

use super::host::simd;
use super::linear::contiguous_f32;

/// Numbers that one thread handles at a time.
const CHUNK: usize = 1 << 14;

/// GELU with the error function. Consumes `x`, which no one else may hold.
///
/// # Errors
/// An unsupported type of numbers.
pub fn gelu(x: Tensor) -> Result<Tensor> {
    if !on_host(&x) {
        return x.gelu_erf();
    }
    x.inplace_op1(&Gelu)?;
    Ok(x)
}

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

fn on_host(x: &Tensor) -> bool {
    matches!(x.device(), Device::Cpu) && x.dtype() == DType::F32 && x.is_contiguous()
}

fn values_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((from, to))) => Ok(&mut values[from..to]),
        _ => candle_core::bail!("tensor is not contiguous f32: {layout:?}"),
    }
}

struct Gelu;

impl InplaceOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        values_mut(storage, layout)?.par_chunks_mut(CHUNK).for_each(simd::gelu);
        Ok(())
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
