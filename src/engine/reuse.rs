//! What several questions share is computed once: features of a picture, and keys and values of prompts that begin
//! alike. Both are kept within a budget of bytes, and give way where questions need the room; what was used longest ago
//! goes first. No answer depends on it.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use candle_core::Tensor;
use sha2::{Digest, Sha256};

use crate::model::{Kept, Place};
use crate::picture::tiles::{Grid, Tiling};

/// What tells a picture, cut in one way, from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PictureKey {
    content: [u8; 32],
    tiling: Tiling,
    scale: u32,
}

impl PictureKey {
    /// The key of an encoded picture, enlarged so many times and cut in this way.
    pub fn of(bytes: &[u8], tiling: Tiling, scale: u32) -> Self {
        Self { content: Sha256::digest(bytes).into(), tiling, scale }
    }
}

/// Features of a picture: parts `[tiles, tokens, hidden]` in order, and where they lie.
#[derive(Debug)]
pub struct Features {
    /// The parts.
    pub parts: Vec<Tensor>,
    /// Where they lie.
    pub place: Place,
}

/// A picture that some questions ask about.
#[derive(Debug)]
pub struct Picture {
    /// What tells it from others.
    pub key: PictureKey,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// The grid it was cut in.
    pub grid: Grid,
    /// Its tiles.
    pub tiles: usize,
    pixels: Mutex<Option<Tensor>>,
    features: OnceLock<Features>,
}

impl Picture {
    /// A picture that has been cut: pixels `[tiles, 3, side, side]`.
    pub fn new(key: PictureKey, size: (u32, u32), grid: Grid, tiles: usize, pixels: Tensor) -> Arc<Self> {
        let pixels = Mutex::new(Some(pixels));
        Arc::new(Self { key, size, grid, tiles, pixels, features: OnceLock::new() })
    }

    /// Its pixels, until there are features.
    pub fn pixels(&self) -> Option<Tensor> {
        held(&self.pixels).clone()
    }

    /// Its features, once it has been seen.
    pub fn features(&self) -> Option<&Features> {
        self.features.get()
    }

    /// Takes its features in; the pixels are needed no more.
    pub fn set_features(&self, features: Features) {
        // A picture that has been through twice has the same features.
        let _ = self.features.set(features);
        *held(&self.pixels) = None;
    }
}

/// Pictures that questions ask about, and features that are kept for questions to come.
#[derive(Debug)]
pub struct Pictures {
    inner: Mutex<Shelf>,
    /// The most that is kept on a place.
    budget: u64,
}

#[derive(Debug, Default)]
struct Shelf {
    known: HashMap<PictureKey, Weak<Picture>>,
    /// Pictures with features, the one used last at the end.
    kept: VecDeque<(Arc<Picture>, u64)>,
    /// What there is room for on places that have less of it than the budget.
    rooms: Vec<(Place, u64)>,
}

impl Shelf {
    /// Lets go of what was used longest ago on a place, until there is room for what remains.
    fn trim(&mut self, place: &Place, budget: u64) {
        let room = self.rooms.iter().find(|(known, _)| known.is(place)).map_or(budget, |(_, room)| *room);
        let lies = |picture: &Picture| picture.features().is_some_and(|seen| seen.place.is(place));
        let here = self.kept.iter().filter(|(picture, _)| lies(picture));
        let mut bytes: u64 = here.map(|(_, bytes)| bytes).sum();
        self.kept.retain(|(picture, size)| {
            let goes = bytes > room && lies(picture);
            if goes {
                bytes -= size;
            }
            !goes
        });
    }
}

impl Pictures {
    /// A shelf that keeps features of so many bytes on every place.
    pub fn new(budget: u64) -> Self {
        Self { inner: Mutex::default(), budget }
    }

    /// A picture that is known already, whether or not its features are there yet. Without a budget nothing is shared.
    pub fn find(&self, key: &PictureKey) -> Option<Arc<Picture>> {
        if self.budget == 0 {
            return None;
        }
        let mut shelf = held(&self.inner);
        if let Some(at) = shelf.kept.iter().position(|(picture, _)| picture.key == *key) {
            let used = shelf.kept.remove(at)?;
            let picture = used.0.clone();
            shelf.kept.push_back(used);
            return Some(picture);
        }
        shelf.known.get(key)?.upgrade()
    }

