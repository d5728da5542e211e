"""What every metric is, and the checks that all of them share.

A metric is `metric(apply_fn, *, hyperparameters) -> measure`, and
`measure(variables, inputs, attributions, target=None, key=None)` returns one value per
example, never an average over them. A value that is not defined is NaN. What needs the
attribution method itself, and not its values alone, takes it as a hyperparameter. No
metric jits; all may be jitted and vmapped.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from jaxinterp.types import Inputs, Key, Target, Variables


@runtime_checkable
class Measure(Protocol):
    """A function that says how good the attributions of a batch are."""

    def __call__(
        self,
        variables: Variables,
        inputs: Inputs,
        attributions: Any,
        target: Target = None,
        key: Key = None,
    ) -> Any:
        """Returns one value per example, `(batch,)`."""
        ...


def check_attributions(attributions: Any, inputs: Inputs) -> None:
    """Raises unless attributions are those of a batch.

    Args:
        attributions: the result of an attribution function, an array or a pytree.
        inputs: the batch that was explained.

    Raises:
        ValueError: if attributions have no examples, or another number than the inputs,
            or are no real numbers, such as a target in their place.
    """
    n_examples = jax.tree.leaves(inputs)[0].shape[0]
    for path, leaf in jax.tree.leaves_with_path(attributions):
        dtype, shape = jnp.result_type(leaf), jnp.shape(leaf)
        if shape[:1] != (n_examples,) or not jnp.issubdtype(dtype, jnp.inexact):
            raise ValueError(
                f"`attributions{jax.tree_util.keystr(path)}` is {dtype}{list(shape)}, "
                f"and has to be real numbers for each of {n_examples} examples.\nWrite "
                "`measure(variables, inputs, attributions, target)`, with what "
                "`attribute(variables, inputs, target)` returned."
            )
