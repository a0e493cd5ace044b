"""What two OpenMP threads cost on an idle and on a busy machine, with and without spinning: `python threads.py`.

    python experiments/bench/threads.py --seconds 3 --rounds 3             # products of small matrices
    python experiments/bench/threads.py --train --steps 3                  # steps of the tiny recipe
    python experiments/bench/threads.py --busy 2                           # with two processes that never rest

Each way is a process of its own, since OpenMP reads its environment once. The ways take turns in every round, so that
what else happens on the machine hits all of them; only ratios of one run of this program compare.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_SLEEPING = {"GOMP_SPINCOUNT": "0"}
WAYS: dict[str, tuple[int, dict[str, str]]] = {
    "1 thread": (1, {}),
    "2 threads that spin, libgomp's default": (2, {"GOMP_SPINCOUNT": "300000"}),
    "2 threads, OMP_WAIT_POLICY=passive": (2, {"OMP_WAIT_POLICY": "passive"}),
    "2 threads, GOMP_SPINCOUNT=0": (2, _SLEEPING),
}
TWO_PROCESSES = "2 processes of one thread"
_PRODUCTS = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
a, b = torch.randn(384, 128), torch.randn(128, 128)
for _ in range(50): a @ b
count, ends = 0, time.monotonic() + float(sys.argv[2])
while time.monotonic() < ends:
    for _ in range(10): torch.nn.functional.silu(a @ b)
    count += 10
print(count / float(sys.argv[2]))
"""


def environment(threads: int, more: dict[str, str]) -> dict[str, str]:
    """This one, without what the caller may have set."""
    found = {n: v for n, v in os.environ.items() if n not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    return found | {"OMP_NUM_THREADS": str(threads)} | more


def products(threads: int, env: dict[str, str], seconds: float) -> float:
    """Products of a tiny model's size in a second."""
    argv = [sys.executable, "-c", _PRODUCTS, str(threads), str(seconds)]
    return float(subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout)


def steps(threads: int, env: dict[str, str], count: int, processes: int = 1) -> float:
    """Steps of recipes/tiny.yaml in a second, without the first, after a warm start of no use."""
    recipe = Path(__file__).parents[2] / "recipes/tiny.yaml"
    with tempfile.TemporaryDirectory() as folder:
        overrides = [f"train.steps={count + 1}", f"runtime.threads={threads}", f"runtime.processes={processes}"]
        overrides += ["warm_start.packs=4", "evaluation.enabled=false", "tracking.mlflow=false"]
        argv = [sys.executable, "-m", "codctl.cli.main", "train", str(recipe), *overrides, "--runs-dir", folder]
        subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
        lines = (Path(folder) / "tiny/metrics.jsonl").read_text().splitlines()
    took = [record["timing"]["seconds/step"] for record in map(json.loads, lines) if record["phase"] == "train"]
    return count / sum(took[1:])


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that never rest, while the block lasts."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=0, help="processes that keep the machine busy")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of products")
    parser.add_argument("--train", action="store_true", help="steps of the tiny recipe instead of products")
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    with busy(options.busy):
        for _ in range(options.rounds):
            for name, (threads, more) in WAYS.items():
                env = environment(threads, more)
                each = steps(threads, env, options.steps) if options.train else products(threads, env, options.seconds)
                found[name].append(each)
            if options.train:
                each = steps(2, environment(2, _SLEEPING), options.steps, processes=2)
                found.setdefault(TWO_PROCESSES, []).append(each)
    what = "steps of recipes/tiny.yaml" if options.train else "products of 384 x 128 x 128"
    load = os.getloadavg()[0]
    print(f"{what} in a second, median of {options.rounds} rounds, {options.busy} busy processes, load {load:.1f}\n")
    print("| | in a second | against 1 thread |\n|---|---|---|")
    alone = statistics.median(found["1 thread"])
    for name, values in found.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.3g} | {median / alone:.2f} |")


if __name__ == "__main__":
    main()
