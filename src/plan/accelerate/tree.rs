//! The tree of modules that accelerate walks, with sizes, and the budget that it makes of it.

use super::fill::Fill;
use crate::{Problem, Result};

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
    pub(super) modules: Vec<Option<Place>>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) path: String,
    pub(super) class: String,
    pub(super) parameters: Vec<(String, u64)>,
    pub(super) buffers: Vec<(String, u64)>,
    pub(super) children: Vec<usize>,
    pub(super) size: i128,
    inner_leaves: (u64, u64),
    /// Whether it is never split: it has no children, or its class stays whole.
    pub(super) whole: bool,
    /// Whether there is any tensor in it that is counted here.
    full: bool,
}

/// The tree with sizes, the tied parameters and the classes that stay whole.
#[derive(Debug)]
pub struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) ties: Vec<Vec<String>>,
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

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

/// Whether `name` lies in the module `path`, or is it.
pub(super) fn within(name: &str, path: &str) -> bool {
    name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
