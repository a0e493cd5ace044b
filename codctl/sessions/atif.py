"""Sessions as ATIF (Agent Trajectory Interchange Format), which Harbor and other tools read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from codctl.sessions.session import Message, Session

VERSION = "ATIF-v1.7"  # the oldest with all that is written here


def as_atif(session: Session, run: str = "", more: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """A session as an ATIF document.

    Args:
        session: With at least one message.
        run: Id of the run that it is a part of; by default its own.
        more: What else to say under `extra`.
    """
    total = session.counted
    return _filled(
        schema_version=VERSION,
        session_id=run or session.id,
        trajectory_id=session.id,
        agent=_filled(
            name=session.agent or "unknown",
            version=session.version or "unknown",
            model_name=session.model,
            tool_definitions=[dict(tool) for tool in session.tools],
        ),
        steps=_steps(session.messages),
        notes=" ".join(f"{note[:1].upper()}{note[1:]}." for note in session.notes),
        final_metrics=_filled(total_prompt_tokens=total.prompt_tokens, total_completion_tokens=total.completion_tokens),
        extra=_filled(
            ended=session.ended,
            problem=session.problem,
            reward=session.reward,
            reward_from=session.reward_from,
            tokens=session.tokens,
            read_from=session.source,
            **more,
        ),
    )


def _steps(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """A step for each message; the results of calls are observations of the step that made them."""
    steps: list[dict[str, Any]] = []
    for message in messages:
        if message.role != "tool":
            steps.append({"step_id": len(steps) + 1, **_step(message)})
            continue
        caller = next((step for step in reversed(steps) if message.call_id in _call_ids(step)), None)
        if caller is None:  # of a call that was not recorded
            caller = {"step_id": len(steps) + 1, "source": "user", "message": ""}
            steps.append(caller)
        is_known = message.call_id in _call_ids(caller)
        caller.setdefault("observation", {"results": []})["results"].append(
            _filled(
                source_call_id=message.call_id if is_known else None,
                content=message.text,
                extra=_filled(is_error=message.is_error or None, timestamp=message.at),
            )
        )
    return steps


def _step(message: Message) -> dict[str, Any]:
    is_agent = message.role == "assistant"
    found: dict[str, Any] = {"source": "agent" if is_agent else message.role, "message": message.text}
    if message.at:
        found["timestamp"] = message.at
    if not is_agent:
        return found
    tokens = message.tokens
    return found | _filled(
        reasoning_content=message.reasoning,
        tool_calls=[
            {"tool_call_id": call.id, "function_name": call.name, "arguments": dict(call.arguments)}
            for call in message.calls
        ],
        metrics=_filled(
            **vars(message.usage),
            prompt_token_ids=list(tokens.prompt_ids) if tokens else None,
            completion_token_ids=list(tokens.ids) if tokens else None,
            logprobs=list(tokens.logprobs) if tokens else None,
        ),
        extra={"written": message.written} if message.written else None,
    )


def _call_ids(step: Mapping[str, Any]) -> set[str]:
    return {call["tool_call_id"] for call in step.get("tool_calls", ())}


def _filled(**values: Any) -> dict[str, Any]:
    """Without what is not known."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}
