//! Lenient reading of a JSON object's fields, with refusals that name the field.

use serde_json::Value;

use crate::{Problem, Result};

/// Largest count that a configuration may state; anything above is a damaged or hostile file.
const MAX_COUNT: u64 = 1 << 32;

/// A JSON object inside a configuration file.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    value: &'a Value,
    /// The file, and the path of the object inside it.
    place: &'a str,
}

impl<'a> Fields<'a> {
    /// Fields of `value`, which stands at `place`.
    pub fn new(value: &'a Value, place: &'a str) -> Self {
        Self { value, place }
    }

    /// The raw value of a field; `None` where it is absent or null.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.value.get(name).filter(|v| !v.is_null())
    }

    /// A text field.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(Value::as_str)
    }

    /// A flag, also as 0 or 1; absent or null gives `default`.
    ///
    /// # Errors
    /// The field holds something else.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let flag = value.as_bool().or_else(|| value.as_u64().filter(|n| *n < 2).map(|n| n == 1));
        flag.ok_or_else(|| self.wrong(name, &format!("is {value}, which is neither true nor false")))
    }

    /// A number; absent or null gives `default`.
    ///
    /// # Errors
    /// The field holds something else.
    pub fn number(&self, name: &str, default: f64) -> Result<f64> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let number = value.as_f64().or_else(|| value.as_bool().map(|flag| f64::from(u8::from(flag))));
        let number = number.filter(|n| n.is_finite());
        number.ok_or_else(|| self.wrong(name, &format!("is {value}, which is no number")))
    }

    /// A count that must be there and above zero.
    ///
    /// # Errors
    /// The field is missing, zero, not a whole number, or absurdly large.
    pub fn count(&self, name: &str) -> Result<usize> {
        self.count_or(name, None)
    }

    /// A count above zero, with a default where the field is absent. A list (as in `[448, 448]`) gives its first
    /// element.
    ///
    /// # Errors
    /// The field is missing without a default, zero, not a whole number, or absurdly large.
    pub fn count_or(&self, name: &str, default: Option<usize>) -> Result<usize> {
        let value = match self.get(name) {
            None => return default.ok_or_else(|| self.wrong(name, "is missing")),
            Some(Value::Array(list)) => list.first().unwrap_or(&Value::Null),
            Some(value) => value,
        };
        match value
            .as_u64()
            .or_else(|| value.as_f64().filter(|f| f.fract() == 0.0 && *f > 0.0).map(|f| f as u64))
        {
            Some(n) if n > 0 && n < MAX_COUNT => Ok(n as usize),
            _ => Err(self.wrong(name, &format!("is {value}, which is no usable count"))),
        }
    }

    /// A list of numbers.
    ///
    /// # Errors
    /// The field is missing or holds something else.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        let list = self.get(name).and_then(Value::as_array).ok_or_else(|| self.wrong(name, "is no list"))?;
        list.iter()
            .map(|v| v.as_f64().filter(|n| n.is_finite()))
            .collect::<Option<_>>()
            .ok_or_else(|| self.wrong(name, "holds something that is no number"))
    }

    /// A refusal that names the field.
    pub fn wrong(&self, name: &str, what: &str) -> Problem {
        Problem::new(format!("`{name}` {what}"))
            .at(self.place)
            .fix("use the configuration file that belongs to these weights")
    }
}
