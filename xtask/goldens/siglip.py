"""Tiny random SigLIP vision encoders stage by stage, and Gemma 3's image processor, by transformers.

    python siglip.py

Writes into models/siglip/tests/goldens:

- NAME/{config.json,model.safetensors,stages.safetensors}: `pixels` [2,3,S,S]; `patch_embedding` [2,P,32],
  `embeddings` (positions added), `layers.N`, `post_layernorm` (the result); inside layer 0
  `layers.0.layer_norm1`, `layers.0.self_attn`, `layers.0.mlp`. config.json holds `vision_config` alone.
- images/*.png: crops of scikit-image's `chelsea` (CC0, Stéfan van der Walt), of the shapes in which processors
  differ; processors.json: settings, each as a preprocessor_config.json; and processors.safetensors:
  `SETTING.IMAGE` [V,3,S,S] f32 where S is small, V images of one (more than one with pan-and-scan); for the 896
  pixels of Gemma 3 every 8191st value of the flattened pixels. The SHA-256 of all values (little-endian f32) is
  in processors.json.

tiny-gemma3 has no pooling head, as in Gemma 3; tiny-head has one, which nobody computes, and another activation.
"""

import hashlib
import json
import pathlib

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage import data
from transformers import SiglipVisionConfig, SiglipVisionModel
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/siglip/tests/goldens"
VARIANTS = {
    "tiny-gemma3": dict(hidden_size=32, intermediate_size=72, num_hidden_layers=3, num_attention_heads=4,
                        image_size=42, patch_size=14, vision_use_head=False),
    "tiny-head": dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
                      image_size=32, patch_size=8, hidden_act="gelu", layer_norm_eps=1e-3),
}
COMMON = dict(do_resize=True, do_rescale=True, do_normalize=True, image_mean=[0.5, 0.5, 0.5],
              image_std=[0.5, 0.5, 0.5], rescale_factor=1 / 255)
PAN = dict(do_pan_and_scan=True, pan_and_scan_min_crop_size=16, pan_and_scan_max_num_crops=4,
           pan_and_scan_min_ratio_to_activate=1.2)
SETTINGS = {
    "small": COMMON | dict(size={"height": 28, "width": 28}, resample=2, do_pan_and_scan=None),
    "old": COMMON | dict(size=20, resample=3, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.7]),
    "pan": COMMON | dict(size={"height": 16, "width": 16}, resample=2) | PAN,
    "pan-strict": COMMON | dict(size={"height": 16, "width": 16}, resample=2)
    | PAN | dict(pan_and_scan_max_num_crops=2, pan_and_scan_min_crop_size=40),
    "gemma3": COMMON | dict(size={"height": 896, "width": 896}, resample=2, do_pan_and_scan=None),
}
# left, top, width, height in the picture
IMAGES = {"portrait": (110, 60, 61, 97), "landscape": (60, 100, 190, 53), "tiny": (140, 110, 5, 7),
          "line": (40, 130, 120, 1), "column": (150, 20, 1, 75), "exact": (120, 90, 28, 28)}


def scramble(model: torch.nn.Module) -> None:
    """Weights that matter: transformers' own initialisation (norms 1, biases 0) hides most mistakes."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.copy_(0.2 * torch.randn_like(p) + (1.0 if name.endswith("weight") else 0.0))
            elif p.ndim == 1 or "position" in name:
                p.copy_(0.5 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * 1.5 / p[0].numel() ** 0.5)


@torch.no_grad()
def stages(model: SiglipVisionModel, pixels: torch.Tensor) -> dict:
    seen = {}

    def keep(name):
        def hook(_module, _inputs, output):
            seen[name] = (output[0] if isinstance(output, tuple) else output).detach().clone().contiguous()
        return hook

    first = model.encoder.layers[0]
    hooked = {"patch_embedding": model.embeddings.patch_embedding, "embeddings": model.embeddings,
              "layers.0.layer_norm1": first.layer_norm1, "layers.0.self_attn": first.self_attn,
              "layers.0.mlp": first.mlp}
    hooked |= {f"layers.{n}": layer for n, layer in enumerate(model.encoder.layers)}
    handles = [module.register_forward_hook(keep(name)) for name, module in hooked.items()]
    seen["post_layernorm"] = model(pixels).last_hidden_state.clone()
    for handle in handles:
        handle.remove()
    seen["patch_embedding"] = seen["patch_embedding"].flatten(2).transpose(1, 2).contiguous()
    return {"pixels": pixels} | seen


def models() -> None:
    for seed, (name, config) in enumerate(VARIANTS.items()):
        torch.manual_seed(40 + seed)
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        config = SiglipVisionConfig(**config)
        model = SiglipVisionModel._from_config(config, attn_implementation="eager").eval().float()
        scramble(model)
        pixels = torch.randn(2, 3, config.image_size, config.image_size)
        model.save_pretrained(folder)
        save_file(stages(model, pixels), folder / "stages.safetensors")
        print(name, sum(f.stat().st_size for f in folder.iterdir()))


def processors() -> None:
    (OUT / "images").mkdir(parents=True, exist_ok=True)
    picture = data.chelsea()
    tensors, described = {}, {}
    for setting, options in SETTINGS.items():
        processor = Gemma3ImageProcessorPil(**options)
        digests = {}
        for name, (left, top, width, height) in IMAGES.items():
            image = Image.fromarray(np.ascontiguousarray(picture[top:top + height, left:left + width]))
            image.save(OUT / "images" / f"{name}.png", optimize=True)
            output = processor(image, return_tensors="np")
            pixels = np.ascontiguousarray(output["pixel_values"], dtype=np.float32)
            assert pixels.shape[0] == 1 + int(output["num_crops"][0])
            digests[name] = hashlib.sha256(pixels.tobytes()).hexdigest()
            kept = pixels if pixels.shape[-1] < 100 else pixels.reshape(-1)[::8191]
            tensors[f"{setting}.{name}"] = torch.from_numpy(np.ascontiguousarray(kept))
        described[setting] = {"preprocessor_config": {"image_processor_type": "Gemma3ImageProcessor"} | options,
                              "side": int(pixels.shape[-1]), "sha256": digests}
        print(setting, {n: tensors[f"{setting}.{n}"].shape[0] for n in IMAGES})
    save_file(tensors, OUT / "processors.safetensors")
    (OUT / "processors.json").write_text(json.dumps(described, indent=1) + "\n")
    print(sum(f.stat().st_size for f in OUT.rglob("*") if f.is_file()), "bytes in all")


if __name__ == "__main__":
    models()
    processors()
