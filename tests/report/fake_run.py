"""Run directories with made-up but realistic numbers, to look at the report without training anything."""

from __future__ import annotations

import contextlib
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codctl.config.evalspec import EvalSpec
from codctl.config.schema import Config
from codctl.evaluate.suite_result import write_result
from codctl.files import atomic
from codctl.files.seal import sealing
from codctl.results.journal import FileJournal, Record, Unit
from codctl.results.rows import Row
from codctl.runs import eval_result
from codctl.runs.directory import RunDirectory
from codctl.runs.eval_result import HEAD, Begun, Head, Walkthrough, of
from codctl.tracking.jsonl import MetricsLog
from tests.results import made

BEFORE = [0.40, 0.48, 0.47, 0.48, 0.46, 0.47, 0.46, 0.47]
AFTER = [0.46, 0.78, 0.86, 0.88, 0.88, 0.89, 0.88, 0.89]
ARMS = {
    "own": AFTER,
    "none": [0.46, 0.45, 0.46, 0.45, 0.46, 0.46, 0.45, 0.45],
    "shuffled": [0.46, 0.31, 0.28, 0.27],
    "oracle": [0.90, 0.91, 0.90, 0.91],
    "history": [0.46, 0.66, 0.61, 0.52],
}
LONG = ("own", "none")
CEILINGS = {"bayes": [0.52, 0.88, 0.95, 0.96, 0.97, 0.97, 0.97, 0.97], "informed": [1.0] * 8}
# The second family of a mixture: nothing is learned on the job.
FLAT = {arm: [0.31] * 8 for arm in ARMS} | {"oracle": [0.71, 0.70, 0.72, 0.71]}
MIXTURE = [
    {"family": "frozen_lake", "preset": "tiny", "weight": 3.0},
    {"family": "alchemy", "preset": "tiny", "weight": 1.0},
]
HOSTILE = '<script>alert("x")</script> & <b>up K</b> \u202e \x07 ]]>'


def fake_run(
    runs_dir: Path,
    *,
    name: str = "tiny",
    steps: int = 110,
    evaluated: bool = True,
    hostile: bool = False,
    families: int = 0,
    without: tuple[str, ...] = (),
) -> RunDirectory:
    """A run that has come so far: `steps` of 110, and perhaps its evaluations (but for those `without`).

    `families` is the length of its mixture; 0 for a recipe that names one family.
    """
    rng = random.Random(0)
    config = Config.model_validate(
        {
            "name": name,
            "seed": 0,
            "world": {"rendering": "compact", **({"mixture": MIXTURE[:families]} if families else {"preset": "tiny"})},
            "train": {"steps": 110, "lr": 4e-4},
            "tracking": {"mlflow": False},
        }
    )
    run = RunDirectory.create_or_continue(
        runs_dir, config, recipe="recipes/tiny.yaml", command=["codctl", "train", "recipes/tiny.yaml"]
    )
    stop = contextlib.nullcontext() if steps == 110 else contextlib.suppress(KeyboardInterrupt)
    with stop, run.start_attempt():
        _log(run, rng, steps, mixed=families > 1)
        with sealing(run.stage("warm_start")) as temp:
            atomic.write_json(
                temp / "result.json", {"seconds": 84.2, "episodes": 10500, "tokens": 910_000, "epochs": 1}
            )
        if evaluated:
            _evaluations(run, config, rng, hostile=hostile, without=without)
        if steps < 110:
            raise KeyboardInterrupt
    return run


