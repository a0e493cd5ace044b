"""Checks of a family that need no model: is there something to learn, can it be learned, is it the same everywhere."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codctl.cod.prompts import update_messages
from codctl.envs.base import SPLITS, Family, Pack
from codctl.evaluate.ceilings import play_policy

LONGEST_PROMPT_CHARS = 40_000  # about 10,000 tokens, the prompt limit of the published runs
LEAST_TO_LEARN = 0.05
LEAST_LEARNED = 0.9
_TIMEOUT_S = 60.0
_FINGERPRINT = """
from codctl.envs.registry import get_family
from codctl.stages.env_validation import fingerprint
family = get_family({family!r})
print(*[fingerprint(family, family.pack("test", i, {length}, {preset!r})) for i in range({packs})])
"""


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    ok: bool
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def validate_family(family: Family, preset: str, *, packs: int, length: int) -> list[Check]:
    """Run every check on the first test packs of a preset."""
    drawn = [family.pack("test", index, length, preset) for index in range(packs)]
    return [
        *_check_references(family, drawn),
        _check_prefix(family, drawn[0], preset),
        _check_other_process(family, drawn[:8], preset, length),
        _check_splits(family, preset, packs, length),
        _check_scores(family, drawn),
        _check_prompt_lengths(family, drawn),
        _check_messages(family, drawn[0]),
    ]


def fingerprint(family: Family, pack: Pack) -> str:
    """A hash of all that a player could see or learn of a pack."""
    parts = [family.truth(pack.world, "full"), *(s.family.describe_task(s.world, s.task) for s in pack.slots)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _check_references(family: Family, packs: Sequence[Pack]) -> Iterator[Check]:
    informed, bayes = (_success(name, packs) for name in ("informed", "bayes"))
    yield Check(
        "solvable",
        min(informed) == 1.0,
        f"an agent that knows the world solves {min(informed):.1%} of the tasks at its worst position (expected 100%)",
    )
    gap = informed[0] - bayes[0]
    yield Check(
        "something to learn",
        gap >= LEAST_TO_LEARN,
        f"cold, the best agent solves {bayes[0]:.1%} of the first tasks; knowing the world {informed[0]:.1%} "
        f"(expected a gap of at least {LEAST_TO_LEARN:.0%})",
    )
    yield Check(
        "learnable",
        bayes[-1] >= LEAST_LEARNED * informed[-1] and bayes[-1] > bayes[0],
        f"the best agent reaches {bayes[-1]:.1%} at the last position "
        f"(expected more than at the first, and at least {LEAST_LEARNED:.0%} of {informed[-1]:.1%})",
    )


def _success(policy: str, packs: Sequence[Pack]) -> list[float]:
    trajectories = play_policy(policy, packs, "compact", 0)
    by_position = zip(*([e.raw_reward for e in t.of("solve")] for t in trajectories), strict=True)
    return [sum(rewards) / len(rewards) for rewards in by_position]


def _check_prefix(family: Family, pack: Pack, preset: str) -> Check:
    longer = family.pack(pack.split, pack.index, len(pack) + 2, preset)
    shown, shown_longer = ([family.describe_task(slot.world, slot.task) for slot in p.slots] for p in (pack, longer))
    same = shown == shown_longer[: len(pack)]
    return Check(
        "prefix", same, "a longer pack begins with the shorter one" if same else "a longer pack begins otherwise"
    )


def _check_other_process(family: Family, packs: Sequence[Pack], preset: str, length: int) -> Check:
    code = _FINGERPRINT.format(family=family.name, preset=preset, length=length, packs=len(packs))
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and our own code
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Check("same in another process", False, f"the other process gave no answer within {_TIMEOUT_S:g} s")
    if done.returncode:
        return Check("same in another process", False, done.stderr.strip().splitlines()[-1])
    different = sum(a != b for a, b in zip(done.stdout.split(), (fingerprint(family, p) for p in packs), strict=True))
    return Check("same in another process", different == 0, f"{different} of {len(packs)} packs differ")


def _check_splits(family: Family, preset: str, packs: int, length: int) -> Check:
    seen: dict[str, str] = {}
    twice = []
    for split in SPLITS:
        for index in range(packs):
            pack = family.pack(split, index, length, preset)
            first = seen.setdefault(fingerprint(family, pack), pack.id)
            if first != pack.id:
                twice.append(f"{first} = {pack.id}")
    return Check("splits disjoint", not twice, "; ".join(twice[:3]) or f"{len(seen)} packs, all different")


def _check_scores(family: Family, packs: Sequence[Pack]) -> Check:
    for rendering in family.renderings:
        for pack in packs:
            full = family.score_context(pack.world, family.truth(pack.world, rendering), [])
            none = family.score_context(pack.world, "", [])
            whole = (full.right, full.wrong, full.missing) == (family.facts(pack.world), 0, 0)
            if not whole or (none.right, none.wrong) != (0, 0):
                return Check("hints scored", False, f"{pack.id}, {rendering}: the truth scores {full}, nothing {none}")
    return Check("hints scored", True, f"the truth has {family.facts(packs[0].world)} facts right, an empty hint none")


def _check_prompt_lengths(family: Family, packs: Sequence[Pack]) -> Check:
    longest = {
        rendering: max(
            len(family.solve_prompt(family.truth(pack.world, rendering), rendering, pack.preset))
            + len(slot.begin(rendering).observation)
            for pack in packs
            for slot in pack.slots
        )
        for rendering in family.renderings
    }
    said = ", ".join(f"{rendering} {length}" for rendering, length in longest.items())
    return Check(
        "prompt lengths", max(longest.values()) <= LONGEST_PROMPT_CHARS, f"longest first prompt in characters: {said}"
    )


def _check_messages(family: Family, pack: Pack) -> Check:
    for rendering in family.renderings:
        if not family.solve_prompt("", rendering, pack.preset).strip():
            return Check("messages present", False, f"{rendering}: the solve prompt is empty")
        episode = pack.slots[0].begin(rendering)
        if not episode.observation.strip():
            return Check("messages present", False, f"{rendering}: the first observation is empty")
        step = episode.fail("no answer block")
        if not step.done or step.reward or "no answer block" not in step.feedback:
            return Check("messages present", False, f"{rendering}: an unreadable reply ends with {step.feedback!r}")
        if not all(message["content"].strip() for message in update_messages("", episode, rendering)):
            return Check("messages present", False, f"{rendering}: the update prompt is empty")
    return Check("messages present", True, "prompts, observations and feedback have text")
