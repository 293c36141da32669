//! How fast the planner is. The bars it must stay under:
//! a full re-plan of the 76B over 8 GPUs, device order included: 1 ms; of the 241B over 64 GPUs: 10 ms;
//! an edit with its new forecast: 100 µs; a forecast over 900 questions: 50 ms.
// A benchmark of a model that is not in the catalogue has nothing to measure.
#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use shardscope::plan::edits::Draft;
use shardscope::plan::planner::{self, Wishes};
use shardscope::plan::{
    Assumptions, Case, Device, Dtype, Forecaster, Layout, Model, QuestionCost, Workload, catalogue, needs,
};

const GIB: u64 = 1 << 30;

/// 900 questions like MMMU's: 1 to 7 images.
fn questions() -> Workload {
    let question = |i: u64| {
        let tiles = [13, 10, 7, 5, 13, 26, 3, 9, 39, 13, 65, 5, 70][i as usize % 13];
        QuestionCost {
            id: format!("validation_{i}"),
            tiles,
            prompt_tokens: tiles * 256 + 80 + i * 7 % 200,
            ..QuestionCost::default()
        }
    };
    Workload::new((0..900).map(question).collect())
}

fn case(name: &str, count: usize, gib: u64, uneven: bool) -> Case {
    let model = Model::new(catalogue::find(name).expect("a model of the catalogue"), Dtype::Bf16, None);
    let device = |i: usize| {
        let mut device = Device::simulated(i, gib * GIB);
        // Other processes hold a different amount on every card.
        device.others = if uneven { 123_456_789 * ((i as u64 * 5) % 11) } else { 0 };
        device
    };
    Case::new(model, (0..count).map(device).collect(), Assumptions::default(), questions())
}

fn planning(c: &mut Criterion) {
    let even = case("InternVL2-Llama3-76B", 8, 40, false);
    let uneven = case("InternVL2-Llama3-76B", 8, 40, true);
    c.bench_function("plan 76B over 8 equal GPUs", |b| {
        b.iter(|| planner::plan(black_box(&even), Layout::Auto))
    });
    c.bench_function("plan 76B over 8 unequal GPUs", |b| {
        b.iter(|| planner::plan(black_box(&uneven), Layout::Auto))
    });
    let wishes = Wishes { contiguous: true, ..Wishes::default() };
    c.bench_function("the same, contiguous only", |b| b.iter(|| planner::ours(black_box(&uneven), &wishes)));
    let many = case("InternVL3_5-241B-A28B", 64, 24, false);
    let many_uneven = case("InternVL3_5-241B-A28B", 64, 24, true);
    c.bench_function("plan 241B over 64 equal GPUs", |b| {
        b.iter(|| planner::plan(black_box(&many), Layout::Auto))
    });
    c.bench_function("plan 241B over 64 GPUs of 11 sizes", |b| {
        b.iter(|| planner::plan(black_box(&many_uneven), Layout::Auto))
    });
    c.bench_function("accelerate's auto for 76B", |b| {
        b.iter(|| planner::plan(black_box(&even), Layout::Accelerate))
    });
}

fn editing(c: &mut Criterion) {
    let case = case("InternVL2-Llama3-76B", 8, 40, true);
    let forecaster = Forecaster::new(&case);
    let draft = Draft::new(planner::plan(&case, Layout::Auto).expect("a plan"));
    c.bench_function("an edit and its forecast over 900 questions", |b| {
        b.iter(|| {
            let next = draft.move_boundary(2, black_box(1)).expect("a boundary");
            forecaster.forecast(&next.plan)
        })
    });
    c.bench_function("a forecast of 900 questions from nothing", |b| {
        b.iter(|| Forecaster::new(black_box(&case)).forecast(&draft.plan))
    });
    let pinned = draft.move_units(&[60, 61], 3).expect("units");
    c.bench_function("plan the rest around a pin", |b| b.iter(|| pinned.replan(black_box(&case))));
}

fn other(c: &mut Criterion) {
    c.bench_function("units of the 241B", |b| {
        let shape = catalogue::find("InternVL3_5-241B-A28B").expect("a model of the catalogue");
        b.iter(|| Model::new(black_box(shape.clone()), Dtype::Bf16, None))
    });
    let case = case("InternVL2-Llama3-76B", 1, 40, false);
    c.bench_function("what do I need, 76B", |b| b.iter(|| needs::needs(black_box(&case))));
}

criterion_group!(benches, planning, editing, other);
criterion_main!(benches);
