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
const UNREACHED: u32 = u32::MAX;

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

/// Sums and limits that every step of the bisection reuses.
struct Prepared<'a> {
    chain: &'a Chain,
    items: usize,
    sums: Vec<Vec<u64>>,
    peaks: Vec<Vec<u64>>,
    tail: Vec<(u64, u64)>,
}

impl<'a> Prepared<'a> {
    fn new(chain: &'a Chain) -> Option<Self> {
        let items = chain.items();
        if chain.usable.is_empty() || chain.stays.is_empty() || chain.max_stages == 0 {
            return None;
        }
        // Absurd sizes are capped so that no sum overflows.
        let cap = u64::MAX / (items as u64 + 4) / 2;
        let sums = chain.stays.iter().map(|stays| {
            let mut sum = 0;
            let mut sums = vec![0];
            sums.extend(stays.iter().map(|&stay| {
                sum += stay.min(cap);
                sum
            }));
            sums
        });
        Some(Self {
            chain,
            items,
            sums: sums.collect(),
            peaks: chain.peaks.iter().map(|peaks| peaks.iter().map(|&p| p.min(cap)).collect()).collect(),
            tail: chain.tail.iter().map(|&(stay, peak)| (stay.min(cap), peak.min(cap))).collect(),
        })
    }

    fn cost(&self, first: usize, end: usize, hosts_tail: bool) -> u64 {
        (0..self.sums.len())
            .map(|point| {
                let (tail_stay, tail_peak) = if hosts_tail { self.tail[point] } else { (0, 0) };
                let peak = self.peaks[point][first..end].iter().copied().max().unwrap_or(0);
                self.sums[point][end] - self.sums[point][first] + tail_stay + peak.max(tail_peak)
            })
            .max()
            .unwrap_or(0)
    }

