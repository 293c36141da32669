//! The prompt of a question: what stands before the chat template is filled, and how its images are prepared.
//!
//! Which words a style uses is in `prompt/wording.rs`; here they are put together with the images. The default builds what
//! InternVL's own wrapper in VLMEvalKit builds (`vlmeval/vlm/internvl/`).

mod answered;
mod wording;

use std::fmt;
use std::str::FromStr;

use crate::dataset::question::Question;
use crate::dataset::registry::Profile;
use crate::{Problem, Result};

pub use answered::answered;
pub use wording::{mmmu_official, mmmu_pro};

/// Most tiles of all images of a question together.
const TILE_BUDGET: u32 = 64;

/// How a question is put to the model; recorded with a session, since it changes answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// InternVL's own prompts in VLMEvalKit, the answer asked for directly.
    #[default]
    Vlmevalkit,
    /// The same with `USE_COT=1`: step by step, the answer in a last line `Answer: \boxed{...}`.
    VlmevalkitCot,
    /// The same with `USE_COT=1` and `cot_prompt_version="r1"`, as InternVL3.5-Thinking is run: a system message that
    /// asks for `<think>`, and `\boxed{}`.
    VlmevalkitThinking,
    /// The same with `use_mpo_prompt`: step by step, then `Final answer: ..`.
    VlmevalkitMpo,
    /// The dataset's prompt in VLMEvalKit (`use_custom_prompt=False`), MMMU's images where the text names them.
    VlmevalkitDataset,
    /// The prompt of MMMU's own evaluation.
    Mmmu,
    /// The prompt of MMMU-Pro's own evaluation, the answer asked for directly.
    MmmuProDirect,
    /// The prompt of MMMU-Pro's own evaluation, step by step.
    MmmuProCot,
}

impl Style {
    /// All styles, the default first.
    pub const ALL: [Style; 8] = [
        Style::Vlmevalkit,
        Style::VlmevalkitCot,
        Style::VlmevalkitThinking,
        Style::VlmevalkitMpo,
        Style::VlmevalkitDataset,
        Style::Mmmu,
        Style::MmmuProDirect,
        Style::MmmuProCot,
    ];

    /// The name by which it is recorded and asked for.
    pub fn name(self) -> &'static str {
        match self {
            Style::Vlmevalkit => "vlmevalkit",
            Style::VlmevalkitCot => "vlmevalkit-cot",
            Style::VlmevalkitThinking => "vlmevalkit-thinking",
            Style::VlmevalkitMpo => "vlmevalkit-mpo",
            Style::VlmevalkitDataset => "vlmevalkit-dataset",
            Style::Mmmu => "mmmu",
            Style::MmmuProDirect => "mmmu-pro-direct",
            Style::MmmuProCot => "mmmu-pro-cot",
        }
    }
}

impl Style {
    /// Whether it is that of InternVL's wrapper, which leaves some datasets to their own prompts.
    fn is_internvl(self) -> bool {
        matches!(
            self,
            Style::Vlmevalkit | Style::VlmevalkitCot | Style::VlmevalkitThinking | Style::VlmevalkitMpo
        )
    }
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Style {
    type Err = Problem;

    fn from_str(name: &str) -> Result<Self> {
        Style::ALL.into_iter().find(|style| style.name() == name).ok_or_else(|| {
            let names = Style::ALL.map(Style::name).join(", ");
            Problem::new(format!("there is no prompt style '{name}'")).fix(format!("use one of: {names}"))
        })
    }
}

/// How one of a question's images enters the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageUse {
    /// Which image of the question, from 0.
    pub index: usize,
    /// How many times larger (bilinear) it is made before it is cut; 2 for the first image of MMMU, else 1.
    pub scale: u32,
}

/// A question as it is put to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The text before the chat template is filled. The first `images.len()` occurrences of `<image>` stand for the
    /// images, in order; later ones are the question's own words.
    pub text: String,
    /// A system message that replaces the template's own.
    pub system: Option<&'static str>,
    /// The images in the order in which the text names them; one may come more than once.
    pub images: Vec<ImageUse>,
    /// Most tiles of one image, the thumbnail not counted, with the question's budget shared among its images.
    pub max_tiles: u32,
}

