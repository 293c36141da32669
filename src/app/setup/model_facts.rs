//! What is known of a model, as its card shows it.

use std::collections::BTreeSet;

use crate::app::workspace::Subject;
use crate::checkpoint::{Checkpoint, UnitKind as Stored};
use crate::plan::{Model, UnitKind};

/// The numbers of a model's card.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFacts {
    /// Parameters, shared ones once.
    pub parameters: u64,
    /// Bytes of its weights: as stored, or as they would be at the published format.
    pub bytes: u64,
    /// Bytes of vision tower, projector, token embedding, decoder and head.
    pub parts: [u64; 5],
    /// Number formats of the weights.
    pub formats: String,
    /// Weight files; none where the weights are not here.
    pub files: Option<usize>,
    /// Blocks of the vision tower and their channels.
    pub vision: Option<(u64, u64)>,
    /// Family of the decoder, where it is known.
    pub backbone: Option<String>,
    /// Decoder layers and their width.
    pub decoder: (u64, u64),
    /// Experts that answer a token, and all of them.
    pub experts: Option<(usize, usize)>,
    /// Side of a tile in pixels, and its tokens.
    pub tile: Option<(u64, u64)>,
    /// Positions that the decoder was made for.
    pub positions: Option<u64>,
    /// Prompt template and where it comes from.
    pub template: Option<(String, String)>,
    /// The tokenizer's files.
    pub tokenizer: Option<String>,
}

impl ModelFacts {
    /// The facts of a model that has been opened.
    pub fn of(subject: &Subject) -> Self {
        let mut facts = by_shape(subject);
        if let Some(checkpoint) = &subject.checkpoint {
            facts.take(checkpoint);
        }
        if let Some(Ok(language)) = &subject.language {
            let template = &language.template;
            facts.template = Some((template.name().to_owned(), template.origin()));
            facts.tokenizer = Some(language.tokenizer.source().to_string());
        }
        facts
    }

    fn take(&mut self, checkpoint: &Checkpoint) {
        self.parameters = checkpoint.parameters();
        self.bytes = checkpoint.bytes();
        self.files = Some(checkpoint.weights.files.len());
        self.parts = [0; 5];
        let mut formats = BTreeSet::new();
        for unit in &checkpoint.units {
            let part = match unit.kind {
                Stored::VisionEmbeddings | Stored::VisionBlock => 0,
                Stored::Projector => 1,
                Stored::TokenEmbedding => 2,
                Stored::DecoderLayer => 3,
                Stored::FinalNorm | Stored::Head => 4,
            };
            self.parts[part] += unit.bytes();
            formats.extend(unit.tensors.values().map(|tensor| format!("{:?}", tensor.dtype).to_lowercase()));
        }
        self.formats = formats.into_iter().collect::<Vec<_>>().join(", ");
        let decoder = &checkpoint.config.decoder;
        self.backbone = Some(format!("{:?}", decoder.backbone));
        self.experts = decoder.moe.as_ref().map(|moe| (moe.top_k, moe.experts));
    }
}

fn by_shape(subject: &Subject) -> ModelFacts {
    let shape = subject.shape.as_ref();
    let model = Model::new(shape.clone(), shape.stored, None);
    let mut parts = [0; 5];
    for unit in &model.units {
        let part = match unit.kind {
            UnitKind::VisionEmbeddings | UnitKind::VisionBlock(_) => 0,
            UnitKind::Projector => 1,
            UnitKind::TokenEmbedding => 2,
            UnitKind::Layer(_) => 3,
            UnitKind::FinalNorm | UnitKind::Head => 4,
        };
        parts[part] += unit.weight_bytes;
    }
    ModelFacts {
        parameters: model.parameters(),
        bytes: model.weight_bytes(),
        parts,
        formats: format!("{:?}", shape.stored).to_lowercase(),
        files: None,
        vision: shape.vision.as_ref().map(|(vision, _)| (vision.layers, vision.hidden)),
        backbone: None,
        decoder: (shape.decoder.layers, shape.decoder.hidden),
        experts: None,
        tile: shape.vision.as_ref().map(|(vision, _)| (vision.image_size, shape.tokens_per_tile)),
        positions: shape.positions,
        template: None,
        tokenizer: None,
    }
}
