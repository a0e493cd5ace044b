"""Trials of a sweep before they are sent: how each stands, what is left to do, and the run directories for it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from codctl.config.schema import Config
from codctl.errors import RefusedError, UsageError
from codctl.files import lock
from codctl.jobs.jobs import Jobs
from codctl.jobs.status import ALIVE, RunStatus, ask_launchers, read_status
from codctl.pipeline.trial import missing_suites, write_trial
from codctl.quantities import counted
from codctl.runs import directory, stop
from codctl.runs.directory import TRIALS, RunDirectory
from codctl.sweeps import record as records
from codctl.sweeps.plan import Plan, Trial
from codctl.sweeps.record import Record
from codctl.sweeps.suites import keep_suites

Verdict = Literal["complete", "run", "alive", "failed"]
_WRONG = ("failed", "died", "unreadable")
_SAY_EVERY = 100
_SIZES = ("packs", "rollouts", "micro_batch_tokens", "logprob_chunk", "activation_checkpointing", "strategy", "enabled")


@dataclass(frozen=True)
class Standing:
    """One trial and what a command does with it.

    Attributes:
        name: Of the trial.
        status: Of its run.
        lacks: Suites that it still owes.
        message: What is wrong with it.
        verdict: complete (nothing to do), run, alive (somebody works on it), failed (waits for --retry-failed).
    """

    name: str
    status: str
    lacks: tuple[str, ...]
    message: str
    verdict: Verdict


def stand(
    folder: Path,
    trials: Sequence[tuple[str, Sequence[Mapping[str, Any]]]],
    jobs: Jobs,
    *,
    retry_failed: bool,
    makes_anew: bool = True,
) -> list[Standing]:
    """How trials stand.

    Args:
        folder: Of the sweep.
        trials: Names, and the suites that each is to play.
        jobs: The scheduler.
        retry_failed: Whether failed ones are run again.
        makes_anew: Whether the caller can make the directory of a damaged one again; otherwise it is left out.
    """
    seen = [read_status(folder / TRIALS / name, f"{folder.name}/{name}") for name, _ in trials]
    ask_launchers(seen, jobs)
    found = []
    for one, (name, suites) in zip(seen, trials, strict=True):
        lacks = tuple(missing_suites(one.path, suites)) if suites else ()
        message = one.note or str(one.record.get("message") or "")
        verdict = _verdict(one, lacks, retry_failed=retry_failed, makes_anew=makes_anew)
        if verdict == "run" and (problem := _why_unusable(one.path)):
            one.status, message = "unreadable", problem
            verdict = _verdict(one, lacks, retry_failed=retry_failed, makes_anew=makes_anew)
        found.append(Standing(name, one.status, lacks, message, verdict))
    return found


def _why_unusable(path: Path) -> str:
    """What is wrong with a trial's directory; empty when it can be run, and when it has not been made."""
    try:
        if path.is_dir() and any(path.iterdir()):
            RunDirectory.open(path).config()
    except (UsageError, OSError) as error:
        return error.message if isinstance(error, UsageError) else str(error)
    return ""


def _verdict(seen: RunStatus, lacks: Sequence[str], *, retry_failed: bool, makes_anew: bool) -> Verdict:
    if seen.status == "finished":
        return "run" if lacks else "complete"
    if seen.status == "running" or (seen.status in ALIVE and seen.jobs):
        return "alive"
    if seen.status == "unreadable":
        return "run" if retry_failed and makes_anew else "failed"
    never_began = seen.status == "died" and not seen.record  # its job was lost in the queue
    if seen.status in _WRONG and not never_began and not retry_failed:
        return "failed"
    return "run"


