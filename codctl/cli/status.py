"""codctl status: how runs and sweeps stand, now or from now on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._options import RUNS_DIR, Json, RunsDir
from codctl.cli._status_text import again, lines, text

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN|SWEEP", autocompletion=complete.runs_and_sweeps, help="Runs, sweeps, or trials as SWEEP/TRIAL."
    ),
]

_EVERY_S = 2.0
_QUEUE_EVERY_S = 10.0  # a controller is shared: it is asked less often than files are read


def status(
    names: Names = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep updating until everything has ended.")] = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Show what is running, waiting and done, and what to type next.

    Without names: everything that is alive or recent.
    """
    from codctl.errors import UsageError
    from codctl.jobs.jobs import Jobs

    if watch and as_json:
        raise UsageError("--watch and --json cannot be combined", hint="codctl status --json")
    jobs = Jobs(_QUEUE_EVERY_S)

    def look() -> dict[str, Any]:
        return _look(runs_dir, names or [], jobs)

    if not watch:
        found = look()
        _output.result("status", found, text(found, runs_dir, named=bool(names)), as_json=as_json)
        for note in () if as_json else found["notes"]:
            _output.talk(note)
        return
    try:
        (_redraw if _output.use_live(sys.stdout) else _report)(look, runs_dir, bool(names))
    except KeyboardInterrupt:
        return  # that is how one stops watching


def _look(runs_dir: Path, names: list[str], jobs: Any) -> dict[str, Any]:
    from codctl.jobs.overview import alive_or_recent, overview
    from codctl.jobs.targets import find_targets

    left_out = 0
    if names:
        targets = find_targets(runs_dir, names)
        runs, sweeps = list(targets.runs), list(targets.sweeps)
    else:
        runs, sweeps, left_out = alive_or_recent(runs_dir, jobs)
    return {**overview(runs, sweeps, jobs, again=again(runs_dir)), "not_shown": left_out}


def _is_over(found: dict[str, Any]) -> bool:
    from codctl.jobs.status import ALIVE

    if any(sweep["at_work"] for sweep in found["sweeps"]):
        return False
    return not {entry["status"] for entry in found["runs"]} & set(ALIVE)


def _redraw(look: Callable[[], dict[str, Any]], runs_dir: Path, named: bool) -> None:
    from codctl.cli import _rich

    drawn = _rich.styled("")
    with _rich.Display(sys.stdout, lambda _console: drawn, auto_refresh=False) as display:
        while True:
            found = look()
            shown = "\n\n".join([text(found, runs_dir, named=named), *found["notes"]])
            drawn = _rich.styled(shown, no_wrap=True)
            display.refresh()
            if _is_over(found):
                return
            time.sleep(_EVERY_S)


def _report(look: Callable[[], dict[str, Any]], runs_dir: Path, named: bool) -> None:
    """A line for whatever changed."""
    said: dict[str, str] = {}
    while True:
        found = look()
        for note in found["notes"]:
            if note not in said:
                _output.talk(note)
                said[note] = note
        for name, line in lines(found):
            if said.get(name) != line:
                _output.data(line)
                said[name] = line
        if _is_over(found):
            return
        time.sleep(_EVERY_S)
