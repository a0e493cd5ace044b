"""Single episodes as Gymnasium environments."""

from __future__ import annotations

from itertools import pairwise

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

from codctl.envs.gymnasium.episode import ID, EpisodeEnv
from codctl.envs.registry import families, get_family
from codctl.errors import UsageError

MADE = f"codctl.envs.gymnasium.episode:{ID}"


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("rendering", ["full", "compact"])
def test_every_family_passes_the_checker_of_gymnasium(family: str, rendering: str) -> None:
    for variant in get_family(family).open_variants:
        check_env(gymnasium.make(MADE, family=family, variant=variant, rendering=rendering).unwrapped)


def test_a_seed_draws_the_same_task_and_no_seed_goes_on() -> None:
    first, second = EpisodeEnv("frozen_lake"), EpisodeEnv("frozen_lake")
    assert first.reset(seed=5) == second.reset(seed=5)
    packs = [first.reset()[1]["pack"] for _ in range(20)]
    assert packs == [second.reset()[1]["pack"] for _ in range(20)]
    assert len(set(packs)) == 20


def test_a_whole_pack_can_be_played_in_order() -> None:
    env = EpisodeEnv("frozen_lake", "easy", split="test")
    pack = get_family("frozen_lake").pack("test", 7, 4, "easy")
    for position, slot in enumerate(pack.slots):
        seen, info = env.reset(options={"index": 7, "position": position, "hints": "K moves up."})
        assert (info["pack"], info["position"]) == (pack.id, position)
        assert info["task"] == slot.begin("full").observation
        assert seen == f"{info['rules']}\n\n{info['task']}"
        assert "K moves up." in info["rules"]


def test_steps_are_those_of_the_episode() -> None:
    env = EpisodeEnv("frozen_lake", "easy", render_mode="ansi")
    _, info = env.reset(seed=1)
    index = int(info["pack"].rpartition("/")[2])
    slot = get_family("frozen_lake").pack("train", index, 1, "easy").slots[0]
    episode = slot.begin("full")
    for action in ("K", "Q", "K", "Q", "X", "Z", "fly"):
        step = episode.act(action)
        observation, reward, terminated, truncated, _ = env.step(action)
        assert (observation, reward, terminated, truncated) == (
            step.observation or step.feedback,
            step.reward,
            step.done,
            False,
        )
        assert env.render() == episode.transcript()
        if terminated:
            break
    assert terminated
    with pytest.raises(UsageError, match=r"the episode is over"):
        env.step("K")


def test_wrong_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"did you mean .frozen_lake."):
        EpisodeEnv("frozenlake")
    with pytest.raises(UsageError, match=r"unknown variant of frozen_lake"):
        EpisodeEnv("frozen_lake", variant="papr")


def test_any_text_is_in_the_spaces_and_samples_are_reproducible() -> None:
    env = EpisodeEnv("frozen_lake")
    assert "é日本\n" in env.action_space
    assert 3 not in env.action_space
    assert "a" * 1001 not in env.action_space
    env.action_space.seed(1)
    first = [env.action_space.sample() for _ in range(5)]
    env.action_space.seed(1)
    assert first == [env.action_space.sample() for _ in range(5)]
    assert all(a != b for a, b in pairwise(first))
