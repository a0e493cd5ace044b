"""Who generates and who learns on several nodes."""

from __future__ import annotations

from typing import Any

import pytest

from codctl.config.schema import Config
from codctl.engines.provider import provider_of
from codctl.errors import PreflightError
from codctl.plan.fit import _candidates, with_value
from codctl.plan.placement import place
from codctl.plan.plan import make_plan

EIGHT = {"gpus_per_node": 8, "processes_per_node": 4, "gpu": "h100-80gb"}


def recipe(nodes: int, **engine: Any) -> Config:
    usual = {"kind": "vllm", "placement": "disjoint", "gpus": 4}
    model = {"device": "cuda", "dtype": "bfloat16"}
    return Config.model_validate(
        {"engine": {**usual, **engine}, "model": model, "cluster": {**EIGHT, "nodes": nodes}, "train": {"packs": 32}}
    )


def test_each_node_has_its_share_of_engines_and_learners() -> None:
    placed = place(recipe(3, tensor_parallel=2))
    assert (placed.engines, placed.learners) == (((0, 1), (2, 3)), (4, 5, 6, 7))
    assert (placed.replicas, placed.processes) == (6, 12)
    assert "2 engines × 2 GPUs on GPUs 0–3 of each of 3 nodes" in provider_of(recipe(3)).where(
        recipe(3, tensor_parallel=2), placed.engines
    )


def test_engines_that_are_not_ours_are_counted_once() -> None:
    assert place(recipe(3, servers=["http://elsewhere:8000"], gpus=0)).replicas == 1
    assert place(recipe(3, kind="transformers", gpus=0)).replicas == 1


def test_a_plan_has_all_the_gpus_and_generates_faster_on_more_nodes() -> None:
    one, three = make_plan(recipe(1)), make_plan(recipe(3))
    assert (one.gpus, three.gpus) == (8, 24)
    assert three.speed.terms[0].seconds < one.speed.terms[0].seconds


def distilling(processes: int = 4, **distill: Any) -> Config:
    teachers = [{"families": ["frozen_lake"], "model": "a"}]
    config = recipe(1, gpus=2).model_dump(mode="json")
    cluster = {**config["cluster"], "processes_per_node": processes}
    return Config.model_validate({**config, "cluster": cluster, "distill": {"teachers": teachers, **distill}})


def test_teachers_have_gpus_of_their_own_or_those_of_the_learner() -> None:
    apart, shared = place(distilling(gpus=2)), place(distilling())
    assert (apart.engines, apart.learners, apart.teachers) == (((0,), (1,)), (2, 3, 4, 5), ((6,), (7,)))
    assert shared.teachers == ((2,), (3,), (4,), (5,))
    assert place(distilling(gpus=2, tensor_parallel=2)).teachers == ((6, 7),)
    assert place(distilling(engine="transformers")).teachers == ()
    with pytest.raises(PreflightError, match="6 learner processes do not fit on 4 GPUs"):
        place(distilling(6, gpus=2))
    with pytest.raises(PreflightError, match="an engine of a teacher takes 4 GPUs, there are 2"):
        place(distilling(gpus=2, tensor_parallel=4))


def test_a_plan_counts_teachers() -> None:
    plain, apart, shared = make_plan(recipe(1, gpus=2)), make_plan(distilling(gpus=2)), make_plan(distilling())
    beside = make_plan(distilling(engine="transformers", estimator="full"))
    assert [device.role for device in apart.layout.devices] == ["generate", "train", "score"]
    assert apart.gpus == 8
    assert [phase.name for phase in shared.layout.devices[1].phases][-2:] == ["learn", "score"]
    assert "teachers" in [part.name for part in beside.layout.devices[1].phases[-1].parts]
    assert [term.name for term in apart.speed.terms][:3] == ["generate", "teach", "learn"]
    assert "teach" not in [term.name for term in plain.speed.terms]
    assert apart.speed.learners["learn"] > plain.speed.learners["learn"]


def test_teachers_take_turns_where_memory_is_short() -> None:
    config = distilling(engine="transformers").model_dump(mode="json")
    config["distill"]["teachers"] = [
        {"families": ["frozen_lake"], "model": "a"},
        {"families": ["alchemy"], "model": "b"},
    ]
    config["world"]["mixture"] = [{"family": "frozen_lake"}, {"family": "alchemy"}]
    two = Config.model_validate({**config, "model": {**config["model"], "path": "Qwen/Qwen3-8B"}})
    one = with_value(two, "distill.take_turns", True)
    teachers = [
        next(part.bytes for part in make_plan(each).layout.devices[1].phases[-1].parts if part.name == "teachers")
        for each in (two, one)
    ]
    assert teachers[0] == 2 * teachers[1]
    assert ("distill.take_turns", True) in list(_candidates(two))
    assert "distill.take_turns" not in dict(_candidates(one))
