//! Every form goes out and comes back, is told from the others, and refuses nonsense.

use super::*;
use crate::plan::{Assumptions, Device, Dtype, Model, Workload, bytes, catalogue, planner};
use proptest::prelude::*;

fn case() -> Case {
    let model = Model::new(catalogue::find("InternVL2-Llama3-76B").unwrap(), Dtype::Bf16, None);
    let devices = (0..8).map(|i| Device::simulated(i, 40 * bytes::GIB)).collect();
    Case::new(model, devices, Assumptions::default(), Workload::assumed(13, 3500))
}

#[test]
fn strings_and_topologies_come_back_as_they_went() {
    let case = case();
    let plan = planner::plan(&case, Layout::MistralRs).unwrap();
    let text = to_device_layers(&plan, &case).unwrap();
    assert_eq!(from_device_layers(&text, &case).unwrap().assignment, plan.assignment);
    let ours = planner::plan(&case, Layout::Auto).unwrap();
    let topology = to_topology(&ours, &case).unwrap();
    assert!(topology.starts_with("0-"));
    let back = from_topology(&topology, &case).unwrap();
    assert_eq!(layer_places(&back, &case).unwrap(), layer_places(&ours, &case).unwrap());
}

#[test]
fn forms_are_told_apart() {
    for (text, form) in [
        ("{'mlp1': 0}", Some(Form::DeviceMap)),
        ("INFO:root:map OrderedDict([('mlp1', 0)])", Some(Form::DeviceMap)),
        ("0: {'mlp1': device(type='cuda', index=0)}", Some(Form::DeviceMap)),
        ("0:40;1:40", Some(Form::DeviceLayers)),
        ("-n \"0:40;1:40\"", Some(Form::DeviceLayers)),
        ("x:80", Some(Form::DeviceLayers)),
        ("0-10:\n  device: cuda[1]", Some(Form::Topology)),
        ("\u{feff}# mine\n\"5\": # the fifth\n  device: cpu\n", Some(Form::Topology)),
        ("/mlp/:\n  device: cpu", Some(Form::Topology)),
        ("24.5,17.5", Some(Form::TensorSplit)),
        ("3/1", Some(Form::TensorSplit)),
        ("--tensor-split 40", Some(Form::TensorSplit)),
        ("-1,2", Some(Form::TensorSplit)),
        ("nonsense", None),
        ("maps/3.json", None),
        ("C:\\maps\\3", None),
        ("40", None),
        (",", None),
        (":", None),
        ("", None),
    ] {
        assert_eq!(Form::of(text), form, "{text}");
    }
}

#[test]
fn what_is_read_is_judged() {
    let case = case();
    let heavy = read("--tensor-split 1,0,0,0,0,0,0,0", &case).unwrap();
    assert_eq!(heavy.form, Form::TensorSplit);
    assert!(heavy.findings.iter().any(|finding| finding.code == "over-capacity"));
    let map = read("{'vision_model': 0}", &case).unwrap();
    assert!(map.findings.iter().any(|finding| finding.code == "uncovered-unit"));
    for bad in ["", "40", "best", "0:40", "0-10: {device: cpu}", "{", "9,9,9,9,9,9,9,9,9"] {
        let problem = read(bad, &case).unwrap_err();
        assert!(problem.fix.is_some(), "{bad}: {problem}");
    }
}

#[test]
fn what_a_form_leaves_open_is_said() {
    let case = case();
    let ours = planner::plan(&case, Layout::Auto).unwrap();
    let split = Form::TensorSplit.write(&ours, &case).unwrap();
    let said = Form::TensorSplit.unsaid(&split, &ours, &case);
    let tower: Vec<usize> = (0..case.model.units.len())
        .filter(|&unit| case.model.units[unit].kind.is_vision())
        .map(|unit| ours.assignment[unit])
        .collect();
    let cut = tower.iter().any(|&device| device != 0);
    assert_eq!(said.is_some_and(|said| said.contains("the vision tower")), cut);
    let map = Form::DeviceMap.write(&ours, &case).unwrap();
    assert_eq!(Form::DeviceMap.unsaid(&map, &ours, &case), None);
    assert_eq!(read(&map, &case).unwrap().plan.assignment, ours.assignment);
}

