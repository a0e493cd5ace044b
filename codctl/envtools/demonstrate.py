"""Demonstrations by rejection sampling: a model plays packs several times, and what went well is kept as texts.

Of each pack the trajectory that solves the most tasks is kept (of equals the one with fewer turns, then the first).
From it come the tasks that it solved, and the updates that could be read and were followed by a solved task.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import codctl
from codctl.cod.conversation import Chat
from codctl.cod.requests import gather_or_cancel
from codctl.cod.rollout import Player
from codctl.cod.trajectory import EpisodeRecord, Trajectory
from codctl.config.evalspec import EvalSpec
from codctl.envs.base import Message, Rendering, UpdateRule
from codctl.envs.registry import get_family
from codctl.errors import RefusedError, StageError
from codctl.evaluate.subject import PolicyRunner, PolicyUnderTest, identity_of, open_runner
from codctl.files.atomic import storage_errors, write_text
from codctl.files.seal import is_sealed, read_info, sealing
from codctl.learner.demonstrations import FILE, FORMAT, Demonstration, prompts_digest, write
from codctl.outcomes import WRITTEN
from codctl.quantities import counted
from codctl.runs.progress import Progress

_SPLIT = "demonstration"


@dataclass(frozen=True)
class DemonstrationSpec:
    """What is played and how."""

    family: str
    preset: str
    variant: str
    rendering: Rendering
    length: int
    packs: int
    best_of: int
    seed: int
    temperature: float
    solve_tokens: int
    update_tokens: int
    update: UpdateRule = "rewrite"

    def as_dict(self) -> dict[str, Any]:
        """Without a key that came later, at its default."""
        values = asdict(self)
        if self.update == "rewrite":
            del values["update"]
        return values

    def as_evaluation(self) -> EvalSpec:
        """The same in the form that players are made from."""
        return EvalSpec(
            name="demonstrations",
            family=self.family,
            preset=self.preset,
            variant=self.variant,
            rendering=self.rendering,
            length=self.length,
            packs=self.packs,
            seeds=(self.seed,),
            arms=("own",),
            temperature=self.temperature,
            solve_tokens=self.solve_tokens,
            update_tokens=self.update_tokens,
            update=self.update,
        )


def demonstrate(subject: PolicyUnderTest, spec: DemonstrationSpec, out: Path, progress: Progress) -> dict[str, Any]:
    """Play what is not played yet, and write the folder; what it was sealed with, and `written`.

    Finished packs are kept in a journal beside the folder, so that the same command continues.

    Raises:
        RefusedError: The folder or its journal holds something else.
        BackendError: The model cannot play.
        StageError: Nothing went well, or some packs could not be played.
    """
    about = {"format": FORMAT, "subject": identity_of(subject), "spec": spec.as_dict()}
    if out.exists():
        return {**_written(out, about), "written": False}
    journal = _Journal(out.with_name(f"{out.name}.journal.jsonl"), about)
    missing = [number for number in range(spec.packs) if number not in journal.packs]
    if missing:
        if subject.folder:
            progress.update("loading the model", 0, 0, {})
        performer = open_runner(subject, out.with_name(f"{out.name}.engine.log"), [spec.as_evaluation()])
        asyncio.run(_Playing(performer, spec, journal, progress).play(missing))
    if lost := [number for number in range(spec.packs) if number not in journal.packs]:
        raise StageError(
            f"{len(lost)} of {counted(spec.packs, 'pack')} got no reply to some request",
            where=str(journal.path),
            hint="the same command plays them again",
        )
    info = {**about, "by": subject.describe().title, **_summary(spec, journal.packs), "codctl": codctl.__version__}
    if not info["kept"]["episodes"]:
        raise StageError(
            f"nothing to keep: none of {counted(info['played']['tasks'], 'task')} was solved",
            where=str(journal.path),
            hint="a stronger model, an easier --preset, more --best-of, or more --solve-tokens; codctl eval --limit 1 "
            "--show shows what it replies",
        )
    with sealing(out, info) as temp:
        kept = [Demonstration(**one) for number in range(spec.packs) for one in journal.packs[number]["kept"]]
        write(temp / FILE, kept)
        (temp / "README.md").write_text(_card(spec, info), encoding="utf-8")
    journal.path.unlink(missing_ok=True)
    return {**info, "written": True}


def _written(out: Path, about: dict[str, Any]) -> dict[str, Any]:
    if not is_sealed(out, verify=True):
        raise RefusedError("the folder exists and holds no complete demonstrations", where=str(out), hint="--out OTHER")
    held = read_info(out)
    if changed := [key for key in about if held.get(key) != json.loads(json.dumps(about[key]))]:
        raise RefusedError(
            f"the folder holds other demonstrations: another {' and '.join(changed)}",
            where=str(out),
            hint="--out OTHER",
        )
    return held


class _Journal:
    """What is finished, a pack a line behind a head that says what is played. A torn last line is dropped."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        self.packs: dict[int, dict[str, Any]] = {}
        head = json.dumps(about, sort_keys=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if lines and lines[0] != head:
            raise RefusedError(
                "a journal of other demonstrations lies here",
                where=str(path),
                hint="--out OTHER, or delete the file to begin again",
            )
        for line in lines[1:]:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            self.packs[record["pack"]] = record
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "".join(f"{line}\n" for line in (head, *map(json.dumps, self.packs.values()))))

    def append(self, record: dict[str, Any]) -> None:
        self.packs[record["pack"]] = record
        with storage_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


