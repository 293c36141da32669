//! The other way round: on which cards would this checkpoint, dataset, format and answer limit fit?

use super::assumptions::{Assumptions, Dtype, Sourced};
use super::bytes::GIB;
use super::device::{CUDA_OVERHEAD, Device, DeviceKind};
use super::forecast::{Forecaster, Verdict};
use super::planner::{self, Case};

/// Memory sizes of common cards, as they are sold, in GB.
pub const CARD_SIZES: [u64; 7] = [24, 32, 40, 48, 80, 96, 141];

/// Most cards of one kind that are looked at.
pub const MOST_CARDS: usize = 16;

/// A set of equal cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct CardSet {
    /// Number of cards.
    pub count: usize,
    /// Memory of each, as sold, in GB.
    pub gigabytes: u64,
}

impl CardSet {
    /// The devices: of what is sold as N GB a driver reports about 1.5 percent less than N GiB, and its own overhead goes
    /// off that.
    pub fn devices(&self) -> Vec<Device> {
        let capacity = self.gigabytes * GIB / 1000 * 985;
        let card = |index: usize| Device {
            overhead: CUDA_OVERHEAD,
            ..Device::new(format!("cuda:{index}"), DeviceKind::Cuda, capacity)
        };
        (0..self.count).map(card).collect()
    }
}

/// What a set leaves.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Need {
    /// The cards.
    pub cards: CardSet,
    /// Worst share of usable memory.
    pub worst_share: f64,
    /// Whether it fits with room to spare or only just.
    pub verdict: Verdict,
    /// Bytes left on the fullest card at the worst question.
    pub headroom: u64,
}

/// A concession that would make a cheaper set do.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Concession {
    /// The cards.
    pub cards: CardSet,
    /// What would have to be given up, as a sentence.
    pub what: String,
    /// Whether it changes what is measured.
    pub changes_results: bool,
    /// Worst share of usable memory then.
    pub worst_share: f64,
}

/// What a case needs.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct Needs {
    /// For each card size the fewest cards that do, smallest total memory first.
    pub sets: Vec<Need>,
    /// What smaller sets would cost, the least harmful concession of each.
    pub cheaper: Vec<Concession>,
}

fn judge(case: &Case, cards: CardSet) -> Option<Need> {
    let slim = case.at_its_worst().with_devices(cards.devices());
    let plan = planner::ours(&slim, &planner::Wishes { contiguous: true, ..Default::default() }).ok()?;
    let forecast = Forecaster::new(&slim).forecast(&plan);
    let left = |d: &super::forecast::DeviceForecast| d.usable.saturating_sub(d.worst.peak());
    Some(Need {
        cards,
        worst_share: forecast.worst_share,
        verdict: forecast.verdict,
        headroom: forecast.devices.iter().filter(|d| d.used).map(left).min().unwrap_or(0),
    })
}

/// The smallest sets of common cards on which a case fits, and what each cheaper set would cost. The case's own devices do
/// not matter.
pub fn needs(case: &Case) -> Needs {
    let mut found = Needs::default();
    for gigabytes in CARD_SIZES {
        let fits = |count: usize| {
            judge(case, CardSet { count, gigabytes }).filter(|n| n.verdict != Verdict::DoesNotFit)
        };
        let first = (1..=MOST_CARDS).find_map(|count| fits(count).map(|need| (count, need)));
        let cheapest = first.as_ref().map_or(MOST_CARDS + 1, |(count, _)| *count);
        found.sets.extend(first.map(|(_, need)| need));
        // One step down, and half: the sets people own.
        let mut smaller: Vec<usize> = vec![cheapest - 1, cheapest / 2, 1];
        smaller.retain(|&count| count > 0 && count < cheapest);
        smaller.dedup();
        found
            .cheaper
            .extend(smaller.into_iter().filter_map(|count| concede(case, CardSet { count, gigabytes })));
    }
    found.sets.sort_by_key(|need| (need.cards.gigabytes * need.cards.count as u64, need.cards.count));
    found
        .cheaper
        .sort_by_key(|c| (c.changes_results, c.cards.gigabytes * c.cards.count as u64, c.cards.count));
    found
}

