"""Puts the page together. Hints and replies are model output and reach it only through autoescaping templates."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codctl.files import atomic
from codctl.report import costs, effects, learning, worlds
from codctl.report.environment import fill
from codctl.report.source import Source, load
from codctl.report.top import Top, moment, top
from codctl.report.worlds import FamilySection
from codctl.runs.directory import RunDirectory

_STANDING = {
    "running": " and the run is still in progress",
    "finished": "",
    "failed": " and the run failed",
    "interrupted": " and the run was interrupted",
    "died": " and the run died",
}


def write_report(run: RunDirectory, out: Path | None = None) -> Path:
    """Write one self-contained HTML page about a run, finished or not.

    Args:
        run: The run.
        out: Where to write; `report.html` in the run by default.

    Returns:
        The page's path.

    Raises:
        UsageError: Manifest or config cannot be read.
        StageError: The page cannot be written.
    """
    path = out or run.path / "report.html"
    page = render(load(run))
    with atomic.storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, page)
    return path


def render(source: Source) -> str:
    """The page as text."""
    return fill("page.html", _content(source))


def _content(source: Source) -> dict[str, Any]:
    found = worlds.of(source)
    return {
        "source": source,
        "manifest": source.manifest,
        "config": source.config,
        "worlds": found,
        "headline": _headline(source, found),
        "health_charts": learning.health(source.phase("train")),
        "time_parts": costs.time_parts(source),
        "figures": costs.figures(source),
        "command": shlex.join(source.manifest["command"]),
        "facts": _facts(source),
        "top": _top(source),
    }


def _top(source: Source) -> Top:
    manifest = source.manifest
    return top(
        f"started {moment(manifest['created'])}",
        f"step {_done(source)} of {source.config.train.steps}" if source.config.train.enabled else "",
        f"seed {source.config.seed}",
        version=manifest["codctl_version"],
        command=shlex.join(manifest["command"]),
        machine=manifest["machine"],
    )


def _done(source: Source) -> int:
    """Steps of CoD-Train so far."""
    steps = source.phase("train")
    return int(steps[-1]["step"]) if steps else 0


def _headline(source: Source, found: Sequence[FamilySection]) -> str:
    if not any(world.effect for world in found):
        return _no_headline(source)
    if len(found) == 1:
        return found[0].headline
    return effects.headline_of_families(
        {world.title: world.effect for world in found}, unread=[world.title for world in found if world.unread]
    )


def _no_headline(source: Source) -> str:
    total = source.config.train.steps
    standing = _STANDING.get(source.status, f" and the run is {source.status}")
    return f"Not evaluated yet: {_done(source)} of {total} training steps are done{standing}."


def _facts(source: Source) -> list[tuple[str, str]]:
    """How to repeat the run, and on what it ran."""
    manifest, machine = source.manifest, source.manifest["machine"]
    attempts = ", ".join(f"{attempt['number']}: {attempt['outcome']}" for attempt in source.attempts)
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    processor = f"{machine.get('cpu', '')}, {machine.get('cores', '?')} cores, {machine.get('memory_gb', '?')} GB"
    config = source.config
    return [
        ("Recipe", manifest["recipe"]),
        ("Seed", str(config.seed)),
        ("Config digest", manifest["digest"]),
        ("World", _played(source)),
        ("Model", config.model.path or _built(source)),
        ("Started", manifest["created"]),
        ("Attempts", attempts or "none"),
        ("Machine", ", ".join([processor, *machine.get("gpus", [])])),
        ("System", f"{machine.get('system', '')}, Python {machine.get('python', '')}"),
        ("codctl", " ".join(filter(None, [manifest["codctl_version"], machine.get("commit", "")]))),
        ("Versions", versions),
    ]


def _played(source: Source) -> str:
    packs, found = f"packs of {source.config.world.length}", source.families
    if len(found) == 1:
        return f"{found[0].world.family}, {found[0].difficulty}, {packs}"
    weighted = [f"{one.world.family}, {one.difficulty}, weight {one.world.weight:g}" for one in found]
    return f"{packs}: {'; '.join(weighted)}"


def _built(source: Source) -> str:
    build = source.config.model.build
    return f"built here: {build.layers} layers, width {build.width}, {build.heads} heads"
