"""A tiny SentencePiece BPE model, and the ids that transformers' LlamaTokenizer makes with it.

    python text_spm.py

Writes crates/text/tests/goldens/spm/tokenizer.model and, for each of four sets of settings,
NAME/{tokenizer_config.json,...,cases.json}. cases.json: `ids` (no special tokens added), `framed` (as
the post-processor frames them) and `decoded` (without special tokens) of each of `texts`, and
`sentencepiece`: the ids of SentencePiece itself where they differ and the text has no added token (not in
`bare`, which leaves out the space that SentencePiece puts first).
"""

import json
import os
import pathlib
import random
import shutil
import tempfile

import sentencepiece
from transformers import LlamaTokenizer

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/text/tests/goldens/spm"
CORPUS = """The quick brown fox jumps over the lazy dog while the cat is watching the weather from the window.
A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful answers.
USER: What is in this image? ASSISTANT: There is a dog on the grass, and there is a ball in the air.
def render(self, message): return "".join(part for part in message if part is not None)
for (int i = 0; i < 10; ++i) { total += values[i]; }  // and so on, and so on
Où est la bibliothèque? Elle est là-bas, près de l'église. Größe, Straße, Übung, Äpfel.
Привет, мир! Как дела? 你好，世界！今天天气很好。 こんにちは世界。 안녕하세요 세계
1234567890 3.14159 2024-01-02 1,000,000 50% $20 #tag @name
"""
SPECIAL = ["<s>", "</s>", "<unk>", "<image>", "<pad>", "<tool>", "<extra>", "<mask>"]
TEXTS = [
    "", " ", "  ", "   ", "\n", "\n\n", " \n ", "\t", "\t\t x", "a", " a", "  a", "a ", "a  ", " a ", "▁", "▁a", " ▁a", "a▁b",
    "The quick brown fox", " The quick brown fox", "The quick brown fox ", "the  quick   brown    fox", "Hello, world!",
    "How to get this?", "\nHow to get this?", "What's in the image?\nAnswer in one word.", "USER: hi ASSISTANT:",
    "A chat between a curious human and an artificial intelligence assistant.", "é", "e\u0301", "É", "ß", "ﬁ", "Ω", "½",
    "😀", "😀😀", "👩‍🚀", "🏳️‍🌈", " 😀 ", "a😀b", "🇩🇪", "漢字", "你好，世界！", "こんにちは", "안녕하세요", "Привет, мир!", "مرحبا", "שלום",
    "नमस्ते", "ไทย", "\u00a0", "\u200b", "\u3000", "\ufeff", "a\u0000b", "\u007f", "\r\n", "a\r\nb", "\u2028", "𝔘𝔫𝔦", "\U0010ffff",
    "def f(x):\n    return x + 1\n", "if (a && b) { return c[0]; }", "    indented", "\tif x:\n\t\tpass", "a=b==c!=d", "/* */ // #",
    "{\"key\": [1, 2, 3]}", "<html><body>text</body></html>", "https://example.org/a?b=c&d=e#f", "C:\\path\\file.txt",
    "1234567890", "3.14159", "1,000,000", "50%", "0x1F", "<0x41>", "<0x0A>", "<0x", "<", ">", "<<>>",
    "<s>", "</s>", "<unk>", "<image>", "<pad>", "<s>a", "a<s>", "a<s>b", "a <s> b", "<s><s>", "</s></s> ", " <s>", "<s> ",
    "<image>\nHow?", "USER: <image>\nHow? ASSISTANT:", "a<image>b<image>c", "<image><image>", " <image> ", "x  <image>  y",
    "<im age>", "<Image>", "< image>", "<tool>", "a<tool>b", "a <tool> b", "<extra>", "<extra>a", "<mask>", "a<mask>b",
    "<s>USER: hi</s>USER: again ASSISTANT:", "▁<s>▁", "é<image>é", "😀<image>😀", "<image>", "</s>\n", "\n</s>",
]


