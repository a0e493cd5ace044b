"""codctl env: the worlds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._help import Command, Group
from codctl.cli._options import (
    RUNS_DIR,
    ApiKeyEnv,
    Concurrency,
    Deadline,
    Endpoint,
    Json,
    ModelFolder,
    ModelName,
    RunsDir,
)

if TYPE_CHECKING:
    from codctl.config.evalspec import EvalSpec
    from codctl.envs.base import Family, Pack
    from codctl.envtools.validate.check import Finding
    from codctl.evaluate.subject import PolicyUnderTest

app = typer.Typer(
    help="List, play, generate, validate and measure worlds.", cls=Group, no_args_is_help=True, rich_markup_mode=None
)

FamilyName = Annotated[
    str,
    typer.Argument(metavar="FAMILY", autocompletion=complete.families, help="A family of worlds: `codctl env list`."),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        autocompletion=complete.presets,
        help="Difficulty, the family's first by default: `codctl env list` shows them.",
    ),
]
Variant = Annotated[
    str | None,
    typer.Option(
        "--variant",
        metavar="NAME",
        autocompletion=complete.variants,
        help="Distribution of worlds, the family's first by default.",
    ),
]
WorldOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting of the variant's own, as in world.options: data=FILE, judge.kind=rule.",
    ),
]
Length = Annotated[int, typer.Option("--length", metavar="N", min=1, max=64, help="Tasks in a pack.")]
Split = Annotated[Literal["train", "validation", "test", "demonstration"], typer.Option("--split", help="Which packs.")]
Rendering = Annotated[Literal["full", "terse", "compact"], typer.Option("--rendering", help="How prompts are written.")]

Update = Annotated[
    Literal["rewrite", "delta"],
    typer.Option("--update", help="How an update changes the hints, as `context.update` of a recipe."),
]


@app.command("list", cls=Command)
def list_(as_json: Json = False) -> None:
    """List the families of worlds.

    Plug-ins that cannot be used are listed with the reason.
    """
    from codctl.envs.registry import broken_families, families

    found = [_described(family) for family in families().values()]
    broken = [vars(family) for family in broken_families()]
    rows = [[f["name"], *(", ".join(f[key]) for key in ("presets", "variants", "policies")), f["title"]] for f in found]
    text = _output.table(["family", "presets", "variants", "policies", "title"], rows)
    for family in broken:
        text += f"\n\nbroken: {family['name']} ({family['source']})\n  {family['reason']}"
    _output.result("env list", {"families": found, "broken": broken}, text, as_json=as_json)


@app.command(cls=Command)
def play(
    family: FamilyName,
    preset: Preset = None,
    variant: Variant = None,
    options: WorldOptions = None,
    index: Annotated[int, typer.Option("--index", metavar="N", min=0, help="Number of the pack in its split.")] = 0,
    length: Annotated[
        int | None, typer.Option("--length", metavar="N", min=1, max=64, help="Tasks in the pack; 4 by default.")
    ] = None,
    split: Split = "train",
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy", metavar="NAME", autocompletion=complete.strategies, help="How the tasks are put together."
        ),
    ] = "cod",
    rendering: Annotated[
        Literal["full", "terse", "compact"] | None,
        typer.Option("--rendering", help="How texts are written; full by default, for a run as it was trained."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Play as a model does: its very prompts, no second try at an answer.")
    ] = False,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            metavar="NAME",
            autocompletion=complete.policies,
            help="Watch a scripted policy: bayes, informed, random.",
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", autocompletion=complete.runs, help="Watch the model of a run.")
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(
            "--step", metavar="N", autocompletion=complete.steps, help="With --run: N, final, warm-start or newest."
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="PATH", help="Watch a model: a Hugging Face folder.")
    ] = None,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Play a pack yourself, or watch a policy or your own model play it.

    You see what a model sees and are scored as it is. ? shows the rules, quit or Ctrl-D stops.
    """
    from codctl.cli import _play_text
    from codctl.envtools.play import play_by_hand, play_by_policy
    from codctl.errors import UsageError

    watched = [option for option, value in (("--policy", policy), ("--run", run), ("--model", model)) if value]
    if step and not run:
        raise UsageError("--step is for --run", hint=f"codctl env play {family} --run RUN --step {step}")
    if len(watched) + strict > 1:
        raise UsageError(
            f"{' and '.join([*watched, *(['--strict'] if strict else [])])} cannot be combined",
            hint=f"codctl env play {family} {watched[0]} …",
        )
    settings = _settings(options)
    found = _choose(family, preset, variant, rendering, settings)[0]
    say_raw = _output.talk if as_json else _output.data  # with --json, stdout is one object
    subject = _subject(run, step, model, runs_dir)
    spec = _spec(found, subject, preset, variant, length, rendering, settings)
    pack = _drawn(spec, strategy, split, index)
    say = _play_text.shower(pack, say_raw, to_stderr=as_json)
    if subject:
        from codctl.envtools.play import watch

        say(f"{subject.describe().title}, plays {pack.id}")
        game = watch(subject, spec, pack, say)
    elif policy:
        game = play_by_policy(pack, spec.rendering, policy, say=say)
    else:
        ask = partial(_output.ask, say=say_raw)
        game = play_by_hand(pack, spec.rendering, ask=ask, say=say, strict=strict)
    value = {**game.as_dict(), "policy": policy, "run": run, "model": str(model) if model else None}
    value["truth"] = found.truth(pack.world, spec.rendering)
    _output.result("env play", value, _play_text.told(game, pack, spec.rendering), as_json=as_json)


