"""The keys of a recipe that `codctl eval` takes too: where and how fast a model runs, and in which type."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from codctl.config.compose import Draft
from codctl.config.explain import FieldDoc, field_docs
from codctl.config.names import did_you_mean
from codctl.config.overrides import OPTIONS, Override, parse_overrides
from codctl.config.problems import usage_error
from codctl.config.schema import Config
from codctl.errors import Problem

_SECTIONS = ("model", "sampling", "engine", "runtime", "cluster", "tracking")
# Of other classes, because a training with another value is another one; an evaluation's digest counts them.
COUNTED = ("model.dtype", "engine.kind", "engine.max_tokens")
_OF_LEARNERS = (
    "model.attention",
    "engine.placement",
    "engine.gpus",
    "engine.weights_dir",
    "cluster.processes_per_node",
    "cluster.max_parallel",
    "tracking.trajectories_every",
)


@cache
def resource_docs() -> tuple[FieldDoc, ...]:
    """The keys, in the order of the schema."""
    return tuple(doc for doc in field_docs() if doc.key in COUNTED or _is_resource(doc))


def split(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is typed after `codctl eval`: keys of the evaluation, and keys of a recipe, which have a dot."""
    keys = {text: text.partition("=")[0] for text in overrides}
    dotted = [text for text, key in keys.items() if "." in key and not key.startswith(OPTIONS)]
    return [text for text in overrides if text not in dotted], dotted


def with_resources(config: Config, typed: Sequence[str]) -> Config:
    """A recipe with the resource keys of the command line.

    Args:
        config: Of the run, or the defaults.
        typed: `key=value` each.

    Raises:
        UsageError: With all problems at once.
    """
    if not typed:
        return config
    parsed, problems = parse_overrides(typed)
    known = [doc.key for doc in resource_docs()]
    problems += [_refused(override, known) for override in parsed if override.key not in known]
    if problems:
        raise usage_error("the command line", problems)
    return Draft(config.model_dump(mode="json"), None, "the command line", {}).config(parsed)


def _is_resource(doc: FieldDoc) -> bool:
    is_meant = doc.field_class == "resource" and doc.key.partition(".")[0] in _SECTIONS
    return is_meant and doc.key not in _OF_LEARNERS


def _refused(override: Override, known: Sequence[str]) -> Problem:
    if any(doc.key == override.key for doc in field_docs()):
        reason = f"{override.key} belongs to training; an evaluation takes {', '.join(COUNTED)} and resource keys"
        return Problem(reason, override.where, f"codctl recipe explain {override.key}")
    return Problem(
        f'unknown key "{override.key}"{did_you_mean(override.key, known)}', override.where, "codctl eval --help"
    )
