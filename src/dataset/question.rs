//! One question of a dataset, as the file states it.

use std::path::PathBuf;

use crate::{Problem, Result};

/// What sort of answer a question asks for; decides the prompt's suffix and how an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuestionKind {
    /// One of lettered options.
    Option,
    /// Yes or no.
    YesNo,
    /// A word, a number or a short phrase.
    Short,
    /// Free text that no rule scores (captions, descriptions).
    Free,
}

impl QuestionKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Option, Self::YesNo, Self::Short, Self::Free];

    /// The name by which it is recorded and asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Option => "option",
            Self::YesNo => "yes-no",
            Self::Short => "short",
            Self::Free => "free",
        }
    }
}

impl std::str::FromStr for QuestionKind {
    type Err = Problem;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Problem::new(format!("there is no kind of question '{name}'")).fix(format!("use one of: {names}"))
        })
    }
}

/// Where an image of a question can be read when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageRef {
    /// Encoded bytes (png, jpeg, ...) held in memory, already decoded from base64.
    Bytes(std::sync::Arc<[u8]>),
    /// In the dataset's own file, read when asked for.
    Stored {
        /// The row that holds it, from 0.
        row: usize,
        /// Which of the row's images, from 0.
        part: usize,
    },
    /// A file inside the dataset's image folder.
    File(PathBuf),
}

/// One question of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Position in the dataset, from 0.
    pub row: usize,
    /// The dataset's own index, as text.
    pub index: String,
    /// The dataset's own id where it has one besides the index.
    pub id: Option<String>,
    /// The question's text as the file has it.
    pub text: String,
    /// A hint that stands before the question.
    pub hint: Option<String>,
    /// Options in letter order; empty where the question is open.
    pub options: Vec<(char, String)>,
    /// Gold answers: a letter, a text, or several accepted texts; empty where the dataset withholds them.
    pub gold: Vec<String>,
    /// What sort of answer is asked for.
    pub kind: QuestionKind,
    /// Group for the report.
    pub category: Option<String>,
    /// Coarser group for the report (`l2-category`).
    pub super_category: Option<String>,
    /// Split (`dev`, `validation`, `test`).
    pub split: Option<String>,
    /// Images in prompt order.
    pub images: Vec<ImageRef>,
    /// What some benchmark's figures need besides, by column: CV-Bench's `source`, HRBench's `cycle_category`.
    pub other: Vec<(&'static str, String)>,
}
