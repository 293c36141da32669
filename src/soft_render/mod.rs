//! egui's meshes to pixels on the CPU: no GPU, no display, no system library. For `render`, tests and documentation.
//!
//! Blends as egui's own back ends do: premultiplied alpha in gamma space, bilinear textures. Paint callbacks cannot be
//! drawn, and the window uses none.

mod texture;
mod triangle;

use std::collections::HashMap;

use egui::epaint::{ClippedPrimitive, Primitive};
use egui::{Rect, TextureId, TexturesDelta};
use image::RgbaImage;

use texture::Texture;

/// The textures of one egui context, and how they are drawn with.
#[derive(Default)]
pub struct SoftRenderer {
    textures: HashMap<TextureId, Texture>,
}

impl SoftRenderer {
    /// Takes over new and changed textures and drops freed ones; leaves `delta` empty.
    pub fn update_textures(&mut self, delta: &mut TexturesDelta) {
        for (id, images) in delta.set.drain() {
            for image in images {
                if image.is_whole() {
                    self.textures.insert(id, Texture::new(&image));
                } else if let Some(texture) = self.textures.get_mut(&id) {
                    texture.patch(&image);
                }
            }
        }
        for id in delta.free.drain() {
            self.textures.remove(&id);
        }
    }

    /// Draws tessellated primitives on transparent ground of `[width, height]` pixels.
    pub fn paint(&self, primitives: &[ClippedPrimitive], size: [u32; 2], pixels_per_point: f32) -> RgbaImage {
        let mut image = RgbaImage::new(size[0], size[1]);
        let (pixels, _) = image.as_flat_samples_mut().samples.as_chunks_mut::<4>();
        let mut canvas = Canvas { pixels, width: size[0] as usize, clip: Bounds::default() };
        for ClippedPrimitive { clip_rect, primitive } in primitives {
            canvas.clip = Bounds::of(*clip_rect, pixels_per_point, size);
            let Primitive::Mesh(mesh) = primitive else { continue };
            let Some(texture) = self.textures.get(&mesh.texture_id) else { continue };
            for [a, b, c] in mesh.indices.as_chunks::<3>().0 {
                let corner = |index: &u32| mesh.vertices.get(*index as usize);
                if let (Some(a), Some(b), Some(c)) = (corner(a), corner(b), corner(c)) {
                    triangle::fill(&mut canvas, [*a, *b, *c], texture, pixels_per_point);
                }
            }
        }
        image
    }
}

/// What is drawn on: premultiplied RGBA, row by row.
struct Canvas<'a> {
    pixels: &'a mut [[u8; 4]],
    width: usize,
    clip: Bounds,
}

/// Whole pixels: from the first to before the last.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    left: i64,
    top: i64,
    right: i64,
    bottom: i64,
}

impl Bounds {
    fn of(rect: Rect, pixels_per_point: f32, [width, height]: [u32; 2]) -> Self {
        let pixel =
            |points: f32, limit: u32| (points * pixels_per_point).round().clamp(0.0, limit as f32) as i64;
        Self {
            left: pixel(rect.min.x, width),
            top: pixel(rect.min.y, height),
            right: pixel(rect.max.x, width),
            bottom: pixel(rect.max.y, height),
        }
    }
}
