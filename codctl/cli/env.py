"""codctl env: the worlds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from codctl.cli import _output
from codctl.cli._options import Json

if TYPE_CHECKING:
    from codctl.envs.base import Family, Pack
    from codctl.stages.env_checks.check import Check
    from codctl.stages.env_play import Game

app = typer.Typer(
    help="List, play, generate, validate and measure worlds.", no_args_is_help=True, rich_markup_mode=None
)

FamilyName = Annotated[str, typer.Argument(metavar="FAMILY", help="A family of worlds: codctl env list.")]
Preset = Annotated[str | None, typer.Option("--preset", help="Difficulty; the family's first by default.")]
Variant = Annotated[
    str | None, typer.Option("--variant", help="Distribution of worlds; the family's first by default.")
]
Length = Annotated[int, typer.Option("--length", min=1, max=64, help="Tasks in a pack.")]
Split = Annotated[Literal["train", "validation", "test", "demonstration"], typer.Option("--split", help="Which packs.")]
Rendering = Annotated[Literal["full", "compact"], typer.Option("--rendering", help="How prompts are written.")]
StrategyOption = Annotated[
    Literal["cod", "ralph_full", "ralph_sample", "drift", "poison", "long"],
    typer.Option("--strategy", help="How the tasks are put together."),
]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the families. Also plug-ins that cannot be used, with the reason."""
    from codctl.envs.registry import broken_families, families

    found = [_described(family) for family in families().values()]
    broken = [vars(family) for family in broken_families()]
    rows = [[f["name"], *(", ".join(f[key]) for key in ("presets", "variants", "policies")), f["title"]] for f in found]
    text = _output.table(["family", "presets", "variants", "policies", "title"], rows)
    for family in broken:
        text += f"\n\nbroken: {family['name']} ({family['source']})\n  {family['reason']}"
    _output.result("env list", {"families": found, "broken": broken}, text, as_json=as_json)


@app.command()
def play(
    family: FamilyName,
    preset: Preset = None,
    variant: Variant = None,
    index: Annotated[int, typer.Option("--index", min=0, help="Number of the pack in its split.")] = 0,
    length: Length = 4,
    split: Split = "train",
    strategy: StrategyOption = "cod",
    rendering: Rendering = "full",
    policy: Annotated[str | None, typer.Option("--policy", help="Watch a scripted policy instead.")] = None,
    as_json: Json = False,
) -> None:
    """Play a pack yourself. Hints included, scored as a model is; or watch a policy."""
    from codctl.cod.strategies import Strategy, draw_pack
    from codctl.stages.env_play import play_by_hand, play_by_policy

    found, chosen = _choose(family, preset, variant)
    order = Strategy(strategy, poison=0.5)
    pack = draw_pack(found, order, split, index, length, chosen, variant)
    say = _output.talk if as_json else _output.data  # with --json, stdout is one object
    if policy:
        game = play_by_policy(pack, rendering, policy, say=say)
    else:
        game = play_by_hand(pack, rendering, ask=lambda question: _output.ask(question, say), say=say)
    value = {**game.as_dict(), "policy": policy, "truth": found.truth(pack.world, rendering)}
    _output.result("env play", value, _told(game, pack, rendering), as_json=as_json)


@app.command()
def generate(
    family: FamilyName,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Default: datasets/NAME.")] = None,
    preset: Preset = None,
    variant: Variant = None,
    split: Split = "train",
    packs: Annotated[int, typer.Option("--packs", min=1, help="How many.")] = 1000,
    length: Length = 4,
    rendering: Rendering = "full",
    as_json: Json = False,
) -> None:
    """Write a dataset of packs. Seeds and prompts, as parquet; the same command again finds it done."""
    from codctl.stages.env_generation import DatasetSpec, generate_dataset

    found, chosen = _choose(family, preset, variant)
    spec = DatasetSpec(found.name, chosen, variant or found.variants[0], split, packs, length, rendering)
    dataset = generate_dataset(found, spec, out or Path("datasets") / spec.name)
    text = str(dataset.path) if dataset.written else f"{dataset.path} is already there, checksums match"
    value = {"path": str(dataset.path), "packs": packs, "written": dataset.written}
    _output.result("env generate", value, text, as_json=as_json)


