//! The meter against what is taken and given back.

use std::alloc::Layout;

use super::*;
use proptest::prelude::*;

fn meter(capacity: Option<u64>) -> Meter {
    Meter::new("sim:0", capacity).unwrap()
}

#[test]
fn counts_what_is_taken_and_given_back_by_part() {
    let meter = meter(None);
    let weights = {
        let _at = meter.enter(Part::Weights);
        vec![1u8; 1000]
    };
    let outside = vec![0u8; 5000];
    let flowing = {
        let _at = meter.enter(Part::Activation);
        let flowing = vec![0f32; 100];
        drop(vec![0u8; 3000]);
        let _host = Owner::HOST.enter();
        drop(vec![0u8; 100_000]);
        flowing
    };
    assert_eq!(meter.parts(), Parts { weights: 1000, kv: 0, activation: 400 });
    assert_eq!((meter.live(), meter.peak()), (1400, 4400));
    meter.reset_peak();
    assert_eq!(meter.peak(), 1400);
    drop((weights, outside));
    assert_eq!((meter.live(), meter.peak()), (400, 1400));
    drop(flowing);
    assert_eq!(meter.parts().total(), 0);
    assert_eq!(meter.allocations(), 3);
}

#[test]
fn a_free_on_another_thread_debits_the_owner() {
    let (here, there) = (meter(None), meter(None));
    let block = {
        let _at = here.enter(Part::Activation);
        vec![0u8; 777]
    };
    assert_eq!(here.live(), 777);
    let entered = there.clone();
    std::thread::spawn(move || {
        let _at = entered.enter(Part::Activation);
        drop(block);
    })
    .join()
    .unwrap();
    assert_eq!((here.live(), there.live()), (0, 0));
}

/// A device that counts for itself: used, the most of it, reserved.
#[derive(Debug, Clone, Default)]
struct Card(Arc<[std::sync::atomic::AtomicU64; 3]>);

impl Card {
    fn take(&self, bytes: u64) {
        let used = self.0[0].fetch_add(bytes, Relaxed) + bytes;
        self.0[1].fetch_max(used, Relaxed);
        self.0[2].fetch_max(used, Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        self.0[0].fetch_sub(bytes, Relaxed);
    }
}

impl Pool for Card {
    fn used(&self) -> u64 {
        self.0[0].load(Relaxed)
    }

    fn high(&self) -> u64 {
        self.0[1].load(Relaxed)
    }

    fn reserved(&self) -> u64 {
        self.0[2].load(Relaxed)
    }

    fn reset_high(&self) {
        self.0[1].store(self.used(), Relaxed);
    }

    fn trim(&self) {
        self.0[2].store(self.used(), Relaxed);
    }
}

#[test]
fn a_device_that_counts_for_itself_is_told_what_its_bytes_are_for() {
    let card = Card::default();
    let meter = Meter::of_pool("cuda:0", card.clone());
    card.take(5000);
    let weights = meter.ascribe(Part::Weights, 5000).unwrap();
    card.take(700);
    let kv = meter.ascribe(Part::Kv, 700).unwrap();
    card.take(300);
    assert_eq!(meter.parts(), Parts { weights: 5000, kv: 700, activation: 300 });
    card.give_back(300);
    assert_eq!((meter.live(), meter.peak(), meter.reserved()), (5700, 6000, Some(6000)));
    assert_eq!(meter.peak_parts().activation, 300);
    meter.reset_peak();
    assert_eq!((meter.peak(), meter.peak_parts().activation), (5700, 0));
    meter.trim();
    assert_eq!(meter.reserved(), Some(5700));
    // Host memory is none of its own, and its own allocations fail by themselves.
    let entered = meter.enter(Part::Activation);
    let block = vec![0u8; 900];
    assert!(meter.live() == 5700 && meter.check().is_ok() && meter.room_for(1 << 50).is_ok());
    drop((block, entered, kv));
    card.give_back(700);
    assert_eq!(meter.parts(), Parts { weights: 5000, kv: 0, activation: 0 });
    drop(weights);
    card.give_back(5000);
    drop(meter);
    assert_eq!(card.reserved(), 0, "what nobody uses goes back with the books");
    // Where every allocation says whose it is, nobody need.
    assert!(Meter::new("sim:0", None).unwrap().ascribe(Part::Kv, 1).is_none());
}

#[test]
fn growth_counts_for_the_first_owner() {
    let meter = meter(None);
    let mut list = {
        let _at = meter.enter(Part::Kv);
        Vec::<u8>::with_capacity(10)
    };
    list.reserve_exact(4000);
    assert_eq!(meter.parts().kv, list.capacity() as u64);
    list.shrink_to_fit();
    assert_eq!(meter.parts().kv, list.capacity() as u64);
}

#[test]
fn alignment_is_kept_and_zeroes_are_zeroes() {
    let meter = meter(None);
    let _at = meter.enter(Part::Activation);
    for align in [1usize, 2, 8, 16, 32, 64, 4096, 1 << 16] {
        for size in [1usize, 7, 64, 4097, 300_000] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the layout is not of size zero; each block is given back once, with the layout it has.
            unsafe {
                let block = std::alloc::alloc_zeroed(layout);
                assert_eq!(block as usize % align, 0);
                assert!(std::slice::from_raw_parts(block, size).iter().all(|b| *b == 0));
                assert_eq!(meter.live(), size as u64);
                block.write_bytes(7, size);
                let larger = std::alloc::realloc(block, layout, size * 3);
                assert_eq!(larger as usize % align, 0);
                assert!(std::slice::from_raw_parts(larger, size).iter().all(|b| *b == 7));
                assert_eq!(meter.live(), 3 * size as u64);
                std::alloc::dealloc(larger, Layout::from_size_align_unchecked(size * 3, align));
            }
            assert_eq!(meter.live(), 0);
        }
    }
}

