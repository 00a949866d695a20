"""LoRA adapters in PEFT's format, and what PEFT makes of base and adapter.

    python peft_tiny.py

Writes crates/weights/tests/goldens/peft/: base.safetensors (two layers of a decoder's linear layers, random,
Llama's names), and for each adapter NAME/{adapter_config.json,adapter_model.safetensors} as PEFT saves them,
with merged.safetensors, the tensors that differ from the base after `merge_and_unload`.

- plain: r 4, alpha 8, query and up projections, `lm_head` as module to save
- patterns: rank-stabilised, ranks and alphas by pattern, one of them anchored, one matching a single layer
- biased: biases of the adapted layers trained too, the output head adapted (its weight is saved as `base_layer`)
"""

import json
import pathlib
import shutil

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/weights/tests/goldens/peft"
HIDDEN, MLP, VOCABULARY = 12, 20, 18


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = torch.nn.Linear(HIDDEN, HIDDEN)
        self.v_proj = torch.nn.Linear(HIDDEN, HIDDEN // 2, bias=False)


class Mlp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up_proj = torch.nn.Linear(HIDDEN, MLP, bias=False)
        self.down_proj = torch.nn.Linear(MLP, HIDDEN, bias=False)


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn, self.mlp = Attention(), Mlp()


class Decoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(VOCABULARY, HIDDEN)
        self.layers = torch.nn.ModuleList(Layer() for _ in range(2))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Decoder()
        self.lm_head = torch.nn.Linear(HIDDEN, VOCABULARY, bias=False)

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def get_output_embeddings(self):
        return self.lm_head


ADAPTERS = {
    "plain": dict(r=4, lora_alpha=8, target_modules=["q_proj", "up_proj"], modules_to_save=["lm_head"]),
    "patterns": dict(
        r=3, lora_alpha=6, use_rslora=True, target_modules=["q_proj", "v_proj", "down_proj"],
        rank_pattern={"layers.1.self_attn.q_proj": 2, "^model.layers.0.self_attn.v_proj": 5},
        alpha_pattern={"down_proj": 1.5},
    ),
    "biased": dict(r=2, lora_alpha=5, target_modules=["q_proj", "lm_head"], bias="lora_only"),
}


def base() -> Model:
    torch.manual_seed(7)
    return Model()


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    state = {name: tensor.detach().clone() for name, tensor in base().state_dict().items()}
    save_file(state, OUT / "base.safetensors")
    for seed, (name, arguments) in enumerate(ADAPTERS.items()):
        model = get_peft_model(base(), LoraConfig(**arguments))
        torch.manual_seed(30 + seed)
        with torch.no_grad():
            # All that a training would change: `lora_B` begins as zeros.
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.3 * torch.randn_like(parameter))
        folder = OUT / name
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        config = json.loads((folder / "adapter_config.json").read_text())
        # A set in PEFT, whose order differs between runs.
        config["target_modules"].sort()
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
        merged = model.merge_and_unload().state_dict()
        assert merged.keys() == state.keys(), merged.keys() ^ state.keys()
        changed = {key: value.clone() for key, value in merged.items() if not torch.equal(value, state[key])}
        save_file(changed, folder / "merged.safetensors")
        print(name, sorted(changed))


if __name__ == "__main__":
    main()
