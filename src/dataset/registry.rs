//! Known datasets of VLMEvalKit by name, and what any dataset is from its name and columns.

use crate::Problem;
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
    /// What a person says of it, which counts before all else.
    pub stated: Stated,
    /// The type before a person said anything.
    pub unstated: Option<Family>,
}

/// What a person says of all questions of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stated {
    /// What they ask for; decides the prompt. A question without options is open all the same.
    pub kind: Option<QuestionKind>,
    /// How their answers are judged.
    pub answer_type: Option<AnswerType>,
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

/// The datasets that are known by name. Facts from open-compass/VLMEvalKit (`vlmeval/dataset/image_*.py`); row counts
/// and checksums only where they are published there or by the dataset's authors.
#[rustfmt::skip]
pub static DATASETS: &[Entry] = &[
    // Choices of letters.
    choice("MMMU_DEV_VAL", Some(1050), Some("585e8ad75e73f75dcad265dfd0417d64")),
    choice("MMMU_TEST", Some(10_500), Some("c19875d11a2d348d07e5eb4bdf33166d")),
    choice("MMBench_DEV_EN", None, Some("b6caf1133a01c6bb705cf753bb527ed8")),
    choice("MMBench_TEST_EN", None, Some("6939fadb0ce626fefc0bdc9c64efc528")),
    choice("MMBench_DEV_CN", None, Some("08b8fc3324a5ed74155350f57be69fbd")),
    choice("MMBench_TEST_CN", None, Some("7e1239baf0ee4c8b513e19705a0f317e")),
    choice("MMBench_DEV_EN_V11", None, Some("30c05be8f2f347a50be25aa067248184")),
    choice("MMBench_TEST_EN_V11", None, Some("26f0f15381a21720255091d3e0316ce6")),
    choice("MMBench_DEV_CN_V11", None, Some("593f9b5f6bea453d870a798b34ae4f37")),
    choice("MMBench_TEST_CN_V11", None, Some("74bbe4556dac745613c7cbe5ad787050")),
    choice("CCBench", None, Some("f5dde47f24dc5a6fb6e595b409b466ac")),
    choice("SEEDBench_IMG", None, Some("68017231464752261a2526d6ca3a10c0")),
    choice("SEEDBench2", None, Some("4ec15cf864c4f16274112284f531813e")),
    choice("SEEDBench2_Plus", None, Some("e32d3216dc4f452b0fe497a52015d1fd")),
    choice("ScienceQA_VAL", None, Some("96320d05e142e585e7204e72affd29f3")),
    choice("ScienceQA_TEST", Some(2017), Some("e42e9e00f9c59a80d8a5db35bc32b71f")),
    choice("AI2D_TEST", None, Some("0f593e0d1c7df9a3d69bf1f947e71975")),
    choice("AI2D_TEST_NO_MASK", None, Some("fd8f463634d4fe9fbd23b876e8eea5be")),
    choice("MMStar", Some(1500), Some("e1ecd2140806c1b1bbf54b43372efb9e")),
    choice("RealWorldQA", Some(765), Some("4de008f55dc4fd008ca9e15321dc44b7")),
    choice("BLINK", None, Some("3b6649b6a662184ea046908e5506260e")),
    choice("MMVP", Some(300), Some("8cb732b141a0cba5b42159df2839e557")),
    choice("VStarBench", None, Some("b18854d7075574be06b631cd5f7d2d6a")),
    choice("HRBench4K", None, Some("f6b041b03d49543494b8a56d2e35be65")),
    choice("HRBench8K", None, Some("274c9c7f89329b804a4723178a00219c")),
    choice("CV-Bench-2D", None, Some("a7cff4cc2857cc237ee2b89e62bccb2d")),
    choice("CV-Bench-3D", None, Some("bb94c0d568d652d15b60e001ac40a170")),
    choice("MUIRBench", None, Some("2e5e6fd7699761b08a7cb3ab8c0c2ec8")),
    choice("MMT-Bench_VAL", None, Some("8dd4b730f53dbf9c3aed90ca31c928e0")),
    choice("MMT-Bench_VAL_MI", None, Some("c7d7b998eb5cd9aa36c7d4f721472462")),
    choice("MMT-Bench_ALL", None, Some("b273a2f4c596fe4f2605de0494cd632f")),
    choice("MMT-Bench_ALL_MI", None, Some("5272157097e19cdd7cb41e412ab3b7c7")),
    choice("AesBench_VAL", None, Some("3edb0c319e9187aa0b97fe7a11700a8c")),
    choice("Q-Bench1_VAL", None, Some("837bdb6cd2da571713543462815187b7")),
    choice("A-Bench_VAL", None, Some("218563ec50d34bb336c814143a5bb9c1")),
    choice("R-Bench-Dis", None, Some("d6e961dbfc43350688af2560226830b4")),
    choice("A-OKVQA", None, None),
    choice("WorldMedQA-V", None, Some("441e63875e30c87f5750528b57b41285")),
    choice("MMCR", None, Some("9052635f2c3835bdb87755ef73564f5e")),
    choice("MicroVQA", None, Some("d7506438701a2076ec277f8bb3586c1a")),
    choice("GMAI_mm_bench_VAL", None, Some("254bd581627866f1c499d3d6b4422324")),
    choice("MMMB_en", None, Some("1cd781a71ec5a2983c090b84105d6a01")),
    choice("MMMB_cn", None, Some("13ed82fa89730037292fcaa27f08f430")),
    choice("MMBench_dev_en", None, Some("d9ab776fc018b3d45785e9a5c23431c2")),
    choice("MMBench_dev_cn", None, Some("2ed5135326fed02c8e51ea50dda8222f")),
    choice("MME-RealWorld", None, Some("271c33ec814c39533c467ec6fb8a6f36")),
    choice("MME-RealWorld-Lite", None, Some("4c17057d7d3b6c4a0d4397c3dae0881c")),
    choice("MME-RealWorld-CN", None, Some("daaa763d52a760a38606d5dedb3fe444")),
    // VLMEvalKit's InternVL wrapper forgets the options of these; here they are asked as other choices.
    choice("MMMU_Pro_10c", Some(1730), Some("22cee868fe6b680d14b99bfff6db8172")),
    choice("MMMU_Pro_V", Some(1730), Some("d01441a87b3dbe721b5a04652ae38009")),
    // Yes or no.
    yes_no("MME", Some(2374), Some("b36b43c3f09801f5d368627fb92187c3")),
    yes_no("HallusionBench", None, Some("0c23ac0dc9ef46832d7a24504f2a0c7c")),
    yes_no("POPE", None, Some("c12f5acb142f2ef1f85a26ba2fbe41d5")),
    yes_no("AMBER", None, Some("970d94c0410916166e0a76ba75da7934")),
    yes_no("VSR-zeroshot", None, Some("5ff5e49908ac1cfad35c60b92b001aeb")),
    // A word, a number or a phrase.
    vqa("OCRBench", Some(AnswerType::Ocrbench), Some(1000), Some("e953d98a987cc6e26ef717b61260b778")),
    vqa("TextVQA_VAL", Some(AnswerType::VqaScore), Some(5000), Some("b233b31f551bbf4056f2f955da3a92cd")),
    vqa("DocVQA_VAL", Some(AnswerType::Anls), Some(5349), Some("d5ee77e1926ff10690d469c56b73eabf")),
    vqa("DocVQA_TEST", Some(AnswerType::Anls), Some(5188), Some("6a2f28cac26ef2d3447374e8c6f6c8e9")),
    vqa("InfoVQA_VAL", Some(AnswerType::Anls), Some(2801), Some("2342e9c225222f0ef4dec545ebb126fe")),
    vqa("InfoVQA_TEST", Some(AnswerType::Anls), Some(3288), Some("df535bf51b88dc9718252c34131a6227")),
    vqa("ChartQA_TEST", Some(AnswerType::RelaxedAccuracy), Some(2500), Some("c902e0aa9be5582a7aad6dcf52734b42")),
    vqa("OCRVQA_TEST", Some(AnswerType::AccuracyMax), None, Some("ca46a6d74b403e9d6c0b670f6fc00db9")),
    vqa("OCRVQA_TESTCORE", Some(AnswerType::AccuracyMax), None, Some("c5239fe77db8bdc1f2ad8e55e0d1fe97")),
    vqa("GQA_TestDev_Balanced", Some(AnswerType::AccuracyMean), Some(12_578), None),
    vqa("MathVista_MINI", Some(AnswerType::Exact), Some(1000), Some("f199b98e178e5a2a20e7048f5dcb0464")),
    vqa("MathVision", Some(AnswerType::Exact), Some(3040), None),
    vqa("MathVision_MINI", Some(AnswerType::Exact), Some(304), None),
    vqa("MathVerse_MINI", Some(AnswerType::Exact), Some(3940), Some("5017caca32b7fa110c350a1bea861b65")),
    vqa("MathVerse_MINI_Vision_Only", Some(AnswerType::Exact), Some(788), Some("68a11d4680014ac881fa37adeadea3a4")),
    vqa("MTVQA_TEST", Some(AnswerType::Ocrbench), None, None),
    vqa("WeMath", Some(AnswerType::Exact), None, None),
    vqa("DynaMath", Some(AnswerType::Exact), None, None),
    vqa("LogicVista", Some(AnswerType::Exact), None, None),
    // Free texts, which only a judge can score.
    vqa("MMVet", None, Some(218), Some("748aa6d4aa9d4de798306a63718455e3")),
    vqa("LLaVABench", None, Some(60), Some("d382a093f749a697820d3dadd61c8428")),
    vqa("MIA-Bench", None, None, None),
    Entry { name: "COCO_VAL", family: Family::Plain, kind: QuestionKind::Free, answer_type: None, rows: None, md5: None },
];

