"""The Agent Trajectory Interchange Format (ATIF), versions 1.0 to 1.8, as Harbor and others write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codctl.sessions.session import Call, End, Message, Role, Session, Tokens, Usage, arguments_of, text_of

NAME, TITLE = "atif", "ATIF trajectory"
_ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "agent": "assistant"}
_ENDS = {"ended", "turn_cap", "timeout", "model_error", "crashed"}


def fits(record: Mapping[str, Any]) -> bool:
    return str(record.get("schema_version", "")).startswith("ATIF-v1.")


def sessions(records: Sequence[Mapping[str, Any]], name: str) -> Iterator[Session]:
    for record in records:
        if not fits(record):
            raise ValueError(f"schema_version is {record.get('schema_version')!r}, expected ATIF-v1.…")
        yield _session(record, name)
        yield from sessions(record.get("subagent_trajectories") or (), f"{name}/sub")


def _session(record: Mapping[str, Any], name: str) -> Session:
    agent, extra = record["agent"], record.get("extra") or {}
    totals = record.get("final_metrics") or {}
    steps = [step for step in record["steps"] if not step.get("is_copied_context")]
    copied = len(record["steps"]) - len(steps)
    reward, ended = extra.get("reward"), extra.get("ended")
    if not isinstance(reward, int | float) or isinstance(reward, bool):
        reward = None
    end: End = ended if ended in _ENDS else "unknown"
    return Session(
        id=str(record.get("trajectory_id") or record.get("session_id") or name),
        source=NAME,
        agent=str(agent["name"]),
        version=str(agent["version"]),
        model=str(agent.get("model_name") or ""),
        messages=tuple(message for step in steps for message in _messages(step)),
        tools=tuple(agent.get("tool_definitions") or ()),
        ended=end,
        usage=Usage(totals.get("total_prompt_tokens"), totals.get("total_completion_tokens")),
        reward=None if reward is None else float(reward),
        reward_from="" if reward is None else "source",
        notes=(f"{copied} copied steps are left out",) if copied else (),
    )


def _messages(step: Mapping[str, Any]) -> Iterator[Message]:
    role, at = _ROLES[step["source"]], str(step.get("timestamp") or "")
    calls = tuple(
        Call(call["tool_call_id"], call["function_name"], arguments_of(call["arguments"]))
        for call in step.get("tool_calls") or ()
    )
    metrics = step.get("metrics") or {}
    yield Message(
        role,
        text_of(step["message"]),
        calls,
        reasoning=step.get("reasoning_content") or "",
        written=str((step.get("extra") or {}).get("written", "")),
        usage=Usage(metrics.get("prompt_tokens"), metrics.get("completion_tokens")),
        tokens=_tokens(metrics),
        at=at,
    )
    for result in (step.get("observation") or {}).get("results") or ():
        text, extra = text_of(result.get("content")), result.get("extra") or {}
        call_id = str(result.get("source_call_id") or "")
        told: Role = "tool" if call_id or role == "assistant" else "user"
        yield Message(
            told, text, call_id=call_id, is_error=bool(extra.get("is_error")), at=str(extra.get("timestamp", at))
        )


def _tokens(metrics: Mapping[str, Any]) -> Tokens | None:
    prompt, ids, logprobs = (metrics.get(key) for key in ("prompt_token_ids", "completion_token_ids", "logprobs"))
    if not prompt or not ids or not logprobs or len(ids) != len(logprobs):
        return None
    return Tokens(tuple(map(int, prompt)), tuple(map(int, ids)), tuple(map(float, logprobs)))
