"""A tiny random Llama as GGUF, and the checkpoint that it must be turned back into.

    python gguf_tiny.py

Writes crates/weights/tests/goldens/tiny_llama.gguf (projections in Q8_0, norms in F32, queries and
keys permuted as llama.cpp's convert_hf_to_gguf.py does, a byte-level vocabulary with a few merges)
and tiny_llama.safetensors: Hugging Face names, the values after quantisation. transformers loads
the GGUF too, and must find the same values.
"""

import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from safetensors.numpy import save_file
from transformers import AutoModelForCausalLM

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/weights/tests/goldens"
LAYERS, HIDDEN, INNER, HEADS, KV, DIM = 2, 32, 64, 4, 2, 8
NAMES = {
    "attn_norm": ("input_layernorm", (HIDDEN,)),
    "attn_q": ("self_attn.q_proj", (HEADS * DIM, HIDDEN)),
    "attn_k": ("self_attn.k_proj", (KV * DIM, HIDDEN)),
    "attn_v": ("self_attn.v_proj", (KV * DIM, HIDDEN)),
    "attn_output": ("self_attn.o_proj", (HIDDEN, HEADS * DIM)),
    "ffn_norm": ("post_attention_layernorm", (HIDDEN,)),
    "ffn_gate": ("mlp.gate_proj", (INNER, HIDDEN)),
    "ffn_up": ("mlp.up_proj", (INNER, HIDDEN)),
    "ffn_down": ("mlp.down_proj", (HIDDEN, INNER)),
}
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


def permute(weights: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp, convert_hf_to_gguf.py, LlamaModel.permute"""
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def byte_alphabet() -> list[str]:
    """GPT-2's bytes_to_unicode, in byte order of the printable ones first."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in shown]
    return [chr(b) for b in shown] + [chr(256 + i) for i in range(len(hidden))]


def main() -> None:
    rng = np.random.default_rng(20260102)
    writer = gguf.GGUFWriter(OUT / "tiny_llama.gguf", "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    writer.add_rope_freq_base(100000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    merges = ["Ġ t", "h e", "Ġt he", "c a", "ca t", "Ġ Ġ"]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *byte_alphabet(), *(m.replace(" ", "") for m in merges)]
    writer.add_vocab_size(len(tokens))
    writer.add_rope_dimension_count(DIM)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)

    expected = {}

    def add(gguf_name: str, hf_name: str, shape: tuple[int, ...], heads: int = 0) -> None:
        weights = rng.normal(scale=0.1, size=shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(gguf_name, weights)
            expected[hf_name] = weights
            return
        raw = gguf.quants.quantize(permute(weights, heads) if heads else weights, T.Q8_0)
        writer.add_tensor(gguf_name, raw, raw_dtype=T.Q8_0)
        # A row is quantised by itself, so quantising before or after the permutation is the same.
        expected[hf_name] = gguf.quants.dequantize(gguf.quants.quantize(weights, T.Q8_0), T.Q8_0).astype(np.float32)

    add("token_embd.weight", "model.embed_tokens.weight", (len(tokens), HIDDEN))
    for layer in range(LAYERS):
        for part, (name, shape) in NAMES.items():
            heads = {"attn_q": HEADS, "attn_k": KV}.get(part, 0)
            add(f"blk.{layer}.{part}.weight", f"model.layers.{layer}.{name}.weight", shape, heads)
    add("output_norm.weight", "model.norm.weight", (HIDDEN,))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(expected, OUT / "tiny_llama.safetensors")

    model = AutoModelForCausalLM.from_pretrained(OUT, gguf_file="tiny_llama.gguf")
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    assert state.keys() == expected.keys(), state.keys() ^ expected.keys()
    for name, tensor in state.items():
        assert np.array_equal(tensor.float().numpy(), expected[name]), name
    print("transformers agrees on", len(state), "tensors")


main()
