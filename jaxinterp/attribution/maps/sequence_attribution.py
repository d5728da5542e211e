"""Which tokens made a model of sequences say each of its tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, checked_call
from jaxinterp.attribution.maps.per_token import token_sums
from jaxinterp.checks import check_function, checked_integer
from jaxinterp.objectives.score import Score, as_score, logit
from jaxinterp.types import ApplyFn, Inputs, Key, Target, Variables


def sequence_attribution(
    apply_fn: ApplyFn,
    *,
    method: Callable[..., Attribution],
    score: Score | str = logit,
    batch_size: int | None = None,
) -> Callable[..., Any]:
    r"""Attributes each token of a sequence to the tokens that the model read.

    $$M_{ts} = \sum_d a_{sd}\big(f_{t, y_t}\big)$$

    Row $t$ is the attribution of the score of token $y_t$ in the outputs at position
    $t$, summed over the features of each token $s$. In a causal model it is zero for $s
    > t$. The rows are one batched call, which shares the forward pass where `method` is
    a backward pass. Cost: for each row that of the method.

    Args:
        apply_fn: the model, `apply_fn(variables, tokens) -> outputs`, with the logits
            `(batch, length, vocabulary)` of what comes next.
        method: the attribution method, a function `method(apply_fn, score=score)`, such
            as `functools.partial(lrp, composite="attn_lrp")`.
        score: which number is explained: a score of outputs `(batch, vocabulary)` at a
            target `(batch,)`, or its name.
        batch_size: the number of rows computed at once; all of them by default. Memory
            grows with it; the forward pass is repeated for each part.

    Returns:
        A function `attribute(variables, inputs, target=None, key=None)`, whose value is
        a matrix for each example, `(batch, rows, length)`, in the units of `score`. Its
        `target` are the tokens to explain, integers `(batch, rows)`, that of row $t$ in
        the outputs at position $t$; by default those that follow in the sequence
        itself, so that there are `length - 1` rows. A pair of such arrays is a
        contrast: why the first token rather than the second.

    Raises:
        TypeError: if `method` is no function; when called, if the inputs are several
            arrays, or the target is not of integers.
        ValueError: if `batch_size` is not positive; when called, if the outputs have
            another shape, or there are more rows than positions.

    References:
        Yin and Neubig, 2022 (contrasts) [yin2022interpreting].

    Example:
        >>> from jaxinterp.attribution import input_x_gradient
        >>> model = lambda w, tokens: jnp.cumsum(jnp.take(w, tokens, axis=0), axis=1)
        >>> attribute = sequence_attribution(model, method=input_x_gradient)
        >>> table = jnp.array([[1.0, 2.0], [3.0, 5.0]])
        >>> attribute(table, jnp.array([[0, 1, 0]])).tolist()
        [[[2.0, 0.0, 0.0], [1.0, 3.0, 0.0]]]
    """
    check_function("method", method, "method=lrp", call="sequence_attribution")
    score_fn = as_score(score)
    if batch_size is not None:
        batch_size = checked_integer("batch_size", batch_size, 1)

    def score_at(outputs: Any, target: Any) -> Any:
        position, tokens = target
        _check_outputs(outputs)
        here = outputs[:, position]
        values = [score_fn(here, token) for token in tokens]
        return values[0] - values[1] if len(values) > 1 else values[0]

    of_one = method(apply_fn, score=score_at)

    @checked_call
    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        tokens = _tokens_to_explain(inputs, target)

        def row(target: Any) -> Any:
            received = of_one(variables, inputs, target, key)
            return received if jnp.ndim(received) == 2 else token_sums(received)

        rows = jnp.arange(tokens[0].shape[1]), tuple(t.T for t in tokens)
        if batch_size is None:
            matrix = jax.vmap(row)(rows)
        else:
            matrix = jax.lax.map(row, rows, batch_size=batch_size)
        return jnp.swapaxes(matrix, 0, 1)

    return attribute


def _check_outputs(outputs: Any) -> None:
    if getattr(outputs, "ndim", 0) != 3:
        shapes = jax.tree.map(jnp.shape, outputs)
        raise ValueError(
            "sequence_attribution explains outputs (batch, length, vocabulary), and "
            f"the model returns {shapes}.\nFor a model that says one thing about a "
            "sequence, use the method itself with `per_token`."
        )


def _tokens_to_explain(inputs: Any, target: Any) -> tuple[Any, ...]:
    """The tokens of each row, `(batch, rows)`, and those of a contrast."""
    if not hasattr(inputs, "shape"):
        raise TypeError(
            "sequence_attribution: the inputs are one array of tokens (batch, length), "
            f"and are {type(inputs).__name__}.\nBind what else the model reads, "
            "`lambda variables, tokens: apply_fn(variables, {'tokens': tokens, ...})`."
        )
    shape = inputs.shape
    if target is None:
        target = inputs[:, 1:]
    tokens = target if isinstance(target, tuple | list) else (target,)
    for each in tokens:
        if not jnp.issubdtype(jnp.asarray(each).dtype, jnp.integer):
            raise TypeError(
                "sequence_attribution: the target are token ids, integers (batch, "
                f"rows), and is of {jnp.asarray(each).dtype}.\nOf inputs that are no "
                "token ids it has to be given."
            )
    shapes = [jnp.shape(each) for each in tokens]
    is_right = len(set(shapes)) == 1 and len(shapes) <= 2 and len(shapes[0]) == 2
    if not is_right or shapes[0][0] != shape[0] or shapes[0][1] > shape[1]:
        raise ValueError(
            "sequence_attribution: the target are token ids (batch, rows), or a pair "
            f"of such arrays, for inputs of shape {shape}; its shapes are "
            f"{', '.join(map(str, shapes))}."
        )
    return tuple(jnp.asarray(each) for each in tokens)
