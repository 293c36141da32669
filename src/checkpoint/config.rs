//! `config.json` of both InternVL layouts: GitHub (`internvl_chat`) and Hugging Face (`internvl`).

use serde_json::Value;

use super::fields::Fields;
use super::rope::Rope;
use crate::{Problem, Result};

/// Which of the two published layouts a checkpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// OpenGVLab's own: `model_type: internvl_chat`, tensors named `vision_model.…`, `mlp1.…`.
    Github,
    /// Native transformers: `model_type: internvl`, tensors named `vision_tower.…`.
    HuggingFace,
}

impl Layout {
    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Github => "GitHub (internvl_chat)",
            Self::HuggingFace => "Hugging Face (internvl)",
        }
    }
}

/// Order in which pixel shuffle emits a tile's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelShuffle {
    /// Column by column (InternVL before 1.5, and configurations without `ps_version`).
    V1,
    /// Row by row.
    V2,
}

/// Normalisation inside the vision tower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// LayerNorm with weight and bias (300M tower).
    LayerNorm,
    /// RMSNorm with weight only (6B tower).
    RmsNorm,
}

/// The vision tower, InternViT.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct VisionConfig {
    /// Channels of a patch.
    pub hidden: usize,
    /// Encoder blocks in the file.
    pub layers: usize,
    /// Blocks that are computed (`select_layer`).
    pub used_layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the MLP.
    pub intermediate: usize,
    /// Side of a tile in pixels.
    pub image_side: usize,
    /// Side of a patch in pixels.
    pub patch_side: usize,
    /// Whether q, k and v have a bias.
    pub qkv_bias: bool,
    /// Whether q and k are normalised over all heads.
    pub qk_norm: bool,
    /// Kind of normalisation.
    pub norm: NormKind,
    /// Its epsilon.
    pub eps: f64,
}

impl VisionConfig {
    /// Patches along one side of a tile.
    pub fn grid(&self) -> usize {
        self.image_side / self.patch_side
    }

    /// Positions of a tile: its patches and the class token.
    pub fn positions(&self) -> usize {
        self.grid() * self.grid() + 1
    }
}

/// Decoder families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs)]
pub enum Backbone {
    Llama,
    Qwen2,
    Qwen3,
    InternLm2,
    Phi3,
    Qwen3Moe,
    GptOss,
}

impl Backbone {
    /// By `architectures[0]` of the language model's configuration.
    pub fn by_architecture(name: &str) -> Option<Self> {
        Some(match name {
            "LlamaForCausalLM" => Self::Llama,
            "Qwen2ForCausalLM" => Self::Qwen2,
            "Qwen3ForCausalLM" => Self::Qwen3,
            "InternLM2ForCausalLM" => Self::InternLm2,
            "Phi3ForCausalLM" => Self::Phi3,
            "Qwen3MoeForCausalLM" => Self::Qwen3Moe,
            "GptOssForCausalLM" => Self::GptOss,
            _ => return None,
        })
    }

    /// By `model_type`.
    pub fn by_model_type(name: &str) -> Option<Self> {
        Some(match name {
            "llama" => Self::Llama,
            "qwen2" => Self::Qwen2,
            "qwen3" => Self::Qwen3,
            "internlm2" => Self::InternLm2,
            "phi3" => Self::Phi3,
            "qwen3_moe" => Self::Qwen3Moe,
            "gpt_oss" => Self::GptOss,
            _ => return None,
        })
    }

    /// The transformers class of the whole decoder.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
            Self::InternLm2 => "InternLM2ForCausalLM",
            Self::Phi3 => "Phi3ForCausalLM",
            Self::Qwen3Moe => "Qwen3MoeForCausalLM",
            Self::GptOss => "GptOssForCausalLM",
        }
    }
}

