"""The interleaved rollout with scripted engines: order, seeds, faults, and what happens to unreadable updates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from codctl.cod.agent import Agent
from codctl.cod.context import START
from codctl.cod.conversation import ByteChat
from codctl.cod.credit import credit_pack
from codctl.cod.engine import EngineError, Generation, RequestTag, Sampling
from codctl.cod.prompts import update_reply
from codctl.cod.rollout import Player, play_all
from codctl.cod.scripted import FAULTS, Fault, ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.cod.trajectory import Trajectory
from codctl.config.schema import CreditConfig
from codctl.envs.base import Pack, PolicyView
from codctl.envs.registry import get_family
from tests.example_world.dial import Dial

FAMILY = get_family("frozen_lake")
CHAT = ByteChat()
SETTINGS = RolloutSettings("compact", deadline_s=30)


def packs(count: int, length: int = 3) -> list[Pack]:
    return [FAMILY.pack("train", index, length, "tiny") for index in range(count)]


def player(engine: Agent, *, seed: int = 0, settings: RolloutSettings = SETTINGS) -> Player:
    return Player(engine, CHAT, settings, seed)


def scripted(policy: str = "random", fault: Fault | None = None, rate: float = 0.0) -> ScriptedAgent:
    return ScriptedAgent(FAMILY.policy(policy), CHAT, fault=fault, fault_rate=rate)


class Told(Agent):
    """An agent that says what a function of (kind, position, turn in all) says, and remembers who asked."""

    def __init__(self, reply: Callable[[PolicyView, RequestTag], str]) -> None:
        self._reply = reply
        self.asked: list[tuple[str, int]] = []
        self.prompts: list[str] = []
        self.seats = 0

    def open_session(self) -> None:
        self.seats += 1

    def close_session(self) -> None:
        self.seats -= 1

    async def reply(
        self, view: PolicyView, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        await asyncio.sleep(0)
        self.asked.append((tag.kind, tag.position))
        self.prompts.append(CHAT.decode(prompt_ids))
        ids = [*CHAT.encode(self._reply(view, tag)), 256]
        return Generation(ids, [-1.0] * len(ids), "stop", 7)


def informed(view: PolicyView, tag: RequestTag) -> str:
    from random import Random

    policy = FAMILY.policy("informed")
    if tag.kind == "solve":
        return policy.solve(view, Random(0))
    return update_reply(f"hint {view.position}", "compact")


def play(engine: Agent, drawn: Sequence[Pack], rollouts: int = 1, **options: object) -> list[Trajectory]:
    return asyncio.run(play_all(player(engine, **options), drawn, rollouts))  # type: ignore[arg-type]


def test_what_was_read_from_each_reply_is_kept() -> None:
    def says(view: PolicyView, tag: RequestTag) -> str:
        return informed(view, tag) if view.position == 0 else "I go up."

    [trajectory] = play(Told(says), packs(1, length=2))
    first, update, second = trajectory.episodes
    assert [f"<answer> {action} </answer>" for action in first.actions] == list(first.replies)
    assert update.actions == ()
    assert (second.replies, second.actions) == (("I go up.",), ())


@pytest.mark.parametrize("length", [1, 2, 4])
def test_solve_and_update_alternate_and_no_update_follows_the_last_task(length: int) -> None:
    engine = Told(informed)
    [trajectory] = play(engine, packs(1, length))
    expected = [(kind, s) for s in range(length) for kind in ("solve", "update")][:-1]
    assert [(e.kind, e.position) for e in trajectory.episodes] == expected
    assert [revision.number for revision in trajectory.revisions] == list(range(length))
    assert list(dict.fromkeys(engine.asked)) == expected
    assert engine.seats == 0


def test_each_task_is_solved_with_the_hints_written_before_it() -> None:
    engine = Told(informed)
    [trajectory] = play(engine, packs(1, 3))
    assert [e.hints for e in trajectory.of("solve")] == ["", "hint 0", "hint 1"]
    assert [e.hints for e in trajectory.of("update")] == ["hint 0", "hint 1"]
    firsts = [engine.prompts[engine.asked.index(("solve", s))] for s in range(3)]
    assert [
        text.startswith(f"lake hints {hint}") for text, hint in zip(firsts, ["none", "hint 0", "hint 1"], strict=True)
    ]
    updates = [prompt for (kind, _), prompt in zip(engine.asked, engine.prompts, strict=True) if kind == "update"]
    assert "hints none seen" in updates[0]
    assert "hints hint 0 seen" in updates[1]


def test_records_hold_what_was_sampled() -> None:
    for trajectory in play(Told(informed), packs(3)):
        for e in trajectory.episodes:
            assert len(e.ids) == len(e.loss_mask) == len(e.logprobs)
            assert sum(e.loss_mask) == sum(len(reply.encode()) + 1 for reply in e.replies)
            assert [p for p, m in zip(e.logprobs, e.loss_mask, strict=True) if m] == [-1.0] * sum(e.loss_mask)
            assert not any(p for p, m in zip(e.logprobs, e.loss_mask, strict=True) if not m)
            assert e.turn_ends[-1] == len(e.ids)
            assert e.weight_version == 7
            assert len(e.turn_ends) == e.turns == len(e.replies) == len(e.observations)


def test_shaped_reward_is_the_raw_one_less_the_turn_penalty() -> None:
    drawn = packs(40)
    rewards = set()
    for pack, trajectory in zip(drawn, play(scripted("bayes"), drawn), strict=True):
        for e, task in zip(trajectory.of("solve"), pack.tasks, strict=True):
            rewards.add(e.raw_reward)
            penalty = 0.1 * e.turns / task.max_turns  # type: ignore[attr-defined]
            assert e.shaped_reward == pytest.approx(1 - penalty if e.raw_reward else 0)
    assert rewards == {0.0, 1.0}


def test_trajectories_come_back_in_the_order_of_packs_and_rollouts() -> None:
    found = play(scripted(), packs(3), 2)
    assert [(t.pack, t.rollout) for t in found] == [(p.id, r) for p in packs(3) for r in range(2)]


def test_a_trajectory_does_not_depend_on_what_else_is_played() -> None:
    everything = play(scripted(), packs(5), 3)
    assert play(scripted(), packs(5)[2:3], 3) == everything[6:9]
    assert play(scripted(), packs(5), 3) == everything
    assert play(scripted(), packs(5), 3, seed=1) != everything
    assert len({t.episodes for t in map(without_tokens, everything[:3])}) == 3  # rollouts differ


def without_tokens(trajectory: Trajectory) -> Trajectory:
    """Replies only, as something that can be put in a set."""
    return Trajectory(trajectory.pack, 0, tuple(e.replies for e in trajectory.episodes))  # type: ignore[arg-type,misc]


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_goes_on_after_any_fault(fault: Fault) -> None:
    settings = RolloutSettings("compact", deadline_s=0.05 if fault == "hang" else 30)
    found = play(scripted("informed", fault, 0.3), packs(4), 2, settings=settings)
    assert [len(t.episodes) for t in found] == [5] * 8
    episodes = [e for t in found for e in t.episodes]
    failed = [e for e in episodes if e.failed]
    unreadable = [e for e in episodes if e.format_error]
    assert any(not e.failed and not e.format_error for e in episodes)
    if fault in ("error", "hang"):
        assert failed
        assert not unreadable
        assert {e.raw_reward for e in failed} == {0.0}
    else:
        assert unreadable
        assert not failed
        kinds = {"no_hints": {"update"}, "truncated": {"solve", "update"}}.get(fault, {"solve"})
        assert {e.kind for e in unreadable} == kinds
        for e in unreadable:
            assert e.shaped_reward == (0.0 if e.kind == "solve" else -0.1)
            assert e.feedback


@pytest.mark.parametrize("fault", ["error", "hang"])
def test_failed_episodes_weigh_nothing(fault: Fault) -> None:
    settings = RolloutSettings("compact", deadline_s=0.05 if fault == "hang" else 30)
    group = play(scripted("random", fault, 0.2), packs(1, 4), 8, settings=settings)
    credit = credit_pack(group, CreditConfig())
    rows = credit.of(group, learned=0)
    episodes = [e for t in group for e in t.episodes]
    assert any(e.failed for e in episodes)
    assert all(row.advantage == 0.0 for row, e in zip(rows, episodes, strict=True) if e.failed)
    assert all(row.return_ != row.return_ for row, e in zip(rows, episodes, strict=True) if e.failed)  # NaN


def test_a_reply_that_never_comes_meets_the_deadline() -> None:
    settings = RolloutSettings("compact", deadline_s=0.05)
    [trajectory] = play(scripted("informed", "hang", 1.0), packs(1, 2), settings=settings)
    solve, update, _ = trajectory.episodes
    assert solve.failed == "no reply within 0.05 s for frozen_lake/tiny/train/0/0/solve/0/0"
    assert update.failed == "no reply within 0.05 s for frozen_lake/tiny/train/0/0/update/0/0"
    assert (solve.ids, sum(solve.loss_mask), solve.replies) == (solve.ids, 0, ())


def test_an_engine_error_neither_wipes_the_hints_nor_counts_as_a_format_error() -> None:
    settings = RolloutSettings("compact", on_parse_failure="wipe")

    class Breaks(Told):
        async def reply(
            self, view: PolicyView, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
        ) -> Generation:
            if (tag.kind, view.position) == ("update", 1):
                raise EngineError("the server went away")
            return await super().reply(view, prompt_ids, sampling, seed=seed, tag=tag)

    engine = Breaks(informed)
    [trajectory] = play(engine, packs(1, 4), settings=settings)
    assert [e.hints for e in trajectory.of("solve")] == ["", "hint 0", "hint 0", "hint 2"]
    broken = trajectory.of("update")[1]
    assert (broken.failed, broken.format_error, broken.raw_reward) == ("the server went away", False, 0.0)
    assert engine.seats == 0


@pytest.mark.parametrize(
    ("on_failure", "hints"), [("keep", ["", "hint 0", "hint 0", "hint 2"]), ("wipe", ["", "hint 0", "", "hint 2"])]
)
def test_an_unreadable_update_keeps_or_wipes_the_hints(on_failure: str, hints: list[str]) -> None:
    def careless(view: PolicyView, tag: RequestTag) -> str:
        return f"{START} oops" if (tag.kind, view.position) == ("update", 1) else informed(view, tag)

    settings = RolloutSettings("compact", on_parse_failure=on_failure)  # type: ignore[arg-type]
    [trajectory] = play(Told(careless), packs(1, 4), settings=settings)
    assert [e.hints for e in trajectory.of("solve")] == hints
    update = trajectory.of("update")[1]
    assert (update.hints, update.format_error, update.raw_reward) == (hints[2], True, -0.1)
    assert update.feedback == "expected each hint marker once, found 1 and 0"
    assert [r.parsed for r in trajectory.revisions] == [True, True, False, True]
    assert [r.text for r in trajectory.revisions] == hints


@pytest.mark.parametrize(("on_failure", "kept"), [("keep", "b=2 c=3"), ("wipe", "")])
def test_edits_are_applied_to_the_hints_in_force(on_failure: str, kept: str) -> None:
    said = ["a=1 b=2", "-1 c=3", "2 b=4 9 d=5", "same"]

    def edits(view: PolicyView, tag: RequestTag) -> str:
        return informed(view, tag) if tag.kind == "solve" else update_reply(said[view.position], "compact")

    engine = Told(edits)
    settings = RolloutSettings("compact", update="delta", on_parse_failure=on_failure)  # type: ignore[arg-type]
    [trajectory] = play(engine, packs(1, 5), settings=settings)
    assert [e.hints for e in trajectory.of("solve")] == ["", "a=1 b=2", "b=2 c=3", kept, kept]
    updates = trajectory.of("update")
    assert [e.outcome for e in updates] == ["written", "written", "unknown_hint", "unchanged"]
    assert [e.raw_reward for e in updates] == [0, 0, -0.1, 0]
    asked = [prompt for prompt, (kind, _) in zip(engine.prompts, engine.asked, strict=True) if kind == "update"]
    assert "hints none seen" in asked[0]
    assert "hints 1 a=1 2 b=2 seen" in asked[1]


def test_a_reply_cut_off_by_its_budget_is_unreadable() -> None:
    settings = RolloutSettings("compact", solve_tokens=5, update_tokens=5)
    [trajectory] = play(scripted("informed"), packs(1, 2), settings=settings)
    assert all(e.format_error for e in trajectory.episodes)
    assert [sum(e.loss_mask) for e in trajectory.episodes] == [5, 5, 5]


@pytest.mark.parametrize(
    ("own", "settings", "price"),
    [
        (0.1, {}, 0.1),
        (0.1, {"turn_penalty": 0.5}, 0.5),
        (0.0, {"turn_penalty": 0.5}, 0.0),
        (0.0, {"turn_penalty": 0.5, "turn_penalties": {"frozen_lake": 0.2}}, 0.2),
        (0.1, {"turn_penalties": {"alchemy": 0.2}}, 0.1),
    ],
)
def test_what_turns_cost(monkeypatch: pytest.MonkeyPatch, own: float, settings: dict[str, Any], price: float) -> None:
    monkeypatch.setattr(type(FAMILY), "turn_penalty", own)
    [pack] = packs(1)
    [played] = play(scripted("informed"), [pack], settings=replace(SETTINGS, **settings))
    for e, task in zip(played.of("solve"), pack.tasks, strict=True):
        assert e.shaped_reward == pytest.approx(1 - price * e.turns / task.max_turns)


def test_a_reward_below_zero_is_neither_shaped_nor_lost() -> None:
    [trajectory] = play(Told(lambda view, tag: "no answer"), [Dial().pack("test", 0, 2, "tiny")])
    assert {(e.raw_reward, e.shaped_reward, e.is_solved) for e in trajectory.of("solve")} == {(-0.1, -0.1, False)}
