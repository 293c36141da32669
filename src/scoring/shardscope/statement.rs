//! Sentences that name the answer: "the answer is B", "B is correct", "so, C".

use std::sync::LazyLock;

use regex::Regex;

use super::letter::{begins_list, closes, is_article, is_cut_off, is_refuted, letter_at, names_another};
use super::mentions::{Options, meant};
use super::option::Choice::{self, Undecided};
use super::region::{pattern, place};
use super::tokens::tokenize;

/// Words that announce an answer, with the verb or mark that leads to it.
static CUE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?ix)
        (?: \b(?: answers? | ans | solution
              | (?:correct|right|best|true|final|most\s+\w+|appropriate|suitable|proper|accurate|likely|chosen|selected)
                \s+(?:option|choice|one|statement|letter|match|response|selection|description|pick|image|figure)
              | (?:option|choice|selection|guess|pick)
              | (?:correct|right|best|most\s+likely|most\s+appropriate)\s+(?:[a-z]+\s+){0,2}?[a-z]+
            )\b
          [\s*_`"')\]}】]*
          (?: (?:is|are|was|would\s+be|should\s+be|must\s+be|could\s+be|will\s+be|has\s+to\s+be|seems?(?:\s+to\s+be)?
                |appears?\s+to\s+be)\b
            | => | -> | → | [:：=] | \s[-–—]\s
            | \s (?:to\s+(?:this|the)\s+\w+\s+(?:is|would\s+be)) \b
          )
        | \bi(?:['’]d|\s+would)\s+(?:say|guess|choose|pick|go\s+with|select)\b
        ) "#,
    )
});

/// Words that announce a letter only.
static LETTER_CUE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix) \b(?: choos(?:e|ing) | chose | pick(?:ing)? | select(?:ing)? | go(?:ing)?\s+with | opt(?:ing)?\s+for
            | say | guess | vote\s+for | conclude(?:\s+that)? | (?:final\s+)?answer | lean(?:ing)?\s+towards? | but\s+rather | (?:most\s+)?(?:likely|probably) | maybe | match(?:es)? | corresponds?\s+to
              | it\s+(?:must|should|would|has\s+to|can\s+only)\s+be | perhaps | definitely | certainly | think | believe | it(?:['’]?s|\s+is) ) \b
        | (?:正确|最佳|最终)? 答案 \s* (?:应该|应|就)? (?:是|为|选)? | (?:正确|最佳)的?选项 \s* (?:应该|应|就)? (?:是|为)?
        | (?:故|应|应该|因此|所以|我|只能|必须)? 选 (?:择)? (?:项)? (?:是|为)?",
    )
});

/// What may stand between the announcement and the letter.
static GLUE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?ix)^ (?: [\s*_`"'“”‘’«»$:：=,，>→(（\[【】{《<~|\#]+ | [-–—]+\s | \\(?:boxed|fbox|text(?:bf|rm|it|tt)?|math(?:rm|bf|it)?|bf|rm)\b\s*\{?
        | \\[(\[] | (?:is|are|was|would|should|must|could|will|be|being|to|that|it|choose|say|select
            |the|most|very|best|correct|right|final|answer|option|choice|letter|statement|number|likely|probably
            |definitely|certainly|clearly|obviously|actually|simply|just|therefore|thus|indeed|then|hence|either
            |without|any|doubt|in|my|opinion|as|follows|given|by)\b
        | (?-i:I)\s+(?:would\s+|will\s+)?(?:think|believe|guess|say|choose|pick|select)\b
        | 选项 | 选 | 是 | 为 | 应该 | 应 )*"#,
    )
});

/// A sentence that ends in "is:" and leaves the answer to the next line.
static LINE_CUE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\b(?:is|be)\s*[:：]\s*\n"));

/// How much an announcement announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Announces {
    /// A letter, or the text of an option.
    Answer,
    /// A letter.
    Letter,
    /// A letter with its text on the next line.
    Line,
}

/// So many statements are looked at, from the last one back, in a response that never ends.
const STATEMENTS: usize = 100;

/// So many bytes behind an announcement may belong to it.
const REACH: usize = 1000;

/// The text from `from` on, as far as an announcement reaches.
fn reach(text: &str, from: usize) -> Option<&str> {
    let mut to = text.len().min(from.saturating_add(REACH));
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    text.get(from..to)
}

