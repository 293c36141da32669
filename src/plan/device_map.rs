//! The Hugging Face `device_map`: JSON, or a Python dict literal as VLMEvalKit and accelerate print it, in and out.
//!
//! A key covers everything below it and the longest key wins, as in accelerate. Devices are ordinals after
//! `CUDA_VISIBLE_DEVICES`, so that `0` is the first GPU of the case whatever it is called there.

use super::device::{Device, DeviceKind};
use super::layout::{Layout, Plan, Split};
use super::naming::{self, Meaning};
use super::planner::Case;
use super::presets;
use super::unit::{Model, UnitKind};
use crate::{Problem, Result};

/// Where an entry points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A GPU by ordinal.
    Gpu(u32),
    /// Host memory.
    Cpu,
    /// Disk.
    Disk,
}

/// A device map: module paths and where they go, in the order they are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceMap {
    /// The entries, duplicates included.
    pub entries: Vec<(String, Target)>,
}

/// Longest text that is read, and most entries.
const MOST_TEXT: usize = 16 << 20;
const MOST_ENTRIES: usize = 200_000;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Text(String),
    Number(i64),
    Word(String),
    Mark(char),
}

impl DeviceMap {
    /// Reads a map: JSON, a Python dict (`{'mlp1': 0, 'lm_head': 'cuda:1', 'x': device(type='cuda', index=2)}`), an
    /// `OrderedDict([('mlp1', 0), …])`, or any of these inside a line of a log.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |what: String| {
            Problem::new(what)
                .at("device map")
                .fix("give a JSON object or a Python dict of module names to devices")
        };
        if text.len() > MOST_TEXT {
            return Err(refuse("the text is longer than any device map".into()));
        }
        // In a log, the dict starts at the first brace (or list of pairs) that is followed by a quoted name.
        let starts = text.char_indices().filter(|&(at, c)| {
            let next = text[at + c.len_utf8()..].trim_start();
            match c {
                '{' => next.starts_with(['"', '\'', '}']),
                '[' => next.strip_prefix('(').is_some_and(|rest| rest.trim_start().starts_with(['"', '\''])),
                _ => false,
            }
        });
        let mut last_error = refuse("there is no map in this text".into());
        for (at, _) in starts.take(8) {
            match tokens(&text[at..]).and_then(|tokens| entries(&tokens)) {
                Ok(entries) => return Ok(Self { entries }),
                Err(what) => last_error = refuse(what),
            }
        }
        Err(last_error)
    }

    /// The map of a plan in the model's own module names: the tower as one entry where it is whole, `rotary_emb` always
    /// beside the first decoder layer, cut modules as entries of their own.
    pub fn of(plan: &Plan, model: &Model) -> Self {
        let target = |device: usize| match plan.devices.get(device).map(|d| d.kind) {
            Some(DeviceKind::Cpu) | None => Target::Cpu,
            Some(DeviceKind::Disk) => Target::Disk,
            Some(_) => Target::Gpu(presets::ordinal(&plan.devices, device).unwrap_or(0) as u32),
        };
        let in_memory = |name: &str| memory_name(model, name);
        let mut entries: Vec<(String, Target)> = Vec::new();
        let vision: Vec<usize> =
            (0..model.units.len()).filter(|&u| model.units[u].kind.is_vision()).collect();
        let whole =
            |units: &[usize]| units.windows(2).all(|w| plan.assignment[w[0]] == plan.assignment[w[1]]);
        let tower = in_memory(&model.shape.naming.vision_embeddings);
        let tower = tower.rsplit_once('.').map(|(parent, _)| parent.to_string());
        let as_one =
            whole(&vision) && !vision.is_empty() && plan.splits.iter().all(|s| !vision.contains(&s.unit));
        if let (true, Some(tower)) = (as_one, tower) {
            entries.push((tower, target(plan.assignment[vision[0]])));
        }
        let mut rotary_written = false;
        for (unit, u) in model.units.iter().enumerate() {
            if as_one && u.kind.is_vision() {
                continue;
            }
            let device = plan.assignment.get(unit).copied().unwrap_or(0);
            if !rotary_written && matches!(u.kind, UnitKind::Layer(_)) {
                rotary_written = true;
                entries.extend(model.buffers.iter().map(|b| (in_memory(&b.name), target(device))));
            }
            let cut: Vec<&Split> = plan.splits.iter().filter(|s| s.unit == unit).collect();
            let name = in_memory(&u.name);
            if cut.is_empty() {
                entries.push((name, target(device)));
                continue;
            }
            let mut written: Vec<String> = Vec::new();
            for tensor in u.tensors.iter() {
                let module = tensor.name.split_once('.').map_or(tensor.name.as_str(), |(module, _)| module);
                if !written.iter().any(|w| w == module) {
                    let away = cut.iter().find(|s| s.module == module).map_or(device, |s| s.device);
                    entries.push((format!("{name}.{module}"), target(away)));
                    written.push(module.to_string());
                }
            }
        }
        Self { entries }
    }

    /// As a JSON object: GPU ordinals as numbers, `"cpu"`, `"disk"`.
    pub fn to_json(&self) -> serde_json::Value {
        let value = |target: Target| match target {
            Target::Gpu(id) => serde_json::Value::from(id),
            Target::Cpu => "cpu".into(),
            Target::Disk => "disk".into(),
        };
        serde_json::Value::Object(self.entries.iter().map(|(name, t)| (name.clone(), value(*t))).collect())
    }
}

