//! Memory of a run: what was forecast, what is measured, and whether it comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::keeping::Word;
use super::ladder::{Ladder, Rung};
use super::scheduler::Need;
use crate::devices::Meter;
use crate::model::Placement;
use crate::plan::calibration::{Component, Lesson};
use crate::plan::cpu_run::Batch;
use crate::plan::{Assumptions, Calibration, Case, CostTable, Device, Holding, Kept, Plan, Sourced};
use crate::session::journal::{MemorySample, now};

/// Bytes of each metered place, by name.
pub type Peaks = BTreeMap<String, u64>;

/// What a place may hold above its floor without anyone asking why: queues of the threads, and the like.
const SLACK: u64 = 1 << 20;

/// The books of a run: what its places hold, and what was forecast.
pub struct Books {
    meters: Vec<Meter>,
    /// The names of each copy's places.
    names: Vec<BTreeSet<String>>,
    /// Forecasts of every copy of the model, where they can be told.
    copies: Vec<Foresight>,
    /// What every place holds when nothing is in flight: the weights.
    floor: Peaks,
    /// Times that more than that was left over, the last time by so much.
    risen: (usize, u64),
    /// Temporary memory predicted without corrections, and measured, by card and component.
    measured: BTreeMap<(String, Component), (u64, u64)>,
}

/// What one copy of the model is forecast by.
struct Foresight {
    forecasting: Forecasting,
    /// Costs of one question on every rung of the ladder.
    rungs: Vec<CostTable>,
    /// Uncorrected, for what is learnt.
    plain: CostTable,
}

/// A question as far as what is learnt from it goes by it.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// Tiles of its pictures.
    pub tiles: u64,
    /// Those of them that were known when it began.
    pub tiles_known: u64,
    /// Tokens of its prompt.
    pub prompt: u64,
    /// Those of them that were taken over from another prompt.
    pub begun_with: u64,
    /// Its rung of the ladder.
    pub rung: usize,
    /// What the places held above their floors when it entered.
    pub before: Peaks,
}

/// What a copy of the model holds besides its weights, and what is on its way through it.
#[derive(Debug, Clone, Default)]
pub struct Afoot {
    /// Prompt and longest answer, in tokens, of every question whose keys and values are held.
    pub cached: Vec<(u64, u64)>,
    /// Positions that are kept for prompts to come.
    pub kept: u64,
    /// Tiles whose features are held, for questions in flight and to come.
    pub tiles: u64,
    /// Passes on their way, the oldest first.
    pub passes: Vec<Batch>,
}

impl Books {
    /// Books of the places of these replicas, which hold nothing but weights now; with what each of them is forecast by,
    /// or nothing.
    pub fn new(replicas: &[Placement], forecasting: Vec<Forecasting>, ladder: &Ladder) -> Self {
        let places = replicas.iter().flat_map(Placement::places);
        let meters: Vec<Meter> = places.filter_map(|place| place.meter()).cloned().collect();
        let names = replicas.iter().map(|copy| copy.places().iter().map(|at| at.name().to_owned()).collect());
        let foresight = |forecasting: Forecasting| {
            let case = forecasting.case.at_its_worst();
            let of_rung = |rung: &Rung| {
                let assumptions = Assumptions {
                    in_flight: Sourced::chosen(1),
                    tile_batch: Sourced::chosen(Some(rung.micro_batch as u64)),
                    prefill_chunk: Sourced::chosen(Some(rung.prefill_chunk as u64)),
                    ..case.assumptions.clone()
                };
                case.with_assumptions(assumptions)
            };
            let rungs: Vec<_> = ladder.rungs().iter().map(of_rung).collect();
            let plain = rungs[0].with_calibration(Calibration::default()).costs;
            Foresight { rungs: rungs.into_iter().map(|case| case.costs).collect(), plain, forecasting }
        };
        let copies = forecasting.into_iter().map(foresight).collect();
        let floor = meters.iter().map(|meter| (meter.name().to_owned(), meter.live())).collect();
        Self { names: names.collect(), meters, copies, floor, risen: (0, 0), measured: BTreeMap::new() }
    }

    /// The places' own books.
    pub fn meters(&self) -> &[Meter] {
        &self.meters
    }

