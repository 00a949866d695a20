"""PyTorch's side of the comparison: eager, with transformers and timm as they come, on the project's model folders.

    python torch_peer.py guard prefill decode --model FOLDER --dtype f32 --threads 2 --runs 5
    python torch_peer.py load --model FOLDER

`load` is from the imported libraries to a model that can compute; importing them is not counted.
"""

import argparse
import gc

import numpy as np
import torch
import transformers
from PIL import Image

from common import QUESTION, arguments, clock, measure, prompt, report
from torch_models import open_model
from torch_train import Trainer

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def drawn() -> Image.Image:
    """The picture that `safevlm bench` draws: 640 x 480, with edges and gradients."""
    y, x = np.mgrid[:480, :640]
    pixels = np.stack([x // 3, y // 2, np.full_like(x, 120)], -1)
    pixels[(x - 320) ** 2 + (y - 240) ** 2 < 150**2] = [200, 60, 30]
    return Image.fromarray(pixels.astype(np.uint8))


def decode(lm: torch.nn.Module, logits: torch.Tensor, cache: object, steps: int) -> list[int]:
    """Greedy tokens behind a prefill; the last one is not fed again."""
    ids = []
    token = logits[:, -1:].argmax(-1)
    for step in range(steps):
        ids.append(int(token))
        if step + 1 < steps:
            output = lm(input_ids=token, past_key_values=cache, use_cache=True)
            token = output.logits[:, -1:].argmax(-1)
    return ids


def timed_decode(lm: torch.nn.Module, ids: torch.Tensor, steps: int) -> float:
    """Time of `steps` forward passes of one token each; that of the prefill before is not counted."""
    output = lm(input_ids=ids, use_cache=True, logits_to_keep=1)
    return clock(lambda: decode(lm, output.logits, output.past_key_values, steps + 1))


@torch.inference_mode()
def run(job: str, model: object, args: argparse.Namespace, write: object) -> None:
    lm = model.lm
    ids = torch.tensor([prompt(args.prompt_tokens, model.vocabulary)])
    if job == "prefill":
        work = lambda: clock(lambda: lm(input_ids=ids, use_cache=True, logits_to_keep=1))  # noqa: E731
        write(job, measure(args.runs, work), tokens=args.prompt_tokens)
    elif job == "decode":
        work = lambda: timed_decode(lm, ids, args.new_tokens)  # noqa: E731
        write(job, measure(args.runs, work), tokens=args.new_tokens)
    elif job == "guard":
        pictures = [drawn()] * args.batch
        work = lambda: clock(lambda: model.guard(pictures).tolist())  # noqa: E731
        write(job, measure(args.runs, work), images=len(pictures))
    elif job == "chat":
        picture = drawn()

        def chat() -> None:
            _, logits, cache = model.prefill_chat(picture, QUESTION)
            decode(lm, logits, cache, args.new_tokens)

        write(job, measure(args.runs, lambda: clock(chat)), tokens=args.new_tokens)


def main() -> None:
    args = arguments(__doc__, list(TYPES))
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    version = f"torch {torch.__version__}, transformers {transformers.__version__}"
    write = lambda job, times, **work: report("torch", version, job, args, times, **work)  # noqa: E731
    if "load" in args.jobs:
        def load() -> float:
            gc.collect()
            return clock(lambda: open_model(args.model, TYPES[args.dtype]))

        write("load", measure(args.runs, load))
    rest = [job for job in args.jobs if job != "load"]
    if not rest:
        return
    model = open_model(args.model, TYPES[args.dtype])
    for job in rest:
        if job == "train":
            trainer = Trainer(model, args.batch)
            write("train", measure(args.runs, lambda: clock(trainer.step)), images=args.batch)
        else:
            run(job, model, args, write)


if __name__ == "__main__":
    main()
