"""Golden blocks of every GGUF type that crates/weights dequantises, with the reference's values.

    python gguf_blocks.py

Writes crates/weights/tests/goldens/blocks.gguf: for each type a tensor `TYPE` of two rows with
random quants and scales, and `TYPE.expected`, its values by the `gguf` package (numpy, f32).
"""

import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/weights/tests/goldens/blocks.gguf"
# Type: values in a row, and where in a block its f16 scales lie.
TYPES = {
    T.F16: (16, [0]),
    T.BF16: (16, []),
    T.Q4_0: (64, [0]),
    T.Q4_1: (64, [0, 2]),
    T.Q5_0: (64, [0]),
    T.Q8_0: (64, [0]),
    T.Q4_K: (512, [0, 2]),
    T.Q6_K: (512, [208]),
}


def main() -> None:
    rng = np.random.default_rng(20260101)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(OUT, "test")
    for kind, (width, scales) in TYPES.items():
        values, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (2 * width // values, size), dtype=np.uint8)
        if kind == T.BF16:
            words = rng.normal(size=len(blocks)).astype("<f4").view("<u4") >> 16
            blocks = words.astype("<u2").view(np.uint8).reshape(-1, 2)
        for at in scales:
            blocks[:, at : at + 2] = rng.normal(scale=0.1, size=(len(blocks), 1)).astype("<f2").view(np.uint8)
        raw = np.ascontiguousarray(blocks.reshape(2, -1))
        expected = gguf.quants.dequantize(raw, kind).astype(np.float32)
        assert expected.shape == (2, width) and np.isfinite(expected).all(), kind
        writer.add_tensor(kind.name, raw, raw_dtype=kind)
        writer.add_tensor(f"{kind.name}.expected", expected)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(OUT, OUT.stat().st_size)


main()
