//! Models that can be planned by name, before they are downloaded: `assets/catalogue.toml`, embedded.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::assumptions::Dtype;
use super::naming::Naming;
use super::shape::{DecoderShape, ModelShape, ProjectorShape, VisionShape};
use crate::{Problem, Result};

const TEXT: &str = include_str!("../../assets/catalogue.toml");

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tower: BTreeMap<String, VisionShape>,
    model: Vec<Entry>,
}

/// A model of the catalogue, as its file states it.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    family: String,
    #[serde(default)]
    tower: Option<String>,
    #[serde(default)]
    projector: Option<ProjectorShape>,
    #[serde(default)]
    positions: Option<u64>,
    #[serde(default = "tile_tokens")]
    tokens_per_tile: u64,
    #[serde(default = "tile_limit")]
    max_tiles: u64,
    naming: String,
    #[serde(default = "yes")]
    runnable: bool,
    #[serde(default)]
    note: Option<String>,
    decoder: DecoderShape,
}

fn tile_tokens() -> u64 {
    256
}
fn tile_limit() -> u64 {
    12
}
fn yes() -> bool {
    true
}

/// A model of the catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its published name, without the organisation.
    pub name: String,
    /// Other names it goes by.
    pub aliases: Vec<String>,
    /// Its family.
    pub family: String,
    /// What to know about its entry.
    pub note: Option<String>,
    /// Its numbers.
    pub shape: ModelShape,
}

/// All models of the catalogue, in the file's order.
pub fn all() -> &'static [Known] {
    static ALL: OnceLock<Vec<Known>> = OnceLock::new();
    ALL.get_or_init(|| read(TEXT).unwrap_or_default())
}

/// Reads a catalogue file.
pub fn read(text: &str) -> Result<Vec<Known>> {
    let file: File = toml::from_str(text).map_err(|error| {
        Problem::new(format!("cannot read the catalogue: {}", error.message())).at("catalogue.toml")
    })?;
    file.model.iter().map(|entry| known(entry, &file.tower)).collect()
}

fn known(entry: &Entry, towers: &BTreeMap<String, VisionShape>) -> Result<Known> {
    let refuse = |what: String| Problem::new(what).at(format!("catalogue.toml, model {}", entry.name));
    let vision = match &entry.tower {
        None => None,
        Some(name) => {
            let tower = towers.get(name).ok_or_else(|| refuse(format!("there is no tower {name:?}")))?;
            // Four neighbouring patches make one token in every model listed.
            let input = tower.hidden.saturating_mul(4);
            let usual = ProjectorShape { norm: input, input, middle: entry.decoder.hidden, extra: 0 };
            Some((tower.clone(), entry.projector.clone().unwrap_or(usual)))
        }
    };
    let naming = match entry.naming.as_str() {
        "github" => Naming::github(),
        "internlm2" => Naming::internlm2(),
        "hugging-face" => Naming::hugging_face(),
        "qwen-vl" => Naming::qwen_vl(),
        "decoder" => Naming::decoder(),
        other => return Err(refuse(format!("there is no naming {other:?}"))),
    };
    let shape = ModelShape {
        name: entry.name.clone(),
        vision,
        decoder: entry.decoder.clone(),
        tokens_per_tile: entry.tokens_per_tile,
        max_tiles: entry.max_tiles,
        positions: entry.positions,
        stored: Dtype::Bf16,
        naming,
        runnable: entry.runnable,
    };
    shape.check()?;
    Ok(Known {
        name: entry.name.clone(),
        aliases: entry.aliases.clone(),
        family: entry.family.clone(),
        note: entry.note.clone(),
        shape,
    })
}

