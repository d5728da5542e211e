"""The input that means "nothing here", in the shape of the inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import shown


def fill_baseline(
    baseline: Any | Callable[[Any, Any], Any], inputs: Any, key: Any
) -> Any:
    """Returns a baseline in the structure, shapes and dtypes of the inputs.

    Args:
        baseline: a number, an array, a pytree like the inputs, a mapping with one such
            entry, as `capture` returns it, or a function `(inputs, key) -> baseline`.
        inputs: the inputs that are explained.
        key: the random key that such a function gets.

    Raises:
        TypeError: if the baseline holds no numbers.
        ValueError: if the baseline does not broadcast against the inputs, or is a
            pytree of another structure.

    Example:
        >>> fill_baseline(0.5, jnp.zeros((1, 2)), None).tolist()
        [[0.5, 0.5]]
    """
    if callable(baseline):
        baseline = baseline(inputs, key)
    baseline = _without_address(baseline, inputs)
    is_leaf = jax.tree.structure(baseline) == jax.tree.structure(0)
    if is_leaf:
        baseline = jax.tree.map(lambda _: baseline, inputs)
    structure, expected = map(jax.tree.structure, (baseline, inputs))
    if structure != expected:
        raise ValueError(
            f"The baseline has the structure {structure}, and the inputs {expected}.\n"
            "Give a number, an array, or a pytree with the structure of the inputs."
        )

    def fill(path: Any, x: Any, b: Any) -> Any:
        if isinstance(b, str) or getattr(getattr(b, "dtype", 0), "kind", "f") in "USO":
            raise TypeError(
                f"A baseline is a number or an array of numbers, and is {shown(b)}.\n"
                "Write for example `baseline=0.0`."
            )
        shape = np.shape(b)
        missing = x.ndim - len(shape)
        try:
            full = jnp.reshape(b, (1,) * missing + shape) if missing > 0 else b
            return jnp.broadcast_to(jnp.asarray(full, jnp.result_type(x)), x.shape)
        except ValueError:
            name = f"inputs{jax.tree_util.keystr(path)}"
            raise ValueError(
                f"The baseline of shape {shape} does not broadcast against `{name}` of "
                f"shape {x.shape}.\nGive a number, one example, or an array like the "
                "inputs."
            ) from None

    return jax.tree_util.tree_map_with_path(fill, inputs, baseline)


def background_of(background: Any, array: Any) -> Any:
    """Returns background examples in the dtypes of what is explained.

    Args:
        background: an array or a pytree with any number of examples on the first axis,
            or a mapping with one such entry, as `capture` returns it.
        array: the explained array, or pytree of arrays, of a batch.

    Raises:
        ValueError: if there is no example, or they have other shapes or another
            structure than those of the batch.

    Example:
        >>> background_of(jnp.ones((3, 2), int), jnp.zeros((1, 2))).shape
        (3, 2)
    """
    background = _without_address(background, array)
    structures = [jax.tree.structure(tree) for tree in (background, array)]
    if structures[0] != structures[1]:
        raise ValueError(
            f"`background` has the structure {structures[0]}, and what is explained "
            f"{structures[1]}.\nGive examples like the inputs, in any number; with "
            "`at`, activations at the site, such as `jaxinterp.capture` returns."
        )
    pairs = list(zip(*map(jax.tree.leaves, (background, array)), strict=True))
    shapes = [(jnp.shape(b), jnp.shape(x)) for b, x in pairs]
    counts = {b[:1] for b, _ in shapes}
    if len(counts) > 1 or not all(b[:1] > (0,) and b[1:] == x[1:] for b, x in shapes):
        raise ValueError(
            f"`background` has the shapes {[b for b, _ in shapes]}, and what is "
            f"explained {[x for _, x in shapes]}.\nGive one example at least, and "
            "examples of the same shapes."
        )
    return jax.tree.map(lambda b, x: jnp.asarray(b, x.dtype), background, array)


def _without_address(values: Any, array: Any) -> Any:
    """The one entry of what `capture` returns, where a single array is explained."""
    is_single = jax.tree.structure(array) == jax.tree.structure(0)
    if is_single and isinstance(values, Mapping) and len(values) == 1:
        return next(iter(values.values()))
    return values
