"""How fast a stage goes and how far it is: rates, time left, and one line of text every few seconds."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

_SPARKS = "▁▂▃▄▅▆▇█"
_MEASURES = ("reward", "success")
_BY_POSITION = re.compile(r"(?:(?P<family>.+)/)?(?P<measure>reward|success)/position_(?P<position>\d+)")
_SPARK_WIDTH = 40
_MANY = 500


@dataclass
class Pace:
    """How far one phase is and how fast it goes."""

    phase: str
    started_s: float
    first_done: int  # a resumed phase does not start at 0
    done: int = 0
    total: int = 0
    changed_s: float = 0.0
    reports: int = 0
    measure: str = ""  # reward in training, success in an evaluation
    curves: dict[str, dict[int, list[float]]] = field(default_factory=dict)  # family, "" for all → position → history

    def update(self, done: int, total: int, metrics: Mapping[str, float], now_s: float) -> None:
        self.done, self.total, self.changed_s = done, total, now_s
        self.reports += 1
        found = [match for name in metrics if (match := _BY_POSITION.fullmatch(name))]
        measured = {match["measure"] for match in found}
        self.measure = next((measure for measure in _MEASURES if measure in measured), self.measure)
        for match in found:
            if match["measure"] == self.measure:
                curves = self.curves.setdefault(match["family"] or "", {})
                curves.setdefault(int(match["position"]), []).append(metrics[match[0]])

    def newest(self) -> dict[str, str]:
        """The newest numbers by position: of each family of a mixture, else of all packs under an empty name."""
        families = [family for family in self.curves if family] or list(self.curves)
        return {
            family: " ".join(f"{history[-1]:.2f}" for _, history in sorted(self.curves[family].items()))
            for family in families
        }

    def seconds_each(self) -> float | None:
        if self.reports < 2 and self.total >= _MANY:
            return None  # small units end in waves: the first of the first wave says nothing about the rest
        count = self.done - self.first_done
        return (self.changed_s - self.started_s) / count if count > 0 else None

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
                for position, history in sorted(curves.items()):
                    yield f"{self.measure} at position {position}", f"{history[-1]:.2f}", history

    def line(self, now_s: float) -> str:
        """One line of text: phase, count, rate, time left, newest reward or success by position."""
        parts = [f"{self.phase} {self.done}/{self.total}" if self.total else self.phase]
        each, left = self.seconds_each(), self.left_s(now_s)
        if each is not None:
            parts.append(rate(each))
        if left is not None and self.done < self.total:
            parts.append(f"{clock(left)} left")
        if self.curves:
            numbers = ", ".join(f"{family} {shown}".strip() for family, shown in self.newest().items())
            parts.append(f"{self.measure} {numbers}")
        return ", ".join(parts)


class Paces:
    """The phases of a run. A validation between two training steps does not restart the clock of the training."""

    def __init__(self, now_s: float) -> None:
        self.begun_s = now_s
        self.current = Pace("starting", now_s, 0, changed_s=now_s)
        self._known: dict[str, Pace] = {}

    def note(self, text: str, now_s: float) -> None:
        """A message says what is being done until the next report."""
        self.current = Pace(text, now_s, 0, changed_s=now_s)

    def update(self, phase: str, done: int, total: int, metrics: Mapping[str, float], now_s: float) -> bool:
        """Note what a stage reported. Returns whether a phase began or ended with it."""
        known = self._known.get(phase)
        # A phase that had ended, or starts over, is a new one of the same name.
        begins = known is None or done < known.done or (bool(known.total) and known.done >= known.total)
        if begins:
            # The work behind the first report began when the phase before it last moved.
            self._known[phase] = Pace(phase, self.current.changed_s, max(0, done - 1))
        self.current = self._known[phase]
        moved = begins or done != self.current.done
        self.current.update(done, total, metrics, now_s)
        return begins or (moved and bool(total) and done >= total)


def rate(seconds_each: float) -> str:
    """`3.6 s each`, or `12.0/s` when it is fast."""
    return f"{seconds_each:.1f} s each" if seconds_each >= 1 else f"{1 / max(seconds_each, 1e-9):.1f}/s"


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
    """One line every few seconds, also when nothing moves, so that a log shows that the process lives."""

    def __init__(self, every_s: float, say: Callable[[str], None]) -> None:
        self._every_s = every_s
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
            if self._paces.update(phase, done, total, metrics, now_s):
                self._say(now_s)

    def message(self, text: str) -> None:
        now_s = time.monotonic()
        with self._lock:
            self._paces.note(text, now_s)
            self._say(now_s)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _tick(self) -> None:
        while not self._stop.wait(max(0.01, self._said_s + self._every_s - time.monotonic())):
            with self._lock:
                now_s = time.monotonic()
                if now_s - self._said_s >= self._every_s:
                    self._say(now_s)

    def _say(self, now_s: float) -> None:
        pace = self._paces.current
        quiet_s = now_s - pace.changed_s
        waiting = f", no progress for {clock(quiet_s)}" if quiet_s >= self._every_s else ""
        self._say_line(f"[{clock(now_s - self._paces.begun_s)}] {pace.line(now_s)}{waiting}")
        self._said_s = now_s
