//! One triangle of a mesh: which pixels it covers, and their colours.

use egui::epaint::{Vertex, WHITE_UV};

use super::texture::Texture;
use super::{Bounds, Canvas};

/// Corners are put on a grid of so many steps a pixel, so that two triangles with a common edge neither overlap nor
/// leave a gap.
const STEPS: i64 = 256;

/// A corner on the grid.
type Point = [i64; 2];

/// Draws one triangle within the canvas's clip.
pub(super) fn fill(
    canvas: &mut Canvas<'_>,
    mut corners: [Vertex; 3],
    texture: &Texture,
    pixels_per_point: f32,
) {
    let on_grid =
        |v: &Vertex| [v.pos.x, v.pos.y].map(|p| (p * pixels_per_point * STEPS as f32).round() as i64);
    let mut points = corners.each_ref().map(on_grid);
    let mut area = doubled_area(&points);
    if area == 0 {
        return;
    }
    if area < 0 {
        points.swap(1, 2);
        corners.swap(1, 2);
        area = -area;
    }
    let edges = [
        Edge::between(points[0], points[1]),
        Edge::between(points[1], points[2]),
        Edge::between(points[2], points[0]),
    ];
    let paint = Paint::new(&points, &corners, area);
    let around = pixels_around(&points, canvas.clip);
    for y in around.top..around.bottom {
        let (mut from, mut to) = (around.left, around.right);
        for edge in &edges {
            (from, to) = edge.within(y, from, to);
        }
        if from < to {
            let row = y as usize * canvas.width;
            let span = &mut canvas.pixels[row + from as usize..row + to as usize];
            paint.span(span, from as f32, y as f32, texture);
        }
    }
}

/// Twice the area, positive where the corners go round clockwise on the screen.
fn doubled_area(p: &[Point; 3]) -> i64 {
    (p[1][0] - p[0][0]) * (p[2][1] - p[0][1]) - (p[1][1] - p[0][1]) * (p[2][0] - p[0][0])
}

/// The pixels whose centres can lie inside.
fn pixels_around(points: &[Point; 3], clip: Bounds) -> Bounds {
    let half = STEPS / 2;
    let first = |axis: usize| {
        let least = points.iter().map(|p| p[axis]).min().unwrap_or(0);
        (least - half + STEPS - 1).div_euclid(STEPS)
    };
    let end = |axis: usize| {
        let most = points.iter().map(|p| p[axis]).max().unwrap_or(0);
        (most - half).div_euclid(STEPS) + 1
    };
    Bounds {
        left: first(0).max(clip.left),
        top: first(1).max(clip.top),
        right: end(0).min(clip.right),
        bottom: end(1).min(clip.bottom),
    }
}

/// `a x + b y + c >= 0` on the inside, on the grid.
struct Edge {
    a: i64,
    b: i64,
    c: i64,
}

impl Edge {
    fn between([x0, y0]: Point, [x1, y1]: Point) -> Self {
        let (a, b) = (y0 - y1, x1 - x0);
        // A pixel exactly on an edge belongs to the triangle right of or below it, so to one of two neighbours.
        let is_top_or_left = a > 0 || (a == 0 && b > 0);
        Self { a, b, c: -(a * x0 + b * y0) - i64::from(!is_top_or_left) }
    }

    /// The part of a row's pixels `from..to` that lies inside.
    fn within(&self, y: i64, from: i64, to: i64) -> (i64, i64) {
        let half = STEPS / 2;
        let rest = self.b * (y * STEPS + half) + self.c + self.a * half;
        let slope = self.a * STEPS;
        match slope.signum() {
            1 => (from.max(-rest.div_euclid(slope)), to),
            -1 => (from, to.min(rest.div_euclid(-slope) + 1)),
            _ if rest < 0 => (from, from),
            _ => (from, to),
        }
    }
}

/// A value that changes evenly over the triangle: at pixel (0, 0), and its change a pixel across and down.
#[derive(Clone, Copy, Default)]
struct Plane {
    origin: f32,
    across: f32,
    down: f32,
}

impl Plane {
    fn at(&self, x: f32, y: f32) -> f32 {
        self.origin + self.across * x + self.down * y
    }
}

/// How colour and texture run over a triangle.
struct Paint {
    /// The colour, where all corners share it.
    flat: Option<[u8; 4]>,
    color: [Plane; 4],
    /// Place in the texture; `None` where nothing but its white is used.
    texture: Option<[Plane; 2]>,
}

