//! Passes: tiles and rows on their way from place to place.
//!
//! The units of the vision side, and those of the decoder, fall into segments: consecutive units on one place. A pass
//! goes through them one after the other; who takes it from place to place is not its concern. The rows of a pass may
//! belong to several questions: linear layers, norms and activations work on all of them at once, rotary positions and
//! attention on each question's own.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Result, Tensor};

use super::cache::{Cache, Kept, LayerCache};
use super::decoder::{LayerSpan, Rows};
use super::host::Kernel;
use super::network::Network;
use super::place::Place;
use super::rotary::Rotary;
use crate::devices::Part;

/// Consecutive units of a side on one place.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Where they lie.
    pub place: Place,
    /// Which units of the side, in execution order. Vision: embeddings, blocks, projector. Decoder: embedding, layers,
    /// norm, head.
    pub units: Range<usize>,
}

/// The segments of a network, in execution order.
#[derive(Debug, Clone)]
pub struct Route {
    /// From pixels to image features.
    pub vision: Vec<Segment>,
    /// From tokens to logits.
    pub decoder: Vec<Segment>,
}

impl Route {
    /// Every place once, in the order in which the route comes to them.
    pub fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        for segment in self.vision.iter().chain(&self.decoder) {
            if !places.iter().any(|place| place.is(&segment.place)) {
                places.push(segment.place.clone());
            }
        }
        places
    }
}

/// Parts units into segments.
pub(super) fn segments<'a>(units: impl Iterator<Item = &'a Place>) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for (unit, place) in units.enumerate() {
        match segments.last_mut().filter(|segment| segment.place.is(place)) {
            Some(segment) => segment.units.end = unit + 1,
            None => segments.push(Segment { place: place.clone(), units: unit..unit + 1 }),
        }
    }
    segments
}

/// Tiles on their way through the vision side; they do not see each other.
#[derive(Debug)]
pub struct TilePass {
    x: Tensor,
    /// Tiles of each part.
    counts: Vec<usize>,
    features: Vec<Tensor>,
    next: usize,
}

impl TilePass {
    /// Pixels `[tiles, 3, side, side]` in host memory, in parts that are wanted apart.
    ///
    /// # Errors
    /// No parts, or tiles of different sizes.
    pub fn new(parts: &[Tensor]) -> Result<Self> {
        let x = match parts {
            [one] => one.clone(),
            several => Tensor::cat(several, 0)?,
        };
        let counts = parts.iter().map(|part| part.dim(0)).collect::<Result<_>>()?;
        Ok(Self { x, counts, features: Vec::new(), next: 0 })
    }

    /// Where it is to be taken next; `None` where it is through.
    pub fn next<'a>(&self, network: &'a Network) -> Option<&'a Place> {
        network.route().vision.get(self.next).map(|segment| &segment.place)
    }

    /// Whether it has been through all segments.
    pub fn is_done(&self, network: &Network) -> bool {
        self.next(network).is_none()
    }

    /// Goes through the next segment, asking before every block whether to go on; `false` where it was abandoned.
    ///
    /// # Errors
    /// Shapes that do not fit together, or no memory.
    pub fn advance(&mut self, network: &Network, go_on: &mut dyn FnMut() -> bool) -> Result<bool> {
        let segments = &network.route().vision;
        let Some(Segment { place, units }) = segments.get(self.next) else { return Ok(true) };
        let before = self.next.checked_sub(1).and_then(|before| segments.get(before)).map(|s| &s.place);
        self.x = place.receive(&self.x, before)?;
        let blocks = &network.vision_blocks;
        for unit in units.clone() {
            if (1..=blocks.len()).contains(&unit) && !go_on() {
                return Ok(false);
            }
            self.x = place.work(Part::Activation, || match unit.checked_sub(1) {
                None => network.vision_embeddings.unit.forward(&self.x),
                Some(block) => match blocks.get(block) {
                    Some(block) => block.unit.forward(&self.x),
                    None => network.projector.unit.forward(&self.x),
                },
            })?;
        }
        self.next += 1;
        if self.next == segments.len() {
            self.features = place.work(Part::Activation, || self.parted())?;
        }
        Ok(true)
    }

    /// Features of each part; a view would keep those of all.
    fn parted(&self) -> Result<Vec<Tensor>> {
        let mut from = 0;
        let part = |count: &usize| {
            from += count;
            self.x.narrow(0, from - count, *count)?.force_contiguous()
        };
        match self.counts.as_slice() {
            [_] => Ok(vec![self.x.clone()]),
            several => several.iter().map(part).collect(),
        }
    }

    /// The image features `[tiles, tokens, hidden]` of each part, once it is done; they lie where the projector does.
    pub fn features(self) -> Vec<Tensor> {
        self.features
    }
}

