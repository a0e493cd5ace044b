"""Charts say in words and shapes what they show, and stay inside their box."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from codctl.quantities import number
from codctl.report.chart import Chart, Look, Point, Series

SVG = "{http://www.w3.org/2000/svg}"


def _chart(*series: Series, **fields: object) -> Chart:
    return Chart(**{"key": "k", "title": "T", "x_label": "step", "y_label": "success", "series": series, **fields})


def _line(name: str, *values: float, **fields: object) -> Series:
    return Series(name, [Point(i, y) for i, y in enumerate(values)], Look("c-own"), **fields)


def _parse(chart: Chart, width: int = 600) -> ElementTree.Element:
    text = str(chart.svg(width, 340)).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return ElementTree.fromstring(text)


def _name_heights(root: ElementTree.Element) -> list[float]:
    return [float(e.attrib["y"]) for e in root.iter(f"{SVG}text") if e.attrib.get("class") == "name"]


def test_has_a_name_and_a_description() -> None:
    root = _parse(_chart(_line("own", 0.4, 0.8)))
    described = {e.attrib["id"]: e.text for e in root if e.tag in (f"{SVG}title", f"{SVG}desc")}
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"].split() == list(described)
    assert described["k-600-t"] == "T"
    assert described["k-600-d"] == "success over step. own: 40\xa0% at 0, 80\xa0% at 1."


def test_names_never_overlap_and_stay_inside() -> None:
    root = _parse(_chart(*(_line(f"arm {i}", 0.5, 0.9 + i / 1000) for i in range(7)), _line("low", 0.0, 0.0)))
    heights = sorted(_name_heights(root))
    assert len(heights) == 8
    assert min(b - a for a, b in pairwise(heights)) >= 16.9
    assert heights[0] > 0
    assert heights[-1] < 340


@pytest.mark.parametrize("width", [350, 600])
def test_points_stay_inside(width: int) -> None:
    root = _parse(_chart(_line("a rather long name", -0.2, 0.5, 1.3)), width)
    points = [p.split(",") for e in root.iter(f"{SVG}polyline") for p in e.attrib["points"].split()]
    assert all(0 <= float(x) <= width and 0 <= float(y) <= 340 for x, y in points)


def test_band_only_with_intervals() -> None:
    banded = Series("own", [Point(0, 0.5, 0.4, 0.6), Point(1, 0.7, 0.6, 0.8)], Look("c-own"))
    root = _parse(_chart(banded, _line("none", 0.4, 0.4)))
    assert len(list(root.iter(f"{SVG}polygon"))) == 1
    tips = [e.text for e in root.iter(f"{SVG}title")]
    assert "own, step 1: 70\xa0% (95 % interval 60\xa0% to 80\xa0%)" in tips


def test_long_series_are_not_covered_by_markers() -> None:
    root = _parse(_chart(_line("own", *(0.5 for _ in range(100)))))
    assert len(list(root.iter(f"{SVG}circle"))) == 7  # six on the line, one beside its name


def test_faint_series_has_no_name_and_no_markers() -> None:
    root = _parse(_chart(_line("", 0.1, 0.2, faint=True)))
    assert _name_heights(root) == []
    assert list(root.iter(f"{SVG}circle")) == []


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((0.0, 0.00000016), ["0", "5e-8", "1e-7", "1.5e-7", "2e-7"]),
        ((3.0, 12.0), ["0", "5", "10", "15"]),
        ((-0.5, 0.5), ["-0.5", "-0.25", "0", "0.25", "0.5"]),
        ((0.0, 0.0), ["0", "0.25", "0.5", "0.75", "1"]),
        ((), ["0", "0.25", "0.5", "0.75", "1"]),
    ],
)
def test_free_axis_has_round_ticks(values: tuple[float, ...], ticks: list[str]) -> None:
    root = _parse(_chart(_line("x", *values), y_range=None, show=number))
    found = [e.text for e in root.iter(f"{SVG}text") if e.attrib.get("text-anchor") == "end"]
    assert found == ticks


def test_one_x_value() -> None:
    root = _parse(_chart(Series("own", [Point(20, 0.5)], Look("c-own"))))
    ticks = [e.text for e in root.iter(f"{SVG}text") if e.attrib.get("class") == "tick" and "%" not in (e.text or "")]
    assert ticks == ["20"]


def test_texts_are_escaped() -> None:
    text = str(_chart(_line('<b>&"', 0.5, 0.5), title="<script>").svg(600, 340))
    assert "<script>" not in text
    assert "<b>" not in text
    assert "&lt;b&gt;&amp;" in text


def test_shaded_part() -> None:
    text = str(_chart(_line("own", 0.1, 0.2, 0.3, 0.4), beyond=1.5, beyond_label="never trained").svg(600, 340))
    assert re.search(r'class="shade" x="\d+', text)
    assert "never trained" in text
