//! Figures of benchmarks of choices: with and without rotations, tasks, pairs, cycles and sources.

use std::collections::HashMap;

use super::{Scored, Table, all_right, group, mean, sorted_groups};

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

/// MME-RealWorld (`get_dimension_rating`): accuracy as a fraction over all rows; for each task and subtask (the category
/// `task/subtask`) `Avg` over its rows, and for each subtask its coarser categories in lower case, those of attributes
/// taken together. Tasks without rows are left out (the original gives 0); so is what follows a missing `/`, where the
/// original breaks off.
pub fn mme_real_world(rows: &[Scored<'_>]) -> Table {
    let accuracy = |rows: &[&Scored<'_>]| mean(rows.iter().map(|row| row.score));
    let mut table = Table::single(vec![("Overall".into(), accuracy(&rows.iter().collect::<Vec<_>>()))]);
    let parted = rows.iter().map(|row| {
        let (task, subtask) =
            row.category.unwrap_or("none").split_once('/').unwrap_or((row.category.unwrap_or("none"), ""));
        (task, (subtask.split('/').next().unwrap_or_default(), row))
    });
    for (task, rows) in group(parted) {
        let all: Vec<&Scored<'_>> = rows.iter().map(|(_, row)| *row).collect();
        table.rows.push((task.to_owned(), vec![("Avg".into(), accuracy(&all))]));
        for (subtask, rows) in group(rows).into_iter().filter(|(subtask, _)| !subtask.is_empty()) {
            let categories =
                group(rows.iter().map(|row| (attribute(row.super_category.unwrap_or("none")), *row)));
            let mut figures: Vec<(String, f64)> =
                categories.into_iter().map(|(name, rows)| (name, accuracy(&rows))).collect();
            figures.push(("Avg".into(), accuracy(&rows)));
            table.rows.push((format!("{task}/{subtask}"), figures));
        }
    }
    table
}

/// A coarser category of MME-RealWorld in lower case; of attributes only whose.
fn attribute(category: &str) -> String {
    let category = category.to_lowercase();
    match category.contains("attribute") {
        true => format!("{}/attribute", category.split('/').next().unwrap_or_default()),
        false => category,
    }
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
