"""Gradients of the joint loss for every parameter of the tiny Safe-VLMs, by torch's autograd.

    python gradients.py

Reads models/safe-*/tests/goldens/tiny (safe_llava.py, safe_qwen.py and safe_gem.py wrote them) and writes beside them
gradients.json and gradients.safetensors. The loss is that of arXiv 2506.04704: the mean cross-entropy of all answer
tokens, and once the mean cross-entropy of the pictures' classes, of the guard without dropout. Two conversations with one
picture each are answered with the first tokens of what the model generates anyway.

gradients.json: for each row its case in cases.json, the answer's ids and the class; the loss and its two parts.
gradients.safetensors: for each tensor of the checkpoint its gradient divided by `NAME.scale`, its greatest value, in f16;
none of what the loss does not reach.
"""

import json
import pathlib

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

import safe_gem
import safe_llava
import safe_qwen

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLASSES = [16, 0]
ANSWER = 6
PICTURE = {"safe-llava": safe_llava.picture, "safe-qwen": safe_qwen.picture, "safe-gem": safe_gem.read_picture}


def head(tensors: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The guard of a checkpoint."""
    parts = {name.split("img_safety_head.")[1]: value.float() for name, value in tensors.items() if "img_safety_head." in name}
    (first, _), (last, _) = sorted((int(name.split(".")[1]), name) for name in parts if name.endswith("weight"))
    layers = torch.nn.Sequential(torch.nn.Linear(*parts[f"mlp.{first}.weight"].shape[::-1]), torch.nn.GELU(),
                                 torch.nn.Linear(*parts[f"mlp.{last}.weight"].shape[::-1]))
    with torch.no_grad():
        for ours, name in ((layers[0], first), (layers[2], last)):
            ours.weight.copy_(parts[f"mlp.{name}.weight"])
            ours.bias.copy_(parts[f"mlp.{name}.bias"])
    return layers


def golden(name: str) -> None:
    folder = ROOT / "models" / name / "tests/goldens/tiny"
    tensors = {key: value for file in folder.glob("model*.safetensors") for key, value in load_file(file).items()}
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    guard = head(tensors)
    image_token = getattr(model.config, "image_token_id", None) or model.config.image_token_index
    cases = json.loads((folder / "cases.json").read_text())
    single = [nth for nth, case in enumerate(cases) if sum(len(turn[1]) for turn in case["turns"]) == 1][:2]
    assert len(single) == 2
    processor = AutoProcessor.from_pretrained(folder, use_fast=False)
    rows, language, guard_loss, count = [], 0.0, 0.0, 0
    for nth, label in zip(single, CLASSES):
        case = cases[nth]
        answer = case["greedy_ids"][:ANSWER]
        picture = next(name for turn in case["turns"] for name in turn[1])
        pixels = processor.image_processor(PICTURE[name](picture), return_tensors="pt")
        pixels.pop("num_crops", None)
        ids = torch.tensor([case["input_ids"] + answer])
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)} | dict(pixels)
        types = (ids == image_token).long()
        if name == "safe-qwen":
            inputs["mm_token_type_ids"] = types
        if name == "safe-gem":
            inputs["token_type_ids"] = types
        hidden = model.model(**inputs).last_hidden_state[0]
        logits = model.lm_head(hidden[len(case["input_ids"]) - 1:-1])
        language = language + torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum")
        pooled = hidden[ids[0] == image_token].mean(0, keepdim=True)
        guard_loss = guard_loss + torch.nn.functional.cross_entropy(guard(pooled), torch.tensor([label])) / len(single)
        count += len(answer)
        rows.append({"case": nth, "answer": answer, "label": label})
    language = language / count
    (language + guard_loss).backward()
    gradients = {}
    module = {key: p.grad for key, p in model.named_parameters()}
    first, last = sorted(int(key.split(".")[-2]) for key in tensors if "img_safety_head." in key and key.endswith("weight"))
    module |= {f"img_safety_head.mlp.{nth}.{part}": getattr(guard[at], part).grad
               for nth, at in ((first, 0), (last, 2)) for part in ("weight", "bias")}
    for key in tensors:
        gradient = module[key] if key in module else module[in_memory(key)]
        if gradient is None:
            continue  # Of a layer behind the features.
        scale = gradient.abs().max().clamp_min(1e-30)
        gradients[key] = (gradient / scale).half().contiguous()
        gradients[f"{key}.scale"] = scale.reshape(1)
    save_file(gradients, folder / "gradients.safetensors")
    losses = {"language": language.item(), "guard": guard_loss.item()}
    (folder / "gradients.json").write_text(json.dumps({"rows": rows} | losses, indent=1) + "\n")
    print(name, losses, len(gradients) // 2, "tensors")


def in_memory(name: str) -> str:
    """The parameter's name in transformers for a tensor's in the file."""
    for old, new in (("model.language_model.model.", "model.language_model."), ("language_model.model.", "model.language_model."),
                     ("language_model.lm_head.", "lm_head."),
                     ("vision_tower.", "model.vision_tower."), ("multi_modal_projector.", "model.multi_modal_projector."),
                     ("visual.", "model.visual."), ("model.", "model.language_model.")):
        if name.startswith(old) and (len(old) > len(new) or not name.startswith(new)):
            return new + name.removeprefix(old)
    return name


if __name__ == "__main__":
    for family in PICTURE:
        golden(family)
