//! The chat template of a checkpoint in the Hugging Face layout, rendered as transformers renders it.
//!
//! A chat template is a Jinja program in an untrusted file. It sees the messages of one question and nothing
//! else, and can neither include nor read files. It runs on a budget of instructions, on a stack of its own, and
//! its source and its output are bounded; what no budget bounds is the size of a value that a template doubles
//! and doubles on purpose.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::LazyLock;
use std::thread;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use regex::Regex;
use serde_json::Value as Json;

use super::IMAGE_MARKER;
use crate::checkpoint::Folder;
use crate::checkpoint::tokenizer::IMAGE_CONTEXT;
use crate::{Problem, Result};

/// Instructions that one rendering may take; real templates take a few hundred.
const FUEL: u64 = 20_000;
/// Stack of a rendering: enough for values nested as deeply as the budget allows.
const STACK: usize = 64 << 20;
/// Longest source of a template; real ones have a few thousand bytes.
const MAX_SOURCE: usize = 256 << 10;
/// How much longer than the question a prompt may become.
const MAX_ADDED: usize = 1 << 20;
/// Depth to which macros may call each other.
const RECURSION: usize = 50;
const NAME: &str = "chat_template";

/// What InternVL3 checkpoints of the Hugging Face layout have as their chat template: each message in
/// `<|im_start|>` and `<|im_end|>`, each image as `<IMG_CONTEXT>` on a line of its own.
const FALLBACK: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}\
    {% for part in message['content'] %}\
    {% if part['type'] == 'image' %}{{ '<IMG_CONTEXT>\\n' }}{% else %}{{ part['text'] }}{% endif %}\
    {% endfor %}{{ '<|im_end|>\\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// A compiled chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    origin: String,
    /// `bos_token` and the like, which templates may name.
    tokens: BTreeMap<String, Value>,
    marker: &'static str,
    /// Whether messages have a list of parts as content, or (text-only templates) one string.
    parts: bool,
    stop: String,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate")
            .field("origin", &self.origin)
            .field("marker", &self.marker)
            .field("stop", &self.stop)
            .finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// Finds and compiles the chat template of a folder, or takes the one that InternVL3 checkpoints have.
    ///
    /// # Errors
    /// A malformed file, a template that does not compile or fails, and one without a place for an image.
    pub fn open(folder: &Folder) -> Result<Self> {
        let found = find(folder)?;
        let (source, origin) = match found {
            Some((source, file)) => (source, format!("the chat template of {file}")),
            None => (
                FALLBACK.to_owned(),
                "the chat template that InternVL3 has in the Hugging Face layout, because the folder has none \
                 (no chat_template.jinja, no chat_template.json, none in tokenizer_config.json)"
                    .to_owned(),
            ),
        };
        let place =
            folder.place(origin.strip_prefix("the chat template of ").unwrap_or("chat_template.jinja"));
        let refuse = |what: String| {
            Problem::new(what).at(&place).fix("download the chat template of this checkpoint again")
        };
        if source.len() > MAX_SOURCE {
            return Err(refuse(format!(
                "the chat template has {} bytes; real ones have a few thousand",
                source.len()
            )));
        }
        let tokens = special_tokens(folder)?;
        let eos = tokens.get("eos_token").and_then(|token| token.as_str().map(str::to_owned));
        let stop = ["<|im_end|>", "<|return|>", "<|end|>"]
            .into_iter()
            .find(|token| source.contains(token))
            .map(str::to_owned)
            .or(eos)
            .unwrap_or_else(|| "<|im_end|>".to_owned());
        let mut environment = environment();
        environment
            .add_template_owned(NAME, without_generation_tags(&source))
            .map_err(|error| refuse(format!("the chat template cannot be read: {error}")))?;
        let mut chat = Self { environment, origin, tokens, marker: IMAGE_CONTEXT, parts: true, stop };
        // A trial with one image shows what the template makes of it.
        let trial = format!("{IMAGE_MARKER}\nquestion");
        let with_parts = chat.render(None, &trial);
        for marker in [IMAGE_CONTEXT, IMAGE_MARKER] {
            if with_parts.as_ref().is_ok_and(|prompt| prompt.matches(marker).count() == 1) {
                chat.marker = marker;
                return Ok(chat);
            }
        }
        chat.parts = false;
        match chat.render(None, &trial) {
            Ok(prompt) if prompt.matches(IMAGE_CONTEXT).count() == 1 => Ok(chat),
            Ok(_) => Err(refuse("the chat template has no place for an image".to_owned())),
            Err(_) => Err(with_parts.err().map_or_else(
                || refuse("the chat template has no place for an image".to_owned()),
                |e| e.at(&place),
            )),
        }
    }

    /// Where the template comes from, in words.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What the template writes for an image.
    pub fn marker(&self) -> &str {
        self.marker
    }

    /// The token at which an answer ends.
    pub fn stop(&self) -> &str {
        &self.stop
    }

    /// Renders one question; see [`super::Template::render`].
    ///
    /// # Errors
    /// A template that fails, refuses the messages, takes too many instructions or writes too much.
    pub fn render(&self, system: Option<&str>, question: &str) -> Result<String> {
        let mut messages = Vec::new();
        if let Some(system) = system {
            let content = if self.parts { Value::from(vec![text_part(system)]) } else { Value::from(system) };
            messages.push(message("system", content));
        }
        messages.push(message("user", self.content(question)));
        let mut context: BTreeMap<String, Value> = self.tokens.clone();
        context.insert("messages".to_owned(), Value::from(messages));
        context.insert("add_generation_prompt".to_owned(), Value::from(true));
        context.insert("tools".to_owned(), Value::from(()));
        context.insert("documents".to_owned(), Value::from(()));
        let room = question.len() + system.map_or(0, str::len) + MAX_ADDED;
        let rendered = thread::scope(|scope| {
            thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, move || self.run(context, room))
                .map(|run| run.join().unwrap_or_else(|_| Err("fails in a way of its own".to_owned())))
                .unwrap_or_else(|error| Err(format!("gets no thread: {error}")))
        });
        rendered.map_err(|what| {
            Problem::new(format!("the chat template {what}"))
                .at(&self.origin)
                .fix("use the chat template of this very checkpoint")
        })
    }

    fn run(&self, context: BTreeMap<String, Value>, room: usize) -> Result<String, String> {
        let mut out = Bounded { bytes: Vec::new(), room };
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render_captured_to(Value::from(context), &mut out).map(|_| ()))
            .map_err(|error| match error.kind() {
                ErrorKind::OutOfFuel => "does not come to an end".to_owned(),
                ErrorKind::WriteFailure => "writes without end".to_owned(),
                _ => format!("fails: {error}"),
            })?;
        String::from_utf8(out.bytes).map_err(|_| "writes broken text".to_owned())
    }

    /// The content of the user's message.
    fn content(&self, question: &str) -> Value {
        if !self.parts {
            return Value::from(question.replace(IMAGE_MARKER, IMAGE_CONTEXT));
        }
        let mut parts = Vec::new();
        for (index, text) in question.split(IMAGE_MARKER).enumerate() {
            let mut text = text;
            if index > 0 {
                parts.push(Value::from_pairs([("type", "image")]));
                text = text.strip_prefix('\n').unwrap_or(text);
            }
            if !text.is_empty() {
                parts.push(text_part(text));
            }
        }
        Value::from(parts)
    }
}

