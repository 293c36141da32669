//! What units cost, in bytes: weights and cache add up, temporary memory is the largest of what runs on a device.
//!
//! The coefficients are counted from the forward passes (see `shape`); every component is kept apart so that it can be
//! held against a measurement and corrected (`calibration`).

use super::assumptions::{Assumptions, AttentionKind, Engine, Logits};
use super::calibration::{Calibration, Component};
use super::cpu_run::{Batch, CpuRun, Work};
use super::device::{Device, DeviceKind};
use super::unit::{Model, Transient, UnitKind};
use super::workload::Workload;

/// Up to this share of usable memory a plan fits with comfort; above it the verdict is "tight".
pub const COMFORTABLE_SHARE: f64 = 0.95;

/// Units of one temporary-memory class; a device's temporary memory is the largest of the classes it holds.
#[derive(Debug, Clone, PartialEq)]
struct Class {
    component: Component,
    transient: Transient,
    work: Work,
}

/// The costs of a model's units under given assumptions.
#[derive(Debug, Clone)]
pub struct CostTable {
    classes: Vec<Class>,
    class_of: Vec<u8>,
    weights: Vec<u64>,
    tied: Option<(usize, usize)>,
    kv: Vec<u64>,
    windowed: Vec<bool>,
    window: u64,
    element: u64,
    tile_batch: u64,
    chunk: u64,
    attention: AttentionKind,
    logits: Logits,
    in_flight: u64,
    max_new_tokens: u64,
    calibration: Calibration,
    /// Counts temporary memory where this engine runs on the CPU.
    cpu: Option<CpuRun>,
}

/// What one device holds of a plan: everything that a question's peak is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holding {
    /// Weights, in bytes.
    pub weights: u64,
    /// Bytes of keys and values a token, of layers that look at everything.
    pub kv_per_token: u64,
    /// The same, of layers with a sliding window.
    pub kv_windowed: u64,
    classes: u64,
}

/// What a device holds at one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Moment {
    /// Weights.
    pub weights: u64,
    /// Keys and values at the longest answer.
    pub kv: u64,
    /// The largest temporary memory.
    pub activation: u64,
}

impl Moment {
    /// All of it.
    pub fn peak(&self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.activation)
    }
}

/// Temporary memory of each class at one question; see [`CostTable::at`].
pub struct Activations {
    bytes: [u64; CLASS_LIMIT],
    /// Features of the tiles that wait while the last batch of tiles is on its way, and of all tiles.
    features: [u64; 2],
    /// What others in flight have on their way meanwhile.
    others: Batch,
}

const CLASS_LIMIT: usize = 16;

impl CostTable {
    /// Costs of a model's units under these assumptions, corrected by what was measured before.
    pub fn new(model: &Model, assumptions: &Assumptions, calibration: &Calibration) -> Self {
        let mut table = Self {
            classes: Vec::new(),
            class_of: Vec::with_capacity(model.units.len()),
            weights: Vec::with_capacity(model.units.len()),
            tied: model.units.iter().enumerate().find_map(|(unit, u)| Some((unit, u.tied_with?))),
            kv: Vec::with_capacity(model.units.len()),
            windowed: Vec::with_capacity(model.units.len()),
            window: model.units.iter().filter_map(|u| u.kv_window).max().unwrap_or(u64::MAX),
            element: model.dtype.element_bytes(),
            tile_batch: assumptions.tile_batch.value.unwrap_or(u64::MAX).max(1),
            chunk: assumptions.prefill_chunk.value.unwrap_or(u64::MAX).max(1),
            attention: assumptions.attention.value,
            logits: assumptions.logits.value,
            in_flight: assumptions.in_flight.value.max(1),
            max_new_tokens: assumptions.max_new_tokens.value,
            calibration: calibration.clone(),
            cpu: match assumptions.engine.value {
                Engine::Gpu => None,
                Engine::Cpu { threads } => Some(CpuRun::new(&model.shape, threads)),
            },
        };
        for unit in &model.units {
            let component = match unit.kind {
                UnitKind::VisionEmbeddings | UnitKind::VisionBlock(_) | UnitKind::Projector => {
                    Component::Vision
                }
                UnitKind::Head => Component::Head,
                _ => Component::Prefill,
            };
            let class = Class { component, transient: unit.transient, work: work(model, unit.kind) };
            let index = match table.classes.iter().position(|known| *known == class) {
                Some(index) => index,
                None if table.classes.len() < CLASS_LIMIT => {
                    table.classes.push(class);
                    table.classes.len() - 1
                }
                None => CLASS_LIMIT - 1,
            };
            table.class_of.push(index as u8);
            table.weights.push(calibration.apply(Component::Weights, unit.weight_bytes));
            table.kv.push(unit.kv_bytes_per_token);
            table.windowed.push(unit.kv_window.is_some());
        }
        table
    }

