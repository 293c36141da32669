//! Memory of every device over the answer's length: where each curve runs, and where it ends.

use crate::plan::{Case, Plan, QuestionCost};

/// Memory of a device over the answer's length.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The device's place in the plan.
    pub device: usize,
    /// Its name.
    pub name: String,
    /// Tokens of answer, and what is held: bytes, or shares of the usable memory.
    pub points: Vec<[f64; 2]>,
    /// Where it runs out, if that is within the picture.
    pub ends_at: Option<f64>,
}

/// The picture: a curve for each device that holds something.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// The question's name.
    pub question: String,
    /// The curves.
    pub curves: Vec<Curve>,
    /// The usable memory in bytes where it is the same for all; else curves are shares and this is none.
    pub usable: Option<f64>,
    /// Longest answer in the picture.
    pub until: f64,
    /// The longest answer assumed.
    pub limit: f64,
}

/// Points of a curve.
const STEPS: u64 = 48;

/// The curves of a plan at a question.
pub fn curves(case: &Case, plan: &Plan, question: &QuestionCost) -> Curves {
    let holdings = plan.holdings(&case.costs);
    let usable = case.usable(&plan.devices);
    let limit = case.costs.answer_limit();
    let activations = case.costs.at(question.tiles, question.prompt_tokens);
    let used: Vec<usize> =
        (0..holdings.len()).filter(|&d| holdings[d] != crate::plan::Holding::default()).collect();
    let at = |device: usize, answer: u64| {
        case.costs.moment_at(&holdings[device], &activations, question.prompt_tokens, answer).peak()
    };
    // Where the first device runs out, by halving: the memory never falls as the answer grows.
    let end = |device: usize| {
        let (mut low, mut high) = (0u64, 1u64 << 24);
        if at(device, low) > usable[device] {
            return Some(0);
        }
        if at(device, high) <= usable[device] {
            return None;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if at(device, middle) <= usable[device] { low = middle } else { high = middle }
        }
        Some(low)
    };
    let ends: Vec<Option<u64>> = used.iter().map(|&d| end(d)).collect();
    let first = ends.iter().flatten().min().copied().unwrap_or(0);
    // The end is shown unless it is so far that the limit would vanish beside it.
    let far = if first <= limit * 64 { first + first / 4 } else { 0 };
    let until = far.max(limit * 2).max(64);
    let same = used.windows(2).all(|pair| usable[pair[0]] == usable[pair[1]]);
    let scale = |device: usize, bytes: u64| match same {
        true => bytes as f64,
        false => bytes as f64 / usable[device].max(1) as f64,
    };
    let curve = |(&device, end): (&usize, &Option<u64>)| Curve {
        device,
        name: plan.devices[device].name.clone(),
        points: (0..=STEPS)
            .map(|step| {
                let answer = until / STEPS * step;
                [answer as f64, scale(device, at(device, answer))]
            })
            .collect(),
        ends_at: end.filter(|end| *end <= until).map(|end| end as f64),
    };
    Curves {
        question: question.id.clone(),
        curves: used.iter().zip(&ends).map(curve).collect(),
        usable: same.then(|| used.first().map_or(0.0, |&d| usable[d] as f64)),
        until: until as f64,
        limit: limit as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::bytes::GIB;
    use crate::plan::{Assumptions, Device, Dtype, Forecaster, Layout, Model, Workload, catalogue, planner};

    fn case(sizes: &[u64]) -> Case {
        let model = Model::new(catalogue::find("InternVL3-8B").unwrap(), Dtype::Bf16, None);
        let devices = sizes.iter().enumerate().map(|(i, gib)| Device::simulated(i, gib * GIB)).collect();
        Case::new(model, devices, Assumptions::default(), Workload::assumed(13, 3500))
    }

    #[test]
    fn a_curve_ends_where_the_forecast_says() {
        let case = case(&[24]);
        let plan = planner::plan(&case, Layout::Auto).unwrap();
        let forecast = Forecaster::new(&case).forecast(&plan);
        let drawn = curves(&case, &plan, &case.workload.frontier[0]);
        assert_eq!(drawn.curves.len(), 1);
        assert_eq!(drawn.curves[0].ends_at, forecast.longest_answer.map(|tokens| tokens as f64));
        assert_eq!(drawn.usable, Some((24 * GIB) as f64));
        assert!(drawn.curves[0].points.windows(2).all(|p| p[0][0] < p[1][0] && p[0][1] <= p[1][1]));
        assert!(drawn.until >= 2.0 * drawn.limit);
    }

    #[test]
    fn unlike_devices_are_drawn_as_shares() {
        let case = case(&[12, 24]);
        let plan = planner::plan(&case, Layout::Auto).unwrap();
        let drawn = curves(&case, &plan, &case.workload.frontier[0]);
        assert_eq!((drawn.curves.len(), drawn.usable), (2, None));
        assert!(drawn.curves.iter().all(|c| c.points[0][1] > 0.0 && c.points[0][1] < 1.0));
    }
}
