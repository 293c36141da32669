//! Which option a response chooses: from the most explicit statement to the least, and nothing where nobody could
//! tell.

use std::sync::LazyLock;

use regex::Regex;

use super::mentions::{Options, meant};
use super::region::{answer_region, pattern, place, trim};
use super::tokens::{fold, is_ideograph, tokenize};

/// What was read: an option's place, the step that read it, the bytes in the text; or why nothing was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Option { place: usize, by: &'static str, span: [usize; 2] },
    Undecided(&'static str),
}

use Choice::Undecided;

/// Reads the option that a response chooses; the span is in bytes of the response.
pub(super) fn read_option(response: &str, options: &Options) -> Choice {
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
fn in_region(region: &str, options: &Options) -> Choice {
    if let Some(next) = NEXT_QUESTION.find(region)
        && let answered @ Choice::Option { .. } = steps(trim(&region[..next.start()]), options)
    {
        return answered;
    }
    steps(region, options)
}

/// The steps in order. The first that finds the response choosing something decides, even that it is undecided.
fn steps(region: &str, options: &Options) -> Choice {
    if let Some(choice) = whole_letter(region, options) {
        return choice;
    }
    if let Some(inner) = marked_answer(region)
        && let Choice::Option { place: option, by, span: [from, to] } = plainly(inner, options)
    {
        let offset = place(region, inner)[0];
        return Choice::Option { place: option, by, span: [from + offset, to + offset] };
    }
    let tokens = tokenize(region);
    if let Some(option) = options.same_text(&tokens) {
        return Choice::Option { place: option, by: "option text", span: [0, region.len()] };
    }
    if let Some(choice) = statement(region, options)
        .or_else(|| called_right(region, options))
        .or_else(|| last_words(region, options))
        .or_else(|| last_line(region, options))
    {
        return choice;
    }
    if REFUSAL.is_match(region) {
        return Undecided("refusal");
    }
    if let Some(choice) = leading_letter(region, options).or_else(|| only_named(region, options)) {
        return choice;
    }
    match meant(region, &tokens, options) {
        Some((option, span)) => Choice::Option { place: option, by: "text of one option", span },
        None => Undecided("no single option"),
    }
}

/// Reads what stands within a mark of an answer: a letter alone, a letter with its text, or the text.
fn plainly(inner: &str, options: &Options) -> Choice {
    let tokens = tokenize(inner);
    whole_letter(inner, options)
        .or_else(|| {
            let option = options.same_text(&tokens)?;
            Some(Choice::Option { place: option, by: "option text", span: [0, inner.len()] })
        })
        .or_else(|| statement(inner, options))
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

// ------------------------------------------------------------------------------------------------ letters

/// An option letter at a place of a text.
#[derive(Debug, Clone, Copy)]
struct Letter {
    /// The option's place; `None` where the letter is none of the options'.
    option: Option<usize>,
    capital: bool,
    span: [usize; 2],
}

/// The letter that begins at `at`, if it stands alone: no letter, digit or apostrophe joins it.
fn letter_at(text: &str, at: usize, options: &Options) -> Option<Letter> {
    let rest = text.get(at..)?;
    let written = rest.chars().next()?;
    let plain = fold(written);
    if !plain.is_ascii_alphabetic() {
        return None;
    }
    let end = at + written.len_utf8();
    let joined_before = text.get(..at)?.chars().next_back().is_some_and(joins);
    if joined_before || joined_behind(text.get(end..)?) {
        return None;
    }
    Some(Letter {
        option: options.place(plain.to_ascii_uppercase()),
        capital: plain.is_ascii_uppercase(),
        span: [at, end],
    })
}

fn joins(c: char) -> bool {
    (c.is_alphanumeric() && !is_ideograph(c)) || c == '\\'
}

fn joined_behind(rest: &str) -> bool {
    let mut chars = rest.chars();
    let (first, second, third) = (chars.next(), chars.next(), chars.next());
    match first {
        Some('\'' | '’' | '-' | '_') => second.is_some_and(joins),
        // "E\)" closes a formula, "E\theta" goes on.
        Some('\\') => second.is_some_and(char::is_alphanumeric),
        // "e.g.", "U.S."
        Some('.') => second.is_some_and(|c| c.is_ascii_alphabetic()) && third == Some('.'),
        Some(c) => joins(c),
        None => false,
    }
}

/// A response that is one letter in any dress: `(B)`, `**b**`, `Ｂ`, or the same capital again and again.
fn whole_letter(text: &str, options: &Options) -> Option<Choice> {
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

// ------------------------------------------------------------------------------------- marks of an answer

static TAGGED: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?is)<(?:final_)?answer>(.*?)(?:</(?:final_)?answer>|$)"));
static JSON: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)["'](?:final[_ ]?|correct[_ ]?|predicted[_ ]?)?(?:answer|option|choice|letter|prediction)["']\s*:\s*["']([^"'\n]*)["']"#,
    )
});