def texts() -> list[str]:
    dice = random.Random(7)
    words = CORPUS.split() + ["😀", "漢", "é", "\n", "\t", "<s>", "<image>", "</s>", "<tool>", "▁", "x", "0"]
    spaces = ["", " ", "  ", "   ", "\n"]
    more = ["".join(dice.choice(words) + dice.choice(spaces) for _ in range(dice.randint(1, 8))) for _ in range(110)]
    return TEXTS + more


def train(folder: pathlib.Path) -> pathlib.Path:
    (folder / "corpus.txt").write_text(CORPUS * 4)
    os.chdir(folder)  # The model records the names of its files.
    sentencepiece.SentencePieceTrainer.train(
        input="corpus.txt", model_prefix="tiny", model_type="bpe", vocab_size=480, byte_fallback=True,
        character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, split_digits=True, num_threads=1, user_defined_symbols=["<tool>"],
        control_symbols=["<mask>"], minloglevel=2,
    )
    return folder / "tiny.model"


def token(content: str, special: bool = True, **more) -> dict:
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
            "special": special} | more


def settings(size: int) -> dict[str, dict[str, dict]]:
    """Files of each folder."""
    base = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False,
            "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "model_max_length": 2048}
    decoder = {"0": token("<unk>"), "1": token("<s>"), "2": token("</s>")}
    # As llava-v1.5 writes them.
    named = {key: {"__type": "AddedToken"} | token(content, normalized=False)
             for key, content in [("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")]}
    for value in named.values():
        del value["special"]
    return {
        "llava": {"tokenizer_config.json": base | named | {"legacy": False, "pad_token": None, "padding_side": "right"},
                  "special_tokens_map.json": {"bos_token": token("<s>"), "eos_token": token("</s>"),
                                              "pad_token": "<unk>", "unk_token": token("<unk>")}},
        "added": {"tokenizer_config.json": base | {"legacy": False, "pad_token": "<pad>", "added_tokens_decoder": decoder | {
            str(size): token("<image>"), str(size + 1): token("<pad>"), str(size + 2): token("<extra>", False, normalized=True)}}},
        "legacy": {"tokenizer_config.json": base | {"legacy": True, "add_eos_token": True, "pad_token": "<pad>"},
                   "added_tokens.json": {"<image>": size, "<pad>": size + 1},
                   "special_tokens_map.json": {"pad_token": "<pad>"}},
        "bare": {"tokenizer_config.json": base | {"legacy": False, "add_bos_token": False, "add_prefix_space": False}},
    }


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copy(train(pathlib.Path(temporary)), OUT / "tokenizer.model")
    plain = sentencepiece.SentencePieceProcessor(model_file=str(OUT / "tokenizer.model"))
    for name, files in settings(plain.get_piece_size()).items():
        folder = OUT / name
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        with tempfile.TemporaryDirectory() as temporary:
            for file in [OUT / "tokenizer.model", *folder.iterdir()]:
                shutil.copy(file, temporary)
            tokenizer = LlamaTokenizer.from_pretrained(temporary)
        cases = {"texts": texts(), "ids": [], "framed": [], "decoded": [], "sentencepiece": {}}
        for nth, text in enumerate(cases["texts"]):
            cases["ids"].append(tokenizer.encode(text, add_special_tokens=False))
            cases["framed"].append(tokenizer.encode(text))
            cases["decoded"].append(tokenizer.decode(cases["ids"][-1], skip_special_tokens=True))
            if name != "bare" and not any(token in text for token in SPECIAL) and plain.encode(text) != cases["ids"][-1]:
                cases["sentencepiece"][nth] = plain.encode(text)
        print(name, len(cases["texts"]), "texts; SentencePiece differs:",
              [cases["texts"][nth] for nth in cases["sentencepiece"]])
        cases["special"] = {str(t): i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
        cases["size"] = len(tokenizer)
        (folder / "cases.json").write_text(json.dumps(cases, ensure_ascii=True, separators=(",", ":")) + "\n")


main()
