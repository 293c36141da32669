//! A picture made small enough to travel inside a report.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, ImageReader};
use sha2::{Digest, Sha256};

use super::Limits;

/// Bytes of a JPEG for each pixel, of a quiet picture.
const BYTES_A_PIXEL: f64 = 0.18;
/// Smallest longest side, in pixels: below this nobody recognises anything.
const SMALLEST_SIDE: u32 = 64;
/// Pictures up to this many bytes stay as they are, if a browser knows their format.
const SMALL: usize = 24 << 10;
/// Longest side that is decoded at all, in pixels.
const LONGEST_SIDE: u32 = 30_000;
/// Most memory that decoding may take, in bytes.
const DECODED: u64 = 768 << 20;

/// How small pictures have to be.
pub(super) struct Fit {
    /// Longest side, in pixels.
    side: u32,
    /// Bytes that a picture may take, if it can.
    share: usize,
}

impl Fit {
    /// For so many pictures in one report.
    pub fn of(pictures: usize, limits: &Limits) -> Self {
        // Base64 makes four bytes of three.
        let share = limits.pictures * 3 / 4 / pictures.max(1);
        let side = (share as f64 / BYTES_A_PIXEL).sqrt() as u32;
        Self { side: side.min(limits.side).max(SMALLEST_SIDE), share }
    }
}

/// A picture of a report.
pub(super) struct Prepared {
    /// SHA-256 of its original bytes.
    pub hash: [u8; 32],
    /// Its address with all its bytes; nothing where it is known already.
    pub url: Option<String>,
}

/// Prepares a picture from its encoded bytes; nothing where they are none.
pub(super) fn prepare(bytes: &[u8], fit: &Fit, known: impl Fn(&[u8; 32]) -> bool) -> Option<Prepared> {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    if known(&hash) {
        return Some(Prepared { hash, url: None });
    }
    let reader = || {
        let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
        let mut limits = image::Limits::default();
        limits.max_image_width = Some(LONGEST_SIDE);
        limits.max_image_height = Some(LONGEST_SIDE);
        limits.max_alloc = Some(DECODED);
        reader.limits(limits);
        Some(reader)
    };
    let kind = match reader()?.format()? {
        ImageFormat::Png => Some("png"),
        ImageFormat::Jpeg => Some("jpeg"),
        ImageFormat::Gif => Some("gif"),
        ImageFormat::WebP => Some("webp"),
        _ => None,
    };
    let (width, height) = reader()?.into_dimensions().ok()?;
    if let Some(kind) = kind.filter(|_| bytes.len() <= fit.share.min(SMALL) && width.max(height) <= 4096) {
        return Some(Prepared { hash, url: Some(url(kind, bytes)) });
    }
    let picture = reader()?.decode().ok()?;
    let mut side = fit.side.min(width.max(height));
    let mut small = if side < width.max(height) { picture.thumbnail(side, side) } else { picture };
    // The model sees no transparency either.
    small = DynamicImage::ImageRgb8(small.to_rgb8());
    loop {
        let mut encoded = Vec::new();
        small.write_with_encoder(JpegEncoder::new_with_quality(&mut encoded, 80)).ok()?;
        if encoded.len() <= fit.share || side <= SMALLEST_SIDE {
            return Some(Prepared { hash, url: Some(url("jpeg", &encoded)) });
        }
        side = (side * 4 / 5).max(SMALLEST_SIDE);
        small = small.thumbnail(side, side);
    }
}

fn url(kind: &str, bytes: &[u8]) -> String {
    format!("data:image/{kind};base64,{}", BASE64.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Noise, so that it cannot be packed.
        let noise = |x: u32, y: u32| {
            image::Rgb([x.wrapping_mul(y + 7) as u8, (x * 31 + y * 17) as u8, (x ^ y) as u8])
        };
        let picture = image::RgbImage::from_fn(width, height, noise);
        picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        bytes
    }

    fn decoded(url: &str) -> DynamicImage {
        image::load_from_memory(&BASE64.decode(url.split_once(',').unwrap().1).unwrap()).unwrap()
    }

    #[test]
    fn the_more_pictures_the_smaller() {
        let large = png(900, 300);
        let mut last = u32::MAX;
        for pictures in [1, 1_000, 10_000, 10_000_000] {
            let limits = Limits::default();
            let prepared = prepare(&large, &Fit::of(pictures, &limits), |_| false).unwrap();
            let url = prepared.url.unwrap();
            let small = decoded(&url);
            assert!(small.width() < last && small.width().abs_diff(3 * small.height()) <= 3);
            assert!(
                url.len() * pictures <= limits.pictures + 64 * pictures || small.width() == SMALLEST_SIDE
            );
            last = small.width();
        }
        assert_eq!(last, SMALLEST_SIDE);
        let tiny = png(8, 8);
        let prepared = prepare(&tiny, &Fit::of(100, &Limits::default()), |_| false).unwrap();
        assert_eq!(prepared.url.unwrap(), url("png", &tiny));
    }

    #[test]
    fn what_is_no_picture_is_left_out() {
        let fit = Fit::of(1, &Limits::default());
        for bytes in
            [b"".as_slice(), b"<svg onload='alert(1)'/>", b"\x89PNG\r\n\x1a\nnot really", &png(40, 40)[..60]]
        {
            assert!(prepare(bytes, &fit, |_| false).is_none_or(|it| bytes.len() == 60 && it.url.is_some()));
        }
        // A header that promises more than anyone can hold.
        let mut bomb = png(8, 8);
        bomb[16..24].copy_from_slice(&[0, 0, 0x70, 0, 0, 0, 0x70, 0]);
        assert!(prepare(&bomb, &fit, |_| false).is_none());
    }
}
