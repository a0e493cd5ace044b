"""Kill a small training with SIGKILL at random moments until it ends, and compare it with one that nobody touched.

`python tests/durability/kills.py --kills 100 --seed 0` prints what was killed when to stderr and a summary to stdout,
and ends with 1 when anything differs. A run is killed several times on its way to the end (`--per-run`); every fifth
run has LoRA, every fourth is mirrored to MLflow (with `codctl sync` after its end), and half of all start from the
sealed model and warm start of the untouched run, which saves their time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests import forked
from tests.durability import small_run
from tests.durability.processes import Child, Processes

_DEADLINE_S = 900.0  # for one attempt
_POLL_S = 0.001
_SYNCS = 120
_SEALS = ("model", "warm_start", "final", "before", "after")
# How often each kind is drawn. `again` follows another kill and is not drawn.
_KINDS = {"any time": 8, "in a checkpoint": 5, "in a seal": 3, "in a file": 2, "at the start": 2, "in the imports": 1}
_AGAIN = 0.25


@dataclass(frozen=True)
class Case:
    """A run that is to be compared with the untouched one, in a runs folder of its own."""

    name: str
    runs: Path
    lora: bool
    mlflow: bool
    is_killed: bool = True

    def __str__(self) -> str:
        return f"{self.name}{' with LoRA' if self.lora else ''}{' with MLflow' if self.mlflow else ''}"

    @property
    def folder(self) -> Path:
        return small_run.folder(self.runs)

    def arguments(self) -> list[str]:
        """The same words for every attempt."""
        more = [*(small_run.LORA if self.lora else ()), *(() if self.mlflow else ("tracking.mlflow=false",))]
        return small_run.arguments(self.runs, *more)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "codctl.cli.main", *self.arguments()]


@dataclass
class Tally:
    """What happened, over all runs."""

    kinds: Counter[str] = field(default_factory=Counter)
    inside: int = 0  # kills that left a hidden leftover behind
    runs: int = 0
    identical: int = 0
    mlflow: int = 0  # runs that were mirrored
    problems: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.kinds.total()


class Harness:
    """Untouched runs, and killed ones to compare with them.

    Args:
        server: For the processes.
        folder: For everything; runs that end as they should are deleted.
        say: For whoever watches.
    """

    def __init__(self, server: Processes, folder: Path, say: Callable[[str], None]) -> None:
        self._server, self._folder, self._say = server, folder, say
        self._expected: dict[bool, dict[str, Any]] = {}
        self.seconds: dict[bool, float] = {}
        self.tally = Tally()

    def untouched(self, lora: bool) -> Path:
        """Runs folder of the run that nobody kills; it is run when it is first asked for."""
        case = Case("untouched", self._folder / ("untouched-lora" if lora else "untouched"), lora=lora, mlflow=False)
        if lora not in self._expected:
            started = time.monotonic()
            child = self._server.run(*case.arguments(), deadline_s=_DEADLINE_S)
            assert child.code(0) == 0, child.err()
            self.seconds[lora] = time.monotonic() - started
            self._expected[lora] = self._outcome(case.runs)
            learned = [numbers for phase, _, numbers in self._expected[lora]["metrics"] if phase == "train"]
            assert sum(numbers["grad_norm"] > 0 for numbers in learned) >= 3, "nothing is learned: nothing to compare"
            self._say(f"{case}: {self.seconds[lora]:.1f} s")
        return case.runs

    def adopt(self, runs: Path, outcome: dict[str, Any], seconds: float) -> None:
        """Take over an untouched run (without LoRA) that is there already, and how long it took."""
        shutil.copytree(runs, self._folder / "untouched")
        self._expected[False], self.seconds[False] = outcome, seconds

    def fresh_process(self) -> None:
        """An untouched run in a process that was not forked must give the same."""
        self.untouched(lora=False)
        case = Case("a fresh process", self._folder / "fresh", lora=False, mlflow=True, is_killed=False)
        started = time.monotonic()
        done = subprocess.run(
            case.command(), env={**os.environ, **forked.FRESH}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        self._compare(case)
        self._say(f"{case}: {time.monotonic() - started:.1f} s")

    def killed(self, number: int, kills: int, rng: Random) -> None:
        """One run, killed so many times if it lives long enough, and compared at its end."""
        case = Case(f"run {number}", self._folder / f"run-{number:03d}", lora=number % 5 == 4, mlflow=number % 4 == 3)
        untouched = self.untouched(case.lora)
        _prepare(case.runs, untouched, has_start=rng.random() < 0.5, has_database=case.mlflow and rng.random() < 0.75)
        moments = _Moments(rng, self.seconds[case.lora] / (kills + 1), case.folder)
        before, words = Sealed(), []
        old_logs: set[Path] = set()
        for kind in moments.kinds(kills):
            if not self._one_kill(case, kind, moments):
                break
            after = Sealed.of(case.folder)
            if lost := before.lost(after):
                self.tally.problems.append(f"{case.name}: killed {kind}, and lost: {lost}")
            before, old_logs = after, set(case.folder.glob("attempts/*/log.txt"))
            words.append(f"{kind} ({after.words})")
        self._finish(case, before, old_logs)
        self._say(f"{case}: killed {'; '.join(words) or 'never'}")

    def _one_kill(self, case: Case, kind: str, moments: _Moments) -> bool:
        """Start the command and kill it; False when it came to its end before."""
        if kind == "in the imports":
            process = subprocess.Popen(
                case.command(),
                env={**os.environ, **forked.FRESH},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(moments.rng.uniform(0, 5))
            process.kill()
            process.wait()
        else:
            child = self._server.start(*case.arguments())
            moments.wait(kind, child)
            if child.has_ended():
                assert child.code(0) == 0, f"{child.err()}\n{child.out()}"
                return False
            child.kill()
        self.tally.kinds[kind] += 1
        self.tally.inside += any(_hidden(case.folder))
        return True

    def _finish(self, case: Case, before: Sealed, old_logs: Collection[Path]) -> None:
        child = self._server.run(*case.arguments(), deadline_s=_DEADLINE_S)
        self.tally.runs += 1
        if child.code(0) != 0 or "Traceback" in child.err():
            self.tally.problems.append(f"{case.name}: ended with {child.code(0)}: {child.err()} {child.out()}")
            return
        later = [path for path in sorted(case.folder.glob("attempts/*/log.txt")) if path not in old_logs]
        log = "".join(path.read_text() for path in later)  # the first of them may have come to the end unkilled
        if before.step > 0 and not before.has_final and f"continuing after step {before.step}\n" not in log:
            self.tally.problems.append(f"{case.name}: step {before.step} was sealed, and not continued from")
        self._compare(case)
        self.tally.mlflow += case.mlflow

    def _compare(self, case: Case) -> None:
        found, expected = self._outcome(case.runs), self._expected[case.lora]
        differ = [key for key in {**expected, **found} if found.get(key) != expected.get(key)]
        wrong = self._wrong_in_mlflow(case) if case.mlflow else {}
        if differ or wrong:
            self.tally.problems.append(
                f"{case.name}: differs in {differ or 'nothing'}; MLflow: {wrong or 'as it should be'} ({case.runs})"
            )
        else:
            self.tally.identical += case.is_killed
            shutil.rmtree(case.runs)

    def _wrong_in_mlflow(self, case: Case) -> dict[str, Any]:
        """What MLflow has too much or too little of, once `codctl sync` has been there."""
        for _ in range(_SYNCS):
            synced = self._server.run("sync", "--runs-dir", str(case.runs), "--json")
            if synced.code(0) != 0:
                return {"sync": synced.out()}
            if "in use" not in synced.out():  # a killed attempt leaves its sender behind for some seconds
                break
            time.sleep(1)
        tracked = self._server.call(Path(small_run.__file__), "tracked", str(case.runs))
        return {key: value for key, value in tracked.items() if value != small_run.TRACKED[key]}

    def _outcome(self, runs: Path) -> dict[str, Any]:
        found: dict[str, Any] = self._server.call(Path(small_run.__file__), "outcome", str(runs))
        return found


class _Moments:
    """When to kill.

    Args:
        rng: Decides.
        span_s: Length of the time in which an attempt is killed at any time.
        run: The run's folder, which is watched.
    """

    def __init__(self, rng: Random, span_s: float, run: Path) -> None:
        self.rng, self._span_s, self._run = rng, span_s, run

    def kinds(self, kills: int) -> Iterator[str]:
        """What kind of kill comes next; it looks at what is on disk when it is asked."""
        given = 0
        while given < kills:
            yield self.rng.choices(list(_KINDS), list(_KINDS.values()))[0]
            given += 1
            if given < kills and self.rng.random() < _AGAIN:
                yield "again"
                given += 1

    def wait(self, kind: str, child: Child) -> None:
        """Return at the moment, or when the process has ended."""
        if kind == "any time":
            child.has_ended(self.rng.uniform(0, 2 * self._span_s))
        elif kind == "at the start":
            child.has_ended(self.rng.uniform(0, 1))
        elif kind == "again":
            child.has_ended(self.rng.uniform(0, 4))
        else:
            self._wait_for_a_write(kind, child)

    def _wait_for_a_write(self, kind: str, child: Child) -> None:
        """Until a hidden name of the kind appears for the so-manieth time, and up to 4 ms more."""
        open_seals = [name for name in _SEALS if not any(self._run.glob(f"stages/**/{name}/COMPLETE.json"))]
        target = self.rng.choice(open_seals) if open_seals else "after"
        is_wanted: dict[str, Callable[[str], bool]] = {
            "in a checkpoint": lambda name: name.startswith(".step-0") and ".parquet" not in name,
            "in a seal": lambda name: name.startswith(f".{target}.tmp-"),
            "in a file": lambda name: not name.startswith(tuple(f".{seal}." for seal in ("step-0", *_SEALS))),
        }
        left = {"in a checkpoint": self.rng.randint(1, 2), "in a seal": 1, "in a file": self.rng.randint(1, 4)}[kind]
        seen: set[str] = set()
        deadline = time.monotonic() + _DEADLINE_S
        while time.monotonic() < deadline and not child.has_ended(_POLL_S):
            fresh = {name for name in _hidden(self._run) if is_wanted[kind](name)} - seen
            seen |= fresh
            if len(seen) >= left:
                child.has_ended(self.rng.uniform(0, 0.004))
                return


@dataclass(frozen=True)
class Sealed:
    """What of a run is whole on disk."""

    step: int = 0  # of the newest checkpoint
    stages: frozenset[str] = frozenset()

    @classmethod
    def of(cls, run: Path) -> Sealed:
        """Look, also at the content."""
        from codctl.files.seal import is_sealed, newest_sealed

        newest, _ = newest_sealed(run / "stages" / "cod_train" / "checkpoints")
        folders = {path.parent for path in run.glob("stages/**/COMPLETE.json") if "step-" not in path.parent.name}
        whole = frozenset(path.name for path in folders if "tmp-" not in str(path) and is_sealed(path, verify=True))
        return cls(int(newest.name.removeprefix("step-")) if newest else 0, whole)

    @property
    def has_final(self) -> bool:
        return "final" in self.stages

    @property
    def words(self) -> str:
        found = [*sorted(self.stages), *([f"step {self.step}"] if self.step else [])]
        return f"sealed: {', '.join(found) or 'nothing'}"

    def lost(self, later: Sealed) -> str:
        """What was whole and is no more."""
        gone = sorted(self.stages - later.stages)
        return ", ".join([*gone, *([f"step {self.step}"] if later.step < self.step else [])])


def _prepare(runs: Path, untouched: Path, has_start: bool, has_database: bool) -> None:
    """A runs folder: empty, or with MLflow's empty tables, or with the first two stages of the untouched run."""
    runs.mkdir()
    if has_database:
        shutil.copy(untouched.parent / "empty.db", runs / "mlflow.db")
    if not has_start:
        return
    run, source = small_run.folder(runs), small_run.folder(untouched)
    run.mkdir()
    for name in ("manifest.json", "config.json"):
        shutil.copy(source / name, run / name)
    for name in ("model", "warm_start"):
        shutil.copytree(source / "stages" / name, run / "stages" / name)
    lines = (source / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(line for line in lines if json.loads(line)["phase"] == "warm_start"))


