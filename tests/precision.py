"""Whether products of matrices keep all digits on every device."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax import lax
from jax.extend.core import primitives as p


def are_all_exact(function: Callable[..., Any], *args: Any) -> bool:
    """Whether a function has products of matrices, all of the highest precision.

    On accelerators others have ten bits of each number, which no test on a CPU sees.
    """
    highest = (lax.Precision.HIGHEST, lax.Precision.HIGHEST)
    found = list(_precisions(jax.make_jaxpr(function)(*args).jaxpr))
    return bool(found) and all(each == highest for each in found)


def _precisions(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        if equation.primitive is p.dot_general_p:
            yield equation.params["precision"]
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _precisions(inner)
