"""What a run left on disk, read once for the report. Whatever is absent is named in `missing`, never invented."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.files import reader
from codctl.files.seal import COMPLETE, why_not_sealed
from codctl.quantities import counted
from codctl.results import replies
from codctl.results.kept import Kept, kept_of, teachers_evaluations
from codctl.results.outcomes import LOOK, look_sentence
from codctl.runs import eval_result
from codctl.runs.directory import RunDirectory
from codctl.runs.eval_result import EvalResult, PartResult, Walkthrough
from codctl.tracking import jsonl

if TYPE_CHECKING:
    from codctl.config.schema import Config, WorldRef
    from codctl.files.records import Attempt, Manifest, WarmStart


@dataclass(frozen=True)
class FamilyEvaluations:
    """What was measured on one family that the run trains on.

    Attributes:
        world: The family.
        before: Before CoD-Train; None without one.
        after: After it.
        long: After it, on longer packs.
        walkthrough: A pack of the newest.
    """

    world: WorldRef
    before: PartResult | None
    after: PartResult | None
    long: PartResult | None
    walkthrough: Walkthrough | None

    @property
    def difficulty(self) -> str:
        return f"preset {self.world.preset}" + (f", variant {self.world.variant}" if self.world.variant else "")

    @property
    def newest(self) -> PartResult | None:
        return self.after or self.before


@dataclass(frozen=True)
class Source:
    """Everything the page shows."""

    manifest: Manifest
    attempts: list[Attempt]
    status: str
    config: Config
    records: list[dict[str, Any]]
    warm_start: WarmStart | None
    evaluations: Mapping[str, EvalResult]  # before, after, after-long
    families: tuple[FamilyEvaluations, ...]
    missing: list[str]

    @property
    def warnings(self) -> list[str]:
        """What was wrong with the replies of the evaluations."""
        when = {"before": "before CoD-Train", "after": "after CoD-Train", "after-long": "on longer packs"}
        when |= teachers_evaluations(self.config)
        found = []
        for name, result in self.evaluations.items():
            for part in result.parts:
                on = f" on {part.family}" if len(result.parts) > 1 else ""
                found += [f"The evaluation {when[name]}{on}: {line}." for line in replies.sentences(part, "sampling.")]
        return found

    @property
    def kept(self) -> list[Kept]:
        """What the student keeps of its teachers, where there are some and all was measured."""
        return kept_of(self.config, self.evaluations)

    @property
    def look(self) -> str:
        """What a look at the model before CoD-Train has shown; empty without one."""
        records = self.phase(LOOK)
        return look_sentence(records[-1]["metrics"], self.config.sampling) if records else ""

    def phase(self, name: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["phase"] == name]


def load(run: RunDirectory) -> Source:
    """Read a run, finished or not.

    Raises:
        UsageError: Manifest, config or a result cannot be read.
    """
    config = run.config()
    missing: list[str] = []
    evaluations, told = _evaluations(run, config, missing)
    records = jsonl.read(run.metrics_path)
    done = max((r["step"] for r in records if r["phase"] == "train"), default=0)
    if config.train.enabled and done < config.train.steps:
        missing.append(f"CoD-Train has done {done} of {counted(config.train.steps, 'step')}.")
    warm_start = None
    if config.warm_start.enabled:
        warm_start = _warm_start(run.warm_start, missing)
    # A run writes its own page as its last act: with nothing missing, it is as good as finished.
    status = run.status()
    return Source(
        manifest=run.manifest(),
        attempts=run.attempts(),
        status="finished" if status == "running" and not missing else status,
        config=config,
        records=records,
        warm_start=warm_start,
        evaluations=evaluations,
        families=tuple(_family(world, evaluations, told) for world in config.world.parts),
        missing=missing,
    )


def _evaluations(
    run: RunDirectory, config: Config, missing: list[str]
) -> tuple[dict[str, EvalResult], dict[str, eval_result.Walkthroughs]]:
    """Those that the recipe asks for and that are there, with their walkthroughs, by name."""
    wanted = {
        "before": "before CoD-Train" if config.train.enabled else "",
        "after": "after CoD-Train",
        "after-long": "on longer packs" if config.evaluation.long_length else "",
        **teachers_evaluations(config),
    }
    found, told = {}, {}
    for name, when in wanted.items():
        folder = run.evaluations / name
        if when and _is_there(folder, f"The evaluation {when}", missing):
            result = eval_result.read(folder / eval_result.RESULT)
            if isinstance(result, EvalResult):
                found[name] = result
                told[name] = eval_result.read_walkthroughs(folder / eval_result.WALKTHROUGHS)
    return found, told


def _family(
    world: WorldRef, evaluations: Mapping[str, EvalResult], told: Mapping[str, eval_result.Walkthroughs]
) -> FamilyEvaluations:
    parts = {
        name: next((part for part in result.parts if part.family == world.family), None)
        for name, result in evaluations.items()
    }
    newest = next((name for name in ("after", "before") if parts.get(name)), "")
    part = parts.get(newest)
    return FamilyEvaluations(
        world=world,
        before=parts.get("before"),
        after=parts.get("after"),
        long=parts.get("after-long"),
        walkthrough=told[newest].get(part.name) if part else None,
    )


def _warm_start(folder: Path, missing: list[str]) -> WarmStart | None:
    from codctl.files import records as files

    return (
        reader.read(folder / "result.json", files.WarmStart) if _is_there(folder, "The warm start", missing) else None
    )


def _is_there(folder: Path, what: str, missing: list[str]) -> bool:
    if problem := why_not_sealed(folder):
        state = (
            "is not there yet"
            if problem in ("no such folder", f"missing {COMPLETE}")
            else f"cannot be used ({problem})"
        )
        missing.append(f"{what} {state}.")
    return not problem
