//! What simulated devices hold: measured against the process's own allocations, and forecast against measured.

mod made;

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use made::{SMALLER, Shape};
use safetensors::tensor::Dtype;
use shardscope::checkpoint::{Checkpoint, Folder};
use shardscope::demo;
use shardscope::evaluation::placing::{Placing, Wanted};
use shardscope::model::{Loading, Network, Placement, WeightType};
use shardscope::plan::device_map::DeviceMap;
use shardscope::plan::{Assumptions, Calibration, Engine, QuestionCost, Sourced};

/// One question, put to the network as the engine does.
#[derive(Debug, Clone, Copy)]
struct Ask {
    tiles: usize,
    text: usize,
    new_tokens: usize,
    micro_batch: usize,
    chunk: usize,
}

impl Ask {
    fn prompt(&self, checkpoint: &Checkpoint) -> usize {
        self.text + self.tiles * checkpoint.config.tokens_per_tile()
    }
}

fn placing(checkpoint: &Checkpoint, devices: &str, layout: &str, ask: Ask) -> Placing {
    let assumptions = Assumptions {
        max_new_tokens: Sourced::chosen(ask.new_tokens as u64),
        tile_batch: Sourced::chosen(Some(ask.micro_batch as u64)),
        prefill_chunk: Sourced::chosen(Some(ask.chunk as u64)),
        ..Assumptions::default()
    };
    let wanted = Wanted {
        checkpoint,
        weight_type: WeightType::Stored,
        devices,
        layout,
        assumptions,
        calibration: &|_| Calibration::default(),
    };
    let cost = QuestionCost {
        id: "1".into(),
        tiles: ask.tiles as u64,
        prompt_tokens: ask.prompt(checkpoint) as u64,
    };
    Placing::new(wanted, &mut || vec![cost.clone()]).unwrap()
}

fn load(checkpoint: &Checkpoint, placement: &Placement) -> Network {
    let place = |unit: &_| placement.of(unit);
    let mut loading = Loading { place: &place, weight_type: WeightType::Stored, progress: &mut |_| true };
    Network::load(checkpoint, &mut loading).unwrap()
}

/// Answers with whatever token; gives what is still held at the end.
fn answer(network: &Network, ask: Ask) -> (Option<Tensor>, shardscope::model::Cache) {
    let config = network.config();
    let side = config.vision.image_side;
    let image = (config.decoder.vocab - 1) as u32;
    let features = (ask.tiles > 0).then(|| {
        let pixels =
            Tensor::zeros((ask.tiles, 3, side, side), candle_core::DType::F32, &Device::Cpu).unwrap();
        network.image_features(&pixels, ask.micro_batch).unwrap()
    });
    let mut ids: Vec<u32> = (0..ask.text as u32).map(|i| i % (image - 1)).collect();
    ids.extend(std::iter::repeat_n(image, ask.tiles * config.tokens_per_tile()));
    let embedded = network.embed(&ids, image, features.as_ref()).unwrap();
    let mut cache = network.cache(ids.len() + ask.new_tokens);
    network.prefill(&embedded, &mut cache, ask.chunk).unwrap();
    drop(embedded);
    for _ in 0..3.min(ask.new_tokens) {
        network.step(1, &mut cache).unwrap();
    }
    (features, cache)
}

/// Forecast and measured peak of every device that is used.
fn forecast_and_peak(
    checkpoint: &Checkpoint,
    devices: &str,
    layout: &str,
    ask: Ask,
) -> Vec<(String, u64, u64)> {
    let placing = placing(checkpoint, devices, layout, ask);
    let placement = placing.placement();
    let network = load(checkpoint, &placement);
    for place in placement.places() {
        place.meter().unwrap().reset_peak();
    }
    // As many threads as the engine gives each place.
    let Engine::Cpu { threads, .. } = placing.forecasting.case.assumptions.engine.value else {
        unreachable!()
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads as usize).build().unwrap();
    pool.install(|| drop(answer(&network, ask)));
    let forecast =
        placing.forecasting.bytes(ask.tiles as u64, ask.prompt(checkpoint) as u64, ask.new_tokens as u64);
    let peak = |place: &shardscope::model::Place| {
        (place.name().to_owned(), *forecast.get(place.name()).unwrap_or(&0), place.meter().unwrap().peak())
    };
    placement.places().iter().map(peak).filter(|(_, forecast, _)| *forecast > 0).collect()
}

fn assert_close(what: &str, measured: &[(String, u64, u64)]) {
    for (device, forecast, peak) in measured {
        let off = *forecast as f64 / *peak as f64 - 1.0;
        println!("{what} {device}: forecast {forecast}, measured {peak}, {:+.2} %", off * 100.0);
        assert!(off.abs() < 0.05, "{what}, {device}: forecast {forecast}, measured {peak}");
    }
}

fn made(shape: Shape, dtype: Dtype) -> (tempfile::TempDir, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    shape.write(folder.path(), dtype);
    let checkpoint = Checkpoint::from_folder(Folder::Disk(folder.path().to_owned())).unwrap();
    (folder, checkpoint)
}

