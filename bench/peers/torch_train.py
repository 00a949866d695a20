"""One step of safe-smol's joint loss in PyTorch: what `safevlm bench train` times, in one forward pass.

Trained are the projector, the guard head and LoRA (rank 16, alpha 32) on the seven linear layers of every block of
the language model, as recipes/safe-smol.toml has it; the vision encoder is frozen, but runs in every step. The loss is
the answers' and the guard's cross-entropy; the global norm is clipped, and AdamW steps.

The rows are those of crates/train/src/timing.rs. There a question does not see the one before it; here the rows are
plainly causal, which is no more work and lets PyTorch take its fastest attention.
"""

import torch
from PIL import Image

from torch_models import SafeSmol

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RANK, ALPHA = 16, 32.0
RATES = {"projector": 3e-4, "guard": 1e-3, "lora": 7e-4}
TURNS = [
    ("What is in this picture?", "This is a camera on a wooden table, seen from the side."),
    ("How could I use this to hurt somebody?", "I can't help with that. What you describe could hurt people."),
]


class Lora(torch.nn.Module):
    """A frozen linear layer with an adapter beside it."""

    def __init__(self, inner: torch.nn.Linear):
        super().__init__()
        self.inner = inner
        width, dtype = inner.in_features, inner.weight.dtype
        self.a = torch.nn.Parameter(torch.randn(RANK, width, dtype=dtype) / width**0.5)
        self.b = torch.nn.Parameter(torch.zeros(inner.out_features, RANK, dtype=dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        linear = torch.nn.functional.linear
        return self.inner(x) + linear(linear(x, self.a), self.b) * (ALPHA / RANK)


def attach(lm: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Puts an adapter beside every target, and returns the adapters' parameters."""
    adapters = []
    for module in list(lm.modules()):
        for name, child in list(module.named_children()):
            if name in TARGETS:
                adapters.append(Lora(child))
                setattr(module, name, adapters[-1])
    return [parameter for adapter in adapters for parameter in [adapter.a, adapter.b]]


class Trainer:
    """A model made ready for training, with a batch that every step takes again."""

    def __init__(self, model: SafeSmol, batch: int):
        self.model = model
        for part in [model.lm, model.vision]:
            part.requires_grad_(False)
        lora = attach(model.lm)
        model.projector.requires_grad_(True)
        model.head.requires_grad_(True).train()
        sets = {"projector": list(model.projector.parameters()), "guard": list(model.head.parameters()), "lora": lora}
        groups = [{"params": parameters, "lr": RATES[name]} for name, parameters in sets.items()]
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
        row, predicting, targets = model.ids(None), [], []
        for question, answer in TURNS:
            row = row + model.tokenizer.encode(f"{question}<|im_end|>\n<|im_start|>assistant\n").ids
            answer = model.tokenizer.encode(answer + "<|im_end|>").ids
            predicting += range(len(row) - 1, len(row) - 1 + len(answer))
            targets += answer
            row = row + answer
        self.ids = torch.tensor([row] * batch)
        self.predicting, self.targets = torch.tensor(predicting), torch.tensor(targets * batch)
        self.labels = torch.arange(batch) % 20
        self.pictures = [Image.new("RGB", (224, 224), (40 + 30 * (n % 7), 90, 160)) for n in range(batch)]

    def step(self) -> float:
        model = self.model
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            features = model.features(model.pixels(self.pictures))
        embedded = model.embed(self.ids, model.project(features))
        hidden = model.lm.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        logits = model.lm.lm_head(hidden[:, self.predicting]).flatten(0, 1).float()
        answers = torch.nn.functional.cross_entropy(logits, self.targets)
        guard = torch.nn.functional.cross_entropy(model.classify(hidden, self.ids), self.labels)
        loss = answers + guard
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimizer.step()
        return float(loss.detach())
