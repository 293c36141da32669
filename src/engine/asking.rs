//! One question from the dataset to the model and back: prompt, tiles, features, tokens, text.

use std::time::Instant;

use candle_core::{Device, Tensor};
use serde_json::{Map, Value};

use super::generation::{Chooser, Sampling, log_probabilities};
use super::model::Model;
use crate::checkpoint::template::expand_images;
use crate::dataset::{Dataset, ImageRef, Question, Style, prompt};
use crate::picture;
use crate::session::journal::{Alternative, Answer, Finish, ImageRecord, Seconds, TokenLogprob};
use crate::{Problem, Result};

/// How questions are asked; everything here can change an answer, except the last two.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSettings {
    /// Named way of building prompts.
    pub style: Style,
    /// System prompt in place of the template's own.
    pub system: Option<String>,
    /// Longest answer in tokens.
    pub max_new_tokens: usize,
    /// Most tiles an image in place of the dataset's own limit.
    pub max_tiles: Option<u32>,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// Log-probabilities kept for so many alternatives of each token; 0 for none.
    pub top_logprobs: usize,
    /// Tiles that go through the vision tower at a time.
    pub micro_batch: usize,
    /// Prompt positions that go through the decoder at a time.
    pub prefill_chunk: usize,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            style: Style::default(),
            system: None,
            max_new_tokens: 1024,
            max_tiles: None,
            sampling: Sampling::Greedy,
            top_logprobs: 0,
            micro_batch: 4,
            prefill_chunk: 1024,
        }
    }
}

/// A question that is ready for the model.
pub struct Asked {
    /// The rendered prompt, image tokens not repeated.
    pub prompt: String,
    /// Token ids, image tokens repeated.
    pub ids: Vec<u32>,
    /// Tiles of all images `[tiles, 3, side, side]`; `None` without images.
    pub pixels: Option<Tensor>,
    /// The images as they were cut.
    pub images: Vec<ImageRecord>,
    /// Tiles of all images.
    pub tiles: usize,
    /// Seconds for reading and cutting the images.
    pub seconds: f64,
}

