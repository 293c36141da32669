//! A model as the tree of modules that its PyTorch class registers.

use std::collections::HashMap;

use super::tree::{Module, Tree};
use crate::plan::unit::{Model, UnitKind};

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

/// A model's tree, made once; the devices do not matter to it.
#[derive(Debug)]
pub(in crate::plan) struct Prepared {
    pub(in crate::plan) tree: Tree,
    /// Path of each unit.
    pub(in crate::plan) paths: Vec<String>,
    /// Modules from each unit outwards, by their number in the tree.
    pub(in crate::plan) around: Vec<Vec<usize>>,
}

impl Prepared {
    /// Prepares a model.
    pub(in crate::plan) fn new(model: &Model) -> Self {
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
