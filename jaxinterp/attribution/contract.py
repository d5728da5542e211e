"""What every attribution method is, and the checks that all of them share.

A method is `method(apply_fn, *, hyperparameters) -> attribute`, and
`attribute(variables, inputs, target=None, key=None)` returns attributions with the
structure, shapes and dtypes of `inputs`, or with `at` of the activation at a site. No
method jits; all may be jitted, vmapped and differentiated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from jaxinterp.checks import is_integer, is_traced
from jaxinterp.tracing.call import check_arrays
from jaxinterp.tracing.mistakes import forgotten_variables
from jaxinterp.types import Inputs, Key, Sites, Target, Variables


@runtime_checkable
class Attribution(Protocol):
    """A function that says how much each entry of the inputs matters."""

    def __call__(
        self,
        variables: Variables,
        inputs: Inputs,
        target: Target = None,
        key: Key = None,
    ) -> Any:
        """Returns attributions in the structure, shapes and dtypes of `inputs`."""
        ...


def check_inputs(
    inputs: Inputs,
    at: Sites | None,
    variables: Variables = None,
    *,
    needs_slopes: bool = True,
) -> None:
    """Raises if inputs are no batch, or cannot be differentiated where that is needed.

    Args:
        inputs: the batch to be explained.
        at: the site whose activation is explained, if any.
        variables: the weights of the model, which tell whether they were left out.
        needs_slopes: whether the method takes derivatives.

    Raises:
        TypeError: if a leaf is not an array; if it is of integers, `at` is `None` and
            derivatives are needed.
        ValueError: if leaves disagree on the size of the batch.
    """
    check_arrays(inputs)
    sizes = {}
    for path, leaf in jax.tree.leaves_with_path(inputs):
        name = f"inputs{jax.tree_util.keystr(path)}"
        if leaf.ndim == 0:
            raise ValueError(
                f"`{name}` is a scalar; its first axis must be the batch.\n"
                "Write `inputs[None]` for a single example."
            )
        sizes[name] = leaf.shape[0]
        is_real = jnp.issubdtype(leaf.dtype, jnp.inexact)
        if needs_slopes and at is None and not is_real:
            hint = forgotten_variables(variables, inputs)
            likely = f"Likely cause: {hint}\n" if hint else ""
            raise TypeError(
                f"`{name}` has dtype {leaf.dtype}; only real numbers have a gradient.\n"
                f"{likely}For tokens give the address of their embedding, such as "
                "`at='Model/Embed_0'`;\n"
                "`print(jaxinterp.trace(apply_fn, variables, inputs))` lists them.\n"
                "Bind masks and other integers to the model, "
                "`lambda v, x: model.apply(v, x, mask)`; images convert with "
                "`inputs.astype(jnp.float32)`."
            )
    if len(set(sizes.values())) > 1:
        raise ValueError(f"All inputs must have the same batch size, and have {sizes}.")


def examples_in(inputs: Inputs) -> int:
    """Returns the number of examples.

    Args:
        inputs: the batch to be explained, checked by `check_inputs`.
    """
    return jax.tree.leaves(inputs)[0].shape[0]


def as_arrays(target: Target) -> Target:
    """Returns a target whose integers are arrays, so that a program serves all classes.

    Args:
        target: what the score needs beside the outputs, such as class indices.
    """
    return jax.tree.map(lambda t: jnp.asarray(t) if is_integer(t) else t, target)


def check_target(run: Callable[[Any], Any], inputs: Inputs, target: Target) -> None:
    """Raises what is wrong with a target before a jitted loop hides its values.

    Args:
        run: a function of the inputs that looks at the target; it is only traced.
        inputs: the batch to be explained.
        target: what the score needs beside the outputs, such as class indices; nothing
            is checked if its values are hidden by an outer `jit`.
    """
    if not is_traced(target):
        jax.eval_shape(run, inputs)
