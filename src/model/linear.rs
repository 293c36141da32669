//! Linear layers: a candle product on accelerators, our own kernels over the stored weights on the CPU.

use std::mem::MaybeUninit;
use std::sync::Arc;

use candle_core::quantized::QMatMul;
use candle_core::{CpuStorage, DType, Device, Layout, Module as _, Result, Storage, Tensor};

use super::host::{Before, Kernel, Matrix, Product};

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
    /// Applies several layers to the same vectors; on the CPU at once, where these are a few.
    ///
    /// # Errors
    /// As [`Linear::forward`].
    pub fn forward_all<const N: usize>(
        layers: [&Self; N],
        x: &Tensor,
        kernel: Kernel,
    ) -> Result<[Tensor; N]> {
        let host: Vec<&HostLinear> = layers
            .iter()
            .filter_map(|layer| if let Self::Host(host) = layer { Some(host) } else { None })
            .collect();
        if let Ok(host) = host.try_into() {
            return on_host::<N>(host, x, Before::Nothing, kernel);
        }
        let each = layers.iter().map(|layer| layer.forward(x, kernel)).collect::<Result<Vec<_>>>()?;
        // As many as there are layers.
        each.try_into().map_err(|_| candle_core::Error::msg("a layer gave nothing"))
    }

    /// Applies the layer to `gelu(x)`, the one with the error function; on the CPU it is made on the way.
    ///
    /// # Errors
    /// As [`Linear::forward`].
    pub fn forward_gelu(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Host(linear) => on_host([linear], x, Before::Gelu, Kernel::Many).map(|[y]| y),
            Self::Device { .. } | Self::Blocks { .. } => self.forward(&x.gelu_erf()?, Kernel::Many),
        }
    }

    /// Applies the layer.
    ///
    /// # Errors
    /// Shapes or devices that do not fit together.
    pub fn forward(&self, x: &Tensor, kernel: Kernel) -> Result<Tensor> {
        match self {
            Self::Host(linear) => on_host([linear], x, Before::Nothing, kernel).map(|[y]| y),
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

/// Several linear layers on the CPU, applied to the same vectors at once.
fn on_host<const N: usize>(
    layers: [&HostLinear; N],
    x: &Tensor,
    before: Before,
    kernel: Kernel,
) -> Result<[Tensor; N]> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        candle_core::bail!("vectors are not where the weights are")
    };
    let values = contiguous_f32(storage, layout)?;
    let width = *layout.dims().last().unwrap_or(&0);
    if let Some(other) = layers.iter().find(|layer| layer.matrix.cols() != width) {
        candle_core::bail!("linear layer of width {} got vectors of width {width}", other.matrix.cols());
    }
    let count = values.len() / width.max(1);
    let mut results = layers.map(|layer| Vec::with_capacity(count * layer.matrix.rows()));
    let mut products: Vec<_> = layers
        .iter()
        .zip(&mut results)
        .map(|(layer, y)| Product {
            matrix: &layer.matrix,
            bias: layer.bias.as_deref(),
            y: &mut y.spare_capacity_mut()[..count * layer.matrix.rows()],
        })
        .collect();
    Matrix::products(values, count, before, &mut products, kernel);
    let mut made = Vec::with_capacity(N);
    for (layer, mut y) in layers.iter().zip(results) {
        // SAFETY: there is room for so many, and the products have written all of them.
        unsafe { y.set_len(count * layer.matrix.rows()) };
        let mut shape = layout.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = layer.matrix.rows();
        }
        made.push(Tensor::from_vec(y, shape, &Device::Cpu)?);
    }
    // As many as there are layers.
    made.try_into().map_err(|_| candle_core::Error::msg("a layer gave nothing"))
}

/// So many numbers that `fill` writes, without a first pass over their memory.
///
/// # Safety
/// `fill` writes all of them.
pub(crate) unsafe fn filled(count: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(count);
    fill(&mut numbers.spare_capacity_mut()[..count]);
    // SAFETY: there is room for so many, and the caller's promise.
    unsafe { numbers.set_len(count) };
    numbers
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
