"""What does memory between tasks give, and is the environment's own memory nothing but the trajectory's past?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from codctl.cod.references import play_policy
from codctl.envs.base import Episode, Pack, Rendering, act_now, close_now, remembered
from codctl.envtools.validate.check import Finding, Subject
from codctl.envtools.validate.fingerprint import actions_of, canonical
from codctl.quantities import counted

_BAYES, _FORGET = "bayes", "forget"
_PACKS, _OTHER_PACKS, _SHARED_PACKS = 100, 25, 4
_SURE = 2.0  # standard errors


@dataclass(frozen=True)
class _Gain:
    """What memory gives in one variant.

    Attributes:
        variant: Which.
        remembers: Whether the environment remembers.
        bayes: From the first position to the last, of the mean reward.
        forget: The same without memory between tasks.
        lead: What `bayes` has more than `forget`, over all positions but the first.
        error: Standard error of the lead.
        packs: Played.
    """

    variant: str
    remembers: bool
    bayes: float
    forget: float
    lead: float
    error: float
    packs: int

    @property
    def is_sure(self) -> bool:
        return self.lead > _SURE * self.error

    def __str__(self) -> str:
        whose = "the environment's own memory" if self.remembers else "memory, which only hints can be,"
        return (
            f"{self.variant}: {whose} gives {self.lead:+.3f} (standard error {self.error:.3f}; first to last position: "
            f"`bayes` {self.bayes:+.3f}, `forget` {self.forget:+.3f})"
        )


def needed(subject: Subject) -> Finding:
    """Whether anything is gained by carrying something from task to task, under each memory that the family has."""
    if missing := [name for name in (_BAYES, _FORGET) if name not in subject.family.policies]:
        return Finding(None, f"the family has no policy {' and no '.join(f'`{name}`' for name in missing)}")
    if subject.length < 2:
        return Finding(None, "packs of one task have nothing to remember")
    own = _gain(subject, subject.count)
    if subject.is_learnable and not own.is_sure:
        own = _gain(subject, 4 * subject.count)
    said = "; ".join([str(own), *_others(subject)])
    if not subject.is_learnable:
        return Finding(True, said)
    return Finding(
        own.is_sure,
        f"{said} (expected more than {_SURE:g} standard errors, {counted(own.packs, 'pack')})",
        "an agent that forgets everything between tasks does as well: let tasks share hidden facts, or set "
        "learnable[variant] = False",
    )


def own(subject: Subject) -> Finding:
    """Whether two trajectories through one pack, played in turns in this process, see nothing of each other."""
    if not subject.family.remembers:
        return Finding(True, "the environment remembers nothing between tasks")
    policies = list(dict.fromkeys((subject.policies[0], "random")))
    for pack in subject.packs[:_SHARED_PACKS]:
        played = [actions_of(pack, policy, subject.rendering) for policy in policies]
        alone = [list(_course(pack, actions, subject.rendering)) for actions in played]
        courses = [_course(pack, actions, subject.rendering) for actions in played]
        together = list(zip(*(zip(*courses, strict=True)), strict=True))
        for policy, apart, mixed in zip(policies, alone, together, strict=True):
            for position, (before, after) in enumerate(zip(apart, mixed, strict=True)):
                if before != after:
                    return Finding(
                        False,
                        f"{pack.id}, position {position + 1}: what `{policy}` reads depends on another trajectory "
                        "through the same pack",
                        "let `begin_after` read `past` only, and keep nothing in the family, its modules or the world",
                    )
    return Finding(True, "two trajectories through one pack, played in turns, see nothing of each other")


def _others(subject: Subject) -> Iterator[str]:
    """The same in the other variants, on fewer packs."""
    for variant in subject.family.open_variants:
        if variant == subject.variant:
            continue
        family = subject.base.in_variant(variant)
        other = Subject(family, subject.preset, variant, min(subject.count, _OTHER_PACKS), subject.length, subject.base)
        try:
            yield str(_gain(other, other.count))
        except Exception as error:  # noqa: BLE001 - another variant may need data or a service
            yield f"{variant}: not measured ({type(error).__name__})"


def _gain(subject: Subject, count: int) -> _Gain:
    packs = [subject.draw(index) for index in range(min(count, 4 * _PACKS))]
    bayes_PS, forget_PS = (
        np.array([[e.raw_reward for e in t.of("solve")] for t in play_policy(name, packs, subject.rendering, 0)])
        for name in (_BAYES, _FORGET)
    )
    leads_P = (bayes_PS - forget_PS)[:, 1:].mean(axis=1)
    rises = [float((values[:, -1] - values[:, 0]).mean()) for values in (bayes_PS, forget_PS)]
    error = float(leads_P.std(ddof=1)) / math.sqrt(len(leads_P)) if len(leads_P) > 1 else math.inf
    return _Gain(
        variant=subject.variant,
        remembers=subject.family.remembers,
        bayes=rises[0],
        forget=rises[1],
        lead=float(leads_P.mean()),
        error=error,
        packs=len(packs),
    )


def _course(pack: Pack, actions: Sequence[Sequence[str]], rendering: Rendering) -> Iterator[str]:
    """All that each episode of a trajectory says when it is played by these actions; also that its past stays."""
    past: list[Episode] = []
    for slot, played in zip(pack.slots, actions, strict=True):
        mine = remembered(pack, slot, past)
        before = canonical(mine)
        episode = slot.begin(rendering, mine)
        said = [*(message["content"] for message in episode.opening), episode.observation]
        for action in played:
            if episode.done:
                break
            step = act_now(episode, action)
            said += [step.observation, repr((step.reward, step.done)), step.feedback]
        if not episode.done:
            episode.fail("nothing more was said")
        close_now(episode)
        past.append(episode)
        kept = "" if canonical(mine) == before else "its past was changed"
        yield "\0".join([*said, episode.transcript(), kept])
