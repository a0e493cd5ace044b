"""codctl env: the worlds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from codctl.cli import _output
from codctl.cli._options import Json

if TYPE_CHECKING:
    from codctl.envs.base import Family

app = typer.Typer(help="List, play, generate and validate worlds.", no_args_is_help=True, rich_markup_mode=None)

FamilyName = Annotated[str, typer.Argument(metavar="FAMILY", help="A family of worlds.")]
Preset = Annotated[str | None, typer.Option("--preset", help="Difficulty; the family's first by default.")]
Length = Annotated[int, typer.Option("--length", min=1, max=64, help="Tasks in a pack.")]
Split = Annotated[Literal["train", "validation", "test", "demonstration"], typer.Option("--split", help="Which packs.")]
Rendering = Annotated[Literal["full", "compact"], typer.Option("--rendering", help="How prompts are written.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the families of worlds."""
    from codctl.envs.registry import families

    found = [
        {
            "name": family.name,
            "title": family.title,
            "presets": list(family.presets),
            "policies": list(family.policies),
            "renderings": list(family.renderings),
        }
        for family in families().values()
    ]
    rows = [[f["name"], ", ".join(f["presets"]), ", ".join(f["policies"]), f["title"]] for f in found]
    text = _output.table(["family", "presets", "policies", "title"], rows)
    _output.result("env list", {"families": found}, text, as_json=as_json)


@app.command()
def play(
    family: FamilyName,
    preset: Preset = None,
    index: Annotated[int, typer.Option("--index", min=0, help="Number of the pack in its split.")] = 0,
    length: Length = 4,
    split: Split = "train",
    rendering: Rendering = "full",
    policy: Annotated[str | None, typer.Option("--policy", help="Watch a scripted policy instead.")] = None,
) -> None:
    """Play a pack yourself, or watch a policy play it."""
    from codctl.stages.env_play import play_by_hand, play_by_policy

    found, chosen = _choose(family, preset)
    pack = found.pack(split, index, length, chosen)
    if policy:
        game = play_by_policy(found, pack, rendering, policy, say=_output.data)
    else:
        game = play_by_hand(found, pack, rendering, ask=_output.ask, say=_output.data)
    _output.data(f"\nrewards by position: {' '.join(f'{reward:g}' for reward in game.rewards) or 'none'}")


@app.command()
def generate(
    family: FamilyName,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Default: datasets/NAME.")] = None,
    preset: Preset = None,
    split: Split = "train",
    packs: Annotated[int, typer.Option("--packs", min=1, help="How many.")] = 1000,
    length: Length = 4,
    rendering: Rendering = "full",
    as_json: Json = False,
) -> None:
    """Write a dataset of pack seeds and prompts. The same command again finds it done."""
    from codctl.stages.env_generation import DatasetSpec, generate_dataset

    found, chosen = _choose(family, preset)
    spec = DatasetSpec(found.name, chosen, split, packs, length, rendering)
    dataset = generate_dataset(found, spec, out or Path("datasets") / spec.name)
    text = str(dataset.path) if dataset.written else f"{dataset.path} is already there, checksums match"
    value = {"path": str(dataset.path), "packs": packs, "written": dataset.written}
    _output.result("env generate", value, text, as_json=as_json)


@app.command()
def validate(
    family: FamilyName,
    preset: Preset = None,
    packs: Annotated[int, typer.Option("--packs", min=10, help="Packs to check.")] = 100,
    length: Annotated[int, typer.Option("--length", min=2, max=64, help="Tasks in a pack.")] = 4,
    as_json: Json = False,
) -> None:
    """Check a family without a model: solvable, learnable, the same in every process."""
    from codctl.errors import PreflightError
    from codctl.stages.env_validation import validate_family

    found, chosen = _choose(family, preset)
    checks = validate_family(found, chosen, packs=packs, length=length)
    failed = [check.name for check in checks if not check.ok]
    rows = [["ok" if check.ok else "FAILED", check.name, check.reason] for check in checks]
    value = {"family": found.name, "preset": chosen, "checks": [check.as_dict() for check in checks]}
    _output.result("env validate", value, _output.table(["", "check", "reason"], rows), as_json=as_json)
    if failed:
        raise typer.Exit(PreflightError.exit_code)


def _choose(family: str, preset: str | None) -> tuple[Family, str]:
    from codctl.envs.registry import check_world, get_family

    found = get_family(family)
    chosen = preset or found.presets[0]
    return check_world(family, chosen), chosen
