"""TRL's `SFTTrainer` on the demonstrations of a warm start: the same rows, batches and number of steps as codctl's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from codctl.learner.batching import Sample

_NOT_SAMPLED = -100


class TrlSft:
    """One trainer, which goes over its rows at every call; its dataset is made before the clock starts.

    Args:
        model: Trained in place.
        tokenizer: Of the model.
        rows: Rows with the tokens that are learned.
        batch_rows: Of an optimiser step.
        lr: Learning rate.
        work: Folder for what the trainer writes.
        like_lengths: Rows of about the same length come into one batch; TRL draws them at random by itself.
    """

    def __init__(
        self, model: Any, tokenizer: Any, rows: Sequence[Sample], *, batch_rows: int, lr: float, work: Path,
        like_lengths: bool = False,
    ) -> None:  # fmt: skip
        labels = [
            [int(token) if sampled else _NOT_SAMPLED for token, sampled in zip(row.ids, row.loss_mask, strict=True)]
            for row in rows
        ]
        arguments = SFTConfig(
            output_dir=str(work),
            per_device_train_batch_size=batch_rows,
            num_train_epochs=1,
            learning_rate=lr,
            lr_scheduler_type="constant",
            train_sampling_strategy="group_by_length" if like_lengths else "random",
            dataset_kwargs={"skip_prepare_dataset": True},
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            report_to=[],
        )
        self._trainer = SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_dict({"input_ids": [row.ids.tolist() for row in rows], "labels": labels}),
            processing_class=tokenizer,
        )

        self._trainer.remove_callback(PrinterCallback)

    def __call__(self) -> None:
        self._trainer.train()
