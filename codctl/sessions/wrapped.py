"""What a tool returned, out of what agent programs put around it."""

from __future__ import annotations

import json
import re
from typing import Any

_UNTRUSTED = re.compile(r"<untrusted_tool_result\b[^>]*>\n.*?\n\n(.*)\n</untrusted_tool_result>", re.DOTALL)
_KEYS = ("result", "text", "content", "output")  # of objects that hold nothing else of interest


def peeled(text: str, expected: str = "") -> str:
    """The text as the tool returned it.

    Args:
        text: As it stands in the agent's request.
        expected: What the tool is known to have returned: nothing is taken off that.
    """
    found = text.strip()
    while found != expected.strip():
        inner = _inside(found)
        if inner is None:
            return found
        found = inner.strip()
    return expected or found


def _inside(text: str) -> str | None:
    """What stands in the outermost wrapper; None where there is none."""
    if match := _UNTRUSTED.fullmatch(text):
        return match[1]
    if text[:1] not in ("{", "["):
        return None
    try:
        return _text_in(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _text_in(value: Any) -> str | None:
    if isinstance(value, list):
        texts = [one["text"] for one in value if isinstance(one, dict) and isinstance(one.get("text"), str)]
        return "\n".join(texts) if texts and len(texts) == len(value) else None
    if isinstance(value, dict):
        for key in _KEYS:
            inner = value.get(key)
            if isinstance(inner, str):
                return inner
            if isinstance(inner, list | dict):
                return _text_in(inner)
    return None