    /// Makes a picture known.
    pub fn add(&self, picture: &Arc<Picture>) {
        let mut shelf = held(&self.inner);
        shelf.known.insert(picture.key, Arc::downgrade(picture));
        if shelf.known.len() > 4096 {
            shelf.known.retain(|_, picture| picture.strong_count() > 0);
        }
    }

    /// Forgets a picture whose features cannot be made.
    pub fn forget(&self, key: &PictureKey) {
        held(&self.inner).known.remove(key);
    }

    /// Keeps the features of a picture, as far as the budget goes.
    pub fn keep(&self, picture: &Arc<Picture>) {
        let Some(features) = picture.features() else { return };
        let size = |part: &Tensor| (part.elem_count() * part.dtype().size_in_bytes()) as u64;
        let bytes = features.parts.iter().map(size).sum();
        let mut shelf = held(&self.inner);
        if bytes > self.budget || shelf.kept.iter().any(|(kept, _)| Arc::ptr_eq(kept, picture)) {
            return;
        }
        shelf.kept.push_back((picture.clone(), bytes));
        shelf.trim(&features.place, self.budget);
    }

    /// From now on there is room for so many bytes on a place; the budget holds all the same.
    pub fn give_way(&self, place: &Place, room: u64) {
        let mut shelf = held(&self.inner);
        shelf.rooms.retain(|(known, _)| !known.is(place));
        if room < self.budget {
            shelf.rooms.push((place.clone(), room));
            shelf.trim(place, self.budget);
        }
    }

    /// Bytes of the features that are kept.
    pub fn bytes(&self) -> u64 {
        held(&self.inner).kept.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Tiles whose features lie on a place: of pictures that are kept, and of those that questions in flight hold.
    pub fn tiles_on<'a>(&self, place: &Place, held: impl Iterator<Item = &'a Arc<Picture>>) -> usize {
        let lies = |picture: &&Arc<Picture>| picture.features().is_some_and(|seen| seen.place.is(place));
        let shelf = self::held(&self.inner);
        let tiles = |picture: &Arc<Picture>| (Arc::as_ptr(picture), picture.tiles);
        let kept = shelf.kept.iter().map(|(picture, _)| picture).filter(lies).map(tiles);
        let each: HashMap<*const Picture, usize> = kept.chain(held.filter(lies).map(tiles)).collect();
        each.values().sum()
    }

    /// Lets go of everything that is kept; what questions in flight hold stays theirs.
    pub fn clear(&self) {
        held(&self.inner).kept.clear();
    }
}

/// The tokens of a prompt, with the pictures that its image tokens stand for.
#[derive(Debug, Clone, Default)]
pub struct PromptKey {
    /// Token ids, image tokens repeated.
    pub ids: Vec<u32>,
    /// Where each picture's tokens begin and end, and which it is; in order.
    pub pictures: Vec<(Range<usize>, PictureKey)>,
    /// Rotary frequencies at its length, which some kinds of scaling go by, and what comes with them.
    pub rotary: (Vec<f32>, f32),
}

impl PromptKey {
    /// Positions at the beginning that two prompts have in common.
    fn common(&self, other: &Self) -> usize {
        if self.rotary != other.rotary {
            return 0;
        }
        let ids = self.ids.iter().zip(&other.ids).take_while(|(a, b)| a == b).count();
        let pictures = self.pictures.iter().zip(&other.pictures);
        let differs = pictures.filter(|((_, a), (_, b))| a != b).map(|((place, _), _)| place.start).next();
        ids.min(differs.unwrap_or(usize::MAX))
    }
}

/// A beginning that is, or is about to be, kept.
#[derive(Debug)]
struct Entry {
    prompt: Arc<PromptKey>,
    kept: Arc<Kept>,
    /// The row of the question that fills it, until it is whole.
    by: Option<usize>,
}

