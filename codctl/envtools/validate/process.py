"""Is a pack the same in another process, with other hashes, and in another Python?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import codctl
from codctl.envs.registry import get_family
from codctl.envtools.validate.check import Finding, Subject
from codctl.envtools.validate.fingerprint import everything
from codctl.errors import PreflightError

_TIMEOUT_S = 120.0
_PACKS = 8
_OLDEST = (3, 11)
_NEWEST_MINOR = 20
_FIX = (
    "use only the `rng` passed in; sort sets before drawing from them or printing them; "
    "avoid hash(), id(), the clock and the environment"
)
_PROGRAM = """
import importlib, json, sys
module, name, options, preset, variant, packs, length, *policies = sys.argv[1:]
from codctl.envtools.validate.fingerprint import everything
family = getattr(importlib.import_module(module), name)()
family = family.with_options(variant, json.loads(options)) if options != "{}" else family
print("\\n".join(everything(family, preset, variant, int(packs), int(length), policies)))
"""


def other_process(subject: Subject) -> Finding:
    different = _differences(subject, sys.executable, _search_path())
    return Finding(
        not different,
        f"another process draws or plays differently: {different[0]}" if different else "same packs, same play",
        _FIX,
    )


def other_python(subject: Subject) -> Finding:
    """With any other Python on PATH; it needs no installation, for worlds need none."""
    for version, executable in other_pythons().items():
        try:
            different = _differences(subject, executable, _roots(subject))
        except PreflightError as error:
            return Finding(None, f"Python {version} cannot load the family: {error.message}")
        return Finding(
            not different,
            f"Python {version} draws or plays differently: {different[0]}"
            if different
            else f"same packs, same play in Python {version}",
            _FIX,
        )
    return Finding(None, "no other Python version on PATH")


def other_pythons() -> dict[str, str]:
    """Pythons on PATH that codctl could run on, other than this version: version and executable."""
    found: dict[str, str] = {}
    folders = os.environ.get("PATH", "").split(os.pathsep)
    for minor in range(_OLDEST[1], _NEWEST_MINOR):
        version = f"{_OLDEST[0]}.{minor}"
        for executable in filter(None, (shutil.which(f"python{version}", path=folder) for folder in folders)):
            # Asked for its version: version managers put names on PATH that start nothing.
            if minor != sys.version_info.minor and version not in found and _version_of(executable) == version:
                found[version] = executable
    return found


def _version_of(executable: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run(  # noqa: S603 - an interpreter that the user put on PATH
        [executable, "-c", code], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    return done.stdout.strip()


def _differences(subject: Subject, executable: str, path: list[str]) -> list[str]:
    """Lines that another interpreter gives otherwise.

    Raises:
        PreflightError: It could not run the family.
    """
    family = subject.family
    kind = type(get_family(family.name) if family.options else family)
    options = json.dumps(dict(family.options))
    world = (subject.preset, subject.variant, str(min(_PACKS, subject.count)), str(subject.length))
    try:
        done = subprocess.run(  # noqa: S603 - a Python and our own program
            [executable, "-c", _PROGRAM, kind.__module__, kind.__qualname__, options, *world, *subject.policies],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONHASHSEED": "4711"},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PreflightError(f"no answer within {_TIMEOUT_S:g} s") from error
    if done.returncode:
        raise PreflightError((done.stderr.strip().splitlines() or ["no message"])[-1])
    here = everything(subject.family, *world[:2], int(world[2]), int(world[3]), subject.policies)
    there = done.stdout.splitlines()
    return [f"{a!r} here, {b!r} there" for a, b in zip(here, there, strict=True) if a != b]


def _search_path() -> list[str]:
    return [path for path in sys.path if path]


def _roots(subject: Subject) -> list[str]:
    """Folders from which codctl and the family are imported; nothing else that this Python has installed."""
    module = type(subject.family).__module__
    file = Path(str(sys.modules[module].__file__))
    depth = module.count(".") + (file.name == "__init__.py")
    return list(dict.fromkeys([str(Path(codctl.__file__).parents[1]), str(file.parents[depth])]))
