"""codctl view: what was said, trajectory by trajectory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._browser import open_page
from codctl.cli._options import RUNS_DIR, Json, OpenPage, RunsDir
from codctl.quantities import counted

if TYPE_CHECKING:
    from codctl.report.trajectory_sources import Found, Source
    from codctl.results.selection import Chosen, Rank, Selection
    from codctl.results.trajectory_file import Transcript

_IN_INDEX, _IN_FULL = 20, 5
_OWN = "own"


def view(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|EVALUATION",
            autocompletion=complete.viewed,
            help="A run's name or folder, or an evaluation's id, name or folder.",
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="NAME",
            help="Of a run: training, validation, before, after, after-long or an evaluation's id.",
        ),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(
            "--step", metavar="N", autocompletion=complete.stored_steps, help="Of a run: a stored training step."
        ),
    ] = None,
    pack: Annotated[
        list[str] | None, typer.Option("--pack", metavar="PACK", help="One pack in full: its id or its number.")
    ] = None,
    arm: Annotated[list[str] | None, typer.Option("--arm", metavar="NAME", help="Only this arm or reference.")] = None,
    part: Annotated[list[str] | None, typer.Option("--part", metavar="NAME", help="Only this part of a suite.")] = None,
    outcome: Annotated[
        list[str] | None,
        typer.Option(
            "--outcome", metavar="NAME", help="Only episodes that ended so; failed and unreadable stand for several."
        ),
    ] = None,
    place: Annotated[
        list[int] | None, typer.Option("--position", metavar="N", min=1, help="Only this task of a pack, from 1.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", metavar="N", help="Only this sampling seed.")] = None,
    rollout: Annotated[
        list[int] | None, typer.Option("--rollout", metavar="N", min=0, help="In training: only this rollout.")
    ] = None,
    search: Annotated[str, typer.Option("--search", metavar="TEXT", help="Only episodes that contain this text.")] = "",
    best: Annotated[bool, typer.Option("--best", help="The best pack in full.")] = False,
    worst: Annotated[bool, typer.Option("--worst", help="The worst pack in full.")] = False,
    typical: Annotated[bool, typer.Option("--typical", help="The median pack in full.")] = False,
    hints: Annotated[
        str | None,
        typer.Option("--hints", metavar="PACK", help="The hints of this pack at every stored step, with changes."),
    ] = None,
    sessions: Annotated[
        bool,
        typer.Option("--sessions", help="In full: also what an agent program and its model said in its own sessions."),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Most trajectories; 20 in the index, 5 in full."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with all that is selected.")
    ] = None,
    opens: OpenPage = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Look at what was said: prompts, replies, what was read from them, answers and hints.

    Without a selection you get an index. A pack, an outcome, a position or a text selects what is shown in full.
    """
    from codctl.cli import _trajectory_text
    from codctl.report.trajectory_sources import find
    from codctl.results.selection import Selection

    found = replace(find(runs_dir, target), name=target)  # so that the commands it suggests work as this one does
    wanted = Selection(
        arms=tuple(arm or ()),
        parts=tuple(part or ()),
        outcomes=tuple(outcome or ()),
        positions=tuple(number - 1 for number in place or ()),
        packs=tuple(pack or ()),
        seeds=tuple(seed or ()),
        rollouts=tuple(rollout or ()),
        search=search,
    )
    if html or opens:
        _page(found, source, step, wanted, html, opens=opens, as_json=as_json)
        return
    if hints is not None:
        _hints(found, hints, wanted, as_json=as_json)
        return
    shown = found.source(source, step)
    chosen = wanted.of(list(shown.read()))
    flags: list[tuple[Rank, bool]] = [("best", best), ("worst", worst), ("typical", typical)]
    ranks = [rank for rank, is_asked in flags if is_asked]
    total = len(chosen)
    is_full = bool(ranks or wanted.packs or wanted.is_of_episodes)
    if is_full:
        chosen = _in_full(chosen, wanted, ranks)[: limit or _IN_FULL]
    if as_json:
        rows = [_as_dict(one) for one in chosen[: limit or (_IN_FULL if is_full else _IN_INDEX)]]
        _output.result("view", {**_about(found, shown), "total": total, "trajectories": rows}, "", as_json=True)
        return
    if not chosen:
        _output.data("no episode is of this kind")
        return
    if not is_full:
        _index(found, shown, chosen, limit or _IN_INDEX)
        return
    text = _trajectory_text.in_full(chosen, shown.path.parent if sessions else None)
    _output.paged(text)
    if total > len(chosen):
        _output.talk(f"{len(chosen)} of {counted(total, 'trajectory')} shown; --limit, --arm and --pack choose others")


