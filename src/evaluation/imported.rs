//! Predictions of other programs as a session: completed by what the dataset knows, and read under a rule.

use std::path::Path;
use std::sync::Arc;

use crate::dataset::Dataset;
use crate::engine::asking::{blank, image_name};
use crate::scoring::{AnswerType, Rule, Verdict};
use crate::session::import::{Names, guess_names, import as read};
use crate::session::{Answer, ImageRecord};
use crate::{Problem, Result, demo};

/// What a person says about a file of predictions that the file does not.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// The dataset that was asked: gives pictures, types, gold answers and categories.
    pub dataset: Option<Arc<Dataset>>,
    /// Rule by which answers are read; without one, what the file says of right and wrong stands.
    pub rule: Option<Rule>,
    /// How gold answers are given, where neither file nor dataset tells.
    pub answer_type: Option<AnswerType>,
    /// The model that answered; else guessed from the names of file and folder.
    pub model: Option<String>,
}

/// Makes a session of a file of predictions: how many answers it holds, and what there is to warn of.
///
/// # Errors
/// As [`read`].
pub fn import(file: &Path, session: &Path, said: &Said) -> Result<(usize, Vec<Problem>)> {
    let Said { dataset, rule, answer_type, model } = said;
    let names = Names {
        checkpoint: model.clone(),
        dataset: dataset.as_ref().map(|dataset| dataset.name().to_owned()),
        dataset_path: dataset.as_ref().map(|dataset| match dataset.path() {
            Some(path) => path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string(),
            None => demo::BUILT_IN.to_owned(),
        }),
    };
    // Rules that depend on the dataset go by its name, which the file's name has where nobody says it.
    let name = names.dataset.clone().unwrap_or_else(|| guess_names(file).1);
    let (mut unknown, mut unjudged, mut count) = (0_usize, 0_usize, 0_usize);
    let mut warnings = read(file, session, &names, &mut |answer| {
        count += 1;
        if let Some(dataset) = dataset {
            unknown += usize::from(!complete(answer, dataset));
        }
        answer.answer_type = answer_type.or(answer.answer_type);
        let rule = rule.or((answer.verdict == Verdict::Unscored).then(Rule::default));
        if let Some(rule) = rule {
            let failed = matches!(answer.verdict, Verdict::Failed | Verdict::OutOfMemory);
            unjudged += usize::from(!answer.judge_under(&rule, &name) && !failed);
        }
    })?;
    if unknown > 0 {
        let place = dataset.as_ref().map(|dataset| dataset.name().to_owned()).unwrap_or_default();
        let what = format!("{unknown} of {count} answers are to questions that this dataset does not have");
        let fix = "name the dataset that the predictions are about (--dataset)";
        warnings.push(Problem::new(what).at(place).fix(fix));
    }
    if unjudged > 0 {
        let what = format!("{unjudged} of {count} answers cannot be judged: gold answer or type is unknown");
        let problem = Problem::new(what);
        warnings.push(if dataset.is_none() { problem.fix("name the dataset (--dataset)") } else { problem });
    }
    Ok((count, warnings))
}

/// Takes over what the dataset knows of an answer's question; `false` where it does not have it. A file that numbers
/// its answers instead of naming them, as lmms-eval does, means the dataset's rows, if the gold answers agree.
fn complete(answer: &mut Answer, dataset: &Dataset) -> bool {
    let question = match dataset.find(&answer.index) {
        Some(row) => dataset.question(row).ok(),
        None => {
            let row = answer.index.parse().ok().filter(|&row| row < dataset.len());
            let recorded = answer.answer.as_str().map(str::trim);
            row.and_then(|row: usize| dataset.question(row).ok()).filter(|question| {
                recorded.is_some_and(|gold| question.gold.iter().any(|it| it.trim() == gold))
            })
        }
    };
    let Some(question) = question else { return false };
    let known = blank(&question, dataset);
    answer.id = answer.id.take().or(known.id);
    answer.category = known.category.or_else(|| answer.category.take());
    answer.super_category = known.super_category.or_else(|| answer.super_category.take());
    answer.split = known.split.or_else(|| answer.split.take());
    answer.answer_type = known.answer_type.or(answer.answer_type);
    for (name, value) in known.other {
        answer.other.entry(name).or_insert(value);
    }
    answer.question = known.question;
    if !known.options.is_empty() {
        answer.options = known.options;
    }
    if !known.answer.is_null() {
        answer.answer = known.answer;
    }
    if answer.images.is_empty() {
        let named = |(i, image)| ImageRecord { name: image_name(image, i), ..ImageRecord::default() };
        answer.images = question.images.iter().enumerate().map(named).collect();
    }
    true
}