#[test]
fn a_tensor_split_places_layers_as_llama_cpp_does() {
    let case = case();
    // 81 places, the head the last: a quarter of them is 20.25, so that layers 0 to 20 lie on the first GPU.
    let plan = from_tensor_split("1,3", &case).unwrap();
    let places = layer_places(&plan, &case).unwrap();
    assert_eq!(places.iter().filter(|p| **p == Some(0)).count(), 21);
    assert_eq!(places[21..].iter().filter(|p| **p == Some(1)).count(), 59);
    assert_eq!(*plan.assignment.last().unwrap(), 1, "the head lies on the last");
    assert_eq!(plan.assignment[0], 0, "the tower on the first");
    assert_eq!(from_tensor_split("2/0/2", &case).unwrap().runs().last().unwrap().device, 2);
    for bad in ["", "0,0", "x", "-1,2", "1,1,1,1,1,1,1,1,1", "nan", "1e999"] {
        assert!(from_tensor_split(bad, &case).is_err(), "{bad}");
    }
}

#[test]
fn later_ends_win_and_nonsense_is_refused() {
    let case = case();
    let text =
        "# mine\n0-80:\n  device: cuda[1]\n  isq: Q4K\n10-20:\n  device: cpu\n\"79\":\n  device: cuda[0]\n";
    let plan = from_topology(text, &case).unwrap();
    let places = layer_places(&plan, &case).unwrap();
    assert_eq!(
        (places[15], places[79], places[0]),
        (Some(1), Some(0), Some(1)),
        "what ends last counts, then what is written last"
    );
    for bad in [
        "",
        "0-90:\n  device: cuda[0]",
        "a-b:\n  device: cpu",
        "0-10:\n  device: tpu",
        "/x/:\n  device: cpu",
        "5-5:\n  device: cpu",
    ] {
        assert!(from_topology(bad, &case).is_err(), "{bad}");
    }
    for bad in ["0:90", "0:40", "x:80", "9:80", "0:40;1:41"] {
        assert!(from_device_layers(bad, &case).is_err(), "{bad}");
    }
}

#[test]
fn refuses_what_a_string_cannot_say() {
    let case = case();
    let rule = planner::plan(&case, Layout::Rule(presets::Rule::InternVl)).unwrap();
    assert!(to_device_layers(&rule, &case).is_err(), "the last layer returns to GPU 0");
    assert!(to_tensor_split(&rule, &case).is_err());
    let mut offloaded = planner::plan(&case, Layout::Single).unwrap();
    offloaded.devices.push(Device::new("disk", DeviceKind::Disk, u64::MAX));
    let layer = case.model.position(UnitKind::Layer(79)).unwrap();
    offloaded.assignment[layer] = offloaded.devices.len() - 1;
    for form in Form::ALL {
        assert_eq!(form.write(&offloaded, &case).is_ok(), form == Form::DeviceMap, "{form}");
    }
}

proptest! {
    #[test]
    fn any_text_ends(text in "[0-9a-z:;,\\-\\[\\]{}'\n #/]{0,60}") {
        let case = case();
        let _ = from_topology(&text, &case);
        let _ = from_device_layers(&text, &case);
        let _ = from_tensor_split(&text, &case);
        let _ = read(&text, &case);
    }

    #[test]
    fn any_run_of_layers_on_each_gpu_comes_back(cuts in proptest::collection::vec(0usize..=80, 7)) {
        let case = case();
        let mut cuts = cuts;
        cuts.sort_unstable();
        let place = |layer: usize| Some(cuts.iter().filter(|&&cut| cut <= layer).count());
        let places: Vec<Option<usize>> = (0..80).map(place).collect();
        let plan = from_places(&places, &case).unwrap();
        for form in [Form::DeviceLayers, Form::Topology, Form::TensorSplit] {
            let text = form.write(&plan, &case).unwrap();
            let back = read(&text, &case).unwrap();
            prop_assert_eq!(back.form, form, "{}", &text);
            prop_assert_eq!(layer_places(&back.plan, &case).unwrap(), places.clone(), "{}", text);
        }
    }
}
