//! What questions will cost, before anything is loaded: tiles from image headers, tokens from the prompt's text.

use std::hash::{DefaultHasher, Hash, Hasher};

use rayon::iter::Either;
use rayon::prelude::*;

use super::model::Language;
use crate::dataset::{Dataset, Prompt, Question, Style, prompt};
use crate::picture;
use crate::picture::tiles::Tiling;
use crate::plan::{QuestionCost, Shares};
use crate::{Problem, Result};

/// How questions are asked, as far as it decides their cost.
pub struct Pricing<'a> {
    /// The questions.
    pub dataset: &'a Dataset,
    /// Named way of building prompts.
    pub style: Style,
    /// System prompt in place of the template's own.
    pub system: Option<&'a str>,
    /// Most tiles an image in place of the dataset's own limit.
    pub max_tiles: Option<u32>,
    /// How images are cut when a question allows so many tiles an image.
    pub tiling: &'a (dyn Fn(u32) -> Tiling + Sync),
    /// Tokens that a tile becomes.
    pub tokens_per_tile: usize,
    /// Tokenizer and template; without them the text's tokens are estimated.
    pub language: Option<&'a Language>,
}

/// Tokens of system prompt and template where no tokenizer tells.
const TEMPLATE_TOKENS: usize = 60;

impl Pricing<'_> {
    /// Costs of these rows, and what is wrong with those that cannot be read.
    pub fn all(&self, rows: &[usize]) -> (Vec<QuestionCost>, Vec<Problem>) {
        rows.par_iter().partition_map(|row| match self.one(*row) {
            Ok(cost) => Either::Left(cost),
            Err(problem) => Either::Right(problem),
        })
    }

    /// Cost of one row.
    ///
    /// # Errors
    /// A row, an image header or a prompt that cannot be read.
    pub fn one(&self, row: usize) -> Result<QuestionCost> {
        let question = self.dataset.question(row)?;
        let built = prompt::build(self.dataset, &question, self.style, self.max_tiles)?;
        let pictures = self.pictures(&question, &built)?;
        let tiles = pictures.iter().map(|(_, tiles)| tiles).sum();
        let text = self.text(&built)?;
        let image_tokens = tiles * self.tokens_per_tile as u64;
        let beginning = (number(&(text.beginning, &pictures)), text.before + image_tokens);
        Ok(QuestionCost {
            id: question.index,
            tiles,
            prompt_tokens: text.tokens + image_tokens,
            shares: Shares { pictures, beginning },
        })
    }

    /// Each image of a question: a number that tells it, as it is cut, from others, and its tiles, from its header.
    fn pictures(&self, question: &Question, built: &Prompt) -> Result<Vec<(u64, u64)>> {
        let tiling = (self.tiling)(built.max_tiles);
        let mut pictures = Vec::with_capacity(built.images.len());
        for used in &built.images {
            let Some(image) = question.images.get(used.index) else { continue };
            let place = self.dataset.image_place(image);
            let bytes = self.dataset.image_bytes(image)?;
            let (width, height) = picture::dimensions(&bytes, &place)?;
            let tiles = tiling.count_for(width, height, used.scale);
            pictures.push((number(&(&*bytes, tiling, used.scale)), tiles as u64));
        }
        Ok(pictures)
    }

    /// Tokens besides the image tokens.
    fn text(&self, built: &Prompt) -> Result<Text> {
        let Some(language) = self.language else {
            let wide = built.text.chars().filter(|c| !c.is_ascii()).count();
            // A style's own system message takes the place of the template's.
            let system = self.system.or(built.system).map_or(0, str::len).div_ceil(4);
            // Pictures come first in most prompts.
            let before = TEMPLATE_TOKENS + system + 2 * built.images.len();
            let after = wide + (built.text.len() - wide).div_ceil(4);
            return Ok(Text { tokens: (before + after) as u64, before: before as u64, beginning: 0 });
        };
        // A special token is never joined with what stands beside it, so one a picture tells the count of any number.
        let rendered = language.template.render(self.system.or(built.system), &built.text)?;
        let one_each = vec![1; built.images.len()];
        let expanded =
            crate::checkpoint::template::expand_images(&language.template, &rendered, &one_each, 1)?;
        let ids = language.tokenizer.encode(&expanded)?;
        let image_token = language.tokenizer.image_context_id();
        let end = ids.iter().rposition(|id| *id == image_token).map_or(ids.len(), |last| last + 1);
        let images = built.images.len();
        Ok(Text {
            tokens: ids.len().saturating_sub(images) as u64,
            before: end.saturating_sub(images) as u64,
            beginning: number(&ids[..end]),
        })
    }
}

/// The text of a prompt.
struct Text {
    /// Its tokens.
    tokens: u64,
    /// Those of them that stand before the end of its last picture; all where there is none.
    before: u64,
    /// A number that tells these from others.
    beginning: u64,
}

/// A number that tells what is equal from what is not, nearly always.
fn number<T: Hash + ?Sized>(of: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
