"""The task in the real Inspect: requests, rewards and turns are those of codctl's own player."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codctl.neighbours.in_play import Series, scores

from .conftest import Played

inspect_ai = pytest.importorskip("inspect_ai")
pytestmark = pytest.mark.filterwarnings("ignore")


def scripted(played: Played) -> Any:
    from inspect_ai.model import ModelAPI, ModelOutput, get_model, modelapi

    @modelapi("scripted")
    class Scripted(ModelAPI):
        async def generate(self, input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:  # noqa: A002
            return ModelOutput.from_content("scripted", played.reply(input))

    return get_model("scripted/model", memoize=False)


def test_packs_go_as_in_codctl_itself(series: Series, tmp_path: Path) -> None:
    from inspect_ai import eval as evaluate

    from codctl.neighbours.inspect import world

    played = Played(series, 2)
    task = world(
        family=series.family,
        preset=series.preset,
        rendering=series.rendering,
        length=series.length,
        own_hints=series.own_hints,
        packs=2,
    )
    (found,) = evaluate(task, model=scripted(played), log_dir=str(tmp_path), display="none")
    assert found.status == "success", found.error
    assert played.left == 0
    samples = {one.id: one for one in found.samples}
    for own in played.trajectories:
        sample = samples[own.pack]
        assert sample.scores["pack_scores"].value == pytest.approx(scores(own))
        said = [m.text for m in sample.messages if m.role == "assistant"]
        assert said == [reply for e in own.episodes for reply in e.replies]
    measured = {one.name: one.metrics["mean"].value for one in found.results.scores}
    rewards = [scores(own)["reward"] for own in played.trajectories]
    assert measured["reward"] == pytest.approx(sum(rewards) / 2)


def test_inspect_finds_the_task_by_its_name() -> None:
    from inspect_ai._util.registry import registry_lookup

    assert registry_lookup("task", "codctl/world") is not None
