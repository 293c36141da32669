//! One question from the dataset to the model and back: prompt, tiles, features, tokens, text.

use std::sync::Arc;
use std::time::Instant;

use candle_core::{Device, Tensor};
use serde_json::{Map, Value};

use super::generation::{Chooser, Sampling, log_probabilities};
use super::model::Model;
use super::reuse::{Picture, PictureKey, Pictures};
use crate::checkpoint::template::expand_images;
use crate::checkpoint::tokenizer::TextStream;
use crate::dataset::{Dataset, ImageRef, Question, Style, prompt};
use crate::picture;
use crate::picture::tiles::Tiling;
use crate::plan::Kept;
use crate::session::journal::{Alternative, Answer, Finish, ImageRecord, Seconds, TokenLogprob};
use crate::{Problem, Result};

/// How questions are asked; everything here can change an answer, except the last four.
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
    /// Bytes of image features that are kept for questions to come, at most, on the projector's device (of each copy of
    /// the model an equal part).
    pub picture_cache: u64,
    /// Bytes of keys and values of prompts' beginnings that are kept for questions to come, at most, on the layers' devices
    /// together.
    pub prompt_cache: u64,
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
            picture_cache: Kept::USUAL.pictures,
            prompt_cache: Kept::USUAL.prompts,
        }
    }
}

/// A question that is ready for the model.
pub struct Asked {
    /// The rendered prompt, image tokens not repeated.
    pub prompt: String,
    /// Token ids, image tokens repeated.
    pub ids: Vec<u32>,
    /// Pictures in the order in which they stand in the prompt.
    pub pictures: Vec<Arc<Picture>>,
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
    prepare_beside(model, dataset, question, settings, &Pictures::new(0))
}

/// [`prepare`], beside questions that may ask about the same pictures: what is known already is not cut again.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_beside(
    model: &Model,
    dataset: &Dataset,
    question: &Question,
    settings: &RunSettings,
    known: &Pictures,
) -> Result<Asked> {
    let start = Instant::now();
    let built = prompt::build(dataset, question, settings.style, settings.max_tiles)?;
    let tiling = model.tiling(built.max_tiles);
    let (mut pictures, mut images) = (Vec::new(), Vec::new());
    for used in &built.images {
        let image = question.images.get(used.index).ok_or_else(|| {
            Problem::new(format!("the prompt names image {}, which the question lacks", used.index + 1))
        })?;
        let bytes = dataset.image_bytes(image)?;
        let key = PictureKey::of(&bytes, tiling, used.scale);
        let picture = match known.find(&key) {
            Some(picture) => picture,
            None => {
                let picture = cut(key, &bytes, &dataset.image_place(image), tiling, used.scale)?;
                known.add(&picture);
                picture
            }
        };
        images.push(ImageRecord {
            name: image_name(image, used.index),
            width: picture.size.0,
            height: picture.size.1,
            grid: [picture.grid.cols, picture.grid.rows],
        });
        pictures.push(picture);
    }
    let seconds = start.elapsed().as_secs_f64();

    let rendered = model.template.render(settings.system.as_deref().or(built.system), &built.text)?;
    let counts: Vec<usize> = pictures.iter().map(|picture| picture.tiles).collect();
    let tokens_per_tile = model.checkpoint.config.tokens_per_tile();
    let expanded = expand_images(&model.template, &rendered, &counts, tokens_per_tile)?;
    let ids = model.tokenizer.encode(&expanded)?;
    let tiles: usize = counts.iter().sum();
    model.network.check_prompt(&ids, model.tokenizer.image_context_id(), tiles * tokens_per_tile)?;
    Ok(Asked { prompt: rendered, ids, pictures, images, tiles, seconds })
}

