//! A shape read from `config.json`, of the OpenGVLab releases (`internvl_chat`) or of transformers (`internvl`).

use serde_json::Value;

use super::assumptions::Dtype;
use super::naming::Naming;
use super::shape::{
    DecoderShape, DecoderStyle, ExpertsShape, ModelShape, ProjectorShape, SlidingShape, VisionShape,
};
use crate::{Problem, Result};

impl ModelShape {
    /// Reads both InternVL configuration formats, leniently: unknown keys are ignored, missing ones take the default of
    /// the model class. Other families are refused; the catalogue knows some of them.
    pub fn from_config(config: &Value) -> Result<Self> {
        let github = config.get("llm_config").is_some();
        let text = config
            .get("llm_config")
            .or_else(|| config.get("text_config"))
            .filter(|section| section.is_object())
            .ok_or_else(|| {
                Problem::new("this configuration has neither llm_config nor text_config")
                    .at("config.json")
                    .fix("choose the folder of an InternVL checkpoint, or a model of the catalogue")
            })?;
        let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
        if !matches!(model_type, "internvl_chat" | "internvl" | "") {
            return Err(Problem::new(format!("the model type {model_type:?} is not InternVL"))
                .at("config.json")
                .fix("plan it by name if the catalogue has it: shardscope plan --list"));
        }
        let decoder = decoder(config, text, github)?;
        let vision_section = config
            .get("vision_config")
            .filter(|section| section.is_object())
            .ok_or_else(|| Problem::new("this configuration has no vision_config").at("config.json"))?;
        let vision = vision(config, vision_section, github)?;
        let ratio = config.get("downsample_ratio").and_then(Value::as_f64).unwrap_or(0.5).clamp(0.0, 1.0);
        let patches = (vision.positions.saturating_sub(u64::from(vision.class_token))) as f64;
        let shuffle = if ratio > 0.0 { (1.0 / (ratio * ratio)).round() as u64 } else { 1 };
        let tokens_per_tile =
            number(config, "image_seq_length").unwrap_or((patches * ratio * ratio).round() as u64);
        let input = vision.hidden.saturating_mul(shuffle);
        let projector = ProjectorShape { norm: input, input, middle: decoder.hidden, extra: 0 };
        let naming = match (github, decoder.style) {
            (true, DecoderStyle::Internlm2) => Naming::internlm2(),
            (true, _) => Naming::github(),
            (false, _) => Naming::hugging_face(),
        };
        let stored = ["torch_dtype", "dtype"]
            .iter()
            .find_map(|key| config.get(key).or_else(|| text.get(key)).and_then(Value::as_str))
            .and_then(|name| Dtype::parse(name).ok())
            .unwrap_or(Dtype::Bf16);
        let shape = ModelShape {
            name: config
                .get("_name_or_path")
                .and_then(Value::as_str)
                .filter(|n| !n.is_empty())
                .unwrap_or("model")
                .into(),
            vision: Some((vision, projector)),
            runnable: decoder.style != DecoderStyle::GptOss,
            decoder,
            tokens_per_tile,
            max_tiles: number(config, "max_dynamic_patch")
                .or_else(|| number(config, "max_patches"))
                .unwrap_or(12),
            positions: number(text, "max_position_embeddings"),
            stored,
            naming,
        };
        shape.check()?;
        Ok(shape)
    }
}

/// A number given as integer, float or the first entry of a list (`image_size: [448, 448]`).
fn number(section: &Value, key: &str) -> Option<u64> {
    let value = section.get(key)?;
    let value = value.as_array().and_then(|list| list.first()).unwrap_or(value);
    value.as_u64().or_else(|| value.as_f64().filter(|f| (0.0..1e15).contains(f)).map(|f| f as u64))
}

fn flag(section: &Value, key: &str) -> Option<bool> {
    section.get(key).and_then(Value::as_bool)
}

fn need(section: &Value, key: &str, whose: &str) -> Result<u64> {
    number(section, key).filter(|&n| n > 0).ok_or_else(|| {
        Problem::new(format!("{whose} lacks {key}, or it is not a positive number")).at("config.json")
    })
}

