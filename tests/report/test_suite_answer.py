"""The first sentence of a suite's page is its answer, also where the answer is no."""

from __future__ import annotations

from typing import Any

import pytest

from codctl.report.findings import headline
from tests.results import made


def _part(gain: tuple[float, float], lead: tuple[float, float] | None, strategy: str = "cod", name: str = "a/x") -> Any:
    points = [{"position": i, "mean": mean, "low": 0.0, "high": 1.0} for i, mean in enumerate((0.51, 0.9, 0.96))]
    arms = {"own": {"success": points}, **({"none": {"success": points}} if lead else {})}
    found: dict[str, Any] = {"name": name, "strategy": strategy, "arms": arms}
    found["gain"] = {"own": {"mean": sum(gain) / 2, "low": gain[0], "high": gain[1], "from": 0, "to": 2}}
    if lead:
        found["own_less_none"] = {"mean": sum(lead) / 2, "low": lead[0], "high": lead[1]}
    return found


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            _part((0.3, 0.5), (0.2, 0.4)),
            "It learns within unknown worlds from the hints that it writes itself: "
            "96\xa0% of the third tasks solved, 51\xa0% of the first.",
        ),
        (_part((0.3, 0.5), None), "It learns within unknown worlds: 96\xa0% of the third tasks"),
        (_part((0.3, 0.5), (-0.1, 0.1)), "It improves within unknown worlds, but not because of its hints: 96"),
        (_part((-0.1, 0.1), (0.2, 0.4)), "No measurable learning within unknown worlds: 96"),
        (_part((-0.3, -0.1), (0.2, 0.4)), "It gets worse within unknown worlds: 96"),
        (
            _part((0.3, 0.5), (0.2, 0.4), "ralph_full"),
            "It solves more from attempt to attempt from the hints that it writes itself: "
            "96\xa0% solved in the third attempt, 51\xa0% in the first.",
        ),
        (_part((-0.3, -0.1), (0.2, 0.4), "drift"), "Its own hints still help at the end: 96"),
        (_part((0.3, 0.5), (-0.2, -0.1), "poison"), "Its own hints mislead it at the end: 96"),
        (_part((0.3, 0.5), (-0.2, 0.1), "distractor"), "No measurable help from its own hints: 96"),
        ({**_part((0, 0), None), "gain": {}, "arms": {}}, "Its own hints were not measured."),
    ],
)
def test_one_part(part: Any, said: str) -> None:
    assert headline(made.result(part)).startswith(said)


def test_parts_with_the_same_outcome_share_a_sentence() -> None:
    learns, nothing = ((0.3, 0.5), (0.2, 0.4)), ((-0.1, 0.1), (0.2, 0.4))
    parts = [_part(*learns, name="a/x"), _part(*nothing, name="a/y"), _part(*learns, name="a/z")]
    assert headline(made.result(*parts)) == (
        "It learns within unknown worlds from the hints that it writes itself: a in x, a in z. "
        "No measurable learning within unknown worlds: a in y."
    )
