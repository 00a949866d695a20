"""Tiny random Qwen2.5-VL folders, with and without a guard, and what transformers makes of conversations with them.

    python safe_qwen.py

Writes models/safe-qwen/tests/goldens/: pictures/*.png and, for each NAME, a model folder with cases.json and
stages.safetensors. `tiny` is what `save_pretrained` writes now (nested config.json, processor_config.json), `old`
is as the published files are (flat config.json, preprocessor_config.json with min_pixels, chat_template.json, bf16
in shards), and `base` has the tensor names and the template's place of the versions between, and no guard.

cases.json: `turns` of role, pictures and text; `input_ids`; `greedy_ids`; `guard`, the probabilities of each picture.
stages.safetensors, for case n: `n.pixels`, `n.visual_tokens`, `n.hidden` (after the final norm), `n.guard` (logits)
and `n.logits` of the prompt's last token. All in f32, whatever is stored. Pictures with alpha are put on white
first, as the house does; the reference would drop the alpha.

The reference numbers visual tokens as if they were text, without a word, unless it is given `mm_token_type_ids`;
`run` checks that they had an effect.
"""

import json
import pathlib

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor, Qwen2VLVideoProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from safe_qwen_parts import GUARD, TEMPLATE, SafetyHead, flat_config, redraw, tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "models/safe-qwen/tests/goldens"
PHOTOS = ROOT / "models/efficientnet/tests/goldens/photos"

