//! Pictures on their way to a server: the file as it is where any server reads it alike, else encoded anew.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, RgbImage};

use super::decode::{decode, guarded, open};
use crate::{Problem, Result};

/// In which format a picture is encoded where it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SentAs {
    /// Without loss; a jpeg is sent as it is, since nothing would be won.
    #[default]
    Png,
    /// At this quality, from 1 to 100.
    Jpeg(u8),
}

impl SentAs {
    /// The quality with which Pillow, and so VLMEvalKit, encodes.
    pub const USUAL_QUALITY: u8 = 75;
}

impl fmt::Display for SentAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Png => f.write_str("png"),
            Self::Jpeg(quality) => write!(f, "jpeg:{quality}"),
        }
    }
}

impl FromStr for SentAs {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self> {
        let (name, quality) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let quality = quality.map(|quality| quality.parse().ok().filter(|q| (1..=100).contains(q)));
        match (name, quality) {
            ("png", None) => Ok(Self::Png),
            ("jpeg" | "jpg", None) => Ok(Self::Jpeg(Self::USUAL_QUALITY)),
            ("jpeg" | "jpg", Some(Some(quality))) => Ok(Self::Jpeg(quality)),
            _ => Err(Problem::new(format!("pictures cannot be sent as {text:?}"))
                .fix("choose png, jpeg, or jpeg:Q with a quality Q from 1 to 100")),
        }
    }
}

/// A picture file as it is sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The file.
    pub bytes: Arc<[u8]>,
    /// What it is: `image/png` or `image/jpeg`.
    pub mime: &'static str,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Whether it is the dataset's own file, byte for byte.
    pub original: bool,
}

/// Makes a picture file ready to be sent. It stays as it is where it is a png (or, whatever is asked for, a jpeg) that
/// every reader turns into the same red, green and blue: no alpha, no palette, no 16-bit colour, no CMYK, no EXIF
/// rotation. Everything else is encoded anew from what Pillow's `convert("RGB")` gives.
///
/// # Errors
/// As [`decode`].
pub fn send(bytes: Arc<[u8]>, place: &str, form: SentAs) -> Result<Sent> {
    let ((width, height), is_plain) = guarded(place, || {
        let mut decoder = open(&bytes, place)?;
        let is_plain =
            matches!(decoder.original_color_type(), ExtendedColorType::L8 | ExtendedColorType::Rgb8)
                && matches!(decoder.orientation(), Ok(Orientation::NoTransforms));
        Ok((decoder.dimensions(), is_plain))
    })?;
    let format = image::guess_format(&bytes).ok();
    let mime = match (format, form) {
        (Some(ImageFormat::Jpeg), _) => Some("image/jpeg"),
        (Some(ImageFormat::Png), SentAs::Png) if is_plain_png(&bytes) => Some("image/png"),
        _ => None,
    };
    if let Some(mime) = mime.filter(|_| is_plain) {
        return Ok(Sent { bytes, mime, width, height, original: true });
    }
    let (bytes, mime) = encode(&decode(&bytes, place)?, form)
        .map_err(|error| Problem::new(format!("the picture cannot be encoded: {error}")).at(place))?;
    Ok(Sent { bytes: bytes.into(), mime, width, height, original: false })
}

fn encode(picture: &RgbImage, form: SentAs) -> image::ImageResult<(Vec<u8>, &'static str)> {
    let mut file = Vec::new();
    let (width, height) = picture.dimensions();
    let mime = match form {
        SentAs::Png => {
            PngEncoder::new(&mut file).write_image(picture, width, height, ExtendedColorType::Rgb8)?;
            "image/png"
        }
        SentAs::Jpeg(quality) => {
            JpegEncoder::new_with_quality(&mut file, quality).write_image(
                picture,
                width,
                height,
                ExtendedColorType::Rgb8,
            )?;
            "image/jpeg"
        }
    };
    Ok((file, mime))
}

/// Whether a png is 8-bit grey or colour: its header's bit depth and colour type (PNG specification, 11.2.1).
fn is_plain_png(bytes: &[u8]) -> bool {
    matches!(bytes.get(24..26), Some([8, 0 | 2]))
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GrayAlphaImage, Rgb, Rgb32FImage};

    use super::*;

    fn file(picture: &DynamicImage, format: ImageFormat) -> Arc<[u8]> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner().into()
    }

    fn colours() -> DynamicImage {
        DynamicImage::from(RgbImage::from_fn(9, 5, |x, y| Rgb([x as u8 * 20, y as u8 * 40, 77])))
    }

    #[test]
    fn plain_files_go_as_they_are() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let bytes = file(&colours(), format);
            let sent = send(bytes.clone(), "here", SentAs::Png).unwrap();
            assert!(sent.original && sent.bytes == bytes && (sent.width, sent.height) == (9, 5));
        }
        let grey = file(&DynamicImage::from(colours().to_luma8()), ImageFormat::Png);
        assert!(send(grey, "here", SentAs::Png).unwrap().original);
    }

    #[test]
    fn everything_else_keeps_its_pixels_in_a_png() {
        let alpha = DynamicImage::from(GrayAlphaImage::from_fn(3, 2, |x, _| image::LumaA([9, x as u8])));
        let deep = DynamicImage::from(Rgb32FImage::from_pixel(2, 2, Rgb([0.2, 0.4, 0.6]))).to_rgb16();
        let files = [
            file(&colours(), ImageFormat::WebP),
            file(&colours(), ImageFormat::Bmp),
            file(&alpha, ImageFormat::Png),
            file(&DynamicImage::from(deep), ImageFormat::Png),
        ];
        for bytes in files {
            let sent = send(bytes.clone(), "here", SentAs::Png).unwrap();
            assert!(!sent.original && sent.mime == "image/png");
            assert_eq!(decode(&sent.bytes, "sent").unwrap(), decode(&bytes, "here").unwrap());
        }
    }

    #[test]
    fn jpeg_is_used_where_it_is_chosen() {
        let bytes = file(&colours(), ImageFormat::Png);
        let sent = send(bytes, "here", "jpeg:40".parse().unwrap()).unwrap();
        assert_eq!(image::guess_format(&sent.bytes).unwrap(), ImageFormat::Jpeg);
        assert_eq!("jpg".parse::<SentAs>().unwrap().to_string(), "jpeg:75");
        for bad in ["gif", "jpeg:0", "jpeg:101", "png:9", ""] {
            assert!(bad.parse::<SentAs>().is_err(), "{bad}");
        }
        assert!(send(b"no picture"[..].into(), "here", SentAs::Png).is_err());
    }
}
