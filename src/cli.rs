//! The command line: what can be asked of the program, and its exit codes.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::Problem;
use crate::app::render::RenderArgs;
use crate::dataset::{QuestionKind, Style};
use crate::endpoint::Price;
use crate::scoring::AnswerType;
use crate::session::export::Format;
use crate::terminal::devices::DevicesArgs;
use crate::terminal::plan::PlanArgs;
use crate::terminal::served::ServedArgs;

/// How a command ended; the exit codes are part of the contract with scripts.
#[derive(Debug)]
pub enum Ending {
    /// Done: 0.
    Done,
    /// Stopped or incomplete, can be resumed: 4.
    Incomplete,
}

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// Refused before starting: 3.
    Refused(Problem),
    /// Anything else: 1.
    Broken(Problem),
}

impl From<Problem> for Failure {
    /// What goes wrong before a run starts is a refusal; a run says itself when it breaks.
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

/// What a command gives.
pub type Outcome = Result<Ending, Failure>;

/// Evaluate vision-language models on your own workstation.
#[derive(Debug, Parser)]
#[command(name = "shardscope", version, about, max_term_width = 110)]
pub struct Cli {
    /// What to do; without a command the program opens its window, or runs the built-in evaluation in the terminal.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Evaluate a checkpoint on a dataset in the terminal.
    Eval(Box<EvalArgs>),
    /// Show what a checkpoint holds, from its headers alone.
    Inspect(InspectArgs),
    /// Make and explain a device map; loads no weights.
    Plan(Box<PlanArgs>),
    /// What devices are seen, free and total memory, links, who uses them.
    Devices(DevicesArgs),
    /// Measure how fast a checkpoint runs on this machine.
    Bench(BenchArgs),
    /// Read answers from standard input by a rule, one JSON object a line; no model needed.
    ReadAnswers(ReadAnswersArgs),
    /// Score a finished or partial session again.
    Score(ScoreArgs),
    /// Sessions on disk.
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// Draw a screen of the window as a PNG, with no display and no GPU.
    Render(RenderArgs),
    /// Keep keys to servers in the platform's key store, under names.
    #[command(subcommand)]
    Key(KeyCommand),
    /// List the datasets found on this machine: VLMEvalKit's ($LMUData, ~/LMUData) and Hugging Face's cache.
    Datasets(DatasetsArgs),
}

/// Options of `eval`.
#[derive(Debug, Args, Default)]
pub struct EvalArgs {
    /// Checkpoint: a folder, a Hugging Face cache entry, or org/name found in that cache [default: built-in].
    #[arg(long, value_name = "P")]
    pub checkpoint: Option<String>,
    /// Dataset: a file or folder (VLMEvalKit TSV, parquet, JSON lines, CSV beside images), org/name of Hugging Face's
    /// cache, or a name that `datasets` lists [default: built-in].
    #[arg(long, value_name = "P")]
    pub dataset: Option<String>,
    /// At most this many questions.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Only the questions with these indices.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub ids: Vec<String>,
    /// A random sample of this many questions.
    #[arg(long, value_name = "N")]
    pub sample: Option<usize>,
    /// Seed of the sample.
    #[arg(long, value_name = "S", requires = "sample")]
    pub seed: Option<u64>,
    /// Only questions of this category.
    #[arg(long, value_name = "C")]
    pub category: Option<String>,
    /// Only questions of this split.
    #[arg(long, value_name = "S")]
    pub split: Option<String>,
    /// How questions are put: vlmevalkit, vlmevalkit-cot, vlmevalkit-thinking, vlmevalkit-mpo, vlmevalkit-dataset, mmmu,
    /// mmmu-pro-direct, mmmu-pro-cot.
    #[arg(long, value_name = "NAME", default_value_t, value_parser = prompt_style)]
    pub prompt_style: Style,
    /// What the questions ask for, whatever columns and name say: option, yes-no, short, free. Changes the prompt.
    #[arg(long, value_name = "KIND", value_parser = question_kind)]
    pub kind: Option<QuestionKind>,
    /// How answers are judged, whatever the name says: option, mmmu-open, yes-no, vqa-score, anls, relaxed-accuracy,
    /// accuracy-max, accuracy-mean, ocrbench, exact.
    #[arg(long, value_name = "TYPE", value_parser = answer_type)]
    pub answer_type: Option<AnswerType>,
    /// Rule by which answers are read.
    #[arg(long, value_name = "R", default_value = "shardscope")]
    pub rule: String,
    /// Longest answer in tokens.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = answer_length)]
    pub max_new_tokens: usize,
    /// Most tiles an image, in place of the dataset's own limit.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub max_tiles: Option<u32>,
    /// Questions in flight.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub batch: usize,
    /// Copies of the model, each on devices of its own, which answer different questions.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub replicas: usize,
    /// Ask the question first that is forecast to take the most memory, so that what does not fit shows at once.
    #[arg(long)]
    pub canary: bool,
    /// Number format of the weights: auto (as stored), f32, bf16, f16, q8_0, q4_0, q4k. The CPU computes in f32; with bf16 it
    /// multiplies in bf16 and sums in f32, as GPUs do: faster where the processor has instructions for that.
    #[arg(long, value_name = "T", default_value = "auto")]
    pub dtype: String,
    /// Devices: auto, cpu, cuda:0,2, or simulated ones, which compute on the CPU within an enforced capacity:
    /// sim:2x8GiB, sim:24GiB,80GiB.
    #[arg(long, value_name = "SPEC", default_value = "auto")]
    pub devices: String,
    /// Layout: auto, internvl, accelerate, accelerate-sequential, accelerate-balanced-low-0, mistralrs, single, or a map: a
    /// file, - for standard input, or the map itself, in any form that `plan --layout` reads.
    #[arg(long, value_name = "NAME|MAP", default_value = "auto")]
    pub layout: String,
    /// File of what runs have learnt about memory here, by which forecasts are corrected, or none [default: one in the
    /// platform's data folder].
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<String>,
    /// Session folder [default: a new one under the sessions folder].
    #[arg(long, value_name = "DIR")]
    pub session: Option<PathBuf>,
    /// Go on with the session instead of beginning one.
    #[arg(long, requires = "session")]
    pub resume: bool,
    /// Keep log-probabilities of the K likeliest tokens at each step.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub top_logprobs: usize,
    /// System prompt in place of the template's own.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Draw tokens at this temperature instead of taking the likeliest.
    #[arg(long, value_name = "T", value_parser = positive)]
    pub temperature: Option<f64>,
    /// Draw from the smallest set of tokens with this probability.
    #[arg(long, value_name = "P", requires = "temperature", value_parser = share)]
    pub top_p: Option<f64>,
    /// Draw from the K likeliest tokens.
    #[arg(long, value_name = "K", requires = "temperature", value_parser = at_least_one)]
    pub top_k: Option<usize>,
    /// Seed of the draw.
    #[arg(long, value_name = "S", requires = "temperature", default_value_t = 0)]
    pub sampling_seed: u64,
    /// Threads of the CPU [default: all].
    #[arg(long, value_name = "N", value_parser = thread_count)]
    pub threads: Option<usize>,
    /// A served model.
    #[command(flatten)]
    pub served: ServedArgs,
    /// The judge.
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// Print one JSON object with the result to standard output.
    #[arg(long)]
    pub json: bool,
}

/// Options of a judge: a served model that is asked about answers which the rule cannot read.
#[derive(Debug, Args, Default)]
pub struct JudgeArgs {
    /// Ask the OpenAI-compatible endpoint at this address about answers that the rule cannot read; its key comes from
    /// the environment (SHARDSCOPE_JUDGE_KEY, else OPENAI_API_KEY).
    #[arg(long, value_name = "URL", requires = "judge_model")]
    pub judge: Option<String>,
    /// The judge's model, as its server names it.
    #[arg(long, value_name = "NAME", requires = "judge")]
    pub judge_model: Option<String>,
    /// The judge's key is the one of this name in the platform's key store (`shardscope key set NAME`).
    #[arg(long, value_name = "NAME", requires = "judge")]
    pub judge_stored_key: Option<String>,
    /// What a million tokens of prompt and of reply cost, for the record.
    #[arg(long, value_name = "IN,OUT", requires = "judge", value_parser = price)]
    pub judge_price: Option<Price>,
    /// Longest time for one reply of the judge, in seconds [default: 60].
    #[arg(long, value_name = "S", requires = "judge", value_parser = seconds)]
    pub judge_timeout: Option<f64>,
    /// Allow plain http to a server that is neither on this machine nor at a private address.
    #[arg(long)]
    pub allow_http: bool,
}

/// Options of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Checkpoint: a folder, a Hugging Face cache entry, org/name found in that cache, or built-in.
    #[arg(long, value_name = "P")]
    pub checkpoint: String,
    /// Print one JSON object to standard output.
    #[arg(long)]
    pub json: bool,
}

