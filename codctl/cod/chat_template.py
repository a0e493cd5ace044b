"""How a chat template writes a conversation, learned from how it renders one; and limits on what it may use up.

Only the text between a reply and the next prompt matters to a conversation that keeps its tokens. It is found wherever
the reply stands in a longer rendering, so a template may leave thoughts out of earlier turns or write a blank before a
reply: the sampled tokens stay as they are.

A template is a small program that came with a model, and may never end or write without end. Jinja's sandbox keeps it
from files and from Python's internals, not from loops. The time limit counts CPU time, so that a busy machine refuses
no template. Only the main thread gets the timer's signal: other threads have no limit.
"""

from __future__ import annotations

import contextlib
import re
import resource
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from codctl.envs.base import Message

Render = Callable[[Sequence[Message], bool], str]
"""Renders messages, with or without the generation prompt; raises TemplateError."""


class TemplateError(ValueError):
    """A template does not render a conversation."""


_SYSTEM = "the rules of the game"
_TEXTS = ("first question", "first reply", "second question", "second reply", "third question")
_THOUGHT_END = "\n</think>\n\n"


@dataclass(frozen=True)
class Layout:
    """How a template writes a conversation.

    Attributes:
        merges_system: It has no system role, or moves the system text: it must stand in the first user text.
        rewrites: Why a conversation cannot only grow at its end; empty where it can.
        stop: The token that ends a reply, as text; empty where the template writes none.
        closing: Between a reply and the next prompt: up to the token that ends the reply, which is its end.
        opening: Behind `closing`, up to the user's text.
        prompt: Between the user's text and the reply.
        lead: What the model writes before the text of a reply, such as a blank or the end of an empty thought.
        trail: What the model writes behind the text of a reply, before the token that ends it: a blank or nothing.
        stop_opens: The token that ends a reply is also the first of the next turn.
        shortens: Earlier turns are rendered without something of their generation prompt, usually a thought.
    """

    merges_system: bool = False
    rewrites: str = ""
    stop: str = ""
    closing: str = ""
    opening: str = ""
    prompt: str = ""
    lead: str = ""
    trail: str = ""
    stop_opens: bool = False
    shortens: bool = False

    @property
    def thinks(self) -> bool:
        """Whether a reply begins inside a thought."""
        return self.prompt.rfind("<think>") > self.prompt.rfind("</think>")


def merged(messages: Sequence[Message]) -> list[Message]:
    """The same conversation with the system text before the first user text."""
    if len(messages) < 2 or messages[0]["role"] != "system" or messages[1]["role"] != "user":
        return list(messages)
    system, user, *rest = messages
    return [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def learn(render: Render, tokens: re.Pattern[str]) -> Layout:
    """Find out how a template writes a conversation.

    Args:
        render: The template.
        tokens: Matches the tokenizer's special tokens.

    Raises:
        TemplateError: It renders no conversation of several turns, or none with the system text.
    """
    failure: TemplateError | None = None
    usable: list[_Probe] = []
    for merges_system in (False, True):
        try:
            probe = _Probe.of(render, merges_system)
        except TemplateError as error:
            failure = failure or error
            continue
        if probe.keeps_beginning:
            return probe.layout(tokens)
        if probe.has_system:
            usable.append(probe)
    if usable:
        return usable[0].layout(tokens)
    raise failure or TemplateError("it leaves out the system text")


@dataclass(frozen=True)
class _Probe:
    """A conversation of three turns and its beginning, rendered.

    Attributes:
        merges_system: Whether the system text stands in the first user text.
        first: The first prompt.
        longer: The third prompt.
        closed: The first turn with its reply, without a prompt for more.
    """

    merges_system: bool
    first: str
    longer: str
    closed: str

    @classmethod
    def of(cls, render: Render, merges_system: bool) -> _Probe:
        roles = ("user", "assistant", "user", "assistant", "user")
        turns = [{"role": role, "content": text} for role, text in zip(roles, _TEXTS, strict=True)]
        messages = [{"role": "system", "content": _SYSTEM}, *turns]
        messages = merged(messages) if merges_system else messages
        first = len(messages) - 4
        return cls(
            merges_system,
            render(messages[:first], True),
            render(messages, True),
            render(messages[: first + 1], False),
        )

    @property
    def has_system(self) -> bool:
        return _SYSTEM in self.first and _SYSTEM in self.longer

    @property
    def keeps_beginning(self) -> bool:
        """Whether a later prompt begins as the first one did, with the system text before the user's."""
        head = self.first.partition(_TEXTS[0])[0]
        return _SYSTEM in head and self.longer.partition(_TEXTS[0])[0] == head

    def layout(self, tokens: re.Pattern[str]) -> Layout:
        prompt = self.first.partition(_TEXTS[0])[2]
        trail, end = _first_token(self.closed.partition(_TEXTS[1])[2], tokens)
        found = Layout(self.merges_system, stop=end, prompt=prompt, lead=self._lead(prompt), trail=trail)
        if not self.keeps_beginning:
            return replace(found, rewrites="the beginning changes as the conversation goes on")
        between = self._between()
        if between is None:
            return replace(found, rewrites="it leaves out or changes earlier texts")
        own_1, gap_1, own_2, gap_2, last = between
        if (own_1, gap_1) != (own_2, gap_2) or last != prompt:
            return replace(found, rewrites="it writes one turn otherwise than another")
        blank, mark = _first_token(gap_1, tokens)
        if not mark:
            return replace(found, rewrites="no special token stands between a reply and the next prompt")
        split = len(blank + mark)
        return replace(
            found,
            stop=end or mark,
            trail=trail if end else blank,
            closing=gap_1[:split],
            opening=gap_1[split:],
            stop_opens=not end,
            shortens=len(own_1) < len(prompt.rstrip()),
        )

    def _between(self) -> tuple[str, ...] | None:
        """What stands behind each text; None unless each is there once, in order."""
        if any(self.longer.count(text) != 1 for text in _TEXTS):
            return None
        parts = re.split("|".join(_TEXTS), self.longer)
        return tuple(parts[1:]) if re.findall("|".join(_TEXTS), self.longer) == list(_TEXTS) else None

    def _lead(self, prompt: str) -> str:
        """What stands between the generation prompt and a reply, where the template writes the reply itself."""
        before = self.closed.partition(_TEXTS[1])[0].partition(_TEXTS[0])[2]
        if before.startswith(prompt):
            return before[len(prompt) :]
        return _THOUGHT_END if prompt.rstrip().endswith("<think>") else ""


def _first_token(text: str, tokens: re.Pattern[str]) -> tuple[str, str]:
    """The special token that a text begins with, and the blanks before it; both empty where it begins otherwise."""
    match = tokens.search(text)
    return (text[: match.start()], match.group()) if match and not text[: match.start()].strip() else ("", "")


LONGEST_S = 10.0  # of computing, for one conversation; ordinary templates take a millisecond
MOST_MEMORY = 512 << 20  # while it is tried out, before a model is loaded
MOST_TEXT = 200_000  # characters beside those of the messages


class OverTimeError(Exception):
    """A template has used up its time."""


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Raise OverTimeError in the block after LONGEST_S of computing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(signum: int, frame: FrameType | None) -> None:
        raise OverTimeError

    before = signal.signal(signal.SIGVTALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_S)
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before or signal.SIG_DFL)


@contextlib.contextmanager
def memory_limit() -> Iterator[None]:
    """Let the process take only MOST_MEMORY more; MemoryError beyond. For a moment when nothing else is loaded."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):  # not Linux
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + MOST_MEMORY
    if soft != resource.RLIM_INFINITY and soft <= wanted:
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
