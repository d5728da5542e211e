"""What every attribution method is, and the checks that all of them share.

A method is `method(apply_fn, *, hyperparameters) -> attribute`, and
`attribute(variables, inputs, target=None, key=None)` returns attributions with the
structure, shapes and dtypes of `inputs`, or with `at` of the activation at a site. No
method jits; all may be jitted, vmapped and differentiated.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from jaxinterp.checks import is_integer, is_traced
from jaxinterp.tracing.call import check_batch
from jaxinterp.tracing.mistakes import misplaced
from jaxinterp.types import Inputs, Key, Sites, Target, Variables

P = ParamSpec("P")


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


def method(make: Callable[P, Attribution]) -> Callable[P, Attribution]:
    """Makes a method of a function that takes a model and returns an attribution.

    Of both calls, that of the method and that of what it returns, the errors of a
    wrong one say what to write.

    Args:
        make: a function `(apply_fn, *, hyperparameters) -> attribute`.

    Raises:
        TypeError: when called, if an argument is missing or is one that it has not,
            such as variables and inputs beside the model.
    """
    signature = inspect.signature(make)
    (first, *_) = signature.parameters

    @functools.wraps(make)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Attribution:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{make.__name__}(): {error}. It takes `{first}` and, by their names, "
                "its settings, and returns a function: write\n"
                f"`{make.__name__}({first})(variables, inputs, target)`."
            ) from None
        return checked_call(make(*args, **kwargs))

    return checked


def checked_call(attribute: Attribution) -> Attribution:
    """Returns an attribution function whose errors of a wrong call say what to write.

    Args:
        attribute: the function `(variables, inputs, target=None, key=None)`.

    Raises:
        TypeError: when called, if an argument is missing or is one that it has not,
            such as the model's own `train=False`.
    """
    signature = inspect.signature(attribute)

    @functools.wraps(attribute)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{error}. Write `attribute(variables, inputs, target)`, and `key=key` "
                "for a random method.\nSettings of the model are bound to it before: "
                "`functools.partial(apply_fn, train=False)`."
            ) from None
        return attribute(*args, **kwargs)

    return checked


_IMAGES = (
    "Of images write `inputs.astype(jnp.float32)`, in the range the model expects."
)
_TOKENS = (
    "Tokens are explained at their embedding, and none was found that reads these.\n"
    "Give the address of what stands for it, such as `at='Model/Embed_0'`;\n"
    "`list(jaxinterp.trace(apply_fn, variables, inputs).sites)` has all addresses.\n"
    "Bind masks and other integers to the model, `lambda v, x: model.apply(v, x, "
    "mask)`;\nof numbers write `inputs.astype(jnp.float32)`."
)


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
    check_batch(inputs, variables)
    for path, leaf in jax.tree.leaves_with_path(inputs):
        is_real = jnp.issubdtype(leaf.dtype, jnp.inexact)
        if needs_slopes and at is None and not is_real:
            hint = misplaced(variables, inputs)
            likely = f"Likely cause: {hint}\n" if hint else ""
            raise TypeError(
                f"`inputs{jax.tree_util.keystr(path)}` has dtype {leaf.dtype}; only "
                f"real numbers have a gradient.\n"
                f"{likely}{_IMAGES if leaf.ndim > 2 else _TOKENS}"
            )


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
