"""Three tiny random Gemma 3 checkpoints, whole as they are published, with their outputs, by transformers.

    python safe_gem.py

Writes models/safe-gem/tests/goldens/pictures and, for each NAME, models/safe-gem/tests/goldens/NAME: the
folder that `save_pretrained` of model and processor writes, and beside it cases.json and stages.safetensors.

- tiny: as transformers 5 writes a class derived from its own (`model.language_model.model.`), f32; the guard looks
  at the language model's states; the window is shorter than the prompts and than an image.
- projector: as transformers 4.50 wrote it (names, rotary keys, chat_template.json, two processor files), in bf16
  and in shards; the guard looks at the projector's output (`guard_input`).
- base: as transformers 5 writes its own class (`language_model.model.`), without a guard head; rotary frequencies
  of global layers divided by 8, one key head for four query heads.

cases.json: `turns` ([role, pictures, text]), `input_ids` (expanded), `greedy_ids` (up to 32, the end of turn
among them), `guard` (20 probabilities an image, or null). stages.safetensors, for case n: `n.pixels`,
`n.visual_tokens`, `n.hidden` (after the final norm), `n.guard` (logits), `n.logits` (of the last token); those of
images only where there are some. All of it is computed in f32 from the files just written.

Pictures with transparency are laid on white first, as SafeVLM does; transformers would drop the alpha channel.
"""

import json
import pathlib

import numpy
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor, SiglipVisionConfig
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

from safe_gem_tokenizer import gemma_tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "models/safe-gem/tests/goldens"
PICTURES = OUT / "pictures"
TEMPLATE = (ROOT / "crates/text/src/templates/gemma3.jinja").read_text()
LABELS = [
    "safe", "gender", "race", "religion", "harassment", "disability_discrimination", "drug_related_hazards",
    "property_crime", "facial_data_exposure", "identity_data_exposure", "physical_self_injury", "suicide",
    "animal_abuse", "obscene_gestures", "physical_altercation", "terrorism", "weapon_related_violence",
    "sexual_content", "financial_advice", "medical_advice",
]
GUARD = dict(safety_categories=LABELS, num_safety_categories=20, safety_head_hidden_scale=0.5, safety_num_hidden_layers=1)
LONG = "There are two men in front of a house, and one of them holds something. " * 3

