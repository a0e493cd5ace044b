"""Every numeric field of every schema, read from the schemas themselves, with values at and around its bounds."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_ODD = (
    "inf",
    "-inf",
    "nan",
    "1e400",
    "-1e400",
    "1e308",
    "-1e308",
    "5e-324",
    "0",
    "-1",
    "9223372036854775808",
    "1" + 30 * "0",
)


@dataclass(frozen=True)
class Numeric:
    """One field that holds a number, or numbers.

    Attributes:
        key: Dotted.
        is_whole: Whether it takes whole numbers only.
        many: How many numbers its list has; 0 where it is no list.
        low, high: The least and the largest number that its bounds allow; None without a bound.
    """

    key: str
    is_whole: bool
    many: int
    low: float | None
    high: float | None

    def written(self, number: str) -> str:
        """A value as it is typed."""
        return f"[{','.join([number] * self.many)}]" if self.many else number

    def value(self, number: float) -> Any:
        return [number] * self.many if self.many else number

    def texts(self) -> Iterator[str]:
        """Values to try: never a number, huge, tiny, around the bounds, and of another type."""
        yield from map(self.written, _ODD)
        for bound in (self.low, self.high):
            if bound is not None:
                step = 1 if self.is_whole else max(abs(bound) * 1e-6, 1e-12)
                yield from (self.written(_typed(number)) for number in (bound, bound - step, bound + step))
        yield from ("true", "abc", "null", "[]", "{}", "[inf]")


def numeric_fields(model: type[BaseModel], prefix: str = "") -> Iterator[Numeric]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from numeric_fields(annotation, f"{prefix}{name}.")
        elif found := _numeric(f"{prefix}{name}", field):
            yield found


def _numeric(key: str, field: FieldInfo) -> Numeric | None:
    """The innermost int or float of an annotation, with the bounds on the way to it."""
    metadata, many = list(field.metadata), 0
    todo: list[Any] = [field.annotation]
    while todo:
        kind = todo.pop()
        if kind in (int, float):
            is_whole = kind is int
            bounds = {
                name: getattr(one, name)
                for one in metadata
                for name in ("ge", "gt", "le", "lt")
                if getattr(one, name, None) is not None
            }
            return Numeric(
                key, is_whole, many, _inside(bounds, "ge", "gt", 1, is_whole), _inside(bounds, "le", "lt", -1, is_whole)
            )
        if typing.get_origin(kind) is typing.Annotated:
            for extra in kind.__metadata__:
                metadata += getattr(extra, "metadata", [extra])
        args = typing.get_args(kind)
        if typing.get_origin(kind) is tuple:
            many = 1 if args[-1] is Ellipsis else len(args)
        todo += [arg for arg in args if arg not in (type(None), bool, Ellipsis)][:1]
    return None


def _inside(bounds: dict[str, float], closed: str, opened: str, sign: int, is_whole: bool) -> float | None:
    if closed in bounds:
        return bounds[closed]
    if opened in bounds:
        return bounds[opened] + sign * (1 if is_whole else 1e-9)
    return None


def _typed(number: float) -> str:
    return f"{number}" if isinstance(number, int) else repr(float(number))
