"""Selectors: values that say which sites of a network are meant.

A plain string is a glob on addresses, `"*"` every site. Selectors combine with `&`, `|`
and `~`; they print, compare and hash.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from jax.extend.core import Primitive

from jaxinterp.tracing.facts.roles import Role
from jaxinterp.types import Sites


@runtime_checkable
class Place(Protocol):
    """What a selector looks at: a node or a site of a graph."""

    @property
    def address(self) -> str:
        """Its unique name."""
        ...

    @property
    def role(self) -> Role:
        """What it does."""
        ...

    @property
    def primitives(self) -> frozenset[Primitive]:
        """The primitives of its equations."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """What it may be called."""
        ...


class Selector:
    """A test on places of a graph."""

    def __call__(self, place: Any) -> bool:
        """Returns whether a place is meant."""
        raise NotImplementedError

    def __and__(self, other: Selector | str) -> Selector:
        return And(self, as_selector(other))

    def __or__(self, other: Selector | str) -> Selector:
        return Or(self, as_selector(other))

    def __invert__(self) -> Selector:
        return Not(self)


@dataclasses.dataclass(frozen=True)
class At(Selector):
    """Places one of whose names is a glob, or matches it."""

    pattern: str

    def __call__(self, place: Place) -> bool:
        """Returns whether a name matches."""
        # As it is first: a name may hold what means something else in a glob, `[3x3]`.
        return self.pattern in place.names or any(
            fnmatch.fnmatchcase(name, self.pattern) for name in place.names
        )

    def __str__(self) -> str:
        return f"at({self.pattern!r})"


@dataclasses.dataclass(frozen=True)
class First(Selector):
    """Affine maps with no other between them and the input."""

    def __call__(self, place: Any) -> bool:
        """Returns whether no affine map comes before."""
        return place.is_first

    def __str__(self) -> str:
        return "first()"


@dataclasses.dataclass(frozen=True)
class Last(Selector):
    """Affine maps with no other between them and the output."""

    def __call__(self, place: Any) -> bool:
        """Returns whether no affine map comes after."""
        return place.is_last

    def __str__(self) -> str:
        return "last()"


@dataclasses.dataclass(frozen=True)
class OfRole(Selector):
    """Places with one of some roles."""

    roles: tuple[Role, ...]

    def __call__(self, place: Place) -> bool:
        """Returns whether the role is one of them."""
        return place.role in self.roles

    def __str__(self) -> str:
        return f"of_role({', '.join(repr(str(role)) for role in self.roles)})"


@dataclasses.dataclass(frozen=True)
class OfPrimitive(Selector):
    """Places that apply one of some primitives."""

    primitives: tuple[Primitive, ...]

    def __call__(self, place: Place) -> bool:
        """Returns whether a primitive is applied there."""
        return not place.primitives.isdisjoint(self.primitives)

    def __str__(self) -> str:
        return f"of_primitive({', '.join(p.name for p in self.primitives)})"


@dataclasses.dataclass(frozen=True)
class Where(Selector):
    """Places that a function says yes to."""

    predicate: Callable[[Any], bool]

    def __call__(self, place: Any) -> bool:
        """Returns what the function says."""
        return bool(self.predicate(place))

    def __str__(self) -> str:
        return f"where({getattr(self.predicate, '__name__', self.predicate)})"


@dataclasses.dataclass(frozen=True)
class And(Selector):
    """Places that both selectors mean."""

    left: Selector
    right: Selector

    def __call__(self, place: Any) -> bool:
        """Returns whether both mean it."""
        return self.left(place) and self.right(place)

    def __str__(self) -> str:
        return f"({self.left} & {self.right})"


@dataclasses.dataclass(frozen=True)
class Or(Selector):
    """Places that either selector means."""

    left: Selector
    right: Selector

    def __call__(self, place: Any) -> bool:
        """Returns whether either means it."""
        return self.left(place) or self.right(place)

    def __str__(self) -> str:
        return f"({self.left} | {self.right})"


@dataclasses.dataclass(frozen=True)
class Not(Selector):
    """Places that a selector does not mean."""

    inner: Selector

    def __call__(self, place: Any) -> bool:
        """Returns whether it is not meant."""
        return not self.inner(place)

    def __str__(self) -> str:
        return f"~{self.inner}"


def at(pattern: str) -> Selector:
    """Selects by address.

    If all modules lie in one, as those of a linen model do, that one's name may be left
    out: `inception_4a` is `GoogLeNet/inception_4a`.

    Args:
        pattern: a glob; `*` matches any characters, `/` included.

    Example:
        >>> at("Block_*/add")
        At(pattern='Block_*/add')
    """
    return At(pattern)


def first() -> Selector:
    """Selects the affine maps that no other affine map comes before.

    The order is that of the data, not of definition: a network has several if its input
    enters at several places.

    Example:
        >>> print(first() | at("stem"))
        (first() | at('stem'))
    """
    return First()


def last() -> Selector:
    """Selects the affine maps that no other affine map comes after.

    Example:
        >>> print(~last())
        ~last()
    """
    return Last()


def of_role(*roles: Role | str) -> Selector:
    """Selects by role.

    Args:
        *roles: members of `Role` or their values.

    Raises:
        ValueError: if a role does not exist, or none is given.

    Example:
        >>> print(of_role("convolution", "dense"))
        of_role('convolution', 'dense')
    """
    known = ", ".join(repr(str(role)) for role in Role)
    if not roles:
        raise ValueError(f"of_role() needs at least one role. There are: {known}.")
    for role in roles:
        if role not in set(Role):
            raise ValueError(f"There is no role {role!r}. There are: {known}.")
    return OfRole(tuple(Role(role) for role in roles))


def of_primitive(*primitives: Primitive) -> Selector:
    """Selects by what is applied.

    Args:
        *primitives: JAX primitives, from `jax.extend.core.primitives`.

    Raises:
        TypeError: if something else than a primitive is given.

    Example:
        >>> from jax.extend.core.primitives import tanh_p
        >>> print(of_primitive(tanh_p))
        of_primitive(tanh)
    """
    for primitive in primitives:
        if not isinstance(primitive, Primitive):
            raise TypeError(
                f"of_primitive() takes JAX primitives, and was given {primitive!r}.\n"
                "Write `from jax.extend.core.primitives import tanh_p`, and pass "
                "`tanh_p`."
            )
    return OfPrimitive(primitives)


def where(predicate: Callable[[Any], bool]) -> Selector:
    """Selects by any test.

    Args:
        predicate: a function of a node; its `address`, `role`, `inputs` and `outputs`
            (with `shape` and `dtype`) tell what it is.

    Example:
        >>> print(where(lambda node: node.outputs[0].shape[-1] > 64))
        where(<lambda>)
    """
    return Where(predicate)


def as_selector(selector: Sites) -> Selector:
    """Returns a selector as it is, and a string as a glob on addresses.

    Args:
        selector: a selector or a glob.

    Raises:
        TypeError: if it is neither.

    Example:
        >>> as_selector("*")
        At(pattern='*')
    """
    if isinstance(selector, Selector):
        return selector
    if isinstance(selector, str):
        return At(selector)
    raise TypeError(
        f"A site is an address or a selector, and {selector!r} was given.\n"
        "Write a string such as 'Block_*/add', or at(), first(), last(), of_role(), "
        "of_primitive(), where()."
    )
