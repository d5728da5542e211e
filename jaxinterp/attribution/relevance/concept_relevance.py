"""Concept relevance propagation: relevance that passes through chosen channels."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxinterp.attribution.backward import Backward, checked_seed
from jaxinterp.attribution.contract import Attribution, examples_in, method
from jaxinterp.checks import check_index, shown
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.objectives.seed import relevance_seed
from jaxinterp.rules.presets import Rules, as_composite
from jaxinterp.tracing.capture import capture
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def concept_relevance(
    apply_fn: ApplyFn,
    *,
    site: Sites,
    channels: Any,
    composite: Rules = "epsilon_plus_flat",
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes the share of the score that passes through chosen channels.

    $$R^c_a = R_a \odot 1[\text{channel} \in c] \text{ at the site}, \qquad
      R^c_x = \mathrm{rule}(R^c_z) \text{ from there on}$$

    A heatmap says where the network finds what a channel stands for, as far as it
    counts for this score. What goes around the site, such as through a residual
    connection, is left out, which is not so where a mask is laid on a pass of the whole
    network. The maps of all channels add up to the relevance that passes through the
    site if rules are linear in the relevance, as those of all presets are.

    Cost: one backward pass, by rules, in two parts: from the score to the site, and
    from there on. Channels may be traced: one call for all of them,
    which shares the forward pass, is `jax.vmap(lambda c: concept_relevance(apply_fn,
    site=site, channels=c)(variables, inputs, target))(jnp.arange(64))`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        site: the site whose channels are chosen, first or last; one site only.
        channels: the number of a channel, or an array of several, whose shares are
            added; negative ones count from the end.
        composite: which site gets which rule: a composite, a list of pairs `(selector,
            rule)`, or the name of a preset.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        at: a site before `site`, whose relevance is returned instead of that of the
            inputs. For a glob or a selector a mapping from address to relevance is
            returned.

    Returns:
        An attribution function, in units of the score.

    Raises:
        TypeError: if channels are no integers.
        ValueError: if there is no such channel, there is no preset of that name, `site`
            matches several sites, or the site has one axis alone or is in a loop.
        UnmatchedSiteError: if relevance reaches a site that no line of the composite
            matches.

    References:
        Achtibat et al., 2023 [achtibat2023attribution].

    Example:
        >>> model = lambda w, x: jnp.tanh(x * w).sum(axis=1, keepdims=True)
        >>> x = jnp.arctanh(jnp.array([[0.25, 0.5]]))
        >>> attribute = concept_relevance(model, site="tanh", channels=1)
        >>> (4 * attribute(jnp.ones((1, 2)), x, 0)).round().tolist()
        [[0.0, 2.0]]
    """
    call = "concept_relevance(apply_fn, composite=jaxinterp.rules.epsilon_plus(), ...)"
    rules = as_composite(composite, call)
    if not jnp.issubdtype(jnp.asarray(channels).dtype, jnp.integer):
        raise TypeError(
            "concept_relevance: `channels` is the number of a channel, or an array of "
            f"several, and is {shown(channels)}."
        )
    model, score_fn = explained(apply_fn, score)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        back = Backward(model, variables, inputs, rules, site)
        back.check_outside_of_loops()
        (address,) = _the_only(back.activations, site)
        seed = relevance_seed
        start = checked_seed(seed, score_fn, back.outputs, target, examples_in(inputs))
        back.check_path(score_fn, target)
        at_site = back(start)[address]
        place = back.sites[address]
        mask = _mask(place.channels_last(at_site), channels, address)
        chosen = at_site * place.channels_back(mask)
        # The whole network, so that the rules are the same ones, from the site back.
        with_site = capture(model, site)
        before = Backward(with_site, variables, inputs, rules, at, _activations)
        return before.shaped(before({address: chosen}))

    return attribute


def _activations(captured: tuple[Any, dict[str, Any]]) -> dict[str, Any]:
    return dict(captured[1])


def _the_only(activations: dict[str, Any], site: Sites) -> list[str]:
    if len(activations) > 1:
        raise ValueError(
            f"concept_relevance looks at one site, and {str(site)!r} matches "
            f"{len(activations)}: {', '.join(list(activations)[:5])}, ..."
        )
    return list(activations)


def _mask(activation: Any, channels: Any, address: str) -> Any:
    """One for the chosen channels, on the last axis, and zero for the others."""
    if activation.ndim < 2:
        raise ValueError(
            f"concept_relevance: the activation at {address!r} has the shape "
            f"{activation.shape}, and its last axis is no axis of channels."
        )
    size = activation.shape[-1]
    check_index(channels, size, f"channel at {address!r}")
    mask = jnp.zeros(size, activation.dtype).at[jnp.asarray(channels)].set(1)
    return mask.reshape((1,) * (activation.ndim - 1) + (size,))
