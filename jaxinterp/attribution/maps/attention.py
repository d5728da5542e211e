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
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxinterp.attribution.backward import Backward, checked_seed
from jaxinterp.attribution.contract import (
    Attribution,
    check_inputs,
    examples_in,
    method,
)
from jaxinterp.checks import check_index, is_integer, shown
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.objectives.seed import gradient_seed, relevance_seed
from jaxinterp.rules.composite import DERIVATIVE, Composite
from jaxinterp.rules.presets import Rules, as_composite
from jaxinterp.tracing.attention import attention_matrices, by_layer
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.selectors import as_selector
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def attention_rollout(
    apply_fn: ApplyFn, *, at: Sites | None = None, position: int | None = None
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
        position: the position whose row is returned, such as 0 for a class token or -1
            for the last token; all of them by default.

    Returns:
        An attribution function, which needs no target. Its values are shares of one,
        `(batch, position)`, or without `position` `(batch, target, source)`.

    Raises:
        TypeError: if `position` is no integer.
        ValueError: when called, if there is no attention, or none that can be rolled
            out, such as cross-attention; if there is no such position.

    References:
        Abnar and Zuidema, 2020, section 3 [abnar2020quantifying].

    Example:
        >>> def model(w, x):
        ...     scores = jnp.einsum("btd,bsd->bts", x, x)
        ...     return x + jax.nn.softmax(scores) @ x
        >>> rows = attention_rollout(model, position=-1)(None, jnp.zeros((1, 4, 2)))
        >>> rows.tolist()
        [[0.125, 0.125, 0.125, 0.625]]
    """
    _check_arguments(at, position)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        check_inputs(inputs, at, variables, needs_slopes=False)
        traced = trace_call(apply_fn, variables, inputs)
        matrices = attention_matrices(traced, at)
        values = [matrix.site.value for matrix in matrices]
        _, arrays = traced.run(Changes(captures=frozenset(values)))
        layers = [
            _wide(m.ordered(arrays[value])).mean(2)
            for m, value in zip(matrices, values, strict=True)
        ]
        layer = by_layer(matrices, layers)
        layer = layer + _identity(layer)
        rolled = _product(layer / layer.sum(-1, keepdims=True))
        return _row(rolled, position).astype(values[0].dtype)

    return attribute


@method
def attention_grad(
    apply_fn: ApplyFn,
    *,
    at: Sites | None = None,
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
        position: the position whose row is returned; all of them by default.
        score: which number per example is explained: a score of the outputs, or an
            objective.

    Returns:
        An attribution function, in the units of `score`: `(batch, position)`, or
        without `position` `(batch, target, source)`; a positive entry raised the score.

    Raises:
        TypeError: if `position` is no integer.
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
    _check_arguments(at, position)
    slopes = _attention_times_slopes(apply_fn, at, score)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        products, dtype = slopes(variables, inputs, target, lambda x: x.sum(2))
        return _row(products.sum(0), position).astype(dtype)

    return attribute


@method
def attention_grad_rollout(
    apply_fn: ApplyFn,
    *,
    at: Sites | None = None,
    position: int | None = None,
    composite: Rules | None = None,
    score: Score | Objective | str = logit,
) -> Attribution:
    r"""Attributes to positions by rolling out attention times its positive gradient.

    $$R = \left(I + \bar A_L\right) \cdots \left(I + \bar A_1\right) - I, \quad
    \bar A_l = \mathrm{E}_h \left(A_l \odot
    \frac{\partial f}{\partial A_l}\right)^+$$

    The method of Chefer et al. for self-attention. It says which positions
    spoke for the score; nothing is said of those that spoke against it. Explain
    `-score` for these. With a composite the relevance of attention takes the place of
    $A_l$, as in their first paper. Cost: one backward pass; with a composite two.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the sites of the attention matrices, as of `attention_rollout`.
        position: the position whose row is returned; all of them by default.
        composite: which site gets which rule on the way back to the relevance of
            attention: a composite, a list of pairs, or the name of a preset such as
            `"attn_lrp"`. By default attention itself is multiplied with its gradient.
        score: which number per example is explained: a score of the outputs, or an
            objective.

    Returns:
        An attribution function, never negative: `(batch, position)`, or without
        `position` `(batch, target, source)`. Products of layers have no unit in common,
        so that entries compare within an example only.

    Raises:
        TypeError: if `position` is no integer.
        ValueError: when called, as by `attention_grad`.

    References:
        Chefer et al., 2021, eqs. 5 and 6 [chefer2021generic]; with relevance Chefer et
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
    _check_arguments(at, position)
    call = "attention_grad_rollout(apply_fn, composite=jaxinterp.rules.attn_lrp())"
    rules = None if composite is None else as_composite(composite, call)
    slopes = _attention_times_slopes(apply_fn, at, score, rules)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        layer, dtype = slopes(
            variables, inputs, target, lambda x: jax.nn.relu(x).mean(2)
        )
        rolled = _product(layer + _identity(layer)) - _identity(layer)[0]
        return _row(rolled, position).astype(dtype)

    return attribute


# --- What they share ------------------------------------------------------------------


def _attention_times_slopes(
    apply_fn: ApplyFn,
    at: Sites | None,
    score: Score | Objective | str,
    composite: Composite | None = None,
) -> Any:
    """Returns a function to what is made of attention times gradient, and its dtype.

    It takes the arguments of an attribution function, and `over_heads`, which gets the
    products `(steps, batch, heads, target, source)` and makes one matrix of the heads.
    With a composite the relevance of attention is multiplied with the gradient.
    """
    model, score_fn = explained(apply_fn, score)

    def run(variables: Any, inputs: Any, target: Any, over_heads: Any) -> Any:
        check_inputs(inputs, at, variables, needs_slopes=False)
        matrices = attention_matrices(trace_call(model, variables, inputs), at)
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
        layers = [
            over_heads(
                _wide(matrix.ordered(factors[address]))
                * _wide(matrix.ordered(received[address]))
            )
            for matrix, address in zip(matrices, addresses, strict=True)
        ]
        return by_layer(matrices, layers), matrices[0].site.value.dtype

    return run


def _wide(array: Any) -> Any:
    """An array with enough digits for sums over positions and layers."""
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def _identity(layers: Any) -> Any:
    return jnp.eye(layers.shape[-1], dtype=layers.dtype)[None, None]


def _product(layers: Iterable[Any]) -> Any:
    """The product of the matrices of all layers, the last one to the left."""
    multiply = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    return functools.reduce(lambda rolled, layer: multiply(layer, rolled), layers)


def _row(matrix: Any, position: int | None) -> Any:
    if position is None:
        return matrix
    check_index(position, matrix.shape[1], "position")
    return matrix[:, position]


def _check_arguments(at: Sites | None, position: int | None) -> None:
    if at is not None:
        as_selector(at)
    if position is not None and not is_integer(position):
        raise TypeError(
            f"`position` must be an integer or None, and is {shown(position)}.\n"
            "Write `position=0` for a class token, `position=-1` for the last token."
        )
