"""Training rows with the shape of CoD: those of the tiny recipe, and rows as long as an LLM's."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any

import torch
from machine import ROOT

from codctl.cod.conversation import Chat
from codctl.cod.credit import credit_pack
from codctl.cod.mixture import Mixture
from codctl.cod.rollout import Player, play_all
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.config.compose import load_config
from codctl.config.schema import Config
from codctl.learner.batching import Sample, samples_of
from codctl.models.build import build_folder
from codctl.train.rollout_store import read_rollouts
from codctl.train.setup import Speaker, load_speaker, rollout_settings

PACKS, LENGTH, GROUP = 2, 4, 8
TURNS = (2, 8)
OBSERVATION = 50  # tokens
SHRINK = 4  # the long rows are a quarter as long as an LLM's, so that a CPU makes a step in seconds


def tiny_recipe(*changes: str) -> Config:
    return load_config(str(ROOT / "recipes/tiny.yaml"), list(changes))


def tiny_speaker(config: Config) -> Speaker:
    """The recipe's model and tokenizer, untrained."""
    with tempfile.TemporaryDirectory() as name:
        build_folder(config.model.build, config.world, config.seed, Path(name))
        return load_speaker(Path(name), config.model.dtype, config.model.device)


def short_rows(config: Config, chat: Chat, packs: int) -> list[Sample]:
    """Rows of the recipe, token for token as its warm start shows them: replies are a few tokens long."""
    policy = EachFamily("demonstrator", keep_fact=config.warm_start.keep_fact, wrong_fact=config.warm_start.wrong_fact)
    player = Player(ScriptedAgent(policy, chat), chat, rollout_settings(config), config.seed)
    size = config.train.rollouts
    trajectories = asyncio.run(play_all(player, Mixture.of(config.world).packs("train", config.seed, 0, packs), size))
    found = []
    for first in range(0, len(trajectories), size):
        group = trajectories[first : first + size]
        episodes = [episode for trajectory in group for episode in trajectory.episodes]
        credit = credit_pack(group, config.train.credit).of(group, learned=0)
        for number, (episode, row) in enumerate(zip(episodes, credit, strict=True)):
            found += samples_of(episode, row.advantage, number)
    return found


def recorded_rows(path: Path) -> list[Sample]:
    """Rows of a run's own rollouts: `RUN/cod_train/rollouts/step-000001.parquet`."""
    rows = read_rollouts(path)
    return [Sample(r["ids"], r["loss_mask"], r["logprobs"], r["advantage"]) for r in rows if not r["failed"]]


def long_rows(vocab: int, seed: int = 0, shrink: int = SHRINK) -> list[Sample]:
    """Rows as an LLM makes them of packs in full rendering: K = 4 tasks, G = 8 rollouts, 2 packs, 2 to 8 turns.

    Prompt and observation lengths are those of FrozenLake (four letters a token); replies are log-normal around 80
    tokens, updates around 200. All are divided by `shrink`. What the tokens are does not matter here.
    """
    rng = Random(seed)
    found = []
    for _ in range(PACKS * GROUP):
        for position in range(LENGTH):
            turns, hints = rng.randint(*TURNS), 150 if position else 0
            found.append(_row(rng, vocab, shrink, 240 + hints, [_around(rng, 80) for _ in range(turns)]))
            if position < LENGTH - 1:
                found.append(_row(rng, vocab, shrink, 290 + 30 * turns + hints, [_around(rng, 200)]))
    return found


def _around(rng: Random, median: int) -> int:
    return round(median * rng.lognormvariate(0, 0.5))


def _row(rng: Random, vocab: int, shrink: int, prompt: int, replies: Sequence[int]) -> Sample:
    mask = [0] * (prompt // shrink)
    for turn, reply in enumerate(replies):
        mask += [0] * (OBSERVATION // shrink if turn else 0) + [1] * max(1, reply // shrink)
    ids = [rng.randrange(10, vocab) for _ in mask]
    return Sample(ids, mask, [0.0] * len(ids), rng.gauss(0, 0.5))


def by_turn(samples: Sequence[Sample]) -> list[Sample]:
    """One row for each reply, with all that came before it as its prompt."""
    rows = []
    for sample in samples:
        for start, end in _replies(sample.loss_mask.tolist()):
            own = [0] * start + [1] * (end - start)
            kept = [m * p for m, p in zip(own, sample.logprobs, strict=False)]
            rows.append(Sample(sample.ids[:end], own, kept, sample.advantage))
    return rows


def _replies(mask: Sequence[int]) -> list[tuple[int, int]]:
    found, place = [], 0
    for sampled, run in groupby(mask):
        length = len(list(run))
        if sampled:
            found.append((place, place + length))
        place += length
    return found


@torch.no_grad()
def on_policy(model: Any, samples: Sequence[Sample]) -> list[Sample]:
    """The rows with the model's own log-probs, as if it had sampled them at temperature 1."""
    found = []
    for sample in samples:
        ids_1T = torch.tensor(sample.ids.tolist())[None]
        logprobs_TV = torch.log_softmax(model(input_ids=ids_1T).logits[0, :-1].float(), -1)
        own = [0.0, *logprobs_TV.gather(1, ids_1T[0, 1:, None])[:, 0].tolist()]
        found.append(replace(sample, logprobs=[m * p for m, p in zip(sample.loss_mask, own, strict=True)]))
    return found
