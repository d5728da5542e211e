"""Attribution to tokens by what the score loses if one is not in the sequence."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, check_inputs, method
from jaxinterp.attribution.masking.scores import like, single_array
from jaxinterp.loop.sums import evaluated
from jaxinterp.objectives.score import Score, as_score, check_score, logit
from jaxinterp.types import ApplyFn, Inputs, Key, Target, Variables


@method
def leave_one_out(
    apply_fn: ApplyFn,
    *,
    batch_size: int | None = None,
    score: Score | str = logit,
) -> Attribution:
    r"""Attributes to each token by how much the score drops if the sequence lacks it.

    $$a_s(x) = f(x_1, \dots, x_n) - f(x_1, \dots, x_{s-1}, x_{s+1}, \dots, x_n)$$

    No token stands in its place, so that nobody has to choose one: the sequence is
    shorter, and what followed moves up. `occlusion(size=1, baseline=mask)` keeps the
    length. Where the outputs have positions as well, each goes back to its place before
    the score reads them, and what a model says without any token before is 0: with
    `sequence_attribution` it is the context of each row that is one token shorter.
    Cost: a forward pass for each token, and one.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`, of sequences of
            any length, `(batch, length)` or `(batch, length, features)`.
        batch_size: the number of tokens that are left out at once; by default as many
            as make 16 MB of inputs of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or its
            name.

    Returns:
        An attribution function, in the units of `score`, `(batch, length)`; positive
        where a token raised it. Those of integers have the dtype of the score.

    Raises:
        ValueError: if `batch_size` is not positive; when called, if the inputs are
            several arrays or have fewer than two tokens, or the model does not take a
            shorter sequence.

    References:
        Li et al., 2016, who divide the drop by the score [li2016understanding].

    Example:
        >>> model = lambda w, tokens: jnp.take(w, tokens, axis=0).prod(1)
        >>> attribute = leave_one_out(model)
        >>> table = jnp.array([[2.0], [3.0]])
        >>> attribute(table, jnp.array([[0, 1, 1]]), 0).tolist()
        [[9.0, 12.0, 12.0]]
    """
    score_fn = as_score(score)

    def value(outputs: Any, target: Target, count: int) -> Any:
        values = score_fn(outputs, target)
        check_score(values, count, score_fn)
        return values

    def step(context: tuple[Any, ...], left_out: Any) -> Any:
        variables, inputs, target, outputs = context
        (x,) = jax.tree.leaves(inputs)
        kept = jnp.arange(x.shape[1] - 1)
        kept += kept >= left_out
        rest = jax.tree.map(lambda x: jnp.take(x, kept, axis=1), inputs)
        shorter = apply_fn(variables, rest)
        restored = jax.tree.map(
            lambda short, whole: _in_place(short, whole, left_out, x.shape[1]),
            shorter,
            outputs,
        )
        return value(restored, target, len(x))

    values_at = evaluated(step, batch_size=batch_size, name="leave_one_out")

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        check_inputs(inputs, None, variables, needs_slopes=False)
        inputs = jax.tree.map(jnp.asarray, inputs)
        x = single_array("leave_one_out", inputs)
        _check_shorter(apply_fn, variables, inputs, x)
        outputs = apply_fn(variables, inputs)
        context = variables, inputs, target, outputs
        rest = values_at(context, jnp.arange(x.shape[1]), x)
        drops = value(outputs, target, len(x))[:, None] - rest.T
        return like(inputs, jax.tree.map(lambda _: drops, inputs))

    return attribute


def _in_place(short: Any, whole: Any, left_out: Any, length: int) -> Any:
    """Brings outputs of a shorter sequence back to the positions that they are of."""
    shapes = jnp.shape(short)[1:2], jnp.shape(whole)[1:2]
    if shapes != ((length - 1,), (length,)):
        return short
    nothing = jnp.zeros_like(short[:, :1])
    before = jnp.concatenate([nothing, short], axis=1)
    unmoved = jnp.concatenate([short, nothing], axis=1)
    position = jnp.arange(length).reshape(-1, *(1,) * (short.ndim - 2))
    return jnp.where(position < left_out, unmoved, before)


def _check_shorter(apply_fn: ApplyFn, variables: Any, inputs: Inputs, x: Any) -> None:
    """Raises if there is no shorter sequence, or the model does not take it."""
    length = x.shape[1]
    if length < 2:
        raise ValueError(
            f"leave_one_out: of inputs of shape {x.shape} nothing is left without a "
            "token.\nGive sequences of two tokens at least, (batch, length)."
        )
    try:
        shorter = jax.tree.map(lambda x: x[:, 1:], inputs)
        jax.eval_shape(apply_fn, variables, shorter)
    except Exception as error:
        raise ValueError(
            f"leave_one_out: the model does not take {length - 1} in place of {length} "
            f"tokens ({type(error).__name__}: {str(error).splitlines()[0]}).\nKeep the "
            "length with a token that says nothing, "
            "`occlusion(apply_fn, size=1, baseline=mask)`."
        ) from error
