//! A map of layers as a person names it: a file, or the map itself where it is short.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::plan::exchange::{Form, MOST_TEXT};
use crate::{Problem, Result};

/// A map that was named, in any form that [`crate::plan::exchange::read`] reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedMap {
    /// Its text.
    pub text: String,
    /// Where it stands, for messages: the file, or the words themselves.
    pub place: String,
}

impl NamedMap {
    /// What a name means: the content of a file, or the name itself where it has the form of a map (`0:20;1:60`, `3,5,5`,
    /// `{'mlp1': 0, …}`). Nothing where it is neither.
    ///
    /// # Errors
    /// A folder, or a file that cannot be read, is no text or is larger than any map.
    pub fn find(name: &str) -> Result<Option<Self>> {
        let path = Path::new(name);
        // Whether it is there is asked of the system, so that a pipe counts as a file.
        if let Ok(facts) = std::fs::metadata(path) {
            if facts.is_dir() {
                return Err(Problem::new("this is a folder, and a map is a file").in_file(path));
            }
            let file = File::open(path).map_err(|e| Problem::io("read the map", path, &e))?;
            return Ok(Some(Self { text: bounded(file, name)?, place: name.to_owned() }));
        }
        Ok(Form::of(name).map(|_| Self { text: name.to_owned(), place: short(name) }))
    }

    /// The map that stands on standard input.
    ///
    /// # Errors
    /// As [`NamedMap::find`] for a file.
    pub fn on_standard_input() -> Result<Self> {
        let place = "standard input";
        Ok(Self { text: bounded(std::io::stdin().lock(), place)?, place: place.to_owned() })
    }

    /// A problem with it: where it stands comes before the place in it.
    pub fn about(&self, problem: Problem) -> Problem {
        let within = problem.place.clone().filter(|within| !within.contains(&self.place));
        let place = within.map_or_else(|| self.place.clone(), |within| format!("{}, {within}", self.place));
        problem.at(place)
    }
}

/// What can be named, for those who named something else.
pub const NAMES: &str = "name a file, - for standard input, or write the map itself, such as \"0:20;1:60\" (layers of each GPU) or \
                         3,5,5 (shares, as of llama.cpp's --tensor-split)";

fn bounded(reader: impl Read, place: &str) -> Result<String> {
    let refuse = |what: String| Problem::new(what).at(place);
    let mut bytes = Vec::new();
    let most = MOST_TEXT as u64 + 1;
    reader.take(most).read_to_end(&mut bytes).map_err(|e| refuse(format!("cannot read the map: {e}")))?;
    if bytes.len() > MOST_TEXT {
        return Err(refuse("this is larger than any map".into()));
    }
    String::from_utf8(bytes).map_err(|_| refuse("this is no text in UTF-8, so it is no map".into()))
}

/// The beginning of words that may be long.
pub(crate) fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let begin: String = line.chars().take(60).collect();
    if begin.len() < text.len() { format!("{begin}…") } else { begin }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_before_words() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("3,5");
        std::fs::write(&file, "0:20").unwrap();
        let named = |name: &str| NamedMap::find(name).unwrap().map(|map| map.text);
        assert_eq!(named(&file.to_string_lossy()).as_deref(), Some("0:20"));
        assert_eq!(named("3,5").as_deref(), Some("3,5"));
        assert_eq!(named("no/such/map.json"), None);
        assert_eq!(named(""), None);
        assert!(NamedMap::find(&folder.path().to_string_lossy()).is_err());
        std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
        assert!(NamedMap::find(&file.to_string_lossy()).is_err());
        assert!(bounded(std::io::repeat(b'x'), "without end").is_err());
        assert!(short(&"9,".repeat(900)).len() < 80);
    }
}