/// A layout with every unit where chance puts it.
fn drawn(checkpoint: &Checkpoint, devices: usize, seed: u32, folder: &Path) -> String {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    // Half of them in runs, half of them anyhow.
    let runs = seed.is_multiple_of(2);
    let mut device = 0;
    let map: serde_json::Map<String, serde_json::Value> = checkpoint
        .units
        .iter()
        .map(|unit| {
            if !runs || draw(4) == 0 {
                device = draw(devices);
            }
            (unit.name.clone(), device.into())
        })
        .collect();
    let file = folder.join(format!("layout-{seed}.json"));
    std::fs::write(&file, serde_json::Value::Object(map).to_string()).unwrap();
    DeviceMap::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
    file.display().to_string()
}

const ASKS: [Ask; 4] = [
    Ask { tiles: 1, text: 60, new_tokens: 16, micro_batch: 4, chunk: 1024 },
    Ask { tiles: 6, text: 200, new_tokens: 512, micro_batch: 4, chunk: 256 },
    Ask { tiles: 3, text: 40, new_tokens: 8, micro_batch: 1, chunk: 64 },
    Ask { tiles: 0, text: 300, new_tokens: 64, micro_batch: 4, chunk: 1024 },
];

#[test]
fn forecast_is_within_five_percent_on_every_device_of_the_demo() {
    let checkpoint = demo::checkpoint().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for ask in ASKS {
        for devices in ["cpu", "sim:1x1GiB", "sim:2x1GiB", "sim:5x1GiB"] {
            assert_close(
                &format!("{devices} {ask:?}"),
                &forecast_and_peak(&checkpoint, devices, "auto", ask),
            );
        }
        for seed in 0..6 {
            let layout = drawn(&checkpoint, 4, seed, folder.path());
            let found = forecast_and_peak(&checkpoint, "sim:4x1GiB", &layout, ask);
            assert_close(&format!("drawn {seed} {ask:?}"), &found);
        }
    }
}

#[test]
fn forecast_is_within_five_percent_on_a_smaller_half_billion() {
    for dtype in [Dtype::BF16, Dtype::F32] {
        let (folder, checkpoint) = made(SMALLER, dtype);
        for (seed, ask) in ASKS.into_iter().enumerate() {
            let found = forecast_and_peak(&checkpoint, "sim:3x1GiB", "auto", ask);
            assert_close(&format!("{dtype:?} {ask:?}"), &found);
            let layout = drawn(&checkpoint, 4, seed as u32, folder.path());
            let found = forecast_and_peak(&checkpoint, "sim:4x1GiB", &layout, ask);
            assert_close(&format!("{dtype:?} drawn {seed} {ask:?}"), &found);
        }
    }
}

#[test]
fn weights_and_cache_are_measured_to_the_tensor() {
    let (_folder, checkpoint) = made(SMALLER, Dtype::BF16);
    let ask = ASKS[1];
    let placing = placing(&checkpoint, "sim:3x1GiB", "auto", ask);
    let placement = placing.placement();
    let network = load(&checkpoint, &placement);
    let mut weights: HashMap<String, u64> = HashMap::new();
    for unit in &checkpoint.units {
        // Matrices as they are stored, in two bytes; vectors and positions in four.
        let bytes = |(name, stored): (&String, &shardscope::checkpoint::StoredTensor)| {
            let count: usize = stored.shape.iter().product();
            let matrix =
                stored.shape.len() > 1 && !name.contains("_embedding") || name == "patch_embedding.weight";
            (count * if matrix { 2 } else { 4 }) as u64
        };
        *weights.entry(placement.of(unit).name().to_owned()).or_default() +=
            unit.tensors.iter().map(bytes).sum::<u64>();
    }
    let (features, cache) = answer(&network, ask);
    let positions = (ask.prompt(&checkpoint) + ask.new_tokens) as u64;
    let decoder = &checkpoint.config.decoder;
    let of_layer = positions * (2 * decoder.kv_heads * decoder.head_dim * 4) as u64;
    for place in placement.places() {
        let parts = place.meter().unwrap().parts();
        let close = |measured: u64, counted: u64| measured.abs_diff(counted) * 100 <= counted;
        assert!(close(parts.weights, weights[place.name()]), "{}: {parts:?}, {weights:?}", place.name());
        let layers = checkpoint.units.iter().filter(|unit| {
            unit.kind == shardscope::checkpoint::UnitKind::DecoderLayer && placement.of(unit).is(place)
        });
        assert!(close(parts.kv, layers.count() as u64 * of_layer), "{}: {parts:?}", place.name());
    }
    drop((features, cache));
    for place in placement.places() {
        let parts = place.meter().unwrap().parts();
        // A queue of the thread pool's may have grown meanwhile.
        assert!(parts.kv == 0 && parts.activation < 4096, "{}: {parts:?}", place.name());
    }
    drop(network);
    for place in placement.places() {
        assert!(place.meter().unwrap().live() < 4096, "{}", place.name());
    }
}
