"""What a model was called with, and why it may have failed: a note on its own error.

The error of a model stays what it is. The note adds the shapes of what the model got,
and the first of `_CAUSES` that fits: the usual mistakes, told from shapes and types.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import shown
from jaxinterp.types import ApplyFn, Inputs, Variables

_START = "The model was called with"
_LEAVES = 6  # of each argument are shown


class Call(NamedTuple):
    """A call of a model that failed.

    Attributes:
        apply_fn: what was called as a model.
        variables: its first argument.
        inputs: its second argument.
        error: what it raised.
    """

    apply_fn: Any
    variables: Variables
    inputs: Inputs
    error: Exception

    @property
    def text(self) -> str:
        """The type and message of the error."""
        return f"{type(self.error).__name__}: {self.error}"


def call_model(
    apply_fn: ApplyFn, variables: Variables, inputs: Inputs, *args: Any, **kwargs: Any
) -> Any:
    """Calls a model; what it raises gets a note that says what the model was given.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs, *args, **kwargs) -> outputs`.
        variables: the weights of the model.
        inputs: a batch of the model's inputs.
        *args: further arguments of the model.
        **kwargs: further named arguments of the model.

    Raises:
        Exception: what the model raises.
    """
    try:
        return apply_fn(variables, inputs, *args, **kwargs)
    except Exception as error:
        if not (_is_own(apply_fn) or _is_told(error)):
            error.add_note(note(Call(apply_fn, variables, inputs, error)))
        raise


def _is_own(function: Any) -> bool:
    """Whether a function is one of this package, which calls the model in its turn.

    What `jaxinterp.models` makes is a model like any other.
    """
    function = getattr(function, "func", function)
    module = getattr(function, "__globals__", {}).get("__name__", "")
    return module.startswith("jaxinterp.") and not module.startswith("jaxinterp.models")


def note(call: Call) -> str:
    """Returns what a model was called with, and the likely cause of its error.

    Args:
        call: a call of a model that failed.
    """
    lines = [f"{_START}"]
    for name, tree in (("variables", call.variables), ("inputs", call.inputs)):
        leaves = [f"{name}{path} {kind}" for path, kind in _kinds(tree)]
        more = [f"and {len(leaves) - _LEAVES} more"] if len(leaves) > _LEAVES else []
        lines += [f"    {line}" for line in leaves[:_LEAVES] + more]
    causes = (cause(call) for cause in _CAUSES)
    likely = next(filter(None, causes), None)
    return "\n".join([*lines, f"Likely cause: {likely}"] if likely else lines)


def misplaced(variables: Variables, inputs: Inputs) -> str | None:
    """Returns a hint if variables and inputs are swapped, or the variables left out.

    Args:
        variables: the first argument of a call.
        inputs: the second one.
    """
    if not (_is_array(variables) and np.ndim(variables)):
        return None
    leaves = jax.tree.leaves(inputs)
    if not (_is_array(inputs) or isinstance(inputs, int)):
        if len({np.shape(leaf)[:1] for leaf in leaves}) < 2:
            return None
        return (
            f"`variables` is one array {_kind(variables)} and `inputs` hold "
            f"{len(leaves)} arrays that\nare no batch, as if the two were swapped. "
            "Write `(variables, inputs)` in this order."
        )
    dtype = getattr(inputs, "dtype", np.dtype(int))
    is_target = np.shape(inputs) in ((), np.shape(variables)[:1])
    if not (jnp.issubdtype(dtype, jnp.integer) and is_target):
        return None
    return (
        f"`variables` is one array {_kind(variables)} and `inputs` are integers, as if "
        "the\nvariables were left out. Write `attribute(variables, inputs, target)`."
    )


def _is_told(error: Exception) -> bool:
    notes = getattr(error, "__notes__", ())
    is_ours = type(error).__module__.startswith("jaxinterp.")
    return is_ours or any(note.startswith(_START) for note in notes)


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def _kind(leaf: Any) -> str:
    if _is_array(leaf):
        return f"{leaf.dtype}{list(leaf.shape)}"
    return shown(leaf) if isinstance(leaf, int | float | str) else type(leaf).__name__


def _kinds(tree: Any) -> Iterator[tuple[str, str]]:
    """The path of each leaf, and its dtype and shape."""
    leaves = jax.tree.leaves_with_path(tree)
    if not leaves:
        yield "", "without arrays"
    for path, leaf in leaves:
        yield jax.tree_util.keystr(path), _kind(leaf)


# --- Likely causes --------------------------------------------------------------------


def _library(value: Any) -> str:
    """The library that a module of a network is of."""
    for cls in type(value).__mro__:
        for prefix, library in _LIBRARIES.items():
            if cls.__module__.startswith(prefix):
                return library
    return ""


_LIBRARIES = {
    "flax.linen.module": "linen",
    "flax.nnx.module": "nnx",
    "equinox._module": "equinox",
    "keras.": "keras",
    "haiku._src.transform": "haiku",
}


def _a_module(call: Call) -> str | None:
    module = call.apply_fn
    if hasattr(module, "__self__") and _library(module.__self__) == "linen":
        module = module.__self__
        if getattr(module, "scope", None) is None:
            return None  # `module.apply`, as it should be
    library = _library(module)
    if library == "linen" and getattr(module, "scope", None) is not None:
        return (
            "the module is bound and holds its variables already. Write\n"
            "`module, variables = bound.unbind()`, and give `module.apply`."
        )
    if library == "linen":
        return "that is the module itself. Write `module.apply`."
    if library == "haiku" or "`apply(params, rng" in call.text:
        return (
            "a function that Haiku transformed takes a random key too. Write\n"
            "`apply_fn, variables = jaxinterp.models.from_haiku(model, params)`."
        )
    if library:
        return (
            f"that is the module itself. `apply_fn, variables = jaxinterp.models."
            f"from_{library}(model)` makes\na function of variables and inputs of it."
        )
    return None


def _no_function(call: Call) -> str | None:
    if callable(call.apply_fn):
        return None
    kinds = ", ".join(kind for _, kind in _kinds(call.apply_fn))
    return (
        f"`apply_fn` is no function but {kinds}, perhaps what the model returned.\n"
        "Give the model itself, such as `model.apply`."
    )


_OFF = {
    **dict.fromkeys(("train", "training", "is_training"), "False"),
    **dict.fromkeys(("deterministic", "use_running_average", "inference"), "True"),
}


def _arguments(call: Call) -> str | None:
    if not isinstance(call.error, TypeError):
        return None
    missing = re.search(r"missing \d+ required .*arguments?: (.*)", str(call.error))
    if missing:
        names = re.findall(r"'(\w+)'", missing[1])
        bound = ", ".join(f"{name}={_OFF.get(name, '...')}" for name in names)
        return (
            f"the model needs {' and '.join(f'`{n}`' for n in names)} too. Give it:\n"
            f"`lambda variables, inputs: apply_fn(variables, inputs, {bound})`."
        )
    if binds(call.apply_fn, 1) and not binds(call.apply_fn, 2):
        return (
            "the model takes the inputs alone. Write\n"
            "`apply_fn, variables = jaxinterp.models.from_function(model)`."
        )
    return None


def binds(function: Any, count: int) -> bool:
    """Returns whether a function is known to take some number of positional arguments.

    Args:
        function: anything that can be called.
        count: the number of arguments.
    """
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def _variables(call: Call) -> str | None:
    hint = misplaced(call.variables, call.inputs)
    if hint or not type(call.error).__module__.startswith("flax.errors"):
        return hint
    if not isinstance(call.variables, Mapping):
        return "`variables` is no dict of collections, such as `{'params': params}`."
    collections = sorted(map(str, call.variables))
    lacking = re.search(r'collection "(\w+)"', str(call.error))
    if "params" not in call.variables:
        return (
            f"`variables` has no 'params', but {collections[:_LEAVES]}.\n"
            "Write `{'params': params}` for the parameters alone."
        )
    if lacking and lacking[1] not in call.variables:
        return (
            f"`variables` has {collections} and no {lacking[1]!r}.\n"
            "Give all that `module.init` returned."
        )
    return None


def _training(call: Call) -> str | None:
    if re.search(
        r"InvalidRngError|MissingRNGError|requires a key when running",
        call.text,
    ):
        return (
            "dropout is on and asks for a random key. Turn it off: `train=False`,\n"
            "`deterministic=True`, `eqx.nn.inference_mode(model)` or `model.eval()`, "
            "as the model has it."
        )
    if re.search(
        r"ModifyScopeVariableError|use_running_average|axis name: batch", call.text
    ):
        return (
            "batch norm is in training mode. Turn it off: `train=False`,\n"
            "`use_running_average=True`, `eqx.nn.inference_mode(model)` or "
            "`model.eval()`, as the model has it."
        )
    return None


def _axes(call: Call) -> str | None:
    """Axes in another order, or without the batch; told from the kernels."""
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(call.inputs)]
    kernels = [np.shape(leaf) for leaf in jax.tree.leaves(call.variables)]
    kernels = [kernel for kernel in kernels if len(kernel) == 4]
    if len(shapes) != 1:
        return None
    (shape,) = shapes
    if len(shape) == 1 or (len(shape) == 3 and kernels):
        return (
            f"`inputs` has the shape {shape}, without an axis for the batch in front.\n"
            "Write `inputs[None]` for a single example."
        )
    last = {kernel[2] for kernel in kernels if kernel[0] == kernel[1]}
    first = {kernel[1] for kernel in kernels if kernel[2] == kernel[3]} - last
    if len(shape) != 4:
        return None
    if shape[1] in last and shape[3] not in last:
        return (
            f"`inputs` has its {shape[1]} channels on axis 1, and the model on the "
            "last axis.\nWrite `jnp.moveaxis(inputs, 1, -1)`."
        )
    if not last and shape[3] in first and shape[1] not in first:
        return (
            f"`inputs` has its {shape[3]} channels on the last axis, and the model on "
            "axis 1.\nWrite `jnp.moveaxis(inputs, -1, 1)`."
        )
    return None


def _dtypes(call: Call) -> str | None:
    if "dtype" not in call.text:
        return None
    of_inputs = {_dtype(leaf) for leaf in jax.tree.leaves(call.inputs)}
    of_variables = {_dtype(leaf) for leaf in jax.tree.leaves(call.variables)}
    if len(of_inputs) != 1 or len(of_variables) != 1 or of_inputs == of_variables:
        return None
    (mine,), (theirs,) = of_inputs, of_variables
    return (
        f"`inputs` is {mine} and `variables` are {theirs}. Write "
        f"`inputs.astype(jnp.{theirs})`."
    )


def _dtype(leaf: Any) -> str:
    return str(getattr(leaf, "dtype", type(leaf).__name__))


_CAUSES: tuple[Callable[[Call], str | None], ...] = (
    _a_module,
    _no_function,
    _arguments,
    _training,
    _variables,
    _axes,
    _dtypes,
)
