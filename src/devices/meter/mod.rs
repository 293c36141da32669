//! What a device holds, to the byte.
//!
//! Of a simulated device the program's allocator tells: it knows for which device a thread works. Of a GPU its own
//! pool tells ([`Pool`]).
//!
//! Every allocation carries its owner in a header of 16 bytes, so that a free on any thread debits the device that the
//! memory was taken for. Weights that are used in place from a mapped file are charged by hand ([`Meter::charge`]).
//! An allocator cannot refuse without ending the program; so a device that is overdrawn is marked, and whoever works
//! for it asks after each unit ([`Meter::check`]) and drops what was made.

mod allocator;
mod pool;
mod slots;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};

pub use pool::Pool;
use pool::Pooled;
pub use slots::{Entered, Owner};
use slots::{FREE, SLOTS, Slot, TABLE};

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

/// The books of one device. Clones keep the same books.
#[derive(Debug, Clone)]
pub struct Meter(Arc<Books>);

#[derive(Debug)]
struct Books {
    name: String,
    capacity: Option<u64>,
    counted: Counted,
}

/// Who counts.
#[derive(Debug)]
enum Counted {
    /// The program's allocator, in a slot of its table.
    Here(Tabled),
    /// The device's own pool.
    There(Pooled),
}

/// A slot of the table, in use.
#[derive(Debug)]
struct Tabled {
    slot: u16,
    generation: u32,
}

impl Tabled {
    fn slot(&self) -> &'static Slot {
        &TABLE[usize::from(self.slot)]
    }
}

impl Drop for Tabled {
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
        Ok(Self(Arc::new(Books { name, capacity, counted: Counted::Here(Tabled { slot, generation }) })))
    }

    /// The books that a device keeps itself.
    pub fn of_pool(name: impl Into<String>, pool: impl Pool + 'static) -> Self {
        let counted = Counted::There(Pooled::new(Box::new(pool)));
        Self(Arc::new(Books { name: name.into(), capacity: None, counted }))
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
        match &self.0.counted {
            Counted::Here(tabled) => positive(tabled.slot().all.load(Relaxed)),
            Counted::There(pooled) => pooled.pool().used(),
        }
    }

    /// Bytes that the device keeps from others, those included that nothing is held in now; none where nothing is kept
    /// so.
    pub fn reserved(&self) -> Option<u64> {
        match &self.0.counted {
            Counted::Here(_) => None,
            Counted::There(pooled) => Some(pooled.pool().reserved()),
        }
    }

    /// Gives back to others what is reserved and not used.
    pub fn trim(&self) {
        if let Counted::There(pooled) = &self.0.counted {
            pooled.pool().trim();
        }
    }

    /// The most that was held at any moment since the last [`Meter::reset_peak`].
    pub fn peak(&self) -> u64 {
        match &self.0.counted {
            Counted::Here(tabled) => positive(tabled.slot().all_peak.load(Relaxed)),
            Counted::There(pooled) => pooled.pool().high(),
        }
    }

    /// Bytes held now, by part.
    pub fn parts(&self) -> Parts {
        match &self.0.counted {
            Counted::Here(tabled) => by_part(&tabled.slot().live),
            Counted::There(pooled) => pooled.parts_of(self.live()),
        }
    }

    /// The most of each part since the last [`Meter::reset_peak`]; they need not have been at one moment.
    pub fn peak_parts(&self) -> Parts {
        match &self.0.counted {
            Counted::Here(tabled) => by_part(&tabled.slot().peak),
            // Weights and cache hardly change while a question is answered.
            Counted::There(pooled) => pooled.parts_of(self.peak()),
        }
    }

    /// Lets the peaks begin anew from what is held now.
    pub fn reset_peak(&self) {
        match &self.0.counted {
            Counted::Here(tabled) => {
                let slot = tabled.slot();
                for part in 0..3 {
                    slot.peak[part].store(slot.live[part].load(Relaxed), Relaxed);
                }
                slot.all_peak.store(slot.all.load(Relaxed), Relaxed);
            }
            Counted::There(pooled) => pooled.pool().reset_high(),
        }
    }

    /// This device as an owner of host memory of this part; one that counts for itself owns none.
    pub fn owner(&self, part: Part) -> Owner {
        match &self.0.counted {
            Counted::Here(Tabled { slot, generation }) => Owner::new(*slot, part, *generation),
            Counted::There(_) => Owner::HOST,
        }
    }

    /// Lets this thread work for the device: what it allocates until the result is dropped belongs to the device.
    pub fn enter(&self, part: Part) -> Entered {
        self.owner(part).enter()
    }

    /// Counts bytes that the device holds without an allocation of this program, such as weights that are used in
    /// place from a mapped file, until the result is dropped.
    pub fn charge(&self, part: Part, bytes: u64) -> Charge {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX / 4);
        self.add(part, bytes);
        Charge { meter: self.clone(), part, bytes }
    }

    /// Says what bytes are for that a device's own pool has counted, until the result is dropped; none where every
    /// allocation says so itself.
    pub fn ascribe(&self, part: Part, bytes: u64) -> Option<Charge> {
        matches!(self.0.counted, Counted::There(_)).then(|| self.charge(part, bytes))
    }

    fn add(&self, part: Part, bytes: i64) {
        match &self.0.counted {
            Counted::Here(tabled) => tabled.slot().add(part as usize, bytes),
            Counted::There(pooled) => pooled.ascribe(part, bytes),
        }
    }

    /// Says whether the device was overdrawn since the last time this was asked, or an allocation was made to fail.
    ///
    /// # Errors
    /// It was.
    pub fn check(&self) -> std::result::Result<(), OutOfMemory> {
        match &self.0.counted {
            Counted::Here(tabled) => match tabled.slot().overdrawn.swap(0, Relaxed) {
                0 => Ok(()),
                needed => Err(self.short_of(positive(needed))),
            },
            // Its allocations fail by themselves.
            Counted::There(_) => Ok(()),
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

    /// Allocations of the program made for the device since its books were opened or a fault was last set.
    pub fn allocations(&self) -> u64 {
        match &self.0.counted {
            Counted::Here(tabled) => tabled.slot().allocations.load(Relaxed),
            Counted::There(_) => 0,
        }
    }

    /// For tests of what survives: of the program's allocations for the device, counted from now, those with these
    /// numbers fail.
    pub fn fail(&self, which: Range<u64>) {
        let Counted::Here(tabled) = &self.0.counted else { return };
        let slot = tabled.slot();
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
        self.meter.add(self.part, -self.bytes);
    }
}
