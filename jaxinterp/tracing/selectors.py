"""Selectors: values that say which sites of a network are meant.

A plain string is a glob on addresses, `"*"` every site. Selectors combine with `&`, `|`
and `~`; they print, compare and hash.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

from jax.extend.core import Primitive

from jaxinterp.checks import is_integer, shown
from jaxinterp.tracing.errors import StepOfLoopError
from jaxinterp.tracing.facts.roles import Role
from jaxinterp.types import Sites


@runtime_checkable
class Selectable(Protocol):
    """What a selector tests: a node or a site of a graph."""

    @property
    def address(self) -> str:
        """The unique name of the node or site."""
        ...

    @property
    def role(self) -> Role:
        """The role of the node that computes it."""
        ...

    @property
    def primitives(self) -> frozenset[Primitive]:
        """The primitives that the equations of the node apply."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The address and its abbreviations, all of which a glob may match."""
        ...


class Selector:
    """A test that says which nodes and sites of a graph are meant."""

    def __call__(self, candidate: Any) -> bool:
        """Returns whether a node or site is meant."""
        raise NotImplementedError

    def __and__(self, other: Selector | str) -> Selector:
        return And(self, as_selector(other))

    def __or__(self, other: Selector | str) -> Selector:
        return Or(self, as_selector(other))

    def __invert__(self) -> Selector:
        return Not(self)


@dataclasses.dataclass(frozen=True)
class At(Selector):
    """Nodes and sites that have a name which matches a glob, or is the glob itself."""

    pattern: str

    def __call__(self, candidate: Selectable) -> bool:
        """Returns whether a name matches."""
        # The pattern itself comes first: in a name, `[3x3]` is no set of letters.
        return self.pattern in candidate.names or any(
            fnmatch.fnmatchcase(name, self.pattern) for name in candidate.names
        )

    def __str__(self) -> str:
        return f"at({self.pattern!r})"


@dataclasses.dataclass(frozen=True)
class First(Selector):
    """Affine maps with no other between them and the input."""

    def __call__(self, candidate: Any) -> bool:
        """Returns whether no affine map comes before."""
        if candidate.is_first is None:
            raise StepOfLoopError(candidate.address, "first()", "the first step")
        return candidate.is_first

    def __str__(self) -> str:
        return "first()"


@dataclasses.dataclass(frozen=True)
class Last(Selector):
    """Affine maps with no other between them and the output."""

    def __call__(self, candidate: Any) -> bool:
        """Returns whether no affine map comes after."""
        if candidate.is_last is None:
            raise StepOfLoopError(candidate.address, "last()", "the last step")
        return candidate.is_last

    def __str__(self) -> str:
        return "last()"


@dataclasses.dataclass(frozen=True)
class Layers(Selector):
    """Affine maps by how many others come before them, or after them."""

    start: int | None
    stop: int | None

    def __call__(self, candidate: Any) -> bool:
        """Returns whether there are as many."""
        before, after = candidate.maps_before, candidate.maps_after
        if before is None:
            return False
        answers = [
            None if least < bound <= most else (least >= bound) == is_wanted
            for bound, is_wanted, (least, most) in self._tests(before, after)
        ]
        if False in answers:
            return False
        if None in answers:
            raise StepOfLoopError(candidate.address, str(self), "some steps")
        return True

    def _tests(
        self, before: tuple[float, float], after: tuple[float, float]
    ) -> Iterator[tuple[int, bool, tuple[float, float]]]:
        """A number, whether as many are wanted or fewer, and how many there are."""
        if self.start is not None:
            is_counted = self.start >= 0
            yield abs(self.start), is_counted, before if is_counted else after
        if self.stop is not None:
            is_counted = self.stop >= 0
            yield abs(self.stop), not is_counted, before if is_counted else after

    def __str__(self) -> str:
        return f"layers({self.start}, {self.stop})"


@dataclasses.dataclass(frozen=True)
class OfRole(Selector):
    """Nodes and sites whose role is one of several."""

    roles: tuple[Role, ...]

    def __call__(self, candidate: Selectable) -> bool:
        """Returns whether the role is one of them."""
        return candidate.role in self.roles

    def __str__(self) -> str:
        return f"of_role({', '.join(repr(str(role)) for role in self.roles)})"


@dataclasses.dataclass(frozen=True)
class OfPrimitive(Selector):
    """Nodes and sites whose equations apply one of several primitives."""

    primitives: tuple[Primitive, ...]

    def __call__(self, candidate: Selectable) -> bool:
        """Returns whether a primitive is applied there."""
        return not candidate.primitives.isdisjoint(self.primitives)

    def __str__(self) -> str:
        return f"of_primitive({', '.join(p.name for p in self.primitives)})"


@dataclasses.dataclass(frozen=True)
class Where(Selector):
    """Nodes and sites for which a function returns true."""

    predicate: Callable[[Any], bool]

    def __call__(self, candidate: Any) -> bool:
        """Returns what the function returns."""
        return bool(self.predicate(candidate))

    def __str__(self) -> str:
        return f"where({getattr(self.predicate, '__name__', self.predicate)})"


@dataclasses.dataclass(frozen=True)
class And(Selector):
    """Nodes and sites that both selectors mean."""

    left: Selector
    right: Selector

    def __call__(self, candidate: Any) -> bool:
        """Returns whether both mean it."""
        return self.left(candidate) and self.right(candidate)

    def __str__(self) -> str:
        return f"({self.left} & {self.right})"


