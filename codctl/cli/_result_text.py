"""What a training found, as `train` and `resume` print it when it is finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codctl import quantities
from codctl.cli import _output

_CEILINGS = {"informed": "ceiling: knows the world", "bayes": "ceiling: learns as well as possible"}


def text(result: Mapping[str, Any]) -> str:
    """Where the run lies, and success by position of every arm, under its ceilings."""
    lines = [f"run     {result['run']}", f"report  {result['report'] or '–'}"]
    if result.get("status") == "finished":
        lines.insert(0, f"{result['run']} is finished")
    tables = [
        "\n".join(
            [
                _table(_title(name, result["steps"].get(name)), arms, result["ceilings"].get(name, {})),
                *(f"why: {line}" for line in result["why"][name]),
                *(f"warning: {line}" for line in result["warnings"][name]),
            ]
        )
        for name, arms in result["metrics"].items()
    ]
    if kept := result.get("kept"):
        tables.append(_kept(kept))
    return "\n\n".join(["\n".join(lines), *tables])


def _kept(found: Sequence[Mapping[str, Any]]) -> str:
    """What the student keeps of its teachers at the last task, and of the mean over all tasks."""
    rows = [
        [
            one["family"],
            *(_share(one[name][-1]) for name in ("start", "student", "taught")),
            *(None if one[name] is None else quantities.percent(one[name]) for name in ("kept_last", "kept_mean")),
        ]
        for one in found
    ]
    return _output.table(["kept of the teachers", "start", "student", "teacher", "last task", "all tasks"], rows)


def _title(name: str, step: int | None) -> str:
    model = "" if step is None else ", warm start (step 0)" if step == 0 else f", step {step}"
    return f"success {name.replace('-', ' ', 1)}{model}"


def _table(title: str, arms: Mapping[str, Sequence[Any]], ceilings: Mapping[str, Sequence[Any]]) -> str:
    from codctl.cod.arms import title_of

    named = [(title_of(arm), curve) for arm, curve in arms.items()]
    named += [(name, ceilings[key]) for key, name in _CEILINGS.items() if key in ceilings]
    longest = max((len(curve) for _, curve in named), default=0)
    rows = [[name, *(map(_share, curve)), *[None] * (longest - len(curve))] for name, curve in named]
    return _output.table([title, *(f"task {quantities.position(i)}" for i in range(longest))], rows)


def _share(value: float | None) -> str | None:
    return None if value is None else quantities.share(value)
