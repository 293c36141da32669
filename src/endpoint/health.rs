//! What is served at an address, and by which server, as far as they tell.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::http::header;

use super::Endpoint;
use super::fault::Fault;

/// Bytes of a list of models, or of what a server says of itself.
const LONGEST: u64 = 4 << 20;

/// Most models that are listed.
const MOST: usize = 10_000;

/// A model that a server offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedModel {
    /// The name by which it is asked.
    pub id: String,
    /// What serves it (`vllm`, `sglang`, `llamacpp`, an organisation).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The checkpoint behind the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Tokens of prompt and answer together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<u64>,
}

/// A server that answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// The models that it offers; empty where it has no list.
    pub models: Vec<ServedModel>,
    /// What it calls itself.
    pub server: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Seconds until it answered.
    pub seconds: f64,
    /// Why there is no list of models, where the server is there all the same.
    pub problem: Option<String>,
}

impl Health {
    /// The model of a name.
    pub fn model(&self, name: &str) -> Option<&ServedModel> {
        self.models.iter().find(|model| model.id == name)
    }
}

impl Endpoint {
    /// Asks once what is served here: `/v1/models`, and the server's version where it is known how to ask. Takes no
    /// longer than the limits allow; made for a background job.
    ///
    /// # Errors
    /// Nobody is there, or the key is refused. A server without a list of models is no error.
    pub fn health(&self) -> Result<Health, Fault> {
        let start = Instant::now();
        let url = self.address().of("models");
        let place = |fault: Fault| Fault { problem: fault.problem.at(&url), ..fault };
        let response = self.get(&url).map_err(|error| place(self.transport_fault(&error)))?;
        let seconds = start.elapsed().as_secs_f64();
        let server = response.headers().get(header::SERVER).and_then(|value| value.to_str().ok());
        let server = server.map(|server| self.shown(server));
        let status = response.status().as_u16();
        let list = match self.whole(response, LONGEST) {
            Ok(list) => list,
            Err(fault) if matches!(status, 200..=299 | 404 | 405 | 500 | 501) => {
                let problem = Some(fault.problem.what);
                return Ok(Health { models: Vec::new(), server, version: None, seconds, problem });
            }
            Err(fault) => return Err(place(fault)),
        };
        let models = list["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(|text| self.shown(text));
        let models: Vec<ServedModel> = models
            .iter()
            .take(MOST)
            .filter_map(|model| {
                let context = [&model["max_model_len"], &model["context_length"], &model["meta"]["n_ctx"]];
                Some(ServedModel {
                    id: self.hidden(model["id"].as_str()?),
                    owner: text(&model["owned_by"]),
                    root: text(&model["root"]),
                    context: context.into_iter().find_map(Value::as_u64),
                })
            })
            .collect();
        let owner = models.first().and_then(|model| model.owner.clone()).unwrap_or_default();
        let version = self.version(&owner.to_ascii_lowercase());
        Ok(Health { models, server, version, seconds, problem: None })
    }

    /// The version of a server of this kind, each of which has its own place for it.
    fn version(&self, owner: &str) -> Option<String> {
        let (place, field) = match owner {
            "vllm" => ("version", "version"),
            "sglang" => ("get_server_info", "version"),
            "llamacpp" => ("props", "build_info"),
            "library" => ("api/version", "version"),
            _ => return None,
        };
        let response = self.get(&self.address().beside(place)).ok()?;
        let told = self.whole(response, LONGEST).ok()?;
        told[field].as_str().map(|version| self.shown(version))
    }
}
