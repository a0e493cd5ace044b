"""What a family of worlds offers: packs to play, prompts to show, references to compare with.

A *world* has hidden facts. A *task* is one problem in it. A *pack* is one world and several tasks. An *episode* is one
attempt at one task. All are plain Python objects without global state; hundreds live in one process.
"""

from __future__ import annotations

import asyncio
import atexit
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping, Sequence, Set
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from inspect import iscoroutinefunction
from random import Random
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeVar

from codctl.config.names import unknown
from codctl.envs.solve_prompt import ReplyForm as ReplyForm  # so that a family finds all that it needs here
from codctl.envs.solve_prompt import solve_prompt
from codctl.errors import UsageError
from codctl.outcomes import AnswerProblem, PlayedOutcome
from codctl.seeds import derive_seed

T = TypeVar("T")
UpdateRule = Literal["rewrite", "delta"]  # hints are written anew, or edited
Rendering = Literal["full", "terse", "compact"]
Split = Literal["train", "validation", "test", "demonstration"]
UNREADABLE = "The reply could not be used: "
_NOTHING = re.compile(r"none|(?:No|Nothing)\b[^.\n]*\.", re.IGNORECASE)
_SENTENCE_ENDS = re.compile(r"(?<=\.)\s+")
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "demonstration")
Message = dict[str, str]  # role, content: the form chat templates take


@dataclass(frozen=True)
class Step:
    """What one action led to.

    Attributes:
        observation: Text for the next turn; empty when the episode is over.
        reward: Raw reward of the episode once it is over; 0 before.
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
    """One attempt at one task. Ends at success, failure, an unreadable reply or when the turn budget is spent.

    Attributes:
        observation: The first one; later ones come with each step.
        turns: Played so far.
        max_turns: The budget.
        done: Whether it is over.
        reward: Raw reward once it is over: 0 or 1 unless its family is graded.
        feedback: What the environment says at the end.
        unreadable: Whether a reply that could not be read ended it.
        outcome: How it ended, once it is over: one of `codctl.outcomes.SOLVE_OUTCOMES` or of its family's `losses`.
        opening: Chat messages that a model reads in place of the first observation, where the task is a conversation
            that has begun; the last one is the user's.
        fail_reward: Raw reward where a reply could not be read.
        shows_reward: Whether an update is told the reward.
        deadline_s: Seconds that one action may take where `act` is a coroutine function. An episode that takes longer
            has no score, as when an engine gives no reply.
    """

    observation: str
    opening: tuple[Message, ...] = ()
    fail_reward = 0.0
    shows_reward = True
    deadline_s = 60.0

    def __init__(self, max_turns: int) -> None:
        self.turns = 0
        self.max_turns = max_turns
        self.done = False
        self.reward = 0.0
        self.feedback = ""
        self.unreadable = False
        self.outcome = ""

    @abstractmethod
    def act(self, action: str) -> Step | Awaitable[Step]:
        """Play one action (the text inside the answer block). Counts the turn, and ends with `end` or `fail`.

        `async def act` may wait for a container or a service while other episodes go on. An OSError that it raises, or
        its deadline, leaves the episode without a score.
        """

    async def close(self) -> None:
        """Give back what `act` has opened elsewhere: a container, a connection.

        An episode that was played is closed once, also where it failed or was cancelled. One whose first observation
        was only looked at is not, so open at the first `act`.
        """
        return

    @property
    def first(self) -> str | tuple[Message, ...]:
        """What a model reads first: the observation, or a conversation that has begun."""
        return self.opening or self.observation

    @property
    def waits(self) -> bool:
        """Whether its actions may take long and have effects elsewhere, so that none is tried on a copy."""
        return iscoroutinefunction(self.act)

    @abstractmethod
    def transcript(self) -> str:
        """The trajectory as text for the update prompt, without any hints."""

    def fail(self, reason: str, problem: AnswerProblem = "no_action") -> Step:
        """End the episode at `fail_reward` because the reply could not be read; the reason becomes the feedback."""
        self.turns += 1
        self.unreadable = True
        step = self.end(self.fail_reward, f"{UNREADABLE}{reason}.")
        self.outcome = problem
        return step

    def end(
        self,
        reward: float,
        feedback: str,
        info: Mapping[str, Any] = MappingProxyType({}),
        *,
        lost: str = "",
        solved: bool | None = None,
    ) -> Step:
        """End the episode.

        Args:
            reward: Raw reward.
            feedback: What the environment says.
            info: See `Step`.
            lost: For which of its family's `losses`. Without one, turns that are used up are the reason if they are.
            solved: Whether the task counts as solved; without it, whether there is a reward.
        """
        self.done, self.reward, self.feedback = True, reward, feedback
        without_reason: PlayedOutcome = "turns" if self.turns >= self.max_turns else "unsolved"
        self.outcome = "solved" if (reward > 0 if solved is None else solved) else lost or without_reason
        return Step("", reward, True, feedback, info)


def act_now(episode: Episode, action: str) -> Step:
    """Play one action and wait for what it leads to, where no event loop runs."""
    step = episode.act(action)
    return step if isinstance(step, Step) else _loop().run_until_complete(_in_time(step, episode.deadline_s))


def close_now(episode: Episode) -> None:
    """Close an episode where no event loop runs."""
    if type(episode).close is not Episode.close:
        _loop().run_until_complete(_in_time(episode.close(), episode.deadline_s))


async def _in_time(work: Awaitable[T], deadline_s: float) -> T:
    async with asyncio.timeout(deadline_s):
        return await work


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One for all actions: what an episode holds open belongs to the loop in which it was opened."""
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