/// The least harmful concession with which a set does.
fn concede(case: &Case, cards: CardSet) -> Option<Concession> {
    let fits = |changed: &Case| judge(changed, cards).filter(|n| n.verdict != Verdict::DoesNotFit);
    let base = &case.assumptions;
    let with = |change: &dyn Fn(&mut Assumptions)| {
        let mut assumptions = base.clone();
        change(&mut assumptions);
        case.with_assumptions(assumptions)
    };
    let small = |a: &mut Assumptions| {
        a.tile_batch = Sourced::chosen(Some(1));
        a.prefill_chunk = Sourced::chosen(Some(1024));
    };
    let one = |a: &mut Assumptions| {
        small(a);
        a.in_flight = Sourced::chosen(1);
    };
    let done = |need: Need, what: String, changes_results: bool| {
        Some(Concession { cards, what, changes_results, worst_share: need.worst_share })
    };
    if let Some(need) = fits(&with(&small)) {
        return done(need, "one tile and 1,024 prompt tokens at a time: slower".into(), false);
    }
    if base.in_flight.value > 1
        && let Some(need) = fits(&with(&one))
    {
        return done(need, "the same, and one question in flight: slower".into(), false);
    }
    for (tokens, words) in [(2048, "2,048"), (1024, "1,024"), (256, "256")] {
        if tokens < base.max_new_tokens.value {
            let shorter = with(&|a| {
                one(a);
                a.max_new_tokens = Sourced::chosen(tokens);
            });
            if let Some(need) = fits(&shorter) {
                return done(need, format!("answers of at most {words} tokens, one tile at a time"), true);
            }
        }
    }
    for dtype in [Dtype::Q8_0, Dtype::Q4k] {
        if case.model.dtype.is_quantised() && case.model.dtype >= dtype {
            continue;
        }
        let smaller = with(&one).with_dtype(dtype);
        if let Some(need) = fits(&smaller) {
            let bits = if dtype == Dtype::Q8_0 { "8" } else { "4" };
            return done(
                need,
                format!("the language model in {bits} bits ({}), one tile at a time", dtype.name()),
                true,
            );
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Model, Workload, catalogue};

    fn needs_of(name: &str) -> Needs {
        let model = Model::new(catalogue::find(name).unwrap(), Dtype::Bf16, None);
        needs(&Case::new(model, Vec::new(), Assumptions::default(), Workload::assumed(70, 18_100)))
    }

    #[test]
    fn the_76b_needs_what_people_found() {
        let needs = needs_of("InternVL2-Llama3-76B");
        let count = |gigabytes: u64| {
            needs.sets.iter().find(|n| n.cards.gigabytes == gigabytes).map(|n| n.cards.count)
        };
        // 142 GiB of weights: two cards of 80 do not do, three do; five of 40; one fewer never does.
        assert_eq!(count(80), Some(3));
        assert_eq!(count(40), Some(5));
        assert!(count(24).is_some_and(|n| n > 7));
        for need in &needs.sets {
            assert!(need.worst_share <= 1.0);
            let model = Model::new(catalogue::find("InternVL2-Llama3-76B").unwrap(), Dtype::Bf16, None);
            let case = Case::new(model, Vec::new(), Assumptions::default(), Workload::assumed(70, 18_100));
            if need.cards.count > 1 {
                let fewer = judge(&case, CardSet { count: need.cards.count - 1, ..need.cards }).unwrap();
                assert_eq!(fewer.verdict, Verdict::DoesNotFit);
            }
        }
        let two_of_80 =
            needs.cheaper.iter().find(|c| c.cards == CardSet { count: 2, gigabytes: 80 }).unwrap();
        assert!(two_of_80.worst_share <= 1.0);
    }

    #[test]
    fn a_small_model_needs_one_card() {
        let needs = needs_of("InternVL3-1B");
        assert_eq!(needs.sets[0].cards, CardSet { count: 1, gigabytes: 24 });
        assert!(needs.cheaper.is_empty());
    }

    #[test]
    fn what_fits_nowhere_says_so() {
        let mut shape = catalogue::find("InternVL3_5-241B-A28B").unwrap();
        shape.decoder.layers = 10_000;
        let model = Model::new(shape, Dtype::F32, None);
        let case = Case::new(model, Vec::new(), Assumptions::default(), Workload::assumed(1, 10));
        assert!(needs(&case).sets.is_empty());
    }
}
