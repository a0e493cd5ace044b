"""Sums up a sweep or study: result.json, table.csv and report.html in its folder, from whatever is there.

Shape suffixes: J sampling seeds, P packs, S positions.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from codctl import __version__
from codctl.errors import UsageError
from codctl.files.atomic import write_json, write_text
from codctl.jobs.jobs import Jobs
from codctl.jobs.status import WRONG
from codctl.results.rows import ROWS, read_rows
from codctl.runs.eval_result import PartResult
from codctl.sweeps import findings, numbers, record
from codctl.sweeps.numbers import Played
from codctl.sweeps.page import render
from codctl.sweeps.trials import IN_RUN, TrialState, read_result, states_of

SEED, ABLATION = "seed", "ablation"
Key = tuple[str, str]  # setting, evaluation

_COLUMNS = ("arm", "seed", "number", "position", "success")


@dataclass
class Setting:
    """Trials that differ in their training seed only."""

    title: str
    labels: dict[str, Any]
    trials: list[TrialState] = field(default_factory=list)

    @property
    def group(self) -> str:
        """What it has in common with its ablations."""
        return str({key: value for key, value in self.labels.items() if key != ABLATION})


def sum_up(sweep: Path, jobs: Jobs | None = None) -> dict[str, Any]:
    """Write what a sweep found so far, and return it. Nothing that is incomplete is averaged over.

    Args:
        sweep: Its folder, with sweep.json and trials/.
        jobs: The scheduler, where it was asked before.

    Raises:
        UsageError: There is no plan, or it cannot be read.
        StageError: The files cannot be written.
    """
    plan = record.read(sweep)
    trials = states_of(sweep, plan["trials"], jobs or Jobs())
    found = _Numbers(has_suites=any(trial.suites for trial in trials))
    for group in _groups(_settings(trials)):
        found.add_group(group)
    result = _result(sweep, plan, trials, found)
    write_text(sweep / "table.csv", _csv(trials, found.lines))
    write_text(sweep / "report.html", render(result))
    write_json(sweep / "result.json", result)
    return result


class _Numbers:
    """Cells, differences between ablations, and lines of the table; pack by pack only for one group at a time."""

    def __init__(self, *, has_suites: bool) -> None:
        self.has_suites = has_suites
        self.settings: list[Setting] = []
        self.evaluations: dict[str, dict[str, Any]] = {}
        self.cells: dict[Key, dict[str, Any]] = {}
        self.differences: list[dict[str, Any]] = []
        self.lines: list[dict[str, Any]] = []

    def add_group(self, group: Sequence[Setting]) -> None:
        """Settings that are ablations of each other."""
        rows: dict[str, dict[str, list[numbers.Played]]] = {}
        for setting in group:
            self.settings.append(setting)
            trained = (
                next(filter(None, (trial.trained_worlds() for trial in setting.trials)), []) if self.has_suites else []
            )
            sources = dict.fromkeys(name for t in setting.trials for name in (t.suites or t.evaluations))
            for source in sources:
                kept = self._add(setting, source, trained)
                rows.setdefault(setting.title, {}).update(kept)
        first = group[0]
        for other in group[1:]:
            self._compare(first, other, rows)

    def in_order(self) -> list[dict[str, Any]]:
        """A cell for each setting and evaluation, also where there is nothing."""
        for source in self._sources():
            if not any(one["source"] == source for one in self.evaluations.values()):
                self.evaluations[source] = _evaluation(source, source)
        return [self._cell(setting, key) for setting in self.settings for key in self.evaluations]

    def _sources(self) -> list[str]:
        """What was to be played: suites, or the evaluation that a run ends with."""
        suites = dict.fromkeys(name for one in self.settings for trial in one.trials for name in trial.suites)
        return list(suites) if self.has_suites else [] if self.evaluations else ["after"]

    def _add(self, setting: Setting, source: str, trained: list[tuple[str, str]]) -> dict[str, list[numbers.Played]]:
        """All evaluations of one suite (or of the runs themselves) for one setting."""
        here = [(trial, trial.evaluations[source]) for trial in setting.trials if source in trial.evaluations]
        parts = [(trial, folder, name, part) for trial, folder in here for name, part in _parts(source, folder)]
        rows: dict[str, list[numbers.Played]] = {}
        for key in dict.fromkeys(name for _, _, name, _ in parts):
            mine = [(trial, folder, part) for trial, folder, name, part in parts if name == key]
            self.evaluations.setdefault(key, _evaluation(source, key, mine[0][2]))
            self.lines += [line for trial, _, part in mine for line in _lines(trial, key, part)]
            found: dict[str, Any] = _count(setting, [trial for trial, _, _ in mine])
            found["relation"] = findings.relation(mine[0][2], trained)
            if found["state"] == "complete" and not numbers.is_alike([part for _, _, part in mine]):
                found["state"] = "unequal"
            if found["state"] == "complete":
                rows[key] = [played(folder, part) for _, folder, part in mine]
                found |= numbers.cell(rows[key])
            self.cells[setting.title, key] = found
        return rows

    def _compare(self, first: Setting, other: Setting, rows: Mapping[str, Mapping[str, list[numbers.Played]]]) -> None:
        ours, theirs = rows.get(first.title, {}), rows.get(other.title, {})
        if [trial.labels.get(SEED) for trial in first.trials] != [trial.labels.get(SEED) for trial in other.trials]:
            return
        for key in (key for key in ours if key in theirs):
            if (found := numbers.difference(ours[key], theirs[key])) is not None:
                about = {"ours": str(first.labels[ABLATION]), "theirs": str(other.labels[ABLATION])}
                self.differences.append({"setting": first.title, "evaluation": key, **about, **found})

    def _cell(self, setting: Setting, key: str) -> dict[str, Any]:
        found = self.cells.get((setting.title, key))
        if found is None:  # without any result of a suite its worlds are not known
            source = self.evaluations[key]["source"]
            is_wanted = not self.has_suites or any(source in trial.suites for trial in setting.trials)
            is_played = any(
                source in trial.evaluations if self.has_suites else trial.evaluations for trial in setting.trials
            )
            found = _count(setting, []) if is_wanted and not is_played else {"state": "absent"}
        return {"setting": setting.title, "evaluation": key, **found}


def _settings(trials: Sequence[TrialState]) -> list[Setting]:
    """Trials by everything but their seed, in the plan's order, titled by what differs between them."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial.labels if key != SEED))
    differing = [key for key in keys if len({_text(trial.labels.get(key)) for trial in trials}) > 1] or keys
    found: dict[str, Setting] = {}
    for trial in trials:
        labels = {key: value for key, value in trial.labels.items() if key != SEED}
        setting = found.setdefault(str(labels), Setting(_title(labels, differing), labels))
        setting.trials.append(trial)
    return list(found.values())


