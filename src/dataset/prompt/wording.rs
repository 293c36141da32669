//! The words of each prompt style.
//!
//! Sentences that belong to a style are those of the original, letter by letter, since models were tuned to them:
//! open-compass/VLMEvalKit (`vlmeval/vlm/internvl/`, `vlmeval/dataset/`) and MMMU-Benchmark/MMMU (`mmmu/configs`,
//! `mmmu-pro/prompts.yaml`).

use crate::dataset::question::{Question, QuestionKind};
use crate::dataset::registry::{Family, Profile};
use crate::{Problem, Result};

const LETTER: &str = "Answer with the option's letter from the given choices directly.";
const LETTER_ZH: &str = "请直接回答选项字母。";
const DIRECTLY: &str = "Answer the question directly.";
const DIRECTLY_ZH: &str = "请直接回答问题。";
const WORD_OR_PHRASE: &str = "Answer the question using a single word or phrase.";

/// What asks for reasoning about a choice, in place of [`LETTER`].
const CHOICE_STEPS: &str = "Answer the preceding multiple choice question. The last line of your response should follow this format: 'Answer: \\boxed{$LETTER}' (without quotes), where LETTER is one of the options. If you are uncertain or the problem is too complex, make a reasoned guess based on the information provided. Avoid repeating steps indefinitely—provide your best guess even if unsure. Think step by step logically, considering all relevant information before answering.";

/// What asks for reasoning about an open question.
const OPEN_STEPS: &str = "Answer the preceding question. The last line of your response should follow this format: 'Answer: \\boxed{$FINAL_ANSWER}' (without quotes), where 'FINAL_ANSWER' is your conclusion based on the reasoning provided. If you are uncertain or the problem is too complex, make a reasoned guess based on the information provided. Avoid repeating steps indefinitely—provide your best guess even if unsure. Think step by step logically, considering all relevant information before answering.";

/// What WeMath's questions say of the form of an answer; the style asks for its own.
const WEMATH_FORMAT: &str = "Regarding the format, please answer following the template below, and be sure to include two <> symbols:\n<Thought process>: <<your thought process>> <Answer>: <<your option>>";

/// What asks a thinking model for its answer.
pub(super) const BOXED: &str = "Please answer the question and put the final answer within \\boxed{}.";

/// The system message of a thinking model.
pub(super) const THINKING_SYSTEM: &str = "You are an AI assistant that rigorously follows this response protocol:

1. First, conduct a detailed analysis of the question. Consider different angles, potential solutions, and reason through the problem step-by-step. Enclose this entire thinking process within <think> and </think> tags.

2. After the thinking section, provide a clear, concise, and direct answer to the user's question. Separate the answer from the think section with a newline.

Ensure that the thinking process is thorough but remains focused on the query. The final answer should be standalone and not reference the thinking section.";

/// Parts of names of datasets whose answer is a word or phrase; they come before [`REASONING`].
const WORD_ANSWERS: &[&str] = &[
    "OCRVQA",
    "TextVQA",
    "ChartQA",
    "DocVQA",
    "InfoVQA",
    "OCRBench",
    "DUDE",
    "SLIDEVQA",
    "GQA",
    "MMLongBench_DOC",
];

/// Parts of names of datasets whose question is sent as it stands, and which are reasoned about if asked.
const REASONING: &[&str] = &[
    "MathVista",
    "MathVision",
    "VCR",
    "MTVQA",
    "MMVet",
    "MathVerse",
    "MMDU",
    "CRPE",
    "MIA-Bench",
    "MM-Math",
    "DynaMath",
    "QSpatial",
    "WeMath",
    "LogicVista",
    "MM-IFEval",
    "ChartMimic",
    "MMReason",
];

/// The six parts of the Physics dataset.
const PHYSICS: [&str; 6] = [
    "atomic_dataset",
    "electro_dataset",
    "mechanics_dataset",
    "optics_dataset",
    "quantum_dataset",
    "statistics_dataset",
];

/// Parts of names of datasets for which InternVL's wrapper has no prompt of its own (`use_custom_prompt`).
const DECLINED: &[&str] = &[
    "MMDU",
    "MME-RealWorld",
    "WeMath_COT",
    "MMAlignBench",
    "ChartQAPro",
    "ChartMuseum",
    "MMSIVideo_U50",
    "MMSIVideo_SC",
    "SSI_Bench",
];

/// Parts of names of datasets that put their own prompt before that of any model (`force_use_dataset_prompt`).
const OWN_ALWAYS: &[&str] = &["MMESCI", "PerceptionBench", "SUPERChem", "WildProbe", "BabyVision"];

