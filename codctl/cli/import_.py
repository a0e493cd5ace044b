"""codctl import: configurations, data sets and logs of other tools."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from codctl.cli import _output
from codctl.cli._help import Command, Group
from codctl.cli._options import Json

if TYPE_CHECKING:
    from codctl.sessions.importing import Imported
    from codctl.sessions.session import Session
    from codctl.trinity.fates import Fate

app = typer.Typer(help="Read what other tools have written.", cls=Group, no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command(cls=Command)
def trinity(
    configuration: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML configuration of Trinity-RFT.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The new recipe or suite; by default stdout.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a recipe of a Trinity-RFT configuration, or a suite of one that evaluates (mode: bench).

    Says of every key what became of it. Of interpolations only other keys, oc.env and oc.decode are resolved.
    """
    from codctl.trinity.configuration import read_configuration
    from codctl.trinity.recipe import translate
    from codctl.trinity.suite import translate_bench
    from codctl.trinity.text import as_yaml

    found = read_configuration(configuration)
    is_bench = found.values.get("mode") == "bench"
    made = translate_bench(found) if is_bench else translate(found)
    text = as_yaml(made, configuration.name)
    if out:
        _write(out, text)
    if as_json:
        kind = "suite" if is_bench else "recipe"
        value = {
            "kind": kind,
            "path": str(out) if out else None,
            kind: made.values,
            "fates": [vars(f) for f in made.fates],
        }
        _output.result("import trinity", value, "", as_json=True)
    elif out:
        told = f"codctl eval --suite {out} --run RUN" if is_bench else f"codctl plan {out}"
        _output.data(f"{_table(made.fates)}\n\n{out}\nnext: {told}")
    else:
        _output.talk(_table(made.fates))
        _output.data(text.rstrip())


