"""Short replies that an engine is asked for to see whether its log-probs are right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codctl.cod.conversation import Chat
from codctl.cod.engine import Generation, RequestTag
from codctl.cod.prompts import solve_messages
from codctl.envs.base import Pack, Rendering
from codctl.learner.batching import Sample

TOKENS = 16
# Largest mean difference of log-probs that rounding explains, on any machine: it follows from the type. A log-prob is a
# difference of logits; one of size 32 has a rounding step of 0.125 in bfloat16 and of 4e-6 in float32, and what kernels
# add to it in another order stays within one step in the mean for the first, within some hundred for the second, whose
# matrix products GPUs may do with ten bits. Other weights, another temperature or raw log-probs are off by more.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.15}


def prompt_of(pack: Pack, chat: Chat, rendering: Rendering) -> tuple[list[int], RequestTag]:
    """The first prompt of a pack."""
    slot = pack.slots[0]
    ids = chat.open(solve_messages(slot, "", slot.begin(rendering).first, rendering))
    return ids, RequestTag(pack.id, 0, 0, 0, "solve")


def row_of(ids: Sequence[int], reply: Generation) -> Sample:
    """Prompt and reply as a row."""
    prompt, sampled = len(ids), len(reply.token_ids)
    return Sample(
        ids=np.array([*ids, *reply.token_ids], np.int32),
        loss_mask=np.repeat([False, True], [prompt, sampled]),
        logprobs=np.array([0.0] * prompt + reply.logprobs, np.float32),
        advantage=0.0,
    )
