"""What each key of a recipe means, read from the schema itself."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from codctl.config.names import nearest
from codctl.config.registries import NameIn
from codctl.config.schema import Config, FieldClass
from codctl.errors import UsageError

_NAMES: dict[Any, tuple[str, str]] = {
    str: ("text", "texts"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "truth values"),
    type(None): ("null", "nulls"),
}
EVAL = "eval"
_LISTED = "a list of sections with keys "
_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


@dataclass(frozen=True)
class FieldDoc:
    """One key of a recipe."""

    key: str
    description: str
    expected: str  # type and bounds, in words
    default: Any
    field_class: FieldClass
    is_added: bool = False  # an identity field that counts only when it is not at its default


@cache
def field_docs(model: type[BaseModel] = Config) -> tuple[FieldDoc, ...]:
    """Every key that holds a value, in the order of the schema."""
    return tuple(_walk(model, ""))


@cache
def sections(model: type[BaseModel] = Config) -> dict[str, tuple[str, ...]]:
    """Names inside each section; the empty key is the recipe itself."""
    return dict(_sections(model, ""))


@cache
def section_descriptions(model: type[BaseModel] = Config) -> dict[str, str]:
    """What each section is about, by its dotted key."""
    return dict(_described(model, ""))


@cache
def listed_sections(model: type[BaseModel] = Config) -> dict[str, tuple[str, ...]]:
    """Names inside the sections of each key that holds a list of sections."""
    return {
        doc.key: tuple(doc.expected.removeprefix(_LISTED).split(", "))
        for doc in field_docs(model)
        if doc.expected.startswith(_LISTED)
    }


@cache
def listed_docs(model: type[BaseModel] = Config) -> tuple[FieldDoc, ...]:
    """Every key of the sections inside lists, without positions."""
    return tuple(_walk_lists(model, ""))


def explain(key: str) -> tuple[FieldDoc, ...]:
    """Explain a key, every key of a section, or a name in all sections that have it.

    Raises:
        UsageError: When there is no such key; names the nearest.
    """
    docs = _eval_docs() if key.partition(".")[0] == EVAL else field_docs()
    found = tuple(doc for doc in docs if doc.key == key or doc.key.startswith(key + "."))
    if not found and "." not in key:
        found = tuple(doc for doc in docs if key in doc.key.split("."))
        found = found or tuple(doc for doc in _eval_docs() if doc.key == f"{EVAL}.{key}")
    if found:
        return found
    hint = _nearest_of_eval(key) if docs is not field_docs() else nearest_key(key)
    raise UsageError(
        f'a recipe has no key "{key}"' + (f'; did you mean "{hint}"?' if hint else ""),
        hint=f"codctl recipe explain {hint}" if hint else "codctl recipe explain",
    )


def _eval_docs() -> tuple[FieldDoc, ...]:
    """The keys of `codctl eval`, as if they were a section."""
    from codctl.config.evalspec import EvalSpec

    # A suite names its evaluations itself.
    return tuple(replace(doc, key=f"{EVAL}.{doc.key}") for doc in field_docs(EvalSpec) if doc.key != "name")


def _nearest_of_eval(key: str) -> str | None:
    from codctl.config.evalspec import EvalSpec

    found = nearest_key(key.removeprefix(f"{EVAL}."), EvalSpec)
    return f"{EVAL}.{found}" if found else None


def nearest_key(key: str, model: type[BaseModel] = Config) -> str | None:
    """The valid key closest to a misspelt one: the same name elsewhere, a neighbour, or something alike anywhere."""
    known = {**sections(model), **listed_sections(model)}
    section, _, name = key.rpartition(".")
    if name.startswith("_"):
        return None  # _target_ and the like are no misspellings
    every = {doc.key: doc.key.rpartition(".")[2] for doc in field_docs(model)}
    every |= {inner: inner.rpartition(".")[2] for inner in known if inner}
    elsewhere = [candidate for candidate, last in every.items() if last == name]
    if len(elsewhere) == 1:
        return elsewhere[0]
    neighbour = nearest(name, known.get(section, ()))
    if neighbour:
        return f"{section}.{neighbour}" if section else neighbour
    alike = nearest(name, every.values(), cutoff=0.8)
    return next((candidate for candidate, last in every.items() if last == alike), nearest(key, every, cutoff=0.8))


def _subsection(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield prefix.rstrip("."), tuple(model.model_fields)
    for name, field in model.model_fields.items():
        inner = _subsection(field)
        if inner:
            yield from _sections(inner, f"{prefix}{name}.")


def _described(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        if inner := _subsection(field):
            yield f"{prefix}{name}", field.description or ""
            yield from _described(inner, f"{prefix}{name}.")


def _walk(model: type[BaseModel], prefix: str) -> Iterator[FieldDoc]:
    for name, field in model.model_fields.items():
        inner = _subsection(field)
        if inner:
            yield from _walk(inner, f"{prefix}{name}.")
            continue
        extra = field.json_schema_extra
        field_class = extra.get("class") if isinstance(extra, dict) else None
        yield FieldDoc(
            key=f"{prefix}{name}",
            description=field.description or "",
            expected=_expected(field),
            default=field.default,
            field_class=typing.cast("FieldClass", field_class),
            is_added=isinstance(extra, dict) and bool(extra.get("added")),
        )


def _walk_lists(model: type[BaseModel], prefix: str) -> Iterator[FieldDoc]:
    for name, field in model.model_fields.items():
        inner, args = _subsection(field), typing.get_args(field.annotation)
        if inner:
            yield from _walk_lists(inner, f"{prefix}{name}.")
        elif args and isinstance(args[0], type) and issubclass(args[0], BaseModel):
            yield from _walk(args[0], f"{prefix}{name}.")


def _expected(field: FieldInfo) -> str:
    """Say in words what a value must be, for example `a number > 0 and < 1`."""
    for item in field.metadata:
        if isinstance(item, NameIn):
            return item.expected
    bounds = _bounds(field.metadata)
    words = _type_words(field.annotation)
    return f"{words} {bounds}" if bounds else words


def _bounds(metadata: Iterable[Any]) -> str:
    bounds, metadata = [], list(metadata)
    found = {name: getattr(item, name) for item in metadata for name in _SIGNS if getattr(item, name, None) is not None}
    if {"ge", "le"} <= set(found):
        bounds.append(f"from {_plain(found.pop('ge'))} to {_plain(found.pop('le'))}")
    bounds += [f"{_SIGNS[name]} {_plain(bound)}" for name, bound in found.items()]
    for item in metadata:
        if getattr(item, "min_length", None):
            bounds.append(f"with at least {item.min_length}")
        if getattr(item, "pattern", None):
            bounds.append(f"that matches {item.pattern}")
    return " and ".join(bounds)


def _plain(number: float) -> str:
    return f"{number:g}" if isinstance(number, float) else f"{number:,}"


def _plural(annotation: Any) -> str:
    """The type of a list's items in words, with their bounds."""
    if typing.get_origin(annotation) is typing.Literal:
        return f"words among {', '.join(typing.get_args(annotation))}"
    if typing.get_origin(annotation) is not typing.Annotated:
        return _NAMES[annotation][1]
    inner, field = typing.get_args(annotation)
    return f"{_NAMES[inner][1]} {_bounds(field.metadata)}"


def _type_words(annotation: Any) -> str:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return "one of " + ", ".join(json.dumps(value)[1:-1] for value in args)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_words(arg) for arg in args)
    if origin is tuple:
        if isinstance(args[0], type) and issubclass(args[0], BaseModel):
            return _LISTED + ", ".join(args[0].model_fields)
        number = "" if args[-1] is Ellipsis else f"{len(args)} "
        return f"a list of {number}{_plural(args[0])}"
    if origin is dict and typing.get_origin(args[1]) is dict:
        return "a mapping of names to mappings"
    if origin is dict and args[1] is Any:
        return "a mapping of keys to values"
    if origin is dict:
        words = (_NAMES[arg][1] if arg in _NAMES else "mappings" for arg in typing.get_args(args[1]))
        return f"a mapping of names to {' or '.join(words)}"
    return _NAMES[annotation][0]
