from __future__ import annotations

import io
import logging
import sys
import time
import warnings
from pathlib import Path

import pytest

from codctl.cli import _output
from codctl.cli._progress import LiveDisplay, Paces, PlainDisplay, _head, clock, open_display, rate, sparkline
from codctl.cli._sweep_display import _Live
from codctl.runs.progress import Logged, Unfailing, of_arm


def test_rate_and_time_left_follow_the_clock() -> None:
    paces = Paces(0.0)
    paces.update("CoD-Train", 0, 10, {}, 1.0)
    paces.update("CoD-Train", 1, 10, {}, 7.0)
    assert paces.current.line(7.0) == "CoD-Train 1/10, 6.0 s each, 0:54 left"
    paces.update("CoD-Train", 2, 10, {"reward/position_0": 0.25, "reward/position_1": 0.5}, 13.0)
    assert paces.current.line(15.0) == "CoD-Train 2/10, 6.0 s each, 0:46 left, reward 0.25 0.50"
    ended = paces.update("CoD-Train", 10, 10, {}, 61.0)
    assert ended
    assert ended.line(61.0) == "CoD-Train 10/10 in 1:00, reward 0.25 0.50"


def test_a_line_says_when_replies_cannot_be_read() -> None:
    paces = Paces(0.0)
    paces.update("curve", 1, 4, {"own/success/position_0": 0.0, "own/unreadable": 0.75}, 1.0)
    assert paces.current.line(2.0).endswith(", success own 0.00, 75\xa0% of the replies could not be read")
    paces.update("curve", 2, 4, {"own/success/position_0": 0.5, "own/unreadable": 0.02}, 3.0)
    assert paces.current.line(4.0).endswith(", success own 0.50")


def test_the_first_reports_the_end_and_nothing_else_is_news() -> None:
    paces = Paces(0.0)
    assert [bool(paces.update("CoD-Train", step, 6, {}, 9.0 * step)) for step in (0, 1, 2, 3, 4, 6)] == [
        *[True] * 3, *[False] * 2, True,
    ]  # fmt: skip


def test_a_first_report_of_many_units_says_nothing_about_the_rate() -> None:
    """As of a warm start, which loads a model, and then reports every tenth step."""
    paces = Paces(0.0)
    paces.update("warm start", 0, 0, {}, 1.0)
    paces.update("warm start", 10, 330, {}, 95.0)
    assert paces.current.line(96.0) == "warm start 10/330"
    paces.update("warm start", 20, 330, {}, 99.0)
    assert paces.current.line(99.0) == "warm start 20/330"  # seconds are no evidence
    paces.update("warm start", 30, 330, {}, 103.0)
    assert paces.current.line(103.0) == "warm start 30/330, 2.5/s, 2:00 left"


def test_tasks_that_end_in_one_wave_give_no_time_left() -> None:
    paces = Paces(0.0)
    for done in range(1, 57):
        paces.update("curve", done, 112, {}, 20.0 + done / 1000)
    assert paces.current.line(21.0) == "curve 56/112"


def test_a_resumed_phase_is_timed_from_where_it_resumed() -> None:
    paces = Paces(0.0)
    paces.update("CoD-Train", 50, 100, {}, 4.0)
    paces.update("CoD-Train", 51, 100, {}, 10.0)
    assert paces.current.left_s(10.0) == pytest.approx(6.0 * 49)


def test_a_validation_between_steps_does_not_restart_the_clock() -> None:
    paces = Paces(0.0)
    paces.update("CoD-Train", 0, 4, {}, 0.0)
    paces.update("CoD-Train", 1, 4, {}, 6.0)
    validated = paces.update("validation at step 1", 3, 3, {"success/position_0": 0.5}, 9.0)
    assert validated
    assert validated.line(9.0) == "validation at step 1 3/3 in 0:03, success 0.50"
    assert paces.current.phase == "CoD-Train"
    paces.update("CoD-Train", 2, 4, {}, 18.0)
    assert paces.current.seconds_each() == 9.0


def test_waiting_is_counted_from_the_last_report() -> None:
    paces = Paces(0.0)
    assert paces.waiting(10.0, 10.0) == ", 0:10 so far"
    paces.update("CoD-Train", 1, 4, {}, 12.0)
    assert paces.waiting(21.0, 10.0) == ""
    assert paces.waiting(32.0, 10.0) == ", 0:20 since the last report"


