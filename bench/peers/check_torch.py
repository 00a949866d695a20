"""Proof that the PyTorch peer does SafeVLM's work: the same verdicts, the same prompt, the same answer.

    python check_torch.py SAFEVLM FOLDER PICTURE...

SAFEVLM is the program, FOLDER an imported safe-smol or a folder of make_qwen_half_b.py. Prints the largest
difference of the probabilities, and fails above 1e-4.
"""

import json
import pathlib
import subprocess
import sys

import torch
from PIL import Image

from common import QUESTION
from torch_models import open_model
from torch_peer import decode

TOLERANCE = 1e-4


def ask(*arguments: str) -> dict:
    return json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


@torch.inference_mode()
def main(program: str, folder: str, pictures: list[str]) -> None:
    model = open_model(pathlib.Path(folder), torch.float32)
    worst = 0.0
    for path in pictures:
        picture = Image.open(path).convert("RGB")
        safety = ask(program, "guard", "--json", "--model", folder, path)["safety"]
        ours = list(safety["probabilities"].values())
        theirs = model.guard([picture])[0].tolist()
        difference = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        worst = max(worst, difference)
        answer = ask(program, "chat", "--json", "--model", folder, "--image", path, "--prompt", QUESTION,
                     "--max-new-tokens", "16")
        _, logits, cache = model.prefill_chat(picture, QUESTION)
        tokens = decode(model.lm, logits, cache, 16)
        count = len(answer["generated_tokens"])
        same = tokens[:count] == answer["generated_tokens"]
        print(f"{pathlib.Path(path).name}: {safety['label']}, probabilities differ by {difference:.1e} at most; "
              f"{count} answer tokens {'are the same' if same else 'DIFFER'}")
        assert same, (tokens, answer["generated_tokens"])
    print(f"largest difference: {worst:.1e}")
    assert worst < TOLERANCE


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
