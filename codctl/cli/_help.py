"""How `--help` looks: commands in groups, arguments without Python types, examples at the end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup

from codctl.cli._examples import EXAMPLES

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_EXAMPLE_COLUMNS, _SIDE_BY_SIDE = 44, 74
# What the same thing is called in other tools.
_SYNONYMS = {
    "check": "validate", "lint": "validate", "verify": "validate", "test": "validate",
    "ls": "list", "cat": "show", "print": "show", "info": "show", "describe": "show",
    "cp": "copy", "clone": "copy", "new": "copy", "init": "copy", "get": "show", "help": "explain", "keys": "explain",
    "run": "train", "fit": "train", "start": "train", "launch": "train", "finetune": "train",
    "evaluate": "eval", "test-model": "eval", "bench": "eval", "benchmark": "eval", "score": "eval",
    "search": "sweep", "tune": "sweep", "grid": "sweep", "hpo": "sweep",
    "stop": "cancel", "kill": "cancel", "abort": "cancel", "continue": "resume", "restart": "resume",
    "ps": "status", "top": "status", "jobs": "status", "queue": "status", "log": "logs", "tail": "logs",
    "diff": "compare", "rm": "clean", "delete": "clean", "remove": "clean", "prune": "clean", "gc": "clean",
    "html": "report", "plot": "report", "upload": "push", "publish": "push", "watch": "play", "demo": "play",
    "envs": "env", "world": "env", "worlds": "env", "recipes": "recipe", "config": "recipe", "man": "docs",
    "download": "generate", "make": "generate", "export": "generate",
}  # fmt: skip


class Command(TyperCommand):
    """A command whose help names arguments as they are typed, and ends with examples."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [_usage(param) if isinstance(param, TyperArgument) else piece for param, piece in _pieces(self, ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_options(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_examples(ctx, formatter)


class Group(TyperGroup):
    """Commands by their panel, each with its first sentence in full; names of other tools lead to ours."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        shown = [(name, command) for name, command in self.commands.items() if not command.hidden]
        widest = max(len(name) for name, _ in shown)
        for name, command in shown:
            panel = getattr(command, "rich_help_panel", None)
            title = panel if isinstance(panel, str) else "Commands"
            panels.setdefault(title, []).append((name.ljust(widest), _first_sentence(command.help or "")))
        for title, rows in panels.items():
            with formatter.section(title):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_examples(ctx, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        try:
            return self._click_resolve_command(ctx, args)
        except Exception as error:
            known = [name for name, command in self.commands.items() if not command.hidden]
            typed = args[0].lower() if args else ""
            meant = [_SYNONYMS[typed]] if _SYNONYMS.get(typed) in known else get_close_matches(typed, known)
            if meant and hasattr(error, "message"):
                suggestions = " or ".join(f"{name!r}" for name in meant)
                error.message = f"{error.message.rstrip('.')}; did you mean {suggestions}?"
            raise


def _pieces(command: Any, ctx: Any) -> Iterator[tuple[Any, str]]:
    """The parts of a usage line, each with the parameter that it stands for."""
    if command.options_metavar:
        yield None, command.options_metavar
    for param in command.get_params(ctx):
        for piece in param.get_usage_pieces(ctx):
            yield param, piece


def _usage(argument: TyperArgument) -> str:
    name = _name(argument)
    name = name if argument.required else f"[{name}]"
    return name + ("..." if argument.nargs == -1 else "")


def _name(argument: TyperArgument) -> str:
    return argument.metavar or str(argument.name).upper()


def _write_options(command: Any, ctx: Any, formatter: Any) -> None:
    params = command.get_params(ctx)
    arguments = [(_name(param), param.help or "") for param in params if isinstance(param, TyperArgument)]
    options = [param.get_help_record(ctx) for param in params if not isinstance(param, TyperArgument)]
    for title, rows in (("Arguments", arguments), ("Options", [row for row in options if row])):
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def _write_examples(ctx: Any, formatter: Any) -> None:
    rows = EXAMPLES.get(ctx.command_path.partition(" ")[2])
    if not rows:
        return
    with formatter.section("Examples"):
        if formatter.width >= _SIDE_BY_SIDE:
            formatter.write_dl(rows, col_max=_EXAMPLE_COLUMNS)
            return
        for command, meaning in rows:
            formatter.write(f"{' ' * formatter.current_indent}{command}\n")
            with formatter.indentation(), formatter.indentation():
                formatter.write_text(meaning)


def _first_sentence(text: str) -> str:
    """The first sentence, without its full stop."""
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    return re.split(r"(?<=\w)\.(?: |$)|; ", paragraph)[0]
