"""The page of a suite: every part with its curves, and nothing in it that a model wrote can act."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from codctl.cod.references import reference_player
from codctl.config.evalspec import EvalSpec
from codctl.evaluate.runner import evaluate
from codctl.report.curves import of_part
from codctl.report.suite_page import render
from codctl.runs.eval_result import EvalResult, Move, Quote, Replies, ToldEpisode, Walkthrough
from tests.results import made

HOSTILE = '<script>alert("x")</script>'
STRATEGIES = {
    "drift": {"strategy": "drift", "drift_at": 2},
    "distractor": {"strategy": "distractor", "distractor_family": "alchemy", "distractor_preset": "tiny"},
    "ralph": {"strategy": "ralph_full"},
    "long": {"strategy": "long", "length": 10},
}


@pytest.fixture(scope="module")
def result() -> EvalResult:
    parts = []
    for name, changes in STRATEGIES.items():
        plain = {"name": f"{name}/frozen_lake-tiny", "preset": "tiny", "rendering": "compact", "length": 4, "packs": 6}
        spec = EvalSpec(**{**plain, "arms": ("own", "none"), **changes})
        found = evaluate(reference_player("random", "compact", 0), spec, lambda *_: None)
        parts.append(found.result)
    head = made.result(
        suite="mine",
        description=HOSTILE,
        subject={"kind": "endpoint", "name": HOSTILE, "endpoint": "loopback"},
        command=["codctl", "eval", "a b"],
        machine={"cpu": HOSTILE, "cores": 2, "memory_gb": 8.0, "system": "Linux", "python": "3.11"},
        seconds=61.0,
        attempts=2,
        usage={"requests": 7},
        failed_episodes=3,
        to_play_again=1,
    )
    return replace(head, parts=tuple(parts))


TOLD = Walkthrough(
    "frozen_lake/tiny/test/0",
    "up K",
    (
        ToldEpisode(
            position=0,
            task=HOSTILE,
            moves=(Move(HOSTILE, HOSTILE),),
            success=False,
            outcome="turns",
            feedback=HOSTILE,
            hint_before="",
            hint_after=HOSTILE,
        ),
    ),
)


def test_replies_that_could_not_be_used_are_told_first(result: EvalResult) -> None:
    counts = Replies(24, 44, {"lost": 3}, (Quote("lost", HOSTILE, 3),))
    bad = replace(result.parts[0], failed_episodes=3, replies=counts)
    page = render(replace(result, parts=(bad, *result.parts[1:])), {})
    notice = page[page.index('class="notice"') : page.index('class="contents"')]
    assert (
        "3 of 24 episodes could not be played and are left out; 3 of 44 replies never came (“&lt;script&gt;" in notice
    )
    assert "codctl eval &#39;a b&#39;" in notice
    assert HOSTILE not in page


def test_every_part_is_there_with_what_is_special_about_it(result: EvalResult) -> None:
    page = render(result, {})
    for part in result.parts:
        assert part.name.replace("/", ": ") in page
    assert page.count("the facts have changed") == 6  # three charts, wide and narrow
    assert "Solved by attempt k" in page
    assert "The distractor tasks in between (alchemy tiny)" in page
    assert "codctl eval &#39;a b&#39;" in page
    assert "could not be played" not in page
    assert "1 min 01 s, 2 attempts" in page
    assert "requests 7" in page


def test_what_was_written_by_others_is_only_shown(result: EvalResult) -> None:
    page = render(result, {result.parts[0].name: TOLD})
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6
    assert "://" not in page


def test_ids_are_unique_and_links_lead_somewhere(result: EvalResult) -> None:
    page = render(result, {})
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_curves_stand_at_their_places(result: EvalResult) -> None:
    by_name = {part.strategy: {c.key.split("-")[1]: c for c in of_part("p", part)} for part in result.parts}
    home, distractors = by_name["distractor"]["success"], by_name["distractor"]["distractors"]
    assert {point.x for series in home.series for point in series.points} == {1, 3}
    assert {point.x for series in distractors.series for point in series.points} == {2, 4}
    assert by_name["drift"]["success"].beyond == 2.5
    ralph = by_name["ralph_full"]["success"]
    assert [point.x for point in ralph.series[-1].points] == [1, 2, 3, 4]
    assert [series.name for series in ralph.series] == ["informed", "bayes", "no hints", "own hints"]
    assert [series.name for series in by_name["long"]["hints"].series] == ["own hints"]
    solved = by_name["ralph_full"]["solved"].series[-1].points
    assert [p.y for p in solved] == sorted(p.y for p in solved)


def test_the_legend_names_every_outcome_once(result: EvalResult) -> None:
    part = result.parts[0]
    _, _, after = render(replace(result, parts=(part,)), {}).partition("<summary>How the episodes ended</summary>")
    tables, _, rest = after.partition("<dl")
    columns = re.findall(r'<th scope="col">([a-z ]+)</th>', tables)
    named = re.findall(r"<dt><code>([a-z ]+)</code></dt><dd>.+?</dd>", rest.partition("</dl>")[0])
    assert len(named) == len(set(named))
    assert set(named) == {one for one in columns if not one.endswith(" episodes")}
    assert "written" in named
