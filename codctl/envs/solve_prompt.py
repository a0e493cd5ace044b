"""The system prompt of a solve episode: the rules, the hints, and the form of a reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codctl.envs.base import Rendering

NO_HINTS = "(none yet)"

_HINTS = "Hints from earlier tasks (your own notes; they may be wrong, incomplete or not apply here):\n{hints}"
_HINTS_TERSE = "Hints from earlier tasks: {hints}"
_FORM = "Think first, then {ask} Your reply must contain exactly one pair of answer tags{inside}, like this:"
_FORM_TERSE = "Say what you do, then end with {terse}."


@dataclass(frozen=True)
class ReplyForm:
    """How an action is asked for, in a reply with answer tags or as the text of a tool call.

    Attributes:
        ask: What to do after thinking: `choose a code.`
        action: An example.
        thought: A line that an agent may write before it.
        inside: What the tags hold, where it has to be said: ` with one action inside`.
        note: What else is to be known of how an action is written.
        terse: In terse, what a reply ends with: `<answer>CODE</answer>`; empty in a family without a terse text.
    """

    ask: str
    action: str
    thought: str = ""
    inside: str = ""
    note: str = ""
    terse: str = ""

    def in_tags(self) -> str:
        """The last paragraph of the full prompt."""
        form = _FORM.format(ask=self.ask, inside=self.inside)
        return "\n".join(filter(None, [form, self.thought, f"<answer>{self.action}</answer>", self.note]))


def solve_prompt(rules: str, hints: str, form: ReplyForm, rendering: Rendering) -> str:
    """The parts in the order in which a model reads them; hints may be empty."""
    if rendering == "compact":
        return f"{rules} hints {hints or 'none'}"
    if rendering == "terse" and form.terse:
        shown = _HINTS_TERSE.format(hints=hints or "none yet")
        return "\n\n".join([rules, shown, _FORM_TERSE.format(terse=form.terse)])
    return "\n\n".join([rules, _HINTS.format(hints=hints or NO_HINTS), form.in_tags()])
