"""codctl push: a finished model to a model hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._options import RUNS_DIR, Json, RunsDir

if TYPE_CHECKING:
    from codctl.neighbours.push import Parcel


def push(
    subject: Annotated[
        str, typer.Argument(metavar="RUN|FOLDER", help="A run, or a model's folder.", autocompletion=complete.runs)
    ],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME on the hub.")],
    step: Annotated[
        str, typer.Option("--step", metavar="STEP", help="A saved model: final, warm-start, or a number.")
    ] = "newest",
    private: Annotated[bool, typer.Option("--private", help="Only you may see it.")] = False,
    base: Annotated[
        str | None, typer.Option("--base", metavar="NAME", help="What the hub calls the base model of an adapter.")
    ] = None,
    endpoint_url: Annotated[
        str | None, typer.Option("--endpoint-url", metavar="URL", help="Another hub. Your token is sent to it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be uploaded; contacts nobody.")] = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Upload a finished model with its card to a model hub, as one commit.

    Lists the files first. Only settings, tokenizer, safetensors, model card and licence are uploaded; a file that holds
    a key or somebody's home folder is refused. The token is that of hf auth login, or HF_TOKEN.
    """
    from codctl.neighbours.push import check_target, parcel
    from codctl.neighbours.push import push as upload

    check_target(repo, endpoint_url)
    with tempfile.TemporaryDirectory(prefix="codctl-push-") as temp:
        what = parcel(_folder(subject, step, runs_dir, Path(temp)), Path(temp), base)
        _output.talk(_listed(what, repo, private=private))
        done = None
        if not dry_run:
            message = f"Upload {Path(subject).name} with codctl"
            done = upload(what, repo, private=private, endpoint=endpoint_url, message=message, waiting=_tell_of_waiting)
    value = {
        "repo": repo,
        "private": private,
        "files": [{"name": name, "bytes": size} for name, size in what.files],
        "left_out": list(what.left_out),
        "notes": list(what.notes),
        "pushed": done,
    }
    told = f"pushed: {done['url']}" if done else "nothing was uploaded (--dry-run)"
    _output.result("push", value, told, as_json=as_json)


def _tell_of_waiting(passed_s: float, most_s: float) -> None:
    from codctl.runs.pace import clock

    _output.talk(f"uploading for {clock(passed_s)}, at most {clock(most_s)}")


def _folder(subject: str, step: str, runs_dir: Path, temp: Path) -> Path:
    """The model's folder: of a run, unless a folder of this name holds a model."""
    from codctl.errors import UsageError
    from codctl.neighbours.push import folder_of
    from codctl.runs.directory import find_run

    given = Path(subject)
    if (
        any((given / name).is_file() for name in ("config.json", "adapter_config.json"))
        and not (given / "manifest.json").is_file()
    ):
        if step != "newest":
            raise UsageError("a model's folder has no steps", where="--step")
        return given
    return folder_of(find_run(runs_dir, subject), step, temp)


def _listed(what: Parcel, repo: str, *, private: bool) -> str:
    rows = [[name, f"{size:,}"] for name, size in what.files]
    who = "private" if private else "public, unless it is there and private"
    lines = [_output.table(["file", "bytes"], rows), "", f"to {repo} ({who}): {what.size / 1e6:,.1f} MB"]
    if what.left_out:
        lines.append(f"not uploaded: {', '.join(what.left_out)}")
    return "\n".join([*lines, *what.notes])
