"""The page stands alone, says what is missing, and treats model output as text."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from codctl.envs.registry import get_family
from codctl.errors import StageError, UsageError
from codctl.files import atomic
from codctl.report import write_report
from codctl.runs.directory import RunDirectory

_VOID = {"meta", "br", "hr", "img", "input", "link", "circle", "line", "rect", "path", "polyline", "polygon"}


class _Outline(HTMLParser):
    """Collects tags and text, and checks that what opens also closes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _outline(path: Path) -> _Outline:
    outline = _Outline()
    outline.feed(path.read_text(encoding="utf-8"))
    assert outline.open == []
    return outline


def _page(run: RunDirectory, tmp_path: Path) -> _Outline:
    return _outline(write_report(run, tmp_path / "report.html"))


@pytest.fixture(scope="module")
def finished_page(finished_run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(finished_run, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def mixed_page(mixed_run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(mixed_run, tmp_path_factory.mktemp("mixed-page") / "report.html")


@pytest.fixture(params=["finished_page", "mixed_page"])
def any_page(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


def test_finished_run(finished_run: RunDirectory, finished_page: Path) -> None:
    page = _outline(finished_page)
    for heading in (
        "It learns within unknown worlds from the hints that it writes itself",
        "Does it learn on the job?",
        "Are the hints right?",
        "Success by position in packs of 8",
        "Shaped reward by position",
        "One pack, step by step",
        "Where the time and the tokens went",
        "How to reproduce it",
    ):
        assert heading in page.text
    assert "This page is incomplete" not in page.text
    assert "codctl train recipes/tiny.yaml" in page.text
    assert finished_run.manifest()["digest"] in page.text
    assert page.tags.count("ins") == 4  # one in each of three rewritten hints, one in the explanation
    assert page.tags.count("svg") == 2 * (2 + 2 + 2 + 3 + 1 + 6)


def test_default_place(fake_runs: ModuleType, tmp_path: Path) -> None:
    run = fake_runs.fake_run(tmp_path, steps=1, evaluated=False)
    assert write_report(run) == run.path / "report.html"
    assert (run.path / "report.html").is_file()


def test_mixture(mixed_page: Path) -> None:
    page = _outline(mixed_page)
    assert (
        "It learns within unknown worlds from the hints that it writes itself: FrozenLake-Obscure. "
        "No measurable learning within unknown worlds: Alchemy-Random." in page.text
    )
    opening, lake, alchemy, whole = re.split('<h1 class="part" id=.*?>', mixed_page.read_text(encoding="utf-8"))
    assert re.findall(r'<a href="#(\w+)">(.*?)</a>', opening) == [
        ("family0", "FrozenLake-Obscure"),
        ("family1", "Alchemy-Random"),
        ("run", "The run overall"),
    ]
    for part, family, other, share in ((lake, "frozen_lake", "alchemy", 75), (alchemy, "alchemy", "frozen_lake", 25)):
        assert part.count("<svg") == 2 * (2 + 2 + 2 + 3 + 1)
        assert f"preset tiny, {share}\xa0% of the packs" in part
        assert f"<code>{family}/tiny/test/17</code>" in part
        assert get_family(family).reference in part
        assert f"{other}/" not in part
    assert "position 3: 30\xa0% at 1, 30\xa0% at 110." in alchemy
    assert "position 3: 30\xa0% at 1, 30\xa0% at 110." not in lake
    assert whole.count("<svg") == 2 * 6
    assert "packs of 4: frozen_lake, preset tiny, weight 3; alchemy, preset tiny, weight 1" in whole


def test_unfinished_mixture_says_what_is_missing(fake_runs: ModuleType, tmp_path: Path) -> None:
    page = _page(fake_runs.fake_run(tmp_path, families=2, without=("after",)), tmp_path)
    assert "Not evaluated yet: 110 of 110 training steps are done." in page.text
    assert "The evaluation after CoD-Train is not there yet." in page.text
    assert page.text.count("is not there yet") == 1
    page = _page(fake_runs.fake_run(tmp_path, name="half", families=2, steps=37, evaluated=False), tmp_path)
    assert "Not evaluated yet: 37 of 110 training steps are done and the run was interrupted." in page.text
    assert page.text.count("is not there yet") == 3


def test_mixture_of_one_family_looks_like_that_family(fake_runs: ModuleType, tmp_path: Path) -> None:
    page = _page(fake_runs.fake_run(tmp_path, families=1), tmp_path)
    assert "nav" not in page.tags
    assert page.tags.count("h1") == 1
    assert page.tags.count("svg") == 2 * (2 + 2 + 2 + 3 + 1 + 6)
    assert "This page is incomplete" not in page.text


def test_stands_alone(any_page: Path) -> None:
    page = _outline(any_page)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not {"src", "srcset", "action", "xlink:href"} & {name for name, _ in page.attributes}
    anchors = {f"#{value}" for name, value in page.attributes if name == "id"}
    assert {value for name, value in page.attributes if name == "href"} <= anchors
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    text = any_page.read_text(encoding="utf-8")
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_ids_are_unique(any_page: Path) -> None:
    ids = [value for name, value in _outline(any_page).attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_every_colour_class_is_defined(finished_page: Path) -> None:
    page = _outline(finished_page)
    used = {c for name, value in page.attributes if name == "class" for c in value.split()}
    css = finished_page.read_text(encoding="utf-8")
    drawn = {c for c in used if re.fullmatch(r"c-\w+|r\d", c)}
    assert len(drawn) >= 10
    assert all(f".{c} " in css for c in drawn)


def test_model_output_stays_text(fake_runs: ModuleType, tmp_path: Path) -> None:
    run = fake_runs.fake_run(tmp_path, hostile=True)
    page = _page(run, tmp_path)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert '<script>alert("x")</script>' in page.text
    assert "\u202e" not in page.text
    assert "\x07" not in page.text


def test_interrupted_run_says_what_is_missing(half_run: RunDirectory, tmp_path: Path) -> None:
    page = _page(half_run, tmp_path)
    assert "Not evaluated yet: 37 of 110 training steps are done and the run was interrupted." in page.text
    assert "The evaluation after CoD-Train is not there yet." in page.text
    assert "CoD-Train has done 37 of 110 steps." in page.text
    assert "Repeat the command to continue the run" in page.text
    assert "Success on training packs" in page.text


def test_damaged_evaluation_is_named(fake_runs: ModuleType, tmp_path: Path) -> None:
    run = fake_runs.fake_run(tmp_path)
    rows = run.stage("evaluation") / "after" / "rows.parquet"
    rows.write_bytes(rows.read_bytes()[:1000])
    page = _page(run, tmp_path)
    assert "The evaluation after CoD-Train cannot be used (rows.parquet: 1000 bytes, expected" in page.text
    assert "warm start" in page.text  # what is whole is still shown


def test_run_that_has_only_been_made(fake_runs: ModuleType, tmp_path: Path) -> None:
    run = fake_runs.fake_run(tmp_path, steps=1, evaluated=False)
    shutil.rmtree(run.path / "stages")
    run.metrics_path.unlink()
    page = _page(run, tmp_path)
    assert "0 of 110 training steps are done" in page.text
    assert "The warm start is not there yet." in page.text
    assert "svg" not in page.tags


def test_a_run_that_waits_has_a_page(half_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for status in ("queued", "paused", "cancelled"):
        monkeypatch.setattr(RunDirectory, "status", lambda _, found=status: found)
        assert f"steps are done and the run is {status}." in _page(half_run, tmp_path).text


def test_damaged_run_is_an_error(fake_runs: ModuleType, tmp_path: Path) -> None:
    run = fake_runs.fake_run(tmp_path, steps=1, evaluated=False)
    (run.path / "config.json").write_text("{")
    with pytest.raises(UsageError, match=r"config\.json cannot be used"):
        write_report(run)


def test_page_that_cannot_be_written(half_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StageError, match="cannot write"):
        write_report(half_run, tmp_path / "file" / "report.html")

    def full(*_args: object, **_options: object) -> None:
        raise StageError("cannot write: the disk is full")

    monkeypatch.setattr(atomic, "write_bytes", full)
    with pytest.raises(StageError, match="the disk is full"):
        write_report(half_run, tmp_path / "report.html")
