"""Rules and texts of the protocol variant."""

from __future__ import annotations

import pytest

from codctl.cod.prompts import Account, update_messages
from codctl.envs.base import Rendering, Step
from codctl.envs.learn2ask.points import NAMES, POINTS, named
from codctl.envs.learn2ask.scoring import FUSIONS, Fusion, Scores, reward
from codctl.envs.learn2ask.world import AskEpisode, AskTask, AskWorld, read_reply
from codctl.envs.registry import get_family

WORLD = AskWorld(4, 0b1001)  # onset and severity must be known
NOTHING_KNOWN = AskTask(4, 2, (), 0)
PLACE_KNOWN = AskTask(4, 2, ((2, 0),), 0)
ALL_KNOWN = AskTask(4, 2, ((3, 1), (0, 2)), 1)
ONE_OPEN = AskTask(4, 2, ((0, 0), (1, 0), (2, 0)), 0)


def play(task: AskTask, action: str, rendering: Rendering = "compact") -> tuple[AskEpisode, Step]:
    episode = AskEpisode(WORLD, task, rendering)
    return episode, episode.act(action)


@pytest.mark.parametrize(
    ("task", "action", "expected", "seen", "outcome"),
    [
        (NOTHING_KNOWN, "severity", 1.0, "severity=need", "solved"),
        (NOTHING_KNOWN, "duration", 0.75, "duration=skip onset=need", "beside"),  # its partner, onset, is missing
        (NOTHING_KNOWN, "place", 0.75, "place=skip severity=need", "beside"),
        (PLACE_KNOWN, "place", 0.75, "severity=need", "beside"),  # known: whether it is needed stays open
        (NOTHING_KNOWN, "stop", 0.0, "stop=early", "early"),
        (ONE_OPEN, "stop", 0.0, "stop=early severity=need", "early"),  # it can only be this one
        (ALL_KNOWN, "stop", 1.0, "stop=right duration=skip place=skip", "solved"),
        (ALL_KNOWN, "place", 0.0, "stop=late duration=skip place=skip", "late"),
        (AskTask(4, 2, ((3, 0),), 0), "place", 0.5, "place=skip", "beside"),  # severity, its partner, is known
        (AskTask(4, 2, ((2, 0), (3, 0)), 0), "place", 0.5, "none", "beside"),
        (NOTHING_KNOWN, "onset severity", 0.875, "none", "form"),  # two questions: form ½
        (NOTHING_KNOWN, "onset duration place severity", 0.625, "none", "beside"),  # content ¾, form 0
        (ALL_KNOWN, "I am sure. <stop />", 0.75, "stop=right duration=skip place=skip", "form"),
    ],
)
def test_scores(task: AskTask, action: str, expected: float, seen: str, outcome: str) -> None:
    episode, step = play(task, action)
    assert (step.reward, step.done, step.observation, episode.turns) == (expected, True, "", 1)
    assert episode.transcript() == step.feedback == seen
    assert episode.outcome == outcome
    assert episode.outcome in ("solved", *get_family("learn2ask").losses)


@pytest.mark.parametrize(
    ("question", "points", "form"),
    [
        ("How strong is it?", "severity", 1.0),
        ("When did it start, and where is it?", "onset place", 0.5),
        ("Where is it? Is it on the left? On the right?", "place", 0.0),
        ("Do you smoke?", "", 1.0),
        ("severity", "severity", 1.0),
        ("SEVERITY?", "severity", 1.0),
        ("Do you have a fever?", "", 1.0),  # of the larger presets
        ("你疼吗？", "", 1.0),
    ],
)
def test_questions(question: str, points: str, form: float) -> None:
    found = read_reply(question, 4)
    assert found is not None
    assert ([NAMES[point] for point in found.asked], found.form) == (points.split(), form)


def test_every_question_of_ours_names_its_own_point_and_no_answer_another() -> None:
    for number, point in enumerate(POINTS):
        assert list(dict.fromkeys(named(point.question))) == [number]
        assert list(named(point.name)) == [number]
        for answer in point.answers:
            assert set(named(answer)) <= {number}


@pytest.mark.parametrize("action", ["", "fly", "The pain.", "K", "stop it", "stop stop", "stopp", "\x00", "é" * 3000])
def test_unreadable_action_ends_the_episode(action: str) -> None:
    episode, step = play(NOTHING_KNOWN, action)
    assert (step.reward, step.done, episode.unreadable, episode.scores) == (0.0, True, True, None)
    assert step.feedback.startswith("The reply could not be used: ")
    assert len(step.feedback) < 120
    assert episode.transcript() == "none"


def test_acting_after_the_end_is_an_error() -> None:
    episode, _ = play(NOTHING_KNOWN, "place")
    with pytest.raises(ValueError, match="the episode is over"):
        episode.act("place")