def preflight_trials(trials: Sequence[Trial], *, here: bool) -> None:
    """Check everything that can be known to be wrong with these trials, each kind of trial once.

    Args:
        trials: To be run.
        here: Whether on this machine.

    Raises:
        UsageError, PreflightError: As `codctl train`.
    """
    from codctl.train.preflight import preflight, preflight_elsewhere

    alike = {_preflight_key(trial.config): trial.config for trial in trials}
    for config in alike.values():
        preflight(config) if here else preflight_elsewhere(config)


def _preflight_key(config: Config) -> str:
    tree = config.model_dump(mode="json")
    parts = [tree[name] for name in ("world", "model", "context", "sampling", "warm_start", "engine", "cluster")]
    train = [tree["train"][name] for name in _SIZES]
    return json.dumps([*parts, train, tree["runtime"]["max_batch"], tree["evaluation"]["arms"]])


def refuse_if_in_use(folder: Path) -> None:
    """Raise RefusedError when a live launcher works on the sweep."""
    if lock.is_locked(folder / "lock"):
        held = lock.in_use(folder / "lock")
        raise RefusedError(
            held.message.replace("the run", f"sweep {folder.name!r}", 1),
            where=str(folder),
            hint=f"codctl status {folder.name} shows it; --name OTHER starts a second sweep",
        )


def locked(folder: Path) -> lock.RunLock:
    """The lock of a sweep's launcher.

    Raises:
        RefusedError: Another process launches it.
    """
    refuse_if_in_use(folder)
    return lock.RunLock(folder / "lock")


def move_aside(folder: Path) -> None:
    """Rename a sweep that nobody works on, so that its name is free.

    Raises:
        RefusedError: Its launcher or a trial of it is alive.
    """
    if not (folder / "sweep.json").exists():
        return
    try:
        content = directory.read_sweep(folder)
        names = [entry["name"] for entry in content["trials"]] if content else []
    except UsageError:  # it is damaged, which is a reason to move it
        names = [run.name for run in directory.trials_of(folder)]
    refuse_if_in_use(folder)
    standings = stand(folder, [(name, ()) for name in names], Jobs(), retry_failed=False)
    alive = [one.name for one in standings if one.verdict == "alive"]
    if alive:
        raise RefusedError(
            f"sweep {folder.name!r} has {counted(len(alive), 'trial')} running or queued: {', '.join(alive[:3])}",
            where=str(folder),
            hint=f"codctl cancel {folder.name}, or --name OTHER for a second sweep",
        )
    directory.move_aside(folder)


def prepare(
    plan: Plan, record: Record, todo: Sequence[str], runs_dir: Path, command: Sequence[str], say: Callable[[str], None]
) -> list[RunDirectory]:
    """Write the plan, then everything that the trials need to run without it. The caller holds the sweep's lock.

    Args:
        plan: What was asked.
        record: What it means for the sweep.
        todo: Names of the trials that will run.
        runs_dir: The runs folder.
        command: As typed.
        say: Told how far it is, when there are many.

    Raises:
        RefusedError, PreflightError: As for a run's directory.
    """
    stop.clear(record.folder)
    records.write(record)
    keep_suites(record.folder, plan.suites)
    wanted = set(todo)
    runs: list[RunDirectory] = []
    for trial in (trial for trial in record.asked if trial.name in wanted):
        runs.append(_directory(trial, record, runs_dir, command))
        if len(runs) % _SAY_EVERY == 0:
            say(f"{len(runs)} of {len(wanted)} run directories")
    if runs:
        os.sync()  # one for all that was written
    return runs


def _directory(trial: Trial, record: Record, runs_dir: Path, command: Sequence[str]) -> RunDirectory:
    path = record.run(trial.name)
    if _why_unusable(path):
        directory.move_aside(path)
    run = RunDirectory.create_or_continue(
        runs_dir,
        trial.config,
        recipe=trial.recipe or str(record.content["source"]),
        command=trial.command() or command,
        sweep=record.folder,
        durable=False,
    )
    run.store_config()
    run.clear_stop()
    write_trial(run.path, trial.labels, records.suites_of(record, trial))
    return run
