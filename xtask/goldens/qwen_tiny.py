"""Tiny random Qwen2.5-VL and Qwen2 language models with per-stage outputs, by transformers.

    python qwen_tiny.py

Writes models/qwen/tests/goldens/NAME/{config.json,model.safetensors,stages.safetensors,greedy.json};
the checkpoint holds the language model only. `tiny-vl` is saved the way newer tools do (nested
`text_config`, `rope_parameters`, `model.language_model.*`), `tiny-vl-flat` as the published files are
(flat, `rope_theta` and `rope_scaling`, `model.*`), `tiny-text` is a Qwen2ForCausalLM.

stages.safetensors: a batch of two rows, the second padded on the left: `input_ids` and `attention_mask`
[2,T] i64, `embeddings` (with the visual tokens in their places), `layers.N` (after layer N, before the
final norm), `norm`, `logits`. The vision ones have also `grids` [images,3] i64 (frames, rows, columns; two
images in the first row, one in the second), `position_ids` [3,2,T], `rope_deltas` [2], and
`right.position_ids`, the positions of the same rows padded on the right. All outputs at padding are zero.
greedy.json: 32 greedy tokens behind each row without its padding, for the vision ones the whole row with
its images.

The reference numbers visual tokens as if they were text, without a word, unless it is given
`mm_token_type_ids`; `main` checks that they had an effect.
"""

import copy
import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Config, Qwen2ForCausalLM

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/qwen/tests/goldens"
IMAGE, VIDEO, START, END = 60, 61, 62, 63
COMMON = dict(vocab_size=64, bos_token_id=1, eos_token_id=2, pad_token_id=0, hidden_act="silu",
              max_position_embeddings=256, rms_norm_eps=1e-6)
