"""What may change on a run that exists: how far it goes, how it is evaluated, where it runs. Stdlib only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.errors import Problem, RefusedError, StageError
from codctl.files.seal import is_sealed, newest_sealed, read_info
from codctl.quantities import counted
from codctl.runs.layout import Layout

if TYPE_CHECKING:
    from codctl.config.schema import Config


def learned_steps(run: Path) -> int:
    """Rollout steps that the run has learned: those of its newest checkpoint or of its final model."""
    return max(_checkpoint(run), _final(run) or 0)


def final_step(final: Path) -> int | None:
    """Rollout steps of a final model; None when it is not there, or from a codctl that did not write this down."""
    try:
        found = read_info(final).get("step")
    except StageError:
        return None
    return found if isinstance(found, int) else None


def check_change(run: Path, old: Config, new: Config, *, extend: bool) -> None:
    """Refuse a config that the run cannot go on with.

    Args:
        run: The run's folder.
        old: Its frozen config.
        new: What is asked for now.
        extend: Whether the user accepts a jump of the learning rate.

    Raises:
        RefusedError: It changes what was learned; the problems name the keys, the hint the commands.
    """
    from codctl.config.freeze import changed_training

    if changed := changed_training(old, new):
        raise RefusedError(
            f"run {run.name!r} was made with other settings",
            where=str(run),
            hint=f"--name OTHER makes a second run, --fork {run.name} --name OTHER one that goes on from its newest "
            "checkpoint, --fresh moves this one aside, or take the changes back to continue it",
            problems=tuple(Problem(f"{key}: {was!r} → {now!r}") for key, (was, now) in changed.items()),
        )
    if old.train.steps != new.train.steps:
        _check_steps(run, old, new, extend=extend)


def _check_steps(run: Path, old: Config, new: Config, *, extend: bool) -> None:
    done, asked = learned_steps(run), new.train.steps
    if asked < done:
        raise RefusedError(
            f"run {run.name!r} has learned {counted(done, 'step')} already, train.steps={asked} is fewer",
            where=str(run),
            hint=f"train.steps={done} or more, or --name OTHER for a second run",
        )
    if asked > done and _checkpoint(run) < (_final(run) or 0):
        raise RefusedError(
            f"run {run.name!r} has no checkpoint of its last step {_final(run)} to go on from",
            where=str(run),
            hint="--name OTHER trains a second run from the start",
        )
    if done and not extend and (jump := _jump(old, new, done)):
        raise RefusedError(
            f"the learning rate depends on train.steps: {jump}",
            where=str(run),
            hint=f"add --extend to go on with that, or --name OTHER to train {counted(asked, 'step')} from the start",
        )


def _jump(old: Config, new: Config, done: int) -> str:
    """What more steps do to a learning rate that falls over the length of a run; empty when nothing."""
    from codctl.config.defaults import learning_rate

    before, after = (learning_rate(config.train, done) for config in (old, new))
    if before == after:
        return ""
    following = learning_rate(new.train, min(done + 1, new.train.steps))
    return (
        f"{new.train.lr_schedule} over {counted(old.train.steps, 'step')}, it was {before:.3g} at step {done}; "
        f"over {counted(new.train.steps, 'step')}, it goes on with {following:.3g}"
    )


def _checkpoint(run: Path) -> int:
    newest, _ = newest_sealed(Layout(run).checkpoints)
    number = re.search(r"\d+$", newest.name) if newest else None
    return int(number.group()) if number else 0


def _final(run: Path) -> int | None:
    """Steps of the final model; of one that does not say, those of the newest checkpoint."""
    final = Layout(run).final_model
    if not is_sealed(final):
        return None
    step = final_step(final)
    return _checkpoint(run) if step is None else step