#[test]
fn an_overdrawn_device_says_so_once() {
    let meter = meter(Some(1000));
    let _at = meter.enter(Part::Activation);
    let fits = vec![0u8; 900];
    assert_eq!(meter.check(), Ok(()));
    assert_eq!(meter.room_for(100), Ok(()));
    assert_eq!(meter.room_for(101).unwrap_err().needed, 1001);
    drop(vec![0u8; 300]);
    let short = meter.check().unwrap_err();
    let expected = OutOfMemory { device: "sim:0".into(), needed: 1200, capacity: Some(1000) };
    drop(fits);
    assert_eq!(short, expected);
    assert_eq!(meter.check(), Ok(()));
}

#[test]
fn chosen_allocations_fail() {
    let meter = meter(None);
    meter.fail(2..4);
    let outcomes: Vec<bool> = (0..6)
        .map(|_| {
            let _at = meter.enter(Part::Activation);
            std::hint::black_box(vec![0u8; 10]);
            meter.check().is_err()
        })
        .collect();
    assert_eq!(outcomes, [false, false, true, true, false, false]);
}

#[test]
fn charges_count_until_they_are_dropped() {
    let meter = meter(Some(100));
    let first = meter.charge(Part::Weights, 80);
    assert_eq!((meter.parts().weights, meter.check()), (80, Ok(())));
    let second = meter.charge(Part::Weights, 30);
    assert_eq!(meter.check().unwrap_err().needed, 110);
    drop((first, second));
    assert_eq!((meter.live(), meter.peak()), (0, 110));
}

#[test]
fn what_an_earlier_device_left_behind_is_no_later_ones() {
    let first = meter(None);
    let Counted::Here(Tabled { slot, .. }) = first.0.counted else { panic!("a device of our own") };
    let owner = first.owner(Part::Activation);
    let left = {
        let _at = first.enter(Part::Activation);
        vec![0u8; 123]
    };
    drop(first);
    // Books in the same slot, whoever else opens some meanwhile.
    TABLE[usize::from(slot)].begin(i64::MAX);
    let later = {
        let _at = owner.enter();
        vec![0u8; 55]
    };
    drop(left);
    drop(later);
    assert_eq!(TABLE[usize::from(slot)].all.load(Relaxed), 0);
}

#[test]
fn any_number_of_devices_may_follow_each_other() {
    for _ in 0..3 * SLOTS {
        let meter = meter(Some(10));
        assert_eq!((meter.live(), meter.peak()), (0, 0));
        let _at = meter.enter(Part::Activation);
        drop(vec![0u8; 4]);
        assert_eq!(meter.check(), Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn threads_that_pass_memory_about_settle_to_what_is_alive(sizes in prop::collection::vec((0usize..3, 1usize..5000, any::<bool>()), 1..60)) {
        let meters = [meter(None), meter(None), meter(None)];
        let kept: Vec<(usize, Vec<u8>)> = std::thread::scope(|scope| {
            let halves = sizes.split_at(sizes.len() / 2);
            let work = |part: &[(usize, usize, bool)]| {
                let mut kept = Vec::new();
                for (owner, size, keep) in part {
                    let _at = meters[*owner].enter(Part::Activation);
                    let block = vec![0u8; *size];
                    let _host = Owner::HOST.enter();
                    if *keep { kept.push((*owner, block)) }
                }
                kept
            };
            let other = scope.spawn(move || work(halves.1));
            let mut all = work(halves.0);
            all.extend(other.join().unwrap());
            all
        });
        for (index, meter) in meters.iter().enumerate() {
            let alive: u64 = kept.iter().filter(|(owner, _)| *owner == index).map(|(_, b)| b.len() as u64).sum();
            prop_assert_eq!(meter.live(), alive);
            prop_assert!(meter.peak() >= alive);
        }
        drop(kept);
        for meter in &meters {
            prop_assert_eq!(meter.live(), 0);
        }
    }
}
