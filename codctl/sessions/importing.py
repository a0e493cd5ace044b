"""A folder of imported sessions: what was said, rows for evaluation, demonstrations, training rows, what is missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import codctl
from codctl.errors import RefusedError
from codctl.files.seal import sealing
from codctl.learner.demonstrations import FILE as DEMONSTRATIONS
from codctl.learner.demonstrations import FORMAT, Demonstration
from codctl.learner.demonstrations import write as write_demonstrations
from codctl.quantities import counted
from codctl.sessions import rows, training
from codctl.sessions.mask import Mask
from codctl.sessions.play import PlayedWorld, demonstration
from codctl.sessions.readers import own
from codctl.sessions.reading import read_sessions
from codctl.sessions.session import Session

SESSIONS = "sessions.jsonl"


@dataclass(frozen=True)
class Wanted:
    """What is done with the sessions.

    Attributes:
        form: Name of a reader; by default it is seen in each file.
        agent: Name of the agent program, where the sessions do not say it.
        version: Its version, likewise.
        reward: Gives a session its reward; None leaves what the sessions say themselves.
        mask: Takes personal details out; None leaves them.
        world: That they were played in: then there are demonstrations.
    """

    form: str | None = None
    agent: str = ""
    version: str = ""
    reward: Callable[[Session], Session] | None = None
    mask: Mask | None = None
    world: PlayedWorld | None = None


@dataclass(frozen=True)
class Imported:
    """What was written.

    Attributes:
        folder: All of it.
        sessions: In order.
        demonstrations: How many; None where no world was named.
        left_out: Of the demonstrations: how many sessions for which reason.
        training_rows: How many.
        inexact: Sessions without exact tokens.
        untrainable: Sessions whose tokens were exact and stand for text that was masked.
        masked: What was masked, by kind; None where nothing was to be.
    """

    folder: Path
    sessions: tuple[Session, ...]
    demonstrations: int | None
    left_out: dict[str, int]
    training_rows: int
    inexact: int
    untrainable: int
    masked: dict[str, int] | None

    @property
    def rewards(self) -> int:
        return sum(session.reward is not None for session in self.sessions)

    def as_dict(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "sessions": [
                {key: value for key, value in session.as_dict().items() if key not in ("messages", "tools", "schema")}
                for session in self.sessions
            ],
            "rewards": self.rewards,
            "demonstrations": self.demonstrations,
            "left_out": self.left_out,
            "training_rows": self.training_rows,
            "inexact": self.inexact,
            "untrainable": self.untrainable,
            "masked": self.masked,
        }


def import_sessions(paths: Sequence[Path], out: Path, wanted: Wanted) -> Imported:
    """Read sessions and write the folder, whole or not at all.

    Raises:
        RefusedError: The folder exists.
        UsageError: A file cannot be read, or is of no known form.
        PreflightError: The command that verifies cannot be started.
    """
    if out.exists():
        raise RefusedError("the folder exists", where=str(out), hint="give another folder with --out")
    read = [_completed(one, wanted) for path in paths for one in read_sessions(path, wanted.form)]
    if wanted.reward:
        read = [wanted.reward(one) for one in read]
    sessions = [wanted.mask.session(one) for one in read] if wanted.mask else read
    trainable = [row for session in sessions for row in training.training_rows(session)]
    shown, left_out = _demonstrations(sessions, wanted.world)
    found = Imported(
        out,
        tuple(sessions),
        len(shown) if wanted.world else None,
        dict(left_out),
        len(trainable),
        inexact=sum(one.tokens == "none" for one in read),
        untrainable=sum(a.tokens != b.tokens for a, b in zip(read, sessions, strict=True)),
        masked=dict(sorted(wanted.mask.counts.items())) if wanted.mask else None,
    )
    with sealing(out, _info(found, wanted.world)) as temp:
        lines = "".join(json.dumps(one.as_dict(tokens=True), ensure_ascii=False) + "\n" for one in sessions)
        (temp / SESSIONS).write_text(lines, encoding="utf-8")
        rows.write(temp / rows.FILE, sessions)
        if shown:
            write_demonstrations(temp / DEMONSTRATIONS, shown)
        if trainable:
            training.write(temp / training.FILE, trainable)
        (temp / "README.md").write_text(_card(found, wanted.world), encoding="utf-8")
    return found


def is_imported(folder: Path) -> bool:
    """Whether a folder is one of these."""
    return (folder / SESSIONS).is_file()


def read_imported(folder: Path) -> list[Session]:
    """The sessions of a folder, with their token ids where it has them.

    Raises:
        UsageError: It is damaged.
    """
    return read_sessions(folder / SESSIONS, own.NAME)


def _completed(session: Session, wanted: Wanted) -> Session:
    return replace(session, agent=session.agent or wanted.agent, version=session.version or wanted.version)


def _demonstrations(sessions: Sequence[Session], world: PlayedWorld | None) -> tuple[list[Demonstration], Counter[str]]:
    shown: list[Demonstration] = []
    left_out: Counter[str] = Counter()
    for number, session in enumerate(sessions if world else ()):
        assert world is not None
        found = demonstration(session, world, number)
        if isinstance(found, str):
            left_out[found] += 1
        else:
            shown.append(found)
    return shown, left_out


def _info(found: Imported, world: PlayedWorld | None) -> dict[str, Any]:
    """What the folder is sealed with. With demonstrations, it is also what a warm start asks for."""
    about: dict[str, Any] = {"sessions": len(found.sessions), "masked": found.masked, "codctl": codctl.__version__}
    if found.demonstrations and world:
        about |= {"format": FORMAT, "spec": asdict(world), "prompts": world.prompts, "by": _agents(found)}
    return about


def _agents(found: Imported) -> str:
    return " and ".join(dict.fromkeys(one.agent or "an unknown agent" for one in found.sessions))


def _card(found: Imported, world: PlayedWorld | None) -> str:
    lines = [
        "# Imported sessions",
        "",
        f"{counted(len(found.sessions), 'session')} of {_agents(found)}, read by codctl {codctl.__version__}.",
        "",
        f"* `{SESSIONS}`: each session as a line, with messages in the form of OpenAI chats.",
        f"* `{rows.FILE}`: a row for each session. {found.rewards} of {len(found.sessions)} have a reward.",
    ]
    if found.demonstrations and world:
        shown = counted(found.demonstrations, "demonstration")
        lines.append(
            f"* `{DEMONSTRATIONS}`: {shown} of {world.family} `{world.preset}`, rendering `{world.rendering}`, for "
            "`warm_start.demonstrations`."
        )
    if found.training_rows:
        lines.append(f"* `{training.FILE}`: {counted(found.training_rows, 'row')} with exact tokens and log-probs.")
    lines += ["", *missing(found)]
    return "\n".join(lines).rstrip() + "\n"


def missing(found: Imported) -> list[str]:
    """What the sessions lack, in sentences."""
    of = len(found.sessions)
    sentences = []
    if without := of - found.rewards:
        sentences.append(f"{without} of {of} have no reward: --reward or --verify gives one.")
    if found.inexact:
        sentences.append(
            f"{found.inexact} of {of} have no exact tokens, so there are no training rows of them: only a record of "
            "codctl's model proxy can have them."
        )
    if found.untrainable:
        sentences.append(f"{found.untrainable} of {of} have no training rows since their tokens hold what was masked.")
    if found.left_out:
        why = ", ".join(f"{reason} ({number})" for reason, number in found.left_out.items())
        sentences.append(f"No demonstrations: {why}.")
    return sentences
