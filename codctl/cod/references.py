"""Reference policies on the very packs that a model is evaluated on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from codctl.cod.conversation import ByteChat
from codctl.cod.rollout import Player, play_all
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.cod.trajectory import Trajectory
from codctl.config.evalspec import EvalSpec
from codctl.envs.base import Family, Pack, Rendering, UpdateRule
from codctl.envs.registry import family_of, get_family

UNBOUNDED = 10**9  # tokens: a scripted policy has no budget
CEILINGS, FLOOR = ("bayes", "informed"), "random"


def reference_player(policy: str, rendering: Rendering, seed: int, update: UpdateRule = "rewrite") -> Player:
    """A scripted policy in the place of a model."""
    chat = ByteChat()
    settings = RolloutSettings(
        rendering, solve_tokens=UNBOUNDED, update_tokens=UNBOUNDED, max_chars=UNBOUNDED, update=update
    )
    return Player(ScriptedAgent(EachFamily(policy), chat), chat, settings, seed)


def play_policy(policy: str, packs: Sequence[Pack], rendering: Rendering, seed: int) -> list[Trajectory]:
    """Let a scripted policy play the packs once each."""
    return asyncio.run(play_all(reference_player(policy, rendering, seed), packs, 1))


def cheapest_rendering(families: Iterable[Family]) -> Rendering:
    """What scripted policies are played in: `compact` where all of these families have it, else one that all have."""
    known = [family.renderings for family in families]
    shared = [rendering for rendering in known[0] if all(rendering in names for names in known)] or list(known[0])
    return "compact" if "compact" in shared else shared[0]


def families_of(spec: EvalSpec) -> list[Family]:
    """The family of an evaluation's worlds, and that of its distractors."""
    return [family_of(spec), *([get_family(spec.distractor_family)] if spec.distractor_family else [])]


def references(families: Iterable[Family]) -> list[str]:
    """The reference policies that all of these families have: ceilings if any, and `random` where one is graded."""
    listed = list(families)
    found = [name for name in CEILINGS if all(name in family.policies for family in listed)]
    return [*found, FLOOR] if any(family.graded for family in listed) else found


def demonstrates(family: Family) -> bool:
    """Whether it has a policy that shows a model what to write."""
    try:
        family.policy("demonstrator")
    except Exception:  # noqa: BLE001 - a family of a plug-in may raise anything
        return False
    return True


def usual_policy(families: Iterable[Family]) -> str:
    """The policy that plays most as a model would, of those that all of these families have."""
    return next(iter(references(families)), "random")
