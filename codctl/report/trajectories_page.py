"""The page on which one looks at trajectories: its data is one compressed block, and what is looked at is drawn."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from codctl.envs.registry import families
from codctl.errors import UsageError
from codctl.files import atomic
from codctl.outcomes import ANSWER_PROBLEMS, FAULTS, PLAYED, UPDATE_PROBLEMS
from codctl.report.template import fill
from codctl.report.trajectory_sources import Found, Source
from codctl.results.agent_session import read_session
from codctl.results.agent_use import performance_words
from codctl.results.selection import Selection
from codctl.results.trajectory_file import Transcript
from codctl.results.transcript import EpisodeTranscript, Turn
from codctl.safe_text import visible

MOST_TRAJECTORIES = 20_000
MOST_CHARACTERS = 80_000_000  # of different texts: what a browser holds without trouble
_TEXTS = ("words", "feedback", "task", "truth", "hints_before", "hints_after")
_TURN_TEXTS = ("prompt", "reply", "read", "answer")


@dataclass(frozen=True)
class Shown:
    """A trajectory, and where it is from."""

    source: str
    step: int | None
    transcript: Transcript
    folder: Path | None = None  # of the evaluation, where sessions of an agent program lie


@dataclass(frozen=True)
class Page:
    """The page.

    Attributes:
        html: Its text.
        shown: Trajectories on it.
        note: Why it does not show all; empty where it does.
    """

    html: str
    shown: int
    note: str


def render(title: str, selected: Sequence[Shown]) -> Page:
    """The page as text. Texts of models reach it with their control characters replaced, and never as markup."""
    data = _Data()
    for one in selected[:MOST_TRAJECTORIES]:
        if data.characters > MOST_CHARACTERS:
            break
        data.add(one)
    shown = len(data.trajectories)
    note = ""
    if shown < len(selected):
        note = f"a page holds {shown:,} of them; --source, --step, --arm and --pack select others"
    script = _file("trajectories.js")
    content = {
        "name": title,
        "note": note,
        "total": len(selected),
        "shown": shown,
        "data": data.packed(title),
        "script": Markup(script),  # noqa: S704  our own file, which holds no text of others
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    html = fill("trajectories.html", content)
    return Page(html, shown, note)


class _Data:
    """What the script reads. Every text is there once, and named by its place in a list."""

    def __init__(self) -> None:
        self.trajectories: list[dict[str, Any]] = []
        self.characters = 0
        self._texts: dict[str, int] = {}
        self._sources: dict[tuple[str, int | None], int] = {}

    def add(self, one: Shown) -> None:
        transcript = one.transcript
        head = {f.name: getattr(transcript, f.name) for f in fields(Transcript) if f.name != "episodes"}
        self.trajectories.append(
            {
                **head,
                "source": self._sources.setdefault((one.source, one.step), len(self._sources)),
                "episodes": [self._episode(episode, one.folder) for episode in transcript.episodes],
            }
        )

    def packed(self, title: str) -> str:
        """All of it as one word of letters, digits, + / and =."""
        body = {
            "title": title,
            "sources": [{"name": name, "step": step} for name, step in self._sources],
            "outcomes": _outcome_words({one["pack"].partition("/")[0] for one in self.trajectories}),
            "texts": list(self._texts),
            "trajectories": self.trajectories,
        }
        text = json.dumps(_visible(body), allow_nan=False)
        return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()

    def _episode(self, episode: EpisodeTranscript, folder: Path | None) -> dict[str, Any]:
        body = {f.name: getattr(episode, f.name) for f in fields(EpisodeTranscript) if f.name != "distractor"}
        body |= {name: self._text(body[name]) for name in _TEXTS}
        body["turns"] = [self._turn(turn) for turn in episode.turns]
        if played := episode.performance:
            body["performance"] = performance_words(played)
            body["session"] = self._session(folder, played.session) if folder else None
        return {key: value for key, value in body.items() if value not in (None, "", [], {})}

    def _session(self, folder: Path, session: str) -> dict[str, Any] | None:
        """What an agent program and its model said."""
        found = read_session(folder, session)
        if found is None:
            return None
        messages = [[said.role, self._text(said.text)] for said in found.messages]
        return {"exchanges": found.exchanges, "tools": found.tools, "messages": messages}

    def _turn(self, turn: Turn) -> dict[str, Any]:
        return {**vars(turn), **{name: self._text(getattr(turn, name)) for name in _TURN_TEXTS}}

    def _text(self, text: str | None) -> int | None:
        if text is None:
            return None
        if text not in self._texts:
            self._texts[text] = len(self._texts)
            self.characters += len(text)
        return self._texts[text]


def _visible(value: Any) -> Any:
    """The same JSON value as the page's script may show it: `fill` cannot see into the block."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(str(key)): _visible(item) for key, item in value.items()}
    return [_visible(item) for item in value] if isinstance(value, list | tuple) else value


def _outcome_words(names: Iterable[str]) -> dict[str, str]:
    """What outcomes mean, in words; those of these families among them."""
    known = families()
    losses = {kind: words for name in names if name in known for kind, words in known[name].losses.items()}
    problems: list[Mapping[Any, str]] = [ANSWER_PROBLEMS, UPDATE_PROBLEMS, FAULTS]
    replies = {kind: f"the reply {words}" for one in problems for kind, words in one.items()}
    return {**replies, **PLAYED, **losses}


@cache
def _file(name: str) -> str:
    return resources.files("codctl.report").joinpath("templates", name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Written:
    """A page.

    Attributes:
        path: The page.
        shown: Trajectories on it.
        total: Trajectories that are selected.
        note: Why it does not show all of them.
    """

    path: Path
    shown: int
    total: int
    note: str


def write_page(found: Found, sources: Sequence[Source], wanted: Selection, path: Path) -> Written:
    """Write a self-contained page with the selected trajectories.

    Args:
        found: What it is about.
        sources: Whose trajectories.
        wanted: Which of them.
        path: Of the page.

    Raises:
        UsageError: Nothing is selected.
        StageError: The page cannot be written.
    """
    selected = list(_selected(sources, wanted))
    if not selected:
        raise UsageError("no trajectory is selected", where=str(found.folder), hint=f"codctl view {found.name}")
    page = render(found.title, selected)
    with atomic.storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, page.html)
    return Written(path, page.shown, len(selected), page.note)


def _selected(sources: Sequence[Source], wanted: Selection) -> Iterator[Shown]:
    """A name that only some of the sources know selects nothing of the others; one that none knows is refused."""
    problem: UsageError | None = None
    is_known = False
    for source in sources:
        try:
            chosen = wanted.of(list(source.read()))
        except UsageError as error:
            problem = error
            continue
        is_known = True
        yield from (Shown(source.name, source.step, one.transcript, source.path.parent) for one in chosen)
    if problem and not is_known:
        raise problem