/// The spelling a module has in PyTorch's memory, which a `device_map` must use; transformers' own InternVL spells its
/// files differently.
fn memory_name(model: &Model, name: &str) -> String {
    if model.shape.naming.projector != "multi_modal_projector" {
        return name.to_string();
    }
    if let Some(rest) = name.strip_prefix("language_model.model.") {
        return format!("model.language_model.{rest}");
    }
    match name {
        "language_model.lm_head" => "lm_head".to_string(),
        other => format!("model.{other}"),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut depth = 0i32;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' => {
                let mut value = String::new();
                loop {
                    match chars.next() {
                        None => return Err("a name is not closed by a quote".into()),
                        Some(end) if end == c => break,
                        Some('\\') => value.extend(chars.next()),
                        Some(other) => value.push(other),
                    }
                }
                found.push(Token::Text(value));
            }
            '-' | '0'..='9' => {
                let mut digits = String::from(c);
                while let Some(d) = chars.next_if(char::is_ascii_digit) {
                    digits.push(d);
                }
                found.push(Token::Number(digits.parse().map_err(|_| format!("{digits} is not a device"))?));
            }
            c if c.is_alphabetic() || c == '_' => {
                let mut word = String::from(c);
                while let Some(d) = chars.next_if(|d| d.is_alphanumeric() || *d == '_' || *d == '.') {
                    word.push(d);
                }
                found.push(Token::Word(word));
            }
            '{' | '[' | '(' => {
                depth += 1;
                found.push(Token::Mark(c));
            }
            '}' | ']' | ')' => {
                depth -= 1;
                found.push(Token::Mark(c));
                if depth == 0 {
                    return Ok(found);
                }
            }
            ':' | ',' | '=' => found.push(Token::Mark(c)),
            c if c.is_whitespace() => {}
            other => return Err(format!("{other:?} does not belong in a device map")),
        }
        if found.len() > MOST_ENTRIES * 12 {
            return Err("there are more entries than any model has modules".into());
        }
    }
    Err("the map is not closed".into())
}

