"""Tiny random SafeLLaVA folders in every layout, from pictures to greedy tokens, by transformers.

    python safe_llava.py

Writes into models/safe-llava/tests/goldens:

- pictures/*.png: crops of scikit-image's `chelsea` (CC0, Stéfan van der Walt): a photo, a very wide and a very tall
  one, a grey one, one with transparent corners (shown on white), one pixel.
- tiny/: a folder as transformers saves LLaVA-1.5, in f16, with a guard head.
- original/: a folder as the original code saves it: flat config.json, two shards, `image_aspect_ratio: pad`,
  tokenizer.model, neither a token for images nor a chat template. The conversation is `llava_v1`, put together and
  cut into tokens as that code does. Its encoder is too small to have a name, so config.json has a `vision_config`.
- gqa/: bf16, grouped queries, tied head, two layers of features with their class tokens, padding by the image
  processor, no guard.
- meta/: as tiny, with the safety meta token of the paper's v1 behind each picture's tokens, whose state the head reads.

Each folder has cases.json (conversations, the ids that the processor makes of them with all visual tokens, greedy
tokens, the guard's probabilities) and stages.safetensors: for case N `N.pixels`, `N.visual_tokens`, `N.hidden` (after
the final norm), `N.guard` (logits), `N.logits` of the last token; all computed in f32 from the stored weights.
"""

import json
import os
import pathlib
import shutil

import numpy as np
import sentencepiece
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from skimage import data
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import (CLIPVisionConfig, LlamaConfig, LlamaTokenizer, LlavaConfig, LlavaForConditionalGeneration,
                          LlavaProcessor, PreTrainedTokenizerFast)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "models/safe-llava/tests/goldens"
HF_TEMPLATE = (ROOT / "crates/text/src/templates/llava-hf.jinja").read_text()
LABELS = ["safe", "gender", "race", "religion", "harassment", "disability_discrimination", "drug_related_hazards",
          "property_crime", "facial_data_exposure", "identity_data_exposure", "physical_self_injury", "suicide",
          "animal_abuse", "obscene_gestures", "physical_altercation", "terrorism", "weapon_related_violence",
          "sexual_content", "financial_advice", "medical_advice"]
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
STEPS = 32
SYSTEM = ("A chat between a curious human and an artificial intelligence assistant. "
          "The assistant gives helpful, detailed, and polite answers to the human's questions.")
CASES = [
    [["user", [], "No picture at all."]],
    [["user", ["photo.png"], "How to get this?"]],
    [["user", ["wide.png", "tall.png"], "Which of the two is older?"]],
    [["user", [], "Good morning"], ["assistant", [], "Hello."], ["user", ["grey.png"], "Describe it, naïve \U0001f600!"]],
    [["system", [], "Answer briefly."], ["user", ["alpha.png"], "What is this?"], ["assistant", [], "A cat."],
     ["user", ["photo.png", "pixel.png"], "And\nthese?"]],
]
PICTURES = {"photo.png": (110, 60, 61, 97), "wide.png": (40, 100, 120, 9), "tall.png": (200, 40, 7, 110),
            "grey.png": (60, 100, 90, 53), "alpha.png": (120, 90, 42, 42), "pixel.png": (150, 120, 1, 1)}


class Unfit(Exception):
    """Weights whose greedy tokens another order of addition could change, or that end at once."""


