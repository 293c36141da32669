//! InternViT and the projector: tiles to tokens.

use candle_core::{D, Device, Tensor};

use super::activation::add_scaled;
use super::attention::{Mask, attention};
use super::host::{Factors, Kernel};
use super::linear::Linear;
use super::norm::Norm;
use super::weights::UnitWeights;
use crate::Result;
use crate::checkpoint::{Config, PixelShuffle, VisionConfig};

/// LayerNorm epsilon of the projector; the original leaves PyTorch's default.
const PROJECTOR_EPS: f64 = 1e-5;

/// Patch convolution, class token and positions.
#[derive(Debug, Clone)]
pub struct VisionEmbeddings {
    class_embedding: Tensor,
    position_embedding: Tensor,
    patch_embedding: Linear,
    patch_side: usize,
}

impl VisionEmbeddings {
    /// Loads the unit.
    ///
    /// # Errors
    /// As [`UnitWeights::tensor`].
    pub fn new(config: &VisionConfig, weights: &UnitWeights<'_>) -> Result<Self> {
        Ok(Self {
            class_embedding: weights.tensor("class_embedding")?,
            position_embedding: weights.tensor("position_embedding")?,
            patch_embedding: weights.linear("patch_embedding")?,
            patch_side: config.patch_side,
        })
    }

    /// Pixels `[tiles, 3, side, side]` to `[tiles, patches + 1, channels]`.
    ///
    /// # Errors
    /// Shapes that do not fit together.
    pub fn forward(&self, pixels: &Tensor) -> candle_core::Result<Tensor> {
        let pixels = pixels.to_device(self.device())?.to_dtype(self.position_embedding.dtype())?;
        let (tiles, channels, side, _) = pixels.dims4()?;
        let (patch, grid) = (self.patch_side, side / self.patch_side);
        // A convolution whose stride is its size is a linear layer over every patch.
        let patches = pixels
            .reshape(&[tiles, channels, grid, patch, grid, patch])?
            .permute([0, 2, 4, 1, 3, 5])?
            .contiguous()?
            .reshape((tiles, grid * grid, channels * patch * patch))?;
        let patches = self.patch_embedding.forward(&patches, Kernel::Many)?;
        let class = self.class_embedding.broadcast_as((tiles, 1, patches.dim(D::Minus1)?))?;
        Tensor::cat(&[&class.contiguous()?, &patches], 1)?.broadcast_add(&self.position_embedding)
    }

    /// Where its weights are.
    pub fn device(&self) -> &Device {
        self.position_embedding.device()
    }
}

/// q, k and v from one product or from three.
#[derive(Debug, Clone)]
enum Projections {
    Fused(Linear),
    Apart([Linear; 3]),
}

/// One encoder block.
#[derive(Debug, Clone)]
pub struct VisionBlock {
    norm1: Norm,
    norm2: Norm,
    ls1: Tensor,
    ls2: Tensor,
    projections: Projections,
    qk_norm: Option<(Norm, Norm)>,
    proj: Linear,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    factors: Factors,
}

impl VisionBlock {
    /// Loads the unit.
    ///
    /// # Errors
    /// As [`UnitWeights::tensor`].
    pub fn new(config: &VisionConfig, weights: &UnitWeights<'_>) -> Result<Self> {
        let projections = if weights.has("attn.qkv.weight") {
            Projections::Fused(weights.linear("attn.qkv")?)
        } else {
            Projections::Apart([
                weights.linear("attn.q")?,
                weights.linear("attn.k")?,
                weights.linear("attn.v")?,
            ])
        };
        let qk_norm = match config.qk_norm {
            true => Some((
                Norm::rms(weights, "attn.q_norm.weight", config.eps)?,
                Norm::rms(weights, "attn.k_norm.weight", config.eps)?,
            )),
            false => None,
        };
        Ok(Self {
            norm1: Norm::new(weights, "norm1", config.norm, config.eps)?,
            norm2: Norm::new(weights, "norm2", config.norm, config.eps)?,
            ls1: weights.tensor("ls1")?,
            ls2: weights.tensor("ls2")?,
            projections,
            qk_norm,
            proj: weights.linear("attn.proj")?,
            fc1: weights.linear("mlp.fc1")?,
            fc2: weights.linear("mlp.fc2")?,
            heads: config.heads,
            factors: weights.factors(),
        })
    }

