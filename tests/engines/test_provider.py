"""An engine from outside codctl: named by its import path, with options of its own, played as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from codctl import trust
from codctl.cod.engine import Generation, RequestTag, Sampling
from codctl.config.consistency import MisfitError
from codctl.config.evalspec import EvalSpec
from codctl.config.registries import ENGINES
from codctl.config.schema import Config, Section
from codctl.engines.provider import EngineProvider, OpenEngine, Opening, provider_of
from codctl.envs.registry import get_family
from codctl.errors import PreflightError
from codctl.evaluate.subject import PolicyUnderTest, open_runner
from codctl.plan.placement import place


class Options(Section):
    says: str = "<answer>right</answer>"


class Parrot(OpenEngine):
    """Says the same to everything."""

    def __init__(self, token_ids: list[int]) -> None:
        super().__init__()
        self.token_ids, self.tags, self.open = token_ids, list[str](), False

    async def start(self) -> None:
        self.open = True

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        tag.begin()
        self.tags.append(str(tag))
        return Generation(self.token_ids, [0.0] * len(self.token_ids), "stop", 0)

    async def aclose(self) -> None:
        self.open = False


class ParrotProvider(EngineProvider):
    """What a plug-in registers."""

    title, options = "a parrot", Options

    def open(self, opening: Opening) -> Parrot:
        from codctl.models.load import load_chat

        return Parrot(load_chat(opening.folder).reply(self.read_options(opening.config).says))


KIND = f"{__name__}:ParrotProvider"


@pytest.fixture(autouse=True)
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trust.TRUSTED, "\n".join([KIND, f"{__name__}:Parrot"]))


def recipe(**options: Any) -> Config:
    return Config.model_validate({"engine": {"kind": KIND, "options": options}})


def test_an_engine_by_its_import_path_plays_an_evaluation(tiny_folder: Path, tmp_path: Path) -> None:
    subject = PolicyUnderTest("model", "tiny", tiny_folder, resources=recipe(says="<answer>down</answer>"))
    runner = open_runner(subject, tmp_path / "engine.log")
    spec = EvalSpec(family="frozen_lake", preset="tiny", rendering="compact", packs=1)
    player = runner.player(spec)
    pack = get_family("frozen_lake").pack("test", 0, 2, "tiny")

    async def play() -> Any:
        assert runner.check is not None
        await runner.check()
        assert player.engine.open
        trajectory = await player.play(pack, 3)
        assert runner.close is not None
        await runner.close()
        return trajectory

    trajectory = asyncio.run(play())
    assert trajectory.episodes[0].actions[0].strip() == "down"
    assert player.engine.tags[0] == f"{pack.id}/3/solve/0/0"
    assert not player.engine.open
    assert subject.describe().engine == KIND


def test_options_are_checked_by_the_engine() -> None:
    with pytest.raises(MisfitError, match="Extra inputs") as caught:
        provider_of(recipe()).read_options(recipe().model_copy(update={"engine": _with_options({"say": "hm"})}))
    assert (caught.value.key, caught.value.hint) == ("engine.options.say", "options of this engine: says")
    with pytest.raises(ValueError, match="Extra inputs"):
        recipe(say="hm")


def _with_options(options: dict[str, Any]) -> Any:
    return Config().engine.model_copy(update={"kind": KIND, "options": options})


def test_an_engine_that_takes_no_gpus_leaves_them_to_the_learner() -> None:
    config = Config.model_validate(
        {
            "engine": {"kind": KIND},
            "model": {"device": "cuda"},
            "cluster": {"gpus_per_node": 2, "processes_per_node": 2},
        }
    )
    assert (place(config).engines, place(config).learners) == ((), (0, 1))


def test_what_is_no_engine_is_refused() -> None:
    with pytest.raises(PreflightError, match=r"not a subclass of codctl\.engines\.provider\.EngineProvider"):
        ENGINES.get(f"{__name__}:Parrot")
