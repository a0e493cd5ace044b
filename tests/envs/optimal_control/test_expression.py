"""The language of controllers: what it reads, with Python's precedence, what it refuses, and that nothing breaks it."""

from __future__ import annotations

import math
import os
import time
from random import Random

import pytest

from codctl.envs.optimal_control.action import MOST_ELEMENT_CHARS, bare, read_element, written
from codctl.envs.optimal_control.expression import MOST_CHARS, MOST_DEPTH, VARIABLES, ExpressionError, parse

VALUES = (0.5, -2.0, 3.0, 4.0, 0.0, 12.0, 9.0)
NAMES = dict(zip(VARIABLES, VALUES, strict=True))
EXAMPLES = int(os.environ.get("CODCTL_FUZZ_EXAMPLES", "500"))
PIECES = (
    *VARIABLES, "abs(", "min(", "max(", "pow(", "clip(", "ifelse(", "lt(", "(", ")", ")", ",", "+", "-", "*", "/", "**",
    "<", "<=", "==", "!=", " if ", " else ", " and ", " or ", "not ", "0", "1", "2.5", ".5", "1e3", "1e999", "9" * 400,
    "x.y", "[", "]", "lambda", "__import__", "'", '"', "#", "\\", "\n", "\x00", "é", "٣", "²", "_", "=", ":=", "True",
    "&", "&lt;", "&#60;", "<!", "]]>", "<action_expression>", "</action_expression>", "```",
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "1", ".5", "2.", "1e-3", "x", "-x", "+v", "1 - 2 - 3", "2 * 3 + 4", "2 + 3 * 4", "8 / 2 / 2", "-2 ** 2",
        "2 ** -1", "2 ** 3 ** 2", "(2 ** 3) ** 2", "-x ** 2", "x if t > 2 else v", "x if t > 5 else v if t > 2 else 1",
        "1 - -1",
        "(1 if x < v else 2) + 1", "x * (v < 0)", "(0 < x < 1) * 5", "(0 < x < 0.1 < 1) + 0", "x and v", "0 and v",
        "0 or v", "x or v", "1 or 2 and 0", "(not x) + 1", "(not x == v) + 0", "abs(v)", "min(x, v, t)",
        "max(x, v,)", "pow(v, 2)", "1.5 if x > 0 and v < 0 or t == 0 else -1", "0.3*(x_target - x)\n - 0.8*v",
        "x if (v if t else x) else 2", "- - x", "x - +v", "2 - - - 2", "(((x)))", "horizon / remaining_steps",
        "1 < 2 and 5 or 3", "abs(-v)", "pow(2, -1) ** -1",
    ],
)  # fmt: skip
def test_values_are_those_of_python(text: str) -> None:
    expected = eval(
        " ".join(text.split()), {"__builtins__": {}}, {**NAMES, "abs": abs, "min": min, "max": max, "pow": pow}
    )
    assert parse(text)(VALUES) == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("min(x) + max(v)", -1.5),
        ("clip(x, -1, 0.25)", 0.25),
        ("clip(v, -1, 1)", -1.0),
        ("ifelse(lt(x, v), 1 / 0, 2)", 2.0),  # lazy: the other branch is not evaluated
        ("ifelse(ge(x, 0.5), 7, 1 / 0)", 7.0),
        ("ifelse(ne(x, x), 1, ifelse(eq(x, x), 2, 3)) + ifelse(le(1, 1), 10, 0) + ifelse(gt(1, 1), 100, 0)", 12.0),
    ],
)
def test_functions_that_python_does_not_have(text: str, value: float) -> None:
    assert parse(text)(VALUES) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the expression is empty"),
        ("  \n", "the expression is empty"),
        ("y", "there is no variable 'y'"),
        ("True", "there is no variable 'True'"),
        ("sin(x)", "there is no function 'sin'"),
        ("x.real", "'.real' cannot be read"),
        ("x[0]", "'[0]' cannot be read"),
        ("'x'", "\"'x'\" cannot be read"),
        ("x = 1", "'=' cannot be read"),
        ("x := 1", "':=' cannot be read"),
        ("x % 2", "'%' cannot be read"),
        ("x // 2", "expected a number, a variable or a function, found '/'"),
        ("1 2", "expected nothing more, found '2'"),
        ("(x", "expected ')', found 'the end'"),
        ("x)", "expected nothing more, found ')'"),
        ("x +", "expected a number, a variable or a function, found 'the end'"),
        ("1 + not x", "expected a number, a variable or a function, found 'not'"),
        ("x if v", "expected 'else', found 'the end'"),
        ("abs()", "abs takes 1 value"),
        ("abs(x, v)", "abs takes 1 value"),
        ("min()", "min takes 1 or more value"),
        ("clip(x, 1)", "clip takes 3 values"),
        ("abs(x=1)", "'=1)' cannot be read"),
        ("abs", "there is no variable 'abs'"),
        ("1e999", "1e999 is too large"),
        ("0x10", "'0x10' cannot be read"),
        ("1_000", "'1_000' cannot be read"),
        ("1.2.3", "'1.2.3' cannot be read"),
        ("x − v", "'−' cannot be read"),
        ("x" * (MOST_CHARS + 1), f"the expression has more than {MOST_CHARS} characters"),
        ("(" * 1000 + "x" + ")" * 500, "the expression is nested too deeply"),
        ("-" * 1999 + "x", "the expression is nested too deeply"),
        ("+".join("x" * 900), f"the expression has more than {MOST_DEPTH} parts in one another"),
    ],
)
def test_what_is_refused_and_why(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("9 ** 9 ** 9", "a number became too large"),
        ("(x == x) + (x == x) ** 1e308 ** 1e308", "a number became too large"),
        ("v ** 0.5", "a fractional power of a negative number"),
        ("x > 0", "the result is true, not a number"),
        ("not x", "the result is false, not a number"),
        ("1e308 * 10", "the result is not a finite number"),
        ("1e308 * 10 - 1e308 * 10", "the result is not a finite number"),
    ],
)
def test_what_has_no_value_and_why(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)(VALUES)
    assert str(caught.value) == said


