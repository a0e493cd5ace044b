"""The hidden set, the interviews and episodes of the protocol variant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from types import MappingProxyType

from codctl.envs.base import Episode, Rendering, Step
from codctl.envs.learn2ask import text
from codctl.envs.learn2ask.points import members, named, partner
from codctl.envs.learn2ask.scoring import WRONG, Scores, form_of, reward
from codctl.envs.learn2ask.stop import is_stop, is_stop_alone

Asked = tuple[int, ...]
"""The points that a reply asks about; `STOP` where it ends the interview."""

STOP: Asked = (-1,)
SOLVED = 0.999
LOSSES = MappingProxyType(
    {
        "early": "ended the interview too early",
        "late": "asked although everything needed was known",
        "beside": "asked about something else than what was missing",
        "form": "right, but with another question or other words beside it",
    }
)


@dataclass(frozen=True)
class AskWorld:
    """The hidden fact: which of the points must be known before an interview may end.

    Attributes:
        points: How many there are.
        needed: A set of them: bit i is point i.
    """

    points: int
    needed: int


@dataclass(frozen=True)
class AskTask:
    """An interview up to the doctor's next turn.

    Attributes:
        points: How many points there are.
        needed: How many of them must be known.
        said: The points that are known in the order in which they were asked, with the index of the answer.
        complaint: Index of what the patient began with.
    """

    points: int
    needed: int
    said: tuple[tuple[int, int], ...]
    complaint: int

    @cached_property
    def known(self) -> int:
        """Set of the points that are known."""
        return sum(1 << point for point, _ in self.said)

    @property
    def open(self) -> tuple[int, ...]:
        """The points that are not known."""
        return members(~self.known, self.points)


@lru_cache(maxsize=8192)  # beliefs ask again and again
def judged(missing: int, asked: Asked) -> Scores:
    """Decision and content of a reply, by the set of points that must be known and are not. Form is 1 where it counts.

    A question about several points has the mean content of them. One about none has none.
    """
    if (asked == STOP) is not (missing == 0):
        return WRONG
    if asked == STOP:
        return Scores(1.0, 1.0, 1.0)
    content = [1.0 if missing >> p & 1 else 0.5 if missing >> partner(p) & 1 else 0.0 for p in asked]
    return Scores(1.0, sum(content) / len(content) if content else 0.0, 1.0)


class AskEpisode(Episode):
    """One reply: a question, or the end of the interview.

    Attributes:
        asked: What the reply asked about.
        scores: What it got; None where there was no reply that could be read.
    """

    def __init__(self, world: AskWorld, task: AskTask, rendering: Rendering) -> None:
        self._needed = world.needed
        self.task = task
        self.rendering = rendering
        self.reply = ""
        self.asked: Asked = ()
        self.scores: Scores | None = None
        super().__init__(1)
        self.observation = text.observation(task, rendering)

    def act(self, action: str) -> Step:
        if self.done:
            raise ValueError("the episode is over")
        found = read_reply(action, self.task.points)
        if found is None:
            return self.fail(text.unreadable(action, self.rendering))
        self.turns += 1
        self.reply, self.asked = action, found.asked
        scores = judged(self._needed & ~self.task.known, found.asked)
        self.scores = scores = replace(scores, form=scores.form * found.form)
        info = {"asked": found.asked, "decision": scores.decision, "content": scores.content, "form": scores.form}
        return self.end(
            reward(scores),
            text.feedback(self.task, found.asked, scores, self.rendering),
            info,
            lost=_loss(found.asked, scores),
            solved=reward(scores) >= SOLVED,
        )

    def transcript(self) -> str:
        return text.transcript(self.task, self.asked, self.scores, self.reply, self.rendering)


@dataclass(frozen=True)
class Reply:
    """A reply as it was read."""

    asked: Asked
    form: float


_QUESTION_MARKS = "?？؟"
_MOST_CHARS = 2000


def read_reply(action: str, points: int) -> Reply | None:
    """What a reply asks about, and its form. None where it neither ends the interview nor asks anything.

    Points are told by their words (`points.named`), questions by their marks; a question about two points is two.
    """
    if is_stop(action):
        return Reply(STOP, 1.0 if is_stop_alone(action) else 0.0)
    shown = action[:_MOST_CHARS]
    asked = tuple(dict.fromkeys(point for point in named(shown) if point < points))
    marks = sum(action.count(mark) for mark in _QUESTION_MARKS)
    if not asked and not marks:
        return None
    return Reply(asked, form_of(max(marks, len(asked))))


def _loss(asked: Asked, scores: Scores) -> str:
    if not scores.decision:
        return "early" if asked == STOP else "late"
    return "form" if scores.content == 1.0 else "beside"
