"""Every text of the variant `paper`: the rules, the dialogue, and what a reply got."""

from __future__ import annotations

from codctl.envs.base import Message, Rendering
from codctl.envs.learn2ask.data import Row
from codctl.envs.learn2ask.judge import Verdict
from codctl.envs.learn2ask.scoring import Fusion, Scores, reward
from codctl.envs.learn2ask.stop import STOP_TAG
from codctl.envs.solve_prompt import ReplyForm

_ASK = """\
You are a doctor's assistant in a chat with a patient. Each task shows a chat so far, and you write the next turn.

Ask the one question whose answer matters most now: a single short sentence, with two or three answers to choose from. \
Do not ask what has been said already."""
_STOP = """\
If enough is known to recommend a medication, ask nothing more: write {stop} and nothing else."""
_SCORE = """\
A turn is compared with what the doctor did in the real chat. Asking where the doctor stopped, or stopping where the \
doctor asked on, gets reward 0. A question gets up to 1: it should ask for something that the doctor still asked for, \
and it should be one question. {ending}"""
_CLEAN = "Stopping gets {right:.3g}, and {other:.3g} with other words beside {stop}."
FORM = ReplyForm(
    ask="write the turn.",
    action="How long have you had it: since today, for some days, or longer?",
    thought="The patient has not said how long it has lasted.",
)


def rules(fusion: Fusion) -> str:
    may_stop = fusion != "Ra"
    right, other = reward(Scores(1, 1, 1), fusion), reward(Scores(1, 1, 0), fusion)
    ending = _CLEAN.format(right=right, other=other, stop=STOP_TAG) if may_stop else ""
    parts = [
        _ASK,
        *([_STOP.format(stop=STOP_TAG)] if may_stop else []),
        _SCORE.format(ending=ending).rstrip(),
    ]
    return "\n\n".join(parts)


def opening(row: Row) -> tuple[Message, ...]:
    """The chat in the roles of the model, which is the doctor."""
    return tuple({"role": role, "content": said} for role, said in row.chat)


def observation(row: Row) -> str:
    """The chat as a text."""
    who = {"user": "Patient", "assistant": "Doctor"}
    return "\n".join(f"{who[role]}: {said}" for role, said in row.chat)


def transcript(row: Row, reply: str, rendering: Rendering) -> str:
    said = f"{observation(row)}\nDoctor (you): {' '.join(reply.split()) or '(nothing)'}"
    return said if rendering == "full" else " ".join(said.split())


def feedback(scores: Scores, verdict: Verdict | None, *, ended: bool) -> str:
    if not scores.decision:
        if ended:
            return "You stopped too early: the doctor still had questions."
        return "That question was not needed: the doctor had heard enough and stopped."
    if ended:
        form = "and wrote nothing else" if scores.form == 1 else "but only the tag was wanted"
        return f"You stopped at the right time, {form}. Form {scores.form:g} of 1."
    note = f" {verdict.note}" if verdict and verdict.note else ""
    return f"It was right to ask on. Content {scores.content:g} of 1, form {scores.form:g} of 1.{note}"
