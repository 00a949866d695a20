"""Prompts that transformers renders with the published chat templates.

    python text_templates.py

Reads the templates from crates/text/src/templates (they are data, copied as published: the crate's README
says from where) and writes crates/text/tests/goldens/templates/prompts.json: `conversations`, whose parts
are texts or null for an image, and `prompts`: for each template the prompt of each conversation, null where
the template refuses it. `llava_v1` and `vicuna_v1` have no Jinja template of their makers: their prompts
are put together here from the facts of LLaVA's conversation.py (system sentence, roles, " " and "</s>"
behind the turns). `features` is a template of our own that uses what transformers gives to templates.
"""

import json
import pathlib

from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

CRATE = pathlib.Path(__file__).resolve().parents[2] / "crates/text"
OUT = CRATE / "tests/goldens/templates"
SYSTEM = {
    "llava_v1": "A chat between a curious human and an artificial intelligence assistant. "
                "The assistant gives helpful, detailed, and polite answers to the human's questions.",
    "vicuna_v1": "A chat between a curious user and an artificial intelligence assistant. "
                 "The assistant gives helpful, detailed, and polite answers to the user's questions.",
}
TOKENS = {"llava-hf": ("<s>", "</s>"), "qwen2.5-vl": ("", "<|im_end|>"), "gemma3": ("<bos>", "<eos>"), "features": ("<s>", "</s>")}


def user(*parts):
    return {"role": "user", "parts": list(parts)}


def assistant(*parts):
    return {"role": "assistant", "parts": list(parts)}


def system(*parts):
    return {"role": "system", "parts": list(parts)}


CONVERSATIONS = {
    "one image": [user(None, "How to get this?")],
    "text only": [user("What is the capital of France?")],
    "two images": [user(None, None, "Which of the two is safer?")],
    "text between images": [user(None, "First. ", None, "Second?")],
    "image behind the text": [user("What is this?", None)],
    "image alone": [user(None, "")],
    "system": [system("Answer in one sentence."), user(None, "What is this?")],
    "system, text only": [system("You are brief.\nVery brief."), user("Hello")],
    "two turns": [user(None, "What is this?"), assistant("A dog."), user("Which breed?")],
    "image in a later turn": [user("Hello!"), assistant("Hello. How can I help?"), user(None, "What is this?")],
    "images in several turns": [system("Be careful."), user(None, "What is this?"), assistant("A dog."),
                                user(None, None, "And these?"), assistant("Two cats."), user("Thanks, and?")],
    "four turns": [user("1"), assistant("2"), user("3"), assistant("4"), user("5"), assistant("6"), user("7")],
    "white space": [user(None, "  leading and trailing \n\n"), assistant(" \tanswer "), user("\n")],
    "unicode": [system("Réponds en français 🇫🇷."), user(None, "Qu'est-ce que c'est ? 这是什么？ 👩‍🚀"), assistant("Un chat 🐈."), user("Où?")],
    "quotes and braces": [user(None, "{{ 1 + 1 }} {% raw %} \"quoted\" 'single' \\n <b>&amp;</b> {# no #}")],
    "long": [user(None, "word " * 300), assistant("Yes. " * 100), user("And?")],
    "answer first": [assistant("Hello!"), user("Hi.")],
    "two user turns": [user(None, "One."), user("Two.")],
}


def jinja(name: str, template: str) -> list:
    bos, eos = TOKENS[name]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE()), bos_token=bos or None, eos_token=eos)
    prompts = []
    for messages in CONVERSATIONS.values():
        part = lambda text: {"type": "image"} if text is None else {"type": "text", "text": text}
        messages = [{"role": m["role"], "content": [part(text) for text in m["parts"]]} for m in messages]
        try:
            prompts.append(tokenizer.apply_chat_template(
                messages, chat_template=template, tokenize=False, add_generation_prompt=True))
        except Exception as error:
            print(name, "refuses:", error)
            prompts.append(None)
    return prompts


def vicuna(sentence: str) -> list:
    prompts = []
    for messages in CONVERSATIONS.values():
        prompt = None
        for message in messages:
            text = "".join("<image>\n" if part is None else part for part in message["parts"])
            if message["role"] == "system":
                prompt = text + " "
                continue
            prompt = prompt or sentence + " "
            prompt += f"{message['role'].upper()}: {text}" + (" " if message["role"] == "user" else "</s>")
        prompts.append(prompt + "ASSISTANT:")
    return prompts


def main() -> None:
    prompts = {name: vicuna(sentence) for name, sentence in SYSTEM.items()}
    for name in ["llava-hf", "qwen2.5-vl", "gemma3"]:
        prompts[name] = jinja(name, (CRATE / f"src/templates/{name}.jinja").read_text())
    prompts["features"] = jinja("features", (OUT / "features.jinja").read_text())
    conversations = [{"name": name, "messages": messages} for name, messages in CONVERSATIONS.items()]
    (OUT / "prompts.json").write_text(
        json.dumps({"conversations": conversations, "prompts": prompts}, ensure_ascii=False, indent=1) + "\n")


main()
