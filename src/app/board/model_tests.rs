//! The board's data: every unit in its place, sums that are the forecast's.

use super::*;
use crate::app::board::desk::Outlook;
use crate::app::board::view::Folding;
use crate::plan::bytes::GIB;
use crate::plan::{Assumptions, Dtype, Layout, Model, Workload, catalogue, planner};

fn case(name: &str, gpus: usize, gib: u64) -> Case {
    let model = Model::new(catalogue::find(name).unwrap(), Dtype::Bf16, None);
    let devices = (0..gpus).map(|i| Device::simulated(i, gib * GIB)).collect();
    Case::new(model, devices, Assumptions::default(), Workload::assumed(13, 3500))
}

fn shown(case: &Case, draft: &Draft, view: &View) -> Vec<Column> {
    let outlook = Outlook::glance(case, &draft.plan);
    columns(case, draft, &outlook.forecast, view, None)
}

#[test]
fn every_unit_has_one_chip_in_order() {
    let case = case("InternVL2-Llama3-76B", 8, 40);
    let draft = Draft::new(planner::plan(&case, Layout::Auto).unwrap());
    for folding in Folding::ALL {
        let view = View { folding, ..View::default() };
        let columns = shown(&case, &draft, &view);
        let mut units: Vec<usize> = columns.iter().flat_map(Column::units).collect();
        for column in &columns {
            assert!(column.units().is_sorted());
            assert!(column.units().iter().all(|&u| draft.plan.assignment[u] == column.device));
        }
        units.sort_unstable();
        assert_eq!(units, (0..case.model.units.len()).collect::<Vec<_>>(), "{folding:?}");
    }
}

#[test]
fn folded_runs_say_what_they_hold() {
    let case = case("InternVL3-8B", 1, 40);
    let draft = Draft::new(planner::plan(&case, Layout::Auto).unwrap()).pin(&[30]);
    let view = View { folding: Folding::All, ..View::default() };
    let columns = shown(&case, &draft, &view);
    let labels: Vec<&str> = columns[0].chips.iter().map(|c| c.label.as_str()).collect();
    assert_eq!(labels, ["Patch", "V 0–23", "Proj", "Embed", "L 0–27", "Norm", "Head"]);
    let layers = &columns[0].chips[4];
    assert_eq!((layers.len(), layers.pinned), (28, Pinned::Some));
    let each: u64 = (layers.first..=layers.last).map(|u| case.costs.weights(u)).sum();
    assert_eq!(layers.weights, each);
    assert!(layers.name.starts_with("layers 0 to 27, "), "{}", layers.name);
}

#[test]
fn memory_adds_up_to_what_the_forecast_says() {
    let mut case = case("InternVL3-14B", 2, 40);
    case.devices[0].others = 3 * GIB;
    case.devices[1].reserve = GIB;
    let draft = Draft::new(planner::plan(&case, Layout::Auto).unwrap());
    let outlook = Outlook::glance(&case, &draft.plan);
    for (column, at) in shown(&case, &draft, &View::default()).iter().zip(&outlook.forecast.devices) {
        let device = &case.devices[column.device];
        assert_eq!(column.memory.parts[..4].iter().sum::<u64>(), at.peak());
        assert_eq!(column.memory.total(), at.peak() + device.others + device.reserve);
    }
}

#[test]
fn what_moved_is_marked_and_stands_apart_when_folded() {
    let case = case("InternVL3-8B", 2, 40);
    let start = Draft::new(planner::plan(&case, Layout::Single).unwrap());
    let view = View { folding: Folding::All, ..View::default() };
    let other = 1 - start.plan.assignment[0];
    let next = start.move_units(&[35, 36], other).unwrap();
    let outlook = Outlook::glance(&case, &next.plan);
    let columns = columns(&case, &next, &outlook.forecast, &view, Some(&start.plan));
    let moved: Vec<&Chip> = columns.iter().flat_map(|c| &c.chips).filter(|c| c.has_moved).collect();
    assert_eq!(moved.iter().flat_map(|c| c.first..=c.last).collect::<Vec<_>>(), [35, 36]);
    assert!(moved.iter().all(|c| c.pinned == Pinned::All), "what was dragged stays");
}
