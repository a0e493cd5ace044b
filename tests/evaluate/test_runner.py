"""Playing: what strategies do to the references, what a resume plays, and how many trajectories live at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from codctl.cod.agent import Agent, agent_of
from codctl.cod.engine import EngineError, Generation
from codctl.cod.references import reference_player
from codctl.cod.rollout import Player
from codctl.config.evalspec import EvalSpec
from codctl.evaluate import runner
from codctl.evaluate.patience import CircuitBreaker
from codctl.evaluate.runner import blocks, evaluate, play
from codctl.results.journal import MemoryJournal, Unit
from codctl.results.summary import summarise


def spec(**changes: Any) -> EvalSpec:
    plain = {"name": "p/x", "preset": "tiny", "rendering": "compact", "length": 3, "packs": 12, "arms": ("own",)}
    return EvalSpec(**{**plain, **changes})


def quiet(arm: str, done: int, total: int, means: dict[str, float]) -> None: ...


def policy(name: str) -> Player:
    return reference_player(name, "compact", 0)


def bayes(**changes: Any) -> list[float]:
    found = evaluate(policy("bayes"), spec(length=6, packs=60, preset="easy", **changes), quiet).result
    return [point.mean for point in found.success("own")]


def test_drift_is_a_dip_that_recovers() -> None:
    success = bayes(strategy="drift", drift_at=3)
    assert success[2] > 0.95
    assert success[3] < success[2] - 0.2
    assert success[5] > 0.95


def test_lies_cost_and_more_lies_cost_more() -> None:
    control, some, many = bayes(), bayes(strategy="poison", poison=0.25), bayes(strategy="poison", poison=0.5)
    assert sum(control[1:]) > sum(some[1:]) + 0.2
    assert sum(some[1:]) > sum(many[1:]) + 0.2
    assert control[0] == some[0] == many[0]  # nothing was told yet


def test_distractors_cost_a_perfect_memory_nothing() -> None:
    found = evaluate(
        policy("bayes"),
        spec(strategy="distractor", distractor_family="alchemy", distractor_preset="tiny", length=6),
        quiet,
    ).result
    assert found.positions == (0, 2, 4)
    assert [point.mean for point in found.ceiling_curves["bayes"][1:]] == [1.0, 1.0]
    assert found.distractors is not None
    assert found.distractors.positions == (1, 3, 5)


def test_shuffled_hints_are_those_of_another_world() -> None:
    journal = MemoryJournal()
    asked = spec(arms=("own", "shuffled"), packs=6)
    asyncio.run(play(policy("bayes"), asked, journal, quiet))
    for pack in range(6):
        donor, shuffled = (
            journal.get(Unit("p/x", arm, 0, n)) for arm, n in (("own", (pack + 1) % 6), ("shuffled", pack))
        )
        assert donor is not None
        assert shuffled is not None
        assert shuffled.rows[2].hint_right < 4  # the donor's facts are not this world's
        assert donor.rows[2].hint_right >= 2


def test_shuffled_alone_plays_own_without_reporting_it() -> None:
    found = evaluate(policy("bayes"), spec(arms=("shuffled",)), quiet)
    assert list(found.result.arms) == ["shuffled"]
    assert {row.arm for row in found.rows} == {"shuffled"}
    assert {row.arm for row in found.reference_rows} == {"bayes", "informed"}


@pytest.mark.parametrize("stop_after", [1, 17, 40])
def test_a_resume_ends_where_an_uninterrupted_evaluation_does(stop_after: int) -> None:
    asked = spec(arms=("own", "none", "shuffled"), seeds=(0, 5), packs=8)
    whole = MemoryJournal()
    asyncio.run(play(policy("random"), asked, whole, quiet))

    class Killed(Exception):
        pass

    class Mortal(MemoryJournal):
        left = stop_after

        def append(self, record: Any) -> None:
            if not self.left:
                raise Killed
            self.left -= 1
            super().append(record)

    torn = Mortal()
    with pytest.raises(Killed):
        asyncio.run(play(policy("random"), asked, torn, quiet))
    torn.left = 10**9
    asyncio.run(play(policy("random"), asked, torn, quiet))
    assert 10**9 - torn.left == (3 * 2 + 2) * 8 - stop_after  # nothing is played twice
    first, second = summarise(asked, whole), summarise(asked, torn)
    assert first == second


@dataclass
class Flaky(Agent):
    """Fails the first so many requests, then plays."""

    player: Player
    failures: int
    alive: int = 0
    most_alive: int = 0

    def open_session(self) -> None:
        self.alive += 1
        self.most_alive = max(self.most_alive, self.alive)

    def close_session(self) -> None:
        self.alive -= 1

    async def reply(self, *args: Any, **options: Any) -> Generation:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise EngineError("the server is busy")
        return await agent_of(self.player.engine).reply(*args, **options)


def flaky(failures: int) -> tuple[Player, Flaky]:
    player = policy("bayes")
    engine = Flaky(player, failures)
    return replace(player, engine=engine), engine


def test_failed_rows_are_played_again_where_failures_pass() -> None:
    player, _ = flaky(failures=6)
    journal, asked = MemoryJournal(), spec(arms=("own", "shuffled"))
    asyncio.run(play(player, asked, journal, quiet, retries_failed=True))
    failed = [unit for unit in (Unit("p/x", "own", 0, n) for n in range(12)) if journal.get(unit).again]  # type: ignore[union-attr]
    assert failed
    assert summarise(asked, journal).result.failed_episodes > 0
    # What was handed on from a failed trajectory is not to be trusted either.
    assert any(journal.get(Unit("p/x", "shuffled", 0, (n - 1) % 12)).again for _, _, _, n in failed)  # type: ignore[union-attr]


def test_failures_of_a_local_model_are_final() -> None:
    player, _ = flaky(failures=6)
    journal = MemoryJournal()
    asyncio.run(play(player, spec(), journal, quiet))
    assert not any(journal.get(Unit("p/x", "own", 0, n)).again for n in range(12))  # type: ignore[union-attr]


def test_no_more_live_at_once_than_asked() -> None:
    player, engine = flaky(failures=0)
    asyncio.run(play(player, spec(), MemoryJournal(), quiet, at_once=5))
    assert engine.most_alive == 5


def test_packs_come_in_blocks_of_about_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [list(map(len, blocks(n))) for n in (2, 512, 513, 1100)] == [[2], [512], [256, 257], [366, 367, 367]]
    monkeypatch.setattr(runner, "AT_ONCE", 5)
    asked = spec(arms=("own", "shuffled"))
    assert [len(block) for block in blocks(12)] == [4, 4, 4]
    found = evaluate(policy("bayes"), asked, quiet).result
    monkeypatch.undo()
    assert found.arms["own"] == evaluate(policy("bayes"), asked, quiet).result.arms["own"]


class Gone(Exception):
    pass


def test_patience_ends_when_the_check_says_so() -> None:
    async def gone() -> None:
        raise Gone

    player, engine = flaky(failures=10**6)
    patient = replace(player, engine=CircuitBreaker(engine, gone, failures=7))
    journal = MemoryJournal()
    with pytest.raises(Gone):
        asyncio.run(play(patient, spec(), journal, quiet, retries_failed=True))
    assert 10**6 - engine.failures < 50  # not the thousand that all packs would take


def test_patience_goes_on_while_the_check_passes() -> None:
    asked = []

    async def fine() -> None:
        asked.append(1)

    player, _ = flaky(failures=20)
    asyncio.run(
        play(replace(player, engine=CircuitBreaker(agent_of(player.engine), fine, 7)), spec(), MemoryJournal(), quiet)
    )
    assert len(asked) == 2


def test_progress_counts_tasks_and_hides_the_references() -> None:
    told: list[tuple[str, int, int, int]] = []
    asked = spec(length=16, packs=3)
    evaluate(policy("random"), asked, lambda arm, done, total, means: told.append((arm, done, total, len(means))))
    assert [entry[1] for entry in told] == list(range(3 * 3 * 16 + 1))
    assert {entry[2] for entry in told} == {3 * 3 * 16}
    assert list(dict.fromkeys((arm, shown) for arm, _, _, shown in told if arm)) == [
        ("own", 0),
        ("own", 9),  # eight positions, and the share of unreadable replies
        ("bayes", 0),
        ("informed", 0),
    ]


def test_arms_that_need_nothing_of_each_other_are_played_together() -> None:
    begun: list[str] = []
    seen: list[str] = []
    asked = spec(arms=("own", "none", "shuffled", "oracle"), packs=4)
    asyncio.run(
        play(policy("bayes"), asked, MemoryJournal(), lambda arm, *_: seen.append(arm), at_once=12, begin=begun.append)
    )
    assert begun[:2] == ["arms own, none, oracle", "arm shuffled"]
    assert begun[2].startswith("references ")
    played = [arm for arm in seen if arm]
    first = {arm: played.index(arm) for arm in ("own", "none", "oracle", "shuffled")}
    last_of_own = max(i for i, arm in enumerate(played) if arm == "own")
    assert max(first["own"], first["none"], first["oracle"]) < last_of_own < first["shuffled"]


@pytest.mark.parametrize("whole_legs", [False, True])
def test_together_or_in_turn_the_rows_are_the_same(whole_legs: bool) -> None:
    asked, journals = spec(arms=("own", "none", "shuffled", "oracle"), packs=5), [MemoryJournal(), MemoryJournal()]
    for journal, at_once in zip(journals, (1, 7), strict=True):
        asyncio.run(play(policy("bayes"), asked, journal, quiet, at_once=at_once, whole_legs=whole_legs))
    one, other = (summarise(asked, journal) for journal in journals)
    assert one.rows == other.rows
    assert one.result == other.result


@pytest.mark.parametrize("whole_legs", [False, True])
def test_in_several_processes_the_rows_are_the_same_and_all_tasks_are_counted(whole_legs: bool) -> None:
    asked, journals = spec(arms=("own", "none", "shuffled", "oracle"), packs=5), [MemoryJournal(), MemoryJournal()]
    told: list[tuple[int, int]] = []
    for journal, processes in zip(journals, (1, 2), strict=True):
        told.clear()
        report = lambda arm, done, total, means: told.append((done, total))  # noqa: E731
        asyncio.run(play(policy("bayes"), asked, journal, report, processes=processes, whole_legs=whole_legs))
    one, other = (summarise(asked, journal) for journal in journals)
    assert one.rows == other.rows
    assert one.result == other.result
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
