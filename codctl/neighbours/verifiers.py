"""Worlds of codctl as an environment of `verifiers`: `vf.load_environment("codctl.neighbours.verifiers")`.

A rollout is a whole pack: its tasks, and the updates between them, each with a prompt of its own. `verifiers` asks the
model; codctl's player plays.
"""

from __future__ import annotations

from typing import Any, Literal

import verifiers as vf
from datasets import Dataset

from codctl.cod.trajectory import Trajectory
from codctl.neighbours.in_play import Asked, PackInPlay, Series, first_messages, scores

_PLAY, _ASKED, _PLAYED = "codctl_play", "codctl_asked", "codctl"


class PackEnv(vf.MultiTurnEnv):  # type: ignore[misc]  # untyped
    """Packs as rollouts. `state["codctl"]` has the scores of a finished one."""

    def __init__(self, series: Series, heldout: Series, packs: int, eval_packs: int) -> None:
        self._series = {one.split: one for one in (series, heldout)}
        super().__init__(
            dataset=_dataset(series, packs), eval_dataset=_dataset(heldout, eval_packs), rubric=_rubric(series)
        )

    async def setup_state(self, state: Any) -> Any:
        info = state["info"]
        state[_PLAY] = PackInPlay(self._series[info["split"]], info["pack"])
        return state

    async def get_prompt_messages(self, state: Any) -> Any:
        play: PackInPlay = state[_PLAY]
        if state["trajectory"]:
            step = state["trajectory"][-1]
            play.answer(_text(step["completion"]), was_cut=bool(step["is_truncated"]))
        asked = state[_ASKED] = await play.ask()
        if asked is None:
            assert play.trajectory is not None
            state[_PLAYED] = scores(play.trajectory) | {"failed": _failed(play.trajectory)}
            state["final_env_response"] = []
            return []
        return [dict(message) for message in asked.messages]

    async def add_trajectory_step(self, state: Any, trajectory_step: Any) -> None:
        asked: Asked = state[_ASKED]
        where = {"kind": asked.kind, "position": asked.position, "turn": asked.turn}
        trajectory_step["extras"] = {**trajectory_step["extras"], **where}
        await super().add_trajectory_step(state, trajectory_step)

    async def env_response(self, messages: Any, state: Any, **_: Any) -> Any:
        """Not asked: each prompt is made anew by `get_prompt_messages`."""
        return []

    async def render_completion(self, state: Any) -> None:
        """All that was said, in order: prompts are of different conversations."""
        found: list[Any] = []
        for number, step in enumerate(state["trajectory"]):
            new = step["prompt"][-1:] if step["extras"]["turn"] else step["prompt"]
            found += [*(new if number else []), *step["completion"]]
        state["completion"] = found

    @vf.cleanup  # type: ignore[untyped-decorator]
    async def end_play(self, state: Any) -> None:
        play = state.pop(_PLAY, None)
        state.pop(_ASKED, None)
        if play:
            await play.close()


def load_environment(
    family: str = "frozen_lake",
    preset: str = "",
    variant: str = "",
    rendering: Literal["full", "terse", "compact"] = "full",
    length: int = 4,
    packs: int = 1000,
    eval_packs: int = 100,
    own_hints: bool = True,
) -> vf.Environment:
    """The environment.

    Args:
        family: Of the worlds: `codctl env list`.
        preset: Its first one by default.
        variant: Likewise.
        rendering: How prompts are written.
        length: Tasks in a pack.
        packs: Of the split train.
        eval_packs: Of the split test.
        own_hints: Whether the model writes hints for itself between the tasks; False is the control.
    """
    series = Series(family, preset, variant, rendering, length, "train", own_hints)
    heldout = Series(family, preset, variant, rendering, length, "test", own_hints)
    return PackEnv(series, heldout, packs, eval_packs)


def _dataset(series: Series, packs: int) -> Dataset:
    rows = [
        {
            "prompt": first_messages(series, number),
            "answer": "",
            "info": {"split": series.split, "pack": number, "id": series.pack(number).id},
        }
        for number in range(packs)
    ]
    return Dataset.from_list(rows)


def _rubric(series: Series) -> vf.Rubric:
    """The mean reward of the pack's tasks, and each task beside it. A rollout that was broken off has none."""

    def measure(name: str) -> Any:
        async def value(state: Any) -> float:
            return float((state.get(_PLAYED) or {}).get(name, 0.0))

        value.__name__ = name
        return value

    rubric = vf.Rubric(funcs=[measure("reward")])
    for position in range(series.length):
        for name in ("reward", "solved", "turns"):
            rubric.add_metric(measure(f"{name}_{position}"))
    rubric.add_metric(measure("failed"))
    return rubric


def _text(completion: Any) -> str:
    """What the model wrote: the texts of its message, without its thoughts and calls of tools."""
    content = completion[-1]["content"] if completion else ""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part["type"] == "text")
    return content or ""


def _failed(trajectory: Trajectory) -> float:
    """How many of its episodes have no score."""
    return float(sum(bool(episode.failed) for episode in trajectory.episodes))
