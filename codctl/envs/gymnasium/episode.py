"""Single episodes of any family as a Gymnasium environment: texts in, texts out.

Importing this module registers the id `codctl/Episode-v0`; nothing else of codctl imports it.
"""

from __future__ import annotations

import string
from typing import Any

import gymnasium
from gymnasium.spaces import Text

from codctl.envs.base import Episode, Rendering, Split, act_now, close_now
from codctl.envs.registry import check_world, get_family
from codctl.errors import UsageError

ID = "codctl/Episode-v0"
_LONGEST_CHARS = 100_000
_LONGEST_ACTION_CHARS = 1_000
_PACKS = 2**31


class AnyText(Text):  # type: ignore[misc] # gymnasium is Any to mypy here
    """Any text up to a length. Samples are printable ASCII; a terminal or a model may write more than that."""

    def __init__(self, max_length: int) -> None:
        super().__init__(max_length, min_length=0, charset=string.printable)

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length


class EpisodeEnv(gymnasium.Env[str, str]):  # type: ignore[misc]
    """One task after another, each of another world: what a policy without memory between tasks would train on.

    `reset(seed=…)` draws the pack by the seed and its first task. `reset(options={"index": 7, "position": 2})` takes a
    task of a certain pack, so that a whole pack can be played in order; `{"hints": "…"}` puts hints into the rules.
    The first observation is rules and task; `info` has them apart. After the last step it is the feedback.

    Args:
        family: Its name, as in `codctl env list`.
        preset: The family's first by default.
        variant: The family's first by default.
        split: Which packs.
        rendering: How texts are written.

    Raises:
        UsageError: One of the names is unknown.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - what Gymnasium expects

    def __init__(
        self,
        family: str = "frozen_lake",
        preset: str | None = None,
        variant: str | None = None,
        split: Split = "train",
        rendering: Rendering = "full",
        render_mode: str | None = None,
    ) -> None:
        self.preset = preset or get_family(family).presets[0]
        self.family = check_world(family, self.preset, variant)
        self.variant, self.split, self.rendering = variant, split, rendering
        self.render_mode = render_mode
        self.observation_space = AnyText(_LONGEST_CHARS)
        self.action_space = AnyText(_LONGEST_ACTION_CHARS)
        self._episode: Episode | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        asked = {"index": None, "position": 0, "hints": "", **(options or {})}
        drawn = int(self.np_random.integers(_PACKS))  # also when an index is given: later draws do not depend on it
        index = drawn if asked["index"] is None else int(asked["index"])
        pack = self.family.pack(self.split, index, int(asked["position"]) + 1, self.preset, self.variant)
        self.close()
        self._episode = pack.slots[-1].begin(self.rendering)
        rules = self.family.solve_prompt(str(asked["hints"]), self.rendering, self.preset)
        info = {"pack": pack.id, "position": len(pack) - 1, "rules": rules, "task": self._episode.observation}
        return f"{rules}\n\n{self._episode.observation}", info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one action: the text that a model would write inside the answer block."""
        if self._episode is None or self._episode.done:
            raise UsageError("the episode is over, or never began", hint="call reset() first")
        step = act_now(self._episode, action)
        # A spent turn budget is part of the task, which shows it: terminated, not truncated.
        return step.observation or step.feedback, float(step.reward), step.done, False, dict(step.info)

    def close(self) -> None:
        if self._episode is not None:
            close_now(self._episode)

    def render(self) -> str | None:
        """The trajectory so far, as the update prompt of CoD shows it."""
        if self.render_mode != "ansi":
            return None
        return self._episode.transcript() if self._episode else ""


if ID not in gymnasium.registry:
    gymnasium.register(id=ID, entry_point=EpisodeEnv)
