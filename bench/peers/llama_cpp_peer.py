"""llama.cpp's side of the comparison, through llama-cpp-python, on the GGUF that SafeVLM imports.

    python llama_cpp_peer.py prefill decode load --model FILE.gguf --dtype q4_1 --threads 2 --runs 5
    python llama_cpp_peer.py --requantize FILE.gguf TO.gguf q8_0

`--dtype` says what is in the file; it changes nothing. Q8_0 and F32 files are made from the same weights by llama.cpp
itself.
"""

import ctypes
import os
import sys

import llama_cpp
import numpy
from llama_cpp import Llama

from common import arguments, clock, measure, prompt, report

FORMATS = {"f32": llama_cpp.LLAMA_FTYPE_ALL_F32, "q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0}


def requantize(source: str, target: str, dtype: str) -> None:
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = FORMATS[dtype]
    params.allow_requantize = True
    params.pure = dtype != "f32"
    # Under its final name only when it is whole.
    partial = f"{target}.partial"
    failed = llama_cpp.llama_model_quantize(source.encode(), partial.encode(), ctypes.byref(params))
    if failed:
        raise SystemExit(f"{source}: llama.cpp makes no {dtype} of it")
    os.replace(partial, target)


def best(llm: Llama) -> int:
    """The most likely token behind the last one, from the only row of logits that was computed."""
    logits = llama_cpp.llama_get_logits_ith(llm.ctx, -1)
    return int(numpy.ctypeslib.as_array(logits, shape=(llm.n_vocab(),)).argmax())


def feed(llm: Llama, ids: list[int]) -> None:
    """One decoding call on `ids`, with logits of the last one only."""
    tokens = (llama_cpp.llama_token * len(ids))(*ids)
    if llama_cpp.llama_decode(llm.ctx, llama_cpp.llama_batch_get_one(tokens, len(ids))):
        raise SystemExit("llama.cpp cannot decode")


def clear(llm: Llama) -> None:
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(llm.ctx), True)


def main() -> None:
    if sys.argv[1:2] == ["--requantize"]:
        requantize(*sys.argv[2:5])
        return
    args = arguments(__doc__, ["q4_1", "q8_0", "f32"], ["prefill", "decode", "load"])
    room = args.prompt_tokens + args.new_tokens + 8

    def load() -> Llama:
        return Llama(str(args.model), n_ctx=room, n_batch=room, n_ubatch=512, n_threads=args.threads,
                     n_threads_batch=args.threads, verbose=False)

    version = f"llama-cpp-python {llama_cpp.__version__}"
    if "load" in args.jobs:
        report("llama.cpp", version, "load", args, measure(args.runs, lambda: clock(load)))
    rest = [job for job in args.jobs if job != "load"]
    if not rest:
        return
    llm = load()
    ids = prompt(args.prompt_tokens, llm.n_vocab())

    def prefill() -> float:
        clear(llm)
        return clock(lambda: (feed(llm, ids), best(llm)))

    def decode() -> float:
        prefill()

        def steps() -> None:
            for _ in range(args.new_tokens):
                feed(llm, [best(llm)])

        return clock(lambda: (steps(), best(llm)))

    for job in rest:
        if job == "prefill":
            report("llama.cpp", version, job, args, measure(args.runs, prefill), tokens=args.prompt_tokens)
        else:
            report("llama.cpp", version, job, args, measure(args.runs, decode), tokens=args.new_tokens)


if __name__ == "__main__":
    main()
