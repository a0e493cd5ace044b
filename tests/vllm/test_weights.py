"""The engine speaks with the learner's weights, to the last token, after every update."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codctl.cod.engine import RequestTag, Sampling, Weights
from codctl.engines.replicas import Replicas
from codctl.engines.vllm.backend import Loaded
from codctl.engines.vllm.engine import VllmEngine
from codctl.engines.vllm.http_backend import HttpBackend

from .conftest import failures, gap, play, player

pytestmark = pytest.mark.vllm

_ALLOWED = 1e-4  # float32
_STALE = 1e-2
TAG = RequestTag("pack", 0, 0, 0, "solve")


@pytest.fixture(params=["tied", "untied"])
def served(request: Any, models: dict[str, Path]) -> tuple[Replicas, Path]:
    """An engine and the model that it was started with."""
    engine = request.getfixturevalue("http_engine" if request.param == "tied" else "untied_engine")
    return engine, models[request.param]


def test_log_probs_hold_after_every_update(
    served: tuple[Replicas, Path], loop: asyncio.Runner, new_weights: Callable[..., Path]
) -> None:
    engine, base = served
    seen = []
    for step, lora in enumerate([True, False, True, True, False, False], start=1):
        weights = new_weights(base, step, lora=lora)
        loop.run(engine.update_weights(Weights(step, weights)))
        # An adapter comes on top of what was loaded last; the learner's base never changes, so it is put back first.
        if lora and step > 1:
            loop.run(engine.update_weights(Weights(step, base)))
            loop.run(engine.update_weights(Weights(step, weights)))
        trajectories = loop.run(play(player(engine, base, seed=step)))
        assert not failures(trajectories)
        assert {e.weight_version for t in trajectories for e in t.episodes} == {step}
        seen.append(gap(trajectories, weights, base=base if lora else None))
    assert max(seen) < _ALLOWED, seen


def test_log_probs_are_those_of_the_scaled_distribution(
    served: tuple[Replicas, Path], loop: asyncio.Runner, new_weights: Callable[..., Path]
) -> None:
    engine, base = served
    weights = new_weights(base, 50)
    loop.run(engine.update_weights(Weights(50, weights)))
    trajectories = loop.run(play(player(engine, base, temperature=0.7)))
    assert gap(trajectories, weights, temperature=0.7) < _ALLOWED


def test_top_p_draws_from_the_likeliest_tokens_alone(served: tuple[Replicas, Path], loop: asyncio.Runner) -> None:
    engine, _ = served

    async def draws(top_p: float) -> list[tuple[list[int], list[float]]]:
        sampling = Sampling(1, 1.0, (), top_p)
        found = await asyncio.gather(*(engine.generate([5, 6, 7], sampling, seed=i, tag=TAG) for i in range(40)))
        return [(g.token_ids, g.logprobs) for g in found]

    narrow, wide = loop.run(draws(1e-6)), loop.run(draws(1.0))
    assert len({ids[0] for ids, _ in narrow}) == 1
    assert all(logprobs == [0.0] for _, logprobs in narrow)  # among one, the only one
    assert len({ids[0] for ids, _ in wide}) > 10


def test_the_same_seed_draws_the_same_reply(served: tuple[Replicas, Path], loop: asyncio.Runner) -> None:
    engine, _ = served

    async def ask(seed: int) -> list[int]:
        return (await engine.generate([5, 6, 7], Sampling(12), seed=seed, tag=TAG)).token_ids

    first, again, other = (loop.run(ask(seed)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("salted", "emptied", "is_stale"), [(True, True, False), (True, False, False), (False, False, True)]
)
def test_nothing_that_was_computed_with_old_weights_is_used(
    http_engine: Replicas,
    models: dict[str, Path],
    loop: asyncio.Runner,
    new_weights: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    salted: bool,
    emptied: bool,
    is_stale: bool,
) -> None:
    if not salted:
        named = VllmEngine._named

        def unsalted(engine: VllmEngine, *args: Any) -> Loaded:
            return dataclasses.replace(named(engine, *args), name="always-the-same")

        monkeypatch.setattr(VllmEngine, "_named", unsalted)
    if not emptied:

        async def nothing(backend: HttpBackend) -> None: ...

        monkeypatch.setattr(HttpBackend, "_reset_cache", nothing)
    first, second = new_weights(models["tied"], 101), new_weights(models["tied"], 102)
    for weights in (first, second):
        loop.run(http_engine.update_weights(Weights(1, weights)))
        trajectories = loop.run(play(player(http_engine, models["tied"])))
    found = gap(trajectories, second)
    assert found > _STALE if is_stale else found < _ALLOWED
