"""Sessions that played a world of codctl, in the form that models are trained on: demonstrations for a warm start.

An agent program plays a world by the tools `observe` and `act` of the server `world`. What it was told and what it did
makes a conversation of codctl's own: rules and hints, observation, answer, observation, and so on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codctl.cod.prompts import parse_answer, solve_messages
from codctl.contexts.block import find_blocks
from codctl.envs.base import Rendering, Slot
from codctl.envs.registry import check_world, get_family
from codctl.learner.demonstrations import Demonstration, prompts_digest
from codctl.sessions.session import Session
from codctl.sessions.wrapped import peeled

_TOOL = re.compile(r"(?:(?:.*__)?world__)?(?P<name>observe|act)")
_SPLIT = "imported"
_OVER = "The task is over."  # so the world's tools begin then


@dataclass(frozen=True)
class PlayedWorld:
    """The world that sessions were played in, and how a model is to read it."""

    family: str
    preset: str
    variant: str
    rendering: Rendering

    @classmethod
    def of(cls, family: str, preset: str | None, variant: str | None, rendering: Rendering) -> PlayedWorld:
        """Its preset and variant are the family's first ones by default.

        Raises:
            UsageError: There is no such world.
        """
        found = get_family(family)
        chosen = cls(family, preset or found.presets[0], variant or found.variants[0], rendering)
        check_world(family, chosen.preset, chosen.variant, rendering)
        return chosen

    @property
    def slot(self) -> Slot:
        found = check_world(self.family, self.preset, self.variant, self.rendering).in_variant(self.variant)
        return Slot(found, self.preset, None, None)

    @property
    def prompts(self) -> str:
        return prompts_digest(self.family, self.preset, self.variant, self.rendering)


def demonstration(session: Session, world: PlayedWorld, number: int) -> Demonstration | str:
    """A session as a demonstration, or why it is none.

    Args:
        session: With a reward.
        world: That it was played in.
        number: Of the session among those imported.
    """
    if session.reward is None:
        return "no reward"
    if session.reward <= 0:
        return "reward 0"
    turns = list(_turns(session))
    if not turns or turns[0].tool != "observe":
        return "the world was not observed first"
    if any(turn.tool is None for turn in turns):
        return "other tools than the world's were called"
    moves = _moves(turns[1:])
    if not moves:
        return "nothing was played"
    messages = solve_messages(world.slot, _hints(session), turns[0].result, world.rendering)
    prompt = len(messages)
    for place, move in enumerate(moves):
        if place:
            messages.append({"role": "user", "content": moves[place - 1].result})
        messages.append({"role": "assistant", "content": _answer(move, world.rendering)})
    pack = f"{world.family}/{world.preset}/{_SPLIT}/{number}"
    return Demonstration(pack, 0, "solve", 0, tuple(messages), prompt)


@dataclass(frozen=True)
class _Turn:
    """A call of a tool, what was said before it, and its result. `tool` is None for tools of others."""

    tool: str | None
    text: str
    written: str
    action: str
    result: str


def _turns(session: Session) -> Iterator[_Turn]:
    results = {message.call_id: message.text for message in session.messages if message.role == "tool"}
    for message in session.replies:
        text = message.text.strip()
        for call in message.calls:
            match = _TOOL.fullmatch(call.name)
            action = str(call.arguments.get("text", ""))
            result = peeled(results.get(call.id, ""))
            yield _Turn(match["name"] if match else None, text, message.written, action, result)
            text = ""  # the words before several calls are those before the first


def _moves(turns: Sequence[_Turn]) -> list[_Turn]:
    """The actions that were played; the world tells of its end, and what is called afterwards plays nothing."""
    found: list[_Turn] = []
    for turn in turns:
        if turn.tool == "act":
            found.append(turn)
        if turn.result.startswith(_OVER):
            break
    return found


def _hints(session: Session) -> str:
    """The hints that stood in what the agent was told; the last ones, where they changed."""
    texts = [message.text for message in session.messages if message.role in ("system", "user")]
    blocks = [block for text in texts for block in find_blocks(text)]
    return blocks[-1].text if blocks else ""


def _answer(move: _Turn, rendering: Rendering) -> str:
    """What the model wrote, if it was asked in codctl's form; otherwise the action with the words before it."""
    if parse_answer(move.written).action == move.action:
        return move.written.strip()
    words = f"{move.text}\n" if move.text and rendering == "full" and "<answer>" not in move.text else ""
    return f"{words}<answer>{move.action}</answer>"
