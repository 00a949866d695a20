"""config.json and tensor names of the published SafeGem and Gemma 3 sizes, without their weights.

    python safe_gem_presets.py

Writes models/safe-gem/presets/NAME.{json,tensors}. A `.tensors` file has one tensor a line, its name and its
extents, with layers folded as `{0..47}`. Names are those of the published files, shapes those of transformers'
class on the meta device. The configurations are the ones on the hub, in which most of the text part is left to
transformers' defaults, and the guard's keys (HoliSafe, arXiv 2506.04704; `guard_input` is left out, since nobody
who has the checkpoints has published it).
"""

import json
import pathlib
import re

import torch
from transformers import Gemma3Config

from safe_gem import GUARD, SafeGem

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/safe-gem/presets"
ROPE = {"factor": 8.0, "rope_type": "linear"}
TEXT = {
    "4b": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
           "rope_scaling": ROPE, "sliding_window": 1024},
    "12b": {"hidden_size": 3840, "intermediate_size": 15360, "model_type": "gemma3_text", "num_attention_heads": 16,
            "num_hidden_layers": 48, "num_key_value_heads": 8, "rope_scaling": ROPE, "sliding_window": 1024},
    "27b": {"head_dim": 128, "hidden_size": 5376, "intermediate_size": 21504, "model_type": "gemma3_text",
            "num_attention_heads": 32, "num_hidden_layers": 62, "num_key_value_heads": 16,
            "query_pre_attn_scalar": 168, "rope_scaling": ROPE, "sliding_window": 1024},
}
VISION = {"hidden_size": 1152, "image_size": 896, "intermediate_size": 4304, "model_type": "siglip_vision_model",
          "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14, "vision_use_head": False}
NAMES = {"safe-gem-12b": "12b", "safe-gem-27b": "27b", "gemma-3-4b": "4b", "gemma-3-12b": "12b"}


def published(name: str) -> str:
    """A name in memory as the published files have it."""
    name = name.replace("model.language_model.", "language_model.model.")
    name = name.replace("model.vision_tower.", "vision_tower.vision_model.")
    return name.replace("model.multi_modal_projector.", "multi_modal_projector.")


def folded(tensors: dict) -> list[str]:
    """One line for the layers that are alike."""
    runs = {}
    for name, shape in tensors.items():
        layer = re.search(r"\.layers\.(\d+)\.", name)
        pattern = name if layer is None else name.replace(layer[0], ".layers.{}.", 1)
        runs.setdefault((pattern, tuple(shape)), []).append(-1 if layer is None else int(layer[1]))
    lines = []
    for (pattern, shape), layers in runs.items():
        assert layers == [-1] or layers == list(range(layers[0], layers[-1] + 1)), (pattern, layers)
        run = f"{layers[0]}..{layers[-1]}"
        lines.append(" ".join([pattern.replace("{}", "{" + run + "}"), *map(str, shape)]))
    return lines


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for name, size in NAMES.items():
        config = {
            "architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999, "eoi_token_index": 256000,
            "eos_token_id": [1, 106], "image_token_index": 262144, "initializer_range": 0.02, "mm_tokens_per_image": 256,
            "model_type": "gemma3",
        }
        if name.startswith("safe-"):
            config |= GUARD
        config |= {"text_config": TEXT[size], "torch_dtype": "bfloat16", "vision_config": VISION}
        (OUT / f"{name}.json").write_text(json.dumps(config, indent=2) + "\n")
        with torch.device("meta"):
            model = SafeGem(Gemma3Config(**config))
        tensors = {published(key): tensor.shape for key, tensor in model.state_dict().items() if key != "lm_head.weight"}
        guard = sum(p.numel() for key, p in model.named_parameters() if "img_safety_head" in key)
        assert guard == {"safe-gem-12b": 7_413_140, "safe-gem-27b": 14_507_156}.get(name, 0), guard
        total = sum(p.numel() for p in model.parameters())
        assert total == sum(shape.numel() for shape in tensors.values()), "the head is tied"
        (OUT / f"{name}.tensors").write_text("\n".join(folded(tensors)) + "\n")
        print(name, len(tensors), total)
