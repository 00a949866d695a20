"""Golden blocks of the formats that crates/kernels quantizes, by the `gguf` package.

    python quantize.py

Writes crates/kernels/src/quant/golden.bin: 6 rows of 64 values in f32, then their bytes in Q8_0, Q4_0 and Q4_1; all
little-endian.
"""

import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/kernels/src/quant/golden.bin"


def main() -> None:
    rng = np.random.default_rng(20260102)
    rows = rng.normal(scale=0.1, size=(6, 64)).astype("<f4")
    # Zeros, ties of the largest value, one sign only, very small and very large values.
    rows[1, :32] = 0
    rows[2, :32] = np.tile([1, -1, 0.5, -0.0], 8)
    rows[3] = np.abs(rows[3]) + 1
    rows[4] *= 1e-6
    rows[5] *= 1e5
    parts = [rows.tobytes()] + [gguf.quants.quantize(rows, kind).tobytes() for kind in (T.Q8_0, T.Q4_0, T.Q4_1)]
    OUT.write_bytes(b"".join(parts))
    print(OUT, OUT.stat().st_size)


main()
