//! Weight files: safetensors headers read and checked without touching the weights.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, SafeTensorError};
use serde_json::Value;

use super::folder::{Bytes, Folder, is_plain_name};
use crate::{Problem, Result};

const INDEX: &str = "model.safetensors.index.json";
const DOWNLOAD: &str = "download this file again";

/// One tensor as its file states it.
#[derive(Debug, Clone)]
pub struct StoredTensor {
    /// Which of [`WeightFiles::files`] holds it.
    pub file: usize,
    /// Element type.
    pub dtype: Dtype,
    /// Shape, outermost first.
    pub shape: Vec<usize>,
    /// Byte range inside the file.
    pub range: std::ops::Range<usize>,
}

impl StoredTensor {
    /// Bytes it takes in its file.
    pub fn bytes(&self) -> u64 {
        self.range.len() as u64
    }
}

/// All weight files of a checkpoint, mapped, with the inventory of their tensors.
#[derive(Debug, Clone)]
pub struct WeightFiles {
    /// File names and contents.
    pub files: Vec<(String, Bytes)>,
    /// Tensors by the name that the files give them.
    pub tensors: BTreeMap<String, StoredTensor>,
    /// The index file's text, where the weights are sharded.
    pub index: Option<String>,
}

impl WeightFiles {
    /// Finds the weight files of a folder and reads their headers.
    ///
    /// # Errors
    /// Missing shards, pickle weights, header lengths that lie, damaged headers, files shorter than they say, index
    /// entries that point outside the folder or at tensors that are not there.
    pub fn open(folder: &Folder) -> Result<Self> {
        let index = folder.text(INDEX)?;
        let (names, weight_map) = match &index {
            Some(_) => {
                let map = read_index(folder)?;
                let mut names: Vec<String> = map.values().cloned().collect();
                names.sort();
                names.dedup();
                (names, Some(map))
            }
            None => (unindexed_files(folder)?, None),
        };
        if let Some(missing) = names.iter().find(|name| !folder.has(name)) {
            let present = names.iter().filter(|name| folder.has(name)).count();
            return Err(Problem::new(format!(
                "is missing ({present} of {} weight files are there)",
                names.len()
            ))
            .at(folder.place(missing))
            .fix("finish the download of this checkpoint"));
        }
        let mut this = Self { files: Vec::new(), tensors: BTreeMap::new(), index };
        for name in names {
            this.add_file(folder, name)?;
        }
        for (tensor, file) in weight_map.iter().flatten() {
            let stored = this.tensors.get(tensor).map(|t| this.files[t.file].0.as_str());
            if stored != Some(file) {
                return Err(Problem::new(format!("says that {tensor} is in {file}, but it is not there"))
                    .at(folder.place(INDEX))
                    .fix("download the index and this shard again"));
            }
        }
        Ok(this)
    }

    /// The bytes of one tensor.
    pub fn data(&self, tensor: &StoredTensor) -> &[u8] {
        self.files.get(tensor.file).and_then(|(_, bytes)| bytes.get(tensor.range.clone())).unwrap_or_default()
    }

    fn add_file(&mut self, folder: &Folder, name: String) -> Result<()> {
        let bytes = folder.map(&name)?;
        let place = folder.place(&name);
        if bytes.len() < 8 {
            return Err(Problem::new("is too short to be a safetensors file").at(place).fix(DOWNLOAD));
        }
        let (header, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|e| header_problem(&e, &bytes, &place))?;
        let start = header + 8;
        let file = self.files.len();
        for (tensor, info) in metadata.tensors() {
            let (from, to) = info.data_offsets;
            let stored = StoredTensor {
                file,
                dtype: info.dtype,
                shape: info.shape.clone(),
                range: start + from..start + to,
            };
            if self.tensors.insert(tensor.clone(), stored).is_some() {
                return Err(Problem::new(format!("holds {tensor}, which another shard holds too"))
                    .at(place)
                    .fix("remove the weight files that do not belong to this checkpoint"));
            }
        }
        self.files.push((name, bytes));
        Ok(())
    }
}

fn read_index(folder: &Folder) -> Result<BTreeMap<String, String>> {
    let place = folder.place(INDEX);
    let value = folder.json(INDEX)?.unwrap_or(Value::Null);
    let Some(map) = value.get("weight_map").and_then(Value::as_object) else {
        return Err(Problem::new("has no `weight_map`").at(place).fix(DOWNLOAD));
    };
    let mut names = BTreeMap::new();
    for (tensor, file) in map {
        let Some(file) = file.as_str() else {
            return Err(Problem::new(format!("gives {tensor} no file name")).at(place).fix(DOWNLOAD));
        };
        if !is_plain_name(file) {
            return Err(Problem::new(format!(
                "puts {tensor} in {file:?}, which is outside the checkpoint's folder"
            ))
            .at(place)
            .fix("use the index that was published with these weights"));
        }
        names.insert(tensor.clone(), file.to_owned());
    }
    if names.is_empty() {
        return Err(Problem::new("has an empty `weight_map`").at(place).fix(DOWNLOAD));
    }
    Ok(names)
}

/// `model.safetensors`, or a complete set of `model-0000i-of-0000n.safetensors` whose index got lost.
fn unindexed_files(folder: &Folder) -> Result<Vec<String>> {
    if folder.has("model.safetensors") {
        return Ok(vec!["model.safetensors".to_owned()]);
    }
    let names = folder.names();
    let shards: Vec<&String> =
        names.iter().filter(|n| n.starts_with("model-") && n.ends_with(".safetensors")).collect();
    if let Some(last) = shards.last() {
        let total =
            last.trim_end_matches(".safetensors").rsplit("-of-").next().and_then(|n| n.parse::<usize>().ok());
        if total.is_some_and(|total| total != shards.len()) {
            return Err(Problem::new(format!("{} of {} shards are there", shards.len(), total.unwrap_or(0)))
                .at(folder.place(INDEX))
                .fix("finish the download of this checkpoint"));
        }
        return Ok(shards.into_iter().cloned().collect());
    }
    let pickled = |n: &&String| [".bin", ".pt", ".pth", ".ckpt"].iter().any(|end| n.ends_with(end));
    if let Some(pickle) = names.iter().find(pickled) {
        return Err(Problem::new("holds pickled weights, which can run code when read; Shardscope reads safetensors only")
            .at(folder.place(pickle))
            .fix("convert it with transformers (`save_pretrained(..., safe_serialization=True)`) or download the safetensors version"));
    }
    if let Some(gguf) = names.iter().find(|n| n.ends_with(".gguf")) {
        return Err(Problem::new("is a GGUF file; Shardscope reads safetensors")
            .at(folder.place(gguf))
            .fix("choose the folder of the original checkpoint"));
    }
    Err(Problem::new("has no model.safetensors")
        .at(folder.place(""))
        .fix("choose the folder of a checkpoint with its weights, or finish the download"))
}

fn header_problem(error: &SafeTensorError, bytes: &[u8], place: &str) -> Problem {
    let stated = bytes.first_chunk::<8>().map_or(0, |n| u64::from_le_bytes(*n));
    let what = match error {
        SafeTensorError::HeaderTooLarge
        | SafeTensorError::InvalidHeaderLength
        | SafeTensorError::HeaderTooSmall => {
            format!("says that its header is {stated} bytes long, but the file has {} bytes", bytes.len())
        }
        SafeTensorError::MetadataIncompleteBuffer => "is shorter or longer than its header says".to_owned(),
        other => format!("has a damaged header ({other})"),
    };
    Problem::new(what).at(place).fix("the download is damaged: download this file again")
}