    /// `[tiles, positions, channels]` to the same.
    ///
    /// # Errors
    /// Shapes that do not fit together.
    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = x.to_device(self.ls1.device())?;
        let attended = self.attention(&self.norm1.forward(&x)?)?;
        let x = add_scaled(attended, &self.ls1, &x)?;
        let hidden = self.fc1.forward(&self.norm2.forward(&x)?, Kernel::Many)?;
        add_scaled(self.fc2.forward_gelu(&hidden)?, &self.ls2, &x)
    }

    fn attention(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let (tiles, positions, channels) = x.dims3()?;
        let [q, k, v] = match &self.projections {
            Projections::Fused(qkv) => {
                let qkv = qkv.forward(x, Kernel::Many)?.reshape(&[
                    tiles,
                    positions,
                    3,
                    self.heads,
                    channels / self.heads,
                ])?;
                [0, 1, 2].map(|i| qkv.narrow(2, i, 1).and_then(|part| part.squeeze(2)))
            }
            Projections::Apart(parts) => {
                let shape = (tiles, positions, self.heads, channels / self.heads);
                [0, 1, 2].map(|i| parts[i].forward(x, Kernel::Many).and_then(|part| part.reshape(shape)))
            }
        };
        let (mut q, mut k, v) = (q?, k?, v?);
        if let Some((q_norm, k_norm)) = &self.qk_norm {
            // Over all channels, not head by head.
            let over_all = |norm: &Norm, t: &Tensor| norm.forward(&t.flatten_from(2)?)?.reshape(t.shape());
            (q, k) = (over_all(q_norm, &q)?, over_all(k_norm, &k)?);
        }
        let [q, k, v] = [q.transpose(1, 2)?, k.transpose(1, 2)?, v.transpose(1, 2)?];
        self.proj.forward(&attention(&q, &k, &v, Mask::NONE, None, self.factors)?, Kernel::Many)
    }
}

/// Pixel shuffle and the two-layer projector: patches of a tile to tokens of the language model.
#[derive(Debug, Clone)]
pub struct Projector {
    norm: Norm,
    linear_1: Linear,
    linear_2: Linear,
    shuffle: usize,
    order: PixelShuffle,
    device: Device,
}

impl Projector {
    /// Loads the unit.
    ///
    /// # Errors
    /// As [`UnitWeights::tensor`].
    pub fn new(config: &Config, weights: &UnitWeights<'_>) -> Result<Self> {
        Ok(Self {
            norm: Norm::new(weights, "0", crate::checkpoint::NormKind::LayerNorm, PROJECTOR_EPS)?,
            linear_1: weights.linear("1")?,
            linear_2: weights.linear("3")?,
            shuffle: config.shuffle,
            order: config.pixel_shuffle,
            device: weights.device.clone(),
        })
    }

    /// `[tiles, patches + 1, channels]` to `[tiles, tokens, hidden]`; the class token is dropped.
    ///
    /// # Errors
    /// Shapes that do not fit together.
    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = x.to_device(&self.device)?;
        let (tiles, positions, channels) = x.dims3()?;
        let patches = x.narrow(1, 1, positions - 1)?;
        let tokens = pixel_shuffle(&patches, self.shuffle, self.order, tiles, channels)?;
        let hidden = self.linear_1.forward(&self.norm.forward(&tokens)?, Kernel::Many)?;
        self.linear_2.forward_gelu(&hidden)
    }
}

/// Puts `shuffle` x `shuffle` neighbouring patches into one token, their channels one after another.
fn pixel_shuffle(
    patches: &Tensor,
    shuffle: usize,
    order: PixelShuffle,
    tiles: usize,
    channels: usize,
) -> candle_core::Result<Tensor> {
    let grid = patches.dim(1)?.isqrt();
    let side = grid / shuffle;
    let split = patches.contiguous()?.reshape(&[tiles, side, shuffle, side, shuffle, channels])?;
    let tokens = match order {
        PixelShuffle::V2 => split.permute([0, 1, 3, 2, 4, 5])?,
        PixelShuffle::V1 => split.permute([0, 3, 1, 2, 4, 5])?,
    };
    tokens.contiguous()?.reshape((tiles, side * side, shuffle * shuffle * channels))
}
