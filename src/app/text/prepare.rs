//! From a dataset's text to Markdown: mathematics in one notation, lines kept apart, nothing else taken for markup.

/// Longest formula that is set, in bytes.
const LONGEST_FORMULA: usize = 2_000;

/// The text as Markdown with its formulas between dollars.
///
/// `\( \)` and `\[ \]` become `$ $` and `$$ $$`; a dollar that begins no formula is escaped, and so is what would be
/// HTML (`<image 1>`) or a picture. A line feed stays one, which in Markdown it would not.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut code = false;
    let mut rest = text;
    let mut at_start = true;
    while let Some(first) = rest.chars().next() {
        if at_start && (rest.starts_with("```") || rest.starts_with("~~~")) {
            code = !code;
            let line = rest.find('\n').map_or(rest.len(), |at| at + 1);
            out.push_str(&rest[..line]);
            rest = &rest[line..];
            continue;
        }
        at_start = first == '\n';
        if !code && let Some((length, formula)) = formula(rest) {
            out.push_str(&formula);
            rest = &rest[length..];
            if formula.starts_with("$$") {
                // What follows stands on a line of its own, which a space would indent.
                rest = rest.trim_start_matches(' ');
            }
            continue;
        }
        rest = &rest[first.len_utf8()..];
        match first {
            '\r' => {}
            '\n' if !code => new_line(&mut out, rest),
            '$' | '<' if !code => {
                out.push('\\');
                out.push(first);
            }
            '!' if !code && rest.starts_with('[') => out.push_str("\\!"),
            '\\' if !code && rest.starts_with('$') => {
                out.push_str("\\$");
                rest = &rest[1..];
            }
            _ => out.push(first),
        }
    }
    out
}

/// A line feed that stays one, unless the lines around it belong to a paragraph's end, a table or a list.
fn new_line(out: &mut String, rest: &str) {
    let last = out.rsplit('\n').next().unwrap_or_default().trim_start();
    let next = rest.lines().next().unwrap_or_default().trim_start();
    let is_block = |line: &str| {
        line.is_empty()
            || line.starts_with(['|', '#', '>'])
            || line.starts_with("- ")
            || line.starts_with("* ")
    };
    if !is_block(last) && !is_block(next) {
        out.push_str("  ");
    }
    out.push('\n');
}

/// A formula at the beginning of a text: its length there, and how it is written between dollars.
fn formula(text: &str) -> Option<(usize, String)> {
    for (open, close, display) in
        [("$$", "$$", true), ("\\[", "\\]", true), ("\\(", "\\)", false), ("$", "$", false)]
    {
        let Some(inside) = text.strip_prefix(open) else { continue };
        let end = closing(inside, close)?;
        let tex = inside[..end].trim();
        // As Pandoc has it, a formula does not end before a digit: that dollar begins another price.
        let digit_follows = || inside[end + 1..].starts_with(|c: char| c.is_ascii_digit());
        let sure = open != "$" || is_formula(&inside[..end], digit_follows);
        if tex.is_empty() || tex.len() > LONGEST_FORMULA || !sure {
            return None;
        }
        let mark = if display { "$$" } else { "$" };
        // Line feeds and dollars inside would end it.
        let tex = tex.replace(['\n', '\r'], " ").replace("\\$", "\\text{\\textdollar}");
        return Some((open.len() + end + close.len(), format!("{mark}{tex}{mark}")));
    }
    None
}

/// Where a formula closes: before an empty line, and not at an escaped dollar.
fn closing(text: &str, close: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find(close)?;
        if at > LONGEST_FORMULA || text[..at].contains("\n\n") {
            return None;
        }
        let escaped = close.starts_with('$') && text[..at].ends_with('\\');
        if !escaped {
            return Some(at);
        }
        from = at + close.len();
    }
}

/// Whether what stands between two dollars is a formula, and not `5 and ` of `$5 and $10`.
fn is_formula(inside: &str, digit_follows: impl Fn() -> bool) -> bool {
    if inside.contains(['\\', '^', '_', '{']) {
        return true;
    }
    if digit_follows() {
        return false;
    }
    if inside.starts_with(char::is_whitespace)
        || inside.ends_with(char::is_whitespace)
        || inside.contains('\n')
    {
        return false;
    }
    let words = inside.split(|c: char| !c.is_alphabetic()).filter(|word| word.chars().count() >= 3).count();
    words < 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_come_between_dollars_whatever_their_notation() {
        assert_eq!(markdown(r"Find \(x^2\) and \[ y \] now"), r"Find $x^2$ and $$y$$now");
        assert_eq!(markdown("$v_o$ and $$\n\\frac12\n$$"), "$v_o$ and $$\\frac12$$");
        assert_eq!(markdown("$ a_1 $"), "$a_1$");
    }

    #[test]
    fn prices_are_no_formulas() {
        assert_eq!(markdown("costs $5 and $10"), r"costs \$5 and \$10");
        assert_eq!(markdown("$5,000 or ($7,000)"), r"\$5,000 or (\$7,000)");
        assert_eq!(markdown(r"\$5 is $x$"), r"\$5 is $x$");
        assert_eq!(markdown("an open $ sign"), r"an open \$ sign");
        assert_eq!(markdown("$x\n\ny$"), "\\$x\n\ny\\$");
    }

    #[test]
    fn markers_and_pictures_stay_text_and_lines_stay_apart() {
        assert_eq!(markdown("<image 1> what?"), r"\<image 1> what?");
        assert_eq!(markdown("![x](file:///etc/passwd)"), r"\![x](file:///etc/passwd)");
        assert_eq!(markdown("one\ntwo\n\nthree"), "one  \ntwo\n\nthree");
        assert_eq!(markdown("| a |\n|---|\n| b |"), "| a |\n|---|\n| b |");
        assert_eq!(markdown("```\nif a < b: $x$\n```\n"), "```\nif a < b: $x$\n```\n");
    }

    #[test]
    fn any_text_is_prepared_in_time_that_grows_with_it() {
        for hostile in
            ["$".repeat(20_000), "\\(".repeat(20_000), "$a".repeat(20_000), "\\[ $$ ".repeat(5_000)]
        {
            assert!(markdown(&hostile).len() >= hostile.len() / 2);
        }
    }
}
