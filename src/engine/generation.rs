//! Choosing the next token, and what the model thought of it.

use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling as Method};

pub use crate::session::manifest::Sampling;
use crate::{Problem, Result};

/// Chooses tokens of one answer.
pub struct Chooser {
    /// `None` chooses the likeliest.
    sampler: Option<LogitsProcessor>,
}

/// The likeliest tokens of one step with their log-probabilities, best first.
pub type Likeliest = Vec<(u32, f64)>;

impl Chooser {
    /// A chooser for the answer to question `row`; sampled answers depend on seed and row alone, not on the order in
    /// which questions are asked.
    pub fn new(sampling: Sampling, row: usize) -> Self {
        let sampler = match sampling {
            Sampling::Greedy => None,
            Sampling::Sample { temperature, top_p, top_k, seed } => {
                let method = match (top_k, top_p) {
                    (None, None) => Method::All { temperature },
                    (Some(k), None) => Method::TopK { k, temperature },
                    (None, Some(p)) => Method::TopP { p, temperature },
                    (Some(k), Some(p)) => Method::TopKThenTopP { k, p, temperature },
                };
                Some(LogitsProcessor::from_sampling(seed.wrapping_add(row as u64), method))
            }
        };
        Self { sampler }
    }

    /// The next token.
    ///
    /// # Errors
    /// Logits that are no numbers: the computation went wrong somewhere.
    pub fn choose(&mut self, logits: &[f32]) -> Result<u32> {
        if !logits.iter().all(|l| l.is_finite()) {
            return Err(Problem::new("the model's output is not a finite number (NaN or infinity)")
                .fix("choose another number format with --dtype (bf16 or f32 instead of f16), or check the checkpoint"));
        }
        match &mut self.sampler {
            None => Ok(largest(logits)),
            Some(sampler) => Ok(sampler.sample(&Tensor::new(logits, &Device::Cpu)?)?),
        }
    }
}

/// Index of the largest; the first of several.
fn largest(logits: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (i, l) in logits.iter().enumerate() {
        if *l > best.1 {
            best = (i, *l);
        }
    }
    best.0 as u32
}

/// Log-probability of `token`, and the `count` likeliest tokens.
pub fn log_probabilities(logits: &[f32], token: u32, count: usize) -> (f64, Likeliest) {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let total = logits.iter().map(|l| (f64::from(*l) - max).exp()).sum::<f64>().ln() + max;
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let better = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    let count = count.min(order.len());
    if count > 0 && count < order.len() {
        order.select_nth_unstable_by(count - 1, better);
    }
    order.truncate(count);
    order.sort_by(better);
    let of = |id: u32| logits.get(id as usize).map_or(f64::NEG_INFINITY, |l| f64::from(*l) - total);
    (of(token), order.into_iter().map(|id| (id, of(id))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_sum_to_one_and_are_sorted() {
        let logits = [0.5f32, 3.0, -1.0, 3.0, 2.0];
        let (of_token, likeliest) = log_probabilities(&logits, 4, 5);
        let total: f64 = likeliest.iter().map(|(_, l)| l.exp()).sum();
        assert!((total - 1.0).abs() < 1e-12);
        assert_eq!(likeliest.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 3, 4, 0, 2]);
        assert_eq!(of_token, likeliest[2].1);
    }

    #[test]
    fn equal_seeds_draw_equal_tokens_and_greedy_takes_the_first_of_equals() {
        let logits: Vec<f32> = (0..50).map(|i| ((i * 37) % 11) as f32 / 3.0).collect();
        let sampling = Sampling::Sample { temperature: 0.8, top_p: Some(0.9), top_k: Some(20), seed: 7 };
        let draw = |row| {
            let mut chooser = Chooser::new(sampling, row);
            (0..20).map(|_| chooser.choose(&logits).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        assert_eq!(Chooser::new(Sampling::Greedy, 0).choose(&[1.0, 2.0, 2.0]).unwrap(), 1);
        assert!(Chooser::new(Sampling::Greedy, 0).choose(&[1.0, f32::NAN]).is_err());
    }
}