/// For which rows of a span logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// None: more of the prompt follows.
    Nothing,
    /// The last.
    Last,
    /// Every one, which only a comparison with a reference asks for.
    Every,
}

/// Consecutive rows of one question.
#[derive(Debug, Clone)]
pub struct Span {
    /// The question's keys and values.
    pub layers: Arc<[LayerCache]>,
    /// Positions that these have room for.
    pub capacity: usize,
    /// Position of the first row.
    pub first: usize,
    /// How many rows.
    pub count: usize,
    /// Tokens of the text that these rows belong to, as far as it is known.
    pub length: usize,
    /// The rows' tokens; empty where they are embedded already.
    pub ids: Vec<u32>,
    /// Features (`[n, hidden]`) of the image tokens among them, in order, and where they lie.
    pub pictures: Vec<(Tensor, Place)>,
    /// For which rows logits are wanted.
    pub wanted: Wanted,
    /// Where the beginning of the prompt is kept for others, once this span has been through a layer.
    pub keep: Option<Arc<Kept>>,
}

impl Span {
    /// The next `count` rows of the question with this cache.
    pub fn of(cache: &Cache, count: usize) -> Self {
        Self {
            layers: cache.layers.clone(),
            capacity: cache.capacity,
            first: cache.length,
            count,
            length: cache.length + count,
            ids: Vec::new(),
            pictures: Vec::new(),
            wanted: Wanted::Nothing,
            keep: None,
        }
    }
}

/// Rows of several questions on their way through the decoder. One that failed half way can be made anew from its
/// spans: what it has stored is stored again.
#[derive(Debug)]
pub struct RowPass {
    spans: Vec<Span>,
    kernel: Kernel,
    image_token: u32,
    state: State,
    next: usize,
}

#[derive(Debug)]
enum State {
    /// Nothing but their ids.
    Ids,
    /// Hidden states `[1, rows, hidden]`.
    Hidden(Tensor),
    /// Logits of the wanted rows.
    Logits(Vec<Vec<f32>>),
}

impl RowPass {
    /// Parts of prompts.
    pub fn prompts(spans: Vec<Span>, image_token: u32) -> Self {
        Self { spans, kernel: Kernel::Many, image_token, state: State::Ids, next: 0 }
    }

    /// One token each of several answers.
    pub fn tokens(spans: Vec<Span>) -> Self {
        Self { spans, kernel: Kernel::Few, image_token: 0, state: State::Ids, next: 0 }
    }

    /// Part of a prompt whose embeddings `[1, rows, hidden]` are made already, on the embedding's place.
    pub(super) fn embedded(span: Span, embeddings: Tensor) -> Self {
        let state = State::Hidden(embeddings);
        Self { spans: vec![span], kernel: Kernel::Many, image_token: 0, state, next: 0 }
    }

