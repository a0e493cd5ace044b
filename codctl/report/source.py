"""What a run left on disk, read once for the report. Whatever is absent is named in `missing`, never invented."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from codctl.files import reader
from codctl.files.seal import why_not_sealed
from codctl.quantities import counted
from codctl.results import look, replies
from codctl.runs import result_file
from codctl.runs.directory import RunDirectory
from codctl.tracking import jsonl

if TYPE_CHECKING:
    from codctl.config.schema import Config, WorldPart
    from codctl.files.forms import Attempt, Manifest, WarmStart


_RESULT = "result.json"


@dataclass(frozen=True)
class EvaluationFolder:
    """One sealed evaluation."""

    result: dict[str, Any]
    rows: list[dict[str, Any]]
    walkthrough: dict[str, Any]

    def curve(self, arm: str, measure: str) -> list[dict[str, float]]:
        """Points by position (position, mean, low, high); empty when the arm was not played."""
        points: list[dict[str, float]] = self.result["arms"].get(arm, {}).get(measure, [])
        return [point for point in points if point["mean"] is not None]


@dataclass(frozen=True)
class FamilyEvaluations:
    """What was measured on one family that the run trains on."""

    part: WorldPart
    before: EvaluationFolder | None
    after: EvaluationFolder | None
    long: EvaluationFolder | None

    @property
    def difficulty(self) -> str:
        return f"preset {self.part.preset}" + (f", variant {self.part.variant}" if self.part.variant else "")

    @property
    def newest(self) -> EvaluationFolder | None:
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
    families: tuple[FamilyEvaluations, ...]
    missing: list[str]

    @property
    def warnings(self) -> list[str]:
        """What was wrong with the replies of the evaluations."""
        found = []
        for family in self.families:
            on = f" on {family.part.family}" if len(self.families) > 1 else ""
            named = {"before CoD-Train": family.before, "after CoD-Train": family.after, "on longer packs": family.long}
            for name, folder in named.items():
                lines = replies.sentences(folder.result, "sampling.") if folder else []
                found += [f"The evaluation {name}{on}: {line}." for line in lines]
        return found

    @property
    def look(self) -> str:
        """What a look at the model before CoD-Train has shown; empty without one."""
        records = self.phase(look.PHASE)
        return look.sentence(records[-1]["metrics"], self.config.sampling.model_dump()) if records else ""

    def phase(self, name: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["phase"] == name]


def load(run: RunDirectory) -> Source:
    """Read a run, finished or not.

    Raises:
        UsageError: Manifest or config cannot be read.
    """
    config = run.config()
    missing: list[str] = []
    families = tuple(_family(run, config, part, missing) for part in config.world.parts)
    records = jsonl.read(run.metrics_path)
    done = max((r["step"] for r in records if r["phase"] == "train"), default=0)
    if config.train.enabled and done < config.train.steps:
        missing.append(f"CoD-Train has done {done} of {counted(config.train.steps, 'step')}.")
    warm_start = None
    if config.warm_start.enabled:
        warm_start = _warm_start(run.stage("warm_start"), missing)
    # A run writes its own page as its last act: with nothing missing, it is as good as finished.
    status = run.status()
    return Source(
        manifest=run.manifest(),
        attempts=run.attempts(),
        status="finished" if status == "running" and not missing else status,
        config=config,
        records=records,
        warm_start=warm_start,
        families=families,
        missing=missing,
    )


def _family(run: RunDirectory, config: Config, part: WorldPart, missing: list[str]) -> FamilyEvaluations:
    """The evaluations of one family; a mixture keeps those of each family under its name."""
    suffix, on = (f"-{part.family}", f" on {part.family}") if config.world.mixture else ("", "")

    def read(name: str, what: str) -> EvaluationFolder | None:
        return _evaluation(run.stage("evaluation") / f"{name}{suffix}", f"{what}{on}", missing)

    return FamilyEvaluations(
        part=part,
        before=read("before", "The evaluation before CoD-Train") if config.train.enabled else None,
        after=read("after", "The evaluation after CoD-Train"),
        long=read("after-long", "The evaluation on longer packs") if config.evaluation.long_length else None,
    )


def _evaluation(folder: Path, what: str, missing: list[str]) -> EvaluationFolder | None:
    result = result_file.read(folder / _RESULT) if _is_there(folder, what, missing) else None
    if result is None:
        return None
    try:
        rows = reader.check([reader.parse(line) for line in reader.lines(folder / "rows.jsonl")], list[result_file.Row])
    except ValueError as error:
        reader.refuse(folder / "rows.jsonl", error)
    path = folder / "walkthrough.json"
    told = reader.read(path, dict[str, Any], most_bytes=reader.LARGE)
    if told:
        told = cast("Any", reader.read(path, result_file.Walkthrough, most_bytes=reader.LARGE))
    return EvaluationFolder(result, cast("list[dict[str, Any]]", rows), told or {})


def _warm_start(folder: Path, missing: list[str]) -> WarmStart | None:
    from codctl.files import forms as files

    return reader.read(folder / _RESULT, files.WarmStart) if _is_there(folder, "The warm start", missing) else None


def _is_there(folder: Path, what: str, missing: list[str]) -> bool:
    if problem := why_not_sealed(folder):
        state = "is not there yet" if problem == "no such folder" else f"cannot be used ({problem})"
        missing.append(f"{what} {state}.")
    return not problem
