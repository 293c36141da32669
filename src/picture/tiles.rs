//! Tiles: the grid that suits a picture, its square pieces and the thumbnail, as InternVL cuts them.
//!
//! The rule is `dynamic_preprocess` of OpenGVLab/InternVL (`internvl_chat/internvl/train/dataset.py`): of all grids
//! with an allowed number of tiles, the one whose shape is nearest the picture's; the picture is resized to fill
//! it, cut row by row, and where there is more than one tile the whole picture follows as a thumbnail.

use image::RgbImage;
use rayon::prelude::*;

use super::resize::{Filter, resize};

/// ImageNet's mean and standard deviation of red, green and blue.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// How many tiles a picture is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Grid {
    /// Tiles across.
    pub cols: u32,
    /// Tiles down.
    pub rows: u32,
}

/// How pictures are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Tiling {
    /// Side of a tile in pixels (`force_image_size`, mostly 448).
    pub side: u32,
    /// Fewest tiles of a grid (`min_dynamic_patch`, mostly 1).
    pub min_tiles: u32,
    /// Most tiles of a grid, the thumbnail not counted.
    pub max_tiles: u32,
    /// Whether a picture of more than one tile gets a thumbnail.
    pub thumbnail: bool,
}

/// A picture's tiles, ready for the vision tower.
#[derive(Debug, Clone, PartialEq)]
pub struct Tiles {
    /// The grid they were cut from.
    pub grid: Grid,
    /// Tiles, the thumbnail included.
    pub count: usize,
    /// Side of a tile in pixels.
    pub side: u32,
    /// `[count, 3, side, side]`, row-major tiles, the thumbnail last, normalised as ImageNet's pictures are.
    pub pixels: Vec<f32>,
}

impl Tiling {
    /// The grid for a picture of this size: nearest shape; of equally near shapes the larger one if the picture has
    /// more than half its pixels.
    pub fn grid(&self, width: u32, height: u32) -> Grid {
        let most = self.max_tiles.max(1);
        let fewest = self.min_tiles.clamp(1, most);
        let shape = f64::from(width) / f64::from(height.max(1));
        let area = f64::from(width) * f64::from(height);
        let tile_area = f64::from(self.side) * f64::from(self.side);
        let mut best = Grid { cols: 1, rows: 1 };
        let mut nearest = f64::INFINITY;
        for product in fewest..=most {
            for cols in (1..=product).filter(|cols| product % cols == 0) {
                let rows = product / cols;
                let distance = (shape - f64::from(cols) / f64::from(rows)).abs();
                let larger = || area > 0.5 * tile_area * f64::from(product);
                if distance < nearest || (distance == nearest && larger()) {
                    nearest = distance;
                    best = Grid { cols, rows };
                }
            }
        }
        best
    }

    /// Tiles that a grid gives, the thumbnail included.
    pub fn count(&self, grid: Grid) -> usize {
        let tiles = grid.cols as usize * grid.rows as usize;
        if self.thumbnail && tiles > 1 { tiles + 1 } else { tiles }
    }

    /// Tiles of a picture of this size that is first enlarged `scale` times (1 leaves it as it is).
    pub fn count_for(&self, width: u32, height: u32, scale: u32) -> usize {
        self.count(self.grid(width.saturating_mul(scale), height.saturating_mul(scale)))
    }

    /// Cuts a picture: resized (bicubic) to fill its grid, cut row by row, normalised, the thumbnail last.
    pub fn cut(&self, picture: &RgbImage) -> Tiles {
        let grid = self.grid(picture.width(), picture.height());
        let count = self.count(grid);
        let side = self.side as usize;
        let filled = resize(picture, grid.cols * self.side, grid.rows * self.side, Filter::Bicubic);
        let small = (count > grid.cols as usize * grid.rows as usize)
            .then(|| resize(picture, self.side, self.side, Filter::Bicubic));
        let levels = levels();
        let mut pixels = vec![0f32; count * 3 * side * side];
        if side > 0 {
            pixels.par_chunks_exact_mut(3 * side * side).enumerate().for_each(|(tile, planes)| {
                let (col, row) = (tile % grid.cols as usize, tile / grid.cols as usize);
                match &small {
                    Some(small) if tile + 1 == count => spread(small, 0, 0, side, &levels, planes),
                    _ => spread(&filled, col * side, row * side, side, &levels, planes),
                }
            });
        }
        Tiles { grid, count, side: self.side, pixels }
    }

    /// [`Tiling::cut`] of the picture enlarged `scale` times (bilinear) first, as InternVL's evaluation does with
    /// the first picture of an MMMU question.
    pub fn cut_enlarged(&self, picture: &RgbImage, scale: u32) -> Tiles {
        if scale <= 1 {
            return self.cut(picture);
        }
        let (width, height) = (picture.width().saturating_mul(scale), picture.height().saturating_mul(scale));
        self.cut(&resize(picture, width, height, Filter::Bilinear))
    }
}

/// The normalised value of each of the 256 levels, by channel: level / 255, less the mean, over the deviation, each
/// step rounded to f32 as torchvision does.
fn levels() -> [[f32; 256]; 3] {
    let mut levels = [[0f32; 256]; 3];
    for (channel, values) in levels.iter_mut().enumerate() {
        for (level, value) in values.iter_mut().enumerate() {
            *value = (level as f32 / 255.0 - MEAN[channel]) / DEVIATION[channel];
        }
    }
    levels
}

/// Writes one square of a picture as three planes.
fn spread(
    picture: &RgbImage,
    left: usize,
    top: usize,
    side: usize,
    levels: &[[f32; 256]; 3],
    planes: &mut [f32],
) {
    let line = picture.width() as usize * 3;
    let (red, rest) = planes.split_at_mut(side * side);
    let (green, blue) = rest.split_at_mut(side * side);
    for y in 0..side {
        let start = (top + y) * line + left * 3;
        let source = &picture.as_raw()[start..start + side * 3];
        let row = y * side..(y + 1) * side;
        let planes = red[row.clone()].iter_mut().zip(&mut green[row.clone()]).zip(&mut blue[row]);
        for (((red, green), blue), rgb) in planes.zip(source.chunks_exact(3)) {
            *red = levels[0][usize::from(rgb[0])];
            *green = levels[1][usize::from(rgb[1])];
            *blue = levels[2][usize::from(rgb[2])];
        }
    }
}
