"""An engine that plays a scripted policy through the rollout of a model: oracle, random, demonstrator or faulty."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal

from codctl.cod.conversation import Chat
from codctl.cod.engine import Asker, EngineError, Generation, Sampling, Weights
from codctl.cod.prompts import update_reply
from codctl.envs.base import Policy, Situation

Fault = Literal["no_answer", "two_answers", "bad_action", "truncated", "no_hints", "error", "hang"]
FAULTS: tuple[Fault, ...] = ("no_answer", "two_answers", "bad_action", "truncated", "no_hints", "error", "hang")


_REMARKS = (
    "I keep what can help in the later tasks and leave out what concerns only this one.",
    "The hints are for later, different tasks, so I note only what will still hold then.",
    "I go through what this task has shown and note what may help later.",
)


class EachFamily:
    """A policy by name: in every pack the one that the family in hand has under this name."""

    def __init__(self, name: str, **options: float) -> None:
        self._name, self._options = name, options
        self._made: dict[str, Policy] = {}

    def solve(self, situation: Situation, rng: Random) -> str:
        return self._of(situation).solve(situation, rng)

    def update(self, situation: Situation, rng: Random) -> str:
        return self._of(situation).update(situation, rng)

    def remark(self, situation: Situation, rng: Random) -> str:
        """What a demonstrator says before the hints of an update; the others only write them."""
        speaks = self._name == "demonstrator" and situation.rendering == "full"
        return rng.choice(_REMARKS) if speaks else ""

    def _of(self, situation: Situation) -> Policy:
        family = situation.slot.family
        if family.name not in self._made:
            self._made[family.name] = family.policy(self._name, **self._options)
        return self._made[family.name]


class ScriptedEngine:
    """Encodes what a policy says with the given chat, so that demonstrations have the ids and masks that RL uses."""

    def __init__(self, policy: Policy, chat: Chat, *, fault: Fault | None = None, fault_rate: float = 0.0) -> None:
        self._policy, self._chat = policy, chat
        self._fault, self._fault_rate = fault, fault_rate

    def take_seat(self) -> None: ...

    def leave_seat(self) -> None: ...

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, asker: Asker) -> Generation:
        asker.begin()
        rng = Random(seed)
        if asker.kind == "solve":
            reply = self._policy.solve(asker.situation, rng)
        else:
            hints = self._policy.update(asker.situation, rng)
            remark = self._policy.remark(asker.situation, rng) if isinstance(self._policy, EachFamily) else ""
            reply = update_reply(hints, asker.situation.rendering, remark)
        if self._fault and rng.random() < self._fault_rate:
            reply = await self._spoil(reply, asker)
        token_ids = self._chat.reply(reply)
        cut = token_ids[: sampling.max_new_tokens]
        return Generation(cut, [0.0] * len(cut), "stop" if len(cut) == len(token_ids) else "length", 0)

    async def _spoil(self, reply: str, asker: Asker) -> str:
        if self._fault == "error":
            raise EngineError("scripted fault")
        if self._fault == "hang":
            import asyncio

            await asyncio.sleep(3600)
        solve = asker.kind == "solve"
        changed = {
            "no_answer": reply.replace("<answer>", "") if solve else reply,
            "two_answers": reply + reply if solve else reply,
            "bad_action": "<answer>fly</answer>" if solve else reply,
            "truncated": reply[: len(reply) // 2],
            "no_hints": reply if solve else "I learned nothing.",
        }
        return changed[str(self._fault)]

    async def update_weights(self, weights: Weights) -> None: ...

    async def aclose(self) -> None: ...