/// Mixture of experts in place of a layer's MLP.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MoeConfig {
    /// Experts of a layer.
    pub experts: usize,
    /// Experts that see a token.
    pub top_k: usize,
    /// Width of one expert.
    pub intermediate: usize,
    /// Whether the chosen experts' weights are rescaled to sum to 1 (Qwen3-MoE).
    pub renormalise: bool,
    /// Limit of GPT-OSS's clamped activation.
    pub swiglu_limit: f64,
    /// Slope of GPT-OSS's activation.
    pub swiglu_alpha: f64,
}

/// The language model.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct DecoderConfig {
    /// Family.
    pub backbone: Backbone,
    /// Width of the hidden state.
    pub hidden: usize,
    /// Decoder layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Width of the MLP; unused where every layer has experts.
    pub intermediate: usize,
    /// Rows of the embedding table.
    pub vocab: usize,
    /// Epsilon of every RMSNorm.
    pub eps: f64,
    /// Longest sequence the model was made for.
    pub max_positions: usize,
    /// Whether the head is the embedding table.
    pub tied: bool,
    /// Biases of q, k and v.
    pub qkv_bias: bool,
    /// Bias of the attention's output.
    pub out_bias: bool,
    /// Per-head RMSNorm of q and k before the rotation (Qwen3).
    pub qk_norm: bool,
    /// A learned extra logit for each head's softmax (GPT-OSS).
    pub sinks: bool,
    /// Window of each layer: `None` sees everything before it.
    pub windows: Vec<Option<usize>>,
    /// Rotary position embedding.
    pub rope: Rope,
    /// Experts, where the family has them.
    pub moe: Option<MoeConfig>,
}

/// A checkpoint's `config.json`, understood.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Config {
    /// Layout stated by the file.
    pub layout: Layout,
    /// Vision tower.
    pub vision: VisionConfig,
    /// Language model.
    pub decoder: DecoderConfig,
    /// Order of a tile's tokens.
    pub pixel_shuffle: PixelShuffle,
    /// Patches along one side that become one token (1 / `downsample_ratio`).
    pub shuffle: usize,
    /// Prompt template named by the file (GitHub layout).
    pub template: Option<String>,
    /// Most tiles of an image unless a dataset or the user says otherwise.
    pub max_tiles: usize,
    /// Fewest tiles of an image.
    pub min_tiles: usize,
    /// Whether images are cut into tiles at all.
    pub dynamic_tiles: bool,
    /// Whether a thumbnail follows the tiles of an image that has several.
    pub thumbnail: bool,
    /// Id of the image token where the file states it (Hugging Face layout).
    pub image_token: Option<u32>,
}

