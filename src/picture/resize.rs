//! Resizing that equals Pillow 12.0.0 bit by bit.
//!
//! Pillow (`src/libImaging/Resample.c`) resizes in two one-dimensional passes, horizontal first, and rounds to
//! eight bits between them. Weights are fixed-point numbers with 22 fractional bits. When a picture shrinks, the
//! filter widens with it, so nothing is skipped.

use image::RgbImage;
use rayon::prelude::*;

/// Fractional bits of a weight: 32, less 8 for the pixel and 2 for overshoot.
const PRECISION: u32 = 22;

/// How pixels between the known ones are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// Keys' cubic with a = -0.5, Pillow's default for `Image.resize`.
    Bicubic,
    /// A triangle two pixels wide.
    Bilinear,
}

impl Filter {
    /// Half the filter's width in pixels, before it widens for shrinking.
    fn support(self) -> f64 {
        match self {
            Filter::Bicubic => 2.0,
            Filter::Bilinear => 1.0,
        }
    }

    /// The filter's height at a distance from its centre.
    fn at(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Filter::Bicubic => {
                const A: f64 = -0.5;
                if x < 1.0 {
                    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
                } else if x < 2.0 {
                    (((x - 5.0) * x + 8.0) * x - 4.0) * A
                } else {
                    0.0
                }
            }
            Filter::Bilinear => {
                if x < 1.0 {
                    1.0 - x
                } else {
                    0.0
                }
            }
        }
    }
}

/// Which pixels of a line make each new pixel, and with what weight.
struct Axis {
    /// For each new pixel: its first source pixel, and where its weights start in `weights`.
    spans: Vec<(usize, usize)>,
    /// Fixed-point weights of all new pixels, one after another.
    weights: Vec<i32>,
}

impl Axis {
    fn new(from: u32, to: u32, filter: Filter) -> Self {
        let scale = f64::from(from) / f64::from(to);
        let widening = scale.max(1.0);
        let support = filter.support() * widening;
        let narrowing = 1.0 / widening;
        let mut spans = Vec::with_capacity(to as usize + 1);
        let mut weights = Vec::new();
        let mut line = Vec::new();
        for pixel in 0..to {
            let centre = (f64::from(pixel) + 0.5) * scale;
            let first = ((centre - support + 0.5) as i64).max(0);
            let end = ((centre + support + 0.5) as i64).min(i64::from(from));
            line.clear();
            line.extend((first..end).map(|x| filter.at((x as f64 - centre + 0.5) * narrowing)));
            let sum: f64 = line.iter().sum();
            spans.push((first as usize, weights.len()));
            weights.extend(line.iter().map(|&weight| {
                let weight = if sum == 0.0 { weight } else { weight / sum };
                let fixed = weight * f64::from(1 << PRECISION);
                if weight < 0.0 { (fixed - 0.5) as i32 } else { (fixed + 0.5) as i32 }
            }));
        }
        spans.push((from as usize, weights.len()));
        Self { spans, weights }
    }

    /// First source pixel and weights of one new pixel.
    fn span(&self, pixel: usize) -> (usize, &[i32]) {
        let (first, start) = self.spans[pixel];
        (first, &self.weights[start..self.spans[pixel + 1].1])
    }
}

/// Half a unit, so that the shift in [`rounded`] rounds.
const HALF: i32 = 1 << (PRECISION - 1);

fn rounded(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// The picture at another size, equal to Pillow 12.0.0's `Image.resize((width, height), filter)` byte by byte.
///
/// An empty picture, or an empty size, gives a black picture of the size asked for.
pub fn resize(picture: &RgbImage, width: u32, height: u32, filter: Filter) -> RgbImage {
    let (from_width, from_height) = picture.dimensions();
    if from_width == 0 || from_height == 0 || width == 0 || height == 0 {
        return RgbImage::new(width, height);
    }
    let widened = (width != from_width).then(|| across(picture, width, filter));
    let picture = widened.as_ref().unwrap_or(picture);
    if height == from_height { picture.clone() } else { down(picture, height, filter) }
}

/// The horizontal pass.
fn across(picture: &RgbImage, width: u32, filter: Filter) -> RgbImage {
    let axis = Axis::new(picture.width(), width, filter);
    let mut wide = RgbImage::new(width, picture.height());
    let from_line = picture.width() as usize * 3;
    let lines = picture.as_raw().par_chunks_exact(from_line);
    wide.par_chunks_exact_mut(width as usize * 3).zip(lines).with_min_len(16).for_each(|(new, old)| {
        for (pixel, rgb) in new.chunks_exact_mut(3).enumerate() {
            let (first, weights) = axis.span(pixel);
            let source = &old[first * 3..(first + weights.len()) * 3];
            let mut sums = [HALF; 3];
            for (old, &weight) in source.chunks_exact(3).zip(weights) {
                for channel in 0..3 {
                    sums[channel] += i32::from(old[channel]) * weight;
                }
            }
            for channel in 0..3 {
                rgb[channel] = rounded(sums[channel]);
            }
        }
    });
    wide
}

/// The vertical pass: whole lines are added up, which the compiler turns into vector instructions.
fn down(picture: &RgbImage, height: u32, filter: Filter) -> RgbImage {
    let axis = Axis::new(picture.height(), height, filter);
    let line = picture.width() as usize * 3;
    let old = picture.as_raw();
    let mut tall = RgbImage::new(picture.width(), height);
    tall.par_chunks_exact_mut(line).enumerate().with_min_len(8).for_each_init(
        || vec![0i32; line],
        |sums, (pixel, new)| {
            let (first, weights) = axis.span(pixel);
            sums.fill(HALF);
            for (source, &weight) in old[first * line..].chunks_exact(line).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(source) {
                    *sum += i32::from(value) * weight;
                }
            }
            for (byte, &sum) in new.iter_mut().zip(sums.iter()) {
                *byte = rounded(sum);
            }
        },
    );
    tall
}
