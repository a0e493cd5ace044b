"""The bodies of the OpenAI chat format: requests as this server takes them, replies, and what errors say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, Field, NonNegativeInt, ValidationError, ValidatorFunctionWrapHandler, field_validator

from codctl.cod.engine import Sampling
from codctl.outcomes import ReplyFault

_SEED_BITS = 31  # what every server takes
_SHOWN = 300  # characters of what a server says
_Body = TypeVar("_Body", bound=BaseModel)


@dataclass
class Dialect:
    """How requests to one server are written; servers differ in what they refuse.

    Attributes:
        limit: Name of the token limit.
        sends_seed: Whether requests carry their seed.
        has_system_role: Whether there are system messages; if not, their text stands before the first user text.
        gives_tokens: Whether it takes a request for token ids and log-probs, where one is made.
        notes: What was changed, for the result.
    """

    limit: str = "max_tokens"
    sends_seed: bool = True
    has_system_role: bool = True
    gives_tokens: bool = True
    notes: list[str] = field(default_factory=list)

    def request(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        sampling: Sampling,
        seed: int,
        *,
        wants_tokens: bool = False,
    ) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model,
            "messages": list(messages) if self.has_system_role else _without_system(messages),
            self.limit: sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "stream": False,
        }
        if wants_tokens and self.gives_tokens:
            body |= {"logprobs": True, "extra_body": {"return_token_ids": True}}  # the second is vLLM's own
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
        if "logprobs" in refused and re.search(r"logprobs|return_token_ids", complaint):
            if self.gives_tokens:
                self.gives_tokens = False
                self.notes.append("the server refuses to give token ids and log-probs: replies come without")
            return True
        if any(message["role"] == "system" for message in refused["messages"]) and is_about_roles(complaint):
            if self.has_system_role:
                self.has_system_role = False
                self.notes.append("the server refuses the system role: its text is sent before the first user text")
            return True
        return False


def _without_system(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The same messages as user and assistant in turn: texts of one role that follow each other become one message."""
    found: list[Mapping[str, Any]] = []
    for message in messages:
        role = "user" if message["role"] == "system" else message["role"]
        if found and found[-1]["role"] == role and all(map(_is_text, (found[-1], message))):
            found[-1] = {"role": role, "content": f"{found[-1]['content']}\n\n{message['content']}"}
        else:
            found.append({**message, "role": role})
    return found


def _is_text(message: Mapping[str, Any]) -> bool:
    return message.keys() == {"role", "content"} and isinstance(message["content"], str)


class _Part(BaseModel):
    type: str
    text: str = ""


class _Said(BaseModel):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    reasoning: Any = None
    reasoning_content: Any = None
    tool_calls: list[Any] | None = None
    function_call: Any = None


class _Choice(BaseModel):
    message: _Said
    finish_reason: str | None = None
    token_ids: Any = None
    logprobs: Any = None


class _Usage(BaseModel):
    prompt_tokens: NonNegativeInt | None = None
    completion_tokens: NonNegativeInt | None = None