def test_a_mixture_shows_each_family_and_not_their_mean() -> None:
    paces = Paces(0.0)
    for step in (1, 2):
        metrics = {f"{measure}/position_{j}": 0.5 for measure in ("success", "reward") for j in (0, 1)}
        metrics |= {f"{family}/{name}": step / 10 for family in ("frozen_lake", "alchemy") for name in metrics}
        metrics |= {"alchemy/hint_correctness/position_1": 0.9, "failures/format": 0.0}
        paces.update("CoD-Train", step, 4, metrics, 2.0 * step)
    # A step may hold no pack of a rare family: its last numbers stay.
    paces.update("CoD-Train", 3, 4, {"reward/position_0": 0.5, "frozen_lake/reward/position_0": 0.7}, 6.0)
    assert paces.current.line(6.0) == "CoD-Train 3/4, reward frozen_lake 0.70 0.20, alchemy 0.20 0.20"
    assert list(paces.current.rows()) == [
        ("frozen_lake reward", "0.70 0.20", [0.1, 0.2]),
        ("alchemy reward", "0.20 0.20", [0.1, 0.2]),
    ]


def test_one_family_has_a_row_for_each_position() -> None:
    paces = Paces(0.0)
    paces.update("validation", 1, 1, {"success/position_1": 0.75, "success/position_0": 0.5}, 1.0)
    assert list(paces.current.rows()) == [
        ("success at position 1", "0.50", [0.5]),
        ("success at position 2", "0.75", [0.75]),
    ]


def test_a_phase_that_comes_again_is_a_new_one() -> None:
    paces = Paces(0.0)
    paces.update("evaluation", 1, 1, {}, 2.0)
    again = paces.update("evaluation", 1, 1, {}, 7.0)
    assert again
    assert again.line(7.0) == "evaluation 1/1 in 0:05"


def test_each_arm_of_an_evaluation_is_named() -> None:
    paces = Paces(0.0)
    for arm, success in (("own", 0.5), ("none", 0.25), ("informed", None)):
        means = of_arm(arm, {} if success is None else {"success/position_0": success})
        paces.update("evaluation", 1, 3, means, 1.0)
    assert paces.current.line(2.0) == "evaluation 1/3, success own 0.50, none 0.25"


def test_a_part_of_a_phase_is_shown_with_it_and_is_no_news() -> None:
    paces = Paces(0.0)
    paces.update("CoD-Train", 0, 9, {}, 10.0)
    assert paces.update("CoD-Train: sampling step 1", 0, 8, {"replies": 0, "tokens": 0}, 20.0) is None
    assert paces.update("CoD-Train: sampling step 1", 2, 8, {"replies": 30, "tokens": 600}, 30.0) is None
    assert paces.line(30.0).startswith("CoD-Train 0/9; sampling step 1 2/8, 5.0 s each, 0:30 left, 30 replies (3.0/s)")
    assert paces.line(30.0).endswith(", 600 tokens (60.0/s)")
    paces.update("CoD-Train: learning step 1", 0, 0, {}, 40.0)
    assert paces.line(41.0) == "CoD-Train 0/9; learning step 1"
    paces.update("CoD-Train", 9, 9, {}, 50.0)
    assert paces.line(50.0) == "CoD-Train 9/9 in 0:40"


def test_the_clock_of_a_part_goes_on_while_its_phase_counts() -> None:
    paces = Paces(0.0)
    paces.update("suite", 0, 20, {}, 0.0)
    paces.update("suite: arms own, none", 0, 0, {"replies": 0, "tokens": 0}, 0.0)
    paces.update("suite", 1, 20, {}, 10.0)
    paces.update("suite: arms own, none", 0, 0, {"replies": 40, "tokens": 200}, 20.0)
    assert paces.line(20.0).endswith("; arms own, none, 40 replies (2.0/s), 200 tokens (10.0/s)")
    paces.update("suite: arms own, none", 0, 0, {"replies": 1, "tokens": 5}, 30.0)  # of the next block
    assert paces.line(40.0).endswith("; arms own, none, 1 reply (0.1/s), 5 tokens (0.5/s)")


def test_work_is_counted_before_the_first_reply() -> None:
    paces = Paces(0.0)
    paces.update("curve", 0, 8, {"replies": 0, "tokens": 0}, 0.0)
    paces.update("curve", 0, 8, {"prompt_tokens": 512, "replies": 0, "tokens": 3}, 60.0)
    assert paces.line(60.0) == "curve 0/8, 512 prompt tokens (8.5/s), 0 replies, 3 tokens (3.0/min)"
    paces.update("curve", 0, 8, {"prompt_tokens": 2048, "replies": 1, "tokens": 900}, 2400.0)
    assert paces.line(2400.0).endswith("2,048 prompt tokens (0.9/s), 1 reply (1.5/h), 900 tokens (0.4/s)")


