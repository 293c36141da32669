//! Where accelerate would put a model: its budget and its fill, as they really work, defects included.
//!
//! Source: huggingface/accelerate `src/accelerate/utils/modeling.py` (1.15.0), `get_balanced_memory`,
//! `infer_auto_device_map` and what they call. It knows weights only; a device that it has closed is never opened again.

use std::collections::{HashMap, HashSet, VecDeque};

use super::device::{Device, DeviceKind};
use super::layout::{Layout, Plan, Split};
use super::planner::Case;
use super::presets::{gpus, no_gpu};
use super::unit::{Model, UnitKind};
use crate::{Problem, Result};

/// Which budget goes before the fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `auto` and `balanced`.
    Balanced,
    /// `balanced_low_0`.
    LowZero,
    /// `sequential`: none.
    Sequential,
}

/// A module of the tree accelerate walks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Module {
    /// Its own name, the last part of its path.
    pub name: String,
    /// Its class, where that decides whether it may be split.
    pub class: String,
    /// Direct parameters: name and bytes.
    pub parameters: Vec<(String, u64)>,
    /// Direct buffers: name and bytes.
    pub buffers: Vec<(String, u64)>,
    /// Submodules in the order of registration.
    pub children: Vec<Module>,
    /// Leaf modules inside that are not listed as children, with their bytes: what a block stands for that is never
    /// looked into.
    pub inner_leaves: (u64, u64),
}

impl Module {
    /// A module with one parameter.
    pub fn leaf(name: &str, bytes: u64) -> Self {
        Self { name: name.into(), parameters: vec![("weight".into(), bytes)], ..Self::default() }
    }

    /// A module of submodules.
    pub fn parent(name: &str, class: &str, children: Vec<Module>) -> Self {
        Self { name: name.into(), class: class.into(), children, ..Self::default() }
    }
}

/// A device as accelerate names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A GPU by its id.
    Gpu(u32),
    /// Host memory.
    Cpu,
    /// Disk, which takes everything.
    Disk,
}

/// Where things went.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// Module or tensor paths and their places, not folded, in the order of placing.
    pub map: Vec<(String, Place)>,
    /// Bytes placed on each place, without what was kept free.
    pub used: Vec<(Place, u64)>,
    /// Places of the modules that were placed whole, by their number in the tree.
    modules: Vec<Option<Place>>,
}

#[derive(Debug)]
struct Node {
    path: String,
    class: String,
    parameters: Vec<(String, u64)>,
    buffers: Vec<(String, u64)>,
    children: Vec<usize>,
    size: i128,
    inner_leaves: (u64, u64),
    /// Whether it is never split: it has no children, or its class stays whole.
    whole: bool,
    /// Whether there is any tensor in it that is counted here.
    full: bool,
}

/// The tree with sizes, the tied parameters and the classes that stay whole.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    ties: Vec<Vec<String>>,
    whole: Vec<String>,
}

impl Tree {
    /// Prepares a tree whose root is `root`. `ties` are groups of parameter paths that share memory (counted once, for the
    /// first), `whole` are the classes that may not be split.
    pub fn new(root: &Module, ties: &[Vec<String>], whole: &[&str]) -> Self {
        let whole = whole.iter().map(|class| class.to_string()).collect();
        let mut tree = Self { nodes: Vec::new(), ties: ties.to_vec(), whole };
        tree.insert(root, "");
        tree
    }

    fn insert(&mut self, module: &Module, path: &str) -> usize {
        let index = self.nodes.len();
        let below = |name: &str| join(path, name);
        let second = |full: &String| self.ties.iter().any(|group| group.iter().skip(1).any(|p| p == full));
        let own: i128 = module
            .parameters
            .iter()
            .filter(|(name, _)| self.ties.is_empty() || !second(&below(name)))
            .chain(&module.buffers)
            .map(|(_, bytes)| i128::from(*bytes))
            .sum();
        self.nodes.push(Node {
            path: path.to_string(),
            class: module.class.clone(),
            parameters: module.parameters.clone(),
            buffers: module.buffers.clone(),
            children: Vec::new(),
            size: own,
            inner_leaves: module.inner_leaves,
            whole: module.children.is_empty() || self.whole.contains(&module.class),
            full: !module.buffers.is_empty()
                || module.inner_leaves.0 > 0
                || module.parameters.iter().any(|(name, _)| self.ties.is_empty() || !second(&below(name))),
        });
        for child in &module.children {
            let child_index = self.insert(child, &join(path, &child.name));
            self.nodes[index].children.push(child_index);
            let (size, full) = (self.nodes[child_index].size, self.nodes[child_index].full);
            self.nodes[index].size += size;
            self.nodes[index].full |= full;
        }
        self.nodes[index].size += i128::from(module.inner_leaves.1);
        index
    }

