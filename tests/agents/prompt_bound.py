"""A model whose every reply depends on every token of its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from random import Random

from codctl.cod.agent import Agent
from codctl.cod.conversation import Chat
from codctl.cod.engine import Generation, RequestTag, Sampling
from codctl.cod.prompts import update_reply
from codctl.envs.base import PolicyView


class PromptBound(Agent):
    """Plays at random, and writes hints at random, seeded with its prompt alone.

    So two ways of playing a pack that end alike have shown it the same prompts: had one hint or observation been lost,
    cut or changed on its way, its next reply would be another one. Now and then a reply cannot be read.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def reply(
        self, view: PolicyView, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        tag.begin()
        rng = Random(sha256(repr(list(prompt_ids)).encode()).digest())
        if tag.kind == "update":
            lines = "\n".join(
                f"note {number}: {rng.random():.3f} \u2192 «{rng.choice('abc')}»" for number in range(rng.randint(1, 3))
            )
            text = update_reply(lines.replace("\n", " ") if view.rendering == "compact" else lines, view.rendering)
        else:
            text = view.slot.family.policy("random").solve(view, rng)
        text = "I do not know." if rng.random() < 0.05 else text
        ids = self._chat.reply(text)
        return Generation(ids, [-rng.random() for _ in ids], "stop", 0)
