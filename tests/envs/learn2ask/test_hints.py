"""What a hint claims, and how right it is."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codctl.envs.base import Rendering
from codctl.envs.learn2ask.claims import claims
from codctl.envs.learn2ask.points import NAMES
from codctl.envs.learn2ask.text import hint_from
from codctl.envs.learn2ask.world import AskEpisode, AskTask, AskWorld
from codctl.envs.registry import get_family

WORLD = AskWorld(4, 0b1001)  # onset and severity must be known


def named(**facts: bool) -> set[tuple[int, bool]]:
    return {(NAMES.index(name), needed) for name, needed in facts.items()}


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("", {}),
        ("none", {}),
        ("severity=need fever=skip", {"severity": True, "fever": False}),
        ("Severity: need", {"severity": True}),
        ("stop=early severity=need", {"severity": True}),
        ("- Severity must be known before you stop.\n- Fever is not needed.", {"severity": True, "fever": False}),
        ("Always ask about the onset before stopping", {"onset": True}),
        ("Onset, duration and place are required.", {"onset": True, "duration": True, "place": True}),
        ("Required: onset, duration", {"onset": True, "duration": True}),
        ("Severity is required, fever is not.", {"severity": True, "fever": False}),
        ("Severity is required but fever is unnecessary", {"severity": True, "fever": False}),
        ("Skip trigger and medication", {"trigger": False, "medication": False}),
        ("You need not ask about fever", {"fever": False}),
        ("**Place** is essential; do not ask about quality, it is irrelevant", {"place": True, "quality": False}),
        ("Where it is must be known", {"place": True}),
        # what is left open is no claim, and a mention is none
        ("Severity may be needed", {}),
        ("Is severity required?", {}),
        ("Fever was asked about", {}),
        ("I asked about onset, then stopped", {}),
        ("Severity is required, place might be", {"severity": True}),
        # contradictions are two claims
        ("severity=need\nSeverity is not needed", None),
    ],
)
def test_claims(hint: str, expected: dict[str, bool] | None) -> None:
    assert claims(hint) == (named(**expected) if expected is not None else {(3, True), (3, False)})


@settings(max_examples=300, deadline=None)
@given(
    st.text()
    | st.lists(st.sampled_from([*NAMES, "need", "skip", "=", "not", ",", ";", "\n", "required", "if", "but"])).map(
        " ".join
    )
)
def test_no_text_breaks_the_parser(hint: str) -> None:
    assert all(point in range(8) for point, _ in claims(hint))
    score = get_family("learn2ask").score_context(WORLD, hint, ())
    assert score.right + score.missing == 4
    assert score.knowable == score.knowable_right == 0


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.integers(0, 7), st.booleans()), st.sampled_from(["full", "terse", "compact"]))
def test_hints_that_we_write_are_read_back(facts: dict[int, bool], rendering: Rendering) -> None:
    assert claims(hint_from(facts, rendering)) == set(facts.items())


def episode(task: AskTask, action: str) -> AskEpisode:
    begun = AskEpisode(WORLD, task, "compact")
    begun.act(action)
    return begun


NOTHING_KNOWN = AskTask(4, 2, (), 0)
ALL_KNOWN = AskTask(4, 2, ((3, 1), (0, 2)), 1)


@pytest.mark.parametrize(
    ("hint", "played", "expected"),  # expected: right, wrong, missing, knowable, knowable_right
    [
        ("", [], (0, 0, 4, 0, 0)),
        ("", [(NOTHING_KNOWN, "severity")], (0, 0, 4, 1, 0)),
        ("severity=need", [(NOTHING_KNOWN, "severity")], (1, 0, 3, 1, 1)),
        ("onset=need place=need", [(NOTHING_KNOWN, "severity")], (1, 1, 3, 1, 0)),  # right, but not knowable
        ("severity=need severity=skip", [(NOTHING_KNOWN, "severity")], (0, 2, 4, 1, 0)),
        # two of four are needed: if two are not, the other two are
        ("onset=need severity=need", [(ALL_KNOWN, "stop")], (2, 0, 2, 4, 2)),
        # severity is needed; so is one of the other three, but which is not known
        ("severity=need", [(NOTHING_KNOWN, "stop"), (NOTHING_KNOWN, "severity")], (1, 0, 3, 1, 1)),
        # duration is not needed, onset is; then severity: all is known
        ("", [(NOTHING_KNOWN, "duration"), (NOTHING_KNOWN, "severity")], (0, 0, 4, 4, 0)),
        ("", [(NOTHING_KNOWN, "fly")], (0, 0, 4, 0, 0)),
    ],
)
def test_score(hint: str, played: list[tuple[AskTask, str]], expected: tuple[int, ...]) -> None:
    score = get_family("learn2ask").score_context(WORLD, hint, [episode(*one) for one in played])
    assert (score.right, score.wrong, score.missing, score.knowable, score.knowable_right) == expected


@pytest.mark.parametrize("rendering", ["compact", "terse", "full"])
@pytest.mark.parametrize("preset", ["tiny", "easy", "hard"])
def test_the_truth_scores_fully(rendering: Rendering, preset: str) -> None:
    family = get_family("learn2ask")
    for index in range(10):
        world = family.pack("train", index, 1, preset).world
        score = family.score_context(world, family.truth(world, rendering), ())
        assert (score.right, score.wrong, score.missing) == (family.facts(world), 0, 0)
        partial = family.score_context(world, family.partial_truth(world, rendering, Random(index)), ())
        assert partial.wrong == 0


@pytest.mark.parametrize("rendering", ["compact", "terse", "full"])
def test_a_raw_trajectory_claims_nothing_wrong(rendering: Rendering) -> None:
    """The `history` arm gives transcripts as hints."""
    family = get_family("learn2ask")
    for index in range(20):
        slot = family.pack("test", index, 1, "hard").slots[0]
        for action in ("Where is it?", "<stop />", "Do you have a fever?"):
            begun = slot.begin(rendering)
            begun.act(action)
            assert family.score_context(slot.world, begun.transcript(), [begun]).wrong == 0
