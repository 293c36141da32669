//! Which answers of a session are listed, and in which order: plain data.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use crate::app::parts::verdict;
use crate::scoring::Verdict;
use crate::session::{Outline, Record};

/// A column of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Column {
    /// As answered.
    #[default]
    Order,
    /// The question's index: by number where it is one.
    Index,
    /// Its category.
    Category,
    /// The verdict, in the order of [`verdict::ALL`].
    Verdict,
    /// What was read.
    Read,
    /// The gold answer.
    Gold,
    /// Tiles of all pictures.
    Tiles,
    /// Tokens of the answer.
    Tokens,
    /// Seconds.
    Seconds,
    /// Peak memory of the fullest device.
    Peak,
}

/// From and to, both counted in; what is left out does not bound.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bounds {
    /// The least.
    pub from: Option<f64>,
    /// The most.
    pub to: Option<f64>,
}

impl Bounds {
    fn holds(self, value: f64) -> bool {
        self.from.is_none_or(|from| value >= from) && self.to.is_none_or(|to| value <= to)
    }

    /// Whether it bounds at all.
    pub fn is_set(self) -> bool {
        self.from.is_some() || self.to.is_some()
    }
}

/// What must hold of an answer for it to be listed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// Verdicts that are listed; all where none is chosen.
    pub verdicts: HashSet<Verdict>,
    /// The category.
    pub category: Option<Arc<str>>,
    /// What question, answer or thinking hold.
    pub text: String,
    /// Tiles of all pictures.
    pub tiles: Bounds,
    /// Tokens of the answer.
    pub tokens: Bounds,
    /// Seconds.
    pub seconds: Bounds,
    /// Peak memory in GiB.
    pub peak: Bounds,
    /// Only answers whose verdict a person has set.
    pub overridden: bool,
}

impl Filter {
    /// Whether it leaves anything out.
    pub fn is_set(&self) -> bool {
        *self != Self::default()
    }

    fn holds(&self, outline: &Outline, record: &Record) -> bool {
        let gib = outline.peak as f64 / (1u64 << 30) as f64;
        (self.verdicts.is_empty() || self.verdicts.contains(&outline.verdict))
            && self.category.as_ref().is_none_or(|wanted| outline.category.as_ref() == Some(wanted))
            && self.tiles.holds(outline.tiles as f64)
            && self.tokens.holds(outline.output_tokens as f64)
            && self.seconds.holds(outline.seconds)
            && self.peak.holds(gib)
            && (!self.overridden || record.overrides().contains_key(&*outline.index))
    }
}

/// What is listed: positions of answers in order, and the way back from each to its row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    places: Vec<usize>,
    /// By position: one more than its row, 0 where it is not listed.
    rows: Vec<u32>,
}

impl Listed {
    /// So many answers, all of them, as answered.
    pub fn whole(answers: usize) -> Self {
        Self::of((0..answers).collect(), answers)
    }

    /// These of so many answers.
    fn of(places: Vec<usize>, answers: usize) -> Self {
        let mut rows = vec![0; answers];
        for (number, &place) in (1..).zip(&places) {
            rows[place] = number;
        }
        Self { places, rows }
    }

    /// Positions of the answers in their order.
    pub fn places(&self) -> &[usize] {
        &self.places
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many answers it was made of.
    pub fn answers(&self) -> usize {
        self.rows.len()
    }

    /// The row of the answer at a position, where it is listed.
    pub fn row(&self, place: usize) -> Option<usize> {
        (*self.rows.get(place)? as usize).checked_sub(1)
    }
}

/// The answers that are listed, in order. `hits` are those that hold the text asked for, where one is.
pub fn arrange(
    record: &Record,
    filter: &Filter,
    hits: Option<&HashSet<usize>>,
    by: Column,
    down: bool,
) -> Listed {
    let outlines = record.outlines();
    let is_hit = |place: &usize| hits.is_none_or(|hits| hits.contains(place));
    let mut places: Vec<usize> =
        (0..outlines.len()).filter(|place| filter.holds(&outlines[*place], record)).filter(is_hit).collect();
    match by {
        Column::Order => {}
        // Read once, not at every comparison.
        Column::Index => places.sort_by_cached_key(|place| {
            let index = &outlines[*place].index;
            index
                .parse::<i64>()
                .map_err(|_| index.clone())
                .map_or_else(|text| (1, 0, Some(text)), |n| (0, n, None))
        }),
        _ => places.sort_by(|a, b| compare(&outlines[*a], &outlines[*b], by)),
    }
    if down {
        places.reverse();
    }
    Listed::of(places, outlines.len())
}

fn compare(a: &Outline, b: &Outline, by: Column) -> Ordering {
    match by {
        Column::Order | Column::Index => Ordering::Equal,
        Column::Category => a.category.cmp(&b.category),
        Column::Verdict => place_of(a.verdict).cmp(&place_of(b.verdict)),
        Column::Read => a.read.cmp(&b.read),
        Column::Gold => a.gold.cmp(&b.gold),
        Column::Tiles => a.tiles.cmp(&b.tiles),
        Column::Tokens => a.output_tokens.cmp(&b.output_tokens),
        Column::Seconds => a.seconds.total_cmp(&b.seconds),
        Column::Peak => a.peak.cmp(&b.peak),
    }
}

fn place_of(of: Verdict) -> usize {
    verdict::ALL.iter().position(|it| *it == of).unwrap_or(verdict::ALL.len())
}
