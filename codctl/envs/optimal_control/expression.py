"""The language in which a controller is written: one scalar expression, read by a closed parser.

Numbers, seven variables, + - * / **, comparisons (also chained), and, or, not, `A if C else B`, and a dozen functions,
with the precedence that Python gives them. Nothing else is looked at. Length and depth are bounded before anything is
built, and an expression is evaluated in time linear in its length; all numbers are floats, since whole numbers can grow
without bound under **. No text makes it raise anything but ExpressionError.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MOST_CHARS = 2000
MOST_DEPTH = 64  # of nested parts; a sum of n terms has depth n

VARIABLES = ("x", "v", "t", "x_target", "v_target", "horizon", "remaining_steps")
Values = Sequence[float]  # one for each of VARIABLES
Evaluate = Callable[[Values], float]


class ExpressionError(ValueError):
    """Why a text is no expression, or why an expression has no value."""


@dataclass(frozen=True)
class Expression:
    """A text that could be read, and how to evaluate it."""

    text: str
    _evaluate: Evaluate

    def __call__(self, values: Values) -> float:
        """Its value.

        Raises:
            ExpressionError: It is no finite number.
        """
        try:
            value = self._evaluate(values)
        except ZeroDivisionError:
            raise ExpressionError("division by zero") from None
        except OverflowError:
            raise ExpressionError("a number became too large") from None
        if isinstance(value, bool):
            raise ExpressionError(f"the result is {str(value).lower()}, not a number")
        if not math.isfinite(value):
            raise ExpressionError("the result is not a finite number")
        return float(value)


def parse(text: str) -> Expression:
    """Read an expression.

    Raises:
        ExpressionError: It is none; says why in a few words.
    """
    text = text.strip()
    if not text:
        raise ExpressionError("the expression is empty")
    if len(text) > MOST_CHARS:
        raise ExpressionError(f"the expression has more than {MOST_CHARS} characters")
    parser = _Parser(_tokens(text))
    node = parser.expression(_IF)
    parser.expect("end")
    return Expression(" ".join(text.split()), node.evaluate)


class _Node(NamedTuple):
    evaluate: Evaluate
    depth: int


class _Token(NamedTuple):
    kind: str  # number, name, end, or the sign or word itself
    text: str


_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![\w.])"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)|(?P<sign>\*\*|<=|>=|==|!=|[-+*/<>(),]))"
)
_WORDS = {"and", "or", "not", "if", "else"}
# How tightly each binds, as in Python.
_IF, _OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _UNARY, _POWER = range(9)
_LEVELS = {
    "if": _IF, "or": _OR, "and": _AND, "<": _COMPARE, "<=": _COMPARE, ">": _COMPARE, ">=": _COMPARE, "==": _COMPARE,
    "!=": _COMPARE, "+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "**": _POWER,
}  # fmt: skip
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionError(f"{text[at:].split()[0][:20]!r} cannot be read")
        kind, at = str(match.lastgroup), match.end()
        word = match[kind]
        found.append(_Token(word if kind == "sign" or word in _WORDS else kind, word))
    return [*found, _Token("end", "the end")]


class _Parser:
    """Operator precedence: each call reads one operand and what binds to it at least as tightly as asked."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._open = 0

    def expression(self, level: int) -> _Node:
        self._open += 1
        if self._open > MOST_DEPTH:
            raise ExpressionError("the expression is nested too deeply")
        left = self._operand(level)
        while _LEVELS.get(self._kind, -1) >= level:
            left = self._joined(left)
        self._open -= 1
        return left

    def expect(self, kind: str) -> None:
        if self._kind != kind:
            wanted = "nothing more" if kind == "end" else f"{kind!r}"
            raise ExpressionError(f"expected {wanted}, found {self._tokens[self._at].text[:20]!r}")
        self._at += 1

    @property
    def _kind(self) -> str:
        return self._tokens[self._at].kind

    def _next(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _operand(self, level: int) -> _Node:
        token = self._next()
        if token.kind == "number":
            return _number(token.text)
        if token.kind == "name":
            return self._call(token.text) if self._kind == "(" else _variable(token.text)
        if token.kind == "(":
            inner = self.expression(_IF)
            self.expect(")")
            return inner
        if token.kind in ("+", "-") and level <= _UNARY:
            return _unary(operator.neg if token.kind == "-" else operator.pos, self.expression(_UNARY))
        if token.kind == "not" and level <= _NOT:
            return _unary(operator.not_, self.expression(_NOT))
        raise ExpressionError(f"expected a number, a variable or a function, found {token.text[:20]!r}")

    def _joined(self, left: _Node) -> _Node:
        """The operand so far with the operator that follows and its other side."""
        kind = self._next().kind
        level = _LEVELS[kind]
        if level == _IF:
            condition = self.expression(_OR)
            self.expect("else")
            return _choice(condition, left, self.expression(_IF))
        if level == _COMPARE:
            return self._chain(left, kind)
        if level == _POWER:  # 2 ** -x is allowed, and 2 ** 3 ** 2 is 2 ** 9
            return _call("pow", (left, self.expression(_UNARY)))
        right = self.expression(level + 1)
        if level in (_OR, _AND):
            return _either(left, right) if level == _OR else _both(left, right)
        return _binary(kind, left, right)

    def _chain(self, left: _Node, kind: str) -> _Node:
        """`a < b <= c` holds where both comparisons do."""
        tests, nodes = [_COMPARISONS[kind]], [left, self.expression(_SUM)]
        while self._kind in _COMPARISONS:
            tests.append(_COMPARISONS[self._next().kind])
            nodes.append(self.expression(_SUM))
        return _compared(tests, nodes)

    def _call(self, name: str) -> _Node:
        if name not in _ARITY:
            raise ExpressionError(f"there is no function {name[:30]!r}")
        self.expect("(")
        arguments = []
        while self._kind != ")":
            arguments.append(self.expression(_IF))
            if self._kind != ")":
                self.expect(",")
        self.expect(")")
        fewest, most = _ARITY[name]
        if not fewest <= len(arguments) <= (most or len(arguments)):
            raise ExpressionError(f"{name} takes {fewest}{'' if most else ' or more'} value{'s' * (fewest > 1)}")
        return _call(name, arguments)


_ARITY: dict[str, tuple[int, int | None]] = {
    "abs": (1, 1), "min": (1, None), "max": (1, None), "pow": (2, 2), "clip": (3, 3), "ifelse": (3, 3),
    "lt": (2, 2), "le": (2, 2), "gt": (2, 2), "ge": (2, 2), "eq": (2, 2), "ne": (2, 2),
}  # fmt: skip
FUNCTIONS = tuple(_ARITY)


def _power(base: float, exponent: float) -> float:
    value = float(base) ** float(exponent)
    if isinstance(value, complex):
        raise ExpressionError("a fractional power of a negative number")
    return float(value)


_TWO: dict[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "pow": _power,
    **{name: getattr(operator, name) for name in ("lt", "le", "gt", "ge", "eq", "ne")},
}  # fmt: skip


def _node(evaluate: Evaluate, *parts: _Node) -> _Node:
    depth = 1 + max((part.depth for part in parts), default=0)
    if depth > MOST_DEPTH:
        raise ExpressionError(f"the expression has more than {MOST_DEPTH} parts in one another")
    return _Node(evaluate, depth)


def _number(text: str) -> _Node:
    value = float(text)
    if not math.isfinite(value):
        raise ExpressionError(f"{text[:20]} is too large")
    return _node(lambda _: value)


def _variable(name: str) -> _Node:
    if name not in VARIABLES:
        raise ExpressionError(f"there is no variable {name[:30]!r}")
    return _node(operator.itemgetter(VARIABLES.index(name)))


def _unary(change: Callable[[float], float], part: _Node) -> _Node:
    inner = part.evaluate
    return _node(lambda values: change(inner(values)), part)


def _binary(name: str, left: _Node, right: _Node) -> _Node:
    first, second, join = left.evaluate, right.evaluate, _TWO[name]
    return _node(lambda values: join(first(values), second(values)), left, right)


def _choice(condition: _Node, yes: _Node, no: _Node) -> _Node:
    test, first, second = condition.evaluate, yes.evaluate, no.evaluate
    return _node(lambda values: first(values) if test(values) else second(values), condition, yes, no)


def _both(left: _Node, right: _Node) -> _Node:
    first, second = left.evaluate, right.evaluate
    return _node(lambda values: first(values) and second(values), left, right)


def _either(left: _Node, right: _Node) -> _Node:
    first, second = left.evaluate, right.evaluate
    return _node(lambda values: first(values) or second(values), left, right)


def _compared(tests: list[Callable[[float, float], bool]], nodes: list[_Node]) -> _Node:
    first, rest = nodes[0].evaluate, [(test, node.evaluate) for test, node in zip(tests, nodes[1:], strict=True)]

    def holds(values: Values) -> bool:
        left = first(values)
        for test, evaluate in rest:
            right = evaluate(values)
            if not test(left, right):
                return False
            left = right
        return True

    return _node(holds, *nodes)


def _call(name: str, arguments: Sequence[_Node]) -> _Node:
    parts = [argument.evaluate for argument in arguments]
    if name == "ifelse":
        return _choice(*arguments)
    if name in _TWO:
        return _binary(name, *arguments)
    if name == "abs":
        return _unary(abs, *arguments)
    if name == "clip":
        value, low, high = parts
        return _node(lambda values: max(low(values), min(high(values), value(values))), *arguments)
    choose = min if name == "min" else max
    return _node(lambda values: choose([part(values) for part in parts]), *arguments)
