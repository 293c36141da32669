//! A device map out of a file or a log, judged for a model on two devices.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use shardscope::plan::device_map::DeviceMap;
use shardscope::plan::{Assumptions, Case, Device, Dtype, Model, Workload, catalogue, checks};

static CASE: LazyLock<Case> = LazyLock::new(|| {
    let shape = catalogue::find("InternVL2-1B").expect("a model of the catalogue");
    let devices = (0..2).map(|place| Device::simulated(place, 8 << 30)).collect();
    let model = Model::new(shape, Dtype::Bf16, None);
    Case::new(model, devices, Assumptions::default(), Workload::assumed(7, 2_000))
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(map) = DeviceMap::parse(text) {
        let (resolved, ..) = checks::check_map(&CASE, &map);
        assert_eq!(resolved.plan.assignment.len(), CASE.model.units.len());
    }
});
