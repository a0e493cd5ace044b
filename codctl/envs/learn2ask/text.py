"""Every text of the protocol variant.

`compact` names points by one word and states what was seen as `severity=need` or `severity=skip`: one token for a
fitting tokenizer, so that recalling or noting a fact is one look back.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING

from codctl.envs.base import Rendering
from codctl.envs.learn2ask.points import COMPLAINTS, NAMES, POINTS, partner
from codctl.envs.learn2ask.scoring import Scores, reward
from codctl.envs.learn2ask.stop import STOP_TAG
from codctl.envs.solve_prompt import ReplyForm

if TYPE_CHECKING:
    from codctl.envs.learn2ask.world import Asked, AskTask

_RULES = """\
You interview patients. Each task shows an interview so far, and you write the doctor's next turn: one question, or \
the end of the interview.

These points can be asked about: {points}. {Count} of them must be known before an interview may end. Which ones is \
hidden, but it stays the same in every task of this series.

If one of these is still open, ask one short question about one open point. If all of them are known, write {stop} and \
nothing else. Ending too early, or asking although all of them are known, gets reward 0, and so does a reply that \
cannot be read.

A right ending gets reward 1. A question gets {q1:g} if it asks for what must be known and is open. The points come in \
pairs ({pairs}): a question that is wrong in this but whose partner would be right gets {q2:g}. Every other question \
gets {q3:g}. Two questions at once cost {c1:g} and more of them {c2:g}, and so do other words beside {stop}. Name the \
point that you ask about in plain words.

