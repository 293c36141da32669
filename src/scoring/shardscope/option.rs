//! Which option a response chooses: from the most explicit statement to the least, and nothing where nobody could
//! tell.

use std::sync::LazyLock;

use regex::Regex;

use super::letter::{LOWER_WORD, closes, is_article, is_cut_off, is_refuted, letter_at, names_another};
use super::marked::marked_answer;
use super::mentions::{Options, meant};
use super::region::{answer_region, pattern, place, trim};
use super::statement::{called_right, last_words, statement};
use super::tokens::{fold, tokenize};

/// What was read: an option's place, the step that read it, the bytes in the text; or why nothing was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Option { place: usize, by: &'static str, span: [usize; 2] },
    Undecided(&'static str),
}

use Choice::Undecided;

/// Reads the option that a response chooses; the span is in bytes of the response.
pub(super) fn read_option(response: &str, options: &Options<'_>) -> Choice {
    let region = answer_region(response);
    if region.is_empty() {
        let why = if trim(response).is_empty() { "empty" } else { "thinking without an answer" };
        return Undecided(why);
    }
    shifted(in_region(region, options), place(response, region)[0])
}

fn shifted(choice: Choice, by_bytes: usize) -> Choice {
    match choice {
        Choice::Option { place, by, span: [from, to] } => {
            Choice::Option { place, by, span: [from + by_bytes, to + by_bytes] }
        }
        undecided => undecided,
    }
}

/// Where a model that has answered goes on to make up the next question.
static NEXT_QUESTION: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?m)^\s*(?:#+\s*)?(?:Question|Human|User|USER|Q)\s*[:：]"));

/// What stands before the next question decides if it can.
fn in_region(region: &str, options: &Options<'_>) -> Choice {
    if let Some(next) = NEXT_QUESTION.find(region)
        && let answered @ Choice::Option { .. } = steps(trim(&region[..next.start()]), options)
    {
        return answered;
    }
    steps(region, options)
}

/// The steps in order. The first that finds the response choosing something decides, even that it is undecided.
fn steps(region: &str, options: &Options<'_>) -> Choice {
    if let Some(choice) = whole_letter(region, options) {
        return choice;
    }
    if let Some(inner) = marked_answer(region)
        && let Choice::Option { place: option, by, span: [from, to] } = plainly(inner, options)
    {
        let offset = place(region, inner)[0];
        return Choice::Option { place: option, by, span: [from + offset, to + offset] };
    }
    // Markup aside, a response that is an option's text is about as long.
    let tokens = if region.len() <= options.longest() { tokenize(region) } else { Vec::new() };
    if let Some(option) = options.same_text(&tokens) {
        return Choice::Option { place: option, by: "option text", span: [0, region.len()] };
    }
    if let Some(choice) = statement(region, options)
        .or_else(|| called_right(region, options))
        .or_else(|| leading_alternatives(region, options))
        .or_else(|| last_words(region, options))
        .or_else(|| last_line(region, options))
    {
        return choice;
    }
    if REFUSAL.find(region).is_some_and(|found| found.start() < 80 || region.len() < 250) {
        return Undecided("refusal");
    }
    if let Some(choice) = leading_letter(region, options).or_else(|| only_named(region, options)) {
        return choice;
    }
    let tokens = if tokens.is_empty() { tokenize(region) } else { tokens };
    match meant(region, &tokens, options) {
        Some((option, span)) => Choice::Option { place: option, by: "text of one option", span },
        None => Undecided("no single option"),
    }
}

/// Reads what stands within a mark of an answer: a letter alone, a letter with its text, or the text.
fn plainly(inner: &str, options: &Options<'_>) -> Choice {
    let tokens = tokenize(inner);
    whole_letter(inner, options)
        .or_else(|| {
            let option = options.same_text(&tokens)?;
            Some(Choice::Option { place: option, by: "option text", span: [0, inner.len()] })
        })
        .or_else(|| statement(inner, options))
        .or_else(|| leading_alternatives(inner, options))
        .or_else(|| leading_letter(inner, options))
        .or_else(|| {
            let (option, span) = meant(inner, &tokens, options)?;
            Some(Choice::Option { place: option, by: "text of one option", span })
        })
        .unwrap_or(Undecided("no single option"))
}

static REFUSAL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix) \b(?:can\s?not|can['’]t|could\s+not|couldn['’]t|unable\s+to|not\s+able\s+to|impossible\s+to)
        \s+(?:\w+\s+){0,2}?(?:determine|assist|help|process|answer|provide|identify|tell|say|access|analy[sz]e|comply)\b
        | \b(?:i['’]m|i\s+am|we\s+are)\s+(?:very\s+|so\s+)?sorry\b | 无法 | 不能回答 | 抱歉",
    )
});

/// A response that is one letter in any dress: `(B)`, `**b**`, `Ｂ`, or the same capital again and again.
fn whole_letter(text: &str, options: &Options<'_>) -> Option<Choice> {
    let mut letters = None;
    let mut count = 0;
    for (at, c) in text.char_indices() {
        if !fold(c).is_alphanumeric() {
            continue;
        }
        count += 1;
        // Longer texts than a few repetitions are no single letter.
        if count > 8 {
            return None;
        }
        let letter = letter_at(text, at, options)?;
        let first = *letters.get_or_insert(letter);
        if first.option != letter.option || (count > 1 && !(letter.capital && first.capital)) {
            return None;
        }
    }
    let letter = letters?;
    Some(match letter.option {
        Some(place) => Choice::Option { place, by: "letter alone", span: letter.span },
        None => return None,
    })
}

