r"""How good patterns are: what is left of a unit's output where there is no signal.

A signal estimator says which part $S(x)$ of the input of a unit $y = w^\top x$ is
signal. If it is right, the rest $x - S(x)$ is distractor alone, and tells nothing of
$y$.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.relevance.fit_patterns import Units, affine_layers
from jaxinterp.checks import checked_real
from jaxinterp.loop.chunks import over_units, within_budget
from jaxinterp.rules.pattern import TwoComponents
from jaxinterp.tracing.layer.layer import Layer
from jaxinterp.types import ApplyFn, Inputs, Variables

# Weights times pattern are one, so that what is left always lacks one direction.
_LEAST_RIDGE = 1e-12


def signal_quality(
    apply_fn: ApplyFn,
    variables: Variables,
    inputs: Inputs,
    *,
    patterns: Mapping[str, Any],
    ridge: float = 1e-3,
) -> dict[str, Any]:
    r"""Says for each unit how little the estimated distractor tells of its output.

    $$\rho(S) = 1 - \max_v\,\mathrm{corr}\left(w^\top x,\ v^\top (x -
    S(x))\right), \qquad S(x) = a\,w^\top x$$

    It is 1 if nothing is left of the signal, and 0 if all is. The direction $v$ is
    fitted to the first half of the positions, by ridge regression, and the correlation
    is that of the second half, so that it may be a little above 1. Give inputs to which
    the patterns were not fitted.

    Weights are patterns too: $a = w / w^\top w$, with batch norm multiplied into $w$,
    is what a gradient takes for the signal. Time and memory: all patches of all inputs
    are laid out, so a few hundred images at a time, and each unit takes one matrix as
    wide as a patch.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        variables: the weights of the model.
        inputs: a batch, an array or a pytree of arrays, with the examples on the first
            axis.
        patterns: patterns by address, such as `fit_patterns(...).patterns` or some of
            them.
        ridge: the penalty on $v$, in units of the mean variance of what is left.

    Returns:
        For each address one number for each unit, in the order of `silent_units`. For a
        unit that does not vary, or if nothing is left (the whole input is its signal),
        it is nan.

    Raises:
        ValueError: if `ridge` is not positive, if there is no affine site of an
            address, if a pattern does not fit its kernel, or if a kernel is in groups.

    References:
        Kindermans et al., 2018 [kindermans2018learning]: the quality measure $\rho$.

    Example:
        >>> data = ji.data.linear_distractor(jax.random.key(0), 4000)
        >>> model, w = lambda w, x: x @ w, data.optimal_filter[:, None]
        >>> for a in (w / (w**2).sum(), data.pattern[:, None]):
        ...     found = signal_quality(model, w, data.inputs, patterns={"dense": a})
        ...     print(round(float(found["dense"][0]), 1))
        0.7
        1.0
    """
    ridge = checked_real("ridge", ridge, _LEAST_RIDGE, call="signal_quality")
    layers = {
        layer.node.address: layer
        for layer in affine_layers(apply_fn, variables, inputs)
    }
    unknown = [address for address in patterns if address not in layers]
    if unknown:
        raise ValueError(
            f"signal_quality: {unknown[0]!r} is no convolution or dense layer of the "
            f"model,\nwhich has {', '.join(map(repr, layers))}."
        )
    return {a: _of_site(layers[a], pattern, ridge) for a, pattern in patterns.items()}


def _of_site(layer: Layer, pattern: Any, ridge: float) -> Any:
    signs = pattern if isinstance(pattern, TwoComponents) else (pattern, pattern)
    if any(np.shape(sign) != layer.kernel.shape for sign in signs):
        raise ValueError(
            f"The pattern of {layer.node.address!r} ({layer.node.line})\nhas the shape "
            f"{np.shape(signs[0])}, and the kernel there {layer.kernel.shape}.\n"
            "Fit the patterns of this very model."
        )
    units, axes = Units(layer), _unit_axes(layer)
    last = [i for i in range(len(units.shape)) if i not in units.positions]

    def rows(result: Any) -> Any:
        ends = range(result.ndim - len(last), result.ndim)
        moved = jnp.moveaxis(result, last, tuple(ends))
        return moved.reshape(-1, np.prod(moved.shape[-len(last) :], dtype=int))

    def columns(kernel: Any) -> Any:
        kernel = jnp.asarray(kernel, layer.dtype)
        ends = range(kernel.ndim - len(axes), kernel.ndim)
        moved = jnp.moveaxis(kernel, axes, tuple(ends))
        return moved.reshape(-1, np.prod(moved.shape[-len(axes) :], dtype=int))

    inner = [n for i, n in enumerate(layer.kernel.shape) if i not in axes]
    width = int(np.prod(inner))
    eye = jnp.eye(width, dtype=layer.dtype)
    eye = eye.reshape(*inner, width, *(1 for _ in axes[1:]))
    eye = jnp.moveaxis(eye, tuple(range(len(inner), eye.ndim)), axes)
    patches = rows(units.contraction(layer.x, eye))
    is_on = rows(layer.inverse_layout(layer.z)) > 0
    weights, *signs = map(columns, (layer.kernel, *signs))

    def of_units(numbers: Any) -> Any:
        chosen = (array.T[numbers] for array in (weights, *signs, is_on))
        return _qualities(patches, *chosen, ridge)

    count, size = weights.shape[1], within_budget(patches.nbytes)
    return over_units(of_units, count, min(size, count), is_inner=False)


def _unit_axes(layer: Layer) -> tuple[int, ...]:
    """The axes of the kernel that number the units."""
    contraction = layer.contraction
    assert contraction is not None, "checked by `affine_layers`"
    params, n = contraction.equation.params, len(contraction.kernel.shape)
    if contraction.is_convolution:
        is_whole = contraction.is_plain_convolution
        axes = (params["dimension_numbers"].rhs_spec[0],)
    else:
        contracting, batch = params["dimension_numbers"]
        is_whole = not batch[0]
        axes = tuple(i for i in range(n) if i not in contracting[1 - contraction.side])
    if not is_whole or not axes:
        raise ValueError(
            f"signal_quality: the units of {layer.node.address!r} ({layer.node.line})\n"
            "come in groups that read different inputs. Leave its pattern out."
        )
    return axes


@functools.partial(jax.jit, static_argnums=5)
@functools.partial(jax.vmap, in_axes=(None, 0, 0, 0, 0, None))
def _qualities(x: Any, w: Any, up: Any, down: Any, is_on: Any, ridge: float) -> Any:
    """The quality of the two patterns of one unit, by rows of inputs."""
    y = x @ w
    left = x - jnp.where(is_on[:, None], up[None], down[None]) * y[:, None]
    half = len(y) // 2
    seen = left[:half] - left[:half].mean(axis=0, keepdims=True)
    covariance = seen.T @ seen / half
    variance = jnp.trace(covariance) / len(w)
    penalty = ridge * variance * jnp.eye(len(w), dtype=x.dtype)
    along = seen.T @ (y[:half] - y[:half].mean()) / half
    told = left[half:] @ jnp.linalg.solve(covariance + penalty, along)
    y = y[half:] - y[half:].mean()
    told = told - told.mean()
    least = jnp.finfo(x.dtype).eps * (x**2).mean()
    size = jnp.sqrt((y**2).sum() * (told**2).sum())
    is_known = (variance > least) & (size > 0)
    return jnp.where(
        is_known, 1 - (y * told).sum() / jnp.where(size > 0, size, 1), jnp.nan
    )
