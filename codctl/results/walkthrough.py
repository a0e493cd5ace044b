"""One pack told in full, for a reader: tasks, moves, and what the hints said before and after."""

from __future__ import annotations

from collections.abc import Sequence

from codctl.cod.trajectory import EpisodeRecord, Trajectory
from codctl.envs.base import Pack, Rendering
from codctl.outcomes import FAULTS
from codctl.runs.eval_result import HintScore, Move, ToldEpisode, Walkthrough

CANDIDATES = 50  # packs of which one is told


def typical(told: Sequence[Walkthrough]) -> Walkthrough | None:
    """Of the packs that were told, the one whose number of successes is the median (the first such)."""
    if not told:
        return None
    successes = [sum(episode.success for episode in one.episodes) for one in told]
    return told[successes.index(sorted(successes)[len(successes) // 2])]


def tell(pack: Pack, trajectory: Trajectory, rendering: Rendering) -> Walkthrough:
    """One trajectory as plain data."""
    updates = {e.position: e for e in trajectory.of("update")}
    episodes = tuple(_episode(pack, one, updates.get(one.position)) for one in trajectory.of("solve"))
    return Walkthrough(pack.id, pack.slots[0].family.truth(pack.world, rendering), episodes)


def _episode(pack: Pack, episode: EpisodeRecord, update: EpisodeRecord | None) -> ToldEpisode:
    slot = pack.slots[episode.position]
    # Each reply is answered by the next observation, the last one by the feedback.
    answers = [*episode.observations[1:], episode.feedback][: len(episode.replies)]
    score = update.hint_score if update else None
    return ToldEpisode(
        position=episode.position,
        task=slot.family.describe_task(slot.world, slot.task),
        moves=tuple(Move(reply, answer) for reply, answer in zip(episode.replies, answers, strict=True)),
        success=episode.raw_reward > 0,
        outcome=episode.outcome,
        feedback=episode.feedback,
        hint_before=episode.hints,
        hint_after=update.hints if update else None,
        hint_score=HintScore(score.right, score.wrong, score.missing, score.knowable) if score else None,
        update_reply="".join(update.replies) if update else None,
        update_problem=(update.failed or _unread(update)) if update else None,
    )


def _unread(update: EpisodeRecord) -> str:
    """Why an update was not read; empty where it was."""
    if not update.format_error:
        return ""
    return f"the reply {FAULTS[update.fault.kind]}" if update.fault else update.feedback
