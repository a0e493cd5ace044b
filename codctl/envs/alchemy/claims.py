"""What a hint claims: recipes, and pairs that make nothing, in free text or in pairs."""

from __future__ import annotations

import re
from typing import NamedTuple

from codctl.envs.alchemy.text import DUD
from codctl.envs.alchemy.world import AlchemyWorld, Pair


class Claim(NamedTuple):
    """One statement of a hint; no product: the pair makes nothing."""

    pair: Pair
    product: int | None


# "to make m, mix a and b" is one clause
_CLAUSE = re.compile(r"[;\n.]|,(?!\s*(?:mix|combine|use)\b)|\bbut\b")
_NEGATION = re.compile(r"\b(not|never|nothing|no|unknown|cannot|fails?|failed|useless|\w+n['’]t)\b", re.IGNORECASE)
_WORD = r"\b([A-Za-z][A-Za-z0-9]*)\b"
_PAIR = rf"{_WORD}\s*(?:\+|&|(?:and|with)\b)\s*{_WORD}"
_VERB = r"(?:makes?|made|gives?|gave|produces?|produced|creates?|yields?|becomes?|to\s+(?:get|make|produce|create))\b"
_TO = rf"(?:=>|->|→|=|(?::\s*it\s+)?{_VERB})"
_OF = r"(?:=|:|<-|←|,?\s*(?:(?:is\s+)?made\s+|by\s+)?(?:is|of|from|by|with|needs|mix|mixing|combine|combining|use)\b)"
_PRODUCT_FIRST = re.compile(rf"{_WORD}\s*{_OF}\s*{_PAIR}")
_PAIR_FIRST = re.compile(rf"{_PAIR}\s*{_TO}\s*(?:(?:an?|the)\s+(?=\w))?{_WORD}")


def claims(hints: str, world: AlchemyWorld) -> list[Claim]:
    """What a hint states about a world, in the order of the text, each once.

    Names and symbols both count. A clause with a negation claims nothing, except that a pair makes nothing.
    """
    found: dict[Claim, None] = {}
    for clause in _CLAUSE.split(hints):
        # Single spaces: long runs of them cost the expressions time.
        for claim in _read(" ".join(clause.split()), world):
            found[claim] = None
    return list(found)


def _read(clause: str, world: AlchemyWorld) -> list[Claim]:
    found: list[Claim] = []
    negated = _NEGATION.search(clause) is not None

    def note(product: str, first: str, second: str) -> bool:
        pair = _pair(world, first, second)
        made = element(world, product)
        is_dud = product.lower() == DUD
        if pair is None or (made is None and not is_dud):
            return False
        if not negated:
            found.append(Claim(pair, made))
        return True

    # What was read as `m=a+b` is taken out: in `p=a+c make m 3` nothing says that a+c makes m.
    rest = _PRODUCT_FIRST.sub(lambda match: ";" if note(*match.groups()) else match[0], clause)
    for first, second, product in _PAIR_FIRST.findall(rest):
        note(product, first, second)
    return found


def element(world: AlchemyWorld, word: str) -> int | None:
    """The element of this name (in any case) or symbol."""
    return world.by_symbol.get(word, world.by_name.get(word.lower()))


def _pair(world: AlchemyWorld, first: str, second: str) -> Pair | None:
    one, other = element(world, first), element(world, second)
    if one is None or other is None:
        return None
    return (one, other) if one <= other else (other, one)
