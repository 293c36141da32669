//! The report: one page that opens without a network, with the score, charts, and every question with its pictures.
//!
//! Whatever a dataset or a model wrote is text here and nothing else: the page's own script makes every element, the
//! data lies in blocks that no browser runs, and the page forbids any script but its own.

mod charts;
mod picture;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rayon::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::export::{Out, Pictures, Stop};
use super::journal::{Answer, Finish};
use super::manifest::Manifest;
use super::overrides::Override;
use super::record::Record;
use crate::scoring::Accuracy;
use crate::scoring::judge::{BY_JUDGE, Outcome};
use crate::{Problem, Result};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Answers whose pictures are prepared together.
const TOGETHER: usize = 32;

/// How much goes into a report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Bytes of all pictures together; the more pictures, the smaller each of them.
    pub pictures: usize,
    /// Longest side of a picture, in pixels.
    pub side: u32,
    /// Longest text of a question or an answer, in characters.
    pub text: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pictures: 48 << 20, side: 640, text: 20_000 }
    }
}

/// What a first look at all answers gives.
#[derive(Default)]
struct Overview {
    all: Accuracy,
    categories: BTreeMap<String, Accuracy>,
    super_categories: BTreeMap<String, Accuracy>,
    pictures: usize,
    cut_short: usize,
    output_tokens: u64,
    seconds: f64,
    /// Answers that a judge was asked about, those that its reply decided, and what that cost.
    judged: usize,
    decided: usize,
    cost: Option<f64>,
}

impl Overview {
    fn of(record: &Record) -> Result<Self> {
        let mut overview = Self::default();
        for answer in record.answers() {
            let answer = answer?;
            let count = |tally: &mut Accuracy| tally.add(answer.verdict, answer.score);
            count(&mut overview.all);
            if let Some(category) = &answer.category {
                count(overview.categories.entry(category.clone()).or_default());
            }
            if let Some(category) = &answer.super_category {
                count(overview.super_categories.entry(category.clone()).or_default());
            }
            overview.pictures += answer.images.len();
            overview.cut_short += usize::from(answer.finish == Finish::Length);
            overview.output_tokens += answer.output_tokens;
            overview.seconds += answer.seconds.total;
            if let Some(judge) = &answer.judge {
                overview.judged += usize::from(judge.outcome != Outcome::NotAsked);
                overview.decided += usize::from(answer.by == BY_JUDGE);
                if let Some(cost) = judge.reply.as_ref().and_then(|reply| reply.cost) {
                    overview.cost = Some(overview.cost.unwrap_or(0.0) + cost);
                }
            }
        }
        Ok(overview)
    }
}

/// Writes the report of a session, and tells what it had to leave out.
pub(super) fn write(
    record: &Record,
    out: &mut Out,
    pictures: &Pictures,
    limits: &Limits,
) -> Result<Vec<Problem>, Stop> {
    let overview = Overview::of(record)?;
    let manifest = record.manifest();
    write_head(manifest, out)?;
    write_summary(record, &overview, out)?;
    charts::write("By category", &overview.categories, out)?;
    charts::write("By group of categories", &overview.super_categories, out)?;
    write_settings(manifest, out)?;
    out.write_all(BROWSER.as_bytes())?;
    let warnings = write_questions(record, &overview, out, pictures, limits)?;
    write!(out, "<script>{SCRIPT}</script>\n</body>\n</html>\n")?;
    Ok(warnings)
}

/// Where the questions are shown; the script fills it.
const BROWSER: &str = r#"<section id="browser">
<h2>Questions</h2>
<noscript><p class="note">The questions are shown by a small script inside this file. Allow scripts to read them.</p></noscript>
<div class="tools" role="search">
<input id="search" type="search" placeholder="Search questions and answers" aria-label="Search questions and answers" autocomplete="off">
<select id="category" aria-label="Category"></select>
<select id="order" aria-label="Order"><option value="">Dataset order</option><option value="score">Lowest credit first</option><option value="slow">Slowest first</option><option value="long">Longest answer first</option></select>
<div id="verdicts" role="group" aria-label="Verdict"></div>
<p id="shown" aria-live="polite"></p>
</div>
<div id="list"></div>
<button id="more" type="button" hidden>Show more</button>
</section>
<dialog id="large"><form method="dialog"><button aria-label="Close">×</button></form><img alt=""><p></p></dialog>
"#;

