"""Imports point one way, and the heart knows no torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "codctl"

# What each room may import; every room may import itself and what all may use.
SHARED = {"config", "runs", "tracking", "errors", "log", "outcomes", "quantities", "seeds", "startup"}
MAY_IMPORT = {
    "envs": set(),
    "cod": {"envs"},
    "engines": {"cod", "envs"},
    "learn": {"engines", "cod", "envs"},
    "evaluate": {"engines", "cod", "envs"},
    "stages": {"evaluate", "learn", "engines", "cod", "envs"},
    "dispatch": {"stages", "evaluate", "learn", "engines", "cod", "envs"},
    "cli": {"dispatch", "stages", "evaluate", "learn", "engines", "cod", "envs"},
    "config": set(),
    "runs": set(),
    "tracking": set(),
}
HEAVY = {"accelerate", "mlflow", "peft", "submitit", "torch", "transformers", "trl", "vllm"}
EVERYWHERE, AT_THE_TOP = "everywhere", "at the top"


def files(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def imports(path: Path, where: str) -> Iterator[str]:
    """Dotted names that a file imports; type-checking blocks do not count."""
    todo: list[ast.AST] = [ast.parse(path.read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and where == AT_THE_TOP:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        todo.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room: str) -> None:
    allowed = MAY_IMPORT[room] | SHARED | {room, "__version__"}
    for path in files(room):
        rooms = {name.split(".")[1] for name in imports(path, EVERYWHERE) if name.startswith("codctl.")}
        assert rooms <= allowed, f"{path} imports from {sorted(rooms - allowed)}"


def test_every_room_is_listed() -> None:
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} == set(MAY_IMPORT)


@pytest.mark.parametrize("room", ["envs", "cod"])
def test_worlds_and_the_heart_import_nothing_heavy(room: str) -> None:
    for path in files(room):
        found = {name.split(".")[0] for name in imports(path, EVERYWHERE)} & HEAVY
        assert not found, f"{path} imports {sorted(found)}"


def test_models_are_imported_inside_functions_outside_their_rooms() -> None:
    for room in set(MAY_IMPORT) - {"engines", "learn"}:
        for path in files(room):
            found = {name.split(".")[0] for name in imports(path, AT_THE_TOP)} & HEAVY
            assert not found, f"{path} imports {sorted(found)} at the top"