def _log(run: RunDirectory, rng: random.Random, steps: int, *, mixed: bool) -> None:
    log = MetricsLog(run.metrics_path)
    for step in range(10, 170, 10):
        log.append(step, "warm_start", {"loss": 3 * math.exp(-step / 40) + 0.4, "lr": 2e-3 * (1 - step / 170)})
    records = []
    for step in range(1, steps + 1):
        done = 1 - math.exp(-step / 45)
        success = [b + (a - b) * done + rng.gauss(0, 0.03) for b, a in zip(BEFORE[:4], AFTER[:4], strict=True)]
        metrics = {f"success/position_{j}": value for j, value in enumerate(success)}
        metrics |= {f"reward/position_{j}": 0.94 * value for j, value in enumerate(success)}
        metrics |= {f"hint_correctness/position_{j}": 0.35 + 0.53 * done + rng.gauss(0, 0.02) for j in (1, 2, 3)}
        if mixed:
            metrics |= {f"frozen_lake/{key}": value for key, value in metrics.items()}
            metrics |= {key.replace("frozen_lake", "alchemy"): 0.3 for key in metrics if key.startswith("frozen_lake")}
        metrics |= {
            "loss": -0.01 * done,
            "grad_norm": 0.3 + abs(rng.gauss(0, 0.05)),
            "lr": 4e-4,
            "entropy": 0.45 * math.exp(-step / 80) + 0.1,
            "logprob_gap/mean": 1e-7 * (1 + rng.random()),
            "groups/without_signal": 0.1 + 0.3 * done + rng.gauss(0, 0.02),
            "failures/format": 0.01 * math.exp(-step / 10),
            "failures/update": 0.002,
            "failures/episode": 0.0,
            "tokens/useful_fraction": 0.93 + rng.gauss(0, 0.005),
            "tokens/forwarded": 61_000,
            "tokens/per_turn_rows_ratio": 2.31,
            "engine/occupancy": 0.81,
            "engine/cached_prompt_fraction": 0.74,
        }
        timing = {
            "seconds/rollout": 1.9,
            "seconds/learn": 1.6,
            "seconds/step": 3.6,
            "tokens_per_second/rollout": 31_000.0 + rng.gauss(0, 500),
            "tokens_per_second/learn": 38_000.0 + rng.gauss(0, 500),
        }
        records.append({"step": step, "phase": "train", "metrics": metrics, "timing": timing})
        if step % 20 == 0:
            validation = {f"success/position_{j}": value + rng.gauss(0, 0.02) for j, value in enumerate(success)}
            if mixed:
                validation |= {f"frozen_lake/success/position_{j}": value for j, value in enumerate(success)}
                validation |= {f"alchemy/success/position_{j}": 0.3 for j in range(4)}
            records.append({"step": step, "phase": "validation", "metrics": validation, "timing": {}})
    with run.metrics_path.open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def _evaluations(
    run: RunDirectory, config: Config, rng: random.Random, *, hostile: bool, without: tuple[str, ...]
) -> None:
    for called, arms, length in (("before", ("own", "none"), 4), ("after", tuple(ARMS), 4), ("after-long", LONG, 8)):
        if called in without:
            continue
        folder = run.stage("evaluation") / called
        folder.mkdir(parents=True)
        label, step = ("warm-start", 0) if called == "before" else ("final", 110)
        subject = {"kind": "run", "name": run.title, "checkpoint": label, "step": step, "steps": 110}
        head = of(Head, {**made.HEAD, "suite": "position-curve", "subject": subject, "folder": str(folder)})
        specs = [
            EvalSpec(
                name=f"curve/{part.family}-tiny",
                family=part.family,
                preset="tiny",
                rendering="compact",
                packs=200,
                length=length,
                arms=arms,
            )
            for part in config.world.parts
        ]
        with FileJournal(folder / "journal.jsonl", head.digest) as journal:
            for spec in specs:
                for record in _records(spec, called, rng, hostile=hostile and called == "after"):
                    journal.append(record)
            journal.end_session({"seconds": 40.0 * length / 4, "usage": {}})
            eval_result.write(folder / HEAD, Begun(**vars(head), parts=(), trajectories=0))
            write_result(folder, head, specs, journal, {"step": step})


def _records(spec: EvalSpec, called: str, rng: random.Random, *, hostile: bool) -> Iterator[Record]:
    learned = spec.family == "frozen_lake"
    rates = {**CEILINGS, **(ARMS if learned else FLAT)}
    if called == "before":
        rates["own"] = BEFORE if learned else FLAT["own"]
        rates["none"] = rates["own"][:1] * 4
    right = (0.35 if called == "before" else 0.88) if learned else 0.35
    for arm in (*spec.arms, *CEILINGS):
        for number in range(spec.packs):
            rows = tuple(_row(rng, place, rate, right) for place, rate in enumerate(rates[arm][: spec.length]))
            is_told = (arm, number) == ("own", 17)
            told = of(Walkthrough, _walkthrough(spec.family, hostile=hostile)) if is_told else None
            yield Record(Unit(spec.name, arm, 0, number), f"{spec.family}/tiny/test/{number}", rows, walkthrough=told)


def _row(rng: random.Random, place: int, rate: float, right: float) -> Row:
    success = float(rng.random() < rate)
    knowable_right = round(100 * min(1.0, max(0.0, rng.gauss(right, 0.15))))
    hints = {"hint_knowable": 100, "hint_knowable_right": knowable_right}
    return made.row(
        position=place,
        success=success,
        shaped_reward=0.94 * success,
        outcome="solved" if success else "turns",
        **hints,
    )


def _walkthrough(family: str, *, hostile: bool) -> dict[str, Any]:
    hints = ["", "up K left X", "up K down Q left X", "up K down Q left X right Z"]
    if hostile:
        hints[1] = HOSTILE
    grid = "you are in row 1, column 2, the goal is in row 3, column 4 (row 1 is the top, column 1 the left).\n"
    grid += ". A . .\n. . . .\n. . . G\n. . . ."
    moves = [("down <answer> X </answer>", "left X a1 > c4 5"), ("right <answer> Z </answer>", "right Z a2 > c4 4")]
    moves += [("down <answer> Q </answer>", "down Q b2 > c4 3")]
    episodes = []
    for j, hint in enumerate(hints):
        after = hints[j + 1] if j + 1 < len(hints) else None
        feedback = "You reached the goal." if j else "All turns are spent and the goal was not reached."
        told = [*moves, ("right <answer> Z </answer>", feedback)]
        episodes.append(
            {
                "position": j,
                "task": f"Turn 1 of 6. You have not moved yet.\n{HOSTILE if hostile else ''}{grid}",
                "moves": [{"reply": HOSTILE if hostile else reply, "observation": seen} for reply, seen in told],
                "success": j > 0,
                "outcome": "solved" if j else "turns",
                "feedback": feedback,
                "hint_before": hint,
                "hint_after": after,
                "hint_score": {"right": j + 2, "wrong": 0, "missing": 2 - j, "knowable": min(4, j + 3)}
                if after
                else None,
            }
        )
    return {
        "pack": f"{family}/tiny/test/17",
        "truth": "up K down Q left X right Z",
        "episodes": episodes,
    }
