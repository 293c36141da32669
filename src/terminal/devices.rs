//! `shardscope devices`: what devices are seen, free and total memory, links, who uses them.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::devices::{Driver, Gpu, Pair, find, host};
use crate::plan::bytes::human;
use crate::plan::spec::DeviceSpec;
use crate::plan::{Device, cards};
use crate::{Problem, Result};

/// Options of `devices`.
#[derive(Debug, Clone, Args, Default)]
pub struct DevicesArgs {
    /// Only the devices of this SPEC [default: everything seen].
    #[arg(long, value_name = "SPEC")]
    pub devices: Option<String>,
    /// Name the cards whose memory and speed are known.
    #[arg(long)]
    pub cards: bool,
    /// Print one JSON object to standard output.
    #[arg(long)]
    pub json: bool,
    /// Go on reading the memory of the GPUs, and print what changes, who grows and which card is lost.
    #[arg(long, conflicts_with_all = ["json", "cards", "devices"])]
    pub watch: bool,
    /// Seconds between two readings [default: 1].
    #[arg(long, value_name = "S", requires = "watch", value_parser = crate::cli::seconds)]
    pub every: Option<f64>,
    /// Seconds to watch [default: until it is stopped].
    #[arg(long, value_name = "S", requires = "watch", value_parser = crate::cli::seconds)]
    pub seconds: Option<f64>,
    /// Append every reading to a file, a JSON object a line: time, device, bytes, own, others.
    #[arg(long, value_name = "FILE", requires = "watch")]
    pub trace: Option<PathBuf>,
}

/// Runs the command, writing to `out`. Returns the exit code.
///
/// # Errors
/// The SPEC makes no sense or names devices that are not there.
pub fn run(args: &DevicesArgs, driver: &Result<Driver>, out: &mut dyn Write) -> Result<u8> {
    let text = if args.cards {
        known_cards(args.json)
    } else {
        let spec = args.devices.as_deref().map_or(Ok(DeviceSpec::Auto), DeviceSpec::parse)?;
        let devices = find::devices(&spec, driver)?;
        let (gpus, pairs) = driver.as_ref().map(|d| (d.gpus(), d.pairs())).unwrap_or_default();
        if args.json {
            to_json(driver, &gpus, &pairs, &devices)
        } else {
            to_text(driver, &gpus, &pairs, &devices)
        }
    };
    writeln!(out, "{}", text.trim_end())
        .map_err(|e| Problem::new(format!("cannot write to standard output: {e}")))?;
    Ok(0)
}

fn to_json(driver: &Result<Driver>, gpus: &[Gpu], pairs: &[Pair], devices: &[Device]) -> String {
    let (version, cuda) = driver.as_ref().map(Driver::versions).unwrap_or_default();
    let usable = |device: &Device| {
        let mut value = serde_json::to_value(device).unwrap_or_default();
        value["usable"] = device.usable().into();
        value["free"] = device.capacity.saturating_sub(device.others).into();
        value
    };
    let value = json!({
        "driver": {"found": driver.is_ok(), "version": version, "cuda": cuda,
                   "problem": driver.as_ref().err().map(|p| p.what.clone())},
        "devices": devices.iter().map(usable).collect::<Vec<Value>>(),
        "gpus": gpus,
        "links": pairs,
        "host": {"processor": host::processor(), "memory": host::memory().map(|m| m.0), "available": host::memory().map(|m| m.1)},
    });
    serde_json::to_string_pretty(&value).unwrap_or_default()
}

