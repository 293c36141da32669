//! A server and how it is asked, as a person says it: plain data, and what it means once it is used.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ureq::http::{HeaderName, HeaderValue};

use crate::app::language::tr;
use crate::endpoint::{Address, KeyHeader, Limits, Price};
use crate::engine::served::Service;
use crate::engine::served::letter::check_extra;
use crate::evaluation::served::{header, refuse_secrets};
use crate::picture::SentAs;
use crate::{Problem, Result};

/// Most questions in flight that can be chosen, as on the command line.
pub const MOST_IN_FLIGHT: usize = 1024;

/// Text that memory alone may hold; shown or debugged it is `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { "***" })
    }
}

/// Where the key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum KeyFrom {
    /// The usual variables of the environment, as in the terminal.
    #[default]
    Usual,
    /// A variable that is named.
    Variable,
    /// The platform's key store, under a name.
    Stored,
    /// It is typed.
    Typed,
    /// None is sent.
    Nowhere,
}

/// A server and how it is asked, as a person says it. What is missing is as at the first start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// Where it is, as typed.
    pub address: String,
    /// Whether plain http will do beyond private addresses.
    pub allow_http: bool,
    /// The model, as the server names it.
    pub model: String,
    /// Where the key comes from.
    pub key_from: KeyFrom,
    /// The variable that holds the key, where one is named.
    pub variable: String,
    /// The name of the key in the platform's key store, where it lies there.
    pub stored: String,
    /// The header that carries the key alone; empty for a bearer token.
    pub key_header: String,
    /// Further headers, a line each; their values may be secrets.
    #[serde(skip)]
    pub headers: Hidden,
    /// Most questions in flight.
    pub in_flight: usize,
    /// Quality of pictures that are encoded anew as jpeg; none sends png.
    pub jpeg: Option<u8>,
    /// Whether pictures go first and the text keeps its marks.
    pub image_marks: bool,
    /// Further fields of each request, as JSON.
    pub extra: String,
    /// What a million tokens of prompts and of answers cost; nothing is no price.
    pub price: [f64; 2],
    /// Seconds until the first words, and between any two.
    pub first_token: f64,
    /// Seconds for a whole answer.
    pub answer: f64,
    /// Further tries of a question.
    pub retries: u32,
}

impl Default for Server {
    fn default() -> Self {
        let limits = Limits::for_questions();
        Self {
            address: String::new(),
            allow_http: false,
            model: String::new(),
            key_from: KeyFrom::default(),
            variable: String::new(),
            stored: String::new(),
            key_header: String::new(),
            headers: Hidden::default(),
            in_flight: Service::default().concurrency,
            jpeg: None,
            image_marks: false,
            extra: String::new(),
            price: [0.0; 2],
            first_token: limits.first_token.unwrap_or(limits.answer).as_secs_f64(),
            answer: limits.answer.as_secs_f64(),
            retries: limits.retries,
        }
    }
}

impl Server {
    /// A server at an address, all else as usual.
    pub fn at(address: impl Into<String>) -> Self {
        Self { address: address.into(), ..Self::default() }
    }

    /// The address; where no scheme is typed it is http at home and https elsewhere.
    ///
    /// # Errors
    /// As [`Address::new`].
    pub fn place(&self) -> Result<Address> {
        let typed = self.address.trim();
        if typed.is_empty() {
            return Err(Problem::new(tr("no server is named"))
                .fix(tr("give an address such as http://localhost:8000")));
        }
        let whole = match typed.contains("://") {
            true => typed.to_owned(),
            false => {
                let near = format!("http://{typed}");
                if Address::new(&near, false).is_ok() { near } else { format!("https://{typed}") }
            }
        };
        Address::new(&whole, self.allow_http).map_err(|problem| match Address::new(&whole, true) {
            Ok(address) => {
                let what = tr("plain http would send questions and key over the network for all to read");
                let fix = tr("use https, or allow plain http if the network is your own");
                Problem::new(what).at(address.host()).fix(fix)
            }
            Err(_) => problem,
        })
    }

