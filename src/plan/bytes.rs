//! Sizes as people write and read them; inside the program a size is always a whole number of bytes.

use crate::{Problem, Result};

/// One kibibyte.
pub const KIB: u64 = 1 << 10;
/// One mebibyte.
pub const MIB: u64 = 1 << 20;
/// One gibibyte.
pub const GIB: u64 = 1 << 30;

/// Draws a size in binary units with one decimal: `24.0 GiB`, `512.0 MiB`, `16 B`.
pub fn human(bytes: u64) -> String {
    let as_float = bytes as f64;
    match bytes {
        0..KIB => format!("{bytes} B"),
        KIB..MIB => format!("{:.1} KiB", as_float / KIB as f64),
        MIB..GIB => format!("{:.1} MiB", as_float / MIB as f64),
        _ => format!("{:.1} GiB", as_float / GIB as f64),
    }
}

/// Draws a size in GiB with one decimal and no unit, for table columns headed GiB.
pub fn gib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / GIB as f64)
}

/// Reads a size: `40GiB`, `24 GB` (decimal), `24g` and a bare `24G` (binary, as GPU makers mean it), `600MiB`,
/// or a plain number of bytes. Refuses negative, empty and overflowing sizes.
pub fn parse(text: &str) -> Result<u64> {
    let refuse = || {
        Problem::new(format!("{text:?} is not a size"))
            .fix("write a number and a unit, for example 40GiB, 24GB or 600MiB")
    };
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => KIB,
        "m" | "mib" => MIB,
        "g" | "gib" => GIB,
        "t" | "tib" => GIB << 10,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(refuse()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(refuse);
    }
    let value: f64 = number.parse().map_err(|_| refuse())?;
    let bytes = (value * factor as f64).round();
    if !bytes.is_finite() || !(0.0..1.8e19).contains(&bytes) {
        return Err(refuse());
    }
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(parse("40GiB").unwrap(), 40 * GIB);
        assert_eq!(parse(" 24 GB ").unwrap(), 24_000_000_000);
        assert_eq!(parse("0.6GiB").unwrap(), 644_245_094);
        assert_eq!(parse("80g").unwrap(), 80 * GIB);
        assert_eq!(parse("7").unwrap(), 7);
        for bad in ["", "GiB", "-1GiB", "4 bananas", "1e5", "99999999999999999999TiB", "..GiB"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn draws_what_people_read() {
        assert_eq!(human(24 * GIB), "24.0 GiB");
        assert_eq!(human(1), "1 B");
        assert_eq!(human(1536), "1.5 KiB");
    }
}
