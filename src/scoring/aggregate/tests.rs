//! Figures that can be reckoned by hand.

use super::*;

fn row<'a>(index: &'a str, groups: [&'a str; 4], score: f64) -> Scored<'a> {
    let [category, super_category, split, part] = groups.map(|group| Some(group).filter(|g| !g.is_empty()));
    Scored { index, category, super_category, split, part, score, ..Scored::default() }
}

#[test]
fn tasks_of_mmt_bench_weigh_the_same() {
    let rows = [
        row("1", ["ocr_a", "ocr", "val", ""], 1.0),
        row("2", ["ocr_a", "ocr", "val", ""], 1.0),
        row("3", ["ocr_a", "ocr", "val", ""], 0.0),
        row("4", ["ocr_b", "ocr", "val", ""], 0.0),
        row("5", ["ocr_b", "ocr", "test", ""], 1.0),
    ];
    let table = mmt_bench(&rows);
    let close = |row: &str, column: &str, value: f64| {
        let figure = table.get(row, column).unwrap();
        assert!((figure - value).abs() < 1e-12, "{row} {column}: {figure}");
    };
    close("val", "Overall", 0.5);
    close("val", "OCR", (2.0 / 3.0) / 2.0);
    close("ALL", "OCR", (2.0 / 3.0 + 0.5) / 2.0);
    close("ALL", "ocr_b", 0.5);
    assert_eq!(table.get("test", "ocr_a"), None);
}

#[test]
fn pairs_of_mmvp_are_right_together() {
    let none = [""; 4];
    let rows = [row("1", none, 1.0), row("3", none, 1.0), row("2", none, 1.0), row("4", none, 0.0)];
    let table = mmvp(&rows);
    assert_eq!((table.get("", "Pairs"), table.get("", "Questions")), (Some(0.5), Some(0.75)));
}

#[test]
fn cycles_and_sources_are_averaged() {
    let rows = [
        row("1", ["single", "", "", "0"], 1.0),
        row("2", ["cross", "", "", "0"], 0.0),
        row("3", ["cross", "", "", "0"], 0.0),
        row("4", ["single", "", "", "1"], 0.0),
        row("5", ["cross", "", "", "1"], 1.0),
    ];
    let cycles = hrbench(&rows);
    assert_eq!(cycles.get("0", "all"), Some(1.0 / 3.0));
    assert_eq!(cycles.get("Average", "cross"), Some(0.5));
    assert_eq!(cycles.get("Average", "all"), Some((1.0 / 3.0 + 0.5) / 2.0));
    let sources = cv_bench_2d(&rows);
    assert_eq!(sources.get("2D", "Overall"), Some((1.0 / 3.0 + 0.5) / 2.0));
    assert_eq!(sources.get("2D", "1"), Some(0.5));
}

#[test]
fn tasks_of_mme_real_world_hold_subtasks() {
    let rows = [
        row("1", ["Perception/Remote Sensing", "Color", "", ""], 1.0),
        row("2", ["Perception/Remote Sensing", "Person/Attribute/visual", "", ""], 0.0),
        row("3", ["Perception/Remote Sensing", "person/attribute/orientation", "", ""], 1.0),
        row("4", ["Perception/Monitoring", "Color", "", ""], 0.0),
        row("5", ["Reasoning/Monitoring", "intention", "", ""], 1.0),
    ];
    let table = mme_real_world(&rows);
    assert_eq!(table.get("", "Overall"), Some(0.6));
    assert_eq!((table.get("Perception", "Avg"), table.get("Reasoning", "Avg")), (Some(0.5), Some(1.0)));
    assert_eq!(table.get("Perception/Remote Sensing", "person/attribute"), Some(0.5));
    assert_eq!(table.get("Perception/Remote Sensing", "Avg"), Some(2.0 / 3.0));
    assert_eq!(table.get("Reasoning/Remote Sensing", "Avg"), None);
}
