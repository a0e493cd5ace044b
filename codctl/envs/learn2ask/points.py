"""The points that an interview can be about: their names, the words that tell them, questions and answers.

Two neighbours, 0 and 1, 2 and 3 and so on, are partners: a question about one is half right where the other is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """One thing that a doctor may ask about.

    Attributes:
        name: One word.
        meaning: What is to be known.
        words: Regular expression of the words by which a question about it is recognised, its name apart.
        question: A question that is about this point alone.
        answers: What patients say.
    """

    name: str
    meaning: str
    words: str
    question: str
    answers: tuple[str, ...]


POINTS = (
    Point(
        "onset",
        "when it began",
        r"when\s+did|start(?:s|ed|ing)?|beg(?:in|ins|an|un)|first\s+notice[ds]?",
        "When did it begin?",
        ("It began on Monday.", "It began last week.", "It began this morning."),
    ),
    Point(
        "duration",
        "how long it lasts each time",
        r"how\s+long|last(?:s|ed|ing)?\s+(?:for|each|every)",
        "How long is it there each time?",
        ("It stays for an hour or so.", "It is there for a few minutes each time.", "It never goes away."),
    ),
    Point(
        "place",
        "where it is",
        r"where|locat(?:ion|ed)|which\s+(?:part|side|spot|area)|spread(?:s|ing)?",
        "Where exactly is it?",
        ("It is on the left side.", "It is on the right side.", "It is in the middle."),
    ),
    Point(
        "severity",
        "how strong it is",
        r"sever(?:e|ely)|how\s+(?:bad|badly|strong|strongly|intense|much)|strength|intensity|scale|mild",
        "How strong is it, from one to ten?",
        ("It is a two out of ten.", "It is a five out of ten.", "It is an eight out of ten."),
    ),
    Point(
        "quality",
        "what it feels like",
        r"feels?\s+like|what\s+kind|what\s+sort|describe|sharp|dull|burning|throbbing|stabbing",
        "What does it feel like?",
        ("It is dull.", "It is sharp.", "It burns."),
    ),
    Point(
        "trigger",
        "what brings it on or makes it worse",
        r"trigger(?:s|ed)?|brings?\s+it\s+on|worse|worsens?|caus(?:e|es|ed)|sets?\s+it\s+off",
        "What brings it on?",
        ("Walking brings it on.", "Cold air brings it on.", "It comes after meals."),
    ),
    Point(
        "fever",
        "whether there is a fever",
        r"feverish|temperature",
        "Do you have a fever?",
        ("I have no fever.", "I have a slight fever.", "I have a high fever."),
    ),
    Point(
        "medication",
        "what was taken against it",
        r"medicines?|medications|drugs?|pills?|tablets?|painkillers?|remed(?:y|ies)",
        "What medication have you taken?",
        ("I have taken no medication.", "I have taken one painkiller.", "I have used an ointment."),
    ),
)
NAMES = tuple(point.name for point in POINTS)
COMPLAINTS = (
    "I have a headache.",
    "My back hurts.",
    "My stomach hurts.",
    "My knee hurts.",
    "I have an earache.",
    "My throat hurts.",
)

_NAMED = re.compile(
    "|".join(rf"(?P<{point.name}>\b(?:{point.name}|{point.words})\b)" for point in POINTS), re.IGNORECASE
)


def partner(point: int) -> int:
    return point ^ 1


def named(text: str) -> Iterator[int]:
    """The points whose words stand in a text, in the order of the words."""
    return (NAMES.index(found.lastgroup or "") for found in _NAMED.finditer(text))


def members(points: int, count: int = len(POINTS)) -> tuple[int, ...]:
    """The points in a set of them (bit i: point i), in their order."""
    return tuple(point for point in range(count) if points >> point & 1)