/// Finds a model by name: without its organisation, in any case, and with the endings of releases that share a shape
/// (`-MPO`, `-Instruct`, `-Pretrained`, `-hf`). The `-hf` releases get the module names of transformers.
pub fn find(name: &str) -> Result<ModelShape> {
    let wanted = name.trim().rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let same = |known: &&Known, wanted: &str| {
        known.name.eq_ignore_ascii_case(wanted)
            || known.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(wanted))
    };
    let mut rest = wanted.as_str();
    let mut hugging_face = false;
    loop {
        if let Some(known) = all().iter().find(|known| same(known, rest)) {
            let mut shape = known.shape.clone();
            shape.name = name.trim().rsplit('/').next().unwrap_or(&known.name).to_string();
            if rest.len() == wanted.len() {
                shape.name.clone_from(&known.name);
            }
            if hugging_face && known.family == "InternVL" {
                shape.naming = Naming::hugging_face();
                shape.decoder.style = match shape.decoder.style {
                    super::shape::DecoderStyle::Internlm2 => super::shape::DecoderStyle::Llama,
                    other => other,
                };
            }
            return Ok(shape);
        }
        let endings = ["-hf", "-mpo", "-instruct", "-pretrained", "-thinking", "-cot"];
        let Some(shorter) = endings.iter().find_map(|ending| rest.strip_suffix(ending)) else { break };
        hugging_face |= rest.ends_with("-hf");
        rest = shorter;
    }
    let mut close: Vec<(usize, &str)> = all()
        .iter()
        .map(|known| (likeness(&wanted, &known.name.to_ascii_lowercase()), known.name.as_str()))
        // Alike in more than half of its pairs of letters; else nothing is meant.
        .filter(|&(score, _)| 2 * score > wanted.len())
        .collect();
    close.sort_by_key(|&(score, _)| std::cmp::Reverse(score));
    let close: Vec<&str> = close.into_iter().take(3).map(|(_, name)| name).collect();
    let meant = match close.as_slice() {
        [] => String::new(),
        names => format!("did you mean {}? ", names.join(", ")),
    };
    Err(Problem::new(format!("{name:?} is neither a folder with a config.json nor a model of the catalogue"))
        .fix(format!("{meant}shardscope plan --list names them all")))
}

