"""Conversations kept token for token: what was generated is never decoded and encoded again.

A conversation only ever grows at its end, so a later prompt starts with the earlier prompt and completion exactly. Only
where a chat template makes that impossible is each prompt rendered anew, and each turn is a row of its own.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Protocol, cast

import numpy as np

from codctl.cod import chat_template
from codctl.envs.base import Message
from codctl.errors import PreflightError

_FOLLOW_UPS = 4096  # texts whose tokens are kept: observations are often repeated
_TEXTS = 1024  # the same of prompts, hints and what goes before a text: all rollouts of a pack begin alike
PROMPT_DATE = datetime.datetime(2025, 1, 1)  # noqa: DTZ001  what templates are told is today: prompts stay the same


class Chat(Protocol):
    """Turns messages into token ids and back.

    Attributes:
        stop_ids: Any of these ends a reply; the first is the one that the template writes.
        appends: Whether a conversation only grows at its end; otherwise each prompt is rendered anew.
    """

    stop_ids: tuple[int, ...]
    appends: bool

    def open(self, messages: Sequence[Message]) -> list[int]:
        """Ids of a prompt, up to where the assistant starts to write."""

    def follow_up(self, text: str, *, ended_by: int | None) -> list[int]:
        """Ids between a finished reply and the next one. `ended_by` is the stop token that the reply holds."""

    def reply(self, text: str) -> list[int]:
        """Ids of a reply as the model should write it, with its stop token."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a reply, without special tokens and without the thought before it."""

    def show(self, ids: Sequence[int]) -> str:
        """Text of prompt or reply as a person should see it: with special tokens."""

    def specials(self, ids: Sequence[int]) -> list[str]:
        """The special tokens among the ids, as `show` writes them."""


