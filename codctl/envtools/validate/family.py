"""All checks of a family that need no model, in the order in which a failure is best understood."""

from __future__ import annotations

from codctl.envs.base import Family
from codctl.envtools.validate import memory, packs, process, references, robustness, sharing, texts
from codctl.envtools.validate.check import Checker, Finding, Subject, run_check

# Without these nothing else can be tried.
FIRST: dict[str, Checker] = {"packs drawn": packs.drawn, "episodes end": packs.ends}
CHECKS: dict[str, Checker] = {
    "solvable": references.solvable,
    "oracle reaches its ceiling": references.oracle,
    "cold success below that": references.cold,
    "learnable": references.learnable,
    "needs memory": memory.needed,
    "rewards": references.rewards,
    "same in another process": process.other_process,
    "same in another Python": process.other_python,
    "splits disjoint": packs.splits,
    "prefixes": packs.prefixes,
    "nothing shared": sharing.sharing,
    "memory of its own": memory.own,
    "no global randomness": sharing.randomness,
    "redraw": packs.redraw,
    "strategies": robustness.strategies,
    "hints scored": texts.hints_scored,
    "messages present": texts.messages,
    "prompt lengths": texts.prompt_lengths,
    "hostile answers": robustness.hostile,
}


def validate_family(
    family: Family, preset: str, variant: str | None = None, *, packs: int = 100, length: int = 4
) -> list[Finding]:
    """Run every check on the first test packs of a preset and variant."""
    variant = variant or family.variants[0]
    subject = Subject(family.in_variant(variant), preset, variant, packs, length, family)
    raised: dict[str, str] = {}
    first = [run_check(name, checker, subject, raised) for name, checker in FIRST.items()]
    if any(check.ok is False for check in first):
        return first
    return first + [run_check(name, checker, subject, raised) for name, checker in CHECKS.items()]
