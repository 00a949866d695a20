"""What safe_qwen.py and qwen_half_b.py share: a small tokenizer like Qwen's, the guard head, weights that matter."""

import json
import pathlib

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer

from safe_qwen_presets import GUARD  # noqa: F401

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEMPLATE = (ROOT / "crates/text/src/templates/qwen2.5-vl.jinja").read_text()
# In the order of Qwen2.5-VL's tokenizer, behind the vocabulary.
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
           "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>"]
PLAIN = ["<tool_call>", "</tool_call>"]
CORPUS = """You are a helpful assistant. Answer in one sentence. What is this? How do I get this? Which of the two is
safer? Is one of them harmful? It's a picture of a cat, and that's all I can say. The system helps the user; the
user asks the assistant. 12 pictures, 345 words. Ça va? Qu'est-ce que c'est? 你好，这是什么？
    indented = [code, {1: 2}]
"""


def tokenizer() -> Qwen2Tokenizer:
    """Byte-level BPE with Qwen's own splitting and special tokens, and few merges."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                                  show_progress=False)
    trained.train_from_iterator([CORPUS], trainer)
    vocabulary = trained.get_vocab()
    merges = json.loads(trained.to_str())["model"]["merges"]
    made = Qwen2Tokenizer(vocab=vocabulary, merges=[tuple(pair) for pair in merges], eos_token="<|im_end|>",
                          pad_token="<|endoftext|>", unk_token="<|endoftext|>", model_max_length=512)
    made.add_special_tokens({"additional_special_tokens": SPECIAL})
    made.add_tokens([AddedToken(token, special=False, normalized=False) for token in PLAIN])
    made.chat_template = TEMPLATE
    return made


class SafetyHead(torch.nn.Module):
    """The guard head, as far as it is known (HoliSafe, arXiv 2506.04704 v5)."""

    def __init__(self, hidden: int):
        super().__init__()
        self.mlp = torch.nn.Sequential(torch.nn.Linear(hidden, hidden // 2), torch.nn.GELU(), torch.nn.Dropout(0.1),
                                       torch.nn.Linear(hidden // 2, 20))

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.mlp(pooled)


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


def flat_config(config: dict) -> dict:
    """config.json as the published files have it: no text_config, older names."""
    text, vision = dict(config["text_config"]), dict(config["vision_config"])
    rope = text.pop("rope_parameters")
    for key in ["layer_types", "model_type", "dtype"]:
        text.pop(key, None)
    for key in ["rope_parameters", "model_type", "dtype", "initializer_range"]:
        vision.pop(key, None)
    vision["in_chans"] = vision.pop("in_channels")
    vision["spatial_patch_size"] = vision["patch_size"]
    text |= {"rope_theta": rope["rope_theta"], "sliding_window": 32768,
             "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]}}
    outer = {key: value for key, value in config.items() if key not in ["text_config", "vision_config", "dtype"]}
    return text | outer | {"torch_dtype": config["dtype"], "vision_config": vision, "transformers_version": "4.49.0"}