def _in_full(chosen: list[Chosen], wanted: Selection, ranks: list[Rank]) -> list[Chosen]:
    """The trajectories to print: of several arms the model's own hints, unless another one is asked for."""
    from codctl.results.selection import ranked

    own = [one for one in chosen if one.transcript.arm == _OWN]
    if own and not wanted.arms and not wanted.outcomes:
        chosen = own
    return [ranked(chosen, rank) for rank in ranks if chosen] if ranks else chosen


def _index(found: Found, shown: Source, chosen: list[Chosen], most: int) -> None:
    from codctl.cli import _rich, _trajectory_text

    blocks = [f"{found.title}: {shown.title}"]
    if len(found.sources) > 1:
        blocks.append(
            f"{_trajectory_text.sources(found.sources)}\n\nbelow: {shown.title}; --source and --step choose others"
        )
    blocks += [_trajectory_text.outcomes(chosen), _trajectory_text.index(chosen, most)]
    if len(chosen) > most:
        blocks[-1] += f"\n{len(chosen) - most} more: --limit {len(chosen)}, or --open for a page with all of them"
    asked = f" --source {shown.name}" if len(found.sources) > 1 else ""
    asked += f" --step {shown.step}" if asked and shown.step is not None else ""
    blocks.append(f"in full: codctl view {found.name}{asked} --typical, --best, --worst, --pack N, --outcome NAME")
    _output.paged(_rich.styled("\n\n".join(blocks)))


def _hints(found: Found, pack: str, wanted: Selection, *, as_json: bool) -> None:
    from codctl.cli import _trajectory_text
    from codctl.report.trajectory_sources import follow

    arm = wanted.arms[0] if wanted.arms else None
    followed = follow(found, pack, arm)
    if as_json:
        rows = [
            {
                "source": source.name,
                "step": source.step,
                "pack": transcript.pack,
                "arm": transcript.arm,
                "success": [episode.success for episode in transcript.solves],
                "hints": [episode.hints_before for episode in transcript.solves],
                **_raw_rewards(transcript),
            }
            for source, transcript in followed
        ]
        _output.result("view", {"name": found.name, "title": found.title, "steps": rows}, "", as_json=True)
        return
    _output.paged(_trajectory_text.over_steps(followed))


def _raw_rewards(transcript: Transcript) -> dict[str, list[float | None]]:
    """Beside success, of graded families only."""
    found = [episode.raw_reward for episode in transcript.solves]
    return {"raw_reward": found} if any(reward is not None for reward in found) else {}


def _page(
    found: Found,
    source: str | None,
    step: int | None,
    wanted: Selection,
    path: Path | None,
    *,
    opens: bool,
    as_json: bool,
) -> None:
    """Write the page; of a run with all that is stored of it unless a source is named."""
    from codctl.report.trajectories_page import write_page

    chosen = [found.source(source, step)] if source is not None or step is not None else list(found.sources)
    written = write_page(found, chosen, wanted, path or found.folder / "view.html")
    value = {"page": str(written.path), "trajectories": written.shown, "total": written.total}
    left_out = f"\n{written.shown} of {counted(written.total, 'trajectory')}: {written.note}" if written.note else ""
    _output.result("view", value, f"{written.path}{left_out}", as_json=as_json)
    if opens:
        open_page(written.path)


def _about(found: Found, shown: Source) -> dict[str, Any]:
    return {
        "name": found.name,
        "title": found.title,
        "source": shown.name,
        "step": shown.step,
        "path": str(shown.path),
        "sources": [{"name": one.name, "step": one.step} for one in found.sources],
    }


def _as_dict(chosen: Chosen) -> dict[str, Any]:
    head = {key: value for key, value in vars(chosen.transcript).items() if key != "episodes"}
    return {**head, "episodes": [episode.as_dict() for episode in chosen.episodes]}
