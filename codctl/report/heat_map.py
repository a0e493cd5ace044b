"""Heat maps as inline SVG: a number in every cell, colour by its size, and the rest when pointed at.

Values above zero and below have a colour each, whose strength is an opacity over the card: light and dark follow by
themselves, and the numbers stay readable. What an interval tells from zero is bold, so that grey print says it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_CHAR, _LINE = 6.6, 15.0
_HEIGHT, _LEAST_WIDTH, _MOST_WIDTH, _GAP = 36.0, 58.0, 170.0, 2.0
_STRONGEST = 0.5  # opacity; more would drown the numbers


@dataclass(frozen=True)
class HeatCell:
    """One cell.

    Attributes:
        text: What stands in it.
        strength: From −1 to 1, for the colour; None where there is no value.
        tip: What is said when it is pointed at.
        is_sure: Bold.
        is_open: Hatched: something is still to come.
    """

    text: str
    strength: float | None = None
    tip: str = ""
    is_sure: bool = False
    is_open: bool = False


@dataclass(frozen=True)
class HeatMap:
    """A heat map before it is drawn.

    Attributes:
        key: Unique in the page; becomes part of element ids.
        title: Heading above and accessible name.
        description: The same in a sentence, for those who do not see it.
        rows: Names, in lines.
        columns: Names, in lines.
        cells: Row by row.
    """

    key: str
    title: str
    description: str
    rows: Sequence[Sequence[str]]
    columns: Sequence[Sequence[str]]
    cells: Sequence[Sequence[HeatCell]]

    def turned(self) -> HeatMap:
        """Columns down, rows to the right."""
        cells = [list(column) for column in zip(*self.cells, strict=True)]
        return HeatMap(f"{self.key}-turned", self.title, self.description, self.columns, self.rows, cells)

    @property
    def natural_width(self) -> float:
        """Pixels that it needs at least."""
        return _Drawing(self, 0).width

    def svg(self, width: int = 0) -> Markup:
        """Draw in its natural size, or with cells that fill so many pixels. What is wider than the page is scrolled."""
        return _Drawing(self, width).markup()


class _Drawing:
    def __init__(self, heat: HeatMap, wanted: int) -> None:
        self.heat = heat
        self.left = 12 + _CHAR * max((len(" ".join(row)) for row in heat.rows), default=0)
        if any(len(row) > 1 for row in heat.rows):
            self.left = 12 + _CHAR * max(len(line) for row in heat.rows for line in row)
        longest = max((len(line) for column in heat.columns for line in column), default=0)
        self.step = max(_LEAST_WIDTH, 10 + _CHAR * longest)
        if wanted and heat.columns:
            self.step = max(self.step, min(_MOST_WIDTH, (wanted - self.left) / len(heat.columns)))
        self.width = self.left + self.step * len(heat.columns)
        self.height = max(_HEIGHT, 6 + _LINE * max((len(row) for row in heat.rows), default=1))
        self.top = 8 + _LINE * max((len(column) for column in heat.columns), default=1)

    def markup(self) -> Markup:
        heat = self.heat
        width = self.width
        height = self.top + self.height * len(heat.rows)
        size = f'viewBox="0 0 {width:.0f} {height:.0f}" style="width:{width:.0f}px;max-width:none"'
        parts = [
            f'<svg class="heat" {size} role="img" aria-labelledby="{heat.key}-t {heat.key}-d">',
            f'<title id="{heat.key}-t">{escape(heat.title)}</title>',
            f'<desc id="{heat.key}-d">{escape(heat.description)}</desc>',
            f'<defs><pattern id="{heat.key}-open" width="7" height="7" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><line class="hatch" x1="0" y1="0" x2="0" y2="7"/></pattern></defs>',
        ]
        for c, lines in enumerate(heat.columns):
            middle = self.left + (c + 0.5) * self.step
            parts += self._lines(lines, middle, self.top - 8 - _LINE * (len(lines) - 1), "middle")
        for r, lines in enumerate(heat.rows):
            middle = self.top + (r + 0.5) * self.height
            parts += self._lines(lines, self.left - 8, middle + 4 - _LINE * (len(lines) - 1) / 2, "end")
            for c, cell in enumerate(heat.cells[r]):
                parts.append(self._cell(cell, self.left + c * self.step, self.top + r * self.height))
        parts.append("</svg>")
        return Markup("\n".join(parts))  # noqa: S704  every text above went through escape

    def _lines(self, lines: Sequence[str], x: float, y: float, anchor: str) -> list[str]:
        return [
            f'<text class="{"tick" if number else "name"}" x="{x:.1f}" y="{y + number * _LINE:.1f}" '
            f'text-anchor="{anchor}">{escape(line)}</text>'
            for number, line in enumerate(lines)
        ]

    def _cell(self, cell: HeatCell, x: float, y: float) -> str:
        size = f'x="{x:.1f}" y="{y:.1f}" width="{self.step - _GAP:.1f}" height="{self.height - _GAP:.1f}" rx="4"'
        box = f'<rect class="back" {size}/>'
        if cell.is_open:
            box += f'<rect {size} fill="url(#{self.heat.key}-open)"/>'
        elif cell.strength is not None:
            opacity = _STRONGEST * min(1.0, abs(cell.strength))
            box += f'<rect class="{"below" if cell.strength < 0 else "above"}" {size} fill-opacity="{opacity:.3f}"/>'
        style = "value sure" if cell.is_sure else "value"
        text = (
            f'<text class="{style}" x="{x + (self.step - _GAP) / 2:.1f}" y="{y + self.height / 2 + 4:.1f}" '
            f'text-anchor="middle">{escape(cell.text)}</text>'
        )
        return f"<g>{box}{text}<title>{escape(cell.tip or cell.text)}</title></g>"
