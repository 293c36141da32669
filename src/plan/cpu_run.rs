//! Temporary memory of this engine on the CPU, and so on simulated devices: counted step by step from the forward
//! passes in `model`, as what is alive at each step.
//!
//! Everything is computed in 32-bit floats, whatever the weights are stored in; sizes here are numbers of such floats
//! until [`Work::bytes`] gives bytes. Each function names the steps of the code that it follows, in its order; a value
//! that the code keeps to the end of a function is kept here too.

use super::shape::{DecoderShape, DecoderStyle, ModelShape, ProjectorShape, VisionShape};

/// Words of a line that a matrix product takes at a time (`host::many`); here a word holds one number, also where pairs of
/// bf16 are multiplied, which take a little less.
const PART: u64 = 1024;
/// Lines that are multiplied at a time.
const ROWS: u64 = 2048;
/// Words that a thread packs at a time, and columns of a panel.
const SLAB: u64 = 1 << 16;
const PANEL: u64 = 32;
/// Words that are turned at a time.
const TURNED: u64 = 8 * 256;
/// Scores that one thread holds at a time, as far as the block's limits let it (`host::attention`).
const BLOCK_SCORES: u64 = 1 << 17;
/// Queries of a block.
const BLOCK_QUERIES: std::ops::RangeInclusive<u64> = 12..=96;
/// What a tensor takes besides its numbers, in floats: its shape, its counts of users and its lock, some 260 bytes.
const TENSOR: u64 = 65;

/// Kinds of work with temporary memory of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Pixels to patches.
    VisionEmbeddings,
    /// A block of the vision tower.
    VisionBlock,
    /// Patches to tokens.
    Projector,
    /// Tokens to rows.
    TokenEmbedding,
    /// A layer without or with experts.
    Layer {
        /// Whether it has experts.
        experts: bool,
    },
    /// The last norm, on one row.
    FinalNorm,
    /// The head, on one row.
    Head,
}

impl Work {
    /// Whether it is done before the prompt is read, when there are no keys and values yet.
    pub fn is_before_reading(self) -> bool {
        matches!(self, Work::VisionEmbeddings | Work::VisionBlock | Work::Projector)
    }
}

/// How much goes through at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Batch {
    /// Tiles.
    pub tiles: u64,
    /// Rows of prompts.
    pub rows: u64,
    /// Positions that the last of these rows sees; of several prompts, those of the longest.
    pub keys: u64,
    /// Whether there are pictures in the prompts.
    pub pictures: bool,
    /// Prompts that the rows are of.
    pub prompts: u64,
    /// Rows that meet the head.
    pub wanted: u64,
}

/// What is alive, and the most that ever was.
#[derive(Debug, Default)]
struct Alive {
    now: u64,
    most: u64,
}

impl Alive {
    /// A tensor comes to life and stays.
    fn keep(&mut self, floats: u64) {
        self.now = self.now.saturating_add(floats).saturating_add(TENSOR);
        self.most = self.most.max(self.now);
    }

    /// Something that is gone again at the end of the step.
    fn pass(&mut self, floats: u64) {
        self.most = self.most.max(self.now.saturating_add(floats));
    }

    /// A tensor is dropped.
    fn drop(&mut self, floats: u64) {
        self.now = self.now.saturating_sub(floats.saturating_add(TENSOR));
    }
}

/// The numbers that decide what this engine holds.
#[derive(Debug, Clone)]
pub struct CpuRun {
    vision: Option<(VisionShape, ProjectorShape)>,
    decoder: DecoderShape,
    tokens_per_tile: u64,
    threads: u64,
}

/// Words of a line of a product, with what lies between lines.
fn line(words: u64) -> u64 {
    (words.div_ceil(16) | 1) * 16
}

fn times(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product, factor| product.saturating_mul(*factor))
}

impl CpuRun {
    /// For a model that is run with so many threads for each place.
    pub fn new(shape: &ModelShape, threads: u64) -> Self {
        Self {
            vision: shape.vision.clone(),
            decoder: shape.decoder.clone(),
            tokens_per_tile: shape.tokens_per_tile,
            threads: threads.max(1),
        }
    }

    /// Bytes that a kind of work holds at its peak, what it is given and what it gives included.
    pub fn bytes(&self, work: Work, batch: Batch) -> u64 {
        let mut alive = Alive::default();
        match (work, &self.vision) {
            (Work::VisionEmbeddings, Some((vision, _))) => self.patches(&mut alive, vision, batch.tiles),
            (Work::VisionBlock, Some((vision, _))) => self.block(&mut alive, vision, batch.tiles),
            (Work::Projector, Some((vision, projector))) => {
                self.project(&mut alive, vision, projector, batch.tiles);
            }
            (Work::VisionEmbeddings | Work::VisionBlock | Work::Projector, None) => {}
            (Work::TokenEmbedding, _) => {
                let rows = times(&[batch.rows, self.decoder.hidden]);
                alive.keep(rows);
                if batch.pictures || batch.prompts > 1 {
                    // The parts, and the rows that they are put together to.
                    alive.keep(rows);
                }
            }
            (Work::Layer { experts }, _) => self.layer(&mut alive, experts, batch),
            // The last rows and what they become.
            (Work::FinalNorm, _) => {
                alive.keep(times(&[batch.wanted, self.decoder.hidden]));
                alive.keep(times(&[batch.wanted, self.decoder.hidden]));
            }
            (Work::Head, _) => {
                let (hidden, logits) = (self.decoder.hidden, self.decoder.vocab);
                alive.keep(times(&[batch.wanted, hidden]));
                // Their numbers in the order of the weights.
                alive.pass(times(&[batch.wanted, hidden.saturating_add(logits)]));
                alive.keep(times(&[batch.wanted, logits]));
            }
        }
        alive.most.saturating_mul(4)
    }