fn message(role: &str, content: Value) -> Value {
    Value::from_pairs([("role", Value::from(role)), ("content", content)])
}

fn text_part(text: &str) -> Value {
    Value::from_pairs([("type", "text"), ("text", text)])
}

/// The chat template of a folder and the file that it stands in.
fn find(folder: &Folder) -> Result<Option<(String, &'static str)>> {
    if let Some(source) = folder.text("chat_template.jinja")? {
        return Ok(Some((source, "chat_template.jinja")));
    }
    for file in ["chat_template.json", "tokenizer_config.json"] {
        let Some(json) = folder.json(file)? else { continue };
        let source = match json.get("chat_template") {
            Some(Json::String(source)) => Some(source.clone()),
            // Several templates by name: the default one.
            Some(Json::Array(named)) => named
                .iter()
                .find(|entry| entry.get("name").and_then(|name| name.as_str()) == Some("default"))
                .and_then(|entry| entry.get("template")?.as_str().map(str::to_owned)),
            Some(Json::Object(named)) => {
                named.get("default").and_then(|source| source.as_str().map(str::to_owned))
            }
            _ => None,
        };
        if let Some(source) = source {
            return Ok(Some((source, file)));
        }
    }
    Ok(None)
}

/// The special tokens by role, as transformers hands them to a chat template.
fn special_tokens(folder: &Folder) -> Result<BTreeMap<String, Value>> {
    let mut tokens = BTreeMap::new();
    for file in ["special_tokens_map.json", "tokenizer_config.json"] {
        let Some(Json::Object(entries)) = folder.json(file)? else { continue };
        for (key, value) in entries {
            let text = value.as_str().or_else(|| value.get("content")?.as_str());
            if let (true, Some(text)) = (key.ends_with("_token"), text) {
                tokens.insert(key, Value::from(text));
            }
        }
    }
    Ok(tokens)
}