/// What stands in the last `<answer>`, `\boxed{}` or JSON field of an answer.
fn marked_answer(text: &str) -> Option<&str> {
    let inner = if let Some(tag) = text.contains('<').then(|| TAGGED.captures_iter(text).last()).flatten() {
        tag.get(1).map(|inner| inner.as_str())
    } else if let Some(at) = text.rfind("\\boxed").or_else(|| text.rfind("\\fbox")) {
        braced(&text[at..])
    } else if text.contains(['{', '"', '\'']) {
        JSON.captures_iter(text).last().and_then(|field| field.get(1)).map(|inner| inner.as_str())
    } else {
        None
    };
    inner.map(trim).filter(|inner| !inner.is_empty())
}

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

// --------------------------------------------------------------------------------------------- statements

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
        ) "#,
    )
});

/// Words that announce a letter only.
static LETTER_CUE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix) \b(?: choos(?:e|ing) | chose | pick(?:ing)? | select(?:ing)? | go(?:ing)?\s+with | opt(?:ing)?\s+for
            | say | guess | vote\s+for | conclude(?:\s+that)? | (?:final\s+)?answer | lean(?:ing)?\s+towards? ) \b
        | (?:正确|最佳|最终)? 答案 \s* (?:应该|应|就)? (?:是|为|选)? | (?:正确|最佳)的?选项 \s* (?:应该|应|就)? (?:是|为)?
        | (?:故|应|应该|因此|所以|我|只能|必须)? 选 (?:择)? (?:项)? (?:是|为)?",
    )
});

