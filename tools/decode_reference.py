"""Writes tests/fixtures/picture/decode.json: small picture files and what Pillow 12.0.0's convert("RGB") makes of them.

    pip install pillow==12.0.0 numpy && python tools/decode_reference.py > tests/fixtures/picture/decode.json
"""

import base64
import io
import json
import struct
import zlib

import numpy as np
import PIL
from PIL import Image

assert PIL.__version__ == "12.0.0"


def by_hand(width, height, depth, colour, raw, palette=b"", transparency=b""):
    """A png of a kind that Pillow does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    if palette:
        out += chunk(b"PLTE", palette)
    if transparency:
        out += chunk(b"tRNS", transparency)
    return out + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def saved(picture, how, **options):
    out = io.BytesIO()
    picture.save(out, how, **options)
    return out.getvalue()


levels = [0, 1, 127, 128, 255, 256, 257, 384, 1000, 32768, 65279, 65280, 65407, 65408, 65535]
rng = np.random.default_rng(7)
noise = rng.integers(0, 256, (9, 13, 4), dtype=np.uint8)
rgba = Image.fromarray(noise, "RGBA")
rgb = Image.fromarray(noise[:, :, :3].copy(), "RGB")
grey = Image.fromarray(noise[:, :, 0].copy(), "L")
palette = rgb.quantize(16)
frames = [rgb.quantize(8), grey.quantize(4)]
files = {
    "png 16-bit grey": by_hand(15, 1, 16, 0, b"\0" + struct.pack(">15H", *levels)),
    "png 16-bit grey with alpha": by_hand(15, 1, 16, 4, b"\0" + b"".join(struct.pack(">HH", v, 9) for v in levels)),
    "png 16-bit colour": by_hand(15, 1, 16, 2, b"\0" + b"".join(struct.pack(">HHH", v, 65535 - v, v) for v in levels)),
    "png 16-bit colour with alpha": by_hand(15, 1, 16, 6, b"\0" + b"".join(struct.pack(">HHHH", v, 0, v, 7) for v in levels)),
    "png 1-bit": by_hand(10, 2, 1, 0, b"\0\xaa\x40\0\x55\x80"),
    "png 2-bit grey": by_hand(4, 1, 2, 0, b"\0\x1b"),
    "png 4-bit grey": by_hand(4, 1, 4, 0, b"\0\x0f\x7a"),
    "png 4-bit palette with transparency": by_hand(4, 1, 4, 3, b"\0\x01\x23", bytes(range(12)), b"\x00\x80\xff"),
    "png colour with one transparent colour": by_hand(2, 1, 8, 2, b"\0\x01\x02\x03\x04\x05\x06", transparency=b"\0\x01\0\x02\0\x03"),
    "png with alpha": saved(rgba, "PNG"),
    "png grey with alpha": saved(rgba.convert("LA"), "PNG"),
    "png palette": saved(palette, "PNG"),
    "png grey": saved(grey, "PNG"),
    "webp lossless with alpha": saved(rgba, "WEBP", lossless=True, exact=True),
    "webp lossless": saved(rgb, "WEBP", lossless=True),
    "bmp": saved(rgb, "BMP"),
    "bmp grey": saved(grey, "BMP"),
    "bmp palette": saved(palette, "BMP"),
    "gif": saved(palette, "GIF"),
    "gif with a transparent colour": saved(palette, "GIF", transparency=3),
    "gif of two frames": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
    "tiff": saved(rgb, "TIFF"),
    "tiff lzw": saved(rgb, "TIFF", compression="tiff_lzw"),
    "tiff deflate grey": saved(grey, "TIFF", compression="tiff_adobe_deflate"),
    "tiff with alpha": saved(rgba, "TIFF"),
    "tiff 16-bit grey": saved(Image.fromarray(np.array([levels], dtype=np.uint16)), "TIFF"),
    "tiff 1-bit": saved(grey.convert("1"), "TIFF"),
}
smooth = Image.fromarray(np.indices((20, 31))[[0, 1, 0]].transpose(1, 2, 0).astype(np.uint8) * 6, "RGB")
turned = Image.Exif()
turned[0x112] = 6
# Decoders of lossy files round in their own ways; 4 levels are what is allowed here.
lossy = {
    "jpeg": saved(smooth, "JPEG", quality=95, subsampling=0),
    "jpeg with halved colours": saved(smooth, "JPEG", quality=90, subsampling=2),
    "jpeg grey": saved(grey, "JPEG", quality=95),
    "jpeg cmyk": saved(smooth.convert("CMYK"), "JPEG", quality=95),
    "jpeg progressive": saved(smooth, "JPEG", quality=90, progressive=True),
    "jpeg that exif says is turned": saved(smooth, "JPEG", exif=turned, quality=95),
    "webp lossy": saved(smooth, "WEBP", quality=80),
}
files |= lossy
rows = []
for name, data in files.items():
    picture = Image.open(io.BytesIO(data))
    pixels = picture.convert("RGB")
    rows.append({"name": name, "file": base64.b64encode(data).decode(), "size": pixels.size, "allowed": 4 if name in lossy else 0, "rgb": base64.b64encode(pixels.tobytes()).decode()})
print("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")
