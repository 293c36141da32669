//! The units before the tail as a chain for the solver, and what it finds as an assignment.

use super::{Case, Goal, HeadChoice, VisionChoice, Wishes};
use crate::plan::presets;
use crate::plan::stages::{Chain, Staging, Tail};
use crate::plan::unit::UnitKind;
use crate::{Problem, Result};

/// The units before the tail as items of a chain, and the devices that take part.
pub(super) struct Body {
    /// First unit and one past the last unit of each item.
    pub(super) items: Vec<(usize, usize)>,
    /// Units of the tail.
    tail: Vec<usize>,
    /// Devices that take part, as indices into the case's.
    pub(super) devices: Vec<usize>,
    /// False where MIG slices were left out.
    pub(super) exact_devices: bool,
    pub(super) chain: Chain,
}

impl Body {
    pub(super) fn new(case: &Case, wishes: &Wishes, norm_with_layers: bool) -> Result<Self> {
        let units = &case.model.units;
        for &(unit, device) in &wishes.pins {
            if unit >= units.len() || device >= case.devices.len() {
                return Err(Problem::new(format!(
                    "cannot pin unit {unit} to device {device}: there is no such thing"
                )));
            }
        }
        let (devices, exact_devices) = taking_part(case, wishes)?;
        let in_tail = |kind: UnitKind| if norm_with_layers { kind == UnitKind::Head } else { kind.is_tail() };
        let tail: Vec<usize> = (0..units.len()).filter(|&u| in_tail(units[u].kind)).collect();
        let body_end = tail.first().copied().unwrap_or(units.len());
        let vision_end = units.iter().take_while(|u| u.kind.is_vision()).count().min(body_end);
        let mut items: Vec<(usize, usize)> = Vec::with_capacity(body_end);
        if wishes.vision == VisionChoice::Whole && vision_end > 0 {
            items.push((0, vision_end));
            items.extend((vision_end..body_end).map(|u| (u, u + 1)));
        } else {
            items.extend((0..body_end).map(|u| (u, u + 1)));
        }
        let (stays, peaks) = case.costs.at_frontier(&case.workload);
        let points = stays.len();
        let gather = |of: &[Vec<u64>], combine: fn(u64, u64) -> u64| -> Vec<Vec<u64>> {
            let sum = |point: &Vec<u64>| {
                items.iter().map(|&(a, b)| point[a..b].iter().copied().fold(0, combine)).collect()
            };
            of.iter().map(sum).collect()
        };
        let mut at_tail = vec![(0u64, 0u64); points];
        for (point, slot) in at_tail.iter_mut().enumerate() {
            for &unit in &tail {
                *slot = (slot.0.saturating_add(stays[point][unit]), slot.1.max(peaks[point][unit]));
            }
        }
        let local = |device: usize| devices.iter().position(|&d| d == device);
        let mut pins = vec![None; items.len()];
        let mut tail_place = match wishes.head {
            HeadChoice::On(device) => local(device).map_or(Tail::Any, Tail::On),
            HeadChoice::Free => Tail::Any,
        };
        let embedding = items.iter().position(|&(a, _)| units[a].kind == UnitKind::TokenEmbedding);
        let tied = units.iter().any(|u| u.tied_with.is_some());
        if tied
            && !case.assumptions.duplicate_tied_head.value
            && let Some(embedding) = embedding
        {
            tail_place = Tail::With(embedding);
        }
        for &(unit, device) in &wishes.pins {
            let Some(device) = local(device) else { continue };
            match items.iter().position(|&(a, b)| (a..b).contains(&unit)) {
                Some(item) => pins[item] = Some(device),
                None if units[unit].kind == UnitKind::Head => tail_place = Tail::On(device),
                None => {}
            }
        }
        let usable = case.usable(&case.devices);
        let chain = Chain {
            stays: gather(&stays, u64::saturating_add),
            peaks: gather(&peaks, u64::max),
            tail: at_tail,
            tail_place,
            usable: devices.iter().map(|&d| usable[d]).collect(),
            pins,
            cut_before: (wishes.vision == VisionChoice::Alone && vision_end > 0).then_some(vision_end),
            max_stages: usize::MAX,
        };
        Ok(Self { items, tail, devices, exact_devices, chain })
    }

