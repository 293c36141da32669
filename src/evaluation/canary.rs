//! The heaviest question first, where that is wished: whether all of them fit is then known at the beginning of a run
//! and not hours later.

use super::placing::Placing;
use crate::dataset::Dataset;
use crate::plan::QuestionCost;

/// The row of the question whose forecast fills a device the most; the first of several. Questions that cannot be read
/// cost nothing.
pub fn heaviest(placings: &[Placing], costs: &[QuestionCost], dataset: &Dataset) -> Option<usize> {
    let weight = |cost: &QuestionCost| {
        let of = |placing: &Placing| placing.forecasting.fill(cost.tiles, cost.prompt_tokens);
        placings.iter().map(of).fold(0.0, f64::max)
    };
    let mut heaviest = None;
    for cost in costs {
        let weight = weight(cost);
        if heaviest.is_none_or(|(most, _)| weight > most) {
            heaviest = Some((weight, cost));
        }
    }
    heaviest.and_then(|(_, cost)| dataset.find(&cost.id))
}

/// Puts a row before all others, where it still is to be asked; whether it is.
pub fn put_first(rows: &mut [usize], row: usize) -> bool {
    let at = rows.iter().position(|other| *other == row);
    if let Some(at) = at {
        rows[..=at].rotate_right(1);
    }
    at.is_some()
}
