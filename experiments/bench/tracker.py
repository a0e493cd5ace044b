"""What a tracker costs the steps of a run: real steps of a tiny recipe, with and without, taken in turns.

    .venv/bin/python experiments/bench/tracker.py [--rounds 4] [--steps 10]

Blocks of steps follow each other in one process: no tracker, MLflow's sqlite file, TensorBoard, Weights & Biases
offline, and an MLflow server where nobody is. All senders are started first; during a block only its own is awake
(SIGCONT, SIGSTOP). Printed is the median over rounds of (mean or median step of the block / that without a tracker in
the same round).
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from codctl.cli._output import table
from codctl.config.schema import Config
from codctl.runs.directory import RunDirectory
from codctl.tracking.jsonl import MetricsLog
from codctl.tracking.sender import Sender

NONE = "none"
UP_S = 60.0
_REST_S, _LEAST_S = 1.0, 1.0
TRACKERS: dict[str, tuple[str, dict[str, Any]]] = {
    NONE: ("", {"mlflow": False}),
    "sqlite": ("mlflow", {}),
    "tensorboard": ("tensorboard", {"mlflow": False, "sinks": ["tensorboard"]}),
    "wandb": ("wandb", {"mlflow": False, "sinks": ["wandb"], "options": {"wandb": {"mode": "offline"}}}),
    "dead": ("mlflow", {"mlflow_uri": "http://127.0.0.1:9"}),
}


def recipe(steps: int, name: str, tracking: Mapping[str, Any]) -> Config:
    return Config.model_validate(
        {
            "name": name,
            "world": {"preset": "tiny", "rendering": "compact", "length": 3},
            "model": {"build": {"layers": 2, "width": 64, "heads": 2, "kv_heads": 2, "ffn": 128}},
            "sampling": {"solve_tokens": 8, "update_tokens": 12},
            "train": {"steps": steps, "packs": 8, "rollouts": 4, "lr": 1e-4, "checkpoint_every": 10**6},
            "tracking": {**tracking, "trajectories_every": 10**6},
            "runtime": {"threads": 1},
        }
    )


class Turns:
    """Stands in for the tracker of a run, and is another one for each block of steps."""

    def __init__(self, folder: Path, steps: int) -> None:
        self._steps, self._done, self._block = steps, 0, 0
        self._runs = {name: self._run(folder / name, name, tracking) for name, (_, tracking) in TRACKERS.items()}
        self._senders = {
            name: Sender(run.path, run.name, TRACKERS[name][0]) for name, run in self._runs.items() if name != NONE
        }
        for sender in self._senders.values():
            _wait_until_at_work(sender)
            _send(sender, signal.SIGSTOP)
        self.times: dict[str, list[list[float]]] = defaultdict(list)
        self._begin()

    def log(self, _step: int, phase: str, metrics: Any, timing: Any = None) -> None:
        self._done += 1
        MetricsLog(self._current.metrics_path).append(self._done, phase, metrics, timing)
        self.times[self._current.name][-1].append(time.perf_counter() - self._started_s)
        if self._done % self._steps == 0:
            self._sleep()
            self._block += 1
            self._begin()
        self._started_s = time.perf_counter()

    def rewind(self, _phase: str, _step: int) -> None:
        pass

    def end(self) -> None:
        for sender in self._senders.values():
            _send(sender, signal.SIGCONT)
            sender.end("interrupted", deadline_s=0.1)
            sender.wait()

    def _sleep(self) -> None:
        if self._current.name in self._senders:
            _send(self._senders[self._current.name], signal.SIGSTOP)

    @property
    def _current(self) -> RunDirectory:
        return list(self._runs.values())[self._block % len(self._runs)]

    def _begin(self) -> None:
        run = self._current
        self.times[run.name].append([])
        if run.name in self._senders:
            _send(self._senders[run.name], signal.SIGCONT)
        self._started_s = time.perf_counter()

    @staticmethod
    def _run(root: Path, name: str, tracking: Mapping[str, Any]) -> RunDirectory:
        return RunDirectory.create_or_continue(root, recipe(1, name, tracking), recipe="bench", command=["bench"])


def _wait_until_at_work(sender: Sender) -> None:
    """Imports are done when the process has used the processor and then rests; what follows is the tracker."""
    process = sender._process
    assert process is not None
    deadline_s, used_s = time.monotonic() + UP_S, 0.0
    while time.monotonic() < deadline_s and process.poll() is None:
        time.sleep(_REST_S)
        before_s, used_s = used_s, _cpu_s(process.pid)
        if used_s > _LEAST_S and used_s - before_s < _LEAST_S / 10:
            return


def _send(sender: Sender, number: int) -> None:
    if sender._process is not None and sender._process.poll() is None:
        sender._process.send_signal(number)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure(rounds: int, steps: int, folder: Path) -> Turns:
    from codctl.models.start import build_model
    from codctl.train.cod_train import cod_train
    from codctl.train.setup import prepare_process

    prepare_process(threads=1)
    config = recipe(rounds * steps * len(TRACKERS), "training", {"mlflow": False})
    run = RunDirectory.create_or_continue(folder, config, recipe="bench", command=["bench"])
    turns = Turns(folder, steps)
    quiet: Any = _Quiet()
    try:
        cod_train(run, config, build_model(run, config, quiet), turns, quiet)  # type: ignore[arg-type]
    finally:
        turns.end()
    return turns


class _Quiet:
    def update(self, *_: object) -> None:
        pass

    def message(self, _text: str) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that senders end, too
    with tempfile.TemporaryDirectory() as name:
        turns = measure(options.rounds, options.steps, Path(name))
    rows = []
    for mode, blocks in turns.times.items():
        pairs = list(zip(blocks, turns.times[NONE], strict=False))
        whole = [(a, b) for a, b in pairs if len(a) == len(b) == options.steps]
        means = [statistics.fmean(a) / statistics.fmean(b) for a, b in whole]
        medians = [statistics.median(a) / statistics.median(b) for a, b in whole]
        seconds = statistics.median(time_s for block, _ in whole for time_s in block)
        rows.append([mode, len(whole), seconds, statistics.median(means), statistics.median(medians)])
    print(table(["tracker", "blocks", "s/step", "ratio of means", "ratio of medians"], rows))


if __name__ == "__main__":
    main()
