//! Decoding: from the bytes of a picture file to red, green and blue, within limits.
//!
//! What comes out is what Pillow's `Image.open(...).convert("RGB")` gives: alpha is dropped and not blended, grey is
//! repeated, palettes are looked up, 16-bit colour keeps its high byte and 16-bit grey stops at 255. EXIF rotation is
//! not applied. Only the first frame of an animation is read.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::error::{LimitError, LimitErrorKind};
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use crate::{Problem, Result};

/// Longest side that is read: what JPEG can hold, and above every other format in use.
pub const MAX_SIDE: u32 = 65_535;

/// Most pixels that are read: the size at which Pillow refuses a picture as a decompression bomb.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Most memory that a decoder may take for itself and its result.
const MAX_BYTES: u64 = 1 << 30;

/// The picture in a file of png, jpeg, webp, bmp, gif or tiff, recognised by its first bytes. `place` names it in a
/// refusal.
pub fn decode(bytes: &[u8], place: &str) -> Result<RgbImage> {
    let picture = guarded(place, || {
        let decoder = open(bytes, place)?;
        DynamicImage::from_decoder(decoder).map_err(|error| refused(&error, place))
    })?;
    if picture.width() == 0 || picture.height() == 0 {
        return Err(Problem::new("the picture has no pixels").at(place));
    }
    Ok(as_pillow_converts(picture))
}

/// Width and height, from the file's header alone.
pub fn dimensions(bytes: &[u8], place: &str) -> Result<(u32, u32)> {
    guarded(place, || open(bytes, place).map(|decoder| decoder.dimensions()))
}

/// Some damage makes a decoder panic instead of refusing, such as a palette of one byte in a PNG (png 0.18.1).
pub(super) fn guarded<T>(place: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    // What a decoder has begun is dropped with it, so nothing half done is seen again.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Problem::new("the picture is damaged: its decoder broke off").at(place)))
}

/// A decoder whose header has been read and found within the limits.
pub(super) fn open<'a>(bytes: &'a [u8], place: &str) -> Result<impl ImageDecoder + 'a> {
    if bytes.is_empty() {
        return Err(Problem::new("the picture file is empty").at(place));
    }
    let format = image::guess_format(bytes).map_err(|_| {
        Problem::new("this is not a picture: its first bytes belong to no known format")
            .at(place)
            .fix("use png, jpeg, webp, bmp, gif or tiff")
    })?;
    if format == ImageFormat::Jpeg && !has_end(bytes) {
        return Err(Problem::new("the jpeg picture is cut off").at(place));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| refused(&error, place))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS || width > MAX_SIDE || height > MAX_SIDE {
        return Err(Problem::new(format!(
            "the picture claims {width} x {height} pixels, which is too many to read"
        ))
        .at(place)
        .fix(format!("use a picture of at most {MAX_PIXELS} pixels and {MAX_SIDE} a side")));
    }
    if decoder.total_bytes() > MAX_BYTES {
        return Err(refused(
            &ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory)),
            place,
        ));
    }
    Ok(decoder)
}

/// A decoder's error in our words.
fn refused(error: &ImageError, place: &str) -> Problem {
    match error {
        ImageError::Limits(_) => Problem::new("the picture needs more memory than one picture may take")
            .at(place)
            .fix("use a smaller picture"),
        ImageError::Unsupported(error) => {
            Problem::new(format!("the picture is of a kind that can't be read: {error}"))
                .at(place)
                .fix("use png, jpeg, webp, bmp, gif or tiff")
        }
        error => Problem::new(format!("the picture is damaged: {error}")).at(place),
    }
}

/// `convert("RGB")` of Pillow 12.0.0.
fn as_pillow_converts(picture: DynamicImage) -> RgbImage {
    let (width, height) = (picture.width(), picture.height());
    match picture {
        DynamicImage::ImageRgb8(picture) => picture,
        DynamicImage::ImageLuma16(grey) => {
            RgbImage::from_fn(width, height, |x, y| image::Rgb([grey.get_pixel(x, y).0[0].min(255) as u8; 3]))
        }
        DynamicImage::ImageLumaA16(grey) => {
            RgbImage::from_fn(width, height, |x, y| image::Rgb([high(grey.get_pixel(x, y).0[0]); 3]))
        }
        DynamicImage::ImageRgb16(colour) => RgbImage::from_fn(width, height, |x, y| {
            let [red, green, blue] = colour.get_pixel(x, y).0;
            image::Rgb([high(red), high(green), high(blue)])
        }),
        DynamicImage::ImageRgba16(colour) => RgbImage::from_fn(width, height, |x, y| {
            let [red, green, blue, _] = colour.get_pixel(x, y).0;
            image::Rgb([high(red), high(green), high(blue)])
        }),
        other => other.into_rgb8(),
    }
}

/// The high byte of a 16-bit level.
fn high(level: u16) -> u8 {
    (level >> 8) as u8
}

/// Whether a jpeg has an end-of-image marker after its first scan begins; decoders fill what is missing with grey.
fn has_end(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xDA;
    const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];
    let mut at = 2;
    while let (Some(&0xFF), Some(&marker)) = (bytes.get(at), bytes.get(at + 1)) {
        match marker {
            START_OF_SCAN => return bytes[at..].windows(2).any(|pair| pair == END_OF_IMAGE),
            // Markers without a length, and the fill byte that may stand before any marker.
            0xFF => at += 1,
            0x01 | 0xD0..=0xD8 => at += 2,
            _ => match (bytes.get(at + 2), bytes.get(at + 3)) {
                (Some(&high), Some(&low)) => at += 2 + usize::from(high) * 256 + usize::from(low),
                _ => return false,
            },
        }
    }
    // Not laid out as expected: the decoder will say what is wrong.
    at < bytes.len()
}
