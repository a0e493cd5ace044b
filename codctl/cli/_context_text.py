"""Contexts and their revisions, as values and as text."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from codctl.cli import _output

if TYPE_CHECKING:
    from codctl.contexts.exporters.base import Budget, Exported
    from codctl.contexts.exports import Place
    from codctl.contexts.store import Context, Stored


def value_of(stored: Stored, head: int) -> dict[str, Any]:
    """A revision with all that is known of it."""
    revision, origin = stored.revision, stored.origin
    return {
        "revision": revision.number,
        "is_in_force": revision.number == head,
        "parent": revision.parent,
        "text": revision.text,
        "chars": len(revision.text),
        "written_after": revision.written_after,
        "parsed": revision.parsed,
        "problem": revision.problem,
        **vars(origin),
    }


def changes(stored: Stored, revisions: Sequence[Stored]) -> dict[str, int]:
    """Lines that a revision has more than its parent, and those that it lacks."""
    parent = next((one for one in revisions if one.number == stored.revision.parent), None)
    old, new = Counter(_lines(parent.text if parent else "")), Counter(_lines(stored.text))
    return {"added": (new - old).total(), "removed": (old - new).total()}


def summary(context: Context) -> dict[str, Any]:
    """What a list says of a context."""
    from codctl.contexts.exports import read_exports

    head, numbers = context.head(), context.numbers()
    return {
        "name": context.name,
        "folder": str(context.folder),
        "revision": head.number,
        "revisions": len(numbers),
        "chars": len(head.text),
        "at": head.origin.at,
        "exported_to": sorted({export.to for export in read_exports(context)}),
    }


def listed(found: Sequence[Mapping[str, Any]]) -> str:
    headers = ["context", "revision", "of", "characters", "written", "exported to"]
    rows = [
        [
            one["name"],
            one["revision"],
            one["revisions"],
            one["chars"],
            _output.moment(one["at"]),
            ", ".join(one["exported_to"]) or "–",
        ]
        for one in found
    ]
    return _output.table(headers, rows)


def logged(revisions: Sequence[Mapping[str, Any]]) -> str:
    """One line for each revision, the last one first."""
    headers = ["revision", "parent", "characters", "lines", "by", "reward", "written", "after"]
    rows = [
        [
            f"{one['revision']}{' ← in force' if one['is_in_force'] else ''}",
            one["parent"],
            one["chars"],
            _changed(one),
            _author(one),
            one["reward"],
            _output.moment(one["at"]),
            one["task"] or "–",
        ]
        for one in reversed(revisions)
    ]
    return _output.table(headers, rows, cut_last=True)


def provenance(context: Context, stored: Stored) -> str:
    """Where a revision comes from, in a line or two."""
    head = context.head().number
    value = value_of(stored, head)
    parent = "" if stored.revision.parent is None else f", from {stored.revision.parent}"
    state = "in force" if stored.number == head else f"not in force: {head} is"
    when = _output.moment(stored.origin.at)
    line = f"{context.name}, revision {stored.number} ({state}){parent}, {_author(value)}, {when}"
    task = f"\nafter: {stored.origin.task}" if stored.origin.task else ""
    problem = f"\nthe update could not be read: {stored.revision.problem}" if stored.revision.problem else ""
    return line + task + problem


def written(name: str, stored: Stored) -> str:
    return f"revision {stored.number} of {name}: {len(stored.text):,} characters"


def difference(old_name: str, old: str, new_name: str, new: str) -> list[str]:
    """A unified diff, line by line."""
    return list(difflib.unified_diff(_lines(old), _lines(new), old_name, new_name, lineterm=""))


def exported(place: Place, done: Exported, *, dry_run: bool) -> dict[str, Any]:
    """What an export has done, or would do."""
    hard, soft = place.exporter.limit(place.places), place.exporter.soft
    text = _decoded(done.after)
    return {
        "name": place.context.name,
        "revision": place.context.head().number,
        "to": place.to,
        "path": str(done.path) if done.path else None,
        "chars": len(text),
        "most_chars": hard.chars if hard else None,
        "usual_chars": soft.chars if soft else None,
        "changed": done.after != (done.before or b""),
        "dry_run": dry_run,
        "warning": done.warning,
        "text": text if done.path is None else None,
    }


def export_text(place: Place, done: Exported, *, dry_run: bool) -> str:
    if done.path is None:
        return _decoded(done.after).rstrip("\n")
    if done.after == (done.before or b""):
        happens = "nothing to change"
    elif dry_run:
        happens = "would be written"
    else:
        happens = "written"
    rows = [
        ("file", str(done.path)),
        ("context", f"{place.context.name}, revision {place.context.head().number}: {happens}"),
        ("size", _size(_decoded(done.after), place.exporter.limit(place.places), place.exporter.soft)),
    ]
    text = _output.facts(rows)
    if not dry_run:
        return text
    lines = difference(f"{done.path.name} before", _decoded(done.before or b""), "after", _decoded(done.after))
    return "\n".join([text, *([""] if lines else []), *lines])


def _size(text: str, hard: Budget | None, soft: Budget | None) -> str:
    count = f"{len(text):,} characters"
    if hard and hard.chars:
        return f"{count} of {hard.chars:,} at most"
    return f"{count}; up to {soft.chars:,} is usual" if soft and soft.chars else count


def _changed(one: Mapping[str, Any]) -> str:
    if not one["parsed"]:
        return f"failed: {one['problem']}"
    parts = [f"+{one['added']}" if one["added"] else "", f"−{one['removed']}" if one["removed"] else ""]
    return " ".join(filter(None, parts)) or "same"


def _author(one: Mapping[str, Any]) -> str:
    names = {"start": "empty", "edit": "edited by hand", "agent": f"the agent's own ({one['task']})"}
    return names.get(one["source"]) or f"update by {one['model'] or 'a model'}"


def _lines(text: str) -> list[str]:
    return text.split("\n") if text else []


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "replace")
