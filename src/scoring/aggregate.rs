//! Whole files into the figures that benchmarks report: MME, HallusionBench, POPE, AMBER, VSR, multiple choice with
//! and without rotations, MMT-Bench, MMVP, HRBench, CV-Bench, VQA, OCRBench as VLMEvalKit computes them (snapshot `e8e78f05`, Apache-2.0: `image_mcq.py`,
//! `image_yorn.py`, `image_vqa.py`, `utils/yorn.py`, `utils/multiple_choice.py`), and MMMU as its authors do.
//!
//! Groups come in the order in which they first appear, not in the random order of the original's sets. Where the
//! original divides by nothing or raises an exception, a value is decided and said at the function.

use std::collections::HashMap;

/// One judged row of a file. What a benchmark does not have stays empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scored<'a> {
    /// The dataset's index.
    pub index: &'a str,
    /// Category.
    pub category: Option<&'a str>,
    /// Coarser category (`l2-category`).
    pub super_category: Option<&'a str>,
    /// Split.
    pub split: Option<&'a str>,
    /// Name of the image; MME asks two questions about each.
    pub image: &'a str,
    /// What else parts the rows of a benchmark: the source of CV-Bench, the cycle of HRBench.
    pub part: Option<&'a str>,
    /// Gold answer, of yes/no benchmarks.
    pub answer: &'a str,
    /// What was read, of yes/no benchmarks: `Yes`, `No` or `Unknown`.
    pub read: &'a str,
    /// Score from 0 to 1.
    pub score: f64,
}

/// Named rows of named figures. A benchmark with one row of figures has a row with an empty name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Row names with their figures, in order.
    pub rows: Vec<(String, Vec<(String, f64)>)>,
}

impl Table {
    fn single(figures: Vec<(String, f64)>) -> Self {
        Self { rows: vec![(String::new(), figures)] }
    }

    /// A figure by the names of its row and column.
    pub fn get(&self, row: &str, column: &str) -> Option<f64> {
        let (_, figures) = self.rows.iter().find(|(name, _)| name == row)?;
        figures.iter().find(|(name, _)| name == column).map(|&(_, figure)| figure)
    }
}

/// Values under keys, in the order in which the keys first appear.
struct Grouped<K, V> {
    groups: Vec<(K, Vec<V>)>,
    places: HashMap<K, usize>,
}

fn group<K: Clone + Eq + std::hash::Hash, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Vec<(K, Vec<V>)> {
    let mut grouped = Grouped { groups: Vec::new(), places: HashMap::new() };
    for (key, value) in pairs {
        let place = *grouped.places.entry(key.clone()).or_insert_with(|| {
            grouped.groups.push((key, Vec::new()));
            grouped.groups.len() - 1
        });
        if let Some((_, values)) = grouped.groups.get_mut(place) {
            values.push(value);
        }
    }
    grouped.groups
}

/// Mean; 0 of nothing (the original gives "not a number").
fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

fn percent_of<'a>(rows: impl IntoIterator<Item = &'a Scored<'a>>) -> f64 {
    mean(rows.into_iter().map(|row| row.score)) * 100.0
}

fn all_right(scores: &[f64]) -> f64 {
    if scores.iter().all(|&score| score != 0.0) { 1.0 } else { 0.0 }
}

/// Categories of MME that test perception.
const MME_PERCEPTION: [&str; 10] = [
    "OCR",
    "artwork",
    "celebrity",
    "color",
    "count",
    "existence",
    "landmark",
    "position",
    "posters",
    "scene",
];

/// Categories of MME that test reasoning.
const MME_REASONING: [&str; 4] =
    ["code_reasoning", "commonsense_reasoning", "numerical_calculation", "text_translation"];