/// What happens while an answer is made; `false` abandons it.
pub type Watch<'a> = &'a mut dyn FnMut(Step<'_>) -> bool;

/// A step of an answer.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// The prompt is ready: tiles and tokens.
    Prepared {
        /// Tiles of all images.
        tiles: usize,
        /// Tokens of the prompt.
        prompt_tokens: usize,
    },
    /// The pictures or the prompt are being taken in.
    Working,
    /// More of the answer's text.
    Text(&'a str),
}

/// Makes a question ready for the model.
///
/// # Errors
/// Images that cannot be read or decoded, a template that fails, a prompt that does not fit together.
pub fn prepare(
    model: &Model,
    dataset: &Dataset,
    question: &Question,
    settings: &RunSettings,
) -> Result<Asked> {
    let start = Instant::now();
    let built = prompt::build(dataset, question, settings.style, settings.max_tiles)?;
    let tiling = model.tiling(built.max_tiles);
    let side = tiling.side as usize;
    let (mut counts, mut images, mut pixels) = (Vec::new(), Vec::new(), Vec::new());
    for used in &built.images {
        let image = question.images.get(used.index).ok_or_else(|| {
            Problem::new(format!("the prompt names image {}, which the question lacks", used.index + 1))
        })?;
        let place = dataset.image_place(image);
        let decoded = picture::decode(&dataset.image_bytes(image)?, &place)?;
        let tiles = tiling.cut_enlarged(&decoded, used.scale);
        images.push(ImageRecord {
            name: image_name(image, used.index),
            width: decoded.width(),
            height: decoded.height(),
            grid: [tiles.grid.cols, tiles.grid.rows],
        });
        counts.push(tiles.count);
        pixels.push(Tensor::from_vec(tiles.pixels, (tiles.count, 3, side, side), &Device::Cpu)?);
    }
    let pixels = if pixels.is_empty() { None } else { Some(Tensor::cat(&pixels, 0)?) };
    let seconds = start.elapsed().as_secs_f64();

    let rendered = model.template.render(settings.system.as_deref().or(built.system), &built.text)?;
    let tokens_per_tile = model.checkpoint.config.tokens_per_tile();
    let expanded = expand_images(&model.template, &rendered, &counts, tokens_per_tile)?;
    let ids = model.tokenizer.encode(&expanded)?;
    Ok(Asked { prompt: rendered, ids, pixels, images, tiles: counts.iter().sum(), seconds })
}

/// What a session calls an image: its file's name, else its number in the question.
pub fn image_name(image: &ImageRef, index: usize) -> String {
    let file = match image {
        ImageRef::File(path) => path.file_name(),
        ImageRef::Bytes(_) | ImageRef::Stored { .. } => None,
    };
    file.map_or_else(|| format!("image {}", index + 1), |name| name.to_string_lossy().into_owned())
}

/// Asks one question; `None` where `watch` abandoned it.
///
/// # Errors
/// As [`prepare`], and everything that goes wrong in the network.
pub fn ask(
    model: &Model,
    dataset: &Dataset,
    question: &Question,
    settings: &RunSettings,
    watch: Watch<'_>,
) -> Result<Option<Answer>> {
    let start = Instant::now();
    let mut answer = blank(question, dataset);
    let asked = prepare(model, dataset, question, settings)?;
    if !watch(Step::Prepared { tiles: asked.tiles, prompt_tokens: asked.ids.len() }) {
        return Ok(None);
    }
    let prefill_start = Instant::now();
    let network = &model.network;
    let features = match &asked.pixels {
        Some(pixels) => {
            let features =
                network.image_features_while(pixels, settings.micro_batch, &mut || watch(Step::Working))?;
            let Some(features) = features else { return Ok(None) };
            Some(features)
        }
        None => None,
    };
    let embedded = network.embed(&asked.ids, model.tokenizer.image_context_id(), features.as_ref())?;
    let mut cache = network.cache(asked.ids.len() + settings.max_new_tokens)?;
    let logits =
        network.prefill_while(&embedded, &mut cache, settings.prefill_chunk, &mut || watch(Step::Working))?;
    let Some(mut logits) = logits else { return Ok(None) };
    drop(embedded);
    let decode_start = Instant::now();

    let mut chooser = Chooser::new(settings.sampling, question.row);
    let mut stream = match model.template.keeps_special_tokens() {
        true => model.tokenizer.stream_with_special(),
        false => model.tokenizer.stream(),
    };
    let (mut ids, mut logprobs) = (Vec::new(), Vec::new());
    let mut finish = Finish::Length;
    while ids.len() < settings.max_new_tokens {
        let token = chooser.choose(&logits)?;
        ids.push(token);
        if settings.top_logprobs > 0 {
            logprobs.push(logprob(model, &logits, token, settings.top_logprobs)?);
        }
        if token == model.stop {
            finish = Finish::Stop;
            break;
        }
        if !watch(Step::Text(&stream.push(token).unwrap_or_default())) {
            return Ok(None);
        }
        if ids.len() < settings.max_new_tokens {
            logits = network.step(token, &mut cache)?;
        }
    }
    if let Some(rest) = stream.finish() {
        watch(Step::Text(&rest));
    }
    let decoded = model.tokenizer.decode(&ids, !model.template.keeps_special_tokens())?;
    let cleaned = model.template.clean(&decoded);
    answer.prompt = asked.prompt;
    answer.images = asked.images;
    answer.tiles = asked.tiles as u64;
    answer.prompt_tokens = asked.ids.len() as u64;
    answer.output_tokens = ids.len() as u64;
    answer.finish = finish;
    answer.output_ids = ids;
    answer.response = cleaned.text;
    answer.thinking = cleaned.thinking;
    answer.logprobs = (settings.top_logprobs > 0).then_some(logprobs);
    answer.seconds = Seconds {
        images: asked.seconds,
        prefill: (decode_start - prefill_start).as_secs_f64(),
        decode: decode_start.elapsed().as_secs_f64(),
        total: start.elapsed().as_secs_f64(),
    };
    Ok(Some(answer))
}

/// The line of a question that nothing has answered yet.
pub fn blank(question: &Question, dataset: &Dataset) -> Answer {
    let mut answer = Answer::new(question.index.clone(), String::new());
    answer.id = question.id.clone();
    answer.category = question.category.clone();
    answer.super_category = question.super_category.clone();
    answer.split = question.split.clone();
    answer.answer_type = dataset.profile().answer_type(question.kind, &question.gold);
    answer.question = question.text.clone();
    answer.options = options(question);
    answer.answer = match question.gold.as_slice() {
        [] => Value::Null,
        [one] => Value::String(one.clone()),
        several => several.to_vec().into(),
    };
    answer
}

fn options(question: &Question) -> Map<String, Value> {
    question.options.iter().map(|(letter, text)| (letter.to_string(), text.clone().into())).collect()
}

fn logprob(model: &Model, logits: &[f32], token: u32, count: usize) -> Result<TokenLogprob> {
    let text = |id: u32| model.tokenizer.decode(&[id], false);
    let (logprob, likeliest) = log_probabilities(logits, token, count);
    let top = likeliest.into_iter().map(|(id, logprob)| Ok(Alternative { id, text: text(id)?, logprob }));
    Ok(TokenLogprob { id: token, text: text(token)?, logprob, top: top.collect::<Result<_>>()? })
}
