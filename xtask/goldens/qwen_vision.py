"""Qwen2.5-VL's vision encoder and its image processor, by transformers.

    python qwen_vision.py

Writes models/qwen-vision/tests/goldens/:

NAME/{config.json,model.safetensors,stages.safetensors,preprocessor_config.json}: tiny random encoders.
stages.safetensors has `grids` [images,3] i64 (frames, rows, columns), `patches`, `patch_embed`,
`blocks.N` and `output`. Blocks work on patches in window order; here they are put back in the order
of `patches`. Only `tiny` starts from pictures (`sizes`, drawn by `picture`); its sizes are such that
one grid is not covered by whole windows, and the other is. `tiny-clip` has a two-frame clip between
images, other widths, and the tensor names of newer files (`model.visual.*`).

pixels.json, pixels.safetensors: the slow (PIL) Qwen2VLImageProcessor on pictures of many sizes: the
grid and every STRIDE-th value of the flattened patches; and `smart_resize` on many sizes more.
"""

import json
import pathlib
import random

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize
from transformers.vision_utils import get_vision_window_index

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/qwen-vision/tests/goldens"
STRIDE = 29
VARIANTS = {
    "tiny": dict(depth=3, hidden_size=32, intermediate_size=44, num_heads=2, out_hidden_size=24, window_size=16,
                 fullatt_block_indexes=[1]),
    "tiny-clip": dict(depth=2, hidden_size=24, intermediate_size=32, num_heads=2, out_hidden_size=40, window_size=32,
                      fullatt_block_indexes=[0]),
}
PATCH = dict(patch_size=4, spatial_merge_size=2, temporal_patch_size=2)
KEYS = ["depth", "fullatt_block_indexes", "hidden_act", "hidden_size", "in_channels", "intermediate_size", "model_type",
        "num_heads", "out_hidden_size", "patch_size", "rope_parameters", "spatial_merge_size", "temporal_patch_size",
        "tokens_per_second", "window_size"]
SIZES = [(25, 43), (31, 17)]
CLIP_GRIDS = [[1, 12, 10], [2, 4, 6], [1, 2, 2]]


def picture(width: int, height: int) -> Image.Image:
    """A picture that the tests can draw too; every channel and every pixel differs."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return Image.fromarray(((x * 37 + y * 59 + c * 101 + x * y % 97 * 3) % 256).astype(np.uint8))


def build(config: Qwen2_5_VLVisionConfig) -> Qwen2_5_VisionTransformerPretrainedModel:
    """A model whose layers matter: transformers' own initialisation (std 0.02, norms 1) hides most mistakes."""
    model = Qwen2_5_VisionTransformerPretrainedModel._from_config(config, attn_implementation="eager").eval().float()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name or "ln_q" in name:
                p.copy_(1 + 0.2 * torch.randn_like(p))
            elif p.dim() == 1:
                p.copy_(0.3 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * 1.5 / (p.numel() / p.shape[0]) ** 0.5)
    return model


@torch.no_grad()
def stages(model: Qwen2_5_VisionTransformerPretrainedModel, patches: torch.Tensor, grids: torch.Tensor) -> dict:
    seen = {}

    def keep(name):
        def hook(_module, _inputs, output):
            seen[name] = (output[0] if isinstance(output, tuple) else output).detach().clone()
        return hook

    hooked = {"patch_embed": model.patch_embed} | {f"blocks.{n}": block for n, block in enumerate(model.blocks)}
    handles = [module.register_forward_hook(keep(name)) for name, module in hooked.items()]
    seen["output"] = model(patches, grids).pooler_output
    for handle in handles:
        handle.remove()
    config, unit = model.config, model.config.spatial_merge_size ** 2
    order, boundaries = get_vision_window_index(grids, config.spatial_merge_size, config.window_size, config.patch_size)
    print(len(boundaries) - 1, "windows:", (boundaries[1:] - boundaries[:-1]).tolist())
    for n in range(config.depth):
        windows = seen[f"blocks.{n}"].reshape(len(order), unit, -1)
        seen[f"blocks.{n}"] = windows[torch.argsort(order)].reshape(len(patches), -1).contiguous()
    return {"grids": grids, "patches": patches} | seen


