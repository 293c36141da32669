//! What questions will cost, before anything is loaded: tiles from image headers, tokens from the prompt's text.

use rayon::iter::Either;
use rayon::prelude::*;

use super::model::Language;
use crate::dataset::{Dataset, Prompt, Question, Style, prompt};
use crate::picture;
use crate::picture::tiles::Tiling;
use crate::plan::QuestionCost;
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
        let tiles = self.tiles(&question, &built)?;
        let text = self.text_tokens(&built)?;
        let prompt_tokens = text + tiles * self.tokens_per_tile;
        Ok(QuestionCost { id: question.index, tiles: tiles as u64, prompt_tokens: prompt_tokens as u64 })
    }

    /// Tiles of all images of a question, from their headers.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn tiles(&self, question: &Question, built: &Prompt) -> Result<usize> {
        let tiling = (self.tiling)(built.max_tiles);
        let mut tiles = 0;
        for used in &built.images {
            let Some(image) = question.images.get(used.index) else { continue };
            let place = self.dataset.image_place(image);
            let (width, height) = picture::dimensions(&self.dataset.image_bytes(image)?, &place)?;
            tiles += tiling.count_for(width, height, used.scale);
        }
        Ok(tiles)
    }

    /// Tokens besides the image tokens.
    fn text_tokens(&self, built: &Prompt) -> Result<usize> {
        let Some(language) = self.language else {
            let wide = built.text.chars().filter(|c| !c.is_ascii()).count();
            // A style's own system message takes the place of the template's.
            let system = self.system.or(built.system).map_or(0, str::len).div_ceil(4);
            return Ok(TEMPLATE_TOKENS
                + system
                + wide
                + (built.text.len() - wide).div_ceil(4)
                + 2 * built.images.len());
        };
        // A special token is never joined with what stands beside it, so one a picture tells the count of any number.
        let rendered = language.template.render(self.system.or(built.system), &built.text)?;
        let one_each = vec![1; built.images.len()];
        let expanded =
            crate::checkpoint::template::expand_images(&language.template, &rendered, &one_each, 1)?;
        Ok(language.tokenizer.encode(&expanded)?.len() - built.images.len())
    }
}
