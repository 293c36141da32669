//! What a simulated device holds, to the byte: the program's allocator knows for which device a thread works.
//!
//! Every allocation carries its owner in a header of 16 bytes, so that a free on any thread debits the device that the
//! memory was taken for. Weights that are used in place from a mapped file are charged by hand ([`Meter::charge`]).
//! An allocator cannot refuse without ending the program; so a device that is overdrawn is marked, and whoever works
//! for it asks after each unit ([`Meter::check`]) and drops what was made.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::problem::OutOfMemory;
use crate::{Problem, Result};

/// What memory of a device is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Weights.
    Weights,
    /// Keys and values.
    Kv,
    /// Everything else: what flows through the units, and what they need meanwhile.
    Activation,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 3] = [Self::Weights, Self::Kv, Self::Activation];

    /// Its name in `memory.jsonl`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Kv => "kv",
            Self::Activation => "activation",
        }
    }
}

/// Bytes by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts {
    /// Weights.
    pub weights: u64,
    /// Keys and values.
    pub kv: u64,
    /// Everything else.
    pub activation: u64,
}

impl Parts {
    /// All of them together.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.activation)
    }

    /// Name and bytes of each.
    pub fn named(&self) -> [(&'static str, u64); 3] {
        [
            (Part::Weights.name(), self.weights),
            (Part::Kv.name(), self.kv),
            (Part::Activation.name(), self.activation),
        ]
    }
}

/// Devices that can be metered at a time; the first stands for the host, which is not counted.
const SLOTS: usize = 1024;

/// The counts of one metered device. Every allocation of its own touches this one cache line pair and no other's.
#[repr(align(128))]
struct Slot {
    /// Goes up when the slot is given to another device: what an earlier one left behind no longer counts.
    generation: AtomicU32,
    live: [AtomicI64; 3],
    peak: [AtomicI64; 3],
    all: AtomicI64,
    all_peak: AtomicI64,
    capacity: AtomicI64,
    /// The most that was held beyond the capacity since the last check.
    overdrawn: AtomicI64,
    allocations: AtomicU64,
    fault_from: AtomicU64,
    fault_until: AtomicU64,
}

static TABLE: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];

/// Slots that were given back, and the first that was never used.
static FREE: Mutex<(Vec<u16>, u16)> = Mutex::new((Vec::new(), 1));

impl Slot {
    const fn new() -> Self {
        Self {
            generation: AtomicU32::new(0),
            live: [const { AtomicI64::new(0) }; 3],
            peak: [const { AtomicI64::new(0) }; 3],
            all: AtomicI64::new(0),
            all_peak: AtomicI64::new(0),
            capacity: AtomicI64::new(i64::MAX),
            overdrawn: AtomicI64::new(0),
            allocations: AtomicU64::new(0),
            fault_from: AtomicU64::new(u64::MAX),
            fault_until: AtomicU64::new(u64::MAX),
        }
    }

    /// Makes it ready for another device.
    fn begin(&self, capacity: i64) -> u32 {
        let generation = self.generation.fetch_add(1, Relaxed).wrapping_add(1);
        for part in 0..3 {
            self.live[part].store(0, Relaxed);
            self.peak[part].store(0, Relaxed);
        }
        self.all.store(0, Relaxed);
        self.all_peak.store(0, Relaxed);
        self.overdrawn.store(0, Relaxed);
        self.allocations.store(0, Relaxed);
        self.fault_from.store(u64::MAX, Relaxed);
        self.fault_until.store(u64::MAX, Relaxed);
        self.capacity.store(capacity, Relaxed);
        generation
    }

    fn add(&self, part: usize, bytes: i64) {
        raise(&self.peak[part], self.live[part].fetch_add(bytes, Relaxed) + bytes);
        let all = self.all.fetch_add(bytes, Relaxed) + bytes;
        raise(&self.all_peak, all);
        if all > self.capacity.load(Relaxed) && bytes > 0 {
            raise(&self.overdrawn, all);
        }
    }

    /// Counts one more allocation; one that is to fail marks the device.
    fn count(&self, bytes: i64) {
        let number = self.allocations.fetch_add(1, Relaxed);
        if number >= self.fault_from.load(Relaxed) && number < self.fault_until.load(Relaxed) {
            raise(&self.overdrawn, self.all.load(Relaxed).saturating_add(bytes).max(1));
        }
    }
}

/// `fetch_max` that does not write where nothing changes.
fn raise(cell: &AtomicI64, value: i64) {
    if value > cell.load(Relaxed) {
        cell.fetch_max(value, Relaxed);
    }
}

/// For whom memory is taken, in one word: generation, part, slot; 0 is the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(u64);

thread_local! {
    static PRESENT: Cell<u64> = const { Cell::new(0) };
}

impl Owner {
    /// The host, which is not counted: for what a device does not hold although work for it makes it.
    pub const HOST: Self = Self(0);