fn entries(tokens: &[Token]) -> Result<Vec<(String, Target)>, String> {
    let pairs = tokens.first() == Some(&Token::Mark('['));
    let mut at = 1;
    let mut found = Vec::new();
    let mark = |at: usize, c: char| tokens.get(at) == Some(&Token::Mark(c));
    loop {
        while mark(at, ',') {
            at += 1;
        }
        if mark(at, if pairs { ']' } else { '}' }) {
            return Ok(found);
        }
        if pairs {
            if !mark(at, '(') {
                return Err("a pair does not start with a parenthesis".into());
            }
            at += 1;
        }
        let Some(Token::Text(name)) = tokens.get(at) else {
            return Err("a module's name is missing".into());
        };
        if !mark(at + 1, if pairs { ',' } else { ':' }) {
            return Err(format!("{name:?} is not followed by a device"));
        }
        at += 2;
        let (target, next) =
            value(tokens, at).ok_or_else(|| format!("the device of {name:?} cannot be read"))?;
        found.push((name.clone(), target));
        if found.len() > MOST_ENTRIES {
            return Err("there are more entries than any model has modules".into());
        }
        at = next;
        if pairs {
            if !mark(at, ')') {
                return Err(format!("the pair of {name:?} is not closed"));
            }
            at += 1;
        }
    }
}

fn value(tokens: &[Token], at: usize) -> Option<(Target, usize)> {
    match tokens.get(at)? {
        Token::Number(id) => Some((Target::Gpu(u32::try_from(*id).ok()?), at + 1)),
        Token::Text(name) => Some((named(name)?, at + 1)),
        Token::Word(word) if word.ends_with("device") => {
            // device(type='cuda', index=1) or device('cuda:1')
            let mut next = at + 1;
            (tokens.get(next)? == &Token::Mark('(')).then_some(())?;
            let (mut kind, mut index) = (None, None);
            loop {
                next += 1;
                match tokens.get(next)? {
                    Token::Mark(')') => break,
                    Token::Text(text) => kind = Some(text.clone()),
                    Token::Number(number) => index = u32::try_from(*number).ok(),
                    _ => {}
                }
            }
            let target = match (named(&kind?)?, index) {
                (Target::Gpu(_), Some(index)) => Target::Gpu(index),
                (other, _) => other,
            };
            Some((target, next + 1))
        }
        _ => None,
    }
}

fn named(text: &str) -> Option<Target> {
    let text = text.trim();
    match text {
        "cpu" => Some(Target::Cpu),
        "disk" | "meta" => Some(Target::Disk),
        "cuda" => Some(Target::Gpu(0)),
        _ => {
            let digits = text.strip_prefix("cuda:").unwrap_or(text);
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok().map(Target::Gpu)).flatten()
        }
    }
}

/// What a map does to the units of a model, and what is wrong with it as a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The plan; a unit the map forgets is put with the unit before it.
    pub plan: Plan,
    /// Units without a device.
    pub uncovered: Vec<usize>,
    /// Buffers without a device, by name.
    pub uncovered_buffers: Vec<String>,
    /// Units that two equally exact keys send to different devices.
    pub contradicted: Vec<usize>,
    /// Keys of layers or blocks that the model does not have.
    pub phantom: Vec<String>,
    /// Keys that mean nothing here.
    pub unknown: Vec<String>,
    /// Keys that spell a module as another layout does: we understand them, PyTorch would not.
    pub foreign: Vec<String>,
    /// Keys and GPU ordinals that are not there.
    pub absent: Vec<(String, u32)>,
}

