"""What was said in a trajectory, for a reader: turn by turn as the model saw it, and one pack told as a story."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from codctl.cod.attempt import Performance
from codctl.cod.conversation import Chat
from codctl.cod.credit import EpisodeCredit
from codctl.cod.trajectory import EpisodeRecord, Trajectory
from codctl.envs import base
from codctl.envs.base import Pack, Rendering
from codctl.files import reader
from codctl.outcomes import FAULTS, WRITTEN
from codctl.runs.eval_result import HintScore, Move, ToldEpisode, Walkthrough

_ADDED = ("raw_reward", "hint_detail", "performance")  # to the episodes of graded families, and of agent programs


@dataclass(frozen=True)
class Turn:
    """One reply and what surrounds it.

    Attributes:
        prompt: What the model read since its last reply, with special tokens.
        reply: What it wrote, with special tokens; None when no reply came.
        read: The action, or the hints, that were read from it; None where it could not be read.
        answer: What the world said to that.
        prompt_tokens: Length of `prompt`.
        reply_tokens: Length of `reply`.
    """

    prompt: str
    reply: str | None
    read: str | None
    answer: str
    prompt_tokens: int
    reply_tokens: int


@dataclass(frozen=True)
class EpisodeTranscript:
    """One solve or update episode.

    Attributes:
        kind: `solve`, or the `update` that follows it.
        position: In the pack, from 0.
        distractor: Whether the task is a distractor.
        outcome: How it ended (`codctl.outcomes`).
        words: What a server said about it.
        success: Solve: 0 or 1; None for an update, and where it was not played.
        reward: Shaped reward; None where it was not played.
        feedback: What the world or the parser said at the end.
        task: Solve: the task as a person reads it.
        truth: Solve: the hidden facts, as a hint.
        hints_before: The hints in force.
        hints_after: Update: the hints in force afterwards.
        hint_right: Of `hints_after`, of a solve of `hints_before`: hidden facts that they state, as are the next four.
        hint_wrong: Facts that they state wrongly.
        hint_missing: Hidden facts that they do not state.
        hint_knowable: Hidden facts that follow from what was seen.
        hint_knowable_right: Those of them that the hints state.
        weight_version: Of the weights that wrote the last reply.
        specials: Special tokens that occur in prompts and replies.
        turns: In order.
        credit_return: Return, in training only, as are the next two.
        credit_baseline: What it was compared with.
        credit_advantage: What the episode was trained with.
        raw_reward: Solve of a graded family: as the world gave it; None where it was not played, and in other families.
        hint_detail: In a graded family: further numbers about the hints that the score is of, by name.
        performance: How an agent program went through it, where one did.
    """

    kind: str
    position: int
    distractor: bool
    outcome: str
    words: str
    success: float | None
    reward: float | None
    feedback: str
    task: str
    truth: str
    hints_before: str
    hints_after: str | None
    hint_right: int
    hint_wrong: int
    hint_missing: int
    hint_knowable: int
    hint_knowable_right: int
    weight_version: int
    specials: tuple[str, ...]
    turns: tuple[Turn, ...]
    credit_return: float | None = None
    credit_baseline: float | None = None
    credit_advantage: float | None = None
    raw_reward: float | None = None
    hint_detail: Mapping[str, float] = field(default_factory=dict)
    performance: Performance | None = None

    def as_dict(self) -> dict[str, Any]:
        """As plain data, without what only graded families and agent programs have in others."""
        values = asdict(self)
        for name in _ADDED:
            if values[name] in (None, {}):
                del values[name]
        return values

    @classmethod
    def of(cls, values: dict[str, Any]) -> EpisodeTranscript:
        """From plain data; keys of later versions are left out."""
        known = {key: value for key, value in values.items() if key in cls.__dataclass_fields__}
        turns = tuple(Turn(**turn) for turn in known["turns"])
        detail = dict(known.get("hint_detail") or {})  # Parquet has pairs, or nothing
        found = known.get("performance")
        performance = Performance(**found) if found else None
        return cls(
            **{
                **known,
                "turns": turns,
                "specials": tuple(known["specials"]),
                "hint_detail": detail,
                "performance": performance,
            }
        )


def transcribe(
    trajectory: Trajectory,
    pack: Pack,
    chat: Chat,
    rendering: Rendering,
    credits_: Sequence[EpisodeCredit] = (),
) -> list[EpisodeTranscript]:
    """The transcripts of a trajectory's episodes, in order.

    Args:
        trajectory: What was played.
        pack: Its pack.
        chat: Of the model that played it.
        rendering: In which it was played.
        credits_: Of each episode; empty where nothing was learned from them.
    """
    before = {episode.position: episode.hints for episode in trajectory.of("solve")}
    found = []
    for number, episode in enumerate(trajectory.episodes):
        slot, is_solve, score = pack.slots[episode.position], episode.kind == "solve", episode.hint_score
        credit = credits_[number] if credits_ else None
        is_graded = slot.family.graded
        found.append(
            EpisodeTranscript(
                kind=episode.kind,
                position=episode.position,
                distractor=slot.distractor,
                outcome=episode.outcome,
                words=episode.fault.words if episode.fault else "",
                success=float(episode.is_solved) if is_solve and not episode.failed else None,
                reward=None if episode.failed else episode.shaped_reward,
                feedback=episode.feedback,
                task=slot.family.describe_task(slot.world, slot.task) if is_solve else "",
                truth=slot.family.truth(slot.world, rendering) if is_solve else "",
                hints_before=before[episode.position],
                hints_after=None if is_solve else episode.hints,
                hint_right=score.right,
                hint_wrong=score.wrong,
                hint_missing=score.missing,
                hint_knowable=score.knowable,
                hint_knowable_right=score.knowable_right,
                weight_version=episode.weight_version,
                specials=tuple(chat.specials(episode.ids.tolist())),
                turns=tuple(_turns(episode, chat)),
                credit_return=credit.return_ if credit else None,
                credit_baseline=credit.baseline if credit else None,
                credit_advantage=credit.advantage if credit else None,
                raw_reward=episode.raw_reward if is_graded and is_solve and not episode.failed else None,
                hint_detail=dict(score.detail) if is_graded else {},
                performance=episode.performance,
            )
        )
    return found


def packed(episodes: Sequence[EpisodeTranscript]) -> str:
    """Transcripts as one short word of ASCII, for a line of JSON."""
    body = json.dumps([episode.as_dict() for episode in episodes]).encode()
    return base64.b85encode(zlib.compress(body, 6)).decode("ascii")


def unpacked(word: str) -> list[EpisodeTranscript]:
    """What `packed` made."""
    return [EpisodeTranscript.of(values) for values in reader.parse(_unzipped(base64.b85decode(word)))]


def _unzipped(data: bytes) -> bytes:
    """At most so much: a few bytes can stand for gigabytes."""
    inflater = zlib.decompressobj()
    found = inflater.decompress(data, reader.LARGE)
    if inflater.unconsumed_tail:
        raise reader.UnfitError("it holds trajectories that are too large")
    return found


def _turns(episode: EpisodeRecord, chat: Chat) -> Iterator[Turn]:
    if episode.performance and episode.performance.protocol == "tools":
        yield from _without_tokens(episode)
        return
    # Each reply is answered by the next observation, the last one by the feedback.
    answers = [*episode.observations[1:], episode.feedback]
    read: Sequence[str] = episode.actions
    if episode.kind == "update" and episode.outcome in WRITTEN:
        read = (episode.hints,)
    ids, start = episode.ids.tolist(), 0
    for number, end in enumerate(episode.turn_ends):
        split = next((place for place in range(start, end) if episode.loss_mask[place]), end)
        yield Turn(
            prompt=chat.show(ids[start:split]),
            reply=chat.show(ids[split:end]),
            read=read[number] if number < len(read) else None,
            answer=answers[number] if number < len(answers) else "",
            prompt_tokens=split - start,
            reply_tokens=end - split,
        )
        start = end
    if start < len(ids):  # the last reply never came
        yield Turn(chat.show(ids[start:]), None, None, episode.feedback, len(ids) - start, 0)


def _without_tokens(episode: EpisodeRecord) -> Iterator[Turn]:
    """An episode that an agent program led in its own words: what reached the world, or what it kept of it."""
    said = episode.replies if episode.kind == "update" else episode.actions
    read = (episode.hints,) if episode.kind == "update" and episode.outcome == "written" else episode.actions
    answers = [*episode.observations[1:], episode.feedback]
    for number, text in enumerate(said):
        seen = "" if number else episode.observations[0]
        yield Turn(seen, text, read[number] if number < len(read) else None, answers[number], 0, 0)
    if not said:
        yield Turn(episode.observations[0], None, None, episode.feedback, 0, 0)


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
    replies = episode.replies or episode.actions  # an agent program may have led the episode in its own words
    answers = [*episode.observations[1:], episode.feedback][: len(replies)]
    score = update.hint_score if update else None
    return ToldEpisode(
        position=episode.position,
        task=slot.family.describe_task(slot.world, slot.task),
        moves=tuple(Move(reply, answer) for reply, answer in zip(replies, answers, strict=True)),
        success=episode.is_solved,
        outcome=episode.outcome,
        feedback=episode.feedback,
        hint_before=episode.hints,
        hint_after=update.hints if update else None,
        hint_score=_score(score) if score else None,
        update_reply="".join(update.replies) if update else None,
        update_problem=(update.failed or _unread(update)) if update else None,
        raw_reward=episode.raw_reward if slot.family.graded and not episode.failed else None,
        session=episode.performance.session if episode.performance else None,
    )


def _score(score: base.HintScore) -> HintScore:
    return HintScore(score.right, score.wrong, score.missing, score.knowable, dict(score.detail))


def _unread(update: EpisodeRecord) -> str:
    """Why an update was not read; empty where it was."""
    if not update.format_error:
        return ""
    return f"the reply {FAULTS[update.fault.kind]}" if update.fault else update.feedback