def _groups(settings: Iterable[Setting]) -> list[list[Setting]]:
    found: dict[str, list[Setting]] = {}
    for setting in settings:
        found.setdefault(setting.group, []).append(setting)
    return list(found.values())


def _title(labels: Mapping[str, Any], differing: Sequence[str]) -> str:
    shown = {key: _text(labels[key]) for key in differing if key in labels}
    is_study = {"train", ABLATION} & set(labels)
    return ", ".join(shown.values() if is_study else (f"{key}={value}" for key, value in shown.items())) or "all"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value).replace("'", "")


def _parts(source: str, folder: Path) -> list[tuple[str, PartResult]]:
    """The evaluations of a result with their keys; that of the run itself needs no name unless it has several."""
    result = read_result(folder)
    parts = result.parts if result else ()
    if source == IN_RUN:
        return [(f"{source}-{part.family}" if len(parts) > 1 else source, part) for part in parts]
    return [(f"{source}/{part.name}", part) for part in parts]


def _count(setting: Setting, there: Sequence[TrialState]) -> dict[str, Any]:
    names = {trial.name for trial in there}
    lacking = [trial.name for trial in setting.trials if trial.name not in names]
    seeds = [trial.labels.get(SEED) for trial in there]
    state = "incomplete" if lacking else "complete"
    return {"state": state, "seeds": seeds, "of": len(setting.trials), "incomplete_trials": lacking}


def _evaluation(source: str, key: str, part: PartResult | None = None) -> dict[str, Any]:
    keys = ("family", "preset", "variant", "strategy", "packs", "length")
    entry = key.split("/")[1] if key.count("/") > 1 else ""
    return {"key": key, "source": source, "entry": entry, **{name: getattr(part, name, None) for name in keys}}


def _lines(trial: TrialState, key: str, part: PartResult) -> list[dict[str, Any]]:
    """Raw success of one trained model: a line for each arm, reference and position."""
    curves = {arm: curves.success for arm, curves in part.arms.items()} | part.ceiling_curves
    about = {"trial": trial.name, **trial.labels, "status": trial.status, "evaluation": key}
    return [
        {**about, "arm": arm, "position": p.position, "success": round(p.mean, 6), "packs": part.packs}
        for arm, curve in curves.items()
        for p in curve
    ]


