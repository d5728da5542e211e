"""Taylor decomposition: the terms of a Taylor expansion of the score, by entry."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.place import place_of
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def taylor(
    apply_fn: ApplyFn,
    *,
    root: Any = 0.0,
    order: int = 1,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes by the terms of a Taylor expansion about a root point.

    $$a_i = \partial_i f(r)\,(x_i - r_i) \; \Big[ +\; \tfrac12\,(x_i - r_i) \sum_j
            \partial_i \partial_j f(r)\,(x_j - r_j) \Big]$$

    The term in brackets is that of second order, each pair of entries shared equally.
    A root is a point near $x$ with $f(r) = 0$, so that the shares tell the whole score;
    of any other point they tell the difference to $f(r)$. What the expansion leaves out
    is $f(x) - f(r) - \sum_i a_i$: nothing for functions that are linear (quadratic)
    between the two. Cost: one backward pass; for second order a derivative of it
    besides.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        root: the root point $r$: a number, an array (or a pytree like `inputs`) that
            broadcasts against the inputs, or a function `(inputs, key) -> root`. With
            `at`, that of the activation, which is also what a function receives.
        order: the order of the expansion, 1 or 2.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        at: a site, whose activation is explained instead of the inputs; one site only.
            For a glob or a selector a mapping from its address is returned.

    Returns:
        An attribution function, in the units of `score`; a positive entry raised the
        score above that of the root point.

    Raises:
        ValueError: if the order is neither 1 nor 2; when called, if the root point does
            not broadcast.

    References:
        Bach et al., 2015 (first order) [bach2015pixel]; Montavon et al., 2017
        [montavon2017explaining].

    Example:
        >>> model = lambda w, x: w * x[:, :1] * x[:, 1:]
        >>> attribute = taylor(model, root=1.0, order=2)
        >>> attribute(1.0, jnp.array([[3.0, 2.0]]), 0).tolist()
        [[3.0, 2.0]]
    """
    if order not in (1, 2):
        raise ValueError(f"taylor: `order` is 1 or 2, and is {order!r}.")
    model, score_fn = explained(apply_fn, score)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="taylor")
        start = fill_baseline(root, place.array, key)
        difference = jax.tree.map(jnp.subtract, place.array, start)

        def slopes(array: Any) -> Any:
            return place.slopes(model, score_fn, array)

        if order == 1:
            received = slopes(start)
        else:
            received, pull = jax.vjp(slopes, start)
            (curvature,) = pull(difference)  # the matrix of second derivatives times it
            received = jax.tree.map(lambda s, c: s + c / 2, received, curvature)
        return place.shaped(at, jax.tree.map(jnp.multiply, received, difference))

    return attribute
