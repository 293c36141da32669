//! The exact solver: a chain of items cut into contiguous stages over unequal devices so that the worst share of usable
//! memory is smallest.
//!
//! The cost of a stage is what stays (a sum) plus what is transient (a maximum), so it never falls when an item is added
//! and never rises when one is taken from its front. Hence, for a given share, "as many as fit" is the best a device can
//! do, the farthest item reached by a *set* of devices decides everything, and the smallest share is found by bisection
//! ended by a strict test: no staging exists below the one returned. Devices of equal size are interchangeable, so sets are
//! counted by type: eight equal cards are nine states, not 256.
//!
//! The tail (the head) runs last and may live on any device: it is a charge on the device that hosts it.

mod search;
mod sums;

use search::Search;
use sums::Prepared;

/// Where the tail may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// On any device.
    Any,
    /// On this device.
    On(usize),
    /// On the device of this item (a head that shares the token embedding).
    With(usize),
}

/// What to cut. Costs are given for every point of the load that could be the worst; a stage costs the most of them.
#[derive(Debug, Clone)]
pub struct Chain {
    /// What stays: `stays[point][item]` bytes.
    pub stays: Vec<Vec<u64>>,
    /// What is transient: `peaks[point][item]` bytes.
    pub peaks: Vec<Vec<u64>>,
    /// The tail's stay and peak at each point.
    pub tail: Vec<(u64, u64)>,
    /// Where the tail may live.
    pub tail_place: Tail,
    /// Usable bytes of each device.
    pub usable: Vec<u64>,
    /// Items that must lie on a device.
    pub pins: Vec<Option<usize>>,
    /// A stage must end before this item (to give what lies before it devices of its own).
    pub cut_before: Option<usize>,
    /// Use at most so many devices.
    pub max_stages: usize,
}

/// A worst share as an exact fraction: bytes over usable bytes.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Bytes held.
    pub held: u64,
    /// Bytes usable.
    pub usable: u64,
}

impl Share {
    const NOTHING: Share = Share { held: 0, usable: 1 };

    /// As a number; 1 is full.
    pub fn value(self) -> f64 {
        self.held as f64 / self.usable.max(1) as f64
    }

    /// The most bytes on a device of so many usable bytes that are strictly below this share.
    fn strictly_below(self, usable: u64) -> u64 {
        let limit =
            (u128::from(self.held) * u128::from(usable)).saturating_sub(1) / u128::from(self.usable.max(1));
        u64::try_from(limit).unwrap_or(u64::MAX)
    }

    /// Whether it is more than another, exactly.
    pub fn exceeds(self, other: Share) -> bool {
        u128::from(self.held) * u128::from(other.usable) > u128::from(other.held) * u128::from(self.usable)
    }
}

/// One stage: items `first..end` on a device; empty where the device only hosts the tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// The device.
    pub device: usize,
    /// First item.
    pub first: usize,
    /// One past the last item.
    pub end: usize,
    /// Whether it hosts the tail.
    pub hosts_tail: bool,
}

/// A staging of the whole chain.
#[derive(Debug, Clone)]
pub struct Staging {
    /// Stages in execution order.
    pub stages: Vec<Stage>,
    /// The worst share.
    pub worst: Share,
    /// Whether no better staging exists (false where so many different devices had to be grouped).
    pub exact: bool,
}

/// Sets of devices counted before sizes are grouped: sixteen devices are told apart however different they are; of more,
/// so many sets that a plan still takes milliseconds.
const STATE_LIMIT: usize = 1 << 16;
const STATE_LIMIT_OF_MANY: usize = 1 << 13;

/// Devices that the search may exchange for one another.
#[derive(Debug, Clone)]
struct Kind {
    devices: Vec<usize>,
    usable: u64,
    may_host: bool,
    /// Whether items may be pinned to it; then it has one device.
    pinned: bool,
}

impl Chain {
    fn items(&self) -> usize {
        self.stays.first().map_or(0, Vec::len)
    }