@dataclass(frozen=True)
class Slot:
    """One position of a pack.

    Attributes:
        family: The family that world and task belong to.
        preset: Its preset.
        world: The world in which the task is played.
        task: The task.
        distractor: Whether it is a distractor, of another world than the pack's own.
        reported_world: Poison: what the update is told of the episode is what the same actions lead to in this world.
    """

    family: Family
    preset: str
    world: Any
    task: Any
    distractor: bool = False
    reported_world: Any = None

    def begin(self, rendering: Rendering, past: Sequence[Episode] = ()) -> Episode:
        """Start an attempt, after these episodes of the same trajectory in this very world."""
        if self.family.remembers:
            return self.family.begin_after(self.world, self.task, rendering, past)
        return self.family.begin(self.world, self.task, rendering)


@dataclass(frozen=True)
class Pack:
    """Tasks in the order in which they are played. Drawn from a stable seed; usually all of one world."""

    family: str
    preset: str
    variant: str
    split: str
    index: int
    slots: tuple[Slot, ...]
    strategy: str = "cod"

    @property
    def id(self) -> str:
        # The name of a family's first variant and of the plain strategy are left out.
        variant = f"-{self.variant}" if self.variant != self.slots[0].family.variants[0] else ""
        strategy = f"/{self.strategy}" if self.strategy != "cod" else ""
        return f"{self.family}/{self.preset}{variant}/{self.split}/{self.index}{strategy}"

    @property
    def world(self) -> Any:
        """The world of the first position, which is the pack's own."""
        return self.slots[0].world

    @property
    def tasks(self) -> tuple[Any, ...]:
        return tuple(slot.task for slot in self.slots)

    def __len__(self) -> int:
        return len(self.slots)


def remembered(pack: Pack, slot: Slot, past: Sequence[Episode]) -> list[Episode]:
    """What the world of a slot may remember: the episodes among `past` that were played in it."""
    return [episode for earlier, episode in zip(pack.slots, past, strict=False) if earlier.world is slot.world]


