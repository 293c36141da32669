//! The pictures of questions: read and decoded by a job, kept while they are looked at, drawn with what the model saw.

pub mod view;

use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use egui::{ColorImage, Context, TextureHandle, TextureOptions};
use image::RgbImage;

use super::job::{Job, Loadable, Wake};
use crate::checkpoint::Checkpoint;
use crate::dataset::{Dataset, ImageRef, Question, Style, prompt};
use crate::engine::asking::image_name;
use crate::engine::model::tiling;
use crate::evaluation::pictures::which;
use crate::picture;
use crate::session::{Answer, ImageRecord};
use crate::{Problem, Result};

pub use view::{Look, show};

/// Longest side of a picture on the screen, in pixels; larger ones are made smaller.
const LONGEST_SIDE: u32 = 2048;

/// Questions whose pictures are kept.
const QUESTIONS_KEPT: usize = 16;

/// Bytes of pictures that are kept, besides those of the question looked at.
const BYTES_KEPT: usize = 192 << 20;

/// How the pictures of a run's questions are cut.
#[derive(Clone)]
pub struct Cutting {
    /// The model that sees them.
    pub checkpoint: Arc<Checkpoint>,
    /// How questions are put.
    pub style: Style,
    /// Most tiles an image in place of the dataset's own limit.
    pub max_tiles: Option<u32>,
}

/// A question and its pictures.
pub struct Shown {
    /// The question.
    pub question: Question,
    /// Its pictures in order, or why one cannot be shown.
    pub pictures: Vec<Result<Picture>>,
}

/// A picture as it is shown.
pub struct Picture {
    /// Its file's name, or its number.
    pub name: String,
    /// Pixels across, as stored.
    pub width: u32,
    /// Pixels down, as stored.
    pub height: u32,
    /// Tiles across and down, and whether a thumbnail follows, where it is known how it is cut.
    pub grid: Option<([u32; 2], bool)>,
    pixels: RefCell<Option<Arc<ColorImage>>>,
    bytes: usize,
    texture: OnceCell<TextureHandle>,
}

impl Picture {
    fn new(name: String, picture: &RgbImage) -> Self {
        let (width, height) = picture.dimensions();
        let shrink = f64::from(LONGEST_SIDE) / f64::from(width.max(height).max(1));
        let small = (shrink < 1.0).then(|| {
            let side = |side: u32| ((f64::from(side) * shrink).round() as u32).max(1);
            picture::resize(picture, side(width), side(height), picture::Filter::Bicubic)
        });
        let shown = small.as_ref().unwrap_or(picture);
        let size = [shown.width() as usize, shown.height() as usize];
        let pixels = ColorImage::from_rgb(size, shown.as_raw());
        let bytes = pixels.pixels.len() * 4;
        Self {
            name,
            width,
            height,
            grid: None,
            pixels: RefCell::new(Some(Arc::new(pixels))),
            bytes,
            texture: OnceCell::new(),
        }
    }

    /// Decodes a picture file's bytes.
    ///
    /// # Errors
    /// As [`picture::decode`].
    pub fn decode(name: String, bytes: &[u8], place: &str) -> Result<Self> {
        Ok(Self::new(name, &picture::decode(bytes, place)?))
    }

    /// The texture; handed over when it is first drawn.
    pub fn texture(&self, ctx: &Context) -> &TextureHandle {
        self.texture.get_or_init(|| {
            let pixels = self.pixels.take().unwrap_or_default();
            ctx.load_texture(&self.name, pixels, TextureOptions::LINEAR)
        })
    }
}

/// The pictures of the questions that are looked at, the latest first.
#[derive(Default)]
pub struct Gallery {
    dataset: Option<Arc<Dataset>>,
    cutting: Option<Cutting>,
    kept: VecDeque<(usize, Loadable<Shown>)>,
}

impl Gallery {
    /// From now on shows the pictures of this dataset.
    pub fn of(&mut self, dataset: Option<Arc<Dataset>>, cutting: Option<Cutting>) {
        self.kept.clear();
        self.dataset = dataset;
        self.cutting = cutting;
    }

    /// The dataset.
    pub fn dataset(&self) -> Option<&Arc<Dataset>> {
        self.dataset.as_ref()
    }

