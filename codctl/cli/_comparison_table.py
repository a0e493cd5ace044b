"""Models side by side on the same packs, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codctl import quantities
from codctl.cli import _output
from codctl.quantities import counted

if TYPE_CHECKING:
    from codctl.results.comparison import ComparedPart, Comparison

_WIDEST = 4  # positions side by side; of more, the first, the last and some between


def text(result: Comparison) -> str:
    """What a person wants to know, and where the page is."""
    from codctl.report.comparison_page import headline, letters_of

    letters = letters_of(len(result.models))
    models = [f"{letter}  {model.title}" for letter, model in zip(letters, result.models, strict=True)]
    parts = [_part(part, letters) for part in result.parts]
    head = "\n".join([*models, headline(result.parts[0], letters)])
    return "\n\n".join([head, *parts, f"report   {result.report}"])


def _part(part: ComparedPart, letters: list[str]) -> str:
    from codctl.report.comparison_page import rows_of
    from codctl.report.curves import evenly

    places = evenly(list(part.positions), _WIDEST)
    played = ", ".join(f"{letter} {count}" for letter, count in zip(letters, part.played, strict=True))
    what = f"{part.name}: {part.family} {part.preset}, {counted(part.packs, 'pack')} of {part.length} in common"
    positions = [f"position {quantities.position(place)}" for place in places]
    headers = ["arm", "model", *positions, "all positions", "first to last"]
    rows = [row for arm, found in part.arms.items() for row in rows_of(arm, found, places, letters)]
    notes = [f"note: {note}" for note in part.notes]
    return "\n".join([f"{what} (played: {played})", *notes, _output.table(headers, rows)])
