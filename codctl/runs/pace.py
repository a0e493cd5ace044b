"""How fast a stage goes and how far it is: rates, time left, and one line of text every few seconds."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from codctl.quantities import counted, percent, position, share

_SPARKS = "▁▂▃▄▅▆▇█"
_WORK = {"prompt_tokens": "prompt token", "replies": "reply", "tokens": "token"}  # counts since a phase began
_MEASURES = ("reward", "success")
_BY_POSITION = re.compile(r"(?:(?P<family>.+)/)?(?P<measure>reward|success)/position_(?P<position>\d+)")
_UNREADABLE = re.compile(r"(?:.+/)?unreadable|failures/format")
_WORTH_TELLING = 0.1  # share of replies that could not be read
_SPARK_WIDTH = 40
_EVIDENCE_S = 5.0  # of counting, before a rate is worth showing
_SHOWN_RATE = 0.1
_FIRST_REPORTS = 3  # of a phase: that it began, its first count, its first rate


@dataclass
class Pace:
    """How far one phase is and how fast it goes.

    Attributes:
        phase: Its name.
        started_s: When its work began.
        done: Units that are finished.
        total: Units in all; 0 while unknown.
        changed_s: When it last reported.
        measure: reward in training, success in an evaluation.
        curves: Family or arm, "" for all → position → history.
        unreadable: Newest share of solve replies that could not be read.
        reports: How often it has reported.
    """

    phase: str
    started_s: float
    done: int = 0
    total: int = 0
    changed_s: float = 0.0
    measure: str = ""
    curves: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    unreadable: float = 0.0
    _first: tuple[float, int] | None = None  # when the first count came, and what it was
    reports: int = 0
    work: dict[str, float] = field(default_factory=dict)  # newest counts of `_WORK`

    def update(self, done: int, total: int, metrics: Mapping[str, float], now_s: float) -> None:
        self.reports += 1
        self.work |= {name: metrics[name] for name in _WORK if name in metrics}
        self.done, self.total, self.changed_s = done, total, now_s
        if total and self._first is None:
            self._first = (now_s, done)
        found = [match for name in metrics if (match := _BY_POSITION.fullmatch(name))]
        measured = {match["measure"] for match in found}
        self.measure = next((measure for measure in _MEASURES if measure in measured), self.measure)
        self.unreadable = next((v for name, v in metrics.items() if _UNREADABLE.fullmatch(name)), self.unreadable)
        for match in found:
            if match["measure"] == self.measure:
                curves = self.curves.setdefault(match["family"] or "", {})
                curves.setdefault(int(match["position"]), []).append(metrics[match[0]])

    @property
    def has_ended(self) -> bool:
        return bool(self.total) and self.done >= self.total

    def newest(self) -> dict[str, str]:
        """The newest numbers by position: of each family of a mixture, else of all packs under an empty name."""
        families = [family for family in self.curves if family] or list(self.curves)
        return {
            family: " ".join(share(history[-1]) for _, history in sorted(self.curves[family].items()))
            for family in families
        }

    def seconds_each(self) -> float | None:
        """Seconds for one unit, once there is evidence: the first count may come late (a model is loaded first), and
        be of many units."""
        if self._first is None:
            return None
        first_s, first_done = self._first
        passed_s, units = self.changed_s - first_s, self.done - first_done
        return passed_s / units if units > 0 and passed_s >= _EVIDENCE_S else None

    def left_s(self, now_s: float) -> float | None:
        each = self.seconds_each()
        if each is None or not self.total:
            return None
        return max(0.0, each * (self.total - self.done) - (now_s - self.changed_s))

    def rows(self) -> Iterator[tuple[str, str, list[float]]]:
        """Name, newest number and history of each position; a family of a mixture has one row, for its last one."""
        for family, numbers in self.newest().items():
            curves = self.curves[family]
            if family:
                yield f"{family} {self.measure}", numbers, curves[max(curves)][-_SPARK_WIDTH // 2 :]
            else:
                for index, history in sorted(curves.items()):
                    yield f"{self.measure} at position {position(index)}", share(history[-1]), history

    def work_shown(self, now_s: float) -> list[str]:
        """Prompt tokens, replies and tokens so far, with their rates."""
        passed_s = (self.changed_s if self.has_ended else now_s) - self.started_s
        return [
            counted(round(self.work[key]), noun)
            + (f" ({often(self.work[key] / passed_s)})" if passed_s >= 1 and self.work[key] else "")
            for key, noun in _WORK.items()
            if key in self.work
        ]

    def line(self, now_s: float) -> str:
        """One line of text: phase, count, rate, time left, newest reward or success by position."""
        parts = [f"{self.phase} {self.done}/{self.total}" if self.total else self.phase]
        each, left = self.seconds_each(), self.left_s(now_s)
        if self.has_ended:
            parts[0] += f" in {clock(self.changed_s - self.started_s)}"
        elif each is not None and left is not None:
            parts += [rate(each), f"{clock(left)} left"]
        parts += self.work_shown(now_s)
        if self.curves:
            numbers = ", ".join(f"{family} {shown}".strip() for family, shown in self.newest().items())
            parts.append(f"{self.measure} {numbers}")
        if self.unreadable >= _WORTH_TELLING:
            parts.append(f"{percent(self.unreadable)} of the replies could not be read")
        return ", ".join(parts)


class Paces:
    """The phases of a run. A validation between two training steps does not restart the clock of the training."""

    def __init__(self, now_s: float) -> None:
        self.begun_s = self.changed_s = now_s
        self.current = Pace("starting", now_s, changed_s=now_s)
        self._known: dict[str, Pace] = {}
        self.inner: Pace | None = None  # part of the current phase: its name begins with that phase's and a colon

    def line(self, now_s: float) -> str:
        """The current phase, and what is done within it."""
        outer = self.current.line(now_s)
        return f"{outer}; {self.inner.line(now_s)}" if self.inner else outer

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float], now_s: float) -> Pace | None:
        """Take note of what a stage reports.

        Returns:
            Its phase if there is news of it: its first reports, and its end.
        """
        outer, _, part = phase.partition(": ")
        if part and outer in self._known and not self._known[outer].has_ended:
            self._update_inner(part, done, total, metrics, now_s)
            return None
        if phase != self.current.phase or (total and done >= total):
            self.inner = None
        pace = self._known.get(phase)
        begins = pace is None or pace.has_ended or done < pace.done
        if pace is None or begins:
            # The work behind a first count began when the phase before it last moved.
            pace = self._known[phase] = Pace(phase, self.changed_s if done else now_s)
        had_ended = pace.has_ended
        pace.update(done, total, metrics, now_s)
        self.changed_s = now_s
        self.current = self._unfinished(pace) if pace.has_ended else pace
        is_news = pace.reports <= _FIRST_REPORTS or (pace.has_ended and not had_ended)
        return pace if is_news else None

    def _update_inner(self, part: str, done: int, total: int, metrics: Mapping[str, float], now_s: float) -> None:
        inner = self.inner
        if inner is None or inner.phase != part or metrics.get("replies", 0) < inner.work.get("replies", 0):
            inner = self.inner = Pace(part, now_s)
        inner.update(done, total, metrics, now_s)
        self.changed_s = now_s

    def _unfinished(self, ended: Pace) -> Pace:
        """What goes on now that a phase has ended: the training around a validation."""
        going_on = [pace for pace in self._known.values() if pace.total and not pace.has_ended]
        return going_on[-1] if going_on else ended

    def waiting(self, now_s: float, every_s: float) -> str:
        """How long nothing has been reported; empty while that is less than `every_s`."""
        quiet_s = now_s - self.changed_s
        if quiet_s < every_s:
            return ""
        return f", {clock(quiet_s)} " + ("since the last report" if self.current.total else "so far")


def rate(seconds_each: float) -> str:
    """`3.6 s each`, or `12.0/s` when it is fast."""
    return f"{seconds_each:.1f} s each" if seconds_each >= 1 else f"{1 / max(seconds_each, 1e-9):.1f}/s"


def often(per_s: float) -> str:
    """`3.6/s`, or by the minute or hour what is rarer than that."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_s * seconds >= _SHOWN_RATE:
            return f"{per_s * seconds:.1f}/{unit}"
    return f"{per_s * 3600:.1f}/h"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def sparkline(values: list[float], top: float = 1.0) -> str:
    """The last values as bars between 0 and `top`."""
    last = values[-_SPARK_WIDTH:]
    return "".join(_SPARKS[min(len(_SPARKS) - 1, max(0, int(value / top * len(_SPARKS))))] for value in last)


