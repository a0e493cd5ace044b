"""Worlds of codctl as a task of Inspect (extra `inspect`): `inspect eval codctl/world -T family=alchemy`.

A sample is a whole pack: its tasks, and the updates between them, each with a prompt of its own. Inspect asks the
model; codctl's player plays.
"""

from __future__ import annotations

from typing import Any, Literal

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    get_model,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from codctl.envs.base import Message
from codctl.neighbours.in_play import PackInPlay, Series, first_messages, scores

_KINDS: dict[str, Any] = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
_SCORES = "codctl"


@task  # type: ignore[untyped-decorator]
def world(
    family: str = "frozen_lake",
    preset: str = "",
    variant: str = "",
    rendering: Literal["full", "terse", "compact"] = "full",
    length: int = 4,
    packs: int = 100,
    split: Literal["train", "validation", "test", "demonstration"] = "test",
    own_hints: bool = True,
    solve_tokens: int = 512,
    update_tokens: int = 1024,
) -> Task:
    """Packs of a world.

    Args:
        family: Of the worlds: `codctl env list`.
        preset: Its first one by default.
        variant: Likewise.
        rendering: How prompts are written.
        length: Tasks in a pack.
        packs: How many.
        split: Which ones.
        own_hints: Whether the model writes hints for itself between the tasks; False is the control.
        solve_tokens: Most tokens of an answer.
        update_tokens: Most tokens of an update.
    """
    series = Series(family, preset, variant, rendering, length, split, own_hints, solve_tokens, update_tokens)
    samples = [
        Sample(
            input=_chat(first_messages(series, number)),
            id=series.pack(number).id,
            metadata={"pack": number},
        )
        for number in range(packs)
    ]
    return Task(dataset=MemoryDataset(samples, name=f"codctl/{family}"), solver=play(series), scorer=pack_scores())


@solver  # type: ignore[untyped-decorator]
def play(series: Series) -> Solver:
    """Plays a sample's pack with the model that is evaluated."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        model, in_play = get_model(), PackInPlay(series, state.metadata["pack"])
        said: list[ChatMessage] = []
        try:
            while asked := await in_play.ask():
                messages = _chat(asked.messages)
                output = await model.generate(messages, config=GenerateConfig(max_tokens=asked.max_tokens))
                said += [*messages[-1 if asked.turn else 0 :], output.message]
                in_play.answer(output.completion, was_cut=output.stop_reason == "max_tokens")
                state.output = output
        finally:
            await in_play.close()
        assert in_play.trajectory is not None
        state.messages = said
        state.metadata[_SCORES] = scores(in_play.trajectory)
        state.completed = True
        return state

    return solve


@scorer(metrics={"*": [mean(), stderr()]})  # type: ignore[untyped-decorator]
def pack_scores() -> Scorer:
    """The mean reward of the pack's tasks, and each task beside it."""

    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=dict(state.metadata[_SCORES]), answer=state.output.completion)

    return score


def _chat(messages: Any) -> list[ChatMessage]:
    return [_message(message) for message in messages]


def _message(message: Message) -> ChatMessage:
    return _KINDS[message["role"]](content=message["content"])
