//! Figures of benchmarks of yes and no.

use super::{Scored, Table, all_right, group, mean, percent_of, sorted_groups};

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