/// Pairs of neighbouring letters two names share.
fn likeness(a: &str, b: &str) -> usize {
    let pairs: Vec<&[u8]> = b.as_bytes().windows(2).collect();
    a.as_bytes().windows(2).take(200).filter(|pair| pairs.contains(pair)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Model;

    /// Published totals in billions of parameters (OpenGVLab's model cards).
    #[test]
    fn totals_agree_with_the_published_sizes() {
        let published = [
            ("Mini-InternVL-Chat-2B-V1-5", 2.206, 4.41, 96),
            ("InternVL-Chat-V1-5", 25.514, 51.03, 192),
            ("InternVL2-1B", 0.938, 1.88, 12),
            ("InternVL2-2B", 2.206, 4.41, 96),
            ("InternVL2-4B", 4.147, 8.29, 384),
            ("InternVL2-8B", 8.075, 16.15, 128),
            ("InternVL2-26B", 25.514, 51.03, 192),
            ("InternVL2-40B", 40.069, 80.14, 240),
            ("InternVL2-Llama3-76B", 76.262, 152.52, 320),
            ("InternVL2_5-4B", 3.713, 7.43, 36),
            ("InternVL2_5-38B", 38.388, 76.78, 256),
            ("InternVL2_5-78B", 78.408, 156.8, 320),
            ("InternVL3-2B", 2.089, 4.18, 28),
            ("InternVL3-8B", 7.944, 15.89, 56),
            ("InternVL3-9B", 9.142, 18.28, 48),
            ("InternVL3-14B", 15.117, 30.23, 192),
            ("InternVL3_5-1B", 1.061, 2.12, 112),
            ("InternVL3_5-2B", 2.348, 4.70, 112),
            ("InternVL3_5-4B", 4.732, 9.46, 144),
            ("InternVL3_5-8B", 8.528, 17.06, 144),
            ("InternVL3_5-14B", 15.120, 30.24, 160),
            ("InternVL3_5-38B", 38.390, 76.78, 256),
            ("InternVL3_5-30B-A3B", 30.849, 61.70, 96),
            ("InternVL3_5-241B-A28B", 240.70, 481.4, 188),
            ("InternVL3_5-GPT-OSS-20B-A4B-Preview", 21.2, 42.5, 48),
        ];
        for (name, billions, gigabytes, kv_kib) in published {
            let model = Model::new(find(name).unwrap(), Dtype::Bf16, None);
            let parameters = model.parameters() as f64 / 1e9;
            let tolerance = if billions > 200.0 {
                0.005
            } else if name.contains("GPT-OSS") {
                0.06
            } else {
                0.0006
            };
            assert!(
                (parameters - billions).abs() <= tolerance,
                "{name}: {parameters} B, published {billions} B"
            );
            let bytes = model.weight_bytes() as f64 / 1e9;
            assert!(
                (bytes - gigabytes).abs() <= gigabytes * 0.003,
                "{name}: {bytes} GB, published {gigabytes} GB"
            );
            assert_eq!(model.kv_bytes_per_token() / 1024, kv_kib, "{name}");
        }
    }

    /// Parameter counts that the model cards of other families state, in billions.
    #[test]
    fn other_families_agree_with_their_cards() {
        let published = [
            ("Qwen2.5-VL-3B-Instruct", 3.75),
            ("Qwen/Qwen2.5-VL-7B-Instruct", 8.29),
            ("Qwen2.5-VL-32B", 33.45),
            ("Qwen2.5-VL-72B", 73.41),
            ("Qwen3-VL-2B-Instruct", 2.13),
            ("Qwen3-VL-4B", 4.44),
            ("Qwen3-VL-8B", 8.77),
            ("Qwen3-VL-32B", 33.36),
            ("Qwen3-VL-30B-A3B-Thinking", 31.07),
            ("Qwen3-VL-235B-A22B", 235.7),
            ("LLaVA-OneVision-7B", 8.03),
            ("LLaVA-OneVision-72B", 73.2),
            ("GLM-4.7-Flash", 29.943),
            ("Kimi-K2.5", 1027.0),
            ("PaddleOCR-VL-1.5", 0.906),
        ];
        for (name, billions) in published {
            let shape = find(name).unwrap();
            assert!(!shape.runnable, "{name}");
            let parameters = Model::new(shape, Dtype::Bf16, None).parameters() as f64 / 1e9;
            assert!(
                (parameters / billions - 1.0).abs() < 0.01,
                "{name}: {parameters} B, published {billions} B"
            );
        }
        // Latent attention keeps 512 + 64 elements a token and layer.
        let kimi = Model::new(find("Kimi-K2.5").unwrap(), Dtype::Bf16, None);
        assert_eq!(kimi.kv_bytes_per_token(), 61 * 576 * 2);
    }

    #[test]
    fn the_76b_units_add_up_to_the_byte() {
        let model = Model::new(find("OpenGVLab/InternVL2-Llama3-76B").unwrap(), Dtype::Bf16, None);
        assert_eq!(model.weight_bytes(), 152_524_716_800);
        assert_eq!(model.parameters(), 76_262_358_400);
        assert_eq!(model.units.len(), 1 + 45 + 1 + 1 + 80 + 1 + 1);
        let size = |name: &str| model.units[model.by_name(name).unwrap()].weight_bytes;
        let vision: u64 = model.units.iter().filter(|u| u.kind.is_vision()).map(|u| u.weight_bytes).sum();
        assert_eq!(vision, 11_072_992_000);
        assert_eq!(size("mlp1"), 344_016_896);
        assert_eq!(size("language_model.model.embed_tokens"), 2_101_493_760);
        assert_eq!(size("language_model.model.layers.79"), 1_711_308_800);
        assert_eq!(size("language_model.model.norm"), 16_384);
        assert_eq!(size("language_model.lm_head"), 2_101_493_760);
        assert_eq!(model.units[100].kv_bytes_per_token, 4096);
        assert_eq!(model.buffers[0].name, "language_model.model.rotary_emb");
    }

    #[test]
    fn the_241b_agrees_with_its_repository() {
        let model = Model::new(find("InternVL3_5-241B-A28B").unwrap(), Dtype::Bf16, None);
        assert_eq!(model.weight_bytes(), 481_398_740_736);
    }

    #[test]
    fn names_are_found_as_people_write_them() {
        for name in
            ["internvl2-76b", "OpenGVLab/InternVL2-Llama3-76B", "InternVL2-8B-MPO", "InternVL3_5-8B-Instruct"]
        {
            assert!(find(name).is_ok(), "{name}");
        }
        assert_eq!(find("InternVL3-8B-hf").unwrap().naming, Naming::hugging_face());
        let missing = find("InternVL9-800B").unwrap_err();
        assert!(missing.fix.unwrap().contains("InternVL"));
    }

    #[test]
    fn the_file_is_sound() {
        let models = read(TEXT).unwrap();
        assert!(models.len() >= 49);
        for known in &models {
            let same = models.iter().filter(|other| other.name.eq_ignore_ascii_case(&known.name)).count();
            assert_eq!(same, 1, "{}", known.name);
        }
    }
}
