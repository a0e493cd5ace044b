"""Health gates: what tells an optimiser step that must not count from one that may. `Gates` is a pure function
of metrics; `Health` says, counts and does what it finds.

The gap between sampling and training log-probs is mere arithmetic only where rows are learned by the very weights that
sampled them. Limits that are null in the recipe therefore follow type and staleness:

    ====================  ========  =======  ======
    rows                  mean      max      k3
    ====================  ========  =======  ======
    fresh, float32        0.001     0.1      0.0001
    fresh, bfloat16       0.05      5        0.02
    stale, either type    0.5       none     1
    ====================  ========  =======  ======

The limits for fresh rows are no figures of one machine. They follow from the step between neighbouring numbers of the
type (2^-8 of a number in bfloat16, 2^-23 in float32, 2^-10 where a GPU multiplies float32 as TF32): log-probs are
differences of logits of a size of ten or more, so that in bfloat16 single tokens differ by tenths whatever computes
them, and the mean over thousands by hundredths. On CPUs the mean has been at most 0.0023 so far.

Rows are stale with engine.sync_every > 1, engine.overlap or train.optimizer_steps > 1: then the policy has moved since.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from codctl.config.schema import Config
from codctl.errors import StageError
from codctl.quantities import percent
from codctl.results.outcomes import look_sentence, worst_look

Action = Literal["go", "warn", "skip", "stop"]

_ORDER: tuple[Action, ...] = ("go", "warn", "skip", "stop")
_GAPS = ("gap_mean", "gap_max", "gap_k3")
_NULL_LIMITS = {"float32": (1e-3, 0.1, 1e-4), "bfloat16": (0.05, 5.0, 0.02), "stale": (0.5, math.inf, 1.0)}


@dataclass(frozen=True)
class _Quantity:
    """A metric under a gate.

    Attributes:
        metric: Its name.
        gate: Name of its gate in `health`.
        words: What it is called in messages.
        remedy: What to do about it.
        opens_below: Whether small values are the bad ones.
        is_of_rollouts: Whether it is known before anything is learned.
    """

    metric: str
    gate: str
    words: str
    remedy: str
    opens_below: bool = False
    is_of_rollouts: bool = False


_SMALLER = "lower train.lr or train.grad_clip"
_ALIKE = "check that engine and learner agree in weights, model.dtype and sampling.temperature (codctl docs scaling)"
_LENGTHS = "`codctl credit RUN` shows whether good or bad episodes are the longer ones"
_TELLING = "choose a world.preset that is neither always solved nor never, or more train.rollouts"
READABLE = "`codctl view RUN` shows the replies; a warm start teaches their form"
LONGER = "raise sampling.solve_tokens or sampling.update_tokens"
_QUANTITIES = (
    _Quantity("logprob_gap/mean", "gap_mean", "the mean gap of sampling and training log-probs", _ALIKE),
    _Quantity("logprob_gap/max", "gap_max", "the largest gap of sampling and training log-probs", _ALIKE),
    _Quantity("logprob_gap/k3", "gap_k3", "the k3 divergence of training from sampling", _ALIKE),
    _Quantity("entropy", "entropy", "the policy's entropy", f"{_SMALLER}, or raise sampling.temperature", True),
    _Quantity("grad_norm", "grad_norm", "the gradient norm", _SMALLER),
    _Quantity(
        "groups/without_signal", "silent_groups", "the share of groups without signal", _TELLING, is_of_rollouts=True
    ),
    _Quantity(
        "failures/format", "unreadable_replies", "the share of unreadable solve replies", READABLE, is_of_rollouts=True
    ),
    _Quantity(
        "failures/update", "unreadable_updates", "the share of unreadable updates", READABLE, is_of_rollouts=True
    ),
    _Quantity("failures/cut", "cut_replies", "the share of replies that were cut", LONGER, is_of_rollouts=True),
    *(
        _Quantity(
            f"advantage_sum/{kind}_relative",
            "advantage_sum",
            f"the relative advantage sum of {kind} episodes",
            _LENGTHS,
            is_of_rollouts=True,
        )
        for kind in ("solve", "update")
    ),
)


@dataclass(frozen=True)
class Finding:
    """An open gate: its name in `health`, its action, why it is open, what to do about it."""

    gate: str
    action: Action
    text: str
    remedy: str


@dataclass(frozen=True)
class Verdict:
    """All gates that a set of metrics opens."""

    findings: tuple[Finding, ...] = ()

    @property
    def action(self) -> Action:
        """The strongest action of an open gate; `go` when none is open."""
        return max((finding.action for finding in self.findings), key=_ORDER.index, default="go")

    @property
    def lets_pass(self) -> bool:
        """Whether the optimiser may step."""
        return self.action in ("go", "warn")


class Gates:
    """The gates of a recipe."""

    def __init__(self, config: Config) -> None:
        self._health = config.health
        stale = config.engine.lags or config.train.optimizer_steps > 1
        self._null_limits = dict(zip(_GAPS, _NULL_LIMITS["stale" if stale else config.model.dtype], strict=True))

    def judge(self, metrics: Mapping[str, float]) -> Verdict:
        """Judge one optimiser step before it is made, by its metrics; one that is absent opens nothing."""
        broken = [name for name, value in metrics.items() if not math.isfinite(value)]
        findings = [self._not_finite(metrics, broken)] if broken else []
        findings += [found for q in _QUANTITIES if q.metric not in broken and (found := self._finding(q, metrics))]
        return Verdict(tuple(findings))

    def judge_rollouts(self, metrics: Mapping[str, float]) -> Verdict:
        """Judge a step at which there was nothing to learn: only what is known of its rollouts."""
        known = {q.metric for q in _QUANTITIES if q.is_of_rollouts}
        return self.judge({name: value for name, value in metrics.items() if name in known})

    def _finding(self, quantity: _Quantity, metrics: Mapping[str, float]) -> Finding | None:
        gate = getattr(self._health, quantity.gate)
        if gate.action == "off" or quantity.metric not in metrics:
            return None
        limit = self._null_limits[quantity.gate] if gate.limit is None else gate.limit
        value = metrics[quantity.metric]
        is_open = value < limit if quantity.opens_below else value > limit
        beyond = "below" if quantity.opens_below else "above"
        text = f"{quantity.words} is {value:.3g}, {beyond} {limit:.3g}"
        return Finding(quantity.gate, gate.action, text, quantity.remedy) if is_open else None

    def _not_finite(self, metrics: Mapping[str, float], broken: Sequence[str]) -> Finding:
        shown = ", ".join(f"{name} {metrics[name]}" for name in broken)
        return Finding("non_finite", self._health.non_finite.action, f"not finite: {shown}", _SMALLER)


def advantage_sums(
    kinds: Sequence[str], advantages: Sequence[float], sampled_tokens: Sequence[int]
) -> dict[str, float]:
    """Token-weighted advantage sum of each kind of episode: as it is, and its size relative to that of its terms.

    Args:
        kinds: Kind of each episode.
        advantages: Its advantage.
        sampled_tokens: How many tokens carry it.
    """
    found: dict[str, float] = {}
    for kind in ("solve", "update"):
        terms = [a * n for k, a, n in zip(kinds, advantages, sampled_tokens, strict=True) if k == kind]
        size = sum(map(abs, terms))
        found[f"advantage_sum/{kind}"] = float(sum(terms))
        found[f"advantage_sum/{kind}_relative"] = abs(sum(terms)) / size if size else 0.0
    return found


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
    say(f"a look at the model before CoD-Train: {look_sentence(metrics, limits)}")
    words, share = worst_look(metrics)
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
