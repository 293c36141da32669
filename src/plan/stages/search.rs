//! The dynamic programme over sets of devices, and the staging that it finds.

use super::sums::{Prepared, UNREACHED};
use super::{Kind, STATE_LIMIT, Share, Stage, Staging, Tail};

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
pub(super) struct Search<'a> {
    prepared: &'a Prepared<'a>,
    kinds: &'a [Kind],
    strides: Vec<usize>,
    states: usize,
    /// Devices that each state has used, and how many of each kind.
    used: Vec<u16>,
    digits: Vec<u16>,
    pub(super) ordered: bool,
    reach: Vec<u32>,
    reach_host: Vec<u32>,
    queue: Vec<u32>,
    best: Vec<[Step; 2]>,
}

pub(super) struct Found {
    /// Kind, first, end, hosts.
    path: Vec<(usize, usize, usize, bool)>,
    worst: Share,
}

impl<'a> Search<'a> {
    pub(super) fn new(prepared: &'a Prepared<'a>, kinds: &'a [Kind]) -> Self {
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
    pub(super) fn minimise(&mut self, max_stages: usize) -> Option<Found> {
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
    pub(super) fn feasible(&mut self, limits: &[u64], max_stages: usize, tail_last: bool) -> Option<Found> {
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
    pub(super) fn tidy(
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