    /// The same costs where so many questions are in flight.
    pub fn in_company(&self, questions: u64) -> Self {
        Self { in_flight: questions.max(1), ..self.clone() }
    }

    /// The longest answer assumed, in tokens.
    pub fn answer_limit(&self) -> u64 {
        self.max_new_tokens
    }

    /// Number of units.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether there are no units.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// Weights of a unit, in bytes.
    pub fn weights(&self, unit: usize) -> u64 {
        self.weights.get(unit).copied().unwrap_or(0)
    }

    /// Adds a unit to what a device holds.
    pub fn add(&self, holding: &mut Holding, unit: usize) {
        holding.weights = holding.weights.saturating_add(self.weights[unit]);
        if self.windowed[unit] {
            holding.kv_windowed = holding.kv_windowed.saturating_add(self.kv[unit]);
        } else {
            holding.kv_per_token = holding.kv_per_token.saturating_add(self.kv[unit]);
        }
        holding.classes |= 1 << self.class_of[unit];
    }

    /// What each of `devices` devices holds under an assignment of units to devices.
    pub fn holdings(&self, assignment: &[usize], devices: usize) -> Vec<Holding> {
        let mut holdings = vec![Holding::default(); devices];
        for (unit, &device) in assignment.iter().enumerate().take(self.len()) {
            if let Some(holding) = holdings.get_mut(device) {
                self.add(holding, unit);
            }
        }
        // A tied head away from the embedding needs a copy of it.
        if let Some((head, embedding)) = self.tied
            && let (Some(&away), Some(&home)) = (assignment.get(head), assignment.get(embedding))
            && away != home
            && let Some(holding) = holdings.get_mut(away)
        {
            holding.weights = holding.weights.saturating_add(self.weights[embedding]);
        }
        holdings
    }

    /// Bytes of keys and values of a holding while a question of so many prompt tokens and `answer` tokens of answer is
    /// in flight (as many such questions as may be in flight).
    pub fn kv_bytes(&self, holding: &Holding, prompt: u64, answer: u64) -> u64 {
        let tokens = prompt.saturating_add(answer);
        let all = holding.kv_per_token.saturating_mul(tokens);
        let recent = holding.kv_windowed.saturating_mul(tokens.min(self.window));
        self.calibration.apply(Component::Kv, all.saturating_add(recent).saturating_mul(self.in_flight))
    }

    /// Bytes of keys and values of a holding for one question, whatever else is in flight.
    pub fn kv_of_one(&self, holding: &Holding, prompt: u64, answer: u64) -> u64 {
        self.kv_bytes(holding, prompt, answer) / self.in_flight
    }

    /// Bytes of image features that stay on a device while a question is answered, where that is known to be so.
    pub fn features_kept(&self, holding: &Holding, tiles: u64) -> u64 {
        let projects = |(index, class): (usize, &Class)| {
            class.work == Work::Projector && holding.classes >> index & 1 == 1
        };
        let here = self.classes.iter().enumerate().any(projects);
        self.cpu.as_ref().filter(|_| here).map_or(0, |run| run.features(tiles))
    }

    /// Temporary memory of every class at a question.
    pub fn at(&self, tiles: u64, prompt: u64) -> Activations {
        self.at_part((tiles, tiles), (prompt, prompt))
    }

    /// The same where only so many of its tiles have still to be seen, and so many of its tokens to be read.
    pub fn at_part(&self, (tiles, unseen): (u64, u64), (prompt, unread): (u64, u64)) -> Activations {
        let mut bytes = [0; CLASS_LIMIT];
        for (class, slot) in self.classes.iter().zip(&mut bytes) {
            let counted = match &self.cpu {
                None => self.transient_bytes(&class.transient, tiles, prompt),
                Some(_) if class.work.is_before_reading() && unseen == 0 => 0,
                Some(run) => run.bytes(class.work, self.together((tiles, unseen), (prompt, unread))),
            };
            *slot = self.calibration.apply(class.component, counted);
        }
        let tiles = unseen;
        let others = self.in_flight - 1;
        let features = self.cpu.as_ref().map_or([0; 2], |run| {
            let last = match tiles % self.tile_batch {
                0 => self.tile_batch.min(tiles),
                rest => rest,
            };
            let of_others = run.features(tiles.saturating_mul(others));
            [
                run.features(tiles - last).saturating_add(of_others),
                run.features(tiles).saturating_add(of_others),
            ]
        });
        let others = Batch {
            tiles: tiles.min(self.tile_batch).saturating_mul(others),
            rows: unread.min(self.chunk).saturating_mul(others),
            ..Batch::default()
        };
        Activations { bytes, features, others }
    }