@dataclass(frozen=True)
class HintScore:
    """How right a hint is.

    Attributes:
        right: Hidden facts that the hint states correctly.
        wrong: Facts that it states incorrectly.
        missing: Hidden facts that it does not state correctly.
        knowable: Hidden facts that follow from what the agent has seen so far.
        knowable_right: Knowable facts that the hint states correctly.
        detail: Further finite numbers by name, such as how far an estimate is from the truth.
    """

    right: int
    wrong: int
    missing: int
    knowable: int
    knowable_right: int
    detail: Mapping[str, float] = field(default_factory=dict, hash=False)

    @classmethod
    def of(
        cls,
        claimed: Set[Any],
        right: Set[Any],
        truth: Set[Any],
        knowable: Set[Any],
        detail: Mapping[str, float] = MappingProxyType({}),
    ) -> HintScore:
        """Count facts: claimed by the hint, right among those, true at all, and knowable."""
        counts = len(right), len(claimed - right), len(truth - right), len(knowable), len(right & knowable)
        return cls(*counts, dict(detail))


@dataclass(frozen=True)
class PolicyView:
    """All that a scripted policy may look at. Models never see it.

    Attributes:
        pack: Worlds and tasks.
        position: Index of the task in the pack.
        episode: The attempt in hand; for an update, the one just finished.
        past: Earlier episodes of the same trajectory, oldest first, without `episode`, as they were told: with poison,
            not as they were. Distractors of other families are among them.
        hints: The context in force.
        rendering: How texts are written.
        update: Whether an update writes hints anew or edits them.
    """

    pack: Pack
    position: int
    episode: Episode
    past: Sequence[Episode]
    hints: str
    rendering: Rendering
    update: UpdateRule = "rewrite"

    @property
    def slot(self) -> Slot:
        return self.pack.slots[self.position]

    @property
    def world(self) -> Any:
        """The world that holds at this position."""
        return self.slot.world


class Policy(Protocol):
    """A scripted agent: `solve` returns a whole reply with an answer block, `update` the new hints as text.

    Where hints are edited, the edits are what tells this text from the hints in force (`Family.items`).
    """

    def solve(self, view: PolicyView, rng: Random) -> str: ...

    def update(self, view: PolicyView, rng: Random) -> str: ...


def undecorated(text: str) -> str:
    """A text without the Markdown, quotes and punctuation around it."""
    return text.strip(" \t\r\n*_`\"'“”‘’.,;:!")


