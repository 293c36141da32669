//! A question as it is sent to a served model: the same prompt that a local model gets, its images as parts of the
//! message where the prompt names them.

use std::time::Instant;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::Service;
use crate::dataset::{Dataset, Question, prompt};
use crate::engine::asking::{RunSettings, image_name};
use crate::picture::{Sent, send};
use crate::session::ImageRecord;
use crate::session::manifest::Sampling;
use crate::{Problem, Result};

/// Where an image stands in a prompt.
const MARK: &str = "<image>";

/// Fields that belong to the question and cannot be chosen.
const OWN: [&str; 2] = ["model", "messages"];

/// A question ready to be sent.
#[derive(Debug)]
pub struct Letter {
    /// The request's body.
    pub body: Vec<u8>,
    /// The prompt: the system message where there is one, a blank line, and the text with `<image>` for each image.
    pub prompt: String,
    /// The images as they are sent; how they are cut is not known here.
    pub images: Vec<ImageRecord>,
    /// Seconds for reading and encoding the images.
    pub seconds: f64,
}

/// Refuses further fields of a request that would not be further ones.
///
/// # Errors
/// One of them is the question's own.
pub fn check_extra(extra: &Map<String, Value>) -> Result<()> {
    match OWN.iter().find(|name| extra.contains_key(**name)) {
        Some(name) => Err(Problem::new(format!("the field {name:?} of a request is the question's own"))
            .fix("leave it out of --extra-body")),
        None => Ok(()),
    }
}

/// The letter of a question.
///
/// # Errors
/// Images that cannot be read, or a style that does not know the question.
pub fn letter(
    model: &str,
    dataset: &Dataset,
    question: &Question,
    settings: &RunSettings,
    service: &Service,
) -> Result<Letter> {
    let start = Instant::now();
    let built = prompt::build(dataset, question, settings.style, settings.max_tiles)?;
    let mut sent = Vec::with_capacity(built.images.len());
    let mut images = Vec::with_capacity(built.images.len());
    for used in &built.images {
        let image = question.images.get(used.index).ok_or_else(|| {
            Problem::new(format!("the prompt names image {}, which the question lacks", used.index + 1))
        })?;
        let file = send(dataset.image_bytes(image)?, &dataset.image_place(image), service.images)?;
        let name = image_name(image, used.index);
        images.push(ImageRecord { name, width: file.width, height: file.height, grid: [0, 0] });
        sent.push(file);
    }
    let system = settings.system.as_deref().or(built.system);
    let content = match service.image_marks {
        true => marked(&built.text, &sent),
        false => parts(&built.text, &sent),
    };
    let fields = fields(model, settings, service, question.row);
    let bytes: usize = sent.iter().map(|file| file.bytes.len() / 3 * 4 + 128).sum();
    let mut body = Vec::with_capacity(bytes + 2 * built.text.len() + 1024);
    let whole = Body { fields: &fields, system, content: &content };
    serde_json::to_writer(&mut body, &whole)
        .map_err(|error| Problem::new(format!("the request cannot be written: {error}")))?;
    let prompt = match system {
        Some(system) => format!("{system}\n\n{}", built.text),
        None => built.text,
    };
    Ok(Letter { body, prompt, images, seconds: start.elapsed().as_secs_f64() })
}

/// Everything in a request besides the conversation.
pub fn fields(model: &str, settings: &RunSettings, service: &Service, row: usize) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("model", model.into());
    set("max_tokens", settings.max_new_tokens.into());
    match settings.sampling {
        Sampling::Greedy => {
            set("temperature", 0.into());
        }
        Sampling::Sample { temperature, top_p, top_k, seed } => {
            set("temperature", json!(temperature));
            if let Some(top_p) = top_p {
                set("top_p", json!(top_p));
            }
            if let Some(top_k) = top_k {
                set("top_k", json!(top_k));
            }
            // As a local run draws: by seed and row alone. Servers read a signed number.
            set("seed", json!(seed.wrapping_add(row as u64) & (i64::MAX as u64)));
        }
    }
    set("stream", true.into());
    set("stream_options", json!({ "include_usage": true }));
    if service.extra.contains_key("max_completion_tokens") {
        fields.remove("max_tokens");
    }
    if service.extra.get("stream") == Some(&Value::Bool(false)) {
        fields.remove("stream_options");
    }
    for (name, value) in service.extra.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
        match value {
            Value::Null => drop(fields.remove(name)),
            value => drop(fields.insert(name.clone(), value.clone())),
        }
    }
    fields
}

