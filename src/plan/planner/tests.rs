//! Plans of released models, ours and the presets'.

use super::*;
use crate::plan::assumptions::Assumptions;
use crate::plan::bytes::GIB;
use crate::plan::device::{CUDA_OVERHEAD, Device, Links};
use crate::plan::unit::Model;
use crate::plan::workload::Workload;
use crate::plan::{Dtype, Sourced, catalogue};

fn cards(count: usize, gib: u64) -> Vec<Device> {
    (0..count).map(|i| Device::simulated(i, gib * GIB)).collect()
}

fn case(name: &str, devices: Vec<Device>) -> Case {
    let model = Model::new(catalogue::find(name).unwrap(), Dtype::Bf16, None);
    Case::new(model, devices, Assumptions::default(), Workload::assumed(70, 18_520))
}

fn weights_gib(case: &Case, plan: &Plan) -> Vec<f64> {
    let holdings = plan.holdings(&case.costs);
    holdings.iter().map(|h| (h.weights as f64 / GIB as f64 * 10.0).round() / 10.0).collect()
}

/// Run with accelerate 1.15.0 on the 76B's modules, and by the formula of the InternVL rule.
#[test]
fn presets_place_the_76b_as_the_originals_do() {
    let table: &[(usize, u64, Layout, &[f64])] = &[
        (4, 79, Layout::Accelerate, &[45.7, 47.8, 48.4, 0.1]),
        (8, 39, Layout::Accelerate, &[28.2, 30.3, 30.3, 30.3, 23.0, 0.0, 0.0, 0.0]),
        (8, 79, Layout::Accelerate, &[28.2, 30.3, 30.3, 30.3, 23.0, 0.0, 0.0, 0.0]),
        (6, 39, Layout::Accelerate, &[34.6, 35.1, 35.1, 35.1, 2.3, 0.0]),
        (2, 79, Layout::Accelerate, &[76.0, 66.0]),
        (4, 79, Layout::Rule(presets::Rule::InternVl), &[35.3, 36.7, 36.7, 33.5]),
        (8, 39, Layout::Rule(presets::Rule::InternVl), &[25.7, 17.5, 17.5, 17.5, 17.5, 17.5, 17.5, 11.2]),
        (6, 39, Layout::Rule(presets::Rule::InternVl), &[28.9, 23.9, 23.9, 23.9, 23.9, 17.5]),
        (2, 79, Layout::Rule(presets::Rule::InternVl), &[59.2, 82.9]),
        (4, 79, Layout::AccelerateSequential, &[76.0, 66.0, 0.0, 0.0]),
        (8, 39, Layout::AccelerateSequential, &[36.2, 38.3, 38.3, 29.4, 0.0, 0.0, 0.0, 0.0]),
        (8, 79, Layout::AccelerateSequential, &[76.0, 66.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        (6, 39, Layout::AccelerateSequential, &[36.2, 38.3, 38.3, 29.4, 0.0, 0.0]),
    ];
    for &(count, gib, layout, expected) in table {
        let case = case("InternVL2-Llama3-76B", cards(count, gib));
        let plan = plan(&case, layout).unwrap();
        assert_eq!(weights_gib(&case, &plan), expected, "{} on {count} x {gib}", layout.name());
    }
}

#[test]
fn accelerate_cuts_the_projector_in_two() {
    let case = case("InternVL2-Llama3-76B", cards(4, 79));
    let plan = plan(&case, Layout::Accelerate).unwrap();
    let projector = case.model.position(UnitKind::Projector).unwrap();
    assert!(
        plan.splits.iter().any(|s| s.unit == projector && s.module == "3" && s.device == 3),
        "{:?}",
        plan.splits
    );
    assert_eq!(plan.assignment[projector], 2);
}

/// The worked figure of the planning notes: 8 cards of 39 GiB with 0.6 GiB of overhead, vision whole.
#[test]
fn ours_on_eight_cards_of_39() {
    let mut devices = cards(8, 39);
    for device in &mut devices {
        device.overhead = CUDA_OVERHEAD;
    }
    let case = case("InternVL2-Llama3-76B", devices);
    let wishes = Wishes { vision: VisionChoice::Whole, ..Wishes::default() };
    let plan = ours(&case, &wishes).unwrap();
    let mut layers = vec![0; 8];
    for (unit, &device) in plan.assignment.iter().enumerate() {
        layers[device] += usize::from(matches!(case.model.units[unit].kind, UnitKind::Layer(_)));
    }
    assert_eq!(layers, [4, 11, 11, 11, 11, 11, 11, 10]);
    let held = plan.holdings(&case.costs)[0];
    let peak = case.costs.moment(&held, 70, 18_520).peak() + CUDA_OVERHEAD;
    assert!((peak as f64 / GIB as f64 - 24.0).abs() < 0.05, "{}", peak as f64 / GIB as f64);
    // The freedom to cut the tower between blocks never costs anything.
    let free = ours(&case, &Wishes::default()).unwrap();
    assert!(free.exact && worst(&case, &free) <= worst(&case, &plan));
}

fn worst(case: &Case, plan: &Plan) -> f64 {
    let usable = case.usable(&plan.devices);
    let holdings = plan.holdings(&case.costs);
    let at = |device: usize| {
        let peaks = case
            .workload
            .frontier
            .iter()
            .map(|q| case.costs.moment(&holdings[device], q.tiles, q.prompt_tokens).peak());
        let peak = peaks.max().unwrap_or(0);
        if holdings[device] == Default::default() { 0.0 } else { peak as f64 / usable[device].max(1) as f64 }
    };
    (0..plan.devices.len()).map(at).fold(0.0, f64::max)
}

#[test]
fn never_worse_than_any_preset() {
    let sets = [
        cards(2, 80),
        cards(8, 40),
        cards(3, 24),
        vec![Device::simulated(0, 24 * GIB), Device::simulated(1, 80 * GIB), Device::simulated(2, 48 * GIB)],
    ];
    for name in ["InternVL2-Llama3-76B", "InternVL3-8B", "InternVL3_5-30B-A3B", "InternVL3-1B-hf"] {
        for devices in &sets {
            let case = case(name, devices.clone());
            let best = worst(&case, &plan(&case, Layout::Auto).unwrap());
            for layout in Layout::NAMED {
                let Ok(other) = plan(&case, layout) else { continue };
                if other.devices.len() == devices.len() {
                    assert!(
                        best <= worst(&case, &other) * 1.001,
                        "{name}: {} is better, {} than {best}: {:?} {:?}",
                        layout.name(),
                        worst(&case, &other),
                        weights_gib(&case, &other),
                        other.splits
                    );
                }
            }
        }
    }
}

#[test]
fn pins_are_kept_and_the_rest_is_planned_around_them() {
    let case = case("InternVL2-Llama3-76B", cards(8, 40));
    let layer = case.model.position(UnitKind::Layer(40)).unwrap();
    let plan = ours(&case, &Wishes { pins: vec![(layer, 6)], ..Wishes::default() }).unwrap();
    assert_eq!(plan.assignment[layer], 6);
    assert!(plan.exact && plan.hops() == 7);
    // Pins that interleave devices still get a plan, with islands.
    let at = |i: usize| case.model.position(UnitKind::Layer(i)).unwrap();
    let pins = vec![(at(3), 0), (at(4), 1), (at(5), 0)];
    let plan = ours(&case, &Wishes { pins: pins.clone(), ..Wishes::default() }).unwrap();
    for (unit, device) in pins {
        assert_eq!(plan.assignment[unit], device);
    }
    assert!(!plan.notes.is_empty());
}

#[test]
fn consecutive_stages_lie_on_fast_links() {
    let mut case = case("InternVL3-78B", cards(4, 80));
    let plain = plan(&case, Layout::Auto).unwrap();
    // NVLink joins 0 with 2 and 1 with 3 only.
    let fast = crate::plan::device::Link::NVLINK;
    case.links = Links::new(vec![(0, 2, fast), (1, 3, fast)]);
    let linked = plan(&case, Layout::Auto).unwrap();
    let path: Vec<usize> = linked.runs().iter().map(|run| run.device).collect();
    let joined = path.windows(2).filter(|hop| hop[0].abs_diff(hop[1]) == 2).count();
    assert_eq!(joined, 2, "{path:?}");
    assert_eq!(worst(&case, &linked), worst(&case, &plain));
}

#[test]
fn fewest_gpus_when_asked() {
    let case = case("InternVL3-8B", cards(8, 80));
    let safest = ours(&case, &Wishes::default()).unwrap();
    let fewest = ours(&case, &Wishes { goal: Goal::FewestGpus, ..Wishes::default() }).unwrap();
    assert_eq!(fewest.runs().len(), 1);
    assert!(safest.runs().len() > 1);
}

#[test]
fn a_tied_head_stays_with_its_embedding_unless_copied() {
    let mut shape = catalogue::find("InternVL3-2B").unwrap();
    shape.decoder.tied = true;
    let model = Model::new(shape, Dtype::Bf16, None);
    let mut case = Case::new(model, cards(4, 8), Assumptions::default(), Workload::assumed(13, 4_000));
    let (embedding, head) = (
        case.model.position(UnitKind::TokenEmbedding).unwrap(),
        case.model.position(UnitKind::Head).unwrap(),
    );
    let plan = ours(&case, &Wishes::default()).unwrap();
    assert_eq!(plan.assignment[embedding], plan.assignment[head]);
    assert_eq!(case.model.units[head].weight_bytes, 0);
    let shared = worst(&case, &plan);
    let mut copied = case.assumptions.clone();
    copied.duplicate_tied_head = Sourced::chosen(true);
    case = case.with_assumptions(copied);
    let plan = ours(&case, &Wishes::default()).unwrap();
    assert!(worst(&case, &plan) <= shared);
}

#[test]
fn without_devices_there_is_a_sentence() {
    let none = case("InternVL3-1B", Vec::new());
    for layout in Layout::NAMED {
        assert!(plan(&none, layout).is_err());
    }
}
