//! Reads a session folder and everything that can be made of it.

use std::path::Path;

use shardscope::scoring::Rule;
use shardscope::session::export::{Format, export};
use shardscope::session::{
    CheckpointRecord, DatasetRecord, Manifest, Record, Session, Settings, compare, disagreement, figures,
};

/// Begins a session without answers.
#[allow(dead_code)] // Not every target needs it.
pub fn begin(dir: &Path) -> bool {
    let checkpoint = CheckpointRecord { name: "model".into(), ..Default::default() };
    let dataset = DatasetRecord { name: "MME".into(), questions: 3, ..Default::default() };
    Session::create(dir, &Manifest::new(checkpoint, dataset, Settings::default())).is_ok()
}

/// Opens a session, goes on with it, reads it under other rules, and writes it in every format.
pub fn everything(dir: &Path) {
    let Ok(record) = Record::open(dir) else { return };
    let _ = (record.tally().interval(), record.memory(), record.events());
    if let Ok(comparison) = compare(&record, &record) {
        assert_eq!(comparison.flips, []);
    }
    let _ = Session::resume(dir, record.manifest());
    let rules = Rule::all();
    let _ = disagreement(&record, [rules[0], rules[1]]);
    for format in Format::ALL {
        let _ = export(&record, format, &dir.join("export"), &|_, _| None);
    }
    for rule in rules {
        let _ = Record::open(dir).and_then(|record| record.judged_under(rule));
        let Ok(record) = Record::open(dir).and_then(|record| record.under(rule)) else { return };
        let _ = figures(&record, &rule);
    }
}
