"""PatternNet and PatternAttribution: explanations by fitted directions of the signal.

A gradient shows the weights of a unit, which have to cancel what distracts from its
signal. Here every unit has a pattern beside its weights, see `fit_patterns`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from jaxinterp.attribution.backward import attribution_by_backward, explained_sites
from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.objectives.seed import relevance_seed
from jaxinterp.rules.any_site import Gradient
from jaxinterp.rules.composite import Composite
from jaxinterp.rules.pattern import PatternAttribution, PatternNet
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.selectors import of_role
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def pattern_net(
    apply_fn: ApplyFn,
    *,
    patterns: Mapping[str, Any],
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes by the part of the input that is signal: $s = a\,y$ in each layer.

    The score goes back as in a gradient, with the pattern $a$ of each unit in place of
    its weights. What comes out is no share of the score but an input: the signal that
    the model has seen, to be looked at. Its direction means more than its size. Cost:
    one backward pass, by rules.

    Activations, pooling and sums of branches go back by their derivative, so that
    signals of both branches of a residual block add up. A scale of its own is divided
    by, since the pattern of one weight $w$ is $1 / w$.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        patterns: the patterns of all its affine sites by address,
            `fit_patterns(...).patterns`; they may be an argument of a function that is
            jitted.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        at: a site, whose signal is returned instead of that of the inputs.

    Returns:
        An attribution function, in units of the inputs.

    Raises:
        TypeError: if `patterns` is no mapping.
        AddressError: when called, if the model has no site of a pattern.
        MissingPatternError: when called, if a site has no pattern.
        ValueError: when called, if a pattern does not fit the kernel of its site, or
            `at` lies inside of a fused affine map, which has one pattern.

    References:
        Kindermans et al., 2018 [kindermans2018learning]. There the networks
        have neither batch norm nor residual sums.

    Example:
        >>> data = ji.data.linear_distractor(jax.random.key(0), 4000)
        >>> model, w = lambda w, x: x @ w, data.optimal_filter[:, None]
        >>> fitted = ji.attribution.fit_patterns(model, w, [data.inputs])
        >>> signal = pattern_net(model, patterns=fitted.patterns)
        >>> found = signal(w, data.inputs, target=0)
        >>> bool(abs(found - data.signals).max() < 0.05)
        True
    """
    return _by_patterns(apply_fn, PatternNet, patterns, score, at)


@method
def pattern_attribution(
    apply_fn: ApplyFn,
    *,
    patterns: Mapping[str, Any],
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes by weight times pattern: what the signal in each input contributes.

    $$R_x = (w \odot a)\,R_y \quad \text{for each unit, with } w^\top a = 1$$

    So an input that only carries a distractor, which the weights read in order to
    cancel it, gets nothing. A linear model's attributions add up to the score, bias
    included. Those of a network do not: what reaches a relu that is off is lost, and
    both branches of a residual block get all that their sum has. Cost: one backward
    pass, by rules.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        patterns: the patterns of all its affine sites by address,
            `fit_patterns(...).patterns`; they may be an argument of a function that is
            jitted.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        at: a site, whose relevance is returned instead of that of the inputs.

    Returns:
        An attribution function, in units of the score.

    Raises:
        TypeError: if `patterns` is no mapping.
        AddressError: when called, if the model has no site of a pattern.
        MissingPatternError: when called, if a site has no pattern.
        ValueError: when called, if a pattern does not fit the kernel of its site, or
            `at` lies inside of a fused affine map, which has one pattern.

    References:
        Kindermans et al., 2018 [kindermans2018learning]. There the networks
        have neither batch norm nor residual sums.

    Example:
        >>> data = ji.data.linear_distractor(jax.random.key(0), 4000)
        >>> model, w = lambda w, x: x @ w, data.optimal_filter[:, None]
        >>> fitted = ji.attribution.fit_patterns(model, w, [data.inputs])
        >>> attribute = pattern_attribution(model, patterns=fitted.patterns)
        >>> shares = attribute(w, data.inputs, target=0)
        >>> bool(abs(shares - data.attributions).max() < 0.05)
        True
    """
    return _by_patterns(apply_fn, PatternAttribution, patterns, score, at)


def _by_patterns(
    apply_fn: ApplyFn,
    rule: type[PatternNet] | type[PatternAttribution],
    patterns: Mapping[str, Any],
    score: Score | Objective | str,
    at: Sites | None,
) -> Attribution:
    if not isinstance(patterns, Mapping):
        raise TypeError(
            "`patterns` is a mapping from address to array, and is "
            f"{type(patterns).__name__}.\nWrite "
            "`patterns=fit_patterns(apply_fn, variables, batches).patterns`."
        )
    composite = Composite(
        [
            *((address, rule(pattern)) for address, pattern in patterns.items()),
            (of_role("convolution", "dense", "scale"), rule()),
            ("*", Gradient()),
        ]
    )
    attribute = attribution_by_backward(
        apply_fn, score=score, at=at, composite=composite, seed=relevance_seed
    )
    if at is None:
        return attribute
    model, _ = explained(apply_fn, score)

    @functools.wraps(attribute)
    def at_site(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        _check_whole(model, variables, inputs, at)
        return attribute(variables, inputs, target, key)

    return at_site


def _check_whole(
    model: ApplyFn, variables: Variables, inputs: Inputs, at: Sites
) -> None:
    """Raises if a site lies inside of a fused affine map, which has one pattern."""
    graph = trace_call(model, variables, inputs).graph
    edges = {*graph.program.inputs, *(v for node in graph for v in node.outputs)}
    for address, site in explained_sites(graph, at).items():
        if site.value not in edges:
            raise ValueError(
                f"{address!r} lies inside of the affine map {site.node.address!r}, "
                "which has one pattern as a whole.\nTake a site before or after it."
            )
