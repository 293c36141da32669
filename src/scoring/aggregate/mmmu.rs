//! MMMU's own summary, by discipline and subject.

use super::{Scored, Table, group, mean};

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
