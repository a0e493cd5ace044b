"""Which of the stored trajectories a reader wants to see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from codctl.errors import UsageError
from codctl.outcomes import UNPLAYED, UNREADABLE, WRITTEN
from codctl.results.trajectory_file import Transcript
from codctl.results.transcript import EpisodeTranscript

Rank = Literal["best", "worst", "typical"]
# Words for several outcomes at once.
GROUPS = {
    "failed": "everything but solved and written",
    "unreadable": "replies that could not be used, of any kind",
}
_MOST_NAMES = 12


@dataclass(frozen=True)
class Chosen:
    """A trajectory, and its episodes that are wanted."""

    transcript: Transcript
    episodes: tuple[EpisodeTranscript, ...]

    @property
    def score(self) -> tuple[float, float]:
        """Tasks solved, then shaped reward."""
        return score(self.transcript)

    @property
    def raw_reward(self) -> float | None:
        """Of all tasks; None in families that are not graded."""
        found = [episode.raw_reward for episode in self.transcript.solves if episode.raw_reward is not None]
        return sum(found) if found else None


@dataclass(frozen=True)
class Selection:
    """What is wanted; an empty tuple or None is no restriction.

    Attributes:
        arms: Arms, reference policies among them.
        parts: Parts of a suite.
        outcomes: Of episodes; also a name of GROUPS.
        positions: Of episodes, from 0.
        packs: Each its id, the number at the end of its id, or its number in the evaluation.
        seeds: Sampling seeds.
        rollouts: Of a pack in training.
        search: A text in prompt, reply, answer or hints, in whichever case.
    """

    arms: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    positions: tuple[int, ...] = ()
    packs: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    rollouts: tuple[int, ...] = ()
    search: str = ""

    @property
    def is_of_episodes(self) -> bool:
        """Whether it picks episodes out of trajectories."""
        return bool(self.outcomes or self.positions or self.search)

    def of(self, transcripts: Sequence[Transcript]) -> list[Chosen]:
        """Those trajectories that have a wanted episode.

        Raises:
            UsageError: A name does not occur in them.
        """
        self._check(transcripts)
        found = []
        for transcript in transcripts:
            if self._has(transcript):
                episodes = tuple(episode for episode in transcript.episodes if self._wants(episode))
                found += [Chosen(transcript, episodes)] if episodes else []
        return found

    def _has(self, transcript: Transcript) -> bool:
        return (
            _allows(self.arms, transcript.arm)
            and _allows(self.parts, transcript.part)
            and _allows(self.seeds, transcript.seed)
            and _allows(self.rollouts, transcript.rollout)
            and (not self.packs or any(is_pack(transcript, wanted) for wanted in self.packs))
        )

    def _wants(self, episode: EpisodeTranscript) -> bool:
        return (
            _allows(self.positions, episode.position)
            and (not self.outcomes or any(is_outcome(episode.outcome, wanted) for wanted in self.outcomes))
            and (not self.search or self.search.casefold() in _text(episode).casefold())
        )

    def _check(self, transcripts: Sequence[Transcript]) -> None:
        outcomes = Counter(episode.outcome for transcript in transcripts for episode in transcript.episodes)
        _refuse_unknown("arm", self.arms, Counter(transcript.arm for transcript in transcripts))
        _refuse_unknown("part", self.parts, Counter(transcript.part for transcript in transcripts))
        _refuse_unknown("outcome", self.outcomes, outcomes, also=tuple(GROUPS))
        for wanted in self.packs:
            if not any(is_pack(transcript, wanted) for transcript in transcripts):
                names = list(dict.fromkeys(transcript.pack for transcript in transcripts))
                shown = f"{names[0]} to {names[-1]}" if len(names) > 1 else "".join(names)
                raise UsageError(f"there is no pack {wanted!r}; stored: {shown or 'none'}", where="--pack")


def score(transcript: Transcript) -> tuple[float, float]:
    """Tasks solved, then shaped reward."""
    solves = transcript.solves
    return sum(episode.success or 0.0 for episode in solves), sum(episode.reward or 0.0 for episode in solves)


def ranked(chosen: Sequence[Chosen], rank: Rank) -> Chosen:
    """The best or worst trajectory, or the median one; of equals the first.

    Args:
        chosen: At least one.
        rank: Which.
    """
    if rank == "best":
        return max(chosen, key=lambda one: one.score)
    by_score = sorted(chosen, key=lambda one: one.score)
    return by_score[0 if rank == "worst" else (len(by_score) - 1) // 2]


def is_pack(transcript: Transcript, wanted: str) -> bool:
    """Whether a user means the pack of this trajectory."""
    parts = transcript.pack.split("/")
    return wanted in (transcript.pack, str(transcript.number)) or wanted in parts[3:4]


def is_outcome(outcome: str, wanted: str) -> bool:
    """Whether an outcome is the wanted one, or of the wanted group."""
    if wanted == "unreadable":
        return outcome in UNREADABLE
    if wanted == "failed":
        return outcome not in ("solved", *WRITTEN, *UNPLAYED)
    return outcome == wanted


def _text(episode: EpisodeTranscript) -> str:
    said = (text or "" for turn in episode.turns for text in (turn.prompt, turn.reply, turn.answer))
    return "\n".join((*said, episode.hints_before, episode.hints_after or "", episode.feedback))


def _allows(wanted: Sequence[object], value: object) -> bool:
    return not wanted or value in wanted


def _refuse_unknown(noun: str, wanted: Iterable[str], known: Counter[str], also: tuple[str, ...] = ()) -> None:
    for name in wanted:
        if name not in known and name not in also:
            listed = ", ".join(f"{one} ({count})" for one, count in known.most_common(_MOST_NAMES)) or "none"
            raise UsageError(f"there is no {noun} {name!r}; stored: {listed}", where=f"--{noun}")
