"""A pack while it is played: what `codctl eval --show` prints."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from codctl.cli import _output, _view_text
from codctl.quantities import position
from codctl.results.transcript import Turn

if TYPE_CHECKING:
    from rich.text import Text

    from codctl.envs.base import PolicyView


class Shown:
    """Texts of a watched pack, in colour where stderr shows it."""

    def trajectory(self, arm: str, pack: str) -> str:
        return _text(lambda text: text.append(f"\n{pack}, arm {arm}", "bold"))

    def episode(self, kind: str, view: PolicyView) -> str:
        place = position(view.position)
        of_tasks = f"task {place} of {len(view.pack)}"
        return _text(
            lambda text: text.append(f"\n━━ {of_tasks if kind == 'solve' else f'update after task {place}'}", "bold")
        )

    def prompt(self, turn: Turn, specials: Sequence[str], number: int) -> str:
        return _text(lambda text: _view_text.prompt(text, turn, specials, number=number))

    def reply(self, turn: Turn, specials: Sequence[str], *, was_cut: bool) -> str:
        def write(text: Text) -> None:
            _view_text.reply(text, turn, specials)
            if was_cut:
                text.append("cut off: the reply used all of its tokens", "red")

        return _text(write)

    def end(self, feedback: str, reward: float) -> str:
        return _text(lambda text: text.append(f"→ {feedback} Reward {reward:g}.", "bold"))


def _text(write: Callable[[Text], object]) -> str:
    from codctl.cli import _rich

    text = _rich.Words()
    write(text)
    text.rstrip()
    return _rich.as_text(text) if _output.use_colour(sys.stderr) else text.plain
