//! What the modules of a checkpoint are called, and which unit a name of any known layout means.

use super::unit::UnitKind;

/// Module paths of one checkpoint layout. `{}` stands for a block's number.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Naming {
    /// Patch and position embeddings of the vision tower.
    pub vision_embeddings: String,
    /// A block of the vision tower.
    pub vision_block: String,
    /// The projector from vision to language.
    pub projector: String,
    /// The token embedding.
    pub token_embedding: String,
    /// A layer of the decoder.
    pub layer: String,
    /// The last norm.
    pub norm: String,
    /// The head.
    pub head: String,
    /// The rotary tables, a buffer that no checkpoint stores, where the model class has one outside its layers.
    pub rotary: Option<String>,
}

impl Naming {
    fn new(parts: [&str; 7], rotary: Option<&str>) -> Self {
        let [embeddings, block, projector, tokens, layer, norm, head] = parts.map(str::to_string);
        Self {
            vision_embeddings: embeddings,
            vision_block: block,
            projector,
            token_embedding: tokens,
            layer,
            norm,
            head,
            rotary: rotary.map(str::to_string),
        }
    }

    /// The remote-code layout of the OpenGVLab releases with a Llama, Qwen or Phi decoder.
    pub fn github() -> Self {
        Self::new(
            [
                "vision_model.embeddings",
                "vision_model.encoder.layers.{}",
                "mlp1",
                "language_model.model.embed_tokens",
                "language_model.model.layers.{}",
                "language_model.model.norm",
                "language_model.lm_head",
            ],
            Some("language_model.model.rotary_emb"),
        )
    }

    /// The remote-code layout with an InternLM2 decoder, which keeps its rotary tables inside the layers.
    pub fn internlm2() -> Self {
        Self {
            token_embedding: "language_model.model.tok_embeddings".into(),
            head: "language_model.output".into(),
            rotary: None,
            ..Self::github()
        }
    }

    /// The layout of transformers' own InternVL, as its checkpoints spell it on disk.
    pub fn hugging_face() -> Self {
        Self {
            vision_embeddings: "vision_tower.embeddings".into(),
            vision_block: "vision_tower.encoder.layer.{}".into(),
            projector: "multi_modal_projector".into(),
            ..Self::github()
        }
    }

    /// The names of Qwen2-VL and later, which other families borrow.
    pub fn qwen_vl() -> Self {
        Self::new(
            [
                "model.visual.patch_embed",
                "model.visual.blocks.{}",
                "model.visual.merger",
                "model.language_model.embed_tokens",
                "model.language_model.layers.{}",
                "model.language_model.norm",
                "lm_head",
            ],
            Some("model.language_model.rotary_emb"),
        )
    }

    /// A plain decoder without a vision tower.
    pub fn decoder() -> Self {
        Self::new(
            [
                "visual.patch_embed",
                "visual.blocks.{}",
                "visual.merger",
                "model.embed_tokens",
                "model.layers.{}",
                "model.norm",
                "lm_head",
            ],
            Some("model.rotary_emb"),
        )
    }

    /// The module path of a unit.
    pub fn of(&self, kind: UnitKind) -> String {
        let numbered = |pattern: &str, index: usize| pattern.replace("{}", &index.to_string());
        match kind {
            UnitKind::VisionEmbeddings => self.vision_embeddings.clone(),
            UnitKind::VisionBlock(i) => numbered(&self.vision_block, i),
            UnitKind::Projector => self.projector.clone(),
            UnitKind::TokenEmbedding => self.token_embedding.clone(),
            UnitKind::Layer(i) => numbered(&self.layer, i),
            UnitKind::FinalNorm => self.norm.clone(),
            UnitKind::Head => self.head.clone(),
        }
    }
}

/// What a module path of any known layout stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The whole model.
    Everything,
    /// One unit, whole or (with the rest of the path) a module inside it.
    Unit(UnitKind),
    /// The whole vision tower.
    Vision,
    /// All blocks of the vision tower.
    VisionBlocks,
    /// The whole language model with its head.
    Language,
    /// The language model without its head.
    LanguageBody,
    /// All layers of the decoder.
    Layers,
    /// The rotary tables.
    Rotary,
}

