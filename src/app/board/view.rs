//! How a person looks at the board: what is selected, folded, filtered, and how large chips are.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::model::Kind;
use crate::app::language::tr;
use crate::plan::Layout;

/// What is folded into one chip for each run of its kind on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Folding {
    /// Every unit has its chip.
    Nothing,
    /// Blocks of the vision tower.
    #[default]
    Vision,
    /// Blocks of the vision tower and layers of the decoder.
    All,
}

impl Folding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Vision, Self::All];

    /// Its name in the toolbar.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => tr("Nothing"),
            Self::Vision => tr("Vision"),
            Self::All => tr("All runs"),
        }
    }
}

/// Units that are selected, and the one from which a range is drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    units: BTreeSet<usize>,
    anchor: Option<usize>,
}

impl Selection {
    /// The units, in execution order.
    pub fn units(&self) -> Vec<usize> {
        self.units.iter().copied().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether nothing is selected.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Whether all of these are selected.
    pub fn has(&self, first: usize, last: usize) -> bool {
        self.units.range(first..=last).count() == last + 1 - first
    }

    /// Selects these alone.
    pub fn only(&mut self, units: impl IntoIterator<Item = usize>) {
        self.units = units.into_iter().collect();
        self.anchor = self.units.first().copied();
    }

    /// Adds these, or takes them away where all of them are selected.
    pub fn toggle(&mut self, first: usize, last: usize) {
        if self.has(first, last) {
            self.units.retain(|unit| !(first..=last).contains(unit));
        } else {
            self.units.extend(first..=last);
        }
        self.anchor = Some(first);
    }

    /// Everything from the anchor to these, in execution order.
    pub fn extend_to(&mut self, first: usize, last: usize) {
        let anchor = self.anchor.unwrap_or(first);
        self.units = (anchor.min(first)..=anchor.max(last)).collect();
        self.anchor = Some(anchor);
    }

    /// Selects nothing.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets units that are not there.
    pub fn within(&mut self, count: usize) {
        self.units.retain(|unit| *unit < count);
        self.anchor = self.anchor.filter(|unit| *unit < count);
    }
}

/// Which chips are shown in full colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Part of a unit's name; several are separated by spaces.
    pub text: String,
    /// Kinds, in the order of [`Kind::ALL`].
    pub kinds: [bool; 5],
}

impl Default for Filter {
    fn default() -> Self {
        Self { text: String::new(), kinds: [true; 5] }
    }
}

impl Filter {
    /// Whether a unit passes. A word made of digits alone means a layer or block of that number.
    pub fn passes(&self, kind: Kind, name: &str) -> bool {
        if !self.kinds[kind as usize] {
            return false;
        }
        let mut words = self.text.split_whitespace().peekable();
        if words.peek().is_none() {
            return true;
        }
        let name = name.to_lowercase();
        words.any(|word| {
            if word.bytes().all(|b| b.is_ascii_digit()) {
                name.rsplit('.').next() == Some(word)
            } else {
                name.contains(&word.to_lowercase())
            }
        })
    }

    /// Whether everything passes.
    pub fn is_open(&self) -> bool {
        self.kinds == [true; 5] && self.text.trim().is_empty()
    }
}

/// A panel beside the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Tab {
    /// What there is to say about the plan.
    #[default]
    Findings,
    /// Other layouts.
    Plans,
    /// Devices, real and simulated.
    Devices,
    /// What is taken for granted.
    Assumptions,
    /// On which cards it would fit.
    Needs,
    /// Maps in and out.
    Maps,
}

impl Tab {
    /// All of them, in order.
    pub const ALL: [Self; 6] =
        [Self::Findings, Self::Plans, Self::Devices, Self::Assumptions, Self::Needs, Self::Maps];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Findings => tr("Findings"),
            Self::Plans => tr("Plans"),
            Self::Devices => tr("Devices"),
            Self::Assumptions => tr("Assumed"),
            Self::Needs => tr("Needs"),
            Self::Maps => tr("Maps"),
        }
    }
}

/// Smallest and largest chips.
pub const ZOOM: std::ops::RangeInclusive<f32> = 0.6..=1.8;

/// What of a view survives a restart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// What is folded.
    pub folding: Folding,
    /// Size of chips.
    pub zoom: f32,
    /// The panel beside the board.
    pub tab: Tab,
    /// Whether that panel is open.
    pub is_side_open: bool,
    /// Whether the panel below is open, where somebody has said.
    pub is_lower_open: Option<bool>,
}

impl Default for Kept {
    fn default() -> Self {
        View::default().kept()
    }
}

