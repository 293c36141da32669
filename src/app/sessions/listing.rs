//! The sessions on disk as the screen lists them: searched, sorted, each with its name.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::demo;
use crate::session::{Manifest, State, Summary, keeping, list};

/// A session of the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What its folder holds.
    pub summary: Summary,
    /// The name that a person gave it.
    pub label: Option<String>,
}

/// What a folder of sessions holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// The folder.
    pub root: PathBuf,
    /// Its sessions, the newest first.
    pub entries: Vec<Entry>,
    /// Sessions in its trash.
    pub discarded: Vec<PathBuf>,
}

impl Listing {
    /// Reads a folder; at the first start it gets the sample.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn of(root: &Path) -> Result<Self> {
        demo::offer_sample(root)?;
        let entries = list(root)
            .into_iter()
            .map(|summary| Entry { label: keeping::label(&summary.dir), summary })
            .collect();
        let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        Ok(Self { root: absolute, entries, discarded: keeping::discarded(root) })
    }

    /// The session of a folder.
    pub fn find(&self, dir: &Path) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.summary.dir == dir)
    }
}

/// A column of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// The person's name, or the model's.
    Name,
    /// The dataset.
    Dataset,
    /// The score.
    Score,
    /// How far it is.
    State,
    /// Devices and layout.
    Device,
    /// When it began.
    #[default]
    Date,
}

impl By {
    /// The columns in their order.
    pub const ALL: [Self; 6] =
        [Self::Name, Self::Dataset, Self::Score, Self::State, Self::Date, Self::Device];
}

impl Entry {
    /// The manifest's model, or the folder's name where no manifest can be read.
    pub fn model(&self) -> String {
        self.manifest().map_or_else(|| self.summary.name(), |manifest| manifest.checkpoint.name.clone())
    }

    /// The person's name for it, or the model's.
    pub fn name(&self) -> String {
        self.label.clone().unwrap_or_else(|| self.model())
    }

    /// The dataset's name.
    pub fn dataset(&self) -> String {
        self.manifest().map(|manifest| manifest.dataset.name.clone()).unwrap_or_default()
    }

    /// The devices and the layout.
    pub fn devices(&self) -> String {
        let Some(manifest) = self.manifest() else { return String::new() };
        let names: Vec<&str> = manifest.devices.iter().map(|device| device.name.as_str()).collect();
        match names.as_slice() {
            [] => manifest.checkpoint.format.clone(),
            [one] => (*one).to_owned(),
            [first, ..] => {
                let sort = |name: &str| name.split(':').next().unwrap_or_default().to_owned();
                let alike = names.iter().all(|name| sort(name) == sort(first));
                let sort = if alike { sort(first) } else { names.join(", ") };
                format!("{} × {sort} · {}", names.len(), manifest.layout.name)
            }
        }
    }

    /// When it began, in local time without seconds.
    pub fn date(&self) -> String {
        let started = self.manifest().map(|manifest| manifest.started.as_str()).unwrap_or_default();
        match started.parse::<jiff::Timestamp>() {
            Ok(time) => time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
            Err(_) => started.to_owned(),
        }
    }

    /// Whether it can go on: not complete, not being written, and its checkpoint and dataset are named.
    pub fn can_go_on(&self) -> bool {
        let named =
            self.manifest().is_some_and(|it| !it.checkpoint.path.is_empty() && !it.dataset.path.is_empty());
        named && !self.summary.running && matches!(self.summary.state, State::Partial { .. })
    }

    /// What it was begun with.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.summary.manifest.as_ref()
    }

    fn holds(&self, wanted: &str) -> bool {
        let own =
            [self.name(), self.model(), self.dataset(), self.devices(), self.date(), self.summary.name()];
        own.iter().any(|text| text.to_lowercase().contains(wanted))
    }
}

/// The places of the entries that hold every word of a search, in the order of a column.
pub fn arranged(entries: &[Entry], search: &str, by: By, down: bool) -> Vec<usize> {
    let words: Vec<String> = search.split_whitespace().map(str::to_lowercase).collect();
    let holds = |place: &usize| words.iter().all(|word| entries[*place].holds(word));
    let mut places: Vec<usize> = (0..entries.len()).filter(holds).collect();
    let text = |place: usize| {
        let entry = &entries[place];
        match by {
            By::Name => entry.name().to_lowercase(),
            By::Dataset => entry.dataset().to_lowercase(),
            By::Device => entry.devices().to_lowercase(),
            By::Date | By::Score | By::State => String::new(),
        }
    };
    let number = |place: usize| {
        let summary = &entries[place].summary;
        match (by, &summary.state) {
            (By::Score, _) => summary.tally.accuracy().unwrap_or(-1.0),
            (By::State, State::Complete) => 2.0,
            (By::State, State::Partial { done, of }) => *done as f64 / (*of).max(1) as f64,
            (By::State, State::Damaged(_)) => -1.0,
            // They come newest first.
            (By::Date, _) => -(place as f64),
            _ => 0.0,
        }
    };
    places.sort_by(|a, b| number(*a).total_cmp(&number(*b)).then_with(|| text(*a).cmp(&text(*b))));
    if down {
        places.reverse();
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(label: &str, right: u64, of: u64) -> Entry {
        let mut tally = crate::scoring::Accuracy::default();
        for place in 0..of {
            let verdict =
                if place < right { crate::scoring::Verdict::Right } else { crate::scoring::Verdict::Wrong };
            tally.add(verdict, f64::from(u8::from(place < right)));
        }
        let state = State::Complete;
        let summary = Summary { dir: PathBuf::from(label), manifest: None, state, running: false, tally };
        Entry { summary, label: Some(label.to_owned()) }
    }

    #[test]
    fn sessions_are_searched_by_every_word_and_sorted_by_a_column() {
        let entries = [entry("big model", 3, 4), entry("small model", 4, 4), entry("Other", 0, 0)];
        let names = |search: &str, by, down| -> Vec<String> {
            arranged(&entries, search, by, down).into_iter().map(|place| entries[place].name()).collect()
        };
        assert_eq!(names("MODEL", By::Score, true), ["small model", "big model"]);
        assert_eq!(names("model big", By::Score, true), ["big model"]);
        assert_eq!(names("", By::Name, false), ["big model", "Other", "small model"]);
        assert_eq!(names("", By::Date, true), ["big model", "small model", "Other"]);
        assert_eq!(names("", By::Score, false), ["Other", "big model", "small model"]);
    }
}
