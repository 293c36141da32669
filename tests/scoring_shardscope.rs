//! The default rule: what it reads in all usual forms of answers, and what it leaves unread.

#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use shardscope::scoring::{AnswerType, Row, Rule, Verdict};

fn choices(texts: &[&str]) -> Map<String, Value> {
    ('A'..='Z').zip(texts).map(|(letter, text)| (letter.to_string(), json!(text))).collect()
}

fn row(answer_type: AnswerType, choices: Map<String, Value>, response: &str, answer: Value) -> Row {
    Row { id: Value::Null, answer_type, choices, response: response.to_owned(), answer, dataset: None }
}

fn option(texts: &[&str], response: &str) -> Value {
    let reading = Rule::Shardscope.read(&row(AnswerType::Option, choices(texts), response, json!("A")));
    if let Some([from, to]) = reading.span {
        assert!(response.get(from..to).is_some_and(|read| !read.is_empty()), "{reading:?} {response:?}");
    }
    assert_eq!(reading.read.is_null(), reading.verdict == Verdict::Unparsed);
    reading.read
}

const ANIMALS: [&str; 4] = ["teddy bear", "rabbit", "cat", "dog"];
const NUTRIENTS: [&str; 10] = [
    "Zinc",
    "Potassium",
    "Magnesium",
    "Molybdenum",
    "Calcium",
    "Sulfur",
    "Don't know and don't want to guess",
    "Iron",
    "Nitrogen",
    "Phosphate",
];

/// Forms in which a letter is given; `⟨L⟩` the letter, `⟨l⟩` in lower case, `⟨F⟩` in full width, `⟨T⟩` the option's
/// text, `⟨M⟩` another letter.
const FORMS: [&str; 84] = [
    "⟨L⟩",
    "⟨L⟩.",
    "⟨L⟩)",
    "(⟨L⟩)",
    "⟨L⟩:",
    "Answer: ⟨L⟩",
    "answer: ⟨l⟩",
    "Answer:⟨L⟩",
    "ANSWER: ⟨L⟩",
    "Ans: ⟨L⟩",
    "Answer - ⟨L⟩",
    "The answer is ⟨L⟩.",
    "The answer is ⟨L⟩",
    "The correct answer is ⟨L⟩.",
    "The answer is (⟨L⟩).",
    "The answer is: ⟨L⟩",
    "The best answer is: ⟨L⟩",
    "**⟨L⟩**",
    "**Answer: ⟨L⟩**",
    "The correct answer is **⟨L⟩. ⟨T⟩**",
    "### Final Answer\n\n**⟨L⟩**",
    "`⟨L⟩`",
    "\\boxed{⟨L⟩}",
    "$\\boxed{⟨L⟩}$",
    "\\boxed{\\textbf{⟨L⟩}}",
    "The final answer is $\\boxed{\\text{⟨L⟩}}$.",
    "$$\\boxed{\\text{(⟨L⟩) ⟨T⟩}}$$",
    "Answer: \\(⟨L⟩\\)",
    "Answer: \\[ ⟨L⟩ \\]",
    "⟨l⟩",
    "(⟨l⟩)",
    "⟨l⟩.",
    "the answer is ⟨l⟩.",
    "option ⟨l⟩",
    "⟨L⟩. ⟨T⟩",
    "(⟨L⟩) ⟨T⟩",
    "⟨L⟩: ⟨T⟩",
    "⟨L⟩) ⟨T⟩",
    "⟨l⟩) ⟨T⟩",
    "Option ⟨L⟩",
    "⟨T⟩",
    "⟨T⟩.",
    "The answer is ⟨T⟩.",
    "'⟨L⟩'",
    "\"⟨L⟩\"",
    "[⟨L⟩]",
    "{⟨L⟩}",
    "<⟨L⟩>",
    "⟨L⟩\n",
    "  ⟨L⟩  ",
    "答案：⟨L⟩",
    "答案是⟨L⟩。",
    "答案是 ⟨L⟩ 。",
    "选项⟨L⟩是正确的",
    "故选⟨L⟩",
    "选择⟨L⟩",
    "⟨L⟩, not ⟨M⟩.",
    "<answer>⟨L⟩</answer>",
    "<answer>⟨T⟩</answer>",
    "<think>⟨M⟩?</think>⟨L⟩",
    "<think>\nFirst ⟨M⟩, but no.\n</think>\n\n⟨L⟩",
    "<think>A or B.</think>\n\nThe answer is ⟨L⟩.",
    "⟨L⟩<|im_end|>",
    "⟨L⟩\n<think>\n⟨M⟩?\n</think>",
    "Therefore, the correct option is ⟨L⟩.",
    "⟨L⟩ is correct.",
    "{\"answer\": \"⟨L⟩\"}",
    "```json\n{\"answer\": \"⟨L⟩\"}\n```",
    "Answer: $⟨L⟩$",
    "⟨F⟩",
    "（⟨L⟩）",
    "Answer: ⟨L⟩\nExplanation: The others do not match the figure.",
    "⟨L⟩\n⟨L⟩\n⟨L⟩",
    "I cannot see the image, but if I had to guess I would say ⟨L⟩.",
    "The correct answer is ⟨L⟩, because ⟨M⟩ does not fit.",
    "The answer is clearly ⟨L⟩: ⟨M⟩ is wrong.",
    "⟨L⟩!",
    "_⟨L⟩_",
    "|⟨L⟩|",
    "\u{feff}⟨L⟩",
    "It is ⟨L⟩.",
    "So the answer would be ⟨L⟩, ⟨T⟩.",
    "I choose ⟨L⟩",
    "Not ⟨M⟩. The answer is ⟨L⟩.",
];

