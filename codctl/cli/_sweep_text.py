"""A sweep in words: before it runs (its trials, how they stand, what would be submitted), and what it found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.cli import _output
from codctl.quantities import counted, difference, share, with_interval

if TYPE_CHECKING:
    from codctl.config.schema import Config
    from codctl.plan.plan import Plan as TrainingPlan
    from codctl.runs.eval_result import Estimate
    from codctl.sweeps.plan import Plan, Trial
    from codctl.sweeps.record import Record
    from codctl.sweeps.run import Limits
    from codctl.sweeps.study_result import Cell, StudyResult
    from codctl.sweeps.trials import TrialState


_SAID = {
    "complete": "complete",
    "run": "to run",
    "in_progress": "running elsewhere or queued",
    "failed": "failed earlier (--retry-failed runs them again)",
}


def say_counts(name: str, states: Sequence[TrialState], *, kept: int, repeated: int = 0) -> None:
    """Say on stderr how the trials of a command stand.

    Args:
        name: Of the sweep.
        states: Of its trials.
        kept: Trials of earlier commands.
        repeated: Combinations that were left out.
    """
    counts = {verdict: sum(1 for one in states if one.verdict == verdict) for verdict in _SAID}
    parts = [f"{number} {_SAID[verdict]}" for verdict, number in counts.items() if number]
    _output.talk(f"sweep {name}: {counted(len(states), 'trial')}: {', '.join(parts) or 'none'}")
    if repeated:
        _output.talk(f"  {counted(repeated, 'repeated combination')} left out")
    if kept:
        _output.talk(f"  {kept} earlier trials of this sweep are not part of this command and stay as they are")


def show(
    plan: Plan,
    runs_dir: Path,
    command: Sequence[str],
    *,
    where: str | None,
    limits: Limits,
    fresh: bool,
    retry_failed: bool,
    as_json: bool,
) -> None:
    """Print the trials, what is left to do, and what sbatch would get. Writes nothing.

    Args:
        plan: What was asked.
        runs_dir: The runs folder.
        command: As typed.
        where: The launcher that would get it; None when it would run here.
        limits: How wide it would run there.
        fresh: Whether an earlier sweep would be moved aside.
        retry_failed: Whether failed trials would run again.
        as_json: Print one JSON object.
    """
    from codctl.jobs.jobs import Jobs
    from codctl.runs.directory import TRIALS
    from codctl.sweeps import record as records
    from codctl.sweeps import run as sweep_run
    from codctl.sweeps.trials import states_of

    folder = records.folder_of(runs_dir, plan.name)
    record = records.reconcile(plan, folder.with_name(f".{plan.name}.fresh") if fresh else folder, command)
    states = states_of(record.folder, record.entries, Jobs(), retry_failed=retry_failed)
    refused = _refusal(record.asked, here=where in (None, "local"))
    shown = [one.as_dict() for one in states]
    value: dict[str, Any] = {"sweep": str(folder), "plan": record.content, "states": shown}
    text = [_plan_table(plan, record, states), *_suite_lines(record)]
    todo = {one.name for one in states if one.verdict == "run"}
    if needs := _needs([trial.config for trial in record.asked if trial.name in todo]):
        value["needs"] = needs
        text.append(_needs_text(needs))
    if refused is not None:
        value["preflight"] = refused
    if where not in (None, "local"):
        clusters = sweep_run.by_shape(
            (trial.config.cluster, folder / TRIALS / trial.name) for trial in record.asked if trial.name in todo
        )
        scripts = sweep_run.scripts(where, folder, clusters, limits, runs_dir)
        value["sbatch" if where == "slurm" else "scripts"] = scripts
        text += scripts
    say_counts(plan.name, states, kept=record.kept, repeated=plan.repeated)
    if refused is not None:
        _output.talk(f"this sweep would be refused: {refused['message']}")
        _output.talk(f"  → {refused['hint']}" if refused["hint"] else "")
    _output.result("sweep", value, "\n\n".join(text), as_json=as_json)


def _needs(configs: Sequence[Config]) -> dict[str, Any] | None:
    """Time, memory and disk of these trainings, as `codctl train --dry-run` plans each; None where it cannot."""
    from codctl.errors import CodctlError
    from codctl.plan.plan import make_plan

    plans: dict[str, TrainingPlan] = {}
    found = []
    try:
        for config in configs:
            alike = config.model_copy(update={"name": "trial", "description": "", "seed": 0})  # these do not matter
            key = alike.model_dump_json()
            if key not in plans:
                plans[key] = make_plan(alike)
            found.append(plans[key])
    except CodctlError:
        return None  # `_refusal` says why
    if not found:
        return None
    return {
        "trainings": len(found),
        "hours": sum(plan.total_hours for plan in found),
        "memory": max(device.need for plan in found for device in plan.layout.devices),
        "disk": sum(plan.disk for plan in found),
    }


def _needs_text(needs: dict[str, Any]) -> str:
    from codctl.cli._plan_text import duration, size

    number = needs["trainings"]
    return (
        f"{number} {'training' if number == 1 else 'trainings'} to run: about {duration(needs['hours'])} one after the "
        f"other without suites, {size(needs['memory'])} of memory each at most, {size(needs['disk'])} of disk in all"
    )


def _refusal(trials: Sequence[Trial], *, here: bool) -> dict[str, str] | None:
    """What running these trials would be refused for."""
    from codctl.errors import CodctlError
    from codctl.sweeps import prepare

    try:
        prepare.preflight_trials(trials, here=here)
    except CodctlError as error:
        return {"kind": error.kind, "message": error.message, "where": error.where, "hint": error.hint}
    return None


def _plan_table(plan: Plan, record: Record, states: Sequence[TrialState]) -> str:
    keys = list(dict.fromkeys(key for trial in record.asked for key in trial.labels))
    rows = [
        [trial.name, *(_output.compact(trial.labels.get(key)).strip('"') for key in keys), trial.digest, _state(one)]
        for trial, one in zip(record.asked, states, strict=True)
    ]
    return _output.table(["trial", *keys, "digest", "state"], rows)


def _state(one: TrialState) -> str:
    missing = f", missing {', '.join(one.missing_suites)}" if one.missing_suites and one.status == "finished" else ""
    then = {"run": " → run", "failed": " (--retry-failed)"}.get(one.verdict, "")
    return f"{'complete' if one.verdict == 'complete' else one.status}{missing}{then}"


def _suite_lines(record: Record) -> list[str]:
    if not record.calls:
        return []
    rows = [[call["name"], Path(call["suite"]).name, " ".join(call["overrides"])] for call in record.calls]
    return [_output.table(["evaluation", "suite", "with"], rows)]


_MOST_ROWS, _MOST_INCOMPLETE = 60, 10


def results_text(result: StudyResult) -> str:
    """Everything that a person wants to know at once, and where the rest lies."""
    parts = [result.headline, _incomplete(result), _cells(result), "\n".join(result.ablations.said)]
    return "\n\n".join(filter(None, [*parts, _foot(result)]))


def _incomplete(result: StudyResult) -> str:
    """The loud part. Trials that wait for the same command share it."""
    found = result.incomplete
    if not found:
        return ""
    lines = [f"INCOMPLETE: {len(found)} of {counted(len(result.trials), 'trial')}; results that need them are left out"]
    for one in found[:_MOST_INCOMPLETE]:
        why = "; ".join(filter(None, (*one.missing, one.message)))
        lines.append(f"  {one.trial}: {one.status}{f' ({why})' if why else ''}")
    if len(found) > _MOST_INCOMPLETE:
        lines.append(f"  and {len(found) - _MOST_INCOMPLETE} more")
    return "\n".join(lines + [f"  → {hint}" for hint in dict.fromkeys(one.hint for one in found)][:12])


def _cells(result: StudyResult) -> str:
    cells = [cell for cell in result.cells if cell.state != "absent"]
    if not cells:
        return ""
    has_lead, is_graded = any(cell.own_less_none for cell in cells), any(cell.graded for cell in cells)
    headers = ["trained" if result.is_matrix else "setting", "evaluation", "seeds", "first", "last", "gain"]
    headers += ["own less none"] if has_lead else []
    headers += ["share, last"] if is_graded else []
    rows = [_row(cell, has_lead=has_lead, is_graded=is_graded) for cell in cells[:_MOST_ROWS]]
    shown = _output.table(headers, rows)
    more = len(cells) - len(rows)
    return f"{shown}\n… {more} more: table.csv" if more else shown


def _row(cell: Cell, *, has_lead: bool, is_graded: bool) -> list[str]:
    head = [cell.setting, cell.evaluation, f"{len(cell.seeds)}/{cell.of}"]
    if cell.state != "complete":
        why = "incomplete" if cell.state == "incomplete" else "seeds differ"
        return [*head, why, "", "", *[""] * (has_lead + is_graded)]
    own = cell.arms.get("own", ())
    first, last = (share(own[0].mean), with_interval(own[-1])) if own else ("–", "–")
    more = [_change(cell.own_less_none)] if has_lead else []
    if is_graded:
        told = cell.graded.share.get("own") if cell.graded else None
        more.append(with_interval(told[-1]) if told else "–")
    return [*head, first, last, _change(cell.gain.get("own")), *more]


def _change(estimate: Estimate | None) -> str:
    return "–" if estimate is None else with_interval(estimate, difference)


def _foot(result: StudyResult) -> str:
    return f"page     {result.folder}/report.html\nnumbers  {result.folder}/table.csv, {result.folder}/result.json"