/// Reads a module path in the spelling of any layout: remote code (Llama and InternLM2 names), transformers' own on disk
/// and in memory (`model.vision_tower…`, `model.language_model…`, `lm_head`), Qwen-VL's. Returns the meaning and what is
/// left of the path below the unit (empty for the unit itself), or nothing for a name of no layout.
pub fn read(path: &str) -> Option<(Meaning, &str)> {
    if path.is_empty() || path == "model" {
        return Some((Meaning::Everything, ""));
    }
    const VISION: [&str; 6] = [
        "vision_model",
        "model.vision_tower",
        "vision_tower",
        "model.vision_model",
        "model.visual",
        "visual",
    ];
    const PROJECTOR: [&str; 5] = [
        "mlp1",
        "model.multi_modal_projector",
        "multi_modal_projector",
        "model.visual.merger",
        "visual.merger",
    ];
    const HEAD: [&str; 3] = ["language_model.lm_head", "language_model.output", "lm_head"];
    const BODY: [&str; 3] = ["language_model.model", "model.language_model.model", "model.language_model"];

    for prefix in PROJECTOR {
        if let Some(rest) = below(path, prefix) {
            return Some((Meaning::Unit(UnitKind::Projector), rest));
        }
    }
    for prefix in VISION {
        let Some(rest) = below(path, prefix) else { continue };
        return vision(rest);
    }
    for prefix in HEAD {
        if let Some(rest) = below(path, prefix) {
            return Some((Meaning::Unit(UnitKind::Head), rest));
        }
    }
    for prefix in BODY {
        if let Some(rest) = below(path, prefix) {
            return body(rest);
        }
    }
    if path == "language_model" {
        return Some((Meaning::Language, ""));
    }
    // A decoder on its own: `model.layers.3`, `model.embed_tokens`.
    below(path, "model").filter(|rest| !rest.is_empty()).and_then(body)
}

fn vision(rest: &str) -> Option<(Meaning, &str)> {
    if rest.is_empty() {
        return Some((Meaning::Vision, ""));
    }
    for prefix in ["embeddings", "patch_embed"] {
        if let Some(inner) = below(rest, prefix) {
            return Some((Meaning::Unit(UnitKind::VisionEmbeddings), inner));
        }
    }
    for prefix in ["encoder.layers", "encoder.layer", "blocks", "layers"] {
        if let Some(inner) = below(rest, prefix) {
            return numbered(inner, UnitKind::VisionBlock, Meaning::VisionBlocks);
        }
    }
    (rest == "encoder").then_some((Meaning::VisionBlocks, ""))
}

fn body(rest: &str) -> Option<(Meaning, &str)> {
    if rest.is_empty() {
        return Some((Meaning::LanguageBody, ""));
    }
    for prefix in ["embed_tokens", "tok_embeddings"] {
        if let Some(inner) = below(rest, prefix) {
            return Some((Meaning::Unit(UnitKind::TokenEmbedding), inner));
        }
    }
    if let Some(inner) = below(rest, "layers") {
        return numbered(inner, UnitKind::Layer, Meaning::Layers);
    }
    if let Some(inner) = below(rest, "norm") {
        return Some((Meaning::Unit(UnitKind::FinalNorm), inner));
    }
    below(rest, "rotary_emb").map(|inner| (Meaning::Rotary, inner))
}

/// The rest of `path` below `prefix`: `Some("")` for the prefix itself, nothing where the path lies elsewhere.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('.') }
}

fn numbered(rest: &str, unit: fn(usize) -> UnitKind, all: Meaning) -> Option<(Meaning, &str)> {
    if rest.is_empty() {
        return Some((all, ""));
    }
    let (number, inner) = rest.split_once('.').unwrap_or((rest, ""));
    let digits_only = !number.is_empty() && number.len() < 8 && number.bytes().all(|b| b.is_ascii_digit());
    digits_only.then(|| number.parse().ok()).flatten().map(|index| (Meaning::Unit(unit(index)), inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_reads_its_own_names() {
        let kinds = [
            UnitKind::VisionEmbeddings,
            UnitKind::VisionBlock(44),
            UnitKind::Projector,
            UnitKind::TokenEmbedding,
            UnitKind::Layer(79),
            UnitKind::FinalNorm,
            UnitKind::Head,
        ];
        let layouts = [
            Naming::github(),
            Naming::internlm2(),
            Naming::hugging_face(),
            Naming::qwen_vl(),
            Naming::decoder(),
        ];
        for naming in layouts {
            for kind in kinds {
                assert_eq!(read(&naming.of(kind)), Some((Meaning::Unit(kind), "")), "{}", naming.of(kind));
            }
            if let Some(rotary) = &naming.rotary {
                assert_eq!(read(rotary), Some((Meaning::Rotary, "")));
            }
        }
    }

    #[test]
    fn reads_parents_parts_and_strangers() {
        assert_eq!(read(""), Some((Meaning::Everything, "")));
        assert_eq!(read("vision_model"), Some((Meaning::Vision, "")));
        assert_eq!(read("model.vision_tower.encoder"), Some((Meaning::VisionBlocks, "")));
        assert_eq!(read("language_model"), Some((Meaning::Language, "")));
        assert_eq!(read("language_model.model"), Some((Meaning::LanguageBody, "")));
        assert_eq!(read("model.language_model.layers.3"), Some((Meaning::Unit(UnitKind::Layer(3)), "")));
        assert_eq!(
            read("language_model.model.layers.3.mlp.up_proj"),
            Some((Meaning::Unit(UnitKind::Layer(3)), "mlp.up_proj"))
        );
        assert_eq!(read("mlp1.3"), Some((Meaning::Unit(UnitKind::Projector), "3")));
        for stranger in [
            "language_modelx",
            "qllama",
            "language_model.model.layers.x",
            "vision_model.head.9",
            "layers.999999999999",
        ] {
            assert_eq!(read(stranger), None, "{stranger}");
        }
    }
}
