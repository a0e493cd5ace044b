"""All checks of a family that need no model, in the order in which a failure is best understood."""

from __future__ import annotations

from codctl.envs.base import Family
from codctl.stages import (
    env_check_packs,
    env_check_process,
    env_check_references,
    env_check_robustness,
    env_check_sharing,
    env_check_texts,
)
from codctl.stages.env_check import Check, Checker, Subject, run_check

# Without these nothing else can be tried.
FIRST: dict[str, Checker] = {"packs drawn": env_check_packs.drawn, "episodes end": env_check_packs.ends}
CHECKS: dict[str, Checker] = {
    "solvable": env_check_references.solvable,
    "oracle reaches its ceiling": env_check_references.oracle,
    "cold success below it": env_check_references.cold,
    "learnable": env_check_references.learnable,
    "rewards": env_check_references.rewards,
    "same in another process": env_check_process.other_process,
    "same in another Python": env_check_process.other_python,
    "splits disjoint": env_check_packs.splits,
    "prefixes": env_check_packs.prefixes,
    "nothing shared": env_check_sharing.sharing,
    "no global randomness": env_check_sharing.randomness,
    "redraw": env_check_packs.redraw,
    "strategies": env_check_robustness.strategies,
    "hints scored": env_check_texts.hints_scored,
    "messages present": env_check_texts.messages,
    "prompt lengths": env_check_texts.prompt_lengths,
    "hostile answers": env_check_robustness.hostile,
}


def validate_family(
    family: Family, preset: str, variant: str | None = None, *, packs: int = 100, length: int = 4
) -> list[Check]:
    """Run every check on the first test packs of a preset and variant."""
    subject = Subject(family, preset, variant or family.variants[0], packs, length)
    raised: dict[str, str] = {}
    first = [run_check(name, checker, subject, raised) for name, checker in FIRST.items()]
    if any(check.ok is False for check in first):
        return first
    return first + [run_check(name, checker, subject, raised) for name, checker in CHECKS.items()]
