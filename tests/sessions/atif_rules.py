"""What ATIF asks of a document, as Harbor's models check it (`make test-neighbours` asks those themselves)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

_ROOT = {
    "schema_version", "session_id", "trajectory_id", "agent", "steps", "notes", "final_metrics",
    "continued_trajectory_ref", "extra", "subagent_trajectories",
}  # fmt: skip
_AGENT = {"name", "version", "model_name", "tool_definitions", "extra"}
_STEP = {"step_id", "timestamp", "source", "message", "observation", "is_copied_context", "llm_call_count", "extra"}
_OF_AGENTS = {"model_name", "reasoning_effort", "reasoning_content", "tool_calls", "metrics"}
_METRICS = {
    "prompt_tokens", "completion_tokens", "cached_tokens", "cost_usd", "prompt_token_ids", "completion_token_ids",
    "logprobs", "extra",
}  # fmt: skip
_TOTALS = {f"total_{name}" for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "cost_usd", "steps")}


def check(document: dict[str, Any]) -> None:
    """Fail where a document is no ATIF of version 1.7."""
    assert document["schema_version"] == "ATIF-v1.7"
    assert set(document) <= _ROOT
    assert set(document["agent"]) <= _AGENT
    assert {type(document["agent"][key]) for key in ("name", "version")} == {str}
    assert set(document.get("final_metrics", {})) <= {*_TOTALS, "extra"}
    assert document["steps"]
    for number, step in enumerate(document["steps"], 1):
        is_agent = step["source"] == "agent"
        assert step["source"] in ("system", "user", "agent")
        assert step["step_id"] == number
        assert set(step) <= _STEP | (_OF_AGENTS if is_agent else set())
        assert isinstance(step["message"], str)
        assert set(step.get("metrics", {})) <= _METRICS
        if "timestamp" in step:
            datetime.fromisoformat(step["timestamp"])
        calls = {call["tool_call_id"] for call in step.get("tool_calls", ())}
        for call in step.get("tool_calls", ()):
            assert set(call) <= {"tool_call_id", "function_name", "arguments", "extra"}
            assert isinstance(call["arguments"], dict)
        for result in step.get("observation", {"results": []})["results"]:
            assert set(result) <= {"source_call_id", "content", "subagent_trajectory_ref", "extra"}
            assert result.get("source_call_id") in {*calls, None}
