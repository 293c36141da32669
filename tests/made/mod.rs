//! Checkpoints of any size with made-up weights, for tests that look at memory and not at answers.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use shardscope::checkpoint::config::Config;
use shardscope::checkpoint::names;

/// Numbers of a model (Qwen2 behind InternViT, in OpenGVLab's layout).
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub vision_layers: usize,
    pub vision_hidden: usize,
    pub vision_heads: usize,
    pub vision_ff: usize,
    pub image: usize,
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub ff: usize,
    pub vocab: usize,
}

impl Shape {
    fn config(&self, dtype: Dtype) -> Value {
        let dtype = if dtype == Dtype::F32 { "float32" } else { "bfloat16" };
        json!({
            "architectures": ["InternVLChatModel"], "model_type": "internvl_chat", "downsample_ratio": 0.5,
            "dynamic_image_size": true, "force_image_size": self.image, "max_dynamic_patch": 12,
            "min_dynamic_patch": 1, "ps_version": "v2", "select_layer": -1, "template": "internvl2_5",
            "torch_dtype": dtype, "use_backbone_lora": 0, "use_llm_lora": 0, "use_thumbnail": true,
            "llm_config": {
                "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
                "hidden_size": self.hidden, "intermediate_size": self.ff, "max_position_embeddings": 32768,
                "num_attention_heads": self.heads, "num_hidden_layers": self.layers,
                "num_key_value_heads": self.kv_heads, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
                "vocab_size": self.vocab, "rope_theta": 10000.0, "torch_dtype": dtype
            },
            "vision_config": {
                "architectures": ["InternVisionModel"], "model_type": "intern_vit_6b", "hidden_act": "gelu",
                "hidden_size": self.vision_hidden, "image_size": self.image, "patch_size": 14,
                "intermediate_size": self.vision_ff, "layer_norm_eps": 1e-6, "norm_type": "layer_norm",
                "num_attention_heads": self.vision_heads, "num_channels": 3,
                "num_hidden_layers": self.vision_layers, "qk_normalization": false, "qkv_bias": true
            }
        })
    }

    /// Writes the checkpoint into a folder.
    pub fn write(&self, folder: &Path, dtype: Dtype) {
        let config = self.config(dtype);
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let config = Config::parse(&config, "config.json").unwrap();
        let mut seed = 1u32;
        let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for unit in names::units(&config) {
            for tensor in &unit.groupings[0] {
                let mut value = || {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 8) as f32 / 16_777_216.0 * 0.1 - 0.05
                };
                let count: usize = tensor.shape.iter().product();
                let bytes = match dtype {
                    Dtype::F32 => (0..count).flat_map(|_| value().to_le_bytes()).collect(),
                    _ => (0..count).flat_map(|_| half::bf16::from_f32(value()).to_le_bytes()).collect(),
                };
                tensors.push((format!("{}.{}", unit.modules[0], tensor.name), tensor.shape.clone(), bytes));
            }
        }
        let views: HashMap<&str, TensorView<'_>> = tensors
            .iter()
            .map(|(name, shape, bytes)| {
                (name.as_str(), TensorView::new(dtype, shape.clone(), bytes).unwrap())
            })
            .collect();
        safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    }
}