/// Options of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Checkpoint, as for `eval` [default: built-in].
    #[arg(long, value_name = "P")]
    pub checkpoint: Option<String>,
    /// Number format of the weights, as for `eval`.
    #[arg(long, value_name = "T", default_value = "auto")]
    pub dtype: String,
    /// Tiles of one round.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub tiles: usize,
    /// Prompt tokens of one round.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = at_least_one)]
    pub prompt_tokens: usize,
    /// Tokens decoded in one round.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    pub new_tokens: usize,
    /// Also decode with so many questions in flight together: 8,16.
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = at_least_one)]
    pub in_flight: Vec<usize>,
    /// Also answer questions on so many simulated devices with a thread each: at once, and one device after the other.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub stages: Option<usize>,
    /// Rounds; the median counts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one)]
    pub rounds: usize,
    /// Threads of the CPU [default: all].
    #[arg(long, value_name = "N", value_parser = thread_count)]
    pub threads: Option<usize>,
    /// Print one JSON object to standard output.
    #[arg(long)]
    pub json: bool,
}

/// Options of `read-answers`.
#[derive(Debug, Args)]
pub struct ReadAnswersArgs {
    /// Rule by which answers are read.
    #[arg(long, value_name = "R", default_value = "shardscope")]
    pub rule: String,
}

