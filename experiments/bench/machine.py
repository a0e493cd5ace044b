"""What the benches share: the line that says where figures come from, ratios with their spread, Markdown tables."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import process_time

ROOT = Path(os.environ.get("BENCH_CHECKOUT") or Path(__file__).resolve().parents[2])  # whose codctl is timed
sys.path.insert(0, str(ROOT))  # its `tests` and `codctl`, also without an installation


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one thing is as another, round by round of the same run."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({min(self.rounds):.2f}–{max(self.rounds):.2f})"


def taken_in_turns(runs: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each run in each round, on one thread: what else the machine does changes little.

    The runs take turns, each round begins with another, and the first round is thrown away.
    """
    import torch

    torch.set_num_threads(1)
    names = list(runs)
    times: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(rounds + 1):
        shift = round_ % len(names)
        for name in names[shift:] + names[:shift]:
            started = process_time()
            runs[name]()
            if round_:
                times[name].append(process_time() - started)
    return times


def ratio(slow: Sequence[float], fast: Sequence[float]) -> Ratio:
    return Ratio(tuple(a / b for a, b in zip(slow, fast, strict=True)))


def machine_line() -> str:
    """Processor, cores, load before the start, versions; the GPU where there is one."""
    import torch

    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "CPU"
    )
    parts = [f"{model}, {os.cpu_count()} cores", f"load {os.getloadavg()[0]:.1f}"]
    parts += [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return ", ".join([*parts, f"torch {torch.__version__}", f"transformers {version('transformers')}"])


def markdown(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [headers, ["---"] * len(headers), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:,.0f}"
        if isinstance(value, float | int) and not isinstance(value, bool)
        else str(value)
    )


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.is_file() else []