/// MME: each category scores its accuracy plus the share of images whose two questions are both right, in percent
/// (200 at most); `perception` and `reasoning` are sums.
///
/// A missing category counts 0 in the sums (the original raises), an image with one question counts that one.
pub fn mme(rows: &[Scored<'_>]) -> Table {
    let figures: Vec<(String, f64)> = group(rows.iter().map(|row| (row.category.unwrap_or(""), row)))
        .into_iter()
        .map(|(category, rows)| {
            let plus = group(rows.iter().map(|row| (row.image, row.score)))
                .into_iter()
                .map(|(_, scores)| scores.iter().take(2).product::<f64>());
            (category.to_owned(), percent_of(rows.iter().copied()) + mean(plus) * 100.0)
        })
        .collect();
    let sum = |names: &[&str]| {
        let of = |name: &&str| figures.iter().find(|(category, _)| category == name).map_or(0.0, |&(_, f)| f);
        names.iter().map(of).sum::<f64>()
    };
    let sums =
        [("perception".to_owned(), sum(&MME_PERCEPTION)), ("reasoning".to_owned(), sum(&MME_REASONING))];
    Table::single(sums.into_iter().chain(figures).collect())
}

/// HallusionBench: `aAcc` of single questions, `fAcc` of figures and `qAcc` of question pairs whose answers are all
/// right, in percent; overall, by category and by coarser category. The parts of the index behind its third, fourth
/// and fifth `_` are set, figure and question (empty where there are fewer).
pub fn hallusion_bench(rows: &[Scored<'_>]) -> Table {
    let part = |row: &Scored<'_>, place: usize| row.index.split('_').nth(place).unwrap_or("").to_owned();
    let figures = |rows: &[&Scored<'_>]| {
        let together = |place: usize| {
            let key = |row: &Scored<'_>| {
                (row.super_category.unwrap_or("").to_owned(), part(row, 3), part(row, place))
            };
            let groups = group(rows.iter().map(|row| (key(row), row.score)));
            mean(groups.iter().map(|(_, scores)| all_right(scores))) * 100.0
        };
        vec![
            ("aAcc".to_owned(), percent_of(rows.iter().copied())),
            ("fAcc".to_owned(), together(4)),
            ("qAcc".to_owned(), together(5)),
        ]
    };
    let all: Vec<&Scored<'_>> = rows.iter().collect();
    let mut table = Table { rows: vec![("Overall".to_owned(), figures(&all))] };
    for field in [
        |row: &Scored<'_>| row.category.map(str::to_owned),
        |row: &Scored<'_>| row.super_category.map(str::to_owned),
    ] {
        for (name, rows) in group(rows.iter().filter_map(|row| Some((field(row)?, row)))) {
            table.rows.push((name, figures(&rows)));
        }
    }
    table
}

/// Precision, recall and F1 of the answer Yes, as fractions; 0 where nothing stands below the line. `Unknown` counts
/// as No.
fn yes_figures<'a>(rows: impl IntoIterator<Item = &'a Scored<'a>>) -> (f64, f64, f64) {
    let (mut both, mut only_read, mut only_gold) = (0_u64, 0_u64, 0_u64);
    for row in rows {
        match (row.answer == "Yes", row.read == "Yes") {
            (true, true) => both += 1,
            (false, true) => only_read += 1,
            (true, false) => only_gold += 1,
            (false, false) => {}
        }
    }
    let share = |of: u64, others: u64| if of + others == 0 { 0.0 } else { of as f64 / (of + others) as f64 };
    let (precision, recall) = (share(both, only_read), share(both, only_gold));
    let f1 = if precision + recall == 0.0 { 0.0 } else { 2.0 * (precision * recall) / (precision + recall) };
    (precision, recall, f1)
}

