"""The health gates at work in a training: what they find is said, counted, and acted upon."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from codctl.config.schema import Config
from codctl.errors import StageError
from codctl.learner.health import LONGER, READABLE, Finding, Gates, Verdict
from codctl.quantities import percent
from codctl.results import look

_SAY_EVERY = 25  # steps between two messages about one gate


class Health:
    """Judges each optimiser step of a training.

    Args:
        config: Recipe.
        say: Told when a gate opens, and now and then while it stays open.
    """

    def __init__(self, config: Config, say: Callable[[str], None]) -> None:
        self._gates, self._say = Gates(config), say
        self._most_skips = config.health.most_skips
        self._verdicts: list[Verdict] = []  # of the optimiser steps of the present rollout step
        self._openings: dict[str, list[int]] = {}  # gate → steps at which it opened since it was last said
        self._said: dict[str, int] = {}  # gate → step at which it was last said
        self._skips = 0

    def before_step(self, metrics: Mapping[str, float]) -> bool:
        """Whether the optimiser may make the step that has these metrics; if not, weights and optimiser stay."""
        verdict = self._gates.judge(metrics)
        self._verdicts.append(verdict)
        return verdict.lets_pass

    def after_step(self, step: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """Close a rollout step.

        Args:
            step: Rollout step.
            metrics: Its metrics; read where no optimiser step was to be made.

        Returns:
            `health/open` (gates), `health/skipped` (optimiser steps), and `health/GATE` 1 for each open one.

        Raises:
            StageError: A gate says stop, or too many steps in a row were skipped.
        """
        verdicts, self._verdicts = self._verdicts, []
        skipped = sum(not verdict.lets_pass for verdict in verdicts)
        findings: dict[str, Finding] = {}
        for verdict in verdicts or [self._gates.judge_rollouts(metrics)]:
            for finding in verdict.findings:
                findings.setdefault(finding.gate, finding)
        for finding in findings.values():
            if finding.action == "stop":
                raise _stop(step, finding)
            self._tell(step, finding)
        self._skips = self._skips + 1 if verdicts and skipped == len(verdicts) else 0
        if self._skips >= self._most_skips:
            raise _stop(step, next(iter(findings.values())), f" and {self._skips} steps in a row were skipped")
        return {
            "health/open": float(len(findings)),
            "health/skipped": float(skipped),
            **{f"health/{gate}": 1.0 for gate in findings},
        }

    def _tell(self, step: int, finding: Finding) -> None:
        gate = finding.gate
        since = self._openings.setdefault(gate, [])
        since.append(step)
        if gate in self._said and step - self._said[gate] < _SAY_EVERY:
            return
        again = f" (at {len(since)} of the last {step - self._said[gate]} steps)" if gate in self._said else ""
        done = "the step is skipped; " if finding.action == "skip" else ""
        self._say(f"step {step}: health.{gate}: {finding.text}{again}; {done}{finding.remedy}")
        self._said[gate] = step
        since.clear()


def judge_look(config: Config, metrics: Mapping[str, float], say: Callable[[str], None]) -> None:
    """Say what the look before CoD-Train has shown.

    Raises:
        StageError: `health.look` says stop: too little could be read.
    """
    gate, limits = config.health.look, config.sampling
    say(f"a look at the model before CoD-Train: {look.sentence(metrics, limits)}")
    words, share = look.worst(metrics)
    if share <= gate.limit:
        return
    found = f"{percent(share)} of the {words} could not be read"
    remedy = LONGER if metrics["failures/cut"] > gate.limit else READABLE
    if gate.action == "stop":
        raise StageError(
            f"{found}, above {percent(gate.limit)}: CoD-Train was not started",
            where="health.look",
            hint=f"{remedy}; the same command with health.look.action=warn trains all the same",
        )
    say(f"health.look: {found}, above {percent(gate.limit)}; {remedy}")


def _stop(step: int, finding: Finding, why: str = "") -> StageError:
    gate = f"health.{finding.gate}"
    other = f"{gate}.limit=…" if finding.gate != "non_finite" else f"--fork RUN --name NEW {gate}.action=skip"
    return StageError(
        f"step {step}: {finding.text}{why}; the optimiser step was skipped",
        where=gate,
        hint=f"{finding.remedy}; the same command with {other} continues from the newest checkpoint",
    )
