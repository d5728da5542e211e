r"""The attention of each head, as it is or weighted by what the head adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax.numpy as jnp

from jaxinterp.attribution.backward import is_single
from jaxinterp.attribution.contract import Attribution, check_inputs, method
from jaxinterp.checks import check_choice
from jaxinterp.tracing.attention import AttentionMatrix, attention_matrices
from jaxinterp.tracing.attention_values import written_values
from jaxinterp.tracing.by_address import ByAddress
from jaxinterp.tracing.call import Traced, trace_call
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.selectors import as_selector
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables

Weighting = Literal["weights", "value_norms"]


@method
def attention_maps(
    apply_fn: ApplyFn,
    *,
    at: Sites | None = None,
    weighting: Weighting = "weights",
) -> Attribution:
    r"""Attributes to positions by the attention of each head, not combined.

    $$\alpha_{hts} \quad\text{or}\quad \lVert\alpha_{hts}\,f_h(x_s)\rVert =
    \alpha_{hts}\,\lVert v_{hs} W_{O,h}\rVert$$

    Head $h$ at position $t$ adds $\sum_s \alpha_{hts} f_h(x_s)$ to the features of $t$,
    where $v_{hs}$ are its values and $W_{O,h}$ is its part of the output projection;
    without a projection $f_h(x_s) = v_{hs}$. A large weight on a small value adds
    little. Cross-attention has maps as well. Cost: one forward pass; for norms of
    values the output projection once for each head.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the sites of the attention matrices; by default every softmax whose result
            is multiplied with other activations.
        weighting: `"weights"` for attention itself, `"value_norms"` for the norm of
            what is added.

    Returns:
        An attribution function, which needs no target. Its value is a mapping from
        address to array, in network order, or the array alone if `at` is one address:
        `(batch, head, target, source)`, in a `scan` with the axis of steps before it.
        Shares of one, or in units of the features; never negative.

    Raises:
        ValueError: if there is no such weighting; when called, if there is no
            attention; if the axes of a matrix cannot be told, or it is in a loop that
            is no `scan`; for norms of values, if something that is not linear lies
            between a matrix and what its layer adds.

    References:
        Kobayashi et al., 2020 (norms) [kobayashi2020attention].

    Example:
        >>> def model(w, x):
        ...     scores = jnp.einsum("btd,bsd->bts", x, x)
        ...     return x + jax.nn.softmax(0 * scores) @ (x @ w)
        >>> x, w = jnp.array([[[1.0], [3.0]]]), jnp.array([[-2.0]])
        >>> attention_maps(model, at="softmax")(w, x).tolist()
        [[[[0.5, 0.5], [0.5, 0.5]]]]
        >>> norms = attention_maps(model, at="softmax", weighting="value_norms")
        >>> norms(w, x).tolist()
        [[[[1.0, 3.0], [1.0, 3.0]]]]
    """
    check_weighting(weighting)
    if at is not None:
        as_selector(at)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        check_inputs(inputs, at, variables, needs_slopes=False)
        traced = trace_call(apply_fn, variables, inputs)
        matrices = attention_matrices(traced, at, is_stack=False)
        sites = {matrix.site.address: matrix.site for matrix in matrices}
        arrays = {}
        for matrix, array in zip(
            matrices, weights_of(traced, matrices, weighting), strict=True
        ):
            site = matrix.site
            array = array.reshape(*site.length, *array.shape[1:])
            arrays[site.address] = array.astype(site.value.dtype)
        if at is not None and is_single(at, sites):
            return next(iter(arrays.values()))
        return ByAddress.of(sites, arrays)

    return attribute


def weights_of(
    traced: Traced, matrices: Sequence[AttentionMatrix], weighting: Weighting
) -> list[Any]:
    """Returns for each matrix of attention `(steps, batch, heads, target, source)`.

    Args:
        traced: the traced model.
        matrices: the matrices of attention.
        weighting: whether they are multiplied with the norms of values.
    """
    captures = {matrix.site.value for matrix in matrices}
    if weighting == "weights":
        _, arrays = traced.run(Changes(captures=frozenset(captures)))
        return [wide(m.ordered(arrays[m.site.value])) for m in matrices]
    written = [written_values(matrix) for matrix in matrices]
    captures = captures.union(*(each.operands for each in written))
    _, arrays = traced.run(Changes(captures=frozenset(captures)))
    return [
        wide(m.ordered(arrays[m.site.value])) * each.norms(arrays)[..., None, :]
        for m, each in zip(matrices, written, strict=True)
    ]


def check_weighting(weighting: Any) -> None:
    """Raises unless attention can be weighted so.

    Args:
        weighting: the weighting that was asked for.

    Raises:
        ValueError: if there is no such weighting.
    """
    check_choice("weighting", weighting, get_args(Weighting))


def wide(array: Any) -> Any:
    """Returns an array with enough digits for sums over positions and layers.

    Args:
        array: an array.
    """
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))
