"""Where everything of a run lies. Stdlib only."""

from __future__ import annotations

from pathlib import Path


class Layout:
    """The paths below a run's folder, there or not.

    Args:
        path: The run's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def manifest_path(self) -> Path:
        return self.path / "manifest.json"

    @property
    def lock_path(self) -> Path:
        return self.path / "lock"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def stages(self) -> Path:
        """The folder of all stages."""
        return self.path / "stages"

    def stage(self, name: str) -> Path:
        return self.stages / name

    @property
    def warm_start(self) -> Path:
        """The model after the warm start, a sealed folder."""
        return self.stage("warm_start")

    @property
    def training(self) -> Path:
        """What CoD-Train writes."""
        return self.stage("cod_train")

    @property
    def checkpoints(self) -> Path:
        """Sealed folders `step-…`."""
        return self.training / "checkpoints"

    @property
    def final_model(self) -> Path:
        """The model after the last step, a sealed folder."""
        return self.training / "final"

    @property
    def rollouts(self) -> Path:
        """The rollouts of stored steps with their credit, `step-….parquet`."""
        return self.training / "rollouts"

    @property
    def waves(self) -> Path:
        """What is played and not learned yet."""
        return self.training / "waves"

    @property
    def evaluations(self) -> Path:
        """The run's own evaluations, a folder for each: `before`, `after`, …"""
        return self.stage("evaluation")

    @property
    def suites(self) -> Path:
        """Suites that it has played as a trial of a sweep, a folder for each."""
        return self.path / "suites"

    def attempt(self, number: int) -> Path:
        """The folder of one attempt, counted from 1."""
        return self.path / "attempts" / f"{number:03d}"

    def log_path(self, number: int) -> Path:
        """The log of one attempt."""
        return self.attempt(number) / "log.txt"