@app.command("trinity-data", cls=Command)
def trinity_data(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A data set of Trinity-RFT, or one of its files.")],
    split: Annotated[str, typer.Option("--split", metavar="SPLIT", help="train or test.")] = "train",
    length: Annotated[int, typer.Option("--length", metavar="N", min=1, max=64, help="Pack length.")] = 4,
    packs: Annotated[
        int, typer.Option("--packs", metavar="N", min=0, max=1000, help="Packs whose facts are shown.")
    ] = 2,
    preset: Annotated[
        str | None, typer.Option("--preset", metavar="PRESET", help="By default, what it looks like.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read a data set of Trinity-RFT: whose rows, whether they are the published ones, and what its packs hide."""
    from codctl.envs.registry import check_world, get_family
    from codctl.trinity.data import first_difference, read_data
    from codctl.trinity.packs import default_preset, draw_pack, is_drawn

    data = read_data(folder, split)
    chosen = preset or (default_preset(data) if is_drawn(data.family) else "")
    drawn = []
    if is_drawn(data.family):
        check_world(data.family, chosen, "trinity")
        drawn = [draw_pack(data, index, length, chosen) for index in range(min(packs, len(data.rows) // length))]
    differs = first_difference(data, chosen)
    value = {
        "path": str(data.path),
        "family": data.family or None,
        "preset": chosen or None,
        "rows": len(data.rows),
        "packs": len(data.rows) // length,
        "published": None if differs == -1 else differs is None,
        "first_difference": None if differs == -1 else differs,
        "worlds": [get_family(pack.family).truth(pack.world, "compact") for pack in drawn],
    }
    told = "not known here" if differs == -1 else "all of them" if differs is None else f"up to row {differs}"
    rows = [
        ("file", str(data.path)),
        ("family", f"{data.family}, preset {chosen}" if chosen else data.family or "not known by its columns"),
        ("rows", f"{len(data.rows):,}: {len(data.rows) // length:,} packs of {length}"),
        ("as published", told),
        *((f"pack {index}", text) for index, text in enumerate(value["worlds"])),  # type: ignore[arg-type]
    ]
    _output.result("import trinity-data", value, _output.facts(rows), as_json=as_json)


@app.command("trinity-logs", cls=Command)
def trinity_logs(
    folder: Annotated[Path, typer.Argument(metavar="LOGS", help="Where Trinity-RFT has put its logs (log_dir).")],
    as_json: Json = False,
) -> None:
    """Read logs of Trinity-RFT: the mean reward by position, for each step and task set.

    Rewards are those that were learned from: of FrozenLake and Alchemy they are shaped, as train.reward says.
    """
    from codctl.trinity.logs import read_logs

    steps = [step.as_dict() for step in read_logs(folder)]
    length = max(len(step["reward"]) for step in steps)
    rows = [
        [
            step["of"],
            step["step"],
            step["packs"],
            *(_reward(step, place) for place in range(length)),
            step["malformed_updates"],
            step["hint_chars"],
        ]
        for step in steps
    ]
    headers = ["of", "step", "packs", *(f"task {place + 1}" for place in range(length)), "bad updates", "hint chars"]
    _output.result("import trinity-logs", {"steps": steps}, _output.table(headers, rows), as_json=as_json)


@app.command(cls=Command)
def sessions(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="What agent programs have left, or ATIF.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The new folder.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FORM",
            help="claude-code, hermes, openclaw, qwenpaw, proxy, atif, codctl; seen by default.",
        ),
    ] = None,
    agent: Annotated[
        str, typer.Option("--agent", metavar="NAME", help="The program, where the files do not say.")
    ] = "",
    version: Annotated[str, typer.Option("--agent-version", metavar="V", help="Its version, likewise.")] = "",
    reward: Annotated[float | None, typer.Option("--reward", metavar="R", help="The reward of each session.")] = None,
    verify: Annotated[
        str | None,
        typer.Option(
            "--verify",
            metavar="COMMAND",
            help="Reads a session as JSON from its stdin; exit status 0 is reward 1, others are 0. No shell runs it.",
        ),
    ] = None,
    mask: Annotated[
        bool, typer.Option("--mask", help="Take out home folders, user names, e-mails, keys and IP addresses.")
    ] = False,
    mask_words: Annotated[
        list[str] | None, typer.Option("--mask-word", metavar="WORD", help="Mask this too; several may be given.")
    ] = None,
    world: Annotated[
        str | None,
        typer.Option("--world", metavar="FAMILY", help="The world that was played: writes demonstrations of it."),
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", metavar="PRESET", help="Of the world.")] = None,
    variant: Annotated[str | None, typer.Option("--variant", metavar="VARIANT", help="Of the world.")] = None,
    rendering: Annotated[
        Literal["full", "terse", "compact"], typer.Option("--rendering", help="How the world was shown to the agent.")
    ] = "full",
    as_json: Json = False,
) -> None:
    """Read sessions of agent programs: rows for evaluation, demonstrations, and training rows where tokens were kept.

    Reads what Claude Code, Hermes, OpenClaw and QwenPaw leave, records of codctl's model proxy, and ATIF. What has no
    reward or no tokens is said. Masking finds what has a form that tells it: look at the result before you share it.
    """
    from codctl.sessions.importing import Wanted, import_sessions
    from codctl.sessions.mask import Mask
    from codctl.sessions.play import PlayedWorld

    wanted = Wanted(
        form=form,
        agent=agent,
        version=version,
        reward=_rewarding(reward, verify),
        mask=Mask(mask_words or ()) if mask or mask_words else None,
        world=PlayedWorld.of(world, preset, variant, rendering) if world else None,
    )
    found = import_sessions(files, out, wanted)
    _output.result("import sessions", found.as_dict(), _sessions_text(found), as_json=as_json)


def _rewarding(reward: float | None, verify: str | None) -> Callable[[Session], Session] | None:
    from math import isfinite

    from codctl.errors import UsageError
    from codctl.sessions.verify import rewarded, verified

    if reward is not None and verify is not None:
        raise UsageError("--reward and --verify both give rewards", hint="give one of them")
    if verify is not None:
        try:
            argv = shlex.split(verify)
        except ValueError as error:
            raise UsageError(f"the command cannot be read: {error}", where="--verify") from error
        if not argv:
            raise UsageError("the command is empty", where="--verify")
        return lambda session: verified(session, argv)
    if reward is None:
        return None
    if not isfinite(reward):
        raise UsageError(f"expected a finite number, got {reward}", where="--reward")
    return lambda session: rewarded(session, reward)


def _sessions_text(found: Imported) -> str:
    from codctl.sessions.importing import missing

    headers = ["session", "agent", "version", "calls", "tools", "ended", "reward", "tokens"]
    rows = [
        [
            _output.shorten(one.id, 36),
            one.agent or "?",
            one.version or "?",
            len(one.replies),
            one.tool_calls,
            one.ended,
            "–" if one.reward is None else f"{one.reward:g}",
            one.tokens,
        ]
        for one in found.sessions
    ]
    facts = [("folder", str(found.folder)), ("rewards", f"{found.rewards} of {len(found.sessions)}")]
    if found.demonstrations is not None:
        facts.append(("demonstrations", str(found.demonstrations)))
    facts.append(("training rows", str(found.training_rows)))
    if found.masked is not None:
        facts.append(("masked", ", ".join(f"{number} {kind}" for kind, number in found.masked.items()) or "nothing"))
    facts += [("missing", sentence) for sentence in missing(found)]
    if found.demonstrations:
        facts.append(("next", f"codctl train RECIPE warm_start.demonstrations={found.folder}"))
    return f"{_output.table(headers, rows)}\n\n{_output.facts(facts)}"


def _reward(step: dict[str, Any], place: int) -> str:
    if place >= len(step["reward"]):
        return ""
    error = step["standard_error"][place]
    return f"{step['reward'][place]:.3f}" + (f" ±{error:.3f}" if error is not None else "")


def _table(fates: Sequence[Fate]) -> str:
    rows = [[fate.key, _shown(fate.value), fate.outcome, fate.text] for fate in fates]
    return _output.table(["key", "value", "became", "as what, or why not"], rows)


def _shown(value: object) -> str:
    return _output.shorten(" ".join(_output.compact(value).split()), 40)


def _write(path: Path, text: str) -> None:
    """Write a new file; it never overwrites one."""
    from codctl.errors import PreflightError, RefusedError, UsageError

    if path.suffix != ".yaml":
        raise UsageError(f'the file name has to end in .yaml; "{path.name}" does not', where=str(path))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RefusedError("the file exists", where=str(path), hint="give another file name") from None
    except OSError as error:
        raise PreflightError(f"cannot write: {error.strerror}", where=str(path)) from error
