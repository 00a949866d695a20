"""Makes crates/core/tests/images: tiny images of the kinds that Rust's encoders cannot write.

Run from the root of the repository with a Python that has Pillow and NumPy. Prints the colours that
Pillow reads back, which crates/core/tests/image.rs compares with.
"""

import os

import numpy as np
from PIL import Image

OUT = "crates/core/tests/images"
os.makedirs(OUT, exist_ok=True)


def blocks(colours, mode="RGB", size=16):
    """One flat square for each colour, side by side: JPEG keeps flat squares nearly exactly."""
    tiles = [np.full((size, size, len(c)), c, np.uint8) for c in colours]
    return Image.fromarray(np.concatenate(tiles, 1), mode)


def show(name):
    image = Image.open(f"{OUT}/{name}")
    rgb = image.convert("RGB")
    row = [rgb.getpixel((x, 8)) for x in range(8, rgb.width, 16)]
    print(name, os.path.getsize(f"{OUT}/{name}"), image.mode, image.size, row)


RGB = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]

blocks([(0, 255, 255, 0), (255, 0, 255, 0), (40, 80, 160, 100)], "CMYK").save(f"{OUT}/cmyk.jpg", quality=95)
blocks(RGB).save(f"{OUT}/progressive.jpg", quality=95, progressive=True)
blocks([(200, 0, 0), (90, 0, 0)]).convert("L").save(f"{OUT}/grey.jpg", quality=95)

exif = Image.Exif()
exif[0x0112] = 6  # the camera was held upright: turn the picture 90 degrees clockwise to see it
for name in ["exif.jpg", "exif.png", "exif.webp"]:
    options = {"lossless": True} if name.endswith("webp") else {"quality": 95}
    blocks(RGB).save(f"{OUT}/{name}", exif=exif, **options)

frames = [blocks([c] * 3) for c in RGB]
frames[0].save(f"{OUT}/animated.webp", save_all=True, append_images=frames[1:], lossless=True, duration=50)
frames[0].save(f"{OUT}/animated.png", save_all=True, append_images=frames[1:], duration=50)
frames[0].save(f"{OUT}/animated.gif", save_all=True, append_images=frames[1:], duration=50)
blocks(RGB).convert("P", palette=Image.Palette.ADAPTIVE).save(f"{OUT}/palette.png", transparency=0)

for name in sorted(os.listdir(OUT)):
    show(name)