/// The last statement that names an option. A statement that names several decides that nothing is decided; one that
/// only leads to the list of all options says nothing.
pub(super) fn statement(text: &str, options: &Options<'_>) -> Option<Choice> {
    let letter_cues = LETTER_CUE.find_iter(text).filter(|cue| !is_denied_before(text, cue.start()));
    let mut cues: Vec<(usize, Announces)> = CUE
        .find_iter(text)
        .map(|cue| (cue.end(), Announces::Answer))
        .chain(letter_cues.map(|cue| (cue.end(), Announces::Letter)))
        .chain(LINE_CUE.find_iter(text).map(|cue| (cue.end(), Announces::Line)))
        .collect();
    cues.sort_unstable();
    cues.into_iter()
        .rev()
        .take(STATEMENTS)
        .find_map(|(end, announces)| stated(text, end, announces, options))
        .or_else(|| ordinal(text, options))
}

/// What the announcement that ends at `from` says, if anything.
fn stated(text: &str, from: usize, announces: Announces, options: &Options<'_>) -> Option<Choice> {
    if announces == Announces::Answer
        && let Some(choice) = stated_whole_text(text, from, options)
    {
        return Some(choice);
    }
    match stated_letter(text, from, options) {
        Stated::Listing => None,
        Stated::Letter(Choice::Option { place, span, .. }) if announces == Announces::Line => {
            let line = text.get(span[1]..)?.lines().next()?;
            let own = options.same_text(&tokenize(line)) == Some(place);
            own.then_some(Choice::Option { place, by: "stated letter", span })
        }
        Stated::Letter(choice) => (announces != Announces::Line).then_some(choice),
        Stated::Nothing => {
            (announces == Announces::Answer).then(|| stated_text(text, from, options)).flatten()
        }
    }
}

/// What a letter behind an announcement says.
enum Stated {
    /// It is the answer, or one of several.
    Letter(Choice),
    /// It begins a list of the options.
    Listing,
    /// There is no letter, or it says nothing.
    Nothing,
}

static DENIED_BEFORE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)(?:\bnot|\bor|n['’]t|\bnever|\bcannot|不|别|非)\s*(?:\w+\s+)?$"));

fn is_denied_before(text: &str, at: usize) -> bool {
    let mut from = at.saturating_sub(16);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    DENIED_BEFORE.is_match(&text[from..at])
}

fn stated_letter(text: &str, from: usize, options: &Options<'_>) -> Stated {
    let Some(rest) = reach(text, from) else { return Stated::Nothing };
    let glue = GLUE.find(rest).map_or(0, |glue| glue.end());
    let Some(letter) = letter_at(text, from + glue, options) else { return Stated::Nothing };
    let behind = &text[letter.span[1]..];
    let stands_out = if letter.capital {
        !is_article(text, &letter)
    } else {
        closes(behind) || behind.starts_with([')', '.', ':'])
    };
    if !stands_out || is_refuted(behind) {
        return Stated::Nothing;
    }
    let Some(place) = letter.option else {
        // "The answer is E" among A to D; but prose and formulas begin with letters too.
        let alone = behind.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '\n');
        let says = closes(behind) && (alone.is_empty() || alone.starts_with('\n'));
        return if says { Stated::Letter(Undecided("a letter that is no option")) } else { Stated::Nothing };
    };
    let on_new_line =
        text.get(from.saturating_sub(1)..from + glue).is_some_and(|between| between.contains('\n'));
    if on_new_line && (begins_list(behind, place, options) || is_cut_off(behind, place, options)) {
        return Stated::Listing;
    }
    if names_another(behind, place, options) {
        return Stated::Letter(Undecided("several letters"));
    }
    Stated::Letter(Choice::Option { place, by: "stated letter", span: letter.span })
}

/// The option whose whole text of several tokens is all that follows an announcement in its line. It comes before
/// letters: "D/(B+D)" is a formula, not the letter D.
fn stated_whole_text(text: &str, from: usize, options: &Options<'_>) -> Option<Choice> {
    let line =
        reach(text, from)?.trim_start_matches(|c: char| c.is_whitespace() || "*_`:：#\"'$".contains(c));
    let line = line.lines().next()?;
    let tokens = tokenize(line);
    let option = options.same_text(&tokens).filter(|_| tokens.len() > 1)?;
    let [from, to] = place(text, line);
    Some(Choice::Option { place: option, by: "stated text", span: [from, to] })
}

/// The option whose text follows an announcement, in the same line: all of it, or the only one mentioned.
fn stated_text(text: &str, from: usize, options: &Options<'_>) -> Option<Choice> {
    let line = reach(text, from)?.trim_start_matches(|c: char| c.is_whitespace() || "*_`:：#\"'".contains(c));
    let line = &line[..line.find('\n').unwrap_or(line.len())];
    let sentence = &line[..SENTENCE_END.find(line).map_or(line.len(), |end| end.start())];
    let tokens = tokenize(sentence);
    let offset = place(text, sentence)[0];
    if let Some(option) = options.same_text(&tokens) {
        return Some(Choice::Option {
            place: option,
            by: "stated text",
            span: [offset, offset + sentence.len()],
        });
    }
    let (option, [from, to]) = meant(sentence, &tokens, options)?;
    Some(Choice::Option { place: option, by: "stated text", span: [offset + from, offset + to] })
}

static SENTENCE_END: LazyLock<Regex> = LazyLock::new(|| pattern(r"[.!?]\s+[A-Z*(\[]|[。！？]"));

static ORDINAL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b(?:go(?:ing)? with|choose|pick|select|is|be|say)\s+the\s+(first|second|third|fourth|fifth|last)\s+(?:option|choice|answer|one|statement)\b|选第([一二三四五])个|^the\s+(first|second|third|fourth|fifth|last)\s+(?:option|choice|answer|one)\W*$",
    )
});