/// Reads a map for the model and the devices of a case.
pub fn resolve(map: &DeviceMap, case: &Case) -> Resolved {
    let model = &case.model;
    let mut devices = case.devices.clone();
    let mut resolved = Resolved {
        plan: Plan::new(Layout::Custom, Vec::new(), Vec::new()),
        uncovered: Vec::new(),
        uncovered_buffers: Vec::new(),
        contradicted: Vec::new(),
        phantom: Vec::new(),
        unknown: Vec::new(),
        foreign: Vec::new(),
        absent: Vec::new(),
    };
    // For every unit the most exact key so far: how exact, and its device.
    let mut chosen: Vec<Option<(usize, usize)>> = vec![None; model.units.len()];
    let mut rotary = model.buffers.is_empty();
    let mut parts: Vec<(usize, String, usize)> = Vec::new();
    let by_kind: std::collections::HashMap<UnitKind, usize> =
        model.units.iter().enumerate().map(|(index, unit)| (unit.kind, index)).collect();
    let has_vision = model.shape.vision.is_some();
    for (key, target) in &map.entries {
        let device = match target {
            Target::Gpu(id) => match presets::by_ordinal(&case.devices, *id as usize) {
                Some(device) => Some(device),
                None => {
                    resolved.absent.push((key.clone(), *id));
                    None
                }
            },
            Target::Cpu => Some(host(&mut devices, DeviceKind::Cpu, "cpu", case.host_memory)),
            Target::Disk => Some(host(&mut devices, DeviceKind::Disk, "disk", u64::MAX)),
        };
        let Some((meaning, inner)) = naming::read(key) else {
            resolved.unknown.push(key.clone());
            continue;
        };
        let layers = |unit: &usize| matches!(model.units[*unit].kind, UnitKind::Layer(_));
        let body = |unit: &usize| {
            layers(unit) || matches!(model.units[*unit].kind, UnitKind::TokenEmbedding | UnitKind::FinalNorm)
        };
        let vision = |unit: &usize| model.units[*unit].kind.is_vision();
        let blocks = |unit: &usize| matches!(model.units[*unit].kind, UnitKind::VisionBlock(_));
        let all = 0..model.units.len();
        let (units, covers_rotary): (Vec<usize>, bool) = match meaning {
            Meaning::Everything => (all.collect(), true),
            Meaning::Language => {
                (all.filter(|u| body(u) || model.units[*u].kind == UnitKind::Head).collect(), true)
            }
            Meaning::LanguageBody => (all.filter(body).collect(), true),
            Meaning::Layers => (all.filter(layers).collect(), false),
            Meaning::Vision if has_vision => (all.filter(vision).collect(), false),
            Meaning::VisionBlocks if has_vision => (all.filter(blocks).collect(), false),
            Meaning::Vision | Meaning::VisionBlocks => {
                resolved.unknown.push(key.clone());
                continue;
            }
            Meaning::Rotary => (Vec::new(), true),
            Meaning::Unit(kind) => match by_kind.get(&kind) {
                None => {
                    resolved.phantom.push(key.clone());
                    continue;
                }
                Some(&unit) => {
                    let own = memory_name(model, &model.units[unit].name);
                    let spelled_ours = key.starts_with(&own) || key.starts_with(&model.units[unit].name);
                    if !spelled_ours {
                        resolved.foreign.push(key.clone());
                    }
                    if !inner.is_empty() {
                        if let Some(device) = device {
                            parts.push((unit, inner.to_string(), device));
                        }
                        continue;
                    }
                    // A name of another layout never overrules the model's own spelling.
                    let exactness = if spelled_ours { usize::MAX } else { usize::MAX - 1 };
                    choose(&mut chosen, &mut resolved.contradicted, unit, exactness, device);
                    continue;
                }
            },
        };
        rotary |= covers_rotary;
        for unit in units {
            choose(&mut chosen, &mut resolved.contradicted, unit, key.len(), device);
        }
    }
    let assignment = place(&mut chosen, &parts, model, &mut resolved);
    if !rotary {
        resolved.uncovered_buffers = model.buffers.iter().map(|b| memory_name(model, &b.name)).collect();
    }
    let splits = std::mem::take(&mut resolved.plan.splits);
    resolved.plan = Plan { splits, ..Plan::new(Layout::Custom, devices, assignment) };
    resolved
}

fn choose(
    chosen: &mut [Option<(usize, usize)>],
    contradicted: &mut Vec<usize>,
    unit: usize,
    exactness: usize,
    device: Option<usize>,
) {
    let Some(device) = device else { return };
    match &mut chosen[unit] {
        Some((known, at)) if *known == exactness && *at != device => {
            if !contradicted.contains(&unit) {
                contradicted.push(unit);
            }
            *at = device;
        }
        Some((known, _)) if *known >= exactness => {}
        slot => *slot = Some((exactness, device)),
    }
}