    /// The most that goes through at once where as many such questions as may be in flight are together.
    fn together(&self, (tiles, unseen): (u64, u64), (prompt, unread): (u64, u64)) -> Batch {
        // Parts of a long prompt go alone.
        let prompts = (self.chunk / unread.max(1)).clamp(1, self.in_flight);
        Batch {
            tiles: unseen.saturating_mul(self.in_flight).min(self.tile_batch),
            rows: unread.saturating_mul(prompts).min(self.chunk),
            keys: prompt,
            pictures: tiles > 0,
            prompts,
            wanted: prompts,
        }
    }

    /// The largest temporary memory on a device while a pass goes through it: tiles, parts of prompts, or (where there are
    /// neither) tokens of answers.
    pub fn of_pass(&self, holding: &Holding, pass: Batch) -> u64 {
        let here = self.classes.iter().enumerate().filter(|(index, _)| holding.classes >> index & 1 == 1);
        let bytes = |(_, class): (usize, &Class)| {
            let goes_through = match class.work {
                work if work.is_before_reading() => pass.tiles > 0,
                Work::FinalNorm | Work::Head => pass.wanted > 0,
                _ => pass.rows > 0,
            };
            let counted = match &self.cpu {
                _ if !goes_through => 0,
                None => self.transient_bytes(&class.transient, pass.tiles, pass.keys),
                Some(run) => run.bytes(class.work, pass),
            };
            self.calibration.apply(class.component, counted)
        };
        here.map(bytes).max().unwrap_or(0)
    }

    /// Bytes of what a pass leaves on a device until the next one has taken it, where that is known.
    pub fn handed_on(&self, holding: &Holding, pass: Batch) -> u64 {
        let Some(run) = &self.cpu else { return 0 };
        let here = self.classes.iter().enumerate().filter(|(index, _)| holding.classes >> index & 1 == 1);
        let works: Vec<Work> = here.map(|(_, class)| class.work).collect();
        // What has been through to the end is counted where it is kept.
        let is_last = |work: &Work| match work {
            Work::VisionEmbeddings | Work::VisionBlock => !works.contains(&Work::Projector),
            Work::TokenEmbedding | Work::Layer { .. } => !works.contains(&Work::Head),
            _ => true,
        };
        works.iter().filter(|work| is_last(work)).map(|work| run.handed_on(*work, pass)).max().unwrap_or(0)
    }

    /// The largest temporary memory on a device at a question, beyond weights and the `kv` bytes of keys and values.
    ///
    /// Where the CPU is counted, pictures are seen before there are keys and values of the question, and their features
    /// stay where the projector is until it is answered.
    pub fn activation(&self, holding: &Holding, activations: &Activations, kv: u64) -> u64 {
        let mut classes = holding.classes;
        let (mut before, mut reading, mut projects) = (0, 0, false);
        while classes != 0 {
            let index = classes.trailing_zeros() as usize;
            let bytes = activations.bytes.get(index).copied().unwrap_or(0);
            match self.classes.get(index).map(|class| class.work) {
                Some(work) if self.cpu.is_some() && work.is_before_reading() => {
                    projects |= work == Work::Projector;
                    before = before.max(bytes);
                }
                _ => reading = reading.max(bytes),
            }
            classes &= classes - 1;
        }
        if projects {
            let [waiting, all] = activations.features;
            (before, reading) = (before.saturating_add(waiting), reading.saturating_add(all));
        }
        let most = reading.max(before.saturating_sub(kv / self.in_flight));
        match activations.others {
            Batch { tiles: 0, rows: 0, .. } => most,
            others => most.saturating_add(self.handed_on(holding, others)),
        }
    }

