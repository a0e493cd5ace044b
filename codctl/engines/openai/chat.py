"""Messages as ids, for an engine that takes text: what goes in comes out again, character for character."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from codctl.envs.base import Message

_STOP = 256
_MARKS = {"system": 257, "user": 258, "assistant": 259}
_ROLES = {mark: role for role, mark in _MARKS.items()}


class MessageChat:
    """UTF-8 bytes as ids, with a mark before each message.

    The server has the model's own template and tokens, so counts of ids are counts of bytes here.
    """

    stop_ids: tuple[int, ...] = (_STOP,)
    appends = True

    def open(self, messages: Sequence[Message]) -> list[int]:
        marked = (token for m in messages for token in (_MARKS[m["role"]], *self.encode(m["content"])))
        return [*marked, _MARKS["assistant"]]

    def follow_up(self, text: str, *, ended_by: int | None) -> list[int]:
        return [_MARKS["user"], *self.encode(text), _MARKS["assistant"]]

    def reply(self, text: str) -> list[int]:
        return [*self.encode(text), _STOP]

    def encode(self, text: str) -> list[int]:
        return list(text.encode(errors="replace"))  # half a surrogate pair is in no text that could be sent

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(token for token in ids if token < _STOP).decode(errors="replace")

    def show(self, ids: Sequence[int]) -> str:
        """The messages, each under its role: the template that the server puts around them is not known."""
        return "\n".join(
            f"[{_ROLES[group[0]]}]\n{self.decode(group[1:])}" if group[0] in _ROLES else self.decode(group)
            for group in _messages(ids)
        )

    def specials(self, ids: Sequence[int]) -> list[str]:
        return sorted({f"[{_ROLES[token]}]" for token in ids if token in _ROLES})

    def messages(self, ids: Sequence[int]) -> list[Message]:
        """The messages of a prompt, without the empty one that the assistant is to write."""
        starts = [place for place, token in enumerate(ids) if token in _ROLES]
        if not starts or starts[0] != 0 or starts[-1] != len(ids) - 1 or ids[-1] != _MARKS["assistant"]:
            raise ValueError("not a prompt of this chat")
        return [
            {"role": _ROLES[ids[start]], "content": self.decode(ids[start + 1 : end])}
            for start, end in pairwise(starts)
        ]


def _messages(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Stretches of ids, each beginning with the mark of its role but perhaps the first."""
    starts = [place for place, token in enumerate(ids) if place == 0 or token in _ROLES]
    return (ids[start:end] for start, end in pairwise([*starts, len(ids)]))
