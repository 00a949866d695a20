"""What the Python peers share: their arguments, the measured loop, and the line that each measurement prints.

The arguments and the keys are those of `safevlm bench ... --json`, with `peer` and `version` besides.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Callable

QUESTION = "What is in this picture, and what is it good for?"
JOBS = ["guard", "prefill", "decode", "chat", "train", "load"]


def arguments(description: str, dtypes: list[str], jobs: list[str] = JOBS) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("jobs", nargs="+", choices=jobs, metavar="JOB", help=", ".join(jobs))
    parser.add_argument("--model", required=True, type=pathlib.Path, help="a model folder, or a GGUF file")
    parser.add_argument("--dtype", choices=dtypes, default=dtypes[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5, help="measured runs; one more before them is not counted")
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1, help="images of a guard run, or pictures of a training step")
    parser.add_argument("--json", action="store_true", help="as the others have it; there is no other output")
    return parser.parse_args()


def clock(work: Callable[[], object]) -> float:
    """Milliseconds that `work` took."""
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1000


def measure(runs: int, work: Callable[[], float]) -> list[float]:
    """The times that `work` gives, in milliseconds, without those of the first run."""
    return [work() for _ in range(runs + 1)][1:]


def prompt(count: int, vocabulary: int) -> list[int]:
    """Ids without meaning: no kernel's speed depends on which they are."""
    return [100 + (n * 7919) % (vocabulary - 200) for n in range(count)]


def peak_rss_mb() -> float | None:
    """The most memory that this process has held, in megabytes (10^6 bytes); Linux tells."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
    except OSError:
        return None
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 / 1e6 if lines else None


def report(peer: str, version: str, job: str, args: argparse.Namespace, times: list[float], tokens: int | None = None,
           images: int | None = None) -> None:
    ordered = sorted(times)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    line = {"name": job, "model": args.model.name, "device": "cpu", "threads": args.threads, "dtype": args.dtype,
            "runs": len(times), "median_ms": median, "min_ms": ordered[0], "max_ms": ordered[-1]}
    if tokens is not None:
        line["tokens_per_second"] = tokens / median * 1000
    if images is not None:
        line["images_per_second"] = images / median * 1000
    print(json.dumps(line | {"peak_rss_mb": peak_rss_mb(), "peer": peer, "version": version}), flush=True)