    /// Temporary memory on a device by component at a question; the peak is the largest of them.
    pub fn activation_parts(&self, holding: &Holding, activations: &Activations) -> Vec<(Component, u64)> {
        let mut parts: Vec<(Component, u64)> = Vec::new();
        for (index, class) in self.classes.iter().enumerate().filter(|(i, _)| holding.classes >> i & 1 == 1) {
            let bytes = activations.bytes[index];
            match parts.iter_mut().find(|(component, _)| *component == class.component) {
                Some((_, known)) => *known = (*known).max(bytes),
                None => parts.push((class.component, bytes)),
            }
        }
        parts
    }

    /// What a device holds when a question is at its worst, its answer at the limit.
    pub fn moment(&self, holding: &Holding, tiles: u64, prompt: u64) -> Moment {
        self.moment_at(holding, &self.at(tiles, prompt), prompt, self.max_new_tokens)
    }

    /// What a device holds at its peak while a question of so many prompt tokens gets an answer of so many tokens.
    pub fn moment_at(
        &self,
        holding: &Holding,
        activations: &Activations,
        prompt: u64,
        answer: u64,
    ) -> Moment {
        let kv = self.kv_bytes(holding, prompt, answer);
        Moment { weights: holding.weights, kv, activation: self.activation(holding, activations, kv) }
    }

    fn transient_bytes(&self, t: &Transient, tiles: u64, prompt: u64) -> u64 {
        let (tiles_now, rows) = (tiles.min(self.tile_batch), prompt.min(self.chunk));
        // One float computation would be shorter, but sizes here must be exact integers.
        let mut elements = t.per_tile_at_once.saturating_mul(tiles_now);
        elements = elements.saturating_add(t.per_tile.saturating_mul(tiles));
        elements = elements.saturating_add(t.per_token_at_once.saturating_mul(rows));
        let mut bytes = elements.saturating_mul(self.element);
        let score_rows = |positions: u64| match self.attention {
            AttentionKind::Fused => 0,
            AttentionKind::Chunked(rows) => rows.min(positions),
            AttentionKind::Eager => positions,
        };
        // Scores, their softmax and its copy: three matrices of one element each.
        let vision = tiles_now
            .saturating_mul(t.vision_heads)
            .saturating_mul(score_rows(t.vision_positions))
            .saturating_mul(t.vision_positions);
        let decoder = t.heads.saturating_mul(score_rows(rows)).saturating_mul(prompt);
        bytes = bytes.saturating_add(vision.saturating_add(decoder).saturating_mul(3 * self.element));
        bytes = bytes.saturating_add(match self.logits {
            Logits::Last => t.bytes,
            Logits::All => t.bytes.max(t.bytes_per_logit_row.saturating_mul(prompt)),
        });
        bytes
    }

    /// What stays and what is transient for every unit at each of the questions that could be the worst, for the solver.
    pub fn at_frontier(&self, workload: &Workload) -> (Vec<Vec<u64>>, Vec<Vec<u64>>) {
        let points: Vec<(u64, u64)> = match workload.frontier.as_slice() {
            [] => vec![(0, 0)],
            questions => questions.iter().map(|q| (q.tiles, q.prompt_tokens)).collect(),
        };
        let mut stays = Vec::with_capacity(points.len());
        let mut peaks = Vec::with_capacity(points.len());
        for (tiles, prompt) in points {
            let activations = self.at(tiles, prompt);
            let mut stay = Vec::with_capacity(self.len());
            let mut peak = Vec::with_capacity(self.len());
            for unit in 0..self.len() {
                let mut alone = Holding::default();
                self.add(&mut alone, unit);
                stay.push(alone.weights.saturating_add(self.kv_bytes(&alone, prompt, self.max_new_tokens)));
                peak.push(activations.bytes[usize::from(self.class_of[unit])]);
            }
            stays.push(stay);
            peaks.push(peak);
        }
        (stays, peaks)
    }
}

/// The kind of work that a unit is.
fn work(model: &Model, kind: UnitKind) -> Work {
    match kind {
        UnitKind::VisionEmbeddings => Work::VisionEmbeddings,
        UnitKind::VisionBlock(_) => Work::VisionBlock,
        UnitKind::Projector => Work::Projector,
        UnitKind::TokenEmbedding => Work::TokenEmbedding,
        UnitKind::Layer(index) => {
            let experts = model.shape.decoder.experts.is_some_and(|e| index as u64 >= e.dense_layers);
            Work::Layer { experts }
        }
        UnitKind::FinalNorm => Work::FinalNorm,
        UnitKind::Head => Work::Head,
    }
}