fn write_head(manifest: &Manifest, out: &mut Out) -> Result<(), Stop> {
    let hash = |text: &str| BASE64.encode(Sha256::digest(text));
    let title = format!("{} on {}", manifest.checkpoint.name, manifest.dataset.name);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        hash(STYLE),
        hash(SCRIPT),
        escape(&title),
    )?;
    Ok(())
}

fn write_summary(record: &Record, overview: &Overview, out: &mut Out) -> Result<(), Stop> {
    let manifest = record.manifest();
    let all = &overview.all;
    write!(
        out,
        "<header>\n<p class=\"eyebrow\">Evaluation report</p>\n<h1>{}</h1>\n<p class=\"subject\">on {}, {}</p>\n</header>\n",
        escape(&manifest.checkpoint.name),
        escape(&manifest.dataset.name),
        escape(manifest.started.get(..10).unwrap_or(&manifest.started)),
    )?;
    if record.settled() < record.questions() {
        writeln!(
            out,
            "<p class=\"note\">This session is not complete: {} of {} questions are answered.</p>",
            record.settled(),
            record.questions()
        )?;
    }
    if record.damaged() > 0 {
        writeln!(
            out,
            "<p class=\"note\">{} damaged lines of the session are left out.</p>",
            record.damaged()
        )?;
    }
    out.write_all(b"<section class=\"score\">\n<div>\n")?;
    match (all.accuracy(), all.interval()) {
        (Some(accuracy), (low, high)) => write!(
            out,
            "<p class=\"big\">{}<small>&nbsp;%</small></p>\n\
             <p class=\"interval\">accuracy; 95&nbsp;% interval {} to {}&nbsp;%, {} questions scored</p>\n",
            percent(accuracy),
            percent(low),
            percent(high),
            all.total
        )?,
        _ => out.write_all(b"<p class=\"big\">not scored</p>\n")?,
    }
    let said = record.overrides().len();
    if let (1.., Some(accuracy)) = (said, record.overridden_tally().accuracy()) {
        writeln!(
            out,
            "<p class=\"person\">✎ {}&nbsp;% with {said} {} set by a person in place of the machine's</p>",
            percent(accuracy),
            if said == 1 { "verdict" } else { "verdicts" },
        )?;
    }
    out.write_all(b"</div>\n<div>\n")?;
    charts::write_verdicts(all, out)?;
    out.write_all(b"</div>\n</section>\n")?;
    let mut facts = vec![format!("{} answers", all.questions())];
    if overview.output_tokens > 0 {
        facts.push(format!("{} tokens written", overview.output_tokens));
    }
    if overview.seconds > 0.0 {
        facts.push(format!("{} of computing", duration(overview.seconds)));
    }
    if overview.cut_short > 0 {
        facts.push(format!("{} answers cut at the longest length allowed", overview.cut_short));
    }
    if overview.judged > 0 {
        let cost = overview.cost.map(|cost| format!(", for {cost:.4}")).unwrap_or_default();
        facts.push(format!(
            "a judge was asked about {} answers and decided {}{cost}",
            overview.judged, overview.decided
        ));
    }
    if all.failed + all.out_of_memory > 0 {
        facts.push("questions that failed or ran out of memory have no credit".into());
    }
    if all.unscored > 0 {
        facts.push("unscored questions do not count in the accuracy".into());
    }
    writeln!(out, "<p class=\"facts\">{}.</p>", facts.join(" · "))?;
    Ok(())
}