    /// The budget: caps for each place, smaller where it balances. `given` tells that the caps are the user's own rather
    /// than the free memory found. The error is accelerate's own crash.
    pub fn budget(&self, caps: &[(Place, u64)], low_zero: bool, given: bool) -> Result<Vec<(Place, u64)>> {
        let mut caps = caps.to_vec();
        caps.sort_by_key(|&(place, _)| place);
        let mut low_zero = low_zero;
        let count = caps.iter().filter(|(place, cap)| matches!(place, Place::Gpu(_)) && *cap > 0).count();
        if count == 0 {
            return Ok(caps);
        }
        if count == 1 {
            low_zero = false;
            if !given
                && let Some((_, cap)) = caps.iter_mut().find(|(place, _)| matches!(place, Place::Gpu(_)))
            {
                *cap = (*cap as f64 * 0.9) as u64;
            }
        }
        let total = self.nodes[0].size;
        let mut per = total / (if low_zero { count - 1 } else { count }) as i128;
        // The first module met of every class that stays whole, in the order of registration.
        let mut met: Vec<(&str, i128)> = Vec::new();
        for node in self.nodes.iter().skip(1).filter(|n| n.size > 0) {
            if self.whole.contains(&node.class) && !met.iter().any(|(class, _)| *class == node.class) {
                met.push((&node.class, node.size));
            }
        }
        let block = met.iter().map(|&(_, size)| size).max().unwrap_or(0);
        let (mut leaves, mut leaf_bytes) = (0u64, 0i128);
        for node in self.nodes.iter().skip(1) {
            if node.inner_leaves.0 > 0 {
                leaves += node.inner_leaves.0;
                leaf_bytes += i128::from(node.inner_leaves.1);
            } else if node.full && !node.children.iter().any(|&c| self.nodes[c].full) {
                leaves += 1;
                leaf_bytes += node.size;
            }
        }
        let mean = (leaf_bytes as f64 / leaves.max(1) as f64) as i128;
        per += (1.25 * block.max(mean) as f64) as i128;
        let ids: Vec<u32> = caps
            .iter()
            .filter_map(|&(place, cap)| match place {
                Place::Gpu(id) if cap > 0 => Some(id),
                _ => None,
            })
            .collect();
        let cap_of =
            |caps: &[(Place, u64)], id: u32| caps.iter().find(|(p, _)| *p == Place::Gpu(id)).map(|&(_, c)| c);
        let crash = || {
            Problem::new("accelerate itself fails here: KeyError: 0")
                .fix("balanced_low_0 reads GPUs by number and breaks where ids have gaps; use another layout")
        };
        for &id in ids.iter().take(ids.len().saturating_sub(1)) {
            let wanted =
                if low_zero && id == 0 { i128::from(cap_of(&caps, 0).ok_or_else(crash)?) } else { per };
            for (place, cap) in &mut caps {
                if *place == Place::Gpu(id) {
                    *cap = u64::try_from(wanted.max(0)).unwrap_or(u64::MAX).min(*cap);
                }
            }
        }
        if low_zero {
            let mut others = 0i128;
            for id in 1..count as u32 {
                others += i128::from(cap_of(&caps, id).ok_or_else(crash)?);
            }
            let zero = cap_of(&caps, 0).ok_or_else(crash)?;
            let least = u64::try_from((total - others).max(0)).unwrap_or(u64::MAX);
            if let Some((_, cap)) = caps.iter_mut().find(|(p, _)| *p == Place::Gpu(0)) {
                *cap = least.min(zero);
            }
        }
        Ok(caps)
    }

