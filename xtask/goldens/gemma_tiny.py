"""Tiny random Gemma 3 checkpoints with per-stage outputs, by transformers.

    python gemma_tiny.py

Writes models/gemma/tests/goldens/NAME/{config.json,model.safetensors,stages.safetensors,greedy.json}.
Weights are stored as bf16 and both sides compute in f32.

- tiny-text: Gemma3ForCausalLM, configuration as transformers 5 writes it (`rope_parameters`,
  `layer_types`), with a cap on the logits; names begin with `model.`.
- tiny-image: Gemma3ForConditionalGeneration, configuration as transformers 4 wrote it (`rope_theta`,
  `rope_local_base_freq`, `rope_scaling`, `sliding_window_pattern`); names begin with `language_model.model.`.
  The vision tower is left out: its output is in stages.safetensors. An image has more tokens than the
  window, so that the order in which the reference combines window and image blocks shows.

stages.safetensors: `input_ids` [2,tokens] i64, `embeddings`, `layers.N` (hidden state after layer N, before
the final norm), `norm`, `logits`, each [2,tokens,..] f32; the inner steps of layer 0 for the first place to
look; and `padded.logits`: the second row without its first 4 tokens, as the second row of a batch in which 4
tokens of padding stand before it. tiny-image has also `vision_features` [3,36,24], `pooled`,
`visual_tokens` [3,9,32]. greedy.json: 32 greedy tokens behind two prompts, with the images that belong to them.

Without `token_type_ids` the reference reads an image causally and says nothing.
"""

import json
import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers import (Gemma3Config, Gemma3ForCausalLM, Gemma3ForConditionalGeneration, Gemma3TextConfig,
                          SiglipVisionConfig)

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/gemma/tests/goldens"
IMAGE = 60
SEEDS = (34, 30)
TEXT = dict(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2, head_dim=12,
    num_hidden_layers=7, max_position_embeddings=128, sliding_window=6, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)