/// A part of a message.
#[derive(Debug)]
enum Part<'a> {
    Text(&'a str),
    Image(&'a Sent),
}

/// The text cut where it names its images. A line feed right after an image is left to the server's own template, which
/// writes one (the chat templates of InternVL do).
fn parts<'a>(text: &'a str, images: &'a [Sent]) -> Vec<Part<'a>> {
    let (mut parts, mut rest) = (Vec::new(), text);
    for image in images {
        let (before, after) = rest.split_once(MARK).unwrap_or(("", rest));
        if !before.is_empty() {
            parts.push(Part::Text(before));
        }
        parts.push(Part::Image(image));
        rest = after.strip_prefix('\n').unwrap_or(after);
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part::Text(rest));
    }
    parts
}

/// The images first, and the text as it is, marks and all: for servers that put images where the text says `<image>`.
fn marked<'a>(text: &'a str, images: &'a [Sent]) -> Vec<Part<'a>> {
    images.iter().map(Part::Image).chain([Part::Text(text)]).collect()
}

struct Body<'a> {
    fields: &'a Map<String, Value>,
    system: Option<&'a str>,
    content: &'a [Part<'a>],
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for (name, value) in self.fields {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("messages", &Messages(self))?;
        map.end()
    }
}

struct Messages<'a>(&'a Body<'a>);

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(None)?;
        if let Some(system) = self.0.system {
            list.serialize_element(&json!({ "role": "system", "content": system }))?;
        }
        list.serialize_element(&User(self.0.content))?;
        list.end()
    }
}

struct User<'a>(&'a [Part<'a>]);

impl Serialize for User<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(2))?;
        map.serialize_entry("role", "user")?;
        match self.0 {
            // Some servers know no other content where there is no image.
            [Part::Text(text)] => map.serialize_entry("content", text)?,
            parts => map.serialize_entry("content", parts)?,
        }
        map.end()
    }
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(2))?;
        match self {
            Part::Text(text) => {
                map.serialize_entry("type", "text")?;
                map.serialize_entry("text", text)?;
            }
            Part::Image(image) => {
                map.serialize_entry("type", "image_url")?;
                map.serialize_entry("image_url", &Url { url: DataUrl(image) })?;
            }
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Url<'a> {
    url: DataUrl<'a>,
}

/// Written straight into the body, since pictures are large.
struct DataUrl<'a>(&'a Sent);

impl Serialize for DataUrl<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let base64 = Base64Display::new(&self.0.bytes, &STANDARD);
        to.collect_str(&format_args!("data:{};base64,{base64}", self.0.mime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(byte: u8) -> Sent {
        Sent { bytes: [byte; 3].into(), mime: "image/png", width: 1, height: 1, original: true }
    }

    fn content(parts: &[Part<'_>]) -> Value {
        serde_json::to_value(User(parts)).unwrap()["content"].take()
    }

    fn image(url: &str) -> Value {
        json!({ "type": "image_url", "image_url": { "url": url } })
    }

    fn text(text: &str) -> Value {
        json!({ "type": "text", "text": text })
    }

    #[test]
    fn images_stand_where_the_prompt_names_them() {
        let two = [picture(0), picture(255)];
        let (first, second) = (image("data:image/png;base64,AAAA"), image("data:image/png;base64,////"));
        assert_eq!(content(&parts("no image", &[])), "no image");
        assert_eq!(content(&parts("<image>\nWhat?\n", &two[..1])), json!([first, text("What?\n")]));
        assert_eq!(
            content(&parts("Image-1: <image>\nImage-2: <image>\nIs <image> in it?", &two)),
            json!([text("Image-1: "), first, text("Image-2: "), second, text("Is <image> in it?")])
        );
        let whole = "Image-1: <image>\nImage-2: <image>\nWhich?";
        assert_eq!(content(&marked(whole, &two)), json!([first, second, text(whole)]));
    }

    #[test]
    fn further_fields_are_added_replaced_and_taken_away() {
        let extra = json!({ "top_k": 3, "temperature": null, "max_completion_tokens": 9, "stream": false });
        let service = Service { extra: extra.as_object().unwrap().clone(), ..Service::default() };
        let fields = fields("m", &RunSettings::default(), &service, 0);
        assert_eq!(
            Value::Object(fields),
            json!({ "model": "m", "stream": false, "top_k": 3, "max_completion_tokens": 9 })
        );
        assert!(check_extra(&service.extra).is_ok());
        assert!(check_extra(json!({ "messages": [] }).as_object().unwrap()).is_err());
    }

    #[test]
    fn a_draw_depends_on_seed_and_row() {
        let sampling = Sampling::Sample { temperature: 0.5, top_p: Some(0.9), top_k: None, seed: 7 };
        let settings = RunSettings { sampling, ..RunSettings::default() };
        let seed = |row| fields("m", &settings, &Service::default(), row)["seed"].clone();
        assert_eq!((seed(0), seed(5)), (json!(7), json!(12)));
    }
}
