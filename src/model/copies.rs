//! Copies from one accelerator to another: straight where a trial has shown that they arrive as they were, through host
//! memory otherwise. (Some machines' straight copies end in other numbers, without an error: with an IOMMU in the way, or
//! access control between the cards' slots.)

use std::sync::{Mutex, PoisonError};

use candle_core::{Device, DeviceLocation, Result, Tensor};

/// Numbers of the trials: one, more than a page, and 32 MiB.
const TRIALS: [u32; 3] = [1, 4097, 8 << 20];

/// Pairs that were tried, and whether copies arrive.
static TRIED: Mutex<Vec<([DeviceLocation; 2], bool)>> = Mutex::new(Vec::new());

/// A contiguous tensor on another device. The copy is complete when this returns.
///
/// # Errors
/// Too little memory, or a device that fails.
pub(super) fn copied(x: &Tensor, to: &Device) -> Result<Tensor> {
    let from = x.device();
    if from.is_cpu() || to.is_cpu() || from.same_device(to) {
        return x.to_device(to);
    }
    if are_proven(from, to) {
        return straight(x, to);
    }
    x.to_device(&Device::Cpu)?.to_device(to)
}

fn straight(x: &Tensor, to: &Device) -> Result<Tensor> {
    let copy = x.to_device(to)?;
    x.device().synchronize()?;
    to.synchronize()?;
    Ok(copy)
}

/// Whether straight copies between two devices arrive; tried once, when it is first asked.
fn are_proven(a: &Device, b: &Device) -> bool {
    let pair = [a.location(), b.location()];
    let mut tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = tried.iter().find(|(known, _)| *known == pair || *known == [pair[1], pair[0]]);
    if let Some((_, arrive)) = known {
        return *arrive;
    }
    let arrive = arrive(straight, a, b);
    tried.push((pair, arrive));
    arrive
}

/// Whether small and large tensors arrive as they were, in both directions.
fn arrive(copy: impl Fn(&Tensor, &Device) -> Result<Tensor>, a: &Device, b: &Device) -> bool {
    let trial = |count: u32, from: &Device, to: &Device| -> Result<bool> {
        let sent: Vec<u32> = (0..count).map(|i| i.wrapping_mul(2_654_435_761) ^ count).collect();
        let there = copy(&Tensor::from_slice(&sent, sent.len(), from)?, to)?;
        Ok(there.to_device(&Device::Cpu)?.to_vec1::<u32>()? == sent)
    };
    let both =
        |count: u32| [(a, b), (b, a)].into_iter().all(|(from, to)| trial(count, from, to).unwrap_or(false));
    TRIALS.into_iter().all(both)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_copies_that_arrive_whole_are_proven() {
        let cpu = Device::Cpu;
        assert!(arrive(|x, to| x.to_device(to), &cpu, &cpu));
        // The end of a large tensor is lost, as where a window of memory is too small.
        let cut = |x: &Tensor, _: &Device| {
            let mut values = x.to_vec1::<u32>()?;
            values.iter_mut().skip(1 << 20).for_each(|value| *value = 0);
            Tensor::from_slice(&values, values.len(), &cpu)
        };
        assert!(!arrive(cut, &cpu, &cpu));
        assert!(!arrive(|x, _| x.zeros_like(), &cpu, &cpu));
        assert!(!arrive(|_, _| candle_core::bail!("no access"), &cpu, &cpu));
    }

    #[test]
    fn host_memory_needs_no_trial() {
        let x = Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap();
        assert_eq!(copied(&x, &Device::Cpu).unwrap().to_vec1::<f32>().unwrap(), [1.0, 2.0]);
        assert!(TRIED.lock().unwrap().is_empty());
    }
}
