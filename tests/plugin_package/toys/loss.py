"""train.loss.kind=reinforce: the plain policy gradient."""

from __future__ import annotations

import torch

from codctl.learner.losses import LossInputs


def reinforce(inputs: LossInputs) -> torch.Tensor:
    return -float(inputs.settings.options.get("scale", 1.0)) * inputs.advantages_N * inputs.logprobs_N