/// Jinja as transformers sets it up: blocks leave no blank lines, Python's methods, three further functions.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_recursion_limit(RECURSION);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(false);
    environment.set_formatter(|out, state, value| {
        // Python's spelling of its constants.
        let spelled = match value.kind() {
            minijinja::value::ValueKind::None => "None",
            minijinja::value::ValueKind::Bool if value.is_true() => "True",
            minijinja::value::ValueKind::Bool => "False",
            _ => return minijinja::escape_formatter(out, state, value),
        };
        out.write_str(spelled).map_err(Error::from)
    });
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: String| -> Result<String, Error> {
        jiff::fmt::strtime::format(format, &jiff::Zoned::now())
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
    });
    environment.add_filter("tojson", |value: &Value, options: Kwargs| -> Result<String, Error> {
        let indent: Option<usize> = options.get("indent")?;
        let sort: Option<bool> = options.get("sort_keys")?;
        let json = serde_json::to_value(value)
            .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
        let mut text = String::new();
        write_json(&json, indent.map(|step| step.min(16)), sort.unwrap_or(false), 0, &mut text);
        Ok(text)
    });
    environment
}

/// JSON in the spelling of Python's `json.dumps(…, ensure_ascii=False)`.
fn write_json(json: &Json, indent: Option<usize>, sort: bool, depth: usize, text: &mut String) {
    let line = |text: &mut String, depth: usize| {
        if let Some(step) = indent {
            text.push('\n');
            text.push_str(&" ".repeat(step * depth));
        }
    };
    let comma = if indent.is_some() { "," } else { ", " };
    match json {
        Json::Array(items) if !items.is_empty() => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index > 0 { comma } else { "" });
                line(text, depth + 1);
                write_json(item, indent, sort, depth + 1, text);
            }
            line(text, depth);
            text.push(']');
        }
        Json::Object(entries) if !entries.is_empty() => {
            let mut entries: Vec<_> = entries.iter().collect();
            if sort {
                entries.sort_by_key(|(key, _)| key.as_str());
            }
            text.push('{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                text.push_str(if index > 0 { comma } else { "" });
                line(text, depth + 1);
                text.push_str(&Json::from(key.as_str()).to_string());
                text.push_str(": ");
                write_json(value, indent, sort, depth + 1, text);
            }
            line(text, depth);
            text.push('}');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

/// `{% generation %}` marks an answer for training; here it only surrounds text.
fn without_generation_tags(source: &str) -> String {
    #[allow(clippy::unwrap_used)] // The pattern is a constant, and a test renders with it.
    static TAG: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").unwrap());
    TAG.replace_all(source, |found: &regex::Captures<'_>| {
        let word = if found.get(2).is_some() { "endif" } else { "if true" };
        format!("{{%{} {word} {}%}}", &found[1], &found[3])
    })
    .into_owned()
}

/// Where a rendering goes: memory, up to a bound.
struct Bounded {
    bytes: Vec<u8>,
    room: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.room {
            return Err(io::Error::other("too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
