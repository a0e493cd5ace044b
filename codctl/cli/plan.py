"""codctl plan: what a recipe takes, and how it is laid out best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codctl.cli import _output
from codctl.cli._options import Json, Overrides, RecipeName

if TYPE_CHECKING:
    from codctl.config.schema import Config
    from codctl.plan.best import Choice, Comparison


def plan(
    recipe: RecipeName,
    overrides: Overrides = None,
    best: Annotated[
        bool, typer.Option("--best", help="Try every layout of its devices, and name the fastest three.")
    ] = False,
    rates: Annotated[
        Path | None,
        typer.Option("--rates", metavar="FILE", help="YAML or JSON with figures in the place of assumed ones."),
    ] = None,
    show_rates: Annotated[
        bool, typer.Option("--show-rates", help="The assumed and measured figures, each with its source.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Plan a recipe without running it: memory, tokens, and each second of a step.

    Needs no GPU, no network and no weights. `codctl train RECIPE --dry-run` checks this machine and the run as well.
    """
    from codctl.config.compose import load_config

    config, own = load_config(recipe, overrides or []), _own_rates(rates)
    if show_rates:
        _show_rates(config, own, as_json=as_json)
    elif best:
        _show_best(config, own, as_json=as_json)
    else:
        _show_plan(config, own, as_json=as_json)


def _own_rates(path: Path | None) -> dict[str, Any]:
    from codctl.config.problems import usage_error
    from codctl.config.yaml_files import read_source, values_of

    if path is None:
        return {}
    if problem := read_source(path, str(path), "file of rates").problem:
        raise usage_error(str(path), [problem])
    return values_of(path)


def _main_memory(config: Config) -> int:
    from codctl.plan.devices import machine_memory, uses_gpus

    return 0 if uses_gpus(config) else machine_memory()


def _show_plan(config: Config, own: dict[str, Any], *, as_json: bool) -> None:
    from codctl.cli import _plan_text
    from codctl.config.freeze import digest
    from codctl.plan.fit import refuse_if_too_large
    from codctl.plan.plan import make_plan

    here = _main_memory(config)
    found = make_plan(config, here, own)
    if not as_json:
        _output.data(_plan_text.render(config, found, digest(config)))
    refuse_if_too_large(config, found, here)
    _output.result("plan", found.as_dict(), "", as_json=as_json)


def _show_rates(config: Config, own: dict[str, Any], *, as_json: bool) -> None:
    from dataclasses import asdict

    from codctl.plan.devices import uses_gpus
    from codctl.plan.hardware import find_gpu
    from codctl.plan.rates import rates_for

    table = rates_for(find_gpu(config.cluster).kind if uses_gpus(config) else None, own).table
    rows = [[name, f"{rate.value:g}", rate.unit, rate.meaning, rate.source] for name, rate in table.items()]
    text = _output.table(["rate", "value", "", "of what", "source"], rows)
    _output.result("plan", {name: asdict(rate) for name, rate in table.items()}, text, as_json=as_json)


def _show_best(config: Config, own: dict[str, Any], *, as_json: bool) -> None:
    from codctl.plan.best import compare

    found = compare(config, _main_memory(config), own)
    value = {
        "now": {**found.now.as_dict(), "fits": found.fits},
        "best": [choice.as_dict() for choice in found.best],
        "is_best": found.is_best,
        "tried": found.tried,
    }
    _output.result("plan", value, _best_text(config, found), as_json=as_json)


def _best_text(config: Config, found: Comparison) -> str:
    from codctl.quantities import counted

    choices = [found.now, *found.best]
    rows = [_row(number, choice, found) for number, choice in enumerate(choices)]
    headers = ["", "a step", "times as fast", "hours", "GPU-hours", "engines wait", "learners wait", "rows are old"]
    blocks = [_output.table(headers, rows)]
    if not found.fits:
        blocks.append("As it stands, the recipe does not fit: `codctl plan RECIPE` says what is too large.")
    for number, choice in enumerate(found.best, 1):
        reasons = "\n".join(f"   {reason}" for reason in choice.reasons)
        blocks.append(f"{number}. {' '.join(choice.overrides)}\n{reasons}")
    said = f"{counted(found.tried, 'layout')} fit and were planned"
    if found.is_best:
        said += "; none is faster than the recipe as it stands"
    blocks.append(
        _output.prose(
            f"{said}. Times are estimates by the rates of `codctl plan {config.name} --show-rates`; nothing was run."
        )
    )
    return "\n\n".join(blocks)


def _row(number: int, choice: Choice, found: Comparison) -> list[str]:
    from codctl.plan.schedule import IDLE

    plan, speed = choice.plan, choice.plan.speed
    waits = [f"{part[IDLE]:,.1f} s" for part in (speed.engines, speed.learners)]
    return [
        f"{number}" if number else "now",
        f"{speed.step:,.1f} s",
        f"{found.now.plan.speed.step / speed.step:.2f}",
        f"{plan.hours:,.1f}",
        f"{plan.hours * plan.gpus:,.0f}" if plan.gpus else "–",
        *waits,
        f"≤ {choice.config.engine.oldest} steps",
    ]