@pytest.mark.parametrize(
    ("written", "read"),
    [("**<stop/>**", "<stop />"), ("<STOP>", "<stop />"), ("stop.", "stop"), ("Where is it?", "Where is it?")],
)
def test_the_tag_is_read_in_other_spellings(written: str, read: str) -> None:
    assert get_family("learn2ask").answered(AskEpisode(WORLD, ALL_KNOWN, "full"), written) == read


@pytest.mark.parametrize(
    ("fusion", "right", "half", "aside", "wrong"),
    [
        ("Ra+Rs", 1.0, 0.625, 0.5, 0.0),
        ("sum", 1.0, 2 / 3, 2 / 3, 0.0),
        ("Ra", 1.0, 0.5, 1 / 3, 0.0),
        ("Rs", 1.0, 0.875, 1.0, 0.0),
    ],
)
def test_fusions(fusion: Fusion, right: float, half: float, aside: float, wrong: float) -> None:
    given = [Scores(1, 1, 1), Scores(1, 0.5, 0.5), Scores(1, 0, 1), Scores(0, 0, 0)]
    assert [reward(scores, fusion) for scores in given] == pytest.approx([right, half, aside, wrong])
    assert fusion in FUSIONS


FULL = """The interview so far:
Patient: I have a headache.
Doctor: Where exactly is it?
Patient: It is on the left side.

Known: place. Open: onset, duration, severity."""


@pytest.mark.parametrize(
    ("task", "action", "feedback"),
    [
        (
            PLACE_KNOWN,
            "How bad is it?",
            "You asked about severity, which must be known and was open. Content 1 of 1, form 1 of 1.",
        ),
        (
            PLACE_KNOWN,
            "How long is it there?",
            "You asked about duration, which is not needed. Its partner onset must be known and was open. "
            "Content 0.5 of 1, form 1 of 1.",
        ),
        (
            PLACE_KNOWN,
            "<stop />",
            "You ended the interview too early: of what was open (onset, duration and severity), at least one point "
            "must be known. The decision was wrong, so content and form count nothing.",
        ),
        (
            ALL_KNOWN,
            "<stop /> Goodbye.",
            "You ended the interview at the right time: everything that must be known was known. Neither duration nor "
            "place is needed. Content 1 of 1, form 0 of 1 (only the tag was wanted).",
        ),
        (
            ALL_KNOWN,
            "Where is it?",
            "You should have ended the interview: everything that must be known was known. Neither duration nor place "
            "is needed. The decision was wrong, so content and form count nothing.",
        ),
        (
            PLACE_KNOWN,
            "Do you smoke?",
            "You asked about none of the points. Content 0 of 1, form 1 of 1.",
        ),
    ],
)
def test_full_feedback(task: AskTask, action: str, feedback: str) -> None:
    assert play(task, action, "full")[1].feedback == feedback


def test_full_rendering() -> None:
    episode, _ = play(PLACE_KNOWN, "How bad\nis it?", "full")
    assert episode.observation == FULL
    assert episode.transcript() == f"{FULL}\nYou asked: How bad is it?"
    terse, _ = play(PLACE_KNOWN, "<stop />", "terse")
    assert terse.transcript() == (
        'The patient says: "I have a headache. It is on the left side." Known: place. Open: onset, duration, severity. '
        "You ended the interview."
    )


def test_compact_rendering_is_short() -> None:
    assert AskEpisode(WORLD, PLACE_KNOWN, "compact").observation == "known place open onset duration severity"
    family = get_family("learn2ask")
    assert family.solve_prompt("", "compact", "tiny") == "ask hints none"
    for index in range(30):
        slot = family.pack("train", index, 1, "hard").slots[0]
        episode = slot.begin("compact")
        episode.act("place")
        prompt = family.solve_prompt(family.truth(slot.world, "compact"), "compact", "hard")
        assert len(f"{prompt} {episode.observation}".split()) <= 2 + 8 + 2 + 9
        update = update_messages(family.truth(slot.world, "compact"), Account(episode), "compact")
        assert len(" ".join(message["content"] for message in update).split()) <= 25


def test_hints_with_braces_are_kept_as_they_are() -> None:
    for rendering in ("full", "terse", "compact"):
        assert "{Count} {0} %s" in get_family("learn2ask").solve_prompt("{Count} {0} %s", rendering, "easy")  # type: ignore[arg-type]


def test_the_prompt_says_what_the_scores_are() -> None:
    prompt = get_family("learn2ask").solve_prompt("", "full", "hard")
    assert "A question gets 1 if" in prompt
    assert "would be right gets 0.75. Every other question gets 0.5" in prompt
    assert "Two questions at once cost 0.125 and more of them 0.25" in prompt
    assert "Four of them must be known" in prompt
    assert "fever and medication" in prompt