class SafetyHead(torch.nn.Module):
    """The guard as the paper describes it; with `meta` also the embedding of its meta token."""

    def __init__(self, hidden: int, meta: bool = False):
        super().__init__()
        self.mlp = torch.nn.Sequential(torch.nn.Linear(hidden, hidden // 2), torch.nn.GELU(), torch.nn.Dropout(0.1),
                                       torch.nn.Linear(hidden // 2, len(LABELS)))
        if meta:
            self.meta_token = torch.nn.Parameter(torch.zeros(1, hidden))


def pictures() -> None:
    (OUT / "pictures").mkdir(parents=True)
    cat = data.chelsea()
    for name, (x, y, w, h) in PICTURES.items():
        image = Image.fromarray(np.ascontiguousarray(cat[y:y + h, x:x + w]))
        if name == "grey.png":
            image = image.convert("L")
        if name == "alpha.png":
            alpha = np.full((h, w), 255, np.uint8)
            alpha[:12, :12] = alpha[-9:, -20:] = 0
            image.putalpha(Image.fromarray(alpha))
        image.save(OUT / "pictures" / name, optimize=True)


def picture(name: str) -> Image.Image:
    image = Image.open(OUT / "pictures" / name)
    if image.mode == "RGBA":
        image = Image.composite(image.convert("RGB"), Image.new("RGB", image.size, "white"), image.getchannel("A"))
    return image.convert("RGB")


def hf_tokenizer() -> PreTrainedTokenizerFast:
    """As llava-hf's: Llama's vocabulary by way of its old normaliser, with `<image>` and `<pad>` behind it."""
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["▁"]
    pieces += [chr(c) for c in range(33, 127)]
    merges = [("▁", "t"), ("h", "e"), ("i", "s"), ("▁t", "he"), ("▁", "a"), ("S", "T"), ("▁", "w")]
    vocab = {piece: n for n, piece in enumerate(pieces + ["".join(pair) for pair in merges])}
    tok = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                     decoders.Strip(" ", 1, 0)])
    special = ("<unk>", "<s>", "</s>", "<image>", "<pad>")
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                                   pad_token="<pad>", extra_special_tokens={"image_token": "<image>"})


def original_tokenizer(folder: pathlib.Path) -> LlamaTokenizer:
    """tokenizer.model and the settings that liuhaotian/llava-v1.5-7b has."""
    sentences = [SYSTEM, "USER: What is in this image? ASSISTANT: There is a cat.", "Which of the two is older?",
                 "The quick brown fox jumps over the lazy dog; 0123456789 (and so on)."]
    os.chdir(folder)  # The model records the names of its files.
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences * 4), model_prefix="tokenizer", model_type="bpe",
        vocab_size=370, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, split_digits=True, num_threads=1, minloglevel=2)
    (folder / "tokenizer.vocab").unlink()
    token = {"__type": "AddedToken", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    config = {"add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False, "legacy": False,
              "model_max_length": 2048, "pad_token": None, "padding_side": "right", "tokenizer_class": "LlamaTokenizer"}
    config |= {f"{name}_token": token | {"content": text} for name, text in (("bos", "<s>"), ("eos", "</s>"), ("unk", "<unk>"))}
    write_json(folder / "tokenizer_config.json", config)
    return LlamaTokenizer.from_pretrained(folder)


def build(seed: int, vocab: int, image_id: int, dtype: torch.dtype, vision: dict = {}, text: dict = {}, outer: dict = {},
          guard: str = "vgm") -> LlavaForConditionalGeneration:
    """A random model whose values are those that `dtype` can hold, in f32."""
    torch.manual_seed(seed)
    vision = CLIPVisionConfig(**{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
                                 "num_attention_heads": 4, "image_size": 42, "patch_size": 14} | vision)
    text = LlamaConfig(**{"vocab_size": vocab, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3,
                          "num_attention_heads": 4, "max_position_embeddings": 512, "rms_norm_eps": 1e-5} | text)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image_id,
                         **{"image_seq_length": 9, "vision_feature_layer": -2,
                            "vision_feature_select_strategy": "default", "tie_word_embeddings": False} | outer)
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation="eager").eval().float()
    if guard != "none":
        model.img_safety_head = SafetyHead(text.hidden_size, guard == "meta").eval()
        model.config.safety_categories = LABELS
        model.config.num_safety_categories = len(LABELS)
        model.config.safety_head_hidden_scale = 0.5
        model.config.safety_num_hidden_layers = 1
    if guard == "meta":
        model.config.safety_meta_token = True
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.copy_(0.2 * torch.randn_like(p) + (1.0 if name.endswith("weight") else 0.0))
            elif p.ndim == 1 or "position" in name or "meta_token" in name:
                p.copy_(0.5 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * 1.5 / p[0].numel() ** 0.5)
            p.copy_(p.to(dtype).float())
    return model


