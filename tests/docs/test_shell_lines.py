"""Every shell line of README, docs and experiments: bash reads it, and codctl runs it, on small recipes.

Bash itself splits and expands each block, with functions in the place of the programs that write down how they were
called. What codctl was called with is then run here. A line that is not run has its reason in the document, in a
comment before its block: `<!-- not run: "--watch" runs until Ctrl-C -->`.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from codctl.cli.main import run

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "experiments/**/README.md")
    for path in ROOT.glob(pattern)
    if not path.name.startswith("CLAUDE")
)
PROGRAMS = (
    "codctl",
    "make",
    "pip",
    "python",
    ".venv/bin/python",
    "hf",
    "vllm",
    "transformers",
    "mlflow",
    "uv",
    "uvx",
    "git",
)
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]*) -->\n\n?)?^```(?:sh|console)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL
)
REASON = re.compile(r'"([^"]+)"([^"]+)')

SMALL = """\
description: Seconds on one core.
world: {world}
model: {{build: {{layers: 1, width: 16, heads: 2, kv_heads: 2, ffn: 32}}}}
sampling: {{solve_tokens: 8, update_tokens: 12}}
warm_start: {{packs: 4, batch_rows: 32}}
train: {{steps: 2, packs: 2, rollouts: 2, lr: 1e-3, checkpoint_every: 1}}
evaluation: {{packs: 2, arms: [own, none], long_length: 0}}
tracking: {{mlflow: false, trajectories_every: 1}}
runtime: {{threads: 1}}
"""
WORLDS = {
    "tiny": "{preset: tiny, rendering: compact, length: 3}",
    "tiny-mixture": "{mixture: [{preset: tiny}, {family: alchemy, preset: tiny}], rendering: compact, length: 3}",
}


@dataclass(frozen=True)
class Block:
    """A block of shell lines.

    Attributes:
        page: Where it stands, and in which line.
        text: The lines.
        reasons: Why some are not run: a part of the line, and the reason.
    """

    page: str
    line: int
    text: str
    reasons: dict[str, str]


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        for found in BLOCK.finditer(text):
            lines = found["text"]
            if lines.startswith("$ "):  # a dialogue: its first line is the command
                lines = lines[2:].split("\n")[0] + "\n"
            reasons = {part: why.strip(" ;") for part, why in REASON.findall(found["why"] or "")}
            yield Block(str(page.relative_to(ROOT)), text[: found.start("text")].count("\n") + 1, lines, reasons)


BLOCKS = list(blocks())


def calls(block: Block) -> list[list[str]]:
    """The programs that bash would start, with their arguments."""
    programs = "".join(f"{name}() {{ printf '%s\\0' {name} \"$@\"; printf '\\n\\0'; }}\n" for name in PROGRAMS)
    script = f"{programs}source() {{ :; }}\n" + re.sub(r"(^|&& )\. ", r"\1source ", block.text, flags=re.MULTILINE)
    done = subprocess.run(["bash", "-eu", "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{block.page}:{block.line}: {done.stderr}"
    return [call.split("\0") for call in done.stdout.removesuffix("\0\n\0").split("\0\n\0") if call]


def test_there_are_shell_lines() -> None:
    assert len(BLOCKS) > 20
    assert {"README.md", "docs/slurm.md", "experiments/tiny/README.md"} <= {block.page for block in BLOCKS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_command_hides_in_another_block(page: Path) -> None:
    """Shell lines are those of blocks marked `sh` or `console`, so that none escapes this test."""
    text = page.read_text()
    assert not re.findall(r"^ {4,}(?:codctl|make) .*$", BLOCK.sub("", text), re.MULTILINE)
    assert all(fence != "```" for fence in re.findall(r"^```.*$", text, re.MULTILINE)[::2])


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}:{block.line}")
def test_bash_reads_it(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not re.search(r"=[^\s\"']*[(){}\[\]*?]", re.sub(r'"[^"]*"', "", block.text)), "another shell would expand it"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout in miniature: the recipes under their own names, the small ones made smaller, and finished runs."""
    home = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "recipes", home / "recipes")
    shutil.copytree(ROOT / "docs", home / "docs")
    shutil.copytree(ROOT / "experiments/generalization", home / "experiments/generalization")
    for name, world in WORLDS.items():
        (home / "recipes" / f"{name}.yaml").write_text(f"name: {name}\n{SMALL.format(world=world)}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr("codctl.config.recipes.recipes_folder", lambda: home / "recipes")
        patch.setattr(sys, "argv", ["codctl"])
        for name, recipe in (("tiny", "tiny"), ("mixture-seed0", "tiny-mixture")):
            assert run(["train", f"recipes/{recipe}.yaml", "--name", name]) == 0
        yield home


def smaller(argv: list[str], page: str, home: Path) -> list[str]:
    """What makes a documented command small; everything else is run as it stands."""
    final = str(home / "runs/tiny/stages/cod_train/final")
    argv = [final if word == "FOLDER" else word for word in argv]
    match argv[:2]:
        case ["train", recipe] if (
            {"--slurm", "--extend"} & {*argv}
            or (recipe.startswith("recipes/") and Path(recipe).stem not in WORLDS)
            or page.startswith("experiments/")
        ):
            return [*argv, *([] if "--dry-run" in argv else ["--dry-run"])]
        case ["sweep", *_]:
            return [*argv, *([] if "--dry-run" in argv else ["--dry-run"])]
        case ["eval", *_] if "--list" not in argv:  # where there is one run only, it is the one that is meant
            subject = [] if {"--run", "--model", "--policy"} & {*argv} else ["--run", "tiny"]
            return [*_without(argv, "--limit", "packs="), *subject, "--limit", "2"]
        case ["env", "ceilings" | "generate" | "validate"]:
            return [*_without(argv, "--packs"), "--packs", "20"]
    return argv


def _without(argv: list[str], option: str, key: str = " ") -> list[str]:
    """The words without an option and its value, and without the values of a key."""
    kept = [word for word in argv if not word.startswith(key)]
    place = kept.index(option) if option in kept else len(kept)
    return kept[:place] + kept[place + 2 :]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}:{block.line}")
def test_codctl_runs_it(
    block: Block, sandbox: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    unused = set(block.reasons)
    for call in calls(block):
        typed = " ".join(call)
        if skipped := [part for part in block.reasons if part in typed]:
            unused -= set(skipped)
        elif call[0] == "codctl":
            code = run(smaller(call[1:], block.page, sandbox))
            assert code == 0, f"{block.page}:{block.line}: {typed}\n{capsys.readouterr().err}"
    assert not unused, f"{block.page}:{block.line}: nothing there says {unused}"