    /// Lets other programs have what places keep to themselves and do not use.
    pub fn trim(&self) {
        self.meters.iter().for_each(Meter::trim);
    }

    /// Bytes that each metered place has held at its peak since this was last asked; places that hold nothing are left
    /// out.
    pub fn take_peaks(&self) -> Peaks {
        let peaks = self.meters.iter().map(|meter| {
            let peak = meter.peak();
            meter.reset_peak();
            (meter.name().to_owned(), peak)
        });
        peaks.filter(|(_, peak)| *peak > 0).collect()
    }

    /// Leaves of some peaks those of a copy's own places.
    pub fn of_replica(&self, replica: usize, peaks: &mut Peaks) {
        peaks.retain(|name, _| self.names.get(replica).is_some_and(|own| own.contains(name)));
    }

    /// Learns from a question that had the places of its replica to itself: `peaks` is the most of temporary memory that
    /// each held.
    pub fn learn(&mut self, replica: usize, course: &Course, peaks: &Peaks) {
        let Some(Foresight { forecasting, plain: costs, .. }) = self.copies.get(replica) else { return };
        // What was there already would be taken for the question's own.
        if course.tiles_known > 0 || course.begun_with > 0 || course.rung > 0 {
            return;
        }
        let activations = costs.at(course.tiles, course.prompt);
        let plan = &forecasting.plan;
        for (device, holding) in plan.devices.iter().zip(plan.holdings(costs)) {
            let parts = costs.activation_parts(&holding, &activations);
            let largest = parts.into_iter().max_by_key(|(_, bytes)| *bytes);
            let (Some((component, _)), Some(peak)) = (largest, peaks.get(&device.name)) else { continue };
            let before = course.before.get(&device.name).copied().unwrap_or(0);
            let sums = self.measured.entry((device.learnt_as().to_owned(), component)).or_default();
            sums.0 = sums.0.saturating_add(costs.activation(&holding, &activations, 0));
            sums.1 = sums.1.saturating_add(peak.saturating_sub(before));
        }
    }

    /// What the run has measured, for forecasts to come.
    pub fn lessons(&self) -> Vec<Lesson> {
        let lesson = |((card, component), (predicted, measured)): (&(String, Component), &(u64, u64))| {
            Lesson { card: card.clone(), component: *component, predicted: *predicted, measured: *measured }
        };
        self.measured.iter().map(lesson).collect()
    }

    /// The most of temporary memory that every place has held since peaks were last taken.
    pub fn activation_peaks(&self) -> Peaks {
        let peak = |meter: &Meter| (meter.name().to_owned(), meter.peak_parts().activation);
        self.meters.iter().map(peak).collect()
    }

    /// What every place holds above its floor.
    pub fn above_floor(&self) -> Peaks {
        let above = |meter: &Meter| {
            let floor = self.floor.get(meter.name()).copied().unwrap_or(0);
            (meter.name().to_owned(), meter.live().saturating_sub(floor))
        };
        self.meters.iter().map(above).collect()
    }

    /// What the devices of a copy will hold at their peak while these passes are on their way. Passes never overtake: while
    /// one is worked on, all older ones may wait for the next device, but for the oldest, which is worked on there.
    pub fn foresee(&self, replica: usize, afoot: &Afoot) -> Peaks {
        let Some(Foresight { forecasting, rungs, .. }) = self.copies.get(replica) else {
            return Peaks::new();
        };
        let Some(costs) = rungs.first() else { return Peaks::new() };
        let plan = &forecasting.plan;
        let devices = plan.devices.iter().zip(plan.holdings(costs));
        devices
            .filter(|(_, holding)| *holding != Holding::default())
            .map(|(device, holding)| {
                // Room for the longest answer is taken with the first rows.
                let of_one = |(prompt, answer): &(u64, u64)| costs.kv_of_one(&holding, *prompt, *answer);
                let kv = afoot.cached.iter().map(of_one).fold(0, u64::saturating_add);
                let (mut waiting, mut most) = (0u64, 0u64);
                for (older, pass) in afoot.passes.iter().enumerate() {
                    most = most.max(costs.of_pass(&holding, *pass).saturating_add(waiting));
                    if older > 0 {
                        waiting = waiting.saturating_add(costs.handed_on(&holding, *pass));
                    }
                }
                let held = [
                    holding.weights,
                    kv,
                    costs.kv_of_one(&holding, afoot.kept, 0),
                    costs.features_kept(&holding, afoot.tiles),
                    most,
                ];
                (device.name.clone(), held.into_iter().fold(0, u64::saturating_add))
            })
            .collect()
    }

