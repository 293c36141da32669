"""Writes tests/fixtures/picture/resize.json: what Pillow 12.0.0 makes of pictures that the test makes again.

    pip install pillow==12.0.0 && python tools/resize_reference.py > tests/fixtures/picture/resize.json

A picture of width w and height h is w*h*3 bytes of a linear congruential generator seeded with its size: state =
state * 6364136223846793005 + 1442695040888963407 (mod 2**64), byte = state >> 56. Every second one is smoothed by
adding x and y, so that both noise and slopes occur. The answer is the sha256 of the resized bytes.
"""

import hashlib
import json

import PIL
from PIL import Image

assert PIL.__version__ == "12.0.0", "Pillow 13 orders its passes in another way"

SIZES = [(1, 1), (1, 7), (7, 1), (2, 3), (5, 5), (31, 17), (64, 64), (100, 37), (333, 211), (448, 448), (517, 389)]
TARGETS = [(1, 1), (3, 2), (17, 31), (64, 64), (64, 100), (113, 64), (448, 448), (896, 448), (224, 672), (333, 500)]


def picture(w, h, smooth):
    state = (w * 1_000_003 + h) & (2**64 - 1)
    out = bytearray()
    for i in range(w * h * 3):
        state = (state * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
        byte = state >> 56
        if smooth:
            x, y = (i // 3) % w, (i // 3) // w
            byte = (byte // 8 + 2 * x + 3 * y) & 255
        out.append(byte)
    return Image.frombytes("RGB", (w, h), bytes(out))


rows = []
for n, (w, h) in enumerate(SIZES):
    for smooth in (False, True):
        source = picture(w, h, smooth)
        for m, (tw, th) in enumerate(TARGETS):
            for name, how in (("bicubic", Image.BICUBIC), ("bilinear", Image.BILINEAR)):
                if (n + m + smooth) % 2 and name == "bilinear":
                    continue
                digest = hashlib.sha256(source.resize((tw, th), how).tobytes()).hexdigest()
                rows.append([w, h, smooth, tw, th, name, digest])
        digest = hashlib.sha256(source.resize((2 * w, 2 * h), Image.BILINEAR).tobytes()).hexdigest()
        rows.append([w, h, smooth, 2 * w, 2 * h, "bilinear", digest])
print('{"columns": ["width", "height", "smooth", "to_width", "to_height", "filter", "sha256"], "rows": [')
print(",\n".join(json.dumps(row) for row in rows))
print("]}")
