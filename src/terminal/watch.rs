//! `shardscope devices --watch`: the memory of every GPU as it changes, who grows, which card is lost; and a trace on disk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::devices::DevicesArgs;
use super::say;
use crate::devices::{Alarm, Driver, Reading, Sampler, Settings};
use crate::plan::bytes::human;
use crate::{Problem, Result};

/// Watches the GPUs until the time that was asked for is over, for ever where none was. `line` gets each line to print and
/// says whether anybody still reads.
///
/// # Errors
/// There is no GPU to watch, or the trace cannot be written.
pub fn watch(args: &DevicesArgs, driver: Driver, mut line: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let first = driver.readings();
    if first.is_empty() {
        return Err(Problem::new("the driver shows no GPU, so that there is nothing to watch"));
    }
    let totals: BTreeMap<String, u64> =
        first.into_iter().map(|Reading { device, total, .. }| (device, total)).collect();
    let every = Duration::from_secs_f64(args.every.unwrap_or(1.0).max(0.05));
    let settings = Settings { every, kept: 2, trace: args.trace.clone(), ..Settings::default() };
    let sampler = Sampler::start(settings, move || driver.readings())?;
    let began = Instant::now();
    let limit = args.seconds.map(Duration::from_secs_f64);
    let mut said: BTreeMap<String, (u64, Option<u32>)> = BTreeMap::new();
    let mut trouble = None;
    loop {
        for device in sampler.devices() {
            let Some(now) = sampler.samples(&device).last().copied() else { continue };
            if said.insert(device.clone(), (now.used, now.utilisation)) == Some((now.used, now.utilisation)) {
                continue;
            }
            let mut text = format!("{:>8.1} s  {device}  {}", now.at, human(now.used));
            if let Some(total) = totals.get(&device) {
                text.push_str(&format!(" of {}", human(*total)));
            }
            if now.others > 0 {
                text.push_str(&format!(", {} of them other processes", human(now.others)));
            }
            if let Some(busy) = now.utilisation {
                text.push_str(&format!(", {busy} % busy"));
            }
            line(&text)?;
        }
        sampler.alarms().iter().for_each(|alarm| say(format!("note: {}", words(alarm))));
        if let Some(problem) = sampler.trouble().filter(|_| trouble.is_none()) {
            say(format!("note: {problem}"));
            trouble = Some(problem);
        }
        if limit.is_some_and(|limit| began.elapsed() >= limit) {
            return Ok(());
        }
        let left = limit.map_or(every, |limit| limit.saturating_sub(began.elapsed()));
        std::thread::sleep(every.min(left));
    }
}

/// An alarm as a sentence.
fn words(alarm: &Alarm) -> String {
    match alarm {
        Alarm::Lost { device } => format!("{device} has fallen off the bus; the machine must be restarted"),
        Alarm::Neighbour { device, grown, who } => {
            let who = who.as_ref().map_or_else(String::new, |who| {
                let name = who.name.as_deref().unwrap_or("a process");
                format!("; the largest is {name} (process {})", who.pid)
            });
            format!("other processes on {device} have grown by {}{who}", human(*grown))
        }
        Alarm::Relieved { device } => format!("other processes on {device} have given memory back"),
    }
}
