"""Guided backpropagation: the gradient, rectified at each activation that is on.

It shows which patterns a network reacts to, in fine detail, but depends little on what
the network has learned in later layers: compare with `gradient` before drawing
conclusions (Adebayo et al., 2018 [adebayo2018sanity]).
"""

from __future__ import annotations

from jaxinterp.attribution.backward import attribution_by_backward
from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.rules import presets
from jaxinterp.types import ApplyFn, Sites


@method
def guided_backprop(
    apply_fn: ApplyFn,
    *,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes by a gradient that goes on only where positive: $f'(x) \max(g, 0)$.

    Cost: one backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        at: a site, by whose activation the score is explained instead of by the inputs.

    Returns:
        An attribution function; its values have no unit to rely on, only signs and
        ratios.

    References:
        Springenberg et al., 2014, section 3.4 [springenberg2014striving]. The seed is
        1, as for a gradient; iNNvestigate's is the score.

    Example:
        >>> from jaxinterp.objectives import total
        >>> attribute = guided_backprop(lambda w, x: jax.nn.relu(w * x), score=total)
        >>> attribute(1.0, jnp.array([[-1.0, 3.0]])).tolist()
        [[0.0, 1.0]]
    """
    return attribution_by_backward(
        apply_fn, score=score, at=at, composite=presets.guided_backprop()
    )
