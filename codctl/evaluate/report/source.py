"""What a run left on disk, read once for the report. Whatever is absent is named in `missing`, never invented."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.runs.directory import RunDirectory
from codctl.runs.seal import why_not_sealed
from codctl.tracking import jsonl

if TYPE_CHECKING:
    from codctl.config.schema import Config


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
class Source:
    """Everything the page shows."""

    manifest: dict[str, Any]
    status: str
    config: Config
    records: list[dict[str, Any]]
    warm_start: dict[str, Any] | None
    before: EvaluationFolder | None
    after: EvaluationFolder | None
    long: EvaluationFolder | None
    missing: list[str]

    def phase(self, name: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["phase"] == name]


def load(run: RunDirectory) -> Source:
    """Read a run, finished or not.

    Raises:
        UsageError: Manifest or config cannot be read.
    """
    config = run.config()
    missing: list[str] = []
    evaluations = {}
    for name, expected, what in (
        ("before", config.train.enabled, "The evaluation before CoD-Train"),
        ("after", True, "The evaluation after CoD-Train"),
        ("after-long", config.evaluation.long_length > 0, "The evaluation on longer packs"),
    ):
        evaluations[name] = _evaluation(run.stage("evaluation") / name, what, missing) if expected else None
    records = jsonl.read(run.metrics_path)
    done = max((r["step"] for r in records if r["phase"] == "train"), default=0)
    if config.train.enabled and done < config.train.steps:
        missing.append(f"CoD-Train has done {done} of {config.train.steps} steps.")
    warm_start = None
    if config.warm_start.enabled:
        warm_start = _json(run.stage("warm_start"), "result.json", "The warm start", missing)
    # A run writes its own page as its last act: with nothing missing, it is as good as finished.
    status = run.status()
    return Source(
        manifest=run.manifest(),
        status="finished" if status == "running" and not missing else status,
        config=config,
        records=records,
        warm_start=warm_start,
        before=evaluations["before"],
        after=evaluations["after"],
        long=evaluations["after-long"],
        missing=missing,
    )


def _evaluation(folder: Path, what: str, missing: list[str]) -> EvaluationFolder | None:
    result = _json(folder, "result.json", what, missing)
    if result is None:
        return None
    if failed := result.get("failed_episodes"):
        missing.append(f"{what} leaves out {failed} episodes that could not be played to their end.")
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    told = json.loads((folder / "walkthrough.json").read_text(encoding="utf-8"))
    return EvaluationFolder(result, rows, told)


def _json(folder: Path, name: str, what: str, missing: list[str]) -> dict[str, Any] | None:
    if problem := why_not_sealed(folder):
        state = "is not there yet" if problem == "no such folder" else f"cannot be used ({problem})"
        missing.append(f"{what} {state}.")
        return None
    content: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return content