class TemplateChat:
    """A Hugging Face tokenizer with its chat template.

    Args:
        tokenizer: The tokenizer.
        stop_ids: Further stop tokens, which the model's generation config names.
        where: Folder, for messages.

    Raises:
        PreflightError: There is no chat template, or it cannot render a conversation of several turns, or nothing ends
            a reply.
    """

    def __init__(self, tokenizer: Any, *, stop_ids: Iterable[int] = (), where: str = "") -> None:
        self._tokenizer = tokenizer
        self._where = where
        self._ids_of = lru_cache(maxsize=_TEXTS)(partial(tokenizer.encode, add_special_tokens=False))
        self.date = ""  # the fixed date, where the template writes one
        if not getattr(tokenizer, "chat_template", None):
            raise PreflightError("the tokenizer has no chat template", where=where, hint=_BASE_HINT)
        self._specials = _any_of(
            # Not every special token is in one of the tokenizer's named lists (Llama 3's headers are not).
            *tokenizer.all_special_tokens,
            *(str(token) for token in tokenizer.added_tokens_decoder.values() if token.special),
        )
        self._layout = self._learn()
        self.appends = not self._layout.rewrites
        self.stop_ids = self._stops(stop_ids)
        self._drops_thoughts = _THOUGHT_END in str(tokenizer.chat_template)
        self._lead_ids = self.encode(self._layout.lead) if self._specials.search(self._layout.lead) else []
        me = cast("TemplateChat", weakref.proxy(self))  # a cycle would keep the tokenizer alive

        def follow_up(text: str, *, ended_by: int | None) -> list[int]:
            return me._follow_up(text, ended_by=ended_by)

        self.follow_up = lru_cache(maxsize=_FOLLOW_UPS)(follow_up)  # type: ignore[method-assign]

    @property
    def notes(self) -> list[str]:
        """What a user should know of how conversations are written, in sentences."""
        layout, found = self._layout, []
        if layout.merges_system:
            found.append(
                "the chat template has no system role, or moves it: the system text goes before the first user text"
            )
        if layout.rewrites:
            found.append(
                f"the chat template cannot be followed token by token ({layout.rewrites}): "
                "each prompt is rendered anew, and each turn is trained as a row of its own"
            )
        elif layout.shortens:
            found.append("the chat template drops thoughts from earlier turns; codctl keeps them as they were sampled")
        if self.date:
            found.append(f"the chat template writes the date of the day: codctl always gives it {self.date}")
        return found

    def describe(self) -> dict[str, Any]:
        """How conversations are written, as data for records."""
        return {
            "turns": "appended" if self.appends else "rendered anew",
            "system_text": "in the first user text" if self._layout.merges_system else "system role",
            "stop_tokens": [self._text(token) for token in self.stop_ids],
            **({"date": self.date} if self.date else {}),
        }

    def digest(self) -> str:
        """What tells it from others: template, tokenizer and stop tokens."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        parts = [str(self._tokenizer.chat_template), backend.to_str() if backend else "", str(self.stop_ids)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def open(self, messages: Sequence[Message]) -> list[int]:
        clean = [{"role": m["role"], "content": self._plain(m["content"])} for m in messages]
        try:
            return self.encode(self._render(chat_template.merged(clean) if self._layout.merges_system else clean))
        except chat_template.TemplateError as error:
            raise self._refusal(error) from error

    def open_with_tools(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        """Ids of the prompt of an agent: any number of turns, tools, calls of them and what they return.

        Args:
            messages: In the form of transformers; the arguments of a call are an object.
            tools: As JSON schemas.

        Raises:
            TemplateError: The template does not render them.
        """
        clean = self._cleaned(list(messages))
        if self._layout.merges_system:
            clean = chat_template.merged(clean)
        text = self._render(clean, tools=self._cleaned(list(tools)) or None)
        return list(self._tokenizer.encode(text, add_special_tokens=False))  # not kept: such prompts are long

    def _cleaned(self, value: Any) -> Any:
        """JSON whose texts are plain."""
        if isinstance(value, str):
            return self._plain(value)
        if isinstance(value, Mapping):
            return {self._plain(key): self._cleaned(inner) for key, inner in value.items()}
        return [self._cleaned(inner) for inner in value] if isinstance(value, list | tuple) else value

    def follow_up(self, text: str, *, ended_by: int | None) -> list[int]:
        return self._follow_up(text, ended_by=ended_by)

    def _follow_up(self, text: str, *, ended_by: int | None) -> list[int]:
        layout = self._layout
        before = layout.closing + layout.opening
        if ended_by is not None and (ended_by == self.stop_ids[0] or not layout.stop_opens):
            before = layout.opening.removeprefix(self._text(ended_by))
        # Behind what it follows in the conversation: some tokenizers put a blank before the first word of a text.
        reply = "a" if ended_by is None else self._text(ended_by)
        return self._encode_behind(reply, before + self._plain(text) + layout.prompt)

    def reply(self, text: str) -> list[int]:
        layout = self._layout
        return [*self._encode_behind(layout.prompt, layout.lead + text + layout.trail), self.stop_ids[0]]

    def encode(self, text: str) -> list[int]:
        return list(self._ids_of(text))

    def decode(self, ids: Sequence[int]) -> str:
        kept = list(ids[:-1] if ids and ids[-1] in self.stop_ids else ids)
        if self._lead_ids:
            kept = _behind(kept, self._lead_ids)
        if not self._drops_thoughts:
            return self._text_of(kept)
        end = self._tokenizer.convert_tokens_to_ids(_THOUGHT_END)
        if end in kept and self._text(end) == _THOUGHT_END:  # perhaps a special token, which the text does not show
            return self._text_of(_behind(kept, [end]))
        _, found, rest = self._text_of(kept).rpartition(_THOUGHT_END)
        return rest if found or not self._layout.thinks else ""

    def show(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def specials(self, ids: Sequence[int]) -> list[str]:
        known = self._tokenizer.added_tokens_decoder
        return sorted({str(known[token]) for token in set(ids) & known.keys() if known[token].special})

    def _text_of(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _plain(self, text: str) -> str:
        """Take special tokens out of text that a model or a user wrote, so that it cannot forge a turn."""
        # Again and again: taking one out can put the halves of another together.
        while (rest := self._specials.sub("", text)) != text:
            text = rest
        return text

    def _encode_behind(self, before: str, text: str) -> list[int]:
        """Ids of a text as it stands behind another; as it stands alone where a token spans both."""
        known, both = self.encode(before), self.encode(before + text)
        return both[len(known) :] if both[: len(known)] == known else self.encode(text)

    def _text(self, token: int) -> str:
        return str(self._tokenizer.convert_ids_to_tokens(token))

    def _render(
        self,
        messages: Sequence[Mapping[str, Any]],
        generate: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        try:
            with chat_template.time_limit():
                rendered = self._tokenizer.apply_chat_template(
                    list(messages),
                    tools=tools,
                    tokenize=False,
                    add_generation_prompt=generate,
                    enable_thinking=False,
                    strftime_now=self._today,
                )
        except chat_template.OverTimeError:
            raise self._refusal(f"it does not end in {chat_template.LONGEST_S:g} s") from None
        except MemoryError:
            raise self._refusal("it takes too much memory") from None
        except Exception as error:  # jinja2 errors of a foreign template
            raise chat_template.TemplateError(str(error) or type(error).__name__) from error
        text, given = str(rendered), sum(len(str(value)) for message in messages for value in message.values())
        given += len(str(tools or ""))
        if len(text) > chat_template.MOST_TEXT + len(messages) * given:
            raise self._refusal(f"it writes {len(text):,} characters for {given:,} of the conversation")
        return text

    def _today(self, form: str) -> str:
        self.date = PROMPT_DATE.strftime(form)
        return self.date

    def _learn(self) -> chat_template.Layout:
        try:
            with chat_template.memory_limit():
                return chat_template.learn(self._render, self._specials)
        except chat_template.TemplateError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: chat_template.TemplateError | str) -> PreflightError:
        message = f"the chat template cannot render a conversation of several turns: {error}"
        return PreflightError(message, where=self._where, hint=_FILES_HINT)

    def _stops(self, named: Iterable[int]) -> tuple[int, ...]:
        """The template's own stop token first, then the tokenizer's, then those that the model's files name."""
        own = self._tokenizer.convert_tokens_to_ids(self._layout.stop) if self._layout.stop else None
        found = dict.fromkeys(token for token in (own, self._tokenizer.eos_token_id, *named) if token is not None)
        if not found:
            raise PreflightError(
                "nothing ends a reply: neither the chat template nor the tokenizer or generation_config.json has a "
                "stop token",
                where=self._where,
                hint="name the token that ends a turn: eos_token_id in generation_config.json",
            )
        return tuple(map(int, found))


