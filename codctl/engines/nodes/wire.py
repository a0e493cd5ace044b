"""What client and server say to each other: JSON, one value a line."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codctl.cod.engine import (
    EngineError,
    EngineStats,
    Generation,
    LostError,
    PromptTooLongError,
    RequestTag,
    Sampling,
    Scores,
)
from codctl.cod.trajectory import TokenRecord
from codctl.errors import BackendError, CodctlError, PreflightError, StageError
from codctl.outcomes import ReplyFault

BEGIN, WAIT, REPLY, ERROR, STATS = "begin", "wait", "reply", "error", "stats"
BYTES = 4 << 20  # of weights, in one piece
LONGEST = 64 << 20  # bytes of a message
_SCORES = ("<f4", "<i4", "<f4")  # of log-probs, and of the likeliest tokens and theirs

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


def of_row(row: TokenRecord) -> dict[str, Any]:
    """What scores depend on: not the log-probs that it was sampled with."""
    return {"ids": row.ids.tolist(), "sampled": np.flatnonzero(row.loss_mask).tolist()}


def to_row(found: dict[str, Any]) -> TokenRecord:
    ids = np.array(found["ids"], np.int32)
    mask = np.zeros(len(ids), np.bool_)
    mask[found["sampled"]] = True
    return TokenRecord(ids, mask, np.zeros(len(ids), np.float32))


def of_scores(scores: Scores) -> list[Any]:
    """As bytes in base64: there are many, and each arrives as it was.

    Raises:
        EngineError: They do not fit into a message.
    """
    arrays = (scores.logprobs_N, scores.top_ids_NK, scores.top_logprobs_NK)
    if sum(array.nbytes for array in arrays if array is not None) > LONGEST // 2:
        raise EngineError(f"the scores of {len(scores.logprobs_N)} tokens are too large for a message")
    return [None if array is None else _packed(array, kind) for array, kind in zip(arrays, _SCORES, strict=True)]


def to_scores(found: Sequence[Any]) -> Scores:
    arrays: Any = (None if one is None else _unpacked(one, kind) for one, kind in zip(found, _SCORES, strict=True))
    return Scores(*arrays)


def _packed(values: NDArray[Any], kind: str) -> list[Any]:
    return [values.shape, base64.b64encode(values.astype(kind).tobytes()).decode("ascii")]


def _unpacked(found: Sequence[Any], kind: str) -> NDArray[Any]:
    shape, word = found
    return np.frombuffer(base64.b64decode(word), kind).reshape(shape).copy()


def of_stats(stats: EngineStats) -> list[int]:
    return list(astuple(stats))
