//! Units: the pieces of a model that are placed whole, in execution order, with what each costs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::assumptions::Dtype;
use super::shape::ModelShape;

/// What a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnitKind {
    /// Patch and position embeddings.
    VisionEmbeddings,
    /// A block of the vision tower.
    VisionBlock(usize),
    /// From vision to language.
    Projector,
    /// The token embedding.
    TokenEmbedding,
    /// A layer of the decoder.
    Layer(usize),
    /// The last norm.
    FinalNorm,
    /// The head.
    Head,
}

impl UnitKind {
    /// The word used in JSON.
    pub fn word(self) -> &'static str {
        match self {
            UnitKind::VisionEmbeddings => "vision-embeddings",
            UnitKind::VisionBlock(_) => "vision-block",
            UnitKind::Projector => "projector",
            UnitKind::TokenEmbedding => "token-embedding",
            UnitKind::Layer(_) => "layer",
            UnitKind::FinalNorm => "norm",
            UnitKind::Head => "head",
        }
    }

    /// Whether it belongs to the vision tower itself.
    pub fn is_vision(self) -> bool {
        matches!(self, UnitKind::VisionEmbeddings | UnitKind::VisionBlock(_))
    }

    /// Whether it runs after the last decoder layer.
    pub fn is_tail(self) -> bool {
        matches!(self, UnitKind::FinalNorm | UnitKind::Head)
    }
}

/// One tensor of a unit, as the shape says it must be; `repeat` stands for experts with the same shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Path below the unit; `{}` is the expert's number where `repeat` is more than one.
    pub name: String,
    /// How many tensors of this shape there are.
    pub repeat: u64,
    /// Rows, or 1 for a vector.
    pub rows: u64,
    /// Columns, or the length of a vector.
    pub columns: u64,
    /// Whether block formats store it in blocks.
    pub quantisable: bool,
}

impl Tensor {
    /// A vector: norms, biases, scales.
    pub fn vector(name: impl Into<String>, length: u64) -> Self {
        Self { name: name.into(), repeat: 1, rows: 1, columns: length, quantisable: false }
    }

    /// A matrix that stays in floats whatever the format.
    pub fn matrix(name: impl Into<String>, rows: u64, columns: u64) -> Self {
        Self { name: name.into(), repeat: 1, rows, columns, quantisable: false }
    }

    /// A weight matrix that block formats store in blocks.
    pub fn weight(name: impl Into<String>, rows: u64, columns: u64) -> Self {
        Self { quantisable: true, ..Self::matrix(name, rows, columns) }
    }

    /// Elements of all its repetitions.
    pub fn elements(&self) -> u64 {
        self.rows.saturating_mul(self.columns).saturating_mul(self.repeat)
    }

    /// Bytes of all its repetitions in a format.
    pub fn bytes(&self, dtype: Dtype) -> u64 {
        if self.quantisable {
            dtype.matrix_bytes(self.rows, self.columns).saturating_mul(self.repeat)
        } else {
            self.elements().saturating_mul(dtype.element_bytes())
        }
    }
}

/// Temporary memory of a unit while it runs, as coefficients of the question's tiles and prompt tokens, in elements
/// (multiplied by the element size of the format) except where said. Every part is a peak, not a sum over units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Transient {
    /// Elements a tile of the batch that runs at once.
    pub per_tile_at_once: u64,
    /// Elements a tile of the question.
    pub per_tile: u64,
    /// Elements a prompt token of the chunk that runs at once.
    pub per_token_at_once: u64,
    /// Bytes whatever the question.
    pub bytes: u64,
    /// Bytes a prompt token when the head is computed for all positions.
    pub bytes_per_logit_row: u64,
    /// Heads times positions squared a tile of the batch: elements of one score matrix of the vision tower, and
    /// positions, so that chunks of rows can be counted.
    pub vision_heads: u64,
    /// Positions of a tile.
    pub vision_positions: u64,
    /// Heads of the decoder's attention.
    pub heads: u64,
}

/// A piece of the model that is placed whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// Module path as in a Hugging Face `device_map`.
    pub name: String,
    /// What it is.
    pub kind: UnitKind,
    /// Bytes of its weights at the model's dtype; zero for a head that shares the token embedding.
    pub weight_bytes: u64,
    /// Bytes of keys and values a token.
    pub kv_bytes_per_token: u64,
    /// Keys and values are kept for at most this many tokens (sliding attention).
    pub kv_window: Option<u64>,
    /// Temporary memory while it runs.
    pub transient: Transient,
    /// The unit whose weights it shares.
    pub tied_with: Option<usize>,
    /// Its tensors, as the shape says.
    pub tensors: Arc<[Tensor]>,
}

impl Unit {
    /// Bytes that its tensors would take at a format, by shape.
    pub fn bytes_at(&self, dtype: Dtype) -> u64 {
        let dtype = if self.kind == UnitKind::Head { dtype.of_head() } else { dtype };
        self.tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.bytes(dtype)))
    }

    /// Bytes of its weights that block formats store in blocks, at the widest half-precision format.
    pub fn quantisable_bytes(&self) -> u64 {
        let blocks = self.tensors.iter().filter(|t| t.quantisable);
        blocks.fold(0, |sum, tensor| sum.saturating_add(tensor.bytes(Dtype::Bf16)))
    }
}

