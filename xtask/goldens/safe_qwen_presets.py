"""config.json and tensor lists of the published Qwen2.5-VL and SafeQwen2.5-VL, by transformers' classes.

    python safe_qwen_presets.py

Writes models/safe-qwen/presets/NAME.{json,tensors}. The configurations are what the published files have, in their
spelling (flat, `rope_theta`, `in_chans`); the guard's keys and tensor names are those of HoliSafe's loader, as far
as they are known. The tensors are those of the reference's model on the meta device, in the names of the published
files, which `save_pretrained` writes too: one line a tensor, its name and extents, with the numbers of equal layers
folded as `{0..27}`.
"""

import copy
import json
import pathlib
import re

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/safe-qwen/presets"
LABELS = ["safe", "gender", "race", "religion", "harassment", "disability_discrimination", "drug_related_hazards",
          "property_crime", "facial_data_exposure", "identity_data_exposure", "physical_self_injury", "suicide",
          "animal_abuse", "obscene_gestures", "physical_altercation", "terrorism", "weapon_related_violence",
          "sexual_content", "financial_advice", "medical_advice"]
GUARD = {"safety_categories": LABELS, "num_safety_categories": 20, "safety_head_hidden_scale": 0.5,
         "safety_num_hidden_layers": 1}
COMMON = {"attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645, "hidden_act": "silu",
          "image_token_id": 151655, "initializer_range": 0.02, "max_position_embeddings": 128000,
          "model_type": "qwen2_5_vl", "rms_norm_eps": 1e-06, "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
          "rope_theta": 1000000.0, "sliding_window": 32768, "torch_dtype": "bfloat16", "use_cache": True,
          "use_sliding_window": False, "video_token_id": 151656, "vision_end_token_id": 151653,
          "vision_start_token_id": 151652, "vision_token_id": 151654}
VISION = {"depth": 32, "hidden_act": "silu", "hidden_size": 1280, "num_heads": 16, "in_chans": 3, "patch_size": 14,
          "spatial_merge_size": 2, "spatial_patch_size": 14, "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31],
          "tokens_per_second": 2, "temporal_patch_size": 2}
SIZES = {
    "3b": dict(vocab_size=151936, hidden_size=2048, intermediate_size=11008, num_hidden_layers=36,
               num_attention_heads=16, num_key_value_heads=2, max_window_layers=70, tie_word_embeddings=True),
    "7b": dict(vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28,
               num_attention_heads=28, num_key_value_heads=4, max_window_layers=28, tie_word_embeddings=False),
    "32b": dict(vocab_size=152064, hidden_size=5120, intermediate_size=27648, num_hidden_layers=64,
                num_attention_heads=40, num_key_value_heads=8, max_window_layers=64, tie_word_embeddings=False),
}


def config_of(size: str) -> dict:
    config = COMMON | SIZES[size]
    # The 32B's file names only what differs from the reference's defaults.
    vision = {key: value for key, value in VISION.items() if size != "32b" or key in
              ["hidden_size", "in_chans", "spatial_patch_size", "tokens_per_second"]}
    vision |= {"intermediate_size": 3456 if size == "32b" else 3420, "out_hidden_size": config["hidden_size"]}
    return config | {"vision_config": vision}


def tensors_of(config: dict) -> dict:
    with torch.device("meta"):
        # The reference writes into what it is given.
        model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**copy.deepcopy(config)))
    total = sum(p.numel() for p in model.parameters())
    shapes = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and config["tie_word_embeddings"]:
            continue
        published = name.replace("model.visual.", "visual.").replace("model.language_model.", "model.")
        shapes[published] = list(value.shape)
    assert total == sum(torch.Size(shape).numel() for shape in shapes.values())
    return shapes


def guard_of(config: dict) -> dict:
    hidden, inner = config["hidden_size"], config["hidden_size"] // 2
    shapes = {"0.weight": [inner, hidden], "0.bias": [inner], "3.weight": [20, inner], "3.bias": [20]}
    return {f"img_safety_head.mlp.{name}": shape for name, shape in shapes.items()}


def fold(shapes: dict) -> list[str]:
    """One line a tensor; layers that differ only in their number are one line."""
    groups = {}
    for name, shape in shapes.items():
        layer = re.search(r"\b(?:blocks|layers)\.(\d+)\.", name)
        key = name if layer is None else name[:layer.start(1)] + "{}" + name[layer.end(1):]
        groups.setdefault((key, tuple(shape)), []).append(None if layer is None else int(layer.group(1)))
    lines = []
    for (key, shape), numbers in groups.items():
        if numbers != [None]:
            assert numbers == list(range(len(numbers))), key
            key = key.replace("{}", f"{{0..{numbers[-1]}}}")
        lines.append(" ".join([key, *map(str, shape)]))
    return lines


def write(name: str, config: dict, shapes: dict) -> None:
    (OUT / f"{name}.json").write_text(json.dumps(config, indent=2) + "\n")
    (OUT / f"{name}.tensors").write_text("\n".join(fold(shapes)) + "\n")
    total = sum(torch.Size(shape).numel() for shape in shapes.values())
    print(f"{name}: {len(shapes)} tensors, {total:,} values")


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for size in SIZES:
        config = config_of(size)
        shapes = tensors_of(config)
        if size != "32b":
            own = {"architectures": ["Qwen2_5_VLForConditionalGeneration"]}
            write(f"qwen2.5-vl-{size}", own | config, shapes)
        if size != "3b":
            write(f"safe-qwen2.5-vl-{size}", config | GUARD, shapes | guard_of(config))


if __name__ == "__main__":
    main()
