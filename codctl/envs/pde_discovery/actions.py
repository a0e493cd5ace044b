"""What an agent asks for, read from XML: elements, attributes and text, and nothing else that XML knows.

Source: `parse_xml_answer` and the handlers of Trinity-RFT's PDE discovery. What cannot be read ends a task; what can be
read but not done costs a turn.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError, fromstring

from codctl.envs.pde_discovery import equations
from codctl.envs.pde_discovery.regression import Support
from codctl.envs.pde_discovery.terms import TERMS

MOST_CHARACTERS = 4000
MOST_DEPTH = 4
MOST_CANDIDATES = 8
MOST_UNCERTAIN = 4
ALL_DATA = "merged_all"
_NUMBER = re.compile(rf"[+-]?{equations.NUMBER}", re.ASCII)


class UnreadableError(Exception):
    """No action; says why."""


class InvalidError(Exception):
    """An action that cannot be carried out; says why."""


@dataclass(frozen=True)
class Sample:
    """Measure at these points (x, t)."""

    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Regress:
    """Fit equations to a data set: every support made of `terms`, or only `supports`."""

    data: str
    threshold: float
    terms: Support
    supports: tuple[Support, ...]


@dataclass(frozen=True)
class Summarise:
    """List what was committed in earlier tasks, on demand with the equations."""

    reveal: bool


@dataclass(frozen=True)
class Commit:
    """Commit an equation, which ends the task."""

    equation: dict[int, float]


Action = Sample | Regress | Summarise | Commit


def read(text: str) -> Action:
    """Read an action.

    Raises:
        UnreadableError: It is none.
        InvalidError: It is one, with arguments that no action can have.
    """
    root = _element(text)
    reader = _READERS.get(root.tag)
    if reader is None:
        raise UnreadableError(f"{root.tag[:40]!r} is not an action; the actions are {', '.join(_READERS)}")
    return reader(root)


def _element(text: str) -> Element:
    if len(text) > MOST_CHARACTERS:
        raise UnreadableError(f"the action is longer than {MOST_CHARACTERS} characters")
    if "<!" in text or "<?" in text:
        raise UnreadableError("declarations, comments and processing instructions are not available")
    try:
        root = fromstring(text.strip())  # noqa: S314 - without declarations there are no entities to expand
    except (ParseError, ValueError) as error:
        raise UnreadableError("the answer is not one XML element") from error
    _check(root, MOST_DEPTH)
    if not len(root) and (root.text or "").strip():
        raise UnreadableError(f"{root.tag[:40]} has text in place of arguments")
    return root


def _check(element: Element, depth: int) -> None:
    if not depth:
        raise UnreadableError(f"elements are nested deeper than {MOST_DEPTH}")
    if len(element) and any((text or "").strip() for text in (element.text, *(child.tail for child in element))):
        raise UnreadableError(f"there is text between the elements of {element.tag[:40]}")
    for child in element:
        _check(child, depth - 1)


def _sample(root: Element) -> Sample:
    grid = root.find("point_grid")
    points = [] if grid is None else grid.findall("point")
    if not points:
        raise InvalidError("sample_pde_data needs a point_grid with one point element for each pair of x and t")
    read_points = tuple((_number(point, "x"), _number(point, "t")) for point in points)
    if not all(0 < x < 1 and 0 <= t <= 1 for x, t in read_points):
        raise InvalidError("each point needs 0 < x < 1 and 0 <= t <= 1")
    return Sample(read_points)


def _regress(root: Element) -> Regress:
    data = _text(root, "dataset_id") or ALL_DATA
    threshold, alpha = (_number(root, name, 0.05) for name in ("threshold", "alpha"))
    if threshold < 0 or alpha < 0:  # `alpha` changes nothing else: see `regression`
        raise InvalidError("alpha and threshold must not be negative")
    written, candidates = root.find("dictionary"), _items(root, "candidate_equations")
    if len(candidates) > MOST_CANDIDATES:
        raise InvalidError(f"candidate_equations takes at most {MOST_CANDIDATES} equations")
    terms = tuple(TERMS.index(term) for term in dict.fromkeys(_items(root, "dictionary")) if term in TERMS)
    if written is None and not candidates:
        raise InvalidError("run_sparse_regression needs a dictionary or candidate_equations")
    if written is not None and not terms:
        raise InvalidError("dictionary has none of the listed terms; write each in a term element")
    supports = tuple(support for candidate in candidates if (support := equations.read_support(candidate)))
    if candidates and not supports:
        raise InvalidError("candidate_equations has no equation that can be read")
    if terms:
        supports = tuple(kept for s in supports if (kept := tuple(term for term in s if term in terms)))
        if candidates and not supports:
            raise InvalidError("no candidate equation has a term of the dictionary")
    return Regress(data, threshold, terms or tuple(sorted({term for s in supports for term in s})), supports)


def _summarise(root: Element) -> Summarise:
    reveal = _text(root, "reveal_equations").lower() or "false"
    if reveal not in ("true", "false"):
        raise InvalidError("reveal_equations must be true or false")
    return Summarise(reveal == "true")


def _commit(root: Element) -> Commit:
    text = _text(root, "preferred_equation")
    if not text:
        raise InvalidError("update_scientific_context needs preferred_equation: one that the latest regression scored")
    if len(_items(root, "uncertain_terms")) > MOST_UNCERTAIN:
        raise InvalidError(f"uncertain_terms takes at most {MOST_UNCERTAIN} terms")
    if equations.has_names(text):
        raise InvalidError("preferred_equation needs numbers as coefficients, as the regression gave them")
    equation = equations.read(text)
    if equation is None:
        raise InvalidError("preferred_equation is not a sum of listed terms with numbers as coefficients")
    return Commit(equation)


_READERS: dict[str, Callable[[Element], Action]] = {
    "sample_pde_data": _sample,
    "run_sparse_regression": _regress,
    "summarize_pack_evidence": _summarise,
    "update_scientific_context": _commit,
}


def _text(element: Element, name: str) -> str:
    """An argument: an element inside, or an attribute."""
    child = element.find(name)
    return ((child.text or "") if child is not None else element.get(name, "")).strip()


def _number(element: Element, name: str, default: float | None = None) -> float:
    text = _text(element, name)
    if not text and default is not None:
        return default
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise InvalidError(f"{name} must be a number")
    return value


def _items(element: Element, name: str) -> list[str]:
    """Texts of the elements in a list."""
    found = element.find(name)
    return [] if found is None else [text for item in found if (text := "".join((item.text or "").split()))]
