"""Which suites there are, and where a name or a path leads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codctl.config.names import nearest
from codctl.config.suite_file import load_suite
from codctl.errors import UsageError

_FOLDER = Path(__file__).parent
_ORDER = ("position-curve", "in-domain-hard", "cross-domain", "ralph-loop", "long-life", "robustness", "published")


@dataclass(frozen=True)
class SuiteFile:
    """One suite on disk. `shown` is how messages name it."""

    path: Path
    shown: str


def shipped() -> list[SuiteFile]:
    """The suites of the package, the usual one first."""
    found = {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}
    names = sorted(found, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    return [SuiteFile(found[name], f"{name}.yaml") for name in names]


def descriptions() -> dict[str, str]:
    """What each shipped suite asks, in one line."""
    suites = [load_suite(suite.path, suite.shown) for suite in shipped()]
    return {suite.name: suite.description for suite in suites}


def find_suite(name_or_path: str) -> SuiteFile:
    """The suite that a user means: a shipped one by name, or a file.

    Raises:
        UsageError: There is none.
    """
    known = {suite.path.stem: suite for suite in shipped()}
    if name_or_path in known:
        return known[name_or_path]
    path = Path(name_or_path)
    if path.is_file():
        return SuiteFile(path, name_or_path)
    if path.suffix in (".yaml", ".yml"):
        raise UsageError(f"no suite file {name_or_path}", hint="codctl eval --list")
    near = nearest(name_or_path, known, cutoff=0.5)
    guess = f"; did you mean {near!r}?" if near else ""
    raise UsageError(f"unknown suite {name_or_path!r}{guess} (known: {', '.join(known)})", hint="codctl eval --list")