/// Options of `score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// Session folder.
    #[arg(long, value_name = "D")]
    pub session: PathBuf,
    /// Rule by which answers are read [default: the session's own].
    #[arg(long, value_name = "R")]
    pub rule: Option<String>,
    /// How answers are judged, whatever the session says: option, mmmu-open, yes-no, vqa-score, anls, relaxed-accuracy,
    /// accuracy-max, accuracy-mean, ocrbench, exact.
    #[arg(long, value_name = "TYPE", value_parser = answer_type)]
    pub answer_type: Option<AnswerType>,
    /// Count what a judge replied in earlier calls where the rule cannot read an answer; nothing is asked.
    #[arg(long, conflicts_with_all = ["judge", "answer_type"])]
    pub judged: bool,
    /// The judge.
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// Print one JSON object to standard output.
    #[arg(long)]
    pub json: bool,
}

/// Commands about sessions.
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// List the sessions of a folder.
    List {
        /// Folder of sessions [default: ./sessions].
        root: Option<PathBuf>,
        /// Print one JSON object to standard output.
        #[arg(long)]
        json: bool,
    },
    /// Show what a session is about and its score.
    Show {
        /// Session folder.
        session: PathBuf,
        /// Count what a judge replied after the run (`score --judge`) where the rule cannot read an answer.
        #[arg(long)]
        judged: bool,
        /// Print one JSON object to standard output.
        #[arg(long)]
        json: bool,
    },
    /// Compare two sessions question by question: who is better, by how much, and whether that can be chance.
    Compare {
        /// Session folder.
        first: PathBuf,
        /// Session folder.
        second: PathBuf,
        /// Read both under this rule [default: as recorded].
        #[arg(long, value_name = "R")]
        rule: Option<String>,
        /// Print one JSON object to standard output.
        #[arg(long)]
        json: bool,
    },
    /// List the answers on which two rules disagree.
    Disagree {
        /// Session folder.
        session: PathBuf,
        /// The two rules.
        #[arg(long, value_name = "R1,R2", value_parser = two_rules)]
        rules: (String, String),
        /// Print one JSON object to standard output.
        #[arg(long)]
        json: bool,
    },
    /// Write a session in a format of others, or as a report that opens without a network.
    Export {
        /// Session folder.
        session: PathBuf,
        /// csv, jsonl, vlmevalkit-tsv, vlmevalkit-xlsx, lmms-eval or html.
        #[arg(long, value_name = "F", value_parser = export_format)]
        format: Format,
        /// File, or a folder for it [default: under the format's usual name in the current folder].
        #[arg(long, value_name = "PATH")]
        out: Option<PathBuf>,
        /// Read the answers under this rule [default: as recorded].
        #[arg(long, value_name = "R")]
        rule: Option<String>,
        /// Count what a judge replied after the run (`score --judge`) where the rule cannot read an answer.
        #[arg(long)]
        judged: bool,
        /// Replace a file that is there already.
        #[arg(long)]
        force: bool,
    },
    /// Make a session of predictions by VLMEvalKit (xlsx, tsv, json) or lmms-eval (samples jsonl), or of exported answers.
    Import {
        /// File of predictions.
        file: PathBuf,
        /// Folder of the new session.
        #[arg(long, value_name = "DIR")]
        session: PathBuf,
        /// Dataset that the predictions are about, as for `eval`: gives questions, options and gold answers.
        #[arg(long, value_name = "P")]
        dataset: Option<String>,
        /// Read the answers under this rule [default: verdicts of the file where it has any, else shardscope].
        #[arg(long, value_name = "R")]
        rule: Option<String>,
        /// How answers are judged, whatever file and dataset say, as for `eval`.
        #[arg(long, value_name = "TYPE", value_parser = answer_type)]
        answer_type: Option<AnswerType>,
        /// Name of the model [default: from the file's name].
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
    },
}

