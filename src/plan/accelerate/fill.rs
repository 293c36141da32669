//! accelerate's fill: modules in order, devices in order, never back.

use std::collections::{HashSet, VecDeque};

use super::tree::{Place, Placement, Tree, join, within};

#[derive(Debug, Clone)]
enum Item {
    Module(usize),
    Tensor(String, i128),
}

pub(super) struct Fill<'t> {
    tree: &'t Tree,
    places: Vec<(Place, Option<i128>)>,
    main: Vec<Place>,
    queue: VecDeque<Item>,
    largest: i128,
    largest_names: HashSet<usize>,
}

impl<'t> Fill<'t> {
    pub(super) fn new(tree: &'t Tree, caps: Vec<(Place, u64)>) -> Self {
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

    pub(super) fn run(mut self) -> Placement {
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
