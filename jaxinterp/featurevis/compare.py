r"""Objectives that compare pictures: style, inversion, caricatures, facets.

Notation: $a$ is the activation of a site for the picture that is made and $t$ that for
the picture it is compared with, which `capture` returns. Sums run over all entries.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.featurevis import places
from jaxinterp.featurevis.direction import (
    as_floats,
    as_target,
    check_power,
    dot_cosine,
)
from jaxinterp.featurevis.integers import checked_integer
from jaxinterp.featurevis.objective import Objective, Shapes, View, Where


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Style(Objective):
    """The distance to a Gram matrix, negated.

    Attributes:
        site: whose activation is read.
        power: the exponent of the absolute differences.
        decay: of the average over steps.
        target: Gram matrices, `(units, channels, channels)`.
    """

    site: Where = dataclasses.field(metadata={"static": True})
    power: int = dataclasses.field(metadata={"static": True})
    decay: float = dataclasses.field(metadata={"static": True})
    target: Any

    @property
    def sites(self) -> tuple[Where, ...]:
        """The one place that it reads."""
        return (self.site,)

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it as it is, if the site has as many channels."""
        shape, channels = shapes.activations[self.site], self.target.shape[-1]
        if places.check_channels(shape, repr(self.site)) != channels:
            raise ValueError(
                f"The target of style() has {channels} channels, and {self.site!r} "
                f"has {shape[-1]}: its shape is {shape}.\nCapture it at the same site."
            )
        return self

    def memory(self, shapes: Shapes, count: int) -> Any:
        """Returns the weighted sum of no Gram matrices, and the sum of the weights."""
        if not self.decay:
            return None
        channels = self.target.shape[-1]
        return jnp.zeros((count, channels, channels), float), jnp.zeros((), float)

    def remember(self, view: View) -> Any:
        """Returns both sums with this step's matrices."""
        if view.memory is None:
            return None
        total, weight = view.memory
        now = gram(view.activations[self.site]).astype(total.dtype)
        new = 1 - self.decay
        return self.decay * total + new * now, self.decay * weight + new

    def __call__(self, view: View) -> Any:
        """Returns the score of each picture."""
        g = gram(view.activations[self.site])
        if view.memory is not None:
            total, weight = self.remember(view)
            average = total / weight
            g += jax.lax.stop_gradient(average.astype(g.dtype) - g)
        difference = g - self.target.astype(g.dtype)[None]
        return -jnp.mean(jnp.abs(difference) ** self.power, axis=(1, 2))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Match(Objective):
    """The distance to an activation, negated.

    Attributes:
        site: whose activation is read.
        target: activations, `(units, *positions, channels)`.
    """

    site: Where = dataclasses.field(metadata={"static": True})
    target: Any

    @property
    def sites(self) -> tuple[Where, ...]:
        """The one place that it reads."""
        return (self.site,)

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it as it is, if the shapes are the same."""
        _check_same_shape(self.target, shapes.activations[self.site], self.site)
        return self

    def __call__(self, view: View) -> Any:
        """Returns the score of each picture."""
        a = _entries(view.activations[self.site])
        t = self.target.astype(a.dtype).reshape(1, -1)
        size = jnp.sum(jnp.square(t))
        distance = jnp.sum(jnp.square(a - t), axis=1)
        return -distance / jnp.where(size == 0, 1, size)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Caricature(Objective):
    """The agreement with an activation as a whole.

    Attributes:
        site: whose activation is read.
        cosine_power: the exponent of the cosine.
        target: activations, `(units, *positions, channels)`.
    """

    site: Where = dataclasses.field(metadata={"static": True})
    cosine_power: float = dataclasses.field(metadata={"static": True})
    target: Any

    @property
    def sites(self) -> tuple[Where, ...]:
        """The one place that it reads."""
        return (self.site,)

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it as it is, if the shapes are the same."""
        _check_same_shape(self.target, shapes.activations[self.site], self.site)
        return self

    def __call__(self, view: View) -> Any:
        """Returns the score of each picture."""
        a = _entries(view.activations[self.site])
        return dot_cosine(a, self.target.reshape(-1), self.cosine_power)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Facet(Objective):
    """What a probe says of what an activation contributes to a score.

    Attributes:
        site: whose activation is read.
        tail: from the activation of some pictures to a score of each.
        probe: weights, `(units, channels)` or `(units, *positions, channels)`.
    """

    site: Where = dataclasses.field(metadata={"static": True})
    tail: Callable[[Any], Any] = dataclasses.field(metadata={"static": True})
    probe: Any

    @property
    def sites(self) -> tuple[Where, ...]:
        """The one place that it reads."""
        return (self.site,)

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it as it is, if the probe has a weight for each channel or entry."""
        shape, given = tuple(shapes.activations[self.site]), self.probe.shape[1:]
        if given not in (shape, shape[-1:]):
            raise ValueError(
                f"The probe has shape {given} for each unit, and {self.site!r} has "
                f"shape {shape}.\nGive one weight for each channel, {shape[-1:]}, or "
                "one for each entry."
            )
        return self

    def __call__(self, view: View) -> Any:
        """Returns the score of each picture."""
        a = view.activations[self.site]
        score, pull = jax.vjp(self.tail, a)
        if score.shape != a.shape[:1]:
            raise ValueError(
                "The tail of a facet gives one number for each picture, "
                f"{a.shape[:1]}, and gave {score.shape}.\n"
                "Write for example `lambda a: decode(variables, a, inputs)[:, 7]`."
            )
        (slope,) = pull(jnp.ones_like(score))
        slope = places.at_position(jax.lax.stop_gradient(slope), None)
        contribution = places.at_position(a, None) * slope
        weights = self.probe.astype(contribution.dtype)
        weights = jnp.broadcast_to(weights, contribution.shape)
        axes = tuple(range(1, a.ndim))
        facet = jnp.sum(weights * contribution, axis=axes)
        return score.astype(facet.dtype) + facet


def style(
    site: Where, target: Any, *, power: int = 2, ema_decay: float = 0.0
) -> Objective:
    r"""Looks for the texture of another picture, wherever its parts are.

    $$-\frac{1}{C^2} \sum_{cd} |G_{cd}(a) - G_{cd}(t)|^p, \qquad
      G(a) = \tfrac{1}{|X|} \sum_x a_x a_x^\top$$

    At $p = 2$ it is $-4$ times the term of Gatys et al. for one layer; add up several.
    Because $G$ is a mean over positions the two pictures may differ in size.

    Where transforms show a part of the picture at each step, such as one side of an
    object (`texture_views`), a part need not have the style of the whole. With a decay
    $d > 0$ the distance is therefore that of the average of the Gram matrices $G_m$ of
    this step $n$ and those before (of several `samples`, their mean), and its gradient
    is taken as if the average were the matrix of this step:

    $$\bar G_n = \frac{1 - d}{1 - d^{n+1}} \sum_{m=0}^{n} d^{n-m} G_m, \qquad
      \frac{\partial \bar G_n}{\partial G_n} := 1$$

    Args:
        site: whose activation is read.
        target: the activation $t$ there, the units first, as `capture` returns it for a
            batch: `(units, *positions, channels)`. Only its Gram matrix is kept.
        power: $p$, an integer from 1. With absolute differences, 1, as lucid has them,
            a few channels with large activations have less of a say.
        ema_decay: $d$, in [0, 1); 0 compares each step by itself. Where there are no
            steps, as in `achieved_scores`, it changes nothing. The average takes $C^2$
            floats for each picture, of all units, in `Result.memory` too.

    Returns:
        An objective, at most 0, in the units of the activation, to the power $2p$.

    Raises:
        TypeError: if the target is not of numbers.
        ValueError: if it has no axis of units, the power is no integer from 1, or the
            decay is not in its range.

    Example:
        >>> apply_fn = lambda variables, x: jnp.tanh(x)
        >>> painting = jnp.ones((1, 8, 6, 3))
        >>> _, found = ji.capture(apply_fn, "tanh")(None, painting)
        >>> objective = style("tanh", found["tanh"])

    References:
        Gatys et al., 2016, eqs. 3 and 4 [gatys2016image]; the average over views:
        Mordvintsev et al., 2018, "Style Transfer"
        [mordvintsev2018differentiable].
    """
    power = checked_integer("power", power, 1, call="style")
    try:
        decay = np.nan if isinstance(ema_decay, str) else float(ema_decay)
    except TypeError:
        decay = np.nan
    if not 0 <= decay < 1:
        raise ValueError(
            f"style: `ema_decay` is a number from 0 to below 1, and is {ema_decay!r}. "
            "0.9 averages over about ten steps."
        )
    return Style(site, power, decay, gram(as_target(target, "style")))


def match(site: Where, target: Any) -> Objective:
    r"""Looks for a picture with the activation of another: feature inversion.

    $$-\|a - t\|^2 / \|t\|^2$$

    Args:
        site: whose activation is read.
        target: the activation $t$ there, the units first, as `capture` returns it for a
            batch: `(units, *positions, channels)`. One that is zero everywhere is not
            divided by.

    Returns:
        An objective, at most 0, a fraction of the target's squared length.

    Raises:
        TypeError: if the target is not of numbers.
        ValueError: if it has no axis of units.

    Example:
        >>> inverted = match("Conv_0", jnp.ones((1, 8, 6, 16)))

    References:
        Mahendran & Vedaldi, 2015, section 2 [mahendran2015understanding].
    """
    return Match(site, as_target(target, "match"))


def caricature(site: Where, target: Any, *, cosine_power: float = 1.0) -> Objective:
    r"""Looks for more of what a layer sees in another picture.

    $$(a \cdot t)\,\max(0.1, \cos(a, t))^p$$

    Unlike `match` it exaggerates: a longer $a$ in the same direction is better.

    Args:
        site: whose activation is read.
        target: the activation $t$ there, the units first, as `capture` returns it for a
            batch: `(units, *positions, channels)`.
        cosine_power: the exponent $p$; 0 is the dot product.

    Returns:
        An objective, in the units of the activation, squared.

    Raises:
        TypeError: if the target is not of numbers.
        ValueError: if it has no axis of units, or the power is negative.

    Example:
        >>> exaggerated = caricature("Conv_0", jnp.ones((1, 8, 6, 16)))

    References:
        Olah et al., 2018, "What Does the Network See?" [olah2018building].
    """
    power = check_power(cosine_power)
    return Caricature(site, power, as_target(target, "caricature"))


def facet(site: Where, tail: Callable[[Any], Any], probe: Any) -> Objective:
    r"""Looks for one facet of what a unit responds to, which a linear probe tells.

    $$f(a) + w \cdot (a \odot \nabla f(a))$$

    A unit that responds to faces, text and drawings is shown the one among them that
    the probe $w$ was trained for, on activations of an earlier layer: what these
    contribute to the unit is weighed by $w$. The derivative is held constant, so that
    nothing is gained by changing how the later layers go on.

    Args:
        site: the earlier layer, whose activation $a$ is read.
        tail: the model from there on, $f$: from the activations of some pictures,
            `(pictures, ...)`, to a score of each, `(pictures,)`. `jaxinterp.split`
            gives it. It runs once more, forward and backward.
        probe: weights $w$, `(channels,)`, or `(units, channels)`, or one for each
            entry, `(units, *positions, channels)`.

    Returns:
        An objective, in the units of `tail`.

    Raises:
        TypeError: if `tail` is no function, or the probe not of numbers.

    Example:
        >>> weights = jnp.array([[1.0, -1.0], [2.0, 0.5]])
        >>> head = lambda a: (a.mean((1, 2)) @ weights)[:, 0]
        >>> objective = facet("Conv_0", head, jnp.array([0.0, 1.0]))

    References:
        Goh et al., 2021, "Faceted Feature Visualization" [goh2021multimodal].
    """
    if not callable(tail):
        raise TypeError(
            "`tail` is the model from the site on, a function from activations to a "
            f"score of each picture, and is {tail!r}.\n"
            "Write `encode, decode = jaxinterp.split(apply_fn, site)` and\n"
            "`facet(site, lambda a: decode(variables, a, inputs)[:, 7], probe)`."
        )
    return Facet(site, tail, jnp.atleast_2d(as_floats(probe, "probe")))


def gram(activation: Any) -> Any:
    r"""Returns $\frac{1}{|X|} \sum_x a_x a_x^\top$ of each picture.

    Args:
        activation: `(pictures, *positions, channels)`.

    Returns:
        Matrices `(pictures, channels, channels)`, in float32 at least.
    """
    a = places.at_position(activation, None)
    a = a.reshape(a.shape[0], -1, a.shape[-1])
    return jnp.einsum("ixc,ixd->icd", a, a) / a.shape[1]


def _entries(activation: Any) -> Any:
    a = places.at_position(activation, None)
    return a.reshape(a.shape[0], -1)


def _check_same_shape(target: Any, shape: tuple[int, ...], site: Where) -> None:
    if target.shape[1:] != tuple(shape):
        raise ValueError(
            f"The target has shape {target.shape[1:]} for each unit, and {site!r} has "
            f"shape {tuple(shape)}.\nCapture it at the same site, of a picture of the "
            "same size, with the units first."
        )