/// POPE: F1 of Yes (called `Overall`), accuracy, precision, recall, in percent; overall and by category. A row of
/// several categories, separated by commas, counts once for each, overall too.
pub fn pope(rows: &[Scored<'_>]) -> Table {
    let exploded: Vec<(Option<&str>, &Scored<'_>)> = rows
        .iter()
        .flat_map(|row| match row.category {
            Some(categories) => categories.split(',').map(|category| (Some(category), row)).collect(),
            None => vec![(None, row)],
        })
        .collect();
    let figures = |rows: &[&Scored<'_>]| {
        let (precision, recall, f1) = yes_figures(rows.iter().copied());
        [
            ("Overall", f1 * 100.0),
            ("acc", percent_of(rows.iter().copied())),
            ("precision", precision * 100.0),
            ("recall", recall * 100.0),
        ]
        .map(|(name, figure)| (name.to_owned(), figure))
        .to_vec()
    };
    let all: Vec<&Scored<'_>> = exploded.iter().map(|&(_, row)| row).collect();
    let mut table = Table { rows: vec![("Overall".to_owned(), figures(&all))] };
    for (name, rows) in group(exploded.into_iter().filter_map(|(category, row)| Some((category?, row)))) {
        table.rows.push((name.to_owned(), figures(&rows)));
    }
    table
}

/// AMBER: accuracy in percent by kind of question (attribute, existence, relation, and every other category under
/// its own name), and their mean as `Avg ACC`.
pub fn amber(rows: &[Scored<'_>]) -> Table {
    let kind = |category: &str| match category {
        "discriminative-attribute-state"
        | "discriminative-attribute-number"
        | "discriminative-attribute-action" => "Attribute".to_owned(),
        "discriminative-hallucination" => "Existence".to_owned(),
        "discriminative-relation" | "relation" => "Relation".to_owned(),
        other => other.to_owned(),
    };
    let mut figures: Vec<(String, f64)> =
        group(rows.iter().map(|row| (kind(row.category.unwrap_or("")), row)))
            .into_iter()
            .map(|(name, rows)| (name, percent_of(rows)))
            .collect();
    figures.push(("Avg ACC".to_owned(), mean(figures.iter().map(|&(_, figure)| figure))));
    Table::single(figures)
}

/// VSR: precision, recall and accuracy in percent; F1 as a fraction.
pub fn vsr(rows: &[Scored<'_>]) -> Table {
    let (precision, recall, f1) = yes_figures(rows);
    Table::single(
        [
            ("precision", precision * 100.0),
            ("recall", recall * 100.0),
            ("acc", percent_of(rows)),
            ("f1_score", f1),
        ]
        .map(|(name, figure)| (name.to_owned(), figure))
        .to_vec(),
    )
}

/// Any other yes/no dataset: accuracy in percent overall, by category and by coarser category.
pub fn yes_no(rows: &[Scored<'_>]) -> Table {
    let mut figures = vec![("Overall".to_owned(), percent_of(rows))];
    figures.extend(
        sorted_groups(rows, |row| row.category).into_iter().map(|(name, rows)| (name, percent_of(rows))),
    );
    figures.extend(
        sorted_groups(rows, |row| row.super_category)
            .into_iter()
            .map(|(name, rows)| (name, percent_of(rows))),
    );
    Table::single(figures)
}

fn sorted_groups<'r, 'a>(
    rows: &'r [Scored<'a>],
    field: impl Fn(&Scored<'a>) -> Option<&'a str>,
) -> Vec<(String, Vec<&'r Scored<'a>>)> {
    let mut groups = group(rows.iter().filter_map(|row| Some((field(row)?.to_owned(), row))));
    groups.sort_by(|(a, _), (b, _)| a.cmp(b));
    groups
}

/// Short names of MMBench's abilities.
fn ability(name: &str) -> &str {
    match name {
        "coarse_perception" => "CP",
        "finegrained_perception (instance-level)" => "FP-S",
        "finegrained_perception (cross-instance)" => "FP-C",
        "logic_reasoning" => "LR",
        "relation_reasoning" => "RR",
        "attribute_reasoning" => "AR",
        other => other,
    }
}

/// Multiple choice: accuracy as a fraction for each split (one called `none` where rows have none): overall, by
/// coarser category, by category. A group without rows in a split is left out of it (the original gives "not a
/// number"). MMMU is reported so too: category is the subject, coarser category the discipline.
pub fn multiple_choice(rows: &[Scored<'_>]) -> Table {
    let splits = group(rows.iter().map(|row| (row.split.unwrap_or("none"), *row)));
    let figures = |rows: &[Scored<'_>]| {
        let accuracy = |rows: &[&Scored<'_>]| mean(rows.iter().map(|row| row.score));
        let mut figures = vec![("Overall".to_owned(), accuracy(&rows.iter().collect::<Vec<_>>()))];
        for groups in [sorted_groups(rows, |row| row.super_category), sorted_groups(rows, |row| row.category)]
        {
            figures.extend(groups.iter().map(|(name, rows)| (ability(name).to_owned(), accuracy(rows))));
        }
        figures
    };
    Table { rows: splits.iter().map(|(split, rows)| ((*split).to_owned(), figures(rows))).collect() }
}

/// Short names of MMT-Bench's groups of tasks.
#[rustfmt::skip]
const MMT_GROUPS: [(&str, &str); 32] = [
    ("visual_recognition", "VR"), ("localization", "Loc"), ("ocr", "OCR"), ("counting", "Count"),
    ("hallucination", "HLN"), ("image_retrieval", "IR"), ("threed", "3D"), ("visual_captioning", "VC"),
    ("visual_grounding", "VG"), ("doc_understanding", "DU"), ("action_recognition", "AR"),
    ("pixel_level_perception", "PLP"), ("image-to-image_translation", "I2IT"), ("relation_reasoning", "RR"),
    ("intelligence_quotient_test", "IQT"), ("emotion", "Emo"), ("visual_illusion", "VI"),
    ("meme_understanding", "MemU"), ("visual_prompt_understanding", "VPU"), ("anomaly_detection", "AND"),
    ("keypoint_detection", "KD"), ("visual_commonsense_reasoning", "VCR"), ("image_evaluation_judgement", "IEJ"),
    ("multiple_image_analysis", "MIA"), ("cross_image_matching", "CIM"), ("temporal_understanding", "TU"),
    ("visual_code", "VP"), ("medical_understanding", "MedU"), ("autonomous_driving", "AUD"),
    ("discipline_knowledge_reasoning", "DKR"), ("embodied_ai", "EA"), ("gui_navigation", "GN"),
];

/// MMT-Bench: as [`multiple_choice`], but a group's accuracy is the mean over its tasks (`category`), and a row `ALL`
/// takes every split together.
pub fn mmt_bench(rows: &[Scored<'_>]) -> Table {
    let accuracy = |rows: &[&Scored<'_>]| mean(rows.iter().map(|row| row.score));
    let figures = |rows: &[Scored<'_>]| {
        let mut figures = vec![("Overall".to_owned(), mean(rows.iter().map(|row| row.score)))];
        for (name, rows) in sorted_groups(rows, |row| row.super_category) {
            let tasks = group(rows.iter().filter_map(|row| Some((row.category?, *row))));
            let short =
                MMT_GROUPS.iter().find(|(long, _)| *long == name).map_or(name.as_str(), |(_, short)| short);
            figures.push((short.to_owned(), mean(tasks.iter().map(|(_, rows)| accuracy(rows)))));
        }
        let tasks = sorted_groups(rows, |row| row.category);
        figures.extend(tasks.iter().map(|(name, rows)| (name.clone(), accuracy(rows))));
        figures
    };
    let splits = group(rows.iter().map(|row| (row.split.unwrap_or("none"), *row)));
    let mut table =
        Table { rows: splits.iter().map(|(split, rows)| ((*split).to_owned(), figures(rows))).collect() };
    table.rows.push(("ALL".to_owned(), figures(rows)));
    table
}

/// MMVP: the share of pairs whose two questions are both right, and of questions that are right, as fractions. Indices
/// count from 1, and 1 and 2 are a pair; where an index is no number, neighbours are.
pub fn mmvp(rows: &[Scored<'_>]) -> Table {
    let pair = |place: usize, row: &Scored<'_>| match row.index.trim().parse::<u64>() {
        Ok(number @ 1..) => format!("{}", (number - 1) / 2),
        _ => format!("place {}", place / 2),
    };
    let pairs = group(rows.iter().enumerate().map(|(place, row)| (pair(place, row), row.score)));
    Table::single(vec![
        ("Pairs".to_owned(), mean(pairs.iter().map(|(_, scores)| all_right(scores)))),
        ("Questions".to_owned(), mean(rows.iter().map(|row| row.score))),
    ])
}

/// HRBench: accuracy as a fraction of all questions and by category in each cycle (the column `cycle_category`), and
/// the mean over the cycles. Without that column everything is one cycle.
pub fn hrbench(rows: &[Scored<'_>]) -> Table {
    let cycles = group(rows.iter().map(|row| (row.part.unwrap_or("all"), row)));
    let mut table = Table::default();
    let mut sums: Vec<(String, f64)> = Vec::new();
    for (cycle, rows) in &cycles {
        let mut figures = vec![("all".to_owned(), mean(rows.iter().map(|row| row.score)))];
        let mut categories = group(rows.iter().filter_map(|row| Some((row.category?, row.score))));
        categories.sort_by_key(|(name, _)| *name);
        figures.extend(categories.into_iter().map(|(name, scores)| (name.to_owned(), mean(scores))));
        for (name, figure) in &figures {
            match sums.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += figure,
                None => sums.push((name.clone(), *figure)),
            }
        }
        table.rows.push(((*cycle).to_owned(), figures));
    }
    // As in the original, a category that a cycle lacks counts 0 in it.
    let average = sums.into_iter().map(|(name, sum)| (name, sum / cycles.len().max(1) as f64)).collect();
    table.rows.push(("Average".to_owned(), average));
    table
}

/// CV-Bench's 2D part: accuracy as a fraction for each source (the column `source`), and their mean (Cambrian-1,
/// appendix C). Without that column everything is one source.
pub fn cv_bench_2d(rows: &[Scored<'_>]) -> Table {
    let splits = group(rows.iter().map(|row| (row.split.unwrap_or("2D"), *row)));
    let figures = |rows: &[Scored<'_>]| {
        let mut sources = group(rows.iter().map(|row| (row.part.unwrap_or("all"), row.score)));
        sources.sort_by_key(|(name, _)| *name);
        let mut figures: Vec<(String, f64)> =
            sources.into_iter().map(|(name, scores)| (name.to_owned(), mean(scores))).collect();
        figures.insert(0, ("Overall".to_owned(), mean(figures.iter().map(|&(_, figure)| figure))));
        figures
    };
    Table { rows: splits.iter().map(|(split, rows)| ((*split).to_owned(), figures(rows))).collect() }
}

/// Distance between the indices of two rotations of a question.
const ROTATION: u64 = 1_000_000;

/// Circular evaluation: rows whose index differs by multiples of a million are rotations of one question, which is
/// right where every rotation is. Gives the rows of the questions themselves (index below a million, in order), each
/// with the score of its group, for [`multiple_choice`]. Indices that are no numbers stand for themselves.
pub fn circular<'a>(rows: &[Scored<'a>]) -> Vec<Scored<'a>> {
    let number = |row: &Scored<'_>| row.index.trim().parse::<u64>().ok();
    let key =
        |row: &Scored<'_>| number(row).map_or_else(|| row.index.to_owned(), |n| (n % ROTATION).to_string());
    let groups: HashMap<String, f64> = group(rows.iter().map(|row| (key(row), row.score)))
        .into_iter()
        .map(|(key, scores)| (key, all_right(&scores)))
        .collect();
    rows.iter()
        .filter(|row| number(row).is_none_or(|n| n < ROTATION))
        .map(|row| Scored { score: groups.get(&key(row)).copied().unwrap_or(0.0), ..*row })
        .collect()
}

/// VQA datasets: mean score in percent by split and overall, or without splits overall and by category.
pub fn vqa(rows: &[Scored<'_>]) -> Table {
    let splits = group(rows.iter().filter_map(|row| Some((row.split?.to_owned(), row))));
    let overall = ("Overall".to_owned(), percent_of(rows));
    let groups = |groups: Vec<(String, Vec<&Scored<'_>>)>| {
        groups.into_iter().map(|(name, rows)| (name, percent_of(rows))).collect::<Vec<_>>()
    };
    let mut figures = groups(splits);
    let no_splits = figures.is_empty();
    figures.push(overall);
    if no_splits {
        figures.extend(groups(sorted_groups(rows, |row| row.category)));
    }
    Table::single(figures)
}

/// OCRBench: how many answers are right in its five parts, their sum (`Final Score`, 1000 at most) and a tenth of it.
pub fn ocrbench(rows: &[Scored<'_>]) -> Table {
    const PARTS: [(&str, &[&str]); 5] = [
        (
            "Text Recognition",
            &[
                "Regular Text Recognition",
                "Irregular Text Recognition",
                "Artistic Text Recognition",
                "Handwriting Recognition",
                "Digit String Recognition",
                "Non-Semantic Text Recognition",
            ],
        ),
        ("Scene Text-centric VQA", &["Scene Text-centric VQA"]),
        ("Doc-oriented VQA", &["Doc-oriented VQA"]),
        ("Key Information Extraction", &["Key Information Extraction"]),
        (
            "Handwritten Mathematical Expression Recognition",
            &["Handwritten Mathematical Expression Recognition"],
        ),
    ];
    let mut figures: Vec<(String, f64)> = PARTS
        .iter()
        .map(|(name, categories)| {
            let within =
                |row: &&Scored<'_>| row.category.is_some_and(|category| categories.contains(&category));
            ((*name).to_owned(), rows.iter().filter(within).map(|row| row.score).sum())
        })
        .collect();
    let total: f64 = figures.iter().map(|&(_, figure)| figure).sum();
    figures.push(("Final Score".to_owned(), total));
    figures.push(("Final Score Norm".to_owned(), total / 10.0));
    Table::single(figures)
}

/// Disciplines of MMMU and their subjects.
pub const MMMU_DISCIPLINES: [(&str, &[&str]); 6] = [
    ("Art and Design", &["Art", "Art_Theory", "Design", "Music"]),
    ("Business", &["Accounting", "Economics", "Finance", "Manage", "Marketing"]),
    ("Science", &["Biology", "Chemistry", "Geography", "Math", "Physics"]),
    (
        "Health and Medicine",
        &[
            "Basic_Medical_Science",
            "Clinical_Medicine",
            "Diagnostics_and_Laboratory_Medicine",
            "Pharmacy",
            "Public_Health",
        ],
    ),
    ("Humanities and Social Science", &["History", "Literature", "Sociology", "Psychology"]),
    (
        "Tech and Engineering",
        &[
            "Agriculture",
            "Architecture_and_Engineering",
            "Computer_Science",
            "Electronics",
            "Energy_and_Power",
            "Materials",
            "Mechanical_Engineering",
        ],
    ),
];

/// The subject within an id of MMMU or MMMU-Pro (`validation_Art_Theory_12`).
pub fn mmmu_subject(id: &str) -> Option<&str> {
    let (_, rest) = id.split_once('_')?;
    let (subject, number) = rest.rsplit_once('_')?;
    (!subject.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
        .then_some(subject)
}

/// The official summary of MMMU: for `Overall`, each discipline (`Overall-…`) and each subject the number of
/// questions (`num`) and the accuracy as a fraction (`acc`, where the official script prints three decimals).
/// Disciplines are means over their subjects weighted by size. The category of a row is its subject; subjects of no
/// discipline count overall only.
pub fn mmmu(rows: &[Scored<'_>]) -> Table {
    let subjects = group(rows.iter().map(|row| (row.category.unwrap_or(""), row.score)));
    let of = |name: &str| subjects.iter().find(|(subject, _)| *subject == name).map(|(_, scores)| scores);
    let figures = |scores: &[f64]| {
        vec![("num".to_owned(), scores.len() as f64), ("acc".to_owned(), mean(scores.iter().copied()))]
    };
    let mut table = Table::default();
    for (discipline, names) in MMMU_DISCIPLINES {
        let together: Vec<f64> = names.iter().filter_map(|name| of(name)).flatten().copied().collect();
        table.rows.push((format!("Overall-{discipline}"), figures(&together)));
        for name in names {
            if let Some(scores) = of(name) {
                table.rows.push(((*name).to_owned(), figures(scores)));
            }
        }
    }
    let all: Vec<f64> = rows.iter().map(|row| row.score).collect();
    table.rows.push(("Overall".to_owned(), figures(&all)));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(index: &'a str, groups: [&'a str; 4], score: f64) -> Scored<'a> {
        let [category, super_category, split, part] =
            groups.map(|group| Some(group).filter(|g| !g.is_empty()));
        Scored { index, category, super_category, split, part, score, ..Scored::default() }
    }

    #[test]
    fn tasks_of_mmt_bench_weigh_the_same() {
        let rows = [
            row("1", ["ocr_a", "ocr", "val", ""], 1.0),
            row("2", ["ocr_a", "ocr", "val", ""], 1.0),
            row("3", ["ocr_a", "ocr", "val", ""], 0.0),
            row("4", ["ocr_b", "ocr", "val", ""], 0.0),
            row("5", ["ocr_b", "ocr", "test", ""], 1.0),
        ];
        let table = mmt_bench(&rows);
        let close = |row: &str, column: &str, value: f64| {
            let figure = table.get(row, column).unwrap();
            assert!((figure - value).abs() < 1e-12, "{row} {column}: {figure}");
        };
        close("val", "Overall", 0.5);
        close("val", "OCR", (2.0 / 3.0) / 2.0);
        close("ALL", "OCR", (2.0 / 3.0 + 0.5) / 2.0);
        close("ALL", "ocr_b", 0.5);
        assert_eq!(table.get("test", "ocr_a"), None);
    }

    #[test]
    fn pairs_of_mmvp_are_right_together() {
        let none = [""; 4];
        let rows = [row("1", none, 1.0), row("3", none, 1.0), row("2", none, 1.0), row("4", none, 0.0)];
        let table = mmvp(&rows);
        assert_eq!((table.get("", "Pairs"), table.get("", "Questions")), (Some(0.5), Some(0.75)));
    }

    #[test]
    fn cycles_and_sources_are_averaged() {
        let rows = [
            row("1", ["single", "", "", "0"], 1.0),
            row("2", ["cross", "", "", "0"], 0.0),
            row("3", ["cross", "", "", "0"], 0.0),
            row("4", ["single", "", "", "1"], 0.0),
            row("5", ["cross", "", "", "1"], 1.0),
        ];
        let cycles = hrbench(&rows);
        assert_eq!(cycles.get("0", "all"), Some(1.0 / 3.0));
        assert_eq!(cycles.get("Average", "cross"), Some(0.5));
        assert_eq!(cycles.get("Average", "all"), Some((1.0 / 3.0 + 0.5) / 2.0));
        let sources = cv_bench_2d(&rows);
        assert_eq!(sources.get("2D", "Overall"), Some((1.0 / 3.0 + 0.5) / 2.0));
        assert_eq!(sources.get("2D", "1"), Some(0.5));
    }
}
