"""Stage: CoD-Train, or a distillation: rollout, then credit or the lessons of teachers, then learn.

A checkpoint is written now and then, and the stage continues from the newest whole one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from codctl.cod.mixture import Mixture
from codctl.cod.requests import end
from codctl.cod.rollout import Player
from codctl.config.freeze import digest
from codctl.config.schema import Config
from codctl.files.seal import is_whole, sealing
from codctl.learner import checkpoints
from codctl.learner.batching import Sample
from codctl.learner.group import LearnerGroup, Starter, open_group
from codctl.models.load import load_chat, load_tokenizer
from codctl.plan.placement import place
from codctl.quantities import counted
from codctl.runs import signals
from codctl.runs.directory import RunDirectory
from codctl.runs.extension import final_step
from codctl.runs.progress import Progress
from codctl.runs.stop import Signalled, Stopped
from codctl.tracking.tracker import Tracker
from codctl.train.credited import (
    Scored,
    by_position,
    reading_metrics,
    refuse_if_engine_is_broken,
    rollout_metrics,
    score,
    signal_metrics,
)
from codctl.train.export import describe
from codctl.train.feed import Feed
from codctl.train.health import Health
from codctl.train.held_out import HeldOut
from codctl.train.memory import MemoryWatch
from codctl.train.rollout_store import write_rollouts, write_transcripts
from codctl.train.sampler import Sampler
from codctl.train.setup import rollout_settings
from codctl.train.teachers import Teacher
from codctl.train.teaching import Teachers
from codctl.train.training_engine import open_engine
from codctl.train.wave_store import WaveStore
from codctl.train.waves import Played, WavePlayer

if TYPE_CHECKING:
    from codctl.engines.nodes.client import Address

T = TypeVar("T")
_LOOK_S = 1.0  # for requests to stop, while packs are played


def cod_train(
    run: RunDirectory,
    config: Config,
    start: Path,
    tracker: Tracker,
    progress: Progress,
    starter: Starter | None = None,
    engines: Callable[[], Sequence[Address]] = tuple,
    teachers: Sequence[Teacher] = (),
) -> Path:
    """Train, and return the folder of the final model (a PEFT adapter when `model.lora.rank` is set).

    A request to stop, or a signal, is seen while packs are played and between two steps, and what was learned is saved
    first.

    Args:
        run: Where everything is written.
        config: Recipe.
        start: Model folder to start from.
        tracker: For metrics.
        progress: Shown to the user.
        starter: Starts the learner's further processes, where there are to be several.
        engines: Finds the engines of other nodes.
        teachers: Of a distillation.
    """
    if not config.train.enabled:
        return start
    final, steps = run.final_model, config.train.steps
    if is_whole(final, progress.message) and final_step(final) in (None, steps):
        return final
    progress.update(f"{config.stage}: loading the model", 0, 0, {})
    tokenizer = load_tokenizer(start)
    chat = load_chat(start, tokenizer)
    with ExitStack() as stack:
        group = stack.enter_context(_learner(config, start, tokenizer.pad_token_id or 0, starter))
        runner = stack.enter_context(asyncio.Runner())
        log = run.path / "engine.log"
        opened = runner.run(open_engine(config, group, start, tokenizer, chat, log, engines))
        sampler = Sampler(config, opened, group, run=run.path, chat=chat)
        stack.callback(lambda: runner.run(sampler.aclose()))
        player = Player(opened.engine, chat, rollout_settings(config), config.seed)
        at_work = None
        if teachers:
            progress.update(f"{config.stage}: loading the teachers", 0, 0, {})
            pad_id = tokenizer.pad_token_id or 0
            at_work = Teachers(config, teachers, chat, pad_id=pad_id, log=run.path / "teacher.log")
            stack.callback(lambda: runner.run(at_work.aclose()))
            runner.run(sampler.rest())
            runner.run(at_work.start())
        Training(run, config, group, sampler, player, runner, tracker, progress, at_work).carry_out()
        with sealing(final, {"step": steps}) as temp:
            group.publish(temp)
            describe(run, config, tokenizer, temp)
    return final


def _learner(config: Config, start: Path, pad_id: int, starter: Starter | None) -> AbstractContextManager[LearnerGroup]:
    where = place(config)
    gpu = where.learners[0]
    device = config.model.device if gpu is None else f"cuda:{gpu}"
    return open_group(config, start, pad_id=pad_id, device=device, processes=where.processes, starter=starter)


@dataclass(frozen=True)
class Rows:
    """What a step learns from.

    Attributes:
        samples: The rows.
        signal: Metrics that are known before anything is learned.
        seconds: That teachers took.
    """

    samples: list[Sample]
    signal: dict[str, float]
    seconds: float = 0.0


class Training:
    """One training, in the process that plays.

    Args:
        run: Where everything is written.
        config: Recipe.
        group: The learner, in this process and perhaps in others.
        sampler: The engine.
        player: Plays with it.
        runner: Of the loop that the engine lives in.
        tracker: For metrics.
        progress: Shown to the user.
        teachers: Of a distillation.
    """

    def __init__(
        self,
        run: RunDirectory,
        config: Config,
        group: LearnerGroup,
        sampler: Sampler,
        player: Player,
        runner: asyncio.Runner,
        tracker: Tracker,
        progress: Progress,
        teachers: Teachers | None = None,
    ) -> None:
        self._teachers = teachers
        self._run, self._config, self._tracker, self._progress = run, config, tracker, progress
        self._group, self._sampler, self._runner, self._chat = group, sampler, runner, player.chat
        self._mixture = Mixture.of(config.world)
        self._health = Health(config, progress.message)
        self._memory = MemoryWatch(config.health.memory, progress.message)
        self._store = WaveStore(run.waves, digest(config))
        waves = WavePlayer(config, sampler, player, self._store, progress)
        self._held_out = HeldOut(run, config, player, waves, tracker, progress)
        self._feed = Feed(config, sampler, waves, self._held_out)
        self._restarts = 0  # of the engine, as far as they were told
        self._done = self._saved = 0

    def carry_out(self) -> None:
        """Continue where the newest checkpoint ends, and train to the last step.

        Raises:
            Stopped: A request or a signal has asked for it; what was learned is saved.
        """
        run = self._run  # not `self`: a cycle would keep model and optimiser alive after the training
        with signals.saved_first(lambda: run.stop_requested() is not None, self._progress.message) as self._asked:
            try:
                self._train()
            finally:
                self._runner.run(self._feed.aclose())

    def _train(self) -> None:
        self._resume()
        config, total = self._config, self._config.train.steps
        if self._done == 0:
            self._before()
        elif not config.engine.overlap or self._done == total:
            self._validate()  # the last attempt may have been stopped before it could
        self._progress.update(self._config.stage, self._done, total, {})
        while self._done < total:
            step = self._done + 1
            metrics = self._step(step)
            if metrics is None:
                break
            self._done = step
            self._runner.run(self._feed.advance(step))
            self._progress.update(self._config.stage, step, total, metrics)
            if not config.engine.overlap or step == total:
                self._validate()
            if step % config.train.checkpoint_every == 0 or step == total:
                self._save()
            if self._stopping():
                break
        if stop := self._stopping():
            self._asked.take_time()
            self._runner.run(self._feed.aclose())
            if self._saved < self._done:
                self._save()
        self._group.await_saved()
        self._store.forget(self._saved)
        if stop:
            raise stop

    def _stopping(self) -> Stopped | None:
        """What to raise when somebody has asked to stop, by a signal or by a file."""
        if self._asked.number is not None:
            return Signalled(self._asked.number)
        requested = self._run.stop_requested()
        return Stopped(requested) if requested else None

    def _resume(self) -> None:
        """Load the newest whole checkpoint, if there is one; later metrics are written again."""
        found = self._group.restore(self._run.checkpoints)
        for reason in found.skipped:
            self._progress.message(f"checkpoint skipped: {reason}")
        self._done = self._saved = found.step
        if self._done:
            self._progress.message(f"continuing after step {self._done}")
            self._prune()  # the last attempt may have been killed before it could, or while it did
        self._tracker.rewind("train", self._done)
        self._tracker.rewind("validation", self._done or -1)
        self._store.forget(self._done)
        self._feed.resume(self._done, found.published)

    def _before(self) -> None:
        """Look at the model, and validate it."""
        if self._held_out.looks and not self._attended(self._held_out.look()):
            return
        self._held_out.judge_look()
        if self._held_out.every:
            self._attended(self._feed.validate(0))

    def _validate(self) -> None:
        """Play the validations that are due while nothing else is played."""
        for step in self._held_out.due(self._done):
            if not self._attended(self._feed.validate(step)):
                return

    def _step(self, step: int) -> dict[str, float] | None:
        """Play and learn; None when somebody has asked to stop before anything was learned."""
        started = time.monotonic()
        if not (found := self._attended(self._feed.play(step))):
            return None
        (played,) = found
        scored = score(self._config, played.trajectories, learned=step - 1)
        refuse_if_engine_is_broken(scored.episodes, step)
        self._runner.run(self._sampler.rest())
        if not (rows := self._rows(step, scored)):
            return None
        if not self._feed.is_playing:
            self._progress.update(f"{self._config.stage}: learning step {step}", 0, 0, {})
        learned = self._runner.run(self._feed.beside(lambda: self._learn(step, rows)))
        return self._record(step, played, scored, learned, rows.seconds, time.monotonic() - started)

    def _attended(self, work: Coroutine[Any, Any, T]) -> tuple[T] | None:
        """What is played, unless somebody asks to stop: a step of a large model takes longer than its notice."""

        async def attend() -> tuple[T] | None:
            task = asyncio.ensure_future(work)
            try:
                while not task.done():
                    await asyncio.wait([task], timeout=_LOOK_S)
                    self._group.check()
                    # A signal to the whole job may have ended an engine, too.
                    if (not task.done() or task.exception()) and self._stopping():
                        return None
                return (task.result(),)
            finally:
                await end(task)

        return self._runner.run(attend())

    # --- learning -------------------------------------------------------------------------------------------------

    def _rows(self, step: int, scored: Scored) -> Rows | None:
        """What is learned from; None when somebody has asked to stop before all of it was scored by its teachers."""
        samples = scored.samples(self._config.engine.max_staleness)
        if self._teachers is None:
            return Rows(samples, signal_metrics(scored))
        began = time.monotonic()
        if not self._feed.is_playing:
            self._progress.update(f"{self._config.stage}: the teachers score step {step}", 0, 0, {})
        if not (found := self._attended(self._teachers.teach(scored, samples))):
            return None
        [(taught, metrics)] = found
        signal = signal_metrics(scored) if self._config.distill.mix.reward else reading_metrics(scored.episodes)
        return Rows(taught, {**signal, **metrics}, time.monotonic() - began)

    def _learn(self, step: int, rows: Rows) -> dict[str, float]:
        """One call of the learner; its metrics, with `seconds`."""
        signal, began = rows.signal, time.monotonic()
        learned = self._group.learn(
            rows.samples,
            step,
            judge=lambda found: self._health.before_step({**signal, **found}),
        )
        return {**learned, **signal, "seconds": time.monotonic() - began}

    def _record(
        self, step: int, played: Played, scored: Scored, learned: dict[str, float], teach_s: float, seconds: float
    ) -> dict[str, float]:
        config, learn_s = self._config, learned.pop("seconds")
        metrics = {
            **by_position(self._mixture, played.trajectories),
            **learned,
            **rollout_metrics(scored, played.stats, config),
            "engine/restarts": float(self._tell_restarts(step)),
        }
        timing = {
            "seconds/rollout": played.seconds,
            "seconds/learn": learn_s,
            **({"seconds/teach": teach_s} if self._teachers else {}),
            "seconds/step": seconds,
            "tokens/sampled": float(sum(e.loss_tokens for e in scored.episodes)),
            "tokens_per_second/rollout": sum(len(e.ids) for e in scored.episodes) / played.seconds,
            "tokens_per_second/learn": learned["tokens/forwarded"] / learn_s,
            **self._memory.after_step(step),
        }
        try:
            metrics |= self._health.after_step(step, metrics)
        finally:  # a sick step is logged as well
            self._tracker.log(step, "train", metrics, timing)
        if step % config.tracking.trajectories_every == 0 or step in (1, config.train.steps):
            path = self._run.rollouts / f"step-{step:06d}.parquet"
            write_rollouts(path, played.trajectories, scored.credits)
            packs = self._feed.packs(step)
            write_transcripts(
                self._run, config, self._chat, "training", step, packs, played.trajectories, scored.credits
            )
        return metrics

    def _tell_restarts(self, step: int) -> int:
        """How often the engine was started again since this was last asked."""
        total = self._sampler.engine.stats.restarts
        new, self._restarts = total - self._restarts, total
        if new:
            self._progress.message(
                f"step {step}: engines were lost and restarted ({counted(new, 'time')}); see engine.log"
            )
        return new

    # --- keeping --------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        """Begin a checkpoint; with the weights that the engine will go on with, where the learner is ahead of them."""
        older = self._feed.older_weights()
        self._runner.run(
            self._feed.beside(lambda: self._group.save(self._run.checkpoints, self._done, published=older))
        )
        self._store.forget(self._saved)  # the checkpoint before is sealed now
        self._saved = self._done

    def _prune(self) -> None:
        checkpoints.prune(self._run.checkpoints, self._config.train.checkpoints_kept, newest=self._done)
