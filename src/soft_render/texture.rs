//! Textures in premultiplied gamma-space RGBA.

use egui::epaint::ImageDelta;
use egui::{ImageData, TextureFilter, TextureOptions, TextureWrapMode};

/// One texture.
pub(super) struct Texture {
    width: usize,
    height: usize,
    texels: Vec<[u8; 4]>,
    options: TextureOptions,
}

impl Texture {
    /// A texture from a whole image.
    pub(super) fn new(delta: &ImageDelta) -> Self {
        let [width, height] = delta.image.size();
        Self { width, height, texels: texels(&delta.image).collect(), options: delta.options }
    }

    /// Replaces a part; what would lie outside is left away.
    pub(super) fn patch(&mut self, delta: &ImageDelta) {
        let [left, top] = delta.pos.unwrap_or_default();
        let [width, _] = delta.image.size();
        for (i, texel) in texels(&delta.image).enumerate() {
            let (x, y) = (left + i % width.max(1), top + i / width.max(1));
            if x < self.width && y < self.height {
                self.texels[y * self.width + x] = texel;
            }
        }
    }

    /// The colour at `u, v` (0 to 1 across and down), each channel from 0 to 255.
    pub(super) fn sample(&self, u: f32, v: f32) -> [f32; 4] {
        let (x, y) = (u * self.width as f32, v * self.height as f32);
        if self.options.magnification == TextureFilter::Nearest {
            return self.texel(x.floor() as i64, y.floor() as i64);
        }
        let (x, y) = (x - 0.5, y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let (across, down) = (x - left, y - top);
        let (left, top) = (left as i64, top as i64);
        // Glyphs lie on the grid: one texel says it all.
        if across.abs() < 1e-3 && down.abs() < 1e-3 {
            return self.texel(left, top);
        }
        let mix = |a: [f32; 4], b: [f32; 4], t: f32| std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t);
        let upper = mix(self.texel(left, top), self.texel(left + 1, top), across);
        let lower = mix(self.texel(left, top + 1), self.texel(left + 1, top + 1), across);
        mix(upper, lower, down)
    }

    fn texel(&self, x: i64, y: i64) -> [f32; 4] {
        let place = self.wrap(y, self.height) * self.width + self.wrap(x, self.width);
        self.texels.get(place).map_or([0.0; 4], |texel| texel.map(f32::from))
    }

    fn wrap(&self, at: i64, size: usize) -> usize {
        let size = (size as i64).max(1);
        let inside = match self.options.wrap_mode {
            TextureWrapMode::ClampToEdge => at.clamp(0, size - 1),
            TextureWrapMode::Repeat => at.rem_euclid(size),
            TextureWrapMode::MirroredRepeat => {
                let phase = at.rem_euclid(2 * size);
                phase.min(2 * size - 1 - phase)
            }
        };
        inside as usize
    }
}

fn texels(image: &ImageData) -> impl Iterator<Item = [u8; 4]> + '_ {
    let ImageData::Color(image) = image;
    image.pixels.iter().map(|color| color.to_array())
}
