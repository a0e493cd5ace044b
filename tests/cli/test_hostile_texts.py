"""Texts of models, servers, files and people act on no terminal and no page, whichever command shows them."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codctl.cli import _complete, _output, _rich
from codctl.cli.main import run
from codctl.errors import CodctlError, Problem

BAD = "\x1b[2J\x1b]0;title\x07 [red]x[/red] <b>&lt; \r\x00\x7f\x9b31m \u202etxt.exe\u2066 \u200b\u2028 \U000e0041"
FOREIGN = st.text(
    st.one_of(st.sampled_from([*BAD, "\n", "\t", "\ud800", "é"]), st.characters(exclude_categories=["Cs"])), max_size=12
)
TYPED = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00/"), max_size=12)
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def acts(text: str) -> set[str]:
    """Characters that a terminal would obey, or that turn or hide text."""
    return {
        c
        for c in text
        if (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t")
        or unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        or c in "\u200b\u2060\ufeff\U000e0041"
    }


def printed(show: Callable[[], object]) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        show()
    return out.getvalue(), err.getvalue()


def failing(text: str) -> CodctlError:
    return CodctlError(text, where=text, hint=text, problems=(Problem(text, text, text), Problem("two")))


PRINTERS: dict[str, Callable[[str], object]] = {
    "data": _output.data,
    "talk": _output.talk,
    "table": lambda text: _output.data(_output.table([text, "b"], [[text, 1], [text, 2.5]], cut_last=True)),
    "facts": lambda text: _output.data(_output.facts([(text, text)])),
    "prose": lambda text: _output.data(_output.prose(text)),
    "bold": lambda text: _output.data(_output.bold(text)),
    "result": lambda text: _output.result(text, {text: text}, text, as_json=False),
    "failure": lambda text: _output.failure(text, failing(text), as_json=False),
    "paged": lambda text: _output.paged(_rich.Words().append(text, "bold").append(text)),
    "styled": lambda text: _rich.console(_stdout()).print(_rich.styled(_output.styled(text, "1"))),
    "word": lambda text: _rich.console(_stdout()).print(_rich.word(text, "red"), text),
    "as_text": lambda text: _output.data(_rich.as_text(_rich.Words(text, "red"))),
}


def _stdout() -> TextIO:
    return sys.stdout  # as it is when it is printed to


@pytest.mark.parametrize("colour", ["", "1"])
@pytest.mark.parametrize("printer", PRINTERS)
def test_no_printer_lets_a_text_act(printer: str, colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", colour)
    monkeypatch.setenv("COLUMNS", "60")

    @given(FOREIGN)
    @settings(max_examples=25, deadline=None)
    def check(text: str) -> None:
        for shown in printed(lambda: PRINTERS[printer](text)):
            is_styled = colour or printer == "as_text"
            assert not acts(STYLE.sub("", shown) if is_styled else shown), ascii(shown)

    check()
    shown = "".join(printed(lambda: PRINTERS[printer](BAD)))
    assert r"\u202etxt.exe" in re.sub(r"\s", "", STYLE.sub("", shown))
    assert r"\x1b[2J" in STYLE.sub("", shown)
    assert "[red]x[/red]" in STYLE.sub("", shown)


@given(FOREIGN)
@settings(max_examples=40, deadline=None)
def test_json_stays_json_and_ascii(text: str) -> None:
    for show in (
        lambda: _output.result("view", {text: [text]}, "", as_json=True),
        lambda: _output.failure("view", failing(text), as_json=True),
    ):
        out, err = printed(show)
        assert not err
        assert not acts(out)
        assert out.isascii()
        assert text.encode("utf-8", "surrogatepass") in _encoded(json.loads(out))


def _encoded(value: object) -> bytes:
    """All texts of a JSON value, one after the other."""
    if isinstance(value, dict):
        return b"".join(_encoded(key) + _encoded(item) for key, item in value.items())
    if isinstance(value, list):
        return b"".join(map(_encoded, value))
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""


# Commands that take a name, a path, a key or a text, and do nothing for one that does not exist.
TAKE_A_TEXT = [
    ["status"], ["logs"], ["cancel"], ["resume", "--local"], ["report"], ["credit"], ["view"], ["sync"], ["docs"],
    ["runs", "show"], ["runs", "compare"], ["runs", "list", "--status"], ["evals", "show"], ["evals", "compare"],
    ["recipe", "show"], ["recipe", "explain"], ["recipe", "validate"], ["train", "--dry-run"], ["train"],
    ["sweep", "--dry-run"], ["eval", "--run"], ["eval", "--model"], ["eval", "--policy"], ["eval", "--suite"],
    ["env", "play"], ["env", "validate"], ["env", "generate"], ["recipe", "validate", "tiny"], ["model", "from-gguf"],
    [], ["runs"], ["status", "--runs-dir"],
]  # fmt: skip


@pytest.mark.parametrize("words", TAKE_A_TEXT, ids=" ".join)
def test_what_is_typed_acts_on_no_terminal(words: list[str], home: Path) -> None:
    @given(TYPED, st.sampled_from([[], ["--json"]]))
    @example(BAD.replace("\x00", "").replace("/", ""), [])
    @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
    def check(text: str, flags: list[str]) -> None:
        out, err = printed(lambda: run([*words, *flags, text]))
        assert not acts(out + err), ascii(out + err)
        assert "Traceback" not in err

    check()
    assert not (home / "runs").exists()


@pytest.fixture
def planted(home: Path, trained) -> Path:
    """A run in which everything that a file of it may say at will says something hostile."""
    from codctl.results import trajectory_file

    folder = home / "runs" / "micro"
    shutil.copytree(trained.runs_dir / "micro", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    machine = {**manifest["machine"], "host": BAD, "cpu": BAD, "system": BAD, "commit": BAD}
    said = {**manifest, "recipe": BAD, "command": ["codctl", BAD], "codctl_version": BAD, "machine": machine}
    (folder / "manifest.json").write_text(json.dumps(said))
    record = folder / "attempts" / "001" / "attempt.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "outcome": "failed", "message": BAD, "host": BAD}))
    with (folder / "attempts" / "001" / "log.txt").open("a", encoding="utf-8", newline="") as log:
        log.write(f"{BAD}\n")
    for path in (folder / "stages" / "cod_train" / "trajectories").glob("*.parquet"):
        trajectory_file.write(path, [_hostile(one) for one in trajectory_file.read(path)])
    for path in (folder / "stages" / "cod_train" / "rollouts").glob("*.parquet"):
        _plant_hints(path)
    return folder


def _hostile(transcript):
    texts = dict.fromkeys(("words", "feedback", "task", "truth", "hints_before", "hints_after"), BAD)
    episodes = [
        replace(
            episode,
            **texts,
            outcome=BAD,
            turns=tuple(replace(turn, prompt=BAD, reply=BAD, read=BAD, answer=BAD) for turn in episode.turns),
        )
        for episode in transcript.episodes
    ]
    return replace(transcript, episodes=tuple(episodes))


def _plant_hints(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    hints = pa.array([BAD] * len(table), pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index("hints"), "hints", hints), path)


# What each command shows of it.
SHOWN = {
    "status": [],
    "status micro": [r"\x1b[2J"],
    "runs list": [],
    "runs show micro": [r"\x1b[2J", r"\u202etxt.exe"],
    "runs compare micro micro": [],
    "logs micro": [r"\x1b[2J", r"\r\x00\x7f\x9b31m"],
    "logs micro --follow": [r"\x1b[2J"],
    "status micro --watch": [],
    "view micro": [],
    "view micro --source training --typical": [r"\x1b[2J", r"\r\x00\x7f\x9b31m", "[red]x[/red]"],
    "view micro --hints 0": [],
    "credit micro --step 1": [r"\x1b[2J"],
    "report micro": [],
    "sync micro": [],
    "view micro --html view.html": [],
}


@pytest.mark.parametrize("command", SHOWN)
def test_what_files_say_acts_on_no_terminal(command: str, planted: Path) -> None:
    words = command.split()
    for flags in ([], ["--json"]):
        out, err = printed(lambda flags=flags: run([*words, *flags]))
        assert not acts(out + err), ascii(out + err)
        assert "Traceback" not in err
        if flags and out:
            json.loads(out)
        for text in [] if flags else SHOWN[command]:
            assert text in out + err


def test_what_files_say_acts_on_no_page(planted: Path) -> None:
    printed(lambda: run(["report", "micro"]))
    printed(lambda: run(["view", "micro", "--html", "view.html"]))
    for page in (planted / "report.html", Path("view.html")):
        text = page.read_text(encoding="utf-8")
        assert not acts(text)
        assert "<b>" not in text
    assert r"\u202etxt.exe" in (planted / "report.html").read_text(encoding="utf-8")


def test_names_that_act_are_not_offered(home: Path) -> None:
    for name in ("good", "bad\x1b[2J", "two\nlines", "txt\u202e"):
        (home / "runs" / name).mkdir(parents=True)
        (home / "runs" / name / "manifest.json").touch()
        (home / f"{name}.yaml").touch()

    typed = SimpleNamespace(params={}, args=[])
    assert _complete.runs(typed, "") == ["good"]  # type: ignore[arg-type]
    assert [name for name in _complete.recipes(typed, "") if name.endswith(".yaml")] == ["good.yaml"]  # type: ignore[arg-type]
