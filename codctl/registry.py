"""Things that a user may add by name: losses, engines, launchers, families of worlds and others, a registry for each.

A name is one of ours, one that an installed package registers in the registry's entry-point group, or
`package.module:object`, which needs no installation. All three mean an object that is imported when it is asked for.
A plug-in that cannot be used takes nothing else with it: it is refused, with its reason, when it is named. A path
that only the folder of a run names is not imported: see `codctl.trust`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from codctl import trust
from codctl.config.names import unknown
from codctl.errors import PreflightError, UsageError

T = TypeVar("T")


class UnusableError(Exception):
    """A plug-in that can be imported, but is not what its registry needs; the message says what it lacks."""


@dataclass(frozen=True)
class Broken:
    """A plug-in that cannot be used.

    Attributes:
        name: What its entry point calls it.
        source: Distribution and entry point.
        reason: What is wrong.
    """

    name: str
    source: str
    reason: str


def a_function(name: str, loaded: Any) -> Any:
    """For `Registry(make=…)`: the object itself, which must be callable."""
    if not callable(loaded):
        raise UnusableError("it is not a function")
    return loaded


def a_subclass_of(base: type | str) -> Callable[[str, Any], Any]:
    """For `Registry(make=…)`: the class itself, which must be a subclass of `base`.

    Args:
        base: The class, or `package.module.Class` where it lies in a room above the registry's.
    """

    def is_one(kind: type) -> bool:
        return issubclass(kind, base) if isinstance(base, type) else base in map(_path_of, kind.__mro__)

    def make(name: str, loaded: Any) -> Any:
        if not (isinstance(loaded, type) and is_one(loaded)):
            raise UnusableError(f"it is not a subclass of {base if isinstance(base, str) else _path_of(base)}")
        return loaded

    return make


def an_instance_of(base: type | str) -> Callable[[str, Any], Any]:
    """For `Registry(make=…)`: an instance of the class, which must be a subclass of `base`."""
    check = a_subclass_of(base)
    return lambda name, loaded: check(name, loaded)()


def _path_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


class Registry(Generic[T]):
    """What there is of one kind, by name.

    Args:
        kind: What one is called in messages: `loss`.
        group: Entry-point group of plug-ins: `codctl.losses`.
        built_in: Ours: name → `module:object`.
        make: Turns a name and the imported object into the thing, and raises `UnusableError` if it cannot be one.
        hint: What to type to see what there is.
        by_path: Whether `package.module:object` is a name, too.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        built_in: Mapping[str, str],
        *,
        make: Callable[[str, Any], T],
        hint: str = "",
        by_path: bool = True,
    ) -> None:
        self.kind, self.group, self.by_path = kind, group, by_path
        self.built_in = dict(built_in)
        self._make, self._hint = make, hint
        self._made: dict[str, T | Broken] = {}

    def names(self) -> tuple[str, ...]:
        """All names, ours first. Imports nothing, so a plug-in among them may turn out to be unusable."""
        return (*self.built_in, *self._plugins[0])

    def check(self, name: str) -> None:
        """Refuse a name that does not exist, without importing what it means.

        Raises:
            UsageError: Names the nearest.
        """
        # The built-in ones come first: looking for plug-ins takes as long as importing some modules.
        if name in self.built_in or (self.by_path and trust.IMPORT_PATH.fullmatch(name)) or name in self._plugins[0]:
            return
        if self.by_path and ":" in name:
            raise UsageError(f"{name!r} is not the import path of a {self.kind}", hint="package.module:object")
        raise unknown(self.kind, name, list(self.names()), self._hint)

    def get(self, name: str) -> T:
        """The thing of this name; the same one for every call.

        Raises:
            UsageError: There is none; names the nearest.
            PreflightError: There is one, but it cannot be used, or the user has not named it.
        """
        self.check(name)
        if not self.is_trusted(name):
            raise PreflightError(
                f"{self.kind} {name!r} is not imported: only the folder of a run names it",
                hint=f"if you trust it: export {trust.TRUSTED}={name}",
            )
        found = self._load(name)
        if isinstance(found, Broken):
            raise PreflightError(
                f"{self.kind} {name!r} cannot be used: {found.reason}",
                where=found.source,
                hint=f"fix or uninstall that package{self._hint and f'; {self._hint} shows the usable ones'}",
            )
        return found

    def is_trusted(self, name: str) -> bool:
        """Whether a name may be imported: ours, an installed plug-in's, or a path that the user has named."""
        return name in self.built_in or name in self._plugins[0] or trust.is_chosen(name)

    def usable(self) -> dict[str, T]:
        """Everything registered that can be used, ours first. Imports all of it."""
        found = {name: self._load(name) for name in self.names()}
        return {name: thing for name, thing in found.items() if not isinstance(thing, Broken)}

    def broken(self) -> tuple[Broken, ...]:
        """The plug-ins that cannot be used. Imports all of them."""
        found = [self._load(name) for name in self._plugins[0]]
        return (*(thing for thing in found if isinstance(thing, Broken)), *self._plugins[1])

    def source(self, name: str) -> str:
        """Where it comes from, for a person who looks for it."""
        entry = self._plugins[0].get(name)
        return _source(entry) if entry else "codctl itself" if name in self.built_in else name

    def forget(self) -> None:
        """Look for plug-ins again. For tests, which install some."""
        self.__dict__.pop("_plugins", None)
        self._made.clear()

    @cached_property
    def _plugins(self) -> tuple[dict[str, EntryPoint], tuple[Broken, ...]]:
        """By name; and those whose name another one has already."""
        found: dict[str, EntryPoint] = {}
        doubles: list[Broken] = []
        for entry in sorted(entry_points(group=self.group), key=_source):
            if entry.name in self.built_in or entry.name in found:
                owner = _source(found[entry.name]) if entry.name in found else "codctl itself"
                reason = f"the name {entry.name!r} is taken by {owner}; choose another"
                doubles.append(Broken(entry.name, _source(entry), reason))
            else:
                found[entry.name] = entry
        return found, tuple(doubles)

    def _load(self, name: str) -> T | Broken:
        if name not in self._made:
            self._made[name] = self._import(name)
        return self._made[name]

    def _import(self, name: str) -> T | Broken:
        if name in self.built_in:
            return self._make(name, EntryPoint(name, self.built_in[name], self.group).load())
        entry = self._plugins[0].get(name) or EntryPoint(name.partition(":")[2], name, self.group)
        try:
            return self._make(entry.name, entry.load())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code: whatever it raises is its own matter
            return Broken(name, self.source(name), _reason(error))


def _reason(error: BaseException) -> str:
    """One line: what is wrong with the plug-in, or what it raised and where."""
    from traceback import extract_tb

    text = " ".join(str(error).split()) or "no message"
    if isinstance(error, UnusableError):
        return text
    own = [f for f in extract_tb(error.__traceback__) if f.filename != __file__ and "importlib" not in f.filename]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {text}{place}"


def _source(entry: EntryPoint) -> str:
    """Distribution, entry point and object: what a person needs to find the culprit."""
    distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed distribution"
    return f"{distribution}, entry point {entry.name} = {entry.value}"
