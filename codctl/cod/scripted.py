"""An agent that plays a scripted policy through the rollout of a model: oracle, random, demonstrator or faulty."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal

from codctl.cod.agent import Agent
from codctl.cod.conversation import Chat
from codctl.cod.engine import EngineError, Generation, RequestTag, Sampling
from codctl.cod.prompts import update_to
from codctl.envs.base import Policy, PolicyView

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

    def solve(self, view: PolicyView, rng: Random) -> str:
        return self._of(view).solve(view, rng)

    def update(self, view: PolicyView, rng: Random) -> str:
        return self._of(view).update(view, rng)

    def remark(self, view: PolicyView, rng: Random) -> str:
        """What a demonstrator says before the hints of an update; the others only write them."""
        speaks = self._name == "demonstrator" and view.rendering == "full"
        return rng.choice(_REMARKS) if speaks else ""

    def _of(self, view: PolicyView) -> Policy:
        family = view.slot.family
        if family.name not in self._made:
            self._made[family.name] = family.policy(self._name, **self._options)
        return self._made[family.name]


class ScriptedAgent(Agent):
    """Encodes what a policy says with the given chat, so that demonstrations have the ids and masks that RL uses."""

    def __init__(self, policy: Policy, chat: Chat, *, fault: Fault | None = None, fault_rate: float = 0.0) -> None:
        self._policy, self._chat = policy, chat
        self._fault, self._fault_rate = fault, fault_rate

    async def reply(
        self, view: PolicyView, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        tag.begin()
        rng = Random(seed)
        if tag.kind == "solve":
            reply = self._policy.solve(view, rng)
        else:
            hints = self._policy.update(view, rng)
            remark = self._policy.remark(view, rng) if isinstance(self._policy, EachFamily) else ""
            reply = update_to(hints, view, remark)
        if self._fault and rng.random() < self._fault_rate:
            reply = await self._spoil(reply, is_solve=tag.kind == "solve")
        token_ids = self._chat.reply(reply)
        cut = token_ids[: sampling.max_new_tokens]
        return Generation(cut, [0.0] * len(cut), "stop" if len(cut) == len(token_ids) else "length", 0)

    async def _spoil(self, reply: str, *, is_solve: bool) -> str:
        if self._fault == "error":
            raise EngineError("scripted fault")
        if self._fault == "hang":
            import asyncio

            await asyncio.sleep(3600)
        changed = {
            "no_answer": reply.replace("<answer>", "") if is_solve else reply,
            "two_answers": reply + reply if is_solve else reply,
            "bad_action": "<answer>fly</answer>" if is_solve else reply,
            "truncated": reply[: len(reply) // 2],
            "no_hints": reply if is_solve else "I learned nothing.",
        }
        return changed[str(self._fault)]
