"""Tiny random Llama checkpoints with per-stage outputs, by transformers' LlamaForCausalLM.

    python llama_tiny.py

Writes models/llama/tests/goldens/NAME/{config.json,model.safetensors,stages.safetensors,greedy.json}.
stages.safetensors: `input_ids` [2,24] i64, `embeddings`, `layers.N` (hidden state after layer N, before
the final norm), `norm`, `logits`, each [2,24,..] f32; the inner steps of layer 0 for the first place to
look: `layers.0.input_norm`, `layers.0.q_proj|k_proj|v_proj`, `layers.0.attn`, `layers.0.mlp`; and
`padded.logits`: the second row with its first 7 tokens masked as left padding (positions start at 0
behind the padding). greedy.json: 32 greedy tokens behind each row's first 8 tokens.

Two spellings of the configuration occur: tiny-mha-untied is saved the way transformers 4 did
(`rope_theta`, `rope_scaling`, `torch_dtype`), the others the way transformers 5 does (`rope_parameters`).
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/llama/tests/goldens"
COMMON = dict(
    vocab_size=64, hidden_size=32, intermediate_size=88, num_attention_heads=4, max_position_embeddings=128,
    rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=2, hidden_act="silu",
)
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
}
VARIANTS = {
    "tiny-gqa-tied": dict(num_hidden_layers=3, num_key_value_heads=2, tie_word_embeddings=True,
                          rope_parameters={"rope_type": "default", "rope_theta": 100000.0}),
    "tiny-mha-untied": dict(num_hidden_layers=2, num_key_value_heads=4, tie_word_embeddings=False, rms_norm_eps=1e-6,
                            rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    "tiny-llama3-rope": dict(num_hidden_layers=2, num_key_value_heads=1, tie_word_embeddings=True, head_dim=16,
                             rope_parameters=LLAMA3),
}


def build(config: LlamaConfig) -> LlamaForCausalLM:
    """A model whose layers matter: transformers' own initialisation (std 0.02, norms 1) hides most mistakes."""
    model = LlamaForCausalLM._from_config(config, attn_implementation="eager").eval().float()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.copy_(1 + 0.2 * torch.randn_like(p))
            elif "embed" in name:
                p.copy_(0.5 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * 1.5 / p.shape[-1] ** 0.5)
    return model


@torch.no_grad()
def stages(model: LlamaForCausalLM, ids: torch.Tensor) -> dict:
    seen = {}

    def keep(name):
        def hook(_module, _inputs, output):
            seen[name] = (output[0] if isinstance(output, tuple) else output).detach().clone().contiguous()
        return hook

    first = model.model.layers[0]
    hooked = {"embeddings": model.model.embed_tokens, "norm": model.model.norm, "layers.0.input_norm": first.input_layernorm,
              "layers.0.q_proj": first.self_attn.q_proj, "layers.0.k_proj": first.self_attn.k_proj,
              "layers.0.v_proj": first.self_attn.v_proj, "layers.0.attn": first.self_attn, "layers.0.mlp": first.mlp}
    hooked |= {f"layers.{n}": layer for n, layer in enumerate(model.model.layers)}
    handles = [module.register_forward_hook(keep(name)) for name, module in hooked.items()]
    seen["logits"] = model(ids, use_cache=False).logits.contiguous()
    for handle in handles:
        handle.remove()
    mask = torch.ones_like(ids[1:])
    mask[:, :7] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    seen["padded.logits"] = model(ids[1:], attention_mask=mask, position_ids=positions).logits[:, 7:].contiguous()
    alone = model(ids[1:, 7:]).logits
    assert (seen["padded.logits"] - alone).abs().max() < 1e-4
    return {"input_ids": ids} | seen


@torch.no_grad()
def greedy(model: LlamaForCausalLM, prompt: list[int], steps: int = 32) -> list[int]:
    ids, margin = list(prompt), 1e9
    for _ in range(steps):
        best = model(torch.tensor([ids])).logits[0, -1].topk(2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        ids.append(int(best.indices[0]))
    assert margin > 5e-3, f"nearly tied logits ({margin}): choose another seed"
    return ids[len(prompt):]


def main() -> None:
    for seed, (name, extra) in enumerate(VARIANTS.items()):
        torch.manual_seed(20 + seed)
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        model = build(LlamaConfig(**(COMMON | extra)))
        ids = torch.randint(3, 64, (2, 24))
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        if name == "tiny-mha-untied":
            path = folder / "config.json"
            config = json.loads(path.read_text())
            config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
            config["rope_scaling"] = None
            config["torch_dtype"] = config.pop("dtype")
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        save_file(stages(model, ids), folder / "stages.safetensors")
        rows = [{"prompt": row[:8].tolist(), "greedy_ids": greedy(model, row[:8].tolist())} for row in ids]
        (folder / "greedy.json").write_text(json.dumps(rows) + "\n")
        print(name, [len(set(r["greedy_ids"])) for r in rows], sum(f.stat().st_size for f in folder.iterdir()))


if __name__ == "__main__":
    main()
