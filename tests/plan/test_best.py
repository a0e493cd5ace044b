"""`codctl plan --best`: what it names fits, can be typed, and is as fast as it says."""

from __future__ import annotations

import pytest

from codctl.config.compose import load_config
from codctl.config.freeze import changed_training
from codctl.plan import best, hardware
from codctl.plan.best import Choice, compare
from codctl.plan.fit import check_plan
from codctl.plan.plan import make_plan

PUBLISHED = "recipes/qwen3-8b.yaml"
AS_RELEASED = ["engine.gpus=4", "engine.tensor_parallel=1", "engine.lead=0", "cluster.processes_per_node=4"]


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_visible", tuple)
    monkeypatch.setattr(best, "usable_cores", lambda: 2)


def named(recipe: str, *overrides: str) -> tuple[Choice, ...]:
    return compare(load_config(recipe, list(overrides))).best


def test_the_named_layouts_can_be_typed_and_take_what_is_said() -> None:
    given = [override.partition("=")[0] for override in AS_RELEASED]
    found = compare(load_config(PUBLISHED, AS_RELEASED))
    assert len(found.best) == best.NAMED
    assert found.best[0].plan.speed.step < found.now.plan.speed.step / 1.5
    for choice in found.best:
        kept = [line for key, line in zip(given, AS_RELEASED, strict=True) if key not in choice.changes]
        typed = load_config(PUBLISHED, [*kept, *choice.overrides])
        assert make_plan(typed).speed.step == pytest.approx(choice.plan.speed.step)
        check_plan(typed)
        assert choice.reasons
        assert set(changed_training(found.now.config, typed)) <= {"engine.lead"}
        assert typed.engine.oldest <= typed.engine.max_staleness == 20


def test_one_of_them_samples_what_the_recipe_samples() -> None:
    assert any("engine.lead" not in choice.changes for choice in named(PUBLISHED, *AS_RELEASED))


def test_rows_are_never_older_than_the_recipe_allows() -> None:
    strict = named(PUBLISHED, *AS_RELEASED, "engine.max_staleness=4")
    assert strict
    assert all("engine.lead" not in choice.changes for choice in strict)


def test_no_layout_takes_more_than_the_recipe_asks_for() -> None:
    for nodes in (1, 3):
        for choice in named(PUBLISHED, *AS_RELEASED, f"cluster.nodes={nodes}"):
            assert choice.plan.gpus <= 8 * nodes
            assert choice.config.cluster.nodes <= nodes


def test_the_published_number_of_gpus_is_laid_out_and_faster() -> None:
    three = make_plan(load_config(PUBLISHED, [*AS_RELEASED, "cluster.nodes=3"]))
    assert (three.gpus, three.layout.placement.replicas, three.layout.split.processes) == (24, 12, 12)
    one = make_plan(load_config(PUBLISHED, AS_RELEASED))
    assert one.speed.step / 3 < three.speed.step < one.speed.step
    assert three.full_devices == []


def test_what_does_not_fit_is_named_beside_what_does() -> None:
    found = compare(load_config(PUBLISHED, [*AS_RELEASED, "engine.memory=0.21"]))
    assert not found.fits
    assert found.best
    assert all(choice.plan.full_devices == [] for choice in found.best)


def test_nothing_is_named_where_nothing_is_faster() -> None:
    found = compare(load_config("recipes/tiny.yaml", ["runtime.threads=2"]))
    assert found.tried
    assert found.is_best
    assert found.best == ()


def test_the_shipped_recipe_is_the_layout_that_is_found_and_keeps_the_published_staleness() -> None:
    found = compare(load_config(PUBLISHED))
    assert found.is_best
    assert len(found.best) == best.NAMED  # the next ones
    assert found.now.plan.speed.step <= 80
    assert found.now.config.engine.max_staleness == 20


def test_idle_cores_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("best", "speed"):
        monkeypatch.setattr(f"codctl.plan.{module}.usable_cores", lambda: 8)
    assert "runtime.threads=8" in named("recipes/tiny.yaml", "runtime.threads=2")[0].overrides
