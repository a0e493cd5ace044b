"""judge.kind=brief (Learn2Ask, variant paper): a question is as good as it is short."""

from __future__ import annotations

from codctl.envs.learn2ask.data import Row
from codctl.envs.learn2ask.judge import Judge, Verdict


class Brief(Judge):
    async def judge(self, row: Row, reply: str) -> Verdict:
        words = len(reply.split())
        return Verdict(content=1.0 if words <= 12 else 0.5, form=1.0, note=f"Words: {words}.")
