"""Who says how good a question is: the interface, a rule that needs no model, and the registry."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from codctl.envs.learn2ask.data import Row
from codctl.envs.learn2ask.options import JudgeOptions
from codctl.envs.learn2ask.points import named
from codctl.envs.learn2ask.scoring import form_of
from codctl.registry import Registry, a_subclass_of

_QUESTION_MARKS = "?？؟"
_WORD = re.compile(r"[^\W\d_]{4,}")
_CJK = re.compile(r"[\u3400-\u9fff]{2}")
_MOST_CHARS = 4000


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one question. `note` is a line that names nothing of the reference."""

    content: float
    form: float
    note: str = ""


class JudgeError(OSError):
    """The judge gave no verdict that can be read: the episode has no score."""


class Judge(ABC):
    """One judge serves all episodes of a process.

    Attributes:
        waits: Whether a verdict takes long, so that other episodes go on meanwhile. Only the rule's does not.
        deadline_s: Longest time that a verdict may take, all tries together.
    """

    waits = True
    deadline_s = 60.0

    def __init__(self, options: JudgeOptions) -> None:
        self.options = options

    @abstractmethod
    async def judge(self, row: Row, reply: str) -> Verdict:
        """Judge a question.

        Args:
            row: The dialogue, with what the doctor went on to ask.
            reply: The question.

        Raises:
            JudgeError: There is no verdict.
        """

    async def probe(self) -> None:
        """Ask once, so that what is wrong is said before anything is played.

        Raises:
            CodctlError: It cannot judge.
        """
        return


class RuleJudge(Judge):
    """Compares words, as a stand-in where there is no model.

    Form: the number of question marks. Content: 1 if a word of four letters or more (two characters of Chinese) of what
    is missing stands in the question, ½ if both name the same point (`points`), else 0.
    """

    waits = False

    async def judge(self, row: Row, reply: str) -> Verdict:
        return self.verdict(row, reply)

    def verdict(self, row: Row, reply: str) -> Verdict:
        form = form_of(max(1, sum(reply.count(mark) for mark in _QUESTION_MARKS)))
        asked, facts = reply[:_MOST_CHARS], " ; ".join(row.facts)[:_MOST_CHARS]
        if _words(asked) & _words(facts):
            return Verdict(1.0, form)
        return Verdict(0.5 if set(named(asked)) & set(named(facts)) else 0.0, form)


def _words(text: str) -> set[str]:
    pairs = {text[i : i + 2] for i in range(len(text) - 1) if _CJK.fullmatch(text, i, i + 2)}
    return {word.lower() for word in _WORD.findall(text) if not _CJK.search(word)} | pairs


JUDGES: Registry[type[Judge]] = Registry(
    "judge",
    "codctl.judges",
    {"rule": "codctl.envs.learn2ask.judge:RuleJudge", "endpoint": "codctl.engines.openai.judge:EndpointJudge"},
    make=a_subclass_of("codctl.envs.learn2ask.judge.Judge"),
    hint="judge.kind=rule or judge.kind=endpoint",
    by_path=False,
)
"""Judges of questions: subclasses of `Judge`."""