fn write_settings(manifest: &Manifest, out: &mut Out) -> Result<(), Stop> {
    let (checkpoint, dataset, settings) = (&manifest.checkpoint, &manifest.dataset, &manifest.settings);
    let devices: Vec<String> = manifest
        .devices
        .iter()
        .map(|device| {
            if device.model.is_empty() {
                device.name.clone()
            } else {
                format!("{} ({})", device.name, device.model)
            }
        })
        .collect();
    let selection = &dataset.selection;
    let chosen = [
        selection.limit.map(|limit| format!("the first {limit}")),
        selection.sample.map(|sample| format!("a random {sample} (seed {})", selection.seed.unwrap_or(0))),
        selection.category.as_ref().map(|category| format!("category {category}")),
        selection.split.as_ref().map(|split| format!("split {split}")),
        (!selection.ids.is_empty()).then(|| "chosen by name".to_string()),
    ];
    let chosen: Vec<String> = chosen.into_iter().flatten().collect();
    let of = match (selection.count, dataset.questions) {
        (0, questions) => format!("{questions}"),
        (count, questions) => format!("{count} of {questions}"),
    };
    let mut rows: Vec<(&str, String)> = vec![
        ("Checkpoint", checkpoint.name.clone()),
        ("Checkpoint folder", checkpoint.path.clone()),
        ("Checkpoint layout", checkpoint.format.clone()),
        ("Prompt template", checkpoint.template.clone()),
        ("Configuration hash", checkpoint.config_hash.clone()),
        ("Dataset", dataset.name.clone()),
        ("Dataset file", dataset.path.clone()),
        ("Dataset hash", dataset.hash.clone()),
        ("Questions", if chosen.is_empty() { of } else { format!("{of}: {}", chosen.join(", ")) }),
    ];
    if let Value::Object(all) = serde_json::to_value(settings)? {
        for (name, value) in all.iter().filter(|(_, value)| !value.is_null()) {
            let text = match name.as_str() {
                "sampling" => settings.sampling.to_string(),
                _ => value.as_str().map_or_else(|| value.to_string(), str::to_string),
            };
            rows.push(match SETTINGS.iter().find(|known| known.0 == name) {
                Some((_, label)) => (label, text),
                None => ("Further setting", format!("{name}: {text}")),
            });
        }
    }
    rows.extend([
        ("Layout", manifest.layout.name.clone()),
        ("Devices", devices.join(", ")),
        ("Begun", manifest.started.clone()),
        ("Program", manifest.program.clone()),
    ]);
    out.write_all(b"<details class=\"settings\"><summary>How it was run</summary>\n<table>\n")?;
    for (label, text) in rows.iter().filter(|(_, text)| !text.is_empty()) {
        writeln!(out, "<tr><th scope=\"row\">{label}</th><td>{}</td></tr>", escape(text))?;
    }
    out.write_all(b"</table></details>\n")?;
    Ok(())
}

/// Settings under names for people.
const SETTINGS: [(&str, &str); 13] = [
    ("prompt_style", "Prompt style"),
    ("system_prompt", "System prompt"),
    ("rule", "Rule"),
    ("max_new_tokens", "Longest answer, tokens"),
    ("max_tiles", "Most tiles of an image"),
    ("dtype", "Number format"),
    ("sampling", "Sampling"),
    ("top_logprobs", "Log-probabilities kept"),
    ("batch", "Questions in flight"),
    ("threads", "Threads"),
    ("kind", "Kind of questions, as stated"),
    ("answer_type", "Type of answers, as stated"),
    ("judge", "Judge"),
];

/// Writes every question as a block of data, each picture once and before the first question that shows it.
fn write_questions(
    record: &Record,
    overview: &Overview,
    out: &mut Out,
    pictures: &Pictures,
    limits: &Limits,
) -> Result<Vec<Problem>, Stop> {
    let fit = picture::Fit::of(overview.pictures, limits);
    let mut known: HashMap<[u8; 32], usize> = HashMap::new();
    let (mut used, mut left_out, mut not_shown) = (0, 0, 0);
    let mut answers = record.answers_at(record.dataset_order()).peekable();
    while answers.peek().is_some() {
        let batch = answers.by_ref().take(TOGETHER).collect::<Result<Vec<Answer>>>()?;
        let prepared: Vec<Vec<Option<picture::Prepared>>> = batch
            .par_iter()
            .map(|answer| {
                let prepare = |number| {
                    picture::prepare(&pictures(answer, number)?, &fit, |hash| known.contains_key(hash))
                };
                (0..answer.images.len()).map(prepare).collect()
            })
            .collect();
        for (answer, prepared) in batch.iter().zip(prepared) {
            let mut shown = Vec::new();
            for picture in prepared {
                let id = match picture {
                    None => None,
                    Some(picture) => match (known.get(&picture.hash), picture.url) {
                        (Some(&id), _) => Some(id),
                        (None, Some(url)) if used + url.len() <= limits.pictures => {
                            let id = known.len();
                            writeln!(
                                out,
                                "<script type=\"application/json\" id=\"p{id}\">\"{url}\"</script>"
                            )?;
                            used += url.len();
                            known.insert(picture.hash, id);
                            Some(id)
                        }
                        (None, Some(_)) => {
                            left_out += 1;
                            None
                        }
                        (None, None) => None,
                    },
                };
                not_shown += usize::from(id.is_none());
                shown.push(id);
            }
            let said = record.overrides().get(&answer.index);
            let block = question(answer, said, &shown, limits.text).to_string();
            writeln!(out, "<script type=\"application/json\" class=\"q\">{}</script>", inert(&block))?;
        }
    }
    let mut warnings = Vec::new();
    if left_out > 0 {
        warnings.push(Problem::new(format!(
            "{left_out} pictures are left out of the report: all together would be larger than {} MiB",
            limits.pictures >> 20
        )));
    }
    if not_shown > left_out {
        warnings.push(Problem::new(format!(
            "{} pictures are not at hand or cannot be read, and are left out",
            not_shown - left_out
        )));
    }
    Ok(warnings)
}