/// How a person looks at the board.
#[derive(Debug, Clone)]
pub struct View {
    /// What is selected.
    pub selection: Selection,
    /// What is folded.
    pub folding: Folding,
    /// Device and kind whose runs are folded the other way.
    pub turned: BTreeSet<(usize, Kind)>,
    /// Size of chips; 1 is ordinary.
    pub zoom: f32,
    /// What is shown in full colour.
    pub filter: Filter,
    /// The panel beside the board.
    pub tab: Tab,
    /// Whether that panel is open.
    pub is_side_open: bool,
    /// Whether the panel below is open; by the window's height where nobody has said.
    pub is_lower_open: Option<bool>,
    /// The question whose memory is drawn over the answer's length; the worst where none is chosen.
    pub question: Option<usize>,
    /// A layout shown below the plan.
    pub beside: Option<Layout>,
}

impl Default for View {
    fn default() -> Self {
        Self {
            selection: Selection::default(),
            folding: Folding::default(),
            turned: BTreeSet::new(),
            zoom: 1.0,
            filter: Filter::default(),
            tab: Tab::default(),
            is_side_open: true,
            is_lower_open: None,
            question: None,
            beside: None,
        }
    }
}

impl View {
    /// A view as it was left.
    pub fn of(kept: Kept) -> Self {
        let Kept { folding, zoom, tab, is_side_open, is_lower_open } = kept;
        let zoom = if zoom.is_finite() { zoom.clamp(*ZOOM.start(), *ZOOM.end()) } else { 1.0 };
        Self { folding, zoom, tab, is_side_open, is_lower_open, ..Self::default() }
    }

    /// What of it survives a restart.
    pub fn kept(&self) -> Kept {
        Kept {
            folding: self.folding,
            zoom: self.zoom,
            tab: self.tab,
            is_side_open: self.is_side_open,
            is_lower_open: self.is_lower_open,
        }
    }

    /// Whether a run of so many units of a kind on a device is one chip.
    pub fn folds(&self, device: usize, kind: Kind, length: usize) -> bool {
        let by_rule = match (self.folding, kind) {
            (Folding::Vision | Folding::All, Kind::Vision) | (Folding::All, Kind::Layer) => length > 3,
            _ => false,
        };
        let can = length > 1 && matches!(kind, Kind::Vision | Kind::Layer);
        can && (by_rule != self.turned.contains(&(device, kind)))
    }

    /// Folds or unfolds the runs of a kind on a device.
    pub fn turn(&mut self, device: usize, kind: Kind) {
        if !self.turned.remove(&(device, kind)) {
            self.turned.insert((device, kind));
        }
    }

    /// Forgets what belongs to another model or other devices.
    pub fn begin_anew(&mut self) {
        self.selection.clear();
        self.turned.clear();
        self.question = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_drawn_from_where_one_began() {
        let mut selection = Selection::default();
        selection.only([10]);
        selection.extend_to(14, 14);
        assert_eq!(selection.units(), [10, 11, 12, 13, 14]);
        selection.extend_to(7, 8);
        assert_eq!(selection.units(), [7, 8, 9, 10], "the other way, from the same unit");
        selection.toggle(20, 22);
        selection.toggle(8, 8);
        assert_eq!(selection.units(), [7, 9, 10, 20, 21, 22]);
        selection.within(10);
        assert_eq!(selection.units(), [7, 9]);
    }

    #[test]
    fn filters_read_names_and_numbers() {
        let mut filter = Filter { text: "12 head".into(), ..Filter::default() };
        assert!(filter.passes(Kind::Layer, "language_model.model.layers.12"));
        assert!(!filter.passes(Kind::Layer, "language_model.model.layers.112"));
        assert!(filter.passes(Kind::Head, "language_model.lm_head"));
        filter.kinds[Kind::Head as usize] = false;
        assert!(!filter.passes(Kind::Head, "language_model.lm_head"));
        assert!(!filter.is_open() && Filter::default().is_open());
    }

    #[test]
    fn a_view_survives_and_nonsense_does_not() {
        let view = View { zoom: 1.5, tab: Tab::Needs, is_side_open: false, ..View::default() };
        assert_eq!(View::of(view.kept()).kept(), view.kept());
        let read: Kept = serde_json::from_str(r#"{"zoom": 1e30, "what": 1}"#).unwrap();
        assert_eq!(View::of(read).zoom, *ZOOM.end());
        assert_eq!(View::of(Kept { zoom: f32::NAN, ..Kept::default() }).zoom, 1.0);
    }

    #[test]
    fn a_run_folds_by_rule_and_by_hand() {
        let mut view = View::default();
        assert!(view.folds(0, Kind::Vision, 45) && !view.folds(0, Kind::Layer, 10));
        view.turn(0, Kind::Layer);
        view.turn(0, Kind::Vision);
        assert!(!view.folds(0, Kind::Vision, 45) && view.folds(0, Kind::Layer, 10));
        assert!(!view.folds(1, Kind::Layer, 10), "on that device alone");
        assert!(!view.folds(0, Kind::Layer, 1) && !view.folds(0, Kind::Head, 5));
    }
}
