//! What every unit of an InternVL model is called, and the tensors it must hold.
//!
//! Our own name of a tensor is local to its unit (`attn.qkv.weight`, `self_attn.q_proj.weight`) and the same for
//! every layout; the alternatives are how the two layouts, InternLM2, and transformers' in-memory spelling write it.

use super::config::{Backbone, Config, NormKind};

/// What a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitKind {
    /// Patch convolution, class token and positions.
    VisionEmbeddings,
    /// One encoder block of the vision tower.
    VisionBlock,
    /// Pixel shuffle and the two-layer projector.
    Projector,
    /// Token embedding table.
    TokenEmbedding,
    /// One decoder layer.
    DecoderLayer,
    /// The norm after the last layer.
    FinalNorm,
    /// Output projection onto the vocabulary.
    Head,
}

/// A tensor that a unit must (or may) hold.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Our local name.
    pub name: String,
    /// Other spellings, local to the unit.
    pub aliases: Vec<String>,
    /// Shape.
    pub shape: Vec<usize>,
}

/// A unit and what it must hold.
#[derive(Debug, Clone)]
pub struct UnitSpec {
    /// What it is.
    pub kind: UnitKind,
    /// Index among units of its kind.
    pub index: usize,
    /// Module paths that checkpoints use for it, the GitHub layout's first, the Hugging Face layout's second.
    pub modules: Vec<String>,
    /// Its tensors, every alternative grouping as one list; the first list whose tensors are all there is taken.
    pub groupings: Vec<Vec<Expected>>,
}

fn expected(name: &str, aliases: &[&str], shape: &[usize]) -> Expected {
    Expected {
        name: name.to_owned(),
        aliases: aliases.iter().map(|a| (*a).to_owned()).collect(),
        shape: shape.to_vec(),
    }
}

/// Every unit of a model in execution order.
pub fn units(config: &Config) -> Vec<UnitSpec> {
    let mut units = vec![vision_embeddings(config)];
    units.extend((0..config.vision.layers).map(|i| vision_block(config, i)));
    units.push(projector(config));
    units.push(token_embedding(config));
    units.extend((0..config.decoder.layers).map(|i| decoder_layer(config, i)));
    units.push(final_norm(config));
    units.push(head(config));
    units
}

fn vision_embeddings(config: &Config) -> UnitSpec {
    let (c, p, n) = (config.vision.hidden, config.vision.patch_side, config.vision.positions());
    let patch = "patch_embeddings.projection";
    UnitSpec {
        kind: UnitKind::VisionEmbeddings,
        index: 0,
        modules: modules(&[
            "vision_model.embeddings",
            "vision_tower.embeddings",
            "model.vision_tower.embeddings",
        ]),
        groupings: vec![vec![
            expected("class_embedding", &["cls_token"], &[1, 1, c]),
            expected("position_embedding", &["position_embeddings"], &[1, n, c]),
            expected("patch_embedding.weight", &[&format!("{patch}.weight")], &[c, 3, p, p]),
            expected("patch_embedding.bias", &[&format!("{patch}.bias")], &[c]),
        ]],
    }
}

