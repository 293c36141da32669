//! What a dataset asks of the devices: tiles and prompt tokens of each question, before anything is loaded.

use std::collections::HashMap;

/// What one question costs, known from its image headers and its text.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct QuestionCost {
    /// The question's id or index.
    pub id: String,
    /// Tiles of all its images, thumbnails included.
    pub tiles: u64,
    /// Tokens of its prompt, image tokens included.
    pub prompt_tokens: u64,
    /// What it may share with others, where that is known.
    #[serde(skip)]
    pub shares: Shares,
}

/// What a question may share with others: each with a number that tells it from what is different.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shares {
    /// Its pictures, with the tiles of each.
    pub pictures: Vec<(u64, u64)>,
    /// The beginning of its prompt up to the last picture, with its positions.
    pub beginning: (u64, u64),
}

/// What all questions together could keep for each other, each thing once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shared {
    /// Tiles of their pictures.
    pub tiles: u64,
    /// Positions of their prompts' beginnings.
    pub positions: u64,
}

/// The questions of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Every question, in the run's order; empty where no dataset was chosen.
    pub questions: Vec<QuestionCost>,
    /// The questions no other question dominates in both tiles and prompt tokens (or, where there are very many, a few
    /// that dominate all): the worst of these is the worst of all, on any device. Never empty: without questions, one that
    /// asks nothing.
    pub frontier: Vec<QuestionCost>,
    /// What they could keep for each other.
    pub shared: Shared,
}

/// More points than this on the frontier are merged: a merged point dominates both, so a plan stays safe.
const FRONTIER_LIMIT: usize = 6;

impl Workload {
    /// From the costs of all questions of the run.
    pub fn new(questions: Vec<QuestionCost>) -> Self {
        if questions.is_empty() {
            return Self::assumed(0, 0);
        }
        let frontier = frontier(&questions);
        let shared = shared(&questions);
        Self { questions, frontier, shared }
    }

    /// Where no dataset was chosen: one question of so many tiles and prompt tokens.
    pub fn assumed(tiles: u64, prompt_tokens: u64) -> Self {
        let id = format!("a question of {tiles} tiles and {prompt_tokens} tokens");
        let question = QuestionCost { id, tiles, prompt_tokens, ..QuestionCost::default() };
        Self { questions: Vec::new(), frontier: vec![question], shared: Shared::default() }
    }

    /// The largest prompt of the run, in tokens.
    pub fn longest_prompt(&self) -> u64 {
        self.frontier.iter().map(|q| q.prompt_tokens).max().unwrap_or(0)
    }

    /// The largest number of tiles of the run.
    pub fn most_tiles(&self) -> u64 {
        self.frontier.iter().map(|q| q.tiles).max().unwrap_or(0)
    }
}

fn shared(questions: &[QuestionCost]) -> Shared {
    let each = || questions.iter().map(|question| &question.shares);
    let pictures: HashMap<u64, u64> = each().flat_map(|shares| shares.pictures.iter().copied()).collect();
    let beginnings: HashMap<u64, u64> = each().map(|shares| shares.beginning).collect();
    let sum = |all: HashMap<u64, u64>| all.into_values().fold(0, u64::saturating_add);
    Shared { tiles: sum(pictures), positions: sum(beginnings) }
}

fn frontier(questions: &[QuestionCost]) -> Vec<QuestionCost> {
    let mut order: Vec<&QuestionCost> = questions.iter().collect();
    order.sort_by_key(|q| std::cmp::Reverse((q.tiles, q.prompt_tokens)));
    let mut front: Vec<QuestionCost> = Vec::new();
    for question in order {
        if front.last().is_none_or(|last| question.prompt_tokens > last.prompt_tokens) {
            front.push(question.clone());
        }
    }
    while front.len() > FRONTIER_LIMIT {
        // Neighbours whose merging overstates the least.
        let price = |pair: &[QuestionCost]| {
            u128::from(pair[0].tiles - pair[1].tiles)
                * u128::from(pair[1].prompt_tokens - pair[0].prompt_tokens)
        };
        let at = (0..front.len() - 1).min_by_key(|&i| price(&front[i..i + 2])).unwrap_or(0);
        let merged = QuestionCost {
            id: format!("{} and {}", front[at].id, front[at + 1].id),
            tiles: front[at].tiles,
            prompt_tokens: front[at + 1].prompt_tokens,
            ..QuestionCost::default()
        };
        front.splice(at..at + 2, [merged]);
    }
    front
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn q(id: usize, tiles: u64, prompt_tokens: u64) -> QuestionCost {
        QuestionCost { id: id.to_string(), tiles, prompt_tokens, ..QuestionCost::default() }
    }

    #[test]
    fn what_questions_share_counts_once() {
        let asks = |pictures: &[(u64, u64)], beginning| QuestionCost {
            shares: Shares { pictures: pictures.to_vec(), beginning },
            ..QuestionCost::default()
        };
        let work = Workload::new(vec![
            asks(&[(1, 3)], (1, 40)),
            asks(&[(1, 3)], (1, 40)),
            asks(&[(2, 1), (1, 3)], (2, 60)),
            asks(&[], (3, 9)),
        ]);
        assert_eq!(work.shared, Shared { tiles: 4, positions: 109 });
        assert_eq!(Workload::new(vec![q(0, 5, 900)]).shared, Shared::default(), "nothing is known of it");
    }

    #[test]
    fn keeps_only_questions_that_can_be_the_worst() {
        let work =
            Workload::new(vec![q(0, 1, 300), q(1, 13, 3400), q(2, 13, 3500), q(3, 5, 9000), q(4, 5, 8000)]);
        let ids: Vec<&str> = work.frontier.iter().map(|q| q.id.as_str()).collect();
        assert_eq!(ids, ["2", "3"]);
        assert_eq!((work.most_tiles(), work.longest_prompt()), (13, 9000));
    }

    proptest! {
        #[test]
        fn every_question_is_dominated_by_the_frontier(all in proptest::collection::vec((0u64..80, 0u64..20_000), 0..60)) {
            let work = Workload::new(all.iter().enumerate().map(|(i, &(t, p))| q(i, t, p)).collect());
            prop_assert!(work.frontier.len() <= FRONTIER_LIMIT);
            for question in &work.questions {
                prop_assert!(work.frontier.iter().any(|f| f.tiles >= question.tiles && f.prompt_tokens >= question.prompt_tokens));
            }
        }
    }
}
