r"""How much of attention can flow from one position to another, through all layers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax import lax
from scipy.sparse import csgraph

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.maps.attention import Numbers, check_arguments, moves
from jaxinterp.attribution.maps.attention_maps import Weighting
from jaxinterp.checks import check_index
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables

_UNIT = 2**30  # a capacity of one, as an integer of 32 bits


@method
def attention_flow(
    apply_fn: ApplyFn,
    *,
    at: Sites | None = None,
    layers: Numbers = None,
    heads: Numbers = None,
    weighting: Weighting = "weights",
    position: int | None = None,
) -> Attribution:
    r"""Attributes to positions by the maximum flow through the attention of all layers.

    $$R_{ts} = \min_{C \ni (L, t),\; C \not\ni (0, s)}\;
    \sum_{l,\; (l, u) \in C,\; (l - 1, v) \notin C} \left(\bar A_l\right)_{uv}, \quad
    \bar A_l = \frac{1}{2}\left(\mathrm{E}_h A_l + I\right)$$

    Position $u$ of layer $l$ is a node $(l, u)$, and $\bar A_l$ has the capacities of
    the edges to the layer before. The largest flow from a position of the last layer
    to an input is the capacity of the smallest cut $C$ between them. Where
    `attention_rollout` multiplies along paths, here the narrowest edge of a path limits
    it; flows to different inputs are not shares of one whole. No class is explained.
    Cost: one forward pass, and a maximum flow for each pair of positions.

    Flows are found on the host, also under `jit`, which takes seconds for all pairs of
    64 positions in 12 layers: give a `position`. Capacities are rounded to $2^{-30}$
    to find the smallest cut, and added up unrounded: the result is above the maximum
    flow by at most the number of edges times $2^{-30}$. Its slope is that of the cut.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the sites of the attention matrices, as of `attention_rollout`.
        layers: the numbers of the layers that are read; all by default.
        heads: the numbers of the heads that are read in each layer; all by default.
        weighting: what takes the place of attention, as of `attention_rollout`.
        position: the position whose row is returned; all of them by default.

    Returns:
        An attribution function, which needs no target. Its values are in [0, 1],
        `(batch, position)`, or without `position` `(batch, target, source)`.

    Raises:
        TypeError: if `position`, a layer or a head is no integer.
        ValueError: as by `attention_rollout`.

    References:
        Abnar and Zuidema, 2020, section 3 [abnar2020quantifying].

    Example:
        >>> def model(w, x):
        ...     scores = jnp.einsum("btd,bsd->bts", x, x)
        ...     return x + jax.nn.softmax(scores) @ x
        >>> rows = attention_flow(model, position=-1)(None, jnp.zeros((1, 4, 2)))
        >>> rows.tolist()
        [[0.125, 0.125, 0.125, 0.625]]
    """
    check_arguments(at, layers, heads, position)
    moved = moves(apply_fn, at, layers, heads, weighting)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        layer, dtype = moved(variables, inputs)
        capacities = jnp.moveaxis(layer, 0, 1)  # for each example those of all layers
        n = layer.shape[-1]
        targets = range(n)
        if position is not None:
            check_index(position, n, "position")
            targets = [position % n]
        flows = _maximum_flows(capacities, targets).astype(dtype)
        return flows if position is None else flows[:, 0]

    return attribute


def _maximum_flows(capacities: Any, targets: Sequence[int]) -> Any:
    """The flow from each of some targets to all sources, `(batch, target, source)`."""
    n_examples, n_layers, n, _ = capacities.shape
    shape = (n_examples, len(targets), n, n_layers + 1, n)
    is_above = jax.pure_callback(
        functools.partial(_smallest_cuts, targets=targets),
        jax.ShapeDtypeStruct(shape, bool),
        lax.stop_gradient(capacities),
        vmap_method="sequential",
    )
    start = is_above[..., 1:, :].astype(capacities.dtype)
    end = ~is_above[..., :-1, :]
    across = jnp.einsum("btslu,bluv->btslv", start, capacities, precision="highest")
    return jnp.where(end, across, 0.0).sum((-2, -1))


def _smallest_cuts(capacities: Any, targets: Sequence[int]) -> np.ndarray:
    """Whether each node is on the side of the target, in the smallest cut."""
    known = np.nan_to_num(np.asarray(capacities, np.float64))  # the flow will be NaN
    units = np.round(known * _UNIT).astype(np.int32)
    cuts = []
    for example in units:
        n_layers, n, _ = example.shape
        layer, u, v = np.nonzero(example)
        ends = ((layer + 1) * n + u, layer * n + v)
        n_nodes = (n_layers + 1) * n
        graph = scipy.sparse.csr_array((example[layer, u, v], ends), [n_nodes] * 2)
        for target in targets:
            for source in range(n):
                flow = csgraph.maximum_flow(graph, n_layers * n + target, source).flow
                rest = scipy.sparse.csr_array(graph - flow)
                rest.eliminate_zeros()
                reached = csgraph.breadth_first_order(
                    rest, n_layers * n + target, return_predecessors=False
                )
                cuts.append(np.isin(np.arange(n_nodes), reached))
    shape = (len(units), len(targets), n, n_layers + 1, n)
    return np.array(cuts).reshape(shape)
