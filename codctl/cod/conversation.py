"""Conversations kept token for token: what was generated is never decoded and encoded again.

A conversation only ever grows at its end, so a later prompt starts with the earlier prompt and completion exactly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from codctl.cod.prompts import Message
from codctl.errors import PreflightError


class Chat(Protocol):
    """Turns messages into token ids and back."""

    stop_ids: tuple[int, ...]

    def open(self, messages: Sequence[Message]) -> list[int]:
        """Ids of a first prompt, up to where the assistant starts to write."""

    def follow_up(self, text: str, *, stopped: bool) -> list[int]:
        """Ids between a finished reply and the next one. `stopped` says that the reply holds its own stop token."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a reply, without special tokens."""

    def show(self, ids: Sequence[int]) -> str:
        """Text of prompt or reply as a person should see it: with special tokens."""

    def specials(self, ids: Sequence[int]) -> list[str]:
        """The special tokens among the ids, as `show` writes them."""


class PrefixError(PreflightError):
    """A chat template changes earlier turns as the conversation goes on."""


class TemplateChat:
    """A Hugging Face tokenizer whose chat template preserves prefixes.

    Raises:
        PreflightError: When the tokenizer has no chat template, or one that changes earlier turns as the conversation
            goes on, so that training would see other tokens than were sampled.
    """

    _SYSTEM, _USER, _ASSISTANT, _NEXT = "system text", "user text", "assistant text", "next text"

    def __init__(self, tokenizer: Any, *, where: str = "") -> None:
        self._tokenizer = tokenizer
        self._where = where
        if not getattr(tokenizer, "chat_template", None):
            raise PreflightError("the tokenizer has no chat template", where=where, hint=_TEMPLATE_HINT)
        if tokenizer.eos_token_id is None:
            raise PreflightError("the tokenizer has no end-of-sequence token", where=where, hint=_TEMPLATE_HINT)
        self.stop_ids: tuple[int, ...] = (int(tokenizer.eos_token_id),)
        self._stop_text: str = tokenizer.eos_token
        self._specials = _any_of(
            # Not every special token is in one of the tokenizer's named lists (Llama 3's headers are not).
            *tokenizer.all_special_tokens,
            *(str(token) for token in tokenizer.added_tokens_decoder.values() if token.special),
        )
        self._gap = self._learn_gap()
        self.follow_up = lru_cache(maxsize=50_000)(self._follow_up)  # type: ignore[method-assign]

    def open(self, messages: Sequence[Message]) -> list[int]:
        clean = [{"role": m["role"], "content": self._plain(m["content"])} for m in messages]
        return self.encode(self._render(clean))

    def follow_up(self, text: str, *, stopped: bool) -> list[int]:
        return self._follow_up(text, stopped=stopped)

    def _follow_up(self, text: str, *, stopped: bool) -> list[int]:
        before, after = self._gap
        if stopped:
            before = before.removeprefix(self._stop_text)
        return self.encode(before + self._plain(text) + after)

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def show(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def specials(self, ids: Sequence[int]) -> list[str]:
        known = self._tokenizer.added_tokens_decoder
        return sorted({str(known[token]) for token in set(ids) & known.keys() if known[token].special})

    def _plain(self, text: str) -> str:
        """Take special tokens out of text that a model or a user wrote, so that it cannot forge a turn."""
        # Again and again: taking one out can put the halves of another together.
        while (rest := self._specials.sub("", text)) != text:
            text = rest
        return text

    def _render(self, messages: Sequence[Message]) -> str:
        try:
            rendered = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        except Exception as error:  # jinja2 errors of a foreign template
            raise PreflightError(f"the chat template fails: {error}", where=self._where, hint=_TEMPLATE_HINT) from error
        return str(rendered)

    def _learn_gap(self) -> tuple[str, str]:
        """What the template puts between a reply and the next user text, and after that; checks the prefix."""
        first = [{"role": "system", "content": self._SYSTEM}, {"role": "user", "content": self._USER}]
        played = self._render(first) + self._ASSISTANT
        turns = [{"role": "assistant", "content": self._ASSISTANT}, {"role": "user", "content": self._NEXT}]
        longer = self._render([*first, *turns])
        if not longer.startswith(played):
            raise PrefixError(
                "the chat template breaks prefixes: a second turn changes the text of the first, "
                f"expected it to start with {played[-60:]!r}",
                where=self._where,
                hint=_TEMPLATE_HINT,
            )
        before, found, after = longer[len(played) :].partition(self._NEXT)
        if not found or not before.startswith(self._stop_text):
            raise PreflightError(
                f"the chat template does not end a reply with the tokenizer's eos token {self._stop_text!r}",
                where=self._where,
                hint=_TEMPLATE_HINT,
            )
        return before, after


def breaks_prefixes(tokenizer: Any) -> bool:
    """Whether a tokenizer's chat template changes earlier turns as the conversation goes on."""
    if not getattr(tokenizer, "chat_template", None) or tokenizer.eos_token_id is None:
        return False
    try:
        TemplateChat(tokenizer)
    except PrefixError:
        return True
    except PreflightError:
        return False
    return False


def _any_of(*texts: str) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, texts)))


_TEMPLATE_HINT = "give the model folder a chat_template.jinja that only appends, e.g. a plain ChatML template"


class ByteChat:
    """Bytes as tokens: enough for scripted policies, which need no model."""

    stop_ids: tuple[int, ...] = (256,)

    def open(self, messages: Sequence[Message]) -> list[int]:
        return [token for message in messages for token in (*self.encode(message["content"]), 257)]

    def follow_up(self, text: str, *, stopped: bool) -> list[int]:
        return [*([] if stopped else [256]), *self.encode(text), 257]

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
        self.ids = chat.open(messages)
        self.loss_mask = [0] * len(self.ids)
        self.logprobs = [0.0] * len(self.ids)
        self.turn_ends: list[int] = []
        self._stopped = True

    def add_reply(self, token_ids: Sequence[int], logprobs: Sequence[float]) -> str:
        """Append a reply as it was sampled; returns its text."""
        if len(token_ids) != len(logprobs):
            raise ValueError(f"{len(token_ids)} tokens but {len(logprobs)} log-probs")
        self.ids.extend(token_ids)
        self.loss_mask.extend([1] * len(token_ids))
        self.logprobs.extend(logprobs)
        self.turn_ends.append(len(self.ids))
        self._stopped = bool(token_ids) and token_ids[-1] in self._chat.stop_ids
        return self._chat.decode(token_ids)

    def add_observation(self, text: str) -> None:
        """Append the next user turn, up to where the assistant starts to write."""
        added = self._chat.follow_up(text, stopped=self._stopped)
        self.ids.extend(added)
        self.loss_mask.extend([0] * len(added))
        self.logprobs.extend([0.0] * len(added))