    fn new(slot: u16, part: Part, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | (part as u64) << 16 | u64::from(slot))
    }

    /// For whom this thread works, so that threads that help it can work for the same.
    pub fn present() -> Self {
        Self(PRESENT.try_with(Cell::get).unwrap_or(0))
    }

    /// Lets this thread work for this owner until the result is dropped.
    pub fn enter(self) -> Entered {
        Entered { before: PRESENT.with(|present| present.replace(self.0)), here: PhantomData }
    }

    /// The slot that it counts in, unless that is the host or the device is gone.
    fn slot(self) -> Option<(&'static Slot, usize)> {
        if self.0 == 0 {
            return None;
        }
        let slot = &TABLE[self.0 as usize & 0xffff & (SLOTS - 1)];
        let part = (self.0 >> 16) as usize & 3;
        (slot.generation.load(Relaxed) == (self.0 >> 32) as u32 && part < 3).then_some((slot, part))
    }
}

/// A thread at work for a device; what it allocates belongs to the device until this is dropped.
#[derive(Debug)]
#[must_use = "the thread works for the device only as long as this is held"]
pub struct Entered {
    before: u64,
    /// Belongs to the thread that entered.
    here: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // A thread that is ending has nothing left to count.
        let _ = PRESENT.try_with(|present| present.set(self.before));
    }
}

/// The program's allocator: the system's, with the owner of every allocation written before it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes before an allocation: room for the owner, and a multiple of the alignment.
const fn header(layout: &Layout) -> usize {
    if layout.align() > 16 { layout.align() } else { 16 }
}

/// The allocation with its header.
fn whole(layout: &Layout) -> Option<Layout> {
    let header = header(layout);
    Layout::from_size_align(layout.size().checked_add(header)?, header).ok()
}

/// Writes the present owner before an allocation and counts it.
///
/// # Safety
/// `start` is what the system gave for `whole(layout)`, or null.
unsafe fn taken(start: *mut u8, layout: &Layout) -> *mut u8 {
    if start.is_null() {
        return start;
    }
    let owner = Owner::present();
    // SAFETY: the header lies inside the allocation, and both its ends are multiples of 8.
    let user = unsafe {
        let user = start.add(header(layout));
        user.cast::<u64>().sub(1).write(owner.0);
        user
    };
    if let Some((slot, part)) = owner.slot() {
        slot.count(layout.size() as i64);
        slot.add(part, layout.size() as i64);
    }
    user
}

// SAFETY: memory comes from the system's allocator with a layout enlarged in front by a multiple of its alignment;
// the same enlargement is undone before it is given back. A layout that cannot be enlarged is refused by null.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(whole) = whole(&layout) else { return std::ptr::null_mut() };
        // SAFETY: the layout is not of size zero, for it has a header.
        unsafe { taken(System.alloc(whole), &layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(whole) = whole(&layout) else { return std::ptr::null_mut() };
        // SAFETY: as above.
        unsafe { taken(System.alloc_zeroed(whole), &layout) }
    }

    unsafe fn dealloc(&self, user: *mut u8, layout: Layout) {
        let header = header(&layout);
        // SAFETY: `user` came from `taken` with this layout, so a header lies before it, and the enlarged layout is
        // the one with which the system gave it.
        unsafe {
            if let Some((slot, part)) = Owner(user.cast::<u64>().sub(1).read()).slot() {
                slot.add(part, -(layout.size() as i64));
            }
            let whole = Layout::from_size_align_unchecked(layout.size() + header, header);
            System.dealloc(user.sub(header), whole);
        }
    }

    unsafe fn realloc(&self, user: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let header = header(&layout);
        let Some(wanted) = size.checked_add(header).filter(|size| isize::try_from(*size).is_ok()) else {
            return std::ptr::null_mut();
        };
        // SAFETY: as in `dealloc`; the header moves with the rest.
        unsafe {
            let owner = Owner(user.cast::<u64>().sub(1).read());
            let whole = Layout::from_size_align_unchecked(layout.size() + header, header);
            let start = System.realloc(user.sub(header), whole, wanted);
            if start.is_null() {
                return start;
            }
            if let Some((slot, part)) = owner.slot() {
                let grown = size as i64 - layout.size() as i64;
                slot.count(grown);
                slot.add(part, grown);
            }
            start.add(header)
        }
    }
}

/// The books of one device. Clones keep the same books.
#[derive(Debug, Clone)]
pub struct Meter(Arc<Books>);

#[derive(Debug)]
struct Books {
    name: String,
    capacity: Option<u64>,
    slot: u16,
    generation: u32,
}

impl Drop for Books {
    fn drop(&mut self) {
        let _host = Owner::HOST.enter();
        FREE.lock().unwrap_or_else(PoisonError::into_inner).0.push(self.slot);
    }
}

