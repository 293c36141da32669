//! The memory of each device: a table, and a bar.

use std::fmt::Write;

use super::{WIDTH, contents, percent};
use crate::plan::bytes::{GIB, KIB, MIB, human};
use crate::plan::forecast::DeviceForecast;
use crate::plan::{Case, Device, Plan, cost};

/// Cells of a memory bar.
const BAR: usize = 40;

/// The unit in which the largest of these sizes reads well.
fn unit_for(largest: u64) -> (f64, &'static str) {
    match largest {
        GIB.. => (GIB as f64, "GiB"),
        MIB.. => (MIB as f64, "MiB"),
        _ => (KIB as f64, "KiB"),
    }
}

pub(super) fn table(case: &Case, plan: &Plan, devices: &[DeviceForecast]) -> String {
    let (unit, name) = unit_for(devices.iter().map(DeviceForecast::peak).max().unwrap_or(0));
    let keeps = devices.iter().any(|f| f.kept > 0);
    let sized = |bytes: u64| format!("{:.1}", bytes as f64 / unit);
    let header = ["device", "weights", "cache", "temp", "kept", "peak", "usable", "share", "holds"];
    let mut rows = vec![header.map(str::to_string).to_vec()];
    for (index, (device, f)) in plan.devices.iter().zip(devices).enumerate() {
        let share = if f.share.is_finite() { percent(f.share) } else { "–".into() };
        rows.push(vec![
            device.name.clone(),
            sized(f.worst.weights),
            sized(f.worst.kv),
            sized(f.worst.activation),
            sized(f.kept),
            sized(f.peak()),
            if f.usable > 1 << 50 { "–".into() } else { sized(f.usable) },
            share,
            contents(&case.model, plan, index),
        ]);
    }
    if !keeps {
        rows.iter_mut().for_each(|row| drop(row.remove(4)));
    }
    let mut text = columns(&rows);
    _ = writeln!(text, "({name}, at each device's own worst question)");
    if keeps {
        text.push_str("(kept: for questions to come; share and verdict leave it out, since it gives way where a question needs the room)\n");
    }
    text
}

/// Columns as wide as their widest cell; the first and last stand left, numbers right.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let space = widths[column];
            if column == 0 {
                _ = write!(line, "{cell:<space$}");
            } else if column + 1 == count {
                let room = WIDTH.saturating_sub(line.chars().count() + 2);
                let short: String = cell.chars().take(room.max(12)).collect();
                _ = write!(line, "  {}{}", short, if short.len() < cell.len() { "…" } else { "" });
            } else {
                _ = write!(line, "  {cell:>space$}");
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// One bar for each device: its whole memory, what lies in it, and what is free.
pub(super) fn bars(case: &Case, plan: &Plan, devices: &[DeviceForecast]) -> String {
    let name_width = plan.devices.iter().map(|d| d.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (device, f) in plan.devices.iter().zip(devices).filter(|(d, _)| d.capacity < 1 << 50) {
        _ = writeln!(text, "{:<name_width$} {}", device.name, bar(case, device, f));
    }
    let keeps = if devices.iter().any(|f| f.kept > 0) { "  ▞ kept for later" } else { "" };
    _ = writeln!(text, "█ weights  ▓ keys and values  ▒ temporary{keeps}  ░ driver, others, reserve  ! over");
    text
}

fn bar(case: &Case, device: &Device, f: &DeviceForecast) -> String {
    let capacity = device.capacity.max(1);
    let overhead = cost::overhead(device, &case.assumptions);
    let taken = device.others.saturating_add(device.reserve).saturating_add(overhead);
    let parts =
        [(f.worst.weights, '█'), (f.worst.kv, '▓'), (f.worst.activation, '▒'), (f.kept, '▞'), (taken, '░')];
    let mut cells = String::new();
    let (mut sum, mut drawn) = (0u64, 0usize);
    for (bytes, sign) in parts {
        sum = sum.saturating_add(bytes);
        let exact = (sum as f64 / capacity as f64) * BAR as f64;
        // What is over shows at least one sign.
        let until = if sum > capacity { exact.ceil() as usize } else { exact.round() as usize };
        for cell in drawn..until.min(BAR + 6) {
            cells.push(if cell < BAR { sign } else { '!' });
        }
        drawn = drawn.max(until);
    }
    let inside: String = cells.chars().take(BAR).collect();
    let over: String = cells.chars().skip(BAR).collect();
    format!(
        "[{inside:<BAR$}]{over:<6} {:>9} of {:>9}  {}",
        human(sum),
        human(device.capacity),
        if f.used { f.verdict.words() } else { "empty" }
    )
}