/// "I would go with the second option".
fn ordinal(text: &str, options: &Options<'_>) -> Option<Choice> {
    let found = ORDINAL.captures_iter(text).last()?;
    let word = found.get(1).or_else(|| found.get(2)).or_else(|| found.get(3))?;
    let place = match word.as_str().to_lowercase().as_str() {
        "first" | "一" => 0,
        "second" | "二" => 1,
        "third" | "三" => 2,
        "fourth" | "四" => 3,
        "fifth" | "五" => 4,
        _ => options.letters.len().checked_sub(1)?,
    };
    (place < options.letters.len()).then_some(Choice::Option {
        place,
        by: "stated position",
        span: [word.start(), word.end()],
    })
}

static CALLED_RIGHT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?ix) ((?-i:[A-ZＡ-Ｚ])) [)\]}）】*_`"'.]* \s* (?:\([^)\n]{2,80}\)\s*)?
        (?: (?:is|seems|looks|appears|would\s+be|should\s+be|must\s+be) \s+
            (?:clearly|obviously|definitely|likely|probably|therefore|thus|indeed|also|the|to\s+be|only|most|single|\s)*
            (?:correct|right|best|true|accurate|appropriate|suitable|likely|plausible|reasonable|fitting|answer)\b
          | is \s+ (?:the\s+one|my\s+(?:answer|choice|pick|guess)|what\s+i) \b
          | \s*(?:选项|项)?\s*(?:才?是)?(?:正确|对的|最佳) )"#,
    )
});

/// "B is correct": the only letter of which that is said.
pub(super) fn called_right(text: &str, options: &Options<'_>) -> Option<Choice> {
    let mut letters = CALLED_RIGHT.captures_iter(text).filter_map(|captures| {
        let letter = letter_at(text, captures.get(1)?.start(), options)?;
        (letter.capital && letter.option.is_some()).then_some(letter)
    });
    let first = letters.next()?;
    if letters.any(|other| other.option != first.option) {
        return Some(Undecided("several letters"));
    }
    let place = first.option?;
    Some(Choice::Option { place, by: "called right", span: first.span })
}

static LAST_WORDS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?x) (?: (?:^|[.!?;:]\s+|[。！？；：\n]\s*) (?:(?i:so|thus|therefore|hence|then|finally|ultimately|sure|okay|ok|well|因此|所以|故|综上)\b?[,，:：]?\s*)?
              (?:(?i:it(?:['’]s|\s+is|\s+must\s+be|\s+should\s+be|\s+would\s+be)|this\s+is)\s+)?
            | \b(?i:is|be|option|choice|letter|select|choose|pick)\s+ )
        [\s*_`"'“(\[（【{<$\\]* ([A-ZＡ-Ｚ]) [)\]}）】*_`"'”.。!>$\s]* $"#,
    )
});

/// A letter that is the last sentence or line, or its last word behind "is", "option" and the like.
pub(super) fn last_words(text: &str, options: &Options<'_>) -> Option<Choice> {
    let tail = text.trim_end();
    let line = tail.rfind('\n').map_or(0, |end| end + 1);
    let found = LAST_WORDS.captures(&tail[line..])?.get(1)?;
    let letter = letter_at(text, line + found.start(), options)?;
    let place = letter.option?;
    Some(Choice::Option { place, by: "last words", span: letter.span })
}
