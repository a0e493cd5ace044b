"""Toy-text environments of Gymnasium with hidden actions."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import gymnasium
import pytest

from codctl.cod.references import play_policy
from codctl.envs.gymnasium.family import GymnasiumFamily
from codctl.envs.gymnasium.table import CODES, ToyText
from codctl.envs.gymnasium.world import CodedEpisode, CodedWorld, StartTask
from codctl.envtools.validate.family import validate_family
from codctl.errors import UsageError
from tests.envs.gymnasium.worlds import Cliff, Lake, Taxi

FAMILIES = [Lake(), Cliff(), Taxi()]


def named(value: object) -> str | None:
    return value.name if isinstance(value, GymnasiumFamily) else None


def test_it_passes_every_check() -> None:
    failed = [check for check in validate_family(Cliff(), "default", packs=12, length=3) if check.ok is False]
    assert failed == []


@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_an_episode_goes_as_the_environment_goes(family: GymnasiumFamily) -> None:
    """The same actions in Gymnasium itself, from the same state: same states, rewards and ends."""
    env = family.source.make()
    pack = family.pack("train", 0, 6, "default")
    for slot in pack.slots:
        env.reset(seed=0)
        env.unwrapped.s = slot.task.start
        episode = slot.begin("compact")
        for number in range(40):
            if episode.done:
                break
            code = CODES[(number * 7 + slot.task.start) % len(family.source.moves)]
            state, reward, terminated, *_ = env.step(pack.world.actions[CODES.index(code)])
            step = episode.act(code)
            assert (episode.seen[-1].after.state, episode.seen[-1].after.reward) == (state, reward)
            assert not terminated or step.done
        assert episode.done


@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_informed_walks_a_shortest_way_and_bayes_learns_the_codes(family: GymnasiumFamily) -> None:
    packs = [family.pack("test", index, 4, "default") for index in range(15)]
    for pack, trajectory in zip(packs, play_policy("informed", packs, "compact", 0), strict=True):
        for slot, episode in zip(pack.slots, trajectory.of("solve"), strict=True):
            assert episode.raw_reward == 1.0
            assert episode.turns == slot.task.max_turns - family.slack == family.source.table.distances[slot.task.start]
    played = play_policy("bayes", packs, "compact", 0)
    first, last = (sum(t.of("solve")[position].raw_reward for t in played) for position in (0, 3))
    assert last > first
    assert last >= 13
    for update in (episode for trajectory in played for episode in trajectory.of("update")):
        assert update.hint_score.wrong == 0
        assert update.hint_score.right == update.hint_score.knowable


def test_distances_are_those_of_breadth_first_search_by_hand() -> None:
    """FrozenLake-v1, 4 × 4: S F F F / F H F H / F F F H / H F F G."""
    assert Lake().source.table.distances == {14: 1, 10: 2, 13: 2, 6: 3, 9: 3, 2: 4, 8: 4, 1: 5, 3: 5, 4: 5, 0: 6}


def test_the_belief_holds_what_agrees_with_every_step_and_nothing_else() -> None:
    """Against brute force: permutations that would have shown the same."""
    from codctl.envs.gymnasium.world import constrain, possible

    family = Lake()
    task = StartTask(0, 10, family.source)
    truth = CodedWorld((2, 0, 3, 1))
    codes = ["K", "Q", "K", "Z"]
    episode = CodedEpisode(truth, task, "compact")
    for code in codes:
        episode.act(code)

    def same(actions: tuple[int, ...]) -> bool:
        other = CodedEpisode(CodedWorld(actions), task, "compact")
        for code in codes:
            if other.done:
                return False
            other.act(code)
        return other.seen == episode.seen

    expected = {p for p in permutations(range(4)) if same(p)}
    assert set(possible(4, constrain(episode.seen, family.source))) == expected
    assert truth.actions in expected


def test_hints_are_read_in_both_renderings_and_orders() -> None:
    family = Taxi()
    world = CodedWorld((3, 5, 0, 2, 4, 1))
    for hints, right, wrong in (
        (family.truth(world, "full"), 6, 0),
        (family.truth(world, "compact"), 6, 0),
        ("K is west and pickup is J; Q is not dropoff", 2, 0),
        ("K means west. K means east.", 0, 2),
        ("Quite a taxi", 0, 0),
    ):
        score = family.score_context(world, hints, [])
        assert (score.right, score.wrong, score.missing) == (right, wrong, 6 - right)


def test_no_state_tells_the_last_action_and_taxi_tells_the_passenger() -> None:
    for family in FAMILIES:
        for state in family.source.table.moves:
            text = family.source.state_text(state)
            assert "\x1b" not in text
            assert "(" not in text or family.name == "taxi"
    assert "the passenger at the taxi" in Taxi().source.state_text(16)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (ToyText("FrozenLake-v1", ("left", "down", "right", "up"), 1.0), "FrozenLake-v1 is not deterministic"),
        (ToyText("Blackjack-v1", ("stick", "hit"), 1.0), "Blackjack-v1 has no transition table P"),
        (ToyText("CliffWalking-v1", ("up", "down"), -1.0), "CliffWalking-v1 has 4 actions and 2 words for them"),
    ],
)
def test_what_cannot_be_wrapped_says_why(source: ToyText, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        source.table  # noqa: B018


def test_nothing_is_registered_with_codctl() -> None:
    from codctl.envs.registry import families

    assert not {"gymnasium_lake", "cliff", "taxi"} & set(families())
    assert "FrozenLake-v1" in gymnasium.registry


def test_the_guide_shows_the_code_as_it_is() -> None:
    root = Path(__file__).parents[3]
    code = (root / "tests/envs/gymnasium/worlds.py").read_text()
    page = (root / "docs/gymnasium.md").read_text()
    shown = [block.split("```")[0] for block in page.split("```python\n") if block.startswith("class ")]
    assert len(shown) == 2
    assert all(block in code for block in shown)