fn vision_block(config: &Config, i: usize) -> UnitSpec {
    let vision = &config.vision;
    let (c, ff) = (vision.hidden, vision.intermediate);
    let mut common = Vec::new();
    for (ours, theirs) in [("norm1", "layernorm_before"), ("norm2", "layernorm_after")] {
        common.push(expected(&format!("{ours}.weight"), &[&format!("{theirs}.weight")], &[c]));
        if vision.norm == NormKind::LayerNorm {
            common.push(expected(&format!("{ours}.bias"), &[&format!("{theirs}.bias")], &[c]));
        }
    }
    common.push(expected("ls1", &["lambda_1"], &[c]));
    common.push(expected("ls2", &["lambda_2"], &[c]));
    common.push(expected("attn.proj.weight", &["attention.projection_layer.weight"], &[c, c]));
    common.push(expected("attn.proj.bias", &["attention.projection_layer.bias"], &[c]));
    if vision.qk_norm {
        common.push(expected("attn.q_norm.weight", &["attention.q_norm.weight"], &[c]));
        common.push(expected("attn.k_norm.weight", &["attention.k_norm.weight"], &[c]));
    }
    for (name, out, input) in [("fc1", ff, c), ("fc2", c, ff)] {
        common.push(expected(&format!("mlp.{name}.weight"), &[], &[out, input]));
        common.push(expected(&format!("mlp.{name}.bias"), &[], &[out]));
    }
    let mut fused = vec![expected("attn.qkv.weight", &[], &[3 * c, c])];
    let mut apart = Vec::new();
    if vision.qkv_bias {
        fused.push(expected("attn.qkv.bias", &[], &[3 * c]));
    }
    for part in ["q", "k", "v"] {
        let theirs = format!("attention.{part}_proj");
        apart.push(expected(&format!("attn.{part}.weight"), &[&format!("{theirs}.weight")], &[c, c]));
        if vision.qkv_bias {
            apart.push(expected(&format!("attn.{part}.bias"), &[&format!("{theirs}.bias")], &[c]));
        }
    }
    UnitSpec {
        kind: UnitKind::VisionBlock,
        index: i,
        modules: modules(&[
            &format!("vision_model.encoder.layers.{i}"),
            &format!("vision_tower.encoder.layer.{i}"),
            &format!("model.vision_tower.encoder.layer.{i}"),
        ]),
        groupings: [fused, apart]
            .into_iter()
            .map(|g| g.into_iter().chain(common.clone()).collect())
            .collect(),
    }
}

fn projector(config: &Config) -> UnitSpec {
    let (input, h) = (config.projector_input(), config.decoder.hidden);
    let mut tensors = Vec::new();
    for (ours, theirs, shape) in
        [("0", "layer_norm", vec![input]), ("1", "linear_1", vec![h, input]), ("3", "linear_2", vec![h, h])]
    {
        tensors.push(expected(&format!("{ours}.weight"), &[&format!("{theirs}.weight")], &shape));
        tensors.push(expected(&format!("{ours}.bias"), &[&format!("{theirs}.bias")], &shape[..1]));
    }
    UnitSpec {
        kind: UnitKind::Projector,
        index: 0,
        modules: modules(&["mlp1", "multi_modal_projector", "model.multi_modal_projector"]),
        groupings: vec![tensors],
    }
}

fn token_embedding(config: &Config) -> UnitSpec {
    let github =
        if config.decoder.backbone == Backbone::InternLm2 { "tok_embeddings" } else { "embed_tokens" };
    UnitSpec {
        kind: UnitKind::TokenEmbedding,
        index: 0,
        modules: modules(&[
            &format!("language_model.model.{github}"),
            "language_model.model.embed_tokens",
            "model.language_model.embed_tokens",
        ]),
        groupings: vec![vec![expected("weight", &[], &[config.decoder.vocab, config.decoder.hidden])]],
    }
}

fn decoder_layer(config: &Config, i: usize) -> UnitSpec {
    let mut tensors = attention(config);
    tensors.extend(feed_forward(config));
    let h = config.decoder.hidden;
    tensors.push(expected("input_layernorm.weight", &["attention_norm.weight"], &[h]));
    tensors.push(expected("post_attention_layernorm.weight", &["ffn_norm.weight"], &[h]));
    UnitSpec {
        kind: UnitKind::DecoderLayer,
        index: i,
        modules: modules(&[
            &format!("language_model.model.layers.{i}"),
            &format!("language_model.model.layers.{i}"),
            &format!("model.language_model.layers.{i}"),
        ]),
        groupings: vec![tensors],
    }
}

