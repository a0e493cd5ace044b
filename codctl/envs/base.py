"""What a family of worlds offers: packs to play, prompts to show, references to compare with.

A *world* has hidden facts. A *task* is one problem in it. A *pack* is one world and several tasks. An *episode* is one
attempt at one task. All are plain Python objects without global state; hundreds live in one process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Protocol

from codctl.seeds import derive_seed

Rendering = Literal["full", "compact"]
Split = Literal["train", "validation", "test", "demonstration"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "demonstration")


@dataclass(frozen=True)
class Step:
    """What one action led to.

    Attributes:
        observation: Text for the next turn; empty when the episode is over.
        reward: Raw reward of the episode, 0 or 1, once it is over; 0 before.
        done: Whether the episode is over.
        feedback: What the environment says at the end; empty before.
        info: Facts for logs and scorers, never shown to a model.
    """

    observation: str
    reward: float
    done: bool
    feedback: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)


class Episode(ABC):
    """One attempt at one task. Ends at success, failure, an unreadable reply or when the turn budget is spent."""

    observation: str  # the first one; later ones come with each step
    turns: int
    max_turns: int
    done: bool
    reward: float
    feedback: str
    unreadable: bool  # whether a reply that could not be read ended it

    @abstractmethod
    def act(self, action: str) -> Step:
        """Play one action (the text inside the answer block)."""

    @abstractmethod
    def fail(self, reason: str) -> Step:
        """End the episode at reward 0 because the reply could not be read; the reason becomes the feedback."""

    @abstractmethod
    def transcript(self) -> str:
        """The trajectory as text for the update prompt, without any hints."""


class Task(Protocol):
    """One problem inside a world."""

    def begin(self, world: Any, rendering: Rendering) -> Episode: ...


@dataclass(frozen=True)
class Pack:
    """One world and its tasks, drawn from a stable seed."""

    family: str
    preset: str
    split: str
    index: int
    world: Any
    tasks: tuple[Task, ...]

    @property
    def id(self) -> str:
        return f"{self.family}/{self.preset}/{self.split}/{self.index}"


@dataclass(frozen=True)
class HintScore:
    """How right a hint is.

    Attributes:
        right: Hidden facts that the hint states correctly.
        wrong: Facts that it states incorrectly.
        missing: Hidden facts that it does not state correctly.
        knowable: Hidden facts that follow from what the agent has seen so far.
        knowable_right: Knowable facts that the hint states correctly.
    """

    right: int
    wrong: int
    missing: int
    knowable: int
    knowable_right: int


@dataclass(frozen=True)
class Situation:
    """All that a scripted policy may look at. Models never see it.

    Attributes:
        pack: World and tasks.
        position: Index of the task in the pack.
        episode: The attempt in hand; for an update, the one just finished.
        past: Earlier episodes of the same trajectory, oldest first, without `episode`.
        hints: The context in force.
        rendering: How texts are written.
    """

    pack: Pack
    position: int
    episode: Episode
    past: Sequence[Episode]
    hints: str
    rendering: Rendering


class Policy(Protocol):
    """A scripted agent: `solve` returns a whole reply with an answer block, `update` the new hints as text."""

    def solve(self, situation: Situation, rng: Random) -> str: ...

    def update(self, situation: Situation, rng: Random) -> str: ...


class Family(ABC):
    """A family of worlds. One instance serves a whole process and holds no state."""

    name: str
    title: str
    presets: tuple[str, ...]
    renderings: tuple[Rendering, ...] = ("full", "compact")
    policies: tuple[str, ...] = ("bayes", "informed", "random")
    facts: int  # hidden facts that a complete hint states

    def pack(self, split: str, index: int, length: int, preset: str) -> Pack:
        """Draw a pack: the same one for every rollout, checkpoint, process and Python version.

        A shorter pack is a prefix of a longer one with the same split and index.
        """
        rng = Random(derive_seed("pack", self.name, preset, split, index))
        world, tasks = self.sample(rng, length, preset)
        return Pack(self.name, preset, split, index, world, tasks)

    @abstractmethod
    def sample(self, rng: Random, length: int, preset: str) -> tuple[Any, tuple[Task, ...]]:
        """Draw a world and `length` tasks."""

    @abstractmethod
    def solve_prompt(self, hints: str, rendering: Rendering, preset: str) -> str:
        """System prompt of a solve episode: the rules, the hints (may be empty) and the reply format."""

    @abstractmethod
    def truth(self, world: Any, rendering: Rendering) -> str:
        """All hidden facts as a hint."""

    @abstractmethod
    def partial_truth(self, world: Any, rendering: Rendering, rng: Random) -> str:
        """A random part of the hidden facts as a hint (possibly none), for demonstrations."""

    @abstractmethod
    def score_context(self, world: Any, hints: str, seen: Sequence[Episode]) -> HintScore:
        """Compare a hint with the hidden truth and with what `seen` episodes reveal."""

    @abstractmethod
    def policy(self, name: str, **options: float) -> Policy:
        """A reference policy by name, or `demonstrator`."""

    @abstractmethod
    def describe_task(self, pack: Pack, position: int) -> str:
        """The task as a person reads it (always the full rendering)."""