TINY = dict(
    seed=3, guard="hidden_states", image_size=56, patch_size=7, tokens=16, vision_layers=2,
    text=dict(hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2, head_dim=12,
              num_hidden_layers=4, query_pre_attn_scalar=12, sliding_window=12,
              layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]),
    cases=[
        [["user", [], "What is the capital of France?"]],
        [["user", ["photo.png"], "What is this?"]],
        [["user", ["wide.png", "tall.png"], "Which of the two pictures is safer?"]],
        [["user", [], "Hello!"], ["assistant", [], "Hello. How can I help?"], ["user", ["gray.png"], LONG + "Where?"]],
        [["system", [], "Answer in one sentence."], ["user", ["alpha.png"], "  Is it dangerous?\n"]],
        [["system", [], "Be careful."], ["user", ["dot.png"], "How do I use this?"], ["assistant", [], "I cannot see it."],
         ["user", ["photo.png", "wide.png"], "And these?"]],
        [["user", ["tall.png"], ""]],
    ],
)
PROJECTOR = dict(
    seed=7, guard="projector", image_size=28, patch_size=7, tokens=4, vision_layers=1,
    text=dict(hidden_size=48, intermediate_size=64, num_attention_heads=4, num_key_value_heads=4, head_dim=8,
              num_hidden_layers=4, query_pre_attn_scalar=10, sliding_window=16,
              layer_types=["sliding_attention", "full_attention"] * 2,
              rope_parameters={"full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 20000.0},
                               "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}}),
    cases=[
        [["user", ["gray.png", "photo.png"], "How to get this?"]],
        [["user", [], "Thanks, and?"]],
        [["user", [], "Hello!"], ["assistant", [], "Hello."], ["user", ["wide.png"], "What is this?"]],
    ],
)
BASE = dict(
    seed=3, guard=None, image_size=42, patch_size=7, tokens=9, vision_layers=1,
    text=dict(hidden_size=32, intermediate_size=40, num_attention_heads=4, num_key_value_heads=1, head_dim=16,
              num_hidden_layers=4, query_pre_attn_scalar=16, sliding_window=10,
              layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
              rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                               "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}),
    cases=[
        [["user", ["alpha.png"], "What is this?"]],
        [["system", [], "You are brief."], ["user", [], "Who are you?"], ["assistant", [], "A model."],
         ["user", ["tall.png", "dot.png"], "Which one?"]],
        [["user", [], LONG]],
    ],
)


class GuardHead(torch.nn.Module):
    """HoliSafe's head (arXiv 2506.04704, v5): Linear, GELU, Dropout, Linear."""

    def __init__(self, hidden: int):
        super().__init__()
        inner = hidden // 2
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(hidden, inner), torch.nn.GELU(), torch.nn.Dropout(0.1), torch.nn.Linear(inner, 20))

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.mlp(pooled)


class SafeGem(Gemma3ForConditionalGeneration):
    """Gemma 3 with a guard head beside it, where its configuration names the labels."""

    def __init__(self, config):
        super().__init__(config)
        if getattr(config, "safety_categories", None):
            self.img_safety_head = GuardHead(config.text_config.hidden_size)


SafeGem.__name__ = "Gemma3ForConditionalGeneration"  # as `architectures` has it


def pictures() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    dice = numpy.random.default_rng(7)

    def scene(width: int, height: int) -> numpy.ndarray:
        y, x = numpy.mgrid[0:height, 0:width].astype(float)
        y, x = y / max(height - 1, 1), x / max(width - 1, 1)
        sky = numpy.stack([90 + 80 * y, 140 + 60 * y, 220 - 90 * y], -1)
        disc = ((x - 0.65) ** 2 + (y - 0.4) ** 2 < 0.06)[..., None]
        ground = (y > 0.7 + 0.1 * numpy.sin(6 * x))[..., None]
        image = numpy.where(disc, [235, 200, 60], numpy.where(ground, [50, 110, 40], sky))
        return (image + dice.normal(0, 9, image.shape)).clip(0, 255).astype("uint8")

    Image.fromarray(scene(80, 60)).save(PICTURES / "photo.png")
    Image.fromarray(scene(150, 11)[:, ::-1].copy()).save(PICTURES / "wide.png")
    Image.fromarray(255 - scene(9, 130)).save(PICTURES / "tall.png")
    Image.fromarray(numpy.array([[[200, 30, 90]]], "uint8")).save(PICTURES / "dot.png")
    Image.fromarray(scene(40, 50)[..., 1]).save(PICTURES / "gray.png")
    alpha = numpy.tile(numpy.linspace(0, 255, 32).astype("uint8"), (24, 1))[..., None]
    Image.fromarray(numpy.concatenate([scene(32, 24), alpha], -1)).save(PICTURES / "alpha.png")


def read_picture(name: str) -> Image.Image:
    image = Image.open(PICTURES / name)
    if image.mode != "RGBA":
        return image.convert("RGB")
    pixels = numpy.asarray(image).astype(int)
    color, alpha = pixels[..., :3], pixels[..., 3:]
    return Image.fromarray(((color * alpha + 255 * (255 - alpha) + 127) // 255).astype("uint8"))


def randomise(model: torch.nn.Module) -> None:
    """Weights that matter, exact in bf16: transformers' own (std 0.02, norms 1, projector 0) hide most mistakes."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn_like(p)
            if "vision_tower" in name and "norm" in name:
                p.copy_(0.1 * noise + float(name.endswith("weight")))
            elif "norm" in name:
                # Gemma stores the weight less 1. What the layers add must outweigh the embedding, or the model
                # repeats its last token.
                p.copy_(0.2 * noise + float("post_" in name))
            elif "embed_tokens" in name:
                p.copy_(0.1 * noise)
            elif "position_embedding" in name:
                p.copy_(0.3 * noise)
            elif "mm_input_projection_weight" in name:
                p.copy_(noise / p.shape[0] ** 0.5)
            elif "img_safety_head" in name:
                p.copy_(noise * (4.0 / p.shape[-1] ** 0.5 if p.ndim == 2 else 0.3))
            else:
                p.copy_(noise * 2.0 / p[0].numel() ** 0.5)
            p.copy_(p.bfloat16().float())


def build(name: str, spec: dict) -> pathlib.Path:
    """Writes the folder."""
    torch.manual_seed(spec["seed"])
    tokenizer = gemma_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    end = ids("<end_of_turn>")
    text = spec["text"] | dict(vocab_size=len(tokenizer) + 7, max_position_embeddings=512, pad_token_id=0,
                               eos_token_id=1, bos_token_id=2)
    vision = SiglipVisionConfig(hidden_size=24, intermediate_size=40, num_hidden_layers=spec["vision_layers"],
                                num_attention_heads=2, image_size=spec["image_size"], patch_size=spec["patch_size"],
                                vision_use_head=False)
    guard = GUARD if spec["guard"] else {}
    if spec["guard"] == "projector":
        guard = guard | dict(guard_input="projector")
    config = Gemma3Config(
        text_config=text, vision_config=vision.to_dict(), mm_tokens_per_image=spec["tokens"],
        image_token_index=ids("<image_soft_token>"), boi_token_index=ids("<start_of_image>"),
        eoi_token_index=ids("<end_of_image>"), eos_token_id=[1, end], **guard)
    model = (SafeGem if guard else Gemma3ForConditionalGeneration)(config)
    randomise(model)
    model.generation_config.update(bos_token_id=2, eos_token_id=[1, end], pad_token_id=0)

    side = spec["image_size"]
    images = Gemma3ImageProcessorPil(size={"height": side, "width": side}, image_seq_length=spec["tokens"])
    processor = Gemma3Processor(images, tokenizer, chat_template=TEMPLATE, image_seq_length=spec["tokens"])
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    stored = torch.bfloat16 if name == "projector" else torch.float32
    model.to(stored).save_pretrained(folder, max_shard_size="60KB" if name == "projector" else "5GB")
    processor.save_pretrained(folder)
    if name == "projector":
        as_transformers_4_wrote_it(folder)
    return folder


def as_transformers_4_wrote_it(folder: pathlib.Path) -> None:
    """Names, rotary keys and files as they are in the published Gemma 3 folders."""
    def old(name: str) -> str:
        return name.removeprefix("model.").replace("vision_tower.", "vision_tower.vision_model.")

    index_file = folder / "model.safetensors.index.json"
    index = json.loads(index_file.read_text())
    index["weight_map"] = {old(name): shard for name, shard in index["weight_map"].items()}
    index_file.write_text(json.dumps(index, indent=2) + "\n")
    shards = sorted(set(index["weight_map"].values()))
    assert len(shards) > 2
    for shard in shards:
        tensors = load_file(folder / shard)
        save_file({old(name): tensor for name, tensor in tensors.items()}, folder / shard, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    text = config["text_config"]
    rope = text.pop("rope_parameters")
    text["rope_theta"] = rope["full_attention"]["rope_theta"]
    text["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    text["rope_scaling"] = {"factor": rope["full_attention"]["factor"], "rope_type": "linear"}
    text.pop("layer_types")
    text["sliding_window_pattern"] = text["_sliding_window_pattern"] = 2
    config["torch_dtype"] = config.pop("dtype")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    both = json.loads((folder / "processor_config.json").read_text())
    images = both["image_processor"] | {"processor_class": "Gemma3Processor", "image_processor_type": "Gemma3ImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(images, indent=2) + "\n")
    short = {"image_seq_length": both["image_seq_length"], "processor_class": "Gemma3Processor"}
    (folder / "processor_config.json").write_text(json.dumps(short, indent=2) + "\n")
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}, indent=2) + "\n")


@torch.no_grad()
def measure(folder: pathlib.Path) -> None:
    """Runs the reference on what stands in the folder."""
    spec = SPECS[folder.name]
    kind = SafeGem if spec["guard"] else Gemma3ForConditionalGeneration
    model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    processor = Gemma3Processor.from_pretrained(folder, backend="pil")
    assert isinstance(processor.image_processor, Gemma3ImageProcessorPil), type(processor.image_processor)
    image_token, head = model.config.image_token_index, getattr(model, "img_safety_head", None)
    cases, stages, margins, flags = [], {}, [], []
    for nth, turns in enumerate(spec["cases"]):
        content = lambda names, text: [{"type": "image", "image": read_picture(name)} for name in names] + [
            {"type": "text", "text": text}]
        messages = [{"role": role, "content": content(names, text)} for role, names, text in turns]
        inputs = processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt")
        names = [name for _, names, _ in turns for name in names]
        # Without token types nothing fails, and the reference reads an image causally.
        assert (inputs["token_type_ids"][0] == 1).sum() == len(names) * spec["tokens"]
        assert (inputs["input_ids"] == 2).sum() == 1, "one <bos>"
        pixels, tokens = inputs.get("pixel_values"), spec["tokens"]
        seen = {}
        hook = model.model.multi_modal_projector.register_forward_hook(lambda _m, _i, out: seen.update(visual=out))
        output = model(**inputs, output_hidden_states=True, use_cache=False)
        hook.remove()
        hidden = output.hidden_states[-1][0]
        stages |= {f"{nth}.hidden": hidden, f"{nth}.logits": output.logits[0, -1]}
        guard = None
        if names:
            visual = seen["visual"]
            assert visual.shape == (len(names), tokens, hidden.shape[-1])
            stages |= {f"{nth}.pixels": pixels, f"{nth}.visual_tokens": visual.flatten(0, 1)}
            if head is not None:
                places = inputs["input_ids"][0] == image_token
                states = visual if spec["guard"] == "projector" else hidden[places].reshape(len(names), tokens, -1)
                logits = head(states.mean(1))
                stages[f"{nth}.guard"] = logits
                guard = logits.softmax(-1)
                flags += guard.argmax(-1).tolist()
                if spec["guard"] == "hidden_states":
                    causal = model(**(inputs | {"token_type_ids": torch.zeros_like(inputs["token_type_ids"])}))
                    assert (causal.logits - output.logits).abs().max() > 0.1, "image blocks have no effect"
        ids = inputs["input_ids"][0].tolist()
        answer = model.generate(**inputs, max_new_tokens=32, do_sample=False)[0].tolist()[len(ids):]
        assert image_token not in answer, "a visual token is generated"
        whole = torch.tensor([ids + answer])
        types = torch.cat([inputs["token_type_ids"][0], torch.zeros(len(answer), dtype=torch.long)])[None]
        rest = {} if pixels is None else {"pixel_values": pixels}
        logits = model(input_ids=whole, token_type_ids=types, use_cache=False, **rest).logits[0, len(ids) - 1:-1]
        assert logits.argmax(-1).tolist() == answer, "the cache changes the answer"
        best = logits.topk(2).values
        margins.append(float((best[:, 0] - best[:, 1]).min()))
        assert len(set(answer)) > min(4, len(answer) - 1), f"the same tokens over and over  {answer}"
        cases.append({"turns": turns, "input_ids": ids, "greedy_ids": answer,
                      "guard": None if guard is None else [[round(p, 7) for p in row] for row in guard.tolist()]})
    # The house's own sums differ by less than 1e-5.
    assert min(margins) > 5e-4, f"nearly tied logits {min(margins)}"
    assert head is None or len(set(flags)) > 1, f"one verdict for all images  {flags}"
    save_file({name: tensor.contiguous().float() for name, tensor in stages.items()}, folder / "stages.safetensors")
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (folder / "cases.json").write_text(f"[\n{lines}\n]\n")
    print(folder.name, "prompts", [len(case["input_ids"]) for case in cases],
          "answers", [(len(case["greedy_ids"]), len(set(case["greedy_ids"]))) for case in cases],
          "classes", flags, "margin", min(margins), "bytes", sum(f.stat().st_size for f in folder.iterdir()))


SPECS = {"tiny": TINY, "projector": PROJECTOR, "base": BASE}

if __name__ == "__main__":
    torch.set_num_threads(1)
    pictures()
    for name, spec in SPECS.items():
        # The first seed with which greedy answers are clear of ties and vary.
        for seed in range(spec["seed"], spec["seed"] + 100):
            try:
                measure(build(name, spec | {"seed": seed}))
                break
            except AssertionError as reason:
                print(name, "seed", seed, reason)
