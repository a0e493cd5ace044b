"""The action of a task: `<action_expression>…</action_expression>` around one expression.

A closed reader: one element, text only. There are no attributes, no nested elements, no comments and no declarations,
and of references only the five that XML predefines, so that nothing can be expanded.
"""

from __future__ import annotations

import re

from codctl.envs.optimal_control.expression import MOST_CHARS, Expression, ExpressionError, parse

OPEN, CLOSE = "<action_expression>", "</action_expression>"
MOST_ELEMENT_CHARS = 6 * MOST_CHARS  # each character may be written as a reference
_REFERENCES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&amp;": "&"}
_AMPERSAND = re.compile(r"&[^;&\s]{0,10};?")
_FENCE = re.compile(r"\A\s*```[A-Za-z]*\s*\n?(.*?)\s*```\s*\Z", re.DOTALL)


def written(expression: str) -> str:
    """The element around an expression."""
    escaped = expression.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{OPEN}{escaped}{CLOSE}"


def read_element(text: str) -> Expression:
    """The expression in an element.

    Raises:
        ExpressionError: There is none, or it cannot be read; says why in a few words.
    """
    text = text.strip()
    if len(text) > MOST_ELEMENT_CHARS:
        raise ExpressionError(f"the expression has more than {MOST_CHARS} characters")
    if not (text.startswith(OPEN) and text.endswith(CLOSE) and len(text) >= len(OPEN) + len(CLOSE)):
        raise ExpressionError(f"the answer is not {OPEN}…{CLOSE}")
    inner = text[len(OPEN) : -len(CLOSE)]
    if "<" in inner:
        raise ExpressionError("a < inside the expression must be written as &lt;")
    return parse(_AMPERSAND.sub(_dereferenced, inner))


def _dereferenced(found: re.Match[str]) -> str:
    if found[0] not in _REFERENCES:
        raise ExpressionError(f"{found[0]!r} is none of {', '.join(_REFERENCES)}")
    return _REFERENCES[found[0]]


def bare(text: str) -> str:
    """The expression in an answer as a model may write it: fenced, without the element, or with a bare < in it."""
    if len(text) > MOST_ELEMENT_CHARS:
        return text
    if fenced := _FENCE.match(text):
        text = fenced[1]
    text = text.strip()
    text = text.removeprefix(OPEN).removesuffix(CLOSE)
    for reference, character in _REFERENCES.items():
        text = text.replace(reference, character)
    return text.strip().strip("`").strip()