Use your question both to score now and to find out what is hidden: what you find out helps you in the later tasks of \
this series."""
FORM = ReplyForm(
    ask="write the doctor's turn.",
    action="How strong is it?",
    thought="It is not known yet how strong the pain is, and my hints say that this is required.",
    terse=f"<answer>QUESTION</answer> or <answer>{STOP_TAG}</answer>",
)

_TERSE = """\
You are a doctor who interviews patients. Points: {points}. {Count} of them must be known before you stop; which ones \
is hidden, but it stays the same in later tasks. If one of them is open, ask one question about it. If all are known, \
answer {stop}."""

_IN_WORDS = {True: "must be known before you stop", False: "is not needed"}
_MANY = 5  # open points that a thought does not list any more
_COUNTS = {2: "two", 3: "three", 4: "four"}


def rules(rendering: Rendering, points: int, needed: int) -> str:
    if rendering == "compact":
        return "ask"
    count = _COUNTS[needed].capitalize()
    if rendering == "terse":
        names = ", ".join(NAMES[:points])
        return _TERSE.format(points=names, Count=count, stop=STOP_TAG)
    right, beside, other = (reward(Scores(1.0, content, 1.0)) for content in (1.0, 0.5, 0.0))
    cost, more = right - reward(Scores(1.0, 1.0, 0.5)), right - reward(Scores(1.0, 1.0, 0.0))
    return _RULES.format(
        points=", ".join(f"{point.name} ({point.meaning})" for point in POINTS[:points]),
        Count=count,
        pairs=", ".join(f"{NAMES[point]} and {NAMES[partner(point)]}" for point in range(0, points, 2)),
        q1=right,
        q2=beside,
        q3=other,
        c1=cost,
        c2=more,
        stop=STOP_TAG,
    )


def observation(task: AskTask, rendering: Rendering) -> str:
    if rendering == "compact":
        known = " ".join(NAMES[point] for point, _ in task.said)
        return f"known {known or 'none'} open {' '.join(NAMES[point] for point in task.open) or 'none'}"
    if rendering == "terse":
        return f'The patient says: "{" ".join(_sayings(task))}" {_status(task)}'
    lines = [f"Patient: {COMPLAINTS[task.complaint]}"]
    for point, answer in task.said:
        lines += [f"Doctor: {POINTS[point].question}", f"Patient: {POINTS[point].answers[answer]}"]
    return "\n".join(["The interview so far:", *lines, "", _status(task)])


def feedback(task: AskTask, asked: Asked, scores: Scores, rendering: Rendering) -> str:
    """What a reply got and what that says; in compact the transcript has it."""
    if rendering == "compact":
        return _verdict(task, asked, scores)
    said = _explained(task, asked, scores)
    return said if rendering == "terse" else f"{said} {_scored(asked, scores)}"


def transcript(task: AskTask, asked: Asked, scores: Scores | None, reply: str, rendering: Rendering) -> str:
    if rendering == "compact":
        return "none" if scores is None else _verdict(task, asked, scores)
    seen = observation(task, rendering)
    if scores is None:
        return seen
    said = "You ended the interview." if _is_end(asked) else f"You asked: {' '.join(reply.split())}"
    return f"{seen}{' ' if rendering == 'terse' else chr(10)}{said}"


def unreadable(action: str, rendering: Rendering) -> str:
    ways = "a point or stop" if rendering == "compact" else f"a question or {STOP_TAG}"
    return f"{' '.join(action[:40].split())!r} is not {ways}"


def hint_from(facts: Mapping[int, bool], rendering: Rendering) -> str:
    """Known facts (point → whether it must be known) as a hint, in the order given."""
    if rendering == "compact":
        return " ".join(f"{NAMES[point]}={_mark(needed)}" for point, needed in facts.items()) or "none"
    lines = [
        f"{NAMES[p].capitalize()} must be known before you stop."
        if needed
        else f"{NAMES[p].capitalize()} is not needed."
        for p, needed in facts.items()
    ]
    if rendering == "terse":
        return " ".join(lines) or "Nothing noted yet."
    return "\n".join(f"- {line}" for line in lines) or "Nothing is known for certain yet."


def reply(asked: Asked, rendering: Rendering) -> str:
    """A solve reply that asks about one point, or ends the interview."""
    if rendering == "compact":
        return f"<answer> {'stop' if _is_end(asked) else NAMES[asked[0]]} </answer>"
    return f"<answer>{STOP_TAG if _is_end(asked) else POINTS[asked[0]].question}</answer>"


def thought(task: AskTask, asked: Asked, facts: Mapping[int, bool], rng: Random) -> str:
    """What the demonstrator says before its answer. A try must not sound like a fact."""
    names = [NAMES[point] for point in task.open]
    seen = f"Open: {', '.join(names)}. " if names and len(names) < _MANY else ""
    if _is_end(asked):
        if all(facts.get(point) is False for point in task.open):
            return seen + rng.choice(("None of it is needed, so I stop.", "All that I need is known: I stop."))
        return seen + rng.choice(("Perhaps enough is known: I try to stop.", "I guess and try to stop."))
    name = NAMES[asked[0]]
    if facts.get(asked[0]):
        sure = (f"{name.capitalize()} must be known, so I ask about it.", f"I need {name} before I stop.")
        return seen + rng.choice(sure)
    return seen + rng.choice((f"I cannot tell what is needed and try {name}.", f"To find out, I try {name}."))


def _is_end(asked: Asked) -> bool:
    return asked == (-1,)


def _mark(needed: bool) -> str:
    return "need" if needed else "skip"


def _sayings(task: AskTask) -> list[str]:
    return [COMPLAINTS[task.complaint], *(POINTS[point].answers[answer] for point, answer in task.said)]


def _status(task: AskTask) -> str:
    known = ", ".join(NAMES[point] for point, _ in task.said) or "nothing"
    return f"Known: {known}. Open: {', '.join(NAMES[point] for point in task.open) or 'nothing'}."


def learned(task: AskTask, asked: Asked, scores: Scores) -> dict[int, bool]:
    """The facts that follow from a reply about one point, or from the end of an interview, and from nothing else."""
    if bool(scores.decision) == _is_end(asked):  # nothing that had to be known was open
        return dict.fromkeys(task.open, False)
    if _is_end(asked):
        return {task.open[0]: True} if len(task.open) == 1 else {}
    if len(asked) != 1:
        return {}
    pair = {point: False for point in (asked[0], partner(asked[0])) if point in task.open}
    if scores.content == 1.0:
        return {asked[0]: True}
    return {**pair, partner(asked[0]): True} if scores.content else pair


def _verdict(task: AskTask, asked: Asked, scores: Scores) -> str:
    """What a reply showed, in pairs: whether it was time to stop, where a reply tells it, and the facts."""
    facts = learned(task, asked, scores)
    if scores.decision and not _is_end(asked):
        return hint_from(facts, "compact")
    stop = "stop=right" if scores.decision else "stop=early" if _is_end(asked) else "stop=late"
    return f"{stop} {hint_from(facts, 'compact')}" if facts else stop


def _explained(task: AskTask, asked: Asked, scores: Scores) -> str:
    open_points = _listed([NAMES[point] for point in task.open])
    if _is_end(asked):
        if scores.decision:
            said = "You ended the interview at the right time: everything that must be known was known."
            return f"{said} {_none_needed(task)}".rstrip()
        return f"You ended the interview too early: of what was open ({open_points}), at least one point must be known."
    if not scores.decision:
        said = "You should have ended the interview: everything that must be known was known."
        return f"{said} {_none_needed(task)}".rstrip()
    if not asked:
        return "You asked about none of the points."
    if len(asked) > 1:
        names = _listed([NAMES[point] for point in asked])
        return f"You asked about {names} at once. Together they are worth {scores.content:.2g} of 1."
    return _about(task, asked[0], scores.content)


def _none_needed(task: AskTask) -> str:
    """What an interview that could end says about the open points."""
    if not task.open:
        return ""
    names = [NAMES[point] for point in task.open]
    if len(names) == 1:
        return f"{names[0].capitalize()} is not needed."
    return f"Neither {' nor '.join(names)} is needed." if len(names) == 2 else f"None of {_listed(names)} is needed."


def _about(task: AskTask, point: int, content: float) -> str:
    name, other = NAMES[point], NAMES[partner(point)]
    if content == 1.0:
        return f"You asked about {name}, which must be known and was open."
    already = "was known already" if point not in task.open else "is not needed"
    if content:
        return f"You asked about {name}, which {already}. Its partner {other} must be known and was open."
    if partner(point) in task.open:
        return f"You asked about {name}, which {already}. Its partner {other} is not needed either."
    return f"You asked about {name}, which {already}."


def _scored(asked: Asked, scores: Scores) -> str:
    content, form = f"Content {scores.content:.2g} of 1", f"form {scores.form:.2g} of 1"
    if not scores.decision:
        return "The decision was wrong, so content and form count nothing."
    why = (
        "" if scores.form == 1.0 else f" ({'only the tag was wanted' if _is_end(asked) else 'one question was wanted'})"
    )
    return f"{content}, {form}{why}."


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
