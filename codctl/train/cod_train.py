"""Stage: CoD-Train. Rollout, credit, learn; checkpoint now and then; continue from the newest whole checkpoint."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.cod.credit import EpisodeCredit
from codctl.cod.engine import EngineStats
from codctl.cod.mixture import Mixture
from codctl.cod.rollout import Player, play_all
from codctl.cod.trajectory import Trajectory
from codctl.config.schema import Config
from codctl.engines.provider import provider_of
from codctl.engines.reply_progress import Pulse
from codctl.envs.base import Pack
from codctl.errors import PreflightError
from codctl.files.seal import is_whole, sealing
from codctl.learner import checkpoints
from codctl.learner.group import LearnerGroup, Starter, open_group
from codctl.models.load import load_chat, load_tokenizer
from codctl.plan.placement import place
from codctl.quantities import counted
from codctl.results import trajectory_file
from codctl.results.outcomes import LOOK
from codctl.runs import signals
from codctl.runs.directory import RunDirectory
from codctl.runs.extension import final_step
from codctl.runs.progress import Progress
from codctl.runs.stop import Signalled, Stopped
from codctl.seeds import derive_seed
from codctl.tracking.tracker import Tracker
from codctl.train.credited import (
    Scored,
    by_position,
    look_metrics,
    refuse_if_engine_is_broken,
    rollout_metrics,
    score,
    signal_metrics,
)
from codctl.train.export import describe
from codctl.train.health import Health, judge_look
from codctl.train.memory import MemoryWatch
from codctl.train.rollout_store import write_rollouts
from codctl.train.sampler import Sampler, version_for
from codctl.train.setup import rollout_settings
from codctl.train.training_engine import open_engine

if TYPE_CHECKING:
    from codctl.engines.nodes.client import Address

_LOOK_S = 1.0  # for requests to stop, while packs are played


def cod_train(
    run: RunDirectory,
    config: Config,
    start: Path,
    tracker: Tracker,
    progress: Progress,
    starter: Starter | None = None,
    engines: Callable[[], Sequence[Address]] = tuple,
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
    """
    if not config.train.enabled:
        return start
    if config.engine.lead:
        raise PreflightError("engine.lead > 0 can be planned, and not run yet", where="engine.lead", hint="lead=0")
    final, steps = run.final_model, config.train.steps
    if is_whole(final, progress.message) and final_step(final) in (None, steps):
        return final
    progress.update("CoD-Train: loading the model", 0, 0, {})
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
        Training(run, config, group, sampler, player, runner, tracker, progress).carry_out()
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
class Played:
    """The rollouts of one step.

    Attributes:
        trajectories: In the order (pack, rollout).
        stats: Work of the engine on them.
        seconds: From the first request to the last reply.
    """

    trajectories: list[Trajectory]
    stats: EngineStats
    seconds: float


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
    ) -> None:
        self._run, self._config, self._tracker, self._progress = run, config, tracker, progress
        self._group, self._sampler, self._player, self._runner = group, sampler, player, runner
        self._stage = run.training
        self._mixture = Mixture.of(config.world)
        self._health = Health(config, progress.message)
        self._memory = MemoryWatch(config.health.memory, progress.message)
        self._next: Played | None = None
        self._restarts = 0  # of the engine, as far as they were told
        self._done = self._saved = 0

    def carry_out(self) -> None:
        """Continue where the newest checkpoint ends, and train to the last step.

        Raises:
            Stopped: A request or a signal has asked for it; what was learned is saved.
        """
        run = self._run  # not `self`: a cycle would keep model and optimiser alive after the training
        with signals.saved_first(lambda: run.stop_requested() is not None, self._progress.message) as self._asked:
            self._train()

    def _train(self) -> None:
        self._resume()
        if self._done == 0:
            self._look()
        config, total = self._config, self._config.train.steps
        self._progress.update("CoD-Train", self._done, total, {})
        if self._done == 0:
            self._validate(0)
        while self._done < total:
            step = self._done + 1
            metrics = self._step(step)
            if metrics is None:
                break
            self._done = step
            self._progress.update("CoD-Train", step, total, metrics)
            if config.evaluation.every and step % config.evaluation.every == 0:
                self._validate(step)
            if step % config.train.checkpoint_every == 0 or step == total:
                self._save()
            if self._stopping():
                break
        if stop := self._stopping():
            self._asked.take_time()
            if self._saved < self._done:
                self._save()
        self._group.await_saved()
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
        version = self._version_for(self._done + 1)
        self._runner.run(self._sampler.restore(version, found.published, learned=self._done))

    def _step(self, step: int) -> dict[str, float] | None:
        """Play and learn; None when somebody has asked to stop before anything was learned."""
        started = time.monotonic()
        played, self._next = self._next or self._runner.run(self._play(step)), None
        if played is None:
            return None
        scored = score(self._config, played.trajectories, learned=step - 1)
        refuse_if_engine_is_broken(scored.episodes, step)
        if self._config.engine.overlap and step < self._config.train.steps:
            learned = self._runner.run(self._learn_and_play(step, scored))
        else:
            self._runner.run(self._sampler.rest())
            self._progress.update(f"CoD-Train: learning step {step}", 0, 0, {})
            learned = self._learn(step, scored)
        return self._record(step, played, scored, learned, time.monotonic() - started)

    # --- playing --------------------------------------------------------------------------------------------------

    def _version_for(self, step: int) -> int:
        return version_for(min(step, self._config.train.steps), self._config.engine)

    async def _use(self, version: int) -> None:
        await self._sampler.use(version, learned=self._done, keep=self._version_for(self._done + 1))

    async def _play(self, step: int) -> Played | None:
        """The rollouts of a step, with the weights that it is to be played with."""
        config = self._config
        await self._use(self._version_for(step))
        packs = self._packs(step)
        before, started = replace(self._sampler.engine.stats), time.monotonic()
        trajectories = await self._play_packs(self._player, packs, config.train.rollouts, f"sampling step {step}")
        if trajectories is None:
            return None
        return Played(trajectories, self._sampler.engine.stats.since(before), time.monotonic() - started)

    def _packs(self, step: int) -> list[Pack]:
        """What a step plays."""
        count = self._config.train.packs
        return self._mixture.packs("train", self._config.seed, (step - 1) * count, count)

    async def _play_packs(
        self, player: Player, packs: Sequence[Pack], rollouts: int, what: str
    ) -> list[Trajectory] | None:
        """Play, and look for a request to stop all the while: a step of a large model takes longer than its notice."""
        await self._sampler.wake()
        config = self._config
        at_once = config.runtime.max_batch if provider_of(config).in_process else None
        playing = asyncio.ensure_future(play_all(player, packs, rollouts, at_once))
        try:
            async with Pulse(self._progress, player, f"CoD-Train: {what}", len(packs) * rollouts):
                while not playing.done():
                    await asyncio.wait([playing], timeout=_LOOK_S)
                    self._group.check()
                    # A signal to the whole job may have ended an engine, too.
                    if (not playing.done() or playing.exception()) and self._stopping():
                        return None
                return playing.result()
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)

    async def _learn_and_play(self, step: int, scored: Scored) -> dict[str, float]:
        """Learn from a step while the next one is played, with the weights from before."""
        await self._use(self._version_for(step + 1))
        learning = asyncio.to_thread(self._learn, step, scored)
        learned, self._next = await asyncio.gather(learning, self._play(step + 1))
        return learned

    def _look(self) -> None:
        """Play a few packs before the first step, to see whether the model's replies can be read.

        Recorded once: an attempt that finds the record judges that.
        """
        config = self._config
        packs = self._mixture.packs("validation", 0, 0, config.health.look.packs)
        if config.health.look.action == "off" or not packs:
            return
        known = self._tracker.records(LOOK)
        if not known:
            player = replace(self._player, seed=derive_seed(config.seed, LOOK))

            async def play() -> list[Trajectory] | None:
                await self._sampler.use(0, learned=0, keep=self._version_for(1))
                return await self._play_packs(player, packs, 1, "a look at the model")

            if (played := self._runner.run(play())) is None:
                return
            episodes = [e for t in played for e in t.episodes]
            refuse_if_engine_is_broken(episodes, 0)
            self._keep("validation", 0, packs, played)
            self._tracker.log(0, LOOK, {**by_position(self._mixture, played), **look_metrics(config, episodes)})
            known = self._tracker.records(LOOK)
        judge_look(config, known[-1]["metrics"], self._progress.message)

    def _validate(self, step: int) -> None:
        """Play held-out packs as deployed, the same ones every time, with the weights of this step."""
        config = self._config
        if not (config.evaluation.enabled and config.evaluation.every):
            return
        packs = self._mixture.packs("validation", 0, 0, config.evaluation.every_packs)
        player = replace(self._player, seed=derive_seed(config.seed, "validation"))

        async def play() -> list[Trajectory] | None:
            await self._sampler.use(step, learned=step, keep=self._version_for(step + 1))
            return await self._play_packs(player, packs, 1, f"validation at step {step}")

        if played := self._runner.run(play()):
            refuse_if_engine_is_broken([e for t in played for e in t.episodes], step)
            metrics = by_position(self._mixture, played)
            self._tracker.log(step, "validation", metrics)
            self._keep("validation", step, packs, played)
            self._progress.update(f"validation at step {step}", len(packs), len(packs), metrics)

    # --- learning -------------------------------------------------------------------------------------------------

    def _learn(self, step: int, scored: Scored) -> dict[str, float]:
        """One call of the learner; its metrics, with `seconds`."""
        signal, began = signal_metrics(scored), time.monotonic()
        learned = self._group.learn(
            scored.samples(self._config.engine.max_staleness),
            step,
            judge=lambda found: self._health.before_step({**signal, **found}),
        )
        return {**learned, **signal, "seconds": time.monotonic() - began}

    def _record(
        self, step: int, played: Played, scored: Scored, learned: dict[str, float], seconds: float
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
            "seconds/step": seconds,
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
            self._keep("training", step, self._packs(step), played.trajectories, scored.credits)
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

    def _keep(
        self,
        name: str,
        step: int,
        packs: Sequence[Pack],
        trajectories: Sequence[Trajectory],
        credits_: Sequence[EpisodeCredit] = (),
    ) -> None:
        """Store what was said, for `codctl view`."""
        path = self._stage / trajectory_file.FOLDER / f"{name}-{step:06d}.parquet"
        chat, stored = self._player.chat, packs[: self._config.tracking.trajectory_packs]
        arm = trajectory_file.TRAINING if credits_ else "own"
        found = trajectory_file.of_step(arm, stored, trajectories, credits_, chat, self._config.world.rendering)
        trajectory_file.write(path, found)

    # --- keeping --------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        """Begin a checkpoint; with the weights that the engine will go on with, where the learner is ahead of them."""
        version = self._version_for(self._done + 1)
        is_behind = self._sampler.apart and version < self._done < self._config.train.steps
        published = [self._sampler.folder(version)] if is_behind else []
        self._group.save(self._run.checkpoints, self._done, published=published)
        self._saved = self._done

    def _prune(self) -> None:
        checkpoints.prune(self._run.checkpoints, self._config.train.checkpoints_kept, newest=self._done)