/// Forms that choose nothing.
const NO_CHOICE: [&str; 33] = [
    "⟨L⟩ and ⟨M⟩",
    "⟨L⟩ or ⟨M⟩",
    "Both ⟨L⟩ and ⟨M⟩",
    "⟨L⟩, ⟨M⟩",
    "⟨L⟩/⟨M⟩",
    "⟨L⟩⟨M⟩",
    "The answer is ⟨L⟩ or ⟨M⟩.",
    "Either ⟨L⟩ or ⟨M⟩",
    "(⟨L⟩) or (⟨M⟩)",
    "⟨L⟩. ⟨T⟩ or ⟨M⟩. ⟨U⟩",
    "Options ⟨L⟩ and ⟨M⟩",
    "⟨L⟩ ⟨M⟩",
    "⟨L⟩; ⟨M⟩",
    "⟨L⟩、⟨M⟩",
    "⟨L⟩和⟨M⟩",
    "⟨L⟩或⟨M⟩",
    "⟨L⟩ or maybe ⟨M⟩, I am not sure",
    "Not ⟨L⟩",
    "⟨L⟩ is wrong",
    "neither ⟨L⟩ nor ⟨M⟩",
    "Answer: ⟨L⟩, ⟨M⟩",
    "⟨l⟩ ⟨m⟩",
    "The answer is Q.",
    "I need more information.",
    "I'm sorry, I can't help.",
    "Answer:",
    "The answer cannot be determined.",
    "I think I can do this.",
    "A careful look at the figure is required to decide.",
    "",
    "...",
    "nan",
    "<think>I should look at ⟨L⟩",
];

fn fill(form: &str, texts: &[&str], place: usize) -> String {
    let other = usize::from(place == 0);
    let letter = |place: usize| char::from(b'A' + u8::try_from(place).unwrap());
    let full_width = char::from_u32(u32::from(letter(place)) + 0xFEE0).unwrap();
    form.replace("⟨L⟩", &letter(place).to_string())
        .replace("⟨l⟩", &letter(place).to_lowercase().to_string())
        .replace("⟨M⟩", &letter(other).to_string())
        .replace("⟨m⟩", &letter(other).to_lowercase().to_string())
        .replace("⟨F⟩", &full_width.to_string())
        .replace("⟨T⟩", texts[place])
        .replace("⟨U⟩", texts[other])
}

#[test]
fn usual_forms_are_read_for_every_letter() {
    for texts in
        [&ANIMALS[..], &NUTRIENTS, &["1", "2", "3", "4"], &["$6", "$7", "$8"], &["泰迪熊", "兔子", "猫"]]
    {
        for place in 0..texts.len() {
            for form in FORMS {
                let response = fill(form, texts, place);
                let letter = char::from(b'A' + u8::try_from(place).unwrap()).to_string();
                assert_eq!(option(texts, &response), json!(letter), "{response:?} among {texts:?}");
            }
        }
    }
}

#[test]
fn nothing_is_read_where_nobody_could_tell() {
    for texts in [&ANIMALS[..], &NUTRIENTS] {
        for place in 0..texts.len() {
            for form in NO_CHOICE {
                let response = fill(form, texts, place);
                assert_eq!(option(texts, &response), Value::Null, "{response:?} among {texts:?}");
            }
        }
    }
}

