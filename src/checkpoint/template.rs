//! Prompt templates of every InternVL version.
//!
//! Checkpoints in the GitHub layout name one of six templates of OpenGVLab's `conversation.py`; checkpoints in the
//! Hugging Face layout bring a chat template of their own, which [`chat`](self) renders as transformers does.

mod chat;

use std::sync::Arc;

pub use self::chat::ChatTemplate;
use super::Folder;
use super::tokenizer::IMAGE_CONTEXT;
use crate::{Problem, Result};

/// Where an image stands in a question.
pub const IMAGE_MARKER: &str = "<image>";

/// More image tokens than any prompt can hold.
const MAX_IMAGE_TOKENS: usize = 1 << 22;

const SYSTEM_1: &str = "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。";
const SYSTEM_2_5: &str = "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。";
const SYSTEM_GPT_OSS: &str = "You are InternVL, a large language model trained by Shanghai AI Laboratory.\n\
    Knowledge cutoff: 2024-06\nCurrent date: 2025-08-06\n\nReasoning: low\n\n\
    # Valid channels: final. Channel must be included for every message.";
const GPT_OSS_HEADER: &str = "<|channel|>final<|message|>";

/// How a question becomes a prompt, and an answer's tokens become a response.
#[derive(Debug, Clone)]
pub enum Template {
    /// `internlm2-chat`: InternVL 1.5 and 2 on InternLM2, and InternVL2-Llama3-76B.
    Internlm2Chat,
    /// `Hermes-2`: InternVL2-1B and -40B; the same prompt as `internlm2-chat`.
    Hermes2,
    /// `internvl2_5`: InternVL 2.5, 3 and 3.5.
    Internvl2_5,
    /// `phi3-chat`: Mini-InternVL-4B and InternVL2-4B.
    Phi3Chat,
    /// `internvl3_5_gpt_oss`: InternVL 3.5 on GPT-OSS.
    Internvl3_5GptOss,
    /// `internvl_zh`: InternVL-Chat-V1-1.
    InternvlZh,
    /// The chat template of a checkpoint in the Hugging Face layout.
    Chat(Arc<ChatTemplate>),
}

/// The fixed parts of a template of `conversation.py`.
struct Parts {
    name: &'static str,
    system: &'static str,
    default_system: &'static str,
    user: &'static str,
    assistant: &'static str,
    /// What ends a message.
    end: &'static str,
    stop: &'static str,
}

/// An answer's text as people and rules read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// The response: cut at the separator and trimmed, a thinking block included. Equal to what the original's
    /// `chat()` returns, but for GPT-OSS, where the header `<|channel|>final<|message|>` is taken off.
    pub text: String,
    /// The inside of a `<think>` block with which the response begins, trimmed; if the block was never closed,
    /// everything after its opening.
    pub thinking: Option<String>,
}

impl Cleaned {
    /// The response without the thinking block; empty where the block was never closed.
    pub fn answer(&self) -> &str {
        if self.thinking.is_none() {
            return &self.text;
        }
        self.text.split_once("</think>").map_or("", |(_, answer)| trim(answer))
    }
}

const INTERNLM2_CHAT: Parts = Parts {
    name: "internlm2-chat",
    system: "<|im_start|>system\n",
    default_system: SYSTEM_1,
    user: "<|im_start|>user\n",
    assistant: "<|im_start|>assistant\n",
    end: "<|im_end|>",
    stop: "<|im_end|>",
};

impl Template {
    /// The templates that have a name of their own.
    pub const NAMED: [Self; 6] = [
        Self::Internlm2Chat,
        Self::Hermes2,
        Self::Internvl2_5,
        Self::Phi3Chat,
        Self::Internvl3_5GptOss,
        Self::InternvlZh,
    ];

