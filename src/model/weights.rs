//! Weights of one unit, brought to the unit's device.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::Dtype;

use super::host::{Matrix, Order};
use super::linear::{HOST_DTYPE, HostLinear, Linear};
use crate::checkpoint::{Bytes, StoredTensor, Unit, WeightFiles};
use crate::{Problem, Result};

/// In which type weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightType {
    /// As the files store them.
    Stored,
    /// Converted to this type.
    Cast(DType),
}

/// Weights of one unit as its layers ask for them.
pub struct UnitWeights<'a> {
    /// The unit.
    pub unit: &'a Unit,
    /// Where its tensors lie.
    pub files: &'a WeightFiles,
    /// Where they go.
    pub device: &'a Device,
    /// In which type matrices are held.
    pub weight_type: WeightType,
    /// What is used in place so far: which file, and which bytes of it.
    pub in_place: RefCell<Vec<(usize, Range<usize>)>>,
}

/// Bytes that a unit's weights take once they are loaded on the CPU: matrices in the type they are held in, everything
/// else in the type that is computed with. A tied head, which shares another unit's, takes none.
pub fn held_bytes(unit: &Unit, weight_type: WeightType) -> u64 {
    if unit.tied {
        return 0;
    }
    let matrix = |name: &str, stored: &StoredTensor| {
        // Class token and positions have dimensions to spare; the biases of GPT-OSS's experts lie in one tensor.
        stored.shape.len() > 1 && !name.ends_with("_embedding") && !name.ends_with("_bias")
    };
    let bytes = |(name, stored): (&String, &StoredTensor)| {
        let dtype = match weight_type {
            _ if !matrix(name, stored) => HOST_DTYPE,
            WeightType::Stored => candle_dtype(stored.dtype),
            WeightType::Cast(dtype) => dtype,
        };
        stored.shape.iter().map(|n| *n as u64).product::<u64>() * dtype.size_in_bytes() as u64
    };
    unit.tensors.iter().map(bytes).sum()
}

impl UnitWeights<'_> {
    /// Whether the unit holds a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.unit.tensors.contains_key(name)
    }

    /// Type in which this unit computes.
    pub fn compute_dtype(&self) -> DType {
        if matches!(self.device, Device::Cpu) {
            return HOST_DTYPE;
        }
        match self.weight_type {
            WeightType::Cast(dtype) => dtype,
            WeightType::Stored => {
                self.unit.tensors.values().next().map_or(DType::F32, |stored| candle_dtype(stored.dtype))
            }
        }
    }

    /// A tensor in the type the unit computes in.
    ///
    /// # Errors
    /// No such tensor, or no memory on the device.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let stored = self.stored(name)?;
        let dtype = candle_dtype(stored.dtype);
        let tensor = Tensor::from_raw_buffer(self.files.data(stored), dtype, &stored.shape, self.device)?;
        Ok(tensor.to_dtype(self.compute_dtype())?)
    }

    /// A linear layer; its bias is taken where the unit has one.
    ///
    /// # Errors
    /// As [`UnitWeights::tensor`].
    pub fn linear(&self, name: &str) -> Result<Linear> {
        self.linear_named(&format!("{name}.weight"), &format!("{name}.bias"))
    }

    /// A linear layer whose tensors have names of their own. A convolution's kernel counts as `[out, everything
    /// else]`.
    ///
    /// # Errors
    /// As [`UnitWeights::tensor`].
    pub fn linear_named(&self, weight: &str, bias: &str) -> Result<Linear> {
        let stored = self.stored(weight)?;
        let out = stored.shape.first().copied().unwrap_or(0);
        let width = stored.shape.iter().skip(1).product();
        let bias = if self.has(bias) { Some(self.tensor(bias)?) } else { None };
        self.layer(stored, stored.range.clone(), (out, width), Order::OutputMajor, bias)
    }

    /// One expert's linear layer out of a tensor `[experts, in, out]` with a bias `[experts, out]` (GPT-OSS).
    ///
    /// # Errors
    /// As [`UnitWeights::tensor`].
    pub fn expert(&self, weight: &str, bias: &str, expert: usize) -> Result<Linear> {
        let stored = self.stored(weight)?;
        let &[_, input, out] = stored.shape.as_slice() else {
            return Err(
                Problem::new(format!("has shape {:?}, not [experts, in, out]", stored.shape)).at(weight)
            );
        };
        let bytes = stored.range.len() / stored.shape[0];
        let from = stored.range.start + expert * bytes;
        let bias = self.tensor(bias)?.get(expert)?;
        self.layer(stored, from..from + bytes, (out, input), Order::InputMajor, Some(bias))
    }

    /// The matrix of an embedding table on the CPU, `None` on another device.
    ///
    /// # Errors
    /// As [`UnitWeights::tensor`].
    pub fn table(&self, name: &str) -> Result<Option<Arc<Matrix>>> {
        match self.linear_named(name, "")? {
            Linear::Host(host) => Ok(Some(host.matrix)),
            Linear::Device { .. } => Ok(None),
        }
    }

    fn layer(
        &self,
        stored: &StoredTensor,
        range: Range<usize>,
        (out, input): (usize, usize),
        order: Order,
        bias: Option<Tensor>,
    ) -> Result<Linear> {
        let dtype = candle_dtype(stored.dtype);
        if matches!(self.device, Device::Cpu) {
            let kept = match self.weight_type {
                WeightType::Stored => dtype,
                WeightType::Cast(dtype) => dtype,
            };
            let matrix = Matrix::new(self.file(stored), range.clone(), dtype, kept, (out, input), order);
            if matrix.is_in_place() {
                self.in_place.borrow_mut().push((stored.file, range));
            }
            let bias = bias.map(|b| b.to_vec1::<f32>()).transpose()?.map(Into::into);
            return Ok(Linear::Host(HostLinear { matrix: Arc::new(matrix), bias }));
        }
        let data = self.file(stored).get(range).unwrap_or_default();
        let shape = match order {
            Order::OutputMajor => (out, input),
            Order::InputMajor => (input, out),
        };
        let weight = Tensor::from_raw_buffer(data, dtype, &[shape.0, shape.1], self.device)?;
        let weight = weight.to_dtype(self.compute_dtype())?;
        let weight = if order == Order::InputMajor { weight.t()? } else { weight };
        Ok(Linear::Device { weight, bias })
    }

    fn stored(&self, name: &str) -> Result<&StoredTensor> {
        self.unit
            .tensors
            .get(name)
            .ok_or_else(|| Problem::new("is missing").at(format!("{}.{name}", self.unit.name)))
    }

    fn file(&self, stored: &StoredTensor) -> &Bytes {
        // A stored tensor comes from these files, so its index is one of theirs.
        &self.files.files[stored.file].1
    }
}

/// candle's name of a stored type; the inventory lets only these three through.
fn candle_dtype(dtype: Dtype) -> DType {
    match dtype {
        Dtype::BF16 => DType::BF16,
        Dtype::F16 => DType::F16,
        _ => DType::F32,
    }
}
