//! A plan in the forms of other tools, in and out: Hugging Face's `device_map`, mistral.rs (`ORD:N;ORD:N` and topology
//! YAML), llama.cpp (`--tensor-split`); and which of them a text is.

mod llama_cpp;
mod mistralrs;

use std::fmt;
use std::str::FromStr;

use super::checks::{self, Finding};
use super::device_map::{DeviceMap, Resolved};
use super::forecast::{Forecast, Forecaster};
use super::layout::{Layout, Plan};
use super::planner::Case;
use super::presets;
use super::unit::UnitKind;
use super::{Device, DeviceKind};
use crate::{Problem, Result};

pub use llama_cpp::{from_tensor_split, to_tensor_split};
pub use mistralrs::{from_device_layers, from_topology, to_device_layers, to_topology};

/// Longest text that is read as a map, in bytes.
pub const MOST_TEXT: usize = 16 << 20;

/// A form in which a plan can be written and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Form {
    /// A Hugging Face `device_map`.
    #[default]
    DeviceMap,
    /// mistral.rs `--num-device-layers`: `ORD:N;ORD:N`.
    DeviceLayers,
    /// A mistral.rs topology.
    Topology,
    /// llama.cpp `--tensor-split`.
    TensorSplit,
}

/// A map that was read, as a plan and what there is to say about it.
#[derive(Debug, Clone)]
pub struct Read {
    /// The form that it had.
    pub form: Form,
    /// The plan.
    pub plan: Plan,
    /// Its forecast.
    pub forecast: Forecast,
    /// What is wrong with it, as a map and as a plan.
    pub findings: Vec<Finding>,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::DeviceMap, Self::DeviceLayers, Self::Topology, Self::TensorSplit];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::DeviceMap => "device-map",
            Self::DeviceLayers => "device-layers",
            Self::Topology => "topology",
            Self::TensorSplit => "tensor-split",
        }
    }

    /// What it is called where it comes from.
    pub fn title(self) -> &'static str {
        match self {
            Self::DeviceMap => "Hugging Face device_map",
            Self::DeviceLayers => "mistral.rs --num-device-layers",
            Self::Topology => "mistral.rs topology",
            Self::TensorSplit => "llama.cpp --tensor-split",
        }
    }

    /// The form that a text has, so far as one can tell without reading it through; none where it is no map at all.
    ///
    /// Braces or a list of pairs mean a `device_map`, wherever they stand in a log; lines of layer ranges a topology;
    /// `ORD:N` layers; numbers between commas or slashes shares. The two that are options of a command may have that option
    /// before them.
    pub fn of(text: &str) -> Option<Self> {
        let text = tidy(text);
        if let Some((form, _)) = after_option(text) {
            return Some(form);
        }
        if text.lines().any(mistralrs::is_selector) {
            return Some(Self::Topology);
        }
        if text.contains('{') || text.contains("[(") {
            return Some(Self::DeviceMap);
        }
        let is_number = |part: &str| part.trim().parse::<f64>().is_ok();
        if text.contains([',', '/'])
            && text.split([',', '/']).all(|part| part.trim().is_empty() || is_number(part))
        {
            return text.contains(|c: char| c.is_alphanumeric()).then_some(Self::TensorSplit);
        }
        let is_pair = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | ';' | ',' | ' ' | '-');
        let has_pair = text.split([';', ',']).any(|part| {
            let count = part.split_once(':').map(|(_, count)| count.trim());
            count.is_some_and(|count| count.starts_with(|c: char| c.is_ascii_digit()))
        });
        (has_pair && text.chars().all(is_pair)).then_some(Self::DeviceLayers)
    }

    /// A plan in this form.
    ///
    /// # Errors
    /// The form has no words for where such a plan puts its layers.
    pub fn write(self, plan: &Plan, case: &Case) -> Result<String> {
        match self {
            Self::DeviceMap => {
                let map = DeviceMap::of(plan, &case.model).to_json();
                serde_json::to_string_pretty(&map)
                    .map_err(|e| Problem::new(format!("cannot write the map: {e}")))
            }
            Self::DeviceLayers => to_device_layers(plan, case),
            Self::Topology => to_topology(plan, case),
            Self::TensorSplit => to_tensor_split(plan, case),
        }
    }

    /// What a plan has that this form, as written, leaves to its reader: a sentence, or nothing where all is said.
    pub fn unsaid(self, written: &str, plan: &Plan, case: &Case) -> Option<String> {
        if self == Self::DeviceMap {
            return None;
        }
        let back = self.plan(written, case).ok()?;
        let mut parts: Vec<&str> = Vec::new();
        let places = case.model.units.iter().zip(plan.assignment.iter().zip(&back.assignment));
        for (unit, _) in places.filter(|(_, (ours, theirs))| ours != theirs) {
            let part = match unit.kind {
                UnitKind::Layer(_) => "some layers",
                UnitKind::Projector => "the projector",
                UnitKind::TokenEmbedding => "the token embedding",
                UnitKind::Head => "the head",
                kind if kind.is_vision() => "the vision tower",
                _ => continue,
            };
            if parts.last() != Some(&part) {
                parts.push(part);
            }
        }
        let (last, before) = parts.split_last()?;
        let parts =
            if before.is_empty() { (*last).to_owned() } else { format!("{} and {last}", before.join(", ")) };
        Some(format!(
            "{} says where decoder layers go; {parts} will not lie where this plan has them",
            self.title()
        ))
    }

    /// The plan that a text in one of the forms for layers makes.
    fn plan(self, text: &str, case: &Case) -> Result<Plan> {
        match self {
            Self::DeviceMap => DeviceMap::parse(text).map(|map| super::device_map::resolve(&map, case).plan),
            Self::DeviceLayers => from_device_layers(text, case),
            Self::Topology => from_topology(text, case),
            Self::TensorSplit => from_tensor_split(text, case),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Form {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self> {
        let wanted = text.trim().to_ascii_lowercase();
        Self::ALL.into_iter().find(|form| form.name() == wanted).ok_or_else(|| {
            Problem::new(format!("a plan cannot be written as {text:?}"))
                .fix(format!("use {}", Self::ALL.map(Self::name).join(", ")))
        })
    }
}

/// Reads a map in whichever form it has, and judges it.
///
/// # Errors
/// The text has none of the forms that can be read, or places what is not there.
pub fn read(text: &str, case: &Case) -> Result<Read> {
    let text = tidy(text);
    if text.len() > MOST_TEXT {
        return Err(Problem::new("the text is longer than any map").fix(FORMS));
    }
    let form =
        Form::of(text).ok_or_else(|| Problem::new("this is no map of a form that can be read").fix(FORMS))?;
    if form == Form::DeviceMap {
        let (Resolved { plan, .. }, forecast, findings) = checks::check_map(case, &DeviceMap::parse(text)?);
        return Ok(Read { form, plan, forecast, findings });
    }
    let plan = form.plan(after_option(text).map_or(text, |(_, rest)| rest), case)?;
    let forecast = Forecaster::new(case).forecast(&plan);
    let findings = checks::check(case, &plan, &forecast);
    Ok(Read { form, plan, forecast, findings })
}

/// What can be read, for those who gave something else.
const FORMS: &str = "give a device_map (JSON, a Python dict, a line of a log), a mistral.rs topology, layers as ORD:N;ORD:N, or \
                     a tensor split such as 3,5";

fn tidy(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim()
}

/// A text that begins with the option it is the value of, as copied from a command.
fn after_option(text: &str) -> Option<(Form, &str)> {
    let at = text.find([' ', '='])?;
    let form = match &text[..at] {
        "--tensor-split" | "-ts" => Form::TensorSplit,
        "--num-device-layers" | "-n" => Form::DeviceLayers,
        _ => return None,
    };
    Some((form, text[at + 1..].trim().trim_matches(['"', '\''])))
}

/// Layers of a plan by GPU ordinal; layers on the host have none.
///
/// # Errors
/// A layer on the disk, for which only a `device_map` has a word.
fn layer_places(plan: &Plan, case: &Case) -> Result<Vec<Option<usize>>> {
    let layers =
        case.model.units.iter().zip(&plan.assignment).filter(|(u, _)| matches!(u.kind, UnitKind::Layer(_)));
    layers
        .map(|(_, &device)| match plan.devices.get(device).map(|device| device.kind) {
            Some(DeviceKind::Disk) => {
                Err(Problem::new("only a device_map has a word for layers on the disk")
                    .fix("export that instead"))
            }
            _ => Ok(presets::ordinal(&plan.devices, device)),
        })
        .collect()
}

fn no_gpu() -> Problem {
    Problem::new("this map is one of GPUs, and there is none")
        .fix("name some, or simulated ones: --devices sim:8x40GiB")
}

/// A plan of layers by GPU ordinal, those without one on the host; everything that is no layer lies on the first GPU.
fn from_places(places: &[Option<usize>], case: &Case) -> Result<Plan> {
    let gpus = presets::gpus(&case.devices);
    let first = *gpus.first().ok_or_else(no_gpu)?;
    let mut devices = case.devices.clone();
    let needs_cpu = places.iter().any(Option::is_none);
    let mut cpu = devices.iter().position(|d| d.kind == DeviceKind::Cpu);
    if needs_cpu && cpu.is_none() {
        devices.push(Device::new("cpu", DeviceKind::Cpu, case.host_memory));
        cpu = Some(devices.len() - 1);
    }
    let mut assignment = Vec::with_capacity(case.model.units.len());
    for unit in &case.model.units {
        let place = match unit.kind {
            UnitKind::Layer(index) => match places.get(index).copied().flatten() {
                Some(ordinal) => presets::by_ordinal(&devices, ordinal).ok_or_else(|| {
                    let names: Vec<&str> = gpus.iter().map(|&gpu| devices[gpu].name.as_str()).collect();
                    let (some, more) = names.split_at(names.len().min(8));
                    let more = if more.is_empty() { "" } else { " …" };
                    let there = format!("{}{more}", some.join(", "));
                    Problem::new(format!("layer {index} lies on GPU {ordinal}, but the GPUs are {there}"))
                        .fix("name more devices with --devices, or only GPUs that are there in the map")
                })?,
                None => cpu.unwrap_or(first),
            },
            _ => first,
        };
        assignment.push(place);
    }
    Ok(Plan::new(Layout::Custom, devices, assignment))
}

#[cfg(test)]
mod tests;
