//! Copies of the model side by side: questions are independent, so two copies on half the devices each answer twice as
//! many as one copy that passes a question through all of them.

use super::device::Device;
use super::forecast::{self, Forecaster, Verdict};
use super::planner::{self, Case, Wishes};
use super::presets;
use crate::Result;

/// A way to share the devices among copies.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Choice {
    /// Copies of the model.
    pub copies: usize,
    /// Devices of each copy.
    pub devices_each: usize,
    /// Device names of each copy, in the order of its stages.
    pub groups: Vec<Vec<String>>,
    /// Worst share over all copies.
    pub worst_share: f64,
    /// Worst verdict over all copies.
    pub verdict: Verdict,
    /// Questions answered in the time in which one copy over all devices answers one, one question in flight each, or as
    /// many as are assumed to be, up to one a stage.
    pub relative_throughput: f64,
    /// Seconds of the heaviest question's prompt and 256 tokens of answer on one copy, where the cards' speed is known.
    pub seconds: Option<f64>,
}

/// Every number of copies that divides the GPUs evenly, one copy first. Groups are dealt from the largest usable memory
/// down and back (as a snake), so that unequal cards share evenly.
pub fn choices(case: &Case) -> Result<Vec<Choice>> {
    let mut devices: Vec<&Device> =
        presets::gpus(&case.devices).into_iter().map(|g| &case.devices[g]).collect();
    if devices.is_empty() {
        devices = case.devices.iter().collect();
    }
    if devices.is_empty() {
        return Err(presets::no_device());
    }
    devices.sort_by_key(|d| std::cmp::Reverse(d.usable()));
    let slim = case.at_its_worst();
    let mut found: Vec<Choice> = Vec::new();
    let mut rate_of_one = None;
    for copies in (1..=devices.len()).filter(|copies| devices.len().is_multiple_of(*copies)) {
        let mut groups: Vec<Vec<Device>> = vec![Vec::new(); copies];
        for (index, device) in devices.iter().enumerate() {
            let (round, at) = (index / copies, index % copies);
            groups[if round % 2 == 0 { at } else { copies - 1 - at }].push((*device).clone());
        }
        let mut choice = Choice {
            copies,
            devices_each: devices.len() / copies,
            groups: Vec::new(),
            worst_share: 0.0,
            verdict: Verdict::Fits,
            relative_throughput: 0.0,
            seconds: None,
        };
        let mut rate = 0.0;
        for group in groups {
            let own = slim.with_devices(group);
            let plan = planner::ours(&own, &Wishes { contiguous: true, ..Wishes::default() })?;
            let forecast = Forecaster::new(&own).forecast(&plan);
            choice.worst_share = choice.worst_share.max(forecast.worst_share);
            choice.verdict = choice.verdict.max(forecast.verdict);
            let stages = plan.runs();
            choice.groups.push(stages.iter().map(|run| own.devices[run.device].name.clone()).collect());
            // Stages work at once only on different questions.
            let overlap = (own.assumptions.in_flight.value as f64).clamp(1.0, stages.len() as f64);
            let question = own.workload.frontier.first();
            let seconds = question.and_then(|q| forecast::seconds(&own, &plan, q));
            let time = seconds.map(|s| s.vision + s.prefill + 256.0 * s.per_token);
            choice.seconds = choice.seconds.or(time);
            rate += overlap / time.unwrap_or(1.0);
        }
        let one = *rate_of_one.get_or_insert(rate);
        choice.relative_throughput = if one > 0.0 { rate / one } else { 0.0 };
        found.push(choice);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::bytes::GIB;
    use crate::plan::device::CUDA_OVERHEAD;
    use crate::plan::{Assumptions, Dtype, Model, Workload, catalogue};

    /// The worked figure of the planning notes: on 8 x 79 GiB two copies of four fit, four of two do not.
    #[test]
    fn the_76b_twice_but_not_four_times() {
        let model = Model::new(catalogue::find("InternVL2-Llama3-76B").unwrap(), Dtype::Bf16, None);
        let card = |i| Device { overhead: CUDA_OVERHEAD, ..Device::simulated(i, 79 * GIB) };
        let case = Case::new(
            model,
            (0..8).map(card).collect(),
            Assumptions::default(),
            Workload::assumed(70, 18_520),
        );
        let choices = choices(&case).unwrap();
        assert_eq!(choices.iter().map(|c| c.copies).collect::<Vec<_>>(), [1, 2, 4, 8]);
        assert_eq!(choices[1].verdict, Verdict::Fits);
        assert_eq!(choices[2].verdict, Verdict::DoesNotFit);
        let peak = choices[1].worst_share * (79.0 - 0.6) + 0.6;
        assert!((peak - 42.5).abs() < 0.7, "{peak}");
        assert!((choices[1].relative_throughput - 2.0).abs() < 1e-9);
        assert_eq!(choices[1].groups.iter().flatten().count(), 8);
    }
}
