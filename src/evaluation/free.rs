//! Free questions: any picture and any question to a checkpoint, outside any dataset.

use std::path::PathBuf;
use std::sync::Arc;

use super::placing::Placing;
use super::{Choices, place};
use crate::checkpoint::Checkpoint;
use crate::dataset::{Dataset, ImageRef, Question, QuestionKind, Style};
use crate::endpoint::Endpoint;
use crate::engine::served::{Service, talk};
use crate::engine::talk::Ordered;
use crate::engine::{Language, RunSettings, model};
use crate::{Problem, Result};

/// A dataset of one question without words: it lends free questions a profile under which nothing is added to them.
static FRAME: &[u8] = b"index\tquestion\tanswer\n0\t \t\n";

/// Makes ready for free questions what is chosen for a run: the same weights on the same devices under the same settings,
/// but for the style, since a free question is put as it stands.
///
/// # Errors
/// As for a run: a number format, devices or a layout that do not fit the checkpoint; no tokenizer or template.
pub fn prepare(checkpoint: Arc<Checkpoint>, choices: &Choices) -> Result<Ordered> {
    let weight_type = model::weight_type(&choices.dtype)?;
    let language = Language::open(&checkpoint)?;
    let dataset = frame()?;
    let (placings, _) = place(choices, &checkpoint, &language, weight_type, (&dataset, &[0]))?;
    let settings = settings(choices);
    // One copy answers one question.
    let Some(placement) = placings.first().map(Placing::placement) else {
        return Err(Problem::new("there is no device").fix("name one with --devices"));
    };
    Ok(Ordered { checkpoint, language, weight_type, placement, dataset, settings })
}

/// The same for a served model.
///
/// # Errors
/// None, as far as the program is whole.
pub fn served(endpoint: Endpoint, service: Service, choices: &Choices) -> Result<talk::Ordered> {
    Ok(talk::Ordered { endpoint, service, dataset: frame()?, settings: settings(choices) })
}

/// The dataset under whose profile free questions are asked.
fn frame() -> Result<Dataset> {
    let mut dataset = Dataset::from_bytes("free questions", FRAME)?;
    dataset.state(crate::dataset::Stated { kind: Some(QuestionKind::Free), answer_type: None });
    Ok(dataset)
}

/// Those of a run, but for what belongs to a benchmark.
fn settings(choices: &Choices) -> RunSettings {
    RunSettings { style: Style::VlmevalkitDataset, top_logprobs: 0, ..choices.settings.clone() }
}

/// A free question with its pictures, which are files.
///
/// # Errors
/// Nothing is asked.
pub fn question(text: &str, pictures: &[PathBuf]) -> Result<Question> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Problem::new("there is no question").fix("write one"));
    }
    Ok(Question {
        row: 0,
        index: "free".into(),
        id: None,
        text: text.into(),
        hint: None,
        options: Vec::new(),
        gold: Vec::new(),
        kind: QuestionKind::Free,
        category: None,
        super_category: None,
        split: None,
        images: pictures.iter().cloned().map(ImageRef::File).collect(),
        other: Default::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::prompt;

    #[test]
    fn a_free_question_is_put_as_it_stands() {
        let ordered = prepare(Arc::new(crate::demo::checkpoint().unwrap()), &Choices::default()).unwrap();
        let question = question(" What is this? ", &[PathBuf::from("a.png")]).unwrap();
        let built = prompt::build(&ordered.dataset, &question, ordered.settings.style, None).unwrap();
        assert_eq!(built.text, "<image>\nWhat is this?");
        assert!(super::question("  ", &[]).is_err());
    }
}
