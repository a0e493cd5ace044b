"""The `key=value` of `codctl eval` on top of what its suite and subject set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from codctl.config.evalspec import EvalSpec
from codctl.config.findings import Places, findings, usage_error
from codctl.config.overrides import parse_overrides

_WHAT = "the command line"


def load_evalspec(defaults: Mapping[str, Any], overrides: Sequence[str] = ()) -> EvalSpec:
    """Validate an evaluation.

    Args:
        defaults: What holds unless overridden.
        overrides: `key=value` each, as typed.

    Raises:
        UsageError: With all problems at once.
    """
    parsed, problems = parse_overrides(overrides)
    values = {**defaults, **{override.key: override.value for override in parsed}}
    try:
        spec = EvalSpec.model_validate(values)
    except ValidationError as error:
        found = findings(error, Places(_WHAT, {}, parsed, EvalSpec))
        raise usage_error(_WHAT, [*found, *problems]) from None
    if problems:
        raise usage_error(_WHAT, problems)
    return spec