    /// Bytes of the features of so many tiles.
    pub fn features(&self, tiles: u64) -> u64 {
        times(&[tiles, self.tokens_per_tile, self.decoder.hidden, 4])
    }

    /// Bytes of what a pass hands on from the last of these kinds of work on a device: blocks or features of tiles, hidden
    /// states of rows. It stays there until the next device has taken a copy.
    pub fn handed_on(&self, work: Work, batch: Batch) -> u64 {
        let floats = match (work, &self.vision) {
            (Work::VisionEmbeddings | Work::VisionBlock, Some((vision, _))) => {
                times(&[batch.tiles, vision.positions, vision.hidden])
            }
            (Work::Projector, _) => return self.features(batch.tiles),
            (Work::TokenEmbedding | Work::Layer { .. }, _) => times(&[batch.rows, self.decoder.hidden]),
            _ => 0,
        };
        floats.saturating_mul(4)
    }

    /// `Linear::forward` over many rows: its result stays, the scratch of the product passes.
    fn linear(&self, alive: &mut Alive, rows: u64, inputs: u64, outputs: u64) {
        alive.keep(rows.saturating_mul(outputs));
        let part = inputs.min(PART);
        let most = (SLAB / part.max(1) / PANEL).max(1) * PANEL;
        let slab = most.min(outputs.div_ceil(self.threads).next_multiple_of(PANEL));
        let packed = times(&[part, slab]).saturating_add(TURNED.min(part.saturating_mul(8)));
        let packed = packed.saturating_mul(self.threads.min(outputs.div_ceil(slab.max(1))));
        alive.pass(times(&[rows.min(ROWS), line(part)]).saturating_add(packed));
    }

    /// What `attention` of some sequences holds meanwhile: a head's keys and values and a block's scores, for every thread.
    fn attention(
        &self,
        sequences: u64,
        (heads, kv_heads): (u64, u64),
        queries: u64,
        keys: u64,
        width: u64,
    ) -> u64 {
        let block = (BLOCK_SCORES / keys.max(1)).clamp(*BLOCK_QUERIES.start(), *BLOCK_QUERIES.end());
        let block = queries.div_ceil(queries.div_ceil(block).max(1)).next_multiple_of(*BLOCK_QUERIES.start());
        let blocks = times(&[sequences, heads, queries.div_ceil(block.max(1))]);
        let kept = [width.next_multiple_of(PANEL), keys.next_multiple_of(PANEL)];
        let packed = times(&[kept[1], width]).saturating_add(times(&[kept[0], keys]));
        let scores = times(&[block.min(queries), line(kept[1]).saturating_add(line(width.min(PART)))]);
        let tasks =
            times(&[sequences, kv_heads, (self.threads * 2).div_ceil(times(&[sequences, kv_heads]).max(1))]);
        times(&[self.threads.min(tasks).min(blocks), packed.saturating_add(scores)])
    }

    /// `VisionEmbeddings::forward`.
    fn patches(&self, alive: &mut Alive, vision: &VisionShape, tiles: u64) {
        let pixels = times(&[tiles, 3, vision.image_size, vision.image_size]);
        let patches = vision.positions.saturating_sub(u64::from(vision.class_token));
        let all = times(&[tiles, vision.positions, vision.hidden]);
        let patch = times(&[3, vision.patch_size, vision.patch_size]);
        alive.keep(pixels);
        // Pixels in the order of patches.
        alive.keep(pixels);
        self.linear(alive, tiles.saturating_mul(patches), patch, vision.hidden);
        // With the class token; with positions.
        alive.keep(all);
        alive.keep(all);
    }

