r"""Rules by patterns: what makes a unit fire, in place of what it multiplies by.

The weights $w$ of a unit $y = w^\top x$ have to cancel distractors, so they are not the
direction in which its signal lies. A pattern $a$ is that direction, fitted to data (see
`attribution.fit_patterns`) and scaled such that $w^\top a = 1$. A unit may have
two, one for each sign of its output. Both rules belong into composites whose other
sites keep their derivative.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import shown
from jaxinterp.rules.affine import need_affine
from jaxinterp.rules.rule import Rule
from jaxinterp.tracing.facts.roles import Role
from jaxinterp.tracing.layer.layer import Layer


class MissingPatternError(ValueError):
    """A rule by patterns meets an affine site of which no pattern was fitted."""

    def __init__(self, rule: object, layer: Layer):
        node = layer.node
        super().__init__(
            f"{type(rule).__name__} has no pattern for {node.address!r}\n({node.line})."
            "\nFit the patterns of this very model, "
            "`fit_patterns(apply_fn, variables, batches).patterns`."
        )


class TwoComponents(NamedTuple):
    """What each unit of a site has for either sign of its output.

    Attributes:
        positive: where the output of the site, with its bias, is positive.
        negative: where it is not.
    """

    positive: Any
    negative: Any


def _back(
    rule: _ByPattern, layer: Layer, relevance: Any, weight: Callable[[Any], Any]
) -> Any:
    """What goes back by weights that depend on the pattern of the regime."""
    relevance = relevance.astype(layer.dtype)
    if not isinstance(rule.pattern, TwoComponents):
        return layer.transpose(
            weight(_pattern_of(rule, layer, rule.pattern)), relevance
        )
    positive, negative = (_pattern_of(rule, layer, p) for p in rule.pattern)
    is_on = layer.z > 0
    return layer.transpose(
        weight(positive), jnp.where(is_on, relevance, 0)
    ) + layer.transpose(weight(negative), jnp.where(is_on, 0, relevance))


def _pattern_of(rule: _ByPattern, layer: Layer, pattern: Any) -> Any:
    """The pattern of a site, an array like its kernel."""
    need_affine(rule, layer)
    kernel = layer.kernel
    if pattern is None and layer.node.role is Role.SCALE:
        return jnp.where(kernel == 0, 0, 1 / jnp.where(kernel == 0, 1, kernel))
    if pattern is None:
        raise MissingPatternError(rule, layer)
    if np.shape(pattern) != kernel.shape:
        raise ValueError(
            f"The pattern of {layer.node.address!r} ({layer.node.line})\nhas the shape "
            f"{np.shape(pattern)}, and the kernel there {kernel.shape}.\n"
            "Fit the patterns of this very model."
        )
    return jnp.asarray(pattern, layer.dtype)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class _ByPattern(Rule):
    """A rule with a pattern; equal to another of its kind with the same array."""

    pattern: Any = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(pattern={shown(self.pattern)})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.pattern is self.pattern

    def __hash__(self) -> int:
        return hash((type(self), id(self.pattern)))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PatternNet(_ByPattern):
    r"""Projects a signal back: the derivative, with patterns in place of weights.

    $$R_x = L_A^\top R_z$$

    Attributes:
        pattern: $A$, an array like the kernel of the site, or `TwoComponents` of such.
            `None` is for sites that multiply each entry by a number $w$ of its own,
            whose pattern is $1 / w$.

    Raises:
        MissingPatternError: when used, if an affine site with a kernel has none.
        RuleSiteError: when used, if a site is not affine.
        ValueError: when used, if pattern and kernel differ in shape.

    References:
        Kindermans et al., 2018 [kindermans2018learning].

    Example:
        >>> PatternNet(jnp.ones((3, 3, 4, 8), jnp.float32))
        PatternNet(pattern=float32[3, 3, 4, 8])
    """

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the signal of the input."""
        return _back(self, layer, relevance, lambda pattern: pattern)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PatternAttribution(_ByPattern):
    r"""Shares relevance by weight times pattern, the part that is signal.

    $$R_x = L_{W \odot A}^\top R_z$$

    Since $w^\top a = 1$ for each unit, a single layer conserves relevance, bias
    included.

    Attributes:
        pattern: $A$, an array like the kernel of the site, or `TwoComponents` of such.
            `None` is for sites that multiply each entry by a number $w$ of its own,
            whose pattern is $1 / w$.

    Raises:
        MissingPatternError: when used, if an affine site with a kernel has none.
        RuleSiteError: when used, if a site is not affine.
        ValueError: when used, if pattern and kernel differ in shape.

    References:
        Kindermans et al., 2018 [kindermans2018learning].

    Example:
        >>> PatternAttribution(jnp.ones((3, 3, 4, 8), jnp.float32))
        PatternAttribution(pattern=float32[3, 3, 4, 8])
    """

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the relevance of the input."""
        return _back(self, layer, relevance, lambda a: layer.kernel * a)