/// The entry of a dataset by its name; `_local`, which VLMEvalKit adds where images lie in files, does not count.
pub fn find(name: &str) -> Option<&'static Entry> {
    let name = name.strip_suffix("_local").unwrap_or(name);
    DATASETS.iter().find(|entry| entry.name == name)
}

/// What a dataset of this name asks for that is not done here, so that its answers mean little.
pub fn beyond(name: &str) -> Option<Problem> {
    let named = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    let what = if named(GUI) {
        "it asks for places on pictures of screens, whose prompts and scores are not known here"
    } else if named(&["MMDU"]) {
        "its questions are conversations of several turns, of which only one is asked"
    } else {
        return None;
    };
    Some(Problem::new(what).fix("do not compare the score with published ones"))
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
            stated: Stated::default(),
            unstated: None,
        }
    }

    /// Takes what a person says. The type follows the kind, so that the prompt does; yes or no is asked as it would be
    /// if the answers told it.
    pub(crate) fn state(&mut self, stated: Stated) {
        self.stated = stated;
        let unstated = *self.unstated.get_or_insert(self.family);
        self.family = match (stated.kind, unstated) {
            (Some(QuestionKind::Option), _) => Family::MultipleChoice,
            (Some(QuestionKind::Short), _) | (Some(QuestionKind::YesNo), Family::Plain) => Family::Vqa,
            (Some(QuestionKind::Free), _) => Family::Plain,
            (Some(QuestionKind::YesNo) | None, family) => family,
        };
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
        if self.stated.answer_type.is_some() {
            return self.stated.answer_type;
        }
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
    (12, GUI),
];

/// Parts of names of datasets about screens.
const GUI: &[&str] = &["ScreenSpot", "OSWorld-G", "VenusBench"];

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
        None if find(name).is_some() || is_pro(name) || upper.contains("CMMMU") => 6,
        None if upper.contains("MMMU") => 12,
        None => 6,
    }
}