def _subject(run: str | None, step: str | None, model: Path | None, runs_dir: Path) -> PolicyUnderTest | None:
    """The model that is watched."""
    if run:
        from codctl.evaluate.subject import subject_of_run
        from codctl.runs.directory import find_run

        return subject_of_run(find_run(runs_dir, run), *([step] if step else []))
    if model:
        from codctl.evaluate.subject import subject_of_model

        return subject_of_model(str(model))
    return None


def _spec(
    family: Family,
    subject: PolicyUnderTest | None,
    preset: str | None,
    variant: str | None,
    length: int | None,
    rendering: Literal["full", "terse", "compact"] | None,
    options: dict[str, Any],
) -> EvalSpec:
    """What is played and how: as typed, else as the model was trained, else the family's first."""
    from codctl.config.evalspec import EvalSpec

    if subject:
        from codctl.envtools.play import Wanted, spec_of

        return spec_of(subject, family, Wanted(preset, variant, length, rendering, options or None))
    return EvalSpec(
        family=family.name,
        preset=preset or family.presets[0],
        variant=variant,
        options=options,
        length=length or 4,
        rendering=rendering or ("full" if "full" in family.renderings else "compact"),
    )


def _drawn(spec: EvalSpec, strategy: str, split: str, index: int) -> Pack:
    from codctl import trust
    from codctl.cod.strategies import draw_pack, strategy_class, strategy_of
    from codctl.envs.registry import families, family_of
    from codctl.evaluate.suites.expansion import next_family

    trust.remember_imports(strategy)
    other = next_family(spec.family, families()) if strategy_class(strategy).wants_another_family else None
    order = strategy_of(spec.model_copy(update={"strategy": strategy, "distractor_family": other}))
    return draw_pack(family_of(spec), order, split, index, spec.length, spec.preset, spec.variant)


@app.command(cls=Command)
def generate(
    family: FamilyName,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Default: datasets/NAME.")] = None,
    preset: Preset = None,
    variant: Variant = None,
    options: WorldOptions = None,
    split: Split = "train",
    packs: Annotated[int, typer.Option("--packs", metavar="N", min=1, help="How many.")] = 1000,
    length: Length = 4,
    rendering: Rendering = "full",
    as_json: Json = False,
) -> None:
    """Write a dataset of packs.

    Seeds and prompts as parquet, for the datasets library. The same command again finds it done.
    """
    from codctl.envtools.generate import DatasetSpec, generate_dataset

    settings = _settings(options)
    found, chosen = _choose(family, preset, variant, rendering, settings)
    spec = DatasetSpec(found.name, chosen, variant or found.variants[0], split, packs, length, rendering, settings)
    dataset = generate_dataset(found, spec, out or Path("datasets") / spec.name)
    text = str(dataset.path) if dataset.written else f"{dataset.path} is already there, checksums match"
    value = {"path": str(dataset.path), "packs": packs, "written": dataset.written}
    _output.result("env generate", value, text, as_json=as_json)


