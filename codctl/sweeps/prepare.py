"""A sweep before its trials run: what is checked first, its lock, and the run directories of the trials."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.config.schema import Config
from codctl.errors import RefusedError, UsageError
from codctl.files import lock
from codctl.jobs.jobs import Jobs
from codctl.pipeline.trial import write_trial
from codctl.quantities import counted
from codctl.runs import directory, stop
from codctl.runs.directory import TRIALS, RunDirectory
from codctl.sweeps import record as records
from codctl.sweeps.plan import Plan, Trial
from codctl.sweeps.record import Record
from codctl.sweeps.suites import keep_suites
from codctl.sweeps.trials import in_progress, why_unusable

if TYPE_CHECKING:
    from codctl.files.records import SweepTrial

_SAY_EVERY = 100
_SIZES = ("packs", "rollouts", "micro_batch_tokens", "logprob_chunk", "activation_checkpointing", "strategy", "enabled")


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
    parts = [
        tree[name] for name in ("world", "model", "context", "sampling", "warm_start", "distill", "engine", "cluster")
    ]
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
    """Rename a sweep that is not in progress, so that its name is free.

    Raises:
        RefusedError: Its launcher or a trial of it is alive.
    """
    if not (folder / "sweep.json").exists():
        return
    try:
        content = directory.read_sweep(folder)
        paths = [folder / TRIALS / entry["name"] for entry in content["trials"]] if content else []
    except UsageError:  # it is damaged, which is a reason to move it
        paths = [run.path for run in directory.trials_of(folder)]
    refuse_if_in_use(folder)
    alive = in_progress(paths, Jobs())
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
        say: Shows progress when there are many.

    Raises:
        RefusedError, PreflightError: As for a run's directory.
    """
    stop.clear(record.folder)
    records.write(record)
    keep_suites(record.folder, plan.suites)
    wanted = set(todo)
    runs: list[RunDirectory] = []
    for trial, entry in zip(record.asked, record.entries, strict=True):
        if trial.name not in wanted:
            continue
        runs.append(_directory(trial, entry, record, runs_dir, command))
        if len(runs) % _SAY_EVERY == 0:
            say(f"{len(runs)} of {len(wanted)} run directories")
    if runs:
        os.sync()  # one for all that was written
    return runs


def _directory(trial: Trial, entry: SweepTrial, record: Record, runs_dir: Path, command: Sequence[str]) -> RunDirectory:
    path = record.run(trial.name)
    if why_unusable(path):
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
    write_trial(run.path, trial.labels, entry["suites"])
    return run