fn to_text(driver: &Result<Driver>, gpus: &[Gpu], pairs: &[Pair], devices: &[Device]) -> String {
    let mut text = String::new();
    match driver {
        Ok(driver) => {
            let (version, cuda) = driver.versions();
            let or = |v: Option<String>| v.unwrap_or_else(|| "unknown".into());
            _ = writeln!(text, "NVIDIA driver {}, CUDA up to {}", or(version), or(cuda));
        }
        Err(problem) => {
            _ = writeln!(text, "No GPUs: {}.", problem.what);
            if let Some(fix) = &problem.fix {
                _ = writeln!(text, "  What to do: {fix}.");
            }
        }
    }
    text.push_str("\nDevices for a plan:\n");
    for device in devices {
        let free = device.capacity.saturating_sub(device.others);
        _ = write!(text, "  {:<8} {} free of {}", device.name, human(free), human(device.capacity));
        _ = write!(text, ", {} usable", human(device.usable()));
        if let Some(card) = &device.card {
            _ = write!(text, "  {card}");
        }
        text.push_str(if device.mig { " (MIG slice)\n" } else { "\n" });
    }
    for gpu in gpus {
        _ = write!(text, "\nGPU {} {}", gpu.index, gpu.name);
        if let Some(uuid) = &gpu.uuid {
            _ = write!(text, "  {uuid}");
        }
        text.push('\n');
        if gpu.lost {
            text.push_str("  has fallen off the bus; the machine must be restarted\n");
            continue;
        }
        let mut facts = Vec::new();
        facts.extend(gpu.memory.map(|m| format!("{} used of {}", human(m.used), human(m.total))));
        facts.extend(gpu.utilisation.map(|u| format!("{u} % busy")));
        facts.extend(gpu.power.map(|w| format!("{w:.0} W")));
        facts.extend(gpu.temperature.map(|t| format!("{t} °C")));
        facts.extend(gpu.capability.map(|(major, minor)| format!("compute {major}.{minor}")));
        facts.extend(gpu.pcie.map(|[generation, width, best, most]| {
            let now = format!("PCIe {generation} x{width}");
            if (generation, width) == (best, most) { now } else { format!("{now} (of {best} x{most})") }
        }));
        _ = writeln!(text, "  {}", facts.join(", "));
        for process in &gpu.processes {
            let name = process.name.as_deref().unwrap_or("?");
            let bytes = process.bytes.map_or_else(|| "unknown".into(), human);
            let own = if process.own { " (this program)" } else { "" };
            _ = writeln!(text, "  process {} {name}: {bytes}{own}", process.pid);
        }
        for (uuid, memory) in &gpu.slices {
            let size = memory.map_or_else(|| "unknown".into(), |m| human(m.total));
            _ = writeln!(text, "  slice {uuid}: {size}");
        }
    }
    if !pairs.is_empty() {
        text.push_str("\nLinks:\n");
    }
    for pair in pairs {
        let way = match (pair.nvlinks, pair.peer) {
            (1.., _) => format!("{} NVLinks", pair.nvlinks),
            (0, true) => "PCIe, directly".into(),
            _ => "through host memory".into(),
        };
        _ = writeln!(
            text,
            "  GPU {} – GPU {}: {way}{}",
            pair.a,
            pair.b,
            pair.meet.map(|m| format!(" ({m})")).unwrap_or_default()
        );
    }
    if let Some((total, available)) = host::memory() {
        _ = writeln!(text, "\nHost: {} available of {}", human(available), human(total));
    }
    text
}

fn known_cards(json: bool) -> String {
    if json {
        let list: Vec<Value> = cards::CARDS
            .iter()
            .map(|c| json!({"name": c.name, "memory": c.memory, "bandwidth": c.bandwidth, "flops": c.flops}))
            .collect();
        return serde_json::to_string_pretty(&json!({"cards": list})).unwrap_or_default();
    }
    let mut text = String::from("Simulate them with --devices sim:4xNAME\n");
    for card in &cards::CARDS {
        _ = writeln!(
            text,
            "  {:<14} {:>9}  {:>5} GB/s  {:>4} TFLOPS",
            card.name,
            human(card.memory),
            card.bandwidth / 1_000_000_000,
            card.flops / 1_000_000_000_000
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(args: &DevicesArgs) -> Result<String> {
        let none = Err(Problem::new("no NVIDIA driver was found on this machine"));
        let mut out = Vec::new();
        run(args, &none, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_machine_without_gpus_is_no_error() {
        let text = answer(&DevicesArgs::default()).unwrap();
        assert!(text.contains("No GPUs: no NVIDIA driver") && text.contains("cpu"), "{text}");
        let json: Value =
            serde_json::from_str(&answer(&DevicesArgs { json: true, ..DevicesArgs::default() }).unwrap())
                .unwrap();
        assert_eq!(json["driver"]["found"], false);
        assert_eq!(json["devices"][0]["name"], "cpu");
    }

    #[test]
    fn simulated_devices_and_cards_are_listed() {
        let simulated = DevicesArgs { devices: Some("sim:2xA100-40GB".into()), ..DevicesArgs::default() };
        assert!(answer(&simulated).unwrap().contains("sim:1"));
        let cards = DevicesArgs { cards: true, ..DevicesArgs::default() };
        assert!(answer(&cards).unwrap().contains("H200"));
        assert!(answer(&DevicesArgs { devices: Some("cuda:3".into()), ..DevicesArgs::default() }).is_err());
    }
}
