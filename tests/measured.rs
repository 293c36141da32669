//! What a simulated device is said to hold, against what the C library says that the process has in use.
//!
//! The only test of its process, so that nothing else takes memory meanwhile.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod made;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use made::Shape;
use safetensors::tensor::Dtype;
use shardscope::checkpoint::{Checkpoint, Folder, Unit, UnitKind};
use shardscope::devices::Meter;
use shardscope::model::{
    Cache, Loading, Network, Place, Placement, RowPass, Span, TilePass, Wanted, WeightType,
};

/// Few layers, so that it is quick, but tensors of many megabytes, beside which the C library's own books are small.
const WIDE: Shape = Shape {
    vision_layers: 2,
    vision_hidden: 256,
    vision_heads: 4,
    vision_ff: 1024,
    image: 448,
    layers: 3,
    hidden: 512,
    heads: 8,
    kv_heads: 4,
    ff: 2048,
    vocab: 12_000,
};

/// Positions that the cache has room for.
const POSITIONS: usize = 8192;
/// Rows of a prompt in one pass.
const ROWS: usize = 2048;
/// Tiles in one pass.
const TILES: usize = 4;

/// Bytes that the process has in use, as the C library counts them: from all its arenas, and mapped apart.
fn in_use() -> i64 {
    // SAFETY: it only reads the library's own books, under its own locks.
    let info = unsafe { libc::mallinfo2() };
    (info.uordblks + info.hblkhd) as i64
}

fn assert_within_one_percent(what: &str, metered: i64, process: i64) {
    println!("{what}: metered {metered}, in use by the process {process}");
    assert!(metered > 8 << 20, "{what}: {metered} bytes are too few to tell");
    assert!((metered - process).abs() * 100 <= metered, "{what}: metered {metered}, process {process}");
}

/// Looks at what the process has in use all the time while work is done again and again, until the most that was seen
/// comes up to the meter's peak, or has had time enough to.
fn watched(what: &str, meter: &Meter, mut work: impl FnMut()) {
    // Threads keep scratch of their own from the first time on, which is no device's.
    work();
    let (before, live) = (in_use(), meter.live() as i64);
    meter.reset_peak();
    let (most, done) = (AtomicI64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(in_use() - before, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        for _ in 0..200 {
            work();
            if most.load(Ordering::Relaxed) * 1000 >= (meter.peak() as i64 - live) * 995 {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_within_one_percent(what, meter.peak() as i64 - live, most.load(Ordering::Relaxed));
}

fn prompt(cache: &Cache, network: &Network) {
    let ids = (0..ROWS as u32).map(|i| i % 9000).collect();
    let span = Span { ids, wanted: Wanted::Last, ..Span::of(cache, ROWS) };
    let mut pass = RowPass::prompts(vec![span], WIDE.vocab as u32 - 1);
    while !pass.is_done(network) {
        assert!(pass.advance(network, &mut || true).unwrap());
    }
}

#[test]
fn what_the_meters_say_is_what_the_process_holds() {
    let folder = tempfile::tempdir().unwrap();
    WIDE.write(folder.path(), Dtype::BF16);
    let checkpoint = Checkpoint::from_folder(Folder::Disk(folder.path().to_owned())).unwrap();
    // The vision side on one device, the decoder on another.
    let places = ["sim:0", "sim:1"].map(|name| Place::simulated(name, 8 << 30).unwrap());
    let [seeing, reading] = places.clone().map(|place| place.meter().unwrap().clone());
    let is_vision =
        |kind| matches!(kind, UnitKind::VisionEmbeddings | UnitKind::VisionBlock | UnitKind::Projector);
    let device = |unit: &Unit| usize::from(!is_vision(unit.kind));
    let of = checkpoint.units.iter().map(|unit| (unit.name.clone(), device(unit))).collect();
    let placement = Placement::new(places.to_vec(), of).unwrap();
    let live = || (seeing.live() + reading.live()) as i64;

    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        // Cast on load, so that they lie in memory of their own and not in the file's.
        let before = in_use();
        let place = |unit: &_| placement.of(unit);
        let weight_type = WeightType::Cast(DType::F32);
        let network =
            Network::load(&checkpoint, &mut Loading { place: &place, weight_type, progress: &mut |_| true })
                .unwrap();
        assert_eq!(live() as u64, seeing.parts().weights + reading.parts().weights);
        assert_within_one_percent("weights", live(), in_use() - before);

        // What the passes leave in threads is there from the first on.
        prompt(&network.cache(ROWS), &network);
        let (before, held) = (in_use(), live());
        let cache = network.cache(POSITIONS);
        prompt(&cache, &network);
        assert_eq!(reading.parts().kv as i64, live() - held);
        assert_within_one_percent("cache", live() - held, in_use() - before);

        watched("a pass of the decoder", &reading, || prompt(&cache, &network));

        let shape = (TILES, 3, WIDE.image, WIDE.image);
        let pixels = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        watched("a pass of the vision side", &seeing, || {
            let mut pass = TilePass::new(std::slice::from_ref(&pixels)).unwrap();
            while !pass.is_done(&network) {
                assert!(pass.advance(&network, &mut || true).unwrap());
            }
        });

        let (before, held) = (in_use(), live());
        drop((cache, network));
        assert!(live() < 4096);
        assert_within_one_percent("all of it, given back", held - live(), before - in_use());
    });
}
