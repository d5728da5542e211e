"""Attribution by relevance propagation: LRP with any composite, deep Taylor.

The relevance of the output is the score; each site shares what it receives among its
inputs by its rule, so that relevance is conserved but for what biases and stabilizers
keep (see `jaxinterp.ledger`).
"""

from __future__ import annotations

from jaxinterp.attribution.backward import attribution_by_backward
from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.objectives.seed import Seed, relevance_seed
from jaxinterp.rules.presets import Rules, as_composite
from jaxinterp.types import ApplyFn, Sites


@method
def lrp(
    apply_fn: ApplyFn,
    *,
    composite: Rules = "epsilon_plus_flat",
    score: Score | Objective | str = logit,
    seed: Seed = relevance_seed,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes by layer-wise relevance propagation.

    $$R_y = y \odot \frac{\partial\,\mathrm{score}}{\partial y}, \qquad
      R_x = \mathrm{rule}_\mathrm{site}(R_z) \text{ from each site to its inputs}$$

    For an objective $y$ is each activation that it reads, so that a hidden unit's
    relevance is its activation.

    Cost: one backward pass, by rules. `at="*"` gives the relevance at every site from
    that one pass. For many targets at once, which then share the forward pass, write
    `jax.vmap(attribute, in_axes=(None, None, 0))`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        composite: which site gets which rule: a composite, a list of pairs `(selector,
            rule)`, or the name of a preset.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        seed: the function that makes the relevance of the outputs, `seed(score,
            outputs, target)`; by default shares of the score. `contrastive_seed` and
            `softmax_gradient_seed` of `jaxinterp.objectives` set the target against the
            other classes.
        at: a site, whose relevance is returned instead of that of the inputs. For a
            glob or a selector a mapping from address to relevance is returned.

    Returns:
        An attribution function, in units of the score. With conserving rules and
        without biases it adds up to the score.

    Raises:
        ValueError: if there is no preset of that name.
        UnmatchedSiteError: if relevance reaches a site that no line of the composite
            matches.

    References:
        Bach et al., 2015, eq. 1 to 3 [bach2015pixel]. The default composite is that of
        Kohlbrenner et al., 2020, section III [kohlbrenner2020towards].

    Example:
        >>> from jaxinterp.rules import Composite, Epsilon
        >>> composite = Composite([("*", Epsilon(0.0))])
        >>> attribute = lrp(lambda w, x: x @ w, composite=composite)
        >>> w = jnp.array([[1.0], [2.0]])
        >>> attribute(w, jnp.array([[3.0, 4.0]]), jnp.array([0])).tolist()
        [[3.0, 8.0]]
    """
    call = "lrp(apply_fn, composite=jaxinterp.rules.epsilon_plus())"
    rules = as_composite(composite, call)
    return attribution_by_backward(
        apply_fn, score=score, at=at, composite=rules, seed=seed
    )
