"""What differs between JAX versions, in one place.

Everything is decided by looking at the object at hand (a parameter that is there or
not), never by parsing a version number. The rest of the package sees only the functions
below.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.extend import core
from jax.extend.core import primitives

# Frames of these packages are never the line that a user wrote.
_FRAMEWORKS = (
    "jax",
    "jaxlib",
    "flax",
    "equinox",
    "keras",
    "haiku",
    "jaxtyping",
    "chex",
)

_FRAMEWORK_PATHS = tuple(f"{os.sep}{name}{os.sep}" for name in _FRAMEWORKS)

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

_TRANSFORM = re.compile(r"\b(?:jvp|vjp|vmap|transpose|remat|rematted_computation)\(")

# Scopes that JAX itself adds.
_NO_MODULES = ("", "checkpoint", "rematted_computation")


def open_jaxpr(jaxpr: Any) -> tuple[Any, tuple[Any, ...]]:
    """Returns the jaxpr without its constants, and the constants.

    Args:
        jaxpr: an open or a closed jaxpr; since JAX 0.11 these are one class.
    """
    return getattr(jaxpr, "jaxpr", jaxpr), tuple(getattr(jaxpr, "consts", ()))


def scan_counts(params: dict[str, Any]) -> tuple[int, int]:
    """Returns how many operands of a `scan` are constants, and how many the carry.

    Args:
        params: the parameters of the equation.
    """
    if "ft_in" in params:  # JAX >= 0.11
        consts, carry, _ = params["ft_in"].unpack()
        return len(consts), len(carry)
    return params["num_consts"], params["num_carry"]


def expand_hijax(eqn: core.JaxprEqn) -> Any | None:
    """Returns the jaxpr that a high-level primitive stands for, `None` for others.

    Args:
        eqn: any equation.
    """
    prim = eqn.params.get("_prim")
    if prim is None or not hasattr(prim, "expand"):
        return None

    def expanded(*flat: Any) -> list[Any]:
        return jax.tree.leaves(prim.expand(*jax.tree.unflatten(prim.in_tree, flat)))

    kinds = [jax.ShapeDtypeStruct(*kind_of(variable)) for variable in eqn.invars]
    return jax.make_jaxpr(expanded)(*kinds)


def kind_of(variable: Any) -> tuple[tuple[int, ...], Any]:
    """Returns the shape and dtype of a variable of a jaxpr.

    Args:
        variable: a `Var` or `Literal`.
    """
    shape = tuple(getattr(variable.aval, "shape", ()))
    return shape, getattr(variable.aval, "dtype", None)


def checkpoint_settings(eqn: core.JaxprEqn) -> dict[str, Any] | None:
    """Returns the keywords of the `jax.checkpoint` that an equation is, or `None`.

    Args:
        eqn: any equation.
    """
    prim: Any = eqn.params.get("_prim")
    if eqn.primitive is primitives.remat_p:
        params = eqn.params
    elif hasattr(prim, "policy"):  # a high-level primitive
        params = prim.params
    else:
        return None
    return {name: params[name] for name in ("policy", "prevent_cse") if name in params}


def has_custom_derivative(eqn: core.JaxprEqn) -> bool:
    """Whether an equation is a call whose derivative the user wrote.

    Args:
        eqn: the equation as JAX traced it.
    """
    if eqn.primitive in existing("custom_jvp_call_p", "custom_vjp_call_p"):
        return True
    return expand_hijax(eqn) is not None and checkpoint_settings(eqn) is None


def bind(
    primitive: core.Primitive, operands: Sequence[Any], params: dict[str, Any]
) -> list[Any]:
    """Applies a primitive as the equation did, and returns the list of its results.

    Args:
        primitive: the primitive of the equation.
        operands: the values of its operands.
        params: the parameters of the equation.
    """
    bound = primitive.get_bind_params(params)
    functions, keywords = bound if isinstance(bound, tuple) else ((), bound)
    results = primitive.bind(*functions, *operands, **keywords)
    return list(results) if primitive.multiple_results else [results]


@contextlib.contextmanager
def equation_context(eqn: core.JaxprEqn, scope: str) -> Iterator[None]:
    """Binds primitives inside with the scope and settings of an equation.

    Args:
        eqn: the equation as JAX traced it.
        scope: its full path, which a new trace will find in its name stack.
    """
    manager = getattr(getattr(eqn, "ctx", None), "manager", None)
    with contextlib.ExitStack() as stack:
        if manager is not None:
            stack.enter_context(manager)
        if scope:
            stack.enter_context(jax.named_scope(scope))
        yield


def scope_of(eqn: core.JaxprEqn) -> str:
    """Returns the name stack of an equation without the marks of transformations.

    Args:
        eqn: the equation as JAX traced it.
    """
    stack = str(eqn.source_info.name_stack)
    if "(" in stack:
        stack = _TRANSFORM.sub("", stack).replace(")", "")
    # Names that libraries give say nothing of the model: `checkpoint`, the subscripts
    # of an `einsum`, the classes of Equinox's layers.
    pieces = [piece for piece in stack.split("/") if piece not in _NO_MODULES]
    pieces = [piece for piece in pieces if "->" not in piece]
    own = [piece for piece in pieces if not piece.startswith("eqx.nn.")]
    return "/".join(own or pieces)


def source_line(eqn: core.JaxprEqn) -> str | None:
    """Returns `file:line (function)` of the innermost frame that a user wrote.

    Inside of a jitted function of a library there is none.

    Args:
        eqn: the equation as JAX traced it.
    """
    traceback = eqn.source_info.traceback
    for frame in getattr(traceback, "frames", ()):
        name = frame.file_name
        if name.startswith((_PACKAGE, "<")) or any(p in name for p in _FRAMEWORK_PATHS):
            continue
        return f"{name}:{frame.line_num} ({frame.function_name})"
    return None


def primitive_of(function: Callable[..., Any], *args: Any) -> core.Primitive:
    """Returns the primitive that a function applies last.

    Some primitives are not exported by `jax.extend.core.primitives`.

    Args:
        function: a function of arrays.
        *args: its arguments, as `jax.ShapeDtypeStruct`s.
    """
    jaxpr, _ = open_jaxpr(jax.make_jaxpr(function)(*args))
    return jaxpr.eqns[-1].primitive


def existing(*names: str) -> tuple[core.Primitive, ...]:
    """Returns the primitives that this JAX has; names come and go with versions.

    Args:
        *names: names in `jax.extend.core.primitives`.
    """
    return tuple(
        getattr(primitives, name) for name in names if hasattr(primitives, name)
    )