/// Whether a dataset is asked with its own prompt even where InternVL's is wanted.
pub(super) fn declined(profile: &Profile) -> bool {
    PHYSICS.contains(&profile.name.as_str())
        || named(profile, DECLINED)
        || named(profile, OWN_ALWAYS)
        || (profile.family == Family::MultipleChoice && named(profile, &["LEGO"]))
}

/// Whether the words of a dataset's own prompt are known here. A class that overrides what its type asks has words of
/// its own; of the datasets that InternVL's wrapper leaves to them, these are known (MMAlignBench's are the question's).
pub(super) fn own_words_known(profile: &Profile) -> bool {
    named(profile, &["MME-RealWorld", "ChartMuseum", "MMAlignBench"]) || !declined(profile)
}

fn named(profile: &Profile, parts: &[&str]) -> bool {
    parts.iter().any(|part| profile.name.contains(part))
}

/// Whether an open question of a dataset is sent as it stands.
fn as_it_stands(profile: &Profile) -> bool {
    match profile.family {
        Family::Plain => true,
        Family::Vqa => {
            !named(profile, &["LLaVABench", "WildVision"])
                && !named(profile, WORD_ANSWERS)
                && named(profile, REASONING)
        }
        Family::MultipleChoice | Family::YesNo => false,
    }
}

/// The question with the sentence that its type asks for (`InternVLChat.build_prompt`).
pub(super) fn vlmevalkit(profile: &Profile, question: &Question) -> String {
    let text = &question.text;
    match profile.family {
        // A question of yes or no among others that have options is asked as such.
        Family::MultipleChoice if question.kind == QuestionKind::YesNo => format!("{text}\n{WORD_OR_PHRASE}"),
        Family::MultipleChoice => multiple_choice(question),
        Family::YesNo if named(profile, &["MME"]) => format!("{text} {WORD_OR_PHRASE}"),
        Family::YesNo if named(profile, &["HallusionBench", "AMBER"]) => {
            format!("{text} Please answer yes or no. {WORD_OR_PHRASE}")
        }
        Family::YesNo => text.clone(),
        Family::Vqa if named(profile, &["LLaVABench", "WildVision"]) => {
            format!("{text}\nAnswer this question in detail.")
        }
        Family::Vqa if named(profile, &["MathVerse"]) && as_it_stands(profile) => softened(text),
        Family::Vqa | Family::Plain if as_it_stands(profile) => text.clone(),
        Family::Vqa | Family::Plain => format!("{text}\n{WORD_OR_PHRASE}"),
    }
}

/// MathVerse's question without its wish for an answer alone, which would forbid reasoning.
fn softened(text: &str) -> String {
    text.replace("please directly answer the question and", "please")
}

/// Hint, question, options and the request for a letter or, without options, an answer; in Chinese where the text is.
fn multiple_choice(question: &Question) -> String {
    let mut text = String::new();
    if let Some(hint) = &question.hint {
        text.push_str(hint);
        text.push('\n');
    }
    text.push_str(&question.text);
    for (letter, option) in &question.options {
        text.push_str(&format!("\n{letter}. {option}"));
    }
    let chinese = text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter));
    text.push('\n');
    text.push_str(match (question.options.is_empty(), chinese) {
        (false, false) => LETTER,
        (false, true) => LETTER_ZH,
        (true, false) => DIRECTLY,
        (true, true) => DIRECTLY_ZH,
    });
    text
}

/// [`vlmevalkit`] with reasoning asked for (`build_mcq_cot_prompt`, `build_qa_cot_prompt`), in these words or in the
/// style's own.
pub(super) fn vlmevalkit_cot(profile: &Profile, question: &Question, words: Option<&str>) -> String {
    let text = vlmevalkit(profile, question);
    match profile.family {
        Family::MultipleChoice if question.kind != QuestionKind::YesNo => {
            format!("{}\n{}", text.replace(LETTER, "").trim(), words.unwrap_or(CHOICE_STEPS))
        }
        _ if as_it_stands(profile) => format!("{text}\n{}", words.unwrap_or(OPEN_STEPS)),
        _ => text,
    }
}

/// The prompt of models tuned by mixed preference optimisation (`build_mpo_prompt`).
pub(super) fn vlmevalkit_mpo(profile: &Profile, question: &Question) -> String {
    if named(profile, &["LLaVABench", "MMVet"]) {
        return vlmevalkit(profile, question);
    }
    let mut text = question.text.clone();
    if named(profile, &["MathVerse", "MathVision"]) {
        let asked = text.split_once("Question:").map_or(text.as_str(), |(_, asked)| asked);
        text = asked.trim().replace("Choices:\n", "").trim().to_owned();
    }
    if named(profile, &["WeMath"]) {
        text = text.replace(WEMATH_FORMAT, "").trim().to_owned();
    }
    if !question.options.is_empty() {
        text.push('\n');
        for (letter, option) in &question.options {
            text.push_str(&format!("{letter}. {option}\n"));
        }
    }
    let asked = "Your task is to answer the question below. Give step by step reasoning before you answer, and when you're ready to answer, please use the format \"Final answer: ..\"";
    format!("{asked}\n\nQuestion:\n\n{text}").trim().to_owned()
}

