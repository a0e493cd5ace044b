"""What client and server say to each other: JSON, one value a line."""

from __future__ import annotations

import json
from dataclasses import astuple
from typing import Any

from codctl.cod.engine import EngineError, EngineStats, Generation, LostError, PromptTooLongError, RequestTag, Sampling
from codctl.errors import BackendError, CodctlError, PreflightError, StageError
from codctl.outcomes import ReplyFault

BEGIN, WAIT, REPLY, ERROR, STATS = "begin", "wait", "reply", "error", "stats"
BYTES = 4 << 20  # of weights, in one piece
LONGEST = 64 << 20  # bytes of a message

_ERRORS = {kind.__name__: kind for kind in (BackendError, PreflightError, StageError)}
_ENGINE_ERRORS = {kind.__name__: kind for kind in (EngineError, LostError, PromptTooLongError)}


def line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def of_error(error: BaseException) -> dict[str, Any]:
    """An error on its way to the client."""
    if isinstance(error, EngineError):
        found = next(kind for kind in type(error).__mro__ if kind.__name__ in _ENGINE_ERRORS)
        return {"class": found.__name__, "message": str(error)}
    if isinstance(error, CodctlError):
        kind = type(error).__name__
        name = kind if kind in _ERRORS else BackendError.__name__
        return {"class": name, "message": error.message, "where": error.where, "hint": error.hint}
    return {"class": BackendError.__name__, "message": f"{type(error).__name__}: {error}"}


def to_error(found: dict[str, Any], node: str) -> Exception:
    """The same error at the client, with the name of the node that it came from."""
    message = f"{node}: {found['message']}"
    if found["class"] in _ENGINE_ERRORS:
        return _ENGINE_ERRORS[found["class"]](message)
    return _ERRORS[found["class"]](message, where=found.get("where", ""), hint=found.get("hint", ""))


def of_request(prompt_ids: list[int], sampling: Sampling, seed: int, tag: RequestTag) -> dict[str, Any]:
    about = {"pack": tag.pack, "rollout": tag.rollout, "position": tag.position, "turn": tag.turn, "kind": tag.kind}
    return {"prompt_ids": prompt_ids, "sampling": vars(sampling), "seed": seed, "tag": about}


def to_sampling(found: dict[str, Any]) -> Sampling:
    return Sampling(**{**found, "stop_ids": tuple(found["stop_ids"])})


def of_reply(reply: Generation) -> dict[str, Any]:
    fault = reply.fault
    return {**vars(reply), "fault": [fault.kind, fault.words] if fault else None}


def to_reply(found: dict[str, Any]) -> Generation:
    fault = found["fault"]
    return Generation(**{**found, "fault": ReplyFault(*fault) if fault else None})


def of_stats(stats: EngineStats) -> list[int]:
    return list(astuple(stats))
