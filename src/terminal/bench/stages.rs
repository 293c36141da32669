//! Stages on simulated devices, a thread each: what it is worth that they work at once.
//!
//! Questions of a tile, a prompt and some tokens each go through the same stages twice: at once, a few in flight, none of
//! their passes shared; and one stage after the other, by one thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{Device, Tensor};
use crossbeam_channel::unbounded;

use super::token;
use crate::checkpoint::{Checkpoint, UnitKind};
use crate::cli::BenchArgs;
use crate::engine::stages::{Done, Gate, Pass, Stages};
use crate::model::{Cache, Loading, Network, Place, Placement, RowPass, Span, TilePass, Wanted, WeightType};
use crate::{Problem, Result};

/// Seconds for all questions.
pub struct Round {
    /// All stages at once.
    pub at_once: f64,
    /// One stage after the other.
    pub in_turn: f64,
}

/// Questions for each device.
const QUESTIONS_EACH: usize = 4;

/// The network over so many simulated devices, of which each has its share of the vision side and of the decoder.
///
/// # Errors
/// As [`Network::load`].
pub fn network(checkpoint: &Checkpoint, devices: usize, weight_type: WeightType) -> Result<Network> {
    let places =
        (0..devices).map(|i| Place::simulated(format!("sim:{i}"), 1 << 40)).collect::<Result<Vec<_>>>()?;
    let sides = |kind: UnitKind| {
        matches!(kind, UnitKind::VisionEmbeddings | UnitKind::VisionBlock | UnitKind::Projector)
    };
    let mut of = HashMap::new();
    for vision in [true, false] {
        let units: Vec<_> = checkpoint.units.iter().filter(|unit| sides(unit.kind) == vision).collect();
        let total: u64 = units.iter().map(|unit| unit.bytes()).sum();
        let mut before = 0;
        for unit in units {
            let middle = before + unit.bytes() / 2;
            of.insert(unit.name.clone(), (middle * devices as u64 / total.max(1)) as usize);
            before += unit.bytes();
        }
    }
    let placement = Placement::new(places, of)?;
    let mut loading = Loading { place: &|unit| placement.of(unit), weight_type, progress: &mut |_| true };
    Network::load(checkpoint, &mut loading)
}

/// One question: its passes follow each other.
struct Question {
    cache: Cache,
    /// Tokens of the answer that are still to be made.
    left: usize,
    seen: bool,
}

impl Question {
    fn new(network: &Network, args: &BenchArgs) -> Self {
        let cache = network.cache(args.prompt_tokens + args.new_tokens);
        Self { cache, left: args.new_tokens, seen: false }
    }

    /// Its next pass.
    fn next(&mut self, network: &Network, args: &BenchArgs) -> Result<Option<Pass>> {
        let config = network.config();
        let vocabulary = config.decoder.vocab;
        if !self.seen {
            self.seen = true;
            let side = config.vision.image_side;
            let pixels = Tensor::rand(-1f32, 1.0, (args.tiles, 3, side, side), &Device::Cpu)?;
            return Ok(Some(Pass::Tiles(TilePass::new(&[pixels])?)));
        }
        let (count, first) = match self.cache.length {
            0 => (args.prompt_tokens, true),
            _ if self.left == 0 => return Ok(None),
            _ => (1, false),
        };
        let ids = (0..count).map(|i| token(self.left + i, vocabulary)).collect();
        let span = Span { ids, wanted: Wanted::Last, ..Span::of(&self.cache, count) };
        self.cache.length += count;
        self.left -= usize::from(!first);
        // No id is an image token here.
        let pass = if first { RowPass::prompts(vec![span], u32::MAX) } else { RowPass::tokens(vec![span]) };
        Ok(Some(Pass::Rows(pass)))
    }
}

/// Answers all questions in both ways.
///
/// # Errors
/// As the network's, or the system gives no threads.
pub fn round(network: &Arc<Network>, args: &BenchArgs) -> Result<Round> {
    let count = QUESTIONS_EACH * network.route().places().len();
    Ok(Round { at_once: at_once(network, args, count)?, in_turn: in_turn(network, args, count)? })
}

fn in_turn(network: &Arc<Network>, args: &BenchArgs, count: usize) -> Result<f64> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|e| Problem::new(format!("the system gives no thread: {e}")))?;
    let start = Instant::now();
    pool.install(|| -> Result<()> {
        for _ in 0..count {
            let mut question = Question::new(network, args);
            while let Some(mut pass) = question.next(network, args)? {
                while pass.next(network).is_some() {
                    pass.advance(network, &mut || true)?;
                }
            }
        }
        Ok(())
    })?;
    Ok(start.elapsed().as_secs_f64())
}

fn at_once(network: &Arc<Network>, args: &BenchArgs, count: usize) -> Result<f64> {
    let (done, finished) = unbounded();
    let places = network.route().places().len();
    let stages = Stages::start(network.clone(), places, &Arc::<Gate>::default(), &done)?;
    let start = Instant::now();
    let mut waiting: Vec<Question> = (0..count).map(|_| Question::new(network, args)).collect();
    let mut in_flight: HashMap<u64, Question> = HashMap::new();
    let mut tickets = 0;
    loop {
        while in_flight.len() < 2 * places
            && let Some(mut question) = waiting.pop()
        {
            if let Some(pass) = question.next(network, args)? {
                tickets += 1;
                in_flight.insert(tickets, question);
                stages.send(tickets, pass, Arc::default());
            }
        }
        if in_flight.is_empty() {
            return Ok(start.elapsed().as_secs_f64());
        }
        let Ok(Done { ticket, outcome }) = finished.recv() else {
            return Err(Problem::new("the stages ended without a word"));
        };
        outcome?;
        let Some(mut question) = in_flight.remove(&ticket) else { continue };
        if let Some(pass) = question.next(network, args)? {
            in_flight.insert(ticket, question);
            stages.send(ticket, pass, Arc::default());
        }
    }
}
