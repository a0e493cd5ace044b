"""What a world entry sets of the variant `paper`: the data, how replies are scored, and the judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from codctl.config.schema.fields import Section, training
from codctl.envs.learn2ask.scoring import Fusion
from codctl.errors import Problem, UsageError

WHERE = "world.options"


class JudgeOptions(Section):
    """Who judges questions. `rule` compares words; `endpoint` asks a model on an OpenAI-compatible server."""

    kind: str = training("rule", "rule, endpoint, or a judge of a plug-in.")
    url: str = training("", "Of the server, such as http://localhost:8000/v1.")
    model: str = training("", "Its name on the server.")
    api_key_env: str | None = training(None, "Environment variable that holds the key.")
    temperature: float = training(1.0, "Of its replies, as published.", ge=0, le=5)
    top_p: float = training(0.95, "Of its replies, as published.", gt=0, le=1)
    tokens: int = training(4096, "Most tokens of its reply, its reasoning included.", ge=16, le=1_000_000)
    concurrency: int = training(16, "Most requests in flight at once.", ge=1, le=10_000)
    attempts: int = training(6, "Most tries of one request, as published.", ge=1, le=100)
    deadline_s: float = training(120.0, "Longest wait for one try.", gt=0, le=86_400)
    backoff_s: float = training(1.0, "Wait before the second try; doubles with every further one.", ge=0)


class PaperOptions(Section):
    """The data and how replies are scored."""

    data: str = Field(description="JSONL file: cid, session_id, diagn, messages, decision_truth, info_truth.")
    sha256: str | None = training(None, "The file must have this hash.", pattern=r"^[0-9a-f]{64}$")
    fusion: Fusion = training("Ra+Rs", "How decision, content and form become a reward.")
    held_out: Literal["session", "diagnosis"] = training(
        "session", "Validation and test packs are of other sessions, or of other diagnoses."
    )
    judge: JudgeOptions = Field(default_factory=JudgeOptions, description="Who judges questions.")


def read_options(options: Mapping[str, Any]) -> PaperOptions:
    """Check what a world entry sets.

    Raises:
        UsageError: All that is wrong with it.
    """
    try:
        return PaperOptions.model_validate(dict(options))
    except ValidationError as error:
        problems = tuple(_problem(".".join(map(str, one["loc"])), one["type"], one["msg"]) for one in error.errors())
    hint = "world.options: {data: FILE.jsonl, judge: {kind: rule}}  (codctl docs worlds/learn2ask)"
    if len(problems) == 1:
        raise UsageError(problems[0].message, where=WHERE, hint=hint)
    raise UsageError(f"{len(problems)} problems with the options of learn2ask", problems=problems, hint=hint)


def _problem(key: str, kind: str, said: str) -> Problem:
    if kind == "missing":
        return Problem(f"the variant paper needs {key}", WHERE)
    if kind == "extra_forbidden":
        known = JudgeOptions if key.startswith("judge.") else PaperOptions
        return Problem(f"unknown option {key} (known: {', '.join(known.model_fields)})", WHERE)
    return Problem(f"{key}: {said}", WHERE)
