"""CoD's credit through TRL's own trainer: a row per (pack, position, kind) slot gives the same advantages."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from codctl.cod.conversation import TemplateChat
from codctl.cod.credit import credit_pack
from codctl.cod.rollout import Player, play_all
from codctl.cod.scripted import ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.cod.trajectory import EpisodeRecord
from codctl.config.schema import CreditConfig
from codctl.envs.registry import get_family

PACKS, LENGTH, GROUP = 2, 3, 4
SLOTS = [(kind, position) for position in range(LENGTH) for kind in ("solve", "update")][:-1]
FAMILY = get_family("frozen_lake")

Slot = tuple[int, str, int]  # pack, kind, position


def play(chat: TemplateChat) -> dict[Slot, list[tuple[EpisodeRecord, dict[str, float]]]]:
    """The G episodes of each slot with their credit; some have failed."""
    engine = ScriptedAgent(FAMILY.policy("demonstrator"), chat, fault="error", fault_rate=0.06)
    player = Player(engine, chat, RolloutSettings("compact"), seed=1)
    packs = [FAMILY.pack("train", index, LENGTH, "tiny") for index in range(PACKS)]
    trajectories = asyncio.run(play_all(player, packs, GROUP))
    found: dict[Slot, list[tuple[EpisodeRecord, dict[str, float]]]] = {}
    for pack in range(PACKS):
        group = trajectories[pack * GROUP : (pack + 1) * GROUP]
        rows = iter(credit_pack(group, CreditConfig()).of(group, learned=0))
        for trajectory in group:
            for episode in trajectory.episodes:
                found.setdefault((pack, episode.kind, episode.position), []).append((episode, next(rows)))
    return found


def test_trl_finds_the_same_advantages(
    model: Any, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    slots = play(TemplateChat(tokenizer))
    names = [f"{pack} {kind} {position}" for pack in range(PACKS) for kind, position in SLOTS]

    def rollout(prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        """The stored episodes, G in a row for each slot; the slot is written in the prompt."""
        found: dict[str, list[Any]] = {
            name: [] for name in ("prompt_ids", "completion_ids", "logprobs", "env_mask", "cod_return")
        }
        taken: dict[str, int] = {}
        for prompt in prompts:
            number = taken[prompt] = taken.get(prompt, -1) + 1
            pack, kind, position = prompt.split()
            episode, credit = slots[int(pack), kind, int(position)][number]
            # A failed episode may have sampled nothing; TRL wants at least one token, which the mask takes out.
            split = int(episode.loss_mask.argmax()) if episode.loss_tokens else len(episode.ids) - 1
            found["prompt_ids"].append(episode.ids[:split].tolist())
            found["completion_ids"].append(episode.ids[split:].tolist())
            found["logprobs"].append(episode.logprobs[split:])
            found["env_mask"].append([0 if episode.failed else int(m) for m in episode.loss_mask[split:]])
            found["cod_return"].append(None if episode.failed else credit.return_)
        return found

    def reward(cod_return: list[float | None], **_: Any) -> list[float | None]:
        return cod_return

    scored: list[dict[str, Any]] = []
    plain = GRPOTrainer._generate_and_score_completions

    def remember(self: Any, inputs: Any) -> Any:
        scored.append(plain(self, inputs))
        return scored[-1]

    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", remember)
    rows = len(names) * GROUP
    arguments = GRPOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=rows,
        steps_per_generation=1,
        num_generations=GROUP,
        shuffle_dataset=False,
        scale_rewards="none",
        beta=0.0,
        max_steps=1,
        learning_rate=1e-4,
        max_completion_length=256,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": names}),
        processing_class=tokenizer,
        rollout_func=rollout,
    )
    trainer.train()

    [output] = scored
    ordered = [
        slots[pack, kind, position][g] for pack in range(PACKS) for kind, position in SLOTS for g in range(GROUP)
    ]
    assert any(episode.failed for episode, _ in ordered)
    assert sum(credit.advantage != 0 for _, credit in ordered) > rows / 3
    expected = [credit.advantage for _, credit in ordered]
    assert output["advantages"].tolist() == pytest.approx(expected, abs=1e-6)
    assert all(math.isfinite(log["loss"]) for log in trainer.state.log_history if "loss" in log)