#[test]
fn sentences_are_read_as_people_read_them() {
    for (response, letter) in [
        ("The picture shows a vitamin C deficiency.", None),
        ("C is a programming language", None),
        ("C++", None),
        ("U.S.A.", None),
        ("D-day", None),
        ("The category is unclear.", None),
        ("dogma", None),
        ("It's not a cat.", None),
        ("It isn't a dog, it's a cat.", Some("C")),
        ("a cat, not a dog", Some("C")),
        ("cat or dog", None),
        ("The answer is not B.", None),
        ("The answer isn't B, it's C.", Some("C")),
        ("I would not choose A. I choose C.", Some("C")),
        ("Option A is wrong. Option B is wrong. Option D is wrong. So C.", Some("C")),
        ("A. teddy bear\nB. rabbit\nC. cat\nD. dog", None),
        ("A. teddy bear\nB. rabbit\nC. cat\nD. dog\n\nAnswer: B", Some("B")),
        ("The answer is A or B, probably B.", Some("B")),
        ("The final answer is $\\boxed{A}$. Wait, let me check. \\boxed{B}", Some("B")),
        ("{\"reason\":\"A is wrong\",\"answer\":\"C\"}", Some("C")),
        ("<answer>B or C</answer>", None),
        ("不选A，选C", Some("C")),
        ("A不对，B也不对，所以答案是C", Some("C")),
        ("A和C都正确", None),
        ("Among A, B, C and D, the best is C.", Some("C")),
        ("Among A, B, C and D, I cannot tell.", None),
        ("A lovely rabbit", Some("B")),
        ("I am sure it could be either a cat or a dog.", None),
        ("The answer is B. rabbit\n\nQuestion: What else?\nAnswer: D", Some("B")),
        ("The image shows a cat and a dog playing together, but the main object is the dog.", Some("D")),
        ("It is neither a cat nor a dog.", None),
        ("Cannot determine the answer from the given options A, B, C and D.", None),
        ("The correct answer is:\nA. teddy bear\nB. rabbit\nC. cat\nD. dog", None),
    ] {
        assert_eq!(option(&ANIMALS, response), letter.map_or(Value::Null, Value::from), "{response:?}");
    }
}

#[test]
fn a_gold_text_counts_for_the_option_that_has_it() {
    let reading = Rule::Shardscope.read(&row(AnswerType::Option, choices(&ANIMALS), "C", json!("cat")));
    assert_eq!((reading.verdict, reading.score), (Verdict::Right, 1.0));
    let withheld = Rule::Shardscope.read(&row(AnswerType::Option, choices(&ANIMALS), "C", Value::Null));
    assert_eq!((withheld.verdict, withheld.read), (Verdict::Unscored, json!("C")));
}

#[test]
fn yes_and_no_are_read() {
    for (response, read) in [
        ("**Yes**", Some("Yes")),
        ("'No'", Some("No")),
        ("Answer:yes", Some("Yes")),
        ("Yes, there is no cat", Some("Yes")),
        ("There are no cats.", Some("No")),
        ("The image does not contain a bicycle.", Some("No")),
        ("No, wait, yes.", Some("Yes")),
        ("<think>It may be no.</think>Yes", Some("Yes")),
        ("是的，有一只猫", Some("Yes")),
        ("不是的", Some("No")),
        ("yes, no", None),
        ("Notebook", None),
        ("I can't tell", None),
        ("", None),
    ] {
        let reading = Rule::Shardscope.read(&row(AnswerType::YesNo, Map::new(), response, json!("yes")));
        assert_eq!(reading.read, read.map_or(Value::Null, Value::from), "{response:?}");
        assert_eq!(reading.score, if read == Some("Yes") { 1.0 } else { 0.0 });
    }
}

