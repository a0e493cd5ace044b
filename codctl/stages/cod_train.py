"""Stage: CoD-Train. Rollout, credit, learn; checkpoint now and then; continue from the newest whole checkpoint."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codctl.cod.credit import CreditRule, credit_pack
from codctl.cod.engine import Weights
from codctl.cod.mixture import Mixture
from codctl.cod.rollout import Player, play_all
from codctl.cod.trajectory import EpisodeRecord, Trajectory, write_parquet
from codctl.config.schema import Config
from codctl.errors import StageError
from codctl.evaluate.positions import position_metrics
from codctl.learn import checkpoints
from codctl.learn.batching import sample_of, tokens_by_turn
from codctl.learn.learner import Learner
from codctl.learn.models import add_lora
from codctl.runs.directory import RunDirectory
from codctl.runs.seal import is_whole, sealing
from codctl.runs.stop import Stopped
from codctl.seeds import derive_seed
from codctl.stages.progress import Progress
from codctl.stages.setup import Speaker, export, load_speaker, make_engine, rollout_settings
from codctl.tracking.tracker import Tracker


def cod_train(run: RunDirectory, config: Config, start: Path, tracker: Tracker, progress: Progress) -> Path:
    """Train, and return the folder of the final model (a PEFT adapter when `model.lora.rank` is set).

    A request to stop is seen between two steps, and a checkpoint is saved first.
    """
    if not config.train.enabled:
        return start
    stage = run.stage("cod_train")
    final = stage / "final"
    if is_whole(final, progress.message):
        return final
    training = Training(run, config, start, tracker, progress)
    training.resume()
    training.run()
    with sealing(final) as temp:
        export(training.speaker, config, temp)
    return final


@dataclass(frozen=True)
class Scored:
    """The rollouts of one step with their credit, flat and in the same order."""

    trajectories: list[Trajectory]
    episodes: list[EpisodeRecord]
    credits: list[dict[str, float]]
    groups_without_signal: float


def score(config: Config, trajectories: list[Trajectory]) -> Scored:
    """Credit each pack's group of rollouts."""
    credit = config.train.credit
    rule = CreditRule(credit.returns, credit.window, credit.discount, credit.scale_by_std)
    size = config.train.rollouts
    groups = [trajectories[i : i + size] for i in range(0, len(trajectories), size)]
    rows: list[dict[str, float]] = []
    silent = slots = 0
    for group in groups:
        found = credit_pack(group, rule)
        rows.extend(found.rows(group))
        for kind in (found.solve, found.update):
            slots += kind.advantages.shape[1]
            silent += int((kind.advantages == 0).all(axis=0).sum())
    episodes = [e for t in trajectories for e in t.episodes]
    return Scored(trajectories, episodes, rows, silent / max(slots, 1))


