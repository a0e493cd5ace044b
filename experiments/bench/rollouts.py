"""How many trajectories a minute interleaved rollouts make beside lock-step generation: same model, same episodes.

    .venv/bin/python experiments/bench/rollouts.py [--rounds 3] [--spread 0.6]

A tiny model ends its replies after a few tokens, all alike. To imitate an LLM, the length of each reply is drawn by its
request's seed from a log-normal distribution (cut at four times the median) and the model samples on up to it; the move
that it makes follows from the length, so every way of generating plays the same turns and samples as many tokens.

* interleaved: codctl's rollout, every reply goes on as soon as it can.
* one generate per turn: all live trajectories make a turn together, on the same engine with the same kept keys.
* by position: the same, and no trajectory begins an episode before all have ended the one before (a trainer's loop).
* model.generate: as one generate per turn, by transformers' own, which reads the whole prompt again at every turn.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lengths import DrawnLengths, ReadableChat
from lock_step import LockStep, OfEngine, OfGenerate
from machine import Ratio, machine_line, markdown, ratio, taken_in_turns
from rows import tiny_recipe, tiny_speaker

from codctl.cod.engine import Engine, EngineStats, Weights
from codctl.cod.mixture import Mixture
from codctl.cod.rollout import Player, play_all
from codctl.config.schema import Config
from codctl.train.setup import Speaker, open_in_process, prepare_process, rollout_settings

SPREAD = 0.6
SOLVE, UPDATE = 16, 32  # median tokens
PACKS, GROUP = 2, 8
OURS = "interleaved"


@dataclass(frozen=True)
class Way:
    """One way of generating.

    Attributes:
        name: As in the module's text.
        per_minute: Trajectories.
        gain: Time of this way over that of the interleaved rollout.
        forwards: Forward passes of one rollout.
        rows: Mean trajectories that a forward pass serves with a token (or a prompt).
    """

    name: str
    per_minute: float
    gain: Ratio
    forwards: int
    rows: float


class Rollout:
    """The same packs, again and again, with one engine.

    Attributes:
        course: Turns of every episode of the last rollout.
        tokens: Sampled in it.
    """

    def __init__(self, config: Config, speaker: Speaker, engine: Engine, inner: Any, spread: float) -> None:
        self._config, self._engine, self._inner = config, engine, inner
        lengths = DrawnLengths(engine, solve=SOLVE, update=UPDATE, spread=spread)
        self._player = Player(lengths, ReadableChat(speaker.chat), rollout_settings(config), config.seed)
        self._packs = Mixture.of(config.world).packs("train", config.seed, 0, PACKS)
        self.course: list[int] = []
        self.tokens = 0

    @property
    def stats(self) -> EngineStats:
        found: EngineStats = self._inner.stats
        return found

    def __call__(self) -> None:
        if isinstance(self._inner, OfGenerate):
            self._inner.stats = EngineStats()
        else:
            asyncio.run(self._inner.update_weights(Weights(0)))
        trajectories = asyncio.run(play_all(self._player, self._packs, GROUP))
        episodes = [episode for trajectory in trajectories for episode in trajectory.episodes]
        if failed := next((episode.failed for episode in episodes if episode.failed), ""):
            raise RuntimeError(f"an episode failed: {failed}")
        self.course = [episode.turns for episode in episodes]
        self.tokens = sum(sum(episode.loss_mask) for episode in episodes)


def measure(spread: float, rounds: int) -> list[Way]:
    """Play the same packs in every way, in turns.

    Raises:
        RuntimeError: One of them played something else, so that the times cannot be compared.
    """
    prepare_process(threads=1)
    config = tiny_recipe(
        "world.preset=easy", "model.build.max_tokens=1024", "model.device=cpu", "sampling.update_tokens=1024"
    )
    speaker = tiny_speaker(config)
    rollouts = {name: make(config, speaker, spread) for name, make in WAYS.items()}
    runs: dict[str, Callable[[], None]] = dict(rollouts)
    times = taken_in_turns(runs, rounds)
    for name, rollout in rollouts.items():
        if (rollout.course, rollout.tokens) != (rollouts[OURS].course, rollouts[OURS].tokens):
            raise RuntimeError(f"{name} played other episodes than {OURS}")
    return [
        Way(
            name,
            60 * PACKS * GROUP / sorted(times[name])[rounds // 2],
            ratio(times[name], times[OURS]),
            rollout.stats.forwards,
            rollout.stats.rows / rollout.stats.forwards,
        )
        for name, rollout in rollouts.items()
    ]


def _interleaved(config: Config, speaker: Speaker, spread: float) -> Rollout:
    engine = open_in_process(config, speaker)
    return Rollout(config, speaker, engine, engine, spread)


def _per_turn(config: Config, speaker: Speaker, spread: float, *, by_phase: bool) -> Rollout:
    engine = open_in_process(config, speaker)
    return Rollout(config, speaker, LockStep(OfEngine(engine), by_phase=by_phase), engine, spread)


def _by_generate(config: Config, speaker: Speaker, spread: float) -> Rollout:
    batches = OfGenerate(speaker.model, speaker.tokenizer.pad_token_id)
    return Rollout(config, speaker, LockStep(batches), batches, spread)


WAYS: dict[str, Callable[[Config, Speaker, float], Rollout]] = {
    OURS: _interleaved,
    "one generate per turn": partial(_per_turn, by_phase=False),
    "by position": partial(_per_turn, by_phase=True),
    "model.generate": _by_generate,
}


def report(spread: float, ways: Sequence[Way]) -> str:
    rows = [
        [spread, w.name, w.per_minute, "" if w.name == OURS else str(w.gain), w.forwards, f"{w.rows:.1f}"] for w in ways
    ]
    headers = ["spread", "rollout", "trajectories/min", "times as fast: interleaved", "forwards", "rows a forward"]
    return markdown(headers, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spread", type=float, action="append", help=f"of reply lengths; default 0 and {SPREAD}")
    options = parser.parse_args()
    print(machine_line(), flush=True)
    for spread in options.spread or [0.0, SPREAD]:
        print(report(spread, measure(spread, options.rounds)), flush=True)


if __name__ == "__main__":
    main()