/// What is known of a prompt's beginning.
#[derive(Debug, Clone)]
pub enum Beginning {
    /// Nothing worth while.
    Unknown,
    /// So many positions are kept.
    Kept(Arc<Kept>, usize),
    /// A question in flight is about to keep so many.
    Coming(usize),
}

/// Beginnings of prompts on the places of one network.
#[derive(Debug)]
pub struct Prompts {
    entries: VecDeque<Entry>,
    budget: u64,
    /// What there is room for, at most the budget.
    room: u64,
    bytes_per_position: u64,
}

/// Positions in common that are worth a copy.
const WORTH_WHILE: usize = 8;

impl Prompts {
    /// Keeps so many bytes at most, where a position takes so many in all layers.
    pub fn new(budget: u64, bytes_per_position: u64) -> Self {
        Self { entries: VecDeque::new(), budget, room: budget, bytes_per_position }
    }

    /// The longest known beginning of a prompt, at least one position short of its end.
    pub fn find(&mut self, prompt: &PromptKey) -> Beginning {
        let length = |entry: &Entry| {
            prompt.common(&entry.prompt).min(entry.kept.positions()).min(prompt.ids.len().saturating_sub(1))
        };
        let best = |whole: bool| {
            let some = self.entries.iter().enumerate().filter(|(_, entry)| entry.by.is_none() == whole);
            some.map(|(at, entry)| (length(entry), at)).max().filter(|(length, _)| *length >= WORTH_WHILE)
        };
        let (whole, coming) = (best(true), best(false));
        match (whole, coming) {
            // Waiting is worth while for most of a prompt alone.
            (whole, Some((soon, _)))
                if soon * 2 >= prompt.ids.len() && whole.is_none_or(|(now, _)| soon > now) =>
            {
                Beginning::Coming(soon)
            }
            (Some((now, at)), _) => match self.entries.remove(at) {
                Some(entry) => {
                    let kept = entry.kept.clone();
                    self.entries.push_back(entry);
                    Beginning::Kept(kept, now)
                }
                None => Beginning::Unknown,
            },
            _ => Beginning::Unknown,
        }
    }

    /// Where the question of a row is to keep the first positions of its prompt; `None` where there is no room for them.
    pub fn begin(
        &mut self,
        prompt: &Arc<PromptKey>,
        positions: usize,
        row: usize,
        layers: usize,
    ) -> Option<Arc<Kept>> {
        let bytes = positions as u64 * self.bytes_per_position;
        // What others are about to keep stays.
        let coming: u64 = self.entries.iter().filter(|entry| entry.by.is_some()).map(|e| self.size(e)).sum();
        if positions < WORTH_WHILE || bytes.saturating_add(coming) > self.room {
            return None;
        }
        self.trim(self.room - bytes);
        let kept = Kept::new(layers, positions);
        self.entries.push_back(Entry { prompt: prompt.clone(), kept: kept.clone(), by: Some(row) });
        Some(kept)
    }

    /// From now on there is room for so many bytes; the budget holds all the same.
    pub fn give_way(&mut self, room: u64) {
        self.room = room.min(self.budget);
        self.trim(self.room);
    }

    /// Lets go of what was used longest ago, until no more than so many bytes are kept or coming.
    fn trim(&mut self, room: u64) {
        let mut bytes: u64 = self.entries.iter().map(|entry| self.size(entry)).sum();
        while bytes > room {
            let Some(oldest) = self.entries.iter().position(|entry| entry.by.is_none()) else { break };
            if let Some(entry) = self.entries.remove(oldest) {
                bytes -= self.size(&entry);
            }
        }
    }

    fn size(&self, entry: &Entry) -> u64 {
        entry.kept.positions() as u64 * self.bytes_per_position
    }

    /// The question of a row has been through, or is gone: what it kept counts from now on, if it is whole.
    pub fn end(&mut self, row: usize) {
        let Some(at) = self.entries.iter().position(|entry| entry.by == Some(row)) else { return };
        let Some(mut entry) = self.entries.remove(at) else { return };
        if !entry.kept.is_whole() {
            return;
        }
        entry.by = None;
        self.entries.push_back(entry);
        self.trim(self.room);
    }