@app.command(cls=Command)
def demonstrate(
    family: FamilyName,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="How a model runs: model.dtype, model.device, runtime.max_batch, engine.kind, … as in a recipe.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Default: demonstrations/NAME.")] = None,
    preset: Preset = None,
    variant: Variant = None,
    packs: Annotated[int, typer.Option("--packs", metavar="N", min=1, help="Packs to play.")] = 300,
    length: Length = 4,
    rendering: Rendering = "full",
    best_of: Annotated[
        int, typer.Option("--best-of", metavar="N", min=1, max=1024, help="Trajectories of a pack; the best is kept.")
    ] = 4,
    temperature: Annotated[
        float, typer.Option("--temperature", metavar="T", min=0.01, max=5, help="Sampling temperature.")
    ] = 1.0,
    solve_tokens: Annotated[
        int, typer.Option("--solve-tokens", metavar="N", min=1, help="Most new tokens in one solve turn.")
    ] = 512,
    update_tokens: Annotated[
        int, typer.Option("--update-tokens", metavar="N", min=1, help="Most new tokens in one update.")
    ] = 1024,
    update: Update = "rewrite",
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the sampling.")] = 0,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", autocompletion=complete.runs, help="The model of a run plays.")
    ] = None,
    model: ModelFolder = None,
    policy: Annotated[
        str | None,
        typer.Option("--policy", metavar="NAME", autocompletion=complete.policies, help="A scripted policy plays."),
    ] = None,
    endpoint: Endpoint = None,
    model_name: ModelName = None,
    api_key_env: ApiKeyEnv = None,
    concurrency: Concurrency = None,
    deadline: Deadline = None,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Let a stronger model show how packs are played.

    Keeps the tasks that it solved and the hints that helped, as texts, for `warm_start.demonstrations=DIR`. The same
    command again continues.
    """
    from codctl.cli._eval_subject import Asked, subject_of
    from codctl.cli._progress import open_display
    from codctl.envtools.demonstrate import DemonstrationSpec, demonstrate
    from codctl.errors import UsageError
    from codctl.quantities import counted, share
    from codctl.train.setup import prepare_process

    found, chosen = _choose(family, preset, variant, rendering)
    asked = Asked(run, None, model, policy, endpoint, model_name, api_key_env, concurrency, None, deadline)
    if not asked.subject():
        raise UsageError(
            "say who demonstrates: --endpoint, --model, --run or --policy",
            hint=f"codctl env demonstrate {family} --endpoint URL --model-name NAME",
        )
    if policy:
        found.policy(policy)
    subject = subject_of(asked, None, runs_dir, overrides or [])
    spec = DemonstrationSpec(
        found.name,
        chosen,
        variant or found.variants[0],
        rendering,
        length,
        packs,
        best_of,
        seed,
        temperature,
        solve_tokens,
        update_tokens,
        update,
    )
    how = "-delta" if update == "delta" else ""
    world = f"{spec.family}-{spec.preset}-{spec.variant}-{spec.rendering}{how}-{packs}x{length}"
    folder = out or Path("demonstrations") / f"{world}-{Path(subject.name).name}"
    if subject.folder:
        prepare_process(subject.settings.runtime.threads)
    with open_display(10.0) as display:
        made = demonstrate(subject, spec, folder, display)
    kept, played, curve = made["kept"], made["played"], " ".join(map(share, made["success"]))
    lines = [
        f"solved  {played['solved']:,} of {counted(played['tasks'], 'task')}, by position: {curve}",
        f"kept    {counted(kept['solves'], 'task')} and {counted(kept['updates'], 'update')} "
        f"of {counted(kept['packs'], 'pack')}",
        f"folder  {folder}" + ("" if made["written"] else " (it was there already)"),
        f"use     codctl train RECIPE warm_start.demonstrations={folder}",
    ]
    _output.result("env demonstrate", {"folder": str(folder), **made}, "\n".join(lines), as_json=as_json)


@app.command(cls=Command)
def validate(
    family: FamilyName,
    preset: Preset = None,
    variant: Variant = None,
    options: WorldOptions = None,
    packs: Annotated[int, typer.Option("--packs", metavar="N", min=10, help="Packs to check.")] = 100,
    length: Annotated[int, typer.Option("--length", metavar="N", min=2, max=64, help="Tasks in a pack.")] = 4,
    as_json: Json = False,
) -> None:
    """Check a family of worlds, without a model.

    Tasks can be solved and learned from, packs are the same in every process, splits share nothing, nothing raises.
    """
    from codctl.envtools.validate.family import validate_family
    from codctl.errors import PreflightError

    found, chosen = _choose(family, preset, variant, None, _settings(options))
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


@app.command(cls=Command)
def prompts(
    family: Annotated[
        str | None,
        typer.Argument(metavar="FAMILY", autocompletion=complete.families, help="One family; all by default."),
    ] = None,
    rendering: Annotated[
        Literal["full", "terse", "compact"] | None, typer.Option("--rendering", help="One rendering; all by default.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", metavar="NAME", autocompletion=complete.presets, help="Difficulty: `easy` by default."
        ),
    ] = None,
    variant: Variant = None,
    suggested_tokens: Annotated[
        int | None, typer.Option("--suggested-tokens", metavar="N", min=1, help="As the key of a recipe.")
    ] = None,
    update: Update = "rewrite",
    write: Annotated[
        Path | None, typer.Option("--write", metavar="PAGE", help="Put the prompts into PAGE, below its mark.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print every prompt of a family, filled in.

    A demonstrator plays a short pack: system prompts, observations, replies and the update, as a model gets them.
    """
    from codctl.envs.registry import check_world, families, get_family
    from codctl.envtools.prompts import Example, examples_of, markdown, other_rules, write_page

    shown: list[Example] = []
    for found in [get_family(family)] if family else families().values():
        chosen = preset or ("easy" if "easy" in found.presets else found.presets[0])
        check_world(found.name, chosen, variant, rendering)
        drawn, renderings = variant or found.variants[0], (rendering,) if rendering else found.renderings
        shown += examples_of(found, chosen, drawn, renderings, suggested_tokens, update)
        if not (preset or variant):
            shown += other_rules(found, (chosen, drawn), renderings)
    shown.sort(key=lambda one: (one.family, ("full", "terse", "compact").index(one.rendering)))
    text = markdown(shown)
    if write:
        write_page(write, text)
    value = {"prompts": [one.as_dict() for one in shown], "written": str(write) if write else None}
    _output.result("env prompts", value, f"written: {write}" if write else text, as_json=as_json)