class Family(ABC):
    """A family of worlds. One instance serves a whole process and holds no state.

    Attributes:
        name: What users type.
        title: One line for lists.
        presets: Difficulties, the default first.
        variants: Distributions of worlds, the default first.
        options: What a world entry has set of it (`with_options`).
        needs_options: Variants that can be played only with options of a world entry (`with_options`).
        renderings: How its prompts can be written: `full` for language models, `terse` for small ones (`full` will do
            where a family has no shorter text), `compact` for models of half a million parameters.
        policies: Scripted agents: `random`, which every family has, and any others. The references `bayes` (the
            strongest uninformed one) and `informed` (knows the world) may be missing: evaluations then have no
            ceilings, and `env validate` cannot check whether tasks can be solved. `demonstrator`, which is not listed
            here, is for a warm start.
        reference: What `bayes` is here, in one line: exact, or how it falls short of it.
        losses: Its own reasons to lose a task, with words for them. Every world may also end with the turns used up, or
            without success for no reason that it names.
        learnable: For each variant, whether there is anything that one task teaches for the next.
        graded: Whether rewards lie between failure and success. The mean reward and the share of what an agent that
            knows the world gains over a random one are then told beside success.
        reward_range: Least and greatest raw reward.
        turn_penalty: What all turns of the budget cost, of a positive reward. `train.reward.turn_penalty` replaces it,
            unless turns cost nothing here.
        remembers: Whether the environment itself remembers earlier tasks and shows them: `begin_after` is called.
        stable_length: Packs up to this length are prefixes of each other.
        unsolvable: The largest share of tasks that nothing can solve, where a published rule gives too little.
        asks: What a person types in `codctl env play`, for its prompt.
        quit_words: What ends the game there, in lower case; no action may read so.
        colours: Marks of a drawn board and the colours in which a terminal shows them.
    """

    name: str
    title: str
    presets: tuple[str, ...]
    variants: tuple[str, ...] = ("paper",)
    options: Mapping[str, Any] = MappingProxyType({})
    needs_options: tuple[str, ...] = ()
    renderings: tuple[Rendering, ...] = ("full", "terse", "compact")
    policies: tuple[str, ...] = ("bayes", "informed", "random")
    reference: str = ""
    losses: Mapping[str, str] = MappingProxyType({})
    learnable: Mapping[str, bool] = MappingProxyType({})
    graded: bool = False
    reward_range: tuple[float, float] = (0.0, 1.0)
    turn_penalty: float = 0.1
    remembers: bool = False
    stable_length: int = 64
    unsolvable: float = 0.0
    asks: str = "answer"
    quit_words: tuple[str, ...] = ("q", "quit")
    colours: Mapping[str, str] = MappingProxyType({})

    def pack(self, split: str, index: int, length: int, preset: str, variant: str | None = None) -> Pack:
        """Draw a pack: the same one for every rollout, checkpoint, process and Python version.

        A shorter pack is a prefix of a longer one with the same split and index, up to `stable_length`.
        """
        variant = variant or self.variants[0]
        family = self.in_variant(variant)
        world, tasks = family.draw(split, index, length, preset, variant)
        slots = tuple(Slot(family, preset, world, task) for task in tasks)
        return Pack(self.name, preset, variant, split, index, slots)

    def draw(self, split: str, index: int, length: int, preset: str, variant: str) -> tuple[Any, Sequence[Any]]:
        """The world and the tasks of a pack in a variant of this family: what `sample` makes of its seed.

        A variant whose packs are given from elsewhere, such as a file, has its own way.
        """
        return self.sample(Random(self.pack_seed(split, index, preset, variant)), length, preset, variant)

    def pack_seed(self, split: str, index: int, preset: str, variant: str) -> int:
        """What the world and the tasks of a pack are drawn from."""
        # The first variant is not part of the seed: adding a second one to a family leaves its packs as they were.
        kind = (preset,) if variant == self.variants[0] else (preset, variant)
        return derive_seed("pack", self.name, *kind, split, index)

    def in_variant(self, variant: str) -> Family:
        """The family whose prompts hold in a variant: itself, unless the variant has rules of its own."""
        return self

    @property
    def open_variants(self) -> tuple[str, ...]:
        """The variants that can be played as they are, without options."""
        return tuple(variant for variant in self.variants if variant not in self.needs_options)

    def with_options(self, variant: str, options: Mapping[str, Any]) -> Family:
        """The family as the options of a world entry set it up. All is checked, files are read, nothing is contacted.

        Raises:
            UsageError: An option is unknown or wrong, or one is missing.
            PreflightError: A file that an option names cannot be used.
        """
        if options:
            names = ", ".join(options)
            raise UsageError(f"{self.name} {variant} takes no options, and gets {names}", where="world.options")
        return self

    async def probe(self) -> None:
        """Make sure that what its options name elsewhere, such as a server, can be used.

        Raises:
            CodctlError: It cannot.
        """
        return

    def edition(self, preset: str, variant: str) -> int:
        """How often the generator of these worlds was changed, from 1. The digests of evaluations hold it."""
        return 1

    @abstractmethod
    def sample(self, rng: Random, length: int, preset: str, variant: str) -> tuple[Any, tuple[Any, ...]]:
        """Draw a world and `length` tasks: objects of the family's own, frozen, since episodes share them."""

    @abstractmethod
    def begin(self, world: Any, task: Any, rendering: Rendering) -> Episode:
        """Start an attempt at a task."""

    def begin_after(self, world: Any, task: Any, rendering: Rendering, past: Sequence[Episode]) -> Episode:
        """Start an attempt in a world that remembers.

        Args:
            world: The world.
            task: The task.
            rendering: How texts are written.
            past: Earlier episodes of the same trajectory in this very world, oldest first, as they truly were. What is
                remembered is a pure function of them: nothing is kept elsewhere.
        """
        return self.begin(world, task, rendering)

    @abstractmethod
    def redraw(self, world: Any, rng: Random) -> Any:
        """A world that looks the same and in which every task of this one can be played, with other hidden facts.

        Worlds that change mid-pack and false accounts are made of it. With nothing hidden, the world itself.
        """

    @abstractmethod
    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        """What the world is, what ends a task and what it pays: nothing of hints and of the form of a reply.

        In `compact` it is a word or two. The update prompt shows it above the trajectory, `codctl env play` to people,
        and an agent program that plays with tools reads it in its task.
        """

    @abstractmethod
    def reply_form(self, preset: str) -> ReplyForm:
        """How an action is asked for."""

    def solve_prompt(self, hints: str, rendering: Rendering, preset: str) -> str:
        """System prompt of a solve episode: the rules, the hints (may be empty) and the form of a reply."""
        return solve_prompt(self.rules(preset, rendering), hints, self.reply_form(preset), rendering)

    @abstractmethod
    def facts(self, world: Any) -> int:
        """How many hidden facts a complete hint about this world states."""

    @abstractmethod
    def truth(self, world: Any, rendering: Rendering) -> str:
        """All hidden facts as a hint; empty when there are none."""

    def partial_truth(self, world: Any, rendering: Rendering, rng: Random) -> str:
        """A random part of the hidden facts as a hint (possibly none), for demonstrations."""
        raise NotImplementedError(f"{self.name} has no demonstrations")

    def items(self, hints: str, rendering: Rendering) -> tuple[str, ...]:
        """A hint as this family writes it, as the items that edits add, change and remove: a fact each.

        Those of `compact` are single words that are no numbers (`codctl.cod.delta`). By default each word is one there,
        in `full` each line, and in `terse` each sentence. A hint which says that nothing is known has none.
        """
        if _NOTHING.fullmatch(hints.strip()):
            return ()
        if rendering == "compact":
            return tuple(hints.split())
        lines = [line.strip().removeprefix("- ") for line in hints.split("\n") if line.strip()]
        return tuple(lines if rendering == "full" else (one for line in lines for one in _SENTENCE_ENDS.split(line)))

    @abstractmethod
    def score_context(self, world: Any, hints: str, seen: Sequence[Episode]) -> HintScore:
        """Compare a hint with the hidden truth and with what `seen` episodes (all played in `world`) reveal."""

    @abstractmethod
    def policy(self, name: str, **options: float) -> Policy:
        """A reference policy by name, or `demonstrator`."""

    def check_policy(self, name: str) -> None:
        """Let the names of `policies` pass, and `demonstrator`.

        Raises:
            UsageError: It is another; names the nearest.
        """
        if name not in (*self.policies, "demonstrator"):
            raise unknown(f"policy of {self.name}", name, list(self.policies), "codctl env list")

    def typed(self, episode: Episode, text: str) -> str:
        """What a person typed, as an action, in whichever case fits; as it is where the episode waits.

        Raises:
            ValueError: It is no action; says why.
        """
        if episode.waits:
            return text
        problem = ""
        for action in dict.fromkeys((text, text.upper(), text.lower())):
            trial = deepcopy(episode)  # only acting tells whether an action can be read
            trial.act(action)
            if not trial.unreadable:
                return action
            problem = problem or trial.feedback
        raise ValueError(problem.removeprefix(UNREADABLE).rstrip("."))

    def answered(self, episode: Episode, text: str) -> str:
        """An answer as a model may write it, as an action: without Markdown, quotes and a full stop around it.

        By default only where the text as it is cannot be read, which is tried on a copy of the episode, unless the
        episode waits. Strict reading (`sampling.answers`) does without it.
        """
        plain = undecorated(text)
        if plain == text or episode.waits:
            return text
        trial = deepcopy(episode)
        trial.act(text)
        return plain if trial.unreadable else text

    def describe_task(self, world: Any, task: Any) -> str:
        """The task as a person reads it (always the full rendering)."""
        return self.begin(world, task, "full").observation
