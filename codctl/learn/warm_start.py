"""Warm start: supervised fine-tuning on scripted demonstrations with TRL's SFTTrainer.

The demonstrations are trajectories of the very rollout that RL uses, so token ids and loss masks are the same.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from codctl.cod.context import Revision
from codctl.cod.conversation import Chat
from codctl.cod.mixture import Mixture
from codctl.cod.rollout import Player, RolloutSettings, play_all
from codctl.cod.trajectory import EpisodeRecord
from codctl.config.schema import Config
from codctl.engines.scripted import EachFamily, ScriptedEngine
from codctl.envs.base import Episode, Pack
from codctl.seeds import derive_seed


@dataclass(frozen=True)
class TrueHints:
    """A random part of the truth at every position, so that using hints well is shown from the first task on."""

    rendering: Any
    seed: int
    updates: bool = True

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        rng = Random(derive_seed(self.seed, "demonstration hints", pack.id, position))
        slot = pack.slots[position]
        return slot.family.partial_truth(slot.world, self.rendering, rng)


def demonstrations(config: Config, chat: Chat, settings: RolloutSettings) -> list[EpisodeRecord]:
    """Episodes of the demonstrator, tokenised as RL tokenises them."""
    warm = config.warm_start
    policy = EachFamily("demonstrator", keep_fact=warm.keep_fact, wrong_fact=warm.wrong_fact)
    hints = TrueHints(config.world.rendering, config.seed)
    player = Player(ScriptedEngine(policy, chat), chat, settings, config.seed, hints)
    packs = Mixture.of(config.world).packs("demonstration", config.seed, 0, warm.packs)
    return [e for trajectory in asyncio.run(play_all(player, packs, 1)) for e in trajectory.episodes]


def train_on(
    model: Any,
    tokenizer: Any,
    episodes: Sequence[EpisodeRecord],
    config: Config,
    work: Path,
    report: Callable[[int, dict[str, float]], None],
    count: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Fine-tune the model in place.

    Args:
        model: Full model in memory.
        tokenizer: Its tokenizer (for padding only; the rows are token ids already).
        episodes: Demonstrations; the loss is on sampled tokens only.
        config: Recipe.
        work: Folder for the trainer's own files; nothing of value is left in it.
        report: Called with the step and the trainer's log at each log.
        count: Called with steps done and in all, before the first and after each.
    """
    import datasets
    from transformers import PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Report(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            numbers = {k: float(v) for k, v in (logs or {}).items() if k in ("loss", "learning_rate")}
            if "loss" in numbers:
                report(state.global_step, numbers)

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            count(0, state.max_steps)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            count(state.global_step, state.max_steps)

    warm = config.warm_start
    datasets.disable_progress_bars()
    rows = datasets.Dataset.from_dict(
        {
            "input_ids": [e.ids[row] for e in episodes for row in e.rows],
            "completion_mask": [e.loss_mask[row] for e in episodes for row in e.rows],
        }
    )
    steps = math.ceil(len(rows) / warm.batch_rows) * warm.epochs
    arguments = SFTConfig(
        output_dir=str(work),
        num_train_epochs=warm.epochs,
        per_device_train_batch_size=warm.batch_rows,
        learning_rate=warm.lr,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": max(1, steps // 3)},
        warmup_steps=min(20, steps // 3),
        weight_decay=0.0,
        max_grad_norm=1.0,
        completion_only_loss=True,
        max_length=None,
        packing=False,
        gradient_checkpointing=False,
        seed=config.seed,
        data_seed=config.seed,
        bf16=config.model.dtype == "bfloat16",
        use_cpu=next(model.parameters()).device.type == "cpu",
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_steps=10,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=rows, processing_class=tokenizer, callbacks=[Report()]
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which is for data
    trainer.train()
