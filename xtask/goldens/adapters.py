"""Adapters that `safevlm train` wrote for the tiny Safe-VLMs, read by PEFT, and the merged folders, read by transformers.

    python adapters.py ROOT

ROOT/FAMILY/run/adapter is what `safevlm train` wrote for models/FAMILY/tests/goldens/tiny, and ROOT/FAMILY/merged what
`safevlm merge` made of both. Checks that PEFT, which reads base and adapter, and transformers, which reads the merged folder,
give the same logits, and writes models/FAMILY/tests/goldens/adapter: the adapter's two files and merged.json, with the ids
that the merged model answers a case of cases.json with, and the guard's probabilities.
"""

import json
import pathlib
import shutil
import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from gradients import PICTURE, ROOT, head

STEPS = 24


def load(folder: pathlib.Path) -> torch.nn.Module:
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tensors = {key: value for file in folder.glob("model*.safetensors") for key, value in load_file(file).items()}
    layers = head(tensors)
    # Under the names that it has in the file.
    model.img_safety_head = torch.nn.Module()
    model.img_safety_head.mlp = torch.nn.Sequential(layers[0], layers[1], torch.nn.Identity(), layers[2])
    return model


def run(family: str, model: torch.nn.Module, processor, case: dict) -> tuple[torch.Tensor, list[int], list[float]]:
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    token = getattr(inner.config, "image_token_id", None) or inner.config.image_token_index
    pixels = processor.image_processor(PICTURE[family](case["turns"][0][1][0]), return_tensors="pt")
    pixels.pop("num_crops", None)
    ids, answer, first = list(case["input_ids"]), [], None
    with torch.no_grad():
        for _ in range(STEPS):
            row = torch.tensor([ids])
            inputs = {"input_ids": row, "attention_mask": torch.ones_like(row)} | dict(pixels)
            types = {"safe-qwen": "mm_token_type_ids", "safe-gem": "token_type_ids"}.get(family)
            if types:
                inputs[types] = (row == token).long()
            hidden = inner.model(**inputs).last_hidden_state[0]
            logits = inner.lm_head(hidden[-1])
            if first is None:
                guard = inner.img_safety_head.mlp(hidden[row[0] == token].mean(0, keepdim=True)).softmax(-1)[0].tolist()
                first = logits
            answer.append(int(logits.argmax()))
            ids.append(answer[-1])
    return first, answer, guard


def main(root: pathlib.Path) -> None:
    for family in PICTURE:
        goldens = ROOT / "models" / family / "tests/goldens"
        base, made = goldens / "tiny", root / family
        case = next(c for c in json.loads((base / "cases.json").read_text()) if len(c["turns"]) == 1 and len(c["turns"][0][1]) == 1)
        processor = AutoProcessor.from_pretrained(base, use_fast=False)
        adapted = PeftModel.from_pretrained(load(base), made / "run/adapter").eval()
        by_peft = run(family, adapted, processor, case)
        by_merge = run(family, load(made / "merged"), processor, case)
        plain = run(family, load(base), processor, case)
        off = (by_peft[0] - by_merge[0]).abs().max() / by_peft[0].abs().max()
        moved = (by_peft[0] - plain[0]).abs().max() / plain[0].abs().max()
        print(f"{family}: PEFT and the merged folder differ by {off:.1e}, the base by {moved:.1e}")
        # The merged folder is in the base's type, which may be half precision.
        assert off < 5e-3 and moved > 2 * off, "the adapter is not what it says"
        out = goldens / "adapter"
        out.mkdir(exist_ok=True)
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(made / "run/adapter" / name, out / name)
        config = json.loads((out / "adapter_config.json").read_text()) | {"base_model_name_or_path": "../tiny"}
        (out / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
        golden = {"turns": case["turns"], "greedy_ids": by_merge[1], "guard": by_merge[2]}
        (out / "merged.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