def _hidden(run: Path) -> Iterator[str]:
    """Names of hidden temp files and folders of a run, where it makes them."""
    for folder in (run, run / "stages", *_folders(run / "stages"), *_folders(run / "stages" / "cod_train")):
        try:
            with os.scandir(folder) as entries:
                yield from (entry.name for entry in entries if entry.name[0] == "." and ".tmp-" in entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.name[0] != "."]
    except FileNotFoundError:
        return []


def make_empty_database(path: str) -> None:
    """MLflow's tables, which take it seconds to make. Called in a process of its own."""
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()


def run_kills(options: argparse.Namespace, folder: Path, say: Callable[[str], None]) -> Tally:
    """Kill as often as the options say, over as many runs as it takes."""
    rng, ends_s = Random(options.seed), time.monotonic() + options.seconds
    forked.install()
    with Processes(folder / "output") as server:
        harness = Harness(server, folder, say)
        server.call(Path(__file__), "make_empty_database", str(folder / "empty.db"))
        if not options.no_fresh:
            harness.fresh_process()
        tally = harness.tally
        while tally.kills < options.kills and len(tally.problems) < 5 and time.monotonic() < ends_s:
            harness.killed(tally.runs, min(options.per_run, options.kills - tally.kills), rng)
    return tally


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-run", type=int, default=4, help="kills of one run; 1 makes as many runs as kills")
    parser.add_argument("--folder", type=Path, help="kept; otherwise a temp folder, deleted when all is well")
    parser.add_argument("--no-fresh", action="store_true", help="spare the untouched run in a process not forked")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no further run after so long")
    options = parser.parse_args(argv)
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="codctl-kills-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:6.0f} s] {text}", file=sys.stderr, flush=True)

    tally = run_kills(options, folder, say)
    for problem in tally.problems:
        print(problem)
    kinds = ", ".join(f"{kind} {count}" for kind, count in tally.kinds.most_common())
    print(
        f"{tally.kills} kills ({kinds}; {tally.inside} left a half-written file) of {tally.runs} runs: "
        f"{tally.identical} of {tally.runs} ended bit-identical ({tally.mlflow} with MLflow), "
        f"{len(tally.problems)} problems; "
        f"seed {options.seed}, {time.monotonic() - started:.0f} s"
    )
    if not tally.problems and not options.folder:
        shutil.rmtree(folder)
    return 1 if tally.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
