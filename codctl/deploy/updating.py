"""The next revision of a context, written by a model that reads what an agent program has done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.agents.program import MODEL
from codctl.cod.agent import agent_of
from codctl.cod.conversation import Conversation, TemplateChat, converse
from codctl.cod.engine import EngineError, Generation, RequestTag, Sampling
from codctl.cod.prompts import Account, update_messages
from codctl.cod.requests import Request
from codctl.config.evalspec import EvalSpec
from codctl.contexts.store import Context, Origin, Stored
from codctl.deploy.account import account_of, shorter, task_of
from codctl.deploy.model import opened, spec_of, window_of
from codctl.envs.base import Pack, PolicyView, Rendering, UpdateRule
from codctl.errors import BackendError, UsageError
from codctl.outcomes import FAULTS, UNPLAYED
from codctl.results.agent_session import EXCHANGES
from codctl.seeds import derive_seed
from codctl.sessions.reading import read_sessions
from codctl.sessions.session import Session

if TYPE_CHECKING:
    from codctl.cod.rollout import Player
    from codctl.evaluate.subject import PolicyUnderTest
    from codctl.files.records import Deployed

_SEED = 0
_BYTES_A_TOKEN = 3  # of a server's model, whose tokenizer is not known: rather too few
_SERVER_WINDOW = 32_768  # tokens that are thought to fit where nobody says how many
_MOST_NAME = 500
_DEADLINE_S = 3_600.0  # of a reply of a model that also serves an agent


@dataclass(frozen=True)
class Asked:
    """How an update is made.

    Attributes:
        reward: What the session was worth; None where nobody says so.
        feedback: What somebody says about it.
        rendering: Of the update prompt; None for that of the model's training.
        update: Whether the hints are written anew or edited; None likewise.
        update_tokens: Most tokens of the update; None likewise.
        temperature: None likewise.
        window: Tokens that the model reads, where it does not say so itself.
        model: What the model is called; None for what it calls itself.
    """

    reward: float | None = None
    feedback: str = ""
    rendering: Rendering | None = None
    update: UpdateRule | None = None
    update_tokens: int | None = None
    temperature: float | None = None
    window: int | None = None
    model: str | None = None


def update(context: Context, session: Session, subject: PolicyUnderTest, asked: Asked) -> Stored:
    """Ask the model for the next revision. One that cannot be read is kept too, with the text as it was.

    Raises:
        BackendError: The model gave no reply: nothing is written.
        UsageError: The session does not fit into what the model reads.
    """
    return asyncio.run(_update(context, session, subject, asked))


def chosen(path: Path, number: int | None) -> Session:
    """A session of a file, or of the exchanges in a session's folder.

    Args:
        path: The file.
        number: Which one, from 1; None for the last in which tools were called: programs also ask for titles and such.

    Raises:
        UsageError: There is none.
    """
    found = read_sessions(path / EXCHANGES if path.is_dir() else path)
    if number is None:
        return ([one for one in found if one.tool_calls] or found)[-1]
    if number > len(found):
        raise UsageError(f"there are {len(found)} conversations in it", where=str(path), hint="--conversation N")
    return found[number - 1]


def of_deployment(record: Deployed, asked: Asked) -> tuple[PolicyUnderTest, Asked]:
    """The model of a deployment that runs, asked through its proxy."""
    from codctl.engines.openai.settings import EndpointSettings
    from codctl.evaluate.subject import PolicyUnderTest

    settings = EndpointSettings(record["url"], MODEL, concurrency=1, attempts=1, deadline_s=_DEADLINE_S)
    if not settings.is_loopback:
        raise UsageError("the deployment's record names another machine", where=record["url"], hint="name a model")
    known = replace(
        asked,
        rendering=asked.rendering or record["rendering"],
        update=asked.update or record["update"],
        update_tokens=asked.update_tokens or record["update_tokens"],
        temperature=asked.temperature or record["temperature"],
        window=record["window"],
    )
    return PolicyUnderTest("endpoint", MODEL, endpoint=settings), replace(known, model=record["model"])


async def _update(context: Context, session: Session, subject: PolicyUnderTest, asked: Asked) -> Stored:
    head = context.head()
    reward = session.reward if asked.reward is None else asked.reward
    account = account_of(session, reward=reward, feedback=asked.feedback)
    if not account.turns:
        raise UsageError(f"session {session.id} holds no reply of a model", hint="name another with --conversation N")
    async with opened(subject, context.folder / "engine.log", _spec(subject, asked)) as player:
        settings = player.settings
        room = (asked.window or window_of(subject) or _SERVER_WINDOW) - settings.update_tokens
        conversation = _fitting(player, account, head.text, room)
        generation = await _generated(player, conversation, account, derive_seed(_SEED, *map(str, context.numbers())))
        reply = conversation.add_reply(generation.token_ids, generation.logprobs)
        parsed = settings.read_update(reply, head.text)
    text = head.text if parsed.problem else parsed.text
    tokens = len(player.chat.encode(text)) if isinstance(player.chat, TemplateChat) else 0
    name = asked.model or subject.describe().title
    origin = Origin("update", name[:_MOST_NAME], task_of(session), reward, parsed.edits)
    return context.append(head.revision, text, origin, problem=parsed.problem, tokens=tokens)


def _spec(subject: PolicyUnderTest, asked: Asked) -> EvalSpec:
    said = {key: getattr(asked, key) for key in ("rendering", "update", "update_tokens", "temperature")}
    return spec_of(subject).model_copy(update={key: value for key, value in said.items() if value is not None})


def _fitting(player: Player, account: Account, hints: str, room: int) -> Conversation:
    """The prompt of the update, with as much of the session as fits.

    Raises:
        UsageError: Not even a very short form does.
    """
    settings, chat = player.settings, player.chat
    per_token = 1 if isinstance(chat, TemplateChat) else _BYTES_A_TOKEN
    length = 0
    for shown in shorter(account):
        messages = update_messages(hints, shown, settings.rendering, settings.suggested_tokens, settings.update)
        conversation = converse(chat, messages)
        length = len(conversation.prompt) // per_token
        if length <= room:
            return conversation
    raise UsageError(
        f"the update's prompt has {length:,} tokens in its shortest form, and {room:,} fit beside the reply",
        hint="a model that reads more, or --update-tokens N for a shorter reply",
    )


async def _generated(player: Player, conversation: Conversation, account: Account, seed: int) -> Generation:
    """The model's reply.

    Raises:
        BackendError: There is none, for no reason of the model's.
    """
    settings = player.settings
    sampling = Sampling(settings.update_tokens, settings.temperature, player.chat.stop_ids, settings.top_p)
    nowhere = Pack("session", "", "", "test", 0, ())
    view = PolicyView(nowhere, 0, account.episode, (), "", settings.rendering)  # models are not shown it
    tag = RequestTag("session", 0, 0, 0, "update")

    async def ask(request: Request) -> Generation:
        timed = replace(tag, begin=request.begin, wait=request.wait)
        return await agent_of(player.engine).reply(view, conversation.prompt, sampling, seed=seed, tag=timed)

    try:
        found = await player.requests.reply(ask, settings.deadline_s, "the update")
    except EngineError as error:
        raise BackendError(f"the model gave no update: {error}", hint="nothing was written; try again") from error
    if found.fault and found.fault.kind in UNPLAYED:
        raise BackendError(f"the model gave no update: {found.fault.words or FAULTS[found.fault.kind]}")
    return found
