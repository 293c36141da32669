//! An evaluation of a served model: from an endpoint, a dataset and choices to a session and an order for the engine.
//!
//! A window offers a served model beside the checkpoints like this: [`Endpoint::health`] on a background thread lists the
//! models of an address, the person picks one, and [`ServedEvaluation::prepare`] checks the rest; then
//! [`served::start`](crate::engine::served::start) gives a [`Run`](crate::engine::Run) with the commands and events of a
//! local one, and [`Traffic`](crate::engine::served::Traffic) between them. A session of a served model says `endpoint` as
//! its checkpoint's format; [`ServedEvaluation::of_session`] goes on with it, with [`Key::for_served`] or a key that was asked
//! for.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use ureq::http::{HeaderName, HeaderValue};

use super::{Choices, dataset_record, named, remaining, settings_record};
use crate::dataset::Dataset;
use crate::endpoint::{Address, Endpoint, Health, Key, Limits, key};
use crate::engine::served::letter::check_extra;
use crate::engine::served::{Order, Service};
use crate::scoring::judge::{AnyJudge, JudgeStep};
use crate::scoring::{Rule, Verdict};
use crate::session::manifest::{CheckpointRecord, Manifest};
use crate::session::{Answer, Session};
use crate::{Problem, Result};

/// Models told where one is unknown.
const TOLD: usize = 20;

/// Parts of names that secrets have.
const SECRET: [&str; 8] =
    ["authorization", "api_key", "apikey", "api-key", "secret", "password", "credential", "cookie"];

/// Headers that belong to the client.
const OWN_HEADERS: [&str; 6] =
    ["host", "content-type", "content-length", "transfer-encoding", "connection", "user-agent"];

/// A run at a server that is ready to begin: everything is checked, nothing is written.
pub struct ServedEvaluation {
    /// The model that will answer.
    pub endpoint: Endpoint,
    /// How it is asked.
    pub service: Service,
    /// The questions.
    pub dataset: Arc<Dataset>,
    /// Rows of the dataset that are asked, in its order.
    pub rows: Vec<usize>,
    /// How answers are read.
    pub rule: Rule,
    /// What the session will be begun with.
    pub manifest: Manifest,
    /// What there is to know before the run.
    pub notes: Vec<Problem>,
    choices: Choices,
    about: Value,
    judge: Option<JudgeStep<AnyJudge>>,
}