    /// The template that a GitHub-layout `config.json` calls by this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|template| template.name() == name)
    }

    /// The names of all templates, for people.
    pub fn known() -> String {
        Self::NAMED.map(|template| template.name().to_owned()).join(", ")
    }

    /// Its name in `config.json`, or `chat` for a checkpoint's own chat template.
    pub fn name(&self) -> &str {
        self.parts().map_or("chat", |parts| parts.name)
    }

    /// Where the template comes from, in words for people.
    pub fn origin(&self) -> String {
        match self {
            Self::Chat(chat) => chat.origin().to_owned(),
            named => format!("{:?} of config.json", named.name()),
        }
    }

    /// The template of a checkpoint: what its `config.json` names under `template` (GitHub layout); without such
    /// a name the folder's own chat template (Hugging Face layout: `chat_template.jinja`, `chat_template.json`,
    /// `tokenizer_config.json`, in this order); without that the chat template that InternVL3 checkpoints of the
    /// Hugging Face layout have, and [`Template::origin`] says so.
    ///
    /// # Errors
    /// An unknown name, a malformed file, and a chat template that fails or has no place for an image.
    pub fn from_folder(folder: &Folder, config_template: Option<&str>) -> Result<Self> {
        match config_template {
            None => Ok(Self::Chat(Arc::new(ChatTemplate::open(folder)?))),
            Some(name) => Self::by_name(name).ok_or_else(|| {
                Problem::new(format!("asks for the prompt template {name:?}, which Shardscope does not know"))
                    .at(folder.place("config.json"))
                    .fix(format!("set \"template\" to the one it was trained with: {}", Self::known()))
            }),
        }
    }

    /// The system prompt that stands when nobody gives one; `None` for chat templates, which then have none.
    pub fn default_system(&self) -> Option<&str> {
        self.parts().map(|parts| parts.default_system)
    }

    /// The prompt of one question with `<image>` markers. Without a `system` the template's default stands; for a
    /// chat template there is then no system message. A template with roles only gets an empty question as the
    /// original treats it: the role, no message, no end.
    ///
    /// For a chat template every `<image>`, with the line break after it, becomes an image of the message, which
    /// the template shows in its own way; the text between images becomes text of the message.
    ///
    /// # Errors
    /// A chat template that fails on this question or takes too long.
    pub fn render(&self, system: Option<&str>, question: &str) -> Result<String> {
        let parts = match self {
            Self::Chat(chat) => return chat.render(system, question),
            named => match named.parts() {
                Some(parts) => parts,
                None => return Ok(question.to_owned()),
            },
        };
        let system = system.unwrap_or(parts.default_system);
        let mut prompt = format!("{}{system}{}{}", parts.system, parts.end, parts.user);
        if matches!(self, Self::InternvlZh) {
            // Roles here are parted from messages by a colon, and a space only where a message follows.
            prompt.push(':');
            if !question.is_empty() {
                prompt.push(' ');
            }
        }
        if !question.is_empty() {
            prompt.push_str(question);
            prompt.push_str(parts.end);
        }
        prompt.push_str(parts.assistant);
        Ok(prompt)
    }

    /// The special token at which an answer ends.
    pub fn stop_token(&self) -> &str {
        match self {
            Self::Chat(chat) => chat.stop(),
            named => named.parts().map_or("<|im_end|>", |parts| parts.stop),
        }
    }

    /// Where a decoded answer is cut.
    pub fn separator(&self) -> &str {
        self.stop_token()
    }

    /// Whether answers are decoded with special tokens kept: the original does so for GPT-OSS alone.
    pub fn keeps_special_tokens(&self) -> bool {
        self.stop_token() == "<|return|>"
    }

    /// The response in a decoded answer: all up to the separator, white space around it taken off, as the
    /// original's `chat()` does.
    ///
    /// With GPT-OSS the header `<|channel|>final<|message|>` with which a response begins is taken off too. A
    /// response that begins with `<think>` keeps that block in `text`, and shows its inside in `thinking`.
    pub fn clean(&self, decoded: &str) -> Cleaned {
        let cut = decoded.split_once(self.separator()).map_or(decoded, |(before, _)| before);
        let mut text = trim(cut);
        if self.keeps_special_tokens() {
            text = text.strip_prefix(GPT_OSS_HEADER).map_or(text, trim);
        }
        let thinking = text
            .strip_prefix("<think>")
            .map(|rest| trim(rest.split_once("</think>").map_or(rest, |(inside, _)| inside)).to_owned());
        Cleaned { text: text.to_owned(), thinking }
    }

    /// The text in a rendered prompt that stands for one image.
    fn marker(&self) -> &str {
        match self {
            Self::Chat(chat) => chat.marker(),
            _ => IMAGE_MARKER,
        }
    }

    fn parts(&self) -> Option<Parts> {
        Some(match self {
            Self::Internlm2Chat => INTERNLM2_CHAT,
            Self::Hermes2 => Parts { name: "Hermes-2", ..INTERNLM2_CHAT },
            Self::Internvl2_5 => Parts {
                name: "internvl2_5",
                default_system: SYSTEM_2_5,
                end: "<|im_end|>\n",
                ..INTERNLM2_CHAT
            },
            Self::Phi3Chat => Parts {
                name: "phi3-chat",
                system: "<|system|>\n",
                default_system: SYSTEM_1,
                user: "<|user|>\n",
                assistant: "<|assistant|>\n",
                end: "<|end|>",
                stop: "<|end|>",
            },
            Self::Internvl3_5GptOss => Parts {
                name: "internvl3_5_gpt_oss",
                system: "<|start|>system<|message|>",
                default_system: SYSTEM_GPT_OSS,
                user: "<|start|>user<|message|>",
                assistant: "<|start|>assistant",
                end: "<|end|>",
                stop: "<|return|>",
            },
            Self::InternvlZh => Parts {
                name: "internvl_zh",
                system: "",
                default_system: "",
                user: "<human>",
                assistant: "<bot>:",
                end: " ",
                stop: "</s>",
            },
            Self::Chat(_) => return None,
        })
    }
}