/// What may stand between the announcement and the letter.
static GLUE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?ix)^ (?: [\s*_`"'“”‘’«»$:：=,，>→(（\[【{《<~|\#]+ | [-–—]+\s | \\(?:boxed|fbox|text(?:bf|rm|it|tt)?|math(?:rm|bf|it)?|bf|rm)\b\s*\{?
        | \\[(\[] | (?:is|are|was|would|should|must|could|will|be|being|to|that|it|choose|say|select
            |the|most|very|best|correct|right|final|answer|option|choice|letter|statement|number|likely|probably
            |definitely|certainly|clearly|obviously|actually|simply|just|therefore|thus|indeed|then|hence|either
            |without|any|doubt|in|my|opinion|as|follows|given|by)\b
        | (?-i:I)\s+(?:would\s+|will\s+)?(?:think|believe|guess|say|choose|pick|select)\b
        | 选项 | 选 | 是 | 为 | 应该 | 应 )*"#,
    )
});

/// The last statement that names an option. A statement that names several decides that nothing is decided.
fn statement(text: &str, options: &Options) -> Option<Choice> {
    let mut ends: Vec<(usize, bool)> = CUE
        .find_iter(text)
        .map(|cue| (cue.end(), true))
        .chain(
            LETTER_CUE
                .find_iter(text)
                .filter(|cue| !is_denied_before(text, cue.start()))
                .map(|cue| (cue.end(), false)),
        )
        .collect();
    ends.sort_unstable();
    for &(end, announces) in ends.iter().rev() {
        if let Some(choice) = stated_letter(text, end, options) {
            return Some(choice);
        }
        if announces && let Some(choice) = stated_text(text, end, options) {
            return Some(choice);
        }
    }
    ordinal(text, options)
}

static DENIED_BEFORE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)(?:\bnot|n['’]t|\bnever|\bcannot|不|别|非)\s*(?:\w+\s+)?$"));

fn is_denied_before(text: &str, at: usize) -> bool {
    let mut from = at.saturating_sub(16);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    DENIED_BEFORE.is_match(&text[from..at])
}

fn stated_letter(text: &str, from: usize, options: &Options) -> Option<Choice> {
    let rest = text.get(from..)?;
    // The glue may have eaten the letter A of "a doubt" or an article: it never eats capitals that stand alone.
    let glue = GLUE.find(rest).map_or(0, |glue| glue.end());
    let letter = letter_at(text, from + glue, options)?;
    let behind = &text[letter.span[1]..];
    if !letter.capital && !closes(behind) {
        return None;
    }
    if letter.capital && is_article(text, &letter) {
        return None;
    }
    if is_refuted(behind) {
        return None;
    }
    let Some(place) = letter.option else {
        // "The answer is E" among A to D. Prose begins with other letters too ("Answer: I think").
        return closes(behind).then_some(Undecided("a letter that is no option"));
    };
    let on_new_line = rest.get(..glue).is_some_and(|between| between.contains('\n'));
    if names_another(behind, place, options) || (on_new_line && begins_list(behind, place, options)) {
        return Some(Undecided("several letters"));
    }
    Some(Choice::Option { place, by: "stated letter", span: letter.span })
}

/// Whether a letter ends its sentence or is set apart from what follows.
fn closes(behind: &str) -> bool {
    let rest =
        behind.trim_start_matches(['*', '_', '`', '"', '\'', '”', '’', ')', ']', '}', '）', '】', '$', '>']);
    let mut chars = rest.chars();
    match chars.next() {
        None
        | Some(
            '\n' | '\r' | '.' | ',' | ';' | ':' | '!' | '?' | '。' | '，' | '；' | '：' | '！' | '、' | '<'
            | '\\',
        ) => true,
        Some(' ') => {
            rest.trim_start_matches(' ').starts_with(['\n', '\r', '(', '-', '–', '—', '。'])
                || rest.trim().is_empty()
        }
        Some(_) => behind.len() != rest.len(),
    }
}

static LOWER_WORD: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[ \t]+([a-z][a-z'’]*)"));

/// Words behind a letter that show it is no article.
const CONNECTORS: [&str; 48] = [
    "because",
    "since",
    "as",
    "and",
    "or",
    "for",
    "is",
    "was",
    "are",
    "due",
    "with",
    "according",
    "based",
    "given",
    "it",
    "the",
    "this",
    "that",
    "which",
    "not",
    "but",
    "while",
    "whereas",
    "though",
    "would",
    "could",
    "should",
    "must",
    "seems",
    "looks",
    "fits",
    "matches",
    "shows",
    "represents",
    "best",
    "has",
    "does",
    "will",
    "can",
    "in",
    "from",
    "on",
    "by",
    "where",
    "when",
    "so",
    "if",
    "correctly",
];

/// Whether "A" is an article or "I" a pronoun here: a capital without marks around it before a word of prose.
fn is_article(text: &str, letter: &Letter) -> bool {
    let [from, to] = letter.span;
    let word = match text.get(from..to) {
        Some("A") => {
            LOWER_WORD.captures(&text[to..]).and_then(|found| found.get(1)).map(|word| word.as_str())
        }
        Some("I") => LOWER_WORD.captures(&text[to..]).map(|_| "am"),
        _ => None,
    };
    word.is_some_and(|word| !CONNECTORS.contains(&word))
}

static REFUTED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?ix)^[)\]}）】*_`"'.]*\s*(?:
            (?:is|are|was|seems|looks|would\s+be|can\s+be|could\s+be)\s+(?:\w+\s+)?(?:not\b|incorrect|wrong|false|excluded|ruled|eliminated|unlikely|impossible)
          | (?:isn|wasn|aren|doesn|can)['’]t\b | does\s+not | cannot | 项?\s*(?:是)?(?:不|错) )"#,
    )
});

fn is_refuted(behind: &str) -> bool {
    REFUTED.is_match(behind)
}

static ANOTHER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?x)^[)\]}）】*_`"'.$]*\s*(?:/|,|、|，|&|\+|;|；|\bor\b|\band\b|\bOR\b|\bAND\b|或者?|和|与|及|以及)[\s*(\[（"'`$]*(?:[Oo]r\s+|[Aa]nd\s+|[Oo]ption\s+|选项)?[(\[]?([A-ZＡ-Ｚ])"#,
    )
});
static OWN_CLAUSE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?x)^[)\]}）】*_`"'.$]*\s+(?:is|was|has|does|doesn['’]t|isn['’]t|can|cannot|would|seems|looks|refers|shows|[a-z]{3,}s)\b"#,
    )
});

/// A further option in the same line: "B. text or D. text".
static OR_ANOTHER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[^\n]{0,200}?\b(?:or|and)\s+(?:option\s+)?[*(\[]*([A-Z])[*)\]]*[.):]"));
static NEXT_LINE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[^\n]*\n\s*[*(\[-]*\s?([A-Z])[*)\]]*[.):]"));

/// Whether the next line goes on with the next letter, as a list of the options does.
fn begins_list(behind: &str, option: usize, options: &Options) -> bool {
    let next = NEXT_LINE.captures(behind).and_then(|found| found.get(1));
    next.and_then(|next| letter_at(behind, next.start(), options))
        .is_some_and(|letter| letter.option == Some(option + 1))
}

/// Whether another letter follows on equal terms: "B or C", "B/C", "B, C", "B. text or C. text".
fn names_another(behind: &str, option: usize, options: &Options) -> bool {
    let other = OR_ANOTHER.captures(behind).and_then(|found| {
        let other = letter_at(behind, found.get(1)?.start(), options)?.option?;
        // Its own text follows, so it is named as an option.
        let text = tokenize(behind.get(found.get(0)?.end()..)?.lines().next()?);
        (text.first()?.text == options.tokens.get(other)?.first()?.text).then_some(other)
    });
    if other.is_some_and(|other| other != option) {
        return true;
    }
    let Some(found) = ANOTHER.captures(behind).and_then(|captures| captures.get(1)) else { return false };
    let Some(letter) = letter_at(behind, found.start(), options) else { return false };
    letter.option.is_some_and(|other| other != option)
        && !OWN_CLAUSE.is_match(&behind[found.end()..])
        && !is_article(behind, &letter)
}

/// The option whose text follows an announcement, in the same line: all of it, or the only one mentioned.
fn stated_text(text: &str, from: usize, options: &Options) -> Option<Choice> {
    let line = text.get(from..)?.trim_start_matches(|c: char| c.is_whitespace() || "*_`:：#\"'".contains(c));
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
        r"(?i)\b(?:go(?:ing)? with|choose|pick|select|is|be|say)\s+the\s+(first|second|third|fourth|fifth|last)\s+(?:option|choice|answer|one|statement)\b|选第([一二三四五])个",
    )
});

