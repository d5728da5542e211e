"""What every method has to beat: attributions that know nothing of the network.

They are attribution functions, so whatever explains or is measured takes them.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinterp.attribution.contract import Attribution
from jaxinterp.checks import check_function
from jaxinterp.keys import check_key, folded, steady
from jaxinterp.metrics.contract import as_rows, at_least_single
from jaxinterp.tracing.call import check_batch
from jaxinterp.types import Inputs, Key, Target, Variables


def at_random(
    variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
) -> Any:
    """Attributes by uniform random numbers in [0, 1).

    They depend on the key and on the values of an example, and not on its place in the
    batch, so that the orders of different examples are independent and an example has
    the same one in any batch.

    Args:
        variables: the weights of a model, which are not used.
        inputs: a batch, an array or a pytree of arrays.
        target: what a score needs, which is not used.
        key: the random key.

    Returns:
        Arrays in the shapes of the inputs, float32 at least.

    Raises:
        TypeError: if there is no key, or the inputs are no arrays.
        ValueError: if the inputs have no axis of examples.

    Example:
        >>> x = jnp.array([[1.0, 3.0], [0.0, 2.0]])
        >>> both = at_random(None, x, key=jax.random.key(0))
        >>> one = at_random(None, x[1:], key=jax.random.key(0))
        >>> bool((both[1:] == one).all()), both.shape
        (True, (2, 2))
    """
    check_key("at_random", key)
    check_batch(inputs)
    leaves, tree = jax.tree.flatten(inputs)
    numbers = sum(
        (_number(leaf) for leaf in leaves[1:]), jnp.asarray(_number(leaves[0]))
    )
    keys = jax.vmap(functools.partial(jax.random.fold_in, steady(key)))(numbers)

    def draw(i: int, leaf: Any) -> Any:
        shape = leaf.shape[1:]
        own = jax.vmap(lambda key: folded(key, i))(keys)
        numbers = jax.vmap(lambda key: jax.random.uniform(key, shape, jnp.float32))(own)
        return numbers.astype(_dtype(leaf))

    return tree.unflatten([draw(i, leaf) for i, leaf in enumerate(leaves)])


def edges(
    variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
) -> Any:
    r"""Attributes by the edges of an image, $\sqrt{g_x^2 + g_y^2}$ of Sobel's filters.

    The filters see the mean of the channels, and the border is continued. Every channel
    of a pixel has the same number. No network is asked, yet edges look like an
    explanation: what does no better than they do has shown nothing.

    Args:
        variables: the weights of a model, which are not used.
        inputs: images `(batch, height, width, channels)`.
        target: what a score needs, which is not used.
        key: a random key, which is not used.

    Returns:
        An array in the shape of the images, float32 at least.

    Raises:
        ValueError: if the inputs are no images of this shape.

    References:
        Adebayo et al., 2018, on edge detectors [adebayo2018sanity].

    Example:
        >>> image = jnp.zeros((1, 3, 4, 1)).at[:, :, 2:].set(1.0)
        >>> edges(None, image)[0, 1, :, 0].tolist()
        [0.0, 4.0, 4.0, 0.0]
    """
    if getattr(inputs, "ndim", 0) != 4:
        shapes = jax.tree.map(jnp.shape, inputs)
        raise ValueError(
            "Only images `(batch, height, width, channels)` have edges, and the inputs "
            f"have shape {shapes}."
        )
    gray = at_least_single(inputs).mean(axis=-1, keepdims=True)
    padded = jnp.pad(gray, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    sobel = np.outer([1, 2, 1], [-1, 0, 1])
    kernels = np.stack([sobel, sobel.T], axis=-1)[:, :, None].astype(gray.dtype)
    slopes = lax.conv_general_dilated(
        padded,
        jnp.asarray(kernels),
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    size = jnp.sqrt((slopes * slopes).sum(axis=-1, keepdims=True))
    return jnp.broadcast_to(size, inputs.shape)


def inverse(attribution_fn: Attribution) -> Attribution:
    r"""Attributes by the opposite of another attribution, $-a(x)$.

    It has the reverse order, so a metric of orders should get worse by as much as the
    attribution is better than chance.

    Args:
        attribution_fn: any attribution function.

    Returns:
        An attribution function, in the units of that one.

    Raises:
        TypeError: if `attribution_fn` is no function.

    References:
        Eiras-Franco et al., 2025, "quality gap" [eirasfranco2025evaluate].

    Example:
        >>> from jaxinterp.attribution import gradient
        >>> from jaxinterp.objectives import total
        >>> opposite = inverse(gradient(lambda w, x: w * x, score=total))
        >>> opposite(2.0, jnp.array([[1.0, 3.0]])).tolist()
        [[-2.0, -2.0]]
    """
    example = "attribute(variables, inputs, target, key)"
    check_function("attribution_fn", attribution_fn, example, call="inverse")

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        values = attribution_fn(variables, inputs, target, key)
        return jax.tree.map(jnp.negative, values)

    return attribute


def _dtype(leaf: Any) -> Any:
    """The dtype of numbers about an array: its own, or single precision."""
    is_real = jnp.issubdtype(leaf.dtype, jnp.floating)
    return jnp.promote_types(leaf.dtype, jnp.float32) if is_real else jnp.float32


def _number(leaf: Any) -> Any:
    """An integer that tells the values of an example from others, `(batch,)`."""
    values = as_rows(leaf).astype(jnp.float32)
    bits = lax.bitcast_convert_type(values, jnp.uint32)
    # An odd factor for each place: no bit of a value gets lost, nor does its place.
    places = jnp.arange(bits.shape[1], dtype=jnp.uint32)
    factors = (2 * places + 1) * jnp.uint32(2654435761)
    mixed = (bits ^ (bits >> 15)) * factors[None]
    return (mixed ^ (mixed >> 13)).sum(axis=1, dtype=jnp.uint32)
