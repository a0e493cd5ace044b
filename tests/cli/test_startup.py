"""`codctl --help` is instant: it loads nothing heavy."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

HEAVY = {
    "accelerate", "datasets", "gymnasium", "hydra", "mlflow", "numpy", "omegaconf", "pandas", "peft", "pyarrow",
    "submitit", "torch", "transformers", "trl", "vllm", "yaml",
}  # fmt: skip
ROUNDS = 4

COMMANDS = [
    "plan", "train", "sweep", "status", "logs", "cancel", "resume", "eval", "report", "view", "credit", "sync",
    "push", "deploy", "ralph", "doctor", "docs",
]  # fmt: skip
GROUPS = {
    "context": ["show", "log", "diff", "rollback", "edit", "update", "export", "import", "unexport"],
    "env": ["list", "play", "generate", "demonstrate", "validate", "prompts", "ceilings"],
    "evals": ["list", "show", "compare", "rm"],
    "recipe": ["list", "show", "validate", "explain", "copy"],
    "model": ["from-gguf"],
    "import": ["trinity", "trinity-data", "trinity-logs", "sessions"],
    "export": ["trinity", "atif"],
    "runs": ["list", "show", "logs", "compare", "clean", "status", "cancel", "resume"],
}
# Same commands, options of the same kinds, empty bodies.
BARE = """
from typing import Annotated
import typer

app = typer.Typer(no_args_is_help=True)

def body(
    name: Annotated[str, typer.Argument(help="What.")],
    values: Annotated[list[str] | None, typer.Argument()] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON.")] = False,
    limit: int = 3,
) -> None:
    "Do something with a name and values."

for command in {commands}:
    app.command(command)(body)
for group, inner in {groups}.items():
    sub = typer.Typer(help="A group of commands.")
    for command in inner:
        sub.command(command)(body)
    app.add_typer(sub, name=group)
app()
"""


def worked(command: list[str]) -> float:
    """CPU seconds of a command, which are the same on a busy machine."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_takes_at_most_half_again_as_long_as_a_bare_app(tmp_path: Path) -> None:
    bare = tmp_path / "bare.py"
    bare.write_text(BARE.format(commands=COMMANDS, groups=GROUPS))
    ours = [sys.executable, "-c", "from codctl.cli.main import main; main()", "--help"]
    theirs = [sys.executable, str(bare), "--help"]
    worked(ours), worked(theirs)  # compiles
    ratio = min(worked(ours) for _ in range(ROUNDS)) / min(worked(theirs) for _ in range(ROUNDS))
    assert ratio <= 1.5, f"codctl --help takes {ratio:.2f} times as long as a bare Typer app"


def loaded_by(*argv: str) -> set[str]:
    code = (
        "import json, sys\n"
        "from codctl.cli.main import run\n"
        f"run({list(argv)!r})\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_python_m_codctl_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "codctl", "recipe", "list", "--help"], capture_output=True, text=True)
    assert done.stdout.startswith("Usage: codctl recipe list")


def test_help_imports_nothing_heavy() -> None:
    assert not loaded_by("--help") & (HEAVY | {"pydantic", "rich"})
    assert not loaded_by("train", "--help") & HEAVY  # Typer itself loads pydantic for the types of options


def test_light_commands_import_no_model_library() -> None:
    model = {"accelerate", "datasets", "mlflow", "peft", "torch", "transformers", "trl"}
    assert not loaded_by("env", "list") & model
    assert not loaded_by("runs", "list") & model
    assert not loaded_by("status") & (model | {"submitit", "pandas", "numpy"})
    assert not loaded_by("recipe", "explain", "seed") & model


def test_the_bare_app_has_as_many_commands() -> None:
    from codctl.cli.main import app

    assert [command.name for command in app.registered_commands] == COMMANDS
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    assert {
        name: [command.name or command.callback.__name__ for command in inner.registered_commands]
        for name, inner in groups.items()
    } == GROUPS