/// "I would go with the second option".
fn ordinal(text: &str, options: &Options) -> Option<Choice> {
    let found = ORDINAL.captures_iter(text).last()?;
    let word = found.get(1).or_else(|| found.get(2))?;
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
            (?:correct|right|best|true|accurate|appropriate|suitable|likely|answer)\b
          | \s*(?:选项|项)?\s*(?:才?是)?(?:正确|对的|最佳) )"#,
    )
});

/// "B is correct": the only letter of which that is said.
fn called_right(text: &str, options: &Options) -> Option<Choice> {
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
        r#"(?x) (?: (?:^|[.!?。！？;；:：\n]) \s* (?:(?i:so|thus|therefore|hence|then|finally|ultimately|因此|所以|故|综上)\b?[,，:：]?\s*)?
              (?:(?i:it(?:['’]s|\s+is|\s+must\s+be|\s+should\s+be|\s+would\s+be)|this\s+is)\s+)?
            | \b(?i:is|be|option|choice|letter|select|choose|pick)\s+ )
        [\s*_`"'“(\[（【{<$\\]* ([A-ZＡ-Ｚ]) [)\]}）】*_`"'”.。!>$\s]* $"#,
    )
});

/// A letter that is the last sentence or line, or its last word behind "is", "option" and the like.
fn last_words(text: &str, options: &Options) -> Option<Choice> {
    let tail = text.trim_end();
    let line = tail.rfind('\n').map_or(0, |end| end + 1);
    let found = LAST_WORDS.captures(&tail[line..])?.get(1)?;
    let letter = letter_at(text, line + found.start(), options)?;
    let place = letter.option?;
    Some(Choice::Option { place, by: "last words", span: letter.span })
}

/// A last line that begins with a letter and its text, where the line before it does not: then it is no list.
fn last_line(text: &str, options: &Options) -> Option<Choice> {
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
    if begins(previous).is_some() || is_refuted(&line[letter.span[1]..]) {
        return None;
    }
    let offset = place(text, line)[0];
    let span = [letter.span[0] + offset, letter.span[1] + offset];
    Some(Choice::Option { place: letter.option?, by: "last line", span })
}

static LEADING: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"^[\s*_`"'“‘#>(（\[【{<$|~\x{feff}-]*([A-Za-zＡ-Ｚａ-ｚ])"#));
static LISTED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"(?m)(?:^|[.;]\s)[\s*_#>(\[-]*(?:[Oo]ption\s+)?([A-Za-zＡ-Ｚ])[*_)\]]*\s?[.):：．、]"#)
});
static SET_APART: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"^[*_`"'”’$)\]}）】>|]*\s*(?:$|[\n.):：．、,，;；=|<。!！?？]|[-–—]\s)|^[*_`"'”’$)\]}）】>|]+\s|^\s*\n"#,
    )
});

/// A response that begins with a letter: "B. text", "B) text", "B because …".
fn leading_letter(text: &str, options: &Options) -> Option<Choice> {
    let found = LEADING.captures(text)?.get(1)?;
    let letter = letter_at(text, found.start(), options)?;
    let place = letter.option?;
    let behind = &text[letter.span[1]..];
    if names_another(behind, place, options) {
        return Some(Undecided("several letters"));
    }
    // A response that goes through the options begins with a letter too.
    let mut listed = LISTED.captures_iter(text).filter_map(|captures| {
        let letter = letter_at(text, captures.get(1)?.start(), options)?;
        letter.option
    });
    if listed.any(|other| other != place) || is_refuted(behind) {
        return None;
    }
    let set_apart = SET_APART.is_match(behind);
    let connected = LOWER_WORD.captures(behind).and_then(|captures| captures.get(1)).is_some_and(|word| {
        CONNECTORS.contains(&word.as_str()) && !(text[letter.span[0]..].starts_with('I'))
    });
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
fn only_named(text: &str, options: &Options) -> Option<Choice> {
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