fn attention(config: &Config) -> Vec<Expected> {
    let d = &config.decoder;
    let (h, q, kv) = (d.hidden, d.heads * d.head_dim, d.kv_heads * d.head_dim);
    let mut tensors = Vec::new();
    match d.backbone {
        Backbone::InternLm2 => {
            tensors.push(expected("attention.wqkv.weight", &[], &[q + 2 * kv, h]));
            tensors.push(expected("self_attn.o_proj.weight", &["attention.wo.weight"], &[h, q]));
        }
        Backbone::Phi3 => {
            tensors.push(expected("self_attn.qkv_proj.weight", &[], &[q + 2 * kv, h]));
            tensors.push(expected("self_attn.o_proj.weight", &[], &[h, q]));
        }
        _ => {
            for (part, rows) in [("q", q), ("k", kv), ("v", kv)] {
                tensors.push(expected(&format!("self_attn.{part}_proj.weight"), &[], &[rows, h]));
                if d.qkv_bias {
                    tensors.push(expected(&format!("self_attn.{part}_proj.bias"), &[], &[rows]));
                }
            }
            tensors.push(expected("self_attn.o_proj.weight", &[], &[h, q]));
            if d.out_bias {
                tensors.push(expected("self_attn.o_proj.bias", &[], &[h]));
            }
        }
    }
    if d.qk_norm {
        tensors.push(expected("self_attn.q_norm.weight", &[], &[d.head_dim]));
        tensors.push(expected("self_attn.k_norm.weight", &[], &[d.head_dim]));
    }
    if d.sinks {
        tensors.push(expected("self_attn.sinks", &[], &[d.heads]));
    }
    tensors
}

fn feed_forward(config: &Config) -> Vec<Expected> {
    let d = &config.decoder;
    let h = d.hidden;
    match (d.backbone, &d.moe) {
        (Backbone::GptOss, Some(moe)) => {
            let (e, ff) = (moe.experts, moe.intermediate);
            vec![
                expected("mlp.router.weight", &[], &[e, h]),
                expected("mlp.router.bias", &[], &[e]),
                expected("mlp.experts.gate_up_proj", &[], &[e, h, 2 * ff]),
                expected("mlp.experts.gate_up_proj_bias", &[], &[e, 2 * ff]),
                expected("mlp.experts.down_proj", &[], &[e, ff, h]),
                expected("mlp.experts.down_proj_bias", &[], &[e, h]),
            ]
        }
        (_, Some(moe)) => {
            let mut tensors = vec![expected("mlp.gate.weight", &[], &[moe.experts, h])];
            for e in 0..moe.experts {
                for (name, shape) in [
                    ("gate_proj", [moe.intermediate, h]),
                    ("up_proj", [moe.intermediate, h]),
                    ("down_proj", [h, moe.intermediate]),
                ] {
                    tensors.push(expected(&format!("mlp.experts.{e}.{name}.weight"), &[], &shape));
                }
            }
            tensors
        }
        (Backbone::Phi3, None) => vec![
            expected("mlp.gate_up_proj.weight", &[], &[2 * d.intermediate, h]),
            expected("mlp.down_proj.weight", &[], &[h, d.intermediate]),
        ],
        (_, None) => [
            ("gate_proj", "w1", [d.intermediate, h]),
            ("up_proj", "w3", [d.intermediate, h]),
            ("down_proj", "w2", [h, d.intermediate]),
        ]
        .iter()
        .map(|(ours, theirs, shape)| {
            let alias = format!("feed_forward.{theirs}.weight");
            expected(&format!("mlp.{ours}.weight"), &[&alias], shape)
        })
        .collect(),
    }
}

fn final_norm(config: &Config) -> UnitSpec {
    UnitSpec {
        kind: UnitKind::FinalNorm,
        index: 0,
        modules: modules(&[
            "language_model.model.norm",
            "language_model.model.norm",
            "model.language_model.norm",
        ]),
        groupings: vec![vec![expected("weight", &[], &[config.decoder.hidden])]],
    }
}

fn head(config: &Config) -> UnitSpec {
    let github = if config.decoder.backbone == Backbone::InternLm2 { "output" } else { "lm_head" };
    UnitSpec {
        kind: UnitKind::Head,
        index: 0,
        modules: modules(&[&format!("language_model.{github}"), "language_model.lm_head", "lm_head"]),
        groupings: vec![vec![expected("weight", &[], &[config.decoder.vocab, config.decoder.hidden])]],
    }
}

fn modules(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}
