"""What Pillow makes of a photograph at several sizes, for safevlm-core's `resize`.

    python resize.py

Writes crates/core/tests/goldens/resize/{source.png,FILTER_WIDTHxHEIGHT.png,FILTER_tall_WIDTHxHEIGHT.png}.
The source is a crop of scikit-image's `chelsea` (CC0, Stéfan van der Walt) with one noisy and one two-coloured
corner, where rounding and overshoot show most.
"""

import pathlib

import numpy as np
from PIL import Image
from skimage import data

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/core/tests/goldens/resize"
SIZES = [(97, 61), (48, 30), (224, 141), (13, 9), (61, 97), (97, 7), (5, 61), (1, 1)]
TALL_SIZES = [(70, 40), (48, 30), (50, 75)]
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    pixels = data.chelsea()[90:151, 100:197].copy()
    pixels[:16, :24] = np.random.default_rng(7).integers(0, 256, (16, 24, 3))
    pixels[-16:, -24:] = np.where(np.indices((16, 24)).sum(0)[..., None] % 6 < 3, 255, 0)
    source = Image.fromarray(pixels)
    source.save(OUT / "source.png", optimize=True)
    # With a tall source the vertical pass comes first in the first two of these (since Pillow 13).
    tall = source.transpose(Image.Transpose.TRANSPOSE)
    for name, kind in FILTERS.items():
        for width, height in TALL_SIZES:
            tall.resize((width, height), kind).save(OUT / f"{name}_tall_{width}x{height}.png", optimize=True)
        for width, height in SIZES:
            source.resize((width, height), kind).save(OUT / f"{name}_{width}x{height}.png", optimize=True)
    print(sum(f.stat().st_size for f in OUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