@app.command()
def validate(
    family: FamilyName,
    preset: Preset = None,
    variant: Variant = None,
    packs: Annotated[int, typer.Option("--packs", min=10, help="Packs to check.")] = 100,
    length: Annotated[int, typer.Option("--length", min=2, max=64, help="Tasks in a pack.")] = 4,
    as_json: Json = False,
) -> None:
    """Check a family without a model. Solvable, learnable, the same everywhere, nothing shared, nothing raises."""
    from codctl.errors import PreflightError
    from codctl.stages.env_validation import validate_family

    found, chosen = _choose(family, preset, variant)
    checks = validate_family(found, chosen, variant, packs=packs, length=length)
    value = {
        "family": found.name,
        "preset": chosen,
        "variant": variant or found.variants[0],
        "checks": [check.as_dict() for check in checks],
    }
    _output.result("env validate", value, _findings(checks), as_json=as_json)
    if any(check.ok is False for check in checks):
        raise typer.Exit(PreflightError.exit_code)


@app.command()
def ceilings(
    family: Annotated[str | None, typer.Argument(metavar="[FAMILY]", help="One family; all by default.")] = None,
    packs: Annotated[int, typer.Option("--packs", min=10, help="Test packs of each preset and variant.")] = 2000,
    length: Length = 8,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="DIR", help="Put each table into DIR/FAMILY.md.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure what can be had. Reference policies by position, as a Markdown table with 95 % intervals."""
    from codctl.envs.registry import families, get_family
    from codctl.stages.env_ceilings import block, ceilings_of, page_of, write_block

    chosen = [get_family(family)] if family else list(families().values())
    pages = {found.name: page_of(found, write) for found in chosen} if write else {}
    curves, texts = [], []
    for found in chosen:
        measured = ceilings_of(found, packs, length, _output.talk)
        curves += [curve.as_dict() for curve in measured]
        texts.append(f"{found.name}\n\n{block(found, measured, packs)}")
        if page := pages.get(found.name):
            write_block(page, block(found, measured, packs))
    value = {"packs": packs, "length": length, "curves": curves, "written": [str(page) for page in pages.values()]}
    _output.result("env ceilings", value, "\n".join(texts).rstrip(), as_json=as_json)


def _choose(family: str, preset: str | None, variant: str | None) -> tuple[Family, str]:
    from codctl.envs.registry import check_world, get_family

    chosen = preset or get_family(family).presets[0]
    return check_world(family, chosen, variant), chosen


def _described(family: Family) -> dict[str, Any]:
    return {
        "name": family.name,
        "title": family.title,
        "presets": list(family.presets),
        "variants": list(family.variants),
        "policies": list(family.policies),
        "renderings": list(family.renderings),
        "reference": family.reference,
        "learnable": {variant: family.learnable.get(variant, True) for variant in family.variants},
    }


def _told(game: Game, pack: Pack, rendering: Literal["full", "compact"]) -> str:
    """Curve and score at the end of a game."""
    positions = [f"task {position + 1}" for position in range(len(pack))]
    rows: list[list[object]] = [
        ["success", *game.success],
        ["reward (success less the price of turns)", *game.reward],
        ["hints: share of the knowable facts", *game.hint_correctness],
        *(["ceiling: " + name, *values] for name, values in game.ceilings.items()),
    ]
    score = "nothing was played to its end" if game.score is None else f"score: {game.score:.2f}"
    stopped = "" if game.finished else " (stopped early; – was not played)"
    truths = {id(slot.world): slot.family.truth(slot.world, rendering) for slot in pack.slots}
    told = "\n".join(f"the truth was: {' '.join(truth.split()) or 'nothing is hidden'}" for truth in truths.values())
    return f"\n{told}\n\n{_output.table(['', *positions], rows)}\n\n{score}{stopped}"


def _findings(checks: list[Check]) -> str:
    """A line for each check, then every failure in full with what to change."""
    table = _output.table(["", "check", "finding"], [[check.status, check.name, check.reason] for check in checks])
    failed = [f"{check.name}: {check.reason}\n  → {check.fix}" for check in checks if check.ok is False]
    return "\n\n".join([table, *failed])
