"""What a file of golden values holds of an answer: without clocks, places and machines, hashed where it is long."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
_LONG_LIST, _LONG_TEXT, _LINE = 500, 400, 118  # characters of JSON

# Keys whose values differ from machine to machine or from minute to minute.
_VARYING = re.compile(
    r"at|at_ms|beat|changed|code|codctl|codctl_version|command|commit|created|ended|environment|host|lines|machine|needs|"
    r"pid|seconds|started|timing|versions|.*_s"
)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(\+00:00)?")


def normal(value: Any, home: Path) -> Any:
    """A value as it is on every machine."""
    if isinstance(value, dict):
        return {
            _text(key, home): "…" if _VARYING.fullmatch(key) and item is not None else normal(item, home)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return _shortened([normal(item, home) for item in value])
    if isinstance(value, str):
        text = _text(value, home)
        return text if len(text) <= _LONG_TEXT else f"{text[:80]}… {digest(text)}"
    return float(f"{value:.9g}") if isinstance(value, float) else value


def digest(value: Any) -> str:
    """A hash of bytes, a text or a JSON value."""
    data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:16]


def written(value: Any, indent: int = 0) -> str:
    """JSON in which what fits stands on one line."""
    line = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if len(line) + indent <= _LINE or not isinstance(value, dict | list) or not value:
        return line
    inner = " " * (indent + 1)
    if isinstance(value, list):
        return "[\n" + ",\n".join(inner + written(item, indent + 1) for item in value) + f"\n{' ' * indent}]"
    named = (
        f"{inner}{json.dumps(key, ensure_ascii=False)}: {written(item, indent + 1)}"
        for key, item in sorted(value.items())
    )
    return "{\n" + ",\n".join(named) + f"\n{' ' * indent}}}"


def _shortened(found: list[Any]) -> Any:
    """A long list by its first element and a hash of all."""
    if len(json.dumps(found)) <= _LONG_LIST:
        return found
    return {"items": len(found), "first": found[0], "hash": digest(found)}


def _text(text: str, home: Path) -> str:
    for path, name in ((home.resolve(), "HOME"), (home, "HOME"), (REPOSITORY, "REPOSITORY")):
        text = text.replace(str(path), name)
    return _MOMENT.sub("MOMENT", text)
