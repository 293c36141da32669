//! `eval --endpoint`: a served model in the place of a checkpoint.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};
use ureq::http::HeaderName;

use super::datasets::open_dataset;
use super::eval::{Told, choices, listen};
use super::progress::Reading;
use super::{judging, keys, say};
use crate::cli::{EvalArgs, Outcome, at_most, seconds};
use crate::endpoint::{Address, Endpoint, Health, Key, KeyHeader, Limits, Price, key};
use crate::engine::served::{self, Service, Traffic};
use crate::evaluation::served::{ServedEvaluation, header};
use crate::picture::SentAs;
use crate::session::default_folder;
use crate::words::count;
use crate::{Problem, Result};

/// Most questions in flight that may be asked for.
const MOST: usize = 1024;

/// Options of a served model.
#[derive(Debug, Clone, Args, Default)]
pub struct ServedArgs {
    /// Ask the OpenAI-compatible server at this address instead of loading a checkpoint; its key comes from the
    /// environment (SHARDSCOPE_API_KEY, else OPENAI_API_KEY, which is sent only over https or to this machine).
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["checkpoint", "dtype", "devices", "layout", "batch", "canary", "max_tiles", "top_logprobs", "threads"]
    )]
    pub endpoint: Option<String>,
    /// The model, as the server names it [default: the only one that it offers].
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub model: Option<String>,
    /// Most questions in flight; fewer are where the server is strained [default: 16].
    #[arg(long, value_name = "N", requires = "endpoint", value_parser = concurrency)]
    pub concurrency: Option<usize>,
    /// How pictures are sent that cannot go as they are: png, jpeg, or jpeg:Q with a quality Q. Jpeg files always go as they
    /// are; png files do, unless jpeg is chosen [default: png].
    #[arg(long, value_name = "F", requires = "endpoint", value_parser = sent_as)]
    pub image_format: Option<SentAs>,
    /// Send the pictures first and leave `<image>` in the text where each belongs, for servers that look for it (vLLM
    /// with InternVL checkpoints of the GitHub layout).
    #[arg(long, requires = "endpoint")]
    pub image_marks: bool,
    /// Further fields of each request, as a JSON object; null takes a field away.
    #[arg(long, value_name = "JSON", requires = "endpoint")]
    pub extra_body: Option<String>,
    /// Send a header with each request; may be given several times. Its value is not recorded.
    #[arg(long, value_name = "K: V", requires = "endpoint")]
    pub header: Vec<String>,
    /// Send the key in a header of this name (such as api-key), not as a bearer token.
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub key_header: Option<HeaderName>,
    /// Ask for the key on the terminal; what is typed is not shown.
    #[arg(long, requires = "endpoint")]
    pub ask_key: bool,
    /// The key is the one of this name in the platform's key store (`shardscope key set NAME`).
    #[arg(long, value_name = "NAME", requires = "endpoint", conflicts_with = "ask_key")]
    pub stored_key: Option<String>,
    /// What a million tokens of prompts cost.
    #[arg(long, value_name = "P", requires = "price_out", value_parser = price)]
    pub price_in: Option<f64>,
    /// What a million tokens of answers cost.
    #[arg(long, value_name = "P", requires = "price_in", value_parser = price)]
    pub price_out: Option<f64>,
    /// Longest time until the first words of an answer, and between any two, in seconds [default: 180].
    #[arg(long, value_name = "S", requires = "endpoint", value_parser = seconds)]
    pub first_token_timeout: Option<f64>,
    /// Longest time for a whole answer, in seconds [default: 1800].
    #[arg(long, value_name = "S", requires = "endpoint", value_parser = seconds)]
    pub answer_timeout: Option<f64>,
    /// How often a question is tried again where the server is busy or the connection breaks [default: 8].
    #[arg(long, value_name = "N", requires = "endpoint", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub retries: Option<u32>,
    /// On resuming, ask again what failed.
    #[arg(long, requires_all = ["endpoint", "resume"])]
    pub retry_failed: bool,
}

/// Runs `eval` on a served model.
///
/// # Errors
/// A refusal before the run starts, or what broke it.
pub fn run(args: &EvalArgs, url: &str) -> Outcome {
    let endpoint = endpoint(args, url)?;
    let health = endpoint.health().map_err(|fault| fault.problem)?;
    let endpoint = match &args.served.model {
        Some(_) => endpoint,
        None => endpoint.with_model(only_model(&health, url)?),
    };
    let choices = choices(args);
    let dataset = open_dataset(args.dataset.as_deref(), choices.stated)?;
    let mut reading = dataset.path().map(Reading::of);
    let mut watch = |bytes| reading.as_mut().is_none_or(|reading| reading.at(bytes));
    let mut evaluation =
        ServedEvaluation::prepare(endpoint, service(&args.served)?, &health, dataset, choices, &mut watch)?;
    if let Some((step, record)) = judging::judge(&args.judge)? {
        evaluation = evaluation.with_judge(step, record);
    }
    let ServedEvaluation { endpoint, service, dataset, rows, rule, .. } = &evaluation;
    let server = [health.server.as_deref(), health.version.as_deref()];
    let server: Vec<&str> = server.into_iter().flatten().collect();
    say(format!(
        "{} at {}{} on {}: {} of {} questions, rule {}, at most {} in flight",
        endpoint.model(),
        endpoint.address().host(),
        if server.is_empty() { String::new() } else { format!(" ({})", server.join(" ")) },
        dataset.name(),
        rows.len(),
        dataset.len(),
        rule.name(),
        service.concurrency,
    ));
    for problem in dataset.problems().into_iter().chain(dataset.check_published(&mut |_| true)?) {
        say(format!("note: {problem}"));
    }
    evaluation.notes.iter().for_each(|problem| say(format!("note: {problem}")));
    let folder = match &args.session {
        Some(folder) => folder.clone(),
        None => default_folder(endpoint.model(), dataset.name(), &jiff::Zoned::now()),
    };
    let (model, dataset, rule) = (endpoint.model().to_owned(), dataset.name().to_owned(), rule.name());
    let selected = rows.len();
    let (order, done) = evaluation.begin(&folder, args.resume, args.served.retry_failed)?;
    let told = Told { model, dataset, rule, folder, selected, left: order.rows.len() };
    listen(args, told, &done, || served::start(order))
}

