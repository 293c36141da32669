//! Books that a device keeps itself: the pool that its driver gives memory from.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use super::{Part, Parts, positive};

/// A pool of a device's memory from which all tensors there are given, and its figures, in bytes.
pub trait Pool: Debug + Send + Sync {
    /// Held by tensors.
    fn used(&self) -> u64;
    /// Kept from other programs: what is used, and what is free for tensors to come.
    fn reserved(&self) -> u64;
    /// The most that was used since the last [`Pool::reset_high`].
    fn high(&self) -> u64;
    /// Lets the most begin anew from what is used now.
    fn reset_high(&self);
    /// Gives back what is reserved and not used.
    fn trim(&self);
}

/// A pool, and what its bytes are for, as far as somebody said so. What it reserves goes back when this is dropped.
#[derive(Debug)]
pub(super) struct Pooled {
    pool: Box<dyn Pool>,
    ascribed: [AtomicI64; 3],
}

impl Pooled {
    pub(super) fn new(pool: Box<dyn Pool>) -> Self {
        Self { pool, ascribed: [const { AtomicI64::new(0) }; 3] }
    }

    pub(super) fn pool(&self) -> &dyn Pool {
        &*self.pool
    }

    pub(super) fn ascribe(&self, part: Part, bytes: i64) {
        self.ascribed[part as usize].fetch_add(bytes, Relaxed);
    }

    /// What so many bytes are for: what nothing was said of flows through the units.
    pub(super) fn parts_of(&self, bytes: u64) -> Parts {
        let said = |part: Part| positive(self.ascribed[part as usize].load(Relaxed));
        let weights = said(Part::Weights).min(bytes);
        let kv = said(Part::Kv).min(bytes - weights);
        Parts { weights, kv, activation: bytes - weights - kv }
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.trim();
    }
}
