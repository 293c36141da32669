//! Linear layers: a candle product on accelerators, our own kernels over the stored weights on the CPU.

use std::sync::Arc;

use candle_core::quantized::QMatMul;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Module as _, Result, Shape, Tensor};

use super::host::{Kernel, Matrix};

/// `y = x W^T + b` with `x` `[.., in]` and `y` `[.., out]`.
#[derive(Debug, Clone)]
pub enum Linear {
    /// Weights on the CPU, in their stored type; computes in f32.
    Host(HostLinear),
    /// Weights in a candle tensor `[out, in]` on any device.
    Device {
        /// Weights `[out, in]`.
        weight: Tensor,
        /// Bias `[out]`.
        bias: Option<Tensor>,
    },
    /// Weights in blocks on an accelerator; the product is candle's and takes f32.
    Blocks {
        /// Weights `[out, in]`.
        weight: QMatMul,
        /// Bias `[out]`.
        bias: Option<Tensor>,
    },
}

impl Linear {
    /// Applies the layer.
    ///
    /// # Errors
    /// Shapes or devices that do not fit together.
    pub fn forward(&self, x: &Tensor, kernel: Kernel) -> Result<Tensor> {
        match self {
            Self::Host(linear) => x.contiguous()?.apply_op1_no_bwd(&Product { linear, kernel }),
            Self::Device { weight, bias } => {
                let width = x.dim(candle_core::D::Minus1)?;
                let rows = x.elem_count() / width.max(1);
                let y = x.reshape((rows, width))?.matmul(&weight.t()?)?;
                let y = match bias {
                    Some(bias) => y.broadcast_add(bias)?,
                    None => y,
                };
                let mut shape = x.dims().to_vec();
                if let Some(last) = shape.last_mut() {
                    *last = weight.dim(0)?;
                }
                y.reshape(shape)
            }
            Self::Blocks { weight, bias } => {
                let y = weight.forward(&x.to_dtype(DType::F32)?.contiguous()?)?.to_dtype(x.dtype())?;
                bias.as_ref().map_or_else(|| Ok(y.clone()), |bias| y.broadcast_add(bias))
            }
        }
    }
}

/// A linear layer on the CPU.
#[derive(Debug, Clone)]
pub struct HostLinear {
    /// Weights `[out, in]`.
    pub matrix: Arc<Matrix>,
    /// Bias `[out]`.
    pub bias: Option<Arc<[f32]>>,
}

/// A linear layer on the CPU made with one of the kernels.
struct Product<'a> {
    linear: &'a HostLinear,
    kernel: Kernel,
}

impl CustomOp1 for Product<'_> {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = contiguous_f32(storage, layout)?;
        let width = *layout.dims().last().unwrap_or(&0);
        let HostLinear { matrix, bias } = self.linear;
        if width != matrix.cols() {
            candle_core::bail!("linear layer of width {} got vectors of width {width}", matrix.cols());
        }
        let count = x.len() / width.max(1);
        let mut y = vec![0f32; count * matrix.rows()];
        matrix.product(x, count, bias.as_deref(), &mut y, self.kernel);
        let mut shape = layout.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = matrix.rows();
        }
        Ok((CpuStorage::F32(y), shape.into()))
    }
}

/// The f32 values of a contiguous tensor on the CPU.
pub(crate) fn contiguous_f32<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let values = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&values[from..to]),
        None => candle_core::bail!("tensor is not contiguous: {layout:?}"),
    }
}

/// What the CPU computes in, whatever the weights are stored in.
pub const HOST_DTYPE: DType = DType::F32;
