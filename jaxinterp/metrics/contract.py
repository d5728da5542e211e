"""What every metric is, and the checks that all of them share.

A metric is `metric(apply_fn, *, hyperparameters) -> measure`, and
`measure(variables, inputs, attributions, target=None, key=None)` returns one value per
example, never an average over them, or a named tuple of such values; float32 at least.
A value that is not defined is NaN. Attributions are used as they are: without absolute
values, scaling or sums over channels. What needs the attribution method itself, and not
its values alone, takes an attribution function as a hyperparameter, or in place of the
model if it needs none; that function gets `key` as it is, so that a random method draws
what it drew for `attributions`. No metric jits; all may be jitted and vmapped.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from jaxinterp.checks import shown
from jaxinterp.tracing.call import check_batch
from jaxinterp.types import Inputs, Key, Target, Variables

# Folded into the key of a measure, so that what it draws is not what the method draws.
_OWN = 0x6D6574


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
        """Returns one value per example, `(batch,)`, or a named tuple of such."""
        ...


def check_attributions(attributions: Any, inputs: Inputs) -> None:
    """Raises unless attributions are those of a batch.

    Args:
        attributions: the result of an attribution function, an array or a pytree.
        inputs: the batch that was explained.

    Raises:
        TypeError: if the inputs are no arrays.
        ValueError: if attributions have no examples, or another number than the inputs,
            or are no real numbers, such as a target in their place.
    """
    check_batch(inputs)
    n_examples = jax.tree.leaves(inputs)[0].shape[0]
    leaves = jax.tree.leaves_with_path(attributions)
    if not leaves:
        raise ValueError(
            f"`attributions` hold no array, and are {shown(attributions)}.\nWrite "
            "`measure(variables, inputs, attributions, target)`, with what "
            "`attribute(variables, inputs, target)` returned."
        )
    for path, leaf in leaves:
        dtype, shape = jnp.result_type(leaf), jnp.shape(leaf)
        if shape[:1] != (n_examples,) or not jnp.issubdtype(dtype, jnp.inexact):
            raise ValueError(
                f"`attributions{jax.tree_util.keystr(path)}` is {dtype}{list(shape)}, "
                f"and has to be real numbers for each of {n_examples} examples.\nWrite "
                "`measure(variables, inputs, attributions, target)`, with what "
                "`attribute(variables, inputs, target)` returned."
            )


def own_key(key: Key) -> Any:
    """Returns the key of what a measure draws itself.

    Args:
        key: the key of the measure, which the attribution method gets as it is.
    """
    return jax.random.fold_in(key, _OWN)


def at_least_single(tree: Any) -> Any:
    """Returns arrays in single precision, or in their own if that is higher.

    Args:
        tree: a pytree of arrays.
    """

    def widened(leaf: Any) -> Any:
        leaf = jnp.asarray(leaf)
        return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))

    return jax.tree.map(widened, tree)


def as_rows(tree: Any) -> Any:
    """Returns all that a pytree says of each example in one row, float32 at least.

    Args:
        tree: a pytree of arrays with the examples on their first axis.

    Returns:
        An array `(batch, entries)`.

    Raises:
        TypeError: if there is no array, or something that has no axis of examples.
    """
    if not jax.tree.leaves(tree) or not all(map(jnp.ndim, jax.tree.leaves(tree))):
        raise TypeError(
            "An array, or a pytree of arrays, with the examples on the first axis is "
            f"needed, and {shown(tree)} was given.\nWrite `jnp.asarray(...)` around "
            "a list."
        )
    leaves = [
        leaf.reshape(leaf.shape[0], math.prod(leaf.shape[1:]))
        for leaf in jax.tree.leaves(at_least_single(tree))
    ]
    return jnp.concatenate(leaves, axis=1)


def check_same_shapes(name: str, tree: Any, expected: Any, source: str) -> None:
    """Raises unless a pytree has the structure and shapes of another.

    Args:
        name: the name of the argument.
        tree: the argument that is checked.
        expected: a pytree of arrays, or of their shapes.
        source: where the expected one comes from, for the message.

    Raises:
        ValueError: if it has not; the message says where.
    """
    structures = jax.tree.structure(tree), jax.tree.structure(expected)
    if structures[0] != structures[1]:
        raise ValueError(
            f"`{name}` has the structure {structures[0]}, and what {source} returns "
            f"{structures[1]}.\nGive what it returns for this model and these inputs."
        )
    pairs = zip(jax.tree.leaves_with_path(tree), jax.tree.leaves(expected), strict=True)
    for (path, leaf), other in pairs:
        if jnp.shape(leaf) != jnp.shape(other):
            raise ValueError(
                f"`{name}{jax.tree_util.keystr(path)}` has shape {jnp.shape(leaf)}, "
                f"and what {source} returns {jnp.shape(other)}.\nGive what it returns "
                "for this model and these inputs."
            )
