//! What is known of MMMU and MMMU-Pro besides their files: disciplines, and what an id says.

/// The six disciplines with their subjects, as MMMU-Benchmark/MMMU groups them for its scores.
const DISCIPLINES: [(&str, &[&str]); 6] = [
    ("Art & Design", &["Art", "Art_Theory", "Design", "Music"]),
    ("Business", &["Accounting", "Economics", "Finance", "Manage", "Marketing"]),
    ("Science", &["Biology", "Chemistry", "Geography", "Math", "Physics"]),
    (
        "Health & Medicine",
        &[
            "Basic_Medical_Science",
            "Clinical_Medicine",
            "Diagnostics_and_Laboratory_Medicine",
            "Pharmacy",
            "Public_Health",
        ],
    ),
    ("Humanities & Social Science", &["History", "Literature", "Psychology", "Sociology"]),
    (
        "Tech & Engineering",
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

/// The discipline of a subject.
pub(crate) fn discipline(subject: &str) -> Option<&'static str> {
    let found = DISCIPLINES.iter().find(|(_, subjects)| subjects.contains(&subject));
    found.map(|(discipline, _)| *discipline)
}

/// Split and subject that an id like `validation_Art_Theory_12` says.
pub(crate) fn split_and_subject(id: &str) -> Option<(&str, &str)> {
    let (split, rest) = id.split_once('_')?;
    let (subject, number) = rest.rsplit_once('_')?;
    let known =
        matches!(split, "dev" | "validation" | "test") && number.bytes().all(|byte| byte.is_ascii_digit());
    known.then_some((split, subject))
}
