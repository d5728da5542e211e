"""The input that means "nothing here", in the shape of the inputs."""

from __future__ import annotations

from collections.abc import Callable
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
        baseline: a number, an array, a pytree like the inputs, or a function
            `(inputs, key) -> baseline`.
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
