//! A plan as the command that starts another engine the same way: vLLM, SGLang, LMDeploy, llama.cpp; and in plain words
//! what of the plan such a command cannot say.
//!
//! How each engine cuts layers into stages, after their sources: vLLM reads `VLLM_PP_LAYER_PARTITION` and SGLang
//! `SGLANG_PP_LAYER_PARTITION`, one number of layers for each rank (`get_pp_indices` of both); LMDeploy has no stages;
//! llama.cpp gives layer `i` of `n` to the first device whose cumulated share exceeds `i / (n + 1)`, the output being the
//! last of the `n + 1`, so that numbers of layers are shares that say exactly what is meant.

mod facts;
mod llama_cpp;
mod lmdeploy;
mod sglang;
mod vllm;

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::layout::Plan;
use super::planner::Case;
use crate::{Problem, Result};
use facts::Facts;

/// An engine that serves models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Server {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// LMDeploy.
    Lmdeploy,
    /// llama.cpp's `llama-server`.
    LlamaCpp,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Vllm, Self::Sglang, Self::Lmdeploy, Self::LlamaCpp];

    /// The name by which it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Lmdeploy => "lmdeploy",
            Self::LlamaCpp => "llama.cpp",
        }
    }

    /// The port at which it listens.
    fn port(self) -> u16 {
        match self {
            Self::Vllm => 8000,
            Self::Sglang => 30000,
            Self::Lmdeploy => 23333,
            Self::LlamaCpp => 8080,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Server {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self> {
        let wanted = text.trim().to_ascii_lowercase();
        let known = Self::ALL.into_iter().find(|server| server.name() == wanted);
        known.or_else(|| (wanted == "llamacpp").then_some(Self::LlamaCpp)).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Problem::new(format!("there are no launch commands for {text:?}")).fix(format!("use {names}"))
        })
    }
}

/// What is typed on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The machine; nothing where there is one.
    pub host: Option<String>,
    /// Its commands, in order.
    pub lines: Vec<String>,
}

/// The commands of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The engine.
    pub server: Server,
    /// What is typed where.
    pub scripts: Vec<Script>,
    /// How the model is then evaluated.
    pub evaluate: String,
    /// What of the plan the commands cannot say, a sentence each.
    pub cannot: Vec<String>,
    /// What else is good to know, a sentence each.
    pub notes: Vec<String>,
}

/// The commands that start an engine as a plan says. `checkpoint` is what the engine is to load.
///
/// # Errors
/// No decoder layer of the plan lies on a GPU.
pub fn launch(server: Server, case: &Case, plan: &Plan, checkpoint: &str) -> Result<Launch> {
    let facts = Facts::new(case, plan, checkpoint)?;
    Ok(match server {
        Server::Vllm => vllm::commands(facts),
        Server::Sglang => sglang::commands(facts),
        Server::Lmdeploy => lmdeploy::commands(facts),
        Server::LlamaCpp => llama_cpp::commands(facts),
    })
}

impl Launch {
    /// In words, to be read and copied.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for script in &self.scripts {
            if let Some(host) = &script.host {
                text.push_str(&format!("# on {host}\n"));
            }
            script.lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
            text.push('\n');
        }
        text.push_str(&format!("# then\n{}\n", self.evaluate));
        for (title, lines) in
            [("What these commands cannot say", &self.cannot), ("Good to know", &self.notes)]
        {
            if !lines.is_empty() {
                text.push_str(&format!("\n# {title}:\n"));
                lines.iter().for_each(|line| text.push_str(&format!("# - {line}\n")));
            }
        }
        text
    }

    /// For scripts.
    pub fn to_json(&self) -> Value {
        let scripts: Vec<Value> =
            self.scripts.iter().map(|it| json!({ "host": it.host, "lines": it.lines })).collect();
        json!({
            "server": self.server.name(),
            "scripts": scripts,
            "evaluate": self.evaluate,
            "cannot": self.cannot,
            "notes": self.notes,
        })
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@+=,~".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests;