def _csv(trials: Sequence[TrialState], lines: Sequence[Mapping[str, Any]]) -> str:
    labels = list(dict.fromkeys(key for trial in trials for key in trial.labels))
    columns = ["trial", *labels, "status", "evaluation", "arm", "position", "success", "packs"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for trial in trials:
        if not trial.is_complete:
            said = "; ".join((trial.status, *trial.missing))
            writer.writerow({"trial": trial.name, **trial.labels, "status": f"INCOMPLETE: {said}"})
    writer.writerows(lines)
    return text.getvalue()


def _result(sweep: Path, plan: Mapping[str, Any], trials: Sequence[TrialState], found: _Numbers) -> dict[str, Any]:
    cells = found.in_order()
    incomplete = [trial for trial in trials if not trial.is_complete]
    main = [cell for cell in cells if cell["setting"] in _main(found.settings)]
    answers = findings.answers(main)
    say = findings.headline_of_sweep
    headline = (
        findings.headline(answers, len(incomplete), len(trials))
        if found.has_suites
        else say(cells, len(incomplete), len(trials))
    )
    return {
        "schema": 1,
        "name": plan["name"],
        "kind": plan.get("kind", "sweep"),
        "source": plan.get("source", ""),
        "command": _command(plan),
        "folder": str(sweep),
        "codctl_version": __version__,
        "headline": headline,
        "has_suites": found.has_suites,
        "complete": not incomplete,
        "trials_complete": len(trials) - len(incomplete),
        "incomplete": [_incomplete(trial, plan) for trial in incomplete],
        "answers": answers,
        "ablations": {"said": findings.ablation_said(found.differences), "differences": found.differences},
        "settings": [{"title": one.title, "labels": one.labels} for one in found.settings],
        "main": _main(found.settings),
        "evaluations": list(found.evaluations.values()),
        "cells": cells,
        "method": numbers.METHOD,
        "trials": [_trial(trial) for trial in trials],
    }


def _main(settings: Sequence[Setting]) -> list[str]:
    """Titles of the settings that the study is about: those of its first ablation."""
    first = next((one.labels[ABLATION] for one in settings if ABLATION in one.labels), None)
    return [one.title for one in settings if one.labels.get(ABLATION) == first]


def _trial(trial: TrialState) -> dict[str, Any]:
    return {
        "name": trial.name,
        "labels": dict(trial.labels),
        "status": trial.status,
        "is_complete": trial.is_complete,
        "digest": trial.entry["digest"],
        "attempts": len(trial.attempts),
        "seconds": round(sum(attempt.get("seconds") or 0.0 for attempt in trial.attempts), 1),
        "command": trial.command,
    }


def _incomplete(trial: TrialState, plan: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "trial": trial.name,
        "labels": dict(trial.labels),
        "status": trial.status,
        "missing": list(trial.missing),
        "message": trial.message,
        "hint": _hint(trial, plan),
    }


def _hint(trial: TrialState, plan: Mapping[str, Any]) -> str:
    """What to type."""
    name, command = f"{plan['name']}/{trial.name}", _command(plan)
    if trial.status in ("running", "queued"):
        return f"codctl status {name}"
    if trial.status in WRONG:
        return command if "--retry-failed" in command else f"{command} --retry-failed"
    return command


def _command(plan: Mapping[str, Any]) -> str:
    command = plan.get("command", "")
    return command if isinstance(command, str) else shlex.join(command)


def played(folder: Path, part: PartResult) -> Played:
    """Read one part of a suite, and no other, into memory.

    Args:
        folder: Of the suite's result.
        part: Of its result.json.

    Raises:
        UsageError: They cannot be read.
    """
    table = read_rows(folder, part.name, _COLUMNS)
    rows = {name: table[name].to_numpy() for name in _COLUMNS}
    found = {}
    for arm in (*part.arms, *part.ceiling_curves):
        chosen = rows["arm"] == arm
        seeds, layer = np.unique(rows["seed"][chosen], return_inverse=True)
        column = np.searchsorted(part.positions, rows["position"][chosen])
        success_JPS = np.full((len(seeds), part.packs, len(part.positions)), np.nan)
        try:
            success_JPS[layer, rows["number"][chosen], column] = rows["success"][chosen]
        except IndexError:
            raise UsageError("its rows are not those of its result", where=str(folder / ROWS)) from None
        found[arm] = success_JPS
    return Played(part, found)