/// Commands about keys. A key is asked for on the terminal, and is never an argument.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Ask for a key on the terminal, without showing it, and keep it under a name for `eval --stored-key NAME`.
    Set {
        /// Name of the key: letters, digits, dots, dashes and underscores.
        name: String,
    },
    /// Forget the key of a name.
    Delete {
        /// Name of the key.
        name: String,
    },
    /// Say whether there is a key store, and whether it has a key of a name.
    Check {
        /// Name of the key.
        name: Option<String>,
    },
}

/// Options of `datasets`.
#[derive(Debug, Args)]
pub struct DatasetsArgs {
    /// Print one JSON object to standard output.
    #[arg(long)]
    pub json: bool,
}

/// The style that a name means.
pub(crate) fn prompt_style(text: &str) -> Result<Style, String> {
    text.parse().map_err(|problem: Problem| problem.to_string())
}

/// The kind that a name means.
pub(crate) fn question_kind(text: &str) -> Result<QuestionKind, String> {
    text.parse().map_err(|problem: Problem| problem.to_string())
}

fn answer_type(text: &str) -> Result<AnswerType, String> {
    text.parse().map_err(|problem: Problem| problem.to_string())
}

fn export_format(text: &str) -> Result<Format, String> {
    text.parse().map_err(|problem: Problem| problem.to_string())
}

fn two_rules(text: &str) -> Result<(String, String), String> {
    match text.split(',').map(str::trim).collect::<Vec<_>>()[..] {
        [one, two] if !one.is_empty() && !two.is_empty() => Ok((one.to_owned(), two.to_owned())),
        _ => Err("two rules are compared: give their names with a comma between them".into()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(n) => Ok(n),
        Err(error) => Err(format!("is no whole number ({error})")),
    }
}

/// A whole number from 1 to a most.
pub(crate) fn at_most(most: usize, text: &str) -> Result<usize, String> {
    at_least_one(text).and_then(|n| if n > most { Err(format!("must be at most {most}")) } else { Ok(n) })
}

/// Room for the whole answer is made before it begins, so its length has a limit.
fn answer_length(text: &str) -> Result<usize, String> {
    at_most(1 << 20, text)
}

fn thread_count(text: &str) -> Result<usize, String> {
    at_most(1024, text)
}

fn price(text: &str) -> Result<Price, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| *n >= 0.0 && n.is_finite());
    text.split_once(',')
        .and_then(|(input, output)| Some(Price { input: number(input)?, output: number(output)? }))
        .ok_or_else(|| {
            "must be two numbers, such as 0.15,0.6: the price of a million tokens in and out".into()
        })
}

/// Seconds, at most a day.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    positive(text).and_then(|n| if n > 86_400.0 { Err("must be at most a day".into()) } else { Ok(n) })
}

fn share(text: &str) -> Result<f64, String> {
    positive(text).and_then(|n| if n > 1.0 { Err("must be at most 1".into()) } else { Ok(n) })
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(n) if n > 0.0 && n.is_finite() => Ok(n),
        _ => Err("must be a number above 0".into()),
    }
}