fn cut(key: PictureKey, bytes: &[u8], place: &str, tiling: Tiling, scale: u32) -> Result<Arc<Picture>> {
    let decoded = picture::decode(bytes, place)?;
    let tiles = tiling.cut_enlarged(&decoded, scale);
    let side = tiles.side as usize;
    let pixels = Tensor::from_vec(tiles.pixels, (tiles.count, 3, side, side), &Device::Cpu)?;
    Ok(Picture::new(key, (decoded.width(), decoded.height()), tiles.grid, tiles.count, pixels))
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
    let mut features = Vec::with_capacity(asked.pictures.len());
    for pixels in asked.pictures.iter().filter_map(|picture| picture.pixels()) {
        match network.image_features_while(&pixels, settings.micro_batch, &mut || watch(Step::Working))? {
            Some(of_one) => features.push(of_one),
            None => return Ok(None),
        }
    }
    let features = if features.is_empty() { None } else { Some(Tensor::cat(&features, 0)?) };
    let embedded = network.embed(&asked.ids, model.tokenizer.image_context_id(), features.as_ref())?;
    let mut cache = network.cache(asked.ids.len() + settings.max_new_tokens);
    let logits =
        network.prefill_while(&embedded, &mut cache, settings.prefill_chunk, &mut || watch(Step::Working))?;
    let Some(mut logits) = logits else { return Ok(None) };
    drop(embedded);
    let decode_start = Instant::now();

    let mut draft = Draft::new(model, settings, question.row);
    while !draft.is_done() {
        let text = draft.take(model, &logits)?;
        if !watch(Step::Text(&text)) {
            return Ok(None);
        }
        if let Some(token) = draft.next() {
            logits = network.step(token, &mut cache)?;
        }
    }
    draft.finish(model, &asked, &mut answer)?;
    answer.seconds = Seconds {
        images: asked.seconds,
        prefill: (decode_start - prefill_start).as_secs_f64(),
        decode: decode_start.elapsed().as_secs_f64(),
        total: start.elapsed().as_secs_f64(),
    };
    Ok(Some(answer))
}

/// An answer in the making: token after token.
pub struct Draft {
    chooser: Chooser,
    stream: TextStream,
    ids: Vec<u32>,
    logprobs: Vec<TokenLogprob>,
    top_logprobs: usize,
    most: usize,
    finish: Option<Finish>,
}

impl Draft {
    /// Nothing yet of the answer to the question of a row.
    pub fn new(model: &Model, settings: &RunSettings, row: usize) -> Self {
        let stream = match model.template.keeps_special_tokens() {
            true => model.tokenizer.stream_with_special(),
            false => model.tokenizer.stream(),
        };
        Self {
            chooser: Chooser::new(settings.sampling, row),
            stream,
            ids: Vec::new(),
            logprobs: Vec::new(),
            top_logprobs: settings.top_logprobs,
            most: settings.max_new_tokens,
            finish: (settings.max_new_tokens == 0).then_some(Finish::Length),
        }
    }

    /// Chooses the next token; the text that it adds.
    ///
    /// # Errors
    /// Logits that are no numbers.
    pub fn take(&mut self, model: &Model, logits: &[f32]) -> Result<String> {
        let token = self.chooser.choose(logits)?;
        self.ids.push(token);
        if self.top_logprobs > 0 {
            self.logprobs.push(logprob(model, logits, token, self.top_logprobs)?);
        }
        let mut text = String::new();
        if token == model.stop {
            self.finish = Some(Finish::Stop);
        } else {
            text = self.stream.push(token).unwrap_or_default();
            if self.ids.len() >= self.most {
                self.finish = Some(Finish::Length);
            }
        }
        if self.is_done() {
            text.extend(self.stream.finish());
        }
        Ok(text)
    }

    /// Whether it is at its end.
    pub fn is_done(&self) -> bool {
        self.finish.is_some()
    }

    /// The token that the network takes in next, unless it is at its end.
    pub fn next(&self) -> Option<u32> {
        self.ids.last().copied().filter(|_| !self.is_done())
    }

    /// A run of tokens with which it ends again and again: how many tokens, and how often. Short answers repeat
    /// themselves lawfully; a model that has lost its way does so to the end.
    pub fn repetition(&self) -> Option<(usize, usize)> {
        repetition(&self.ids)
    }

    /// Tokens so far.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token yet.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Writes it into the question's line.
    ///
    /// # Errors
    /// Tokens that are no text.
    pub fn finish(self, model: &Model, asked: &Asked, answer: &mut Answer) -> Result<()> {
        let decoded = model.tokenizer.decode(&self.ids, !model.template.keeps_special_tokens())?;
        let cleaned = model.template.clean(&decoded);
        answer.prompt.clone_from(&asked.prompt);
        answer.images.clone_from(&asked.images);
        answer.tiles = asked.tiles as u64;
        answer.prompt_tokens = asked.ids.len() as u64;
        answer.output_tokens = self.ids.len() as u64;
        answer.finish = self.finish.unwrap_or(Finish::Length);
        answer.output_ids = self.ids;
        answer.response = cleaned.text;
        answer.thinking = cleaned.thinking;
        answer.logprobs = (self.top_logprobs > 0).then_some(self.logprobs);
        Ok(())
    }
}

