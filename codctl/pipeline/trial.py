"""What a trial of a sweep does beyond training: the suites of its trial.json, on its final model."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.config.schema import Config
from codctl.errors import UsageError
from codctl.files import reader
from codctl.files.atomic import write_json
from codctl.runs.directory import RunDirectory, move_aside
from codctl.runs.progress import Progress

if TYPE_CHECKING:
    from codctl.engines.nodes.client import Address
    from codctl.files.records import Call, TrialPlan

SCHEMA = 1
SWEEPS_FOLDER = "suites"  # where a sweep keeps the suite files of its trials
_FILE = "trial.json"
_SUITES = "suites"


def play_suites(
    run: RunDirectory, config: Config, progress: Progress, engines: Callable[[], Sequence[Address]] = tuple
) -> None:
    """Play what trial.json names and is not there yet; a run that is no trial has none.

    What was played of another model or by other rules is moved aside: it is no part of this trial's result.
    `engines` finds those of other nodes.
    """
    from codctl.evaluate.subject import subject_of_run
    from codctl.evaluate.suite import plan, run_suite
    from codctl.evaluate.suite_result import finished

    if run.manifest()["sweep"] and run.sweep is None:
        return  # it was copied out of its sweep and is a trial no more
    for entry in _calls(run.path):
        folder = suite_folder(run.path, entry["name"])
        suite, overrides = locate(run.path, entry["suite"]), entry["overrides"]
        command = ["codctl", "eval", "--run", run.title, "--suite", suite, *overrides]
        planned = plan(subject_of_run(run), suite, overrides, run.root, command, of_user=run.is_at_home())
        planned = replace(planned, folder=folder, engines=engines)
        if finished(folder, planned.digest, allow_failed=True) is not None:
            continue
        if _digest_of(folder) not in (None, planned.digest):
            move_aside(folder)
        progress.message(f"suite {entry['name']}: {shlex.join(command)}")
        run_suite(planned, progress)


def read_trial(run: Path) -> TrialPlan | None:
    """What a trial shall do beyond training, as its launcher wrote it; None for a run that is no trial.

    Raises:
        UsageError: The file is damaged.
    """
    from codctl.files import records as files

    return reader.read(run / _FILE, files.TrialPlan, hint="run the sweep's command again to write it")


def _calls(run: Path) -> list[Call]:
    found = read_trial(run)
    return found["suites"] if found else []


def write_trial(run: Path, labels: Mapping[str, Any], suites: Sequence[Mapping[str, Any]]) -> None:
    """Say what a trial shall do. Results of a suite that is now asked otherwise are moved aside first.

    It is not made durable: the launcher, which makes many, sees to that once for all.
    """
    content = {"schema": SCHEMA, "labels": dict(labels), "suites": [dict(entry) for entry in suites]}
    try:
        before = read_trial(run)
    except UsageError:
        before = None
    if before == content:
        return
    asked = {entry["name"]: entry for entry in before["suites"]} if before else {}
    for entry in suites:
        if entry["name"] in asked and asked[entry["name"]] != entry:
            move_aside(suite_folder(run, entry["name"]))
    write_json(run / _FILE, content, durable=False)


def missing_suites(run: Path, suites: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the suites that have no result yet, or are asked otherwise than they were."""
    try:
        asked = {entry["name"]: entry for entry in _calls(run)}
    except UsageError:
        asked = {}
    return [
        entry["name"]
        for entry in suites
        if asked.get(entry["name"]) != entry or not (suite_folder(run, entry["name"]) / "result.json").is_file()
    ]


def suite_folder(run: Path, name: str) -> Path:
    return run / _SUITES / name


def locate(run: Path, suite: str) -> str:
    """A shipped suite by its name; a file, which the sweep keeps a copy of, relative to the run."""
    if not suite.endswith((".yaml", ".yml")):
        return suite
    sweep = run.resolve().parents[1]
    path = sweep / SWEEPS_FOLDER / Path(suite).name
    try:
        reader.refuse_links(path, sweep)
    except reader.UnfitError as error:
        reader.refuse(path, error)
    return str(path)


def _digest_of(folder: Path) -> str | None:
    """Whose journal lies in a folder; None when there is none, or none that can be read."""
    for line in reader.lines(folder / "journal.jsonl"):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return str(reader.parse(line)["digest"])
        break
    return None