    /// Begins to read the question of a row with its pictures, unless that was done. How they were cut is told by the
    /// answer, where there is one.
    pub fn want(&mut self, row: usize, answer: Option<&Answer>, wake: &Wake) {
        if self.kept.front().is_some_and(|(first, _)| *first == row) {
            return;
        }
        if let Some(place) = self.kept.iter().position(|(kept, _)| *kept == row)
            && let Some(found) = self.kept.remove(place)
        {
            self.kept.push_front(found);
            return;
        }
        let Some(dataset) = self.dataset.clone() else { return };
        let cutting = self.cutting.clone();
        let recorded = answer.map(|answer| (answer.images.clone(), answer.tiles)).unwrap_or_default();
        let work = move |_: &_| {
            let mut shown = shown(&dataset, row, cutting.as_ref())?;
            shown.recorded(&recorded.0, recorded.1);
            Ok(shown)
        };
        let job = Job::start("show a question", wake, work);
        self.kept.push_front((row, Loadable::Loading(job)));
    }

    /// Takes what jobs have brought, and drops what is far out of view.
    pub fn receive(&mut self) {
        for (_, loadable) in &mut self.kept {
            loadable.poll();
        }
        let mut bytes = 0;
        let mut place = 0;
        self.kept.retain(|(_, loadable)| {
            let own = loadable.ready().map_or(0, Shown::bytes);
            bytes += own;
            place += 1;
            place == 1 || (place <= QUESTIONS_KEPT && bytes <= BYTES_KEPT)
        });
    }

    /// The question of a row, where it was asked for.
    pub fn get(&self, row: usize) -> Option<&Loadable<Shown>> {
        self.kept.iter().find(|(kept, _)| *kept == row).map(|(_, loadable)| loadable)
    }

    /// Questions whose pictures are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

impl Shown {
    /// Takes over how the pictures were cut, as an answer records it.
    fn recorded(&mut self, images: &[ImageRecord], tiles: u64) {
        let cells = |image: &ImageRecord| u64::from(image.grid[0]) * u64::from(image.grid[1]);
        let has_thumbnails = tiles > images.iter().map(cells).sum();
        for (nth, image) in images.iter().enumerate().filter(|(_, image)| cells(image) > 0) {
            let refs = &self.question.images;
            let place = which(&self.question, image, nth, images.len())
                .and_then(|wanted| refs.iter().position(|it| std::ptr::eq(it, wanted)));
            if let Some(Ok(picture)) = place.and_then(|place| self.pictures.get_mut(place)) {
                picture.grid = Some((image.grid, has_thumbnails && cells(image) > 1));
            }
        }
    }

    fn bytes(&self) -> usize {
        self.pictures.iter().flatten().map(|picture| picture.bytes).sum()
    }
}

/// Reads a question with its pictures. A picture that cannot be read spoils neither the others nor the question.
fn shown(dataset: &Dataset, row: usize, cutting: Option<&Cutting>) -> Result<Shown> {
    let question = dataset.question(row)?;
    let picture = |(place, image): (usize, &ImageRef)| {
        let bytes = dataset.image_bytes(image)?;
        Picture::decode(image_name(image, place), &bytes, &dataset.image_place(image))
    };
    let mut pictures: Vec<Result<Picture>> = question.images.iter().enumerate().map(picture).collect();
    if let Some(cutting) = cutting
        && let Ok(built) = prompt::build(dataset, &question, cutting.style, cutting.max_tiles)
    {
        let tiling = tiling(&cutting.checkpoint.config, built.max_tiles);
        for used in &built.images {
            if let Some(Ok(picture)) = pictures.get_mut(used.index) {
                let enlarged = |side: u32| side.saturating_mul(used.scale);
                let grid = tiling.grid(enlarged(picture.width), enlarged(picture.height));
                let tiles = grid.cols as usize * grid.rows as usize;
                picture.grid = Some(([grid.cols, grid.rows], tiling.count(grid) > tiles));
            }
        }
    }
    Ok(Shown { question, pictures })
}

/// Endings of the names of picture files.
pub const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff"];

/// Whether a file is named as a picture.
pub fn is_named_so(path: &Path) -> bool {
    let ending = path.extension().map(|it| it.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// Reads a picture file.
///
/// # Errors
/// No file, one that is too large, or no picture.
pub fn read_file(path: PathBuf) -> Result<Picture> {
    const LARGEST: u64 = 256 << 20;
    let about = std::fs::metadata(&path).map_err(|error| Problem::io("read the picture", &path, &error))?;
    if !about.is_file() || about.len() > LARGEST {
        return Err(Problem::new("this is no file, or too large for a picture")
            .in_file(&path)
            .fix("choose a png, jpeg, webp, bmp, gif or tiff file"));
    }
    let bytes = std::fs::read(&path).map_err(|error| Problem::io("read the picture", &path, &error))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Picture::decode(name, &bytes, &path.display().to_string())
}
