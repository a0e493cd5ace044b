"""Pack strategies: what is repeated, what changes when, and what an update is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

import pytest

from codctl.cod.conversation import ByteChat
from codctl.cod.rollout import Player, play_all
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.cod.strategies import (
    Cod,
    Distractor,
    Drift,
    Poison,
    RalphFull,
    RalphSample,
    Regular,
    Strategy,
    draw_pack,
    stored_strategy,
    strategy_of,
)
from codctl.cod.trajectory import Trajectory
from codctl.config.evalspec import EvalSpec
from codctl.config.registries import STRATEGIES
from codctl.envs.base import Pack, Rendering
from codctl.envs.registry import get_family
from codctl.errors import UsageError

LAKE = get_family("frozen_lake")
CHAT = ByteChat()


def draw(strategy: Strategy, index: int = 0, length: int = 6, preset: str = "easy") -> Pack:
    return draw_pack(LAKE, strategy, "test", index, length, preset)


def play(policy: str, packs: list[Pack], rendering: Rendering = "compact") -> list[Trajectory]:
    settings = RolloutSettings(rendering, solve_tokens=10**6, update_tokens=10**6)
    return asyncio.run(play_all(Player(ScriptedAgent(EachFamily(policy), CHAT), CHAT, settings, 0), packs, 1))


def success(trajectories: list[Trajectory], position: int) -> float:
    return sum(t.of("solve")[position].raw_reward for t in trajectories) / len(trajectories)


def test_without_a_position_drift_is_in_the_middle() -> None:
    assert draw(Drift()) == draw(Drift(3))


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_every_strategy_gives_the_same_pack_again_with_an_id_of_its_own(name) -> None:
    strategy = strategy_of(
        EvalSpec(strategy=name, drift_at=3, poison=0.5, distractor_family="frozen_lake", distractor_preset="hard")
    )
    pack, again = draw(strategy, 5), draw(strategy, 5)
    assert pack == again
    assert len(pack) == 6
    assert (pack.id == draw(Cod(), 5).id) == (name == "cod")


def test_ralph_full_gives_every_task_its_turn_and_ralph_sample_the_first_ones() -> None:
    regular = [draw(Cod(), index, length=3) for index in range(2)]
    full = [draw(RalphFull(), index, length=3) for index in range(6)]
    assert [set(pack.tasks) for pack in full] == [{task} for pack in regular for task in pack.tasks]
    assert len({pack.id for pack in full}) == 6
    sample = [draw(RalphSample(), index, length=3) for index in range(2)]
    assert [pack.tasks for pack in sample] == [(pack.tasks[0],) * 3 for pack in regular]


def test_drift_changes_the_facts_once_and_the_tasks_never() -> None:
    regular, drift = draw(Cod()), draw(Drift(4))
    assert drift.tasks == regular.tasks
    worlds = [slot.world for slot in drift.slots]
    assert worlds[:4] == [regular.world] * 4
    assert worlds[4] == worlds[5] != regular.world


@pytest.mark.parametrize("at", [0, 6])
def test_drift_outside_the_pack_is_refused(at: int) -> None:
    with pytest.raises(UsageError, match=r"drift_at must be between 1 and 5 for packs of 6, got") as caught:
        draw(Drift(at))
    assert caught.value.hint == "drift_at=3"


def test_a_distractor_takes_every_other_position() -> None:
    pack = draw(Distractor(LAKE, "hard"))
    assert [slot.distractor for slot in pack.slots] == [False, True] * 3
    assert [slot.preset for slot in pack.slots] == ["easy", "hard"] * 3
    with pytest.raises(UsageError, match="needs the family of the distractors"):
        draw(Distractor())


def test_poison_lies_as_often_as_asked_and_more_poison_keeps_the_lies_of_less() -> None:
    def lies(p: float) -> set[tuple[int, int]]:
        packs = [draw(Poison(p), index) for index in range(100)]
        return {(i, s) for i, pack in enumerate(packs) for s, slot in enumerate(pack.slots) if slot.reported_world}

    assert len(lies(0.0)) == 0
    assert len(lies(1.0)) == 600
    assert 120 < len(lies(0.25)) < 180
    assert lies(0.25) < lies(0.5)


def test_a_lie_is_told_to_the_update_and_not_in_the_episode() -> None:
    [played] = play("demonstrator", [draw(Poison(1.0), preset="tiny")], "full")
    [slot, *_] = draw(Poison(1.0), preset="tiny").slots
    solve, update = played.episodes[:2]
    lie = slot.family.begin(slot.reported_world, slot.task, "full")
    observations = [lie.observation, *(lie.act(action).observation for action in solve.actions if not lie.done)]
    for seen in filter(None, observations):
        assert seen in update.observations[0]
    assert solve.observations[-1] not in update.observations[0]
    # Nor does it read its own reasoning, which may give the truth away.
    assert solve.replies[0] not in update.observations[0]
    assert f"<answer>{solve.actions[0]}</answer>" in update.observations[0]
    [honest] = play("demonstrator", [draw(Cod(), preset="tiny")], "full")
    solve, update = honest.episodes[:2]
    assert all(text in update.observations[0] for text in (*solve.observations, *solve.replies))


def test_what_the_strategies_do_to_the_bayes_agent() -> None:
    packs = 60
    drift = play("bayes", [draw(Drift(3), i) for i in range(packs)])
    assert success(drift, 2) > 0.95
    assert success(drift, 3) < 0.75  # what it knew is wrong now
    assert success(drift, 5) > 0.85  # newer accounts count
    honest = play("bayes", [draw(Poison(0.0), i) for i in range(packs)])
    lied_to = play("bayes", [draw(Poison(0.5), i) for i in range(packs)])
    assert success(lied_to, 5) < success(honest, 5) - 0.1


def test_hints_are_scored_against_the_facts_that_hold_and_a_distractor_does_not_blur_them() -> None:
    [drift] = play("informed", [draw(Drift(3))])
    solves = drift.of("solve")
    assert [e.hint_score.right for e in solves[1:3]] == [4, 4]
    assert solves[3].hint_score.wrong > 0  # the old truth, in the changed world
    assert solves[3].hint_score.knowable == 0  # nothing of it has been seen yet
    [mixed] = play("bayes", [draw(Distractor(LAKE, "hard"))])
    knowable = [e.hint_score.knowable for e in mixed.of("solve")]
    assert knowable[1] == knowable[2] > 0  # the distractor between them taught nothing about the pack's own world


def test_redraw_keeps_the_surface_and_changes_the_facts() -> None:
    for index in range(30):
        world = LAKE.pack("test", index, 1, "tiny").world
        other = LAKE.redraw(world, Random(index))
        assert other != world
        assert sorted(other.mapping) == [0, 1, 2, 3]


class Backwards(Strategy):
    title = "the tasks of a regular pack, the last one first"

    def __init__(self, skip: int = 0) -> None:
        self.skip = skip

    def pack(self, regular: Regular, index: int, length: int) -> Pack:
        pack = regular(index)
        return replace(pack, slots=pack.slots[::-1], strategy=f"backwards{self.skip}")


def test_a_strategy_of_ones_own_has_options_and_is_known_by_its_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{__name__}:Backwards"
    monkeypatch.setenv("CODCTL_TRUSTED", name)
    spec = EvalSpec(strategy=name, strategy_options={"skip": 2})
    pack = draw(strategy_of(spec))
    assert pack.tasks == draw(Cod()).tasks[::-1]
    assert pack.id.endswith("/backwards2")
    assert spec.identity()["strategy_options"] == {"skip": 2}
    assert "strategy_options" not in EvalSpec().identity()
    with pytest.raises(UsageError, match="unexpected keyword argument 'jump'"):
        strategy_of(EvalSpec(strategy=name, strategy_options={"jump": 2}))
    assert stored_strategy("gone.away:Strategy").kind == "plain"
