r"""Attribution by the gradient: $\nabla f$, $|\nabla f|$ and $x \odot \nabla f$.

$f$ is the score of an example as a function of its input $x$, or of the activation at
the site `at`. One forward and one backward pass.
"""

from __future__ import annotations

import jax.numpy as jnp

from jaxinterp.attribution.backward import attribution_by_backward
from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.types import ApplyFn, Sites


@method
def gradient(
    apply_fn: ApplyFn,
    *,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes by the gradient of the score: $a = \nabla f(x)$.

    Cost: one backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        at: a site, by whose activation the score is explained instead of by the inputs.
            For a glob, a list or a selector a mapping from address to attribution is
            returned.

    Returns:
        An attribution function, in units of the score per unit of input; a positive
        entry raises the score if the input grows.

    References:
        Baehrens et al., 2010, eq. 1 [baehrens2010explain].

    Example:
        >>> attribute = gradient(lambda w, x: w * x**2)
        >>> attribute(1.0, jnp.array([[1.0, 3.0]]), jnp.array([1])).tolist()
        [[0.0, 6.0]]
    """
    return attribution_by_backward(apply_fn, score=score, at=at)


@method
def saliency(
    apply_fn: ApplyFn,
    *,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes by the size of the gradient: $a = |\nabla f(x)|$.

    Channels are kept: for a map of one value per pixel take their maximum, as in the
    paper. Cost: one backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        at: a site, by whose activation the score is explained instead of by the inputs.

    Returns:
        An attribution function, never negative.

    References:
        Simonyan et al., 2013, section 3 [simonyan2013deep].

    Example:
        >>> attribute = saliency(lambda w, x: w * x**2)
        >>> attribute(-1.0, jnp.array([[1.0, 3.0]]), jnp.array([1])).tolist()
        [[0.0, 6.0]]
    """
    return attribution_by_backward(
        apply_fn, score=score, at=at, finish=lambda received, _: jnp.abs(received)
    )


@method
def input_x_gradient(
    apply_fn: ApplyFn,
    *,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes by input times gradient: $a = x \odot \nabla f(x)$.

    For a network of piecewise linear layers without biases it adds up to the score and
    equals LRP-0. Cost: one backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        at: a site, by whose activation the score is explained instead of by the inputs.

    Returns:
        An attribution function, in units of the score.

    References:
        Shrikumar et al., 2016, section 2 [shrikumar2016not].

    Example:
        >>> attribute = input_x_gradient(lambda w, x: w * x)
        >>> attribute(2.0, jnp.array([[1.0, 3.0]]), jnp.array([1])).tolist()
        [[0.0, 6.0]]
    """
    return attribution_by_backward(
        apply_fn, score=score, at=at, finish=lambda received, x: x * received
    )
