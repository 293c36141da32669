//! Known datasets of VLMEvalKit by name, and what any dataset is from its name and columns.

use crate::dataset::question::QuestionKind;
use crate::scoring::AnswerType;

/// Type of a dataset in VLMEvalKit (`TYPE` of its classes); decides how InternVL's prompt is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Lettered options and the letter asked for (`MCQ`).
    MultipleChoice,
    /// Yes or no (`Y/N`).
    YesNo,
    /// Questions with an answer of a word or more (`VQA`).
    Vqa,
    /// Everything else: the question is sent as it stands.
    Plain,
}

/// A dataset that VLMEvalKit knows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Its name, which is its file's name without `.tsv`.
    pub name: &'static str,
    /// Its type.
    pub family: Family,
    /// What its questions ask for where a row does not say.
    pub kind: QuestionKind,
    /// How its answers are judged; `None` where no rule can.
    pub answer_type: Option<AnswerType>,
    /// Rows of the published file.
    pub rows: Option<usize>,
    /// MD5 of the published file.
    pub md5: Option<&'static str>,
}

/// What a dataset is, from the registry or from its name and columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The dataset's name.
    pub name: String,
    /// Its entry in the registry, if VLMEvalKit knows it.
    pub entry: Option<&'static Entry>,
    /// Its type; decides the prompt.
    pub family: Family,
    /// What its questions ask for where neither a column nor options say.
    pub kind: Option<QuestionKind>,
    /// Most tiles of one picture, the thumbnail not counted.
    pub max_tiles: u32,
    /// Whether the dataset is of the MMMU family, by its name or its columns; the first picture of a question is then
    /// doubled in size.
    pub mmmu: bool,
    /// Whether questions stand in their images, as in MMMU-Pro's vision part, and not in a text.
    pub question_in_image: bool,
}

const fn choice(name: &'static str, rows: Option<usize>, md5: Option<&'static str>) -> Entry {
    Entry {
        name,
        family: Family::MultipleChoice,
        kind: QuestionKind::Option,
        answer_type: Some(AnswerType::Option),
        rows,
        md5,
    }
}

const fn yes_no(name: &'static str, rows: Option<usize>, md5: Option<&'static str>) -> Entry {
    Entry {
        name,
        family: Family::YesNo,
        kind: QuestionKind::YesNo,
        answer_type: Some(AnswerType::YesNo),
        rows,
        md5,
    }
}

const fn vqa(
    name: &'static str,
    answer_type: Option<AnswerType>,
    rows: Option<usize>,
    md5: Option<&'static str>,
) -> Entry {
    let kind = if answer_type.is_some() { QuestionKind::Short } else { QuestionKind::Free };
    Entry { name, family: Family::Vqa, kind, answer_type, rows, md5 }
}

/// The datasets that are known by name. Facts from open-compass/VLMEvalKit (`vlmeval/dataset/image_*.py`).
pub static DATASETS: &[Entry] = &[
    choice("MMMU_DEV_VAL", Some(1050), Some("585e8ad75e73f75dcad265dfd0417d64")),
    choice("MMMU_TEST", Some(10_500), Some("c19875d11a2d348d07e5eb4bdf33166d")),
    choice("MMStar", Some(1500), Some("e1ecd2140806c1b1bbf54b43372efb9e")),
    yes_no("MME", Some(2374), Some("b36b43c3f09801f5d368627fb92187c3")),
    yes_no("HallusionBench", None, Some("0c23ac0dc9ef46832d7a24504f2a0c7c")),
    yes_no("POPE", None, Some("c12f5acb142f2ef1f85a26ba2fbe41d5")),
    vqa("OCRBench", Some(AnswerType::Ocrbench), Some(1000), Some("e953d98a987cc6e26ef717b61260b778")),
    vqa(
        "ChartQA_TEST",
        Some(AnswerType::RelaxedAccuracy),
        Some(2500),
        Some("c902e0aa9be5582a7aad6dcf52734b42"),
    ),
    vqa("DocVQA_VAL", Some(AnswerType::Anls), None, Some("d5ee77e1926ff10690d469c56b73eabf")),
    vqa("TextVQA_VAL", Some(AnswerType::VqaScore), Some(5000), Some("b233b31f551bbf4056f2f955da3a92cd")),
];