impl Meter {
    /// Opens books for a device; without a capacity it is only counted.
    ///
    /// # Errors
    /// More than a thousand devices are metered already.
    pub fn new(name: impl Into<String>, capacity: Option<u64>) -> Result<Self> {
        let name = name.into();
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        // Slots that nothing is left in come first: a straggler's free then meets the generation it knows.
        let empty = free.0.iter().position(|slot| TABLE[usize::from(*slot)].all.load(Relaxed) == 0);
        let slot = match empty {
            Some(at) => free.0.remove(at),
            None if usize::from(free.1) < SLOTS => {
                free.1 += 1;
                free.1 - 1
            }
            None if !free.0.is_empty() => free.0.remove(0),
            None => {
                return Err(Problem::new(format!(
                    "more than {} devices cannot be metered at once",
                    SLOTS - 1
                ))
                .at(name)
                .fix("name fewer simulated devices"));
            }
        };
        let limit = capacity.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(i64::MAX);
        let generation = TABLE[usize::from(slot)].begin(limit);
        Ok(Self(Arc::new(Books { name, capacity, slot, generation })))
    }

    fn slot(&self) -> &'static Slot {
        &TABLE[usize::from(self.0.slot)]
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its capacity in bytes, where it has one.
    pub fn capacity(&self) -> Option<u64> {
        self.0.capacity
    }

    /// Bytes held now.
    pub fn live(&self) -> u64 {
        positive(self.slot().all.load(Relaxed))
    }

    /// The most that was held at any moment since the last [`Meter::reset_peak`].
    pub fn peak(&self) -> u64 {
        positive(self.slot().all_peak.load(Relaxed))
    }

    /// Bytes held now, by part.
    pub fn parts(&self) -> Parts {
        by_part(&self.slot().live)
    }

    /// The most of each part since the last [`Meter::reset_peak`]; they need not have been at one moment.
    pub fn peak_parts(&self) -> Parts {
        by_part(&self.slot().peak)
    }

    /// Lets the peaks begin anew from what is held now.
    pub fn reset_peak(&self) {
        let slot = self.slot();
        for part in 0..3 {
            slot.peak[part].store(slot.live[part].load(Relaxed), Relaxed);
        }
        slot.all_peak.store(slot.all.load(Relaxed), Relaxed);
    }

    /// This device as an owner of memory of this part.
    pub fn owner(&self, part: Part) -> Owner {
        Owner::new(self.0.slot, part, self.0.generation)
    }

    /// Lets this thread work for the device: what it allocates until the result is dropped belongs to the device.
    pub fn enter(&self, part: Part) -> Entered {
        self.owner(part).enter()
    }

    /// Counts bytes that the device holds without an allocation of this program, such as weights that are used in
    /// place from a mapped file, until the result is dropped.
    pub fn charge(&self, part: Part, bytes: u64) -> Charge {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX / 4);
        self.slot().add(part as usize, bytes);
        Charge { meter: self.clone(), part, bytes }
    }

    /// Says whether the device was overdrawn since the last time this was asked, or an allocation was made to fail.
    ///
    /// # Errors
    /// It was.
    pub fn check(&self) -> std::result::Result<(), OutOfMemory> {
        match self.slot().overdrawn.swap(0, Relaxed) {
            0 => Ok(()),
            needed => Err(self.short_of(positive(needed))),
        }
    }

    /// Says whether so many more bytes would fit, before they are taken.
    ///
    /// # Errors
    /// They would not.
    pub fn room_for(&self, bytes: u64) -> std::result::Result<(), OutOfMemory> {
        let needed = self.live().saturating_add(bytes);
        match self.0.capacity {
            Some(capacity) if needed > capacity => Err(self.short_of(needed)),
            _ => Ok(()),
        }
    }

    fn short_of(&self, needed: u64) -> OutOfMemory {
        let _host = Owner::HOST.enter();
        OutOfMemory { device: self.0.name.clone(), needed, capacity: self.0.capacity }
    }

    /// Allocations made for the device since its books were opened or a fault was last set.
    pub fn allocations(&self) -> u64 {
        self.slot().allocations.load(Relaxed)
    }

    /// For tests of what survives: of the device's allocations, counted from now, those with these numbers fail.
    pub fn fail(&self, which: Range<u64>) {
        let slot = self.slot();
        slot.fault_from.store(u64::MAX, Relaxed);
        slot.allocations.store(0, Relaxed);
        slot.fault_until.store(which.end, Relaxed);
        slot.fault_from.store(which.start, Relaxed);
    }
}

fn positive(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}

fn by_part(cells: &[AtomicI64; 3]) -> Parts {
    let [weights, kv, activation] = Part::ALL.map(|part| positive(cells[part as usize].load(Relaxed)));
    Parts { weights, kv, activation }
}

/// Bytes that are held without an allocation; given back when dropped.
#[derive(Debug)]
#[must_use = "the bytes count only as long as this is held"]
pub struct Charge {
    meter: Meter,
    part: Part,
    bytes: i64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.meter.slot().add(self.part as usize, -self.bytes);
    }
}

#[cfg(test)]
mod tests {
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
        let slot = first.0.slot;
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
}
