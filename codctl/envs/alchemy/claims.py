"""What a hint claims: recipes, and pairs that make nothing, in free text or in pairs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from codctl.envs.alchemy.text import DUD
from codctl.envs.alchemy.world import AlchemyWorld, Pair
from codctl.envs.wording import is_hedged, is_negated, plain


class Claim(NamedTuple):
    """One statement of a hint; no product: the pair makes nothing."""

    pair: Pair
    product: int | None


# "to make m, mix a and b" is one clause, and so is "if you mix a and b, you get m"
_CLAUSE = re.compile(
    r"[;\n.]|,(?!\s*(?:you\s+|please\s+)?(?:mix|combine|use|get|make|obtain)\b)|\bbut\b", re.IGNORECASE
)
_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9]*|[-=]+>|<[-=]+|[^\sA-Za-z]")
_NAME = re.compile(r"[a-z]+")
_JOINS = {"+", "＋", "&", "and", "with"}
_MAKES = {
    *("=", ":", "|", "->", "-->", "=>", "==>", "→", "⇒", "➜", "into", "is", "are"),
    *("make", "makes", "made", "give", "gives", "gave", "produce", "produces", "produced", "create", "creates"),
    *("created", "yield", "yields", "yielded", "become", "becomes", "became", "form", "forms", "formed", "get", "gets"),
    *("got", "obtain", "obtains", "results", "resulted", "leads", "turns"),
}
_IS_MADE_OF = {
    *("=", ":", "|", "<-", "<=", "←", "⇐", "is", "of", "from", "by", "with", "via", "through", "need", "needs"),
    *("require", "requires", "take", "takes", "mix", "mixing", "combine", "combining", "use", "using"),
}
_PADDING = {
    *("a", "an", "the", "element", "elements", "target", "it", "you", "we", "they", "that", "which", "will", "can"),
    *("be", "must", "first", "then", "together", "to", "in", "up", "combine", "combines", "combined", "mix", "mixes"),
    *("mixed", "made", "formed", "created", "produced", "obtained", "crafted", "always", "(", ")", "-", ","),
}


def claims(hints: str, world: AlchemyWorld) -> list[Claim]:
    """What a hint states about a world, in the order of the text, each once.

    Names and symbols both count, with or without Markdown. A clause that denies something, or says what may be, claims
    nothing; `dud=a+b` claims that a pair makes nothing.
    """
    found: dict[Claim, None] = {}
    for clause in _CLAUSE.split(plain(hints)):
        # Names are drawn at random, so that an element may be called "nor" or "may".
        said = _NAME.sub(lambda name: " " if name[0] in world.by_name else name[0], clause)
        if not is_negated(said) and not is_hedged(said):
            found |= dict.fromkeys(_read(clause, world))
    return list(found)


def _read(clause: str, world: AlchemyWorld) -> Iterator[Claim]:
    """The claims of a clause: a pair, and the element that stands before or after it with a word for making between."""
    tokens = _TOKEN.findall(clause)
    start, end = 0, len(tokens)
    at = 0
    while at + 2 < end:
        pair = _pair(world, *tokens[at : at + 3])
        if pair is None:
            at += 1
            continue
        product, after = _before(tokens, start, at, world), at + 3
        if not product:
            product, after = _after(tokens, at + 3, world)
        if product:
            yield Claim(pair, element(world, product))
        start = at = after  # `c` of "a + b = c" is no input of what follows, nor is `b`


def _before(tokens: Sequence[str], start: int, at: int, world: AlchemyWorld) -> str:
    """The product of "c is made of a and b", or nothing."""
    connected = False
    for place in range(at - 1, start - 1, -1):
        word = tokens[place]
        connected |= word.lower() in _IS_MADE_OF
        if connected and _is_product(word, world) and not (place > start and tokens[place - 1].lower() in _JOINS):
            return word
        if word.lower() not in _IS_MADE_OF | _PADDING:
            break
    return ""


def _after(tokens: Sequence[str], at: int, world: AlchemyWorld) -> tuple[str, int]:
    """The product of "a and b make c" and the place behind it, or nothing."""
    connected = False
    for place in range(at, len(tokens)):
        word = tokens[place]
        following = tokens[place + 1] if place + 1 < len(tokens) else ""
        is_article = word == "a" and element(world, following) is not None
        if connected and _is_product(word, world) and not is_article:
            return ("", place) if following.lower() in {"or", "/", "+", "＋"} else (word, place + 1)
        connected |= word.lower() in _MAKES
        if word.lower() not in _MAKES | _PADDING:
            break
    return "", at


def _is_product(word: str, world: AlchemyWorld) -> bool:
    return word.lower() == DUD or element(world, word) is not None


def element(world: AlchemyWorld, word: str) -> int | None:
    """The element of this name (in any case) or symbol."""
    return world.by_symbol.get(word, world.by_name.get(word.lower()))


def _pair(world: AlchemyWorld, first: str, joint: str, second: str) -> Pair | None:
    one, other = element(world, first), element(world, second)
    if joint.lower() not in _JOINS or one is None or other is None:
        return None
    return (one, other) if one <= other else (other, one)
