"""Decides what the engine plays when: waves in their order, and validations between them.

With `engine.overlap` it goes on while the learner learns: a wave begins as soon as the one before is played and its own
weights exist. An engine holds one version at a time, so a validation has its place, by the recipe alone, before the
first wave whose weights are as new: between two waves the engine gets others anyway. Without overlap a wave is played
when its first step is wanted, and a validation when its step is learned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from codctl.cod.mixture import Mixture
from codctl.cod.requests import end
from codctl.config.schema import Config
from codctl.envs.base import Pack
from codctl.train.held_out import HeldOut
from codctl.train.sampler import Sampler
from codctl.train.schedule import versions_ahead, wave_of
from codctl.train.waves import Played, WavePlayer

T = TypeVar("T")


class Feed:
    """See the module. All is called in the engine's event loop, but for what only looks.

    Args:
        config: Recipe.
        sampler: Gives the engine its weights.
        waves: Plays waves.
        held_out: Plays validations.

    Attributes:
        learned: Rollout steps that the learner has made.
        is_playing: Whether the engine is playing a wave or a validation.
        learner: Held while the learner works beside the engine; notified when it has made a step.
    """

    def __init__(self, config: Config, sampler: Sampler, waves: WavePlayer, held_out: HeldOut) -> None:
        self._config, self._sampler, self._waves, self._held_out = config, sampler, waves, held_out
        self._mixture = Mixture.of(config.world)
        self._total, self._overlaps = config.train.steps, config.engine.overlap
        self._ready: dict[int, asyncio.Future[Played]] = {}
        self._task: asyncio.Task[None] | None = None
        self._resumed = self.learned = 0
        self.is_playing = False
        self.learner = asyncio.Condition()

    def resume(self, learned: int, published: Sequence[Path]) -> None:
        """Go on after a step, with the older weights that a checkpoint has kept."""
        self._resumed = self.learned = learned
        held = self._sampler.versions_in(published) if self._overlaps else set()
        self._held_out.resume(learned, held)
        self._sampler.restore(published, learned=learned, ahead=self._ahead(learned))

    def packs(self, step: int) -> list[Pack]:
        """What a step plays."""
        count = self._config.train.packs
        return self._mixture.packs("train", self._config.seed, (step - 1) * count, count)

    def older_weights(self) -> list[Path]:
        """Weights older than the learner's that will be sampled with: a checkpoint keeps them."""
        return self._sampler.held(self._ahead(self.learned), before=self.learned) if self._sampler.apart else []

    def _ahead(self, learned: int) -> set[int]:
        """Versions up to a step that will be sampled with when the learner has made it."""
        due = self._held_out.due(learned) if self._overlaps else []
        return versions_ahead(learned, self._config.engine, self._total) | set(due)

    # --- playing --------------------------------------------------------------------------------------------------

    async def play(self, step: int) -> Played:
        """The rollouts of a step, when they are complete; without overlap, when its wave is."""
        ready = self._future(step)
        if not ready.done():
            self._task = self._task or asyncio.create_task(self._play_from(step))
            awaited: set[asyncio.Future[Any]] = {self._task, ready}
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done() or not self._overlaps:
                await self._task
                self._task = None
        return self._ready.pop(step).result()

    async def validate(self, step: int) -> None:
        """Play the validation of a step while nothing else is played."""
        await self._take(step)
        with self._playing():
            await self._held_out.validate(step)

    async def aclose(self) -> None:
        """Stop playing; what is finished is kept."""
        if self._task is not None:
            await end(self._task)
            self._task = None

    async def _play_from(self, step: int) -> None:
        while step <= self._total:
            wave = wave_of(step, self._config.engine, self._total)
            for validated in self._held_out.due(wave.version) if self._overlaps else ():
                await self.validate(validated)
            await self._take(wave.version)
            wanted = [number for number in wave.steps if number > self._resumed]
            with self._playing():
                await self._waves.wave(wave, self.packs, wanted, self._give_out)
            if not self._overlaps:
                return
            step = wave.last + 1

    @contextmanager
    def _playing(self) -> Iterator[None]:
        self.is_playing = True
        try:
            yield
        finally:
            self.is_playing = False

    async def _take(self, version: int) -> None:
        """Give the engine the weights of a version as soon as they exist.

        When the learner has just made them, it waits until the engine has been compared with it.
        """
        if self.learned > version or (self.learned == version and self.learner.locked()):
            await self._use(version, check=False)
            return
        async with self.learner:
            await self.learner.wait_for(lambda: self.learned >= version)
            await self._use(version, check=True)

    async def _use(self, version: int, *, check: bool) -> None:
        await self._sampler.use(version, learned=self.learned, keep=self._ahead(self.learned), check=check)

    def _future(self, step: int) -> asyncio.Future[Played]:
        if step not in self._ready:
            self._ready[step] = asyncio.get_running_loop().create_future()
        return self._ready[step]

    def _give_out(self, step: int, played: Played) -> None:
        self._future(step).set_result(played)

    # --- beside the learner ---------------------------------------------------------------------------------------

    async def beside(self, work: Callable[[], T]) -> T:
        """Let the learner do something; with overlap, while the engine plays."""
        if not self._overlaps:
            return work()
        async with self.learner:
            return await asyncio.to_thread(work)

    async def advance(self, step: int) -> None:
        """The learner has made a step. Keep its weights if they will be sampled with when it has gone on."""
        async with self.learner:
            if self._overlaps and step in self._ahead(step):
                await asyncio.to_thread(self._sampler.publish, step)
            self.learned = step
            self.learner.notify_all()
        await asyncio.sleep(0)  # who waits for these weights is next to have the learner
