"""What codctl's rollouts and learner cost, beside what they cannot go below and beside other implementations.

    make bench        (.venv/bin/python experiments/bench/speed.py [--rounds 3])

Three tables: how fast this machine multiplies matrices; each workload beside its bound, the time of its matrix products
alone, and beside the fewest forward passes; and the same work by TRL and in lock step. What is measured at a commit
without further changes is kept in results/, one file for a machine and commit, which `--kept` shows side by side.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import learner
import logits
import results
import rollouts
import workloads
from bounds import Products
from machine import Ratio, machine_line, markdown, ratio, taken_in_turns
from trl_sft import TrlSft

from codctl.train.setup import prepare_process

ROW_COUNTS = (1, 16, 128, 2048)
PASSES_TARGET = 1.9
SFT_TARGET = 2.0

Found = dict[str, Any]


def own(folder: Path, rounds: int) -> tuple[list[Found], list[Found]]:
    """Each workload beside its bound, and the rates of products at the row counts in use."""
    made = {name: make(folder) for name, (_, make) in workloads.WORKLOADS.items() if not name.startswith("lock-step")}
    done: dict[str, workloads.Done] = {}

    def run(name: str) -> Callable[[], None]:
        return lambda: done.update({name: made[name]()})

    times = taken_in_turns({name: run(name) for name in made}, rounds)
    found = [
        {
            "name": name,
            "what": workloads.WORKLOADS[name][0],
            "seconds": times[name],
            "bound_s": made[name].bound(),
            "counts": done[name].counts,
            "digest": done[name].digest,
        }
        for name in made
    ]
    products = Products.of(workloads.LearnerStep(folder).model)
    rates = [
        {"rows": rows, "learns": learns, "gflops": products.rate(rows, learns=learns) / 1e9}
        for rows in ROW_COUNTS
        for learns in (False, True)
    ]
    return found, rates


def own_row(found: Found) -> list[object]:
    counts, bound = found["counts"], found["bound_s"]
    passes = f"{counts['forwards']:.0f} ({counts['least_forwards']:.0f})" if "forwards" in counts else ""
    seconds = Ratio(tuple(found["seconds"]))
    return [found["what"], str(seconds), f"{bound:.2f}", f"{seconds.median / bound:.1f}", passes]


def beside(found: learner.Result | tuple[float, Sequence[rollouts.Way]]) -> list[Found]:
    """Rows of the third table: how many times as good codctl is, in each round."""
    if isinstance(found, learner.Result):
        return [
            {
                "what": f"learner step, {found.shape} rows",
                "against": f"TRL's GRPOTrainer, {one.layout}",
                "times": list(one.times.rounds),
                "target": learner.TARGETS.get(found.shape),
                "because": f"{one.forwarded:.2f} times the tokens read, {one.scored:.2f} times the logits; "
                f"{one.useful:.0%} of the tokens no padding, here {found.useful:.0%}; "
                f"{one.with_score} with TRL's scoring pass",
            }
            for one in found.comparisons
        ]
    spread, (ours, *others) = found
    rows = []
    for way in others:
        what = f"rollouts, 16 seats, lengths spread {spread:g}"
        passes = way.forwards / ours.forwards
        rows.append({"what": f"{what}: forward passes", "against": way.name, "times": [passes],
                     "target": PASSES_TARGET, "because": f"{way.forwards} against {ours.forwards}"})  # fmt: skip
        rows.append({"what": f"{what}: CPU", "against": way.name, "times": list(way.gain.rounds), "target": None,
                     "because": f"{way.rows:.1f} rows a pass against {ours.rows:.1f}"})  # fmt: skip
    return rows


def warm_start(folder: Path, rounds: int) -> list[Found]:
    """codctl's supervised learning beside TRL's, with its batches at random and by like lengths."""
    codctl = workloads.WarmStart(folder)
    model, tokenizer, settings = codctl.speaker.model, codctl.speaker.tokenizer, codctl.config.warm_start
    with tempfile.TemporaryDirectory() as work:
        theirs = {
            name: TrlSft(
                copy.deepcopy(model), tokenizer, codctl.rows, batch_rows=settings.batch_rows, lr=settings.lr or 1e-3,
                work=Path(work), like_lengths=like,
            )
            for name, like in (("TRL's SFTTrainer", False), ("TRL's SFTTrainer, batches of like lengths", True))
        }  # fmt: skip
        runs: dict[str, Callable[[], object]] = {"codctl": codctl, **theirs}
        times = taken_in_turns(runs, rounds)
    because = f"{len(codctl.rows):,} rows, one epoch in steps of {settings.batch_rows}"
    return [
        {
            "what": f"warm start, {workloads.WARM_PACKS} packs",
            "against": name,
            "times": list(ratio(times[name], times["codctl"]).rounds),
            "target": SFT_TARGET if name == "TRL's SFTTrainer" else None,
            "because": because,
        }
        for name in theirs
    ]


def memory(peaks: logits.Peaks) -> Found:
    small, _, none = logits.CHUNKS
    most = logits.BATCHES[-1]
    return {
        "what": "growth of peak memory with 4 times the batch",
        "against": "no chunks",
        "times": [peaks.growth(none) / peaks.growth(small)],
        "target": logits.TARGET,
        "because": f"{peaks.growth(small):.2f} times in chunks of {small}, {peaks.growth(none):.2f} times without; at "
        f"{most:,} sampled tokens {peaks.mib[none, most] / peaks.mib[small, most]:.1f} times the memory without",
    }


def others_of(folder: Path, rounds: int) -> list[Found]:
    """The same work by TRL, in lock step and without chunks."""
    found = warm_start(folder, rounds)
    for result in learner.measure(["short", "long"], rounds):
        found += beside(result)
    found += beside((rollouts.SPREAD, rollouts.measure(rollouts.SPREAD, rounds)))
    return [*found, memory(logits.measure())]


def beside_row(found: Found) -> list[object]:
    times, target = Ratio(tuple(found["times"])), found["target"]
    verdict = "" if target is None else "met" if times.median >= target else "MISSED"
    shown = str(times) if len(found["times"]) > 1 else f"{times.median:.2f}"
    return [found["what"], found["against"], shown, f"≥ {target:g}" if target else "", verdict, found["because"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--own", action="store_true", help="leave the other implementations out: three minutes")
    parser.add_argument("--kept", action="store_true", help="measure nothing; show what is kept of earlier commits")
    options = parser.parse_args()
    if options.kept:
        print(results.table())
        return
    prepare_process(threads=1)
    machine, before = machine_line(), results.state()
    print(machine, flush=True)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "model"
        workloads.prepare(folder)
        found, rates = own(folder, options.rounds)
        print("\nMatrix products of the tiny model, GFLOP/s on one core\n")
        pairs = [[rates[place], rates[place + 1]] for place in range(0, len(rates), 2)]
        shown = [[pair[0]["rows"], *(f"{rate['gflops']:.0f}" for rate in pair)] for pair in pairs]
        print(markdown(["rows", "forward", "forward and backward"], shown))
        print("\nCPU seconds beside the least that they can be\n")
        headers = ["workload", "CPU s (least–most)", "products alone, s", "times the bound", "forward passes (fewest)"]
        print(markdown(headers, [own_row(one) for one in found]), flush=True)
        others = [] if options.own else others_of(folder, options.rounds)
    if others:
        print("\nBeside other implementations\n")
        headers = ["codctl's", "against", "times as good (least–most)", "target", "", "because"]
        print(markdown(headers, [beside_row(one) for one in others]))
    kept = results.keep({"machine": machine, "rates": rates, "own": found, "beside": others}, before)
    print(f"\n{kept}")


if __name__ == "__main__":
    main()
