//! Plots and their axes: small, quiet, at a few round values.

use egui::{Rangef, TextStyle, Ui};
use egui_plot::{AxisHints, GridMark, Plot};

use super::figure;
use crate::app::theme::Tokens;

/// A plot that is looked at, and stays where it is under the pointer.
pub fn still<'a>(name: &str, tokens: &Tokens) -> Plot<'a> {
    Plot::new(name)
        .show_background(false)
        .grid_color(tokens.line)
        .allow_scroll(false)
        .allow_drag(false)
        .allow_zoom(false)
        .allow_boxed_zoom(false)
        .include_y(0.0)
}

/// The axis across.
pub fn across(ui: &Ui) -> AxisHints<'static> {
    quiet(ui, AxisHints::new_x(), 46.0)
}

/// The axis upwards.
pub fn upwards(ui: &Ui) -> AxisHints<'static> {
    quiet(ui, AxisHints::new_y(), 12.0)
}

/// Labels that stand closer than so many points are left out.
fn quiet(ui: &Ui, hints: AxisHints<'static>, least: f32) -> AxisHints<'static> {
    let hints = hints.label_spacing(Rangef::new(least, least + 8.0));
    hints.tick_label_color(Tokens::of(ui).subdued).tick_label_font(TextStyle::Small.resolve(ui.style()))
}

/// A few round times from nothing to so many seconds.
pub fn times(whole: f64) -> Vec<GridMark> {
    const STEPS: [f64; 16] = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 18_000.0,
        36_000.0,
    ];
    let step = STEPS.into_iter().find(|step| whole / step <= 4.0).unwrap_or(whole / 4.0);
    let count = (whole / step).clamp(0.0, 4.0) as u32;
    (0..=count).map(|nth| GridMark { value: f64::from(nth) * step, step_size: step }).collect()
}

/// A value at an axis, in as many digits as tell it from the next one.
pub fn tick(mark: GridMark) -> String {
    match mark.value {
        0.0 => "0".into(),
        v if v >= 10_000.0 => figure::rate(v),
        v => format!("{v:.*}", (-mark.step_size.log10().floor()).clamp(0.0, 9.0) as usize),
    }
}

/// A few round values from nothing to the top of a plot.
pub fn ticks(top: f64) -> Vec<GridMark> {
    let rough = (top / 3.0).max(f64::MIN_POSITIVE);
    let unit = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0].into_iter().map(|it| it * unit).rev().find(|step| *step <= rough).unwrap_or(unit);
    let count = (top / step).min(8.0) as u32;
    (0..=count).map(|nth| GridMark { value: f64::from(nth) * step, step_size: step }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_a_few_round_values() {
        for top in [0.004, 0.07, 1.0, 1.15, 18.4, 63.0, 999.0, 4e6] {
            let values: Vec<f64> = ticks(top).iter().map(|mark| mark.value).collect();
            assert!((4..=8).contains(&values.len()), "{top}: {values:?}");
            assert!(values[0] == 0.0 && *values.last().unwrap() <= top, "{top}: {values:?}");
            let names: std::collections::HashSet<String> = ticks(top).into_iter().map(tick).collect();
            assert_eq!(names.len(), values.len(), "{top}: {names:?}");
        }
        for whole in [0.5, 1.0, 9.0, 61.0, 5000.0, 1e6] {
            let values: Vec<f64> = times(whole).iter().map(|mark| mark.value).collect();
            assert!(
                (1..=5).contains(&values.len()) && *values.last().unwrap() <= whole,
                "{whole}: {values:?}"
            );
        }
    }
}