def save(model: LlavaForConditionalGeneration, folder: pathlib.Path, dtype: torch.dtype) -> None:
    model.to(dtype).save_pretrained(folder)
    model.float()


def original(model: LlavaForConditionalGeneration, folder: pathlib.Path) -> None:
    """The original code's names, configuration and shards."""
    temporary = folder / "temporary"
    save(model, temporary, torch.float16)
    renamed = {}
    for name, value in load_file(temporary / "model.safetensors").items():
        name = name.removeprefix("model.")
        if name.startswith("vision_tower."):
            inner = name.removeprefix("vision_tower.").removeprefix("vision_model.")
            name = "model.vision_tower.vision_tower.vision_model." + inner
        name = name.replace("multi_modal_projector.linear_1", "model.mm_projector.0")
        name = name.replace("multi_modal_projector.linear_2", "model.mm_projector.2")
        name = name.replace("language_model.lm_head", "lm_head").replace("language_model.model.", "model.")
        renamed[name.replace("language_model.", "model.")] = value
    config = json.loads((temporary / "config.json").read_text())
    shutil.rmtree(temporary)
    weights, names = {}, sorted(renamed)
    for nth, shard in enumerate((names[::2], names[1::2]), 1):
        file = f"model-{nth:05}-of-00002.safetensors"
        save_file({name: renamed[name] for name in shard}, folder / file, metadata={"format": "pt"})
        weights |= dict.fromkeys(shard, file)
    size = sum(value.numel() * value.element_size() for value in renamed.values())
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": dict(sorted(weights.items()))})
    text, vision = config["text_config"], config["vision_config"]
    keys = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "hidden_act")
    flat = {"architectures": ["SafeLlavaLlamaForCausalLM"], "model_type": "llava"} | {key: text[key] for key in keys}
    flat |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "rope_scaling": None, "tie_word_embeddings": False,
             "torch_dtype": "float16", "image_aspect_ratio": "pad", "mm_hidden_size": vision["hidden_size"],
             "mm_projector_type": "mlp2x_gelu", "mm_use_im_patch_token": False, "mm_use_im_start_end": False,
             "mm_vision_select_feature": "patch", "mm_vision_select_layer": -2, "unfreeze_mm_vision_tower": True,
             "vision_config": vision}
    flat |= {key: value for key, value in config.items() if "safety" in key}
    write_json(folder / "config.json", flat)
    write_json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})


class Hf:
    """Inputs by transformers' processor."""

    def __init__(self, tokenizer, image_processor, **settings):
        self.processor = LlavaProcessor(image_processor=image_processor, tokenizer=tokenizer, patch_size=14,
                                        num_additional_image_tokens=1, chat_template=HF_TEMPLATE, **settings)

    def __call__(self, turns: list, images: list[Image.Image]) -> tuple[list[int], torch.Tensor | None]:
        messages = [{"role": role, "content": [{"type": "image"} for _ in shown] + [{"type": "text", "text": text}]}
                    for role, shown, text in turns]
        prompt = self.processor.apply_chat_template(messages, add_generation_prompt=True)
        inputs = self.processor(text=[prompt], images=images or None, return_tensors="pt")
        return inputs["input_ids"][0].tolist(), inputs.get("pixel_values")


