r"""How much positions attend to one another, over all layers of a model.

Notation: $A_l$ is the attention matrix of layer $l$, for each head one row for each
position that reads (target) and one column for each that is read (source);
$\mathrm{E}_h$ is the mean over heads, and $\bar A_l$ what a method makes of a layer.

Attention says where a head reads, not what it makes of what it read, nor whether the
output needs that. Values may be zero, and other weights may give the same output. Check
what these maps show with a method that changes the input or follows the derivative.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.backward import Backward, checked_seed
from jaxinterp.attribution.contract import (
    Attribution,
    check_inputs,
    examples_in,
    method,
)
from jaxinterp.attribution.maps.attention_maps import (
    Weighting,
    check_weighting,
    weights_of,
    wide,
)
from jaxinterp.attribution.maps.streams import multiplied, rolled_streams
from jaxinterp.checks import check_index, is_integer, shown
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.objectives.seed import gradient_seed, relevance_seed
from jaxinterp.rules.composite import DERIVATIVE, Composite
from jaxinterp.rules.presets import Rules, as_composite
from jaxinterp.tracing.attention import (
    AttentionMatrix,
    attention_matrices,
    attention_streams,
    by_layer,
    in_order,
)
from jaxinterp.tracing.by_address import ByAddress
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.selectors import as_selector
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables

# Numbers of layers, or of heads: one, several, or all of them.
Numbers = int | Sequence[int] | None


@method
def attention_rollout(
    apply_fn: ApplyFn,
    *,
    at: Sites | None = None,
    layers: Numbers = None,
    heads: Numbers = None,
    weighting: Weighting = "weights",
    position: int | None = None,
) -> Attribution:
    r"""Attributes to positions by the product of the attention of all layers.

    $$R = \bar A_L \cdots \bar A_2\,\bar A_1, \quad \bar A_l = \frac{1}{2}
    \left(\mathrm{E}_h A_l + I\right)$$

    The identity stands for the residual connection; rows are divided by their sums, so
    that each sums to one. No class is explained: the map is the same for every output.
    Cost: one forward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the sites of the attention matrices, in a model that has others as well. By
            default every softmax whose result is multiplied with other activations.
        layers: the numbers of the layers that are read, one or several, also of those
            in a `scan`; all by default. The others count as if they moved nothing.
        heads: the numbers of the heads that are read in each layer; all by default.
        weighting: `"weights"` for attention itself; `"value_norms"` for what is added,
            in $\mathrm{E}_h\lVert\alpha f_h(x)\rVert$ as in `attention_maps`, with
            rows divided by their sums.
        position: the position whose row is returned, such as 0 for a class token or -1
            for the last token; all of them by default.

    Returns:
        An attribution function, which needs no target. Its values are shares of one,
        `(batch, position)`, or without `position` `(batch, target, source)`.

    Raises:
        TypeError: if `position`, a layer or a head is no integer.
        ValueError: if there is no such weighting; when called, if there is no
            attention, or none that can be rolled out, such as cross-attention; if
            there is no such position, layer or head; as by `attention_maps`.

    References:
        Abnar and Zuidema, 2020, section 3 [abnar2020quantifying]; norms of values
        Kobayashi et al., 2020 [kobayashi2020attention].

    Example:
        >>> def model(w, x):
        ...     scores = jnp.einsum("btd,bsd->bts", x, x)
        ...     return x + jax.nn.softmax(scores) @ x
        >>> rows = attention_rollout(model, position=-1)(None, jnp.zeros((1, 4, 2)))
        >>> rows.tolist()
        [[0.125, 0.125, 0.125, 0.625]]
    """
    check_arguments(at, layers, heads, position)
    moved = moves(apply_fn, at, layers, heads, weighting)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        layer, dtype = moved(variables, inputs)
        return _row(_product(layer), position).astype(dtype)

    return attribute


@method
def attention_grad(
    apply_fn: ApplyFn,
    *,
    at: Sites | None = None,
    layers: Numbers = None,
    heads: Numbers = None,
    position: int | None = None,
    score: Score | Objective | str = logit,
) -> Attribution:
    r"""Attributes to positions by attention times its gradient, over all layers.

    $$R = \sum_l \sum_h A_l \odot \frac{\partial f}{\partial A_l}$$

    An entry is how much the score would change, to first order, if the target no longer
    read the source and nothing else changed. Cost: one backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the sites of the attention matrices, as of `attention_rollout`.
        layers: the numbers of the layers that are read; all by default.
        heads: the numbers of the heads that are read in each layer; all by default.
        position: the position whose row is returned; all of them by default.
        score: which number per example is explained: a score of the outputs, or an
            objective.

    Returns:
        An attribution function, in the units of `score`: `(batch, position)`, or
        without `position` `(batch, target, source)`; a positive entry raised the score.

    Raises:
        TypeError: if `position`, a layer or a head is no integer.
        ValueError: when called, as by `attention_rollout`; if the score depends on no
            attention.

    References:
        Barkan et al., 2021 [barkan2021gradsam], who keep positive gradients alone, and
        take means over heads and layers.

    Example:
        >>> from jaxinterp.objectives import total
        >>> def model(w, x):
        ...     scores = jnp.einsum("btd,bsd->bts", x, x)
        ...     return (jax.nn.softmax(0 * scores) @ x).sum(-1)
        >>> x = jnp.array([[[1.0], [3.0]]])
        >>> attention_grad(model, score=total)(None, x).tolist()
        [[[0.5, 1.5], [0.5, 1.5]]]
    """
    check_arguments(at, layers, heads, position)
    slopes = _attention_times_slopes(apply_fn, at, score, attention_matrices)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        products, matrices = slopes(variables, inputs, target)
        layer = _by_layer(matrices, products, layers, heads, lambda x: x.sum(2))
        return _row(layer.sum(0), position).astype(matrices[0].site.value.dtype)

    return attribute


@method
def attention_grad_rollout(
    apply_fn: ApplyFn,
    *,
    at: Sites | None = None,
    layers: Numbers = None,
    heads: Numbers = None,
    position: int | None = None,
    composite: Rules | None = None,
    score: Score | Objective | str = logit,
) -> Attribution:
    r"""Attributes to positions by rolling out attention times its positive gradient.

    $$R = \left(I + \bar A_L\right) \cdots \left(I + \bar A_1\right) - I, \quad
    \bar A_l = \mathrm{E}_h \left(A_l \odot
    \frac{\partial f}{\partial A_l}\right)^+$$

    The method of Chefer et al. It says which positions spoke for the score; nothing is
    said of those that spoke against it. Explain `-score` for these. With a composite
    the relevance of attention takes the place of $A_l$, as in their first paper. Cost:
    one backward pass; with a composite two.

    With cross-attention there are several kinds of positions, such as those of an
    encoder and those of its decoder. $R$ has a matrix for each two of them: what reads
    other positions reads what these have read before, and

    $$R^{ts} \mathrel{+}= (\hat R^{tt})^\top \bar A^{ts} \hat R^{ss}$$

    where in $\hat R$ the rows, without the identity, are divided by their sums.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the sites of the attention matrices, as of `attention_rollout`.
        layers: the numbers of the layers that are read; all by default. Cross-attention
            is a layer of its own.
        heads: the numbers of the heads that are read in each layer; all by default.
        position: the position whose row is returned; all of them by default.
        composite: which site gets which rule on the way back to the relevance of
            attention: a composite, a list of pairs, or the name of a preset such as
            `"attn_lrp"`. By default attention itself is multiplied with its gradient.
        score: which number per example is explained: a score of the outputs, or an
            objective.

    Returns:
        An attribution function, never negative: `(batch, position)`, or without
        `position` `(batch, target, source)`. With cross-attention the targets are those
        of the last layer, and there is one such array for each kind of positions that
        is read, in a mapping from the address of the first layer that reads them.
        Products of layers have no unit in common, so that entries compare within an
        example only.

    Raises:
        TypeError: if `position`, a layer or a head is no integer.
        ValueError: when called, as by `attention_grad`, but for cross-attention; if one
            kind of positions is made of another by something else than attention.

    References:
        Chefer et al., 2021, eqs. 5 to 11 [chefer2021generic]; with relevance Chefer et
        al., 2021 [chefer2021transformer], whose rules for products and sums are of
        their own. The identity that $R$ starts with there is taken off at the end: it
        says of every position that it read itself.

    Example:
        >>> from jaxinterp.objectives import total
        >>> def model(w, x):
        ...     scores = jnp.einsum("btd,bsd->bts", x, x)
        ...     return (jax.nn.softmax(0 * scores) @ x).sum(-1)
        >>> x = jnp.array([[[-1.0], [3.0]]])
        >>> attention_grad_rollout(model, score=total, position=0)(None, x).tolist()
        [[0.0, 1.5]]
    """
    check_arguments(at, layers, heads, position)
    call = "attention_grad_rollout(apply_fn, composite=jaxinterp.rules.attn_lrp())"
    rules = None if composite is None else as_composite(composite, call)
    slopes = _attention_times_slopes(apply_fn, at, score, attention_streams, rules)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        products, matrices = slopes(variables, inputs, target)
        positive = [jax.nn.relu(product) for product in products]
        if any(matrix.targets != matrix.sources for matrix in matrices):
            means = _of_heads(positive, heads)
            return _by_kind(matrices, means, layers, position)
        layer = _by_layer(matrices, positive, layers, heads)
        rolled = _product(layer + _identity(layer)) - _identity(layer)[0]
        return _row(rolled, position).astype(matrices[0].site.value.dtype)

    return attribute


# --- What they share ------------------------------------------------------------------


def moves(
    apply_fn: ApplyFn, at: Sites | None, layers: Numbers, heads: Numbers, weighting: Any
) -> Any:
    """Returns a function to what each layer moves from position to position.

    It takes variables and inputs, and returns matrices `(layers, batch, target,
    source)` whose rows sum to one, half attention and half identity, and a dtype.

    Args:
        apply_fn: the model.
        at: the sites of the attention matrices.
        layers: the numbers of the layers that are read.
        heads: the numbers of the heads that are read.
        weighting: what takes the place of attention.
    """
    check_weighting(weighting)

    def run(variables: Any, inputs: Any) -> Any:
        check_inputs(inputs, at, variables, needs_slopes=False)
        traced = trace_call(apply_fn, variables, inputs)
        matrices = attention_matrices(traced, at)
        arrays = weights_of(traced, matrices, weighting)
        layer = _by_layer(matrices, arrays, layers, heads)
        if weighting == "value_norms":
            total = layer.sum(-1, keepdims=True)
            layer = layer / jnp.where(total > 0, total, 1.0)
        layer = layer + _identity(layer)
        layer = layer / layer.sum(-1, keepdims=True)
        return layer, matrices[0].site.value.dtype

    return run


def _attention_times_slopes(
    apply_fn: ApplyFn,
    at: Sites | None,
    score: Score | Objective | str,
    find: Callable[..., Sequence[AttentionMatrix]],
    composite: Composite | None = None,
) -> Any:
    """Returns a function to the products of attention and gradient, and the matrices.

    It takes the arguments of an attribution function; the products are for each matrix
    `(steps, batch, heads, target, source)`. With a composite the relevance of attention
    is multiplied with the gradient.
    """
    model, score_fn = explained(apply_fn, score)

    def run(variables: Any, inputs: Any, target: Any) -> Any:
        check_inputs(inputs, at, variables, needs_slopes=False)
        matrices = find(trace_call(model, variables, inputs), at)
        addresses = [matrix.site.address for matrix in matrices]
        back = Backward(model, variables, inputs, DERIVATIVE, addresses)
        examples = examples_in(inputs)
        seed = checked_seed(gradient_seed, score_fn, back.outputs, target, examples)
        back.check_path(score_fn, target)
        received, factors = back(seed), back.activations
        if composite is not None:
            by_rules = Backward(model, variables, inputs, composite, addresses)
            start = relevance_seed, score_fn, by_rules.outputs, target, examples
            factors = by_rules(checked_seed(*start))
        products = [
            wide(matrix.ordered(factors[address]))
            * wide(matrix.ordered(received[address]))
            for matrix, address in zip(matrices, addresses, strict=True)
        ]
        return products, matrices

    return run


def _by_layer(
    matrices: Sequence[AttentionMatrix],
    arrays: Sequence[Any],
    layers: Numbers,
    heads: Numbers,
    over_heads: Any = lambda x: x.mean(2),
) -> Any:
    """The chosen layers in order, one matrix made of the chosen heads of each."""
    stacked = by_layer(matrices, _of_heads(arrays, heads, over_heads))
    return stacked if layers is None else stacked[_chosen("layer", layers, stacked)]


def _of_heads(
    arrays: Sequence[Any], heads: Numbers, over_heads: Any = lambda x: x.mean(2)
) -> list[Any]:
    """Of each array, by step, one matrix made of the chosen heads."""
    if heads is None:
        return [over_heads(array) for array in arrays]
    return [
        over_heads(array[:, :, _chosen("head", heads, range(array.shape[2]))])
        for array in arrays
    ]


def _chosen(what: str, numbers: int | Sequence[int], among: Any) -> Any:
    """The numbers of what is chosen, in increasing order."""
    several: Any = [numbers] if is_integer(numbers) else numbers
    for number in several:
        check_index(number, len(among), what)
    return np.array(sorted({number % len(among) for number in several}))


def _by_kind(
    matrices: Sequence[AttentionMatrix],
    arrays: Sequence[Any],
    layers: Numbers,
    position: int | None,
) -> ByAddress:
    """For each kind of positions that is read, how much of it is in the last targets.

    Args:
        matrices: the matrices of attention, of several kinds of positions.
        arrays: what is rolled out of each, by step.
        layers: the numbers of the layers that are read.
        position: the target whose row is returned.
    """
    each = list(in_order(matrices, arrays))
    if layers is not None:
        each = [each[i] for i in _chosen("layer", layers, each)]
    rolled = rolled_streams(each)
    last = matrices[-1].targets
    sites, result = {}, {}
    for matrix in matrices:
        kind, site = matrix.sources, matrix.site
        if kind in sites or (last, kind) not in rolled:
            continue
        read = rolled[last, kind]
        if kind == last:
            read = read - jnp.eye(read.shape[-1], dtype=read.dtype)[None]
        sites[kind] = site
        result[site.address] = _row(read, position).astype(site.value.dtype)
    return ByAddress.of({site.address: site for site in sites.values()}, result)


def _identity(layers: Any) -> Any:
    return jnp.eye(layers.shape[-1], dtype=layers.dtype)[None, None]


def _product(layers: Iterable[Any]) -> Any:
    """The product of the matrices of all layers, the last one to the left."""
    return functools.reduce(lambda rolled, layer: multiplied(layer, rolled), layers)


def _row(matrix: Any, position: int | None) -> Any:
    if position is None:
        return matrix
    check_index(position, matrix.shape[1], "position")
    return matrix[:, position]


def check_arguments(
    at: Sites | None, layers: Numbers, heads: Numbers, position: int | None
) -> None:
    """Raises unless a map of attention can be asked for.

    Args:
        at: the sites of the attention matrices.
        layers: the numbers of the layers that are read.
        heads: the numbers of the heads that are read.
        position: the position whose row is returned.

    Raises:
        TypeError: if a number is no integer.
        ValueError: if there is no layer or no head.
    """
    if at is not None:
        as_selector(at)
    if position is not None and not is_integer(position):
        raise TypeError(
            f"`position` must be an integer or None, and is {shown(position)}.\n"
            "Write `position=0` for a class token, `position=-1` for the last token."
        )
    several: Any
    for name, several in (("layers", layers), ("heads", heads)):
        if several is None or is_integer(several):
            continue
        is_list = isinstance(several, Sequence) and not isinstance(several, str)
        if not is_list or not all(map(is_integer, several)):
            raise TypeError(
                f"`{name}` are one integer, a list of integers or None, and are "
                f"{shown(several)}.\nWrite `{name}=[0, 1]` for the first two; "
                "addresses belong to `at`."
            )
        if not several:
            raise ValueError(f"`{name}` is empty. Leave it out for all {name}.")
