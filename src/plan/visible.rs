//! `CUDA_VISIBLE_DEVICES` as CUDA reads it: which physical GPUs a process sees, and in what order.
//!
//! Rules after nvitop's `parse_cuda_visible_devices` (XuehaiPan/nvitop, `nvitop/api/device.py`) and NVIDIA's programming guide.

/// A physical GPU, as the driver numbers and names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Physical {
    /// Its UUID, `GPU-…`.
    pub uuid: String,
    /// UUIDs of its MIG slices, `MIG-…`, where it is sliced.
    pub slices: Vec<String>,
}

/// What a CUDA ordinal stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visible {
    /// The physical GPU of this index.
    Gpu(usize),
    /// A MIG slice of a physical GPU: index of the GPU, index of the slice.
    Slice(usize, usize),
}

/// The GPUs a process sees in the order of its ordinals, given the variable's value (none where it is not set) and the
/// physical GPUs in the order CUDA counts them. Reading stops at the first entry that names nothing; the same GPU twice
/// makes none visible; numbers and UUIDs do not mix; a UUID may be cut short where it stays unique.
///
/// A sliced GPU is seen as its first slice, and a process that sees a slice sees nothing else: "CUDA can only enumerate a
/// single compute instance" and "will not enumerate non-MIG GPU if any compute instance is enumerated on any other GPU"
/// (NVIDIA Multi-Instance GPU User Guide, CUDA Device Enumeration).
pub fn visible(value: Option<&str>, physical: &[Physical]) -> Vec<Visible> {
    let of_index = |gpu: usize| match physical.get(gpu).is_some_and(|it| !it.slices.is_empty()) {
        true => Visible::Slice(gpu, 0),
        false => Visible::Gpu(gpu),
    };
    let one_slice = |found: Vec<Visible>| {
        let slice = found.iter().find(|it| matches!(it, Visible::Slice(..))).copied();
        slice.map_or(found, |slice| vec![slice])
    };
    let Some(value) = value else { return one_slice((0..physical.len()).map(of_index).collect()) };
    let mut found = Vec::new();
    let mut by_uuid: Option<bool> = None;
    for entry in value.split(',') {
        let entry = entry.trim();
        let is_uuid = entry.starts_with("GPU-") || entry.starts_with("MIG-");
        if *by_uuid.get_or_insert(is_uuid) != is_uuid {
            break;
        }
        let Some(device) =
            (if is_uuid { of_uuid(entry, physical) } else { of_number(entry, physical.len()) })
        else {
            break;
        };
        let device = match device {
            Visible::Gpu(index) => of_index(index),
            slice => slice,
        };
        if found.contains(&device) {
            return Vec::new();
        }
        found.push(device);
    }
    one_slice(found)
}

/// A number, whatever follows its digits being cut, as `atoi` does.
fn of_number(entry: &str, count: usize) -> Option<Visible> {
    let digits: String = entry.chars().take_while(char::is_ascii_digit).collect();
    let index: usize = digits.parse().ok()?;
    (index < count).then_some(Visible::Gpu(index))
}

fn of_uuid(entry: &str, physical: &[Physical]) -> Option<Visible> {
    // The older spelling of a slice: MIG-GPU-<uuid>/<instance>/<compute instance>.
    if let Some(rest) = entry.strip_prefix("MIG-GPU-") {
        let mut parts = rest.split('/');
        let gpu_uuid = format!("GPU-{}", parts.next()?);
        let slice: usize = parts.next()?.parse().ok()?;
        let gpu = physical.iter().position(|p| p.uuid == gpu_uuid)?;
        return physical[gpu].slices.len().checked_sub(1).map(|last| Visible::Slice(gpu, slice.min(last)));
    }
    let gpus = physical
        .iter()
        .enumerate()
        .filter(|(_, p)| p.uuid.starts_with(entry))
        .map(|(index, _)| Visible::Gpu(index));
    let slices = physical.iter().enumerate().flat_map(|(gpu, p)| {
        let own = p.slices.iter().enumerate().filter(|(_, slice)| slice.starts_with(entry));
        own.map(move |(slice, _)| Visible::Slice(gpu, slice))
    });
    let mut matches = gpus.chain(slices);
    let first = matches.next()?;
    (entry.len() > 4 && matches.next().is_none()).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ten() -> Vec<Physical> {
        (0..10).map(|i| Physical { uuid: format!("GPU-{i}a{i}b-77"), slices: Vec::new() }).collect()
    }

    fn indices(value: Option<&str>) -> Vec<usize> {
        let index = |v: Visible| match v {
            Visible::Gpu(index) => index,
            Visible::Slice(gpu, slice) => 100 + gpu * 10 + slice,
        };
        visible(value, &ten()).into_iter().map(index).collect()
    }

    #[test]
    fn the_rules_of_cuda() {
        assert_eq!(indices(None), (0..10).collect::<Vec<_>>());
        let cases: &[(&str, &[usize])] = &[
            ("", &[]),
            ("6,5", &[6, 5]),
            ("0,0", &[]),
            ("16", &[]),
            ("1,99,2", &[1]),
            ("-1", &[]),
            ("2,-1,3", &[2]),
            (" 3 , 1", &[3, 1]),
            ("4x,5", &[4, 5]),
            ("GPU-3a", &[3]),
            ("GPU-3a3b-77,GPU-1", &[3, 1]),
            ("GPU-", &[]),
            ("0,GPU-1a", &[0]),
            ("GPU-1a,0", &[1]),
            ("GPU-9z", &[]),
        ];
        for (value, expected) in cases {
            assert_eq!(indices(Some(value)), *expected, "{value:?}");
        }
    }

    #[test]
    fn one_slice_at_most() {
        let physical = vec![
            Physical { uuid: "GPU-aaa1".into(), slices: vec!["MIG-111".into(), "MIG-112".into()] },
            Physical { uuid: "GPU-bbb1".into(), slices: Vec::new() },
        ];
        assert_eq!(visible(Some("MIG-112,MIG-111"), &physical), [Visible::Slice(0, 1)]);
        assert_eq!(visible(Some("MIG-GPU-aaa1/1/0"), &physical), [Visible::Slice(0, 1)]);
        for whole in [None, Some("0,1"), Some("1,0"), Some("GPU-aaa1")] {
            assert_eq!(visible(whole, &physical), [Visible::Slice(0, 0)], "{whole:?}");
        }
        assert_eq!(visible(Some("1"), &physical), [Visible::Gpu(1)]);
        assert_eq!(visible(Some("MIG-11"), &physical), [], "not unique");
        assert_eq!(visible(Some("MIG-GPU-bbb1/0/0"), &physical), []);
    }
}
