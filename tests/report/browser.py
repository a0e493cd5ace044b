"""A page in a real browser, headless: what overflows, which colours, how small the texts are."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

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
  const outside = texts.filter((one) => !one.closest(".scroll")).filter((one) => {{
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


def dump(url: str, width: int) -> str:
    """The document of a page once its own script has drawn it."""
    with tempfile.TemporaryDirectory() as profile:
        return _run(profile, width, "--virtual-time-budget=5000", "--dump-dom", url)


def measure(page: Path, width: int, tmp_path: Path, *, dark: bool = False) -> dict[str, object]:
    harness = tmp_path / f"harness-{width}-{dark}.html"
    harness.write_text(_HARNESS.format(width=width, page=html.escape(page.read_text(encoding="utf-8"))))
    with tempfile.TemporaryDirectory() as profile:
        scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
        dom = _run(profile, width, scheme, "--virtual-time-budget=3000", "--dump-dom", harness.as_uri())
    found = re.search(r'<pre id="out">(\{.*?\})</pre>', dom, re.DOTALL)
    assert found, dom[-500:]
    return json.loads(html.unescape(found[1]))


def _run(profile: str, width: int, *options: str) -> str:
    command = [
        str(BROWSER),
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={profile}",
        f"--window-size={max(width, 500)},900",
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=90).stdout
