"""The time of a step: every second is somebody's, and figures are replaceable."""

from __future__ import annotations

import asyncio

import pytest

from codctl.cod.conversation import Chat, TemplateChat
from codctl.cod.mixture import Mixture
from codctl.cod.rollout import Player, play_all
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.config.compose import load_config
from codctl.config.recipes import shipped_recipes
from codctl.config.schema import Config
from codctl.errors import UsageError
from codctl.models.build import BuiltChat, tokenizer_of_worlds
from codctl.plan import hardware, lengths, rates, speed
from codctl.plan.plan import Plan, make_plan
from codctl.plan.rates import ASSUMED, Rate, rates_for


@pytest.fixture(autouse=True)
def _no_gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_visible", tuple)


def recipe(*overrides: str) -> Config:
    return load_config("recipes/qwen3-8b.yaml", list(overrides))


def plan(*overrides: str, **own: float) -> Plan:
    return make_plan(recipe(*overrides), own_rates=own)


def seconds(found: Plan) -> dict[str, float]:
    return {term.name: term.seconds for term in found.speed.terms}


@pytest.mark.parametrize("name", [found.name for found in shipped_recipes()])
def test_every_second_of_a_step_is_accounted_for(name: str) -> None:
    speed = make_plan(load_config(name)).speed
    for parts in (speed.engines, speed.learners):
        assert sum(parts.values()) == pytest.approx(speed.step)
        assert min(parts.values()) >= 0
    work = {term.name: term.seconds for term in speed.terms}
    shown = {**speed.learners, **speed.engines}
    shown["generate"] += shown.pop("tail")
    work["learn"] += work.pop("teach", 0.0)  # the learner waits for its teachers
    assert {key: pytest.approx(value) for key, value in work.items()} == {key: shown[key] for key in work}


def test_steps_that_share_their_weights_are_played_at_once() -> None:
    alone = plan("engine.sync_every=1", "engine.lead=0").speed.wave
    together = plan("engine.sync_every=4", "engine.lead=0").speed.wave
    assert len(together.complete) == 4
    assert together.decoding < 1.2 * alone.decoding  # a quarter of the decoding steps for each rollout step
    assert together.seconds < 3 * alone.seconds


def test_older_weights_spare_the_engines_the_wait() -> None:
    now, ahead = plan("engine.lead=0").speed, plan("engine.lead=1").speed
    assert ahead.engines["wait"] < 0.05 * ahead.step < now.engines["wait"]
    assert ahead.step < now.step


def test_tensor_parallel_has_its_price() -> None:
    split = ["engine.tensor_parallel=4", "engine.gpus=4"]
    cheap, dear = (plan(*split, sum_s=cost).speed.wave for cost in (1e-9, 1e-4))
    assert dear.alone - cheap.alone == pytest.approx(2 * 36 * 1e-4, rel=0.01)
    without_nvlink = plan(*split, "cluster.gpu=l40s").speed.wave
    assert without_nvlink.seconds > plan(*split, "cluster.gpu=l40s", sum_share=1000.0).speed.wave.seconds * 1.02


def test_engines_on_more_nodes_share_the_wave_and_get_weights_over_the_network() -> None:
    one, three = plan(), plan("cluster.nodes=3")
    assert seconds(three)["generate"] < seconds(one)["generate"]
    assert seconds(three)["learn"] < seconds(one)["learn"] / 2
    assert seconds(three)["load"] > seconds(one)["load"]


def test_a_slow_network_between_nodes_is_what_learners_wait_for() -> None:
    slow = plan("cluster.nodes=3", node_link=1e9)
    assert seconds(slow)["learn"] > 5 * seconds(plan("cluster.nodes=3"))["learn"]


def test_a_small_model_on_a_gpu_waits_for_its_kernels() -> None:
    small = make_plan(load_config("smollm2-135m", ["model.device=cuda", "cluster.gpu=h100-80gb"]))
    slow, large = (next(term for term in found.speed.terms if term.name == "learn") for found in (small, plan()))
    assert "kernels" in slow.formula
    assert "kernels" not in large.formula
    assert 0.2 < slow.seconds < 5


def test_a_checkpoint_beside_the_training_costs_its_copy() -> None:
    beside, waited_for = plan(), plan("train.checkpoint_beside=false")
    assert seconds(beside)["checkpoint"] < 0.1 * seconds(waited_for)["checkpoint"]
    assert seconds(waited_for)["checkpoint"] == pytest.approx(98.3 / 20, rel=0.01)
    assert any("longer than" in note for note in plan(disk=1e7).notes)


def test_figures_of_ones_own_come_last_and_those_of_a_kind_before(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan(learn_share=0.7).speed.learners["learn"] == pytest.approx(plan().speed.learners["learn"] / 2)
    measured = {"h100-80gb": {"decode_share": Rate(0.7, "", "", "measured")}}
    monkeypatch.setattr(rates, "MEASURED", measured)
    assert rates_for("h100-80gb")["decode_share"] == 0.7
    assert rates_for("l4")["decode_share"] == ASSUMED["decode_share"].value
    assert rates_for("h100-80gb", {"decode_share": 0.6})["decode_share"] == 0.6


@pytest.mark.parametrize("own", [{"speed": 1}, {"disk": 0}, {"disk": "fast"}, {"disk": True}, {"disk": float("inf")}])
def test_figures_that_cannot_be_are_refused(own: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="rate"):
        rates_for(None, own)


def test_the_tiny_recipe_takes_about_as_long_as_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one thread of the machine of experiments/bench, whose figures of c5a7db3 these are, scaled to the recipe."""
    monkeypatch.setattr(speed, "flops_per_thread", lambda: 112e9)
    found = make_plan(load_config("tiny", ["runtime.threads=1"]))
    measured = {"generate": 2.15, "learn": 4 * 0.52}
    for name, took in measured.items():
        assert seconds(found)[name] == pytest.approx(took, rel=0.2)
    assert found.speed.warm_start == pytest.approx(20 * 2.62, rel=0.2)


@pytest.mark.parametrize("name", ["tiny", "tiny-mixture"])
def test_tokens_are_counted_as_the_built_model_will_have_them(name: str) -> None:
    config = load_config(name)
    build, world = config.model.build, config.world
    tokenizer = tokenizer_of_worlds(build, world, vocab=build.vocab, max_tokens=build.max_tokens)
    settings = RolloutSettings(world.rendering, solve_tokens=10**6, update_tokens=10**6)
    packs = Mixture.of(world).packs("train", config.seed, 0, lengths.PACKS * len(world.parts))

    def ids(chat: Chat) -> list[list[list[int]]]:
        player = Player(ScriptedAgent(EachFamily("demonstrator"), chat), chat, settings, seed=0)
        return [[e.ids.tolist() for e in t.episodes] for t in asyncio.run(play_all(player, packs, 1))]

    real, light = ids(TemplateChat(tokenizer)), ids(BuiltChat(build, world))
    assert [[len(e) for e in t] for t in light] == [[len(e) for e in t] for t in real]
    found = make_plan(config)
    assert found.model.shape.vocab == len(tokenizer)
    assert found.lengths.counted == "counted with the tokenizer that the model gets"
    assert found.lengths.tokens == found.lengths.trajectories / len(packs) * sum(len(e) for t in real for e in t)