class Completion(BaseModel):
    """A reply of `/chat/completions`. What a server adds to the format is ignored."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None
    prompt_token_ids: Any = None

    @field_validator("usage", mode="wrap")
    @classmethod
    def _usage_is_optional(cls, value: Any, read: ValidatorFunctionWrapHandler) -> _Usage | None:
        """Counts that make no sense are unknown: no reason to lose the reply."""
        try:
            found: _Usage | None = read(value)
        except ValidationError:
            return None
        return found

    @property
    def text(self) -> str:
        said = self.choices[0].message
        if isinstance(said.content, list):
            return "".join(part.text for part in said.content if part.type == "text")
        return said.content or said.refusal or ""

    @property
    def is_cut(self) -> bool:
        return self.choices[0].finish_reason == "length"

    @property
    def fault(self) -> ReplyFault | None:
        """What was wrong with it, whether or not there is an answer in its text."""
        said, finish = self.choices[0].message, self.choices[0].finish_reason
        if finish == "content_filter":
            return ReplyFault("filtered", shown(said.refusal or ""))
        if said.refusal:
            return ReplyFault("refusal", shown(said.refusal))
        if self.is_cut:
            return ReplyFault("cut")
        if self.text.strip():
            return None
        if said.tool_calls or said.function_call or finish in ("tool_calls", "function_call"):
            return ReplyFault("tool_call", _tool(said))
        return ReplyFault("reasoning" if said.reasoning_content or said.reasoning else "empty")

    @property
    def reasoning(self) -> str:
        said = self.choices[0].message
        return next((text for text in (said.reasoning_content, said.reasoning) if isinstance(text, str)), "")

    @property
    def calls(self) -> list[tuple[str, str, str]]:
        """Calls of tools: id, name and arguments, as text. What is none is left out."""
        given = [one for one in self.choices[0].message.tool_calls or () if isinstance(one, dict)]
        found = [(one.get("id"), one["function"]) for one in given if isinstance(one.get("function"), dict)]
        return [
            (
                str(number or ""),
                one["name"],
                text if isinstance(text := one.get("arguments"), str) else json.dumps(text),
            )
            for number, one in found
            if isinstance(one.get("name"), str)
        ]

    @property
    def sampled(self) -> tuple[list[int], list[int], list[float]] | None:
        """The ids of the prompt, those of the reply and their log-probs, where the server gives all of them."""
        choice = self.choices[0]
        try:
            logprobs = [float(one["logprob"]) for one in choice.logprobs["content"]]
            prompt, ids = [list(map(int, some)) for some in (self.prompt_token_ids, choice.token_ids)]
        except (KeyError, TypeError, ValueError):
            return None
        return (prompt, ids, logprobs) if ids and len(ids) == len(logprobs) else None

    @property
    def tokens(self) -> tuple[int, int] | None:
        """Prompt and completion tokens, where the server counts them."""
        if self.usage is None or self.usage.prompt_tokens is None or self.usage.completion_tokens is None:
            return None
        return self.usage.prompt_tokens, self.usage.completion_tokens


def _tool(said: _Said) -> str:
    """Name of the tool that was called; empty when it cannot be found."""
    calls = [said.function_call, *(call.get("function") for call in said.tool_calls or () if isinstance(call, dict))]
    names = [call["name"] for call in calls if isinstance(call, dict) and isinstance(call.get("name"), str)]
    return shown(names[0]) if names else ""


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


class NotTheFormatError(ValueError):
    """A body that is not what the OpenAI format promises.

    Attributes:
        is_error: Whether it reports an error.
        code: HTTP status that the error names; 0 for none.
        complaint: What the error says.
        may_pass: Whether another try may bring something better.
    """

    def __init__(
        self, reason: str, *, is_error: bool = False, code: int = 0, complaint: str = "", may_pass: bool = False
    ) -> None:
        super().__init__(reason)
        self.is_error, self.code, self.complaint, self.may_pass = is_error, code, complaint, may_pass


def read_completion(body: bytes) -> Completion:
    return _read(Completion, body, "a chat completion")


def read_models(body: bytes) -> list[str]:
    """The names in a reply of `/models`."""
    return [model.id for model in _read(_Models, body, "a list of models").data]


def complaint_of(body: bytes) -> tuple[str, int]:
    """What the body of an error says, on one line, and the HTTP status that it names (0 for none)."""
    text = body.decode(errors="replace")
    try:
        found = json.loads(text)
        return shown(_innermost(found)), _code(found)
    except (ValueError, RecursionError):
        return ("an HTML page" if _is_html(text) else shown(text)), 0


def shown(text: str) -> str:
    """A server's words as they may be shown: one line, not too long, control characters visible and without effect."""
    text = " ".join(text[: 4 * _SHOWN].split())
    text = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _code(found: Any) -> int:
    """The HTTP status in an error, in whatever place the server puts it; 0 for none."""
    error = found.get("error") if isinstance(found, dict) else None
    for place in (error, found):
        for key in ("code", "status", "status_code"):
            value = str(place.get(key)) if isinstance(place, dict) else ""
            if re.fullmatch(r"[45]\d\d", value):
                return int(value)
    return 0