    /// What a copy of the model may keep for questions to come beside these in flight; nothing where that cannot be told.
    pub fn room(&self, replica: usize, needs: &[Need]) -> Option<Kept> {
        self.copies.get(replica).map(|copy| copy.forecasting.room_beside(needs))
    }

    /// The first rung on which a question is forecast to fit; the top where that cannot be told, the bottom where none
    /// does: it is tried all the same.
    pub fn starting_rung(&self, need: Need) -> usize {
        let Some(Foresight { forecasting, rungs, .. }) = self.copies.get(need.replica) else { return 0 };
        let fits = |costs: &CostTable| forecasting.fit(costs, &[need]);
        // Being alone saves nothing that the forecast of a question knows of.
        match rungs.iter().position(fits) {
            Some(rung) => rung,
            None => rungs.len().saturating_sub(1),
        }
    }

    /// To be told when nothing is in flight and `kept` bytes are kept for later questions: the bytes that are held on
    /// top of that, where they have grown three times in a row.
    pub fn leak(&mut self, kept: u64) -> Option<u64> {
        let left = self.above_floor().values().sum::<u64>().saturating_sub(kept);
        if left <= SLACK {
            // Whatever had grown has come back.
            self.risen = (0, 0);
        }
        if left <= SLACK.saturating_add(self.risen.1) {
            return None;
        }
        self.risen = (self.risen.0 + 1, left);
        (self.risen.0 == 3).then_some(left)
    }
}

/// Raises peaks to others where these are higher.
pub fn raise(peaks: &mut Peaks, others: &Peaks) {
    for (name, peak) in others {
        let known = peaks.entry(name.clone()).or_default();
        *known = (*known).max(*peak);
    }
}

/// What each device will hold at a question.
#[derive(Debug, Clone)]
pub struct Forecasting {
    /// What the plan was made from.
    pub case: Case,
    /// Where every unit lies.
    pub plan: Plan,
}

impl Forecasting {
    /// Bytes that each device that is used holds at its peak while a question of so many tiles and prompt tokens is
    /// answered by at most so many tokens.
    pub fn bytes(&self, tiles: u64, prompt_tokens: u64, answer: u64) -> Peaks {
        let costs = &self.case.costs;
        let activations = costs.at(tiles, prompt_tokens);
        let holdings = self.plan.holdings(costs);
        let devices =
            self.plan.devices.iter().zip(&holdings).filter(|(_, holding)| **holding != Holding::default());
        let peak = |holding: &Holding| costs.moment_at(holding, &activations, prompt_tokens, answer).peak();
        devices.map(|(device, holding)| (device.name.clone(), peak(holding))).collect()
    }

    /// How full the device is at its peak that is filled the most, of those that are used, while a question of so many
    /// tiles and prompt tokens is answered at the greatest length: 1 where it is just full.
    pub fn fill(&self, tiles: u64, prompt_tokens: u64) -> f64 {
        let held = self.bytes(tiles, prompt_tokens, self.case.costs.answer_limit());
        let devices = self.plan.devices.iter().zip(self.case.usable(&self.plan.devices));
        let share = |(device, usable): (&Device, u64)| {
            held.get(&device.name).map_or(0.0, |held| *held as f64 / usable.max(1) as f64)
        };
        devices.map(share).fold(0.0, f64::max)
    }

    /// Whether a question may enter beside those in flight: the weights, the keys and values of all of them, and the
    /// largest temporary memory that any of them has beside others of its kind fit every device.
    pub fn admits(&self, others: &[Need], one: Need) -> bool {
        let mut all: Vec<Need> = others.iter().copied().filter(|need| need.replica == one.replica).collect();
        all.push(one);
        self.fit(&self.case.costs, &all)
    }

    /// What may be kept for questions to come beside these. Where they need all there is, nothing.
    pub fn room_beside(&self, needs: &[Need]) -> Kept {
        let holdings = self.plan.holdings(&self.case.costs);
        let left: Vec<u64> =
            self.left(&self.case.costs, needs).into_iter().map(|left| left.unwrap_or(0)).collect();
        self.case.costs.kept_beside(&holdings, &left)
    }

