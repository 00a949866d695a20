"""A tiny guard head with its logits, by PyTorch.

    python vgm.py

Writes models/vgm/tests/goldens/tiny.json: hidden 32, inner 16, 20 classes; three rows of 7 tokens with
their visual-token masks, the masked mean, and the logits of Linear -> exact GELU -> Linear. Lists are
flat, row after row.
"""

import json
import pathlib

import torch

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/vgm/tests/goldens/tiny.json"


@torch.no_grad()
def main() -> None:
    torch.manual_seed(7)
    head = torch.nn.Sequential(
        torch.nn.Linear(32, 16), torch.nn.GELU(), torch.nn.Dropout(0.1), torch.nn.Linear(16, 20)
    ).eval()
    hidden = 2 * torch.randn(3, 7, 32)
    mask = torch.tensor([[0, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1, 0]])
    pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    values = {
        "hidden": hidden, "fc1.weight": head[0].weight, "fc1.bias": head[0].bias,
        "fc2.weight": head[3].weight, "fc2.bias": head[3].bias, "pooled": pooled, "logits": head(pooled),
    }
    golden = {name: [float(f"{v:.8g}") for v in value.flatten().tolist()] for name, value in values.items()}
    golden["visual"] = mask.bool().flatten().tolist()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(golden) + "\n")
    print(OUT, OUT.stat().st_size)


if __name__ == "__main__":
    main()
