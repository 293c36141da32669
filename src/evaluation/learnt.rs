//! What runs have learnt about memory on this machine, kept as a file for plans and runs to come.

use std::fs;
use std::path::PathBuf;

use crate::plan::Calibration;
use crate::plan::calibration::{Calibrations, Lesson};
use crate::{Problem, Result};

/// Where corrections of forecasts come from and go to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Learnt {
    /// Nothing is corrected, and nothing is kept.
    #[default]
    Ignored,
    /// The file in the platform's data folder.
    Usual,
    /// A file of the person's choice.
    File(PathBuf),
}

/// A file of corrections is a few kilobytes.
const LIMIT: u64 = 4 << 20;

impl Learnt {
    /// What an option says: a file, `none`, or where nothing is said the usual place.
    pub fn named(option: Option<&str>) -> Self {
        match option {
            None => Self::Usual,
            Some("none") => Self::Ignored,
            Some(file) => Self::File(file.into()),
        }
    }

    /// The file, where there is to be one.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Ignored => None,
            Self::Usual => Some(dirs::data_dir()?.join("shardscope").join("calibration.json")),
            Self::File(file) => Some(file.clone()),
        }
    }

    /// Everything learnt so far; a file that is not there has learnt nothing.
    ///
    /// # Errors
    /// The file cannot be read, or is none of ours.
    pub fn all(&self) -> Result<Calibrations> {
        let Some(file) = self.file().filter(|file| file.exists()) else { return Ok(Calibrations::default()) };
        let failed = |error: std::io::Error| Problem::io("read the calibration", &file, &error);
        if fs::metadata(&file).map_err(failed)?.len() > LIMIT {
            return Err(Problem::new("this is too large to be a calibration")
                .in_file(&file)
                .fix("name another file with --calibration, or none"));
        }
        let text = fs::read_to_string(&file).map_err(failed)?;
        Calibrations::from_json(&text).map_err(|problem| problem.in_file(&file))
    }

    /// What was learnt for a card; where the usual file cannot be read, nothing.
    ///
    /// # Errors
    /// A file of the person's choice that cannot be read.
    pub fn of(&self, card: &str) -> Result<Calibration> {
        match self.all() {
            Ok(all) => Ok(all.of(card)),
            Err(problem) if matches!(self, Self::File(_)) => Err(problem),
            Err(_) => Ok(Calibration::default()),
        }
    }

    /// Takes in what a run has measured.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn learn(&self, lessons: &[Lesson]) -> Result<()> {
        let Some(file) = self.file().filter(|_| !lessons.is_empty()) else { return Ok(()) };
        let mut all = self.all()?;
        all.learn(lessons);
        let failed = |error: std::io::Error| Problem::io("write the calibration", &file, &error);
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        // Whole or not at all; of two runs that end together one may go unlearnt.
        let mut draft = file.clone().into_os_string();
        draft.push(format!(".{}", std::process::id()));
        fs::write(&draft, all.to_json()).and_then(|()| fs::rename(&draft, &file)).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::calibration::Component;

    #[test]
    fn lessons_are_kept_by_card_and_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("some/where/calibration.json");
        let learnt = Learnt::named(file.to_str());
        assert_eq!(learnt.of("cpu").unwrap(), Calibration::default());
        let lesson =
            |measured| Lesson { card: "cpu".into(), component: Component::Vision, predicted: 1000, measured };
        learnt.learn(&[lesson(1100)]).unwrap();
        learnt.learn(&[lesson(1300)]).unwrap();
        assert_eq!(learnt.of("cpu").unwrap().apply(Component::Vision, 1000), 1200);
        assert_eq!(learnt.of("another").unwrap(), Calibration::default());
        fs::write(&file, "{}").unwrap();
        assert!(learnt.of("cpu").is_err() && learnt.learn(&[lesson(1)]).is_err());
        assert_eq!(Learnt::named(Some("none")).of("cpu").unwrap(), Calibration::default());
        assert!(Learnt::Ignored.learn(&[lesson(1100)]).is_ok());
    }
}
