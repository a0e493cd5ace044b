"""Sums up a sweep or study: result.json, table.csv and report.html in its folder, from whatever is there.

Shape suffixes: J sampling seeds, P packs, S positions.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codctl import __version__
from codctl.errors import UsageError
from codctl.files.atomic import write_text
from codctl.jobs.jobs import Jobs
from codctl.jobs.status import WRONG
from codctl.results.rows import ROWS, read_rows
from codctl.runs.eval_result import PartResult
from codctl.sweeps import findings, record, study_result
from codctl.sweeps.numbers import METHOD, Played, difference, is_alike, numbers
from codctl.sweeps.page import render
from codctl.sweeps.study_result import (
    Ablations,
    Cell,
    Difference,
    Evaluation,
    IncompleteTrial,
    SettingInfo,
    StudyResult,
    TrialInfo,
)
from codctl.sweeps.trials import IN_RUN, TrialState, read_result, states_of

if TYPE_CHECKING:
    from codctl.files.records import Sweep

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

    @property
    def sources(self) -> list[str]:
        """What its trials are to play."""
        return list(dict.fromkeys(name for trial in self.trials for name in _sources(trial)))

    def trained_worlds(self) -> list[tuple[str, str]]:
        """What suites are compared with; nothing where only the evaluation after the training counts."""
        if not any(trial.suites for trial in self.trials):
            return []
        return next(filter(None, (trial.trained_worlds() for trial in self.trials)), [])


def _sources(trial: TrialState) -> tuple[str, ...]:
    return trial.suites or (IN_RUN,)


def sum_up(sweep: Path, jobs: Jobs | None = None) -> StudyResult:
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
    found = _Numbers()
    for group in _groups(_settings(trials)):
        found.add_group(group)
    result = _result(sweep, plan, trials, found)
    write_text(sweep / "table.csv", _csv(trials, found.lines))
    write_text(sweep / "report.html", render(result))
    study_result.write(sweep, result)
    return result


class _Numbers:
    """Cells, differences between ablations, and lines of the table; pack by pack only for one group at a time."""

    def __init__(self) -> None:
        self.settings: list[Setting] = []
        self.evaluations: dict[str, Evaluation] = {}
        self.cells: dict[Key, Cell] = {}
        self.differences: list[Difference] = []
        self.lines: list[dict[str, Any]] = []

    def add_group(self, group: Sequence[Setting]) -> None:
        """Settings that are ablations of each other."""
        rows: dict[str, dict[str, list[Played]]] = {}
        for setting in group:
            self.settings.append(setting)
            trained = setting.trained_worlds()
            for source in setting.sources:
                kept = self._add(setting, source, trained)
                rows.setdefault(setting.title, {}).update(kept)
        first = group[0]
        for other in group[1:]:
            self._compare(first, other, rows)

    def in_order(self) -> tuple[Cell, ...]:
        """A cell for each setting and evaluation, also where there is nothing."""
        for source in dict.fromkeys(name for setting in self.settings for name in setting.sources):
            if not any(one.source == source for one in self.evaluations.values()):
                self.evaluations[source] = _evaluation(source, source)
        return tuple(self._cell(setting, key) for setting in self.settings for key in self.evaluations)

    def _add(self, setting: Setting, source: str, trained: list[tuple[str, str]]) -> dict[str, list[Played]]:
        """All evaluations of one suite (or of the runs themselves) for one setting."""
        here = [(trial, trial.evaluations[source]) for trial in setting.trials if source in trial.evaluations]
        parts = [(trial, folder, name, part) for trial, folder in here for name, part in _parts(source, folder)]
        rows: dict[str, list[Played]] = {}
        for key in dict.fromkeys(name for _, _, name, _ in parts):
            mine = [(trial, folder, part) for trial, folder, name, part in parts if name == key]
            self.evaluations.setdefault(key, _evaluation(source, key, mine[0][2]))
            self.lines += [line for trial, _, part in mine for line in _lines(trial, key, part)]
            found = _counts(setting, key, [trial for trial, _, _ in mine])
            found = replace(found, relation=findings.relation(mine[0][2], trained))
            if found.state == "complete" and not is_alike([part for _, _, part in mine]):
                found = replace(found, state="unequal")
            if found.state == "complete":
                rows[key] = [played(folder, part) for _, folder, part in mine]
                found = replace(found, **vars(numbers(rows[key])))
            self.cells[setting.title, key] = found
        return rows

    def _compare(self, first: Setting, other: Setting, rows: Mapping[str, Mapping[str, list[Played]]]) -> None:
        ours, theirs = rows.get(first.title, {}), rows.get(other.title, {})
        if [trial.labels.get(SEED) for trial in first.trials] != [trial.labels.get(SEED) for trial in other.trials]:
            return
        for key in (key for key in ours if key in theirs):
            if (found := difference(ours[key], theirs[key])) is None:
                continue
            self.differences.append(
                Difference(
                    setting=first.title,
                    evaluation=key,
                    ours=str(first.labels[ABLATION]),
                    theirs=str(other.labels[ABLATION]),
                    gain=found["gain"],
                    last=found["last"],
                )
            )

    def _cell(self, setting: Setting, key: str) -> Cell:
        if (found := self.cells.get((setting.title, key))) is not None:
            return found
        source = self.evaluations[key].source  # without any result of a suite its worlds are not known
        is_played = any(source in trial.evaluations for trial in setting.trials)
        if source in setting.sources and not is_played:
            return _counts(setting, key, [])
        return Cell(setting=setting.title, evaluation=key, state="absent")


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


def _counts(setting: Setting, key: str, there: Sequence[TrialState]) -> Cell:
    """The cell without its numbers."""
    names = {trial.name for trial in there}
    lacking = tuple(trial.name for trial in setting.trials if trial.name not in names)
    return Cell(
        setting=setting.title,
        evaluation=key,
        state="incomplete" if lacking else "complete",
        seeds=tuple(trial.labels.get(SEED) for trial in there),
        of=len(setting.trials),
        incomplete_trials=lacking,
    )


def _evaluation(source: str, key: str, part: PartResult | None = None) -> Evaluation:
    keys = ("family", "preset", "variant", "strategy", "packs", "length")
    entry = key.split("/")[1] if key.count("/") > 1 else ""
    return Evaluation(key=key, source=source, entry=entry, **{name: getattr(part, name, None) for name in keys})


def _lines(trial: TrialState, key: str, part: PartResult) -> list[dict[str, Any]]:
    """Success of one trained model, and rewards where graded: a line for each arm, reference and position."""
    curves = {arm: curves.success for arm, curves in part.arms.items()} | part.ceiling_curves
    graded = {"raw_reward": part.graded.raw_reward, "share": part.graded.share} if part.graded else {}
    about = {"trial": trial.name, **trial.labels, "status": trial.status, "evaluation": key}
    lines = []
    for arm in dict.fromkeys([*curves, *graded.get("raw_reward", ())]):
        told = {"success": curves.get(arm, ()), **{measure: found.get(arm, ()) for measure, found in graded.items()}}
        values = {measure: {p.position: round(p.mean, 6) for p in curve} for measure, curve in told.items()}
        for place in sorted({place for found in values.values() for place in found}):
            here = {measure: found[place] for measure, found in values.items() if place in found}
            lines.append({**about, "arm": arm, "position": place, **here, "packs": part.packs})
    return lines


def _csv(trials: Sequence[TrialState], lines: Sequence[Mapping[str, Any]]) -> str:
    labels = list(dict.fromkeys(key for trial in trials for key in trial.labels))
    measures = [
        name for name in ("success", "raw_reward", "share") if name == "success" or any(name in x for x in lines)
    ]
    columns = ["trial", *labels, "status", "evaluation", "arm", "position", *measures, "packs"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for trial in trials:
        if not trial.is_complete:
            said = "; ".join((trial.status, *trial.missing))
            writer.writerow({"trial": trial.name, **trial.labels, "status": f"INCOMPLETE: {said}"})
    writer.writerows(lines)
    return text.getvalue()


def _result(sweep: Path, plan: Sweep, trials: Sequence[TrialState], found: _Numbers) -> StudyResult:
    cells, main = found.in_order(), _main(found.settings)
    incomplete = [trial for trial in trials if not trial.is_complete]
    answers = findings.answers(cell for cell in cells if cell.setting in main)
    result = StudyResult(
        name=plan["name"],
        kind=plan.get("kind", "sweep"),
        source=plan.get("source") or "",
        command=_command(plan),
        folder=str(sweep),
        codctl_version=__version__,
        headline="",
        complete=not incomplete,
        trials_complete=len(trials) - len(incomplete),
        incomplete=tuple(_incomplete(trial, plan) for trial in incomplete),
        answers=answers,
        ablations=Ablations(findings.ablation_said(found.differences), tuple(found.differences)),
        settings=tuple(SettingInfo(one.title, one.labels) for one in found.settings),
        main=main,
        evaluations=tuple(found.evaluations.values()),
        cells=cells,
        method=METHOD,
        trials=tuple(map(_trial, trials)),
    )
    if result.is_matrix:
        return replace(result, headline=findings.headline(answers, len(incomplete), len(trials)))
    return replace(result, headline=findings.headline_of_sweep(cells, len(incomplete), len(trials)))


def _main(settings: Sequence[Setting]) -> tuple[str, ...]:
    """Titles of the settings that the study is about: those of its first ablation."""
    first = next((one.labels[ABLATION] for one in settings if ABLATION in one.labels), None)
    return tuple(one.title for one in settings if one.labels.get(ABLATION) == first)


def _trial(trial: TrialState) -> TrialInfo:
    return TrialInfo(
        name=trial.name,
        labels=dict(trial.labels),
        status=trial.status,
        is_complete=trial.is_complete,
        digest=trial.entry["digest"],
        attempts=len(trial.attempts),
        seconds=round(sum(attempt.get("seconds") or 0.0 for attempt in trial.attempts), 1),
        command=trial.command,
    )


def _incomplete(trial: TrialState, plan: Sweep) -> IncompleteTrial:
    return IncompleteTrial(
        trial=trial.name,
        labels=dict(trial.labels),
        status=trial.status,
        missing=trial.missing,
        message=trial.message,
        hint=_hint(trial, plan),
    )


def _hint(trial: TrialState, plan: Sweep) -> str:
    """What to type."""
    name, command = f"{plan['name']}/{trial.name}", _command(plan)
    if trial.status in ("running", "queued"):
        return f"codctl status {name}"
    if trial.status in WRONG:
        return command if "--retry-failed" in command else f"{command} --retry-failed"
    return command


def _command(plan: Sweep) -> str:
    return shlex.join(plan["command"])


def played(folder: Path, part: PartResult) -> Played:
    """Read one part of a suite, and no other, into memory.

    Args:
        folder: Of the suite's result.
        part: Of its result.json.

    Raises:
        UsageError: They cannot be read.
    """
    columns = (*_COLUMNS, "raw_reward") if part.graded else _COLUMNS
    table = read_rows(folder, part.name, columns)
    rows = {name: table[name].to_numpy() for name in columns}
    success = _tables(folder, part, rows, "success", (*part.arms, *part.ceiling_curves))
    return Played(
        part, success, _tables(folder, part, rows, "raw_reward", part.graded.raw_reward) if part.graded else {}
    )


def _tables(
    folder: Path, part: PartResult, rows: Mapping[str, Any], measure: str, arms: Iterable[str]
) -> dict[str, Any]:
    """One measure of each arm as sampling seeds × packs × positions."""
    found = {}
    for arm in arms:
        chosen = rows["arm"] == arm
        seeds, layer = np.unique(rows["seed"][chosen], return_inverse=True)
        column = np.searchsorted(part.positions, rows["position"][chosen])
        values_JPS = np.full((len(seeds), part.packs, len(part.positions)), np.nan)
        try:
            values_JPS[layer, rows["number"][chosen], column] = rows[measure][chosen]
        except IndexError:
            raise UsageError("its rows are not those of its result", where=str(folder / ROWS)) from None
        found[arm] = values_JPS
    return found