/// A last line that begins with a letter and its text, where the line before it does not: then it is no list.
fn last_line(text: &str, options: &Options<'_>) -> Option<Choice> {
    let (before, line) = text.trim_end().rsplit_once('\n')?;
    let begins = |line: &str| {
        let found = LEADING.captures(line)?.get(1)?;
        let letter = letter_at(line, found.start(), options)?;
        let behind = line.get(letter.span[1]..)?;
        (letter.capital && letter.option.is_some() && SET_APART.is_match(behind)).then_some(letter)
    };
    let letter = begins(line)?;
    let previous = before.trim_end();
    let previous = previous.rsplit_once('\n').map_or(previous, |(_, line)| line);
    let behind = &line[letter.span[1]..];
    if begins(previous).is_some()
        || is_refuted(behind)
        || letter.option.is_none_or(|option| is_cut_off(behind, option, options))
    {
        return None;
    }
    let offset = place(text, line)[0];
    let span = [letter.span[0] + offset, letter.span[1] + offset];
    Some(Choice::Option { place: letter.option?, by: "last line", span })
}

static LEADING: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"^[\s*_`"'“‘#>(（\[【{<$|~\x{feff}-]*([A-Za-zＡ-Ｚａ-ｚ])"#));
static LISTED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"(?m)(?:^|[.;,]\s)[\s*_#>(\[-]*(?:[Oo]ption\s+)?([A-Za-zＡ-Ｚ])[*_)\]]*\s?[.):：．、]"#)
});
static SET_APART: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"^[*_`"'”’$)\]}）】>|]*\s*(?:$|[\n.):：．、,，;；=|<。!！?？]|[-–—]\s|\(not\b|for\ssure\b)|^[*_`"'”’$)\]}）】>|]+\s|^\s*\n"#,
    )
});

/// "A, B and D are wrong": the letters that a response begins with are not its choice.
static RULED_OUT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^[^.!?\n]{0,40}\b(?:is|are)\s+(?:all\s+|both\s+)?(?:wrong|incorrect|false|not|out|excluded|eliminated)\b",
    )
});

/// A response that begins with several letters on equal terms: "B or C".
fn leading_alternatives(text: &str, options: &Options<'_>) -> Option<Choice> {
    let found = LEADING.captures(text)?.get(1)?;
    let letter = letter_at(text, found.start(), options)?;
    let behind = text.get(letter.span[1]..)?;
    let several = names_another(behind, letter.option?, options) && !RULED_OUT.is_match(behind);
    several.then_some(Undecided("several letters"))
}

/// Words behind a leading letter that give a reason for it.
const REASONS: [&str; 24] = [
    "because",
    "since",
    "as",
    "due",
    "based",
    "given",
    "according",
    "would",
    "should",
    "must",
    "seems",
    "looks",
    "fits",
    "matches",
    "best",
    "it",
    "definitely",
    "obviously",
    "certainly",
    "clearly",
    "surely",
    "instead",
    "rather",
    "over",
];

/// A response that begins with a letter: "B. text", "B) text", "B because …".
fn leading_letter(text: &str, options: &Options<'_>) -> Option<Choice> {
    let found = LEADING.captures(text)?.get(1)?;
    let letter = letter_at(text, found.start(), options)?;
    let place = letter.option?;
    let behind = &text[letter.span[1]..];
    // A response that goes through the options begins with a letter too.
    let mut listed = LISTED.captures_iter(text).filter_map(|captures| {
        let letter = letter_at(text, captures.get(1)?.start(), options)?;
        letter.option
    });
    if listed.any(|other| other != place) || is_refuted(behind) {
        return None;
    }
    // "I, for one"
    let is_pronoun = text[letter.span[0]..].starts_with('I');
    let aside = behind.strip_prefix(',').is_some_and(|rest| {
        !rest.trim_start().starts_with("not") && !rest.trim_start().starts_with("because")
    });
    let set_apart = SET_APART.is_match(behind) && !(is_pronoun && aside);
    let connected = LOWER_WORD
        .captures(behind)
        .and_then(|captures| captures.get(1))
        .is_some_and(|word| REASONS.contains(&word.as_str()) && !is_pronoun);
    let own_text = || {
        let tokens = tokenize(behind);
        options.same_text(&tokens) == Some(place)
    };
    let reads = if letter.capital {
        set_apart || connected || own_text()
    } else {
        set_apart && (found.start() > 0 || behind.starts_with([')', '.', ':']))
    };
    reads.then_some(Choice::Option { place, by: "leading letter", span: letter.span })
}

static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?x) (?: \b(?i:option|choice|answer|letter)\s+[*_`"'(\[]* | 选项\s* | (?:^|[^\\\w])[(\[（【] | \*\* | ["'`“]) ([A-ZＡ-Ｚa-z]) (?:[)\]）】*"'`”.,:]|\s|$)"#,
    )
});

/// The only letter that is named as an option ("option B", "(B)", "**B**") and not refuted.
fn only_named(text: &str, options: &Options<'_>) -> Option<Choice> {
    let mut named = NAMED.captures_iter(text).filter_map(|captures| {
        let letter = letter_at(text, captures.get(1)?.start(), options)?;
        let lower_option =
            || captures.get(0).is_some_and(|whole| whole.as_str().to_lowercase().starts_with("option"));
        (letter.option.is_some() && (letter.capital || (lower_option() && closes(&text[letter.span[1]..]))))
            .then_some(letter)
    });
    let first = named.next()?;
    let alone = named.all(|other| other.option == first.option);
    let behind = &text[first.span[1]..];
    let place = first.option?;
    if !alone || is_refuted(behind) || is_article(text, &first) || names_another(behind, place, options) {
        return None;
    }
    Some(Choice::Option { place, by: "only option named", span: first.span })
}
