"""`codctl docs`: the pages, without a browser or a checkout at hand."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_page_is_listed(cli) -> None:
    pages = cli("docs", "--json").json["result"]["pages"]
    assert {Path(path) for path in pages.values()} == set((ROOT / "docs").rglob("*.md")) - {ROOT / "docs/index.md"}
    assert "SLURM" in cli("docs").out


def test_a_page_is_printed_as_it_is_where_there_is_no_terminal(cli) -> None:
    assert cli("docs", "slurm").out == (ROOT / "docs/slurm.md").read_text()
    assert cli("docs", "docs/worlds/alchemy.md").out == cli("docs", "alchemy").out


def test_a_page_is_formatted_in_a_terminal(cli, monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = cli("docs", "runs").out
    assert "\033[" in out
    assert "```" not in out


def test_a_wrong_name_gets_the_nearest(cli) -> None:
    outcome = cli("docs", "slrum")
    assert outcome.code == 2
    assert outcome.err == 'error: there is no page "slrum"; did you mean "slurm"?\n  → codctl docs\n'
