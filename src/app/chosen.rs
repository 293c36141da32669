//! The settings of runs as they survive a restart.

use serde::{Deserialize, Serialize};

use crate::engine::Sampling;
use crate::evaluation::{Choices, Questions};
use crate::plan::Layout;
use crate::scoring::Rule;

/// Largest counts that are taken from a file that others may have written.
const LONGEST: usize = 1 << 20;

/// What is chosen for runs, in words and numbers that any version can read; what is missing or unknown is as by default.
/// What was said about a dataset belongs to that dataset, and is not kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Chosen {
    /// Rule by which answers are read.
    pub rule: String,
    /// Named way of building prompts.
    pub style: String,
    /// System prompt in place of the template's own.
    pub system: Option<String>,
    /// Longest answer in tokens.
    pub max_new_tokens: usize,
    /// Most tiles an image.
    pub max_tiles: Option<u32>,
    /// How tokens are drawn, where they are.
    pub drawn: Option<Drawn>,
    /// Log-probabilities kept for so many tokens.
    pub top_logprobs: usize,
    /// Number format of the weights.
    pub dtype: String,
    /// Devices, as the SPEC of the command line.
    pub devices: String,
    /// Layout, by name or file.
    pub layout: String,
    /// Questions in flight.
    pub batch: usize,
    /// Copies of the model.
    pub copies: usize,
    /// At most this many questions, from the first.
    pub limit: Option<usize>,
    /// A random sample of this many.
    pub sample: Option<usize>,
    /// Seed of the sample.
    pub seed: Option<u64>,
    /// Category of the questions.
    pub category: Option<String>,
    /// Split of the questions.
    pub split: Option<String>,
}

/// The numbers of a draw.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Drawn {
    /// Divides the logits.
    pub temperature: f64,
    /// The smallest set of tokens with this probability.
    pub top_p: Option<f64>,
    /// So many of the likeliest tokens.
    pub top_k: Option<usize>,
    /// The same seed draws the same tokens.
    pub seed: u64,
}

impl Default for Chosen {
    fn default() -> Self {
        Self::of(&Choices::default())
    }
}

impl Chosen {
    /// These choices, as they are kept.
    pub fn of(choices: &Choices) -> Self {
        let Choices { settings, questions, .. } = choices;
        let drawn = match settings.sampling {
            Sampling::Greedy => None,
            Sampling::Sample { temperature, top_p, top_k, seed } => {
                Some(Drawn { temperature, top_p, top_k, seed })
            }
        };
        Self {
            rule: choices.rule.clone(),
            style: settings.style.name().to_owned(),
            system: settings.system.clone(),
            max_new_tokens: settings.max_new_tokens,
            max_tiles: settings.max_tiles,
            drawn,
            top_logprobs: settings.top_logprobs,
            dtype: choices.dtype.clone(),
            devices: choices.devices.clone(),
            layout: choices.layout.clone(),
            batch: choices.batch,
            copies: choices.replicas,
            limit: questions.limit,
            sample: questions.sample,
            seed: questions.seed,
            category: questions.category.clone(),
            split: questions.split.clone(),
        }
    }

    /// The choices. A rule or a layout that is no more is the usual one; numbers that no screen would have let through
    /// are brought within bounds.
    pub fn choices(&self) -> Choices {
        let usual = Choices::default();
        let mut settings = usual.settings.clone();
        settings.style = self.style.parse().unwrap_or(settings.style);
        settings.system.clone_from(&self.system);
        settings.max_new_tokens = self.max_new_tokens.clamp(1, LONGEST);
        settings.max_tiles = self.max_tiles.map(|most| most.clamp(1, 1024));
        settings.top_logprobs = self.top_logprobs.min(100);
        if let Some(drawn) = self.drawn.filter(|drawn| drawn.temperature.is_finite()) {
            settings.sampling = Sampling::Sample {
                temperature: drawn.temperature.clamp(0.01, 10.0),
                top_p: drawn.top_p.filter(|share| *share > 0.0 && *share < 1.0),
                top_k: drawn.top_k.filter(|count| *count > 0),
                seed: drawn.seed,
            };
        }
        let is_layout = Layout::parse(&self.layout).is_ok() || std::path::Path::new(&self.layout).is_file();
        Choices {
            questions: Questions {
                limit: self.limit.map(|it| it.max(1)),
                sample: self.sample.map(|it| it.max(1)),
                seed: self.seed,
                category: self.category.clone(),
                split: self.split.clone(),
                ..usual.questions
            },
            settings,
            rule: if Rule::by_name(&self.rule).is_ok() { self.rule.clone() } else { usual.rule },
            dtype: self.dtype.clone(),
            devices: self.devices.clone(),
            layout: if is_layout { self.layout.clone() } else { usual.layout },
            batch: self.batch.clamp(1, 1024),
            replicas: self.copies.clamp(1, 1024),
            ..usual
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Style;

    #[test]
    fn what_was_chosen_is_chosen_again() {
        let mut choices =
            Choices { devices: "sim:8x40GiB".into(), replicas: 2, batch: 4, ..Choices::default() };
        choices.rule = "mmmu".into();
        choices.settings.style = Style::MmmuProCot;
        choices.settings.system = Some("Be brief.".into());
        choices.settings.sampling =
            Sampling::Sample { temperature: 0.7, top_p: Some(0.9), top_k: None, seed: u64::MAX };
        choices.questions.sample = Some(30);
        choices.questions.category = Some("Art".into());
        let mut text = String::new();
        struct Shelf<'a>(&'a mut String);
        impl eframe::Storage for Shelf<'_> {
            fn get_string(&self, _: &str) -> Option<String> {
                Some(self.0.clone())
            }
            fn set_string(&mut self, _: &str, value: String) {
                *self.0 = value;
            }
            fn remove_string(&mut self, _: &str) {}
            fn flush(&mut self) {}
        }
        // As eframe writes and reads it.
        eframe::set_value(&mut Shelf(&mut text), "chosen", &Chosen::of(&choices));
        let kept: Chosen = eframe::get_value(&Shelf(&mut text), "chosen").unwrap();
        assert_eq!(kept.choices(), choices);
        assert_eq!(Chosen::default().choices(), Choices::default());
    }

    #[test]
    fn what_is_no_more_or_out_of_bounds_is_as_usual() {
        let kept: Chosen = serde_json::from_str(
            r#"{"rule":"gone","style":"gone","layout":"/no/such/file.json","batch":0,"copies":0,"max_new_tokens":0,
                "drawn":{"temperature":-1.0,"top_p":7.0},"later":[1]}"#,
        )
        .unwrap();
        let choices = kept.choices();
        let usual = Choices::default();
        assert_eq!((&choices.rule, choices.settings.style), (&usual.rule, usual.settings.style));
        assert_eq!((choices.layout.as_str(), choices.batch, choices.replicas), ("auto", 1, 1));
        assert_eq!(choices.settings.max_new_tokens, 1);
        let Sampling::Sample { temperature, top_p, .. } = choices.settings.sampling else { panic!("drawn") };
        assert_eq!((temperature, top_p), (0.01, None));
    }
}
