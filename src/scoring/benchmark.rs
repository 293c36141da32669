//! Which figures a benchmark reports, by its name: the choice that VLMEvalKit's dataset classes and MMMU's authors
//! make among the sums of [`aggregate`].

use super::aggregate::{self, Scored, Table};
use super::reading::AnswerType;
use super::rule::Rule;

/// What a benchmark reports of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// What they are, in words.
    pub title: String,
    /// The figures; which of them are percent and which fractions is said at each function of [`aggregate`].
    pub table: Table,
}

/// Benchmarks of choices whose names ask for circular evaluation (`ImageMCQDataset.evaluate_heuristic`).
const CIRCULAR: [&str; 4] = ["mmbench", "ccbench", "circular", "mmcr"];

/// Whether a dataset of choices is evaluated circularly.
pub fn is_circular(dataset: &str) -> bool {
    let name = dataset.to_ascii_lowercase();
    CIRCULAR.iter().any(|part| name.contains(part))
}

/// The figures that a benchmark of this name reports of its judged rows under a rule: under the rules of VLMEvalKit
/// those of its dataset's class, under `mmmu` the official summary by discipline and subject. `None` where the rule
/// has none for it. `known` says that VLMEvalKit knows the dataset; `kind` is how most rows are judged.
pub fn figures(
    rule: &Rule,
    dataset: &str,
    known: bool,
    kind: AnswerType,
    rows: &[Scored<'_>],
) -> Option<Figures> {
    let figures = |title: &str, table: Table| Some(Figures { title: title.to_owned(), table });
    let name = dataset.strip_suffix("_local").unwrap_or(dataset);
    let mmmu = name.to_ascii_uppercase().contains("MMMU") && !name.to_ascii_uppercase().contains("PRO");
    match rule {
        _ if rows.is_empty() => None,
        Rule::Mmmu if mmmu => figures("MMMU, official summary", aggregate::mmmu(rows)),
        Rule::VlmEvalKit(_) => match (name, kind) {
            ("MME", _) => figures("MME", aggregate::mme(rows)),
            ("HallusionBench", _) => figures("HallusionBench", aggregate::hallusion_bench(rows)),
            ("POPE", _) => figures("POPE", aggregate::pope(rows)),
            ("AMBER", _) => figures("AMBER", aggregate::amber(rows)),
            ("VSR-zeroshot", _) => figures("VSR", aggregate::vsr(rows)),
            ("OCRBench", _) => figures("OCRBench", aggregate::ocrbench(rows)),
            (_, AnswerType::Option) if name.contains("MME-RealWorld") => {
                figures("MME-RealWorld", aggregate::mme_real_world(rows))
            }
            ("MMVP", AnswerType::Option) => figures("MMVP", aggregate::mmvp(rows)),
            (_, AnswerType::Option) if name.starts_with("MMT-Bench") => {
                figures("MMT-Bench", aggregate::mmt_bench(rows))
            }
            (_, AnswerType::Option) if name.starts_with("HRBench") => {
                figures("HRBench", aggregate::hrbench(rows))
            }
            ("CV-Bench-2D", AnswerType::Option) => figures("CV-Bench-2D", aggregate::cv_bench_2d(rows)),
            (_, AnswerType::Option) if is_circular(name) => {
                let questions = aggregate::circular(rows);
                figures("Circular evaluation", aggregate::multiple_choice(&questions))
            }
            (_, AnswerType::Option | AnswerType::MmmuOpen) if known || mmmu => {
                figures("Multiple choice", aggregate::multiple_choice(rows))
            }
            (_, AnswerType::YesNo) if known => figures("Yes or no", aggregate::yes_no(rows)),
            (
                _,
                AnswerType::VqaScore
                | AnswerType::Anls
                | AnswerType::RelaxedAccuracy
                | AnswerType::AccuracyMax
                | AnswerType::AccuracyMean,
            ) if known => figures("VQA", aggregate::vqa(rows)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_choose_the_sums() {
        let rows = [("1", 1.0), ("1000001", 0.0), ("2", 1.0), ("1000002", 1.0)]
            .map(|(index, score)| Scored { index, score, ..Default::default() });
        let of = |rule: &str, name: &str, known, kind| {
            let rule = Rule::by_name(rule).unwrap();
            figures(&rule, name, known, kind, &rows).map(|figures| figures.title)
        };
        let option = AnswerType::Option;
        assert_eq!(of("vlmevalkit", "MME", true, AnswerType::YesNo).as_deref(), Some("MME"));
        assert_eq!(of("vlmevalkit@2025-07", "POPE_local", true, AnswerType::YesNo).as_deref(), Some("POPE"));
        assert_eq!(of("vlmevalkit", "mine_circular", false, option).as_deref(), Some("Circular evaluation"));
        assert_eq!(of("vlmevalkit", "MME-RealWorld-Lite", true, option).as_deref(), Some("MME-RealWorld"));
        assert_eq!(of("vlmevalkit", "MMStar", true, option).as_deref(), Some("Multiple choice"));
        assert_eq!(of("mmmu", "MMMU", false, option).as_deref(), Some("MMMU, official summary"));
        for (rule, name) in [("vlmevalkit", "mine"), ("shardscope", "MME"), ("mmmu", "MMStar")] {
            assert_eq!(of(rule, name, false, option), None, "{rule} {name}");
        }
        let rule = Rule::by_name("vlmevalkit").unwrap();
        let table = figures(&rule, "MMBench_DEV_EN", true, option, &rows).unwrap().table;
        assert_eq!(table.get("none", "Overall"), Some(0.5));
    }
}
