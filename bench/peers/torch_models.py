"""The measured models in PyTorch, built from the project's own folders: all three with the same few methods.

`hidden(...)` are the language model's states after its last norm, `guard` a verdict's probabilities from pictures,
`embed_chat` what a chat's prefill takes. Preprocessing belongs to the work, as it does in SafeVLM.
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import timm
import torch
import transformers
from PIL import Image
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor, Qwen2VLVideoProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

# Names that newer versions will drop are nobody's concern here.
warnings.filterwarnings("ignore", category=FutureWarning)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "xtask/goldens"))
from safe_qwen_parts import SafetyHead  # noqa: E402


def read(folder: pathlib.Path, prefix: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with `prefix`, without it; mapped, so that only what is cast is copied."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                if name.startswith(prefix):
                    found[name.removeprefix(prefix)] = file.get_tensor(name).to(dtype)
    return found


def open_model(folder: pathlib.Path, dtype: torch.dtype) -> "TextModel | SafeSmol | SafeQwen":
    config = json.loads((folder / "config.json").read_text())
    kinds = {"llama": TextModel, "safe_smol": SafeSmol, "qwen2_5_vl": SafeQwen}
    return kinds[config["model_type"]](folder, config, dtype)


class TextModel:
    """A language model alone: transformers as it is."""

    def __init__(self, folder: pathlib.Path, config: dict, dtype: torch.dtype):
        self.lm = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
        self.vocabulary = config["vocab_size"]


class SafeSmol:
    """EfficientNet-Lite0 (timm), a projector, SmolLM2 (transformers) and the guard head."""

    def __init__(self, folder: pathlib.Path, config: dict, dtype: torch.dtype):
        self.lm = llama(config["text_config"], read(folder, "language_model.", dtype), dtype)
        self.vision = efficientnet(read(folder, "vision_tower.", dtype), dtype)
        width, hidden = self.vision.num_features, self.lm.config.hidden_size
        with torch.device("meta"):
            layers = {"linear_1": torch.nn.Linear(width, hidden), "linear_2": torch.nn.Linear(hidden, hidden)}
            self.projector, self.head = torch.nn.ModuleDict(layers), SafetyHead(hidden)
        self.projector.load_state_dict(read(folder, "multi_modal_projector.", dtype), assign=True)
        self.head.load_state_dict(read(folder, "img_safety_head.", dtype), assign=True)
        self.head.eval()
        self.image_token, self.vocabulary = config["image_token_index"], config["text_config"]["vocab_size"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.dtype = dtype

    def pixels(self, pictures: list[Image.Image]) -> torch.Tensor:
        """The whole picture squeezed into the square, from -1 to 1."""
        squares = [np.array(picture.resize((224, 224), Image.Resampling.BICUBIC)) for picture in pictures]
        values = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)
        return ((values.to(torch.float32) / 255 - 0.5) / 0.5).to(self.dtype)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """A token for each place of the feature map, `[images, 49, 1280]`."""
        return self.vision.forward_features(pixels).flatten(2).transpose(1, 2)

    def project(self, features: torch.Tensor) -> torch.Tensor:
        inner = torch.nn.functional.gelu(self.projector["linear_1"](features))
        return self.projector["linear_2"](inner)

    def embed(self, ids: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
        """Text embeddings with the visual tokens in their places."""
        places = ids == self.image_token
        embedded = self.lm.get_input_embeddings()(ids.masked_fill(places, 0))
        return embedded.masked_scatter(places[..., None], visual)

    def ids(self, question: str | None) -> list[int]:
        """The prompt of one picture: up to its last visual token, or with a question to where the answer begins."""
        begin = self.tokenizer.encode("<|im_start|>user\n").ids + [self.image_token] * 49
        if question is None:
            return begin
        return begin + self.tokenizer.encode(f"{question}<|im_end|>\n<|im_start|>assistant\n").ids

    def classify(self, hidden: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Class logits from the mean of the visual tokens' states."""
        places = (ids == self.image_token)[..., None]
        pooled = (hidden.float() * places).sum(1) / places.sum(1)
        return self.head(pooled.to(hidden.dtype)).float()

    def guard(self, pictures: list[Image.Image]) -> torch.Tensor:
        ids = torch.tensor([self.ids(None)] * len(pictures))
        visual = self.project(self.features(self.pixels(pictures)))
        hidden = self.lm.model(inputs_embeds=self.embed(ids, visual), use_cache=False).last_hidden_state
        return self.classify(hidden, ids).softmax(-1)

    def prefill_chat(self, picture: Image.Image, question: str) -> tuple[torch.Tensor, torch.Tensor, object]:
        """The verdict, the logits of the last token and the cache, from one pass."""
        ids = torch.tensor([self.ids(question)])
        visual = self.project(self.features(self.pixels([picture])))
        output = self.lm.model(inputs_embeds=self.embed(ids, visual), use_cache=True)
        hidden = output.last_hidden_state
        return self.classify(hidden, ids).softmax(-1), self.lm.lm_head(hidden[:, -1:]), output.past_key_values


