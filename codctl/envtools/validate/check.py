"""What a check of a family looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from traceback import extract_tb
from typing import Any

from codctl.cod.references import cheapest_rendering, play_policy
from codctl.cod.trajectory import Trajectory
from codctl.envs.base import Family, Pack, Rendering

_POLICIES = ("informed", "bayes", "random")


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        ok: None when it could not be checked.
        reason: What was seen, and what was expected.
        fix: What to change; empty unless it failed.
        name: Of the check.
    """

    ok: bool | None
    reason: str
    fix: str = ""
    name: str = ""

    @property
    def status(self) -> str:
        return {True: "ok", False: "FAILED", None: "not checked"}[self.ok]

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "status": self.status, "reason": self.reason, "fix": self.fix}


@dataclass(frozen=True)
class Subject:
    """The family under test, with the packs that all checks share."""

    family: Family
    preset: str
    variant: str
    count: int
    length: int
    base: Family  # as registered: `family` is it in this variant

    @cached_property
    def packs(self) -> list[Pack]:
        return [self.draw(index) for index in range(self.count)]

    @cached_property
    def played(self) -> dict[str, list[Trajectory]]:
        """Every pack by each of the policies."""
        return {name: play_policy(name, self.packs, self.rendering, 0) for name in self.policies}

    @property
    def policies(self) -> tuple[str, ...]:
        """Those of the family that every family may have."""
        return tuple(name for name in _POLICIES if name in self.family.policies)

    @property
    def rendering(self) -> Rendering:
        """The cheapest one."""
        return cheapest_rendering([self.family])

    @property
    def is_learnable(self) -> bool:
        return self.family.learnable.get(self.variant, True)

    def draw(self, index: int, *, split: Any = "test", length: int | None = None) -> Pack:
        return self.family.pack(split, index, length or self.length, self.preset, self.variant)

    def without(self, *policies: str) -> Finding | None:
        """What a check finds that needs policies which the family has not."""
        missing = [f"`{name}`" for name in policies if name not in self.policies]
        return Finding(None, f"the family has no policy {' and no '.join(missing)}") if missing else None


Checker = Callable[[Subject], Finding]


def run_check(name: str, checker: Checker, subject: Subject, raised: dict[str, str]) -> Finding:
    """Run one check; what the family raises is a finding, once.

    Args:
        name: Of the check.
        checker: The check.
        subject: The family.
        raised: Errors that earlier checks ran into, with their names; added to.
    """
    try:
        found = checker(subject)
    except Exception as error:  # noqa: BLE001 - a family under test may raise anything
        message = " ".join(str(error).split())[:200]
        reason = f"it raises {type(error).__name__}: {message} ({_place(error, subject.family)})"
        if reason in raised:
            return Finding(None, f"stopped by the same error as {raised[reason]!r}", name=name)
        raised[reason] = name
        found = Finding(False, reason, "fix the exception: no input and no pack may make the family raise")
    return replace(found, name=name, fix=found.fix if found.ok is False else "")


def package_of(family: Family) -> str:
    """The package in which the family lives, or its module when that stands alone."""
    module = type(family).__module__
    return module.rpartition(".")[0] or module


def _place(error: BaseException, family: Family) -> str:
    """The last line of the family's own code on the way to the error, else the last line of all."""
    frames = extract_tb(error.__traceback__)
    package = package_of(family).replace(".", "/")
    own = [frame for frame in frames if f"/{package}" in Path(frame.filename).as_posix()]
    last = (own or list(frames))[-1]
    return f"{Path(last.filename).name}, line {last.lineno}, in {last.name}"