    /// `VisionBlock::forward`.
    fn block(&self, alive: &mut Alive, vision: &VisionShape, tiles: u64) {
        let rows = tiles.saturating_mul(vision.positions);
        let all = rows.saturating_mul(vision.hidden);
        let hidden = rows.saturating_mul(vision.ff);
        alive.keep(all);
        // norm1, q and k and v in one or three, their norms, attention, projection.
        alive.keep(all);
        self.linear(alive, rows, vision.hidden, vision.hidden.saturating_mul(3));
        if vision.qk_norm {
            alive.keep(all);
            alive.pass(all);
            alive.keep(all);
        }
        let seen = vision.positions;
        alive.keep(all);
        let width = vision.hidden / vision.heads.max(1);
        alive.pass(self.attention(tiles, (vision.heads, vision.heads), seen, seen, width));
        self.linear(alive, rows, vision.hidden, vision.hidden);
        let normed = if vision.qk_norm { all.saturating_mul(2) } else { 0 };
        // The sum takes the projection's place; norm1, qkv and what attention gave are gone.
        alive.drop(all.saturating_mul(5).saturating_add(normed));
        // norm2 until fc1 is done, then fc2.
        alive.keep(all);
        self.linear(alive, rows, vision.hidden, vision.ff);
        alive.drop(all);
        self.linear(alive, rows, vision.ff, vision.hidden);
        alive.drop(hidden);
    }

    /// `Projector::forward`.
    fn project(&self, alive: &mut Alive, vision: &VisionShape, projector: &ProjectorShape, tiles: u64) {
        let rows = tiles.saturating_mul(self.tokens_per_tile);
        let tokens = rows.saturating_mul(projector.input);
        alive.keep(times(&[tiles, vision.positions, vision.hidden]));
        // Patches without the class token side by side (of one tile they are already), then shuffled.
        let apart = if tiles > 1 { tokens } else { 0 };
        alive.keep(apart);
        alive.keep(tokens);
        alive.drop(apart);
        alive.keep(tokens);
        self.linear(alive, rows, projector.input, projector.middle);
        alive.drop(tokens);
        self.linear(alive, rows, projector.middle, self.decoder.hidden);
    }

    /// `RowPass::advance` through one layer: `DecoderLayer::forward` with the rotary tables.
    fn layer(&self, alive: &mut Alive, experts: bool, batch: Batch) {
        let d = &self.decoder;
        let rows = batch.rows;
        let hidden = rows.saturating_mul(d.hidden);
        let (q, kv) = (d.heads.saturating_mul(d.head_dim), d.kv_heads.saturating_mul(d.head_dim));
        let (q_all, kv_all) = (rows.saturating_mul(q), rows.saturating_mul(kv));
        // Tables grow as they are filled, so each ends at a power of two.
        let table = rows.saturating_mul(d.head_dim / 2).checked_next_power_of_two().unwrap_or(u64::MAX);
        alive.keep(table.saturating_mul(2));
        alive.keep(hidden);
        let given = alive.now;

        // The norm, q, k and v, the cache's copies, attention, projection.
        alive.keep(hidden);
        match d.style {
            DecoderStyle::Phi3 | DecoderStyle::Internlm2 => {
                self.linear(alive, rows, d.hidden, q.saturating_add(kv.saturating_mul(2)));
            }
            _ => {
                self.linear(alive, rows, d.hidden, q);
                self.linear(alive, rows, d.hidden, kv);
                self.linear(alive, rows, d.hidden, kv);
            }
        }
        if d.style == DecoderStyle::Internlm2 {
            // A group's query heads lie together: their rows are copied.
            alive.keep(q_all);
        }
        if d.qk_norm {
            // Old and new for a moment; then only the new.
            alive.pass(q_all.saturating_add(kv_all));
        }
        let fused = matches!(d.style, DecoderStyle::Phi3);
        if fused {
            alive.pass(q_all.saturating_mul(2));
        }
        alive.keep(q_all.saturating_add(kv_all));
        alive.pass(kv_all);
        // Of several prompts one after the other, then put together.
        alive.keep(q_all);
        alive.pass(self.attention(1, (d.heads, d.kv_heads), rows.min(batch.keys), batch.keys, d.head_dim));
        if batch.prompts > 1 {
            alive.pass(q_all);
        }
        self.linear(alive, rows, q, d.hidden);
        // The sum takes the projection's place.
        alive.now = given.saturating_add(hidden);

        alive.keep(hidden);
        match d.experts.filter(|_| experts) {
            Some(e) => {
                // Router, the sum, and one expert after the other; at worst one sees every row.
                alive.keep(rows.saturating_mul(e.count));
                alive.keep(hidden.saturating_mul(2));
                alive.keep(hidden);
                let width = e.ff.max(e.shared_ff);
                self.linear(alive, rows, d.hidden, width);
                self.linear(alive, rows, d.hidden, width);
                self.linear(alive, rows, width, d.hidden);
                alive.pass(hidden);
            }
            None => {
                let wide = rows.saturating_mul(d.ff);
                if d.style == DecoderStyle::Phi3 {
                    self.linear(alive, rows, d.hidden, d.ff.saturating_mul(2));
                    // Gate and up apart.
                    alive.keep(wide);
                    alive.pass(wide);
                } else {
                    self.linear(alive, rows, d.hidden, d.ff);
                    self.linear(alive, rows, d.hidden, d.ff);
                    alive.drop(wide);
                }
                self.linear(alive, rows, d.ff, d.hidden);
            }
        }
    }
}