TEXTS = {
    "tiny-vl": dict(hidden_size=32, intermediate_size=72, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1,
                    rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}),
    "tiny-vl-flat": dict(hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6,
                         num_key_value_heads=3,
                         rope_parameters={"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [1, 1, 2]}),
    "tiny-text": dict(hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
                      num_key_value_heads=2, rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
}
TIED = {"tiny-vl": True, "tiny-vl-flat": False, "tiny-text": True}
SEEDS = {"tiny-vl": 60, "tiny-vl-flat": 63, "tiny-text": 61}
VISION = dict(depth=1, hidden_size=16, intermediate_size=24, num_heads=2, patch_size=2, window_size=8,
              fullatt_block_indexes=[0])
# Patches of the three images; a visual token is a square of 2 x 2.
GRIDS = torch.tensor([[1, 4, 6], [1, 2, 4], [1, 6, 4]])
KEYS = ["model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "hidden_act", "max_position_embeddings", "rms_norm_eps", "rope_parameters",
        "tie_word_embeddings", "use_sliding_window", "sliding_window", "max_window_layers", "layer_types", "bos_token_id",
        "eos_token_id", "pad_token_id", "dtype"]


def redraw(model: torch.nn.Module) -> None:
    """Weights that matter: transformers' own initialisation (std 0.02, norms 1) hides most mistakes."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name or "ln_q" in name:
                p.copy_(1 + 0.2 * torch.randn_like(p))
            elif p.dim() == 1:
                p.copy_(0.3 * torch.randn_like(p))
            elif "embed_tokens" in name:
                p.copy_(0.5 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * 1.5 / (p.numel() / p.shape[0]) ** 0.5)


def build(name: str) -> torch.nn.Module:
    text = COMMON | TEXTS[name]
    if name == "tiny-text":
        config, kind = Qwen2Config(**text, tie_word_embeddings=TIED[name]), Qwen2ForCausalLM
    else:
        vision = VISION | {"out_hidden_size": text["hidden_size"]}
        config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=TIED[name],
                                  image_token_id=IMAGE, video_token_id=VIDEO, vision_start_token_id=START,
                                  vision_end_token_id=END)
        kind = Qwen2_5_VLForConditionalGeneration
    model = kind._from_config(config, attn_implementation="eager").eval().float()
    redraw(model)
    return model


def rows(name: str) -> list[list[int]]:
    text = lambda count: torch.randint(3, 60, (count,)).tolist()  # noqa: E731
    image = lambda count: [START] + [IMAGE] * count + [END]  # noqa: E731
    if name == "tiny-text":
        return [text(21), text(13)]
    return [text(3) + image(6) + text(2) + image(2) + text(4), text(2) + image(6) + text(4)]


def batch(rows: list[list[int]], side: str) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, rows))
    pads = [[0] * (longest - len(row)) for row in rows]
    join = (lambda pad, row: pad + row) if side == "left" else (lambda pad, row: row + pad)
    ids = [join(pad, row) for pad, row in zip(pads, rows)]
    mask = [join(pad, [1] * len(row)) for pad, row in zip(pads, rows)]
    return torch.tensor(ids), torch.tensor(mask)


def inputs(name: str, ids: torch.Tensor, images: list[int]) -> dict:
    """What the model needs beside the ids: pixels, grids and where the visual tokens are."""
    if name == "tiny-text":
        return {}
    pixels = torch.randn(int(GRIDS.prod(1).sum()), 3 * 2 * 2 * 2, generator=torch.Generator().manual_seed(5))
    parts = pixels.split(GRIDS.prod(1).tolist())
    return {"pixel_values": torch.cat([parts[n] for n in images]), "image_grid_thw": GRIDS[images],
            "mm_token_type_ids": (ids == IMAGE).int()}


@torch.no_grad()
def stages(name: str, model: torch.nn.Module, prompts: list[list[int]]) -> dict:
    ids, mask = batch(prompts, "left")
    seen = {}

    def keep(stage):
        def hook(_module, _inputs, output):
            seen[stage] = (output[0] if isinstance(output, tuple) else output).detach().clone()
        return hook

    vision = name != "tiny-text"
    decoder = model.model.language_model if vision else model.model
    hooked = {"norm": decoder.norm} | {f"layers.{n}": layer for n, layer in enumerate(decoder.layers)}
    handles = [module.register_forward_hook(keep(stage)) for stage, module in hooked.items()]
    first = lambda _module, args: seen.__setitem__("embeddings", args[0].detach().clone())  # noqa: E731
    handles.append(decoder.layers[0].input_layernorm.register_forward_pre_hook(first))
    more = inputs(name, ids, [0, 1, 2])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    extra = more if vision else {"position_ids": positions}
    seen["logits"] = model(ids, attention_mask=mask, use_cache=False, **extra).logits
    for handle in handles:
        handle.remove()
    seen = {key: (value * mask[..., None]).contiguous() for key, value in seen.items()}
    if vision:
        index = {"mm_token_type_ids": more["mm_token_type_ids"], "image_grid_thw": GRIDS, "attention_mask": mask}
        seen["position_ids"], deltas = model.model.get_rope_index(ids, **index)
        right, right_mask = batch(prompts, "right")
        index |= {"mm_token_type_ids": (right == IMAGE).int(), "attention_mask": right_mask}
        seen["right.position_ids"], right_deltas = model.model.get_rope_index(right, **index)
        assert (deltas == right_deltas).all()
        seen |= {"grids": GRIDS, "rope_deltas": deltas.flatten().contiguous()}
        again = model(ids, attention_mask=mask, position_ids=seen["position_ids"], use_cache=False,
                      **{key: value for key, value in more.items() if key != "mm_token_type_ids"}).logits
        assert torch.equal(again * mask[..., None], seen["logits"])
        model.model.rope_deltas = None
        as_text = model(ids, attention_mask=mask, use_cache=False, pixel_values=more["pixel_values"],
                        image_grid_thw=GRIDS).logits * mask[..., None]
        assert (as_text - seen["logits"]).abs().max() > 0.1, "mm_token_type_ids have no effect"
    return {"input_ids": ids, "attention_mask": mask} | {key: value.contiguous() for key, value in seen.items()}


@torch.no_grad()
def greedy(name: str, model: torch.nn.Module, prompt: list[int], images: list[int], steps: int = 32) -> list[int]:
    ids, margin = list(prompt), 1e9
    for _ in range(steps):
        row = torch.tensor([ids])
        if name != "tiny-text":
            model.model.rope_deltas = None
        best = model(row, use_cache=False, **inputs(name, row, images)).logits[0, -1].topk(2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        ids.append(int(best.indices[0]))
    assert margin > 5e-3, f"nearly tied logits ({margin}): choose another seed"
    assert name == "tiny-text" or IMAGE not in ids[len(prompt):], "an image token was generated: choose another seed"
    row = torch.tensor([prompt])
    out = model.generate(row, max_new_tokens=steps, do_sample=False, eos_token_id=None, **inputs(name, row, images))
    assert out[0].tolist() == ids, "generate, which counts on with rope_deltas, differs"
    return ids[len(prompt):]


def save(name: str, model: torch.nn.Module, folder: pathlib.Path) -> None:
    """The configuration and the language model, in the spelling that the variant stands for."""
    own = lambda config: {key: value for key, value in config.to_dict().items() if key in KEYS}  # noqa: E731
    state = {key: value for key, value in model.state_dict().items() if "visual" not in key}
    if TIED[name]:
        state.pop("lm_head.weight")
    config = own(model.config)
    if name != "tiny-text":
        config["text_config"] = own(model.config.text_config)
        config["image_token_id"] = IMAGE
    if name == "tiny-vl-flat":
        text = config.pop("text_config")
        rope = text.pop("rope_parameters")
        text |= {"rope_theta": rope["rope_theta"], "torch_dtype": "float32",
                 "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]}}
        for key in ["dtype", "layer_types", "model_type"]:
            text.pop(key, None)
        config = text | config
        config.pop("dtype", None)
        state = {key.replace("model.language_model.", "model."): value for key, value in state.items()}
        # The reference writes into what it is given.
        given = copy.deepcopy(config | {"vision_config": model.config.vision_config.to_dict()})
        read = Qwen2_5_VLConfig(**given).text_config
        ours = model.config.text_config
        for key in ["hidden_size", "num_hidden_layers", "rms_norm_eps", "layer_types"]:
            assert getattr(read, key) == getattr(ours, key), key
        assert read.rope_parameters["rope_theta"] == ours.rope_parameters["rope_theta"]
        assert read.rope_parameters["mrope_section"] == ours.rope_parameters["mrope_section"]
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "model.safetensors")


def main() -> None:
    for name, seed in SEEDS.items():
        torch.manual_seed(seed)
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        model = build(name)
        prompts = rows(name)
        save(name, model, folder)
        save_file(stages(name, model, prompts), folder / "stages.safetensors")
        cases = [{"prompt": prompt, "images": images, "greedy_ids": greedy(name, model, prompt, images)}
                 for prompt, images in zip(prompts, [[0, 1], [2]] if name != "tiny-text" else [[], []])]
        (folder / "greedy.json").write_text(json.dumps(cases) + "\n")
        print(name, [len(set(c["greedy_ids"])) for c in cases], sum(f.stat().st_size for f in folder.iterdir()))


if __name__ == "__main__":
    main()
