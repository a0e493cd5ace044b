"""Plays a wave: all rollout steps that share their weights, at once. Each is given out as soon as its own is complete.

Seeds name pack, rollout and turn, so the samples are those of one step after the other. Trajectories begin in the order
of their steps as seats become free, and so the steps are complete in about this order.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from codctl.cod.engine import EngineStats
from codctl.cod.rollout import Player
from codctl.cod.trajectory import Trajectory
from codctl.config.schema import Config
from codctl.engines.play_each import Done, play_all, play_each
from codctl.engines.provider import provider_of
from codctl.engines.reply_progress import Pulse
from codctl.envs.base import Pack
from codctl.models.load import pick_device, processes_of
from codctl.runs.progress import Progress
from codctl.train.sampler import Sampler
from codctl.train.schedule import Wave
from codctl.train.wave_store import Unit, WaveFile, WaveStore


@dataclass(frozen=True)
class Played:
    """The rollouts of one step.

    Attributes:
        trajectories: In the order (pack, rollout).
        stats: Work of the engine on the wave, from its beginning until this step was complete.
        seconds: The step's share of the time that the wave took: at each moment every live trajectory has the same
            share. Of a step that is played alone, the time from the first request to the last reply.
    """

    trajectories: list[Trajectory]
    stats: EngineStats
    seconds: float


class Shares:
    """Divides time equally among the trajectories that are alive at each moment."""

    def __init__(self) -> None:
        self._live, self._each_s, self._since_s = 0, 0.0, time.monotonic()

    def begin(self) -> float:
        """A trajectory begins; give the number to `end`."""
        self._move(+1)
        return self._each_s

    def end(self, begun: float) -> float:
        """A trajectory has ended; the seconds that are its own."""
        self._move(-1)
        return self._each_s - begun

    def _move(self, change: int) -> None:
        now_s = time.monotonic()
        if self._live:
            self._each_s += (now_s - self._since_s) / self._live
        self._live, self._since_s = self._live + change, now_s


class WavePlayer:
    """Plays with the weights that the engine has.

    Args:
        config: Recipe.
        sampler: Has the engine.
        player: Plays with it.
        store: Keeps what is finished.
        progress: Shown to the user.
    """

    def __init__(self, config: Config, sampler: Sampler, player: Player, store: WaveStore, progress: Progress) -> None:
        self._config, self._sampler, self._player, self._store = config, sampler, player, store
        self._progress = progress
        in_process = provider_of(config).in_process
        self._at_once = config.runtime.max_batch if in_process else None
        self._processes = processes_of(config)
        # What a batch is made of may change the last bits of its log-probs, so that a wave that is to be bit-identical
        # is played whole or not at all.
        self._is_exact = in_process and pick_device(config.model.device) == "cpu"

    async def packs(self, player: Player, packs: Sequence[Pack], what: str) -> list[Trajectory]:
        """Play packs once that nothing is learned from.

        Args:
            player: Ours with another seed.
            packs: What is played.
            what: Shown to the user.
        """
        await self._sampler.wake()
        async with Pulse(self._progress, player, f"{self._config.stage}: {what}", len(packs)):
            return await play_all(player, packs, processes=self._processes, at_once=self._at_once)

    async def wave(
        self,
        wave: Wave,
        packs: Callable[[int], Sequence[Pack]],
        wanted: Collection[int],
        done: Callable[[int, Played], None],
    ) -> None:
        """Play a wave, or the rest of it.

        Args:
            wave: What is played.
            packs: Those of a step.
            wanted: Steps of it that are not learned yet.
            done: Called with each of these and its rollouts.
        """
        rollouts = range(self._config.train.rollouts)
        drawn = {step: packs(step) for step in wave.steps}
        units = {step: [Unit(step, pack.id, r) for pack in drawn[step] for r in rollouts] for step in wave.steps}
        keep = not self._is_exact or wave.first < wave.last  # a step alone is complete only when it is learned
        with self._store.open(wave, keep=keep) as file:
            is_whole = all(step in file.stats and all(unit in file.kept for unit in units[step]) for step in wanted)
            if self._is_exact and not is_whole:
                file.clear()
            else:
                units = {step: units[step] for step in wanted}

            def give_out(step: int, played: Played) -> None:
                if step in wanted:
                    done(step, played)

            await self._play(wave, units, {pack.id: pack for step in units for pack in drawn[step]}, file, give_out)

    async def _play(
        self,
        wave: Wave,
        units: dict[int, list[Unit]],
        packs: dict[str, Pack],
        file: WaveFile,
        done: Callable[[int, Played], None],
    ) -> None:
        shares, begun = Shares(), dict[Unit, float]()
        missing = [unit for of_step in units.values() for unit in of_step if unit not in file.kept]
        left = Counter(unit.step for unit in missing)
        before = replace(self._sampler.engine.stats)

        def finish(step: int) -> None:
            if step not in file.stats:
                file.finish(step, self._sampler.engine.stats.since(before))
            kept = [file.kept[unit] for unit in units[step]]
            seconds = sum(one.seconds for one in kept)
            done(step, Played([one.trajectory for one in kept], file.stats[step], seconds))

        async def play(unit: Unit) -> Trajectory:
            return await self._player.play(packs[unit.pack], unit.rollout)

        def begin(unit: Unit) -> None:
            begun[unit] = shares.begin()

        def keep(one: Done[Unit, Trajectory]) -> None:
            unit = one.job
            file.add(unit.step, one.result, shares.end(begun[unit]))
            left[unit.step] -= 1
            if not left[unit.step]:
                finish(unit.step)

        for step in [step for step in units if not left[step]]:
            finish(step)
        if not missing:
            return
        await self._sampler.wake()
        async with Pulse(self._progress, self._player, f"{self._config.stage}: sampling {wave}", len(missing)):
            await play_each(
                missing,
                play,
                keep,
                player=self._player,
                packs=packs.values(),
                processes=self._processes,
                at_once=self._at_once,
                begin=begin,
            )
