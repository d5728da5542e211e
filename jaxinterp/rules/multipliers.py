r"""Multipliers: linear maps by which a difference goes through a step, exactly.

A multiplier of a step $y = f(x)$ is a linear map $m$ with $m\,(x - x_0) = f(x) -
f(x_0)$. Each function here takes the step, its inputs and those of the reference, and
returns the map. See `deep_lift.py` for which step has which.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.tracing.facts.roles import Role

# (a step, its inputs, those of the reference) -> a linear function of differences.
Multiplier = Callable[[Callable[..., Any], tuple[Any, ...], tuple[Any, ...]], Any]


def derivative(f: Callable[..., Any], xs: Any, refs: Any) -> Any:
    """Of a linear function: itself.

    Args:
        f: the step, a function of as many arrays.
        xs: its inputs, real arrays.
        refs: those of the reference, of the same shapes.
    """
    return lambda *us: jax.jvp(f, xs, us)[1]


def _slope(f: Callable[[Any], Any], x: Any, ref: Any, scale: Any = 0) -> Any:
    """The slope of the chord of an elementwise function; a derivative if it is short.

    Short is what rounding would spoil, of the ends or of numbers as large as `scale`;
    the derivative is taken at the middle.
    """
    y, y_ref = f(x), f(ref)
    run = x - ref
    finfo = jnp.finfo(run.dtype)
    least = finfo.eps**0.75 * (jnp.abs(x) + jnp.abs(ref) + scale)
    is_short = ~(jnp.abs(run) > least)
    slope = jax.jvp(f, (ref + run / 2,), (jnp.ones_like(x),))[1]
    rise = jnp.where(y == y_ref, 0, y - y_ref)  # equal infinities have no rise
    return jnp.where(is_short, slope, rise / jnp.where(is_short, 1, run))


def elementwise(f: Callable[..., Any], xs: Any, refs: Any) -> Any:
    r"""The rescale rule $m = \Delta y / \Delta x$, for a function of each entry alone.

    Among several inputs the change of the result is shared by its Shapley values: the
    slope of an input is the mean over all orders in which the others change.

    Args:
        f: the step; all its inputs have the shape of its result.
        xs: its inputs, real arrays.
        refs: those of the reference, of the same shapes.

    References:
        Shrikumar et al., 2017, section 3.5 [shrikumar2017learning], for one input.
    """

    def slope(i: int) -> Any:
        return sum(
            weight * _slope(at, xs[i], refs[i])
            for weight, at in _coalitions(f, xs, refs, i)
        )

    slopes = [slope(i) for i in range(len(xs))]
    return lambda *us: sum(m * u for m, u in zip(slopes, us, strict=True))


def reveal_cancel(f: Callable[..., Any], xs: Any, refs: Any) -> Any:
    r"""The RevealCancel rule: the Shapley values of what raised and what lowered $x$.

    $$m^+ \Delta x^+ = \tfrac12 \left(f(x_0 + \Delta x^+) - f(x_0)\right) + \tfrac12
    \left(f(x) - f(x_0 + \Delta x^-)\right)$$

    and $m^- \Delta x^-$ with the signs exchanged. The multipliers are those of $x$ and
    of the size $s$, with $\Delta x^\pm = (\Delta x \pm s) / 2$.

    Args:
        f: the step, a function of each entry of one array.
        xs: its input, and the size of all contributions to the change of that, see
            `contributions.py`.
        refs: those of the reference, where the size is zero.

    References:
        Shrikumar et al., 2017, section 3.5, the RevealCancel rule
        [shrikumar2017learning].
    """
    (x, size), (ref, _) = xs, refs
    change = jnp.where(x == ref, 0, x - ref)
    raised, lowered = ref + (change + size) / 2, ref + (change - size) / 2
    of_raising = _slope(f, raised, ref, size) + _slope(f, x, lowered, size)
    of_lowering = _slope(f, lowered, ref, size) + _slope(f, x, raised, size)
    of_x, of_size = (of_raising + of_lowering) / 4, (of_raising - of_lowering) / 4
    return lambda u, v: of_x * u + of_size * v


def multilinear(f: Callable[..., Any], xs: Any, refs: Any) -> Any:
    """The Shapley values of the factors of a product: of two, the mean of the other.

    Args:
        f: the step, linear in each input.
        xs: its inputs, real arrays.
        refs: those of the reference, of the same shapes.
    """

    def multiplier(*us: Any) -> Any:
        return sum(
            weight * at(u)
            for i, u in enumerate(us)
            for weight, at in _coalitions(f, xs, refs, i)
        )

    return multiplier


def _coalitions(
    f: Callable[..., Any], xs: Any, refs: Any, i: int
) -> Iterator[tuple[float, Callable[[Any], Any]]]:
    """A step as a function of one input while some others changed, and how often so."""
    others = [pair for j, pair in enumerate(zip(refs, xs, strict=True)) if j != i]
    n = len(others)
    for changed in itertools.product((0, 1), repeat=n):
        k, fixed = sum(changed), [p[c] for p, c in zip(others, changed, strict=True)]
        weight = math.factorial(k) * math.factorial(n - k) / math.factorial(n + 1)
        yield weight, lambda x, fixed=fixed: f(*fixed[:i], x, *fixed[i:])


def scaled(f: Callable[..., Any], xs: Any, refs: Any, statistic: int = 1) -> Any:
    r"""A product $y = c\,r$ with the reciprocal $r$ of a statistic, or $c / (1 / r)$.

    $$\Delta y = \frac{2 r r_0 \Delta c + (y + y_0) \Delta r}{r + r_0}$$

    It is the rule for products, of $y$ and $1 / r$: where the reference is constant, so
    that $r_0$ is huge, it stays near $c$. If $r$ changes its sign, it is `elementwise`.

    Args:
        f: the product, or the quotient.
        xs: its two operands.
        refs: those of the reference.
        statistic: which of them is the statistic.
    """

    def reciprocal(of: Any) -> Any:
        one = jnp.ones_like(of)
        return f(of, one) if statistic == 0 else f(one, of)

    s, s_ref = xs[statistic], refs[statistic]
    r, r_ref = reciprocal(s), reciprocal(s_ref)
    is_same_sign = r * r_ref > 0
    both = jnp.where(is_same_sign, r + r_ref, 1)
    of_value = 2 * r * (r_ref / both)
    of_statistic = (f(*xs) + f(*refs)) / both * _slope(reciprocal, s, s_ref)
    plain = elementwise(f, xs, refs)

    def multiplier(*us: Any) -> Any:
        value = of_value * us[1 - statistic] + of_statistic * us[statistic]
        return jnp.where(is_same_sign, value, plain(*us))

    return multiplier


def largest(f: Callable[..., Any], xs: Any, refs: Any, sign: int = 1) -> Any:
    """The entry that is picked, of the two at which the extremum is further out.

    There the difference is at least as large as that of the result.

    Args:
        f: the step, which picks one of several entries for each of its results.
        xs: its inputs, real arrays.
        refs: those of the reference, of the same shapes.
        sign: 1 for a maximum, -1 for a minimum.
    """
    rise = f(*xs) - f(*refs)
    is_here = sign * rise >= 0

    def moved(*us: Any) -> Any:
        return jnp.where(is_here, jax.jvp(f, xs, us)[1], jax.jvp(f, refs, us)[1])

    whole = moved(*(x - ref for x, ref in zip(xs, refs, strict=True)))
    share = jnp.where(whole == 0, 0, rise / jnp.where(whole == 0, 1, whole))
    return lambda *us: share * moved(*us)


def smallest(f: Callable[..., Any], xs: Any, refs: Any) -> Any:
    """As `largest`, for a minimum.

    Args:
        f: the step, which picks one of several entries for each of its results.
        xs: its inputs, real arrays.
        refs: those of the reference, of the same shapes.
    """
    return largest(f, xs, refs, sign=-1)


def of_exponentials(role: Role, rate: float, outer: float) -> Multiplier:
    r"""The closed form of softmax $y$, log-softmax and log-sum-exp, from values alone.

    With the logarithmic means $l_i$ of the probabilities and of those of the reference,
    $m_{ij} = r\,l_i\,(\delta_{ij} - l_j / \sum_k l_k)$ for softmax, $r\,(\delta_{ij} -
    l_j / \sum_k l_k)$ for its logarithm and $r\,l_j / \sum_k l_k$ for log-sum-exp: they
    are derivatives at $\log l / r$.

    Args:
        role: which of the three it is.
        rate: the factor $r$ of the logits.
        outer: for a log-softmax, the factor by which the logarithm is multiplied.
    """

    def probabilities(f: Callable[[Any], Any], x: Any) -> Any:
        """Or numbers in proportion to them."""
        y = f(x)
        if role is Role.LOGSUMEXP:
            return jnp.abs(jax.vjp(f, x)[1](jnp.ones_like(y))[0])
        return jnp.exp(y / outer) if role is Role.LOG_SOFTMAX else y

    def multiplier(f: Callable[..., Any], xs: Any, refs: Any) -> Any:
        (x,), (ref,) = xs, refs
        mean = _logarithmic_mean(probabilities(f, x), probabilities(f, ref))
        middle = _logarithm(mean) / rate
        push = derivative(f, (middle,), ())
        if role is Role.LOGSUMEXP:
            return push
        if role is Role.LOG_SOFTMAX:
            return _exact(f, x, ref, push)
        share = f(middle)
        whole = jnp.where(share == 0, 0, mean / jnp.where(share == 0, 1, share))
        return _exact(f, x, ref, lambda u: whole * push(u))

    return multiplier


def _logarithm(x: Any) -> Any:
    return jnp.log(jnp.maximum(x, jnp.finfo(x.dtype).tiny))


def _logarithmic_mean(a: Any, b: Any) -> Any:
    r"""$(a - b) / (\log a - \log b)$, of positive numbers; it lies between the two."""
    half = (_logarithm(a) - _logarithm(b)) / 2
    is_small = jnp.abs(half) < 1e-2
    series = 1 + half**2 / 6 + half**4 / 120 + half**6 / 5040
    near = jnp.sqrt(a) * jnp.sqrt(b) * series  # a * b may underflow
    return jnp.where(is_small, near, (a - b) / jnp.where(is_small, 1, 2 * half))


def _exact(f: Callable[..., Any], x: Any, ref: Any, linear: Any) -> Any:
    """Gives what rounding and underflow left of a difference to the entry itself."""
    run = jnp.where(x == ref, 0, x - ref)
    left = f(x) - f(ref) - linear(run)
    is_lost = (run == 0) | ~jnp.isfinite(left)
    extra = jnp.where(is_lost, 0, left / jnp.where(is_lost, 1, run))
    return lambda u: linear(u) + extra * u