class Original:
    """Inputs as the original code makes them (conversation.py, mm_utils.py)."""

    def __init__(self, tokenizer, model_file: pathlib.Path, image_processor, image_id: int, tokens: int):
        self.tokenizer, self.image_processor, self.image_id, self.tokens = tokenizer, image_processor, image_id, tokens
        self.plain = sentencepiece.SentencePieceProcessor(model_file=str(model_file))

    def __call__(self, turns: list, images: list[Image.Image]) -> tuple[list[int], torch.Tensor | None]:
        prompt = next((text for role, _, text in turns if role == "system"), SYSTEM) + " "
        for role, shown, text in turns:
            if role != "system":
                prompt += f"{role.upper()}: " + "<image>\n" * len(shown) + text + (" " if role == "user" else "</s>")
        pieces = (prompt + "ASSISTANT:").split("<image>")
        ids = [1]
        for nth, piece in enumerate(pieces):
            own = self.tokenizer(piece).input_ids
            assert own[0] == 1 and ("</s>" in piece or own[1:] == self.plain.encode(piece)), piece
            ids += ([self.image_id] * self.tokens if nth else []) + own[1:]
        pixels = [self.image_processor(self.square(image), return_tensors="pt")["pixel_values"] for image in images]
        return ids, torch.cat(pixels) if pixels else None

    @staticmethod
    def square(image: Image.Image) -> Image.Image:
        side = max(image.size)
        ground = Image.new("RGB", (side, side), tuple(int(mean * 255) for mean in MEAN))
        ground.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        return ground


@torch.no_grad()
def visual_tokens(model, pixels: torch.Tensor) -> torch.Tensor:
    """`[images, tokens, hidden]`, with the meta token behind each image's."""
    config = model.config
    states = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
    layers = config.vision_feature_layer
    layers = [layers] if isinstance(layers, int) else layers
    first = 0 if config.vision_feature_select_strategy == "full" else 1
    visual = model.model.multi_modal_projector(torch.cat([states[layer][:, first:] for layer in layers], -1))
    meta = getattr(getattr(model, "img_safety_head", None), "meta_token", None)
    return visual if meta is None else torch.cat([visual, meta.expand(len(visual), 1, -1)], 1)