    fn fit(&self, costs: &CostTable, needs: &[Need]) -> bool {
        self.left(costs, needs).iter().all(Option::is_some)
    }

    /// What these questions leave of every device; nothing where they do not fit there.
    fn left(&self, costs: &CostTable, needs: &[Need]) -> Vec<Option<u64>> {
        let costs = &costs.in_company(needs.len() as u64);
        let usable = self.case.usable(&self.plan.devices);
        let holdings = self.plan.holdings(costs);
        let left = |(holding, usable): (&Holding, u64)| {
            if *holding == Holding::default() {
                return Some(usable);
            }
            let (mut kv, mut largest) = (0u64, 0u64);
            for need in needs {
                let (tiles, prompt) = (need.tiles as u64, need.prompt_tokens as u64);
                kv = kv.saturating_add(costs.kv_of_one(holding, prompt, need.new_tokens as u64));
                largest = largest.max(costs.activation(holding, &costs.at(tiles, prompt), 0));
            }
            usable.checked_sub(holding.weights.saturating_add(kv).saturating_add(largest))
        };
        holdings.iter().zip(usable).map(left).collect()
    }
}

/// A thread that samples what places hold for `memory.jsonl`; it ends when this is dropped.
pub struct Sampling {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Between two samples.
const EVERY: Duration = Duration::from_millis(250);

impl Sampling {
    /// Starts to sample; what has not changed is not said again. Without a thread nothing is sampled.
    pub fn start(meters: Vec<Meter>, words: Sender<Word>) -> Self {
        let (stop, stopped) = bounded::<()>(0);
        let work = move || {
            let mut last = Vec::new();
            loop {
                let held: Vec<_> = meters.iter().map(|meter| (meter.parts(), meter.reserved())).collect();
                if held != last {
                    for (meter, (parts, reserved)) in meters.iter().zip(&held) {
                        let reserved = reserved.map(|bytes| ("reserved".to_owned(), bytes.into()));
                        let sample = MemorySample {
                            time: now(),
                            device: meter.name().to_owned(),
                            used: parts.total(),
                            parts: parts.named().map(|(name, bytes)| (name.to_owned(), bytes)).into(),
                            other: reserved.into_iter().collect(),
                        };
                        if words.send(Word::Memory(sample)).is_err() {
                            return;
                        }
                    }
                    last = held;
                }
                match stopped.recv_timeout(EVERY) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("memory".into()).spawn(work).ok();
        Self { stop: Some(stop), thread }
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to say.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Part;
    use crate::engine::RunSettings;
    use crate::model::Place;

    #[test]
    fn what_grows_three_times_in_a_row_is_a_leak_and_is_told_once() {
        let place = Place::simulated("sim:0", 1 << 30).unwrap();
        let meter = place.meter().unwrap().clone();
        let weights = meter.charge(Part::Weights, 50 << 20);
        let ladder = Ladder::new(&RunSettings::default());
        let mut books = Books::new(&[Placement::single(place)], Vec::new(), &ladder);
        assert_eq!(books.leak(0), None, "weights are no leak");
        // What is kept for later questions is none, however much it grows.
        let kept: Vec<_> = (1..=8u64)
            .map(|count| {
                let kept = meter.charge(Part::Kv, 10 << 20);
                assert_eq!(books.leak(count * (10 << 20)), None);
                kept
            })
            .collect();
        drop(kept);
        // Nor is what has grown and stays so.
        let once = meter.charge(Part::Activation, 30 << 20);
        assert!((0..20).all(|_| books.leak(0).is_none()));
        drop(once);
        // Nor what comes and goes.
        for size in 1..20u64 {
            let one = meter.charge(Part::Activation, size << 22);
            assert_eq!(books.leak(0), None);
            drop(one);
            assert_eq!(books.leak(0), None);
        }
        let mut left = Vec::new();
        let told: Vec<Option<u64>> = (0..6)
            .map(|_| {
                left.push(meter.charge(Part::Activation, 5 << 20));
                books.leak(0)
            })
            .collect();
        assert_eq!(told, [None, None, Some(15 << 20), None, None, None]);
        drop((left, weights));
    }
}
