"""A tokenizer with a few hundred tokens that behaves as Gemma 3's: BPE with byte fallback over the whole text, spaces
as U+2581, runs of line ends as tokens of their own, and Gemma's special tokens, the image's behind all others."""

import json

from tokenizers import AddedToken, Tokenizer, models, normalizers, trainers
from transformers import GemmaTokenizer

CORPUS = """What is this? What is the capital of France? Which of the two pictures is safer? Hello! How can I help?
Answer in one sentence. Is it dangerous? How do I use this? And these? Where are the two men in front of the house?
There is something in the picture, and one of them holds a dog. I cannot help with that. The image shows a weapon.
Be careful. You are brief. Who are you? A model. Thanks, and? How to get this? I cannot see it. Which one is a cat?"""
SPECIAL = ["<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>"]
LINES = ["\n" * count for count in range(1, 6)]


def gemma_tokenizer() -> GemmaTokenizer:
    trained = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    trained.normalizer = normalizers.Replace(" ", "▁")
    letters = [chr(code) for code in range(33, 127)] + ["▁"]
    trainer = trainers.BpeTrainer(vocab_size=220, initial_alphabet=letters, show_progress=False, max_token_length=8)
    trained.train_from_iterator(CORPUS.split("\n"), trainer)
    merges = [(a, b) for a, b in json.loads(trained.to_str())["model"]["merges"]]
    pieces = sorted(trained.get_vocab().items(), key=lambda item: item[1])
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"] + SPECIAL + LINES
    names += [f"<0x{byte:02X}>" for byte in range(256)] + [piece for piece, _ in pieces]
    vocab = {name: number for number, name in enumerate(dict.fromkeys(names))}
    tokenizer = GemmaTokenizer(
        vocab=vocab, merges=merges, add_bos_token=True,
        extra_special_tokens={"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>",
                              "image_token": "<image_soft_token>"},
        clean_up_tokenization_spaces=False)
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL}, replace_extra_special_tokens=False)
    tokenizer.add_tokens([AddedToken(line, normalized=False) for line in LINES])
    return tokenizer
