"""What a recipe asks of its families is tried before any work."""

from __future__ import annotations

from typing import Any

import pytest

from codctl.cod.references import cheapest_rendering, play_policy
from codctl.config.evalspec import EvalSpec
from codctl.config.schema import Config
from codctl.config.suite_file import EntrySpec, SuiteSpec
from codctl.envs.frozen_lake.family import FrozenLake
from codctl.envs.registry import families, get_family
from codctl.envtools.ceilings import ceilings_of
from codctl.errors import PreflightError, UsageError
from codctl.evaluate.suites.expansion import Defaults, expand
from codctl.train.preflight import check_machine, check_recipe


def config_of(**sections: Any) -> Config:
    return Config.model_validate(sections)


@pytest.fixture
def only_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A family whose prompts can be written in one way only, and which says so when asked for the other."""
    real = FrozenLake.solve_prompt

    def solve_prompt(self: FrozenLake, hints: str, rendering: Any, preset: str) -> str:
        assert rendering == "full"
        return real(self, hints, rendering, preset)

    monkeypatch.setattr(FrozenLake, "renderings", ("full",))
    monkeypatch.setattr(FrozenLake, "solve_prompt", solve_prompt)


def test_a_rendering_that_the_family_has_not_is_refused(only_full: None) -> None:
    check_recipe(config_of(model={"build": {"max_tokens": 4096}}))
    with pytest.raises(UsageError, match="compact"):
        check_recipe(config_of(world={"rendering": "compact"}))


def test_references_are_played_in_a_rendering_that_the_family_has(only_full: None) -> None:
    lake = get_family("frozen_lake")
    assert cheapest_rendering([lake]) == "full"
    assert cheapest_rendering([lake, get_family("alchemy")]) == "full"
    assert cheapest_rendering([get_family("alchemy")]) == "compact"
    packs = [lake.pack("test", 0, 2, "tiny")]
    assert len(play_policy("bayes", packs, cheapest_rendering([lake]), 0)) == 1
    assert ceilings_of(lake, 2, 2, lambda _: None)


def test_an_evaluation_falls_to_the_rendering_of_the_family_unless_it_names_one(only_full: None) -> None:
    home = Defaults(defaults={"rendering": "compact"})

    def parts(**given: Any) -> list[EvalSpec]:
        entry = EntrySpec("one", "trained", {"family": "frozen_lake", "preset": "tiny", **given})
        return expand(SuiteSpec("s", "", (entry,)), home, families())

    assert [part.rendering for part in parts()] == ["full"]
    with pytest.raises(UsageError, match="rendering of frozen_lake"):
        parts(rendering="compact")


def test_a_family_without_demonstrations_cannot_be_warm_started(monkeypatch: pytest.MonkeyPatch) -> None:
    real = FrozenLake.policy

    def policy(self: FrozenLake, name: str, **options: float) -> Any:
        if name == "demonstrator":
            raise UsageError("frozen_lake has no policy demonstrator")
        return real(self, name, **options)

    monkeypatch.setattr(FrozenLake, "policy", policy)
    for world in ({}, {"mixture": [{"family": "alchemy"}, {"family": "frozen_lake"}]}):
        with pytest.raises(PreflightError, match="family 'frozen_lake' has no demonstrations to learn from") as error:
            check_recipe(config_of(world=world))
        assert error.value.where == "warm_start.enabled"
    check_recipe(config_of(world={"family": "alchemy"}))


def test_a_prompt_that_the_model_cannot_read(tiny_folder: Any) -> None:
    with pytest.raises(PreflightError, match=r"a prompt of frozen_lake tiny has \d+ tokens or more") as error:
        check_recipe(config_of(model={"build": {"max_tokens": 64}}))
    assert error.value.where == "model.build.max_tokens"
    assert "world.rendering=compact" in error.value.hint
    compact = {"rendering": "compact", "preset": "tiny"}
    check_recipe(config_of(world=compact, model={"build": {"max_tokens": 64}}))
    known = {"model": {"path": str(tiny_folder)}, "world": compact}
    check_recipe(config_of(**known))
    with pytest.raises(PreflightError, match="the model reads 512") as error:
        check_recipe(config_of(model=known["model"]))
    assert error.value.where == "model.path"


def test_a_model_that_this_machine_cannot_hold() -> None:
    config = config_of(model={"device": "cpu", "build": {"layers": 512, "width": 8192, "ffn": 65536}})
    check_recipe(config)  # it may run elsewhere
    with pytest.raises(PreflightError, match=r"takes \d+\.\d GiB, there are \d+\.\d; most of it: checkpoint"):
        check_machine(config)