impl Config {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// A model that is not InternVL, an unknown backbone, unmerged LoRA, a Flash variant, or numbers that do not fit
    /// together; the sentence names the field.
    pub fn parse(value: &Value, place: &str) -> Result<Self> {
        let top = Fields::new(value, place);
        let layout = match (top.text("model_type"), architecture(&top)) {
            (Some("internvl_chat"), _) | (None, Some("InternVLChatModel")) => Layout::Github,
            (Some("internvl"), _) | (None, Some("InternVLForConditionalGeneration")) => Layout::HuggingFace,
            (kind, _) => {
                return Err(Problem::new(format!(
                    "describes a model of type {:?}, not an InternVL model",
                    kind.unwrap_or("unknown")
                ))
                .at(place)
                .fix("choose an InternVL checkpoint (`model_type` internvl_chat or internvl)"));
            }
        };
        refuse_variants(&top, place)?;
        let vision_place = format!("{place}, vision_config");
        let vision_value =
            top.get("vision_config").ok_or_else(|| top.wrong("vision_config", "is missing"))?;
        let mut vision = vision(&Fields::new(vision_value, &vision_place), layout)?;
        if layout == Layout::Github {
            vision.image_side = top.count_or("force_image_size", Some(vision.image_side))?;
        }
        let selected =
            top.number(if layout == Layout::Github { "select_layer" } else { "vision_feature_layer" }, -1.0)?;
        vision.used_layers = used_layers(vision.layers, selected).ok_or_else(|| {
            top.wrong("select_layer", &format!("is {selected}, but the tower has {} layers", vision.layers))
        })?;

        let llm_field = if layout == Layout::Github { "llm_config" } else { "text_config" };
        let llm_place = format!("{place}, {llm_field}");
        let llm_value = top.get(llm_field).ok_or_else(|| top.wrong(llm_field, "is missing"))?;
        let decoder = decoder(&Fields::new(llm_value, &llm_place), &top, layout)?;

        let ratio = top.number("downsample_ratio", 0.5)?;
        let shuffle = (1.0 / ratio).round();
        if !(1.0..=16.0).contains(&shuffle) || (shuffle * ratio - 1.0).abs() > 1e-6 {
            return Err(
                top.wrong("downsample_ratio", &format!("is {ratio}, which is not one over a whole number"))
            );
        }
        let shuffle = shuffle as usize;
        if vision.patch_side > vision.image_side || !vision.grid().is_multiple_of(shuffle) {
            return Err(top.wrong(
                "downsample_ratio",
                &format!("does not divide the tile's {0} x {0} patches", vision.grid()),
            ));
        }
        let pixel_shuffle = match (layout, top.text("ps_version")) {
            (Layout::HuggingFace, _) | (_, Some("v2")) => PixelShuffle::V2,
            (_, None | Some("v1")) => PixelShuffle::V1,
            (_, Some(other)) => {
                return Err(top.wrong("ps_version", &format!("is {other:?}; v1 and v2 are known")));
            }
        };
        Ok(Self {
            layout,
            pixel_shuffle,
            shuffle,
            template: top.text("template").map(str::to_owned),
            max_tiles: top
                .count_or("max_dynamic_patch", Some(if layout == Layout::Github { 6 } else { 12 }))?,
            min_tiles: top.count_or("min_dynamic_patch", Some(1))?,
            dynamic_tiles: top.flag("dynamic_image_size", layout == Layout::HuggingFace)?,
            thumbnail: top.flag("use_thumbnail", layout == Layout::HuggingFace)?,
            image_token: top
                .get("image_token_id")
                .and_then(Value::as_u64)
                .and_then(|id| u32::try_from(id).ok()),
            vision,
            decoder,
        })
    }

    /// Tokens that one tile becomes.
    pub fn tokens_per_tile(&self) -> usize {
        (self.vision.grid() / self.shuffle).pow(2)
    }

    /// Channels of a shuffled patch, the projector's input.
    pub fn projector_input(&self) -> usize {
        self.vision.hidden * self.shuffle * self.shuffle
    }
}

fn architecture<'a>(fields: &Fields<'a>) -> Option<&'a str> {
    fields.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str)
}

fn refuse_variants(top: &Fields<'_>, place: &str) -> Result<()> {
    for field in ["use_backbone_lora", "use_llm_lora"] {
        if top.number(field, 0.0)? > 0.0 {
            return Err(Problem::new(format!("holds unmerged LoRA weights (`{field}` is above 0)"))
                .at(place)
                .fix(
                    "merge the adapters into the weights first (tools/merge_lora.py of OpenGVLab/InternVL)",
                ));
        }
    }
    if ["flash_mode", "flash_relative_threshold", "flash_absolute_threshold"]
        .iter()
        .any(|f| top.get(f).is_some())
    {
        return Err(Problem::new(
            "is a Flash variant, whose tiles have 64 or 256 tokens; Shardscope does not run these",
        )
        .at(place)
        .fix("choose the checkpoint of the same size without \"Flash\" in its name"));
    }
    Ok(())
}

