"""The environment in the real `verifiers`: requests, rewards and turns are those of codctl's own player."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from codctl.neighbours.in_play import Series, scores

from .conftest import Played

vf = pytest.importorskip("verifiers.legacy")
pytestmark = pytest.mark.filterwarnings("ignore")


class Scripted(vf.Client):
    """Replies as the policy did."""

    def __init__(self, played: Played) -> None:
        super().__init__(None)
        self._played = played

    def setup_client(self, config: Any) -> None:
        return None

    async def to_native_tool(self, tool: Any) -> Any:
        raise NotImplementedError

    async def to_native_prompt(self, messages: Any) -> tuple[Any, dict[str, Any]]:
        return messages, {}

    async def get_native_response(
        self, prompt: Any, model: str, sampling_args: Any, tools: Any = None, **_: Any
    ) -> Any:
        return self._played.reply(prompt)

    async def raise_from_native_response(self, response: Any) -> None:
        """Nothing goes wrong."""

    async def from_native_response(self, response: str) -> Any:
        message = vf.ResponseMessage(role="assistant", content=response, finish_reason="stop", is_truncated=False)
        return vf.Response(id="1", created=0, model="scripted", message=message)

    async def close(self) -> None:
        """Nothing is open."""


def test_packs_go_as_in_codctl_itself(series: Series) -> None:
    played = Played(series, 2)
    env = vf.load_environment(
        "codctl.neighbours.verifiers",
        family=series.family,
        preset=series.preset,
        rendering=series.rendering,
        length=series.length,
        own_hints=series.own_hints,
        packs=1,
        eval_packs=2,
    )
    results = asyncio.run(
        env.evaluate(Scripted(played), "scripted", num_examples=2, rollouts_per_example=1, state_columns=["codctl"])
    )
    outputs = sorted(results["outputs"], key=lambda one: one["info"]["pack"])
    assert played.left == 0
    for output, own in zip(outputs, played.trajectories, strict=True):
        expected = scores(own)
        assert output["reward"] == pytest.approx(expected["reward"])
        assert {name: output["metrics"][name] for name in expected} == pytest.approx(expected)
        assert output["metrics"]["num_turns"] == sum(len(e.replies) for e in own.episodes)
        assert output["metrics"]["failed"] == 0
        said = [m["content"] for m in output["completion"] if m["role"] == "assistant"]
        assert said == [reply for e in own.episodes for reply in e.replies]


def test_packs_of_training_and_test_differ(series: Series) -> None:
    env = vf.load_environment("codctl.neighbours.verifiers", family=series.family, packs=2, eval_packs=2)
    trained, held = env.get_dataset()[0]["info"]["id"], env.get_eval_dataset()[0]["info"]["id"]
    assert trained == replace(series, split="train", preset="").pack(0).id
    assert held == replace(series, split="test", preset="").pack(0).id
