"""family=buttons: two buttons, one of which works; the panel is far away, and there is no reference to compare with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar

from codctl.envs.base import Episode, Family, HintScore, Policy, PolicyView, Rendering, ReplyForm, Step

SIDES = ("left", "right")


class Push(Episode):
    open: ClassVar[set[Push]] = set()  # panels that are held

    def __init__(self, works: str) -> None:
        super().__init__(max_turns=1)
        self.works, self.pushed, self.observation = works, "none", "left or right ?"

    async def act(self, action: str) -> Step:
        self.open.add(self)
        await asyncio.sleep(0.001)
        self.turns, self.pushed, works = int(action in SIDES), action, action == self.works
        return self.end(float(works), "light" if works else "dark") if action in SIDES else self.fail("no button")

    async def close(self) -> None:
        self.open.discard(self)

    def transcript(self) -> str:
        return self.pushed


class Chance(Policy):
    def solve(self, view: PolicyView, rng: Random) -> str:
        return f"<answer> {rng.choice(SIDES)} </answer>"

    def update(self, view: PolicyView, rng: Random) -> str:
        return view.slot.family.truth(view.world, view.rendering)


class Buttons(Family):
    name, title, presets, policies = "buttons", "Buttons: one of two works", ("usual",), ("random",)

    def sample(self, rng: Random, length: int, preset: str, variant: str) -> tuple[str, tuple[None, ...]]:
        return rng.choice(SIDES), (None,) * length

    def begin(self, world: str, task: Any, rendering: Rendering) -> Push:
        return Push(world)

    def redraw(self, world: str, rng: Random) -> str:
        return SIDES[1 - SIDES.index(world)]

    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        return "buttons"

    def reply_form(self, preset: str) -> ReplyForm:
        return ReplyForm(ask="press one.", action="left")

    def facts(self, world: str) -> int:
        return 1

    def truth(self, world: str, rendering: Rendering, rng: Random | None = None) -> str:
        return f"works {world}"

    partial_truth = truth  # one fact has no parts

    def score_context(self, world: str, hints: str, seen: Sequence[Episode]) -> HintScore:
        claimed = {side for side in SIDES if f"works {side}" in hints}
        return HintScore.of(claimed, claimed & {world}, {world}, {world} if seen else set())

    def policy(self, name: str, **options: float) -> Policy:
        return Chance()