def encoders() -> None:
    for seed, (name, extra) in enumerate(VARIANTS.items()):
        torch.manual_seed(40 + seed)
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        model = build(Qwen2_5_VLVisionConfig(**PATCH, **extra))
        sizes = {}
        if name == "tiny":
            processor = Qwen2VLImageProcessorPil(patch_size=4, merge_size=2, temporal_patch_size=2,
                                                 size={"shortest_edge": 256, "longest_edge": 4096})
            processor.save_pretrained(folder)
            inputs = processor([picture(*size) for size in SIZES], return_tensors="pt")
            patches, grids = inputs["pixel_values"], inputs["image_grid_thw"]
            sizes["sizes"] = torch.tensor(SIZES)
        else:
            grids = torch.tensor(CLIP_GRIDS)
            patches = torch.randn(int(grids.prod(1).sum()), 3 * 2 * 4 * 4)
        config = {key: value for key, value in model.config.to_dict().items() if key in KEYS}
        if name == "tiny":
            # As published files have it: an older spelling, and no rotary settings.
            config["in_chans"] = config.pop("in_channels")
            config.pop("rope_parameters")
        (folder / "config.json").write_text(json.dumps({"vision_config": config}, indent=2, sort_keys=True) + "\n")
        prefix = "visual." if name == "tiny" else "model.visual."
        save_file({prefix + k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
        save_file(sizes | stages(model, patches, grids), folder / "stages.safetensors")
        print(name, grids.tolist(), sum(f.stat().st_size for f in folder.iterdir()))


# (settings of the processor, as older and newer files have them; width, height of the picture)
OLD = {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 3136, "max_pixels": 12544}
NEW = {"image_processor_type": "Qwen2VLImageProcessorFast", "size": {"shortest_edge": 6272, "longest_edge": 9408},
       "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3], "rescale_factor": 0.00392156862745098}
CASES = [(OLD, size) for size in [(28, 28), (84, 112), (1, 1), (57, 84), (42, 70), (98, 14), (7, 300), (10, 2000),
                                  (640, 480), (333, 1000)]]
CASES += [(NEW, size) for size in [(28, 28), (100, 75), (301, 200)]]


def pixels() -> None:
    cases, values = [], {}
    for n, (settings, (width, height)) in enumerate(CASES):
        inputs = Qwen2VLImageProcessorPil(**settings)(picture(width, height), return_tensors="pt")
        values[f"{n}"] = inputs["pixel_values"].flatten()[::STRIDE].contiguous()
        cases.append({"settings": settings, "width": width, "height": height, "stride": STRIDE,
                      "grid": inputs["image_grid_thw"][0].tolist(), "patches": list(inputs["pixel_values"].shape)})
    dice = random.Random(7)
    sizes = []
    for _ in range(300):
        width, height = (int(2 ** dice.uniform(0, 13)) for _ in range(2))
        least, most = dice.choice([(3136, 12845056), (3136, 1003520), (56 * 56, 28 * 28 * 4), (200704, 401408)])
        try:
            resized = list(reversed(smart_resize(height, width, 28, least, most)))
        except ValueError:
            resized = None
        sizes.append({"width": width, "height": height, "min_pixels": least, "max_pixels": most, "resized": resized})
    print(sum(s["resized"] is None for s in sizes), "of", len(sizes), "refused")
    (OUT / "pixels.json").write_text(json.dumps({"cases": cases, "sizes": sizes}) + "\n")
    save_file(values, OUT / "pixels.safetensors")
    print("pixels", (OUT / "pixels.json").stat().st_size, (OUT / "pixels.safetensors").stat().st_size)


if __name__ == "__main__":
    encoders()
    pixels()