    /// Positions of the beginnings that are kept, or are being kept by a row of which `fills` says so.
    pub fn positions(&self, fills: impl Fn(usize) -> bool) -> usize {
        let held = self.entries.iter().filter(|entry| entry.by.is_none_or(&fills));
        held.map(|entry| entry.kept.positions()).sum()
    }

    /// Bytes of the beginnings that are kept.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().filter(|entry| entry.by.is_none()).map(|entry| self.size(entry)).sum()
    }

    /// Lets go of everything that is kept.
    pub fn clear(&mut self) {
        self.entries.retain(|entry| entry.by.is_some());
    }
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn key(content: u8) -> PictureKey {
        let tiling = Tiling { side: 14, min_tiles: 1, max_tiles: 1, thumbnail: false };
        PictureKey::of(&[content], tiling, 1)
    }

    fn zeros(shape: (usize, usize, usize)) -> Tensor {
        Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
    }

    fn seen(pictures: &Pictures, content: u8, tokens: usize, place: &Place) -> Arc<Picture> {
        let grid = Grid { cols: 1, rows: 1 };
        let picture = Picture::new(key(content), (1, 1), grid, 1, zeros((1, 1, 1)));
        pictures.add(&picture);
        picture.set_features(Features { parts: vec![zeros((1, tokens, 1))], place: place.clone() });
        pictures.keep(&picture);
        picture
    }

    #[test]
    fn the_picture_used_longest_ago_goes_first() {
        let (pictures, place) = (Pictures::new(100), Place::cpu());
        let seen = |content, tokens| seen(&pictures, content, tokens, &place);
        // Features of 40 bytes each.
        for content in [1, 2] {
            drop(seen(content, 10));
        }
        assert!(pictures.find(&key(1)).is_some());
        drop(seen(3, 10));
        assert!(pictures.find(&key(2)).is_none(), "1 was used later");
        assert!(pictures.find(&key(1)).is_some() && pictures.find(&key(3)).is_some());
        // One that is larger than the budget drives nothing out, and is found as long as someone holds it.
        let large = seen(4, 26);
        assert!(pictures.find(&key(4)).is_some() && pictures.find(&key(1)).is_some());
        drop(large);
        assert!(pictures.find(&key(4)).is_none());
        // What questions need goes before, as long as they need it.
        pictures.give_way(&place, 50);
        assert!(pictures.find(&key(3)).is_none() && pictures.find(&key(1)).is_some());
        drop(seen(5, 10));
        assert!(pictures.find(&key(1)).is_none(), "there is no room for two");
        pictures.give_way(&place, u64::MAX);
        drop(seen(6, 10));
        assert!(pictures.find(&key(5)).is_some() && pictures.find(&key(6)).is_some());
        pictures.clear();
        assert!(pictures.find(&key(5)).is_none());
    }

    fn prompt(ids: &[u32], picture: Option<(Range<usize>, u8)>) -> Arc<PromptKey> {
        let pictures = picture.into_iter().map(|(place, content)| (place, key(content))).collect();
        Arc::new(PromptKey { ids: ids.to_vec(), pictures, rotary: (vec![1.0], 1.0) })
    }

    /// Says that a question of this row has kept the beginning of its prompt (of a network without layers).
    fn keep(prompts: &mut Prompts, prompt: &Arc<PromptKey>, positions: usize, row: usize) -> bool {
        let begun = prompts.begin(prompt, positions, row, 0).is_some();
        prompts.end(row);
        begun
    }

    #[test]
    fn a_beginning_reaches_as_far_as_tokens_pictures_and_rotary_agree() {
        let ids: Vec<u32> = (0..40).map(|i| if (10..20).contains(&i) { 99 } else { i }).collect();
        let mut prompts = Prompts::new(1000, 1);
        assert!(keep(&mut prompts, &prompt(&ids, Some((10..20, 1))), 30, 0));
        let found = |prompts: &mut Prompts, prompt: &PromptKey| match prompts.find(prompt) {
            Beginning::Kept(_, positions) => positions,
            _ => 0,
        };
        assert_eq!(found(&mut prompts, &prompt(&ids, Some((10..20, 1)))), 30);
        // At least one position is left to make logits from.
        assert_eq!(found(&mut prompts, &prompt(&ids[..25], Some((10..20, 1)))), 24);
        // Another picture under the same tokens.
        assert_eq!(found(&mut prompts, &prompt(&ids, Some((10..20, 2)))), 10);
        let mut other = ids.clone();
        other[22] = 7;
        assert_eq!(found(&mut prompts, &prompt(&other, Some((10..20, 1)))), 22);
        other[3] = 7;
        assert_eq!(found(&mut prompts, &prompt(&other, Some((10..20, 1)))), 0, "not worth a copy");
        let mut longer = PromptKey::clone(&prompt(&ids, Some((10..20, 1))));
        longer.rotary.0[0] = 2.0;
        assert_eq!(found(&mut prompts, &longer), 0, "turned by other angles");
    }

    #[test]
    fn beginnings_keep_to_their_budget_and_are_waited_for() {
        let ids = |from: u32| (from..from + 50).collect::<Vec<u32>>();
        let mut prompts = Prompts::new(100, 1);
        assert!(!keep(&mut prompts, &prompt(&ids(0), None), 101, 0), "larger than the budget");
        for (row, from) in [(1, 1000), (2, 2000), (3, 3000)] {
            assert!(keep(&mut prompts, &prompt(&ids(from), None), 50, row));
        }
        assert!(matches!(prompts.find(&prompt(&ids(1000), None)), Beginning::Unknown));
        assert!(matches!(prompts.find(&prompt(&ids(3000), None)), Beginning::Kept(_, 49)));
        // A question in flight that will have most of it is waited for; one that is gone is not.
        prompts.begin(&prompt(&ids(4000), None), 50, 4, 1);
        assert!(matches!(prompts.find(&prompt(&ids(4000), None)), Beginning::Coming(49)));
        let mut tail = ids(4000);
        tail.extend(0..200);
        assert!(matches!(prompts.find(&prompt(&tail, None)), Beginning::Unknown), "a small part of it");
        assert_eq!(prompts.bytes(), 50, "what is coming counts already");
        prompts.end(4);
        assert!(matches!(prompts.find(&prompt(&ids(4000), None)), Beginning::Unknown));
    }

    #[test]
    fn beginnings_give_way_where_questions_need_the_room() {
        let ids = |from: u32| (from..from + 40).collect::<Vec<u32>>();
        let kept = |prompts: &mut Prompts, from| {
            matches!(prompts.find(&prompt(&ids(from), None)), Beginning::Kept(..))
        };
        let mut prompts = Prompts::new(100, 1);
        for (row, from) in [(1, 1000), (2, 2000)] {
            assert!(keep(&mut prompts, &prompt(&ids(from), None), 40, row));
        }
        prompts.give_way(79);
        assert!(!kept(&mut prompts, 1000) && kept(&mut prompts, 2000));
        assert!(keep(&mut prompts, &prompt(&ids(3000), None), 40, 3), "one goes for another");
        assert!(!kept(&mut prompts, 2000) && kept(&mut prompts, 3000));
        // What a question in flight is about to keep has its room.
        assert!(prompts.begin(&prompt(&ids(4000), None), 40, 4, 1).is_some());
        assert!(prompts.begin(&prompt(&ids(5000), None), 40, 5, 1).is_none());
        prompts.end(4);
        prompts.give_way(0);
        assert_eq!(prompts.bytes(), 0);
        assert!(!keep(&mut prompts, &prompt(&ids(6000), None), 40, 6));
        prompts.give_way(u64::MAX);
        assert!(
            !keep(&mut prompts, &prompt(&(0..101).collect::<Vec<u32>>(), None), 101, 7),
            "the budget holds"
        );
        assert!(keep(&mut prompts, &prompt(&ids(7000), None), 40, 8));
    }
}
