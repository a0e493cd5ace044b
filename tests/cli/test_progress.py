from __future__ import annotations

import logging
import time
import warnings

import pytest

from codctl.cli import _output
from codctl.cli._progress import Paces, PlainDisplay, clock, open_display, rate, sparkline


def test_rate_and_time_left_follow_the_clock() -> None:
    paces = Paces(0.0)
    assert paces.update("CoD-Train", 1, 10, {}, 3.0)
    assert paces.current.line(3.0) == "CoD-Train 1/10, 3.0 s each, 0:27 left"
    assert not paces.update("CoD-Train", 2, 10, {"reward/position_0": 0.25, "reward/position_1": 0.5}, 6.0)
    assert paces.current.line(8.0) == "CoD-Train 2/10, 3.0 s each, 0:22 left, reward 0.25 0.50"
    assert paces.update("CoD-Train", 10, 10, {}, 30.0)


def test_a_resumed_phase_is_timed_from_where_it_resumed() -> None:
    paces = Paces(0.0)
    paces.update("CoD-Train", 51, 100, {}, 4.0)
    assert paces.current.left_s(4.0) == pytest.approx(4.0 * 49)


def test_a_validation_between_steps_does_not_restart_the_clock() -> None:
    paces = Paces(0.0)
    paces.update("CoD-Train", 1, 4, {}, 2.0)
    paces.update("validation", 1, 4, {"success/position_0": 0.5}, 3.0)
    assert paces.current.line(3.0).endswith("success 0.50")
    paces.update("CoD-Train", 2, 4, {}, 6.0)
    assert paces.current.seconds_each() == 3.0


def test_a_mixture_shows_each_family_and_not_their_mean() -> None:
    paces = Paces(0.0)
    for step in (1, 2):
        metrics = {f"{measure}/position_{j}": 0.5 for measure in ("success", "reward") for j in (0, 1)}
        metrics |= {f"{family}/{name}": step / 10 for family in ("frozen_lake", "alchemy") for name in metrics}
        metrics |= {"alchemy/hint_correctness/position_1": 0.9, "failures/format": 0.0}
        paces.update("CoD-Train", step, 4, metrics, 2.0 * step)
    # A step may hold no pack of a rare family: its last numbers stay.
    paces.update("CoD-Train", 3, 4, {"reward/position_0": 0.5, "frozen_lake/reward/position_0": 0.7}, 6.0)
    assert paces.current.line(6.0).endswith("0:02 left, reward frozen_lake 0.70 0.20, alchemy 0.20 0.20")
    assert list(paces.current.rows()) == [
        ("frozen_lake reward", "0.70 0.20", [0.1, 0.2]),
        ("alchemy reward", "0.20 0.20", [0.1, 0.2]),
    ]


def test_one_family_has_a_row_for_each_position() -> None:
    paces = Paces(0.0)
    paces.update("validation", 1, 1, {"success/position_1": 0.75, "success/position_0": 0.5}, 1.0)
    assert list(paces.current.rows()) == [
        ("success at position 0", "0.50", [0.5]),
        ("success at position 1", "0.75", [0.75]),
    ]


def test_a_phase_that_comes_again_is_a_new_one() -> None:
    paces = Paces(0.0)
    paces.update("evaluation", 1, 1, {}, 2.0)
    assert paces.update("evaluation", 1, 1, {}, 7.0)
    assert paces.current.seconds_each() == 5.0


def test_words() -> None:
    assert (rate(3.56), rate(0.1)) == ("3.6 s each", "10.0/s")
    assert (clock(9), clock(75), clock(3725)) == ("0:09", "1:15", "1:02:05")
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"


def test_lines_come_also_when_nothing_moves(capsys: pytest.CaptureFixture[str]) -> None:
    display = PlainDisplay(0.05, _output.talk)
    display.update("CoD-Train", 1, 10, {})
    time.sleep(0.3)
    display.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0].startswith("[0:00] CoD-Train 1/10")
    assert 3 <= len(lines) <= 8
    assert all("no progress for" in line for line in lines[2:])


def test_what_libraries_print_and_warn_of_stays_out_of_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with open_display(60.0) as display:
        print("a library's table")
        warnings.warn("deprecated", FutureWarning, stacklevel=1) if _shows(FutureWarning) else None
        display.message("building")
        logging.getLogger("codctl").warning("the mirror is down")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a library's table" in captured.err
    assert "[0:00] building" in captured.err
    assert "warning: the mirror is down" in captured.err
    assert "deprecated" not in captured.err


def _shows(category: type[Warning]) -> bool:
    """Let this test see how a shown warning is handled, though warnings are errors in tests."""
    warnings.simplefilter("always", category)
    return True