/// One question as the script reads it; `said` is what a person set against the machine's verdict.
fn question(answer: &Answer, said: Option<&Override>, pictures: &[Option<usize>], longest: usize) -> Value {
    let cut = |text: &str| match text.char_indices().nth(longest) {
        Some((at, _)) => format!("{} […]", &text[..at]),
        None => text.to_string(),
    };
    let shown = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => cut(text),
        Value::Array(all) => {
            let all: Vec<Cow<str>> = all
                .iter()
                .map(|it| it.as_str().map_or_else(|| it.to_string().into(), Cow::Borrowed))
                .collect();
            cut(&all.join(" | "))
        }
        other => cut(&other.to_string()),
    };
    let images: Vec<Value> = answer
        .images
        .iter()
        .zip(pictures)
        .map(|(image, id)| json!([id, image.name, image.width, image.height, image.grid[0], image.grid[1]]))
        .collect();
    let options: Vec<Value> =
        answer.options.iter().map(|(letter, text)| json!([letter, shown(text)])).collect();
    let response = cut(&answer.response);
    json!({
        "i": answer.index,
        "id": answer.id,
        "c": answer.category,
        "q": cut(&answer.question),
        "o": options,
        "g": shown(&answer.answer),
        "r": response,
        "t": answer.thinking.as_deref().map(cut),
        "a": shown(&answer.read),
        "v": answer.verdict,
        "s": answer.score,
        "b": answer.by,
        "f": answer.finish,
        "e": answer.error,
        "j": answer.judge.as_ref().map(|judge| json!([
            judge.judge,
            judge.outcome,
            judge.reply.as_ref().map(|reply| cut(&reply.text)),
            judge.problem,
            answer.by == BY_JUDGE,
        ])),
        "h": said.map(|said| json!([said.verdict, cut(&said.reason)])),
        "m": units(&answer.response, answer.span).filter(|span| span[1] <= response.encode_utf16().count()),
        "p": images,
        "n": [answer.tiles, answer.prompt_tokens, answer.output_tokens],
        "d": answer.seconds.total,
    })
}

/// A span of bytes as one of UTF-16 units, which is how a browser counts; nothing where it cuts a character.
fn units(text: &str, span: Option<[usize; 2]>) -> Option<[usize; 2]> {
    let [from, to] = span?;
    let count = |end: usize| Some(text.get(..end)?.encode_utf16().count());
    (from < to).then_some(())?;
    Some([count(from)?, count(to)?])
}

/// Text between tags or in a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Not allowed in a page, and nothing that can be seen.
            '\0' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// JSON inside a page: these characters stand inside strings only, and there as their escapes no tag can begin or end.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// A share as a number of percent.
fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

/// Seconds for people.
fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    match minutes {
        _ if seconds < 90.0 => format!("{seconds:.1} s"),
        ..90 => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_counted_as_a_browser_counts() {
        assert_eq!(units("答案 😀 B", Some([12, 13])), Some([6, 7]));
        for span in [None, Some([0, 1]), Some([3, 3]), Some([2, 99]), Some([9, 2])] {
            assert_eq!(units("答案", span), None, "{span:?}");
        }
    }

    #[test]
    fn durations_are_for_people() {
        assert_eq!(
            [0.25, 89.0, 90.0, 5_399.0, 7_322.0].map(duration),
            ["0.2 s", "89.0 s", "2 min", "1 h 30 min", "2 h 2 min"]
        );
    }
}