def test_words() -> None:
    assert (rate(3.56), rate(0.1)) == ("3.6 s each", "10.0/s")
    assert (clock(9), clock(75), clock(3725)) == ("0:09", "1:15", "1:02:05")
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"


def test_lines_come_also_when_nothing_moves(capsys: pytest.CaptureFixture[str]) -> None:
    display = PlainDisplay(0.05, _output.talk)
    display.update("CoD-Train", 1, 10, {})
    display.message("warning: the mirror is down")
    time.sleep(0.3)
    display.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    first, warning, *lines = captured.err.splitlines()
    assert first == "[0:00] CoD-Train 1/10"
    assert warning == "[0:00] warning: the mirror is down"
    assert 2 <= len(lines) <= 7
    assert all(line.startswith("[0:00] CoD-Train 1/10, 0:00 since the last report") for line in lines)


@pytest.mark.parametrize("columns", [40, 60, 80, 140])
def test_the_live_bar_stays_on_one_line(columns: int) -> None:
    from rich.console import Console

    console = Console(width=columns, file=io.StringIO(), force_terminal=True)
    paces = Paces(0.0)
    paces.update("warm start: playing 200 packs of demonstrations", 0, 0, {}, 1.0)
    lines = [_head(paces.current, paces, 99.0, columns)]
    paces.update("CoD-Train", 10, 1000, {}, 20.0)
    paces.update("CoD-Train", 20, 1000, {}, 99.0)
    lines.append(_head(paces.current, paces, 99.0, columns))
    for line in lines:
        [text] = console.render_lines(line, pad=False)
        shown = "".join(segment.text for segment in text)
        assert len(shown.rstrip()) <= columns
        assert shown.rstrip().endswith("1:39 so far")


class Broken:
    """A display that fails whatever it is told."""

    calls = 0

    def update(self, phase: str, done: int, total: int, metrics: object) -> None:
        self.calls += 1
        raise RuntimeError("no terminal")

    message = update


def test_a_display_that_fails_is_left_alone_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    broken = Broken()
    guarded = Unfailing(broken)
    for step in range(3):
        guarded.update("CoD-Train", step, 3, {})
    assert broken.calls == 1
    assert caplog.messages == ["the progress display failed (RuntimeError: no terminal); the work goes on"]


def test_the_log_has_each_message_and_phase_once(caplog: pytest.LogCaptureFixture, capsys) -> None:
    with caplog.at_level(logging.INFO, "codctl"), open_display(60.0) as display:
        logged = Logged(display, 60.0)
        logged.update("building tokenizer and model", 0, 0, {})
        logged.message("step 1: health.silent_groups: all groups agree")
        logged.update("CoD-Train", 2, 2, {})
        logged.close()
    lines = ["building tokenizer and model", "step 1: health.silent_groups: all groups agree", "CoD-Train 2/2 in 0:00"]
    assert caplog.messages == lines
    assert capsys.readouterr().err.splitlines() == [f"[0:00] {line}" for line in lines]


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


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_live_displays_draw_and_obey_no_text(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hostile = "reply\x1b[2J\x1b]0;t\x07\r\u202eexe [red]x[/red]"
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    display = LiveDisplay() if kind == "run" else _Live(2)
    say = display.message if isinstance(display, LiveDisplay) else display.say
    if isinstance(display, LiveDisplay):
        display.update(hostile, 1, 2, {})
    else:
        display.changed(tmp_path / "lr\x1b[2J", "started")
    say(hostile)
    _output.talk(_output.styled("bold", "1") + hostile)
    sys.stderr.write(f"of a library: {hostile} \x1b[31mred\x1b[0m\n")
    display.close()
    shown = terminal.getvalue()
    assert "1/2" in shown or "0/2" in shown
    assert shown.count(r"reply\x1b[2J\x1b]0;t\x07\r\u202eexe [red]x[/red]") >= 3
    assert r"\x1b[31mred\x1b[0m" in shown
    assert "\x1b[1mbold" in shown
    assert not [part for part in ("\x07", "\u202e", "\x1b[2J", "\x1b]0;") if part in shown]