    /// Whether what is sent can be read on its way: plain http, beyond this machine.
    pub fn is_overheard(&self) -> bool {
        let open = Self { allow_http: true, ..self.clone() };
        open.place().is_ok_and(|address| !address.is_https() && !address.is_loopback())
    }

    /// Whether it is asked over plain http beyond private addresses, which has to be allowed.
    pub fn needs_leave(&self) -> bool {
        let closed = Self { allow_http: false, ..self.clone() };
        let open = Self { allow_http: true, ..self.clone() };
        open.place().is_ok() && closed.place().is_err()
    }

    /// How the key is sent.
    ///
    /// # Errors
    /// The name is none of a header.
    pub(super) fn header_of_key(&self) -> Result<KeyHeader> {
        let name = self.key_header.trim();
        if name.is_empty() {
            return Ok(KeyHeader::Bearer);
        }
        let named = name.parse().map(KeyHeader::Named);
        named.map_err(|_| {
            Problem::new(tr("the key's header cannot have such a name"))
                .fix(tr("write a name such as api-key"))
        })
    }

    /// The further headers, by name and value.
    ///
    /// # Errors
    /// As [`header`].
    pub(super) fn further(&self) -> Result<Vec<(HeaderName, HeaderValue)>> {
        let lines = self.headers.0.lines().map(str::trim).filter(|line| !line.is_empty());
        let fix = tr("write NAME: VALUE on each line; a secret is the key's, with the name of its header");
        lines.map(|line| header(line).map_err(|problem| problem.fix(fix))).collect()
    }

    /// The further fields of a request.
    ///
    /// # Errors
    /// They are no JSON object, or hold what they may not.
    pub(super) fn fields(&self) -> Result<Map<String, Value>> {
        let text = self.extra.trim();
        if text.is_empty() {
            return Ok(Map::new());
        }
        let place = tr("further fields");
        let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
            // What stands there may be a secret, so it is not repeated.
            let what = tr("the further fields are no JSON object");
            return Err(Problem::new(what).fix(tr("write an object, such as {\"top_k\": 1}")));
        };
        check_extra(&fields).map_err(|problem| problem.at(place).fix(tr("leave it out")))?;
        refuse_secrets(&Value::Object(fields.clone()))
            .map_err(|problem| problem.at(place).fix(tr("give the secret as the key")))?;
        Ok(fields)
    }

    /// How it is asked.
    ///
    /// # Errors
    /// Further fields that are none.
    pub fn service(&self) -> Result<Service> {
        let [input, output] = self.price;
        Ok(Service {
            concurrency: self.in_flight.clamp(1, MOST_IN_FLIGHT),
            images: self.jpeg.map_or(SentAs::Png, SentAs::Jpeg),
            image_marks: self.image_marks,
            extra: self.fields()?,
            price: (input > 0.0 || output > 0.0).then_some(Price { input, output }),
        })
    }

    /// How long an answer may take, and how often it is asked for.
    pub fn limits(&self) -> Limits {
        let seconds = |it: f64| Duration::try_from_secs_f64(it).unwrap_or(Limits::default().answer);
        Limits {
            first_token: Some(seconds(self.first_token)),
            answer: seconds(self.answer),
            retries: self.retries,
            ..Limits::for_questions()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_plain_at_home_alone() {
        let base = |text: &str| Server::at(text).place().unwrap().base().to_owned();
        assert_eq!(base("localhost:8000"), "http://localhost:8000/v1");
        assert_eq!(base("192.168.0.7:30000"), "http://192.168.0.7:30000/v1");
        assert_eq!(base("api.example.org"), "https://api.example.org/v1");
        let mut open = Server::at("http://example.org");
        assert!(open.place().unwrap_err().fix.is_some_and(|fix| fix.contains("allow")));
        assert!(open.needs_leave() && open.is_overheard());
        open.allow_http = true;
        assert!(open.place().is_ok());
        assert!(
            !Server::at("https://example.org").is_overheard() && !Server::at("localhost:1").is_overheard()
        );
    }
}
