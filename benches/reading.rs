//! How fast datasets are read, and in how little memory. The bars it must stay under:
//! MMMU's validation split opens to its first question in 0.3 s and 60 MB, its 900 prompts are built in 2 s;
//! a TSV of 10 GB, once indexed, opens and jumps to its last row in 2 s and 100 MB.
//!
//! `SHARDSCOPE_MMMU` names MMMU's parquet file, else the tests' small one is read; `SHARDSCOPE_TSV_GB` says how large the
//! generated TSV is, else it has a quarter of a gigabyte. It is made in the folder for temporary files and removed again.
#![allow(missing_docs, clippy::expect_used, clippy::print_stdout)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use shardscope::dataset::{Dataset, Style, prompt};

/// Most memory that the process has held so far, and what it holds now, in MB; nothing where the system does not tell.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024.0 / 1e6)
    };
    match (of("VmHWM"), of("VmRSS")) {
        (Some(most), Some(now)) => format!("{most:.0} MB at most, {now:.0} MB now"),
        _ => "memory unknown".into(),
    }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    println!("{what}: {:.3} s; {}", start.elapsed().as_secs_f64(), memory());
    done
}

fn mmmu(path: &Path) {
    println!("{}", path.display());
    let dataset = timed("  opened to its first question", || {
        let dataset = Dataset::open(path).expect("a dataset");
        dataset.question(0).expect("a question");
        dataset
    });
    let prompts = timed("  every prompt", || {
        let built = (0..dataset.len()).map(|row| {
            let question = dataset.question(row).expect("a question");
            prompt::build(&dataset, &question, Style::default(), None).expect("a prompt").text.len()
        });
        built.filter(|length| *length > 0).count()
    });
    assert_eq!(prompts, dataset.len());
}

/// Writes a TSV of about so many bytes: a picture's worth of base64 a row.
fn write_tsv(path: &Path, bytes: u64) -> std::io::Result<usize> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let picture = "iVBORw0KGgoAAAANSUhEUgAA".repeat(8_000);
    writeln!(file, "index\timage\tquestion\tA\tB\tanswer\tcategory")?;
    let rows = (bytes / (picture.len() as u64 + 80)).max(1) as usize;
    for row in 0..rows {
        writeln!(
            file,
            "{row}\t{picture}\t\"What is shown\nin picture {row}?\"\tcat\tdog\tA\tkind {}",
            row % 7
        )?;
    }
    file.flush()?;
    Ok(rows)
}

fn tsv(gigabytes: f64) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join("large.tsv");
    let rows = write_tsv(&path, (gigabytes * 1e9) as u64).expect("room on the disk");
    println!("a TSV of {gigabytes} GB, {rows} rows");
    let dataset = timed("  indexed", || Dataset::open(&path).expect("a dataset"));
    assert_eq!(dataset.len(), rows);
    timed("  jumped to its last row, with its picture", || {
        let question = dataset.question(rows - 1).expect("the last question");
        assert!(question.text.ends_with(&format!("{}?", rows - 1)));
        dataset.image_bytes(&question.images[0]).expect("its picture").len()
    });
    timed("  groups of every row", || assert_eq!(dataset.outlines().expect("outlines").len(), rows));
}

fn main() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dataset/MMMU_like.parquet");
    mmmu(&std::env::var_os("SHARDSCOPE_MMMU").map_or(fixture, PathBuf::from));
    let gigabytes = std::env::var("SHARDSCOPE_TSV_GB").ok().and_then(|text| text.parse().ok());
    tsv(gigabytes.unwrap_or(0.25));
}