@dataclasses.dataclass(frozen=True)
class Or(Selector):
    """Nodes and sites that either selector means."""

    left: Selector
    right: Selector

    def __call__(self, candidate: Any) -> bool:
        """Returns whether either means it."""
        return self.left(candidate) or self.right(candidate)

    def __str__(self) -> str:
        return f"({self.left} | {self.right})"


@dataclasses.dataclass(frozen=True)
class Not(Selector):
    """Nodes and sites that a selector does not mean."""

    inner: Selector

    def __call__(self, candidate: Any) -> bool:
        """Returns whether it is not meant."""
        return not self.inner(candidate)

    def __str__(self) -> str:
        return f"~{self.inner}"


def at(pattern: str) -> Selector:
    """Selects nodes and sites by address.

    If all modules lie in one, as those of a linen model do, the name of that one may be
    left out: `inception_4a` is `GoogLeNet/inception_4a`.

    Args:
        pattern: an address or a glob; `*` matches any characters, `/` included.

    Example:
        >>> at("Block_*/add")
        At(pattern='Block_*/add')
    """
    return At(pattern)


def first() -> Selector:
    """Selects the affine maps that no other affine map comes before.

    The order is that of the data, not of definition: a network has several first maps
    if several read its input.

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


def layers(start: int | None, stop: int | None) -> Selector:
    """Selects affine maps by depth, as a slice `[start:stop]` of the layers does.

    The depth of a layer is the number of affine maps on the longest way from the input
    to it: `layers(0, 1)` is `first()`. Negative numbers count from the output, along
    the longest way to it: `layers(-1, None)` is `last()`, and `layers(1, -1)` all
    layers between. Layers of branches that run side by side may have the same depth,
    and a projection beside a branch of three layers is as deep as the first of them.

    In a loop the depth of a layer grows from step to step. Where it matters that is an
    error: name the layer, or its role.

    Args:
        start: the smallest depth, or `None` for all from the first on.
        stop: the depth before which the selection ends, or `None` for all to the last.

    Raises:
        ValueError: if a bound is no integer, or none can lie between the two.

    Example:
        >>> from jaxinterp.rules import Composite, Epsilon, Gamma, ZPlus
        >>> print(Composite([(layers(0, 3), ZPlus()), (layers(-2, None), Epsilon()),
        ...                  (layers(None, None), Gamma())]))
        1  layers(0, 3)        ZPlus()
        2  layers(-2, None)    Epsilon()
        3  layers(None, None)  Gamma()
    """
    for name, bound in (("start", start), ("stop", stop)):
        if bound is not None and not is_integer(bound):
            raise ValueError(
                f"layers(): `{name}` must be an integer or None, and is {shown(bound)}."
            )
    first_one = 0 if start is None else int(start)
    if stop is not None and (first_one < 0) == (stop < 0) and first_one >= stop:
        raise ValueError(
            f"layers({start}, {stop}) has no layers in it. As in a slice, write\n"
            "`jaxinterp.layers(0, 3)` for the first three, `jaxinterp.layers(2, 3)` "
            "for the third,\n`jaxinterp.layers(-2, None)` for the last two."
        )
    return Layers(*(None if b is None else int(b) for b in (start, stop)))


def of_role(*roles: Role | str) -> Selector:
    """Selects nodes and sites by role.

    Args:
        *roles: members of `Role`, or their values such as `"dense"`.

    Raises:
        ValueError: if a role does not exist, or there is no argument.

    Example:
        >>> print(of_role("convolution", "dense"))
        of_role('convolution', 'dense')
    """
    members = ", ".join(repr(str(role)) for role in Role)
    if not roles:
        raise ValueError(f"of_role() needs at least one role. There are: {members}.")
    for role in roles:
        if role not in set(Role):
            raise ValueError(f"There is no role {role!r}. There are: {members}.")
    return OfRole(tuple(Role(role) for role in roles))


def of_primitive(*primitives: Primitive) -> Selector:
    """Selects nodes and sites by the primitives of their equations.

    Args:
        *primitives: JAX primitives, from `jax.extend.core.primitives`.

    Raises:
        TypeError: if an argument is no primitive.

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
    """Selects nodes by any test.

    Args:
        predicate: whether a node is meant, a function of the node; its `address`,
            `role`, `inputs` and `outputs` (with `shape` and `dtype`) tell what it is.

    Example:
        >>> print(where(lambda node: node.outputs[0].shape[-1] > 64))
        where(<lambda>)
    """
    return Where(predicate)


def as_selector(selector: Sites) -> Selector:
    """Returns a selector as it is, a string as a glob, a list as any of its entries.

    Args:
        selector: a selector, a glob on addresses, or a list of these.

    Raises:
        TypeError: if the argument is none of these, or the list is empty.

    Example:
        >>> as_selector("*")
        At(pattern='*')
    """
    if isinstance(selector, Selector):
        return selector
    if isinstance(selector, str):
        return At(selector)
    if isinstance(selector, list | tuple) and selector:
        return functools.reduce(operator.or_, map(as_selector, selector))
    raise TypeError(
        f"A site is an address, a selector or a list of these, and {selector!r} is "
        "none.\n"
        "Write a string such as 'Block_*/add', or at(), first(), last(), layers(), "
        "of_role(), of_primitive(), where()."
    )
