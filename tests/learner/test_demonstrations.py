"""Demonstrations have the ids and masks of RL rollouts."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

from codctl.cod.context import Revision
from codctl.cod.conversation import TemplateChat
from codctl.cod.delta import parse_delta
from codctl.cod.engine import Generation, RequestTag, Sampling, Weights
from codctl.cod.rollout import Player, play_all
from codctl.cod.trajectory import EpisodeRecord
from codctl.config.schema import Config, ContextConfig
from codctl.envs.frozen_lake.claims import claims
from codctl.envs.registry import get_family
from codctl.learner.demonstrations import TrueHints, demonstrations
from codctl.train.setup import rollout_settings

CONFIG = Config.model_validate(
    {
        "world": {"preset": "tiny", "rendering": "compact", "length": 3},
        "sampling": {"solve_tokens": 8, "update_tokens": 12},
        "warm_start": {"packs": 8, "batch_rows": 8, "lr": 5e-3, "epochs": 2},
    }
)
FAMILY = get_family("frozen_lake")


class Replay:
    """An engine that answers each prompt as the demonstrations did, as a model does: ids in, ids out."""

    def __init__(self, answers: dict[tuple[int, ...], list[int]]) -> None:
        self._answers = answers

    def open_session(self) -> None: ...

    def close_session(self) -> None: ...

    async def generate(self, prompt_ids: Any, sampling: Sampling, *, seed: int, tag: RequestTag) -> Generation:
        reply = self._answers[tuple(prompt_ids)]
        return Generation(reply, [-1.0] * len(reply), "stop", 0)

    async def update_weights(self, weights: Weights) -> None: ...

    async def aclose(self) -> None: ...


def test_rows_are_those_of_the_rollout(tokenizer: Any) -> None:
    chat, settings = TemplateChat(tokenizer), rollout_settings(CONFIG)
    episodes = demonstrations(CONFIG, chat, settings)
    assert len(episodes) == 8 * 5
    answers = dict(turn for e in episodes for turn in turns(e))
    player = Player(Replay(answers), chat, settings, 0, TrueHints("compact", CONFIG.seed))
    replayed = 0
    for number in range(8):
        expected = episodes[5 * number : 5 * number + 5]
        if any(answers[prompt] != reply for e in expected for prompt, reply in turns(e)):
            continue  # the same prompt was answered in another way elsewhere: this pack cannot be replayed
        [trajectory] = asyncio.run(play_all(player, [FAMILY.pack("demonstration", number, 3, "tiny")], 1))
        replayed += 1
        for e, found in zip(expected, trajectory.episodes, strict=True):
            assert (found.ids.tolist(), found.loss_mask.tolist(), found.turn_ends) == (
                e.ids.tolist(),
                e.loss_mask.tolist(),
                e.turn_ends,
            )
    assert replayed >= 3


def turns(e: EpisodeRecord) -> list[tuple[tuple[int, ...], list[int]]]:
    """Prompt and reply of each turn, told apart by the loss mask."""
    found = []
    for end in e.turn_ends:
        start = end
        while e.loss_mask[start - 1]:
            start -= 1
        found.append((tuple(e.ids[:start].tolist()), e.ids[start:end].tolist()))
    return found


def test_demonstrations_are_the_same_every_time_and_differ_by_seed(tokenizer: Any) -> None:
    chat, settings = TemplateChat(tokenizer), rollout_settings(CONFIG)
    first = demonstrations(CONFIG, chat, settings)
    assert demonstrations(CONFIG, chat, settings) == first
    assert demonstrations(CONFIG.model_copy(update={"seed": 1}), chat, settings) != first


def test_demonstrators_use_hints_well_and_write_few(tokenizer: Any) -> None:
    """Given facts are used whenever they help; of known facts about the demanded share is written."""
    chat, settings = TemplateChat(tokenizer), rollout_settings(CONFIG)
    many = CONFIG.model_copy(update={"warm_start": CONFIG.warm_start.model_copy(update={"packs": 120})})
    episodes = demonstrations(many, chat, settings)
    used = contradicted = kept = known = 0
    for e in episodes:
        if e.kind == "update":
            known += e.hint_score.knowable
            kept += e.hint_score.knowable_right
            continue
        facts = {direction: code for code, direction in claims(e.hints)}
        for reply in e.replies:
            [(code, direction)] = claims(reply)  # replies name the direction that they want, then its code
            used += facts.get(direction) == code
            contradicted += direction in facts and facts[direction] != code
    assert used > 100
    assert contradicted == 0
    assert 0.2 < kept / known < 0.5


def test_where_hints_are_edited_careless_demonstrators_edit_the_hints_that_they_were_shown(tokenizer: Any) -> None:
    config = CONFIG.model_copy(update={"context": ContextConfig(update="delta")})
    episodes = demonstrations(config, TemplateChat(tokenizer), replace(rollout_settings(config), update_tokens=99))
    updates = [e for e in episodes if e.kind == "update"]
    for e in updates:
        shown = re.match("hints (.*) seen", e.observations[0])
        assert shown
        before = "" if shown[1] == "none" else re.sub(r"\b[1-9] ", "", shown[1])
        assert parse_delta(e.replies[0], before, 400, "compact").text == e.hints
    assert {e.outcome for e in updates} == {"written", "unchanged"}
    assert any(set(e.hints.split()) & set(e.observations[0].split()) for e in updates)


def test_true_hints_are_true_and_partial() -> None:
    hints = TrueHints("compact", seed=0)
    counts = set()
    for index in range(60):
        pack = FAMILY.pack("demonstration", index, 2, "tiny")
        text = hints.at(pack, 1, Revision(), ())
        score = FAMILY.score_context(pack.world, text, ())
        assert score.wrong == 0
        counts.add(score.right)
    assert counts == {0, 1, 2, 3, 4}