/// Settles every unit: by its key, by the keys of its parts, or (forgotten) beside the unit before it.
fn place(
    chosen: &mut [Option<(usize, usize)>],
    parts: &[(usize, String, usize)],
    model: &Model,
    resolved: &mut Resolved,
) -> Vec<usize> {
    let mut assignment: Vec<usize> = Vec::with_capacity(chosen.len());
    for (unit, slot) in chosen.iter().enumerate() {
        let own: Vec<&(usize, String, usize)> = parts.iter().filter(|(u, ..)| *u == unit).collect();
        let before = assignment.last().copied().unwrap_or(0);
        let covers = |module: &str, tensor: &str| {
            tensor.strip_prefix(module).is_some_and(|r| r.is_empty() || r.starts_with('.'))
        };
        let home = match (slot, own.first()) {
            (Some((_, device)), _) => *device,
            (None, Some((_, _, device))) => {
                let tensors = model.units[unit].tensors.iter();
                let forgotten = tensors.filter(|t| !own.iter().any(|(_, module, _)| covers(module, &t.name)));
                if forgotten.count() > 0 {
                    resolved.uncovered.push(unit);
                }
                *device
            }
            (None, None) => {
                resolved.uncovered.push(unit);
                before
            }
        };
        for (_, module, device) in own.into_iter().filter(|(.., device)| *device != home) {
            let tensors = model.units[unit].tensors.iter().filter(|t| covers(module, &t.name));
            let weight_bytes = tensors.fold(0u64, |sum, t| sum.saturating_add(t.bytes(model.dtype)));
            resolved.plan.splits.push(Split { unit, module: module.clone(), device: *device, weight_bytes });
        }
        assignment.push(home);
    }
    assignment
}