impl ServedEvaluation {
    /// Checks the choices against server and dataset. `health` is what the server said of itself; `watch` hears the
    /// bytes of the dataset so far, and its `false` stops.
    ///
    /// # Errors
    /// A choice that does not fit or would write the key down, or a dataset that cannot be read.
    pub fn prepare(
        endpoint: Endpoint,
        service: Service,
        health: &Health,
        dataset: Arc<Dataset>,
        choices: Choices,
        watch: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Self> {
        let rule = Rule::by_name(&choices.rule)?;
        check_extra(&service.extra)?;
        refuse_secrets(&Value::Object(service.extra.clone()))?;
        if choices.settings.top_logprobs > 0 {
            return Err(Problem::new("log-probabilities are kept of local checkpoints only")
                .at("--top-logprobs")
                .fix("leave it away"));
        }
        let rows = choices.questions.rows(&dataset)?;
        let about = about(&endpoint, health);
        let mut settings = settings_record(&choices, &rule);
        settings.dtype = "as served".into();
        settings.batch = service.concurrency;
        let mut record = service.record();
        let headers = endpoint.header_names();
        if !headers.is_empty() {
            record["header_names"] = headers.into();
        }
        settings.other.insert("served".into(), record);
        let mut endpoint_record = about.clone();
        endpoint_record["price_per_million"] = json!(service.price);
        let checkpoint = CheckpointRecord {
            path: format!("{} {}", endpoint.address().base(), endpoint.model()),
            name: endpoint.model().to_owned(),
            format: "endpoint".into(),
            other: Map::from_iter([("endpoint".to_owned(), endpoint_record)]),
            ..CheckpointRecord::default()
        };
        let mut manifest =
            Manifest::new(checkpoint, dataset_record(&choices, &dataset, &rows, watch)?, settings);
        manifest.layout.name = "server".into();
        let written = serde_json::to_string(&manifest).unwrap_or_default();
        if endpoint.would_tell_key(&written) {
            return Err(Problem::new("the key stands in a setting that would be written to the session")
                .fix("give the key in the environment alone"));
        }
        let notes = unlisted(&endpoint, health).into_iter().collect();
        Ok(Self { endpoint, service, dataset, rows, rule, manifest, notes, choices, about, judge: None })
    }

    /// The run that a session on disk was begun with, ready to go on with [`ServedEvaluation::begin`]: its server is asked
    /// what it is, with `key`. `watch` hears the file that is read and the bytes so far, and stops by `false`.
    ///
    /// # Errors
    /// As [`Service::of`], [`Choices::of`] and [`ServedEvaluation::prepare`]; the server is not there.
    pub fn of_session(folder: &Path, key: Option<Key>, watch: named::Watch<'_>) -> Result<Self> {
        let (address, model) = server_of(&Manifest::read(folder)?, folder)?;
        let endpoint = Endpoint::new(address, model, key, Limits::for_questions());
        let endpoint = endpoint.with_key_names(&key::SERVED_KEYS);
        let health = endpoint.health().map_err(|fault| fault.problem)?;
        Self::going_on(folder, endpoint, &health, watch)
    }

    /// The same with an endpoint at the session's address, and what that said of itself.
    ///
    /// # Errors
    /// As [`Service::of`], [`Choices::of`] and [`ServedEvaluation::prepare`].
    pub fn going_on(
        folder: &Path,
        endpoint: Endpoint,
        health: &Health,
        watch: named::Watch<'_>,
    ) -> Result<Self> {
        let manifest = Manifest::read(folder)?;
        let service = Service::of(&manifest).map_err(|problem| problem.in_file(folder))?;
        let choices = Choices::of(&manifest)?;
        let dataset = named::open_dataset(Some(&manifest.dataset.path), choices.stated, watch)?;
        let path = dataset.path().unwrap_or(Path::new("")).to_owned();
        Self::prepare(endpoint, service, health, dataset, choices, &mut |bytes| watch(&path, bytes))
    }

    /// Asks a judge about answers that the rule cannot read; `record` is how the manifest names it.
    pub fn with_judge(mut self, judge: JudgeStep<AnyJudge>, record: Value) -> Self {
        self.manifest.settings.other.insert("judge".into(), record);
        self.judge = Some(judge);
        self
    }

    /// Begins a session in a folder, or goes on with the one that is there, and gives the engine's order and what is
    /// answered already. Where `retry_failed` is set, questions that failed are asked again.
    ///
    /// # Errors
    /// As [`Session::create`] and [`Session::resume`].
    pub fn begin(self, folder: &Path, resume: bool, retry_failed: bool) -> Result<(Order, Vec<Answer>)> {
        let (session, mut done) = match resume {
            true => Session::resume(folder, &self.manifest)?,
            false => (Session::create(folder, &self.manifest)?, Vec::new()),
        };
        if retry_failed {
            done.retain(|answer| answer.verdict != Verdict::Failed);
        }
        let rows = remaining(&self.dataset, &self.rows, &done)?;
        let order = Order {
            endpoint: self.endpoint,
            service: self.service,
            dataset: self.dataset,
            rows,
            settings: self.choices.settings,
            rule: self.rule,
            judge: self.judge,
            about: self.about,
            session,
        };
        Ok((order, done))
    }
}

/// The address at which a session was begun, and the model there.
///
/// # Errors
/// The manifest names none: it is of a local run, or of none.
pub fn server_of(manifest: &Manifest, folder: &Path) -> Result<(Address, String)> {
    let (base, model) = manifest
        .checkpoint
        .path
        .split_once(' ')
        .filter(|_| is_served(manifest))
        .ok_or_else(|| Problem::new("does not say which server it was begun with").in_file(folder))?;
    // Whether plain http will do was settled when the session was begun.
    Ok((Address::new(base, true)?, model.to_owned()))
}

/// Whether a session was begun with a served model.
pub fn is_served(manifest: &Manifest) -> bool {
    manifest.checkpoint.format == "endpoint"
}

/// What is recorded of a server.
fn about(endpoint: &Endpoint, health: &Health) -> Value {
    json!({
        "host": endpoint.address().host(),
        "model": endpoint.model(),
        "listed": health.model(endpoint.model()),
        "server": health.server,
        "version": health.version,
    })
}

/// A model that the server does not list may still be there, under another name.
fn unlisted(endpoint: &Endpoint, health: &Health) -> Option<Problem> {
    if health.models.is_empty() || health.model(endpoint.model()).is_some() {
        return None;
    }
    let names: Vec<&str> = health.models.iter().take(TOLD).map(|model| model.id.as_str()).collect();
    let more = health.models.len().saturating_sub(TOLD);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(
        Problem::new(format!("the server does not list a model {:?}", endpoint.model()))
            .at(endpoint.address().host())
            .fix(format!("it offers {}{more}", names.join(", "))),
    )
}

/// A header of a person's own, `NAME: VALUE`. Its value is never recorded.
///
/// # Errors
/// It is no header, belongs to the client, or its name says that it carries a secret: what stands on a command line can
/// be read by others on this machine.
pub fn header(text: &str) -> Result<(HeaderName, HeaderValue)> {
    // What stands there may be a secret, so it is not repeated.
    let refuse = |what: &str| Problem::new(what).fix("write NAME: VALUE, such as \"X-Team: vision\"");
    let (name, value) = text.split_once(':').ok_or_else(|| refuse("that is no header"))?;
    let name: HeaderName = name.trim().parse().map_err(|_| refuse("a header has no such name"))?;
    let mut value: HeaderValue =
        value.trim().parse().map_err(|_| refuse("a header cannot have such a value"))?;
    value.set_sensitive(true);
    let lower = name.as_str();
    if OWN_HEADERS.contains(&lower) {
        return Err(Problem::new(format!("the header {lower} is the client's own")).fix("leave it away"));
    }
    let is_secret = SECRET.iter().any(|part| lower.contains(part))
        || lower.split(['-', '_']).any(|part| matches!(part, "key" | "token" | "auth"));
    if is_secret {
        return Err(Problem::new(format!(
            "the header {lower} carries a secret, which a command line shows to others"
        ))
        .fix("put the secret into SHARDSCOPE_API_KEY, and name its header with --key-header"));
    }
    Ok((name, value))
}

/// Refuses fields of a request whose names say that they hold a secret: the manifest records them.
///
/// # Errors
/// There is such a field.
pub fn refuse_secrets(value: &Value) -> Result<()> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            let lower = name.to_ascii_lowercase();
            let whole = matches!(lower.as_str(), "key" | "token" | "auth" | "access_token" | "auth_token");
            match whole || SECRET.iter().any(|part| lower.contains(part)) {
                true => Err(Problem::new(format!(
                    "the field {name:?} holds a secret, which the session would record"
                ))
                .at("--extra-body")
                .fix("put the secret into SHARDSCOPE_API_KEY")),
                false => refuse_secrets(value),
            }
        }),
        Value::Array(values) => values.iter().try_for_each(refuse_secrets),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_fields_that_carry_secrets_are_refused_without_repeating_them() {
        for text in [
            "Authorization: Bearer hunter2",
            "x-api-key: hunter2",
            "X-Auth-Token:hunter2",
            "Cookie: a=hunter2",
        ] {
            let refusal = header(text).unwrap_err().to_string();
            assert!(refusal.contains("secret") && !refusal.contains("hunter2"), "{refusal}");
        }
        for text in ["hunter2", ": hunter2", "a b: hunter2", "Host: hunter2", "X-A: hunter2\n"] {
            let outcome = header(text);
            assert!(outcome.is_err() || text.ends_with('\n'), "{text}");
            assert!(!format!("{:?}", outcome.err()).contains("hunter2"), "{text}");
        }
        assert_eq!(header("X-Team: vision").unwrap().0.as_str(), "x-team");
        assert_eq!(header("X-Tokenizer: fast").unwrap().1, "fast");
        for body in [r#"{"api_key": 1}"#, r#"{"a": [{"Password": 1}]}"#, r#"{"token": "x"}"#] {
            assert!(refuse_secrets(&serde_json::from_str(body).unwrap()).is_err(), "{body}");
        }
        let fine =
            r#"{"top_k": 1, "stop_token_ids": [1], "chat_template_kwargs": {"enable_thinking": false}}"#;
        assert!(refuse_secrets(&serde_json::from_str(fine).unwrap()).is_ok());
    }
}
