//! How far measured memory was from the prediction on this machine, by component; plain data that is stored as JSON.

use std::collections::BTreeMap;

use crate::{Problem, Result};

/// The parts a prediction is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// Weights.
    Weights,
    /// Keys and values.
    Kv,
    /// Temporary memory of the vision tower and the projector.
    Vision,
    /// Temporary memory of the decoder layers while the prompt is read.
    Prefill,
    /// Temporary memory of the head.
    Head,
}

impl Component {
    /// All parts.
    pub const ALL: [Component; 5] =
        [Component::Weights, Component::Kv, Component::Vision, Component::Prefill, Component::Head];
}

/// Measured over predicted, as the mean of the measurements made so far.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Factor {
    /// Measured bytes over predicted bytes.
    pub factor: f64,
    /// Measurements it rests on.
    pub count: u32,
}

/// Correction factors for one kind of device, and the driver's overhead measured there.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Calibration {
    /// Factors by component; a component that was never measured has none and counts as exactly right.
    #[serde(default)]
    pub factors: BTreeMap<Component, Factor>,
    /// Driver overhead in bytes.
    #[serde(default)]
    pub overhead: Option<u64>,
}

/// A measurement can be off by at most this much before it is taken for a mistake (another process, a wrong plan).
const BELIEVABLE: std::ops::RangeInclusive<f64> = 0.2..=5.0;

impl Calibration {
    /// In words: `vision ×1.02, prefill ×0.98`; none where nothing was measured.
    pub fn words(&self) -> Option<String> {
        let word = |component: &Component| match component {
            Component::Weights => "weights",
            Component::Kv => "keys and values",
            Component::Vision => "vision",
            Component::Prefill => "prefill",
            Component::Head => "head",
        };
        let each = self.factors.keys().map(|c| format!("{} ×{:.3}", word(c), self.factor(*c)));
        let words: Vec<String> = each.collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// The factor of a component, 1 where nothing was measured.
    pub fn factor(&self, component: Component) -> f64 {
        self.factors.get(&component).map_or(1.0, |f| f.factor).clamp(*BELIEVABLE.start(), *BELIEVABLE.end())
    }

    /// Bytes corrected by the component's factor.
    pub fn apply(&self, component: Component, bytes: u64) -> u64 {
        match self.factors.get(&component) {
            None => bytes,
            Some(_) => (bytes as f64 * self.factor(component)).round() as u64,
        }
    }

    /// Takes in a measurement of a prediction that was made *without* corrections. Returns whether it was believed:
    /// nothing is learnt from zero, or from a ratio outside 0.2 to 5.
    pub fn learn(&mut self, component: Component, predicted: u64, measured: u64) -> bool {
        let ratio = measured as f64 / predicted as f64;
        if predicted == 0 || !BELIEVABLE.contains(&ratio) {
            return false;
        }
        let known = self.factors.entry(component).or_insert(Factor { factor: ratio, count: 0 });
        // The last sixteen measurements weigh, so that a driver update is forgotten in time.
        known.count = known.count.min(15) + 1;
        known.factor += (ratio - known.factor) / f64::from(known.count);
        true
    }
}

/// What a run has measured of one component on one card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson {
    /// The card's name, or `cpu`.
    pub card: String,
    /// The component.
    pub component: Component,
    /// Bytes that were predicted, without corrections.
    pub predicted: u64,
    /// Bytes that were measured.
    pub measured: u64,
}

/// What was learnt on this machine, by the name of the card (or `cpu`).
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Calibrations {
    /// Format of the file.
    pub version: u32,
    /// By card.
    pub cards: BTreeMap<String, Calibration>,
}

impl Calibrations {
    /// Reads the stored text; an unknown version is refused rather than guessed at.
    pub fn from_json(text: &str) -> Result<Self> {
        let read: Self = serde_json::from_str(text).map_err(|error| {
            Problem::new(format!("the stored calibration cannot be read: {error}"))
                .fix("delete it; the next run measures again")
        })?;
        if read.version != 1 {
            return Err(Problem::new(format!("the stored calibration has version {}", read.version))
                .fix("delete it; the next run measures again"));
        }
        let sound = |c: &Calibration| c.factors.values().all(|f| f.factor.is_finite() && f.factor > 0.0);
        if !read.cards.values().all(sound) {
            return Err(Problem::new("the stored calibration holds a factor that is not a positive number")
                .fix("delete it; the next run measures again"));
        }
        Ok(read)
    }

    /// The text to store.
    pub fn to_json(&self) -> String {
        let current = Self { version: 1, cards: self.cards.clone() };
        serde_json::to_string_pretty(&current).unwrap_or_default()
    }

    /// Takes in what a run has measured.
    pub fn learn(&mut self, lessons: &[Lesson]) {
        for Lesson { card, component, predicted, measured } in lessons {
            self.cards.entry(card.clone()).or_default().learn(*component, *predicted, *measured);
        }
    }

    /// What was learnt for a card; nothing learnt means no correction.
    pub fn of(&self, card: &str) -> Calibration {
        self.cards.get(card).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_the_mean_and_survives_storage() {
        let mut known = Calibrations::default();
        let card = known.cards.entry("NVIDIA H100".into()).or_default();
        assert!(card.learn(Component::Vision, 1000, 1200));
        assert!(card.learn(Component::Vision, 1000, 1400));
        assert!(!card.learn(Component::Vision, 0, 1400));
        assert!(!card.learn(Component::Kv, 1000, 90_000), "another process, not our error");
        card.overhead = Some(7);
        let back = Calibrations::from_json(&known.to_json()).unwrap();
        assert_eq!(back.of("NVIDIA H100").apply(Component::Vision, 1000), 1300);
        assert_eq!(back.of("NVIDIA H100").apply(Component::Kv, 1000), 1000);
        assert_eq!(back.of("unknown"), Calibration::default());
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        for bad in [
            "",
            "{}",
            r#"{"version":2,"cards":{}}"#,
            r#"{"version":1,"cards":{"x":{"factors":{"kv":{"factor":-1.0,"count":1}}}}}"#,
        ] {
            assert!(Calibrations::from_json(bad).is_err(), "{bad}");
        }
    }
}