FLAT = TEXT | dict(
    query_pre_attn_scalar=12, final_logit_softcapping=1.5, num_key_value_heads=1,
    rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
                     "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}},
)
NESTED = TEXT | dict(
    query_pre_attn_scalar=10, rms_norm_eps=1e-5, layer_types=(["sliding_attention"] * 2 + ["full_attention"]) * 2
    + ["sliding_attention"],
    rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 20000.0},
                     "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}},
)
VISION = dict(hidden_size=24, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=42,
              patch_size=7, vision_use_head=False, layer_norm_eps=1e-6)


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """Weights that matter, exact in bf16: transformers' own (std 0.02, norms 1, projector 0) hide most mistakes."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                # What the layers add must outweigh the embedding, or the model repeats its last token.
                p.copy_(0.2 * torch.randn_like(p) + (1.0 if "post_" in name else 0.0))
            elif "embed" in name:
                p.copy_(0.15 * torch.randn_like(p))
            elif "mm_input_projection_weight" in name:
                p.copy_(torch.randn_like(p) / p.shape[0] ** 0.5)
            else:
                p.copy_(torch.randn_like(p) * 1.5 / p.shape[-1] ** 0.5)
            p.copy_(p.bfloat16().float())
    return model.eval().float()


class Inputs:
    """Token ids and, if there are images, their pixels; what the reference is given for them."""

    def __init__(self, ids: torch.Tensor, pixels: torch.Tensor | None):
        self.ids, self.pixels = ids, pixels

    def kwargs(self) -> dict:
        if self.pixels is None:
            return dict(input_ids=self.ids)
        return dict(input_ids=self.ids, pixel_values=self.pixels, token_type_ids=(self.ids == IMAGE).long())


@torch.no_grad()
def stages(model, inputs: Inputs) -> dict:
    seen = {}

    def keep(name):
        def hook(_module, _inputs, output):
            seen[name] = (output[0] if isinstance(output, tuple) else output).detach().clone().contiguous()
        return hook

    def keep_input(_module, args, kwargs):
        seen["embeddings"] = (args[0] if args else kwargs["hidden_states"]).detach().clone().contiguous()

    text = model.model.language_model if inputs.pixels is not None else model.model
    first = text.layers[0]
    hooked = {"norm": text.norm, "layers.0.q_norm": first.self_attn.q_norm, "layers.0.k_norm": first.self_attn.k_norm,
              "layers.0.attn": first.self_attn, "layers.0.mlp": first.mlp}
    hooked |= {f"layers.{n}": layer for n, layer in enumerate(text.layers)}
    handles = [module.register_forward_hook(keep(name)) for name, module in hooked.items()]
    handles.append(first.register_forward_pre_hook(keep_input, with_kwargs=True))
    if inputs.pixels is not None:
        projector = model.model.multi_modal_projector
        handles.append(projector.register_forward_pre_hook(
            lambda _m, args: seen.update(vision_features=args[0].detach().clone().contiguous())))
        handles.append(projector.avg_pool.register_forward_hook(
            lambda _m, _i, out: seen.update(pooled=out.flatten(2).transpose(1, 2).clone().contiguous())))
        handles.append(projector.register_forward_hook(keep("visual_tokens")))
    seen["logits"] = model(**inputs.kwargs(), use_cache=False).logits.contiguous()
    for handle in handles:
        handle.remove()
    return {"input_ids": inputs.ids} | seen


@torch.no_grad()
def padded(model, inputs: Inputs, row_pixels: torch.Tensor | None) -> torch.Tensor:
    """Logits of the second row, of which 4 tokens are cut off, behind as much padding."""
    ids = torch.cat([torch.zeros(1, 4, dtype=torch.long), inputs.ids[1:, 4:]], 1)
    mask = (torch.arange(ids.shape[1]) >= 4).long()[None]
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    rest = Inputs(ids, row_pixels).kwargs()
    with_padding = model(**rest, attention_mask=mask, position_ids=positions, use_cache=False).logits[:, 4:]
    alone = model(**Inputs(ids[:, 4:], row_pixels).kwargs(), use_cache=False).logits
    assert (with_padding - alone).abs().max() < 1e-4
    return with_padding.contiguous()


@torch.no_grad()
def greedy(model, prompt: list[int], pixels: torch.Tensor | None, steps: int = 32) -> list[int]:
    ids, margin = list(prompt), 1e9
    for _ in range(steps):
        logits = model(**Inputs(torch.tensor([ids]), pixels).kwargs(), use_cache=False).logits[0, -1]
        logits[IMAGE] = -1e9  # a generated image token has no image
        best = logits.topk(2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        ids.append(int(best.indices[0]))
    assert len(set(ids[len(prompt):])) > 4, "the same tokens over and over: choose another seed"
    assert margin > 5e-3, f"nearly tied logits ({margin}): choose another seed"
    return ids[len(prompt):]


def save(model, folder: pathlib.Path, outputs: dict, rows: list[dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor.bfloat16() for name, tensor in weights.items() if "vision_tower" not in name}
    assert not any("lm_head" in name for name in kept)
    save_file(kept, folder / "model.safetensors")
    save_file(outputs, folder / "stages.safetensors")
    (folder / "greedy.json").write_text(json.dumps(rows) + "\n")
    print(folder.name, sorted(kept)[0], [len(set(r["greedy_ids"])) for r in rows],
          sum(f.stat().st_size for f in folder.iterdir()))


def text_only() -> None:
    torch.manual_seed(SEEDS[0])
    config = Gemma3TextConfig(**FLAT)
    model = randomise(Gemma3ForCausalLM._from_config(config, attn_implementation="eager"))
    inputs = Inputs(torch.randint(3, IMAGE, (2, 24)), None)
    outputs = stages(model, inputs)
    outputs["padded.logits"] = padded(model, inputs, None)
    prompts = [row[:8].tolist() for row in inputs.ids]
    rows = [{"prompt": prompt, "images": [], "greedy_ids": greedy(model, prompt, None)} for prompt in prompts]
    save(model, OUT / "tiny-text", outputs, rows)


def with_images() -> None:
    torch.manual_seed(SEEDS[1])
    config = Gemma3Config(text_config=NESTED, vision_config=SiglipVisionConfig(**VISION).to_dict(), mm_tokens_per_image=9,
                          image_token_index=IMAGE, boi_token_index=61, eoi_token_index=62)
    model = randomise(Gemma3ForConditionalGeneration._from_config(config, attn_implementation="eager"))
    pixels = torch.randn(3, 3, 42, 42)
    text = torch.randint(3, IMAGE, (2, 30))
    image = [61] + [IMAGE] * 9 + [62]
    first = text[0, :2].tolist() + image + text[0, 2:4].tolist() + image + text[0, 4:8].tolist()
    second = text[1, :12].tolist() + image + text[1, 12:19].tolist()
    inputs = Inputs(torch.tensor([first, second]), pixels)
    outputs = stages(model, inputs)
    causal = model(input_ids=inputs.ids, pixel_values=pixels, use_cache=False).logits
    assert (causal - outputs["logits"]).abs().max() > 0.1, "image blocks have no effect"
    outputs["padded.logits"] = padded(model, inputs, pixels[2:])
    prompts = [(first, [0, 1]), (second[:25], [2])]
    rows = [{"prompt": prompt, "images": images, "greedy_ids": greedy(model, prompt, pixels[images])}
            for prompt, images in prompts]
    folder = OUT / "tiny-image"
    save(model, folder, outputs, rows)

    path = folder / "config.json"
    config = json.loads(path.read_text())
    text = config["text_config"]
    rope = text.pop("rope_parameters")
    text["rope_theta"] = rope["full_attention"]["rope_theta"]
    text["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    text["rope_scaling"] = {"factor": rope["full_attention"]["factor"], "rope_type": "linear"}
    types = text.pop("layer_types")
    text["sliding_window_pattern"] = text["_sliding_window_pattern"] = 3
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    read = Gemma3Config.from_pretrained(folder).text_config
    assert read.rope_parameters == NESTED["rope_parameters"] and read.layer_types == types, read


if __name__ == "__main__":
    text_only()
    with_images()
