"""What an evaluation is about, in words. A result says it as data, every page and table in its first line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FINAL, WARM_START, START = "final", "warm-start", "start"
EVERY = "every-checkpoint"


def subject_title(subject: Mapping[str, Any]) -> str:
    """The model of a result: `run tiny, step 20 of 100`.

    Args:
        subject: As result.json has it.
    """
    name = subject["name"]
    if subject["kind"] == "run":
        return f"run {name}, {model_of_run(subject)}"
    if subject["kind"] == "model":
        return f"model {name}"
    if subject["kind"] == "policy":
        return f"scripted policy {name}"
    return f"model {name} on {subject.get('endpoint')}"


def model_of_run(subject: Mapping[str, Any]) -> str:
    """Which model of its run: `step 20 of 100`."""
    which, step = subject.get("checkpoint"), subject.get("step")
    if which is None:  # written by a codctl that did not record it
        return f"model in {subject['folder']}" if "folder" in subject else "step unknown"
    if which == FINAL:
        return f"final model (step {step})"
    if which == WARM_START:
        return "warm start (step 0)"
    if which == EVERY:
        return f"every saved model ({subject.get('models')})"
    if which == START:
        return "model before training (step 0)"
    return f"step {step} of {subject.get('steps')}"
