"""What the Tab key offers. Quick, without torch, and never an error: a shell is waiting."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from codctl.safe_text import visible_line

if TYPE_CHECKING:
    from codctl.config.explain import FieldDoc
    from codctl.envs.base import Family

Completions = list[str]
_Completer = Callable[[typer.Context, str], Completions]


def _quiet(find: Callable[[typer.Context, str], Iterable[str]]) -> _Completer:
    """Offer what starts as typed; nothing when it cannot be found out, and no names that act on a terminal."""

    @functools.wraps(find)
    def complete(ctx: typer.Context, incomplete: str) -> Completions:
        try:
            found = [text for text in find(ctx, incomplete) if text.startswith(incomplete)]
            return [text for text in found if text == visible_line(text)]
        except Exception:  # noqa: BLE001 - a traceback in the middle of a command line does not help
            return []

    return complete


@_quiet
def launchers(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    from codctl.jobs.launcher import LAUNCHERS

    return LAUNCHERS.names()


@_quiet
def recipes(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    from codctl.config.recipes import shipped_recipes

    return [*(recipe.name for recipe in shipped_recipes()), *_files(incomplete)]


@_quiet
def studies(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    from codctl.config.recipes import shipped_recipes
    from codctl.sweeps.study_file import shipped_studies

    return [
        *shipped_studies(),
        *(recipe.name for recipe in shipped_recipes()),
        *_files(incomplete),
    ]


@_quiet
def strategies(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    from codctl.config.registries import STRATEGIES

    return STRATEGIES.names()


@_quiet
def runs(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Runs; with a name and a slash, the trials of a sweep."""
    folder = _runs_dir(ctx)
    sweep, slash, _ = incomplete.partition("/")
    if slash:
        return [f"{sweep}/{name}" for name in _with_file(folder / "sweeps" / sweep / "trials", "manifest.json")]
    return _with_file(folder, "manifest.json")


@_quiet
def runs_and_sweeps(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    return [*runs(ctx, incomplete), *_with_file(_runs_dir(ctx) / "sweeps", "sweep.json")]


@_quiet
def evaluations(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    folder = _runs_dir(ctx) / "evaluations"
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


@_quiet
def viewed(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Runs and evaluations."""
    return [*runs(ctx, incomplete), *evaluations(ctx, incomplete)]


@_quiet
def steps(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Models of the run that `--run` names."""
    from codctl.runs.layout import Layout

    checkpoints = Layout(_run_folder(ctx)).checkpoints
    numbers = sorted(int(path.name.removeprefix("step-")) for path in checkpoints.glob("step-*"))
    return ["final", "newest", "warm-start", *map(str, numbers)]


@_quiet
def stored_steps(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Steps whose trajectories a run has kept."""
    from codctl.runs.layout import Layout

    stored = Layout(_run_folder(ctx)).rollouts.glob("step-*")
    return [str(number) for number in sorted({int(path.stem.removeprefix("step-")) for path in stored})]


@_quiet
def suites(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    from codctl.evaluate.suites.shipped import shipped

    return [*(suite.path.stem for suite in shipped()), *_files(incomplete)]


@_quiet
def families(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    from codctl.envs.registry import families as known

    return known()


@_quiet
def presets(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    return _of_families(ctx, lambda family: family.presets)


@_quiet
def variants(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    return _of_families(ctx, lambda family: family.variants)


@_quiet
def policies(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    return _of_families(ctx, lambda family: family.policies)


@_quiet
def statuses(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    return ("running", "queued", "paused", "finished", "failed", "died", "interrupted", "cancelled", "prepared")


@_quiet
def pages(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    from codctl.cli.docs import page_files

    return page_files()


@_quiet
def keys_and_sections(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    from codctl.config.explain import field_docs, sections

    return ["eval", *(section for section in sections() if section), *(doc.key for doc in field_docs())]


@_quiet
def recipe_overrides(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    from codctl.config.explain import field_docs

    return _overrides(ctx, incomplete, field_docs())


@_quiet
def eval_overrides(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    from codctl.config.evalspec import EvalSpec
    from codctl.config.explain import field_docs
    from codctl.config.resources import resource_docs

    of_suite = [doc for doc in field_docs(EvalSpec) if doc.key != "name"]
    return _overrides(ctx, incomplete, [*of_suite, *resource_docs()])


@_quiet
def contexts(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    value: Any = ctx.params.get("contexts_dir")
    return [path.name for path in sorted(Path(value or "contexts").iterdir()) if (path / "revisions").is_dir()]


@_quiet
def agents(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    from codctl.agents.program import PROGRAMS

    return PROGRAMS.names()


@_quiet
def exporters(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    from codctl.contexts.exporters.base import EXPORTERS

    return EXPORTERS.names()


def _overrides(ctx: typer.Context, incomplete: str, docs: Iterable[FieldDoc]) -> Iterable[str]:
    """Keys with a `=`, and behind it what a key takes when that is a list of names."""
    by_key = {doc.key: doc for doc in docs}
    typed = list(ctx.params.get("overrides") or [])
    split = [text for text in typed[-2:] if text != "="]
    if split and split[-1] in by_key:  # bash makes a word of its own of the sign, and wants the value alone
        return _values(by_key[split[-1]])
    key, equals, _ = incomplete.partition("=")
    if equals:
        return [f"{key}={value}" for value in _values(by_key.get(key))]
    found = [key for key in by_key if key.startswith(incomplete)]
    if len(found) == 1:  # two offers, so that the shell puts no space behind the sign
        return [f"{found[0]}=", *(f"{found[0]}={value}" for value in _values(by_key[found[0]], default=True))]
    return [f"{key}=" for key in found]


def _values(doc: FieldDoc | None, *, default: bool = False) -> list[str]:
    if doc is None:
        return []
    if doc.expected == "true or false":
        return ["true", "false"]
    if doc.expected.startswith("one of "):
        return doc.expected.removeprefix("one of ").partition(" or ")[0].split(", ")
    plain = isinstance(doc.default, str | int | float) and doc.default != ""
    return [str(doc.default)] if default and plain else []


def _of_families(ctx: typer.Context, names: Callable[[Family], tuple[str, ...]]) -> Iterable[str]:
    """Names that the family on the command line has; of all families when none is there."""
    from codctl.envs.registry import families as known

    found = known()
    wanted = _named(ctx, "family")
    return dict.fromkeys(
        name for family in found.values() if wanted not in found or family.name == wanted for name in names(family)
    )


def _run_folder(ctx: typer.Context) -> Path:
    return _runs_dir(ctx) / str(_named(ctx, "run") or ctx.params.get("target"))


def _named(ctx: typer.Context, parameter: str) -> str | None:
    """An option, or the first argument: where an option lacks its value, arguments are not sorted yet."""
    return ctx.params.get(parameter) or next(iter(ctx.args), None)


def _runs_dir(ctx: typer.Context) -> Path:
    value: Any = ctx.params.get("runs_dir")
    return Path(value or "runs")


def _with_file(folder: Path, file: str) -> list[str]:
    return sorted(path.parent.name for path in folder.glob(f"[!.]*/{file}"))


def _files(incomplete: str) -> list[str]:
    """YAML files, and folders that may hold some."""
    head, slash, _ = incomplete.rpartition("/")
    folder = Path(head + slash or ".")
    return [
        f"{head}{slash}{path.name}{'/' if path.is_dir() else ''}"
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and (path.suffix in (".yaml", ".yml") or (slash and path.is_dir()))
    ]
