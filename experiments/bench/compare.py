"""How two commits compare: both play the same workloads in turns, within one run, so that the ratio can be believed.

    .venv/bin/python experiments/bench/compare.py main my-branch                  # or: make bench-compare A=… B=…
    .venv/bin/python experiments/bench/compare.py HEAD~3 . --only rollouts-16 rollouts-128 --rounds 5
    .venv/bin/python experiments/bench/compare.py main . --only lock-step-16:rollouts-16     # A plays one, B the other
    .venv/bin/python experiments/bench/compare.py main . --only tiny --tiny train.steps=4 evaluation.packs=50

Each side is a commit, of which a worktree is made for the time being, or the folder of a checkout, such as `.` with
what is not committed yet. Both run the bench of this checkout, each in a process of its own on one thread, with one
model that the first side has made. Printed are CPU seconds (median), the ratio round by round (median, least to most),
and whether both sampled the same tokens. The dependencies are those of this environment.
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
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from machine import Ratio, machine_line, markdown, ratio

BENCH = Path(__file__).resolve().parent
TINY = "tiny"
LOCK_STEP = "lock-step-16"
NAMES = ("rollouts-16", "rollouts-128", "rollouts-tiny", "learner-short", "warm-start")
TINY_SHORT = ("warm_start.packs=150", "train.steps=4", "evaluation.every=2", "evaluation.packs=50")

Answer = dict[str, Any]


class Side:
    """A process that times the codctl of one checkout."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        env = os.environ | {
            "BENCH_CHECKOUT": str(checkout),
            "PYTHONPATH": str(checkout),
            "OMP_NUM_THREADS": "1",
            "GOMP_SPINCOUNT": "0",
        }
        command = [sys.executable, str(BENCH / "worker.py"), str(folder)]
        self._process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> Side:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        if kind is not None:
            self._process.kill()
        self._process.wait()

    def ask(self, line: str) -> Answer:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(line + "\n")
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that times {line} has ended")
        return dict(json.loads(answer))


@contextlib.contextmanager
def checkout(name: str) -> Iterator[Path]:
    """The folder of a checkout, which is made here if the name is a commit's."""
    if (Path(name) / "codctl").is_dir():
        yield Path(name).resolve()
        return
    with tempfile.TemporaryDirectory(prefix="codctl-bench-") as work:
        folder = Path(work) / "checkout"
        _git("worktree", "add", "--quiet", "--detach", str(folder), name)
        try:
            yield folder
        finally:
            _git("worktree", "remove", "--force", str(folder))


def described(name: str, folder: Path) -> str:
    """A commit's short hash; of a folder also whether it has changes."""
    dirty = " with changes" if _git("-C", str(folder), "status", "--porcelain", "-uno") else ""
    return f"{name} ({_git('-C', str(folder), 'rev-parse', '--short', 'HEAD')}{dirty})"


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    if arguments[0] != "-C":
        command = ["git", "-C", str(BENCH), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def compare(sides: Sequence[Side], name: str, lines: tuple[str, str], rounds: int) -> dict[str, Any]:
    """One workload on both sides: what each answered in each round; a first round that counts for nothing warms up."""
    found: tuple[list[Answer], list[Answer]] = ([], [])
    for round_ in range(rounds + (name != TINY)):
        for place in (0, 1) if round_ % 2 else (1, 0):
            answer = sides[place].ask(lines[place])
            if "failed" in answer:
                return {"name": name, "failed": f"side {'AB'[place]}: {answer['failed']}"}
            if round_ or name == TINY:
                found[place].append(answer)
    a, b = ([answer["seconds"] for answer in answers] for answers in found)
    last_a, last_b = found[0][-1], found[1][-1]
    return {
        "name": name,
        "seconds": [a, b],
        "times_as_fast": list(ratio(a, b).rounds),
        "same": last_a["digest"] == last_b["digest"] if last_a.get("digest") else None,
        "counts": [last_a["counts"], last_b["counts"]],
        "phases": [[answer.get("phases", {}) for answer in answers] for answers in found],
    }


def lines(name: str, changes: Sequence[str]) -> tuple[str, str]:
    """What each side is asked for."""
    if name == TINY:
        return (" ".join([TINY, *changes]),) * 2
    of_a, _, of_b = name.partition(":")
    return of_a, of_b or of_a


def workload(text: str) -> str:
    if text != TINY and not set(text.split(":")) <= {*NAMES, LOCK_STEP}:
        raise argparse.ArgumentTypeError(f"{text}: there are {', '.join((*NAMES, LOCK_STEP, TINY))}")
    return text


def rows_of(found: dict[str, Any]) -> list[list[object]]:
    if "failed" in found:
        return [[found["name"], "failed, see below", "", "", "", ""]]
    a, b = found["seconds"]
    one, other = found["counts"]
    shown = [key for key in one if key in ("forwards", "least_forwards", "peak_mib")]
    rows = [
        [
            found["name"],
            f"{statistics.median(a):.2f}",
            f"{statistics.median(b):.2f}",
            str(Ratio(tuple(found["times_as_fast"]))),
            ", ".join(f"{key.replace('_', ' ')} {one[key]:.0f} → {other[key]:.0f}" for key in shown),
            {True: "same", False: "OTHER", None: ""}[found["same"]],
        ]
    ]
    of_a, of_b = found["phases"]
    for phase in of_a[0] if of_a else {}:
        pairs = [(x.get(phase, 0.0), y.get(phase, 0.0)) for x, y in zip(of_a, of_b, strict=True)]
        times = Ratio(tuple(x / y if y else float("inf") for x, y in pairs))
        medians = [f"{statistics.median(column):.2f}" for column in zip(*pairs, strict=True)]
        rows.append([f"… {phase}", *medians, str(times), "", ""])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", metavar="A", help="commit, or folder with a checkout")
    parser.add_argument("b", metavar="B", help="what is compared with it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", type=workload, default=NAMES, metavar="NAME")
    parser.add_argument(
        "--tiny", nargs="+", default=TINY_SHORT, metavar="KEY=VALUE", help="changes of recipes/tiny.yaml"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what was measured there")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        checkouts = [stack.enter_context(checkout(name)) for name in (options.a, options.b)]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "model"
        sides = [stack.enter_context(Side(place, folder)) for place in checkouts]
        names = [described(name, place) for name, place in zip((options.a, options.b), checkouts, strict=True)]
        print(f"{machine_line()}\nA: {names[0]}\nB: {names[1]}\n", flush=True)
        if set(options.only) - {TINY} and "failed" in (made := sides[0].ask("prepare")):
            raise SystemExit(made["failed"])
        found = []
        headers = ["workload", "A, CPU s", "B, CPU s", "B is times as fast", "A → B", "tokens"]
        print(markdown(headers, []), flush=True)
        for name in options.only:
            found.append(compare(sides, name, lines(name, options.tiny), options.rounds))
            print(markdown([], rows_of(found[-1])).split("\n", 2)[2], flush=True)
    for one in found:
        if "failed" in one:
            print(f"\n{one['name']}, {one['failed']}")
    if options.json:
        record = {"machine": machine_line(), "a": names[0], "b": names[1], "workloads": found}
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
