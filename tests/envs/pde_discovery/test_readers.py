"""Equations, actions and hints as a model writes them."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from random import Random

import pytest

from codctl.envs.pde_discovery import actions, equations
from codctl.envs.pde_discovery.actions import Commit, InvalidError, Regress, Sample, Summarise, UnreadableError
from codctl.envs.pde_discovery.claims import claims
from codctl.envs.pde_discovery.terms import TERMS

FUZZED = int(os.environ.get("CODCTL_FUZZ_EXAMPLES", "600"))
U, U2, U3, SIN, EXP, LOG, HILL = (
    TERMS.index(t) for t in ("u", "u**2", "u**3", "sin(u)", "exp(u)-1", "log(1+u**2)", "u**4/(1+u**4)")
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.61*u - 1.35*u**3", {U: 0.61, U3: -1.35}),
        ("f(u) = -1.35*u**3+0.61*u", {U: 0.61, U3: -1.35}),
        ("F(U)=.5*U", {U: 0.5}),
        ("0.7*(exp(u)-1) - 1e-1*log(1+u**2)", {EXP: 0.7, LOG: -0.1}),
        ("0.7*exp(u)-1", {EXP: 0.7}),
        ("2*u**4/(1+u**4)", {HILL: 2.0}),
        ("1*u + 1*u", {U: 2.0}),
        ("1.2u − 0.8u³", {U: 1.2, U3: -0.8}),
        ("u - u^2", {U: 1.0, U2: -1.0}),
        ("1*u - 1*u", None),
        ("0", None),
        ("", None),
        ("a*u", None),
        ("1*u + 2", None),
        ("1*u 1*u", None),
        ("1*u*u", None),
        ("1*cos(u)", None),
        ("__import__('os')", None),
        ("9" * 13 + "*u", None),
        ("1e999*u", None),
        ("1*u" + "+1*u" * 200, None),
    ],
)
def test_equations(text: str, expected: dict[int, float] | None) -> None:
    found = equations.read(text)
    assert found == (None if expected is None else pytest.approx(expected))


def test_what_is_written_is_read_back() -> None:
    rng = Random(0)
    for _ in range(200):
        terms = rng.sample(range(len(TERMS)), rng.randint(1, 3))
        equation = {term: float(f"{rng.uniform(-3, 3):.3g}") for term in sorted(terms)}
        assert equations.read(equations.write(equation)) == equation
    assert equations.read_support("c1*u + c2*sin(u)") == (U, SIN)
    assert equations.has_names("c1*u + 2*sin(u)")
    assert not equations.has_names("1*u")


GRID = '<sample_pde_data><point_grid><point x="0.5" t="0"/></point_grid></sample_pde_data>'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GRID, Sample(((0.5, 0.0),))),
        (f"\n {GRID}\n", Sample(((0.5, 0.0),))),
        (
            "<sample_pde_data><point_grid><point><x>.25</x><t>1</t></point></point_grid></sample_pde_data>",
            Sample(((0.25, 1.0),)),
        ),
        (
            "<run_sparse_regression><dictionary><term>u</term><term>\nsin(u)</term></dictionary>"
            "</run_sparse_regression>",
            Regress("merged_all", 0.05, (U, SIN), ()),
        ),
        (
            '<run_sparse_regression dataset_id="ds_t1_1" threshold="0.2"><candidate_equations>'
            "<equation>a*u + b*u**2</equation></candidate_equations></run_sparse_regression>",
            Regress("ds_t1_1", 0.2, (U, U2), ((U, U2),)),
        ),
        ('<summarize_pack_evidence reveal_equations="TRUE"/>', Summarise(True)),
        ("<summarize_pack_evidence/>", Summarise(False)),
        (
            "<update_scientific_context><preferred_equation>1*u</preferred_equation><note>why &lt; not</note>"
            "</update_scientific_context>",
            Commit({U: 1.0}),
        ),
    ],
)
def test_actions(text: str, expected: object) -> None:
    assert actions.read(text) == expected


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("sample", UnreadableError, "not one XML element"),
        ("<sample_pde_data>", UnreadableError, "not one XML element"),
        ("<look/>", UnreadableError, "'look' is not an action"),
        ("<sample_pde_data>0.5 0</sample_pde_data>", UnreadableError, "text in place of arguments"),
        ("<sample_pde_data>a<b/></sample_pde_data>", UnreadableError, "text between the elements"),
        ("<a>" * 6 + "</a>" * 6, UnreadableError, "deeper than 4"),
        ("<a>" * 900 + "</a>" * 900, UnreadableError, "longer than"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', UnreadableError, "declarations"),
        ("<?xml version='1.0'?><a/>", UnreadableError, "declarations"),
        ("<a>&b;</a>", UnreadableError, "not one XML element"),
        ("<a>\ud800</a>", UnreadableError, "not one XML element"),
        ("<sample_pde_data/>", InvalidError, "needs a point_grid"),
        (GRID.replace("0.5", "1"), InvalidError, "0 < x < 1"),
        (GRID.replace("0.5", "nan"), InvalidError, "x must be a number"),
        (GRID.replace("0.5", "1_0"), InvalidError, "x must be a number"),
        (GRID.replace('"0"', '"1e999"'), InvalidError, "t must be a number"),
        ("<run_sparse_regression/>", InvalidError, "needs a dictionary"),
        (
            "<run_sparse_regression><dictionary><term>v</term></dictionary></run_sparse_regression>",
            InvalidError,
            "none of the listed",
        ),
        (
            "<run_sparse_regression><candidate_equations><equation>v</equation></candidate_equations>"
            "</run_sparse_regression>",
            InvalidError,
            "can be read",
        ),
        ("<update_scientific_context/>", InvalidError, "needs preferred_equation"),
        ('<update_scientific_context preferred_equation="a*u"/>', InvalidError, "numbers as coefficients"),
        ('<summarize_pack_evidence reveal_equations="yes"/>', InvalidError, "true or false"),
    ],
)
def test_what_is_no_action(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        actions.read(text)


@pytest.mark.parametrize(
    ("hint", "signs", "equation"),
    [
        ("f(u) = 0.61*u - 1.35*u**3", {U: 1, U3: -1}, {U: 0.61, U3: -1.35}),
        ("**f(u) = 1.2 * sin(u) - 0.5 * u**3**", {U3: -1, SIN: 1}, {SIN: 1.2, U3: -0.5}),
        ("Task 1: 1*u. Task 2: 0.9*u - 0.2*u^2", {U: 1, U2: -1}, {U: 0.9, U2: -0.2}),
        ("f(u) = 0.7*(exp(u)-1) − 2*u³", {U3: -1, EXP: 1}, {EXP: 0.7, U3: -2.0}),
        ("- `u**3` with a negative sign\n- sin(u), positive", {U3: -1, SIN: 0}, {}),
        ("The support is u and u**2.", {U: 0, U2: 0}, {}),
        ("Sample where u is large, at t=0.", {}, {}),
        ("f(u) is not 1*u; it might be 2*u**2", {}, {}),
        ("No sin(u) term. cos(u) fits, u_t = u_xx + f(u)", {}, {}),
        ("Reaction: +u - u**3", {U: 1, U3: -1}, {}),
        ("none", {}, {}),
    ],
)
def test_claims(hint: str, signs: dict[int, int], equation: dict[int, float]) -> None:
    said = claims(hint)
    assert (dict(said.signs), dict(said.equation)) == (signs, equation)


PIECES = (
    *TERMS, "+", "-", "*", "**", "^", "(", ")", "=", "f(u)=", "0.5", "1e9", "1e-9", ".", "c1", " ", "\n", ";", "not",
    "<", ">", "</", "/>", "<point", "<point_grid>", "x=", '"', "'", "&lt;", "&a;", "<![CDATA[", "<!--", "<?", "²", "é",
    "\x00", "\ud800", "update_scientific_context", "run_sparse_regression", "<candidate_equations>", "💥", "9" * 50,
)  # fmt: skip


def test_fuzz() -> None:
    """Any text is read or refused, quickly."""
    rng = Random(7)
    start = time.process_time()
    for _ in range(FUZZED):
        if rng.random() < 0.5:
            text = "".join(rng.choices(PIECES, k=rng.randint(0, 40)))
        else:
            cut = rng.randrange(len(GRID))
            text = GRID[:cut] + rng.choice(PIECES) * rng.choice((1, 1, 3)) + GRID[cut + rng.randrange(3) :]
        equations.read(text)
        equations.read_support(text)
        claims(text)
        with suppress(InvalidError, UnreadableError):
            actions.read(text)
    for text in ("u" * 9000, "1*" * 9000, "(" * 9000, "u**" * 6000, "1*u + " * 3000, " " * 9000 + "u", "-" * 9000):
        equations.read(text)
        claims(text)
    assert time.process_time() - start < 5 + FUZZED * 2e-3