/// Puts the image tokens into a prompt: each place of an image, left to right, becomes `<img>`,
/// `tokens_per_tile` times as many `<IMG_CONTEXT>` as the image has tiles, and `</img>`.
///
/// A place is the marker `<image>`, or for a chat template the text that it writes for an image. Images are named
/// before a question's own words, so `<image>` in these comes later and stays as it is, as in the original's `chat()`.
/// A chat template makes an image of every `<image>`: there the numbers of places and images must agree.
///
/// # Errors
/// Fewer places than images, more where none may be left over, and more image tokens than any prompt holds.
pub fn expand_images(
    template: &Template,
    prompt: &str,
    tiles: &[usize],
    tokens_per_tile: usize,
) -> Result<String> {
    let marker = template.marker();
    let places = prompt.matches(marker).count();
    let words_may_follow = !matches!(template, Template::Chat(_)) && !tiles.is_empty();
    if places < tiles.len() || (places > tiles.len() && !words_may_follow) {
        let (noun, verb) = if places == 1 { ("place", "is") } else { ("places", "are") };
        return Err(Problem::new(format!(
            "the prompt has {places} {noun} for images ({marker}), but there {verb} {}",
            match tiles.len() {
                0 => "no image".to_owned(),
                1 => "1 image".to_owned(),
                n => format!("{n} images"),
            },
        ))
        .fix("give every image one <image> in the question, and use that word for nothing else"));
    }
    let total =
        tiles.iter().try_fold(0usize, |sum, tiles| sum.checked_add(tiles.checked_mul(tokens_per_tile)?));
    let Some(total) = total.filter(|total| *total <= MAX_IMAGE_TOKENS) else {
        return Err(Problem::new("the images have more tiles than any prompt can hold")
            .fix("lower the largest number of tiles per image"));
    };
    let mut expanded = String::with_capacity(prompt.len() + total * IMAGE_CONTEXT.len() + tiles.len() * 16);
    let mut pieces = prompt.splitn(tiles.len() + 1, marker);
    expanded.push_str(pieces.next().unwrap_or_default());
    for (piece, tiles) in pieces.zip(tiles) {
        expanded.push_str("<img>");
        expanded.push_str(&IMAGE_CONTEXT.repeat(tiles * tokens_per_tile));
        expanded.push_str("</img>");
        expanded.push_str(piece);
    }
    Ok(expanded)
}

/// Takes white space off both ends, as Python's `str.strip` does (which counts U+001C to U+001F too).
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&c))
}

#[cfg(test)]
mod tests;
