"""What a recipe names and packages may add: a registry for each kind. What a name means is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from codctl.config.names import nearest
from codctl.errors import UsageError
from codctl.registry import Registry, a_function, a_subclass_of, an_instance_of

LOSSES: Registry[Callable[..., Any]] = Registry(
    "loss",
    "codctl.losses",
    {name: f"codctl.learner.losses:{name}" for name in ("rec", "grpo", "gspo", "cispo")},
    make=a_function,
)
"""Policy losses: `codctl.learner.losses.Loss`."""

_RETURNS = ("mean_to_go", "window", "discounted", "window_of_tasks", "discounted_tasks", "trajectory_sum")
CREDITS: Registry[Callable[..., Any]] = Registry(
    "return rule",
    "codctl.credits",
    {name: f"codctl.cod.credit:{name}" for name in _RETURNS},
    make=a_function,
)
"""How rewards become returns: `codctl.cod.credit.ReturnRule`."""

_STRATEGIES = {
    "cod": "Cod",
    "ralph_full": "RalphFull",
    "ralph_sample": "RalphSample",
    "drift": "Drift",
    "distractor": "Distractor",
    "poison": "Poison",
    "long": "Long",
}
STRATEGIES: Registry[Any] = Registry(
    "strategy",
    "codctl.strategies",
    {name: f"codctl.cod.strategies:{owner}" for name, owner in _STRATEGIES.items()},
    make=a_subclass_of("codctl.cod.strategies.Strategy"),
)
"""How the tasks of a pack are put together: subclasses of `codctl.cod.strategies.Strategy`."""

_ARMS = {"own": "OwnHints", "none": "NoHints", "shuffled": "ShuffledHints", "oracle": "OracleHints"}
_ARMS |= {"history": "HistoryHints"}
ARMS: Registry[Any] = Registry(
    "arm",
    "codctl.arms",
    {name: f"codctl.cod.arms:{owner}" for name, owner in _ARMS.items()},
    make=a_subclass_of("codctl.cod.arms.Arm"),
    hint="arms=[own,none]",
)
"""Control contexts of evaluations: subclasses of `codctl.cod.arms.Arm`."""


ENGINES: Registry[Any] = Registry(
    "engine",
    "codctl.engines",
    {"transformers": "codctl.engines.provider:Transformers", "vllm": "codctl.engines.vllm.provider:Vllm"},
    make=an_instance_of("codctl.engines.provider.EngineProvider"),
)
"""What samples: `codctl.engines.provider.EngineProvider`."""


def plug_ins(section: BaseModel, above: str = "") -> Iterator[tuple[str, Registry[Any], str]]:
    """Everything in a config that is not ours: its key, its registry and its name. These import code.

    Trackers are not among them: `codctl.tracking.sinks` has its own rules for what is contacted.
    """
    for name, field in type(section).model_fields.items():
        key, value = f"{above}{name}", getattr(section, name)
        if isinstance(value, BaseModel):
            yield from plug_ins(value, f"{key}.")
        for registry in [item.registry for item in field.metadata if isinstance(item, NameIn | NamesIn)]:
            names = [value] if isinstance(value, str) else value
            yield from ((key, registry, one) for one in names if one not in registry.built_in)


@dataclass(frozen=True)
class NameIn:
    """Metadata of a text field of the schema: it must be a name of this registry, or import a thing of its own."""

    registry: Registry[Any]

    @property
    def expected(self) -> str:
        """What may stand there, in words."""
        return f"one of {', '.join(self.registry.names())}, or package.module:name"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, name: str) -> str:
        try:
            self.registry.check(name)
        except UsageError as error:
            near = nearest(name, self.registry.names(), cutoff=0.5) or ""
            raise PydanticCustomError("unknown_name", "{reason}", {"reason": error.message, "near": near}) from error
        return name


@dataclass(frozen=True)
class NamesIn:
    """Metadata of a list of such names, which are checked where they are used."""

    registry: Registry[Any]
