"""What an import writes: a recipe or a suite as YAML, with a head that says what it lacks."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby, takewhile
from typing import Any

from codctl.trinity.fates import Fate
from codctl.trinity.recipe import Translation

_WIDTH = 118


def as_yaml(translation: Translation, source: str) -> str:
    """The file of a translation."""
    import yaml

    body: str = yaml.safe_dump(translation.values, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return f"{_head(translation.fates, source)}{body}"


def _head(fates: Sequence[Fate], source: str) -> str:
    lines = [f"Imported from {source} by `codctl import trinity`."]
    lost = [fate for fate in fates if fate.outcome == "no counterpart"]
    if lost:
        lines.append("Without counterpart:")
        lines += [_line(text, list(group)) for text, group in groupby(lost, lambda fate: fate.text)]
    wrapped = (part for line in lines for part in textwrap.wrap(line, _WIDTH, subsequent_indent="    "))
    return "".join(f"# {line}\n" for line in wrapped)


def _line(text: str, fates: Sequence[Fate]) -> str:
    """Neighbours that are left out for the same reason, by their section."""
    if len(fates) == 1:
        return f"  {fates[0].key}: {_value(fates[0].value)} ({text})"
    columns = zip(*(fate.key.split(".") for fate in fates), strict=False)
    section = [names[0] for names in takewhile(lambda names: len(set(names)) == 1, columns)]
    named = f"{'.'.join(section)}.*" if section else ", ".join(fate.key for fate in fates)
    return f"  {named} ({text})"


def _value(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"
