"""Small PyTorch state dicts of both containers: crates/weights/tests/goldens/{state_dict,nested}.pth.

    python state_dict.py
"""

import pathlib

import torch

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/weights/tests/goldens"


def main() -> None:
    ramp = torch.arange(6, dtype=torch.float32).reshape(2, 3) / 4
    state = {
        "f32": ramp,
        "transposed": ramp.t(),
        "view": torch.arange(10.0)[4:8],
        "f16": ramp.half(),
        "bf16": ramp.bfloat16(),
        "f64": ramp.double(),
        "steps": torch.tensor(7),
        "flags": torch.tensor([True, False]),
    }
    torch.save(state, OUT / "state_dict.pth")
    torch.save({"epoch": 3, "state_dict": {"fc.weight": ramp}}, OUT / "nested.pth", _use_new_zipfile_serialization=False)


main()