impl Paint {
    fn new(points: &[Point; 3], corners: &[Vertex; 3], doubled_area: i64) -> Self {
        let area = doubled_area as f32 / (STEPS * STEPS) as f32;
        let at = points.map(|p| p.map(|c| c as f32 / STEPS as f32));
        let (u, v) = (minus(at[1], at[0]), minus(at[2], at[0]));
        let plane = |values: [f32; 3]| {
            let (du, dv) = (values[1] - values[0], values[2] - values[0]);
            let across = (du * v[1] - dv * u[1]) / area;
            let down = (dv * u[0] - du * v[0]) / area;
            // Values are those of pixel centres.
            let origin = values[0] + across * (0.5 - at[0][0]) + down * (0.5 - at[0][1]);
            Plane { origin, across, down }
        };
        let color = std::array::from_fn(|i| plane(corners.map(|v| f32::from(v.color.to_array()[i]))));
        let is_flat = corners.iter().all(|v| v.color == corners[0].color);
        let is_plain = corners.iter().all(|v| v.uv == WHITE_UV);
        let texture = [plane(corners.map(|v| v.uv.x)), plane(corners.map(|v| v.uv.y))];
        Self {
            flat: is_flat.then(|| corners[0].color.to_array()),
            color,
            texture: (!is_plain).then_some(texture),
        }
    }

    /// Paints the pixels of a row from `x` on.
    fn span(&self, pixels: &mut [[u8; 4]], x: f32, y: f32, texture: &Texture) {
        if let (Some(color), None) = (self.flat, &self.texture) {
            match color[3] {
                255 => pixels.fill(color),
                _ => pixels.iter_mut().for_each(|pixel| over(pixel, color)),
            }
            return;
        }
        for (i, pixel) in pixels.iter_mut().enumerate() {
            let x = x + i as f32;
            let mut color = match self.flat {
                Some(color) => color.map(f32::from),
                None => self.color.map(|plane| plane.at(x, y)),
            };
            if let Some([u, v]) = &self.texture {
                let texel = texture.sample(u.at(x, y), v.at(x, y));
                color = std::array::from_fn(|i| color[i] * texel[i] / 255.0);
            }
            over(pixel, color.map(|c| (c + 0.5) as u8));
        }
    }
}

fn minus(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
    [a[0] - b[0], a[1] - b[1]]
}

/// Puts a premultiplied colour over a pixel.
fn over(pixel: &mut [u8; 4], color: [u8; 4]) {
    let keep = 255 - u32::from(color[3]);
    for (below, above) in pixel.iter_mut().zip(color) {
        *below = (u32::from(above) + (u32::from(*below) * keep + 127) / 255).min(255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui::{Color32, Rect, pos2};

    fn white() -> Texture {
        let image = egui::ColorImage::filled([1, 1], Color32::WHITE);
        Texture::new(&egui::epaint::ImageDelta::full(image, egui::TextureOptions::LINEAR))
    }

    fn draw(triangles: &[[[f32; 2]; 3]], alpha: u8) -> Vec<[u8; 4]> {
        let mut pixels = vec![[0; 4]; 16 * 16];
        let bounds = Rect::from_min_max(pos2(0.0, 0.0), pos2(16.0, 16.0));
        let clip = Bounds::of(bounds, 1.0, [16, 16]);
        let mut canvas = Canvas { pixels: &mut pixels, width: 16, clip };
        let color = Color32::RED.gamma_multiply_u8(alpha);
        for corners in triangles {
            let corners = corners.map(|[x, y]| Vertex { pos: pos2(x, y), uv: WHITE_UV, color });
            fill(&mut canvas, corners, &white(), 1.0);
        }
        pixels
    }

    #[test]
    fn two_halves_of_a_square_cover_every_pixel_once() {
        let halves = [[[1.3, 2.0], [14.7, 1.1], [13.9, 14.2]], [[1.3, 2.0], [13.9, 14.2], [2.2, 13.6]]];
        let whole = draw(&halves, 100);
        // A pixel painted twice would be darker than 100.
        assert!(whole.iter().all(|p| p[3] == 0 || p[3] == 100));
        let apart = halves.map(|half| draw(&[half], 100).iter().filter(|p| p[3] > 0).count());
        assert_eq!(whole.iter().filter(|p| p[3] > 0).count(), apart[0] + apart[1]);
    }

    #[test]
    fn whole_pixels_are_covered_exactly() {
        let square = [[[2.0, 3.0], [6.0, 3.0], [6.0, 8.0]], [[2.0, 3.0], [6.0, 8.0], [2.0, 8.0]]];
        let pixels = draw(&square, 255);
        for (i, pixel) in pixels.iter().enumerate() {
            let inside = (2..6).contains(&(i % 16)) && (3..8).contains(&(i / 16));
            assert_eq!(pixel[3] == 255, inside, "pixel {i}");
        }
    }

    #[test]
    fn nothing_is_drawn_outside_or_from_a_line() {
        assert!(draw(&[[[-50.0, -50.0], [-10.0, -50.0], [-10.0, -1.0]]], 255).iter().all(|p| p[3] == 0));
        assert!(draw(&[[[1.0, 1.0], [5.0, 5.0], [9.0, 9.0]]], 255).iter().all(|p| p[3] == 0));
        let all = draw(&[[[-1e6, -1e6], [1e6, -1e6], [0.0, 1e6]]], 255);
        assert!(all.iter().all(|p| p[3] == 255));
    }
}
