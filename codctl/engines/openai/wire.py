"""The bodies of the OpenAI chat format: requests as this server takes them, replies, and what errors say."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from codctl.cod.engine import Sampling
from codctl.cod.prompts import Message

_SEED_BITS = 31  # what every server takes
_Body = TypeVar("_Body", bound=BaseModel)


@dataclass
class Dialect:
    """How requests to one server are written; servers differ in what they refuse.

    Attributes:
        limit: Name of the token limit.
        sends_seed: Whether requests carry their seed.
        notes: What was changed, for the result.
    """

    limit: str = "max_tokens"
    sends_seed: bool = True
    notes: list[str] = field(default_factory=list)

    def request(self, model: str, messages: Sequence[Message], sampling: Sampling, seed: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model,
            "messages": list(messages),
            self.limit: sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "stream": False,
        }
        return {**body, "seed": seed % 2**_SEED_BITS} if self.sends_seed else body

    def adapt(self, refused: dict[str, Any], complaint: str) -> bool:
        """Whether there is another way to write a refused request. Others may have found it while this one waited."""
        if "max_tokens" in refused and "max_completion_tokens" in complaint:
            if self.limit == "max_tokens":
                self.limit = "max_completion_tokens"
                self.notes.append("the server refuses max_tokens: max_completion_tokens is sent")
            return True
        if "seed" in refused and re.search(r"\bseed\b", complaint):
            if self.sends_seed:
                self.sends_seed = False
                self.notes.append("the server refuses seed: none is sent, replies cannot be repeated")
            return True
        return False


class _Part(BaseModel):
    type: str
    text: str = ""


class _Said(BaseModel):
    content: str | list[_Part] | None = None


class _Choice(BaseModel):
    message: _Said
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: NonNegativeInt | None = None
    completion_tokens: NonNegativeInt | None = None


class Completion(BaseModel):
    """A reply of `/chat/completions`. What a server adds to the format is ignored, reasoning among it."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None

    @property
    def text(self) -> str:
        content = self.choices[0].message.content
        if isinstance(content, list):
            return "".join(part.text for part in content if part.type == "text")
        return content or ""

    @property
    def is_cut(self) -> bool:
        return self.choices[0].finish_reason == "length"

    @property
    def tokens(self) -> tuple[int, int] | None:
        """Prompt and completion tokens, where the server counts them."""
        if self.usage is None or self.usage.prompt_tokens is None or self.usage.completion_tokens is None:
            return None
        return self.usage.prompt_tokens, self.usage.completion_tokens


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


class NotTheFormatError(ValueError):
    """A body that is not what the OpenAI format promises."""


def read_completion(body: bytes) -> Completion:
    return _read(Completion, body, "a chat completion")


def read_models(body: bytes) -> list[str]:
    """The names in a reply of `/models`."""
    return [model.id for model in _read(_Models, body, "a list of models").data]


def complaint_of(body: bytes) -> str:
    """What the body of an error says, on one line."""
    text = body.decode(errors="replace")
    try:
        return _line(_innermost(json.loads(text)))
    except (ValueError, RecursionError):
        return "an HTML page" if _is_html(text) else _line(text)


def _innermost(found: Any) -> str:
    for key in ("error", "message", "detail"):  # nested in this order, where they are nested
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _read(kind: type[_Body], body: bytes, what: str) -> _Body:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise NotTheFormatError(f"expected {what}, got {_instead(body, error)}") from None


def _instead(body: bytes, error: ValidationError) -> str:
    """What came instead of the format."""
    text, first = body.decode(errors="replace"), error.errors()[0]
    if _is_html(text):
        return "an HTML page"
    if first["type"] == "json_invalid":
        return f"what is not JSON: {_line(text)[:80]!r}"
    if '"error"' in text:  # some report errors with status 200
        return complaint_of(body)
    return f"JSON that does not fit: {'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"


def _is_html(text: str) -> bool:
    return text.lstrip()[:15].lower().startswith(("<!doctype", "<html"))


def _line(text: str) -> str:
    return "".join(c for c in " ".join(text.split()) if c.isprintable())
