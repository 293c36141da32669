//! The prompt of a question: what stands before the chat template is filled, and how its images are prepared.
//!
//! The default style builds what InternVL's own wrapper in VLMEvalKit builds (`vlmeval/vlm/internvl/`): the type of
//! the dataset decides the sentence that follows the question, and images are named before the text.

use crate::Result;
use crate::dataset::question::{Question, QuestionKind};
use crate::dataset::registry::{Family, Profile};

/// Most tiles of all images of a question together.
const TILE_BUDGET: u32 = 64;

/// How a question is put to the model; recorded with a session, since it changes answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// InternVL's own prompts in VLMEvalKit.
    #[default]
    Vlmevalkit,
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
    /// images, in order.
    pub text: String,
    /// The images in the order in which the text names them.
    pub images: Vec<ImageUse>,
    /// Most tiles of one image, the thumbnail not counted, with the question's budget shared among its images.
    pub max_tiles: u32,
}

/// Builds the prompt of a question of a dataset (or of a dataset's profile). `max_tiles` replaces the dataset's own
/// limit of tiles.
///
/// # Errors
/// When the style does not know questions of this kind.
pub fn build(
    dataset: &impl AsRef<Profile>,
    question: &Question,
    style: Style,
    max_tiles: Option<u32>,
) -> Result<Prompt> {
    let profile = dataset.as_ref();
    let text = match style {
        Style::Vlmevalkit => {
            with_images_before(&vlmevalkit(profile, question), question.images.len(), profile)
        }
    };
    let images = (0..question.images.len())
        .map(|index| ImageUse { index, scale: if index == 0 && profile.mmmu { 2 } else { 1 } })
        .collect::<Vec<_>>();
    let limit = max_tiles.unwrap_or(profile.max_tiles);
    let share = TILE_BUDGET / (images.len() as u32).max(1);
    Ok(Prompt { text, images, max_tiles: limit.min(share).max(1) })
}

const LETTER: &str = "\nAnswer with the option's letter from the given choices directly.";
const LETTER_ZH: &str = "\n请直接回答选项字母。";
const DIRECTLY: &str = "\nAnswer the question directly.";
const DIRECTLY_ZH: &str = "\n请直接回答问题。";
const WORD_OR_PHRASE: &str = "Answer the question using a single word or phrase.";

/// The question with the sentence that its type asks for (`InternVLChat.build_prompt`).
fn vlmevalkit(profile: &Profile, question: &Question) -> String {
    let text = &question.text;
    let named = |parts: &[&str]| parts.iter().any(|part| profile.name.contains(part));
    match profile.family {
        // A row of yes or no, or of a word, in a dataset where others have options, is asked as such.
        Family::MultipleChoice if question.kind == QuestionKind::YesNo => format!("{text}\n{WORD_OR_PHRASE}"),
        Family::MultipleChoice => multiple_choice(question),
        Family::YesNo if named(&["MME"]) => format!("{text} {WORD_OR_PHRASE}"),
        Family::YesNo if named(&["HallusionBench", "AMBER"]) => {
            format!("{text} Please answer yes or no. {WORD_OR_PHRASE}")
        }
        Family::YesNo => text.clone(),
        Family::Vqa if named(&["LLaVABench", "WildVision"]) => {
            format!("{text}\nAnswer this question in detail.")
        }
        Family::Vqa if !named(WORD_ANSWERS) && named(AS_IT_STANDS) => text.clone(),
        Family::Vqa => format!("{text}\n{WORD_OR_PHRASE}"),
        Family::Plain => text.clone(),
    }
}

/// Parts of names of datasets whose answer is a word or phrase; they come before [`AS_IT_STANDS`].
const WORD_ANSWERS: &[&str] = &[
    "OCRVQA",
    "TextVQA",
    "ChartQA",
    "DocVQA",
    "InfoVQA",
    "OCRBench",
    "DUDE",
    "SLIDEVQA",
    "GQA",
    "MMLongBench_DOC",
];

/// Parts of names of datasets whose question is sent as it stands.
const AS_IT_STANDS: &[&str] = &[
    "MathVista",
    "MathVision",
    "VCR",
    "MTVQA",
    "MMVet",
    "MathVerse",
    "MMDU",
    "CRPE",
    "MIA-Bench",
    "MM-Math",
    "DynaMath",
    "QSpatial",
    "WeMath",
    "LogicVista",
    "MM-IFEval",
    "ChartMimic",
    "MMReason",
];

/// Hint, question, options and the request for a letter or, without options, an answer.
fn multiple_choice(question: &Question) -> String {
    let mut text = String::new();
    if let Some(hint) = &question.hint {
        text.push_str(hint);
        text.push('\n');
    }
    text.push_str(&question.text);
    for (letter, option) in &question.options {
        text.push_str(&format!("\n{letter}. {option}"));
    }
    let chinese = text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter));
    text.push_str(match (question.options.is_empty(), chinese) {
        (false, false) => LETTER,
        (false, true) => LETTER_ZH,
        (true, false) => DIRECTLY,
        (true, true) => DIRECTLY_ZH,
    });
    text
}

/// The images named before the text (`reorganize_prompt`): alone as `<image>`, several as `Image-1: <image>` and so
/// on.
fn with_images_before(text: &str, images: usize, profile: &Profile) -> String {
    let list = || (1..=images).map(|image| format!("Image-{image}: <image>\n")).collect::<String>();
    if profile.name.contains("MUIRBench") {
        // Its questions say `<image>` where an image belongs.
        let mut text = text.replace(&vec!["<image>"; images].join(" "), "");
        for image in 1..=images {
            text = text.replacen("<image>", &format!("<Image-{image}>"), 1);
        }
        return format!("{}{text}", list());
    }
    match images {
        0 => text.to_owned(),
        1 => format!("<image>\n{text}"),
        _ => format!("{}{text}", list()),
    }
}