fn host(devices: &mut Vec<Device>, kind: DeviceKind, name: &str, capacity: u64) -> usize {
    match devices.iter().position(|d| d.kind == kind) {
        Some(index) => index,
        None => {
            devices.push(Device::new(name, kind, capacity));
            devices.len() - 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::bytes::GIB;
    use crate::plan::{Assumptions, Dtype, Workload, catalogue, planner};
    use proptest::prelude::*;

    fn case(name: &str, gpus: usize) -> Case {
        let model = Model::new(catalogue::find(name).unwrap(), Dtype::Bf16, None);
        let devices = (0..gpus).map(|i| Device::simulated(i, 80 * GIB)).collect();
        Case::new(model, devices, Assumptions::default(), Workload::assumed(13, 4000))
    }

    #[test]
    fn reads_every_spelling_of_a_map() {
        let wanted = vec![
            ("vision_model".to_string(), Target::Gpu(0)),
            ("language_model.lm_head".to_string(), Target::Gpu(1)),
            ("mlp1".to_string(), Target::Cpu),
        ];
        for text in [
            r#"{"vision_model": 0, "language_model.lm_head": "cuda:1", "mlp1": "cpu"}"#,
            "{'vision_model': 0, 'language_model.lm_head': 1, 'mlp1': 'cpu',}",
            "INFO 2025-01-15 device_map: {'vision_model': 0, 'language_model.lm_head': device(type='cuda', index=1), 'mlp1': device(type='cpu')} loaded",
            "OrderedDict([('vision_model', 0), ('language_model.lm_head', 'cuda:1'), ('mlp1', 'cpu')])",
            "{weights} then {'vision_model': '0', 'language_model.lm_head': torch.device('cuda:1'), 'mlp1': 'cpu'}",
        ] {
            assert_eq!(DeviceMap::parse(text).unwrap().entries, wanted, "{text}");
        }
        for bad in ["", "no map", "{'a': }", "{'a': 0", "{'a': 'tpu:0'}", "{'a' 0}", "{'a': -1}", "{a: 0}"] {
            assert!(DeviceMap::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_map_written_is_the_plan_again() {
        for name in ["InternVL2-Llama3-76B", "InternVL3-8B-hf", "InternVL2-8B", "InternVL3_5-30B-A3B"] {
            let case = case(name, 4);
            for layout in Layout::NAMED {
                let Ok(plan) = planner::plan(&case, layout) else { continue };
                let map = DeviceMap::of(&plan, &case.model);
                let text = serde_json::to_string(&map.to_json()).unwrap();
                let back = resolve(&DeviceMap::parse(&text).unwrap(), &case);
                assert_eq!(back.plan.assignment, plan.assignment, "{name} {}", layout.name());
                assert_eq!(back.plan.splits, plan.splits, "{name} {}", layout.name());
                let clean =
                    back.uncovered.is_empty() && back.uncovered_buffers.is_empty() && back.unknown.is_empty();
                assert!(clean && back.foreign.is_empty(), "{name} {}: {back:?}", layout.name());
            }
        }
    }

    #[test]
    fn the_released_rule_as_it_was_printed() {
        // The map that VLMEvalKit builds for 80 layers on 8 GPUs before December 2024: phantom layers, both layouts'
        // names, and no rotary_emb.
        let mut text = String::from("{");
        let mut layer = 0;
        for (gpu, count) in [6, 11, 11, 11, 11, 11, 11, 11].into_iter().enumerate() {
            for _ in 0..count {
                text.push_str(&format!("'language_model.model.layers.{layer}': {gpu}, "));
                layer += 1;
            }
        }
        for name in [
            "vision_model",
            "mlp1",
            "language_model.model.tok_embeddings",
            "language_model.model.embed_tokens",
            "language_model.output",
            "language_model.model.norm",
            "language_model.lm_head",
            "language_model.model.layers.79",
        ] {
            text.push_str(&format!("'{name}': 0, "));
        }
        text.push('}');
        let case = case("InternVL2-Llama3-76B", 8);
        let resolved = resolve(&DeviceMap::parse(&text).unwrap(), &case);
        assert_eq!(resolved.phantom.len(), 3);
        assert_eq!(resolved.uncovered_buffers, ["language_model.model.rotary_emb"]);
        assert_eq!(resolved.foreign.len(), 2);
        assert!(resolved.uncovered.is_empty() && resolved.unknown.is_empty());
        // A dict literal keeps the last of two equal keys, and the last layer is written twice.
        assert_eq!(resolved.contradicted.len(), 1);
        let rule = planner::plan(&case, Layout::Rule(presets::Rule::InternVl)).unwrap();
        assert_eq!(resolved.plan.assignment, rule.assignment);
    }

    #[test]
    fn longest_key_wins_and_gaps_are_told() {
        let case = case("InternVL3-8B", 2);
        let map = DeviceMap::parse("{'': 0, 'language_model.model.layers': 1, 'language_model.model.layers.5': 'cpu', 'x.y': 0, 'mlp1': 7}").unwrap();
        let resolved = resolve(&map, &case);
        let at = |kind: UnitKind| resolved.plan.assignment[case.model.position(kind).unwrap()];
        assert_eq!((at(UnitKind::Head), at(UnitKind::Layer(4)), at(UnitKind::Layer(5))), (0, 1, 2));
        assert_eq!(resolved.plan.devices[2].name, "cpu");
        assert_eq!(resolved.unknown, ["x.y"]);
        assert_eq!(resolved.absent, [("mlp1".to_string(), 7)]);
        let partial = resolve(&DeviceMap::parse("{'vision_model': 0}").unwrap(), &case);
        assert_eq!(partial.uncovered.len(), 1 + 1 + 28 + 1 + 1);
        assert_eq!(partial.uncovered_buffers.len(), 1);
    }

    #[test]
    fn ordinals_are_cudas_own() {
        let mut case = case("InternVL3-8B", 2);
        for (device, name) in case.devices.iter_mut().zip(["cuda:1", "cuda:3"]) {
            *device = Device { capacity: device.capacity, ..Device::new(name, DeviceKind::Cuda, 0) };
        }
        let plan = planner::plan(&case, Layout::Auto).unwrap();
        let map = DeviceMap::of(&plan, &case.model);
        assert!(map.entries.iter().all(|(_, t)| matches!(t, Target::Gpu(1 | 3))), "{map:?}");
        assert_eq!(resolve(&map, &case).plan.assignment, plan.assignment);
    }

    proptest! {
        #[test]
        fn hostile_text_ends(text in "[\\{\\[\\('\":,a-z0-9 =\\)\\]\\}\\\\.]{0,60}") {
            if let Ok(map) = DeviceMap::parse(&text) {
                let _ = resolve(&map, &case("InternVL3-1B", 1));
            }
        }
    }
}
