"""The oracles: exact values against brute force, curves, and what they do when accounts contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations_with_replacement, pairwise, permutations, product
from math import sqrt
from random import Random

import pytest

from codctl.cod.prompts import parse_answer
from codctl.cod.strategies import Drift, draw_pack, strategy_of
from codctl.config.evalspec import EvalSpec
from codctl.envs.alchemy.knowledge import Outcomes, believed
from codctl.envs.alchemy.presets import PRESETS
from codctl.envs.alchemy.search import Search
from codctl.envs.alchemy.world import AlchemyEpisode, AlchemyTask, AlchemyWorld, Pair
from codctl.envs.base import HintScore, Pack, Policy, PolicyView
from codctl.envs.registry import get_family

ALCHEMY = get_family("alchemy")
KINDS = [
    (preset, variant) for preset in ALCHEMY.presets for variant in ("default", "paper")
]  # `trinity` draws as `paper`
COUNT = 80


@dataclass(frozen=True)
class Played:
    """Rewards by position, and the hint after each task with its score."""

    rewards: list[float]
    scores: list[HintScore]


def play(policy: Policy, pack: Pack) -> Played:
    """As the rollout plays it, without tokens."""
    hints, past, rng = "", (), Random(pack.index)
    rewards, scores = [], []
    for position, slot in enumerate(pack.slots):
        episode = slot.begin("compact")
        view = PolicyView(pack, position, episode, past, hints, "compact")
        while not episode.done:
            answer = parse_answer(policy.solve(view, rng))
            assert not answer.problem
            episode.act(answer.action)
        assert not episode.unreadable
        hints, past = policy.update(view, rng), (*past, episode)
        rewards.append(episode.reward)
        scores.append(slot.family.score_context(slot.world, hints, past))
    return Played(rewards, scores)


@cache
def played(policy: str, preset: str, variant: str) -> list[Played]:
    return [play(ALCHEMY.policy(policy), ALCHEMY.pack("test", i, 6, preset, variant)) for i in range(COUNT)]


def mean(trajectories: list[Played]) -> list[float]:
    rewards = [trajectory.rewards for trajectory in trajectories]
    return [sum(column) / len(rewards) for column in zip(*rewards, strict=True)]


def success(policy: str, preset: str, variant: str) -> list[float]:
    return mean(played(policy, preset, variant))


@pytest.mark.parametrize(("preset", "variant"), KINDS)
def test_informed_always_succeeds(preset: str, variant: str) -> None:
    share = ALCHEMY.in_variant(variant).unsolvable if preset == "hard" else 0.0
    assert min(success("informed", preset, variant)) >= 1 - share - 3 * sqrt(share * (1 - share) / COUNT)


@pytest.mark.parametrize(("preset", "variant"), KINDS)
def test_bayes_rises_with_position(preset: str, variant: str) -> None:
    found = success("bayes", preset, variant)
    assert found[0] < 0.9
    assert found[-1] > found[0] + (0.05 if preset == "easy" else 0.15)


@pytest.mark.parametrize(("preset", "variant"), KINDS)
def test_random_is_low_and_flat_and_below_bayes(preset: str, variant: str) -> None:
    found = success("random", preset, variant)
    assert max(found) - min(found) < 6 * sqrt(0.25 / COUNT)
    assert sum(found) < sum(success("bayes", preset, variant)) - 1


def test_bayes_in_tiny_is_a_search_without_repetition() -> None:
    """Two rounds and six pairs; what the first task showed is never tried again."""
    assert success("bayes", "tiny", "default")[0] == pytest.approx(2 / 6, abs=3 * sqrt(0.25 / COUNT))
    assert success("bayes", "tiny", "default")[5] > 0.95  # the first target again, after up to six pairs were seen


@pytest.mark.parametrize("preset", ALCHEMY.presets)
def test_bayes_writes_only_true_hints_and_all_that_was_seen(preset: str) -> None:
    for trajectory in played("bayes", preset, "default"):
        for score in trajectory.scores:
            assert (score.wrong, score.right) == (0, score.knowable)


def test_a_demonstrator_that_keeps_everything_learns_and_one_that_keeps_nothing_does_not() -> None:
    packs = [ALCHEMY.pack("demonstration", index, 5, "tiny") for index in range(200)]
    keen, careless = (
        mean([play(ALCHEMY.policy("demonstrator", keep_fact=keep, wrong_fact=0.0), pack) for pack in packs])
        for keep in (1.0, 0.0)
    )
    assert keen[0] < 0.5
    assert keen[4] > 0.85
    assert careless[4] < 0.5


@pytest.mark.parametrize("policy", [*ALCHEMY.policies, "demonstrator"])
@pytest.mark.parametrize("preset", ALCHEMY.presets)
@pytest.mark.parametrize("strategy", ["drift", "poison", "distractor", "ralph_full"])
def test_no_strategy_confuses_a_scripted_agent(policy: str, preset: str, strategy: str) -> None:
    options = strategy_of(
        EvalSpec(strategy=strategy, drift_at=3, poison=0.5, distractor_family="alchemy", distractor_preset="hard")
    )
    for index in range(8):
        pack = draw_pack(ALCHEMY, options, "test", index, 6, preset)
        told = [replace(slot, world=slot.reported_world or slot.world) for slot in pack.slots]
        assert len(play(ALCHEMY.policy(policy), replace(pack, slots=tuple(told))).rewards) == 6


def test_a_distractor_of_another_family_is_no_knowledge(world) -> None:
    lake = get_family("frozen_lake").pack("test", 0, 1, "tiny").slots[0].begin("compact")
    lake.act("K")
    assert believed([lake], world) == {}


def test_bayes_recovers_from_drift() -> None:
    strategy = Drift(5)
    packs = [draw_pack(ALCHEMY, strategy, "test", index, 10, "tiny") for index in range(COUNT)]
    found = mean([play(ALCHEMY.policy("bayes"), pack) for pack in packs])
    assert found[4] > 0.85
    assert found[5] < 0.5
    assert found[9] > 0.75


def test_memory_ends_where_accounts_contradict_each_other(world, task) -> None:
    def episode(recipes: tuple[tuple[Pair, ...], ...], *actions: str):
        begun = AlchemyEpisode(AlchemyWorld(world.preset, world.sizes, world.names, recipes), task, "compact")
        for action in actions:
            begun.act(action)
        return begun

    old = episode(world.recipes, "a+b", "a+a")
    other = ((), (), (), ((1, 1),), ((2, 2),), ((3, 4),))
    assert believed([old, episode(world.recipes, "c+c")], world) == {(0, 1): 3, (0, 0): None, (2, 2): 4}
    assert believed([old, episode(other, "a+b")], world) == {(0, 1): None}
    assert believed([old, episode(other, "b+b")], world) == {(1, 1): 3}  # one recipe each
    assert believed([old, episode(other, "a+c"), episode(other, "b+b")], world) == {(1, 1): 3, (0, 2): None}


# --- the search against brute force -----------------------------------------------------------------------------------


def all_worlds(sizes: tuple[int, ...]) -> Iterator[dict[Pair, int]]:
    """Every recipe graph of these sizes, as products by pair."""
    tiers, start = [], 0
    for size in sizes:
        tiers.append(range(start, start + size))
        start += size
    choices = [
        [dict(zip(pairs, upper, strict=True)) for pairs in permutations(_pairs(lower), len(upper))]
        for lower, upper in pairwise(tiers)
    ]
    for graph in product(*choices):
        yield {pair: made for tier in graph for pair, made in tier.items()}


def _pairs(elements: range) -> list[Pair]:
    return list(combinations_with_replacement(elements, 2))


class BruteForce:
    """Best chance of success by trying every mix in every world that is still possible."""

    def __init__(self, sizes: tuple[int, ...], known: Outcomes, target: int) -> None:
        self._target = target
        self._worlds = [
            graph for graph in all_worlds(sizes) if all(graph.get(pair) == made for pair, made in known.items())
        ]
        self._values: dict[tuple[frozenset[int], frozenset[int], int], float] = {}

    def start(self, base: int, rounds: int) -> float:
        return self.value(frozenset(range(len(self._worlds))), frozenset(range(base)), rounds)

    def value(self, possible: frozenset[int], held: frozenset[int], rounds: int) -> float:
        if self._target in held:
            return 1.0
        if rounds == 0:
            return 0.0
        key = (possible, held, rounds)
        if key not in self._values:
            self._values[key] = max(self._mix(key, pair) for pair in combinations_with_replacement(sorted(held), 2))
        return self._values[key]

    def _mix(self, key: tuple[frozenset[int], frozenset[int], int], pair: Pair) -> float:
        possible, held, rounds = key
        groups: dict[int | None, list[int]] = {}
        for world in possible:
            groups.setdefault(self._worlds[world].get(pair), []).append(world)
        if len(groups) == 1 and next(iter(groups)) in (None, *held):
            return 0.0  # nothing new: a round lost
        return sum(
            len(group) / len(possible) * self.value(frozenset(group), held | ({made} - {None}), rounds - 1)
            for made, group in groups.items()
        )


@pytest.mark.parametrize(
    ("sizes", "known", "target", "rounds"),
    [
        ((3, 2), {}, 4, 3),
        ((3, 2), {(0, 0): 3, (1, 1): None}, 4, 3),
        ((2, 2, 1), {}, 4, 4),
        ((2, 2, 1), {}, 4, 5),
        ((2, 2, 1), {(0, 1): 2}, 4, 3),
        ((2, 2, 1), {(0, 1): 2, (2, 2): None}, 4, 3),
        ((2, 2, 1), {(0, 1): 2, (1, 1): 3, (2, 2): None}, 4, 3),
        ((2, 2, 2), {(0, 1): 2, (1, 1): 3, (2, 3): 4}, 5, 3),
        ((3, 2, 1), {}, 5, 4),
        ((3, 2, 1), {(0, 0): None, (0, 1): 3, (3, 3): None}, 5, 5),
        ((2, 1, 1, 1), {}, 4, 4),
        ((2, 2, 1, 1), {}, 5, 5),
        ((2, 2, 2, 1), {(0, 1): 2, (0, 0): None}, 6, 6),
        ((2, 2, 2, 1), {(0, 1): 2, (1, 1): 3, (2, 3): 4, (4, 4): None}, 6, 6),
        ((2, 2, 2, 1), {(0, 1): 2, (1, 1): 3, (2, 3): 4}, 6, 5),
    ],
)
def test_search_equals_brute_force(
    sizes: tuple[int, ...], known: dict[Pair, int | None], target: int, rounds: int
) -> None:
    blank = AlchemyWorld(PRESETS["easy"], sizes, tuple(map(str, range(sum(sizes)))), ((),) * sum(sizes))
    exact = BruteForce(sizes, known, target).start(sizes[0], rounds)
    assert 0 < exact < 1
    search = Search(blank, known, set(range(sizes[0])), target, rounds)
    assert search.chance() == pytest.approx(exact, abs=1e-12)


def test_what_it_plays_is_worth_what_it_says() -> None:
    """The first task of easy packs, played, against the search's own value of the very same tasks."""
    exact = 0.0
    for index in range(COUNT):
        pack = ALCHEMY.pack("test", index, 1, "easy")
        task, world = pack.tasks[0], pack.world
        assert isinstance(task, AlchemyTask)
        exact += Search(world, {}, set(world.tiers[0]), task.target, task.max_turns).chance()
    assert success("bayes", "easy", "default")[0] == pytest.approx(exact / COUNT, abs=3 * sqrt(0.25 / COUNT))