fn vision(fields: &Fields<'_>, layout: Layout) -> Result<VisionConfig> {
    let github = layout == Layout::Github;
    let norm = match fields.text("norm_type").unwrap_or(if github { "rms_norm" } else { "layer_norm" }) {
        "layer_norm" => NormKind::LayerNorm,
        "rms_norm" => NormKind::RmsNorm,
        other => {
            return Err(
                fields.wrong("norm_type", &format!("is {other:?}; layer_norm and rms_norm are known"))
            );
        }
    };
    if let Some(act) = fields.text("hidden_act").filter(|act| *act != "gelu") {
        return Err(fields.wrong("hidden_act", &format!("is {act:?}; InternViT uses gelu")));
    }
    if fields.count_or("num_channels", Some(3))? != 3 {
        return Err(fields.wrong("num_channels", "is not 3"));
    }
    let (hidden, heads) = (fields.count("hidden_size")?, fields.count("num_attention_heads")?);
    if hidden % heads != 0 {
        return Err(
            fields.wrong("num_attention_heads", &format!("is {heads}, which does not divide {hidden}"))
        );
    }
    let layers = fields.count("num_hidden_layers")?;
    refuse_many_layers(fields, layers)?;
    Ok(VisionConfig {
        hidden,
        layers,
        used_layers: layers,
        heads,
        intermediate: fields.count("intermediate_size")?,
        image_side: fields.count("image_size")?,
        patch_side: fields.count("patch_size")?,
        qkv_bias: fields.flag(if github { "qkv_bias" } else { "attention_bias" }, false)?,
        qk_norm: fields.flag(if github { "qk_normalization" } else { "use_qk_norm" }, github)?,
        norm,
        eps: fields.number("layer_norm_eps", 1e-6)?,
    })
}

/// `hidden_states[select]`, where index 0 is the embeddings' output and -1 the last block's.
fn used_layers(layers: usize, select: f64) -> Option<usize> {
    let states = layers as f64 + 1.0;
    let index = if select < 0.0 { states + select } else { select };
    (index.fract() == 0.0 && (0.0..states).contains(&index)).then_some(index as usize)
}

fn refuse_many_layers(fields: &Fields<'_>, layers: usize) -> Result<()> {
    if layers > 4096 {
        return Err(fields.wrong("num_hidden_layers", &format!("is {layers}; no known model has as many")));
    }
    Ok(())
}

fn decoder(fields: &Fields<'_>, top: &Fields<'_>, layout: Layout) -> Result<DecoderConfig> {
    let known = match architecture(fields) {
        Some(name) => Backbone::by_architecture(name),
        None => fields.text("model_type").and_then(Backbone::by_model_type),
    };
    let Some(backbone) = known else {
        let name = architecture(fields).or_else(|| fields.text("model_type")).unwrap_or("unnamed");
        return Err(fields.wrong(
            "architectures",
            &format!("names the language model {name:?}, which Shardscope does not know (it knows Llama, Qwen2, Qwen3, Qwen3-MoE, InternLM2, Phi3 and GPT-OSS)"),
        ));
    };
    let (hidden, heads) = (fields.count("hidden_size")?, fields.count("num_attention_heads")?);
    let kv_heads = fields.count_or("num_key_value_heads", Some(heads))?;
    if heads % kv_heads != 0 {
        return Err(fields
            .wrong("num_key_value_heads", &format!("is {kv_heads}, which does not divide {heads} heads")));
    }
    let default_head = match backbone {
        Backbone::Qwen3 | Backbone::Qwen3Moe => 128,
        Backbone::GptOss => 64,
        _ => hidden / heads,
    };
    let head_dim = fields.count_or("head_dim", Some(default_head.max(1)))?;
    if head_dim % 2 != 0 {
        return Err(fields.wrong("head_dim", &format!("is {head_dim}; rotary positions need an even width")));
    }
    let layers = fields.count("num_hidden_layers")?;
    refuse_many_layers(fields, layers)?;
    let max_positions = fields.count_or("max_position_embeddings", Some(32768))?;
    let bias = fields.flag("attention_bias", matches!(backbone, Backbone::GptOss))?;
    if backbone == Backbone::InternLm2 && fields.flag("bias", false)? {
        return Err(fields.wrong("bias", "is true; no published InternLM2 has biases"));
    }
    if let Some(act) = fields.text("hidden_act").filter(|act| !matches!(*act, "silu" | "swish")) {
        return Err(fields.wrong("hidden_act", &format!("is {act:?}; InternVL's language models use silu")));
    }
    if fields.number("partial_rotary_factor", 1.0)? != 1.0 {
        return Err(
            fields.wrong("partial_rotary_factor", "is not 1; InternVL's language models rotate whole heads")
        );
    }
    // The GitHub layout's flag belongs to the language model; of the other layout the model as a whole has it.
    let tied = match layout {
        Layout::Github => fields.flag("tie_word_embeddings", top.flag("tie_word_embeddings", false)?)?,
        Layout::HuggingFace => top.flag("tie_word_embeddings", fields.flag("tie_word_embeddings", true)?)?,
    };
    Ok(DecoderConfig {
        backbone,
        hidden,
        layers,
        heads,
        kv_heads,
        head_dim,
        intermediate: fields.count_or("intermediate_size", Some(hidden * 4))?,
        vocab: fields.count("vocab_size")?,
        eps: fields.number("rms_norm_eps", 1e-6)?,
        max_positions,
        tied,
        qkv_bias: backbone == Backbone::Qwen2 || bias,
        out_bias: bias && backbone != Backbone::Qwen2,
        qk_norm: matches!(backbone, Backbone::Qwen3 | Backbone::Qwen3Moe),
        sinks: backbone == Backbone::GptOss,
        windows: windows(fields, backbone, layers)?,
        rope: Rope::parse(fields, backbone, head_dim, max_positions)?,
        moe: moe(fields, backbone)?,
    })
}