fn vision(config: &Value, section: &Value, github: bool) -> Result<VisionShape> {
    let hidden = need(section, "hidden_size", "vision_config")?;
    let image_size = if github { number(config, "force_image_size") } else { None }
        .or_else(|| number(section, "image_size"))
        .unwrap_or(448);
    let patch_size = need(section, "patch_size", "vision_config")?;
    let side = image_size / patch_size;
    let positions = side.saturating_mul(side).saturating_add(1);
    // The learned table belongs to the tower's own image size, which the forced size may differ from.
    let own_side = number(section, "image_size").unwrap_or(image_size) / patch_size;
    let norm = section.get("norm_type").and_then(Value::as_str).unwrap_or("rms_norm");
    Ok(VisionShape {
        layers: need(section, "num_hidden_layers", "vision_config")?,
        hidden,
        heads: number(section, "num_attention_heads").unwrap_or(1),
        ff: number(section, "intermediate_size").unwrap_or(hidden.saturating_mul(4)),
        positions,
        image_size,
        patch_size,
        frames: 1,
        qkv_bias: flag(section, "qkv_bias").or_else(|| flag(section, "attention_bias")).unwrap_or(false),
        qk_norm: flag(section, "qk_normalization").or_else(|| flag(section, "use_qk_norm")).unwrap_or(github),
        norm_bias: norm == "layer_norm",
        gated: false,
        layer_scale: true,
        class_token: true,
        position_table: own_side.saturating_mul(own_side).saturating_add(1),
        extra: 0,
    })
}

fn decoder(config: &Value, text: &Value, github: bool) -> Result<DecoderShape> {
    let whose = if github { "llm_config" } else { "text_config" };
    let class = text.get("architectures").and_then(|a| a.get(0)).and_then(Value::as_str).unwrap_or_default();
    let kind = text.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let style = if class.starts_with("InternLM2") || kind == "internlm2" {
        DecoderStyle::Internlm2
    } else if class.starts_with("Phi3") || kind == "phi3" {
        DecoderStyle::Phi3
    } else if class.starts_with("GptOss") || kind == "gpt_oss" {
        DecoderStyle::GptOss
    } else {
        DecoderStyle::Llama
    };
    let qwen2 = class.starts_with("Qwen2") || kind == "qwen2";
    let qwen3 = class.starts_with("Qwen3") || kind.starts_with("qwen3");
    let hidden = need(text, "hidden_size", whose)?;
    let heads = need(text, "num_attention_heads", whose)?;
    let head_dim = number(text, "head_dim").filter(|&d| d > 0).unwrap_or(hidden / heads);
    let experts = match number(text, "num_experts").or_else(|| number(text, "num_local_experts")) {
        Some(count) if count > 0 && (qwen3 || style == DecoderStyle::GptOss) => Some(ExpertsShape {
            count,
            active: number(text, "num_experts_per_tok").unwrap_or(1),
            ff: number(text, "moe_intermediate_size")
                .or_else(|| number(text, "intermediate_size"))
                .unwrap_or(0),
            shared_ff: 0,
            dense_layers: 0,
        }),
        _ => None,
    };
    let sliding = (style == DecoderStyle::GptOss)
        .then(|| number(text, "sliding_window").map(|window| SlidingShape { window, period: 2 }))
        .flatten();
    // Every released InternVL checkpoint carries its own head, whatever the class default says; only an explicit true
    // in the language section of a remote-code configuration ties it.
    let tied = github
        && flag(config, "tie_word_embeddings").unwrap_or(false)
        && flag(text, "tie_word_embeddings").unwrap_or(false);
    let bias = flag(text, "attention_bias");
    Ok(DecoderShape {
        hidden,
        layers: need(text, "num_hidden_layers", whose)?,
        heads,
        kv_heads: number(text, "num_key_value_heads").unwrap_or(heads),
        head_dim,
        ff: if experts.is_some() {
            number(text, "intermediate_size").unwrap_or(0)
        } else {
            need(text, "intermediate_size", whose)?
        },
        vocab: need(text, "vocab_size", whose)?,
        tied,
        qkv_bias: qwen2 || bias.unwrap_or(style == DecoderStyle::GptOss),
        output_bias: !qwen2 && bias.unwrap_or(style == DecoderStyle::GptOss),
        qk_norm: qwen3,
        style,
        experts,
        latent: None,
        sliding,
    })
}