    pub(super) fn solve(&self, case: &Case, wishes: &Wishes) -> Option<Staging> {
        if let Some(order) = &wishes.order {
            let order: Vec<usize> =
                order.iter().filter_map(|d| self.devices.iter().position(|own| own == d)).collect();
            return self.chain.solve_in_order(&order);
        }
        let previous: Option<Vec<usize>> = wishes.previous.as_ref().map(|assignment| {
            let local = |unit: usize| {
                let device = assignment.get(unit).copied();
                device.and_then(|d| self.devices.iter().position(|&own| own == d)).unwrap_or(usize::MAX)
            };
            self.items.iter().map(|&(a, _)| local(a)).collect()
        });
        let mut best = self.chain.solve(previous.as_deref())?;
        if wishes.goal == Goal::FewestGpus {
            // The worst share that still leaves the comfort the verdict asks for.
            let comfortable = |s: &Staging| s.worst.value() <= crate::plan::cost::COMFORTABLE_SHARE;
            for stages in 1..best.stages.len() {
                let fewer = Chain { max_stages: stages, ..self.chain.clone() };
                if let Some(staging) = fewer.solve(previous.as_deref()).filter(comfortable) {
                    best = staging;
                    break;
                }
            }
        }
        let tied = case.model.units.iter().any(|u| u.tied_with.is_some());
        if tied && case.assumptions.duplicate_tied_head.value {
            // The head's own copy is already counted as staying with the tail; keeping it with the embedding may be cheaper.
            let embedding =
                self.items.iter().position(|&(a, _)| case.model.units[a].kind == UnitKind::TokenEmbedding);
            if let Some(embedding) = embedding {
                let mut shared = self.chain.clone();
                shared.tail_place = Tail::With(embedding);
                if let Some(staging) = shared.solve(previous.as_deref())
                    && !staging.worst.exceeds(best.worst)
                {
                    best = staging;
                }
            }
        }
        Some(best)
    }

    /// The same chain with pinned units taken out of it and charged to their devices.
    pub(super) fn without_pins(&self, case: &Case, wishes: &Wishes) -> Self {
        let mut chain = self.chain.clone();
        for (item, pin) in self.chain.pins.iter().enumerate() {
            let Some(device) = *pin else { continue };
            let charge = (0..chain.stays.len()).map(|p| chain.stays[p][item]).max().unwrap_or(0);
            let peak = (0..chain.peaks.len()).map(|p| chain.peaks[p][item]).max().unwrap_or(0);
            chain.usable[device] = chain.usable[device].saturating_sub(charge);
            for point in 0..chain.stays.len() {
                chain.stays[point][item] = 0;
                chain.peaks[point][item] = 0;
            }
            // The transient is shared with whatever else runs there, so only one of them has to be kept free.
            let others = chain.peaks.iter().flatten().copied().max().unwrap_or(0);
            chain.usable[device] = chain.usable[device].saturating_sub(peak.saturating_sub(others));
        }
        chain.pins = vec![None; self.items.len()];
        let _ = (case, wishes);
        Self {
            items: self.items.clone(),
            tail: self.tail.clone(),
            devices: self.devices.clone(),
            exact_devices: self.exact_devices,
            chain,
        }
    }

    pub(super) fn assignment(&self, staging: &Staging) -> Vec<usize> {
        let units = self.items.last().map_or(0, |&(_, end)| end) + self.tail.len();
        let mut assignment = vec![0; units];
        for stage in &staging.stages {
            let device = self.devices[stage.device];
            for &(first, end) in &self.items[stage.first..stage.end] {
                assignment[first..end].fill(device);
            }
            if stage.hosts_tail {
                for &unit in &self.tail {
                    assignment[unit] = device;
                }
            }
        }
        assignment
    }
}

/// GPUs (one, where MIG slices are among them), or every device where there is no GPU, and whatever is pinned to.
fn taking_part(case: &Case, wishes: &Wishes) -> Result<(Vec<usize>, bool)> {
    let mut devices = presets::gpus(&case.devices);
    if devices.is_empty() {
        devices = (0..case.devices.len()).collect();
    }
    if devices.is_empty() {
        return Err(presets::no_device());
    }
    let mut whole = true;
    if devices.len() > 1 && devices.iter().any(|&d| case.devices[d].mig) {
        let largest =
            devices.iter().copied().max_by_key(|&d| (case.devices[d].usable(), std::cmp::Reverse(d)));
        devices = largest.into_iter().collect();
        whole = false;
    }
    for &(_, device) in &wishes.pins {
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    if let HeadChoice::On(device) = wishes.head
        && device < case.devices.len()
        && !devices.contains(&device)
    {
        devices.push(device);
    }
    Ok((devices, whole))
}