fn windows(fields: &Fields<'_>, backbone: Backbone, layers: usize) -> Result<Vec<Option<usize>>> {
    let used = match backbone {
        Backbone::GptOss | Backbone::Phi3 => true,
        _ => fields.flag("use_sliding_window", false)?,
    };
    if !used || fields.get("sliding_window").is_none() {
        return Ok(vec![None; layers]);
    }
    let window = fields.count("sliding_window")?;
    let kinds = fields.get("layer_types").and_then(Value::as_array);
    let max_window_layers = fields.get("max_window_layers").and_then(Value::as_u64).unwrap_or(0) as usize;
    Ok((0..layers)
        .map(|i| {
            let sliding = match (kinds.and_then(|list| list.get(i)).and_then(Value::as_str), backbone) {
                (Some(kind), _) => kind == "sliding_attention",
                (None, Backbone::GptOss) => i % 2 == 0,
                (None, Backbone::Phi3) => true,
                (None, _) => i >= max_window_layers,
            };
            sliding.then_some(window)
        })
        .collect())
}

fn moe(fields: &Fields<'_>, backbone: Backbone) -> Result<Option<MoeConfig>> {
    let intermediate = match backbone {
        Backbone::Qwen3Moe => fields.count("moe_intermediate_size")?,
        Backbone::GptOss => fields.count("intermediate_size")?,
        _ => return Ok(None),
    };
    if backbone == Backbone::Qwen3Moe {
        let dense =
            fields.get("mlp_only_layers").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        if dense || fields.count_or("decoder_sparse_step", Some(1))? != 1 {
            return Err(
                fields.wrong("decoder_sparse_step", "mixes dense and sparse layers, which no InternVL does")
            );
        }
    }
    let experts = match fields.get("num_experts") {
        Some(_) => fields.count("num_experts")?,
        None => fields.count("num_local_experts")?,
    };
    let top_k = fields.count("num_experts_per_tok")?;
    if top_k > experts {
        return Err(
            fields.wrong("num_experts_per_tok", &format!("is {top_k}, more than the {experts} experts"))
        );
    }
    if experts > 1 << 14 {
        return Err(fields.wrong("num_experts", &format!("is {experts}; no known model has as many")));
    }
    Ok(Some(MoeConfig {
        experts,
        top_k,
        intermediate,
        renormalise: fields.flag("norm_topk_prob", false)?,
        swiglu_limit: fields.number("swiglu_limit", 7.0)?,
        swiglu_alpha: fields.number("swiglu_alpha", 1.702)?,
    }))
}
