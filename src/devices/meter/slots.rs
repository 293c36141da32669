//! The table of what metered devices hold, and for which of them a thread works.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::Part;

/// Devices that can be metered at a time; the first stands for the host, which is not counted.
pub(super) const SLOTS: usize = 1024;

/// The counts of one metered device. Every allocation of its own touches this one cache line pair and no other's.
#[repr(align(128))]
pub(super) struct Slot {
    /// Goes up when the slot is given to another device: what an earlier one left behind no longer counts.
    pub(super) generation: AtomicU32,
    pub(super) live: [AtomicI64; 3],
    pub(super) peak: [AtomicI64; 3],
    pub(super) all: AtomicI64,
    pub(super) all_peak: AtomicI64,
    pub(super) capacity: AtomicI64,
    /// The most that was held beyond the capacity since the last check.
    pub(super) overdrawn: AtomicI64,
    pub(super) allocations: AtomicU64,
    pub(super) fault_from: AtomicU64,
    pub(super) fault_until: AtomicU64,
}

pub(super) static TABLE: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];

/// Slots that were given back, and the first that was never used.
pub(super) static FREE: Mutex<(Vec<u16>, u16)> = Mutex::new((Vec::new(), 1));

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
    pub(super) fn begin(&self, capacity: i64) -> u32 {
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

    pub(super) fn add(&self, part: usize, bytes: i64) {
        raise(&self.peak[part], self.live[part].fetch_add(bytes, Relaxed) + bytes);
        let all = self.all.fetch_add(bytes, Relaxed) + bytes;
        raise(&self.all_peak, all);
        if all > self.capacity.load(Relaxed) && bytes > 0 {
            raise(&self.overdrawn, all);
        }
    }

    /// Counts one more allocation; one that is to fail marks the device.
    pub(super) fn count(&self, bytes: i64) {
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
pub struct Owner(pub(super) u64);

thread_local! {
    static PRESENT: Cell<u64> = const { Cell::new(0) };
}

impl Owner {
    /// The host, which is not counted: for what a device does not hold although work for it makes it.
    pub const HOST: Self = Self(0);

    pub(super) fn new(slot: u16, part: Part, generation: u32) -> Self {
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
    pub(super) fn slot(self) -> Option<(&'static Slot, usize)> {
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
