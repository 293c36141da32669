//! A response read by every rule, as every type of answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shardscope::scoring::{AnswerType, Row, Rule, Verdict};

fuzz_target!(|data: &[u8]| {
    let Ok(response) = std::str::from_utf8(data) else { return };
    let choices = [("A", "cat"), ("B", "two dogs"), ("C", "3.5 cm"), ("D", "None")];
    for answer_type in AnswerType::ALL {
        let row = Row {
            id: serde_json::Value::Null,
            answer_type,
            choices: choices.map(|(letter, text)| (letter.to_owned(), text.into())).into_iter().collect(),
            response: response.to_owned(),
            answer: if answer_type == AnswerType::Option { "B".into() } else { "3.5 cm".into() },
            dataset: None,
        };
        for rule in Rule::all() {
            let reading = rule.read(&row);
            assert!((0.0..=1.0).contains(&reading.score), "{reading:?}");
            assert!(reading.verdict != Verdict::Right || reading.score >= 0.5, "{reading:?}");
            if let Some([from, to]) = reading.span {
                assert!(response.get(from..to).is_some(), "{reading:?}");
            }
        }
    }
});
