//! Several files as one dataset: their questions one after another.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::dataset::question::{ImageRef, Question};
use crate::dataset::registry::{Profile, Stated};
use crate::dataset::storage::{Prints, hexadecimal};
use crate::dataset::{Outline, Source};
use crate::{Problem, Result};

/// Files that are read as one.
#[derive(Debug)]
pub(crate) struct Several {
    parts: Vec<(PathBuf, Box<dyn Source>)>,
    /// First row of each part, and the number of all rows.
    starts: Vec<usize>,
    /// What the files' paths have in common; not part of the fingerprint.
    root: PathBuf,
}

impl Several {
    /// Joins files below a folder; there must be at least one.
    pub(crate) fn new(root: &Path, parts: Vec<(PathBuf, Box<dyn Source>)>) -> Result<Self> {
        if parts.is_empty() {
            return Err(Problem::new("there is no file of questions"));
        }
        let mut starts = vec![0];
        for (_, part) in &parts {
            starts.push(starts[starts.len() - 1] + part.len());
        }
        Ok(Self { parts, starts, root: root.to_owned() })
    }

    /// The part of a row, and the row's place in it.
    fn part(&self, row: usize) -> Result<(usize, usize)> {
        if row >= self.len() {
            return Err(Problem::new(format!("there is no row {}: the files have {}", row + 1, self.len())));
        }
        let part = self.starts.partition_point(|&start| start <= row) - 1;
        Ok((part, row - self.starts[part]))
    }
}

impl Source for Several {
    fn profile(&self) -> &Profile {
        self.parts[0].1.profile()
    }

    fn state(&mut self, stated: Stated) {
        self.parts.iter_mut().for_each(|(_, part)| part.state(stated));
    }

    fn columns(&self) -> &[String] {
        self.parts[0].1.columns()
    }

    fn len(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    fn place(&self, row: usize) -> Option<(&Path, usize)> {
        let (part, row) = self.part(row).ok()?;
        Some((&self.parts[part].0, row))
    }

    fn question(&self, row: usize) -> Result<Question> {
        let (part, inside) = self.part(row)?;
        let mut question = self.parts[part].1.question(inside)?;
        question.row = row;
        for image in &mut question.images {
            if let ImageRef::Stored { row, .. } = image {
                *row += self.starts[part];
            }
        }
        Ok(question)
    }

    fn image_bytes(&self, row: usize, image: usize) -> Result<Arc<[u8]>> {
        let (part, row) = self.part(row)?;
        self.parts[part].1.image_bytes(row, image)
    }

    fn find(&self, index: &str) -> Result<Option<usize>> {
        for (start, (_, part)) in self.starts.iter().zip(&self.parts) {
            if let Some(row) = part.find(index)? {
                return Ok(Some(start + row));
            }
        }
        Ok(None)
    }

    fn outlines(&self) -> Result<Vec<Outline>> {
        let mut outlines = Vec::with_capacity(self.len());
        for (_, part) in &self.parts {
            outlines.extend(part.outlines()?);
        }
        Ok(outlines)
    }

    fn fingerprint(&self, _md5: bool, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<Prints>> {
        let mut digest = Sha256::new();
        let mut before = 0;
        for (path, part) in &self.parts {
            let mut done = 0;
            let made = part.fingerprint(false, &mut |bytes| {
                done = bytes;
                go_on(before + bytes)
            })?;
            let Some(made) = made else { return Ok(None) };
            before += done;
            let name = path.strip_prefix(&self.root).unwrap_or(path);
            digest.update(format!("{}  {}\n", name.display(), made.sha256));
        }
        Ok(Some(Prints { sha256: hexadecimal(&digest.finalize()), md5: None }))
    }
}