def test_whole_numbers_do_not_grow() -> None:
    """With exact arithmetic this tower of powers would fill the memory."""
    two = "((x == x) + (x == x))"
    with pytest.raises(ExpressionError, match="too large"):
        parse("**".join([two] * 8))(VALUES)


def test_the_deepest_that_is_read_can_be_evaluated() -> None:
    depth = MOST_DEPTH - 1
    assert parse("-" * depth + "x")(VALUES) == 0.5 * (-1) ** depth
    assert parse("+".join(["1"] * MOST_DEPTH))(VALUES) == MOST_DEPTH
    assert parse(" else ".join(f"{k} if t == {k}" for k in range(50)) + " else 99")(VALUES) == 3


@pytest.mark.parametrize("text", ["x", "x < v", "x <= 1 and v > 2 or not t != 3", "min(x, v)"])
def test_an_element_holds_the_expression(text: str) -> None:
    assert read_element(f" \n{written(text)}\n").text == text
    assert "<" not in written(text).removeprefix("<action_expression>").removesuffix("</action_expression>")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "the answer is not <action_expression>…</action_expression>"),
        ("<action_expression>x", "the answer is not <action_expression>…</action_expression>"),
        ("<action_expression>", "the answer is not <action_expression>…</action_expression>"),
        (
            "<action_expression a='1'>x</action_expression>",
            "the answer is not <action_expression>…</action_expression>",
        ),
        ("<action_expression>x < v</action_expression>", "a < inside the expression must be written as &lt;"),
        ("<action_expression><b>x</b></action_expression>", "a < inside the expression must be written as &lt;"),
        ("<action_expression><![CDATA[x]]></action_expression>", "a < inside the expression must be written as &lt;"),
        ("<action_expression>&x;</action_expression>", "'&x;' is none of &lt;, &gt;, &quot;, &apos;, &amp;"),
        ("<action_expression>x &#60; v</action_expression>", "'&#60;' is none of &lt;, &gt;, &quot;, &apos;, &amp;"),
        ("<action_expression>x & v</action_expression>", "'&' is none of &lt;, &gt;, &quot;, &apos;, &amp;"),
        ("<action_expression>x &amp;lt; v</action_expression>", "'&lt;' cannot be read"),
        (
            '<!DOCTYPE a [<!ENTITY b "x">]><action_expression>&b;</action_expression>',
            "the answer is not <action_expression>…</action_expression>",
        ),
        ("<action_expression></action_expression>", "the expression is empty"),
        ("x" * (MOST_ELEMENT_CHARS + 1), f"the expression has more than {MOST_CHARS} characters"),
    ],
)
def test_what_is_no_element_and_why(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        read_element(text)
    assert str(caught.value) == said


def test_fuzz_no_text_raises_anything_else_and_none_takes_long() -> None:
    rng = Random(0)
    readable = longest = 0
    for _ in range(EXAMPLES):
        text = _hostile(rng)
        started = time.process_time()
        for read in (parse, read_element, lambda text: parse(bare(text))):
            try:
                value = read(text)(VALUES)
            except ExpressionError as error:
                longest = max(longest, len(str(error)))
            else:
                readable += 1
                assert math.isfinite(value)
        assert time.process_time() - started < 0.5
    assert readable > EXAMPLES / 20
    assert 0 < longest < 120


def _hostile(rng: Random) -> str:
    kind = rng.randrange(4)
    if kind == 0:
        return "".join(rng.choices(PIECES, k=rng.choice((1, 3, 8, 30, 300))))
    if kind == 1:
        return "".join(map(chr, rng.choices(range(0x3000), k=rng.choice((1, 5, 40, 4000)))))
    text = _grown(rng, 5)
    if kind == 2:
        cut = rng.randint(0, len(text))
        text = text[:cut] + rng.choice(PIECES) + text[cut:]
    return rng.choice((text, written(text)))


def _grown(rng: Random, depth: int) -> str:
    """An expression that can be read."""
    if depth == 0 or rng.random() < 0.2:
        return rng.choice((*VARIABLES, "0.25", "3", "1e2"))
    left, right, more = (_grown(rng, depth - 1) for _ in range(3))
    return rng.choice(
        (
            f"({left} + {right})", f"{left} - {right}", f"{left} * ({right})", f"({left}) / {right}",
            f"({left}) ** ({right})", f"-({left})",
            f"({left} if {more} < {right} else {right})", f"max({left}, {right})", f"clip({left}, -1, 1)",
            f"ifelse({left} >= {more}, {right}, {left})", f"(not ({left})) * {right}",
            f"({left} or {right} and {more})",
        )
    )  # fmt: skip
