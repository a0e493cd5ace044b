"""An optimiser step of TRL's `GRPOTrainer` on given rows: its own padding, split, loss, backward and optimiser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import pad

from codctl.learner.batching import Sample


class TrlStep:
    """One trainer with the rows that it learns from at every step.

    The trainer pads all rows of a step to the longest prompt plus the longest completion, which starts at the first
    sampled token; as many of them go into a micro-batch as the token budget holds.

    Attributes:
        width: Tokens of each padded row.
        forwarded: Tokens that a step makes the model read.
        scored: Places whose logits it computes: every row's longest completion.
    """

    def __init__(
        self, model: Any, tokenizer: Any, rows: Sequence[Sample], *, budget: int, lr: float, work: Path
    ) -> None:
        splits = [int(row.loss_mask.argmax()) for row in rows]
        self.width = max(splits) + max(len(row.ids) - n for row, n in zip(rows, splits, strict=True))
        self._batches = math.ceil(len(rows) / max(1, budget // self.width))
        size = math.ceil(len(rows) / self._batches)
        size += size * self._batches % 2  # the trainer wants whole groups; a group has two rows at least
        self._loss_tokens = sum(row.loss_tokens for row in rows)
        self._rows = [*rows, *[_masked(rows[0])] * (size * self._batches - len(rows))]
        self.forwarded = self.width * len(self._rows)
        self.scored = (self.width - max(splits)) * len(self._rows)
        arguments = GRPOConfig(
            output_dir=str(work),
            loss_type="dapo",  # the mean over all sampled tokens, as `loss.mean: token`
            beta=0.0,
            epsilon=0.2,
            num_generations=2,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=self._batches,
            steps_per_generation=self._batches,
            learning_rate=lr,
            max_grad_norm=1.0,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=next(model.parameters()).device.type == "cpu",
            report_to=[],
        )
        self.trainer = GRPOTrainer(
            model=model,
            reward_funcs=lambda **_: [0.0],
            args=arguments,
            train_dataset=Dataset.from_dict({"prompt": ["x"] * size * self._batches}),
            processing_class=tokenizer,
        )
        padded = self._padded(tokenizer.pad_token_id)
        self.trainer._generate_and_score_completions = lambda _: dict(padded)
        self.trainer.current_gradient_accumulation_steps = self._batches
        self.trainer.create_optimizer()
        self._padded_rows = padded

    def gradients(self) -> None:
        """Forward and backward passes of all micro-batches."""
        for _ in range(self._batches):
            self.trainer.training_step(self.trainer.model, None, None)

    def step(self) -> None:
        self.gradients()
        self.trainer.accelerator.clip_grad_norm_(self.trainer.model.parameters(), self.trainer.args.max_grad_norm)
        self.trainer.optimizer.step()
        self.trainer.model.zero_grad()

    def score(self) -> None:
        """The further forward pass that the trainer makes when vLLM sampled, for its importance weights."""
        rows = self._padded_rows
        with torch.no_grad():
            self.trainer._get_per_token_logps_and_entropies(
                self.trainer.model,
                torch.cat([rows["prompt_ids"], rows["completion_ids"]], dim=1),
                torch.cat([rows["prompt_mask"], rows["completion_mask"]], dim=1),
                rows["completion_ids"].shape[1],
                batch_size=self.trainer.args.per_device_train_batch_size,
            )

    def _padded(self, pad_id: int) -> dict[str, torch.Tensor]:
        """What `_generate_and_score_completions` gives for these rows."""
        splits = [int(row.loss_mask.argmax()) for row in self._rows]

        def padded(rows: Sequence[Sequence[int]], side: str, fill: int = 0) -> torch.Tensor:
            return pad([torch.tensor(row) for row in rows], padding_value=fill, padding_side=side)

        pairs = list(zip(self._rows, splits, strict=True))
        return {
            "prompt_ids": padded([row.ids[:n] for row, n in pairs], "left", pad_id),
            "prompt_mask": padded([[1] * n for _, n in pairs], "left"),
            "completion_ids": padded([row.ids[n:] for row, n in pairs], "right", pad_id),
            "completion_mask": padded([[1] * (len(row.ids) - n) for row, n in pairs], "right"),
            "tool_mask": padded([row.loss_mask[n:].astype(int) for row, n in pairs], "right"),
            "advantages": torch.tensor([row.advantage for row in self._rows]),
            "num_items_in_batch": torch.tensor(float(self._loss_tokens)),
        }


def _masked(row: Sample) -> Sample:
    """A row that fills a batch and teaches nothing: its advantage is 0, and its token is not counted."""
    start = int(row.loss_mask.argmax())
    return Sample(row.ids[: start + 1], [*[0] * start, 1], [0.0] * (start + 1), 0.0)
