//! The rules by name and version: each a pure function from a row to a reading.

use super::reading::{Reading, Row, Verdict};
use super::{mmmu, shardscope, vlmevalkit};
use crate::problem::{Problem, Result};

/// A way of reading and judging answers. The same rule gives the same reading for the same row, always.
///
/// What [`Reading::read`] holds, and what decides, is said in the module of each rule:
/// [`shardscope`], [`vlmevalkit`], [`mmmu`] (also for `mmmu-pro`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Rule {
    /// Our own: reads what a person would read, never guesses.
    #[default]
    Shardscope,
    /// VLMEvalKit with exact matching, in one of its behaviours.
    VlmEvalKit(vlmevalkit::Version),
    /// The official evaluation of MMMU.
    Mmmu,
    /// The official evaluation of MMMU-Pro.
    MmmuPro,
}

impl Rule {
    /// Every rule, the default first.
    pub fn all() -> [Self; 6] {
        use vlmevalkit::Version;
        [
            Self::Shardscope,
            Self::VlmEvalKit(Version::Since2026June),
            Self::VlmEvalKit(Version::Since2025August),
            Self::VlmEvalKit(Version::Until2025July),
            Self::Mmmu,
            Self::MmmuPro,
        ]
    }

    /// The rule of a name, with or without a version: `shardscope`, `vlmevalkit` (the newest),
    /// `vlmevalkit@2026-06`, `vlmevalkit@2025-08`, `vlmevalkit@2025-07`, `mmmu`, `mmmu-pro`.
    ///
    /// # Errors
    /// An unknown name or version is refused with the list of the known ones.
    pub fn by_name(name: &str) -> Result<Self> {
        let wanted = name.trim();
        Self::all()
            .into_iter()
            .find(|rule| {
                let full = rule.name();
                full == wanted || full.split('@').next() == Some(wanted)
            })
            .ok_or_else(|| {
                let known: Vec<_> = Self::all().iter().map(Self::name).collect();
                Problem::new(format!("there is no rule \"{wanted}\"")).fix(format!(
                    "use one of {} (the name before @ alone means the newest)",
                    known.join(", ")
                ))
            })
    }

    /// The name with its version, as sessions record it.
    pub fn name(&self) -> String {
        match self {
            Self::Shardscope => format!("shardscope@{}", shardscope::VERSION),
            Self::VlmEvalKit(version) => format!("vlmevalkit@{}", version.name()),
            Self::Mmmu => format!("mmmu@{}", mmmu::VERSION),
            Self::MmmuPro => format!("mmmu-pro@{}", mmmu::VERSION),
        }
    }

    /// Reads one answer and judges it. A row without an answer (null) is `unscored` unless it is `unparsed`.
    pub fn read(&self, row: &Row) -> Reading {
        let reading = match self {
            Self::Shardscope => shardscope::read(row),
            Self::VlmEvalKit(version) => vlmevalkit::read(row, *version),
            Self::Mmmu => mmmu::read(row),
            Self::MmmuPro => mmmu::read_pro(row),
        };
        if row.answer.is_null() && reading.verdict != Verdict::Unparsed {
            return Reading { verdict: Verdict::Unscored, score: 0.0, ..reading };
        }
        reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_rules() {
        for rule in Rule::all() {
            assert_eq!(Rule::by_name(&rule.name()), Ok(rule));
        }
        assert_eq!(Rule::by_name("vlmevalkit").map(|r| r.name()).as_deref(), Ok("vlmevalkit@2026-06"));
        let refusal = Rule::by_name("gpt").unwrap_err().to_string();
        assert!(refusal.contains("\"gpt\"") && refusal.contains("mmmu-pro"), "{refusal}");
    }
}