/// Builds the prompt of a question of a dataset (or of a dataset's profile). `max_tiles` replaces the dataset's own
/// limit of tiles.
///
/// # Errors
/// When the style does not know questions of this kind, or the text names an image that the question lacks.
pub fn build(
    dataset: &impl AsRef<Profile>,
    question: &Question,
    style: Style,
    max_tiles: Option<u32>,
) -> Result<Prompt> {
    let profile = dataset.as_ref();
    let all: Vec<usize> = (0..question.images.len()).collect();
    let mut system = None;
    let before = |text: String| (named_before(&text, all.len(), profile), all.clone());
    let (text, order) = match style {
        _ if style.is_internvl() && wording::declined(profile) => {
            before(wording::vlmevalkit_dataset(profile, question))
        }
        Style::Vlmevalkit => before(wording::vlmevalkit(profile, question)),
        Style::VlmevalkitCot => before(wording::vlmevalkit_cot(profile, question, None)),
        Style::VlmevalkitThinking => {
            system = Some(wording::THINKING_SYSTEM);
            before(wording::vlmevalkit_cot(profile, question, Some(wording::BOXED)))
        }
        Style::VlmevalkitMpo => before(wording::vlmevalkit_mpo(profile, question)),
        Style::VlmevalkitDataset => {
            let text = wording::vlmevalkit_dataset(profile, question);
            if profile.mmmu { interleaved(&text, question.images.len())? } else { before(text) }
        }
        Style::Mmmu => before(mmmu_official(question)),
        Style::MmmuProDirect | Style::MmmuProCot => {
            let text = mmmu_pro(question, style == Style::MmmuProCot)?;
            if question.text.is_empty() { before(text) } else { inline(&text, question.images.len())? }
        }
    };
    let images: Vec<ImageUse> = order
        .into_iter()
        .enumerate()
        .map(|(place, index)| ImageUse { index, scale: if place == 0 && profile.mmmu { 2 } else { 1 } })
        .collect();
    let limit = max_tiles.unwrap_or(profile.max_tiles);
    let share = TILE_BUDGET / (images.len() as u32).max(1);
    Ok(Prompt { text, system, images, max_tiles: limit.min(share).max(1) })
}

/// What a person should know of how a dataset is asked in a style: that VLMEvalKit has a prompt for it whose words are
/// not known here, so that its type's are used. `None` where the prompt is the original's.
pub fn departure(profile: &Profile, style: Style) -> Option<Problem> {
    let own = style == Style::VlmevalkitDataset || (style.is_internvl() && wording::declined(profile));
    (own && !wording::own_words_known(profile)).then(|| {
        Problem::new(format!(
            "VLMEvalKit asks {} with a prompt of the dataset's own that is not known here; it is asked as other datasets of its type are",
            profile.name
        ))
        .fix("do not compare the score with published ones")
    })
}

/// `Image-1: <image>` and so on, a line each.
fn image_list(images: usize) -> String {
    (1..=images).map(|image| format!("Image-{image}: <image>\n")).collect()
}

/// The images named before the text (`reorganize_prompt` with the text first): alone as `<image>`, several in a list.
fn named_before(text: &str, images: usize, profile: &Profile) -> String {
    if profile.name.contains("MUIRBench") {
        // Its questions say `<image>` where an image belongs.
        let mut text = text.replace(&vec!["<image>"; images].join(" "), "");
        for image in 1..=images {
            text = text.replacen("<image>", &format!("<Image-{image}>"), 1);
        }
        return image_list(images) + &text;
    }
    match images {
        0 => text.to_owned(),
        1 => format!("<image>\n{text}"),
        _ => image_list(images) + text,
    }
}

/// A text cut where it says `<image 1>` to `<image 9>`: the pieces, and the images between them (from 0).
fn cut_at_images(text: &str, images: usize) -> Result<(Vec<&str>, Vec<usize>)> {
    let (mut pieces, mut order) = (Vec::new(), Vec::new());
    let (mut start, mut from) = (0, 0);
    while let Some(found) = text[from..].find("<image ") {
        let at = from + found;
        let rest = &text.as_bytes()[at + 7..];
        from = at + 7;
        let (Some(digit @ b'1'..=b'9'), Some(b'>')) = (rest.first(), rest.get(1)) else { continue };
        let index = usize::from(digit - b'1');
        if index >= images {
            return Err(Problem::new(format!(
                "the text names image {} and the question has {images}",
                index + 1
            )));
        }
        pieces.push(&text[start..at]);
        order.push(index);
        start = at + 9;
        from = start;
    }
    pieces.push(&text[start..]);
    Ok((pieces, order))
}

/// Images where MMMU's markers stand, as `reorganize_prompt` writes an interleaved message: one image goes before
/// the pieces of text, each on a line; several are listed before and named `<Image-k>` where they stand.
fn interleaved(text: &str, images: usize) -> Result<(String, Vec<usize>)> {
    let (pieces, order) = cut_at_images(text, images)?;
    if order.is_empty() {
        let list = match images {
            0 => String::new(),
            1 => "<image>\n".to_owned(),
            _ => image_list(images),
        };
        return Ok((list + text, (0..images).collect()));
    }
    if order.len() == 1 {
        return Ok((format!("<image>\n{}", pieces.join("\n")), order));
    }
    let names: Vec<String> = (1..=order.len()).map(|image| format!("<Image-{image}>")).collect();
    let mut text = String::new();
    for (place, piece) in pieces.iter().enumerate() {
        text.push_str(piece);
        text.extend(names.get(place).map(String::as_str));
    }
    Ok((image_list(order.len()) + &text.replace(&names.concat(), ""), order))
}

/// Images where MMMU's markers stand, as MMMU-Pro's evaluation sends them.
fn inline(text: &str, images: usize) -> Result<(String, Vec<usize>)> {
    let (pieces, order) = cut_at_images(text, images)?;
    if order.is_empty() {
        return Ok((format!("{}{text}", "<image>\n".repeat(images)), (0..images).collect()));
    }
    Ok((pieces.join("<image>"), order))
}