@app.command(cls=Command)
def ceilings(
    family: Annotated[
        str | None,
        typer.Argument(metavar="FAMILY", autocompletion=complete.families, help="One family; all by default."),
    ] = None,
    packs: Annotated[
        int, typer.Option("--packs", metavar="N", min=10, help="Test packs of each preset and variant.")
    ] = 2000,
    length: Length = 8,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="DIR", help="Put each table into DIR/FAMILY.md.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the ceilings of a family.

    Success of the reference policies by position, as a Markdown table with 95 % intervals.
    """
    from codctl.envs.registry import families, get_family
    from codctl.envtools.ceilings import block, ceilings_of, page_of, write_block

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


def _choose(
    family: str,
    preset: str | None,
    variant: str | None,
    rendering: str | None = None,
    options: dict[str, Any] | None = None,
) -> tuple[Family, str]:
    from codctl.envs.registry import check_world, get_family

    chosen = preset or get_family(family).presets[0]
    return check_world(family, chosen, variant, rendering, options or {}), chosen


def _settings(texts: list[str] | None) -> dict[str, Any]:
    """What `--set` gives, as `world.options` has it."""
    from codctl.config.overrides import nested, parse_overrides
    from codctl.config.problems import usage_error

    parsed, problems = parse_overrides(texts or ())
    if problems:
        raise usage_error("--set", problems)
    return nested(parsed)


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


def _findings(checks: list[Finding]) -> str:
    """A line for each check, then every failure in full with what to change."""
    table = _output.table(["", "check", "finding"], [[check.status, check.name, check.reason] for check in checks])
    failed = [f"{check.name}: {check.reason}\n  → {check.fix}" for check in checks if check.ok is False]
    return "\n\n".join([table, *failed])
