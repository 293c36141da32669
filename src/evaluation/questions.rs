//! Which questions of a dataset are asked.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::dataset::Dataset;
use crate::{Problem, Result};

/// A choice among the questions of a dataset; what is left empty chooses all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Questions {
    /// Values of the `index` column.
    pub ids: Vec<String>,
    /// Category or coarser category.
    pub category: Option<String>,
    /// Split.
    pub split: Option<String>,
    /// A random sample of this many.
    pub sample: Option<usize>,
    /// Seed of the sample; 0 where none is named.
    pub seed: Option<u64>,
    /// At most this many, from the first.
    pub limit: Option<usize>,
}

impl Questions {
    /// The rows chosen, in the dataset's order.
    ///
    /// # Errors
    /// An index, category or split that the dataset lacks, nothing left to ask, or two questions of one index.
    pub fn rows(&self, dataset: &Dataset) -> Result<Vec<usize>> {
        if dataset.is_empty() {
            return Err(Problem::new("holds no question").at(dataset.name()).fix("choose another file"));
        }
        let mut rows: Vec<usize> = if self.ids.is_empty() {
            (0..dataset.len()).collect()
        } else {
            let find = |id: &String| {
                dataset.find(id.trim()).ok_or_else(|| {
                    Problem::new(format!("has no question with the index {id}"))
                        .at(dataset.name())
                        .fix("give values of its `index` column with --ids")
                })
            };
            let mut rows = self.ids.iter().map(find).collect::<Result<Vec<_>>>()?;
            rows.sort_unstable();
            rows.dedup();
            rows
        };
        if let Some(wanted) = &self.category {
            let outlines = dataset.outlines()?;
            let groups = |row: usize| {
                outlines
                    .get(row)
                    .into_iter()
                    .flat_map(|o| [o.category.as_deref(), o.super_category.as_deref()])
                    .flatten()
            };
            let known: std::collections::BTreeSet<&str> = rows.iter().flat_map(|row| groups(*row)).collect();
            if !known.contains(wanted.as_str()) {
                let list = known.into_iter().take(40).collect::<Vec<_>>().join(", ");
                let list = if list.is_empty() { "none".to_owned() } else { list };
                return Err(Problem::new(format!("has no category {wanted:?}"))
                    .at(dataset.name())
                    .fix(format!("choose one of its categories: {list}")));
            }
            rows.retain(|row| groups(*row).any(|name| name == wanted));
        }
        if let Some(wanted) = &self.split {
            let outlines = dataset.outlines()?;
            let split = |row: usize| outlines.get(row).and_then(|o| o.split.as_deref());
            let known: std::collections::BTreeSet<&str> = rows.iter().filter_map(|row| split(*row)).collect();
            if !known.contains(wanted.as_str()) {
                let list = known.into_iter().take(40).collect::<Vec<_>>().join(", ");
                return Err(Problem::new(format!("has no split {wanted:?} among the selected questions"))
                    .at(dataset.name())
                    .fix(match list.as_str() {
                        "" => "leave --split away: none of them names its split".to_owned(),
                        _ => format!("choose one of its splits: {list}"),
                    }));
            }
            rows.retain(|row| split(*row) == Some(wanted));
        }
        if let Some(count) = self.sample {
            let seed = self.seed.unwrap_or(0);
            // A question's draw depends on seed and index alone, so that a dataset in another order gives the same sample.
            let outlines = dataset.outlines()?;
            let draw = |row: usize| {
                let index = outlines.get(row).map_or("", |o| o.index.as_str());
                Sha256::digest(format!("{seed}:{index}")).to_vec()
            };
            rows.sort_by_cached_key(|row| draw(*row));
            rows.truncate(count);
            rows.sort_unstable();
        }
        rows.truncate(self.limit.unwrap_or(usize::MAX));
        if rows.is_empty() {
            return Err(Problem::new("no question is selected")
                .at(dataset.name())
                .fix("ask for more with --limit, --sample, --ids, --category or --split"));
        }
        refuse_doubles(dataset, &rows)?;
        Ok(rows)
    }
}

/// Answers are kept by the index of their question, so no two questions may share one.
fn refuse_doubles(dataset: &Dataset, rows: &[usize]) -> Result<()> {
    let outlines = dataset.outlines()?;
    let mut seen = HashMap::with_capacity(rows.len());
    for (row, outline) in rows.iter().filter_map(|row| Some((*row, outlines.get(*row)?))) {
        if let Some(earlier) = seen.insert(outline.index.as_str(), row) {
            return Err(Problem::new(format!(
                "rows {} and {} have the same index, {}",
                earlier + 1,
                row + 1,
                outline.index
            ))
            .at(dataset.name())
            .fix("give every question an index of its own, or choose questions with --limit or --ids"));
        }
    }
    Ok(())
}
