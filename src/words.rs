//! Texts, sizes and times as people read them.

/// Text with nothing in it that a terminal obeys: control characters besides tabs and line feeds, and those that turn
/// the direction of what follows, are replaced.
pub fn visible(text: &str) -> String {
    let is_obeyed = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(is_obeyed, "\u{fffd}")
}

/// Text of a dataset or a model on one line of so many characters, [`visible`]; of a long one the beginning and the
/// end are shown.
pub fn excerpt(text: &str, width: usize) -> String {
    let line: Vec<char> = visible(text).split_whitespace().collect::<Vec<_>>().join(" ").chars().collect();
    if line.len() <= width {
        return line.into_iter().collect();
    }
    let begin = width / 3;
    let end = width.saturating_sub(begin + 3);
    let (first, last) = (&line[..begin], &line[line.len() - end..]);
    format!(
        "{} … {}",
        first.iter().collect::<String>().trim_end(),
        last.iter().collect::<String>().trim_start()
    )
}

/// Bytes as people read them.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = (bytes.max(1).ilog2() / 10).min(4) as usize;
    match power {
        0 => format!("{bytes} B"),
        _ => format!("{:.2} {}", bytes as f64 / (1u64 << (10 * power)) as f64, UNITS[power]),
    }
}

/// A large number as people read it: `3.8 M`, `76.3 B`.
pub fn count(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{:.0} k", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", number as f64 / 1e6),
        _ => format!("{:.1} B", number as f64 / 1e9),
    }
}

/// Seconds as people read them.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_gives_a_terminal_orders() {
        assert_eq!(visible("a\u{1b}[2J\u{9b}b\u{202e}\tc\n"), "a\u{fffd}[2J\u{fffd}b\u{fffd}\tc\n");
        assert_eq!(excerpt(" two\n\nlines\u{7} ", 40), "two lines\u{fffd}");
        let long = excerpt(&format!("{} end", "word ".repeat(50)), 40);
        assert!(
            long.starts_with("word word") && long.ends_with(" end") && long.chars().count() <= 40,
            "{long}"
        );
        assert_eq!(excerpt("é".repeat(9).as_str(), 0).chars().filter(|c| *c == 'é').count(), 0);
    }
}
