"""How much of its teachers a distilled student keeps: (student − start) / (teacher − start), on the same packs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codctl.config.schema import Config
from codctl.runs.eval_result import EvalResult, PartResult, means


@dataclass(frozen=True)
class Kept:
    """One family.

    Attributes:
        family: Its name.
        teacher: As the recipe names it.
        measure: `success`, or `reward` in a graded family.
        start: Of the student before, by position, with its own hints.
        student: After.
        taught: Of the teacher.
    """

    family: str
    teacher: str
    measure: str
    start: tuple[float, ...]
    student: tuple[float, ...]
    taught: tuple[float, ...]

    @property
    def last(self) -> float | None:
        """The share kept at the last position; None where the teacher is no better than the start there."""
        return _share(self.start[-1:], self.student[-1:], self.taught[-1:])

    @property
    def mean(self) -> float | None:
        """The same of the mean over all positions."""
        return _share(self.start, self.student, self.taught)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "kept_last": self.last, "kept_mean": self.mean}


def evaluation_of_teacher(number: int) -> str:
    """The name of the evaluation of a teacher, counted from 1 in the order of the recipe."""
    return f"teacher-{number}"


def teachers_evaluations(config: Config) -> dict[str, str]:
    """The names of all, and what each is called for people."""
    teachers = config.distill.teachers
    return {evaluation_of_teacher(n): f"of the teacher {one.model}" for n, one in enumerate(teachers, start=1)}


def kept_of(config: Config, evaluations: Mapping[str, EvalResult]) -> list[Kept]:
    """What is known of it, by the evaluations that are there."""
    return list(_kept(config, evaluations))


def _kept(config: Config, evaluations: Mapping[str, EvalResult]) -> Iterator[Kept]:
    before, after = evaluations.get("before"), evaluations.get("after")
    for number, wanted in enumerate(config.distill.teachers, start=1):
        own = evaluations.get(evaluation_of_teacher(number))
        if not (before and after and own):
            continue
        for part in own.parts:
            three = [_curve(_part(one, part.family)) for one in (before, after, own)]
            if all(three) and len({len(one) for one in three}) == 1:
                yield Kept(part.family, wanted.model, "reward" if part.graded else "success", *three)


def _part(result: EvalResult, family: str) -> PartResult | None:
    return next((part for part in result.parts if part.family == family), None)


def _curve(part: PartResult | None) -> tuple[float, ...]:
    if part is None or "own" not in part.arms:
        return ()
    curve = part.graded.raw_reward["own"] if part.graded else part.success("own")
    found = means(curve)
    return tuple(mean for mean in found if mean is not None) if None not in found else ()


def _share(start: Sequence[float], student: Sequence[float], taught: Sequence[float]) -> float | None:
    gain = sum(taught) - sum(start)
    return (sum(student) - sum(start)) / gain if gain > 0 else None