def _innermost(found: Any) -> str:
    for key in ("error", "message", "detail"):  # nested in this order, where they are nested
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _read(kind: type[_Body], body: bytes, what: str) -> _Body:
    text = body.decode(errors="replace")
    if not text.strip():
        raise NotTheFormatError(f"expected {what}, got an empty body", may_pass=True)
    if _is_html(text):
        raise NotTheFormatError(f"expected {what}, got an HTML page", may_pass=True)
    if text.lstrip().startswith(("data:", "event:")):
        raise NotTheFormatError(f"expected {what}, got a stream of events, though none was asked for")
    try:
        found = _whole(json.loads(text))
    except (ValueError, RecursionError):
        raise NotTheFormatError(
            f"expected {what}, got text that is not JSON: “{shown(text[:80])}”", may_pass=True
        ) from None
    if error := _error_in(found):
        said, code = shown(_innermost(error)), _code(error)
        raise NotTheFormatError(f"status 200 with an error: {said}", is_error=True, code=code, complaint=said)
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"JSON that does not fit: {'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
        has_none = isinstance(found, dict) and found.get("choices") == []
        raise NotTheFormatError(f"expected {what}, got {reason}", may_pass=has_none) from None


def _error_in(found: Any) -> Any:
    """The error that some servers report with status 200, beside the choices or in the first of them; None: none."""
    if not isinstance(found, dict):
        return None
    choices = found.get("choices")
    for place in (found, choices[0] if isinstance(choices, list) and choices else None):
        if isinstance(place, dict) and (place.get("error") or place.get("object") == "error"):
            return place
    return None


def _whole(found: Any) -> Any:
    """Half a surrogate pair is in no text that could be sent on."""
    if isinstance(found, str):
        return found.encode(errors="replace").decode()
    if isinstance(found, list):
        return [_whole(one) for one in found]
    if isinstance(found, dict):
        return {_whole(key): _whole(value) for key, value in found.items()}
    return found


def _is_html(text: str) -> bool:
    return text.lstrip()[:15].lower().startswith(("<!doctype", "<html"))


_PASSING = {408, 409, 425, 429}  # and every 5xx
# Servers and gateways report passing trouble with any status, and lasting trouble with those of passing one.
_PASSING_WORDS = re.compile(
    r"overloaded|rate.?limit|too many requests|try again|temporar|unavailable|(at|over) capacity|timed? ?out"
    r"|upstream|provider returned error|\bbusy\b|bad gateway",
    re.IGNORECASE,
)
_LASTING_WORDS = re.compile(r"insufficient.?(quota|credit|balance|funds)|current quota|\bbilling\b", re.IGNORECASE)
_ABOUT_ROLES = re.compile(
    r"system.?(role|message|prompt)|\brole\b.{0,100}\b(system|assistant)\b|user and assistant|alternat",
    re.IGNORECASE,
)


def is_about_roles(complaint: str) -> bool:
    """Whether the server refuses the system role, or wants user and assistant in turn."""
    return bool(_ABOUT_ROLES.search(complaint))


def may_pass(status: int, complaint: str) -> bool:
    """Whether to try again.

    Args:
        status: HTTP status, or the one that the body names; 0 for none.
        complaint: What the server says.
    """
    if _LASTING_WORDS.search(complaint) or is_about_roles(complaint):  # template errors come with status 500 too
        return False
    return status in _PASSING or status >= 500 or bool(_PASSING_WORDS.search(complaint))