/// Longest run of tokens that is looked for, and how many tokens in all make a repetition.
const LONGEST_RUN: usize = 32;
const MANY_TOKENS: usize = 96;

/// The shortest run of tokens that a text ends with at least four times, and for at least [`MANY_TOKENS`] tokens: its
/// length, and how often it is there.
fn repetition<T: PartialEq>(ids: &[T]) -> Option<(usize, usize)> {
    (1..=LONGEST_RUN).find_map(|run| {
        let same = ids.iter().rev().zip(ids.iter().rev().skip(run)).take_while(|(a, b)| a == b).count();
        let times = same / run + 1;
        (times >= 4 && times * run >= MANY_TOKENS).then_some((run, times))
    })
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
    answer.other =
        question.other.iter().map(|(name, text)| ((*name).to_owned(), text.clone().into())).collect();
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    /// A token that counts how often it is looked at.
    struct Token(u32);

    impl PartialEq for Token {
        fn eq(&self, other: &Self) -> bool {
            COMPARED.set(COMPARED.get() + 1);
            self.0 == other.0
        }
    }

    /// Whether a text ends with `times` runs of `run` tokens each.
    fn ends_with(ids: &[u32], run: usize, times: usize) -> bool {
        let Some(from) = ids.len().checked_sub(run * times) else { return false };
        let end = &ids[from..];
        end.chunks(run).all(|chunk| *chunk == end[..run])
    }

    /// A run that is no shorter run said twice or more.
    fn is_primitive(run: &[u32]) -> bool {
        (1..run.len()).all(|part| {
            !run.len().is_multiple_of(part) || run.chunks(part).any(|chunk| *chunk != run[..part])
        })
    }

    /// Tokens of few kinds, so that chance makes runs.
    fn some(kinds: u32, count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(0..kinds, count)
    }

    proptest! {
        #[test]
        fn a_run_said_again_and_again_is_found(
            before in some(5, 0..200), run in some(5, 1..LONGEST_RUN + 1), more in 0usize..20
        ) {
            prop_assume!(is_primitive(&run));
            let times = MANY_TOKENS.div_ceil(run.len()).max(4) + more;
            let mut ids = before;
            ids.extend(run.iter().cycle().take(run.len() * times));
            let (length, found) = repetition(&ids).unwrap();
            prop_assert_eq!(length, run.len());
            prop_assert!(found >= times && ends_with(&ids, length, found) && !ends_with(&ids, length, found + 1));
            // Begun once more, it is the same run, turned.
            ids.push(run[0]);
            prop_assert_eq!(repetition(&ids).map(|(length, _)| length), Some(run.len()));
        }

        #[test]
        fn nothing_is_found_but_what_is_there(ids in some(2, 0..300), tail in some(2, 1..5), times in 0usize..40) {
            let mut ids = ids;
            ids.extend(tail.iter().cycle().take(tail.len() * times));
            let least = |run: usize| MANY_TOKENS.div_ceil(run).max(4);
            let there = (1..=LONGEST_RUN).find(|run| ends_with(&ids, *run, least(*run)));
            prop_assert_eq!(repetition(&ids).map(|(run, _)| run), there);
        }

        #[test]
        fn words_by_chance_are_no_repetition(ids in some(50, 0..600)) {
            prop_assert_eq!(repetition(&ids), None);
        }

        #[test]
        fn every_token_is_looked_at_a_bounded_number_of_times(
            ids in some(2, 0..300), run in some(3, 1..80), length in 0usize..5000
        ) {
            let mut tokens: Vec<Token> = ids.into_iter().map(Token).collect();
            tokens.extend(run.iter().cycle().take(length).map(|id| Token(*id)));
            COMPARED.set(0);
            let _ = repetition(&tokens);
            // Of a run that is not found few tokens agree; of the one that is found all do.
            prop_assert!(COMPARED.get() <= LONGEST_RUN * (MANY_TOKENS + LONGEST_RUN) + tokens.len());
        }
    }
}