class SafeQwen:
    """Qwen2.5-VL (transformers) with the guard head, which the class does not know and leaves over."""

    def __init__(self, folder: pathlib.Path, config: dict, dtype: torch.dtype):
        self.lm = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()
        self.vocabulary = config["text_config"]["vocab_size"]
        with torch.device("meta"):
            self.head = SafetyHead(config["text_config"]["hidden_size"])
        self.head.load_state_dict(read(folder, "img_safety_head.", dtype), assign=True)
        self.head.eval()
        found = Qwen2_5_VLProcessor.from_pretrained(folder)
        # The class that works without torchvision, with the folder's settings.
        settings = json.loads((folder / "processor_config.json").read_text())["image_processor"]
        images = Qwen2VLImageProcessorPil(size=settings["size"])
        template = found.chat_template or found.tokenizer.chat_template
        self.processor = Qwen2_5_VLProcessor(images, found.tokenizer, Qwen2VLVideoProcessor(), chat_template=template)

    def inputs(self, pictures: list[Image.Image], question: str | None) -> dict:
        """A row a picture, cut behind its last visual token where nothing is asked."""
        content = [{"type": "image"}, {"type": "text", "text": question or ""}]
        text = self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        made = dict(self.processor(text=[text] * len(pictures), images=pictures, return_tensors="pt"))
        if question is None:
            last = int((made["input_ids"][0] == self.lm.config.image_token_id).nonzero().max())
            for key in ["input_ids", "attention_mask", "mm_token_type_ids"]:
                made[key] = made[key][:, : last + 1]
        self.lm.model.rope_deltas = None
        return made

    def classify(self, hidden: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        places = (ids == self.lm.config.image_token_id)[..., None]
        pooled = (hidden.float() * places).sum(1) / places.sum(1)
        return self.head(pooled.to(hidden.dtype)).float()

    def guard(self, pictures: list[Image.Image]) -> torch.Tensor:
        inputs = self.inputs(pictures, None)
        hidden = self.lm.model(**inputs, use_cache=False).last_hidden_state
        return self.classify(hidden, inputs["input_ids"]).softmax(-1)

    def prefill_chat(self, picture: Image.Image, question: str) -> tuple[torch.Tensor, torch.Tensor, object]:
        inputs = self.inputs([picture], question)
        output = self.lm.model(**inputs, use_cache=True)
        hidden = output.last_hidden_state
        verdict = self.classify(hidden, inputs["input_ids"]).softmax(-1)
        return verdict, self.lm.lm_head(hidden[:, -1:]), output.past_key_values


def llama(config: dict, tensors: dict[str, torch.Tensor], dtype: torch.dtype) -> LlamaForCausalLM:
    config = LlamaConfig(**config)
    return LlamaForCausalLM.from_pretrained(None, config=config, state_dict=tensors, dtype=dtype).eval()


def efficientnet(tensors: dict[str, torch.Tensor], dtype: torch.dtype) -> torch.nn.Module:
    """timm's network with the tensors of a folder, which counts the blocks through and keeps each norm with its
    convolution."""
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).to(dtype).eval()
    state = {}
    pairs = [("conv_stem", model.conv_stem, model.bn1), ("conv_head", model.conv_head, model.bn2)]
    for n, block in enumerate(block for stage in model.blocks for block in stage):
        first = [] if hasattr(block, "conv_pwl") else [("depthwise", block.conv_dw, block.bn1), ("project", block.conv_pw, block.bn2)]
        parts = first or [("expand", block.conv_pw, block.bn1), ("depthwise", block.conv_dw, block.bn2),
                          ("project", block.conv_pwl, block.bn3)]
        pairs += [(f"blocks.{n}.{part}_conv", convolution, norm) for part, convolution, norm in parts]
    for name, convolution, norm in pairs:
        for module, place, keys in [(convolution, name, ["weight"]),
                                    (norm, f"{name}.norm", ["weight", "bias", "running_mean", "running_var"])]:
            state |= {f"{place}.{key}": getattr(module, key) for key in keys}
    assert set(state) == set(tensors), "the folder's encoder is another one"
    with torch.no_grad():
        for name, value in state.items():
            value.copy_(tensors[name])
    return model