def _behind(ids: list[int], mark: list[int]) -> list[int]:
    """What stands behind the last occurrence of a mark; nothing where only its first token occurs."""
    for place in range(len(ids) - len(mark), -1, -1):
        if ids[place : place + len(mark)] == mark:
            return ids[place + len(mark) :]
    return [] if mark[0] in ids else ids


def _any_of(*texts: str) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, texts)))


_THOUGHT_END = "</think>"
_FILES_HINT = "put the tokenizer files that came with the model into the folder"
_BASE_HINT = "use the instruction-tuned model of the family, or the tokenizer files that came with it"


class ByteChat:
    """Bytes as tokens: enough for scripted policies, which need no model."""

    stop_ids: tuple[int, ...] = (256,)
    appends = True

    def open(self, messages: Sequence[Message]) -> list[int]:
        return [token for message in messages for token in (*self.encode(message["content"]), 257)]

    def follow_up(self, text: str, *, ended_by: int | None) -> list[int]:
        return [*([256] if ended_by is None else []), *self.encode(text), 257]

    def reply(self, text: str) -> list[int]:
        return [*self.encode(text), 256]

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(token for token in ids if token < 256).decode(errors="replace")

    def show(self, ids: Sequence[int]) -> str:
        parts = bytes(10 if token == 257 else token for token in ids if token != 256)
        return parts.decode(errors="replace")

    def specials(self, ids: Sequence[int]) -> list[str]:
        return []


class Conversation:
    """Ids, loss mask and sampling log-probs of one episode.

    Attributes:
        ids: Every token so far.
        loss_mask: 1 for generated tokens, 0 for prompt, observation and template tokens; as long as `ids`.
        logprobs: Log-probability under the sampling policy for generated tokens, 0 elsewhere; as long as `ids`.
        turn_ends: Length of `ids` after each reply (for the cost of one training row per turn).
    """

    def __init__(self, chat: Chat, messages: Sequence[Message]) -> None:
        self._chat = chat
        self.ids: list[int] = []
        self.loss_mask: list[int] = []
        self.logprobs: list[float] = []
        self.turn_ends: list[int] = []
        self._ended_by: int | None = None
        self._extend(chat.open(messages))

    @property
    def prompt(self) -> list[int]:
        """What the next reply is sampled from."""
        return self.ids

    def arrays(self) -> dict[str, Any]:
        """The finished conversation as arrays, by the names of `trajectory.TokenRecord`."""
        return {
            "ids": np.array(self.ids, np.int32),
            "loss_mask": np.array(self.loss_mask, np.bool_),
            "logprobs": np.array(self.logprobs, np.float32),
        }

    def add_reply(self, token_ids: Sequence[int], logprobs: Sequence[float]) -> str:
        """Append a reply as it was sampled; returns its text."""
        if len(token_ids) != len(logprobs):
            raise ValueError(f"{len(token_ids)} tokens but {len(logprobs)} log-probs")
        self.ids.extend(token_ids)
        self.loss_mask.extend([1] * len(token_ids))
        self.logprobs.extend(logprobs)
        self.turn_ends.append(len(self.ids))
        stops = bool(token_ids) and token_ids[-1] in self._chat.stop_ids
        self._ended_by = token_ids[-1] if stops else None
        return self._chat.decode(token_ids)

    def add_observation(self, text: str) -> None:
        """Append the next user turn, up to where the assistant starts to write."""
        self._extend(self._chat.follow_up(text, ended_by=self._ended_by))

    def _extend(self, added: Sequence[int]) -> None:
        self.ids.extend(added)
        self.loss_mask.extend([0] * len(added))
        self.logprobs.extend([0.0] * len(added))


class RenderedConversation(Conversation):
    """A conversation whose template cannot be followed token by token: each prompt is rendered from the texts anew.

    `ids` holds one row after another, each a whole prompt and its reply; they end at `turn_ends`.
    """

    def __init__(self, chat: Chat, messages: Sequence[Message]) -> None:
        self._messages, self._begin = list(messages), 0
        super().__init__(chat, messages)

    @property
    def prompt(self) -> list[int]:
        return self.ids[self._begin :]

    def add_reply(self, token_ids: Sequence[int], logprobs: Sequence[float]) -> str:
        text = super().add_reply(token_ids, logprobs)
        self._messages.append({"role": "assistant", "content": text})
        return text

    def add_observation(self, text: str) -> None:
        self._messages.append({"role": "user", "content": text})
        self._begin = len(self.ids)
        self._extend(self._chat.open(self._messages))


def converse(chat: Chat, messages: Sequence[Message]) -> Conversation:
    """Begin a conversation in the way that the chat allows."""
    return (Conversation if chat.appends else RenderedConversation)(chat, messages)