class PlainDisplay:
    """One line every few seconds, also when nothing moves, so that a log shows that the process lives.

    Args:
        every_s: Seconds between two lines.
        say: Where lines go.
        stamped: Whether each begins with the time so far.
    """

    def __init__(self, every_s: float, say: Callable[[str], None], *, stamped: bool = True) -> None:
        self._every_s, self._is_stamped = every_s, stamped
        self._say_line = say
        self._said_s = time.monotonic()
        self._paces = Paces(self._said_s)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._thread.start()

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        now_s = time.monotonic()
        with self._lock:
            if pace := self._paces.update(phase, done, total, metrics, now_s):
                self._say(pace.line(now_s), now_s)

    def message(self, text: str) -> None:
        with self._lock:
            self._say_line(self._stamped(text, time.monotonic()))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _tick(self) -> None:
        while not self._stop.wait(max(0.01, self._said_s + self._every_s - time.monotonic())):
            with self._lock:
                now_s = time.monotonic()
                if now_s - self._said_s >= self._every_s:
                    self._say(self._paces.line(now_s) + self._paces.waiting(now_s, self._every_s), now_s)

    def _say(self, text: str, now_s: float) -> None:
        self._said_s = now_s
        self._say_line(self._stamped(text, now_s))

    def _stamped(self, text: str, now_s: float) -> str:
        return f"[{clock(now_s - self._paces.begun_s)}] {text}" if self._is_stamped else text
