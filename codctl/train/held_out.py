"""Held-out packs that are played between waves: a look at the model before the training, and validations."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from codctl.cod.mixture import Mixture
from codctl.cod.rollout import Player
from codctl.config.schema import Config
from codctl.results.outcomes import LOOK
from codctl.runs.directory import RunDirectory
from codctl.runs.progress import Progress
from codctl.seeds import derive_seed
from codctl.tracking.tracker import Tracker
from codctl.train.credited import by_position, look_metrics, refuse_if_engine_is_broken
from codctl.train.health import judge_look
from codctl.train.rollout_store import write_transcripts
from codctl.train.waves import WavePlayer


class HeldOut:
    """Plays the same packs every time, as deployed, with the weights that the engine has.

    Args:
        run: Where everything is written.
        config: Recipe.
        player: Of the training.
        waves: Plays.
        tracker: For metrics.
        progress: Shown to the user.
    """

    def __init__(
        self,
        run: RunDirectory,
        config: Config,
        player: Player,
        waves: WavePlayer,
        tracker: Tracker,
        progress: Progress,
    ) -> None:
        self._run, self._config, self._tracker, self._progress = run, config, tracker, progress
        self._player, self._waves = player, waves
        self._mixture = Mixture.of(config.world)
        self._validated: set[int] = set()

    @property
    def every(self) -> int:
        """Steps between two validations; 0 for none."""
        evaluation = self._config.evaluation
        return evaluation.every if evaluation.enabled else 0

    def resume(self, learned: int, held: Collection[int]) -> None:
        """After a resume: what was validated, or cannot be any more.

        Args:
            learned: Rollout steps made.
            held: Steps whose weights are there, besides these.
        """
        self._validated = set(self._tracker.steps("validation")) | set(range(learned)) - set(held)

    def due(self, learned: int) -> list[int]:
        """Steps up to `learned` that are still to be validated."""
        steps = range(self.every, learned + 1, self.every) if self.every else ()
        return [step for step in steps if step not in self._validated]

    async def validate(self, step: int) -> None:
        """Play held-out packs; the engine has the weights of this step."""
        config = self._config
        packs = self._mixture.packs("validation", 0, 0, config.evaluation.every_packs)
        player = replace(self._player, seed=derive_seed(config.seed, "validation"))
        played = await self._waves.packs(player, packs, f"validation at step {step}")
        refuse_if_engine_is_broken([e for t in played for e in t.episodes], step)
        metrics = by_position(self._mixture, played)
        self._tracker.log(step, "validation", metrics)
        self._validated.add(step)
        write_transcripts(self._run, config, self._player.chat, "validation", step, packs, played)
        self._progress.update(f"validation at step {step}", len(packs), len(packs), metrics)

    @property
    def looks(self) -> bool:
        """Whether there is to be a look, and none is recorded."""
        return self._look_packs > 0 and not self._tracker.records(LOOK)

    @property
    def _look_packs(self) -> int:
        look = self._config.health.look
        return look.packs if look.action != "off" else 0

    async def look(self) -> None:
        """Play a few packs before the first step, to see whether the model's replies can be read."""
        packs = self._mixture.packs("validation", 0, 0, self._look_packs)
        player = replace(self._player, seed=derive_seed(self._config.seed, LOOK))
        played = await self._waves.packs(player, packs, "a look at the model")
        episodes = [e for t in played for e in t.episodes]
        refuse_if_engine_is_broken(episodes, 0)
        write_transcripts(self._run, self._config, self._player.chat, "validation", 0, packs, played)
        self._tracker.log(0, LOOK, {**by_position(self._mixture, played), **look_metrics(self._config, episodes)})

    def judge_look(self) -> None:
        """Judge the recorded look: an attempt that finds the record of another one judges that."""
        if self._look_packs and (known := self._tracker.records(LOOK)):
            judge_look(self._config, known[-1]["metrics"], self._progress.message)
