"""Imports point one way, and the heart knows no torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "codctl"

# The rooms, each above those that it may import; below them, what all may use.
ROOMS = [
    "cli",
    "sweeps",
    "doctor",
    "envtools",
    "trinity",
    "neighbours",
    "deploy",
    "jobs",
    "pipeline",
    "evaluate",
    "agents",
    "sessions",
    "train",
    "report",
    "plan",
    "results",
    "learner",
    "models",
    "contexts",
    "engines",
    "cod",
    "envs",
]
SHARED = ["tracking", "runs", "config", "files"]
ALONE = {
    "errors",
    "forks",
    "log",
    "outcomes",
    "processes",
    "quantities",
    "registry",
    "safe_text",
    "seeds",
    "startup",
    "trust",
}
HEAVY = {"accelerate", "mlflow", "peft", "submitit", "tensorboard", "torch", "transformers", "trl", "vllm", "wandb"}
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


@pytest.mark.parametrize("room", ROOMS + SHARED)
def test_imports_point_one_way(room: str) -> None:
    below = ROOMS[ROOMS.index(room) + 1 :] if room in ROOMS else []
    allowed = {*below, *SHARED, *ALONE, room, "__version__"}
    for path in files(room):
        rooms = {name.split(".")[1] for name in imports(path, EVERYWHERE) if name.startswith("codctl.")}
        assert rooms <= allowed, f"{path} imports from {sorted(rooms - allowed)}"


def test_every_room_is_listed() -> None:
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} == {*ROOMS, *SHARED}


@pytest.mark.parametrize("room", ["envs", "cod"])
def test_worlds_and_the_heart_import_nothing_heavy(room: str) -> None:
    for path in files(room):
        found = {name.split(".")[0] for name in imports(path, EVERYWHERE)} & HEAVY
        assert not found, f"{path} imports {sorted(found)}"


def test_models_are_imported_inside_functions_outside_their_rooms() -> None:
    for room in {*ROOMS, *SHARED} - {"engines", "learner", "models"}:
        for path in files(room):
            found = {name.split(".")[0] for name in imports(path, AT_THE_TOP)} & HEAVY
            assert not found, f"{path} imports {sorted(found)} at the top"


# The ways to a terminal or a page that do not show control characters (`codctl.safe_text`), and who may take them.
PRINTERS = {
    "print": {},
    "input": {"cli/_output.py"},
    "sys.stdout.write": {"models/hub_client.py"},  # children that answer through a pipe
    "sys.stderr.write": {"jobs/worker.py", "sweeps/run.py", "models/hub_client.py"},  # `startup.Talk`
    "sys.stdout.buffer": {},
    "sys.stderr.buffer": {},
    "sys.__stdout__": {},
    "sys.__stderr__": {},
    ".write_own": {"cli/_output.py", "cli/_rich.py", "startup.py"},
    "typer.echo": {},
    "typer.secho": {},
    "logging.Formatter": {"log.py"},
    ".get_template": {"report/template.py"},
    ".from_markup": {},
    ".from_ansi": {"cli/_rich.py"},
    "Text": {"cli/_rich.py"},
    "Console": {"cli/_rich.py"},
    "Live": {"cli/_rich.py"},
}


def uses(path: Path) -> set[str]:
    """Names that a file calls or reaches for, with the modules that they are attributes of."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.add(node.func.id)
        if isinstance(node, ast.Attribute):
            found |= {f".{node.attr}", ast.unparse(node)}
        if isinstance(node, ast.Constant) and node.value == "write_own":  # getattr(stream, "write_own")
            found.add(".write_own")
    return found


def test_there_is_one_way_to_the_terminal_and_one_to_a_page() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        others = {way for way in uses(path) & set(PRINTERS) if name not in PRINTERS[way]}
        assert not others, f"{path} prints by {sorted(others)}: use codctl.cli._output, or fill() for a page"


def test_escape_sequences_are_written_in_one_file() -> None:
    reads = {"envtools/players.py", "envs/gymnasium/table.py", "envtools/validate/robustness.py", "safe_text.py"}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).as_posix() in {*reads, "cli/_output.py"}:
            continue
        texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        assert not [text for text in texts if isinstance(text, str) and "\x1b" in text], path


def test_every_program_of_codctl_begins_with_guarded_streams() -> None:
    """All but those that speak through pipes alone, whose other end shows what they say."""
    through_pipes = {"models/hub_client.py", "tracking/sender.py"}
    through_pipes |= {"processes.py", "agents/relay.py", "agents/inside.py"}
    programs = [path for path in PACKAGE.rglob("*.py") if '__name__ == "__main__"' in path.read_text()]
    assert len(programs) > len(through_pipes)
    for path in programs:
        name = path.relative_to(PACKAGE).as_posix()
        assert name in {*through_pipes, "__main__.py"} or "begin_process" in uses(path), path
