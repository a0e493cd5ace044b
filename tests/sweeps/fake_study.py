"""Studies on disk: real run directories as trials, and suites whose outcomes are drawn instead of played."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codctl.config.evalspec import EvalSpec
from codctl.config.freeze import digest
from codctl.config.schema import Config
from codctl.evaluate.suite_result import write_result
from codctl.files import atomic
from codctl.results.journal import FileJournal, Record, Unit
from codctl.results.rows import Row
from codctl.runs import eval_result
from codctl.runs.directory import RunDirectory
from codctl.runs.eval_result import HEAD, Begun, Head, of
from tests.results.made import HEAD as PLAIN
from tests.results.made import row

COMMAND = ["codctl", "sweep", "study.yaml"]
FIRST, LEARNED, FLAT = 0.4, 0.95, 0.4
SUITES = {"home": ("cod", 3), "loop": ("ralph_full", 4)}  # strategy and length
FAMILIES = ("frozen_lake", "alchemy")


def world_of(train: str) -> dict[str, Any]:
    names = FAMILIES if train == "mixture" else (train,)
    mixture = [{"family": name, "preset": "tiny"} for name in names] if len(names) > 1 else []
    return {"family": names[0], "preset": "tiny", "rendering": "compact", "length": 3, "mixture": mixture}


def study(
    runs_dir: Path,
    trains: Sequence[str] = ("frozen_lake", "alchemy"),
    ablations: Sequence[str] = ("cod", "warm"),
    seeds: Sequence[int] = (0, 1),
    packs: int = 40,
) -> Path:
    """A whole study: `cod` trials learn in the families of their training, `warm` ones nowhere."""
    sweep = runs_dir / "sweeps" / "study"
    trials = []
    for train in trains:
        for ablation in ablations:
            for seed in seeds:
                name = f"{train}-{ablation}-{seed}"
                labels = {"train": train, "ablation": ablation, "seed": seed}
                config = Config.model_validate({"name": name, "seed": seed, "world": world_of(train)})
                run = finished(runs_dir, sweep, config)
                trained = FAMILIES if train == "mixture" else (train,)
                learned = trained if ablation == "cod" else ()
                for suite in SUITES:
                    play_suite(run.path / "suites" / suite, suite, learned, seed, packs)
                trials.append(entry(name, labels, config, SUITES))
    return write_plan(sweep, "study", trials)


def entry(name: str, labels: Mapping[str, Any], config: Config, suites: Sequence[str] | Mapping[str, Any] = ()) -> Any:
    """A trial of a plan."""
    played = [{"name": suite, "suite": "position-curve", "overrides": []} for suite in suites]
    overrides = [f"seed={config.seed}"]
    plain = {"name": name, "digest": digest(config), "labels": dict(labels), "overrides": overrides}
    return {**plain, "recipe": "recipes/tiny.yaml", "suites": played}


def write_plan(sweep: Path, kind: str, trials: Sequence[Mapping[str, Any]]) -> Path:
    plan = {"schema": 1, "name": sweep.name, "kind": kind, "command": COMMAND, "source": "study.yaml", "axes": {}}
    sweep.mkdir(parents=True, exist_ok=True)
    atomic.write_json(sweep / "sweep.json", {**plan, "created": "2030-01-01T00:00:00+00:00", "trials": trials})
    return sweep


def made(runs_dir: Path, sweep: Path, config: Config) -> RunDirectory:
    """A trial that nobody has worked on."""
    return RunDirectory.create_or_continue(runs_dir, config, recipe="tiny.yaml", command=COMMAND, sweep=sweep)


def finished(runs_dir: Path, sweep: Path, config: Config) -> RunDirectory:
    run = made(runs_dir, sweep, config)
    ended(run, "finished")
    return run


def ended(run: RunDirectory, outcome: str, message: str = "") -> None:
    """Its first attempt ended so."""
    folder = run.path / "attempts" / "001"
    folder.mkdir(parents=True, exist_ok=True)
    record = {"number": 1, "outcome": outcome, "message": message, "seconds": 61.0}
    atomic.write_json(folder / "attempt.json", record)


def play_suite(folder: Path, suite: str, learned: Sequence[str], seed: int, packs: int) -> None:
    """What `codctl eval` leaves in a folder; own hints help in the families that were learned."""
    folder.mkdir(parents=True)
    strategy, length = SUITES[suite]
    families = FAMILIES if strategy == "cod" else FAMILIES[:1]
    specs = [_spec(f"{suite}-it/{family}-tiny", family, strategy, length, packs) for family in families]
    _evaluated(folder, suite, specs, seed, learned)


def evaluate_in_run(run: RunDirectory, seed: int, *, is_learned: bool, packs: int = 40) -> None:
    """The evaluation that ends a run."""
    folder = run.stage("evaluation") / "after"
    folder.mkdir(parents=True)
    spec = _spec("curve/frozen_lake-tiny", "frozen_lake", "cod", 3, packs)
    _evaluated(folder, "position-curve", [spec], seed, FAMILIES if is_learned else ())


def _evaluated(folder: Path, suite: str, specs: Sequence[EvalSpec], seed: int, learned: Sequence[str]) -> None:
    """Write all files of an evaluation."""
    head = of(Head, {**PLAIN, "suite": suite})
    with FileJournal(folder / "journal.jsonl", head.digest) as journal:
        for spec in specs:
            for record in _records(spec, seed, is_learned=spec.family in learned):
                journal.append(record)
        eval_result.write(folder / HEAD, Begun(**vars(head), parts=(), trajectories=0))
        write_result(folder, head, specs, journal, {})


def change(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file."""
    atomic.write_json(path, {**json.loads(path.read_text()), **changes})


def _spec(name: str, family: str, strategy: str, length: int, packs: int) -> EvalSpec:
    plain = {"preset": "tiny", "rendering": "compact", "arms": ("own", "none")}
    return EvalSpec(name=name, family=family, strategy=strategy, length=length, packs=packs, **plain)  # type: ignore[arg-type]


def _records(spec: EvalSpec, seed: int, *, is_learned: bool) -> list[Record]:
    rng = random.Random(f"{seed} {spec.name}")
    last = {"own": LEARNED if is_learned else FLAT, "none": FLAT, "bayes": 1.0, "informed": 1.0}
    found = []
    for arm, rate in last.items():
        for pack in range(spec.packs):
            steps = [FIRST + (rate - FIRST) * position / (spec.length - 1) for position in range(spec.length)]
            rows = tuple(_row(position, float(rng.random() < step)) for position, step in enumerate(steps))
            found.append(Record(Unit(spec.name, arm, 0, pack), f"{spec.family}/tiny/test/{pack}", rows))
    return found


def _row(position: int, success: float) -> Row:
    return row(position=position, success=success, shaped_reward=success, outcome="solved" if success else "turns")
