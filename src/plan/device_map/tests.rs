//! Maps in every spelling, in and out.

use super::*;
use crate::plan::Case;
use crate::plan::bytes::GIB;
use crate::plan::device::Device;
use crate::plan::layout::Layout;
use crate::plan::{Assumptions, Dtype, Workload, catalogue, planner};
use proptest::prelude::*;

fn case(name: &str, gpus: usize) -> Case {
    let model = Model::new(catalogue::find(name).unwrap(), Dtype::Bf16, None);
    let devices = (0..gpus).map(|i| Device::simulated(i, 80 * GIB)).collect();
    Case::new(model, devices, Assumptions::default(), Workload::assumed(13, 4000))
}

#[test]
fn reads_every_spelling_of_a_map() {
    let wanted = vec![
        ("vision_model".to_string(), Target::Gpu(0)),
        ("language_model.lm_head".to_string(), Target::Gpu(1)),
        ("mlp1".to_string(), Target::Cpu),
    ];
    for text in [
        r#"{"vision_model": 0, "language_model.lm_head": "cuda:1", "mlp1": "cpu"}"#,
        "{'vision_model': 0, 'language_model.lm_head': 1, 'mlp1': 'cpu',}",
        "INFO 2025-01-15 device_map: {'vision_model': 0, 'language_model.lm_head': device(type='cuda', index=1), 'mlp1': device(type='cpu')} loaded",
        "OrderedDict([('vision_model', 0), ('language_model.lm_head', 'cuda:1'), ('mlp1', 'cpu')])",
        "{weights} then {'vision_model': '0', 'language_model.lm_head': torch.device('cuda:1'), 'mlp1': 'cpu'}",
    ] {
        assert_eq!(DeviceMap::parse(text).unwrap().entries, wanted, "{text}");
    }
    for bad in ["", "no map", "{'a': }", "{'a': 0", "{'a': 'tpu:0'}", "{'a' 0}", "{'a': -1}", "{a: 0}"] {
        assert!(DeviceMap::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_map_written_is_the_plan_again() {
    for name in ["InternVL2-Llama3-76B", "InternVL3-8B-hf", "InternVL2-8B", "InternVL3_5-30B-A3B"] {
        let case = case(name, 4);
        for layout in Layout::NAMED {
            let Ok(plan) = planner::plan(&case, layout) else { continue };
            let map = DeviceMap::of(&plan, &case.model);
            let text = serde_json::to_string(&map.to_json()).unwrap();
            let back = resolve(&DeviceMap::parse(&text).unwrap(), &case);
            assert_eq!(back.plan.assignment, plan.assignment, "{name} {}", layout.name());
            assert_eq!(back.plan.splits, plan.splits, "{name} {}", layout.name());
            let clean =
                back.uncovered.is_empty() && back.uncovered_buffers.is_empty() && back.unknown.is_empty();
            assert!(clean && back.foreign.is_empty(), "{name} {}: {back:?}", layout.name());
        }
    }
}

#[test]
fn the_released_rule_as_it_was_printed() {
    // The map that VLMEvalKit builds for 80 layers on 8 GPUs before December 2024: phantom layers, both layouts'
    // names, and no rotary_emb.
    let mut text = String::from("{");
    let mut layer = 0;
    for (gpu, count) in [6, 11, 11, 11, 11, 11, 11, 11].into_iter().enumerate() {
        for _ in 0..count {
            text.push_str(&format!("'language_model.model.layers.{layer}': {gpu}, "));
            layer += 1;
        }
    }
    for name in [
        "vision_model",
        "mlp1",
        "language_model.model.tok_embeddings",
        "language_model.model.embed_tokens",
        "language_model.output",
        "language_model.model.norm",
        "language_model.lm_head",
        "language_model.model.layers.79",
    ] {
        text.push_str(&format!("'{name}': 0, "));
    }
    text.push('}');
    let case = case("InternVL2-Llama3-76B", 8);
    let resolved = resolve(&DeviceMap::parse(&text).unwrap(), &case);
    assert_eq!(resolved.phantom.len(), 3);
    assert_eq!(resolved.uncovered_buffers, ["language_model.model.rotary_emb"]);
    assert_eq!(resolved.foreign.len(), 2);
    assert!(resolved.uncovered.is_empty() && resolved.unknown.is_empty());
    // A dict literal keeps the last of two equal keys, and the last layer is written twice.
    assert_eq!(resolved.contradicted.len(), 1);
    let rule = planner::plan(&case, Layout::Rule(presets::Rule::InternVl)).unwrap();
    assert_eq!(resolved.plan.assignment, rule.assignment);
}

#[test]
fn longest_key_wins_and_gaps_are_told() {
    let case = case("InternVL3-8B", 2);
    let map = DeviceMap::parse("{'': 0, 'language_model.model.layers': 1, 'language_model.model.layers.5': 'cpu', 'x.y': 0, 'mlp1': 7}").unwrap();
    let resolved = resolve(&map, &case);
    let at = |kind: UnitKind| resolved.plan.assignment[case.model.position(kind).unwrap()];
    assert_eq!((at(UnitKind::Head), at(UnitKind::Layer(4)), at(UnitKind::Layer(5))), (0, 1, 2));
    assert_eq!(resolved.plan.devices[2].name, "cpu");
    assert_eq!(resolved.unknown, ["x.y"]);
    assert_eq!(resolved.absent, [("mlp1".to_string(), 7)]);
    let partial = resolve(&DeviceMap::parse("{'vision_model': 0}").unwrap(), &case);
    assert_eq!(partial.uncovered.len(), 1 + 1 + 28 + 1 + 1);
    assert_eq!(partial.uncovered_buffers.len(), 1);
}

#[test]
fn ordinals_are_cudas_own() {
    let mut case = case("InternVL3-8B", 2);
    for (device, name) in case.devices.iter_mut().zip(["cuda:1", "cuda:3"]) {
        *device = Device { capacity: device.capacity, ..Device::new(name, DeviceKind::Cuda, 0) };
    }
    let plan = planner::plan(&case, Layout::Auto).unwrap();
    let map = DeviceMap::of(&plan, &case.model);
    assert!(map.entries.iter().all(|(_, t)| matches!(t, Target::Gpu(1 | 3))), "{map:?}");
    assert_eq!(resolve(&map, &case).plan.assignment, plan.assignment);
}

proptest! {
    #[test]
    fn hostile_text_ends(text in "[\\{\\[\\('\":,a-z0-9 =\\)\\]\\}\\\\.]{0,60}") {
        if let Ok(map) = DeviceMap::parse(&text) {
            let _ = resolve(&map, &case("InternVL3-1B", 1));
        }
    }
}
