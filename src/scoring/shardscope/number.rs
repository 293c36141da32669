//! Numbers with units, as people write them.

use super::tokens::{Token, tokenize};

/// A number and what stands beside it as its unit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quantity {
    pub value: f64,
    /// Decimals written.
    pub decimals: usize,
    pub unit: Vec<String>,
}

/// A text that is one number, perhaps with a currency before it and a unit of up to three words behind it.
pub(super) fn quantity(text: &str) -> Option<Quantity> {
    of_tokens(&tokenize(text))
}

pub(super) fn of_tokens(tokens: &[Token]) -> Option<Quantity> {
    let place = tokens.iter().position(Token::is_number)?;
    let before = tokens.get(..place)?;
    let known_before = |token: &Token| {
        matches!(token.text.as_str(), "€" | "£" | "¥" | "rs" | "usd" | "us" | "+" | "=" | "~")
    };
    if !before.iter().all(known_before) {
        return None;
    }
    let number = tokens.get(place)?;
    let mut value: f64 = number.text.parse().ok()?;
    let mut unit: Vec<String> = before
        .iter()
        .map(|token| token.text.clone())
        .filter(|text| !matches!(text.as_str(), "+" | "=" | "~"))
        .collect();
    let mut rest = tokens.get(place + 1..)?;
    // A fraction: 3/4.
    if let [slash, below, more @ ..] = rest
        && slash.text == "/"
        && below.is_number()
    {
        let below: f64 = below.text.parse().ok()?;
        if below == 0.0 {
            return None;
        }
        value /= below;
        rest = more;
    }
    if rest.len() > 3 || rest.iter().any(Token::is_number) {
        return None;
    }
    unit.extend(rest.iter().map(|token| token.text.clone()));
    let decimals = number.text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    Some(Quantity { value, decimals, unit })
}

impl Quantity {
    /// Whether two quantities say the same: equal values (or equal after rounding the more exact one to the
    /// decimals of the other, within one percent), and units that do not contradict each other.
    pub fn agrees(&self, other: &Self) -> bool {
        let units = |a: &[String], b: &[String]| a.is_empty() || b.is_empty() || same_unit(a, b);
        let percent = |q: &Self| q.unit.iter().any(|unit| unit == "%" || unit == "percent");
        if percent(self)
            && !percent(other)
            && other.unit.is_empty()
            && close(self.value / 100.0, self.decimals + 2, other.value, other.decimals)
        {
            return true;
        }
        if percent(other)
            && !percent(self)
            && self.unit.is_empty()
            && close(other.value / 100.0, other.decimals + 2, self.value, self.decimals)
        {
            return true;
        }
        units(&self.unit, &other.unit) && close(self.value, self.decimals, other.value, other.decimals)
    }
}

fn same_unit(a: &[String], b: &[String]) -> bool {
    let joined = |unit: &[String]| {
        let text = unit.concat();
        match text.as_str() {
            "percent" => "%".to_owned(),
            "dollars" | "dollar" | "usd" => "usd".to_owned(),
            "degrees" | "degree" | "^\\circ" | "°" => "°".to_owned(),
            other => other.trim_end_matches('s').to_owned(),
        }
    };
    joined(a) == joined(b)
}

/// Equal, or equal at the coarser number of decimals while within one percent.
fn close(a: f64, a_decimals: usize, b: f64, b_decimals: usize) -> bool {
    let scale = a.abs().max(b.abs());
    if (a - b).abs() <= 1e-9 * scale {
        return true;
    }
    let decimals = i32::try_from(a_decimals.min(b_decimals)).unwrap_or(i32::MAX).min(300);
    let step = 10_f64.powi(-decimals);
    (a - b).abs() <= 0.5 * step * (1.0 + 1e-9) && (a - b).abs() <= 0.01 * scale
}