    /// Finds the staging with the smallest worst share, over all orders of the devices; among those, one with the fewest
    /// stages, and among those one whose tail needs no extra hop. `previous` (a device for each item) decides between
    /// equal devices, so that a small change moves little. Nothing where the pins contradict contiguous stages.
    pub fn solve(&self, previous: Option<&[usize]>) -> Option<Staging> {
        let prepared = Prepared::new(self)?;
        let (kinds, exact) = self.kinds();
        let mut search = Search::new(&prepared, &kinds);
        let best = search.minimise(self.max_stages)?;
        let mut staging = best.tidy(&mut search, &kinds, previous, &prepared);
        staging.exact = exact;
        if !exact {
            let order: Vec<usize> = staging.stages.iter().map(|s| s.device).collect();
            if let Some(better) = self.solve_in_order(&order)
                && !better.worst.exceeds(staging.worst)
            {
                staging = Staging { exact, ..better };
            }
        }
        Some(staging)
    }

    /// Whether any staging has a worst share strictly below this one. One step of the search: cheap.
    pub fn can_beat(&self, share: Share) -> bool {
        let Some(prepared) = Prepared::new(self) else { return false };
        let (kinds, _) = self.kinds();
        let limits: Vec<u64> = kinds.iter().map(|k| share.strictly_below(k.usable.max(1))).collect();
        Search::new(&prepared, &kinds).feasible(&limits, self.max_stages, false).is_some()
    }

    /// The same with the devices in a given order (devices may be left out of use, not exchanged).
    pub fn solve_in_order(&self, order: &[usize]) -> Option<Staging> {
        let prepared = Prepared::new(self)?;
        let kinds: Vec<Kind> =
            order.iter().filter(|&&d| d < self.usable.len()).map(|&d| self.kind(vec![d])).collect();
        let mut search = Search::new(&prepared, &kinds);
        search.ordered = true;
        let best = search.minimise(self.max_stages)?;
        Some(best.tidy(&mut search, &kinds, None, &prepared))
    }

    fn kind(&self, devices: Vec<usize>) -> Kind {
        let pinned = devices.iter().any(|d| self.pins.contains(&Some(*d)));
        let may_host = match self.tail_place {
            Tail::On(device) => devices.contains(&device),
            _ => true,
        };
        let usable = devices.iter().map(|&d| self.usable[d]).min().unwrap_or(0);
        Kind { devices, usable, may_host, pinned }
    }

    /// Groups equal devices; where too many different ones remain, the nearest sizes share a group at the smaller size.
    fn kinds(&self) -> (Vec<Kind>, bool) {
        let wanted = |d: usize| self.pins.contains(&Some(d)) || self.tail_place == Tail::On(d);
        let any_usable = self.usable.iter().any(|&u| u > 0);
        let mut single = Vec::new();
        let mut free = Vec::new();
        for device in 0..self.usable.len() {
            match (wanted(device), self.usable[device] > 0 || !any_usable) {
                (true, _) => single.push(self.kind(vec![device])),
                (false, true) => free.push(device),
                (false, false) => {}
            }
        }
        free.sort_by_key(|&d| (std::cmp::Reverse(self.usable[d]), d));
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for device in free {
            match groups.last_mut() {
                Some(group) if self.usable[group[0]] == self.usable[device] => group.push(device),
                _ => groups.push(vec![device]),
            }
        }
        let states = |groups: &[Vec<usize>], single: usize| {
            let own = groups.iter().fold(1usize, |product, g| product.saturating_mul(g.len() + 1));
            own.saturating_mul(1usize.checked_shl(single as u32).unwrap_or(usize::MAX))
        };
        let limit = if self.usable.len() <= 16 { STATE_LIMIT } else { STATE_LIMIT_OF_MANY };
        let mut exact = true;
        while groups.len() > 1 && states(&groups, single.len()) > limit {
            exact = false;
            let smallest = |g: &Vec<usize>| g.iter().map(|&d| self.usable[d]).min().unwrap_or(0);
            let at = (0..groups.len() - 1)
                .min_by_key(|&i| {
                    (smallest(&groups[i]) - smallest(&groups[i + 1])).saturating_mul(groups[i].len() as u64)
                })
                .unwrap_or(0);
            let merged = groups.remove(at + 1);
            groups[at].extend(merged);
        }
        // Pinned devices alone may be too many; the last ones are then left to the order in which they are pinned.
        let mut kinds: Vec<Kind> = groups.into_iter().map(|g| self.kind(g)).collect();
        while states(&kinds.iter().map(|k| k.devices.clone()).collect::<Vec<_>>(), single.len()) > STATE_LIMIT
            && !kinds.is_empty()
        {
            exact = false;
            kinds.pop();
        }
        if single.len() > 16 {
            exact = false;
            single.truncate(16);
        }
        kinds.extend(single);
        (kinds, exact)
    }
}

#[cfg(test)]
mod tests;