    /// Where it is to be taken next; `None` where it is through.
    pub fn next<'a>(&self, network: &'a Network) -> Option<&'a Place> {
        match self.state {
            State::Logits(_) => None,
            _ => network.route().decoder.get(self.next).map(|segment| &segment.place),
        }
    }

    /// Whether it has been through all segments that it needs.
    pub fn is_done(&self, network: &Network) -> bool {
        self.next(network).is_none()
    }

    /// What it is made of.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Logits of the wanted rows, in order, once it is done.
    pub fn logits(self) -> Vec<Vec<f32>> {
        match self.state {
            State::Logits(logits) => logits,
            _ => Vec::new(),
        }
    }

    /// Goes through the next segment, asking before every layer whether to go on; `false` where it was abandoned.
    ///
    /// # Errors
    /// A cache that is too small, ids outside the vocabulary, or no memory.
    pub fn advance(&mut self, network: &Network, go_on: &mut dyn FnMut() -> bool) -> Result<bool> {
        let segments = &network.route().decoder;
        let Some(Segment { place, units }) = segments.get(self.next) else { return Ok(true) };
        let before = self.next.checked_sub(1).and_then(|before| segments.get(before)).map(|s| &s.place);
        let mut x = match std::mem::replace(&mut self.state, State::Ids) {
            State::Ids => None,
            State::Hidden(x) => Some(place.receive(&x, before.or(Some(place)))?),
            logits => {
                self.state = logits;
                return Ok(true);
            }
        };
        let mut tables: Option<Rotary> = None;
        let layers = &network.layers;
        for unit in units.clone() {
            let Some(layer) = unit.checked_sub(1) else {
                if x.is_none() {
                    x = Some(self.embed(network, place)?);
                }
                continue;
            };
            let Some(before) = x.take() else { candle_core::bail!("rows that nothing has embedded") };
            if let Some(unit) = layers.get(layer) {
                if !go_on() {
                    return Ok(false);
                }
                let rotary = match &mut tables {
                    Some(tables) => tables,
                    none => none.insert(self.rotary(network, place, unit.unit.dtype())?),
                };
                let rows = self.rows(layer, rotary);
                let mut after = place.work(Part::Activation, || unit.unit.forward(&before, &rows))?;
                for span in &self.spans {
                    if let Some(keep) = &span.keep {
                        keep.fill(layer, &span.layers[layer]);
                    }
                }
                if layer + 1 == layers.len() {
                    match place.work(Part::Activation, || self.wanted(&after))? {
                        Some(wanted) => after = wanted,
                        None => {
                            self.state = State::Logits(Vec::new());
                            return Ok(true);
                        }
                    }
                }
                x = Some(after);
            } else if layer == layers.len() {
                x = Some(place.work(Part::Activation, || network.norm.unit.forward(&before))?);
            } else {
                // Logits are made with one kernel for prompts and answers alike: there are few of them.
                let logits = place.work(Part::Activation, || {
                    network.head.unit.forward(&before, Kernel::Few)?.to_dtype(DType::F32)
                })?;
                self.state = State::Logits(logits.squeeze(0)?.to_vec2()?);
                return Ok(true);
            }
        }
        if let Some(x) = x {
            self.state = State::Hidden(x);
        }
        self.next += 1;
        Ok(true)
    }

    fn embed(&self, network: &Network, place: &Place) -> Result<Tensor> {
        let mut parts = Vec::with_capacity(self.spans.len());
        for span in &self.spans {
            parts.extend(network.embed_rows(&span.ids, self.image_token, &span.pictures)?);
        }
        place.work(Part::Activation, || match parts.as_slice() {
            [one] => one.unsqueeze(0),
            _ => Tensor::cat(&parts, 0)?.unsqueeze(0),
        })
    }

    fn rotary(&self, network: &Network, place: &Place, dtype: DType) -> Result<Rotary> {
        if let Some(span) = self.spans.iter().find(|span| span.first + span.count > span.capacity) {
            let needed = span.first + span.count;
            candle_core::bail!("the cache has room for {} positions, not {needed}", span.capacity);
        }
        let spans = self.spans.iter().map(|span| (span.first..span.first + span.count, span.length));
        let rope = &network.config().decoder.rope;
        place.work(Part::Activation, || Rotary::new(rope, spans, dtype, place.device()))
    }

    fn rows<'a>(&'a self, layer: usize, rotary: &'a Rotary) -> Rows<'a> {
        let span =
            |span: &'a Span| LayerSpan { cache: &span.layers[layer], first: span.first, count: span.count };
        Rows { kernel: self.kernel, rotary, spans: self.spans.iter().map(span).collect() }
    }

    /// The wanted rows of final hidden states; `None` where there are none.
    fn wanted(&self, hidden: &Tensor) -> Result<Option<Tensor>> {
        let mut parts = Vec::new();
        let mut from = 0;
        for span in &self.spans {
            match span.wanted {
                Wanted::Nothing => {}
                Wanted::Last => parts.push(hidden.narrow(1, from + span.count - 1, 1)?),
                Wanted::Every => parts.push(hidden.narrow(1, from, span.count)?),
            }
            from += span.count;
        }
        match parts.as_slice() {
            [] => Ok(None),
            [whole] if whole.dims() == hidden.dims() => Ok(Some(hidden.clone())),
            [one] => one.force_contiguous().map(Some),
            _ => Tensor::cat(&parts, 1).map(Some),
        }
    }
}
