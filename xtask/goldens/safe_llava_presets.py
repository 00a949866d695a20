"""config.json and the names and shapes of all tensors of the published SafeLLaVA and LLaVA-1.5 sizes.

    python safe_llava_presets.py

Writes models/safe-llava/presets/NAME.{json,tensors}. Shapes come from transformers' classes on the meta device, where
no tensor has values. llava-1.5-* have the names of the llava-hf conversions' files. safe-llava-* have those of the
original code (whose classes are Llama's, CLIP's, and two linear layers) and the guard's: their files could not be
looked at, so that this is what the paper, the sample code and users of the files say (README.md of the crate).
In .tensors a line is a name and extents; {0..31} stands for 32 layers.
"""

import json
import pathlib
import re

import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM, LlavaConfig, LlavaForConditionalGeneration

from safe_llava import LABELS, SafetyHead

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/safe-llava/presets"
TOWER = {"hidden_size": 1024, "image_size": 336, "intermediate_size": 4096, "model_type": "clip_vision_model",
         "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768}
SIZES = {"7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32, "num_hidden_layers": 32},
         "13b": {"hidden_size": 5120, "intermediate_size": 13824, "num_attention_heads": 40, "num_hidden_layers": 40}}
LIMITS = {"max_position_embeddings": 4096, "rms_norm_eps": 1e-05}


def base(name: str) -> tuple[dict, dict]:
    """As llava-hf/llava-1.5-*-hf has it, which leaves the 7B's sizes to defaults."""
    text = {"model_type": "llama", **LIMITS, "torch_dtype": "float16", "vocab_size": 32064}
    text |= SIZES[name] | {"num_key_value_heads": SIZES[name]["num_attention_heads"]} if name != "7b" else {}
    config = {"architectures": ["LlavaForConditionalGeneration"], "ignore_index": -100, "image_token_index": 32000,
              "model_type": "llava", "pad_token_id": 32001, "projector_hidden_act": "gelu", "text_config": text,
              "tie_word_embeddings": False, "torch_dtype": "float16",
              "vision_config": TOWER | {"vocab_size": 32000}, "vision_feature_layer": -2,
              "vision_feature_select_strategy": "default", "vocab_size": 32064}
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(LlavaConfig.from_dict(config))
    tensors = {}
    for key, value in model.state_dict().items():
        key = key.removeprefix("model.").replace("language_model.", "language_model.model.")
        key = re.sub(r"^vision_tower\.(?!vision_model)", "vision_tower.vision_model.", key)
        tensors[key.replace("lm_head", "language_model.lm_head")] = value
    return config, tensors


def safe(name: str) -> tuple[dict, dict]:
    size = SIZES[name]
    config = {"architectures": ["SafeLlavaLlamaForCausalLM"], "model_type": "llava", "bos_token_id": 1, "eos_token_id": 2,
              "pad_token_id": 0, "hidden_act": "silu", "image_aspect_ratio": "pad", "vocab_size": 32000, **size,
              "num_key_value_heads": size["num_attention_heads"], **LIMITS, "rope_scaling": None,
              "tie_word_embeddings": False, "torch_dtype": "float16", "mm_hidden_size": 1024,
              "mm_projector_type": "mlp2x_gelu", "mm_use_im_patch_token": False, "mm_use_im_start_end": False,
              "mm_vision_select_feature": "patch", "mm_vision_select_layer": -2,
              "mm_vision_tower": "openai/clip-vit-large-patch14-336", "unfreeze_mm_vision_tower": True,
              "safety_categories": LABELS, "num_safety_categories": len(LABELS), "safety_head_hidden_scale": 0.5,
              "safety_num_hidden_layers": 1}
    hidden = size["hidden_size"]
    with torch.device("meta"):
        language = LlamaForCausalLM(LlamaConfig(vocab_size=32000, **size, **LIMITS))
        tower = CLIPVisionModel(CLIPVisionConfig(**TOWER))
        projector = torch.nn.Sequential(torch.nn.Linear(1024, hidden), torch.nn.GELU(), torch.nn.Linear(hidden, hidden))
        head = SafetyHead(hidden)
    tensors = dict(language.state_dict())
    tensors |= {"model.vision_tower.vision_tower.vision_model." + key.removeprefix("vision_model."): value
                for key, value in tower.state_dict().items()}
    tensors |= {"model.mm_projector." + key: value for key, value in projector.state_dict().items()}
    tensors |= {"img_safety_head." + key: value for key, value in head.state_dict().items()}
    return config, tensors


def fold(tensors: dict) -> list[str]:
    """Lines in the order of the layers, with a run of layers in one."""
    layers, lines = {}, []
    for name, value in tensors.items():
        pattern = re.sub(r"(?<=\.layers\.)\d+(?=\.)", "{}", name)
        number = re.search(r"(?<=\.layers\.)\d+(?=\.)", name)
        layers.setdefault((pattern, tuple(value.shape)), []).append(int(number[0]) if number else None)
    for (pattern, shape), numbers in layers.items():
        if numbers[0] is not None:
            assert numbers == list(range(len(numbers))), pattern
            pattern = pattern.replace("{}", f"{{0..{numbers[-1]}}}")
        lines.append(" ".join([pattern, *map(str, shape)]))
    return lines


def main() -> None:
    OUT.mkdir(exist_ok=True)
    for prefix, make in (("safe-llava", safe), ("llava-1.5", base)):
        for size in SIZES:
            config, tensors = make(size)
            (OUT / f"{prefix}-{size}.json").write_text(json.dumps(config, indent=2) + "\n")
            (OUT / f"{prefix}-{size}.tensors").write_text("\n".join(fold(tensors)) + "\n")
            print(prefix, size, len(tensors), "tensors", sum(value.numel() for value in tensors.values()), "parameters")


if __name__ == "__main__":
    main()
