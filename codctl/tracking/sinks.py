"""The trackers of a recipe: looked up by name, checked before work starts, and opened."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import TYPE_CHECKING

from codctl import trust
from codctl.errors import CodctlError, PreflightError
from codctl.registry import Registry, a_subclass_of
from codctl.tracking.sink import Sink

if TYPE_CHECKING:
    from codctl.config.schema import TrackingConfig


TRACKERS: Registry[type[Sink]] = Registry(
    "tracker",
    "codctl.trackers",
    {
        "mlflow": "codctl.tracking.mlflow_sink:MlflowSink",
        "wandb": "codctl.tracking.wandb_sink:WandbSink",
        "tensorboard": "codctl.tracking.tensorboard_sink:TensorboardSink",
    },
    make=a_subclass_of(Sink),
)


def names(tracking: TrackingConfig) -> tuple[str, ...]:
    """The trackers that a recipe asks for."""
    return tuple(dict.fromkeys([*(["mlflow"] if tracking.mlflow else []), *tracking.sinks]))


def title(name: str) -> str:
    """What messages call a tracker. A plug-in is not imported for that."""
    return TRACKERS.get(name).title if name in TRACKERS.built_in else name


def open_sink(name: str, tracking: TrackingConfig) -> Sink:
    """A tracker, if the user has chosen it. Nothing is contacted yet.

    Raises:
        BackendError: Only the run's folder names it.
        UsageError, PreflightError: There is none of this name, or it cannot be used.
    """
    if plug_in := _plug_in(name):
        trust.check(plug_in)  # before foreign code is imported
    sink = _make(name, tracking)
    if address := sink.address():
        trust.check(address, sink.trusted_by)
    return sink


def check_names(tracking: TrackingConfig) -> None:
    """See that there are such trackers; nothing is imported.

    Raises:
        UsageError: There is none of this name; names the nearest.
    """
    for name in names(tracking):
        TRACKERS.check(name)


def check_installed(tracking: TrackingConfig) -> None:
    """See that the trackers of a recipe can be used here.

    Raises:
        UsageError: There is none of this name.
        PreflightError: Its package is missing; names what to type.
    """
    check_names(tracking)
    for name in names(tracking):
        if (plug_in := _plug_in(name)) and not trust.is_chosen(plug_in):
            continue  # not imported; what sends to it will say so
        kind = TRACKERS.get(name)
        if kind.package and importlib.util.find_spec(kind.package) is None:
            raise PreflightError(
                f"{kind.title or name} needs the package {kind.package}, which is not installed",
                where="tracking.mlflow" if name == "mlflow" else "tracking.sinks",
                hint=f"{kind.install or f'pip install {kind.package}'}, or leave this tracker out",
            )


def remember(recipes: Iterable[TrackingConfig]) -> None:
    """Note that the user's own recipes or command line name these trackers."""
    found = {(name, tracking.model_dump_json()): tracking for tracking in recipes for name in names(tracking)}
    trust.remember(_plug_in(name) for name, _ in found)
    addresses: list[str | None] = []
    for (name, _), tracking in found.items():
        try:
            addresses.append(_make(name, tracking).address())
        except CodctlError:  # it cannot be used, which the run will say
            continue
    trust.remember(addresses)


def has_answered(name: str, error: Exception) -> bool:
    """Whether a tracker was there and said no, rather than not being there."""
    return TRACKERS.get(name).has_answered(error)


def _plug_in(name: str) -> str | None:
    if name in TRACKERS.built_in:
        return None
    return name if trust.IMPORT_PATH.fullmatch(name) else f"tracker {name}"


def _make(name: str, tracking: TrackingConfig) -> Sink:
    return TRACKERS.get(name)(tracking, tracking.options.get(name, {}))
