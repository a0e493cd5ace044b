"""Runs side by side: what was set differently, and what came of it. Reads files only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.config.explain import field_docs
from codctl.config.schema import CLASSES
from codctl.runs.directory import RunDirectory

if TYPE_CHECKING:
    from codctl.runs.eval_result import Curve, Subject


def compare(runs: Sequence[RunDirectory]) -> dict[str, Any]:
    """What the runs have in common is left out; what differs or was measured is there for each, in their order.

    Returns:
        `runs` (how each stands), `config` (keys that differ, with class and values), and `success` (for each
        evaluation and arm the models and their curves by position with the ends of their 95 % intervals, null where a
        run has none).
    """
    return {
        "runs": [_facts(run) for run in runs],
        "config": _changed([_flat(run.frozen()["config"]) for run in runs]),
        "success": _success([_curves(run) for run in runs]),
    }


def _facts(run: RunDirectory) -> dict[str, Any]:
    manifest, attempts = run.manifest(), run.attempts()
    seconds = [seconds for attempt in attempts if (seconds := attempt["seconds"]) is not None]
    return {
        "name": run.name,
        "path": str(run.path),
        "status": run.status(),
        "recipe": manifest["recipe"],
        "created": manifest["created"],
        "digest": manifest["digest"],
        "code": list(dict.fromkeys(attempt["code"] for attempt in attempts if attempt.get("code"))),
        "attempts": len(attempts),
        "seconds": round(sum(seconds), 1) if seconds else None,
    }


def _changed(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    docs = {doc.key: doc for doc in field_docs()}
    found = []
    for key in dict.fromkeys(key for config in configs for key in config):
        doc = docs.get(key) or docs.get(key.rpartition(".")[0])
        # A key that is younger than a run's config was at its default.
        values = [config.get(key, doc.default if doc and doc.key == key else None) for config in configs]
        if any(value != values[0] for value in values):
            found.append({"key": key, "class": doc.field_class if doc else None, "values": values})
    ranks = {name: rank for rank, name in enumerate(CLASSES)}
    return sorted(found, key=lambda entry: ranks.get(entry["class"], len(ranks)))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _success(runs: Sequence[Mapping[tuple[str, str], tuple[Subject, Curve]]]) -> list[dict[str, Any]]:
    from codctl.runs.eval_result import to_json

    keys = dict.fromkeys(key for run in runs for key in run)
    found = []
    for name, arm in keys:
        ours = [run.get((name, arm)) for run in runs]
        models = [to_json(one[0]) if one else None for one in ours]
        curves = [[to_json(point) for point in one[1]] if one else None for one in ours]
        found.append({"evaluation": name, "arm": arm, "models": models, "curves": curves})
    return found


def _curves(run: RunDirectory) -> dict[tuple[str, str], tuple[Subject, Curve]]:
    """Model and success by position of every evaluation in the run, and of every suite played on it."""
    from codctl.runs import eval_result

    found: dict[tuple[str, str], tuple[Subject, Curve]] = {}
    for folder in (run.evaluations, run.suites):
        for path in sorted(folder.glob("[!.]*/result.json"), key=_age):
            result = eval_result.read(path, within=run.path)
            if isinstance(result, eval_result.EvalResult):
                for part in result.parts:
                    name = path.parent.name if len(result.parts) == 1 else f"{path.parent.name}/{part.name}"
                    found |= {(name, arm): (result.subject, part.success(arm)) for arm in part.arms}
    return found


def _age(path: Path) -> tuple[bool, str]:
    return path.parent.name.startswith("after"), path.parent.name  # before, then after
