//! Answers that are marked as such: in a tag, a box or a JSON field.

use std::sync::LazyLock;

use regex::Regex;

use super::region::{pattern, trim};

pub(super) static TAGGED: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?is)<(?:final_)?answer>(.*?)(?:</(?:final_)?answer>|$)"));
static JSON: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)["'](?:final[_ ]?|correct[_ ]?|predicted[_ ]?)?(?:answer|option|choice|letter|prediction)["']\s*:\s*["']([^"'\n]*)["']"#,
    )
});

/// What stands in the last `<answer>`, `\boxed{}` or JSON field of an answer.
pub(super) fn marked_answer(text: &str) -> Option<&str> {
    let inner = if let Some(tag) = text.contains('<').then(|| TAGGED.captures_iter(text).last()).flatten() {
        tag.get(1).map(|inner| inner.as_str())
    } else if let Some(at) = text.rfind("\\boxed").or_else(|| text.rfind("\\fbox")) {
        braced(&text[at..])
    } else if text.contains(['{', '"', '\'']) {
        JSON.captures_iter(text).last().and_then(|field| field.get(1)).map(|inner| inner.as_str())
    } else {
        None
    };
    inner.map(|inner| unwrapped(trim(inner))).filter(|inner| !inner.is_empty())
}

/// Without the commands that only set the type of the whole: `\text{B}`.
fn unwrapped(text: &str) -> &str {
    let inside = TYPE.find(text).and_then(|_| braced(text)).filter(|_| text.ends_with('}'));
    inside.map_or(text, |inside| unwrapped(trim(inside)))
}

static TYPE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\\(?:text|math|operatorname)[a-z]*\{[^{}]*\}$"));

/// The inside of the first pair of braces.
pub(super) fn braced(text: &str) -> Option<&str> {
    let open = text.find('{')?;
    let mut depth = 0_usize;
    for (at, c) in text.char_indices().skip_while(|&(at, _)| at < open) {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return text.get(open + 1..at);
                }
            }
            _ => {}
        }
    }
    text.get(open + 1..)
}