/// The endpoint that the options mean. Nothing is sent.
fn endpoint(args: &EvalArgs, url: &str) -> Result<Endpoint> {
    let options = &args.served;
    let address = Address::new(url, args.judge.allow_http)?;
    let key = match &options.stored_key {
        Some(name) => Some(key::stored(name).map_err(|problem| about("--stored-key", problem))?),
        None if options.ask_key => keys::asked("key: ").map_err(|problem| about("--ask-key", problem))?,
        None => Key::for_served(&address)?,
    };
    let usual = Limits::for_questions();
    let seconds = |given: Option<f64>| given.map(Duration::from_secs_f64);
    let limits = Limits {
        first_token: seconds(options.first_token_timeout).or(usual.first_token),
        answer: seconds(options.answer_timeout).unwrap_or(usual.answer),
        retries: options.retries.unwrap_or(usual.retries),
        ..usual
    };
    let model = options.model.clone().unwrap_or_default();
    let headers = options.header.iter().map(|text| header(text)).collect::<Result<_>>();
    let mut endpoint = Endpoint::new(address, model, key, limits)
        .with_key_names(&key::SERVED_KEYS)
        .with_headers(headers.map_err(|problem| problem.at("--header"))?);
    if let Some(name) = &options.key_header {
        endpoint = endpoint.with_key_header(KeyHeader::Named(name.clone()));
    }
    Ok(endpoint)
}

/// A problem with what an option says, where it has no place of its own.
fn about(option: &str, problem: Problem) -> Problem {
    if problem.place.is_some() { problem } else { problem.at(option) }
}

/// The model of a server that offers one.
fn only_model(health: &Health, url: &str) -> Result<String> {
    let names: Vec<&str> = health.models.iter().map(|model| model.id.as_str()).collect();
    match names.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(Problem::new("the server does not say which models it offers")
            .at(url)
            .fix("name one with --model")),
        names => Err(Problem::new(format!("the server offers {} models", names.len()))
            .at(url)
            .fix(format!("choose one with --model: {}", names[..names.len().min(40)].join(", ")))),
    }
}

fn service(options: &ServedArgs) -> Result<Service> {
    let default = Service::default();
    Ok(Service {
        concurrency: options.concurrency.unwrap_or(default.concurrency),
        images: options.image_format.unwrap_or_default(),
        image_marks: options.image_marks,
        extra: options.extra_body.as_deref().map(object).transpose()?.unwrap_or_default(),
        price: options.price_in.zip(options.price_out).map(|(input, output)| Price { input, output }),
    })
}

/// How a server stands, in a few words.
pub(super) fn state(traffic: &Traffic) -> String {
    let mut parts = vec![format!("{} of {} in flight", traffic.in_flight, traffic.window)];
    if traffic.resting > 0 {
        parts.push(format!("{} waiting to be tried again", traffic.resting));
    }
    if let Some(quiet) = traffic.quiet {
        parts.push(format!("the server asks to wait {quiet:.0} s"));
    }
    if let Some(pace) = traffic.answers_per_second {
        parts.push(format!("{:.1} answers a minute", pace * 60.0));
    }
    if let Some(cost) = traffic.cost {
        parts.push(format!("cost {cost:.4}"));
    }
    parts.join(", ")
}

/// What is said about a fault that was not there before.
pub(super) fn trouble(before: Option<&Traffic>, now: &Traffic) -> Option<String> {
    let is_new = before.is_none_or(|before| before.trouble != now.trouble);
    let trouble = now.trouble.as_ref().filter(|_| is_new)?;
    Some(format!("note: {trouble}"))
}

/// The sums of a run.
pub(super) fn sums(traffic: &Traffic) -> String {
    let mut text = format!(
        "served: {} answered, {} failed, {} tries repeated; {} prompt and {} answer tokens",
        traffic.answered,
        traffic.failed,
        traffic.retries,
        count(traffic.prompt_tokens),
        count(traffic.output_tokens)
    );
    if traffic.uncounted > 0 {
        text.push_str(&format!(" (the server did not count those of {} answers)", traffic.uncounted));
    }
    if let Some(cost) = traffic.cost {
        text.push_str(&format!("; cost {cost:.4}"));
    }
    text
}

fn concurrency(text: &str) -> Result<usize, String> {
    at_most(MOST, text)
}

fn sent_as(text: &str) -> Result<SentAs, String> {
    text.parse().map_err(|problem: Problem| problem.to_string())
}

/// What is no object is not repeated: it may hold what is not to be shown.
fn object(text: &str) -> Result<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(Problem::new("that is no JSON object")
            .at("--extra-body")
            .fix("write an object, such as {\"top_k\": 1}")),
    }
}

fn price(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(price) if price >= 0.0 && price.is_finite() => Ok(price),
        _ => Err("must be a number from 0".into()),
    }
}
