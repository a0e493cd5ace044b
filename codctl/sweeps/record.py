"""sweep.json: every trial that was ever asked for under one name, and what a new command adds to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.errors import Problem, RefusedError, UsageError
from codctl.files import atomic
from codctl.runs import manifest
from codctl.runs.directory import SWEEPS, TRIALS, read_sweep
from codctl.sweeps.plan import Plan, Trial, named_apart, value_at, without
from codctl.sweeps.suites import calls_of

if TYPE_CHECKING:
    from codctl.files.records import Sweep, SweepTrial

SCHEMA = 1
_FILE = "sweep.json"


@dataclass(frozen=True)
class Record:
    """What a sweep is after a command, and what the command asked of it.

    Attributes:
        folder: Of the sweep.
        content: Of sweep.json.
        asked: The trials of this command, under the names that they have in the sweep.
        calls: The suites that they play.
        kept: Trials of earlier commands that this one does not ask for.
    """

    folder: Path
    content: Mapping[str, Any]
    asked: tuple[Trial, ...]
    calls: tuple[Mapping[str, Any], ...]
    kept: int

    @property
    def entries(self) -> list[SweepTrial]:
        """What sweep.json says of the trials of this command, with the suites that earlier commands asked for."""
        by_digest = {entry["digest"]: entry for entry in self.content["trials"]}
        return [by_digest[trial.digest] for trial in self.asked]

    def run(self, name: str) -> Path:
        """The run directory of a trial."""
        return self.folder / TRIALS / name


def folder_of(runs_dir: Path, name: str) -> Path:
    return runs_dir / SWEEPS / name


def read(folder: Path) -> Sweep:
    """What sweep.json says.

    Raises:
        UsageError: There is none, or it cannot be read.
    """
    found = read_sweep(folder)
    if found is None:
        raise UsageError("not a sweep: sweep.json is missing", where=str(folder), hint="codctl status")
    return found


def write(record: Record) -> None:
    """Write sweep.json, unless it says the same already."""
    if read_sweep(record.folder) != record.content:
        atomic.write_json(record.folder / _FILE, record.content)


def axes_of(folder: Path) -> list[str]:
    """Keys that were axes when the sweep was made; none when there is no sweep."""
    before = read_sweep(folder)
    return list(before["axes"]) if before else []


def reconcile(plan: Plan, folder: Path, command: Sequence[str]) -> Record:
    """Merge a plan into what was planned before under its name. Nothing is written.

    A trial is known by its digest: what was asked before keeps its name, what is new is added.

    Raises:
        RefusedError: The rest of the config is another one than before.
    """
    before = read_sweep(folder)
    if before is not None:
        _refuse_other_base(plan, before, folder)
    axes = _joined(before["axes"] if before else {}, plan.axes)
    entries: dict[str, dict[str, Any]] = {entry["digest"]: {**entry} for entry in (before["trials"] if before else ())}
    for entry in entries.values():
        entry["labels"] = _completed(entry["labels"], axes, plan)
    asked = named_apart(plan.trials, {digest: entry["name"] for digest, entry in entries.items()})
    calls = tuple(calls_of(plan.suites))
    for trial in asked:
        entries[trial.digest] = _entry(
            trial, axes, _joined_calls(entries.get(trial.digest, {}).get("suites", ()), calls)
        )
    content = {
        "schema": SCHEMA,
        "name": plan.name,
        "kind": plan.kind,
        "description": plan.description,
        "size": plan.size,
        "created": before["created"] if before else manifest.now(),
        "command": list(command),
        "source": plan.source,
        "axes": axes,
        "bases": {**(before["bases"] if before else {}), **plan.bases},
        "trials": list(entries.values()),
    }
    return Record(folder, content, asked, calls, len(entries) - len(asked))


def _entry(trial: Trial, axes: Mapping[str, Any], suites: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    missing = {key: value_at(trial.config, key) for key in axes if key not in trial.labels}
    return {
        "name": trial.name,
        "digest": trial.digest,
        "labels": {**trial.labels, **missing},
        "overrides": list(trial.overrides),
        "recipe": trial.recipe or "",
        "base": trial.base,
        "suites": [dict(call) for call in suites],
    }


def _joined(before: Mapping[str, Any], now: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Axes with all values that they ever had."""
    found = {key: list(values) for key, values in before.items()}
    for key, values in now.items():
        known = found.setdefault(key, [])
        known += [value for value in values if value not in known]
    return found


def _joined_calls(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Suites that were asked before, then new ones; one that is asked otherwise now is asked so."""
    return list({call["name"]: call for call in (*before, *now)}.values())


def _completed(labels: Mapping[str, Any], axes: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Labels of an earlier trial, with its value of each axis that came later: that of its row, which had none."""
    found = dict(labels)
    row = next(iter(plan.bases.values()), {})
    for key in axes:
        if key not in found:
            found[key] = row.get(key)
    return found


def _refuse_other_base(plan: Plan, before: Mapping[str, Any], folder: Path) -> None:
    """Trials of one sweep differ in their axes only; a row that is new may be anything."""
    axes = [*before["axes"], *plan.axes]
    changed: dict[Problem, None] = {}
    for row, identity in plan.bases.items():
        if row not in before["bases"]:
            continue
        old, new = without(before["bases"][row], axes), without(identity, axes)
        label = f"{row}: " if row else ""
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                changed[Problem(f"{label}{key}: {old.get(key)!r} → {new.get(key)!r}")] = None
    if changed:
        raise RefusedError(
            f"sweep {plan.name!r} was made with other settings",
            where=str(folder),
            hint="--name OTHER makes a second sweep, --fresh moves this one aside, "
            "KEY=OLD,NEW makes an axis of what differs, or take the changes back to continue it",
            problems=tuple(changed),
        )