    /// For every first item, one past the farthest last item that fits in `limit`; `UNREACHED` where not even the tail
    /// alone fits.
    fn reach(&self, limit: u64, hosts_tail: bool, out: &mut [u32], queue: &mut Vec<u32>) {
        out.fill(self.items as u32);
        for point in 0..self.sums.len() {
            let (tail_stay, tail_peak) = if hosts_tail { self.tail[point] } else { (0, 0) };
            let Some(room) = limit.checked_sub(tail_stay).filter(|room| *room >= tail_peak) else {
                out.fill(UNREACHED);
                return;
            };
            let (sums, peaks) = (&self.sums[point], &self.peaks[point]);
            // A queue of falling peaks: its front is the window's maximum.
            queue.clear();
            let mut front = 0;
            let mut end = 0;
            for first in 0..=self.items {
                if end < first {
                    end = first;
                    queue.clear();
                    front = 0;
                }
                while front < queue.len() && (queue[front] as usize) < first {
                    front += 1;
                }
                while end < self.items {
                    let inside = if front < queue.len() { peaks[queue[front] as usize] } else { 0 };
                    let peak = inside.max(peaks[end]).max(tail_peak);
                    if sums[end + 1] - sums[first] + peak > room {
                        break;
                    }
                    while queue.len() > front && peaks[queue[queue.len() - 1] as usize] <= peaks[end] {
                        queue.pop();
                    }
                    queue.push(end as u32);
                    end += 1;
                }
                out[first] = out[first].min(end as u32);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Step {
    reached: u32,
    kind: u8,
    hosted_before: bool,
    hosts: bool,
}

const START: Step = Step { reached: 0, kind: u8::MAX, hosted_before: false, hosts: false };
const NONE: Step = Step { reached: UNREACHED, kind: u8::MAX, hosted_before: false, hosts: false };

/// A dynamic programme over sets of devices.
struct Search<'a> {
    prepared: &'a Prepared<'a>,
    kinds: &'a [Kind],
    strides: Vec<usize>,
    states: usize,
    /// Devices that each state has used, and how many of each kind.
    used: Vec<u16>,
    digits: Vec<u16>,
    ordered: bool,
    reach: Vec<u32>,
    reach_host: Vec<u32>,
    queue: Vec<u32>,
    best: Vec<[Step; 2]>,
}

struct Found {
    /// Kind, first, end, hosts.
    path: Vec<(usize, usize, usize, bool)>,
    worst: Share,
}

impl<'a> Search<'a> {
    fn new(prepared: &'a Prepared<'a>, kinds: &'a [Kind]) -> Self {
        let mut strides = Vec::with_capacity(kinds.len());
        let mut states = 1usize;
        for kind in kinds {
            strides.push(states);
            states = states.saturating_mul(kind.devices.len() + 1);
        }
        let row = prepared.items + 1;
        let mut search = Self {
            prepared,
            kinds,
            strides,
            states: 0,
            used: Vec::new(),
            digits: Vec::new(),
            ordered: false,
            reach: vec![0; row * kinds.len()],
            reach_host: vec![0; row * kinds.len()],
            queue: Vec::with_capacity(row),
            best: Vec::new(),
        };
        search.count(states);
        search
    }

    /// Lists how many devices of each kind every state has used.
    fn count(&mut self, states: usize) {
        // An ordered search walks the devices themselves and has no such states.
        self.states = if states > STATE_LIMIT * 4 { 0 } else { states };
        self.digits = Vec::with_capacity(self.states * self.kinds.len());
        self.used = Vec::with_capacity(self.states);
        let mut digits = vec![0u16; self.kinds.len()];
        for _ in 0..self.states {
            self.digits.extend_from_slice(&digits);
            self.used.push(digits.iter().sum());
            for (digit, kind) in digits.iter_mut().zip(self.kinds) {
                *digit += 1;
                if usize::from(*digit) <= kind.devices.len() {
                    break;
                }
                *digit = 0;
            }
        }
    }

    /// Bisection on the share, ended by the proof that nothing lies strictly below.
    fn minimise(&mut self, max_stages: usize) -> Option<Found> {
        let usable: Vec<u64> = self.kinds.iter().map(|k| k.usable.max(1)).collect();
        if usable.is_empty() {
            return None;
        }
        let prepared = self.prepared;
        let total =
            (0..prepared.sums.len()).map(|p| prepared.sums[p][prepared.items] + prepared.tail[p].0).max()?;
        let room: u128 =
            self.kinds.iter().map(|k| u128::from(k.usable.max(1)) * k.devices.len() as u128).sum();
        let mut low = (total as f64 / room as f64) * 0.999_999;
        let at = |share: f64| -> Vec<u64> { usable.iter().map(|&u| (share * u as f64) as u64).collect() };
        // No device can hold less than the costliest item.
        let largest = usable.iter().copied().max().unwrap_or(1) as f64;
        for point in 0..prepared.sums.len() {
            for item in 0..prepared.items {
                let stay = prepared.sums[point][item + 1] - prepared.sums[point][item];
                low = low.max((stay + prepared.peaks[point][item]) as f64 / largest * 0.999_999);
            }
        }
        let (mut best, mut high, mut growth) = (None, (low * 1.01).max(1e-30), 1.02f64);
        while best.is_none() && high <= 1e30 {
            best = self.feasible(&at(high), max_stages, false);
            if best.is_none() {
                low = high;
                high *= growth;
                growth = (growth * growth).min(1024.0);
            }
        }
        let mut best = best?;
        let below = |share: Share| -> Vec<u64> { usable.iter().map(|&u| share.strictly_below(u)).collect() };
        for _ in 0..400 {
            if best.worst.held == 0 {
                break;
            }
            let value = best.worst.value();
            let narrow = value - low <= value * 2e-3;
            if narrow {
                match self.feasible(&below(best.worst), max_stages, false) {
                    Some(found) => best = found,
                    None => break,
                }
            }
            let middle = low + (best.worst.value() - low) / 2.0;
            match self.feasible(&at(middle), max_stages, false) {
                Some(found) if best.worst.exceeds(found.worst) => best = found,
                Some(_) => {}
                None => low = middle,
            }
        }
        Some(best)
    }

    /// A staging within the limits (one for each kind), with the fewest stages; `tail_last` asks that no item runs after
    /// the tail's host. Nothing where there is none.
    fn feasible(&mut self, limits: &[u64], max_stages: usize, tail_last: bool) -> Option<Found> {
        let (items, row) = (self.prepared.items, self.prepared.items + 1);
        for (kind, &limit) in limits.iter().enumerate().take(self.kinds.len()) {
            let span = kind * row..(kind + 1) * row;
            self.prepared.reach(limit, false, &mut self.reach[span.clone()], &mut self.queue);
            self.block(kind, span.clone(), false);
            if self.kinds[kind].may_host {
                self.prepared.reach(limit, true, &mut self.reach_host[span.clone()], &mut self.queue);
                self.block(kind, span, true);
            } else {
                self.reach_host[span].fill(UNREACHED);
            }
        }
        let last =
            if self.ordered { self.walk_in_order(tail_last) } else { self.walk_sets(max_stages, tail_last) }?;
        Some(self.retrace(last, items))
    }

    /// Keeps a kind off items pinned elsewhere and off what lies behind a forced cut.
    fn block(&mut self, kind: usize, span: std::ops::Range<usize>, host: bool) {
        let chain = self.prepared.chain;
        let table = if host { &mut self.reach_host[span] } else { &mut self.reach[span] };
        let own = self.kinds[kind].pinned.then(|| self.kinds[kind].devices[0]);
        let mut barrier = self.prepared.items as u32;
        for first in (0..self.prepared.items).rev() {
            match chain.pins[first] {
                Some(device) if Some(device) != own => barrier = first as u32,
                _ => {}
            }
            if table[first] != UNREACHED {
                table[first] = table[first].min(barrier);
                if let Some(cut) = chain.cut_before
                    && first < cut
                {
                    table[first] = table[first].min(cut as u32);
                }
            }
        }
    }

    /// What a kind makes of a state that has reached `from`: with and without hosting the tail.
    fn extend(&self, kind: usize, from: u32, hosted: bool, tail_last: bool) -> [Option<(u32, bool)>; 2] {
        let items = self.prepared.items as u32;
        let at = kind * (self.prepared.items + 1) + from as usize;
        let anchor = match self.prepared.chain.tail_place {
            Tail::With(item) => Some(item as u32),
            _ => None,
        };
        let mut plain = self.reach[at];
        if let Some(anchor) = anchor
            && from <= anchor
        {
            plain = plain.min(anchor);
        }
        let without = (plain != UNREACHED && plain > from).then_some((plain, false));
        let host = self.reach_host[at];
        let allowed = !hosted
            && host != UNREACHED
            && anchor.is_none_or(|anchor| from <= anchor && anchor < host)
            && (!tail_last || host == items);
        [without, allowed.then_some((host, true))]
    }

    fn walk_sets(&mut self, max_stages: usize, tail_last: bool) -> Option<(usize, Vec<usize>)> {
        let items = self.prepared.items as u32;
        let mut best = std::mem::take(&mut self.best);
        best.clear();
        best.resize(self.states, [NONE; 2]);
        best[0][0] = START;
        let mut answer: Option<(usize, usize)> = None;
        for state in 0..self.states {
            if best[state][0].reached == UNREACHED && best[state][1].reached == UNREACHED {
                continue;
            }
            let used = usize::from(self.used[state]);
            let digits = &self.digits[state * self.kinds.len()..(state + 1) * self.kinds.len()];
            if best[state][1].reached == items && answer.is_none_or(|(fewest, _)| used < fewest) {
                answer = Some((used, state));
            }
            if used >= max_stages || answer.is_some_and(|(fewest, _)| used + 1 >= fewest) {
                continue;
            }
            for hosted in [false, true] {
                let from = best[state][usize::from(hosted)].reached;
                if from == UNREACHED {
                    continue;
                }
                for (kind, (&used_of_kind, &stride)) in digits.iter().zip(&self.strides).enumerate() {
                    if usize::from(used_of_kind) == self.kinds[kind].devices.len() {
                        continue;
                    }
                    for (reached, hosts) in self.extend(kind, from, hosted, tail_last).into_iter().flatten() {
                        let slot = &mut best[state + stride][usize::from(hosted || hosts)];
                        if slot.reached == UNREACHED || slot.reached < reached {
                            *slot = Step { reached, kind: kind as u8, hosted_before: hosted, hosts };
                        }
                    }
                }
            }
        }
        self.best = best;
        answer.map(|(_, state)| (state, Vec::new()))
    }

    fn walk_in_order(&mut self, tail_last: bool) -> Option<(usize, Vec<usize>)> {
        // State k: the first k devices of the order have been offered. A device may stay unused: the step then carries
        // no kind.
        let items = self.prepared.items as u32;
        let mut best = std::mem::take(&mut self.best);
        best.clear();
        best.resize(self.kinds.len() + 1, [NONE; 2]);
        best[0][0] = START;
        for kind in 0..self.kinds.len() {
            for hosted in [false, true] {
                let here = best[kind][usize::from(hosted)];
                if here.reached == UNREACHED {
                    continue;
                }
                let skip = Step { reached: here.reached, kind: u8::MAX, hosted_before: hosted, hosts: false };
                let offers = self.extend(kind, here.reached, hosted, tail_last).into_iter().flatten();
                let steps =
                    offers.map(|(reached, hosts)| Step { reached, kind: 0, hosted_before: hosted, hosts });
                for step in std::iter::once(skip).chain(steps) {
                    let slot = &mut best[kind + 1][usize::from(hosted || step.hosts)];
                    if slot.reached == UNREACHED || slot.reached < step.reached {
                        *slot = step;
                    }
                }
            }
        }
        let done = best[self.kinds.len()][1].reached == items;
        self.best = best;
        done.then_some((self.kinds.len(), Vec::new()))
    }

    fn retrace(&self, (mut state, _): (usize, Vec<usize>), items: usize) -> Found {
        let mut path = Vec::new();
        let (mut hosted, mut end) = (true, items);
        while state > 0 {
            let step = self.best[state][usize::from(hosted)];
            let kind = if self.ordered { state - 1 } else { usize::from(step.kind) };
            let before = if self.ordered { state - 1 } else { state - self.strides[kind] };
            let first = self.best[before][usize::from(step.hosted_before)].reached as usize;
            if !(self.ordered && step.kind == u8::MAX) {
                path.push((kind, first, end, step.hosts));
            }
            end = first;
            hosted = step.hosted_before;
            state = before;
        }
        path.reverse();
        let mut worst = Share::NOTHING;
        for &(kind, first, end, hosts) in &path {
            let share =
                Share { held: self.prepared.cost(first, end, hosts), usable: self.kinds[kind].usable.max(1) };
            if share.exceeds(worst) {
                worst = share;
            }
        }
        Found { path, worst }
    }
}

impl Found {
    /// At the smallest share: the fewest stages, then a tail without an extra hop; then real devices for the kinds.
    fn tidy(
        self,
        search: &mut Search<'_>,
        kinds: &[Kind],
        previous: Option<&[usize]>,
        prepared: &Prepared<'_>,
    ) -> Staging {
        let limits: Vec<u64> = kinds
            .iter()
            .map(|k| {
                let limit =
                    u128::from(self.worst.held) * u128::from(k.usable.max(1)) / u128::from(self.worst.usable);
                u64::try_from(limit).unwrap_or(u64::MAX)
            })
            .collect();
        let fewest = search.feasible(&limits, prepared.chain.max_stages, false).unwrap_or(self);
        let found = match search.feasible(&limits, fewest.path.len(), true) {
            Some(tail_last) if tail_last.path.len() <= fewest.path.len() => tail_last,
            _ => fewest,
        };
        let mut taken: Vec<usize> = Vec::new();
        let mut chosen = vec![usize::MAX; found.path.len()];
        // Stages that can keep their device choose first.
        if let Some(previous) = previous {
            for (slot, &(kind, first, end, _)) in found.path.iter().enumerate() {
                let keeps = |device: usize| {
                    previous.get(first..end).map_or(0, |now| now.iter().filter(|&&d| d == device).count())
                };
                let free = kinds[kind].devices.iter().copied().filter(|d| !taken.contains(d));
                if let Some(device) =
                    free.max_by_key(|&d| (keeps(d), std::cmp::Reverse(d))).filter(|&d| keeps(d) > 0)
                {
                    taken.push(device);
                    chosen[slot] = device;
                }
            }
        }
        for (slot, &(kind, ..)) in found.path.iter().enumerate() {
            if chosen[slot] == usize::MAX {
                let free = kinds[kind].devices.iter().copied().filter(|d| !taken.contains(d)).min();
                let device = free.unwrap_or(kinds[kind].devices[0]);
                taken.push(device);
                chosen[slot] = device;
            }
        }
        let mut worst = Share::NOTHING;
        let mut stages = Vec::with_capacity(found.path.len());
        for (&(_, first, end, hosts_tail), device) in found.path.iter().zip(chosen) {
            let share = Share {
                held: prepared.cost(first, end, hosts_tail),
                usable: prepared.chain.usable[device].max(1),
            };
            if share.exceeds(worst) {
                worst = share;
            }
            stages.push(Stage { device, first, end, hosts_tail });
        }
        Staging { stages, worst, exact: true }
    }
}

#[cfg(test)]
mod tests {
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
                    |(stays, peaks, tail, usable, pins, (place, device, item), cut_before, max_stages)| {
                        Chain {
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
                        }
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
}
