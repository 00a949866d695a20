"""A tiny random SafeLLaVA in two layouts, from pictures to greedy tokens, by transformers.

    python safe_llava.py

Writes into models/safe-llava/tests/goldens:

- tiny/: a folder as transformers saves LLaVA-1.5 (weights in f16, computed in f32), with a guard head added to
  config.json and the weights; original/: the same weights under the original code's names, with its flat config.json.
- picture-N.png; cases.json: conversations (a list of [role, number of new pictures, text]), the ids that the
  processor makes of them (visual tokens expanded), and 32 greedy tokens.
- stages.safetensors: for case N `N.pixels`, `N.features` (the selected layer, class token dropped), `N.visual_tokens`,
  `N.hidden` (after the final norm), `N.guard` (logits of the head on the mean of each picture's states), `N.logits`
  of the last token.

The chat template is that of llava-hf/llava-1.5-7b-hf.
"""

import json
import pathlib

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from skimage import data
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import (CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor,
                          PreTrainedTokenizerFast)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/safe-llava/tests/goldens"
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\\n' }}{% endfor %}{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}"
    "{% endfor %}{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
CASES = [
    [["user", 1, "What is this?"]],
    [["system", 0, "Answer briefly."], ["user", 2, "Which of the two is older?"], ["assistant", 0, "The first."],
     ["user", 1, "And this one?"]],
    [["user", 0, "Good morning"], ["assistant", 0, "Hello."], ["user", 1, "Describe it, näive \U0001f600!"]],
    [["user", 0, "No picture at all."]],
]
GUARD = "img_safety_head"
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def tokenizer() -> PreTrainedTokenizerFast:
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["▁"]
    pieces += [chr(c) for c in range(33, 127)]
    merges = [("▁", "t"), ("h", "e"), ("i", "s"), ("▁t", "he"), ("▁", "a"), ("S", "T"), ("▁", "w")]
    pieces += ["".join(pair) for pair in merges]
    vocab = {piece: n for n, piece in enumerate(pieces)}
    tok = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                     decoders.Strip(" ", 1, 0)])
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>", "<image>")])
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                                   pad_token="</s>", extra_special_tokens={"image_token": "<image>"})


def pictures() -> list[Image.Image]:
    cat = data.chelsea()
    crops = [(110, 60, 61, 97), (60, 100, 90, 53), (120, 90, 42, 42)]
    images = [Image.fromarray(np.ascontiguousarray(cat[y:y + h, x:x + w])) for x, y, w, h in crops]
    for n, image in enumerate(images):
        image.save(OUT / f"picture-{n}.png", optimize=True)
    return images


def build(image_id: int, vocab: int) -> tuple[LlavaForConditionalGeneration, torch.nn.Sequential]:
    vision = CLIPVisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
                              image_size=42, patch_size=14, hidden_act="quick_gelu")
    text = LlamaConfig(vocab_size=vocab, hidden_size=48, intermediate_size=64, num_hidden_layers=3,
                       num_attention_heads=4, max_position_embeddings=512, rms_norm_eps=1e-5)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image_id, image_seq_length=9,
                         vision_feature_layer=-2, vision_feature_select_strategy="default")
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation="eager").eval().float()
    guard = torch.nn.Sequential(torch.nn.Linear(48, 24), torch.nn.GELU(), torch.nn.Dropout(0.1),
                                torch.nn.Linear(24, 20)).eval()
    with torch.no_grad():
        for name, p in [*model.named_parameters(), *guard.named_parameters()]:
            if "norm" in name:
                p.copy_(0.2 * torch.randn_like(p) + (1.0 if name.endswith("weight") else 0.0))
            elif p.ndim == 1 or "position" in name:
                p.copy_(0.5 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * 1.5 / p[0].numel() ** 0.5)
            p.copy_(p.half().float())
    return model, guard


@torch.no_grad()
def run(model, guard, inputs: dict, images: int) -> dict:
    seen = {}
    if images:
        features = model.model.vision_tower(inputs["pixel_values"], output_hidden_states=True).hidden_states[-2][:, 1:]
        seen["pixels"] = inputs["pixel_values"]
        seen["features"] = features
        seen["visual_tokens"] = model.model.multi_modal_projector(features)
    output = model(**inputs, output_hidden_states=True, use_cache=False)
    hidden = output.hidden_states[-1]
    seen["hidden"] = hidden
    seen["logits"] = output.logits[:, -1]
    if images:
        places = (inputs["input_ids"][0] == model.config.image_token_id).nonzero().flatten().view(images, -1)
        seen["guard"] = torch.stack([guard(hidden[0, own].mean(0)) for own in places])
    return {name: value.float().contiguous().clone() for name, value in seen.items()}


