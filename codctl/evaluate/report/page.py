"""Puts the page together. Hints and replies are model output and reach it only through autoescaping templates."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from codctl.evaluate.report import costs, curves, effects, learning, story
from codctl.evaluate.report.chart import Chart, percent
from codctl.evaluate.report.source import EvaluationFolder, Source, load
from codctl.runs import atomic
from codctl.runs.directory import RunDirectory

_STANDING = {
    "running": " and the run goes on",
    "finished": "",
    "failed": " and the run failed",
    "interrupted": " and the run was interrupted",
    "died": " and the run died",
}
_WIDE, _NARROW = (600, 340), (350, 300)
_SMALL_WIDE, _SMALL_NARROW = (380, 220), (350, 220)


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
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("codctl.evaluate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["chart"] = _draw
    environment.globals["small_chart"] = _draw_small
    environment.filters["duration"] = costs.duration
    return environment.get_template("page.html").render(_content(source))


def _content(source: Source) -> dict[str, Any]:
    after = effects.effect_of(source.after) if source.after else None
    before = effects.effect_of(source.before) if source.before else None
    steps = source.phase("train")
    told = source.after.walkthrough if source.after else source.before.walkthrough if source.before else {}
    return {
        "source": source,
        "manifest": source.manifest,
        "config": source.config,
        "headline": effects.headline(after) if after else _no_headline(source),
        "details": effects.details(after, before) if after else "",
        "tiles": _tiles(source, after),
        "position_charts": _present(
            curves.before_and_after(source.before, source.after),
            curves.by_arm(
                source.after,
                "arms",
                "success",
                "Success by position, by where the hints come from",
                "success, share of packs",
            ),
        ),
        "table": _table(source.after or source.before),
        "long_table": _table(source.long),
        "reward_charts": _present(
            curves.by_arm(
                source.after or source.before,
                "reward",
                "shaped_reward",
                "Shaped reward by position",
                "shaped reward (0 to 1)",
            )
        ),
        "hint_charts": _present(
            curves.hint_correctness(source.before, source.after),
            learning.by_position(
                steps,
                "hints-time",
                "hint_correctness",
                "How right the hints are, over training",
                "knowable facts stated",
            ),
        ),
        "long_charts": curves.longer(source.long, source.config.world.length),
        "learning_charts": _present(
            learning.by_position(
                steps, "train-success", "success", "Success on training packs", "success, share of rollouts"
            ),
            learning.by_position(
                source.phase("validation"),
                "validation",
                "success",
                "Success on held-out packs",
                "success, share of packs",
            ),
            learning.by_position(
                steps, "train-reward", "reward", "Shaped reward on training packs", "shaped reward (0 to 1)"
            ),
        ),
        "health_charts": learning.health(steps),
        "told": told,
        "told_by": "after CoD-Train" if source.after else "before CoD-Train",
        "chapters": story.chapters(told),
        "time_parts": costs.time_parts(source),
        "figures": costs.figures(source),
        "command": shlex.join(source.manifest["command"]),
        "facts": _facts(source),
    }


def _no_headline(source: Source) -> str:
    steps = source.phase("train")
    done = steps[-1]["step"] if steps else 0
    total = source.config.train.steps
    return f"Not evaluated yet: {done} of {total} training steps are done{_STANDING[source.status]}."


def _tiles(source: Source, after: effects.Effect | None) -> list[tuple[str, str, str]]:
    """The few numbers to remember: value, name, and what it is compared with."""
    if after is None or source.after is None:
        return []
    last = after.positions - 1
    tiles = [
        (after.last.share(), f"success at position {last}", _between(after.last)),
        (effects.signed(after.gain.mean), f"points from position 0 to {last}", _between_signed(after.gain)),
    ]
    if after.from_hints:
        tiles.append((effects.signed(after.from_hints.mean), "points over no hints", _between_signed(after.from_hints)))
    if after.share_of_ceiling is not None and after.ceiling is not None:
        ceiling = f"bayes reaches {percent(after.ceiling)}"
        tiles.append((percent(after.share_of_ceiling), f"of the ceiling at position {last}", ceiling))
    if hints := source.after.curve("own", "hint_correctness"):
        point = hints[-1]
        interval = _between(effects.Estimate(point["mean"], point["low"], point["high"]))
        tiles.append((percent(point["mean"]), "of the knowable facts in its hints", interval))
    return tiles


def _between(estimate: effects.Estimate) -> str:
    return f"95 % interval {100 * estimate.low:.0f} to {100 * estimate.high:.0f}"


def _between_signed(estimate: effects.Estimate) -> str:
    return f"95 % interval {effects.signed(estimate.low)} to {effects.signed(estimate.high)}"


def _table(evaluation: EvaluationFolder | None) -> dict[str, Any]:
    """The numbers behind the position curves."""
    if evaluation is None:
        return {}
    rows = []
    for arm in evaluation.result["arms"]:
        points = {point["position"]: point for point in evaluation.curve(arm, "success")}
        rows.append((arm, [points.get(position) for position in range(evaluation.result["length"])]))
    ceilings = evaluation.result.get("ceilings", {})
    return {"positions": list(range(evaluation.result["length"])), "rows": rows, "ceilings": ceilings}


def _facts(source: Source) -> list[tuple[str, str]]:
    """How to repeat the run, and on what it ran."""
    manifest, machine = source.manifest, source.manifest["machine"]
    attempts = ", ".join(f"{attempt['number']}: {attempt['outcome']}" for attempt in manifest["attempts"])
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    processor = f"{machine.get('cpu', '')}, {machine.get('cores', '?')} cores, {machine.get('memory_gb', '?')} GB"
    config = source.config
    return [
        ("Recipe", manifest["recipe"]),
        ("Seed", str(config.seed)),
        ("Config digest", manifest["digest"]),
        ("World", f"{config.world.family}, preset {config.world.preset}, packs of {config.world.length}"),
        ("Model", config.model.path or _built(source)),
        ("Started", manifest["created"]),
        ("Attempts", attempts or "none"),
        ("Machine", ", ".join([processor, *machine.get("gpus", [])])),
        ("System", f"{machine.get('system', '')}, Python {machine.get('python', '')}"),
        ("codctl", " ".join(filter(None, [manifest["codctl_version"], machine.get("commit", "")]))),
        ("Versions", versions),
    ]


def _built(source: Source) -> str:
    build = source.config.model.build
    return f"built here: {build.layers} layers, width {build.width}, {build.heads} heads"


def _present(*charts: Chart | None) -> list[Chart]:
    return [chart for chart in charts if chart is not None]


def _draw(chart: Chart) -> Markup:
    return _twice(chart, _WIDE, _NARROW)


def _draw_small(chart: Chart) -> Markup:
    return _twice(chart, _SMALL_WIDE, _SMALL_NARROW)


def _twice(chart: Chart, wide: Sequence[int], narrow: Sequence[int]) -> Markup:
    """Both drawings; the style sheet shows the one that fits the window."""
    return Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(
        chart.svg(wide[0], wide[1]), chart.svg(narrow[0], narrow[1])
    )
