"""One format for all quantities: nothing that is not zero is written as zero."""

from __future__ import annotations

import math

import pytest

from codctl import quantities
from codctl.quantities import difference, number, percent, share, signed_points
from codctl.runs.eval_result import Estimate


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.000667, "0.000667"),
        (0.0008, "0.0008"),
        (41325.0, "41325"),
        (41325.4, "41325"),
        (376.0, "376"),
        (0.0, "0"),
        (-0.0, "0"),
        (5.2749, "5.27"),
        (123.45, "123"),
        (2.0e-5, "2e-5"),
        (1.2345e-17, "1.23e-17"),
        (3.5e18, "3.5e18"),
        (-0.25, "-0.25"),
        (math.nan, "–"),
        (math.inf, "inf"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (1.0, "1.00"), (0.004, "0.004"), (0.9967, "0.997"), (0.45678, "0.46"), (0.9999, "0.9999"),
     (1 - 1e-12, "1.00"), (0.005, "0.01"), (math.nan, "–")],
)  # fmt: skip
def test_shares(value: float, text: str) -> None:
    assert share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (0.457, "+0.46"), (-0.2, "-0.20"), (-0.001, "-0.001"), (0.004, "+0.004"), (1.0, "+1.00")],
)
def test_differences(value: float, text: str) -> None:
    assert difference(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "100"), (0.002, "0.2"), (0.996, "99.6"), (0.45678, "46"), (-0.1, "−10")],
)
def test_percentages(value: float, text: str) -> None:
    assert percent(value) == f"{text}\N{NO-BREAK SPACE}%"


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (0.46, "+46"), (-0.46, "−46"), (0.001, "+0.1"), (1.0, "+100")])
def test_percentage_points(value: float, text: str) -> None:
    assert signed_points(value) == text


def test_an_estimate_and_a_position() -> None:
    assert quantities.with_interval(Estimate(1.0, 0.51, 1.0)) == "1.00 [0.51\xa01.00]"
    assert quantities.with_interval(Estimate(0.1, -0.2, 0.4), difference) == "+0.10 [-0.20\xa0+0.40]"
    assert quantities.position(0) == 1


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(1, "reply", "1 reply"), (2, "reply", "2 replies"), (0, "trial", "0 trials"), (3, "process", "3 processes"),
     (1204, "day", "1,204 days"), (2, "GPU", "2 GPUs"), (2, "match", "2 matches")],
)  # fmt: skip
def test_counted(count: int, noun: str, text: str) -> None:
    assert quantities.counted(count, noun) == text