    /// The fill: modules in order, devices in order, never back.
    pub fn fill(&self, caps: &[(Place, u64)]) -> Placement {
        let mut caps = caps.to_vec();
        caps.sort_by_key(|&(place, _)| place);
        Fill::new(self, caps).run()
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

/// Whether `name` lies in the module `path`, or is it.
fn within(name: &str, path: &str) -> bool {
    name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[derive(Debug, Clone)]
enum Item {
    Module(usize),
    Tensor(String, i128),
}

struct Fill<'t> {
    tree: &'t Tree,
    places: Vec<(Place, Option<i128>)>,
    main: Vec<Place>,
    queue: VecDeque<Item>,
    largest: i128,
    largest_names: HashSet<usize>,
}

impl<'t> Fill<'t> {
    fn new(tree: &'t Tree, caps: Vec<(Place, u64)>) -> Self {
        let mut places: Vec<(Place, Option<i128>)> =
            caps.iter().map(|&(p, cap)| (p, Some(i128::from(cap)))).collect();
        if let Some(disk) = places.iter_mut().find(|(p, _)| *p == Place::Disk) {
            disk.1 = None;
        } else {
            places.push((Place::Disk, None));
        }
        let first_gpu = places.iter().map(|&(p, _)| p).find(|p| matches!(p, Place::Gpu(_)));
        let root = &tree.nodes[0];
        let mut queue: VecDeque<Item> = root
            .parameters
            .iter()
            .map(|(name, bytes)| Item::Tensor(name.clone(), i128::from(*bytes)))
            .collect();
        queue.extend(root.children.iter().map(|&child| Item::Module(child)));
        queue.extend(root.buffers.iter().map(|(name, bytes)| Item::Tensor(name.clone(), i128::from(*bytes))));
        let main = first_gpu.into_iter().chain([Place::Cpu]).collect();
        let mut fill = Self { tree, places, main, queue, largest: 0, largest_names: HashSet::new() };
        fill.find_largest();
        fill
    }

    fn name<'i>(&self, item: &'i Item) -> &'i str
    where
        't: 'i,
    {
        match item {
            Item::Module(node) => &self.tree.nodes[*node].path,
            Item::Tensor(name, _) => name,
        }
    }

    fn size(&self, item: &Item) -> i128 {
        match item {
            Item::Module(node) => self.tree.nodes[*node].size,
            Item::Tensor(_, size) => *size,
        }
    }

    /// The largest indivisible module still waiting, and all that are as large.
    fn find_largest(&mut self) {
        self.largest = 0;
        self.largest_names.clear();
        let mut open: Vec<usize> = self
            .queue
            .iter()
            .rev()
            .filter_map(|item| if let Item::Module(n) = item { Some(*n) } else { None })
            .collect();
        while let Some(node) = open.pop() {
            if !self.tree.nodes[node].whole {
                open.extend(self.tree.nodes[node].children.iter().rev());
                continue;
            }
            let size = self.tree.nodes[node].size;
            if size > self.largest {
                self.largest = size;
                self.largest_names.clear();
            }
            if size == self.largest {
                self.largest_names.insert(node);
            }
        }
    }

    /// Modules outside `name` that share parameters with it: what placing them along costs, and which they are.
    fn tied_outside(&self, name: &str) -> (i128, Vec<Item>) {
        let (mut extra, mut partners) = (0, Vec::new());
        for group in &self.tree.ties {
            if !group.iter().any(|p| within(p, name)) || group.iter().all(|p| within(p, name)) {
                continue;
            }
            for (position, parameter) in group.iter().enumerate().filter(|(_, p)| !within(p, name)) {
                let holder = self.queue.iter().find(|item| {
                    let path = self.name(item);
                    parameter.len() > path.len() && within(parameter, path)
                });
                let Some(holder) = holder else { continue };
                // Counted for the first of the group only.
                let shared = if position == 0 { self.parameter_size(parameter) } else { 0 };
                extra += self.size(holder) - shared;
                partners.push(holder.clone());
            }
        }
        (extra, partners)
    }

    fn parameter_size(&self, full: &str) -> i128 {
        let (module, name) = full.rsplit_once('.').unwrap_or(("", full));
        let node = self.tree.nodes.iter().find(|n| n.path == module);
        let own = node.and_then(|n| n.parameters.iter().find(|(own, _)| own == name));
        own.map_or(0, |(_, bytes)| i128::from(*bytes))
    }

    /// Replaces a module by its direct parameters and its children. Direct buffers are lost, as in the original.
    fn parts(&self, node: usize) -> Vec<Item> {
        let n = &self.tree.nodes[node];
        let second = |full: &String| self.tree.ties.iter().any(|g| g.iter().skip(1).any(|p| p == full));
        let parameters = n.parameters.iter().map(|(name, bytes)| {
            let full = join(&n.path, name);
            let bytes = if second(&full) { 0 } else { i128::from(*bytes) };
            Item::Tensor(full, bytes)
        });
        parameters.chain(n.children.iter().map(|&c| Item::Module(c))).collect()
    }

    fn splittable(&self, item: &Item) -> Option<usize> {
        match item {
            Item::Module(node) if !self.tree.nodes[*node].whole => Some(*node),
            _ => None,
        }
    }

    fn run(mut self) -> Placement {
        let mut map = Vec::new();
        let mut modules = vec![None; self.tree.nodes.len()];
        let mut used: Vec<i128> = vec![0; self.places.len()];
        let mut placed: Vec<i128> = vec![0; self.places.len()];
        let mut device = 0;
        while let Some(item) = self.queue.pop_front() {
            let name = self.name(&item).to_string();
            let tree = self.tree;
            match item {
                Item::Module(node) if tree.nodes[node].whole => _ = self.largest_names.remove(&node),
                Item::Module(_) => self.largest_names.retain(|&node| !within(&tree.nodes[node].path, &name)),
                Item::Tensor(..) => {}
            }
            if self.largest_names.is_empty() {
                self.find_largest();
            }
            let size = self.size(&item);
            let (place, cap) = self.places[device];
            let kept = if self.main.contains(&place) { self.largest } else { 0 };
            let room = cap.map(|cap| cap - kept);
            let (tied_size, partners) = self.tied_outside(&name);
            if room.is_none_or(|room| used[device] + size + tied_size <= room) {
                used[device] += size + tied_size;
                placed[device] += size + tied_size;
                map.push((name, place));
                if let Item::Module(node) = item {
                    modules[node] = Some(place);
                }
                for partner in partners {
                    if let Item::Module(node) = partner {
                        modules[node] = Some(place);
                    }
                    let partner_name = self.name(&partner).to_string();
                    if let Some(at) = self.queue.iter().position(|waiting| self.name(waiting) == partner_name)
                    {
                        self.queue.remove(at);
                    }
                    if !map.iter().any(|(known, _)| *known == partner_name) {
                        map.push((partner_name, place));
                    }
                }
                continue;
            }
            let room = room.unwrap_or(i128::MAX);
            if !partners.is_empty() && used[device] + size <= room {
                let breakable =
                    partners.iter().find_map(|p| self.splittable(p).map(|node| (p.clone(), node)));
                if let Some((partner, node)) = breakable {
                    let partner_name = self.name(&partner).to_string();
                    let parts = self.parts(node);
                    if let Some(at) = self.queue.iter().position(|waiting| self.name(waiting) == partner_name)
                    {
                        self.queue.remove(at);
                        for (offset, part) in parts.into_iter().enumerate() {
                            self.queue.insert(at + offset, part);
                        }
                    }
                    self.queue.push_front(item);
                    self.find_largest();
                    continue;
                }
            }
            if used[device] + size >= room
                && let Some(node) = self.splittable(&item)
            {
                for part in self.parts(node).into_iter().rev() {
                    self.queue.push_front(part);
                }
                self.find_largest();
                continue;
            }
            used[device] += kept;
            device = (device + 1).min(self.places.len() - 1);
            self.queue.push_front(item);
        }
        let used = self.places.iter().zip(placed).filter(|(_, bytes)| *bytes > 0);
        Placement {
            map,
            modules,
            used: used.map(|(&(place, _), bytes)| (place, u64::try_from(bytes).unwrap_or(0))).collect(),
        }
    }
}

const BLOCK: &str = "block";
const VISION_BLOCK: &str = "vision-block";
const TOWER: &str = "tower";

/// The module tree of a model as its PyTorch class registers it. The remote-code class registers the projector last
/// although it runs right after the vision tower, and lists the whole tower as a class that stays whole.
pub fn tree_of(model: &Model) -> (Module, Vec<String>) {
    let remote = model.shape.naming.projector == "mlp1";
    let mut root = Module::default();
    let mut paths = vec![String::new(); model.units.len()];
    let mut order: Vec<usize> = (0..model.units.len()).collect();
    if remote {
        order.sort_by_key(|&unit| (model.units[unit].kind == UnitKind::Projector, unit));
    }
    for unit in order {
        let u = &model.units[unit];
        let path = in_memory(&u.name);
        let parts: Vec<&str> = path.split('.').collect();
        let mut at = &mut root;
        for (depth, part) in parts.iter().enumerate() {
            // Units come in order, so a module already there is the last one.
            if at.children.last().is_none_or(|child| child.name != *part) {
                at.children.push(Module { name: part.to_string(), ..Module::default() });
            }
            let position = at.children.len() - 1;
            if depth == 0 && remote && u.kind.is_vision() {
                at.children[position].class = TOWER.into();
            }
            at = &mut at.children[position];
        }
        match u.kind {
            UnitKind::Layer(_) => at.class = BLOCK.into(),
            UnitKind::VisionBlock(_) if !remote => at.class = VISION_BLOCK.into(),
            _ => {}
        }
        if matches!(u.kind, UnitKind::Layer(_) | UnitKind::VisionBlock(_)) {
            // Never looked into: only its size and its leaves count.
            let direct: u64 =
                u.tensors.iter().filter(|t| !t.name.contains('.')).map(|t| t.bytes(model.dtype)).sum();
            let leaves = u.tensors.iter().filter(|t| t.name.contains('.'));
            let mut names: Vec<&str> = Vec::new();
            let mut count = 0u64;
            for tensor in leaves {
                let module = tensor.name.rsplit_once('.').map_or("", |(module, _)| module);
                if names.last() != Some(&module) {
                    names.push(module);
                    count += tensor.repeat;
                }
            }
            at.inner_leaves = (count, u.weight_bytes.saturating_sub(direct));
            at.parameters.push(("direct".into(), direct));
        } else {
            for tensor in u.tensors.iter() {
                let scaled = if u.tied_with.is_some() { 0 } else { tensor.bytes(model.dtype) };
                match tensor.name.split_once('.') {
                    None => at.parameters.push((tensor.name.clone(), scaled)),
                    Some((child, parameter)) => {
                        if at.children.last().is_none_or(|c| c.name != child) {
                            at.children.push(Module { name: child.into(), ..Module::default() });
                        }
                        if let Some(last) = at.children.last_mut() {
                            last.parameters.push((parameter.into(), scaled));
                        }
                    }
                }
            }
        }
        paths[unit] = path;
    }
    (root, paths)
}

/// The path of a unit in the model's memory, where it differs from the name in the files.
fn in_memory(name: &str) -> String {
    if name.starts_with("vision_tower.") || name.starts_with("multi_modal_projector") {
        return format!("model.{name}");
    }
    name.to_string()
}

/// Where accelerate would put the model of a case.
pub fn plan(case: &Case, mode: Mode) -> Result<Plan> {
    plans(case, &[mode]).and_then(|mut made| made.pop().unwrap_or_else(|| Err(no_gpu("accelerate"))))
}

/// A model's tree, made once; the devices do not matter to it.
#[derive(Debug)]
pub(super) struct Prepared {
    tree: Tree,
    /// Path of each unit.
    paths: Vec<String>,
    /// Modules from each unit outwards, by their number in the tree.
    around: Vec<Vec<usize>>,
}

impl Prepared {
    /// Prepares a model.
    pub(super) fn new(model: &Model) -> Self {
        let (root, mut paths) = tree_of(model);
        let native = model.shape.naming.projector == "multi_modal_projector";
        let root = if native { native_tree(root, &mut paths) } else { root };
        let tied = model.units.iter().enumerate().filter_map(|(unit, u)| Some((u.tied_with?, unit)));
        let ties: Vec<Vec<String>> = tied
            .map(|(first, second)| [first, second].map(|unit| format!("{}.weight", paths[unit])).to_vec())
            .collect();
        let tree = Tree::new(&root, &ties, &[TOWER, VISION_BLOCK, BLOCK]);
        let by_path: HashMap<&str, usize> =
            tree.nodes.iter().enumerate().map(|(node, n)| (n.path.as_str(), node)).collect();
        let outwards = |path: &String| -> Vec<usize> {
            let parents = std::iter::successors(Some(path.as_str()), |p| match p.rsplit_once('.') {
                Some((parent, _)) => Some(parent),
                None if p.is_empty() => None,
                None => Some(""),
            });
            parents.filter_map(|p| by_path.get(p).copied()).collect()
        };
        let around = paths.iter().map(outwards).collect();
        Self { tree, paths, around }
    }
}

/// The same in several modes, preparing the model once.
pub fn plans(case: &Case, modes: &[Mode]) -> Result<Vec<Result<Plan>>> {
    let gpus = gpus(&case.devices);
    if gpus.is_empty() {
        return Err(no_gpu("accelerate"));
    }
    let prepared = case.prepared_for_accelerate();
    let mut caps: Vec<(Place, u64)> =
        gpus.iter().enumerate().map(|(id, &g)| (Place::Gpu(id as u32), case.devices[g].free())).collect();
    caps.push((Place::Cpu, case.host_memory));
    let one = |mode: &Mode| -> Result<Plan> {
        let caps = match mode {
            Mode::Sequential => caps.clone(),
            _ => prepared.tree.budget(&caps, *mode == Mode::LowZero, false)?,
        };
        Ok(as_plan(case, *mode, &gpus, prepared, &prepared.tree.fill(&caps)))
    };
    Ok(modes.iter().map(one).collect())
}

fn as_plan(case: &Case, mode: Mode, gpus: &[usize], prepared: &Prepared, placement: &Placement) -> Plan {
    let model = &case.model;
    let layout = match mode {
        Mode::Balanced => Layout::Accelerate,
        Mode::LowZero => Layout::AccelerateBalancedLow0,
        Mode::Sequential => Layout::AccelerateSequential,
    };
    let mut devices = case.devices.clone();
    let mut host =
        |kind: DeviceKind, name: &str, capacity: u64| match devices.iter().position(|d| d.kind == kind) {
            Some(index) => index,
            None => {
                devices.push(Device::new(name, kind, capacity));
                devices.len() - 1
            }
        };
    let mut device_of = |place: Place| match place {
        Place::Gpu(id) => gpus[id as usize],
        Place::Cpu => host(DeviceKind::Cpu, "cpu", case.host_memory),
        Place::Disk => host(DeviceKind::Disk, "disk", u64::MAX),
    };
    let mut assignment = vec![gpus[0]; model.units.len()];
    let mut splits = Vec::new();
    for (unit, path) in prepared.paths.iter().enumerate() {
        // The module of the unit, or the nearest around it, that was placed whole.
        if let Some(place) = prepared.around[unit].iter().find_map(|&node| placement.modules[node]) {
            assignment[unit] = device_of(place);
            continue;
        }
        let inside: Vec<(&str, usize)> = placement
            .map
            .iter()
            .filter(|(entry, _)| within(entry, path))
            .map(|(entry, place)| (entry[path.len()..].trim_start_matches('.'), device_of(*place)))
            .collect();
        let Some(&(_, home)) = inside.first() else { continue };
        assignment[unit] = home;
        for (module, device) in inside.into_iter().filter(|&(_, device)| device != home) {
            let tensors = model.units[unit].tensors.iter().filter(|t| within(&t.name, module));
            let weight_bytes = tensors.map(|t| t.bytes(model.dtype)).sum();
            splits.push(Split { unit, module: module.to_string(), device, weight_bytes });
        }
    }
    let mut plan = Plan::new(layout, devices, assignment);
    plan.splits = splits;
    plan
}

/// transformers' own InternVL keeps tower, projector and decoder below `model` and the head beside it.
fn native_tree(mut root: Module, paths: &mut [String]) -> Module {
    let mut take = |name: &str| {
        let at = root.children.iter().position(|c| c.name == name)?;
        Some(root.children.remove(at))
    };
    let mut model = take("model").unwrap_or_else(|| Module::parent("model", "", Vec::new()));
    let mut head = None;
    if let Some(mut language) = take("language_model") {
        if let Some(at) = language.children.iter().position(|c| c.name == "lm_head") {
            head = Some(language.children.remove(at));
        }
        if let Some(at) = language.children.iter().position(|c| c.name == "model") {
            let mut body = language.children.remove(at);
            body.name = "language_model".into();
            model.children.push(body);
        }
    }
    for path in paths {
        if let Some(rest) = path.strip_prefix("language_model.model.") {
            *path = format!("model.language_model.{rest}");
        } else if path == "language_model.lm_head" {
            *path = "lm_head".into();
        }
    }
    let mut children = vec![model];
    children.extend(head);
    Module { children, ..Module::default() }
}
