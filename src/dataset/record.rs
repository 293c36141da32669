//! A row as named texts, and the question that it states.

use crate::dataset::question::{ImageRef, Question, QuestionKind};
use crate::dataset::registry::{Family, Profile};
use crate::literal;
use crate::{Problem, Result};

/// The cells of a row that hold something, by column.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    cells: Vec<(String, String)>,
    /// Options of a list, which have letters by their place; an empty one is an option too.
    listed: Vec<String>,
}

impl Record {
    /// Adds a cell; an empty one is absent.
    pub(crate) fn put(&mut self, column: &str, text: String) {
        if column == LETTERED_LIST && text.trim_start().starts_with('[') {
            // What is no list after all says nothing about options, and is kept as it stands.
            if let Ok(options) = literal::texts(&text) {
                let bare = |option: String| option.chars().skip(LETTER_BEFORE).collect();
                self.put_options(options.into_iter().map(bare).collect());
            }
        }
        if !text.is_empty() {
            self.cells.push((column.to_owned(), text));
        }
    }

    /// Sets the options of a list.
    pub(crate) fn put_options(&mut self, options: Vec<String>) {
        self.listed = options;
    }

    /// A cell's text, as the file has it.
    pub(crate) fn get(&self, column: &str) -> Option<&str> {
        self.cells.iter().find(|(name, _)| name == column).map(|(_, text)| text.as_str())
    }

    /// The row's own index, or its position.
    pub(crate) fn index(&self, row: usize) -> String {
        self.get("index").map_or_else(|| row.to_string(), |index| index.trim().to_owned())
    }

    /// The first of several columns that holds something.
    fn first(&self, columns: &[&str]) -> Option<&str> {
        columns.iter().find_map(|column| self.get(column))
    }

    /// Options A to Z that the row has, in letter order.
    fn options(&self) -> Vec<(char, String)> {
        if !self.listed.is_empty() {
            return ('A'..='Z').zip(self.listed.iter().cloned()).collect();
        }
        ('A'..='Z')
            .filter_map(|letter| {
                let mut name = [0; 4];
                self.get(letter.encode_utf8(&mut name)).map(|text| (letter, text.to_owned()))
            })
            .collect()
    }
}

impl Record {
    fn has_options(&self) -> bool {
        !self.listed.is_empty()
            || ('A'..='Z').any(|letter| self.get(letter.encode_utf8(&mut [0; 4])).is_some())
    }
}

/// MME-RealWorld-Lite's column of options, a list of texts such as `(A) a red one`.
const LETTERED_LIST: &str = "multi-choice options";
/// Characters of the letter before such an option.
const LETTER_BEFORE: usize = 4;

/// Columns that hold the coarser group.
const SUPER_CATEGORY: [&str; 3] = ["l2-category", "l2_category", "super_category"];

/// Columns from which [`outline`] and the kind of a row are told.
pub(crate) fn is_outline_column(name: &str) -> bool {
    let mut letters = name.chars();
    let letter = matches!((letters.next(), letters.next()), (Some('A'..='Z'), None));
    letter
        || SUPER_CATEGORY.contains(&name)
        || ["index", "category", "split", "question_type", LETTERED_LIST].contains(&name)
}

/// Columns by which the figures of some benchmark are parted.
const OTHER: [&str; 2] = ["source", "cycle_category"];

/// Columns that make a question, images besides; others are not read.
pub(crate) fn is_question_column(name: &str) -> bool {
    is_outline_column(name)
        || OTHER.contains(&name)
        || ["id", "question", "hint", "answer", "image_path"].contains(&name)
}

/// What a column `question_type` says, in the words of the datasets in use.
pub(crate) fn stated_kind(question_type: &str) -> Option<QuestionKind> {
    match question_type.trim().to_ascii_lowercase().replace(['_', ' '], "-").as_str() {
        "multiple-choice" | "multi-choice" | "mcq" | "choice" | "option" => Some(QuestionKind::Option),
        "yes/no" | "yes-no" | "y/n" | "yorn" => Some(QuestionKind::YesNo),
        "open" | "short-answer" | "short" | "free-form" | "vqa" => Some(QuestionKind::Short),
        "free" | "caption" | "description" => Some(QuestionKind::Free),
        _ => None,
    }
}

/// A row's kind: what its own column says, else options make it a choice, else what the dataset is.
pub(crate) fn kind(
    record: &Record,
    profile: &Profile,
    otherwise: impl FnOnce() -> QuestionKind,
) -> QuestionKind {
    let lettered = matches!(profile.family, Family::MultipleChoice);
    let options = lettered && record.has_options();
    match profile.stated.kind.or_else(|| record.get("question_type").and_then(stated_kind)) {
        Some(QuestionKind::Option) if !options => QuestionKind::Short,
        Some(kind) => kind,
        None if options => QuestionKind::Option,
        None => match profile.kind {
            Some(QuestionKind::Option) => QuestionKind::Short,
            Some(kind) => kind,
            None => otherwise(),
        },
    }
}

/// Whether an answer is yes or no.
pub(crate) fn is_yes_or_no(answer: &str) -> bool {
    let answer = answer.trim();
    answer.eq_ignore_ascii_case("yes") || answer.eq_ignore_ascii_case("no")
}

/// The groups that a row belongs to: category, coarser category, split.
pub(crate) fn groups(record: &Record) -> [Option<&str>; 3] {
    [record.get("category"), record.first(&SUPER_CATEGORY), record.get("split")]
        .map(|group| group.map(str::trim))
}

/// The question of a row. `images` are already found; `index` is the row's own.
pub(crate) fn question(
    row: usize,
    record: &Record,
    profile: &Profile,
    images: Vec<ImageRef>,
    otherwise: impl FnOnce() -> QuestionKind,
) -> Result<Question> {
    let text = match record.get("question") {
        Some(text) => text,
        None if profile.question_in_image => "",
        None => return Err(Problem::new("the question is empty").at("column question")),
    };
    let kind = kind(record, profile, otherwise);
    if kind == QuestionKind::Option && record.listed.len() > 26 {
        let count = record.listed.len();
        return Err(Problem::new(format!("{count} options are more than the alphabet has letters"))
            .at("column options"));
    }
    let options = if kind == QuestionKind::Option { record.options() } else { Vec::new() };
    let [category, super_category, split] = groups(record).map(|group| group.map(str::to_owned));
    Ok(Question {
        row,
        index: record.index(row),
        id: record.get("id").map(str::to_owned),
        text: text.to_owned(),
        hint: record.get("hint").map(str::to_owned),
        options,
        gold: record.get("answer").map(|answer| gold(answer, kind)).unwrap_or_default(),
        kind,
        category,
        super_category,
        split,
        images,
        other: OTHER.iter().filter_map(|&name| Some((name, record.get(name)?.trim().to_owned()))).collect(),
    })
}

/// Gold answers of a cell: of an open question several where the cell is a list.
fn gold(answer: &str, kind: QuestionKind) -> Vec<String> {
    if kind == QuestionKind::Option {
        return vec![answer.trim().to_owned()];
    }
    let list = answer.trim_start().starts_with('[').then(|| literal::texts(answer).ok()).flatten();
    list.filter(|answers| !answers.is_empty()).unwrap_or_else(|| vec![answer.to_owned()])
}