class _Heard:
    """A chat that remembers how each conversation began, by the ids that it began with."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self.begun: dict[tuple[int, ...], list[Message]] = {}

    def open(self, messages: Sequence[Message]) -> list[int]:
        ids = self._chat.open(messages)
        self.begun[tuple(ids)] = list(messages)  # of every turn where a template cannot be followed
        return ids

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chat, name)


class _Playing:
    def __init__(self, performer: PolicyRunner, spec: DemonstrationSpec, journal: _Journal, progress: Progress) -> None:
        self._performer, self._spec, self._journal, self._progress = performer, spec, journal, progress
        self._player: Player = performer.player(spec.as_evaluation())
        self._family = get_family(spec.family)
        self._gate = asyncio.Semaphore(performer.at_once)
        self._done = len(journal.packs) * spec.best_of

    async def play(self, numbers: Sequence[int]) -> None:
        """The packs of these numbers."""
        performer = self._performer
        self._show()
        try:
            if performer.check:
                await performer.check()
            await gather_or_cancel(map(self._pack, numbers))
            if performer.final_check:
                await performer.final_check()
        finally:
            if performer.close:
                await performer.close()

    async def _pack(self, number: int) -> None:
        spec = self._spec
        played = await asyncio.gather(*(self._one(number, rollout) for rollout in range(spec.best_of)))
        if any(
            e.fault and e.fault.kind in ("rejected", "lost") for trajectory, _ in played for e in trajectory.episodes
        ):
            return  # not journalled: the same command plays it again
        best, begun = max(played, key=lambda pair: _merit(pair[0]))
        self._journal.append(
            {
                "pack": number,
                "success": [[float(e.is_solved) for e in trajectory.of("solve")] for trajectory, _ in played],
                "kept": [asdict(one) for one in _kept(best, begun)],
            }
        )

    async def _one(self, number: int, rollout: int) -> tuple[Trajectory, _Heard]:
        spec = self._spec
        async with self._gate:
            pack = self._family.pack(_SPLIT, number, spec.length, spec.preset, spec.variant)
            heard = _Heard(self._player.chat)
            trajectory = await replace(self._player, chat=heard).play(pack, rollout)
            self._done += 1
            self._show()
            return trajectory, heard

    def _show(self) -> None:
        success = [reward for pack in self._journal.packs.values() for rewards in pack["success"] for reward in rewards]
        metrics = {"success": sum(success) / len(success)} if success else {}
        self._progress.update("trajectories", self._done, self._spec.packs * self._spec.best_of, metrics)


def _merit(trajectory: Trajectory) -> tuple[int, float, int, int]:
    solves = trajectory.of("solve")
    solved, reward = sum(e.is_solved for e in solves), sum(e.raw_reward for e in solves)
    return solved, reward, -sum(e.turns for e in solves), -trajectory.rollout


def _kept(trajectory: Trajectory, heard: _Heard) -> Iterator[Demonstration]:
    """See the module."""
    solved = {e.position for e in trajectory.of("solve") if e.is_solved}
    for e in trajectory.episodes:
        is_good = e.position in solved if e.kind == "solve" else e.outcome in WRITTEN and e.position + 1 in solved
        if is_good:
            prompt = heard.begun[tuple(e.ids[: int(e.loss_mask.argmax())].tolist())]
            messages = (*prompt, *_played(e))
            yield Demonstration(trajectory.pack, trajectory.rollout, e.kind, e.position, messages, len(prompt))


def _played(e: EpisodeRecord) -> Iterator[Message]:
    for turn, reply in enumerate(e.replies):
        if turn:
            yield {"role": "user", "content": e.observations[turn]}
        yield {"role": "assistant", "content": reply.strip()}


def _summary(spec: DemonstrationSpec, packs: dict[int, dict[str, Any]]) -> dict[str, Any]:
    success = [rewards for pack in packs.values() for rewards in pack["success"]]
    kept = [one for pack in packs.values() for one in pack["kept"]]
    episodes = len(packs) * (2 * spec.length - 1)
    return {
        "prompts": prompts_digest(spec.family, spec.preset, spec.variant, spec.rendering),
        "played": {
            "trajectories": len(success),
            "tasks": len(success) * spec.length,
            "solved": int(sum(map(sum, success))),
        },
        "success": [sum(column) / len(column) for column in zip(*success, strict=True)],
        "kept": {
            "episodes": len(kept),
            "solves": sum(one["kind"] == "solve" for one in kept),
            "updates": sum(one["kind"] == "update" for one in kept),
            "packs": sum(bool(pack["kept"]) for pack in packs.values()),
            "share": len(kept) / episodes,
        },
    }


def _card(spec: DemonstrationSpec, info: dict[str, Any]) -> str:
    kept, played = info["kept"], info["played"]
    packs, tasks = counted(spec.packs, "pack"), counted(spec.length, "task")
    curve = " ".join(f"{value:.2f}" for value in info["success"])
    return f"""---
tags: [connect-the-dots, codctl]
configs:
- config_name: default
  data_files: {FILE}
---
# Demonstrations of {spec.family} `{spec.preset}`, rendering `{spec.rendering}`

Played by {info["by"]}: {packs} of {tasks}, the best of {counted(spec.best_of, "trajectory")} each, at
temperature {spec.temperature:g}. Success by position over {counted(played["trajectories"], "trajectory")}: {curve}.

Of each pack the trajectory that solves the most tasks was kept, and from it the tasks that it solved ({kept["solves"]})
and the updates that could be read and were followed by a solved task ({kept["updates"]}).

| Column | Meaning |
|---|---|
| `pack`, `rollout`, `position` | Where the episode comes from; packs are of the split `{_SPLIT}`. |
| `kind` | `solve`: a task. `update`: the hints that were written after it. |
| `messages` | The conversation, with roles `system`, `user` and `assistant`. |
| `prompt` | How many messages are the prompt: a task may begin as a conversation. The turns after them are learned. |

Train on them: `codctl train RECIPE warm_start.demonstrations=FOLDER`.
"""
