"""Trajectories of runs and evaluations as sessions, and all of a run or a folder written as ATIF documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import codctl
from codctl.config.names import plain
from codctl.errors import RefusedError, UsageError
from codctl.files import reader
from codctl.files.seal import sealing
from codctl.report.trajectory_sources import Found, Source
from codctl.results.agent_session import EXCHANGES, SESSIONS
from codctl.results.trajectory_file import Transcript
from codctl.results.transcript import EpisodeTranscript, Turn
from codctl.sessions.atif import VERSION, as_atif
from codctl.sessions.reading import read_sessions
from codctl.sessions.session import Message, Role, Session, Usage

_ROLES: dict[str, Role] = {"system": "system", "user": "user", "human": "user", "assistant": "assistant"}
_ROLES["model"] = "assistant"


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        folder: All of it.
        documents: How many.
        sessions: How many of them are sessions of agent programs.
        notes: What is not in them.
    """

    folder: Path
    documents: int
    sessions: int
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "folder": str(self.folder), "notes": list(self.notes), "version": VERSION}


def export_atif(
    found: Found, source: Source, out: Path, *, arm: str | None = None, limit: int | None = None
) -> Written:
    """Write the trajectories of a source as ATIF, a document for each episode, whole or not at all.

    Sessions of agent programs, where an evaluation has kept them, are documents too.

    Args:
        found: What the user named.
        source: Which of its trajectories.
        out: New folder.
        arm: Only this arm.
        limit: Only so many trajectories.

    Raises:
        RefusedError: The folder exists.
        UsageError: There are no such trajectories.
    """
    documents: dict[str, dict[str, Any]] = {}
    for number, transcript in enumerate(one for one in source.read() if arm in (None, one.arm)):
        if limit is not None and number >= limit:
            break
        run = "/".join(filter(None, (*dict.fromkeys((found.name, source.name)), *_place(transcript))))
        for episode in transcript.episodes:
            session = session_of(transcript, episode, f"{run}/{episode.position}/{episode.kind}", _model(found, source))
            if session.messages:
                documents[session.id] = as_atif(session, run, _more(transcript, episode))
    if not documents:
        of = f" of the arm {arm}" if arm else ""
        raise UsageError(f"there are no trajectories{of}", where=source.title, hint=f"codctl view {found.name}")
    played = _played_sessions(source.path.parent / SESSIONS)
    notes = ["Token ids are not in them: a run keeps the texts."]
    return _write(documents, [*played], out, notes)


def export_sessions(sessions: Sequence[Session], out: Path) -> Written:
    """Write sessions as ATIF, a document for each, whole or not at all.

    Raises:
        RefusedError: The folder exists.
    """
    return _write({}, [(f"{number:04d}-{one.id}", one) for number, one in enumerate(sessions)], out, [])


def session_of(transcript: Transcript, episode: EpisodeTranscript, name: str, model: str) -> Session:
    """An episode as a session: what the model read and what it wrote, turn by turn."""
    messages = [message for turn in episode.turns for message in _messages(turn, episode.specials)]
    reward = episode.raw_reward if episode.raw_reward is not None else episode.success
    return Session(
        id=name,
        source="codctl",
        agent="codctl",
        version=codctl.__version__,
        model=model,
        messages=tuple(messages),
        ended="model_error" if episode.reward is None else "ended",
        problem=episode.words,
        reward=reward if episode.kind == "solve" else episode.reward,
        reward_from="world" if episode.kind == "solve" else "parser",
    )


def split_roles(prompt: str, specials: Sequence[str]) -> list[tuple[Role, str]]:
    """The messages in a rendered prompt; one of the user with all of it where the roles cannot be seen."""
    if not specials:
        return [("user", prompt)]
    pattern = "|".join(re.escape(special) for special in sorted(specials, key=len, reverse=True))
    found: list[tuple[Role, str]] = []
    role: Role | None = None
    for piece in re.split(f"({pattern})", prompt):
        if piece in specials:
            role = _ROLES.get(piece.strip("<|>[]/ \n").lower(), role)
            continue
        head, _, rest = piece.lstrip().partition("\n")
        if head.strip().lower() in _ROLES:
            role, piece = _ROLES[head.strip().lower()], rest
        if not piece.strip():
            continue
        if role is None:
            return [("user", prompt)]
        found.append((role, piece.strip()))
    return found


def _messages(turn: Turn, specials: Sequence[str]) -> Iterator[Message]:
    for role, text in split_roles(turn.prompt, specials):
        yield Message(role, text)
    if turn.reply is not None:
        text = turn.reply
        for special in specials:
            text = text.replace(special, "")
        usage = Usage(None, turn.reply_tokens)
        yield Message("assistant", text.strip(), written="" if text == turn.reply else turn.reply, usage=usage)


def _more(transcript: Transcript, episode: EpisodeTranscript) -> dict[str, Any]:
    return {
        "kind": episode.kind,
        "pack": transcript.pack,
        "part": transcript.part,
        "arm": transcript.arm,
        "rollout": transcript.rollout,
        "position": episode.position,
        "outcome": episode.outcome,
        "success": episode.success,
        "shaped_reward": episode.reward,
        "feedback": episode.feedback,
        "hints_before": episode.hints_before,
        "hints_after": episode.hints_after,
        "advantage": episode.credit_advantage,
    }


def _place(transcript: Transcript) -> tuple[str, ...]:
    return transcript.part, transcript.arm, str(transcript.seed), transcript.pack, str(transcript.rollout)


def _model(found: Found, source: Source) -> str:
    return found.name if source.step is None else f"{found.name}@{source.step}"


def _played_sessions(folder: Path) -> Iterator[tuple[str, Session]]:
    for path in sorted(folder.glob(f"*/{EXCHANGES}")):
        reader.refuse_links(path, folder.parent)
        for number, session in enumerate(read_sessions(path, "proxy")):
            yield f"{SESSIONS}-{path.parent.name}-{number}", session


def _write(
    documents: dict[str, dict[str, Any]], sessions: Sequence[tuple[str, Session]], out: Path, notes: list[str]
) -> Written:
    if out.exists():
        raise RefusedError("the folder exists", where=str(out), hint="give another folder with --out")
    every = documents | {name: as_atif(session) for name, session in sessions}
    with sealing(out, {"documents": len(every), "version": VERSION}) as temp:
        for name, document in every.items():
            path = temp / f"{plain(name).strip('-.')[:200]}.json"
            with path.open("x", encoding="utf-8") as file:  # two of one name would be an error of ours
                json.dump(document, file, ensure_ascii=False, indent=1)
    return Written(out, len(every), len(sessions), tuple(notes if documents else ()))
