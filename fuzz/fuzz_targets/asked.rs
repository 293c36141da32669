//! Opens bytes as a dataset and asks for everything in it.

use shardscope::dataset::{Dataset, Style, prompt};

/// Writes the bytes into a file of this name and goes through it.
pub fn everything(name: &str, bytes: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join(name);
    if std::fs::write(&path, bytes).is_err() {
        return;
    }
    let Ok(dataset) = Dataset::open(&path) else { return };
    let _ = dataset.outlines();
    let _ = dataset.find("1");
    let _ = dataset.problems();
    for row in 0..dataset.len().min(64) {
        let Ok(question) = dataset.question(row) else { continue };
        for style in Style::ALL {
            let _ = prompt::build(&dataset, &question, style, None);
        }
        for image in &question.images {
            if let Ok(bytes) = dataset.image_bytes(image) {
                let _ = shardscope::picture::dimensions(&bytes, "image");
            }
        }
    }
}