TEXT = {
    "tiny": dict(hidden_size=48, intermediate_size=72, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                 rope_parameters={"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [1, 2, 3]}),
    "old": dict(hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1,
                rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}),
    "base": dict(hidden_size=60, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=3,
                 rope_parameters={"rope_type": "default", "rope_theta": 500000.0, "mrope_section": [1, 2, 2]}),
}
VISION = {
    "tiny": dict(depth=4, hidden_size=32, intermediate_size=44, num_heads=2, patch_size=4, window_size=16,
                 fullatt_block_indexes=[1, 3]),
    "old": dict(depth=2, hidden_size=24, intermediate_size=36, num_heads=3, patch_size=14, window_size=56,
                fullatt_block_indexes=[1]),
    "base": dict(depth=3, hidden_size=40, intermediate_size=48, num_heads=2, patch_size=6, spatial_merge_size=3,
                 window_size=36, fullatt_block_indexes=[2]),
}
# The fewest and the most pixels of a scaled picture.
PIXELS = {"tiny": (256, 2560), "old": (1568, 6272), "base": (648, 2592)}
TIED = {"tiny": False, "old": True, "base": False}
SEEDS = {"tiny": 70, "old": 70, "base": 72}

BRIEF = ["system", [], "Answer in one sentence."]
CASES = {
    "tiny": [
        [["user", [], "What is the capital of France?"]],
        [["user", ["cat.png"], "What is this?"]],
        [["user", ["rocket.png", "wide.png"], "Which of the two is safer?"]],
        [["user", [], "Hello!"], ["assistant", [], "Hello. How can I help?"], ["user", ["grey.png"], "What is this?"]],
        [BRIEF, ["user", ["tall.png", "dot.png", "glass.png"], "Is one of them harmful? Ça va, 你好 🐈"]],
        [["user", ["dot.png"], "Describe it."], ["assistant", [], "A dot."], ["user", ["cat.png", "tall.png"], "And these?"]],
    ],
    "old": [
        [BRIEF, ["user", [], "How do I get this?"]],
        [["user", ["rocket.png"], "What is this?"]],
        [["user", ["wide.png", "cat.png"], "And these?"], ["assistant", [], "Two pictures."], ["user", [], "Thanks, and?"]],
    ],
    "base": [
        [["user", [], "Hello"]],
        [["user", ["cat.png", "grey.png"], "Which of the two is safer?"]],
        [BRIEF, ["user", ["glass.png"], "What is this?"], ["assistant", [], "A dog."], ["user", ["tall.png"], "This?"]],
    ],
}


def draw_pictures() -> None:
    folder = OUT / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    photo = lambda name, box, size: Image.open(PHOTOS / name).crop(box).resize(size, Image.Resampling.BICUBIC)  # noqa: E731
    photo("chelsea.png", None, (61, 43)).convert("RGB").save(folder / "cat.png")
    photo("rocket.png", None, (40, 55)).convert("RGB").save(folder / "rocket.png")
    photo("camera.png", None, (33, 33)).convert("L").save(folder / "grey.png")
    photo("coffee.png", None, (150, 100)).crop((0, 50, 150, 52)).convert("RGB").save(folder / "wide.png")
    photo("astronaut.png", None, (90, 180)).crop((40, 0, 43, 180)).convert("RGB").save(folder / "tall.png")
    Image.new("RGB", (1, 1), (200, 40, 90)).save(folder / "dot.png")
    glass = np.array(photo("clock.png", None, (50, 36)).convert("RGBA"))
    glass[..., 3] = np.linspace(0, 255, 50).astype(np.uint8)
    Image.fromarray(glass).save(folder / "glass.png")


def picture(name: str) -> Image.Image:
    image = Image.open(OUT / "pictures" / name)
    if image.mode != "RGBA":
        return image.convert("RGB")
    pixels = np.array(image).astype(np.uint32)
    color, alpha = pixels[..., :3], pixels[..., 3:]
    return Image.fromarray(((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8))


def build(name: str, tok) -> torch.nn.Module:
    token = tok.convert_tokens_to_ids
    text = TEXT[name] | dict(vocab_size=len(tok) + 9, max_position_embeddings=512, rms_norm_eps=1e-6,
                             bos_token_id=token("<|endoftext|>"), eos_token_id=token("<|im_end|>"))
    config = Qwen2_5_VLConfig(
        text_config=text, vision_config=VISION[name] | {"out_hidden_size": text["hidden_size"], "tokens_per_second": 2},
        tie_word_embeddings=TIED[name], image_token_id=token("<|image_pad|>"), video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"), vision_end_token_id=token("<|vision_end|>"))
    model = Qwen2_5_VLForConditionalGeneration._from_config(config, attn_implementation="eager").eval().float()
    if name != "base":
        model.img_safety_head = SafetyHead(text["hidden_size"]).eval()
        for key, value in GUARD.items():
            setattr(model.config, key, value)
    redraw(model)
    with torch.no_grad():
        # Logits of 0 are never the greatest: a generated image token would ask for an image.
        model.lm_head.weight[[config.image_token_id, config.video_token_id]] = 0
    if name == "old":
        # What is computed is what is stored.
        model = model.to(torch.bfloat16).float()
    model.generation_config.update(do_sample=False, eos_token_id=[token("<|im_end|>"), token("<|endoftext|>")],
                                   pad_token_id=token("<|endoftext|>"), bos_token_id=token("<|endoftext|>"))
    return model


def processor(name: str, tok) -> Qwen2_5_VLProcessor:
    least, most = PIXELS[name]
    sizes = dict(patch_size=VISION[name]["patch_size"], merge_size=VISION[name].get("spatial_merge_size", 2),
                 temporal_patch_size=2)
    images = Qwen2VLImageProcessorPil(**sizes, size={"shortest_edge": least, "longest_edge": most})
    return Qwen2_5_VLProcessor(images, tok, Qwen2VLVideoProcessor(**sizes), chat_template=TEMPLATE)


def save(name: str, model: torch.nn.Module, proc: Qwen2_5_VLProcessor, folder: pathlib.Path) -> None:
    """The folder, in the spelling that the variant stands for; `check_layout` reads it with the reference."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    proc.save_pretrained(folder)
    if name == "old":
        model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="60KB")
        model.float()
    else:
        model.save_pretrained(folder)
    if name == "tiny":
        return
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    (folder / "processor_config.json").unlink()
    tokenizer_file = folder / "tokenizer_config.json"
    if name == "old":
        size = settings.pop("size")
        settings |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"],
                     "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor"}
        (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}, indent=2) + "\n")
        config = flat_config(json.loads((folder / "config.json").read_text()))
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    else:
        settings["image_processor_type"] = "Qwen2VLImageProcessorFast"
        config = json.loads(tokenizer_file.read_text()) | {"chat_template": TEMPLATE}
        tokenizer_file.write_text(json.dumps(config, indent=2) + "\n")
        # Versions 4.52 to 4.57 wrote the names that the model has in memory.
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "model.safetensors",
                  metadata={"format": "pt"})
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2) + "\n")


@torch.no_grad()
def greedy(model: torch.nn.Module, inputs: dict, steps: int = 32) -> list[int]:
    """`generate`'s tokens, which full forward passes must give too, with logits that are not nearly tied."""
    length = inputs["input_ids"].shape[1]
    model.model.rope_deltas = None
    new = model.generate(**inputs, max_new_tokens=steps, do_sample=False)[0, length:].tolist()
    visual = [model.config.image_token_id, model.config.video_token_id]
    assert not set(visual) & set(new), "an image token was generated: choose another seed"
    grown = dict(inputs)
    for n, token in enumerate(new):
        model.model.rope_deltas = None
        best = model(**grown, use_cache=False).logits[0, -1].topk(2)
        margin = float(best.values[0] - best.values[1])
        assert margin > 2e-3, f"nearly tied logits ({margin}): choose another seed"
        assert int(best.indices[0]) == token, f"generate, which counts on with rope_deltas, differs at {n}"
        grown["input_ids"] = torch.cat([grown["input_ids"], torch.tensor([[token]])], 1)
        for key, value in [("attention_mask", 1), ("mm_token_type_ids", 0)]:
            grown[key] = torch.cat([grown[key], torch.full((1, 1), value, dtype=grown[key].dtype)], 1)
    return new


def prepare(proc: Qwen2_5_VLProcessor, turns: list) -> dict:
    part = lambda names, text: [{"type": "image"}] * len(names) + [{"type": "text", "text": text}]  # noqa: E731
    messages = [{"role": role, "content": part(names, text)} for role, names, text in turns]
    images = [picture(name) for _, names, _ in turns for name in names]
    prompt = proc.apply_chat_template(messages, add_generation_prompt=True)
    return dict(proc(text=[prompt], images=images or None, return_tensors="pt"))


@torch.no_grad()
def run(model: torch.nn.Module, proc: Qwen2_5_VLProcessor, turns: list) -> tuple[dict, dict]:
    inputs = prepare(proc, turns)
    ids = inputs["input_ids"]
    is_image = ids[0] == model.config.image_token_id
    assert torch.equal(inputs["mm_token_type_ids"], is_image[None].to(inputs["mm_token_type_ids"].dtype))
    model.model.rope_deltas = None
    hidden = model.model(**inputs).last_hidden_state[0]
    stages = {"hidden": hidden, "logits": model.lm_head(hidden[-1])}
    guard = None
    if "pixel_values" in inputs:
        model.model.rope_deltas = None
        as_text = model.model(**{key: value for key, value in inputs.items() if key != "mm_token_type_ids"})
        assert (as_text.last_hidden_state[0] - hidden).abs().max() > 0.1, "mm_token_type_ids have no effect"
        grids = inputs["image_grid_thw"]
        stages["pixels"] = inputs["pixel_values"]
        stages["visual_tokens"] = model.model.visual(inputs["pixel_values"], grids).pooler_output
        counts = (grids.prod(1) // proc.image_processor.merge_size ** 2).tolist()
        if hasattr(model, "img_safety_head"):
            pooled = [tokens.mean(0) for tokens in hidden[is_image].split(counts)]
            stages["guard"] = model.img_safety_head(torch.stack(pooled))
            guard = stages["guard"].softmax(-1).tolist()
    case = {"turns": turns, "input_ids": ids[0].tolist(), "greedy_ids": greedy(model, inputs), "guard": guard}
    return case, stages


@torch.no_grad()
def check_layout(folder: pathlib.Path, proc: Qwen2_5_VLProcessor, case: dict, stages: dict) -> None:
    """The reference reads the folder as it lies there, and computes the same."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    again, seen = run(model.eval(), proc, case["turns"])
    assert again["input_ids"] == case["input_ids"] and again["greedy_ids"] == case["greedy_ids"]
    assert torch.allclose(seen["logits"], stages["logits"], atol=1e-4), "the folder reads differently"
    # Its processor would filter with torchvision, so that pixels differ by a level, but no scaled size.
    theirs = prepare(Qwen2_5_VLProcessor.from_pretrained(folder), case["turns"])
    assert theirs["input_ids"][0].tolist() == case["input_ids"], "the folder's processor reads differently"


def main() -> None:
    torch.set_num_threads(1)
    draw_pictures()
    for name, seed in SEEDS.items():
        torch.manual_seed(seed)
        tok = tokenizer()
        model, proc, folder = build(name, tok), processor(name, tok), OUT / name
        save(name, model, proc, folder)
        cases, stages = [], {}
        for n, turns in enumerate(CASES[name]):
            case, seen = run(model, proc, turns)
            cases.append(case)
            stages |= {f"{n}.{stage}": value.detach().float().contiguous() for stage, value in seen.items()}
            print(name, n, len(case["input_ids"]), "tokens;", len(set(case["greedy_ids"])), "of", len(case["greedy_ids"]),
                  "greedy ones differ;", [round(max(p), 2) for p in case["guard"] or []])
        check_layout(folder, proc, cases[-1], {stage: stages[f"{len(cases) - 1}.{stage}"] for stage in ["logits"]})
        (folder / "cases.json").write_text(json.dumps(cases) + "\n")
        save_file(stages, folder / "stages.safetensors")
        print(name, sorted((f.name, f.stat().st_size) for f in folder.iterdir()))


if __name__ == "__main__":
    main()
