"""What of a run's settings and files MLflow shows. Never a secret: job scripts may hold some, so they stay here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codctl.config.credentials import redacted
from codctl.runs.directory import RunDirectory

_LARGEST_BYTES = 10_000_000
_PRIVATE = {"cluster": {"setup", "extras"}}


def params(run: RunDirectory) -> dict[str, object]:
    """The digest and every key of the config, dotted.

    Raises:
        UsageError: The run's config cannot be read.
    """
    frozen = run.frozen()
    return {"digest": frozen["digest"], **_flatten(_public(frozen["config"])), "name": run.name}


def config_text(run: RunDirectory) -> str:
    """config.json as it may be shown."""
    frozen = run.frozen()
    return redacted(json.dumps({**frozen, "config": _public(frozen["config"])}, indent=2, ensure_ascii=False))


def files(run: RunDirectory) -> list[tuple[Path, str]]:
    """Small files of the run itself, each with its folder in MLflow: its page, first and last stored rollouts."""
    stored = sorted((run.stage("cod_train") / "rollouts").glob("step-*.parquet"))
    found = [
        (run.path / "report.html", ""),
        *((path, "rollouts") for path in dict.fromkeys([*stored[:1], *stored[-1:]])),
    ]
    inside = [(path, folder) for path, folder in found if is_file_of(run.path, path)]
    return [(path, folder) for path, folder in inside if path.stat().st_size <= _LARGEST_BYTES]


def is_file_of(folder: Path, path: Path) -> bool:
    """Whether a file lies in a folder, and no link leads out of it: it might lead to somebody's keys."""
    try:
        return path.is_file() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False


def _public(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: {name: inner for name, inner in value.items() if name not in _PRIVATE.get(key, ())}
        if isinstance(value, Mapping)
        else value
        for key, value in config.items()
    }


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = redacted(value) if isinstance(value, str) else value
    return flat