/// The entry of a dataset by its name; `_local`, which VLMEvalKit adds where images lie in files, does not count.
pub fn find(name: &str) -> Option<&'static Entry> {
    let name = name.strip_suffix("_local").unwrap_or(name);
    DATASETS.iter().find(|entry| entry.name == name)
}

impl Profile {
    /// What a dataset of this name with these columns is. Columns `A` and `B` make an unknown one a choice of
    /// letters, as VLMEvalKit's custom datasets.
    pub fn of(name: &str, columns: &[String]) -> Self {
        let entry = find(name);
        let has = |name: &str| columns.iter().any(|column| column == name);
        let lettered = has("A") && has("B");
        let family = match entry {
            Some(entry) => entry.family,
            None if lettered => Family::MultipleChoice,
            None => Family::Vqa,
        };
        Self {
            name: name.to_owned(),
            entry,
            family,
            kind: entry.map(|entry| entry.kind),
            max_tiles: max_tiles(name),
            mmmu: name.to_ascii_uppercase().contains("MMMU"),
            question_in_image: false,
        }
    }

    /// The profile of a dataset whose questions have lists of options.
    pub(crate) fn as_lettered(self) -> Self {
        let family = if self.entry.is_some() { self.family } else { Family::MultipleChoice };
        Self { family, ..self }
    }

    /// The profile of a file with MMMU's columns, whatever its name; MMMU-Pro has its own limit of tiles.
    pub(crate) fn as_mmmu(self, pro: bool) -> Self {
        let max_tiles = if pro || is_pro(&self.name) { 6 } else { 12 };
        Self { family: Family::MultipleChoice, mmmu: true, max_tiles, ..self }
    }

    /// Whether the dataset is MMMU-Pro by its name.
    pub fn is_mmmu_pro(&self) -> bool {
        is_pro(&self.name)
    }

    /// How an answer to a question of this kind is judged; `None` where no rule can.
    pub fn answer_type(&self, kind: QuestionKind, gold: &[String]) -> Option<AnswerType> {
        match (kind, self.entry) {
            (QuestionKind::Option, _) => Some(AnswerType::Option),
            (QuestionKind::YesNo, _) => Some(AnswerType::YesNo),
            (QuestionKind::Free, _) => None,
            (QuestionKind::Short, Some(entry)) if entry.family == Family::Vqa => entry.answer_type,
            (QuestionKind::Short, _) if self.mmmu => Some(AnswerType::MmmuOpen),
            (QuestionKind::Short, _) if gold.len() > 1 => Some(AnswerType::AccuracyMax),
            (QuestionKind::Short, _) => Some(AnswerType::Exact),
        }
    }
}

impl AsRef<Profile> for Profile {
    fn as_ref(&self) -> &Profile {
        self
    }
}

/// Names (parts of names) of datasets whose pictures may be cut into more than six tiles, and how many: `set_max_num`
/// of VLMEvalKit's InternVL wrapper.
const TILES: &[(u32, &[&str])] = &[
    (
        12,
        &["ChartQA_TEST", "MMMU_DEV_VAL", "MMMU_TEST", "MME-RealWorld", "VCR_EN", "VCR_ZH", "OCRVQA", "BMMR"],
    ),
    (18, &["DocVQA_VAL", "DocVQA_TEST", "DUDE", "MMLongBench_DOC", "SLIDEVQA"]),
    (24, &["InfoVQA_VAL", "InfoVQA_TEST", "OCRBench", "HRBench4K", "HRBench8K"]),
    (12, &["ScreenSpot", "OSWorld-G", "VenusBench"]),
];

/// Whether a name is that of MMMU-Pro.
fn is_pro(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.contains("MMMU_PRO") || name.contains("MMMU-PRO")
}

/// Most tiles of one picture in a dataset of this name. A dataset of the MMMU family that VLMEvalKit does not know
/// has what MMMU itself has; MMMU-Pro has six there.
fn max_tiles(name: &str) -> u32 {
    let upper = name.to_ascii_uppercase();
    let listed = TILES.iter().find(|(_, parts)| parts.iter().any(|part| name.contains(part)));
    match listed {
        Some((tiles, _)) => *tiles,
        None if find(name).is_some() || is_pro(name) => 6,
        None if upper.contains("MMMU") => 12,
        None => 6,
    }
}