/// What the driver holds of a device under the assumptions, in bytes: the assumed overhead for GPUs, else the device's own;
/// and where simulated devices stand for real cards, what a driver keeps of their nominal memory.
pub fn overhead(device: &Device, assumptions: &Assumptions) -> u64 {
    let assumed = assumptions.overhead.value.filter(|_| device.is_gpu()).unwrap_or(device.overhead);
    let nominal = assumptions.nominal_cards.value && device.kind == DeviceKind::Simulated;
    assumed.saturating_add(if nominal { device.capacity / 1000 * 15 } else { 0 })
}

/// What a plan may use of a device under the assumptions, in bytes.
pub fn usable(device: &Device, assumptions: &Assumptions) -> u64 {
    let taken = overhead(device, assumptions).saturating_add(device.others).saturating_add(device.reserve);
    device.capacity.saturating_sub(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Dtype, Sourced, catalogue};

    fn table(change: impl Fn(&mut Assumptions)) -> (Model, CostTable) {
        let model = Model::new(catalogue::find("InternVL2-Llama3-76B").unwrap(), Dtype::Bf16, None);
        let mut assumptions = Assumptions::default();
        change(&mut assumptions);
        let table = CostTable::new(&model, &assumptions, &Calibration::default());
        (model, table)
    }

    fn transient(model: &Model, table: &CostTable, name: &str, tiles: u64, prompt: u64) -> u64 {
        let mut holding = Holding::default();
        table.add(&mut holding, model.by_name(name).unwrap());
        table.activation(&holding, &table.at(tiles, prompt), 0)
    }

    const GIB: f64 = (1u64 << 30) as f64;

    /// The figures counted in the planning notes: one decoder layer, the head and the vision tower of the 76B.
    #[test]
    fn activation_peaks_are_the_counted_ones() {
        let layer = "language_model.model.layers.7";
        let (model, plain) = table(|_| {});
        assert_eq!(transient(&model, &plain, layer, 0, 18_520), 18_520 * 2 * (3 * 28_672 + 4 * 8192));
        assert_eq!(transient(&model, &plain, "language_model.lm_head", 0, 18_520), 128_265 * 4);
        let block = "vision_model.encoder.layers.44";
        assert_eq!(transient(&model, &plain, block, 70, 0), 8 * 1025 * 2 * (12_800 + 5 * 3200));
        let (model, all) = table(|a| a.tile_batch = Sourced::chosen(None));
        let peak = transient(&model, &all, block, 70, 0) as f64 / GIB;
        assert!((peak - 3.85).abs() < 0.05, "{peak}");
        let (model, scores) = table(|a| a.attention = Sourced::chosen(AttentionKind::Eager));
        let peak = transient(&model, &scores, block, 8, 0) as f64 / GIB;
        assert!((peak - 1.6).abs() < 0.05, "{peak}");
        let (model, chunked) = table(|a| a.attention = Sourced::chosen(AttentionKind::Chunked(512)));
        let more = (transient(&model, &chunked, layer, 0, 18_520)
            - transient(&model, &plain, layer, 0, 18_520)) as f64;
        assert!((more / GIB - 3.4).abs() < 0.05, "{}", more / GIB);
        let (model, logits) = table(|a| a.logits = Sourced::chosen(Logits::All));
        let peak = transient(&model, &logits, "language_model.lm_head", 0, 18_520) as f64 / GIB;
        assert!((14.0..14.2).contains(&peak), "{peak}");
    }

    #[test]
    fn cache_counts_prompt_answer_and_questions_in_flight() {
        let (model, table) = table(|a| a.in_flight = Sourced::chosen(3));
        let all = table.holdings(&vec![0; model.units.len()], 1);
        assert_eq!(table.kv_bytes(&all[0], 18_520, 4096), 3 * 22_616 * 4096 * 80);
    }

    #[test]
    fn sliding_layers_keep_only_their_window() {
        let model =
            Model::new(catalogue::find("InternVL3_5-GPT-OSS-20B-A4B-Preview").unwrap(), Dtype::Bf16, None);
        let table = CostTable::new(&model, &Assumptions::default(), &Calibration::default());
        let all = table.holdings(&vec![0; model.units.len()], 1);
        let per_layer = 2 * 8 * 64 * 2;
        assert_eq!(table.kv_bytes(&all[0], 9_000, 1_000), 12 * per_layer * 10_000 + 12 * per_layer * 128);
    }
}
