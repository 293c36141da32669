//! Device SPECs as written on the command line: `auto`, `cpu`, `cuda:0,2`, `sim:8x40GiB`, `sim:24GiB,80GiB`.

use super::bytes;
use super::cards;
use super::device::{Device, Host};
use crate::{Problem, Result};

/// What a SPEC asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum DeviceSpec {
    /// All visible CUDA devices, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA devices by ordinal (after `CUDA_VISIBLE_DEVICES`); empty means all.
    Cuda(Vec<usize>),
    /// Simulated devices.
    Simulated(Vec<Device>),
}

/// More devices than this cannot be meant.
const MOST_DEVICES: usize = 4096;

impl DeviceSpec {
    /// Reads a SPEC. Simulated devices are sizes or names of known cards, each with an optional count, separated by
    /// commas; after a semicolon come settings for all of them: `sim:8x40GiB;overhead=0.6GiB;reserve=1GiB;others=2GiB`.
    /// Devices of several machines stand in brackets behind how many such machines there are, or behind a machine's name:
    /// `sim:2x(8x80GiB)`, `sim:big(8xH100),small(4x24GiB);network=25GB` (bytes a second between machines).
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |what: String| {
            Problem::new(what)
                .at(format!("device SPEC {text:?}"))
                .fix("write auto, cpu, cuda:0,2, sim:8x40GiB, sim:24GiB,80GiB, sim:4xH100 or sim:2x(8x80GiB)")
        };
        let trimmed = text.trim();
        match trimmed.to_ascii_lowercase().as_str() {
            "auto" => return Ok(DeviceSpec::Auto),
            "cpu" => return Ok(DeviceSpec::Cpu),
            "cuda" => return Ok(DeviceSpec::Cuda(Vec::new())),
            "" => return Err(refuse("the device SPEC is empty".into())),
            _ => {}
        }
        let (kind, rest) =
            trimmed.split_once(':').ok_or_else(|| refuse(format!("{trimmed:?} names no device")))?;
        match kind.to_ascii_lowercase().as_str() {
            "cuda" => {
                let mut ordinals = Vec::new();
                for part in rest.split(',') {
                    let ordinal: usize =
                        part.trim().parse().map_err(|_| refuse(format!("{part:?} is not a CUDA ordinal")))?;
                    if ordinals.contains(&ordinal) {
                        return Err(refuse(format!("CUDA device {ordinal} is named twice")));
                    }
                    ordinals.push(ordinal);
                    if ordinals.len() > MOST_DEVICES {
                        return Err(refuse("that is too many devices".into()));
                    }
                }
                Ok(DeviceSpec::Cuda(ordinals))
            }
            "sim" => simulated(rest, refuse).map(DeviceSpec::Simulated),
            other => Err(refuse(format!("{other:?} is not a kind of device"))),
        }
    }
}

fn simulated(rest: &str, refuse: impl Fn(String) -> Problem) -> Result<Vec<Device>> {
    let mut sections = rest.split(';');
    let sizes = sections.next().unwrap_or_default();
    let mut devices: Vec<Device> = Vec::new();
    if sizes.contains(['(', ')']) {
        for (host, sizes) in hosts(sizes, &refuse)? {
            let first = devices.len();
            add(&mut devices, sizes, &refuse)?;
            for device in &mut devices[first..] {
                device.host = Some(Host { name: host.clone(), network: Host::NETWORK });
            }
        }
    } else {
        add(&mut devices, sizes, &refuse)?;
    }
    for setting in sections.map(str::trim).filter(|s| !s.is_empty()) {
        let (name, value) =
            setting.split_once('=').ok_or_else(|| refuse(format!("{setting:?} is not a setting")))?;
        let size = bytes::parse(value).map_err(|_| refuse(format!("{value:?} is not a size")))?;
        for device in &mut devices {
            match (name.trim(), &mut device.host) {
                ("overhead", _) => device.overhead = size,
                ("reserve", _) => device.reserve = size,
                ("others", _) => device.others = size,
                ("network", Some(host)) => host.network = size,
                ("network", None) => return Err(refuse("one machine has no network to itself".into())),
                (other, _) => return Err(refuse(format!("there is no setting {other:?}"))),
            }
        }
    }
    Ok(devices)
}

/// The machines of a SPEC: each one's name and its devices, as `2x(8x80GiB)` or `big(8xH100),small(24GiB)` say.
fn hosts<'a>(text: &'a str, refuse: &impl Fn(String) -> Problem) -> Result<Vec<(String, &'a str)>> {
    let mut hosts: Vec<(String, &str)> = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let whole = rest.split_once('(').and_then(|(before, inside)| {
            let (inside, after) = inside.split_once(')')?;
            (!inside.contains('(')).then_some((before.trim(), inside, after.trim()))
        });
        let (before, inside, after) =
            whole.ok_or_else(|| refuse(format!("{rest:?} is no machine with its devices in brackets")))?;
        let count = before.strip_suffix(['x', 'X', '×']).and_then(|count| count.trim().parse::<usize>().ok());
        let names: Vec<String> = match count {
            Some(count) if (1..=MOST_DEVICES).contains(&count) => {
                (0..count).map(|number| format!("host{}", hosts.len() + number)).collect()
            }
            Some(_) => return Err(refuse(format!("{before:?} is no number of machines"))),
            None if is_host_name(before) => vec![before.to_owned()],
            None => return Err(refuse(format!("{before:?} is no number or name of a machine"))),
        };
        for name in names {
            if hosts.iter().any(|(known, _)| *known == name) {
                return Err(refuse(format!("there are two machines {name:?}")));
            }
            hosts.push((name, inside));
            if hosts.len() > MOST_DEVICES {
                return Err(refuse("that is too many machines".into()));
            }
        }
        rest = match after.strip_prefix(',') {
            Some(more) if !more.trim().is_empty() => more.trim(),
            None if after.is_empty() => after,
            _ => return Err(refuse(format!("{after:?} is no further machine"))),
        };
    }
    Ok(hosts)
}