/// The prompt of the dataset's own class in VLMEvalKit, before its images are placed.
pub(super) fn vlmevalkit_dataset(profile: &Profile, question: &Question) -> String {
    let text = &question.text;
    match profile.family {
        Family::MultipleChoice if named(profile, &["MME-RealWorld"]) => mme_real_world(profile, question),
        Family::MultipleChoice => {
            let mut prompt = String::new();
            if let Some(hint) = &question.hint {
                prompt.push_str(&format!("Hint: {hint}\n"));
            }
            prompt.push_str(&format!("Question: {text}\n"));
            if !question.options.is_empty() {
                prompt.push_str("Options:\n");
                for (letter, option) in &question.options {
                    prompt.push_str(&format!("{letter}. {option}\n"));
                }
                prompt.push_str(if profile.is_mmmu_pro() {
                    "Answer directly with the option letter from the given choices. "
                } else {
                    "Please select the correct answer from the options above. \n"
                });
            }
            prompt
        }
        Family::Vqa if named(profile, &["ChartMuseum"]) => chart_museum(text),
        Family::YesNo if profile.name == "AMBER" => format!("{text}\nPlease answer yes or no."),
        Family::Vqa if named(profile, WORD_ANSWERS) && !named(profile, &["OCRBench"]) => {
            format!("{text}\n{WORD_OR_PHRASE}")
        }
        Family::YesNo | Family::Vqa | Family::Plain => text.clone(),
    }
}

/// The prompt of `ChartMuseum`, indented as there.
fn chart_museum(text: &str) -> String {
    format!(
        "Please answer the question using the chart image.\n\n    Question: {text}\n\n    Please first generate your reasoning process and then provide the user with the answer. Use the following format:\n\n    <think> \n    ... your thinking process here ... \n    </think> \n    <answer> \n    ... your final answer (entity(s) or number) ...\n    </answer>"
    )
}

/// The prompt of `MMERealWorld`, whose options stand behind letters in parentheses.
fn mme_real_world(profile: &Profile, question: &Question) -> String {
    let (listed, asked) = if profile.name.contains("MME-RealWorld-CN") {
        (
            "选项如下所示:\n",
            "根据图像选择上述多项选择题的最佳答案。只需回答正确选项的字母（A, B, C, D 或 E）。\n最佳答案为：",
        )
    } else {
        (
            "The choices are listed below:\n",
            "Select the best answer to the above multiple-choice question based on the image. Respond with only the letter (A, B, C, D, or E) of the correct option. \nThe best answer is:",
        )
    };
    let options: Vec<String> =
        question.options.iter().map(|(letter, text)| format!("({letter}) {text}")).collect();
    format!("{} {listed}{}\n{asked}", question.text, options.join("\n"))
}

/// The prompt of MMMU's own evaluation, with its markers `<image k>`.
pub fn mmmu_official(question: &Question) -> String {
    let mut text = format!("{}\n", question.text);
    if question.kind != QuestionKind::Option {
        text.push_str(WORD_OR_PHRASE);
        return text;
    }
    for (letter, option) in &question.options {
        text.push_str(&format!("({letter}) {option}\n"));
    }
    text.push('\n');
    text.push_str(LETTER);
    text
}

/// The prompt of MMMU-Pro's own evaluation, with markers `<image k>`. A question without a text stands in its image.
///
/// # Errors
/// For a question without options: MMMU-Pro has none.
pub fn mmmu_pro(question: &Question, step_by_step: bool) -> Result<String> {
    if question.kind != QuestionKind::Option {
        return Err(Problem::new("MMMU-Pro's prompt is for questions with options, and this one has none")
            .fix("choose the style vlmevalkit or mmmu for this dataset"));
    }
    let format = "The last line of your response should be of the following format: 'Answer: $LETTER' (without quotes) where LETTER is one of options.";
    let direct = "Answer with the option letter from the given choices directly.";
    if question.text.is_empty() {
        return Ok(if step_by_step {
            format!(
                "Write out the multiple-choice question in the image and then solve it. {format} Think step by step before answering."
            )
        } else {
            format!("{direct} {format}")
        });
    }
    let mut text = format!("{}\n", question.text);
    for (letter, option) in &question.options {
        text.push_str(&format!("{letter}. {option}\n"));
    }
    if step_by_step {
        text.push_str(&format!(
            "Answer the preceding multiple choice question. {format} Think step by step before answering."
        ));
    } else {
        text.push_str(direct);
    }
    Ok(text)
}
