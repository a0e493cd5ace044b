"""Who generates and who learns on several nodes."""

from __future__ import annotations

from typing import Any

from codctl.config.schema import Config
from codctl.engines.provider import provider_of
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