/// Something that must be placed although no checkpoint stores it: the rotary tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// Module path.
    pub name: String,
    /// Bytes of one copy.
    pub bytes: u64,
}

/// The format the files are really in, by their size: some configurations state another.
fn stored_format(shape: &ModelShape, sizes: &BTreeMap<String, u64>) -> Dtype {
    let read = sizes.values().fold(0u64, |sum, &bytes| sum.saturating_add(bytes));
    let (units, _) = shape.units();
    let own = || units.iter().filter(|u| u.tied_with.is_none());
    let fits = |dtype: &Dtype| own().fold(0u64, |sum, u| sum.saturating_add(u.bytes_at(*dtype))) == read;
    [shape.stored, Dtype::F32, Dtype::Bf16].into_iter().find(fits).unwrap_or(shape.stored)
}

/// A model ready to be planned: its units in execution order at one number format.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The numbers it was built from.
    pub shape: ModelShape,
    /// Number format.
    pub dtype: Dtype,
    /// Units in execution order.
    pub units: Vec<Unit>,
    /// What must be covered besides.
    pub buffers: Vec<Buffer>,
    /// Units whose true size in the files differs from the shape's: name, true bytes, bytes by shape.
    pub differing: Vec<(String, u64, u64)>,
}

impl Model {
    /// Builds the units of a shape at a format. `true_bytes` are the sizes of units in the files (from safetensors
    /// headers), at the format the checkpoint is stored in; they win over the shape where both are known.
    pub fn new(shape: ModelShape, dtype: Dtype, true_bytes: Option<&BTreeMap<String, u64>>) -> Self {
        let mut shape = shape;
        if let Some(sizes) = true_bytes {
            // Whether the head shares the embedding is for the files to say: flags and class defaults disagree.
            let head = shape.naming.of(UnitKind::Head);
            let embedding = shape.naming.of(UnitKind::TokenEmbedding);
            if sizes.contains_key(&embedding) {
                shape.decoder.tied = sizes.get(&head).is_none_or(|&bytes| bytes == 0);
            }
            shape.stored = stored_format(&shape, sizes);
        }
        let (mut units, buffers) = shape.units();
        let mut differing = Vec::new();
        let stored = shape.stored;
        for unit in &mut units {
            let shared = unit.tied_with.is_some();
            let by_shape = unit.bytes_at(dtype);
            let read = true_bytes.and_then(|sizes| sizes.get(&unit.name)).copied();
            unit.weight_bytes = match read {
                _ if shared => 0,
                None => by_shape,
                Some(true_size) => {
                    let expected = unit.bytes_at(stored);
                    if true_size != expected {
                        differing.push((unit.name.clone(), true_size, expected));
                    }
                    if stored == dtype || expected == 0 {
                        true_size
                    } else {
                        let scaled = u128::from(true_size) * u128::from(by_shape) / u128::from(expected);
                        u64::try_from(scaled).unwrap_or(u64::MAX)
                    }
                }
            };
            unit.kv_bytes_per_token = unit.kv_bytes_per_token.saturating_mul(dtype.element_bytes());
        }
        Self { shape, dtype, units, buffers, differing }
    }

    /// The same model as this engine holds it on the CPU: so many bytes of weights for each unit, in their order; keys
    /// and values in 32 bits, and of every token, also in layers that look back only so far.
    pub fn held_on_the_cpu(mut self, weights: &[u64]) -> Self {
        let kv = self.shape.decoder.kv_elements_per_token().saturating_mul(4);
        for (index, unit) in self.units.iter_mut().enumerate() {
            if let Some(bytes) = weights.get(index) {
                unit.weight_bytes = *bytes;
            }
            if matches!(unit.kind, UnitKind::Layer(_)) {
                unit.kv_bytes_per_token = kv;
                unit.kv_window = None;
            }
        }
        self
    }

    /// Bytes of all weights, shared ones once.
    pub fn weight_bytes(&self) -> u64 {
        self.units.iter().fold(0, |sum, unit| sum.saturating_add(unit.weight_bytes))
    }

    /// Parameters, shared ones once.
    pub fn parameters(&self) -> u64 {
        let own = self.units.iter().filter(|u| u.tied_with.is_none());
        own.flat_map(|u| u.tensors.iter()).fold(0, |sum, t| sum.saturating_add(t.elements()))
    }

    /// Bytes of keys and values a token over all layers.
    pub fn kv_bytes_per_token(&self) -> u64 {
        self.units.iter().fold(0, |sum, unit| sum.saturating_add(unit.kv_bytes_per_token))
    }

    /// The unit of a kind.
    pub fn position(&self, kind: UnitKind) -> Option<usize> {
        self.units.iter().position(|unit| unit.kind == kind)
    }

    /// The unit of a name, in this model's own spelling.
    pub fn by_name(&self, name: &str) -> Option<usize> {
        self.units.iter().position(|unit| unit.name == name)
    }
}
