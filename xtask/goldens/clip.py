"""Tiny random CLIP vision encoders stage by stage, and CLIP's image processor, by transformers.

    python clip.py

Writes into models/clip/tests/goldens:

- NAME/{config.json,model.safetensors,stages.safetensors}: `pixels` [2,3,S,S]; `patch_embedding` [2,P,32],
  `embeddings` (class token and positions added), `pre_layrnorm` (the hidden state before the first layer),
  `layers.N`, `pooled` (the class token after `post_layernorm`); inside layer 0 `layers.0.layer_norm1`,
  `layers.0.self_attn`, `layers.0.mlp`; and `features.N` for the Nth selection of features.json, which LLaVA's
  own `get_image_features` makes, its projector left out. config.json holds `vision_config` alone.
- images/*.png: crops of scikit-image's `chelsea` (CC0, Stéfan van der Walt), of the shapes in which processors
  differ; processors.json: settings, each as a preprocessor_config.json; and processors.safetensors:
  `SETTING.IMAGE` [3,S,S] f32 where S is small; for the 336 pixels of LLaVA-1.5 every 997th value of the
  flattened pixels. The SHA-256 of all values (little-endian f32) is in processors.json.

tiny-quick is laid out as LLaVA's vision tower (quick GELU), tiny-gelu has another activation, epsilon and grid.
"""

import hashlib
import json
import pathlib

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage import data
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlavaConfig, LlavaModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/clip/tests/goldens"
VARIANTS = {
    "tiny-quick": dict(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
                       image_size=42, patch_size=14, hidden_act="quick_gelu", layer_norm_eps=1e-5),
    "tiny-gelu": dict(hidden_size=32, intermediate_size=80, num_hidden_layers=2, num_attention_heads=2,
                      image_size=32, patch_size=8, hidden_act="gelu", layer_norm_eps=1e-3),
}
SELECTIONS = [
    {"vision_feature_layer": -2, "vision_feature_select_strategy": "default"},
    {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"},
    {"vision_feature_layer": [-1, 0, 1, 1], "vision_feature_select_strategy": "default"},
    {"vision_feature_layer": [0], "vision_feature_select_strategy": "full"},
]
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
COMMON = dict(do_resize=True, do_center_crop=True, do_normalize=True, image_mean=MEAN, image_std=STD, resample=3)
# Old files give plain numbers; newer ones dictionaries. `pad` stands for the original LLaVA's padding.
SETTINGS = {
    "old": COMMON | dict(size=28, crop_size=28),
    "new": COMMON | dict(size={"shortest_edge": 30}, crop_size={"height": 27, "width": 27}, do_rescale=True,
                         rescale_factor=1 / 255),
    "pad": COMMON | dict(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, do_pad=True),
    "squash": COMMON | dict(size={"height": 29, "width": 31}, crop_size={"height": 28, "width": 28}, resample=2),
    "raw": COMMON | dict(size=28, crop_size=28, do_normalize=False, do_rescale=False),
    "llava": COMMON | dict(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
    "llava-pad": COMMON | dict(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, do_pad=True),
}
# left, top, width, height in the picture
IMAGES = {"portrait": (110, 60, 61, 97), "landscape": (60, 100, 90, 53), "tiny": (140, 110, 5, 7),
          "line": (40, 130, 120, 1), "column": (150, 20, 1, 75), "exact": (120, 90, 28, 28)}


def scramble(model: torch.nn.Module) -> None:
    """Weights that matter: transformers' own initialisation (std 0.02, norms 1) hides most mistakes."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.copy_(0.2 * torch.randn_like(p) + (1.0 if name.endswith("weight") else 0.0))
            elif p.ndim == 1 or "position" in name:
                p.copy_(0.5 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * 1.5 / p[0].numel() ** 0.5)


@torch.no_grad()
def stages(model: CLIPVisionModel, pixels: torch.Tensor) -> dict:
    seen = {}

    def keep(name):
        def hook(_module, _inputs, output):
            seen[name] = (output[0] if isinstance(output, tuple) else output).detach().clone().contiguous()
        return hook

    first = model.encoder.layers[0]
    hooked = {"patch_embedding": model.embeddings.patch_embedding, "embeddings": model.embeddings,
              "pre_layrnorm": model.pre_layrnorm, "layers.0.layer_norm1": first.layer_norm1,
              "layers.0.self_attn": first.self_attn, "layers.0.mlp": first.mlp}
    hooked |= {f"layers.{n}": layer for n, layer in enumerate(model.encoder.layers)}
    handles = [module.register_forward_hook(keep(name)) for name, module in hooked.items()]
    seen["pooled"] = model(pixels).pooler_output.clone()
    for handle in handles:
        handle.remove()
    seen["patch_embedding"] = seen["patch_embedding"].flatten(2).transpose(1, 2).contiguous()
    return {"pixels": pixels} | seen


@torch.no_grad()
def features(model: CLIPVisionModel, pixels: torch.Tensor) -> dict:
    text = LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    llava = LlavaModel(LlavaConfig(vision_config=model.config.to_dict(), text_config=text.to_dict())).eval()
    llava.vision_tower = model
    llava.multi_modal_projector = torch.nn.Identity()
    selected = {}
    for n, selection in enumerate(SELECTIONS):
        output = llava.get_image_features(pixel_values=pixels, **selection)
        selected[f"features.{n}"] = torch.stack(list(output.pooler_output)).contiguous()
    return selected


def models() -> None:
    for seed, (name, config) in enumerate(VARIANTS.items()):
        torch.manual_seed(30 + seed)
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        model = CLIPVisionModel._from_config(CLIPVisionConfig(**config), attn_implementation="eager").eval().float()
        scramble(model)
        pixels = torch.randn(2, 3, config["image_size"], config["image_size"])
        model.save_pretrained(folder)
        save_file(stages(model, pixels) | features(model, pixels), folder / "stages.safetensors")
        (folder / "features.json").write_text(json.dumps(SELECTIONS, indent=1) + "\n")
        print(name, sum(f.stat().st_size for f in folder.iterdir()))


def processors() -> None:
    (OUT / "images").mkdir(parents=True, exist_ok=True)
    picture = data.chelsea()
    tensors, described = {}, {}
    for setting, options in SETTINGS.items():
        kind = LlavaImageProcessorPil if options.get("do_pad") else CLIPImageProcessorPil
        processor = kind(**options)
        digests = {}
        for name, (left, top, width, height) in IMAGES.items():
            image = Image.fromarray(np.ascontiguousarray(picture[top:top + height, left:left + width]))
            image.save(OUT / "images" / f"{name}.png", optimize=True)
            pixels = np.asarray(processor(image, return_tensors="np")["pixel_values"][0], dtype=np.float32)
            digests[name] = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
            kept = pixels if pixels.shape[-1] < 100 else pixels.reshape(-1)[::997]
            tensors[f"{setting}.{name}"] = torch.from_numpy(np.ascontiguousarray(kept))
        described[setting] = {"preprocessor_config": json_options(kind, options), "side": int(pixels.shape[-1]),
                              "sha256": digests}
    save_file(tensors, OUT / "processors.safetensors")
    (OUT / "processors.json").write_text(json.dumps(described, indent=1) + "\n")
    print(sum(f.stat().st_size for f in OUT.rglob("*") if f.is_file()), "bytes in all")


def json_options(kind: type, options: dict) -> dict:
    return {"image_processor_type": kind.__name__.removesuffix("Pil")} | options


if __name__ == "__main__":
    models()
    processors()
