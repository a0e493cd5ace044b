"""The page in a real browser: nothing overflows, light and dark differ, wide and narrow differ."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from codctl.evaluate.report import write_report
from codctl.runs.directory import RunDirectory

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [pytest.mark.browser, pytest.mark.skipif(BROWSER is None, reason="no Chromium")]

# The page forbids scripts, so it is measured from outside: in a frame of the wanted width, and once everything is open.
_HARNESS = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">
<iframe id="f" style="border:0;width:{width}px;height:900px" srcdoc="{page}"></iframe>
<pre id="out"></pre><script>
document.getElementById("f").onload = (event) => {{
  const page = event.target.contentDocument, root = page.documentElement;
  page.querySelectorAll("details").forEach((one) => {{ one.open = true; }});
  const view = event.target.contentWindow;
  const tooWide = [...page.querySelectorAll("main *")].filter((one) =>
    !one.closest(".scroll table, svg") && one.getBoundingClientRect().right > root.clientWidth + 0.5);
  const texts = [...page.querySelectorAll("svg text")].filter((one) => one.getBoundingClientRect().width > 0);
  const outside = texts.filter((one) => {{
    const box = one.getBoundingClientRect(), card = one.closest(".card").getBoundingClientRect();
    return box.left < card.left || box.right > card.right;
  }});
  document.getElementById("out").textContent = JSON.stringify({{
    client: root.clientWidth, scroll: root.scrollWidth,
    tooWide: tooWide.map((one) => one.tagName + "." + one.className).slice(0, 5),
    outside: outside.map((one) => one.textContent).slice(0, 5),
    smallest: Math.min(...texts.map((one) => one.getBoundingClientRect().height)),
    charts: [...page.querySelectorAll("svg")].filter((one) => one.getBoundingClientRect().width > 0).length,
    background: view.getComputedStyle(page.body).backgroundColor,
    ink: view.getComputedStyle(page.body).color,
  }});
}};
</script>"""


def _measure(page: Path, width: int, tmp_path: Path, *, dark: bool = False) -> dict[str, object]:
    harness = tmp_path / f"harness-{width}-{dark}.html"
    harness.write_text(_HARNESS.format(width=width, page=html.escape(page.read_text(encoding="utf-8"))))
    with tempfile.TemporaryDirectory() as profile:
        command = [
            str(BROWSER),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            f"--user-data-dir={profile}",
            f"--window-size={max(width, 500)},900",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--virtual-time-budget=3000",
            "--dump-dom",
            harness.as_uri(),
        ]
        dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=90).stdout
    found = re.search(r'<pre id="out">(\{.*?\})</pre>', dom, re.DOTALL)
    assert found, dom[-500:]
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module")
def page(finished_run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(finished_run, tmp_path_factory.mktemp("page") / "report.html")


@pytest.mark.parametrize("width", [360, 1050])
def test_mixture_fits(mixed_run: RunDirectory, tmp_path: Path, width: int) -> None:
    found = _measure(write_report(mixed_run, tmp_path / "mixed.html"), width, tmp_path)
    assert found["scroll"] <= found["client"], found
    assert found["tooWide"] == found["outside"] == []
    assert found["charts"] == 26


@pytest.mark.parametrize("width", [360, 700, 1050, 1600])
def test_fits_every_width(page: Path, tmp_path: Path, width: int) -> None:
    found = _measure(page, width, tmp_path)
    assert found["scroll"] <= found["client"], found
    assert found["tooWide"] == []
    assert found["outside"] == []
    assert found["charts"] == 16
    assert found["smallest"] >= 10, found


def test_dark_and_light(page: Path, tmp_path: Path) -> None:
    light, dark = (_measure(page, 1000, tmp_path, dark=dark) for dark in (False, True))
    assert light["background"] == "rgb(251, 251, 249)"
    assert dark["background"] == "rgb(20, 22, 26)"
    assert light["ink"] != dark["ink"]


def test_unfinished_run_fits_too(half_run: RunDirectory, tmp_path: Path) -> None:
    page = write_report(half_run, tmp_path / "half.html")
    found = _measure(page, 360, tmp_path)
    assert found["scroll"] <= found["client"]
    assert found["tooWide"] == []
