"""Tiny checkpoints of llama_tiny.py, gemma_tiny.py, clip.py and qwen_vision.py once more, computed in bf16.

    python half.py

Reads model.safetensors and the inputs in stages.safetensors of a checkpoint, and writes half.safetensors beside them:
the same stages in bf16. Attention is "eager", which takes its softmax in f32.
"""

import json
import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionModel, Gemma3ForCausalLM, LlamaForCausalLM
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel
from transformers.vision_utils import get_vision_window_index

MODELS = pathlib.Path(__file__).resolve().parents[2] / "models"
HALF = dict(dtype=torch.bfloat16, attn_implementation="eager")


@torch.no_grad()
def stages(hooked: dict, run) -> dict:
    """What the `hooked` modules give during `run`."""
    seen = {}

    def keep(name):
        def hook(_module, _inputs, output):
            seen[name] = (output[0] if isinstance(output, tuple) else output).detach().clone().contiguous()
        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in hooked.items()]
    seen |= run()
    for handle in handles:
        handle.remove()
    assert all(stage.dtype == torch.bfloat16 for stage in seen.values())
    return seen


def language_model(kind: type, folder: pathlib.Path) -> None:
    model = kind.from_pretrained(folder, **HALF).eval()
    ids = load_file(folder / "stages.safetensors")["input_ids"]
    hooked = {"embeddings": model.model.embed_tokens, "norm": model.model.norm}
    hooked |= {f"layers.{n}": layer for n, layer in enumerate(model.model.layers)}
    save(folder, stages(hooked, lambda: {"logits": model(ids, use_cache=False).logits.contiguous()}))


def clip(folder: pathlib.Path) -> None:
    model = CLIPVisionModel.from_pretrained(folder, **HALF).eval()
    pixels = load_file(folder / "stages.safetensors")["pixels"]
    hooked = {"pre_layrnorm": model.pre_layrnorm}
    hooked |= {f"layers.{n}": layer for n, layer in enumerate(model.encoder.layers)}
    save(folder, stages(hooked, lambda: {"pooled": model(pixels).pooler_output.clone()}))


def qwen_vision(folder: pathlib.Path) -> None:
    config = Qwen2_5_VLVisionConfig(**json.loads((folder / "config.json").read_text())["vision_config"])
    model = Qwen2_5_VisionTransformerPretrainedModel._from_config(config, **HALF).eval()
    weights = load_file(folder / "model.safetensors")
    model.load_state_dict({name.removeprefix("visual."): tensor for name, tensor in weights.items()})
    inputs = load_file(folder / "stages.safetensors")
    patches, grids = inputs["patches"], inputs["grids"]
    hooked = {"patch_embed": model.patch_embed} | {f"blocks.{n}": block for n, block in enumerate(model.blocks)}
    seen = stages(hooked, lambda: {"output": model(patches, grids).pooler_output})
    order, _ = get_vision_window_index(grids, config.spatial_merge_size, config.window_size, config.patch_size)
    for n in range(config.depth):
        windows = seen[f"blocks.{n}"].reshape(len(order), config.spatial_merge_size ** 2, -1)
        seen[f"blocks.{n}"] = windows[torch.argsort(order)].reshape(len(patches), -1).contiguous()
    save(folder, seen)


def save(folder: pathlib.Path, seen: dict) -> None:
    single = load_file(folder / "stages.safetensors")
    for name, stage in seen.items():
        error = (stage.float() - single[name]).square().mean().sqrt() / single[name].square().mean().sqrt()
        print(folder.name, name, tuple(stage.shape), f"{error:.4f}")
    save_file(seen, folder / "half.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    language_model(LlamaForCausalLM, MODELS / "llama/tests/goldens/tiny-gqa-tied")
    language_model(Gemma3ForCausalLM, MODELS / "gemma/tests/goldens/tiny-text")
    clip(MODELS / "clip/tests/goldens/tiny-quick")
    qwen_vision(MODELS / "qwen-vision/tests/goldens/tiny")
