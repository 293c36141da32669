//! Weights of one unit, brought to the unit's device.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{DType, Device, Tensor};
use safetensors::tensor::Dtype;

use super::host::{Blocks, Factors, Matrix, Order};
use super::linear::{HOST_DTYPE, HostLinear, Linear};
use crate::checkpoint::{Bytes, StoredTensor, Unit, UnitKind, WeightFiles};
use crate::{Problem, Result};

/// In which type weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightType {
    /// As the files store them.
    Stored,
    /// Converted to this type.
    Cast(DType),
    /// The matrices of decoder layers and head in blocks, everything else as the files store it.
    Blocks(Blocks),
}

impl WeightType {
    /// What numbers are when they are multiplied on the CPU: bf16 where that type is asked for, not where files happen to
    /// store it. (Blocks have a way of their own.)
    pub fn factors(self) -> Factors {
        match self {
            Self::Cast(DType::BF16) => Factors::Bf16,
            _ => Factors::F32,
        }
    }

    /// The blocks in which a matrix of a unit is held, where it is. A head that shares the embedding's table stays as
    /// that is, and so does the small matrix that chooses experts, on which everything after it depends.
    fn blocks(self, unit: &Unit, name: &str) -> Option<Blocks> {
        let Self::Blocks(mut blocks) = self else { return None };
        if unit.kind == UnitKind::Head {
            blocks = blocks.of_head();
        }
        let is_decoder = matches!(unit.kind, UnitKind::DecoderLayer | UnitKind::Head) && !unit.tied;
        let chooses = matches!(name, "mlp.gate.weight" | "mlp.router.weight");
        (is_decoder && !chooses).then_some(blocks)
    }
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

/// What a tensor or a matrix takes besides its numbers, in bytes.
const OBJECT: u64 = 260;

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
        let elements = stored.shape.iter().map(|n| *n as u64).product::<u64>();
        let is_matrix = matrix(name, stored);
        let line = stored.shape.last().copied().unwrap_or(0);
        let blocks = weight_type.blocks(unit, name).filter(|_| is_matrix).and_then(|b| b.fitting(line));
        if let Some(blocks) = blocks {
            return elements / line as u64 * blocks.line_bytes(line) as u64 + OBJECT;
        }
        let dtype = match weight_type {
            _ if !is_matrix => HOST_DTYPE,
            WeightType::Cast(dtype) => dtype,
            WeightType::Stored | WeightType::Blocks(_) => candle_dtype(stored.dtype),
        };
        elements * dtype.size_in_bytes() as u64 + OBJECT
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
            WeightType::Stored | WeightType::Blocks(_) => {
                self.unit.tensors.values().next().map_or(DType::F32, |stored| candle_dtype(stored.dtype))
            }
        }
    }

    /// As [`WeightType::factors`].
    pub fn factors(&self) -> Factors {
        self.weight_type.factors()
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
        self.layer(weight, stored, stored.range.clone(), (out, width), Order::OutputMajor, bias)
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
        self.layer(weight, stored, from..from + bytes, (out, input), Order::InputMajor, Some(bias))
    }

    /// The matrix of an embedding table on the CPU, `None` on another device.
    ///
    /// # Errors
    /// As [`UnitWeights::tensor`].
    pub fn table(&self, name: &str) -> Result<Option<Arc<Matrix>>> {
        match self.linear_named(name, "")? {
            Linear::Host(host) => Ok(Some(host.matrix)),
            Linear::Device { .. } | Linear::Blocks { .. } => Ok(None),
        }
    }

    fn layer(
        &self,
        name: &str,
        stored: &StoredTensor,
        range: Range<usize>,
        (out, input): (usize, usize),
        order: Order,
        bias: Option<Tensor>,
    ) -> Result<Linear> {
        let dtype = candle_dtype(stored.dtype);
        let blocks = self.weight_type.blocks(self.unit, name);
        if matches!(self.device, Device::Cpu) {
            let kept = match self.weight_type {
                WeightType::Stored | WeightType::Blocks(_) => dtype,
                WeightType::Cast(dtype) => dtype,
            };
            let matrix = Matrix::new(self.file(stored), range.clone(), dtype, kept, (out, input), order);
            let mut matrix = matrix.with_factors(self.factors());
            if let Some(blocks) = blocks {
                matrix = matrix.in_blocks(blocks)?;
            }
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
        if let Some(blocks) = blocks.filter(|_| order == Order::OutputMajor).and_then(|b| b.fitting(input)) {
            let weight = Tensor::from_raw_buffer(data, dtype, &[out, input], &Device::Cpu)?;
            let quantised =
                QTensor::quantize_onto(&weight.to_dtype(DType::F32)?, blocks.ggml(), self.device)?;
            let weight = QMatMul::from_qtensor(quantised)?;
            return Ok(Linear::Blocks { weight, bias });
        }
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
