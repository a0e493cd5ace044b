"""The command lines that are played on each hostile folder, for every command that takes a folder of runs."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

# RUN, SWEEP and EVALUATION stand for what was changed, or else for one that is whole. Those that write come last.
LINES: dict[str, tuple[str, ...]] = {
    "runs list": ("runs list --all --json", "runs list --all", "runs list --status finished"),
    "status": ("status --json", "status RUN SWEEP", "status"),
    "evals list": ("evals list", "evals list --run RUN --json"),
    "doctor": ("doctor",),
    "runs show": ("runs show RUN", "runs show RUN --json"),
    "logs": ("logs RUN", "logs RUN --json", "logs RUN --attempt 1"),
    "runs compare": ("runs compare RUN other", "runs compare other RUN --json"),
    "report": ("report RUN --out report.html",),
    "view": (
        "view RUN", "view RUN --json", "view RUN --source training --worst", "view RUN --hints 0",
        "view RUN --html view.html", "view EVALUATION --typical",
    ),
    "credit": ("credit RUN", "credit RUN --json"),
    "evals show": ("evals show EVALUATION", "evals show EVALUATION --json"),
    "evals compare": ("evals compare EVALUATION OTHER_EVALUATION --out compare.html",),
    "train": ("train micro.yaml --name RUN --dry-run", "train micro.yaml --fork RUN --name forked --dry-run"),
    "sweep": ("sweep micro.yaml seed=0 --name SWEEP --dry-run",),
    "env play": ("env play frozen_lake --preset tiny --length 2 --run RUN",),
    "env demonstrate": ("env demonstrate frozen_lake --run RUN --packs 1 --length 2 --best-of 1 --out demonstrations",),
    "sync": ("sync RUN --timeout 10", "sync SWEEP --timeout 10"),
    "eval": (
        "eval --run RUN --suite position-curve --limit 2 --json",
        "eval --run RUN --step warm-start --suite position-curve --limit 2",
    ),
    "cancel": ("cancel RUN --deadline 0", "cancel SWEEP --deadline 0"),
    "resume": ("resume RUN --local", "resume SWEEP --local", "resume RUN"),
    "deploy": ("deploy RUN --agent hermes --print", "deploy RUN --agent hermes --print --json"),
    "ralph": ("ralph RUN --agent hermes --prompt nowhere.md --verify true --max-iterations 1",),
    "context update": ("context update hints --trajectory RUN --run RUN",),
    "export trinity": ("export trinity RUN --out trinity",),
    "export atif": ("export atif RUN --out atif --limit 2", "export atif EVALUATION --out atif --json"),
    "push": ("push RUN lab/model --dry-run", "push RUN lab/model --dry-run --step 1"),
    "evals rm": ("evals rm EVALUATION --yes",),
    "runs clean": ("runs clean --checkpoints --old", "runs clean --old --yes"),
}  # fmt: skip


def reading() -> set[str]:
    """The commands that take a folder of runs; of those with two names, the one that help shows."""
    import typer

    from codctl.cli.main import app

    leaves = list(_leaves(typer.main.get_command(app), ()))
    shown = {command.callback.__wrapped__ for _, command in leaves if not command.hidden}
    return {
        name
        for name, command in leaves
        if any(param.name == "runs_dir" for param in command.params)
        and not (command.hidden and command.callback.__wrapped__ in shown)
    }


def lines(run: str, sweep: str, evaluation: str, other_evaluation: str, turn: int) -> Iterator[list[str]]:
    """Every command once; the forms of each take turns from folder to folder."""
    named = {"RUN": run, "SWEEP": sweep, "EVALUATION": evaluation, "OTHER_EVALUATION": other_evaluation}
    for forms in LINES.values():
        yield [named.get(word, word) for word in forms[turn % len(forms)].split()]


def complete(words: list[str]) -> list[str]:
    """What the Tab key offers after these words."""
    return [item.value for item in _completer().get_completions(words, "")]


@functools.cache
def _completer() -> Any:
    import typer
    from typer._completion_classes import BashComplete

    from codctl.cli.main import app

    return BashComplete(typer.main.get_command(app), {}, "codctl", "_CODCTL_COMPLETE")


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _leaves(inner, (*path, name))
    else:
        yield " ".join(path), command
