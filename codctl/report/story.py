"""One pack told in full: what the model saw, did, and wrote down for the next task, with what changed marked."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codctl.outcomes import FAULTS
from codctl.quantities import number
from codctl.report.findings import ordinal
from codctl.results.agent_session import AgentSession, read_session
from codctl.runs.eval_result import HintScore, Move, ToldEpisode, Walkthrough


@dataclass(frozen=True)
class Piece:
    """A stretch of text that was kept, inserted or deleted."""

    kind: Literal["same", "ins", "del"]
    text: str

    @property
    def word(self) -> str:
        """The text without the space at its end, which need not be marked."""
        return self.text.rstrip()

    @property
    def space(self) -> str:
        return self.text[len(self.word) :] or " "


def difference(old: str, new: str) -> list[Piece]:
    """The way from `old` to `new`; replaced words come as a deletion before an insertion. Spacing does not count."""
    before, after = _words(old), _words(new)
    pieces: list[Piece] = []
    matcher = difflib.SequenceMatcher(None, [w.strip() for w in before], [w.strip() for w in after], autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind == "equal":
            pieces.append(Piece("same", "".join(after[k:m])))
            continue
        if i < j:
            pieces.append(Piece("del", "".join(before[i:j])))
        if k < m:
            pieces.append(Piece("ins", "".join(after[k:m])))
    return pieces


def _words(text: str) -> list[str]:
    """Words, each with the space behind it."""
    return re.findall(r"\S+\s*", text)


_FAULTS = {str(kind): words for kind, words in FAULTS.items()}


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
        reward: Of a graded family; else None.
        session: Of the agent program that played it; None without one, or where nothing is left of it.
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
    reward: float | None = None
    session: AgentSession | None = None


def chapters(walkthrough: Walkthrough | None, folder: Path | None = None) -> list[Chapter]:
    """The tasks of a pack.

    Args:
        walkthrough: The pack; None for none.
        folder: Of the evaluation, for sessions of agent programs.
    """
    return [_chapter(episode, folder) for episode in walkthrough.episodes] if walkthrough else []


def _chapter(episode: ToldEpisode, folder: Path | None) -> Chapter:
    before, after, feedback = episode.hint_before, episode.hint_after, episode.feedback
    moves = [Move(move.reply.strip(), move.observation) for move in episode.moves]
    if moves and moves[-1].observation == feedback:
        moves[-1] = Move(moves[-1].reply, "")  # the last answer is the feedback: say it once
    return Chapter(
        title=f"{ordinal(episode.position).capitalize()} task",
        success=episode.success,
        hint=before,
        task=episode.task,
        moves=moves,
        feedback=f"{feedback} The reply {_FAULTS[episode.outcome]}." if episode.outcome in _FAULTS else feedback,
        change=None if after is None else difference(before, after),
        score=_score(episode.hint_score) if episode.hint_score else "",
        reply=(episode.update_reply or "").strip(),
        unread=episode.update_problem or "",
        is_kept=before == (after or ""),
        reward=episode.raw_reward,
        session=read_session(folder, episode.session) if folder and episode.session else None,
    )


def _score(score: HintScore) -> str:
    counts = f"{score.right} right, {score.wrong} wrong, {score.missing} missing; {score.knowable} could be known"
    return "; ".join([counts, *(f"{name.replace('_', ' ')} {number(value)}" for name, value in score.detail.items())])
