"""Integrated gradients, averaged over baselines that are examples themselves."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.gradients.path import Line
from jaxinterp.attribution.place import Place, place_of
from jaxinterp.checks import checked_integer
from jaxinterp.keys import check_key, each_folded, folded, steady
from jaxinterp.loop.sums import summed
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.baseline import background_of
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def expected_gradients(
    apply_fn: ApplyFn,
    *,
    background: Inputs,
    samples: int = 100,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes `score(inputs)` minus its mean over a background to `inputs`.

    $$a_i(x) = \mathbb E_{b,\,t} \left[(x_i - b_i)\,\partial_i f(b + t\,(x -
    b))\right], \quad b \sim \text{background}, \; t \sim \mathcal U(0, 1)$$

    The expectation is a mean over `samples` pairs of $b$ and $t$, so attributions add
    up to the difference of scores only as `samples` grows. Each background example is
    drawn equally often, or once more, and each $t$ from another of `samples` equal
    parts of [0, 1]: the mean is that of independent draws, the scatter smaller. The
    pairs are those of all examples. Cost: `samples` backward passes. Memory grows with
    `batch_size`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        background: examples that stand for "nothing in particular", such as some of the
            training data: an array or a pytree like `inputs`, with any number of
            examples on the first axis. With `at`, activations at the site.
        samples: the number of gradients; several times the number of background
            examples if each of them is to count.
        batch_size: the number of samples computed at once; by default as many as make
            16 MB of explained arrays of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.
        at: a site, whose activation is explained instead of the inputs; one site only.
            For a glob or a selector a mapping from its address is returned.

    Returns:
        An attribution function that needs a `key`, in the units of `score`; a positive
        entry raised the score above that of the background.

    Raises:
        ValueError: if `samples` or `batch_size` is not positive; when called, if the
            background has no example, or other shapes or another structure than the
            inputs.
        TypeError: when called, if there is no key, or the inputs are not real numbers.

    References:
        Erion et al., 2021, definition of expected gradients [erion2021improving].

    Example:
        >>> background = jnp.array([[0.0, 0.0], [2.0, 4.0]])
        >>> attribute = expected_gradients(lambda w, x: x @ w, background=background)
        >>> weights, x = jnp.array([[1.0], [2.0]]), jnp.array([[3.0, 3.0]])
        >>> attributions = attribute(weights, x, 0, jax.random.key(0))
        >>> [round(value, 4) for value in attributions[0].tolist()]
        [2.0, 2.0]
    """
    samples = checked_integer("samples", samples, 1, call="expected_gradients")
    model, score_fn = explained(apply_fn, score)

    def step(context: tuple[Place, Any], draw: _Draw) -> Any:
        place, references = context
        start = jax.tree.map(lambda b: b[draw.example][None], references)
        line = Line(start, jax.tree.map(jnp.subtract, place.array, start))
        slopes = place.slopes(model, score_fn, line(draw.t))
        return jax.tree.map(lambda d, g: d * g / samples, line.difference, slopes)

    sum_over = summed(step, batch_size=batch_size, name="expected_gradients")

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="expected_gradients")
        check_key("expected_gradients", key)
        references = background_of(background, place.array)
        draws = _draws(key, samples, len(jax.tree.leaves(references)[0]))
        return place.shaped(at, sum_over((place, references), draws, place.array))

    return attribute


class _Draw(NamedTuple):
    """Random points between an example and the background.

    Attributes:
        example: the number of the background example, `(samples,)`.
        t: the share of the way from it, `(samples,)`.
    """

    example: jax.Array
    t: jax.Array


def _draws(key: Key, samples: int, examples: int) -> _Draw:
    """Draws background examples equally often, and evenly distributed shares."""
    which, where = (folded(steady(key), i) for i in range(2))
    rounds = -(-samples // examples)
    orders = jax.vmap(lambda k: jax.random.permutation(k, examples))(
        each_folded(which, jnp.arange(rounds))
    )
    # Each example comes once in a round, so that its shares are far apart as well.
    shares = jnp.arange(samples) + jax.random.uniform(where, (samples,), jnp.float32)
    return _Draw(orders.reshape(-1)[:samples], shares / samples)
