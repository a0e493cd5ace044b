"""The steps of a warm start by TRL's `SFTTrainer`: the rows, their order and the learning rates are codctl's.

TRL pads the rows of a micro-batch to its longest, and a micro-batch has a fixed number of rows. Nothing else differs
from codctl's own steps, so that weights agree within rounding.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from typing import Any

import torch

from codctl.config.schema import Config, TrainConfig
from codctl.errors import StageError
from codctl.learner.batching import Sample
from codctl.learner.imitation import Report, SftStep
from codctl.learner.learner import After
from codctl.learner.parallel import Ranks

_NOT_LEARNED = -100  # a label of transformers' losses


class TrlSft:
    """Makes optimiser steps on a model in place.

    Args:
        model: From `load_trainable`: all its weights train, or its adapters.
        tokenizer: Its padding token fills short rows.
        config: Recipe.
        settings: Of the optimiser.
    """

    is_sharded = False

    def __init__(self, model: Any, tokenizer: Any, config: Config, settings: TrainConfig) -> None:
        self.ranks = Ranks()
        self._model, self._tokenizer, self._config, self._settings = model, tokenizer, config, settings
        self.optimizer = torch.optim.AdamW(
            [parameter for _, parameter in self.trained()],
            lr=1.0,  # times the factor of the schedule, which is the learning rate
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )

    def trained(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [(name, p) for name, p in self._model.named_parameters() if p.requires_grad]

    def make(
        self, batches: Sequence[Sequence[Sample]], lrs: Sequence[float], first: int, report: Report, after: After
    ) -> None:
        """Make a step of each batch; see `imitation.Steps`."""
        begun, full = 0, self._config.warm_start.batch_rows
        for place, batch in enumerate(batches, 1):
            if len(batch) < full or place == len(batches):  # TRL's own epoch ends where a batch is not full
                self._train(batches[begun:place], lrs[begun:place], first + begun, report, after)
                begun = place

    def _train(
        self, batches: Sequence[Sequence[Sample]], lrs: Sequence[float], first: int, report: Report, after: After
    ) -> None:
        """One trainer; all batches but the last one are full."""
        import datasets
        from transformers import PrinterCallback
        from trl import SFTTrainer

        rows = [row for batch in batches for row in batch]
        columns = {"input_ids": [row.ids.tolist() for row in rows], "labels": [_labels(row) for row in rows]}
        with tempfile.TemporaryDirectory() as work:
            arguments = self._arguments(rows, work)
            told = _callback(rows, arguments.per_device_train_batch_size, lrs, first, report, after)
            schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda made: lrs[min(made, len(lrs) - 1)])
            trainer = SFTTrainer(
                model=self._model,
                args=arguments,
                train_dataset=datasets.Dataset.from_dict(columns),
                processing_class=self._tokenizer,
                callbacks=[told],
                optimizers=(self.optimizer, schedule),
            )
            trainer.remove_callback(PrinterCallback)  # it prints to stdout, which is for data
            trainer.train()

    def _arguments(self, rows: Sequence[Sample], work: str) -> Any:
        from trl import SFTConfig

        config, batch_rows = self._config, self._config.warm_start.batch_rows
        each = rows_at_once(batch_rows, max(len(row.ids) for row in rows), config.train.micro_batch_tokens)
        arguments = SFTConfig(
            output_dir=work,
            num_train_epochs=1,
            per_device_train_batch_size=each,
            gradient_accumulation_steps=batch_rows // each,
            train_sampling_strategy="sequential",
            max_grad_norm=self._settings.grad_clip,
            max_length=None,
            packing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            gradient_checkpointing=config.train.activation_checkpointing,
            seed=config.seed,
            bf16=config.model.dtype == "bfloat16",
            use_cpu=next(self._model.parameters()).device.type == "cpu",
            dataloader_pin_memory=False,
            save_strategy="no",
            logging_steps=1,
            logging_nan_inf_filter=False,
            report_to=[],
            disable_tqdm=True,
        )
        if arguments.n_gpu > 1:
            arguments._n_gpu = 1  # the others belong to engines
        return arguments


def rows_at_once(batch_rows: int, longest: int, token_budget: int) -> int:
    """The most rows of a micro-batch that divide a batch and stay within the budget at the longest row; at least 1."""
    most = max(1, token_budget // longest)
    return max(rows for rows in range(1, batch_rows + 1) if batch_rows % rows == 0 and rows <= most)


def _labels(row: Sample) -> list[int]:
    return [int(token) if sampled else _NOT_LEARNED for token, sampled in zip(row.ids, row.loss_mask, strict=True)]


def _callback(rows: Sequence[Sample], each: int, lrs: Sequence[float], first: int, report: Report, after: After) -> Any:
    """Tells of each micro-batch and each step; a gradient that is not finite ends the training."""
    from transformers import TrainerCallback

    micro_batches = iter([rows[begin : begin + each] for begin in range(0, len(rows), each)])

    class Tell(TrainerCallback):  # type: ignore[misc]
        def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            after(next(micro_batches))

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            after(next(micro_batches))

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" not in logs:
                return  # the summary at the end
            made, norm = state.global_step, float(logs["grad_norm"])
            step = first + made - 1
            if not math.isfinite(norm):
                raise StageError(
                    f"the gradient is not finite (norm {norm}) at step {step}",
                    where="warm_start.trainer=trl",
                    hint="lower warm_start.lr; the same command continues from the newest checkpoint",
                )
            report(SftStep(step, float(logs["loss"]), lrs[made - 1], norm))

    return Tell()
