"""The rollouts of one step with their credit, and what is logged of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codctl.cod.credit import EpisodeCredit, credit_pack
from codctl.cod.engine import EngineStats
from codctl.cod.mixture import Mixture
from codctl.cod.trajectory import EpisodeRecord, Trajectory, position_metrics
from codctl.config.schema import Config
from codctl.envs.registry import get_family
from codctl.errors import StageError
from codctl.learner.batching import Sample, samples_of, tokens_by_turn
from codctl.outcomes import FaultKind
from codctl.quantities import counted
from codctl.results.outcomes import shares
from codctl.train.health import advantage_sums


@dataclass(frozen=True)
class Scored:
    """What was played at one step.

    Attributes:
        trajectories: In the order (pack, rollout).
        episodes: Of all trajectories, flat.
        credits: Of each episode, in the same order.
        groups_without_signal: Share of the groups whose rollouts all have the same return.
    """

    trajectories: list[Trajectory]
    episodes: list[EpisodeRecord]
    credits: list[EpisodeCredit]
    groups_without_signal: float

    def samples(self, max_staleness: int) -> list[Sample]:
        """Training rows: episodes that were played to their end by weights that are not too old."""
        return [
            sample
            for number, (episode, credit) in enumerate(zip(self.episodes, self.credits, strict=True))
            if not episode.failed and credit.staleness <= max_staleness
            for sample in samples_of(episode, credit.advantage, number)
        ]


def score(config: Config, trajectories: list[Trajectory], learned: int) -> Scored:
    """Credit each pack's group of rollouts.

    Args:
        config: Recipe.
        trajectories: In the order (pack, rollout).
        learned: Rollout steps that the learner has made; an episode is as stale as its weights are behind that.
    """
    size = config.train.rollouts
    groups = [trajectories[i : i + size] for i in range(0, len(trajectories), size)]
    credits_: list[EpisodeCredit] = []
    silent = slots = 0
    for group in groups:
        found = credit_pack(group, config.train.credit)
        credits_ += found.of(group, learned)
        for kind in (found.solve, found.update):
            slots += kind.advantages.shape[1]
            silent += int((kind.advantages == 0).all(axis=0).sum())
    episodes = [e for t in trajectories for e in t.episodes]
    return Scored(trajectories, episodes, credits_, silent / max(slots, 1))


def refuse_if_engine_is_broken(episodes: Sequence[EpisodeRecord], step: int) -> None:
    """A few failed episodes are noise; when most fail, going on would only look like training.

    Raises:
        StageError: Most have failed.
    """
    reasons = [e.failed for e in episodes if e.failed]
    if 2 * len(reasons) > len(episodes):
        raise StageError(
            f"step {step}: the engine failed in {len(reasons)} of {counted(len(episodes), 'episode')}; "
            f"first reason: {reasons[0]}",
            hint="the same command continues from the newest checkpoint once the cause is gone",
        )


def by_position(mixture: Mixture, trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Metrics by position; of a mixture also those of each family, under its name."""
    graded = [part.family.in_variant(part.world.variant or "").graded for part in mixture.parts]
    found = position_metrics(trajectories, graded=any(graded))
    for part, is_graded in zip(mixture.parts, graded, strict=True) if len(mixture.parts) > 1 else ():
        own = [t for t in trajectories if t.pack.startswith(f"{part.family.name}/")]
        found |= {
            f"{part.family.name}/{name}": value for name, value in position_metrics(own, graded=is_graded).items()
        }
    return found


def signal_metrics(scored: Scored) -> dict[str, float]:
    """How much there is to learn from: known before any of it is learned."""
    sums = advantage_sums(
        [e.kind for e in scored.episodes],
        [credit.advantage for credit in scored.credits],
        [e.loss_tokens for e in scored.episodes],
    )
    return {"groups/without_signal": scored.groups_without_signal, **sums, **reading_metrics(scored.episodes)}


def rollout_metrics(scored: Scored, stats: EngineStats, config: Config) -> dict[str, float]:
    """Work of the engine, age of the rows, and what could not be used."""
    episodes = scored.episodes
    rows = sum(len(e.ids) for e in episodes)
    ages = [c.staleness for e, c in zip(episodes, scored.credits, strict=True) if not e.failed] or [0.0]
    return {
        **({"engine/occupancy": stats.occupancy} if stats.forwards else {}),
        "engine/cached_prompt_fraction": stats.cached_tokens / max(stats.prompt_tokens, 1),
        "tokens/per_pack": rows / config.train.packs,
        "tokens/per_turn_rows_ratio": tokens_by_turn(episodes) / max(rows, 1),
        "staleness/mean": sum(ages) / len(ages),
        "staleness/max": max(ages),
        "staleness/dropped": sum(age > config.engine.max_staleness for age in ages) / len(ages),
        "failures/episode": sum(1 for e in episodes if e.failed) / len(episodes),
        **outcome_metrics(config, episodes),
    }


def reading_metrics(episodes: Sequence[EpisodeRecord]) -> dict[str, float]:
    """How many replies could not be read: known before anything is learned, and what health gates look at."""
    return {
        "failures/format": _share(episodes, "solve", "format_error"),
        "failures/update": _share(episodes, "update", "format_error"),
        "failures/cut": _share_of_fault(episodes, "cut"),
        "failures/empty": _share_of_fault(episodes, "empty"),
    }


def outcome_metrics(config: Config, episodes: Sequence[EpisodeRecord]) -> dict[str, float]:
    """Shares of the outcomes of solve and of update episodes."""
    losses = [kind for part in config.world.parts for kind in get_family(part.family).losses]
    return shares([(e.kind, e.outcome) for e in episodes], losses, config.context.update)


def look_metrics(config: Config, episodes: Sequence[EpisodeRecord]) -> dict[str, float]:
    """What a look at the model before CoD-Train counts."""
    kinds = [e.kind for e in episodes]
    numbers = {f"episodes/{kind}": float(kinds.count(kind)) for kind in ("solve", "update")}
    return {**reading_metrics(episodes), **outcome_metrics(config, episodes), **numbers}


def _share(episodes: Sequence[EpisodeRecord], kind: str, flag: str) -> float:
    chosen = [bool(getattr(e, flag)) for e in episodes if e.kind == kind]
    return sum(chosen) / max(len(chosen), 1)


def _share_of_fault(episodes: Sequence[EpisodeRecord], kind: FaultKind) -> float:
    """Episodes that ended with a reply that could not be read because it was cut, or empty."""
    return sum(e.fault is not None and e.fault.kind == kind for e in episodes) / len(episodes)
