//! Sums and limits of a chain, and what a device reaches with them.

use super::Chain;

/// Not even the tail fits.
pub(super) const UNREACHED: u32 = u32::MAX;

/// Sums and limits that every step of the bisection reuses.
pub(super) struct Prepared<'a> {
    pub(super) chain: &'a Chain,
    pub(super) items: usize,
    pub(super) sums: Vec<Vec<u64>>,
    pub(super) peaks: Vec<Vec<u64>>,
    pub(super) tail: Vec<(u64, u64)>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(chain: &'a Chain) -> Option<Self> {
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

    pub(super) fn cost(&self, first: usize, end: usize, hosts_tail: bool) -> u64 {
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
    pub(super) fn reach(&self, limit: u64, hosts_tail: bool, out: &mut [u32], queue: &mut Vec<u32>) {
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
