"""An attempt as an agent program meets it: two tools, `observe` and `act`."""

from __future__ import annotations

import asyncio

from codctl.cod.attempt import Attempt
from codctl.cod.prompts import is_strict


class World:
    """What the two tools of an attempt do. Seeds, hidden facts and rewards stay in this process."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._acting = asyncio.Lock()

    def observe(self) -> str:
        """What there is to see now; once the task is over, what came of it."""
        episode = self._attempt.episode
        if not episode.done:
            return self._attempt.observations[-1]
        return " ".join(["The task is over.", *filter(None, [episode.feedback]), "Do not call act again."])

    async def act(self, text: str) -> str:
        """Play an action and show what it led to; once the task is over, nothing more happens."""
        async with self._acting:  # a program may call several tools at once
            if not self._attempt.episode.done:
                await self._attempt.act(self._as_action(text.strip()))
            return self.observe()

    def _as_action(self, text: str) -> str:
        settings, view = self._attempt.settings, self._attempt.view
        if is_strict(settings.answers, settings.rendering):
            return text
        return view.slot.family.answered(view.episode, text)