/// Names and addresses, as they can stand in a command.
fn is_host_name(text: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes().next().is_some_and(is_first)
        && text.bytes().all(|byte| is_first(byte) || matches!(byte, b'-' | b'.' | b'_'))
}

/// Adds devices such as `24GiB,2xH100`.
fn add(devices: &mut Vec<Device>, sizes: &str, refuse: &impl Fn(String) -> Problem) -> Result<()> {
    for part in sizes.split(',') {
        let part = part.trim();
        let counted = part
            .split_once(['x', 'X', '×'])
            .filter(|(n, _)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        let (count, what) = match counted {
            Some((count, what)) => {
                (count.parse::<usize>().map_err(|_| refuse(format!("{count:?} is not a count")))?, what)
            }
            None => (1, part),
        };
        if count == 0 || count.saturating_add(devices.len()) > MOST_DEVICES {
            return Err(refuse(format!("{count} devices cannot be simulated (1 to {MOST_DEVICES} can)")));
        }
        let card = cards::find(what);
        let capacity = match card {
            Some(card) => card.memory,
            None => bytes::parse(what)
                .map_err(|_| refuse(format!("{what:?} is neither a size nor a known card")))?,
        };
        if capacity == 0 {
            return Err(refuse("a device of no memory holds nothing".into()));
        }
        for _ in 0..count {
            let mut device = Device::simulated(devices.len(), capacity);
            if let Some(card) = card {
                device.card = Some(card.name.to_string());
                device.bandwidth = Some(card.bandwidth);
                device.flops = Some(card.flops);
            }
            devices.push(device);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::bytes::GIB;
    use proptest::prelude::*;

    fn sizes(text: &str) -> Vec<u64> {
        match DeviceSpec::parse(text).unwrap() {
            DeviceSpec::Simulated(devices) => devices.iter().map(|d| d.capacity).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_every_kind() {
        assert_eq!(DeviceSpec::parse(" auto ").unwrap(), DeviceSpec::Auto);
        assert_eq!(DeviceSpec::parse("CPU").unwrap(), DeviceSpec::Cpu);
        assert_eq!(DeviceSpec::parse("cuda:0,2").unwrap(), DeviceSpec::Cuda(vec![0, 2]));
        assert_eq!(sizes("sim:8x40GiB"), [40 * GIB; 8]);
        assert_eq!(sizes("sim:24GiB,24GiB,80GiB"), [24 * GIB, 24 * GIB, 80 * GIB]);
        assert_eq!(sizes("sim:2x24g,1x80g").len(), 3);
    }

    #[test]
    fn reads_cards_and_settings() {
        let DeviceSpec::Simulated(devices) =
            DeviceSpec::parse("sim:2xH100;overhead=600MiB;others=2GiB").unwrap()
        else {
            panic!()
        };
        assert!(devices[1].bandwidth.unwrap() > 3_000_000_000_000);
        assert_eq!(devices[0].usable(), devices[0].capacity - (600 << 20) - 2 * GIB);
        assert_eq!(devices[1].name, "sim:1");
    }

    #[test]
    fn reads_devices_of_several_machines() {
        let DeviceSpec::Simulated(devices) =
            DeviceSpec::parse("sim:2x(2x80GiB,40GiB), small(1xH100);network=1GB;reserve=1GiB").unwrap()
        else {
            panic!()
        };
        let hosts: Vec<&str> = devices.iter().filter_map(|d| Some(d.host.as_ref()?.name.as_str())).collect();
        assert_eq!(hosts, ["host0", "host0", "host0", "host1", "host1", "host1", "small"]);
        assert_eq!(devices[5].capacity, 40 * GIB);
        assert!(
            devices.iter().all(|d| d.host.as_ref().unwrap().network == 1_000_000_000 && d.reserve == GIB)
        );
        let links = crate::plan::device::Links::default().among(&devices);
        assert_eq!(links.between(0, 2), crate::plan::device::Link::HOST);
        let across = links.between(2, 3);
        assert!(across.bandwidth < 1e9 && across.bandwidth > 0.9e9 && across.latency > 50e-6, "{across:?}");
    }

    #[test]
    fn refuses_the_rest() {
        for bad in [
            "",
            "sim:",
            "sim:0x40GiB",
            "sim:8x",
            "sim:9999999x1GiB",
            "cuda:x",
            "cuda:1,1",
            "tpu:0",
            "sim:0GiB",
            "gpu",
            "sim:8x40GiB;speed=1",
            "sim:-1GiB",
            "sim:2x(8x80GiB",
            "sim:2x((8x80GiB))",
            "sim:0x(1GiB)",
            "sim:a(1GiB),a(2GiB)",
            "sim:a b(1GiB)",
            "sim:(1GiB)",
            "sim:2x(1GiB),",
            "sim:2x()",
            "sim:99999x(1GiB)",
            "sim:1GiB;network=1GB",
        ] {
            assert!(DeviceSpec::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_ends(text in "(sim|cuda|cpu|auto)?:?[0-9xGiB,;=a-z.() ]{0,24}") {
            let _ = DeviceSpec::parse(&text);
        }
    }
}
