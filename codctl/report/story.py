"""One pack told in full: what the model saw, did, and wrote down for the next task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codctl.outcomes import FAULTS
from codctl.report.effects import ordinal
from codctl.report.words import Piece, difference


@dataclass(frozen=True)
class Move:
    reply: str
    observation: str


@dataclass(frozen=True)
class Chapter:
    """One task of the pack.

    Attributes:
        title: Which task it is.
        success: Whether it was solved.
        hint: The hint in force while it was played; empty for none.
        task: What the model was shown, readable.
        moves: Its replies and what came back.
        feedback: The environment's last word.
        change: How the hint was then rewritten; None after the last task.
        score: How right the new hint is; empty after the last task.
        reply: The update's reply; empty after the last task.
        unread: Why the update could not be read; empty where it was.
        is_kept: Whether the hint stayed as it was.
    """

    title: str
    success: bool
    hint: str
    task: str
    moves: list[Move]
    feedback: str
    change: list[Piece] | None
    score: str
    reply: str = ""
    unread: str = ""
    is_kept: bool = False


def chapters(walkthrough: Mapping[str, Any]) -> list[Chapter]:
    return [_chapter(episode) for episode in walkthrough.get("episodes", [])]


def _chapter(episode: Mapping[str, Any]) -> Chapter:
    before, after = episode.get("hint_before") or "", episode.get("hint_after")
    moves = [Move(move["reply"].strip(), move["observation"]) for move in episode["moves"]]
    feedback = episode.get("feedback") or ""
    if moves and moves[-1].observation == feedback:
        moves[-1] = Move(moves[-1].reply, "")  # the last answer is the feedback: say it once
    return Chapter(
        title=f"{ordinal(episode['position']).capitalize()} task",
        success=bool(episode["success"]),
        hint=before,
        task=episode["task"],
        moves=moves,
        feedback=f"{feedback} The reply {fault}." if (fault := FAULTS.get(episode.get("outcome", ""))) else feedback,
        change=None if after is None else difference(before, after),
        score=_score(episode.get("hint_score")) if after is not None else "",
        reply=(episode.get("update_reply") or "").strip(),
        unread=episode.get("update_problem") or "",
        is_kept=before == (after or ""),
    )


def _score(score: Mapping[str, int] | None) -> str:
    if not score:
        return ""
    found = ", ".join(f"{score[kind]} {kind}" for kind in ("right", "wrong", "missing"))
    return f"{found}; {score['knowable']} could be known"