#[test]
fn short_answers_are_judged_by_what_they_say() {
    for (gold, response, right) in [
        (json!("30"), "30 watts", true),
        (json!("216700"), "The total is $216,700.", true),
        (json!("0.96"), "0.956", true),
        (json!("0.001"), "0.002", false),
        (json!("5 kg"), "5kg", true),
        (json!("5 kg"), "5 g", false),
        (json!("100"), "In the circuit, v is equal to 100V.", true),
        (json!("60"), "$\\boxed{60}$", true),
        (json!("1/4"), "0.25", true),
        (json!("12"), "12-20 weeks", false),
        (json!(["24/7", "3.429"]), "3.43", true),
        (json!("stop sign"), "It is a stop sign.", true),
        (json!("stop sign"), "It is not a stop sign.", false),
        (json!("red"), "red and blue", false),
        (json!("Hydrogen"), "the arrow points to a HYDROGEN atom", true),
        (json!("A"), "a banana", false),
        (json!("['a cat', 'cat']"), "Cat.", true),
        (json!("two"), "2", true),
        (json!("氢键"), "答案是氢键。", true),
    ] {
        let reading = Rule::Shardscope.read(&row(AnswerType::Exact, Map::new(), response, gold.clone()));
        assert_eq!(reading.verdict == Verdict::Right, right, "{gold} {response:?} {reading:?}");
    }
    let score = |kind, gold: Value, response: &str| {
        Rule::Shardscope.read(&row(kind, Map::new(), response, gold)).score
    };
    assert_eq!(score(AnswerType::VqaScore, json!("nokia"), "Nokia."), 1.0);
    assert_eq!(score(AnswerType::Anls, json!("ab"), "cd          "), 0.0);
    assert_eq!(score(AnswerType::RelaxedAccuracy, json!("0"), "0.0"), 1.0);
    assert_eq!(score(AnswerType::RelaxedAccuracy, json!("1,000"), "1049"), 1.0);
    assert_eq!(score(AnswerType::RelaxedAccuracy, json!("1000"), "1051"), 0.0);
    assert_eq!(score(AnswerType::AccuracyMean, json!(["Art", "Photography"]), "art"), 0.5);
    assert_eq!(score(AnswerType::Ocrbench, json!("['']"), "anything"), 0.0);
}

/// Texts with what answers are made of in them.
fn answer_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        "[A-Ea-e]",
        "[ \n.,:;()*$%'\"{}<>|/\\\\-]{1,3}",
        "[0-9]{1,4}([.,][0-9]{1,4})?(e-?[0-9]{1,3})?",
        prop::sample::select(vec![
            "answer is ",
            "Answer:",
            "\\boxed{",
            "<think>",
            "</think>",
            "<answer>",
            "cat",
            "a dog",
            "not ",
            "or ",
            "İ",
            "ß",
            "答案",
            "选",
            "是",
            "Ａ",
            "yes",
            "no",
            "<image 1>",
            "{\"answer\": \"",
            "\u{1c}",
            "Z",
            "ﬁ",
            "𝟙",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn answer_type() -> impl Strategy<Value = AnswerType> {
    prop::sample::select(vec![
        AnswerType::Option,
        AnswerType::MmmuOpen,
        AnswerType::YesNo,
        AnswerType::VqaScore,
        AnswerType::Anls,
        AnswerType::RelaxedAccuracy,
        AnswerType::AccuracyMax,
        AnswerType::AccuracyMean,
        AnswerType::Ocrbench,
        AnswerType::Exact,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_rule_panics_and_every_span_lies_in_the_response(
        response in answer_like(),
        texts in prop::collection::vec(answer_like(), 0..12),
        golds in prop::collection::vec(answer_like(), 1..4),
        answer_type in answer_type(),
        dataset in prop::option::of(prop::sample::select(vec!["MMMU_Pro_10c_COT", "AMBER", "x"])),
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let gold = if golds.len() == 1 { json!(golds[0]) } else { json!(golds) };
        let mut one = row(answer_type, choices(&texts), &response, gold);
        one.dataset = dataset.map(str::to_owned);
        for rule in Rule::all() {
            let reading = rule.read(&one);
            prop_assert!((0.0..=1.0).contains(&reading.score), "{:?}", reading);
            prop_assert!(!reading.by.is_empty());
            if let Some([from, to]) = reading.span {
                prop_assert!(from <= to && response.get(from..to).is_some(), "{:?} {:?}", reading, response);
            }
            prop_assert_eq!(&rule.read(&one), &reading);
        }
    }
}

#[test]
fn endless_responses_are_read_to_the_end() {
    // Whatever repeats, the work grows with the length and not with its square.
    for piece in [
        "answer is ",
        "it is ",
        "the ",
        "a cat ",
        "cat or dog, ",
        "A ",
        "(B) ",
        "\\boxed{",
        "<answer>",
        "<think>",
        "1,000 ",
        "1.5e3 ",
        "-",
        ".",
        "not ",
        "A.\n",
        "\"answer\": \"",
        "选",
        "is:\n",
        "Question: ",
        "yes no ",
    ] {
        let response = piece.repeat(300_000 / piece.len());
        for kind in [AnswerType::Option, AnswerType::YesNo, AnswerType::MmmuOpen, AnswerType::Anls] {
            for rule in Rule::all() {
                let reading = rule.read(&row(kind, choices(&ANIMALS), &response, json!("A")));
                assert!((0.0..=1.0).contains(&reading.score), "{piece:?}");
            }
        }
    }
}