class Training:
    """One training in this process.

    Args:
        run: Where everything is written.
        config: Recipe.
        start: Model folder to start from.
        tracker: For metrics.
        progress: For whoever watches.
    """

    def __init__(self, run: RunDirectory, config: Config, start: Path, tracker: Tracker, progress: Progress) -> None:
        self._run, self._config, self._tracker, self._progress = run, config, tracker, progress
        self._stage = run.stage("cod_train")
        self._mixture = Mixture.of(config.world)
        speaker = load_speaker(start, config.model.dtype, config.model.device)
        if config.model.lora.rank:
            adapted = add_lora(speaker.model, config.model.lora, derive_seed(config.seed, "lora"))
            speaker = Speaker(adapted, speaker.tokenizer, speaker.chat)
        self.speaker = speaker
        self._engine = make_engine(speaker, config.runtime.max_batch)
        self._learner = Learner(
            speaker.model,
            config.train,
            pad_id=speaker.tokenizer.pad_token_id or 0,
            temperature=config.sampling.temperature,
            seed=config.seed,
        )
        self._player = Player(self._engine, speaker.chat, rollout_settings(config), config.seed)
        self._done = 0

    def resume(self) -> None:
        """Continue after the newest whole checkpoint, if there is one; later metrics are written again."""
        self._done, skipped = checkpoints.load_newest(self._stage / "checkpoints", self.speaker.model, self._learner)
        for reason in skipped:
            self._progress.message(f"checkpoint passed over: {reason}")
        if self._done:
            self._progress.message(f"continuing after step {self._done}")
            self._prune()  # the last attempt may have been killed before it could, or while it did
        self._tracker.rewind("train", self._done)
        self._tracker.rewind("validation", self._done or -1)

    def run(self) -> None:
        config, total = self._config, self._config.train.steps
        if self._done == 0:
            self._validate(0)
        while self._done < total:
            step = self._done + 1
            metrics = self._step(step)
            self._done = step
            self._progress.update("CoD-Train", step, total, metrics)
            if config.evaluation.every and step % config.evaluation.every == 0:
                self._validate(step)
            stop = self._run.stop_requested()
            if stop or step % config.train.checkpoint_every == 0 or step == total:
                checkpoints.save(self._stage / "checkpoints", self.speaker.model, self._learner, step)
                self._prune()
            if stop:
                raise Stopped(stop)

    def _prune(self) -> None:
        checkpoints.prune(self._stage / "checkpoints", self._config.train.checkpoints_kept, newest=self._done)

    def _step(self, step: int) -> dict[str, float]:
        config = self._config
        first = (step - 1) * config.train.packs
        packs = self._mixture.packs("train", config.seed, first, config.train.packs)
        started = time.monotonic()
        asyncio.run(self._engine.update_weights(Weights(step - 1)))
        trajectories = asyncio.run(play_all(self._player, packs, config.train.rollouts))
        played = time.monotonic()
        scored = score(config, trajectories)
        _refuse_if_engine_is_broken(scored.episodes, step)
        samples = [
            sample_of(episode, row["advantage"])
            for episode, row in zip(scored.episodes, scored.credits, strict=True)
            if not episode.failed
        ]
        learned = self._learner.learn(samples, step)
        ended = time.monotonic()
        metrics = {**self._by_position(trajectories), **learned, **self._rollout_metrics(scored)}
        timing = {
            "seconds/rollout": played - started,
            "seconds/learn": ended - played,
            "seconds/step": ended - started,
            "tokens_per_second/rollout": sum(len(e.ids) for e in scored.episodes) / (played - started),
            "tokens_per_second/learn": learned["tokens/forwarded"] / (ended - played),
        }
        self._tracker.log(step, "train", metrics, timing)
        if step % config.tracking.trajectories_every == 0 or step in (1, config.train.steps):
            path = self._stage / "rollouts" / f"step-{step:06d}.parquet"
            write_parquet(path, trajectories, scored.credits)
        return metrics

    def _by_position(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """Metrics by position; of a mixture also those of each family, under its name."""
        found = position_metrics(trajectories)
        for part in self._mixture.parts if len(self._mixture.parts) > 1 else ():
            own = [t for t in trajectories if t.pack.startswith(f"{part.family.name}/")]
            found |= {f"{part.family.name}/{name}": value for name, value in position_metrics(own).items()}
        return found

    def _rollout_metrics(self, scored: Scored) -> dict[str, float]:
        stats, episodes = self._engine.stats, scored.episodes
        by_kind = {
            kind: sum(
                row["advantage"] * sum(e.loss_mask)
                for e, row in zip(episodes, scored.credits, strict=True)
                if e.kind == kind
            )
            for kind in ("solve", "update")
        }
        rows = sum(len(e.ids) for e in episodes)
        return {
            "groups/without_signal": scored.groups_without_signal,
            "advantage_sum/solve": by_kind["solve"],
            "advantage_sum/update": by_kind["update"],
            "engine/occupancy": stats.occupancy,
            "engine/cached_prompt_fraction": stats.cached_tokens / max(stats.prompt_tokens, 1),
            "tokens/per_pack": rows / self._config.train.packs,
            "tokens/per_turn_rows_ratio": tokens_by_turn(episodes) / max(rows, 1),
            "failures/format": _share(episodes, "solve", "format_error"),
            "failures/update": _share(episodes, "update", "format_error"),
            "failures/episode": sum(1 for e in episodes if e.failed) / len(episodes),
        }

    def _validate(self, step: int) -> None:
        """Play held-out packs as deployed, the same ones every time."""
        config = self._config
        if not config.evaluation.every:
            return
        packs = self._mixture.packs("validation", 0, 0, config.evaluation.every_packs)
        asyncio.run(self._engine.update_weights(Weights(step)))
        player = Player(
            self._engine,
            self.speaker.chat,
            self._player.settings,
            derive_seed(config.seed, "validation"),
        )
        metrics = self._by_position(asyncio.run(play_all(player, packs, 1)))
        self._tracker.log(step, "validation", metrics)
        self._progress.update("validation", step, config.train.steps, metrics)


def _refuse_if_engine_is_broken(episodes: Sequence[EpisodeRecord], step: int) -> None:
    """A few failed episodes are noise; when most fail, going on would only look like training."""
    reasons = [e.failed for e in episodes if e.failed]
    if 2 * len(reasons) > len(episodes):
        raise StageError(
            f"step {step}: the engine failed in {len(reasons)} of {len(episodes)} episodes; first reason: {reasons[0]}",
            hint="the same command continues from the newest checkpoint once the cause is gone",
        )


def _share(episodes: Sequence[EpisodeRecord], kind: str, flag: str) -> float:
    chosen = [bool(getattr(e, flag)) for e in episodes if e.kind == kind]
    return sum(chosen) / max(len(chosen), 1)
