//! Whole files into the figures that benchmarks report: MME, HallusionBench, POPE, AMBER, VSR, multiple choice with
//! and without rotations, MMT-Bench, MMVP, HRBench, CV-Bench, MME-RealWorld, VQA, OCRBench as VLMEvalKit computes them (snapshot `e8e78f05`, Apache-2.0: `image_mcq.py`,
//! `image_yorn.py`, `image_vqa.py`, `utils/yorn.py`, `utils/multiple_choice.py`), and MMMU as its authors do.
//!
//! Groups come in the order in which they first appear, not in the random order of the original's sets. Where the
//! original divides by nothing or raises an exception, a value is decided and said at the function.

mod choices;
mod mmmu;
mod yes_no;

use std::collections::HashMap;

pub use choices::{circular, cv_bench_2d, hrbench, mme_real_world, mmt_bench, mmvp, multiple_choice};
pub use mmmu::{MMMU_DISCIPLINES, mmmu, mmmu_subject};
pub use yes_no::{amber, hallusion_bench, mme, pope, vsr, yes_no};

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

fn sorted_groups<'r, 'a>(
    rows: &'r [Scored<'a>],
    field: impl Fn(&Scored<'a>) -> Option<&'a str>,
) -> Vec<(String, Vec<&'r Scored<'a>>)> {
    let mut groups = group(rows.iter().filter_map(|row| Some((field(row)?.to_owned(), row))));
    groups.sort_by(|(a, _), (b, _)| a.cmp(b));
    groups
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

#[cfg(test)]
mod tests;
