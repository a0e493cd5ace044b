"""Faults of replies: what a rollout records, and what a reader is told."""

from __future__ import annotations

import asyncio
from dataclasses import astuple, dataclass, replace
from typing import Any

import pytest

from codctl.cli._evaluation_text import suite_text
from codctl.cod.conversation import ByteChat
from codctl.cod.engine import EngineError, Generation, PromptTooLongError, RequestTag, Sampling, Weights
from codctl.cod.rollout import Player, play_all
from codctl.cod.settings import RolloutSettings
from codctl.config.evalspec import EvalSpec
from codctl.envs.registry import get_family
from codctl.errors import BackendError, StageError
from codctl.evaluate.runner import evaluate
from codctl.evaluate.suite import refuse_unplayed
from codctl.outcomes import FAULTS, UNREADABLE, ReplyFault
from codctl.report.findings import headline
from codctl.results import replies
from codctl.runs.eval_result import EvalResult, Quote
from codctl.tracking.contents import points_of
from tests.results import made

CHAT = ByteChat()
HINTS = "--- Start of updated hints --- x --- End of updated hints ---"


@dataclass
class Says:
    """An engine that gives the same reply to every task, and another to every update; or raises it."""

    solve: Generation | EngineError
    update: Generation | EngineError

    def open_session(self) -> None: ...

    def close_session(self) -> None: ...

    async def generate(self, prompt_ids: Any, sampling: Sampling, *, seed: int, tag: RequestTag) -> Generation:
        found = self.solve if tag.kind == "solve" else self.update
        if isinstance(found, EngineError):
            raise found
        return found

    async def update_weights(self, weights: Weights) -> None: ...

    async def aclose(self) -> None: ...


def reply(words: str, *, cut: bool = False, fault: ReplyFault | None = None) -> Generation:
    ids = [*CHAT.encode(words), *(() if cut else CHAT.stop_ids)]
    return Generation(ids, [0.0] * len(ids), "length" if cut else "stop", 0, fault)


WRONG, GOOD_HINTS = reply("<answer>nothing</answer>"), reply(HINTS)


def player(solve: Any, update: Any) -> Player:
    return Player(Says(solve, update), CHAT, RolloutSettings("compact"), seed=0)


@pytest.mark.parametrize(
    ("solve", "update", "outcomes"),
    [
        (WRONG, GOOD_HINTS, ("no_action", "written")),
        (reply("hm"), reply("hm"), ("no_answer", "no_hints")),
        (reply("hm", cut=True), reply("hm", cut=True), ("cut", "cut")),
        (
            replace(WRONG, finish_reason="length"),
            replace(GOOD_HINTS, finish_reason="length"),
            ("no_action", "written"),
        ),
        (reply(" "), reply(""), ("empty", "empty")),
        (reply("", fault=ReplyFault("tool_call")), GOOD_HINTS, ("tool_call", "written")),
        (WRONG, reply("no", fault=ReplyFault("filtered", "hate")), ("no_action", "filtered")),
        (EngineError("gone"), PromptTooLongError("too long"), ("lost", "rejected")),
    ],
)
def test_how_an_episode_ended(solve: Any, update: Any, outcomes: tuple[str, str]) -> None:
    pack = get_family("frozen_lake").pack("test", 0, 2, "tiny")
    (trajectory,) = asyncio.run(play_all(player(solve, update), [pack], 1))
    first, written, _ = trajectory.episodes
    assert (first.outcome, written.outcome) == outcomes
    for episode in (first, written):
        assert bool(episode.failed) == (episode.outcome in ("filtered", "lost", "rejected"))
        assert episode.format_error == (episode.outcome in UNREADABLE)


def played(solve: Any, update: Any = GOOD_HINTS, kind: str = "model", **changes: Any) -> EvalResult:
    """The result of a suite of one part."""
    plain = {"name": "p/x", "preset": "tiny", "rendering": "compact", "length": 2, "packs": 3, "arms": ("own", "none")}
    found = evaluate(player(solve, update), EvalSpec(**{**plain, **changes}), lambda *_: None)
    result = made.result(subject={"kind": kind, "name": "m"})
    return replace(result, replies=replies.total([found.result.replies]), parts=(found.result,))


def test_counts_by_kind_arm_and_position() -> None:
    counts = played(reply("", cut=True), EngineError("gone")).parts[0].replies
    assert (counts.episodes, counts.asked) == (12, 15)
    assert counts.faults == {"cut": 12, "lost": 3}
    assert counts.words == (Quote("lost", "gone", 3),)
    assert [astuple(fault) for fault in counts.by_position] == [
        ("none", 0, "solve", "cut", 3, 3),
        ("none", 1, "solve", "cut", 3, 3),
        ("own", 0, "solve", "cut", 3, 3),
        ("own", 0, "update", "lost", 3, 3),
        ("own", 1, "solve", "cut", 3, 3),
    ]


@pytest.mark.parametrize(
    ("solve", "lines"),
    [
        (WRONG, []),
        (
            reply("", cut=True),
            ["12 of 15 replies were cut at the token limit: raise solve_tokens (512)"],
        ),
        (
            EngineError("gone"),
            ["12 of 12 episodes could not be played and are left out", "12 of 15 replies never came (“gone”)"],
        ),
    ],
)
def test_a_local_model_is_told_of_as_well(solve: Any, lines: list[str]) -> None:
    result = played(solve)
    assert replies.sentences(result.parts[0]) == lines
    assert [line for line in suite_text(result).splitlines() if line.startswith("warning: ")][: len(lines)] == [
        f"warning: {line}" for line in lines
    ]


def test_every_kind_has_a_sentence() -> None:
    for kind in FAULTS:
        error = {"lost": EngineError("{0}"), "rejected": PromptTooLongError("{0}")}.get(kind)
        (line,) = replies.sentences(played(error or reply("", fault=ReplyFault(kind, "{0}"))).parts[0])[-1:]
        assert line.startswith("12 of 15 ")


@pytest.mark.parametrize(
    ("solve", "kind", "error"),
    [
        (WRONG, "endpoint", None),
        (reply("", cut=True), "endpoint", None),
        (reply(""), "model", None),
        (reply(""), "endpoint", BackendError),
        (EngineError("gone"), "endpoint", BackendError),
        (EngineError("gone"), "run", StageError),
    ],
)
def test_nothing_to_score_is_an_error(solve: Any, kind: str, error: type[Exception] | None) -> None:
    result = played(solve, kind=kind)
    if error is None:
        refuse_unplayed(result)
    else:
        with pytest.raises(error, match="nothing could be scored: 12 of 15"):
            refuse_unplayed(result)


@pytest.mark.parametrize(
    ("solve", "kind", "said"),
    [
        (
            WRONG,
            "endpoint",
            "With its own hints it solves 0 of 6 tasks; 6 replies could not be read: all of them named",
        ),
        (reply("", cut=True), "endpoint", "6 replies could not be read: all of them were cut off at 512 tokens."),
        (reply(""), "endpoint", "Nothing could be scored."),
        (EngineError("gone"), "run", "Nothing could be scored."),
    ],
)
def test_the_page_begins_with_it(solve: Any, kind: str, said: str) -> None:
    assert said in headline(played(solve, kind=kind)).replace("\N{NO-BREAK SPACE}", " ")


def test_a_tracker_gets_the_counts() -> None:
    found = {(p.key, p.step): p.value for p in points_of(played(reply("", cut=True)), 0)}
    assert found["replies/cut", 0] == 12
    assert found["own/replies/solve_cut", 1] == 3