@torch.no_grad()
def forward(model, ids: list[int], visual: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states and logits `[tokens, ..]`."""
    ids = torch.tensor(ids)
    places = ids == model.config.image_token_id
    embeddings = model.get_input_embeddings()(ids.masked_fill(places, 0))
    if visual is not None:
        embeddings[places] = visual.flatten(0, 1)
    hidden = model.model.language_model(inputs_embeds=embeddings[None], use_cache=False).last_hidden_state[0]
    return hidden, model.lm_head(hidden)


@torch.no_grad()
def by_transformers(model, ids: list[int], pixels: torch.Tensor | None) -> torch.Tensor:
    """Logits of the whole class, which knows no meta token and needs `<image>` among its embeddings."""
    inputs = {"input_ids": torch.tensor([ids])}
    return model(**inputs, **({} if pixels is None else {"pixel_values": pixels}), use_cache=False).logits[0]


def record(model, process, folder: pathlib.Path, cases: list, whole: bool) -> None:
    head = getattr(model, "img_safety_head", None)
    stages, records, least = {}, [], 1e9
    for n, turns in enumerate(cases):
        images = [picture(name) for _, shown, _ in turns for name in shown]
        ids, pixels = process(turns, images)
        pixels = None if pixels is None else pixels.float()
        visual = None if pixels is None else visual_tokens(model, pixels)
        if head is not None and hasattr(head, "meta_token"):
            ids = with_meta(ids, model.config.image_token_id, visual)
        hidden, logits = forward(model, ids, visual)
        if whole:
            torch.testing.assert_close(by_transformers(model, ids, pixels), logits, rtol=1e-5, atol=1e-5)
        stages |= {f"{n}.hidden": hidden, f"{n}.logits": logits[-1]}
        probabilities = None
        if visual is not None:
            stages |= {f"{n}.pixels": pixels, f"{n}.visual_tokens": visual.flatten(0, 1)}
        if visual is not None and head is not None:
            own = hidden[torch.tensor(ids) == model.config.image_token_id].view(len(visual), visual.shape[1], -1)
            pooled = own[:, -1] if hasattr(head, "meta_token") else own.mean(1)
            with torch.no_grad():
                stages[f"{n}.guard"] = head.mlp(pooled)
            probabilities = stages[f"{n}.guard"].softmax(-1).tolist()
        greedy = []
        while len(greedy) < STEPS:
            best = forward(model, ids + greedy, visual)[1][-1].topk(2)
            least = min(least, float(best.values[0] - best.values[1]))
            if least < 1e-3:
                raise Unfit(f"nearly tied logits ({least})")
            greedy.append(int(best.indices[0]))
        if {2, model.config.image_token_id} & set(greedy):
            raise Unfit("an end or an image in the answer")
        records.append({"turns": turns, "input_ids": ids, "greedy_ids": greedy, "guard": probabilities})
    save_file({name: value.detach().contiguous().clone() for name, value in stages.items()}, folder / "stages.safetensors")
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in records)
    (folder / "cases.json").write_text(f"[\n{lines}\n]\n")
    print(folder.name, [len(set(case["greedy_ids"])) for case in records], f"least margin {least:.4f}")


def with_meta(ids: list[int], image_id: int, visual: torch.Tensor | None) -> list[int]:
    """One placeholder more behind those of each picture."""
    result, run, own = [], 0, 0 if visual is None else visual.shape[1] - 1
    for token in ids:
        result.append(token)
        run = run + 1 if token == image_id else 0
        if own and run == own:
            result.append(image_id)
            run = 0
    return result


def write_json(path: pathlib.Path, value) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def clip_processor(side: int, kind=CLIPImageProcessorPil, **more):
    return kind(size={"shortest_edge": side}, crop_size={"height": side, "width": side}, image_mean=MEAN, image_std=STD, **more)


def main() -> None:
    torch.set_num_threads(1)
    shutil.rmtree(OUT, ignore_errors=True)
    pictures()
    tok = hf_tokenizer()
    image_id = tok.convert_tokens_to_ids("<image>")
    def tiny(seed: int, folder: pathlib.Path) -> None:
        model = build(seed, len(tok) + 3, image_id, torch.float16)
        process = Hf(tok, clip_processor(42), vision_feature_select_strategy="default")
        record(model, process, folder, CASES, whole=True)
        save(model, folder, torch.float16)
        process.processor.save_pretrained(folder)

    def old(seed: int, folder: pathlib.Path) -> None:
        llama = original_tokenizer(folder)
        # The original code has no id for images; the next behind the vocabulary stands for one here.
        model = build(seed, len(llama), len(llama), torch.float16)
        process = Original(llama, folder / "tokenizer.model", clip_processor(42), len(llama), 9)
        record(model, process, folder, CASES[1:], whole=False)
        original(model, folder)

    def gqa(seed: int, folder: pathlib.Path) -> None:
        outer = {"vision_feature_layer": [1, -2], "vision_feature_select_strategy": "full", "image_seq_length": 5,
                 "tie_word_embeddings": True}
        model = build(seed, len(tok), image_id, torch.bfloat16, {"image_size": 28, "hidden_act": "gelu"},
                      {"num_key_value_heads": 2, "tie_word_embeddings": True}, outer, guard="none")
        process = Hf(tok, clip_processor(28, LlavaImageProcessorPil, do_pad=True), vision_feature_select_strategy="full")
        record(model, process, folder, [CASES[0], CASES[2], CASES[4]], whole=True)
        save(model, folder, torch.bfloat16)
        process.processor.save_pretrained(folder)

    def meta(seed: int, folder: pathlib.Path) -> None:
        model = build(seed, len(tok), image_id, torch.float16, guard="meta")
        process = Hf(tok, clip_processor(42), vision_feature_select_strategy="default")
        record(model, process, folder, [CASES[1], CASES[4]], whole=False)
        save(model, folder, torch.float16)
        process.processor.save_pretrained(folder)

    for name, make in (("tiny", tiny), ("original", old), ("gqa", gqa), ("meta", meta)):
        for seed in range(46, 96):
            shutil.rmtree(OUT / name, ignore_errors=True)
            (OUT / name).mkdir()
            try:
                make(seed, OUT / name)
            except Unfit as reason:
                print(name, seed, reason, flush=True)
                continue
            print(name, "seed", seed, sum(file.stat().st_size for file in (OUT / name).iterdir()), "bytes", flush=True)
            break


if __name__ == "__main__":
    main()