@torch.no_grad()
def greedy(model, inputs: dict, steps: int = 32) -> list[int]:
    ids, margin = inputs["input_ids"].clone(), 1e9
    begin = ids.shape[1]
    for _ in range(steps):
        step = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        best = model(**step, use_cache=False).logits[0, -1].topk(2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        ids = torch.cat([ids, best.indices[:1][None]], 1)
    assert margin > 1e-3, f"nearly tied logits ({margin}): choose another seed"
    return ids[0, begin:].tolist()


def original(state: dict, config: dict) -> None:
    """The same in the original code's layout; `vision_config` stays, since a tiny tower has no name."""
    folder = OUT / "original"
    folder.mkdir(exist_ok=True)
    renamed = {}
    for name, value in state.items():
        name = name.removeprefix("model.")
        if name.startswith("vision_tower."):
            name = "model.vision_tower.vision_tower.vision_model." + name.removeprefix("vision_tower.").removeprefix("vision_model.")
        name = name.replace("multi_modal_projector.linear_1", "model.mm_projector.0")
        name = name.replace("multi_modal_projector.linear_2", "model.mm_projector.2")
        name = name.replace("language_model.model.", "model.").replace("language_model.lm_head", "lm_head")
        renamed[name] = value
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    flat = {key: value for key, value in config["text_config"].items() if key not in ("model_type", "architectures")}
    flat |= {key: config[key] for key in ("vision_config", "safety_categories", "num_safety_categories",
                                          "safety_head_hidden_scale", "safety_num_hidden_layers")}
    flat |= {"model_type": "llava", "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2,
             "mm_vision_select_feature": "patch", "image_token_index": config["image_token_index"]}
    (folder / "config.json").write_text(json.dumps(flat, indent=1) + "\n")


def main() -> None:
    torch.manual_seed(46)
    OUT.mkdir(parents=True, exist_ok=True)
    tok = tokenizer()
    image_id = tok.convert_tokens_to_ids("<image>")
    model, guard = build(image_id, len(tok))
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": 42}, crop_size={"height": 42, "width": 42},
                                            image_mean=MEAN, image_std=STD)
    processor = LlavaProcessor(image_processor=image_processor, tokenizer=tok, patch_size=14,
                               vision_feature_select_strategy="default", num_additional_image_tokens=1,
                               chat_template=TEMPLATE)
    folder = OUT / "tiny"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    state = {name: value.half() for name, value in load_file(folder / "model.safetensors").items()}
    state |= {f"{GUARD}.mlp.{name}": value.half() for name, value in guard.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config |= {"safety_categories": ["safe"] + [f"hazard_{n}" for n in range(1, 20)], "num_safety_categories": 20,
               "safety_head_hidden_scale": 0.5, "safety_num_hidden_layers": 1}
    config.setdefault("image_token_index", image_id)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    original(state, config)

    images, tensors, cases = pictures(), {}, []
    for n, turns in enumerate(CASES):
        shown, messages = [], []
        for role, count, text in turns:
            new = images[len(shown):len(shown) + count]
            shown += new
            parts = [{"type": "image"} for _ in new] + [{"type": "text", "text": text}]
            messages.append({"role": role, "content": parts})
        prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
        inputs = dict(processor(text=[prompt], images=shown or None, return_tensors="pt"))
        if "pixel_values" in inputs:
            inputs["pixel_values"] = inputs["pixel_values"].float()
        tensors |= {f"{n}.{name}": value for name, value in run(model, guard, inputs, len(shown)).items()}
        cases.append({"turns": turns, "prompt": prompt, "input_ids": inputs["input_ids"][0].tolist(),
                      "greedy_ids": greedy(model, inputs)})
    save_file(tensors, OUT / "stages.safetensors")
    (OUT / "cases.json").write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n")
    for path in sorted(OUT.rglob("*")):
        if path.is_file():
            print(path.relative_to(OUT), path.stat().st_size)
    print([len(set(case["greedy_ids"])) for case in cases], sorted(state)[:4], config.keys())


if __name__ == "__main__":
    main()
