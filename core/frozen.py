"""`@frozen`: the dataclass that travels, frozen and slotted, with a pickle that is cheap.

The standard library's own pickling of frozen slotted dataclasses asks for the fields anew for each object;
a batch of a thousand envelopes spent more time in that than in SQLite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """A frozen, slotted, keyword-only dataclass."""
    made = dataclass(frozen=True, slots=True, kw_only=True)(cls)
    names = [f.name for f in fields(made)]  # type: ignore[arg-type]
    if not names:
        return made  # it says all by its type
    setters: list[Callable[[Any, Any], None]] = [vars(made)[name].__set__ for name in names]
    get = attrgetter(*names)

    def getstate(self: Any) -> Any:
        return get(self)

    def setstate(self: Any, state: Any) -> None:
        for set_, value in zip(setters, state, strict=True):
            set_(self, value)

    def setstate_one(self: Any, state: Any) -> None:
        setters[0](self, state[0])

    def getstate_one(self: Any) -> Any:
        return (get(self),)

    made.__getstate__ = getstate if len(names) > 1 else getstate_one  # type: ignore[method-assign]
    made.__setstate__ = setstate if len(names) > 1 else setstate_one  # type: ignore[attr-defined]
    return made


def names_of(cls: type) -> tuple[str, ...]:
    """The names of a frozen class's fields, in order."""
    found: tuple[str, ...] = cls.__slots__  # type: ignore[attr-defined]
    return found
