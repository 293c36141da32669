//! The solver against every staging there is.

use super::*;
use proptest::prelude::*;

fn chain(stays: Vec<u64>, peaks: Vec<u64>, tail: (u64, u64), usable: Vec<u64>) -> Chain {
    let items = stays.len();
    Chain {
        stays: vec![stays],
        peaks: vec![peaks],
        tail: vec![tail],
        tail_place: Tail::Any,
        usable,
        pins: vec![None; items],
        cut_before: None,
        max_stages: usize::MAX,
    }
}

/// Every staging there is: each device takes any contiguous run or none, in every order, the tail anywhere allowed.
fn brute(chain: &Chain) -> Option<f64> {
    fn cost(chain: &Chain, first: usize, end: usize, tail: bool) -> u64 {
        (0..chain.stays.len())
            .map(|p| {
                let stays: u64 = chain.stays[p][first..end].iter().sum();
                let peak = chain.peaks[p][first..end].iter().copied().max().unwrap_or(0);
                let (ts, tp) = if tail { chain.tail[p] } else { (0, 0) };
                stays + ts + peak.max(tp)
            })
            .max()
            .unwrap()
    }
    fn go(chain: &Chain, from: usize, used: u32, hosted: bool, worst: f64, best: &mut Option<f64>) {
        let items = chain.stays[0].len();
        if from == items && hosted && best.is_none_or(|b| worst < b) {
            *best = Some(worst);
        }
        if used.count_ones() as usize >= chain.max_stages {
            return;
        }
        for device in 0..chain.usable.len() {
            if used >> device & 1 == 1 {
                continue;
            }
            for end in from..=items {
                if chain.pins[from..end].iter().any(|pin| pin.is_some_and(|d| d != device)) {
                    break;
                }
                if chain.cut_before.is_some_and(|cut| from < cut && end > cut) {
                    break;
                }
                for hosts in [false, true] {
                    if (hosts && hosted) || (end == from && !hosts) {
                        continue;
                    }
                    let allowed = match chain.tail_place {
                        Tail::Any => true,
                        Tail::On(d) => !hosts || d == device,
                        Tail::With(item) => hosts == (from <= item && item < end),
                    };
                    if !allowed {
                        continue;
                    }
                    let share = cost(chain, from, end, hosts) as f64 / chain.usable[device] as f64;
                    go(chain, end, used | 1 << device, hosted || hosts, worst.max(share), best);
                }
            }
        }
    }
    let mut best = None;
    go(chain, 0, 0, false, 0.0, &mut best);
    best
}

fn check(chain: &Chain, staging: &Staging) {
    let mut at = 0;
    let mut used = Vec::new();
    for stage in &staging.stages {
        assert_eq!(stage.first, at);
        assert!(!used.contains(&stage.device));
        used.push(stage.device);
        at = stage.end;
        for item in stage.first..stage.end {
            assert!(chain.pins[item].is_none_or(|d| d == stage.device));
        }
    }
    assert_eq!(at, chain.stays[0].len());
    assert_eq!(staging.stages.iter().filter(|s| s.hosts_tail).count(), 1);
}

fn cases() -> impl Strategy<Value = Chain> {
    (1usize..7, 1usize..5, 1usize..3).prop_flat_map(|(items, devices, points)| {
        let numbers = |top: u64, n: usize| proptest::collection::vec(0..top, n);
        (
            proptest::collection::vec(numbers(60, items), points),
            proptest::collection::vec(numbers(40, items), points),
            proptest::collection::vec((0u64..40, 0u64..40), points),
            proptest::collection::vec(prop_oneof![Just(100u64), Just(60u64), 1u64..150], devices),
            proptest::collection::vec(proptest::option::weighted(0.15, 0..devices), items),
            (0usize..6, 0..devices, 0..items),
            proptest::option::weighted(0.2, 0..items),
            prop_oneof![3 => Just(usize::MAX), 1 => 1usize..4],
        )
            .prop_map(
                |(stays, peaks, tail, usable, pins, (place, device, item), cut_before, max_stages)| Chain {
                    stays,
                    peaks,
                    tail,
                    tail_place: match place {
                        0 => Tail::On(device),
                        1 => Tail::With(item),
                        _ => Tail::Any,
                    },
                    usable,
                    pins,
                    cut_before,
                    max_stages,
                },
            )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn never_worse_than_every_staging_there_is(chain in cases()) {
        let expected = brute(&chain);
        let found = chain.solve(None);
        match (expected, &found) {
            (None, None) => {}
            (Some(best), Some(staging)) => {
                check(&chain, staging);
                prop_assert!(staging.exact);
                prop_assert!((staging.worst.value() - best).abs() <= 1e-12 * best.max(1.0),
                    "found {} but {} is possible", staging.worst.value(), best);
            }
            _ => prop_assert!(false, "expected {expected:?}, found {found:?}"),
        }
    }

    #[test]
    fn fewest_stages_among_the_best(chain in cases()) {
        let Some(staging) = chain.solve(None) else { return Ok(()) };
        let fewer = Chain { max_stages: staging.stages.len() - 1, ..chain.clone() };
        if let Some(worst) = brute(&fewer) {
            prop_assert!(worst > staging.worst.value() * (1.0 + 1e-12));
        }
    }

    #[test]
    fn absurd_sizes_end(stays in proptest::collection::vec(any::<u64>(), 1..40), usable in proptest::collection::vec(any::<u64>(), 1..12), tail in any::<(u64, u64)>()) {
        let items = stays.len();
        let peaks = stays.iter().rev().copied().collect();
        let mut absurd = chain(stays, peaks, tail, usable);
        absurd.pins = vec![None; items];
        if let Some(staging) = absurd.solve(None) {
            prop_assert_eq!(staging.stages.last().unwrap().end, items);
        }
    }
}

#[test]
fn equal_devices_keep_what_they_had() {
    let chain = chain(vec![10; 8], vec![0; 8], (0, 0), vec![100; 4]);
    let previous = [3, 3, 1, 1, 0, 0, 2, 2];
    let staging = chain.solve(Some(&previous)).unwrap();
    let order: Vec<usize> = staging.stages.iter().map(|s| s.device).collect();
    assert_eq!(order, [3, 1, 0, 2]);
}

#[test]
fn sixty_four_different_devices_are_grouped_and_still_good() {
    let usable: Vec<u64> = (0..64).map(|i| 40_000 + 37 * i).collect();
    let chain = chain(vec![5_000; 143], vec![2_000; 143], (4_000, 100), usable);
    let staging = chain.solve(None).unwrap();
    check(&chain, &staging);
    assert!(!staging.exact);
    // Three items each on most devices: 15,000 + 2,000 of about 41,000.
    assert!(staging.worst.value() < 0.43, "{}", staging.worst.value());
}

#[test]
fn nothing_to_place_on_is_no_staging() {
    assert!(chain(vec![1], vec![1], (0, 0), vec![]).solve(None).is_none());
    let zero = chain(vec![1], vec![1], (0, 0), vec![0, 0]).solve(None).unwrap();
    assert!(zero.worst.value() > 1.0);
}
