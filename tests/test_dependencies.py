"""What codctl imports is declared in pyproject.toml and pinned in constraints.txt, and nothing else is declared."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOT_OF_THE_PACKAGE = {"dev", "docs"}


def imported() -> set[str]:
    """Modules that are not Python's own."""
    found = set()
    for path in (ROOT / "codctl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"codctl"}


def declared() -> dict[str, Requirement]:
    extras = PROJECT["optional-dependencies"].items()
    lists = [PROJECT["dependencies"], *(lines for extra, lines in extras if extra not in NOT_OF_THE_PACKAGE)]
    return {canonicalize_name(one.name): one for lines in lists for one in map(Requirement, lines)}


def test_imports_and_declarations_are_the_same() -> None:
    installed, names = packages_distributions(), set(declared())
    used = set()
    for module in imported():
        sources = {canonicalize_name(name) for name in installed.get(module, [module])}  # several may bring one module
        assert sources & names, f"{module} is imported and not declared"
        used |= sources & names
    assert not names - used, "declared and not imported"


def test_each_declaration_has_bounds_and_is_tested_with_one_version() -> None:
    pins = [line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    tested = {canonicalize_name(name): version for name, _, version in pins}
    for name, requirement in declared().items():
        assert requirement.specifier, name
        if name != "vllm":  # has constraints of its own
            assert requirement.specifier.contains(tested[name]), f"{requirement}: tested with {tested[name]}"
